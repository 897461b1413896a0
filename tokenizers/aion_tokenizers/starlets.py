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

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from aion_tokenizers.convolutions import Dense
from aion_tokenizers.image_pixels import LARGEST

_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_ARM = len(_SPLINE) // 2


def halo(planes: int) -> int:
    """Pixels on each side that a pixel of the smoothest plane depends on."""
    return _ARM * (2**planes - 1)


def smoothed(image: Float[Array, "*b y x"], hole: int) -> Float[Array, "*b y x"]:
    """The image under a B3 spline along both axes; its edge goes on beyond it.

    Args:
        image: of any finite values.
        hole: pixels from one tap of the spline to the next. The variance along an axis
            grows by the square of that.
    """
    for axis in (image.ndim - 2, image.ndim - 1):
        size, arm = image.shape[axis], _ARM * hole
        widths = [(arm, arm) if n == axis else (0, 0) for n in range(image.ndim)]
        wide = jnp.pad(image, widths, mode="edge")
        views = (
            tap * jax.lax.slice_in_dim(wide, n * hole, n * hole + size, axis=axis)
            for n, tap in enumerate(_SPLINE)
        )
        image = sum(views, start=jnp.zeros_like(image))
    return image


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
        self, pixels: Float[Array, "b c y x"], told: Float[Array, "b c e"]
    ) -> Float[Array, "b c y x"]:
        """asinh of flux, in and out; `told` describes the bands."""
        shares = self.share(told)[..., None, None]
        flux = jnp.sinh(jnp.clip(pixels, -LARGEST, LARGEST))
        planes, _ = starlets(flux, shares.shape[2])
        for scale, plane in enumerate(planes):
            flux = flux + shares[:, :, scale] * plane
        return jnp.arcsinh(flux)
