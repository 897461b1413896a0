# SPDX-License-Identifier: MIT
"""Observations: shapes, units in and out, and what is an error."""

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aion
from aion.errors import DataError, UnitError
from aion.modality import MODALITIES, Kind, Modality
from aion.observation import (
    OBSERVATIONS,
    Category,
    Image,
    Scalar,
    Spectrum,
    in_unit,
)

MAG = Modality("sdss_mag_u", "sdss", Kind.SCALAR, (), "mag(AB)")
FLUX = MODALITIES["legacy_flux_g"]


def test_every_kind_has_an_observation_exported():
    assert set(OBSERVATIONS) == set(Kind)
    for cls in OBSERVATIONS.values():
        assert getattr(aion, cls.__name__) is cls


def test_plain_arrays_are_in_the_modality_unit():
    values = np.array([1.0, -2.0])
    assert in_unit(Scalar(values), FLUX).values is values


@pytest.mark.parametrize(
    ("quantity", "modality", "expected"),
    [
        ([1.0] * u.mgy, FLUX, 1e9),
        ([3.631] * u.uJy, FLUX, 1.0),
        ([3631.0] * u.Jy, MAG, 0.0),
        ([22.5] * u.ABmag, MAG, 22.5),
        ([22.5] * u.mag, MAG, 22.5),
        ([1.0] * u.nmgy, MAG, 22.5),
        ([np.pi] * u.rad, MODALITIES["ra"], 180.0),
        ([1.0] * u.arcmin, MODALITIES["legacy_shape_r"], 60.0),
        ([2.0] * u.dimensionless_unscaled, MODALITIES["redshift"], 2.0),
    ],
)
def test_quantities_are_converted(quantity, modality, expected):
    result = in_unit(Scalar(quantity), modality).values
    assert not hasattr(result, "unit")
    assert result[0] == pytest.approx(expected, abs=2e-3)


def test_wrong_unit_names_field_and_both_units():
    with pytest.raises(UnitError, match=r"redshift.*values.*km / s"):
        in_unit(Scalar([1.0] * u.km / u.s), MODALITIES["redshift"])
    with pytest.raises(UnitError, match=r"sdss_mag_u\.values has unit m,.*mag\(AB\)"):
        in_unit(Scalar([1.0] * u.m), MAG)


def test_wrong_kind_names_the_class_to_build():
    with pytest.raises(DataError, match=r"aion\.Category"):
        in_unit(Scalar(np.ones(1)), Modality("c", "own", Kind.CATEGORY))


def test_spectrum_units_reach_ivar_and_wavelength():
    flux = np.ones((2, 5)) * u.Unit("1e-20 W / (m2 Angstrom)")
    spectrum = Spectrum(flux, 4 / flux**2, None, np.arange(1, 6) * u.um)
    plain = in_unit(spectrum, MODALITIES["desi_spectrum"])
    np.testing.assert_allclose(plain.flux, 1.0)  # 1e-20 W/m2 is 1e-17 erg/s/cm2
    np.testing.assert_allclose(plain.ivar, 4.0)
    np.testing.assert_allclose(plain.wavelength, np.arange(1, 6) * 1e4)
    micro = Spectrum(flux * 10, 4 / (flux * 10) ** 2, None, np.arange(1, 6) * 1e4)
    np.testing.assert_allclose(in_unit(micro, MODALITIES["desi_spectrum"]).ivar, 0.04)


@given(scale=st.sampled_from(["mgy", "nmgy"]), value=st.floats(1e-3, 1e3))
def test_ivar_scales_inversely_squared(scale, value):
    with u.add_enabled_units([u.nmgy, u.mgy]):
        unit = u.Unit(scale)
    flux = np.full((1, 1, 2, 2), value) * unit
    image = Image(flux, np.full((1, 1, 2, 2), 9.0) / unit**2)
    plain = in_unit(image, MODALITIES["legacy_image"])
    before = value**2 * 9.0
    np.testing.assert_allclose(plain.flux**2 * plain.ivar, before, rtol=1e-12)


def test_take_picks_objects_of_every_array():
    image = Image.from_bands(np.arange(24.0).reshape(3, 2, 2, 2), ["DES-G", "des-r"])
    part = image.take(np.array([2, 0]))
    assert len(part) == 2
    assert [b.name for b in part.bands] == ["DES-G", "DES-R"]
    np.testing.assert_array_equal(part.flux, image.flux[[2, 0]])
    wave = np.arange(4.0)  # as long as the batch, and yet shared by all objects
    spectrum = Spectrum(np.zeros((4, 4)), wavelength=wave).take(slice(0, 2))
    np.testing.assert_array_equal(spectrum.wavelength, wave)
    own = Spectrum(np.zeros((4, 4)), wavelength=np.tile(wave, (4, 1))).take([1])
    assert np.shape(own.wavelength) == (1, 4)
    assert list(Category(np.array(["a", "b"])).take([True, False]).labels) == ["a"]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Image(np.zeros((2, 3, 3))),
        lambda: Image.from_bands(np.zeros((1, 1, 3, 3)), ["DES-G", "DES-R"]),
        lambda: Image(np.zeros((1, 1, 3, 3)), ivar=np.zeros((1, 1, 3, 2))),
        lambda: Spectrum(np.zeros(5)),
        lambda: Spectrum(np.zeros((1, 5)), mask=np.ones((1, 4), bool)),
    ],
)
def test_wrong_shapes_are_errors(build):
    with pytest.raises(DataError):
        build()
