# SPDX-License-Identifier: MIT
"""Which tokens of a record are given and which are asked.

A policy is a frozen dataclass with one method, `plan`: from the tokens that each record
of a batch has, the number of inputs and targets per modality. Policies compose with
`Mixture`; our default is `ours`. `aion.data.selection` holds the rules that all
policies share and picks the tokens.

Under every policy inputs and targets are disjoint, absent tokens are never drawn, the
budgets hold, and a record with a token is asked for at least one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from aion.data.allotment import (
    Budget,
    Offer,
    Plan,
    fill_uniformly,
    pick,
    spread,
)
from aion.data.draws import Draws
from aion.data.requests import REQUESTS, Request, applicable
from aion.errors import ConfigError
from aion.tokenspace import TokenSpace


@runtime_checkable
class MaskPolicy(Protocol):
    """How many tokens of each modality are given and asked."""

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """The plan of a batch, a pure function of its arguments.

        Args:
            draws: randomness, one key per record.
            offer: tokens that the records have.
            budget: tokens given and asked at most.
        """
        ...


@dataclass(frozen=True)
class Official:
    """AION-1's policy (Parker et al. 2025, arXiv:2510.17960, pretraining).

    Inputs: one modality at random gives a uniformly random number of its tokens, the
    rest of the budget is drawn uniformly from the tokens of the others. Targets, among
    unused tokens: one modality at random gives a share of its tokens drawn from
    Beta(beta, 1), skewed to few as in the late steps of MaskGIT; the rest uniformly.

    Attributes:
        beta: first parameter of the beta distribution.
    """

    beta: float = 0.1

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`."""
        room = offer.input_room(budget)
        share = draws.stream("number of inputs").uniform(1)[:, 0]
        inputs = self._first_then_rest(
            draws.stream("inputs"), offer.counts, room, share
        )
        share = draws.stream("number of targets").uniform(1)[:, 0] ** (1 / self.beta)
        targets = self._first_then_rest(
            draws.stream("targets"),
            offer.counts - inputs,
            np.full_like(room, budget.targets),
            share,
        )
        return Plan(inputs, targets)

    @staticmethod
    def _first_then_rest(
        draws: Draws, caps: np.ndarray, room: np.ndarray, share: np.ndarray
    ) -> np.ndarray:
        first = pick(draws.stream("first"), caps > 0)
        most = np.minimum((caps * first).sum(axis=1), room)
        number = np.minimum(1 + np.floor(share * most).astype(np.int64), most)
        others = np.where(first, 0, caps)
        rest = fill_uniformly(draws.stream("rest"), others, room - number)
        return first * number[:, None] + rest


@dataclass(frozen=True)
class Dirichlet:
    """4M's policy (Mizrahi et al. 2023, arXiv:2312.06647, section 2.3).

    The budgets of inputs and of targets are divided among the modalities by two
    independent draws of a symmetric Dirichlet distribution. A small alpha gives almost
    all to one modality, a large one mixes evenly. Unlike in 4M, what a modality cannot
    take goes to the others.

    Attributes:
        alphas: one of these is drawn per record, all equally likely.
        between: draw alpha log-uniformly between the smallest and the largest instead.
    """

    alphas: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    between: bool = False

    def __post_init__(self) -> None:
        if not self.alphas or min(self.alphas) < 1e-3:
            raise ConfigError(
                f"Dirichlet alphas {self.alphas}", "Give numbers of at least 0.001."
            )

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`."""
        chance = draws.stream("alpha").uniform(1)[:, 0]
        if self.between:
            low, high = np.log(min(self.alphas)), np.log(max(self.alphas))
            alpha = np.exp(low + chance * (high - low))
        else:
            alpha = np.array(self.alphas)[(chance * len(self.alphas)).astype(np.int64)]
        counts = offer.counts
        room = offer.input_room(budget)
        inputs = self._deal(draws.stream("inputs"), alpha, counts, room)
        room = np.full_like(room, budget.targets)
        targets = self._deal(draws.stream("targets"), alpha, counts - inputs, room)
        return Plan(inputs, targets)

    @staticmethod
    def _deal(
        draws: Draws, alpha: np.ndarray, caps: np.ndarray, room: np.ndarray
    ) -> np.ndarray:
        log_shares = draws.stream("shares").log_gamma(alpha, caps.shape[1])
        return spread(draws.stream("rounding"), log_shares, caps, room)


@dataclass(frozen=True)
class Uniform:
    """All tokens of a record are equally likely to be inputs, then targets."""

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`."""
        room = offer.input_room(budget)
        inputs = fill_uniformly(draws.stream("inputs"), offer.counts, room)
        room = np.full_like(room, budget.targets)
        unused = offer.counts - inputs
        return Plan(inputs, fill_uniformly(draws.stream("targets"), unused, room))


@dataclass(frozen=True)
class WholeModalities:
    """Each modality is given, asked or absent; the budget need not be filled.

    Per record two probabilities g and a are drawn from U(0, 1). Each modality is given
    with probability g; of the others each is asked with probability a. So any number of
    given modalities is equally likely, from none to all, as it is in use.

    Where a budget is too small, all modalities get the same number of its tokens except
    those with fewer, which stay whole.
    """

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`."""
        modalities = offer.counts.shape[1]
        present = offer.counts > 0
        level = draws.stream("levels").uniform(2)
        given = draws.stream("given").uniform(modalities) < level[:, :1]
        asked = draws.stream("asked").uniform(modalities) < level[:, 1:]
        asked &= ~given & present
        nothing = ~asked.any(axis=1, keepdims=True)
        free = present & ~given
        free = np.where(free.any(axis=1, keepdims=True), free, present)
        asked |= pick(draws.stream("one"), free & nothing)
        return _whole(draws, offer, budget, given & ~asked, asked)


@dataclass(frozen=True)
class Named:
    """Trains named requests as they will be made: one that the record can serve.

    Of several it is one at random, by their weights.

    Records that can serve none are masked by `WholeModalities`.

    Attributes:
        requests: what is given and what is asked, by names of modalities.
    """

    requests: tuple[Request, ...]

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`.

        Raises:
            ConfigError: a request names a modality that is not in the token space.
        """
        sides = [
            request.rows(offer.space)
            for request in self.requests
            for _ in range(request.weight)
        ]
        given = np.array([g for g, _ in sides])  # [requests, modalities]
        asked = np.array([a for _, a in sides])
        present = offer.counts > 0
        able = (present @ given.T) & (present @ asked.T)  # [b, requests]
        choice = pick(draws.stream("request"), able)
        given, asked = (choice @ given) & present, (choice @ asked) & present
        plan = _whole(draws.stream("named"), offer, budget, given & ~asked, asked)
        other = WholeModalities().plan(draws.stream("other"), offer, budget)
        any_able = able.any(axis=1, keepdims=True)
        return Plan(
            np.where(any_able, plan.inputs, other.inputs),
            np.where(any_able, plan.targets, other.targets),
        )


def _whole(
    draws: Draws, offer: Offer, budget: Budget, given: np.ndarray, asked: np.ndarray
) -> Plan:
    def deal(side: str, chosen: np.ndarray, room: int) -> np.ndarray:
        caps = np.where(chosen, offer.counts, 0)
        rooms = np.full(len(caps), room)
        return spread(draws.stream(side), np.zeros(caps.shape), caps, rooms)

    return Plan(
        deal("input rounding", given, budget.inputs),
        deal("target rounding", asked, budget.targets),
    )


@dataclass(frozen=True)
class Mixture:
    """One of several policies per record, drawn by weight.

    Attributes:
        policies: the policies.
        weights: their weights, of any sum; equal without.
    """

    policies: tuple[MaskPolicy, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        weights = self.weights or (1.0,) * len(self.policies)
        if len(weights) != len(self.policies) or min(weights, default=0) <= 0:
            raise ConfigError(
                f"weights {self.weights} of {len(self.policies)} policies",
                "Give one positive weight per policy.",
            )
        object.__setattr__(self, "weights", tuple(weights))

    def plan(self, draws: Draws, offer: Offer, budget: Budget) -> Plan:
        """See `MaskPolicy.plan`."""
        edges = np.cumsum(self.weights) / np.sum(self.weights)
        chance = draws.stream("policy").uniform(1)[:, 0]
        choice = np.searchsorted(edges[:-1], chance, side="right")
        inputs, targets = np.zeros_like(offer.counts), np.zeros_like(offer.counts)
        for number, policy in enumerate(self.policies):
            rows = np.flatnonzero(choice == number)
            if len(rows):
                part = draws.take(rows).stream(f"policy {number}")
                plan = policy.plan(part, offer.take(rows), budget)
                inputs[rows], targets[rows] = plan.inputs, plan.targets
        return Plan(inputs, targets)


def ours(
    space: TokenSpace, requests: Sequence[Request] = REQUESTS, named: float = 0.1
) -> MaskPolicy:
    """Our default: AION-1's, whole modalities, Dirichlet 0.01-10, and named requests.

    Args:
        space: the token space; requests that it cannot serve are left out.
        requests: requests that are trained directly.
        named: their share of the examples; the rest is divided in three.
    """
    thirds = (Official(), WholeModalities(), Dirichlet((0.01, 10.0), between=True))
    known = applicable(requests, space)
    if not known or not named:
        return Mixture(thirds)
    rest = (1.0 - named) / 3
    return Mixture((*thirds, Named(known)), (rest, rest, rest, named))
