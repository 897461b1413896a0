# SPDX-License-Identifier: MIT
"""Descent of latents: Adam (Kingma & Ba 2015, arXiv:1412.6980), and a pull back.

Adam's `eps` is large: slopes below one unit of log likelihood are noise and move
nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

RATE = 0.1
"""Largest step of a latent."""

SPREAD = 0.22
"""How far latents are expected to go from the encoder's: their prior's sigma."""

CALM = 1.0
"""Slope below which a step shrinks, in units of the objective."""

QUICK, STEADY = 0.8, 0.9
"""Share of the mean slope that is kept from step to step: where what is sought changes
every few steps, and where it stays and valleys are long."""

_SQUARES = 0.95


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Averages:
    """Adam's averages of slopes and of their squares, and the number of steps.

    Attributes:
        kept: share of the mean that a step keeps.
    """

    mean: Any
    square: Any
    count: Any
    kept: float = field(default=QUICK, metadata={"static": True})

    @classmethod
    def none(cls, latent: Array, kept: float = QUICK) -> "Averages":
        """Before the first step."""
        zero = jnp.zeros_like(latent)
        return cls(zero, zero, jnp.float32(0), kept)

    def after(self, slope: Array) -> "Averages":
        """With one more slope."""
        mean = self.kept * self.mean + (1 - self.kept) * slope
        square = _SQUARES * self.square + (1 - _SQUARES) * jnp.square(slope)
        return replace(self, mean=mean, square=square, count=self.count + 1)

    def direction(self, calm: float = CALM) -> Array:
        """The mean slope over its size, both without bias."""
        size = jnp.sqrt(self.square / (1 - _SQUARES**self.count))
        return self.mean / (1 - self.kept**self.count) / (size + calm)


def moved(
    latent: Array, slope: Array, averages: Averages, rate: Array | float
) -> tuple[Array, Averages]:
    """Latents one step further down, and the averages with that step."""
    averages = averages.after(slope)
    return latent - rate * averages.direction(), averages


def total(values: Float[Array, "b ..."]) -> Float[Array, " b"]:
    """The sum over each object."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))


def by_object(values: Array, like: Array) -> Array:
    """One value per object [b], with axes to go with an array of objects."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def prior(
    latent: Float[Array, "b ..."], origin: Float[Array, "b ..."]
) -> Float[Array, " b"]:
    """Minus the logarithm of the prior of each object's latents."""
    far = jnp.square((latent - origin) / SPREAD)
    return 0.5 * total(far)


def pull(latent: Float[Array, "b ..."], origin: Array) -> Float[Array, ""]:
    """The same of all objects together."""
    return jnp.sum(prior(latent, origin))
