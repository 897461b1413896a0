# SPDX-License-Identifier: MIT
"""A band's PSF, laid over what the decoder draws.

An image is a scene under a PSF, and the PSFs of one stamp's bands differ by up to a
third in width. So the decoder draws each band as a camera with one and the same narrow
PSF would see it. What a band's own PSF makes of that is a Gaussian whose variance is
the difference of both: nothing that has to be learnt. What a Gaussian leaves out, the
wings, is a matter of learnt shares, see `starlets`. It also smooths errors of single
pixels, which no image under that PSF can have.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aion_tokenizers.mixing import sampling_of

FARTHEST = 20
"""Pixels on each side beyond which a Gaussian is cut off."""

_FWHM = np.float32(np.sqrt(8 * np.log(2)))  # of a Gaussian in units of its sigma
_WIDEST = np.float32(FARTHEST / 4)
_LEAST = np.float32(1e-3)


def spread(
    image: Float[Array, "b c y x"], bands: Float[Array, "b c p"], drawn: float
) -> Float[Array, "b c y x"]:
    """Bands with their own PSFs.

    Args:
        image: flux, with a PSF that is `drawn` wide.
        bands: see `mixing.describe_bands`; those with a narrower PSF stay as they are.
        drawn: pixels per FWHM.
    """
    wanted, given = sampling_of(bands) / _FWHM, np.float32(drawn) / _FWHM
    variance = jnp.square(jnp.minimum(wanted, _WIDEST)) - jnp.square(given)
    return widened(image, variance)


def widened(
    image: Float[Array, "b c y x"], variance: Float[Array, "b c"]
) -> Float[Array, "b c y x"]:
    """Images under a Gaussian; at an edge, under that part of it which lies inside.

    Two products with matrices for each band, as in `starlets.smoothed`.

    Args:
        image: of any finite values.
        variance: along each axis, pixels^2. Below a quarter the sum over whole pixels
            is narrower than this; 0 and less changes nothing.
    """
    down, across = (_gaussian(size, variance) for size in image.shape[-2:])
    image = jnp.matmul(down, image, precision="highest")
    return jnp.matmul(image, across.swapaxes(-1, -2), precision="highest")


def _gaussian(size: int, variance: Float[Array, "b c"]) -> Float[Array, "b c n n"]:
    """What smooths a column of `size` pixels; each row sums to 1."""
    places = np.arange(size)
    square = np.square(places[:, None] - places).astype(np.float32)
    near = square <= FARTHEST**2
    safe = jnp.maximum(variance, _LEAST)[..., None, None]
    weight = jnp.where(near, jnp.exp(-0.5 * square / safe), 0.0)
    return weight / jnp.sum(weight, axis=-1, keepdims=True)
