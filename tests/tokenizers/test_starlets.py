# SPDX-License-Identifier: MIT
"""The starlet transform beside scipy's convolutions, and what shares of it do."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage

from aion_tokenizers.point_spread import MARGIN, beyond, continued, spread
from aion_tokenizers.starlets import Sharpening, starlets

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
    """A layer with these shares."""
    layer = Sharpening(len(shares))
    layer.share[...] = jnp.array(shares)
    return layer


@hypothesis.settings(max_examples=4)
@hypothesis.given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))
def test_planes_are_differences_of_splines_with_holes(planes, height, width):
    image = noise(height, width)
    smooth, factors = np.asarray(image, np.float64), starlets((height, width), planes)
    assert factors.shape == (planes, height, width)
    for scale, factor in enumerate(factors):
        hole, kernel = 2**scale, np.zeros(4 * 2**scale + 1)
        kernel[::hole] = np.array([1, 4, 6, 4, 1]) / 16
        after = smooth
        for axis in (0, 1):
            after = scipy.ndimage.convolve1d(after, kernel, axis, mode="reflect")
        waves = scipy.fft.dctn(np.asarray(image, np.float64), 2, norm="ortho")
        found = scipy.fft.idctn(waves * factor, 2, norm="ortho")
        np.testing.assert_allclose(found, smooth - after, atol=1e-5)
        smooth = after


def test_shares_change_the_width_of_a_star_and_not_its_flux():
    seen = jnp.asarray(star(2.5))[None, None]
    for shares in ([-0.4, 0.0, 0.0], [0.0, -0.3, 0.0], [0.3, 0.1, -0.2]):
        factors = sharpening(shares)(beyond((SIDE, SIDE)))
        found = np.asarray(
            spread(continued(seen, MARGIN), factors[None, None], MARGIN)
        )[0, 0]
        assert found.sum() == pytest.approx(1, abs=1e-4)
        # The planes' smoothings widen by 1, 4 and 16 pixels^2.
        wider = -np.dot(shares, [1, 4, 16])
        assert variance(found) == pytest.approx(2.5**2 + wider, abs=0.01)


def test_a_fresh_layer_changes_nothing():
    np.testing.assert_array_equal(Sharpening(3)((16, 12)), np.ones((16, 12)))
