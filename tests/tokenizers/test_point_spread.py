# SPDX-License-Identifier: MIT
"""PSFs laid over what is drawn, beside scipy's transforms and Moffats by formula."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from scipy.special import gamma, kv

from aion.instrument import find_band
from aion_tokenizers.mixing import describe_bands, sampling_of, without_psf
from aion_tokenizers.point_spread import (
    MARGIN,
    beyond,
    continued,
    frequencies,
    logarithm,
    moffat,
    spread,
)

SIDE = 96


def noise(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def star(fwhm: float, y: float, x: float, beta: float = 3.5) -> np.ndarray:
    """A Moffat of flux 1."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    r2 = np.square(rows - y) + np.square(columns - x)
    peak = (beta - 1) / (np.pi * alpha**2)
    return (peak * (1 + r2 / alpha**2) ** -beta).astype(np.float32)


def told(sampling: list[float]) -> jax.Array:
    """Bands of the Legacy Surveys with PSFs of so many pixels."""
    bands = tuple(find_band(f"DES-{name}") for name in "GRIZ"[: len(sampling)])
    scale = bands[0].pixel_scale
    return jnp.asarray(describe_bands(bands, np.array([sampling]) * scale, None))


def test_the_sampling_is_what_was_described():
    np.testing.assert_allclose(sampling_of(told([2.5, 4, 9])), [[2.5, 4, 9]], rtol=1e-5)
    unknown = jnp.asarray(describe_bands((find_band("DES-G"),), None, None))
    assert float(sampling_of(unknown)[0, 0]) == pytest.approx(4.3, rel=1e-5)


def test_without_its_psf_a_band_is_the_same_whatever_that_is():
    narrow, wide = without_psf(told([2.5, 4])), without_psf(told([3.5, 9]))
    np.testing.assert_array_equal(narrow, wide)
    assert np.any(narrow[0, 0] != narrow[0, 1])


def under(image: jax.Array, factors: jax.Array) -> np.ndarray:
    """What goes on beyond its edges as it came, with factors."""
    return np.asarray(spread(continued(image, MARGIN), factors, MARGIN))


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.integers(MARGIN + 1, 40), st.integers(MARGIN + 1, 40))
def test_factors_of_waves_are_those_of_a_cosine_transform(height, width):
    image = noise(2, 3, height, width)
    factors = noise(1, 1, *beyond((height, width)))
    wide = np.asarray(continued(image, MARGIN), np.float64)
    waves = scipy.fft.dctn(wide, 2, axes=(2, 3), norm="ortho")
    expected = scipy.fft.idctn(waves * factors, 2, axes=(2, 3), norm="ortho")
    factors = jnp.broadcast_to(factors, (2, 3, *factors.shape[2:]))
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    np.testing.assert_allclose(under(image, factors), expected[inside], atol=5e-5)


def test_beyond_its_edges_an_image_is_odd_about_the_values_there():
    image, more = noise(2, 1, 20, 9), (MARGIN, MARGIN)
    pads = ((0, 0), (0, 0), more, more)
    expected = np.pad(np.asarray(image), pads, "reflect", reflect_type="odd")
    np.testing.assert_allclose(continued(image, MARGIN), expected, atol=1e-5)


@pytest.mark.parametrize("sides", [(1, 1), (4, 4), (4, 12), (13, 30)])
def test_any_image_stays_the_same_without_factors(sides):
    image = noise(1, 2, *sides)
    factors = jnp.ones((1, 2, *beyond(sides)))
    np.testing.assert_allclose(under(image, factors), image, atol=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_a_gaussian_in_frequency_is_one_in_pixels(sigma):
    image = noise(1, 1, 30, 41)
    y, x = (frequencies(size) for size in beyond((30, 41)))
    wave2 = np.square(y)[:, None] + np.square(x)
    factors = jnp.asarray(np.exp(-0.5 * wave2 * sigma**2), jnp.float32)[None, None]
    flat = np.asarray(continued(image, MARGIN))[0, 0]
    expected = scipy.ndimage.gaussian_filter(flat, sigma, mode="reflect", truncate=6)
    expected = expected[MARGIN:-MARGIN, MARGIN:-MARGIN]
    # At sigma 1 a Gaussian of pixels and its transform differ a little.
    np.testing.assert_allclose(under(image, factors)[0, 0], expected, atol=5e-3)


def test_a_source_on_the_edge_has_no_ridge_there():
    """What rises towards an edge goes on rising, under any PSF."""
    y = np.arange(30, dtype=np.float32)[:, None] * np.ones(40, np.float32)
    factors = moffat(beyond((30, 40)), told([6.0]), 2.0, jnp.full(1, 3.5))
    found = under(jnp.asarray(y)[None, None], factors)
    np.testing.assert_allclose(found[0, 0, :, 20], y[:, 20], atol=0.35)


@pytest.mark.parametrize("y", [-2.0, 0.0, 3.0])
def test_light_from_beyond_the_edge_falls_into_the_image(y):
    """Where it is drawn; what goes on as it came knows nothing of it."""
    scene = star(2.0, 40 + y, 48.8)
    expected = star(6.0, 40 + y, 48.8)[40:80, 20:80]
    sides, beta = (40, 60), jnp.full(1, 3.5, jnp.float32)
    factors = moffat(beyond(sides), told([6.0]), 2.0, beta)

    def seen(drawn: int) -> jax.Array:
        view = scene[40 - drawn : 80 + drawn, 20 - drawn : 80 + drawn]
        return jnp.asarray(view)[None, None]

    def error(found: np.ndarray) -> float:
        assert found.shape == (1, 1, *sides)
        return float(np.abs(found[0, 0] - expected).max() / expected.max())

    assert error(np.asarray(spread(seen(MARGIN), factors, MARGIN))) < 0.02
    assert error(np.asarray(spread(seen(8), factors, 8))) < 0.02
    assert error(under(seen(0), factors)) > 0.05


@hypothesis.given(st.floats(2.4, 5.0))
def test_transforms_of_moffats_are_matern_functions(beta):
    """Bessel functions of scipy; of beta between those with a closed form too."""
    wave = np.linspace(0, 20, 200)
    s = np.maximum(wave / (2 * np.sqrt(2 ** (1 / beta) - 1)), 1e-6)
    order = beta - 1
    expected = 2 ** (1 - order) / gamma(order) * s**order * kv(order, s)
    found = np.exp(logarithm(jnp.asarray(wave, jnp.float32), jnp.float32(beta)))
    np.testing.assert_allclose(found, expected, atol=2.5e-4)


@pytest.mark.parametrize("beta", [2.6, 3.5, 4.4])
def test_a_drawn_star_is_seen_with_the_psf_of_each_band(beta):
    wide, y, x, sides = [2.0, 3.6, 6.0], 46.3, 48.8, (SIDE, SIDE)
    image = jnp.broadcast_to(star(3.0, y, x), (1, 3, *sides))
    own = jnp.full(1, beta, jnp.float32)
    factors = moffat(beyond(sides), told(wide), 3.0, own)
    found = under(image, factors)
    total, given = found.sum(axis=(2, 3)), image.sum(axis=(2, 3))
    np.testing.assert_allclose(total, given, rtol=1e-3)  # some is beyond the edges
    for image, fwhm in zip(found[0], wide, strict=True):
        expected = star(max(fwhm, 3.0), y, x, beta)
        near = 1e-3 if beta == 3.5 else 3e-3  # where there is no closed form
        np.testing.assert_allclose(image, expected, atol=near * expected.max())


def test_the_widest_psfs_are_finite():
    sides, beta = (32, 20), jnp.full(1, 3.5, jnp.float32)
    factors = np.asarray(moffat(sides, told([2.0, 40.0, 4000.0]), 2.0, beta))
    np.testing.assert_allclose(factors[0, 0], 1, atol=1e-6)
    assert np.isfinite(factors).all()
    assert np.all(factors[..., 0, 0] == 1)
