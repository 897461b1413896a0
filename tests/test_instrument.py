# SPDX-License-Identifier: MIT
"""Bands against published numbers that do not come from the module's own source."""

import numpy as np
import pytest

from aion.errors import ConfigError
from aion.instrument import BANDS, INSTRUMENTS, Band, band_from_dict, find_band

# Pivot or mean wavelengths in Angstrom as the surveys publish them: Legacy Surveys DR10
# and DES DR1 (Abbott et al. 2018), Kawanomoto et al. 2018, Fukugita et al. 1996, Wright
# et al. 2010, Riello et al. 2021. They differ in definition by some per cent.
PUBLISHED = {
    "DES-G": 4800,
    "DES-R": 6420,
    "DES-I": 7820,
    "DES-Z": 9180,
    "WISE-W1": 33526,
    "WISE-W2": 46028,
    "WISE-W3": 115608,
    "WISE-W4": 220883,
    "HSC-G": 4798,
    "HSC-R": 6218,
    "HSC-I": 7727,
    "HSC-Z": 8908,
    "HSC-Y": 9775,
    "SDSS-U": 3551,
    "SDSS-G": 4686,
    "SDSS-R": 6166,
    "SDSS-I": 7480,
    "SDSS-Z": 8932,
    "GAIA-G": 6218,
    "GAIA-BP": 5110,
    "GAIA-RP": 7769,
}


def test_every_band_is_compared():
    assert set(PUBLISHED) == set(BANDS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_wavelength_is_the_published_one(name):
    broad = 0.12 if name.split("-")[0] in ("WISE", "GAIA") else 0.03
    assert BANDS[name].wavelength == pytest.approx(PUBLISHED[name], rel=broad)


@pytest.mark.parametrize("band", BANDS.values(), ids=lambda b: b.name)
def test_band_lies_inside_its_instrument(band):
    low, high = INSTRUMENTS[band.instrument].wavelength_range
    assert low < band.wavelength < high
    assert band.width < high - low


@pytest.mark.parametrize(
    ("prefix", "zero_point", "scale"),
    [
        ("DES", 22.5, 0.262),
        ("WISE", 22.5, 2.75),
        ("HSC", 27.0, 0.168),
        ("SDSS", 22.5, 0.396),
    ],
)
def test_zero_points_and_pixels(prefix, zero_point, scale):
    bands = [b for name, b in BANDS.items() if name.startswith(prefix)]
    assert bands
    assert {b.zero_point for b in bands} == {zero_point}
    assert {b.pixel_scale for b in bands} == {scale}


def test_nanomaggy_zero_point_is_that_of_astropy():
    import astropy.units as u

    one = u.Quantity(1.0, u.nmgy).to_value(u.ABmag, u.zero_point_flux(1 * u.AB))
    assert BANDS["DES-G"].zero_point == pytest.approx(one)


@pytest.mark.parametrize("name", ["des-g", " DES-G ", "Des-G"])
def test_bands_are_found_in_any_case(name):
    assert find_band(name) is BANDS["DES-G"]


def test_own_bands_go_first():
    own = Band("DES-G", "mine", 5000.0, 1000.0, 25.0)
    assert find_band("DES-G", {"DES-G": own}) is own


def test_unknown_band_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"SDSS-U.*GAIA-RP"):
        find_band("LSST-U")


def test_band_from_dict():
    row = {"name": "LSST-U", "instrument": "LSSTCam", "wavelength": 3671.0}
    row |= {"width": 600.0, "zero_point": 31.4}
    assert band_from_dict(row) == Band("LSST-U", "LSSTCam", 3671.0, 600.0, 31.4)
    with pytest.raises(ConfigError, match="zero_point"):
        band_from_dict({k: v for k, v in row.items() if k != "zero_point"})
    with pytest.raises(ConfigError, match="positive"):
        band_from_dict(row | {"width": 0.0})


def test_resolution_falls_inside_published_ranges():
    low, high = INSTRUMENTS["DESI"].resolution or (np.nan, np.nan)
    assert 1900 < low < high < 5600
