# SPDX-License-Identifier: MIT
"""A band's PSF, laid over what the decoder draws.

An image is a scene under a PSF, and the PSFs of one stamp's bands differ by up to a
third in width. So the decoder draws each band as a camera with one and the same narrow
PSF would see it. What a band's own PSF makes of that is the ratio of both transfer
functions: nothing that has to be learnt. PSFs are taken for Moffat's, with wings that
are found from the image, see `wings`; how sharp a scene is drawn is made up for by a
few learnt shares, see `starlets`. That also smooths errors of single pixels, which no
image under that PSF can have. Light falls in from beyond the edges too, so scenes are
drawn beyond them.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from aion_tokenizers.mixing import sampling_of
from aion_tokenizers.wings import BETA

MARGIN = 12
"""Pixels beyond each edge from which light falls into an image."""

# Of beta: coefficients by which the transform of Moffat's profile is a polynomial times
# exp(-s), with s = alpha times the frequency.
_CLOSED = {
    2.5: (1.0, 1.0),
    3.5: (1.0, 1.0, 1 / 3),
    4.5: (1.0, 1.0, 2 / 5, 1 / 15),
    5.5: (1.0, 1.0, 3 / 7, 2 / 21, 1 / 105),
}


def continued(image: Float[Array, "b c y x"], pixels: int) -> Float[Array, "b c y1 x1"]:
    """The image with so many pixels more on each side, which go on as it came: mirrored
    about the value at the edge, so that a source on the edge has no ridge there."""
    more = (pixels, pixels)
    return jnp.pad(image, ((0, 0), (0, 0), more, more), "reflect", reflect_type="odd")


def spread(
    image: Float[Array, "b c y1 x1"], transfer: Float[Array, "b c y2 x2"], drawn: int
) -> Float[Array, "b c y x"]:
    """The image with each of its waves times a factor.

    What is drawn of it goes on as it ends. Then a cosine transform (the second kind)
    and back, each two products with matrices, which are a CPU's fastest way.

    Args:
        image: of any finite values.
        transfer: factors at `frequencies` of `beyond` along y and x.
        drawn: pixels, up to `MARGIN`, by which `image` goes on beyond each of the edges
            of what is given back.
    """
    height, width = (side - 2 * drawn for side in image.shape[-2:])
    more = (MARGIN - drawn, MARGIN - drawn)
    wide = jnp.pad(image, ((0, 0), (0, 0), more, more), "edge")
    down, across = (_cosines(size) for size in wide.shape[-2:])
    waves = _times(down, wide, across.T) * transfer
    return _times(down[:, MARGIN:][:, :height].T, waves, across[:, MARGIN:][:, :width])


def beyond(sides: tuple[int, int]) -> tuple[int, int]:
    """Pixels along y and x with `MARGIN` beyond the edges."""
    return sides[0] + 2 * MARGIN, sides[1] + 2 * MARGIN


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
    sides: tuple[int, int],
    bands: Float[Array, "b c p"],
    drawn: float,
    beta: Float[Array, " b"],
) -> Float[Array, "b c y x"]:
    """What turns images under a PSF `drawn` wide, of `wings.BETA`, into those of bands.

    Args:
        sides: pixels along y and x.
        bands: see `mixing.describe_bands`; those with a narrower PSF stay as wide.
        drawn: pixels per FWHM.
        beta: of the bands of each image.
    """
    y, x = (frequencies(size) for size in sides)
    wave = jnp.asarray(np.hypot(y[:, None], x), jnp.float32)
    given = jnp.float32(drawn)
    fwhm = jnp.maximum(sampling_of(bands), given)[..., None, None]
    own = logarithm(fwhm * wave, beta[:, None, None, None])
    return jnp.exp(own - logarithm(given * wave, jnp.float32(BETA)))


def logarithm(
    wave: Float[Array, "..."], beta: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Of the Fourier transform of Moffat's profile, a Matern function.

    It has a closed form for half-integer beta; between those it is the cubic in
    1 / beta through four of them, right to 2e-4 of the total flux from 2.4 to 5.

    Args:
        wave: the FWHM times the frequency in radians.
        beta: of shapes that go with it.
    """
    places = np.array([1 / b for b in _CLOSED])
    total = jnp.zeros((), jnp.float32)
    for place, (fixed, coefficients) in enumerate(_CLOSED.items()):
        others = np.delete(places, place)
        share = jnp.ones((), jnp.float32)
        for other in others:
            scale = np.float32(1 / (places[place] - other))
            share = share * (1 / beta - np.float32(other)) * scale
        s = wave * np.float32(0.5 / np.sqrt(2 ** (1 / fixed) - 1))
        value = jnp.zeros((), jnp.float32)
        for coefficient in reversed(coefficients):
            value = value * s + np.float32(coefficient)
        total = total + share * (jnp.log(value) - s)
    return total
