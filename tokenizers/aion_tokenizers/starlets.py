# SPDX-License-Identifier: MIT
"""What the decoder draws made sharper or softer, by shares of starlet planes.

The starlet transform (isotropic undecimated wavelets: Starck, Fadili & Murtagh 2007,
IEEE Trans. Image Process. 16, 297) takes an image apart into differences of smoothings
with a B3 spline whose taps lie 1, 2, 4, ... pixels apart, and what is left. Adding a
share of the finest planes sharpens an image, taking it away blurs it, and no flux is
lost. No network draws a scene quite as sharp as `point_spread` takes it for. The shares
that make up for it are the same for all bands, as all are drawn from one scene: shares
that followed from the description of a band, its PSF too, were wrong (in one image by
4 % of the peak of a star) where few cameras are like the one that is described.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from aion_tokenizers.convolutions import weight
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
    """The factor of each wave of any band by learnt shares of planes; at first 1."""

    def __init__(self, planes: int) -> None:
        self.share = weight(jnp.zeros(planes, jnp.float32), "plain")

    def __call__(self, sides: tuple[int, int]) -> Float[Array, "y x"]:
        """The transfer function on a grid with so many pixels along y and x."""
        shares = self.share[...]
        return 1 + jnp.einsum("n,nyx->yx", shares, starlets(sides, len(shares)))
