# SPDX-License-Identifier: MIT
"""Refined latents decode nearer to the data, image by image, and harm nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from aion.errors import ConfigError
from aion_tokenizers.descent import RATE, SPREAD
from aion_tokenizers.image_network import ImageConfig, ImageNetwork
from aion_tokenizers.mixing import FIELDS
from aion_tokenizers.quantization import plain_sizes
from aion_tokenizers.quantizers import FSQ
from aion_tokenizers.refinement import (
    Cells,
    Data,
    approached,
    refined,
    refined_spectrum,
)
from aion_tokenizers.spectrum_grid import LogGrid
from aion_tokenizers.spectrum_network import TOLD, SpectrumSizes
from aion_tokenizers.spectrum_pixels import cell_channels
from aion_tokenizers.wings import packed, unpacked

SIZES = ImageConfig(
    width=16, encoder_blocks=1, decoder_blocks=2, told=8, levels=(8, 8, 8), psf=4.0
)
COUNT, BANDS, SIDE, STEPS = 3, 2, 24, 12


@pytest.fixture(scope="module", params=["fsq", "vq"])
def network(request) -> ImageNetwork:
    sizes = replace(SIZES, quantizer=request.param, dimension=5)
    return sizes.network(nnx.Rngs(3))


@pytest.fixture(scope="module")
def data(network) -> Data:
    """Images that some codes stand for, with noise and bad pixels."""
    rng = np.random.default_rng(0)
    grid = (COUNT, SIDE // SIZES.patch, SIDE // SIZES.patch)
    codes = jnp.asarray(rng.integers(0, network.quantizer.num_codes, grid, np.int32))
    bands = rng.normal(0, 0.5, (COUNT, BANDS, len(FIELDS)))
    bands = jnp.asarray(bands, jnp.float32)
    truth = np.sinh(network.decode(network.quantizer.decode(codes), bands))
    sigma = rng.uniform(0.02, 0.04, truth.shape).astype(np.float32)
    flux = truth + sigma * rng.standard_normal(truth.shape, np.float32)
    valid = (rng.random(truth.shape) < 0.9).astype(np.float32)
    return Data(*map(jnp.asarray, (flux, sigma, valid, bands)))


def start(network, data):
    """The encoder's latents."""
    pixels = jnp.arcsinh(jnp.where(data.valid > 0, data.flux, 0))
    return network.encode(pixels, data.valid, data.bands)


def run(network, data, steps=STEPS, turns=0, passes=0):
    """Latents of images and of wings, before and after, each as of `wings.packed`."""
    graph, state = nnx.split(network)

    @jax.jit
    def both(state, data):
        network = nnx.merge(graph, state)
        latent = start(network, data)
        found = refined(network, latent, data, steps, turns, passes)
        return packed(latent), packed(*found)

    return both(state, data)


def chi2(network, row, data):
    """Of the rounded latents, by image."""
    grid = (SIDE // SIZES.patch, SIDE // SIZES.patch, -1)
    latent, wings = unpacked(row, (len(row), *grid))
    values = network.quantizer(latent).values
    guess = jnp.sinh(network.decode(values, data.bands, wings))
    residual = jnp.where(data.valid > 0, (guess - data.flux) / data.sigma, 0)
    return jnp.sum(residual**2, axis=(1, 2, 3))


def test_rounded_latents_decode_nearer_to_every_image(network, data):
    before, after = run(network, data)
    gain = chi2(network, before, data) / chi2(network, after, data)
    assert (gain > 1.5).all(), gain


def test_settled_codes_decode_nearer_than_rounded_ones(network, data):
    if not isinstance(network.quantizer, FSQ):
        with pytest.raises(ConfigError, match="levels"):
            run(network, data, STEPS, 4)
        return
    found, rounded = run(network, data, STEPS, 4)[1], run(network, data)[1]
    before, after = chi2(network, rounded, data), chi2(network, found, data)
    assert (after < 0.9 * before).all(), after / before
    searched = run(network, data, STEPS, 4, 1)[1]
    assert (chi2(network, searched, data) <= after).all()
    spoilt = data._replace(flux=jnp.where(data.valid > 0, data.flux, np.nan))
    np.testing.assert_array_equal(run(network, spoilt, STEPS, 4)[1], found)


def test_wings_stay_where_nothing_shows(network, data):
    """Those that are found where something does: tests/test_nano_bundle.py."""
    blind = data._replace(sigma=data.sigma * 1e4)
    np.testing.assert_array_equal(run(network, blind)[1][:, 0], 0)


def test_no_steps_change_nothing(network, data):
    before, after = run(network, data, 0)
    np.testing.assert_array_equal(before, after)


def test_the_steps_are_those_of_adam(network, data):
    def objective(moved, latent):
        far = jnp.sum(jnp.square(moved - latent)) / SPREAD**2
        return 0.5 * (jnp.sum(chi2(network, moved, data)) + far)

    rate = optax.cosine_decay_schedule(RATE, 2, 0.1)
    adam = optax.adam(rate, b1=0.8, b2=0.95, eps=1.0)
    latent = packed(start(network, data))
    moved, state = latent, adam.init(latent)
    for _ in range(2):
        slope = jax.grad(objective)(moved, latent)
        with jax.numpy_dtype_promotion("standard"):
            change, state = adam.update(slope, state)
        moved = optax.apply_updates(moved, change)
    ours = np.asarray(run(network, data, 2)[1])[:, 1:]
    moved = moved[:, 1:]
    # Where a latent lies on the edge of two codes either side may be taken.
    assert np.mean(np.abs(ours - moved) < 1e-3) > 0.97


def test_an_image_does_not_depend_on_its_batch(network, data):
    together = run(network, data)[1]
    alone = [run(network, Data(*(x[n : n + 1] for x in data)))[1] for n in range(COUNT)]
    off = np.abs(np.concatenate(alone) - together)
    assert np.mean(off < 1e-3) > 0.97


def test_what_is_not_valid_does_not_matter(network, data):
    good = data.valid > 0
    plain = run(network, data)[1]
    for value in (np.nan, np.inf, 1e30):
        spoilt = data._replace(
            flux=jnp.where(good, data.flux, value),
            sigma=jnp.where(good, data.sigma, 0.0),
        )
        np.testing.assert_array_equal(run(network, spoilt)[1], plain)


@pytest.mark.parametrize("value", [1e30, np.inf])
def test_a_wild_pixel_stays_in_its_image(network, data, value):
    wild = data._replace(
        flux=data.flux.at[0, 0, 5, 5].set(value),
        sigma=data.sigma.at[0, 0, 5, 5].set(1e-30),
        valid=data.valid.at[0, 0, 5, 5].set(1.0),
    )
    latent = start(network, data)
    after = packed(*refined(network, latent, wild, STEPS))
    assert np.isfinite(after).all()
    others = packed(*refined(network, latent, data, STEPS))
    np.testing.assert_allclose(after[1:], others[1:], atol=1e-3)


def test_noise_alone_moves_latents_little(network, data):
    faint = data._replace(sigma=data.sigma * 1e4)
    before, after = run(network, faint)
    np.testing.assert_allclose(before, after, atol=0.02)


def bowls(goal, weight):
    """A misfit of latents, by the token, least at the goal; each object has its own."""

    def misfit(latent):
        return jnp.sum(0.5 * weight[:, None, None] * (latent - goal) ** 2, axis=-1)

    return misfit


def test_images_descend_until_they_gain_no_more():
    rng = np.random.default_rng(2)
    goal = jnp.asarray(rng.normal(0, 0.3, (3, 5, 2)), jnp.float32)
    weight = jnp.asarray([1e4, 1e3, 0.1])
    start = jnp.zeros_like(goal)
    found = approached(start, bowls(goal, weight), 400)
    least = goal * (weight / (weight + SPREAD**-2))[:, None, None]
    np.testing.assert_allclose(found[:2], least[:2], atol=0.03)
    # The last one could have gained nothing worth a step.
    np.testing.assert_allclose(found[2], 0, atol=0.01)
    for row in range(3):
        one = slice(row, row + 1)
        alone = approached(start[one], bowls(goal[one], weight[one]), 400)
        np.testing.assert_allclose(alone[0], found[row], atol=1e-6)
    spoilt = bowls(goal.at[0].set(jnp.nan), weight)
    kept = approached(start, spoilt, 400)
    np.testing.assert_array_equal(kept[0], start[0])
    np.testing.assert_allclose(kept[1:], found[1:], atol=1e-6)


def test_spectra_are_refined_too():
    sizes = SpectrumSizes(
        LogGrid(cells=512), patch=4, width=16, fine=8, encoder_blocks=1
    )
    network = sizes.network(nnx.Rngs(0))
    rng = np.random.default_rng(1)
    codes = rng.integers(0, network.quantizer.num_codes, (COUNT, sizes.tokens))
    told = jnp.zeros((COUNT, sizes.tokens, TOLD), jnp.float32)
    both = network.decode(network.quantizer.decode(jnp.asarray(codes)), told)
    flux = jnp.sinh(both[:, 0])
    sigma = 0.03 * jnp.std(flux)
    ivar = jnp.where(rng.random(flux.shape) < 0.9, sigma**-2, 0.0)
    noise = rng.standard_normal(flux.shape, np.float32)
    seen = Cells(jnp.where(ivar > 0, flux + sigma * noise, 1e30), ivar, told)

    def error(latent):
        made = network.decode(network.quantizer(latent).values, told)
        return np.mean(((jnp.sinh(made[:, 0]) - flux) / sigma) ** 2, axis=1)

    clean = jnp.where(ivar > 0, seen.flux, 0.0)
    latent = network.encode(cell_channels(clean, ivar), told)
    after = refined_spectrum(network, latent, seen, STEPS)
    assert (error(after) < 0.7 * error(latent)).all()
    found = refined_spectrum(network, after, seen, 0, 1)
    assert error(found).sum() < error(after).sum()
    other = seen._replace(flux=jnp.where(ivar > 0, seen.flux, jnp.nan))
    np.testing.assert_array_equal(
        refined_spectrum(network, latent, other, STEPS), after
    )


def test_files_hold_the_steps_only_where_there_are_some():
    assert "refine" not in plain_sizes(SIZES)
    assert plain_sizes(replace(SIZES, refine=7))["refine"] == 7


@pytest.mark.parametrize(
    ("sizes", "name"), [(ImageConfig(), "settle"), (SpectrumSizes(), "search")]
)
def test_what_follows_descent_is_a_size_of_the_network(sizes, name):
    assert name not in plain_sizes(sizes)
    assert plain_sizes(replace(sizes, **{name: 2}))[name] == 2
    more = replace(sizes, refine=1, **{name: 1})
    assert more.reach >= replace(sizes, refine=1).reach > sizes.reach
    with pytest.raises(ConfigError, match=f"{name}=0"):
        replace(sizes, quantizer="lfq", **{name: 1})
    with pytest.raises(ConfigError, match="0 or more"):
        replace(sizes, **{name: -1})
