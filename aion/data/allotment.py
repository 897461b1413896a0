# SPDX-License-Identifier: MIT
"""Dealing a budget of tokens out to modalities, whole batches at a time.

A masking policy decides *how many* tokens of each modality are inputs and targets;
which ones is left to a random order inside the modality. Everything here works on such
numbers, [b, modalities], and never looks at a code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.data.draws import Draws
from aion.errors import ConfigError
from aion.tokenspace import TokenSpace


@dataclass(frozen=True)
class Budget:
    """The static shape of one kind of training step.

    Attributes:
        inputs: tokens given, at most.
        targets: tokens asked, at most.
        batch: examples of the global batch.
        weight: how often such a step is drawn, relative to the other budgets.

    Raises:
        ConfigError: a number below 1, or a weight that is not positive.
    """

    inputs: int
    targets: int
    batch: int = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        if min(self.inputs, self.targets, self.batch) < 1 or self.weight <= 0:
            raise ConfigError(
                f"{self} is not a budget",
                "Give at least 1 input, 1 target and 1 example, and a weight > 0.",
            )


@dataclass(frozen=True)
class Offer:
    """What the records of a batch have.

    Attributes:
        counts: tokens available per modality, int64 [b, modalities].
        space: the token space; its rows are the modalities.
    """

    counts: np.ndarray
    space: TokenSpace

    def take(self, rows: Any) -> "Offer":
        """That of some rows of the batch."""
        return Offer(self.counts[rows], self.space)

    def input_room(self, budget: Budget) -> np.ndarray:
        """Input tokens per record, int64 [b]: the budget, or the same share of less.

        A record with fewer tokens than inputs and targets together is divided in their
        proportion, so that something is left to ask.
        """
        total = self.counts.sum(axis=1)
        share = total * budget.inputs // (budget.inputs + budget.targets)
        return np.minimum(budget.inputs, share)


@dataclass(frozen=True)
class Plan:
    """How many tokens of each modality are given and asked.

    Attributes:
        inputs: int64 [b, modalities].
        targets: int64 [b, modalities]; inputs + targets never exceed what there is.
    """

    inputs: np.ndarray
    targets: np.ndarray


def pick(draws: Draws, allowed: np.ndarray) -> np.ndarray:
    """One of the allowed columns of each row, all equally likely.

    Args:
        draws: randomness of the rows.
        allowed: bool [b, m].

    Returns:
        bool [b, m] with one True per row, none where nothing is allowed.
    """
    key = np.where(allowed, draws.uniform(allowed.shape[1]), -1.0)
    best = np.arange(allowed.shape[1]) == key.argmax(axis=1)[:, None]
    return best & allowed


def spread(
    draws: Draws, log_weights: np.ndarray, caps: np.ndarray, room: np.ndarray
) -> np.ndarray:
    """Deals `room` tokens out in proportion to weights; nothing is lost to a cap.

    What a full modality cannot take goes to the others, again in proportion. Fractions
    are rounded systematically: every rounding is unbiased and the sum exact.

    Args:
        draws: randomness of the rounding.
        log_weights: logarithms, up to a constant per row; float64 [b, m].
        caps: tokens that each modality has, int64 [b, m].
        room: tokens to deal, [b]; less where the caps do not hold so many.

    Returns:
        int64 [b, m].
    """
    dealt = np.zeros_like(caps)
    room = np.minimum(room, caps.sum(axis=1))
    jitter = draws.uniform(1)
    while len(rows := np.flatnonzero(dealt.sum(axis=1) < room)):
        left = (room[rows] - dealt[rows].sum(axis=1))[:, None]
        free = caps[rows] - dealt[rows]
        weights = np.where(free > 0, log_weights[rows], -np.inf)
        share = np.exp(weights - weights.max(axis=1, keepdims=True)).cumsum(axis=1)
        # Dividing by the last entry makes it exactly 1, so that all of `left` is dealt.
        edges = np.floor(share / share[:, -1:] * left + jitter[rows]).astype(np.int64)
        wanted = np.diff(np.minimum(edges, left), axis=1, prepend=0)
        dealt[rows] += np.minimum(wanted, free)
    return dealt


def fill_uniformly(draws: Draws, caps: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Draws `room` tokens without replacement, all tokens equally likely.

    Args:
        draws: randomness of the tokens.
        caps: tokens that each modality has, int64 [b, m].
        room: tokens to draw, [b]; less where there are not so many.

    Returns:
        how many were of each modality (multivariate hypergeometric), int64 [b, m].
    """
    total = caps.sum(axis=1)
    room = np.minimum(room, total)
    width = int(total.max(initial=0))
    if not width or not room.any():
        return np.zeros_like(caps)
    columns = np.arange(width, dtype=np.uint64)
    # The column in the low bits makes keys distinct, so that exactly `room` are chosen.
    keys = draws.bits(width)
    keys &= np.uint64(2**64 - 2**24)
    keys |= columns
    keys[np.arange(width) >= total[:, None]] = np.iinfo(np.uint64).max
    last = np.maximum(room - 1, 0)[:, None]
    threshold = np.take_along_axis(np.sort(keys, axis=1), last, axis=1)
    chosen = (keys <= threshold) & (room > 0)[:, None]
    before = np.pad(chosen.cumsum(axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    ends = caps.cumsum(axis=1)
    return np.take_along_axis(before, ends, 1) - np.take_along_axis(
        before, ends - caps, 1
    )


def one_refinement_at_a_time(
    draws: Draws, offer: Offer, plan: Plan, budget: Budget
) -> Plan:
    """Asks a coarse-to-fine modality for one token, the next after those given.

    Such tokens are given and asked in their order, and a finer one means nothing
    without the coarser ones. Where several are asked, a random number of the first
    becomes inputs (as many as there is room for) and the rest are dropped: of a coarse
    and a fine token, either the coarse is asked, or (in 3 of 10 examples, since most
    requests are decided by the coarse one) the fine with the coarse given.
    """
    inputs, targets = plan.inputs.copy(), plan.targets.copy()
    for row, spec in enumerate(offer.space):
        if spec.coarse_to_fine and (targets[:, row] > 1).any():
            chance = draws.stream(spec.name).uniform(1)[:, 0]
            given = np.floor(chance**2 * targets[:, row]).astype(np.int64)
            room = budget.inputs - inputs.sum(axis=1)
            inputs[:, row] += np.minimum(given, room)
            targets[:, row] = np.minimum(targets[:, row], 1)
    return Plan(inputs, targets)


def ask_something(draws: Draws, offer: Offer, plan: Plan) -> Plan:
    """Gives a target to records that have tokens and were asked for none.

    It is one that is not given, where there is one, else one of the inputs.
    """
    silent = (plan.targets.sum(axis=1) == 0)[:, None]
    unused = offer.counts - plan.inputs
    spare = unused.any(axis=1, keepdims=True)
    taken = pick(draws.stream("input"), (plan.inputs > 0) & silent & ~spare)
    asked = pick(draws.stream("unused"), (unused > 0) & silent) | taken
    return Plan(plan.inputs - taken, plan.targets + asked)
