# SPDX-License-Identifier: MIT
"""A band's own PSF, as shares of the planes of a starlet transform.

The starlet transform (isotropic undecimated wavelets: Starck, Fadili & Murtagh 2007,
IEEE Trans. Image Process. 16, 297) takes an image apart into differences of smoothings
with a B3 spline whose taps lie 1, 2, 4, ... pixels apart, and what is left. Adding a
share of the finest planes sharpens an image, taking it away blurs it, and no flux is
lost. The PSFs of one stamp's bands differ by up to a third. Sums of features per patch,
which stand for logarithms of flux, hardly learnt that: rings were left around the
middles of bright stars. Shares that follow from the description of a band do.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from aion_tokenizers.convolutions import Dense

_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_ARM = len(_SPLINE) // 2


def halo(planes: int) -> int:
    """Pixels on each side that a pixel of the smoothest plane depends on."""
    return _ARM * (2**planes - 1)


def smoothed(image: Float[Array, "*b y x"], hole: int) -> Float[Array, "*b y x"]:
    """The image under a B3 spline along both axes; its edge goes on beyond it.

    Two products with matrices: decoding is what refinement does most, and on a
    CPU sums of shifted images took as long as the whole decoder.

    Args:
        image: of any finite values.
        hole: pixels from one tap of the spline to the next. The variance along an axis
            grows by the square of that.
    """
    down, across = (_smoothing(size, hole) for size in image.shape[-2:])
    image = jnp.matmul(down, image, precision="highest")
    return jnp.matmul(image, across.T, precision="highest")


def _smoothing(size: int, hole: int) -> Float32[np.ndarray, "n n"]:
    """What smooths a column of `size` pixels."""
    matrix, rows = np.zeros((size, size), np.float32), np.arange(size)
    for tap, share in enumerate(_SPLINE):
        columns = np.clip(rows + (tap - _ARM) * hole, 0, size - 1)
        matrix[rows, columns] += np.float32(share)
    return matrix


def starlets(
    image: Float[Array, "*b y x"], planes: int
) -> tuple[list[Float[Array, "*b y x"]], Float[Array, "*b y x"]]:
    """Planes from fine to coarse, and what is left; their sum is the image."""
    found = []
    for scale in range(planes):
        smooth = smoothed(image, 2**scale)
        found.append(image - smooth)
        image = smooth
    return found, image


class Sharpening(nnx.Module):
    """Adds shares of its starlet planes to each band's flux; at first none."""

    def __init__(self, told: int, planes: int, rngs: nnx.Rngs) -> None:
        self.share = Dense(told, planes, rngs)
        self.share.weight[...] = jnp.zeros_like(self.share.weight[...])

    def __call__(
        self, flux: Float[Array, "b c y x"], told: Float[Array, "b c e"]
    ) -> Float[Array, "b c y x"]:
        """Flux of bands; `told` describes them."""
        shares = self.share(told)[..., None, None]
        planes, _ = starlets(flux, shares.shape[2])
        for scale, plane in enumerate(planes):
            flux = flux + shares[:, :, scale] * plane
        return flux
