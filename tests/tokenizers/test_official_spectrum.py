# SPDX-License-Identifier: MIT
"""AION-1's spectrum codec: PyTorch's tokens and spectra on any grid."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from aion.codec import Codec
from aion.errors import DataError
from aion.modality import MODALITIES
from aion.observation import Spectrum, in_unit
from aion_tokenizers import preprocessing

CASES = ("spectrum", "spectrum_flux_only", "spectrum_projected")
GRIDS = ("linear", "logarithmic", "uneven", "two_grids")


def given(parts, **change):
    values = dict(parts["input"]) | change
    return Spectrum(
        values["flux"], values["ivar"], ~values["mask"], values["wavelength"]
    )


def toy(count=2, length=300, **change):
    rng = np.random.default_rng(0)
    values = {
        "flux": rng.normal(5, 1, (count, length)).astype(np.float32),
        "ivar": np.ones((count, length), np.float32),
        "mask": np.ones((count, length), bool),
        "wavelength": (3520 + 2.0 * np.arange(length)).astype(np.float32),
    }
    return Spectrum(**(values | change))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_pytorchs(official, known, check_codes, case, grid):
    codec, parts = official(case), known(case)[grid]
    latent = np.moveaxis(parts["latent"], 1, -1)
    np.testing.assert_allclose(codec.latents(given(parts)), latent, atol=2e-4)
    codes = codec.encode(given(parts))
    assert codes.dtype == np.int32 and len(np.unique(codes)) > 20
    np.testing.assert_array_equal(codes[:, 0], parts["codes"][:, 0])
    margin = np.abs(latent).min(-1)
    check_codes(codes[:, 1:], parts["codes"][:, 1:], margin)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("case", CASES)
def test_spectra_are_pytorchs(official, quirky, known, check_decoded, case, grid):
    codec, parts = official(case), known(case)[grid]
    free = codec.decode(parts["codes"])
    np.testing.assert_array_equal(free.wavelength, known(case)["wavelength"])
    check_decoded(free.flux, parts["grid"]["flux"])
    wavelength = parts["input"]["wavelength"]
    seen = codec.decode(parts["codes"], wavelength=wavelength)
    check_decoded(seen.flux, parts["observed"]["flux"])
    same = quirky(case).decode(parts["codes"], wavelength=wavelength)
    for mask, theirs in ((free.mask, parts["grid"]), (same.mask, parts["observed"])):
        assert np.mean(mask == ~theirs["mask"]) > 0.999
    inside = (wavelength >= free.wavelength[0]) & (wavelength <= free.wavelength[-1])
    assert not seen.mask[~inside].any()
    if case != "spectrum_flux_only":
        np.testing.assert_array_equal(seen.mask[inside], same.mask[inside])
        assert 0.05 < free.mask.mean() < 0.95


def test_grid_is_that_of_the_file(official, known):
    for case in CASES:
        expected = official(case).config.constants()
        np.testing.assert_array_equal(
            expected["latent_grid._wavelength"][0], known(case)["wavelength"]
        )
        np.testing.assert_allclose(
            expected["normalization_quantizer.buckets"],
            official(case).buckets,
            atol=1e-6,
        )


def test_input_is_not_touched(official, known):
    parts = known("spectrum")["linear"]
    before = {k: v.copy() for k, v in parts["input"].items()}
    official("spectrum").encode(given(parts))
    for name, value in parts["input"].items():
        np.testing.assert_array_equal(value, before[name])


def test_shared_and_repeated_wavelengths_are_the_same(official):
    codec, one = official("spectrum"), toy()
    both = replace(one, wavelength=np.tile(one.wavelength, (2, 1)))
    np.testing.assert_array_equal(codec.encode(one), codec.encode(both))
    codes = codec.encode(one)
    np.testing.assert_array_equal(
        codec.decode(codes, wavelength=one.wavelength).flux,
        codec.decode(codes, wavelength=both.wavelength).flux,
    )


def test_padding_is_dropped(official):
    codec, whole = official("spectrum"), toy()
    short = toy(
        flux=whole.flux[:, :250],
        **{k: getattr(whole, k)[..., :250] for k in ("ivar", "mask", "wavelength")},
    )
    mask, wavelength = whole.mask.copy(), np.tile(whole.wavelength, (2, 1))
    mask[:, 250:], wavelength[0, 250:], wavelength[1, 250:] = False, -1, np.nan
    padded = replace(whole, mask=mask, wavelength=wavelength)
    np.testing.assert_array_equal(codec.encode(padded), codec.encode(short))


@pytest.mark.parametrize("by", ["mask", "nan"])
def test_without_a_valid_pixel_a_spectrum_is_absent(official, quirky, by):
    spectrum = toy()
    flux, mask = spectrum.flux.copy(), spectrum.mask.copy()
    if by == "mask":
        mask[1] = False
    else:
        flux[1] = np.nan
    spectrum = replace(spectrum, flux=flux, mask=mask)
    codes = official("spectrum").encode(spectrum)
    assert np.all(codes[1] == -1) and np.all(codes[0] >= 0)
    decoded = official("spectrum").decode(codes)
    assert np.isnan(decoded.flux[1]).all() and not decoded.mask[1].any()
    assert np.isfinite(decoded.flux[0]).all()
    assert np.all(quirky("spectrum").encode(spectrum) >= 0)


def test_wrong_spectra_are_refused(official):
    codec = official("spectrum")
    with pytest.raises(DataError, match="without ivar"):
        codec.encode(toy(ivar=None))
    with pytest.raises(DataError, match="without wavelength"):
        codec.encode(toy(wavelength=None))
    with pytest.raises(DataError, match=r"wavelength has shape \(299,\)"):
        codec.encode(toy(wavelength=np.arange(1.0, 300)))
    with pytest.raises(DataError, match="ivar has shape"):
        codec.encode(toy(ivar=np.ones((2, 5))))
    with pytest.raises(DataError, match=r"\[batch, 33\]"):
        codec.decode(np.zeros((2, 32), int))
    with pytest.raises(DataError, match="1024"):
        codec.decode(np.full((2, 33), 1024))


def test_units_that_do_not_match_are_refused():
    import astropy.units as u

    from aion.errors import UnitError

    with pytest.raises(UnitError, match=r"desi_spectrum.*flux"):
        in_unit(toy(flux=np.ones((2, 300)) * u.mag), MODALITIES["desi_spectrum"])


@hypothesis_given(st.integers(0, 298), st.sampled_from([0.0, 1.0, 700.0]))
@settings(max_examples=20)
def test_wavelengths_that_do_not_increase_are_refused(official, place, drop):
    wavelength = np.tile(3520 + 2.0 * np.arange(300), (2, 1))
    wavelength[1, place + 1] = wavelength[1, place] - drop
    with pytest.raises(DataError, match=r"object 1 do not increase"):
        official("spectrum").encode(toy(wavelength=wavelength))


@hypothesis_given(st.data())
@settings(max_examples=25)
def test_any_numbers_give_codes(official, data):
    """Whatever stands in flux, ivar and mask: codes in range, or -1 throughout."""
    odd = st.sampled_from([np.nan, np.inf, -np.inf, 0, -1, 1e30, -1e30, 3e38])
    flux, ivar = toy(length=40).flux.copy(), toy(length=40).ivar.copy()
    for array in (flux, ivar):
        places = data.draw(st.lists(st.integers(0, 79), max_size=8))
        for place in places:
            array.reshape(-1)[place] = data.draw(odd)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=80, max_size=80)))
    spectrum = toy(length=40, flux=flux, ivar=ivar, mask=mask.reshape(2, 40))
    codes = official("spectrum").encode(spectrum)
    absent = codes == -1
    assert np.all(absent.all(1) == absent.any(1))
    assert codes.min() >= -1 and codes.max() < 1024


def test_negative_inverse_variance_is_none(official):
    ivar = np.ones((2, 300), np.float32)
    ivar[0, 20:40] = -3
    codes = official("spectrum").encode(toy(ivar=ivar))
    ivar[0, 20:40] = 0
    np.testing.assert_array_equal(codes, official("spectrum").encode(toy(ivar=ivar)))


def test_norms_beyond_the_buckets_are_counted(official):
    flux = np.ones((3, 300), np.float32)
    flux[1], flux[2, :5] = 1e7, np.nan
    found = official("spectrum").count(
        toy(3, flux=flux, mask=None, ivar=np.ones_like(flux))
    )
    assert (found.total, found.absent, found.below, found.above) == (900, 5, 0, 1)


def test_spec_and_protocol(official):
    spec = official("spectrum").spec(MODALITIES["sdss_spectrum"], "spectrum")
    assert (spec.num_codes, spec.grid) == (1024, (33,))
    assert isinstance(official("spectrum"), Codec)


@hypothesis_given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 40))
def test_interpolation_is_numpys(seed, length, wanted):
    rng = np.random.default_rng(seed)
    place = np.cumsum(rng.uniform(0.1, 3, length))
    values = rng.normal(size=(2, 3, length))
    new = rng.uniform(place[0] - 2, place[-1] + 2, (1, wanted))
    new[0, 0] = place[rng.integers(length)]
    found = preprocessing.resample(place[None], values, new)
    for b, c in np.ndindex(2, 3):
        expected = np.interp(new[0], place, values[b, c], left=0, right=0)
        np.testing.assert_allclose(found[b, c], expected, atol=1e-12)


@pytest.mark.slow
def test_release_size(official, known, check_codes, release):
    """PyTorch's tokens; its float64 network is the measure, see `make_fixtures.py`."""
    case = release / "spectrum_release"
    codec, exact = official(case), np.load(case / "exact.npz")
    codes, expected, margins = [], [], []
    for grid in GRIDS:
        parts = known(case)[grid]
        latent = np.moveaxis(exact[f"{grid}/latent"], 1, -1)
        np.testing.assert_allclose(codec.latents(given(parts)), latent, atol=1e-4)
        codes.append(codec.encode(given(parts)))
        expected.append(parts["codes"])
        np.testing.assert_array_equal(codes[-1][:, 0], expected[-1][:, 0])
        margins.append(np.pad(np.abs(latent).min(-1), ((0, 0), (1, 0))))
        # The last layer norm has two channels and divides by their difference: where
        # it is small neither side keeps the tolerance, and ours is nearer.
        flux, truth = codec.decode(parts["codes"]).flux, exact[f"{grid}/flux"]
        tolerance = 1e-4 * (np.abs(truth) + np.sqrt(np.mean(truth**2)))
        ours = np.abs(flux - truth) / tolerance
        theirs = np.abs(parts["grid"]["flux"] - truth) / tolerance
        assert ours.max() <= max(1, theirs.max()) and np.mean(ours <= 1) > 0.9998
    check_codes(*(np.concatenate(part) for part in (codes, expected, margins)))
