# SPDX-License-Identifier: MIT
"""The starlet transform beside scipy's convolutions, and what shares of it do."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from flax import nnx

from aion_tokenizers.starlets import Sharpening, halo, smoothed, starlets

SIDE = 64


def noise(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def star(sigma: float) -> np.ndarray:
    """A Gaussian of flux 1 in the middle of an image."""
    r2 = sum(np.square(np.mgrid[:SIDE, :SIDE] - SIDE // 2))
    return (np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)).astype(np.float32)


def variance(image: np.ndarray) -> float:
    """Second moment along x in pixels^2."""
    x = np.arange(SIDE) - SIDE // 2
    return float((image.sum(axis=0, dtype=np.float64) * x**2).sum() / image.sum())


def sharpening(shares: list[float]) -> Sharpening:
    """The same shares whatever is told."""
    layer = Sharpening(4, len(shares), nnx.Rngs(0))
    layer.share.bias[...] = jnp.array(shares)
    return layer


@pytest.mark.parametrize("hole", [1, 2, 4])
def test_smoothing_is_a_spline_with_holes(hole):
    image, kernel = noise(2, 20, 31), np.zeros(4 * hole + 1)
    kernel[::hole] = np.array([1, 4, 6, 4, 1]) / 16
    expected = np.asarray(image, np.float64)
    for axis in (1, 2):
        expected = scipy.ndimage.convolve1d(expected, kernel, axis, mode="nearest")
    np.testing.assert_allclose(smoothed(image, hole), expected, atol=1e-6)


@hypothesis.settings(max_examples=4)
@hypothesis.given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))
def test_planes_add_up_to_the_image(planes, height, width):
    image = noise(height, width)
    found, rest = starlets(image, planes)
    assert len(found) == planes
    np.testing.assert_allclose(sum(found) + rest, image, atol=1e-5)


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_a_pixel_reaches_as_far_as_the_halo(planes):
    image = jnp.zeros((1, SIDE, SIDE)).at[0, 32, 32].set(1)
    _, rest = starlets(image, planes)
    there = np.flatnonzero(np.asarray(rest)[0].any(axis=0))
    assert (there[0], there[-1]) == (32 - halo(planes), 32 + halo(planes))


def test_shares_change_the_width_of_a_star_and_not_its_flux():
    image = star(2.5)
    seen, told = jnp.asarray(image)[None, None], noise(1, 1, 4)
    for shares in ([-0.4, 0.0, 0.0], [0.0, -0.3, 0.0], [0.3, 0.1, -0.2]):
        found = np.asarray(sharpening(shares)(seen, told))[0, 0]
        assert found.sum() == pytest.approx(1, abs=1e-4)
        # The planes' smoothings widen by 1, 4 and 16 pixels^2.
        wider = -np.dot(shares, [1, 4, 16])
        assert variance(found) == pytest.approx(2.5**2 + wider, abs=0.01)


def test_a_fresh_layer_changes_nothing_and_bands_do_not_mix():
    flux, told = noise(2, 3, 16, 16), noise(2, 3, 4)
    fresh = Sharpening(4, 3, nnx.Rngs(0))
    np.testing.assert_allclose(fresh(flux, told), flux, atol=1e-5)
    fresh.share.weight[...] = noise(4, 3)
    both, alone = fresh(flux, told), fresh(flux[:, 1:2], told[:, 1:2])
    np.testing.assert_allclose(both[:, 1:2], alone, atol=1e-5)
