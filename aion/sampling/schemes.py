# SPDX-License-Identifier: MIT
"""Which asked places are drawn in which step, and what a step sees.

A scheme is a frozen dataclass with one method, `steps`: a static plan from the rows of
the token space that are asked. The loop in `aion.sampling.sampler` runs the plan and
knows no scheme. A step draws all its pending places, or `count` of them per object that
a `rank` prefers: random order (ROAR) and confidence (MaskGIT) are ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from aion.tokenspace import TokenSpec


@runtime_checkable
class Rank(Protocol):
    """Which pending places of an object are drawn first; a hashable function."""

    def __call__(
        self, confidence: Float[Array, " m"], noise: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        """Scores of m places, the highest are drawn first.

        Args:
            confidence: log probability by the model, before any transform, of the code
                proposed for each place.
            noise: uniform random numbers of this object, sample and step.
        """
        ...


@dataclass(frozen=True)
class Step:
    """Places that are drawn together, independently of each other.

    Attributes:
        places: asked modality and its positions that may be drawn; those drawn before
            are passed over.
        sees: asked modalities whose codes drawn so far are given to the encoder beside
            the context.
        count: places drawn per object; None draws all pending ones.
        rank: which `count` places come first; needed with `count`.
    """

    places: tuple[tuple[str, tuple[int, ...]], ...]
    sees: tuple[str, ...] = ()
    count: int | None = None
    rank: Rank | None = None

    def __post_init__(self) -> None:
        if (self.count is None) != (self.rank is None):
            raise ValueError("a step takes count and rank together, or neither")


@runtime_checkable
class Scheme(Protocol):
    """The plan of a draw."""

    def steps(self, asked: Sequence[TokenSpec]) -> tuple[Step, ...]:
        """Steps that together draw every place of the asked rows once."""
        ...


def _first(spec: TokenSpec) -> tuple[str, tuple[int, ...]]:
    """What of a modality can be drawn before any of it is known."""
    return spec.name, (0,) if spec.coarse_to_fine else tuple(range(spec.num_tokens))


def _refinements(spec: TokenSpec) -> range:
    """Positions that need those before them."""
    return range(1, spec.num_tokens) if spec.coarse_to_fine else range(0)


@dataclass(frozen=True)
class OneShot:
    """All asked places at once, independent of each other given the context.

    Marginals are right, joint draws are not: a redshift and a class drawn together may
    not fit each other. A coarse-to-fine modality is drawn in order and sees itself
    only, so that its own tokens do fit.
    """

    def steps(self, asked: Sequence[TokenSpec]) -> tuple[Step, ...]:
        """One step for all, and one for each refinement."""
        together = Step(tuple(_first(spec) for spec in asked))
        finer = [
            Step(((spec.name, (place,)),), sees=(spec.name,))
            for spec in asked
            for place in _refinements(spec)
        ]
        return (together, *finer)


@dataclass(frozen=True)
class Chained:
    """Asked modalities one after the other, each given those drawn before.

    A joint draw, by the chain rule in the order in which the modalities are asked. The
    tokens of one modality are drawn together, coarse-to-fine ones in order.
    """

    def steps(self, asked: Sequence[TokenSpec]) -> tuple[Step, ...]:
        """One step per modality, and one for each refinement."""
        names = tuple(spec.name for spec in asked)
        plan = []
        for number, spec in enumerate(asked):
            plan.append(Step((_first(spec),), sees=names[:number]))
            plan += [
                Step(((spec.name, (place,)),), sees=names[: number + 1])
                for place in _refinements(spec)
            ]
        return tuple(plan)
