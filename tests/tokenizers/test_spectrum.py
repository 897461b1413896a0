# SPDX-License-Identifier: MIT
"""The spectrum codec: codes, norms, and what has no influence."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.codec import load_codec, save_codec
from aion.errors import ArtefactError, ConfigError, DataError
from aion.modality import MODALITIES
from aion.observation import Image, Spectrum
from aion.surveys.opening import open_survey
from aion.train.codec_task import Sample
from aion_tokenizers.spectrum import SpectrumCodec
from aion_tokenizers.spectrum_grid import LogGrid
from aion_tokenizers.spectrum_network import SpectrumAutoencoder, SpectrumSizes
from aion_tokenizers.spectrum_pixels import read_spectrum, told_power
from aion_tokenizers.spectrum_scores import LINES, equivalent_width

SMALL = SpectrumSizes(
    grid=LogGrid(cells=1024),
    width=16,
    fine=8,
    encoder_blocks=1,
    decoder_blocks=2,
    levels=(5, 5, 5),
)
LINE = np.arange(3700.0, 9700.0, 6.0)
EXACT = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module", params=[0, 2])
def codec(request):
    sizes = replace(SMALL, refine=request.param, search=int(request.param > 0))
    return SpectrumCodec(sizes, sizes.network(nnx.Rngs(3)))


def spectra(count=2, line=LINE, seed=0, **more):
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(1, 1, (count, 1)))
    shape = level * (1 + 0.3 * np.sin(np.asarray(line) / 300))
    flux = (shape + 0.1 * rng.standard_normal(shape.shape)).astype(np.float32)
    values = {"ivar": np.full(flux.shape, 100.0), "mask": None, "resolution": 2000.0}
    return Spectrum(flux, wavelength=line, **(values | more))


# --- influence


def test_tokens_and_their_ranges(codec):
    seen = spectra(3)
    codes = codec.encode(seen)
    spec = codec.spec(MODALITIES["desi_spectrum"], "spectrum")
    assert codes.shape == (3, 1 + SMALL.tokens) == (3, spec.num_tokens)
    assert codes.dtype == np.int32
    ranges = spec.slot_ranges
    assert np.all((codes >= ranges[:, 0]) & (codes < ranges[:, 1]))
    assert spec.code_features.shape[0] == spec.vocabulary == 125 + 256
    assert spec.slot_features.shape[0] == spec.num_tokens
    assert np.isfinite(spec.code_features).all()
    assert len(np.unique(spec.code_features, axis=0)) == spec.vocabulary
    assert len(np.unique(spec.slot_features, axis=0)) == spec.num_tokens


@EXACT
@given(seed=st.integers(0, 10_000), how=st.sampled_from(["mask", "ivar", "nan ivar"]))
def test_values_without_weight_have_no_influence(codec, seed, how):
    rng = np.random.default_rng(seed)
    seen = spectra(1, seed=seed)
    bad = rng.random(seen.flux.shape) < 0.2
    mask, ivar = np.ones(bad.shape, bool), seen.ivar.copy()
    if how == "mask":
        mask[bad] = False
    else:
        ivar[bad] = 0.0 if how == "ivar" else np.nan
    clean = Spectrum(seen.flux, ivar, mask, LINE, 2000.0)
    wild = seen.flux.copy()
    wild[bad] = rng.choice([1e30, -1e30, np.nan, np.inf, 0.0], bad.sum())
    dirty = Spectrum(wild, ivar, mask, LINE, 2000.0)
    before = wild.copy()
    assert np.array_equal(codec.encode(clean), codec.encode(dirty))
    assert np.array_equal(wild, before, equal_nan=True)


@EXACT
@given(seed=st.integers(0, 10_000), place=st.integers(0, len(LINE) - 31))
def test_bad_pixels_change_only_tokens_around_them(codec, seed, place):
    seen = spectra(1, seed=seed)
    mask = np.ones(seen.flux.shape, bool)
    mask[:, place : place + 30] = False
    hidden = Spectrum(seen.flux, seen.ivar, mask, LINE, 2000.0)
    first, second = codec.encode(seen)[0], codec.encode(hidden)[0]
    if first[0] != second[0]:
        return
    edges = SMALL.grid.place(LINE[[place, place + 29]]) / SMALL.cells
    reach = codec.sizes.reach + 1
    low, high = np.floor(edges[0]) - reach, edges[1] + reach
    changed = np.flatnonzero(first[1:] != second[1:])
    assert np.all((changed >= low) & (changed <= high))


def test_padded_rows_give_the_codes_of_the_spectrum(codec):
    seen = spectra(2)
    more = ((0, 0), (0, 40))
    padded = Spectrum(
        np.pad(seen.flux, more, mode="edge"),
        np.pad(seen.ivar, more, mode="edge"),
        None,
        np.pad(np.broadcast_to(LINE, seen.flux.shape), more, constant_values=-1),
        2000.0,
    )
    assert np.array_equal(codec.encode(padded), codec.encode(seen))


def test_a_part_beyond_the_grid_has_no_influence(codec):
    line = np.concatenate([np.arange(2000.0, 3400.0, 6.0), LINE])
    seen = spectra(1)
    more = len(line) - len(LINE)
    wide = Spectrum(
        np.pad(seen.flux, ((0, 0), (more, 0)), constant_values=1e4),
        np.pad(seen.ivar, ((0, 0), (more, 0)), constant_values=1e4),
        None,
        line,
        2000.0,
    )
    assert np.array_equal(codec.encode(wide), codec.encode(seen))


def test_absent_spectra(codec):
    seen = spectra(3)
    ivar = seen.ivar.copy()
    ivar[1] = 0
    flux = seen.flux.copy()
    flux[2] = np.nan
    codes = codec.encode(Spectrum(flux, ivar, None, LINE))
    assert np.all(codes[1:] == -1) and np.all(codes[0] >= 0)
    assert codec.count(Spectrum(flux, ivar, None, LINE)).absent == 2
    decoded = codec.decode(codes, LINE)
    assert np.isnan(decoded.flux[1:]).all() and np.isfinite(decoded.flux[0]).all()
    assert not decoded.mask[1:].any()
    one = codes[:1].copy()
    one[0, 5] = -1
    assert np.isnan(codec.decode(one).flux).all()
    assert codec.encode(seen.take(slice(0, 0))).shape == (0, 1 + SMALL.tokens)


def test_without_ivar_the_noise_is_estimated(codec):
    seen = spectra(2)
    plain = Spectrum(seen.flux, None, None, LINE)
    found = read_spectrum(plain, SMALL)
    norm = 1 / np.sqrt(found.ivar[:, :1])
    truth = read_spectrum(seen, SMALL)
    assert np.allclose(norm * np.sqrt(truth.ivar[:, :1]), 1, rtol=0.2)
    assert np.all(codec.encode(plain) >= 0)


# --- decoding


def test_decoding_on_any_pixels(codec):
    codes = codec.encode(spectra(2))
    grid = codec.decode(codes)
    assert grid.flux.shape == grid.mask.shape == (2, SMALL.grid.cells)
    wide = codec.decode(codes, np.arange(3000.0, 11000.0, 50.0))
    outside = (wide.wavelength < 3500) | (wide.wavelength > 10500)
    assert np.isnan(wide.flux[:, outside]).all() and not wide.mask[:, outside].any()
    assert np.isfinite(wide.flux[:, ~outside]).all()
    rows = np.stack([LINE, LINE + 1])
    each = codec.decode(codes, rows, 1500.0)
    alone = codec.decode(codes[1:], LINE + 1, 1500.0)
    assert np.allclose(each.flux[1], alone.flux[0], rtol=1e-4)
    chance = codec.chance_of_data(codes, LINE)
    assert np.all((chance >= 0) & (chance <= 1))
    assert codec.decode(codes.reshape(1, 2, -1), LINE).flux.shape == (2, len(LINE))


def norm_of(flux, sigma):
    """Of one spectrum, before it was quantized."""
    flux = np.asarray(flux, float)[None]
    ivar = np.broadcast_to(np.asarray(sigma, float) ** -2.0, flux.shape)
    return read_spectrum(Spectrum(flux, ivar, None, LINE), SMALL).norm[0]


def test_the_norm_is_the_median_but_of_cool_stars():
    rng = np.random.default_rng(0)
    hot = 5 * (LINE / 6000) ** -1.5
    usual = np.hypot(np.sort(hot)[(len(LINE) - 1) // 2], 0.1)
    assert norm_of(hot, 0.1) == pytest.approx(usual)
    lines = hot + 300 * (np.arange(len(LINE)) % 100 == 0)  # a hundredth of the pixels
    assert norm_of(lines, 0.1) == pytest.approx(usual, rel=0.02)
    cool = 5 * (LINE / 6000) ** 8
    high = np.sort(cool - 0.3)[int(0.98 * (len(LINE) - 1))]
    assert norm_of(cool, 0.1) == pytest.approx(high / 4)
    assert norm_of(cool, 0.1) > 2 * np.median(cool)
    # What only noise exceeds does not count, whatever its pattern.
    sigma = np.where(LINE > 9200, 30.0, 1.0)
    noise = sigma * rng.standard_normal(len(LINE))
    assert norm_of(noise, sigma) == pytest.approx(1, rel=0.02)


def test_the_norm_carries_the_scale(codec):
    seen = spectra(1)
    brighter = Spectrum(seen.flux * 1e3, seen.ivar / 1e6, None, LINE, 2000.0)
    step = 10 ** (7 / 256)
    first, second = codec.encode(seen), codec.encode(brighter)
    ratio = (
        codec.decode(second, LINE).flux.mean() / codec.decode(first, LINE).flux.mean()
    )
    assert 1e3 / step**1.5 < ratio < 1e3 * step**1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ivar": -np.ones((2, len(LINE)))}, "negative"),
        ({"line": LINE[::-1]}, "increase"),
        ({"line": np.repeat(LINE[::2], 2)}, "increase"),
        ({"resolution": np.ones(7)}, "resolution has shape"),
    ],
)
def test_bad_input_is_refused(codec, change, message):
    with pytest.raises(DataError, match=message):
        codec.encode(spectra(**change))


def test_other_bad_input_is_refused(codec):
    with pytest.raises(DataError, match="ivar has shape"):
        spectra(ivar=np.ones((2, 3)))
    three = np.stack([LINE] * 3)
    with pytest.raises(DataError, match="wavelength has shape"):
        codec.encode(Spectrum(spectra().flux, None, None, three))
    with pytest.raises(DataError, match="without wavelength"):
        codec.encode(Spectrum(np.ones((1, 4))))
    with pytest.raises(DataError, match="cannot encode Image"):
        codec.encode(Image(np.ones((1, 1, 8, 8))))
    codes = codec.encode(spectra())
    with pytest.raises(DataError, match="increase"):
        codec.decode(codes, LINE[::-1])
    with pytest.raises(DataError, match="belong to the first token"):
        codec.decode(codes[:, ::-1])
    with pytest.raises(DataError, match="codes have shape"):
        codec.decode(codes[:, :-1])
    with pytest.raises(ConfigError, match="whole number of tokens"):
        SpectrumSizes(patch=7)


def test_files_keep_the_codec(codec, tmp_path):
    save_codec(codec, tmp_path / "one")
    again = load_codec(tmp_path / "one")
    seen = spectra(2)
    assert np.array_equal(again.encode(seen), codec.encode(seen))
    config, arrays = codec.state()
    del arrays["to_latent.weight"]
    with pytest.raises(ArtefactError, match="missing"):
        SpectrumCodec.from_state(config, arrays)
    with pytest.raises(ArtefactError, match="spectrum codec with"):
        SpectrumCodec.from_state({"network": {"patch": "a"}}, arrays)


def test_resolution_is_told_per_token():
    told = told_power(np.linspace(1000, 3000, len(LINE)), LINE[None], 1, SMALL)
    assert told[0, :, 0].all() and np.all(np.diff(told[0, :, 1]) >= 0)
    assert not told_power(None, LINE[None], 2, SMALL).any()
    assert not told_power(0.0, None, 2, SMALL).any()


# --- training


@pytest.fixture(scope="module")
def task():
    return SpectrumCodec.task(
        {
            "network": {
                "grid": {"cells": 1024},
                "width": 16,
                "fine": 8,
                "encoder_blocks": 1,
                "decoder_blocks": 1,
                "levels": (5, 5, 5),
            },
            "pixels": 1100,
            "taps_in": 8,
        }
    )


def samples(count=4):
    seen = spectra(count, mask=np.arange(len(LINE)) % 50 > 0 * np.ones((count, 1)))
    truth = Spectrum(seen.flux, None, None, LINE)
    return [Sample("desi_spectrum", seen, truth)]


def prepared(task, given):
    return task.prepare(jax.tree.map(jax.numpy.asarray, task.collate(given, None)))


def test_a_batch_has_one_shape(task):
    long = np.arange(3600.0, 9900.0, 5.0)
    wide = spectra(2, line=long)
    rng = np.random.default_rng(0)
    batch = task.collate([*samples(3), Sample("x", wide, None)], rng)
    assert batch["flux"].shape == (5, 1100)
    assert batch["in_index"].shape == (5, 1024, 8)
    assert np.isnan(batch["truth"][3:]).all()
    assert task.size(batch) == 5500


@pytest.fixture(scope="module")
def evaluated(task):
    """Loss with its gradient and sums, of an untrained network."""
    graph, params = nnx.split(task.build(jax.random.key(0)))

    def loss(params, batch):
        return task.loss(nnx.merge(graph, params), batch, None, None)

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return lambda batch: compiled(params, batch)


def test_loss_ignores_bad_pixels(task, evaluated):
    batch = prepared(task, samples())
    (value, _), gradient = evaluated(batch)
    wild = batch | {"flux": jax.numpy.where(batch["ivar"] > 0, batch["flux"], 1e3)}
    assert np.isclose(value, evaluated(wild)[0][0])
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    none = batch | {"ivar": batch["ivar"].at[0].set(0.0)}
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(evaluated(none)[1]))


def test_report_names_the_errors(task, evaluated):
    (_, sums), _ = evaluated(prepared(task, samples()))
    values = task.report(jax.device_get(sums))
    assert values["score"] > 0 and "error/above20" in values
    assert values["chi2"] > 1 and values["perplexity"] >= 1
    unknown = [Sample("a", spectra(4))]
    values = task.report(jax.device_get(evaluated(prepared(task, unknown))[0][1]))
    assert values["score"] == values["chi2"]
    assert isinstance(task.codec(task.build(jax.random.key(0))), SpectrumCodec)


def test_loss_of_the_truth_is_that_of_noise(task):
    """Huberised recorrupted residuals of a perfect reconstruction have chi2 one."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, len(LINE)))
    seen = Spectrum(5 + noise, np.ones_like(noise), None, LINE)
    batch = prepared(task, [Sample("a", seen)])

    class Perfect(SpectrumAutoencoder):
        def __init__(self):
            self.quantizer = task.network.quantization.make(nnx.Rngs(0))

        def encode(self, cells, told):
            return jax.numpy.zeros((*told.shape[:2], 3))

        def decode(self, values, told):
            level = float(np.median(batch["flux"][batch["ivar"] > 0]))
            flux = np.arcsinh(np.float32(level))
            return jax.numpy.full((len(told), 2, 1024), flux)

    values = task.report(
        jax.device_get(task.loss(Perfect(), batch, jax.random.key(0), None)[1])
    )
    assert abs(values["chi2"] - 1) < 0.05


def test_equivalent_widths_are_those_put_in():
    line = np.arange(3600.0, 9824.0, 0.8)
    redshift = np.array([0.0, 0.1, 0.3, 2.0])
    centre = 5008.24 * (1 + redshift[:, None])
    sigma = 3.0 * (1 + redshift[:, None])
    profile = np.exp(-0.5 * ((line - centre) / sigma) ** 2) / (2.5066 * 3.0)
    flux = (2 + line / 5000) * (1 - 8.0 * profile)
    found = equivalent_width(line, flux, redshift, LINES["oiii"])
    assert np.allclose(found[:3], 8.0, rtol=0.02) and np.isnan(found[3])


@pytest.mark.real
@pytest.mark.parametrize("survey", ["sdss", "desi"])
def test_real_spectra_go_through(codec, real_data, survey):
    source = open_survey(real_data / survey)
    records = next(source.read(source.partitions()[0])).take(slice(0, 4))
    seen = records.observations[f"{survey}_spectrum"]
    codes = codec.encode(seen)
    assert np.all(codes >= 0) and codec.count(seen).above == 0
    decoded = codec.decode(codes, seen.wavelength, seen.resolution)
    assert np.isfinite(decoded.flux).all()
