# SPDX-License-Identifier: MIT
"""A band's PSF, laid over what the decoder draws.

An image is a scene under a PSF, and the PSFs of one stamp's bands differ by up to a
third in width. So the decoder draws each band as a camera with one and the same narrow
PSF would see it. What a band's own PSF makes of that is the ratio of both transfer
functions: nothing that has to be learnt. PSFs are taken for Moffat's of beta 3.5, as
the wings of most cameras are; what others differ by is a matter of learnt shares, see
`starlets`. That also smooths errors of single pixels, which no image under that PSF
can have.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from aion_tokenizers.mixing import sampling_of

_BETA = 3.5
_RADIUS = np.float32(0.5 / np.sqrt(2 ** (1 / _BETA) - 1))  # Moffat's alpha of FWHM 1


def spread(
    image: Float[Array, "b c y x"], transfer: Float[Array, "b c y x"]
) -> Float[Array, "b c y x"]:
    """The image with each of its waves times a factor; edges are mirrors.

    A cosine transform (the second kind) and back, each two products with matrices,
    which are a CPU's fastest way.

    Args:
        image: of any finite values.
        transfer: factors at `frequencies` along y and x.
    """
    down, across = (_cosines(size) for size in image.shape[-2:])
    waves = _times(down, image, across.T) * transfer
    return _times(down.T, waves, across)


def _times(left: np.ndarray, image: Array, right: np.ndarray) -> Array:
    image = jnp.matmul(left, image, precision="highest")
    return jnp.matmul(image, right, precision="highest")


def frequencies(size: int) -> Float32[np.ndarray, " n"]:
    """Of the waves along an axis of so many pixels, radians per pixel, 0 to pi."""
    return (np.pi / size * np.arange(size)).astype(np.float32)


def _cosines(size: int) -> Float32[np.ndarray, "n n"]:
    """Waves [n, pixels], each of norm 1."""
    phase = np.outer(np.arange(size), np.arange(size) + 0.5) * (np.pi / size)
    waves = np.cos(phase) * np.sqrt(2 / size)
    waves[0] = np.sqrt(1 / size)
    return waves.astype(np.float32)


def moffat(
    sides: tuple[int, int], bands: Float[Array, "b c p"], drawn: float
) -> Float[Array, "b c y x"]:
    """What turns images under a PSF `drawn` wide into those of bands.

    The Fourier transform of Moffat's profile is a Matern function, for beta 3.5 in
    closed form: (1 + s + s^2 / 3) exp(-s) with s = alpha times the frequency.

    Args:
        sides: pixels along y and x.
        bands: see `mixing.describe_bands`; those with a narrower PSF stay as they are.
        drawn: pixels per FWHM.
    """
    y, x = (frequencies(size) for size in sides)
    wave = jnp.asarray(np.hypot(y[:, None], x), jnp.float32)
    given = np.float32(drawn) * _RADIUS
    alpha = jnp.maximum(sampling_of(bands) * _RADIUS, given)[..., None, None]
    ratio = _polynomial(alpha * wave) / _polynomial(given * wave)
    return ratio * jnp.exp((given - alpha) * wave)


def _polynomial(s: Array) -> Array:
    return 1 + s + s * s * np.float32(1 / 3)
