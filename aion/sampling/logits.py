# SPDX-License-Identifier: MIT
"""Changes of the distribution that is drawn from; posteriors never use them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion.errors import ConfigError


@runtime_checkable
class LogitTransform(Protocol):
    """A change of logits along their last axis; -inf stays -inf."""

    def apply(self, logits: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
        """The changed logits."""
        ...


@dataclass(frozen=True)
class Temperature:
    """Divides logits: below 1 sharpens, above 1 flattens.

    Raises:
        ConfigError: not a positive number.
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            raise ConfigError(
                f"temperature is {self.value}",
                "Give a positive number; top_k=1 always takes the most probable code.",
            )

    def apply(self, logits: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
        """Logits over the temperature."""
        return logits / self.value


@dataclass(frozen=True)
class TopK:
    """Keeps the k most probable codes; codes that tie with the k-th stay too.

    Raises:
        ConfigError: k is below 1.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"top_k is {self.k}", "Give at least 1.")

    def apply(self, logits: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
        """Logits, -inf below the k-th largest."""
        kept = min(self.k, logits.shape[-1])
        least = jax.lax.top_k(logits, kept)[0][..., -1:]
        return jnp.where(logits >= least, logits, -jnp.inf)


@dataclass(frozen=True)
class TopP:
    """Keeps the fewest codes that hold at least the probability p.

    Nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751).

    Raises:
        ConfigError: p is not in (0, 1].
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ConfigError(f"top_p is {self.p}", "Give a number in (0, 1].")

    def apply(self, logits: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
        """Logits, -inf outside the nucleus."""
        ordered = jnp.sort(logits, axis=-1, descending=True)
        share = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(share, axis=-1) - share
        inside = jnp.where(before < self.p, ordered, jnp.inf)
        return jnp.where(
            logits >= jnp.min(inside, axis=-1, keepdims=True), logits, -jnp.inf
        )


def transforms(
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> tuple[LogitTransform, ...]:
    """The transforms that are not neutral, in the order in which they are applied.

    Raises:
        ConfigError: a value outside its range.
    """
    chosen: list[LogitTransform] = []
    if temperature != 1.0:
        chosen.append(Temperature(temperature))
    if top_k is not None:
        chosen.append(TopK(top_k))
    if top_p is not None and top_p != 1.0:
        chosen.append(TopP(top_p))
    return tuple(chosen)


def apply_all(
    logits: Float[Array, "*b v"], chosen: Sequence[LogitTransform]
) -> Float[Array, "*b v"]:
    """Applies transforms one after the other."""
    for transform in chosen:
        logits = transform.apply(logits)
    return logits
