# SPDX-License-Identifier: MIT
"""What a band's PSF differs by, as shares of the planes of a starlet transform.

The starlet transform (isotropic undecimated wavelets: Starck, Fadili & Murtagh 2007,
IEEE Trans. Image Process. 16, 297) takes an image apart into differences of smoothings
with a B3 spline whose taps lie 1, 2, 4, ... pixels apart, and what is left. Adding a
share of the finest planes sharpens an image, taking it away blurs it, and no flux is
lost. Shares that follow from the description of a band learn what `point_spread` does
not know of its PSF.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from aion_tokenizers.convolutions import Dense
from aion_tokenizers.point_spread import frequencies


def starlets(sides: tuple[int, int], planes: int) -> Float32[np.ndarray, "n y x"]:
    """Transfer functions of the planes, from fine to coarse, at `frequencies`."""
    found, left = [], np.ones(sides)
    for scale in range(planes):
        y, x = (_spline(frequencies(size) * 2**scale) for size in sides)
        smooth = left * y[:, None] * x
        found.append(left - smooth)
        left = smooth
    return np.stack(found).astype(np.float32)


def _spline(phase: np.ndarray) -> np.ndarray:
    """Of taps 1/16, 1/4, 3/8, 1/4, 1/16."""
    return (3 + 4 * np.cos(phase) + np.cos(2 * phase)) / 8


class Sharpening(nnx.Module):
    """The factor of each wave of each band by learnt shares of planes; at first 1."""

    def __init__(self, told: int, planes: int, rngs: nnx.Rngs) -> None:
        self.share = Dense(told, planes, rngs)
        self.share.weight[...] = jnp.zeros_like(self.share.weight[...])

    def __call__(
        self, sides: tuple[int, int], told: Float[Array, "b c e"]
    ) -> Float[Array, "b c y x"]:
        """Transfer functions of bands; `told` describes them."""
        shares = self.share(told)
        planes = starlets(sides, shares.shape[-1])
        return 1 + jnp.einsum("bcn,nyx->bcyx", shares, planes)
