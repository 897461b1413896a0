# SPDX-License-Identifier: MIT
"""Stars: lines where and as strong as they are, colours of SDSS, motions."""

import csv

import numpy as np
import pytest

from aion.mocksky.atmospheres import RYDBERG, ionisation, photosphere
from aion.mocksky.family import REFERENCE
from aion.mocksky.grids import OBSERVED
from aion.mocksky.kinematics import TRANSVERSE, star_motions
from aion.mocksky.line_data import strong_lines, to_vacuum
from aion.mocksky.responses import band_fluxes, magnitudes
from aion.mocksky.star_spectra import WAVELENGTH, star_spectra
from aion.mocksky.stars import POPULATIONS, TYPES, star_family
from aion.mocksky.tracks import colour_tracks

SDSS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")


def spectrum(teff: float, log_g: float = 4.3, fe_h: float = 0.0) -> np.ndarray:
    return star_spectra(np.array([teff]), np.array([log_g]), np.array([fe_h]))[0]


def line_width(flux: np.ndarray, line: float, reach: float) -> float:
    """Equivalent width in Angstrom, the continuum straight between both sides."""
    inside = np.abs(WAVELENGTH - line) < reach
    sides = [
        np.median(flux[np.abs(WAVELENGTH - line - side) < 0.2 * reach])
        for side in (-reach, reach)
    ]
    level = np.interp(WAVELENGTH[inside], [line - reach, line + reach], sides)
    return float(np.trapezoid(1 - flux[inside] / level, WAVELENGTH[inside]))


@pytest.mark.parametrize(
    ("teff", "line"),
    [
        (9500.0, 6564.61),  # H alpha
        (9500.0, 4862.69),  # H beta
        (5500.0, 3934.78),  # Ca II K
        (5500.0, 8544.44),  # Ca II
        (5000.0, 5185.05),  # Mg b
        (4200.0, 5891.58),  # Na D2
        (18_000.0, 4472.73),  # He I
    ],
)
def test_lines_are_at_their_vacuum_wavelengths(teff, line):
    flux = spectrum(teff)
    near = np.abs(WAVELENGTH - line) < 4.0
    deepest = WAVELENGTH[near][np.argmin(flux[near])]
    assert abs(deepest - line) < 0.75 * 1e-4 * line


def test_vacuum_wavelengths():
    air = np.array([3933.66, 6562.80])
    assert np.allclose(to_vacuum(air), [3934.77, 6564.61], atol=0.02)
    assert np.isclose(1 / (RYDBERG * (1 / 4 - 1 / 9)), 6564.61, atol=0.02)
    lines = strong_lines()
    assert np.all((lines.wavelength > 2900) & (lines.wavelength < 11_400))


def test_balmer_lines_are_strongest_in_a_stars():
    teff = np.array([5000, 6000, 7000, 8000, 9000, 10_000, 12_000, 16_000, 22_000.0])
    fluxes = star_spectra(teff, np.full(9, 4.2), np.zeros(9))
    widths = [line_width(flux, 4862.69, 60.0) for flux in fluxes]
    assert 8000 <= teff[np.argmax(widths)] <= 10_000
    assert max(widths) > 3 * widths[1] > 3 * widths[0]
    assert max(widths) > 2 * widths[-1]


def test_balmer_lines_are_broad_in_white_dwarfs():
    dwarf, giant = spectrum(11_000.0, 8.0, -9.0), spectrum(11_000.0, 3.3, -1.5)
    line = 4862.69
    assert line_width(dwarf, line, 120.0) > 2 * line_width(giant, line, 120.0)


def test_the_sun():
    # Equivalent widths of Moore, Minnaert and Houtgast 1966, within a factor of two.
    flux = spectrum(5777.0, 4.44)
    for line, reach, width in (
        (3934.78, 25.0, 20.0),
        (5185.05, 6.0, 1.6),
        (8544.44, 20.0, 3.7),
        (4227.92, 4.0, 1.5),
    ):
        assert 0.5 < line_width(flux, line, reach) / width < 2.0
    seen = np.interp(OBSERVED, WAVELENGTH, flux)[None]
    u, g, r, i, z = magnitudes(band_fluxes(seen, SDSS))[0]
    # Holmberg et al. 2006 and Willmer 2018, within what those two differ.
    assert np.allclose([u - g, g - r, r - i, i - z], [1.38, 0.45, 0.12, 0.03], atol=0.1)


def test_molecules_belong_to_m_dwarfs():
    def drop(flux):  # over the head of TiO at 7,053 Angstrom in air
        blue, red = np.interp([7040.0, 7130.0], WAVELENGTH, flux)
        return red / blue

    assert drop(spectrum(3200.0, 5.0)) < 0.6
    assert drop(spectrum(3900.0, 4.7)) > 0.7
    assert drop(spectrum(5800.0, 4.4)) > 0.95


def test_metals_follow_metallicity():
    rich, poor = spectrum(5500.0, 4.4, 0.0), spectrum(5500.0, 4.4, -2.0)
    line = 5185.05
    assert line_width(rich, line, 6.0) > 2 * line_width(poor, line, 6.0)


def test_colours_are_monotonic_in_temperature():
    teff = np.geomspace(2800.0, 25_000.0, 30)
    fluxes = star_spectra(teff, np.full(30, 4.4), np.zeros(30))
    seen = np.stack([np.interp(OBSERVED, WAVELENGTH, flux) for flux in fluxes])
    bands = magnitudes(band_fluxes(seen, (*SDSS, "WISE-W1")))
    for blue, red in ((1, 2), (1, 4), (2, 5)):
        assert np.all(np.diff(bands[:, blue] - bands[:, red]) < 0.02)
    peaks = WAVELENGTH[np.argmax(fluxes, axis=1)]
    assert peaks[0] > 9000 and peaks[-1] < 4000


def test_atmospheres():
    teff, wavelength = np.array([5777.0, 9500.0]), np.geomspace(1500, 330_000, 150)
    gas = photosphere(teff, np.array([4.44, 4.0]), np.zeros(2), wavelength)
    # Within half a dex of the layers of Gray 2005, table D.1: 1e5 and 10 dyn/cm2.
    assert np.allclose(np.log10([gas.pressure[0], gas.electrons[0]]), [5, 1], atol=0.5)
    jump = [
        np.interp(3600, wavelength, f) / np.interp(4100, wavelength, f)
        for f in gas.flux
    ]
    assert jump[1] < 0.6 < jump[0]
    total = np.trapezoid(gas.flux, wavelength, axis=1)
    assert np.isclose(total[1] / total[0], (9500 / 5777) ** 4, rtol=0.1)
    half = ionisation(np.array([9800.0]), np.array([300.0]), 13.6)
    assert 0.3 < half[0] < 3  # hydrogen is half ionised in A stars


def test_family_holds_together():
    family = star_family()
    assert family is star_family()
    assert 300 <= len(family) <= 450
    assert family.flux.dtype == np.float32 and family.flux.nbytes < 40e6
    assert np.isfinite(family.flux).all() and (family.flux > 0).all()
    assert not family.flux.flags.writeable
    assert np.isclose(family.weight.sum(), 1) and (family.weight > 0).all()
    assert 0.08 < family.novel.mean() < 0.12
    assert np.isclose(family.weights(novel=False).sum(), 1)
    assert family.redshift.tolist() == [0.0]
    assert family.magnitude_mean.shape == (len(family), 1)
    assert {"teff", "log_g", "fe_h", "absolute_magnitude"} <= set(family.parameters)
    assert set(family.parameters["population"]) == set(range(len(POPULATIONS)))
    assert set(family.parameters["type"]) == set(range(len(TYPES)))
    # Room for radial velocities of 600 km/s at both ends.
    assert family.wavelength[0] < OBSERVED[0] * (1 - 2e-3)
    assert family.wavelength[-1] > OBSERVED[-1] * (1 - 2e-3)


def test_novel_stars_are_of_many_types():
    family = star_family()
    assert len(set(family.parameters["type"][family.novel])) >= 6


def test_motions_fit_the_distance():
    family, rng = star_family(), np.random.default_rng(2)
    count = 6000
    sed = rng.integers(0, len(family), count)
    magnitude = rng.uniform(14.0, 20.0, count)
    ra, dec = rng.uniform(0, 360, count), rng.uniform(-60, 60, count)
    motions = star_motions(family, sed, magnitude, ra, dec, rng)
    absolute = family.parameters["absolute_magnitude"][sed]
    modulus = 5 * np.log10(motions.distance) - 5
    assert np.allclose(modulus, magnitude - absolute, atol=1e-9)
    east = motions.pm_ra * TRANSVERSE * motions.distance / 1e3
    north = motions.pm_dec * TRANSVERSE * motions.distance / 1e3
    radial = motions.redshift * 299_792.458
    speed = np.sqrt((east**2 + north**2 + radial**2) / 3)
    population = family.parameters["population"][sed]
    typical = [np.median(speed[population == p]) for p in range(3)]
    assert 15 < typical[0] < typical[1] < 90 < typical[2] < 250
    again = star_motions(family, sed, magnitude, ra, dec, np.random.default_rng(3))
    assert np.allclose(again.distance, motions.distance)


def mock_magnitudes(count: int) -> np.ndarray:
    """Of stars that pass 14 < r < 19 and u < 19.6 in SDSS, with noise, [b, 5]."""
    family, rng = star_family(), np.random.default_rng(4)
    tracks = colour_tracks(family, SDSS).at(0.035)[:, 0]
    sed = rng.choice(len(family), count, p=family.weight)
    sigma = family.magnitude_sigma[sed]
    reference = family.magnitude_mean[sed, 0] + sigma * rng.standard_normal(count)
    flux = 10 ** (-0.4 * (reference[:, None] + tracks[sed] - 22.5))
    depth = 10 ** (-0.4 * (np.array([22.15, 23.13, 22.70, 22.20, 20.71]) - 22.5)) / 5
    flux += np.hypot(depth, 0.02 * flux) * rng.standard_normal(flux.shape)
    seen = magnitudes(np.maximum(flux, 1e-3))
    return seen[(seen[:, 0] < 19.6) & (seen[:, 2] > 14) & (seen[:, 2] < 19)]


@pytest.mark.real
def test_colours_are_those_of_sdss(real_data):
    with open(real_data / "catalog" / "sdss_spectroscopic_7000.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "STAR"]
    real = np.array([[float(row[band]) for band in "ugriz"] for row in rows])
    mock = mock_magnitudes(200_000)
    for bright in range(14, 19):
        quantiles = [
            np.quantile(-np.diff(table[inside], axis=1), [0.16, 0.5, 0.84], axis=0)
            for table in (mock, real)
            for inside in [(table[:, 2] >= bright) & (table[:, 2] < bright + 1)]
        ]
        worst = np.abs(quantiles[0] - quantiles[1]).max()
        assert worst < 0.15, f"{bright} < r < {bright + 1}: {worst:.2f} mag"


def test_absolute_magnitudes_are_of_the_reference_band():
    family = star_family()
    assert REFERENCE == "DES-R"
    dwarfs = family.parameters["type"] == TYPES.index("thin dwarf")
    sun = np.argmin(
        np.abs(family.parameters["teff"] - 5777)
        + 1e3 * np.abs(family.parameters["fe_h"])
        + 1e9 * ~dwarfs
    )
    # Willmer 2018: 4.61 AB mag in DES r.
    assert abs(family.parameters["absolute_magnitude"][sun] - 4.61) < 0.25
