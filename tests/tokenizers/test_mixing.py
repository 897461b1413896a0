# SPDX-License-Identifier: MIT
"""Bands are told in numbers: any number, any order, and none that is not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aion.errors import DataError
from aion.instrument import BANDS, Band
from aion_tokenizers.image_network import ImageConfig
from aion_tokenizers.mixing import (
    BINS,
    FIELDS,
    TYPICAL_SAMPLING,
    BandsOut,
    coverage,
    describe_bands,
    pixel_scale_alone,
)

GRIZY = tuple(BANDS[f"HSC-{b}"] for b in "GRIZY")
CONFIG = ImageConfig(width=16, encoder_blocks=1, decoder_blocks=1, told=8)
RNG = np.random.default_rng(3)


class Compiled:
    """A network, and its two halves as one program each."""

    def __init__(self):
        self.network = CONFIG.network(nnx.Rngs(0))
        graph, state = nnx.split(self.network)
        self.encode = jax.jit(lambda *a: nnx.merge(graph, state).encode(*a))
        self.decode = jax.jit(lambda *a: nnx.merge(graph, state).decode(*a))


@pytest.fixture(scope="module")
def network():
    return Compiled()


@pytest.fixture(scope="module")
def image():
    flux = RNG.normal(0, 2, (2, 5, 8, 12)).astype(np.float32)
    told = describe_bands(GRIZY, RNG.uniform(0.5, 1, (2, 5)), RNG.uniform(1, 3, (2, 5)))
    return jnp.asarray(flux), jnp.ones_like(flux), jnp.asarray(told)


def test_numbers_are_of_order_one_and_follow_the_band():
    numbers = describe_bands(
        tuple(b for b in BANDS.values() if b.pixel_scale), None, None
    )
    assert numbers.shape == (1, 18, len(FIELDS)) and np.isfinite(numbers).all()
    optical = describe_bands(GRIZY, np.full((1, 5), 0.7), np.ones((1, 5)))
    assert np.abs(optical).max() < 3
    assert (np.diff(optical[0, :, FIELDS.index("wavelength")]) > 0).all()


def test_what_is_not_told_has_a_typical_value():
    scale = GRIZY[0].pixel_scale
    typical = np.full((1, 5), TYPICAL_SAMPLING * scale)
    unknown = np.array([[np.nan, 0, -1, np.nan, np.nan]])
    expected = describe_bands(GRIZY, typical, np.ones((1, 5)))
    np.testing.assert_array_equal(describe_bands(GRIZY, unknown, None), expected)
    several = describe_bands(GRIZY, None, np.full((3, 5), np.nan))
    np.testing.assert_array_equal(several, np.repeat(expected, 3, axis=0))
    assert describe_bands(GRIZY, None, None, count=4).shape[0] == 4


def test_a_band_without_pixel_scale_is_refused_by_name():
    with pytest.raises(DataError, match="GAIA-G"):
        describe_bands(
            (BANDS["GAIA-G"], Band("X", "y", 1.0, 1.0, 1.0, 0.3)), None, None
        )


def test_the_order_of_bands_does_not_matter(network, image):
    flux, valid, told = image
    order = np.array([3, 0, 4, 2, 1])
    latent = network.encode(flux, valid, told)
    turned = network.encode(flux[:, order], valid[:, order], told[:, order])
    np.testing.assert_allclose(turned, latent, atol=1e-5)
    pixels = network.decode(latent, told)
    np.testing.assert_allclose(
        network.decode(latent, told[:, order]), pixels[:, order], atol=1e-5
    )


def test_a_band_is_decoded_the_same_whatever_is_asked_beside_it(network, image):
    flux, valid, told = image
    latent = network.encode(flux, valid, told)
    whole = network.decode(latent, told)
    np.testing.assert_allclose(
        network.decode(latent, told[:, 2:3]), whole[:, 2:3], atol=1e-5
    )


def test_a_band_that_is_not_there_is_as_if_it_was_not_given(network, image):
    flux, valid, told = image
    expected = network.encode(flux[:, :4], valid[:, :4], told[:, :4])
    broken = flux.at[:, 4].set(jnp.nan), valid.at[:, 4].set(0.0), told.at[:, 4].set(9.0)
    np.testing.assert_allclose(network.encode(*broken), expected, atol=1e-5)


def test_every_number_of_a_band_matters(network, image):
    flux, valid, told = image
    latent = network.encode(flux, valid, told)
    for place in range(len(FIELDS)):
        other = told.at[:, 0, place].add(0.5)
        assert jnp.abs(network.encode(flux, valid, other) - latent).max() > 1e-5
    alone = pixel_scale_alone(told)
    assert (alone != 0).sum() == told.shape[0] * told.shape[1]


def test_gradients_are_finite_where_nothing_is_valid(network, image):
    flux, valid, told = image
    graph, state = nnx.split(network.network)

    def loss(state):
        return jnp.sum(nnx.merge(graph, state).encode(flux, 0 * valid, told))

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(state)):
        assert np.isfinite(leaf).all()


def box(wavelength: float, width: float) -> Band:
    return Band("box", "HSC", float(wavelength), float(width), 22.5, 0.2)


def test_coverage_is_the_share_of_a_band_in_each_bin():
    edges = np.geomspace(3000.0, 11_500.0, BINS + 1)
    bands = [(3560, 1068), (3602, 669), (7000, 20), (10_000, 4000), (17_000, 3000)]
    numbers = describe_bands([box(*band) for band in bands], None, None)
    found = np.asarray(coverage(jnp.asarray(numbers)))[0]
    fine = np.linspace(2000.0, 20_000.0, 1_800_001)
    for (wavelength, width), shares in zip(bands, found, strict=True):
        there = np.abs(fine - wavelength) < width / 2
        counts = np.histogram(fine[there], edges)[0]
        np.testing.assert_allclose(shares, counts / there.sum(), atol=2e-3)
    assert found[:3].sum(axis=1) == pytest.approx(np.ones(3), abs=1e-3)
    assert not found[4].any()


def test_bins_tell_bands_apart_that_overlap():
    out = BandsOut(4, 6, 3, nnx.Rngs(0))
    bands = [box(3560, 1068), box(3602, 669)]
    numbers = jnp.asarray(describe_bands(bands, None, None))
    x, told = jnp.ones((1, 1, 3)), jnp.zeros((1, 2, 6))
    before = out(x, numbers, told)
    place = int(np.argmax(np.asarray(coverage(numbers))[0, 1]))
    out.fine[...] = out.fine[...].at[place].set(1.0)
    change = np.asarray(out(x, numbers, told) - before)[0, :, 0]
    share = np.asarray(coverage(numbers))[0, :, place]
    np.testing.assert_allclose(change, 2 * 3 * share[:, None] * np.ones(4), rtol=1e-4)
    assert share[1] > 1.2 * share[0] > 0
