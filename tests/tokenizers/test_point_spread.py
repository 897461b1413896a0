# SPDX-License-Identifier: MIT
"""PSFs laid over what is drawn, beside scipy's Gaussians and Gaussians by formula."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from aion.instrument import find_band
from aion_tokenizers.mixing import describe_bands, sampling_of
from aion_tokenizers.point_spread import FARTHEST, spread, widened

SIDE = 64
FWHM = np.sqrt(8 * np.log(2))


def noise(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def star(fwhm: float) -> np.ndarray:
    """A Gaussian of flux 1 in the middle of an image."""
    r2 = sum(np.square(np.mgrid[:SIDE, :SIDE] - SIDE // 2))
    sigma = fwhm / FWHM
    return (np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)).astype(np.float32)


def told(sampling: list[float]) -> jax.Array:
    """Bands of the Legacy Surveys with PSFs of so many pixels."""
    bands = tuple(find_band(f"DES-{name}") for name in "GRIZ"[: len(sampling)])
    scale = bands[0].pixel_scale
    return jnp.asarray(describe_bands(bands, np.array([sampling]) * scale, None))


def test_the_sampling_is_what_was_described():
    np.testing.assert_allclose(sampling_of(told([2.5, 4, 9])), [[2.5, 4, 9]], rtol=1e-5)
    unknown = jnp.asarray(describe_bands((find_band("DES-G"),), None, None))
    assert float(sampling_of(unknown)[0, 0]) == pytest.approx(4.3, rel=1e-5)


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.floats(0.5, 4), st.integers(5, 40), st.integers(5, 40))
def test_widened_is_a_gaussian_of_what_lies_inside(sigma, height, width):
    image = noise(1, 1, height, width)
    found = widened(image, jnp.full((1, 1), sigma**2, jnp.float32))

    def smooth(values):
        return scipy.ndimage.gaussian_filter(
            values, sigma, mode="constant", radius=FARTHEST
        )

    flat = np.asarray(image[0, 0], np.float64)
    expected = smooth(flat) / smooth(np.ones_like(flat))
    np.testing.assert_allclose(found[0, 0], expected, atol=2e-4)


def test_nothing_happens_without_variance_and_bands_do_not_mix():
    image = noise(2, 3, 16, 20)
    variance = jnp.array([[0.0, -1.0, 2.0], [1.0, 0.0, 3.0]])
    found = widened(image, variance)
    np.testing.assert_allclose(found[0, :2], image[0, :2], atol=1e-6)
    np.testing.assert_allclose(found[1, 1], image[1, 1], atol=1e-6)
    alone = widened(image[1:, 2:], variance[1:, 2:])
    np.testing.assert_allclose(found[1:, 2:], alone, atol=1e-6)


def test_a_drawn_star_is_seen_with_the_psf_of_each_band():
    wide = [2.0, 3.5, 6.0]
    drawn = jnp.broadcast_to(star(2.5), (1, 3, SIDE, SIDE))
    found = np.asarray(spread(drawn, told(wide), 2.5))
    np.testing.assert_allclose(found.sum(axis=(2, 3)), 1, rtol=1e-4)
    for image, fwhm in zip(found[0], wide, strict=True):
        np.testing.assert_allclose(image, star(max(fwhm, 2.5)), atol=3e-4)
