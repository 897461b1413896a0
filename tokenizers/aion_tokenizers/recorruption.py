# SPDX-License-Identifier: MIT
"""Two images with independent noise from one, to train on data that are all noisy.

For Gaussian noise of known variance s^2 and a standard normal n, x + a s n and
x - s n / a are independent given the truth (Pang et al. 2021, CVPR, "Recorrupted-to-
Recorrupted"). One is encoded, the other is what the reconstruction is held against: a
code is then not rewarded for storing noise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Pair(NamedTuple):
    """Two versions of data with independent noise, and the variance of the second.

    Attributes:
        first: to encode; its variance is (1 + a^2) sigma^2.
        second: to compare with.
        excess: variance of `second` over sigma^2: 1 + 1 / a^2.
    """

    first: Float[Array, "*b"]
    second: Float[Array, "*b"]
    excess: float


def recorrupt(
    data: Float[Array, "*b"], sigma: Float[Array, "*b"], key: Array, amount: float
) -> Pair:
    """Splits data.

    Args:
        data: with Gaussian noise.
        sigma: its standard deviation.
        key: of the dice.
        amount: a.
    """
    noise = sigma * jax.random.normal(key, data.shape, data.dtype)
    return Pair(data + amount * noise, data - noise / amount, 1 + amount**-2)


def robust(chi: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """sqrt(1 + chi^2) - 1: chi^2 / 2 below one sigma, |chi| beyond.

    With outputs that are logarithms of fluxes, a pixel's gradient is then its S/N at
    most; with chi^2 it would be its square, and the middles of bright stars would drown
    everything else. (Also tried: logarithmic beyond 4 sigmas, which gives bright pixels
    too little, and shares of the flux as noise.)
    """
    return jnp.sqrt(1.0 + jnp.square(chi)) - 1.0
