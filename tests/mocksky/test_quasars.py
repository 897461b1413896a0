# SPDX-License-Identifier: MIT
"""Quasars: lines where and as strong as published, and colours of the real ones."""

import csv
import itertools

import numpy as np
import pytest
from astropy.table import Table

from aion.mocksky.cells import Limit
from aion.mocksky.igm import LYMAN_ALPHA
from aion.mocksky.objects import Objects
from aion.mocksky.population import Population
from aion.mocksky.quasar_spectra import (
    BROAD,
    NARROW,
    WAVELENGTH,
    QuasarRows,
    disk,
    line_profiles,
    quasar_spectra,
    reddening_curve,
)
from aion.mocksky.quasars import forest, luminosity_function, quasar_family
from aion.mocksky.responses import magnitudes
from aion.mocksky.samples import SAMPLES, Sample, Selection
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.mocksky.tracks import colour_tracks
from aion.splits import SplitRule

SDSS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
LEGACY = ("DES-G", "DES-R", "DES-Z", "WISE-W1")
DEREDDEN = (3.214, 2.165, 1.211, 0.184)
QUANTILES = (16, 50, 84)


@pytest.fixture(scope="module")
def family():
    return quasar_family()


def one(**chosen):
    """A quasar without host and dust but for what is chosen."""
    usual = {"slope": -1.6, "lines": 0.0, "narrow": 0.0, "iron": 0.0, "host": 0.0}
    usual |= {"reddening": 0.0, "dust": 0.0, "absolute": -24.0}
    return QuasarRows(**{n: np.array([v]) for n, v in (usual | chosen).items()})


@pytest.mark.parametrize(
    ("lines", "name"), [(BROAD, "lines"), (NARROW, "narrow")], ids=["broad", "narrow"]
)
def test_equivalent_widths_are_the_tables(lines, name):
    over = quasar_spectra(one(**{name: 1.0}))[0] / disk(np.array([-1.6]))[0] - 1
    total = np.trapezoid(over, WAVELENGTH)
    assert total == pytest.approx(sum(width for _, width, _ in lines), rel=1e-3)
    for line in lines:
        profile = line_profiles((line,), 0.5)
        assert np.trapezoid(profile, WAVELENGTH) == pytest.approx(line[1], rel=1e-3)


def test_lines_are_at_vacuum_wavelengths():
    # NIST, vacuum; in air all of them are 1 to 2 Angstrom bluer.
    laboratory = (3869.86, 4960.295, 5008.24, 6585.27, 6718.29)
    flux = quasar_spectra(one(narrow=1.0))[0] / disk(np.array([-1.6]))[0]
    for wavelength in laboratory:
        near = np.abs(WAVELENGTH - wavelength) < 5
        assert abs(WAVELENGTH[near][flux[near].argmax()] - wavelength) < 0.7
    broad = np.array(BROAD)[:, 0]
    for wavelength in (4862.68, 6564.61):
        assert np.abs(broad - wavelength).min() < 1.0


def test_dust_reddens_as_in_the_magellanic_cloud():
    clean, red = (quasar_spectra(one(reddening=e))[0] for e in (0.0, 0.1))
    lost = -2.5 * np.log10(red / clean) / 0.1
    np.testing.assert_allclose(lost, reddening_curve(WAVELENGTH), rtol=1e-6)
    # B and V effective wavelengths: A_B - A_V is E(B-V).
    blue, visual = reddening_curve(np.array([4400.0, 5500.0]))
    assert blue - visual == pytest.approx(1, abs=0.2)


def test_the_family_is_a_prior(family):
    assert family.weight.sum() == pytest.approx(1)
    assert family.weight.min() >= 0
    area = np.trapezoid(family.redshift_density, np.log1p(family.redshift), axis=1)
    np.testing.assert_allclose(area, 1, rtol=1e-6)
    steps = np.diff(np.log1p(family.redshift))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert family.novel.mean() == pytest.approx(0.1, abs=0.01)
    assert 0.02 < family.weight[family.novel].sum() < 0.2
    assert np.isfinite(family.magnitude_mean).all()
    assert np.isfinite(family.flux).all() and family.flux.min() >= 0
    assert family.flux.nbytes < 80e6


def test_colours_are_finite_at_every_redshift(family):
    track = colour_tracks(family, (*SDSS, *LEGACY)).values
    assert np.isfinite(track).all()
    # Where no band is beyond the Lyman limit nothing is dark.
    near = family.redshift < 2.2
    assert np.abs(track[:, :, near]).max() < 9


def test_the_luminous_have_weak_lines_and_little_host(family):
    p = family.parameters
    for name in ("lines", "narrow", "host"):
        assert np.corrcoef(p["absolute"], np.log(p[name]))[0, 1] > 0.4
    absolute, redshift = np.array([-22.0, -27.0]), np.array([[0.5], [2.0]])
    late, early = luminosity_function(absolute, redshift)
    assert early[1] / late[1] > 20 * early[0] / late[0]


def test_brightness_is_that_of_the_luminosity(family):
    # AB at 2,500 Angstrom (1 + z), where r is, is M + modulus - 2.5 lg(1 + z), but
    # that lines and iron add to the disk, of which M is.
    z = np.argmin(np.abs(family.redshift - 1.5))
    modulus = 45.27  # astropy, z = 1.5, H0 = 70, matter 0.3
    near = np.abs(WAVELENGTH / 2575 - 1) < 0.11  # DES-R
    disks = disk(family.parameters["slope"])
    added = -2.5 * np.log10((family.flux / disks)[:, near].mean(1))
    off = family.magnitude_mean[:, z] - family.parameters["absolute"] - added
    expected = modulus - 2.5 * np.log10(2.5)
    np.testing.assert_allclose(off, expected, atol=0.12)


def test_the_forest_has_mean_one_and_lets_the_red_pass():
    z = np.full(120, 3.0)
    wavelength = 3600.0 * np.exp(1e-4 * np.arange(4500))
    field = forest(np.random.default_rng(0), z, wavelength)
    blue = wavelength < LYMAN_ALPHA * 4.0
    assert (field[:, ~blue] == 1).all()
    wide = field[:, blue].mean(0)
    wide = wide[: len(wide) // 250 * 250].reshape(-1, 250).mean(1)
    np.testing.assert_allclose(wide, 1, atol=0.02)
    # McDonald et al. 2006: the variance of F / <F> at z = 2.5 to 3 is some 0.1 to 0.4
    # over pixels of 70 km/s.
    pixels = field[:, blue][:, -1200:]
    pixels = pixels[:, : pixels.shape[1] // 2 * 2].reshape(len(z), -1, 2).mean(2)
    assert 0.1 < pixels.var() < 0.5
    assert field.min() >= 0


def draw(limits, count, bands):
    """Quasars alone: truth, observed magnitudes [b, c]."""
    alone = Sample("quasars", (Selection("QSO", 1.0, limits),))
    sky = Sky(count, seed=5, per_cell=200, block=200, split=SplitRule())
    population = Population(sky, {"QSO": quasar_family()}, alone)
    parts = [population.draw(block) for block in sky.blocks()]
    columns = [BAND_NAMES.index(band) for band in bands]
    flux = np.concatenate([photometry.flux for _, photometry in parts])[:, columns]
    return Objects.concatenate(truth for truth, _ in parts), magnitudes(flux)


@pytest.fixture(scope="module")
def sdss():
    (limits,) = [c.limits for c in SAMPLES["sdss"].classes if c.kind == "QSO"]
    return draw(limits, 6000, SDSS)


@pytest.fixture(scope="module")
def real_quasars(real_data):
    with open(real_data / "catalog" / "sdss_spectroscopic_7000.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "QSO"]
    magnitude = np.array([[float(row[band]) for band in "ugriz"] for row in rows])
    redshift = np.array([float(row["redshift"]) for row in rows])
    # Beyond 3 four rows have colours of stars.
    use = (redshift > 0.05) & (redshift < 3)
    return magnitude[use], redshift[use]


@pytest.mark.real
def test_colours_and_redshifts_are_those_of_sdss(sdss, real_quasars):
    real, redshift = real_quasars
    truth, mocked = sdss
    edges = (15.5, 18.2, 18.8, 19.6)  # 100 real quasars or more in each
    for low, high in itertools.pairwise(edges):
        ours = mocked[(mocked[:, 2] >= low) & (mocked[:, 2] < high)]
        some = (real[:, 2] >= low) & (real[:, 2] < high)
        expected = np.percentile(-np.diff(real[some], axis=1), QUANTILES, axis=0)
        found = np.percentile(-np.diff(ours, axis=1), QUANTILES, axis=0)
        off = found - expected
        assert some.sum() >= 100 and np.abs(off).max() < 0.15, (low, off)
    levels = (5, 16, 50, 84, 95)
    off = np.percentile(truth.redshift, levels) - np.percentile(redshift, levels)
    assert np.abs(off).max() < 0.12, off


@pytest.mark.real
def test_the_track_of_colours_is_that_of_sdss(sdss, real_quasars):
    real, redshift = real_quasars
    truth, mocked = sdss
    for low, high in itertools.pairwise((0.3, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)):
        ours = mocked[(truth.redshift >= low) & (truth.redshift < high)]
        theirs = real[(redshift >= low) & (redshift < high)]
        found, expected = (-np.median(np.diff(m), axis=0) for m in (ours, theirs))
        off = found - expected
        assert np.abs(off).max() < 0.12, (low, off)


@pytest.mark.real
def test_infrared_colours_are_those_of_desi_targets(real_data):
    table = Table.read(real_data / "legacy" / "desi_targets_1001.fits")
    table = table[(np.array(table["DESI_TARGET"]) & 4) != 0]
    names = ("G", "R", "Z", "W1")
    flux = [
        np.array(table[f"FLUX_{n}"] / table[f"MW_TRANSMISSION_{n}"], float)
        for n in names
    ]
    real = magnitudes(np.stack(flux, axis=1))
    truth, mocked = draw((Limit("DES-R", 17.5, 22.9),), 6000, LEGACY)
    mocked = mocked - truth.ebv[:, None] * np.array(DEREDDEN)
    # What targets are cut in (Chaussidon et al. 2023): point sources with r - z < 1.1.
    with np.errstate(invalid="ignore"):
        colour = -np.diff(mocked, axis=1)
        blue = (colour[:, 0] < 1.3) & (colour[:, 1] < 1.1)
        mocked = mocked[blue & (mocked[:, 1] < 22.7)]
    # As faint as the targets.
    edges = np.array([17.5, 20.0, 21.0, 21.7, 22.2, 22.7])
    counts = np.histogram(real[:, 1], edges)[0]
    place = np.clip(np.digitize(mocked[:, 1], edges) - 1, 0, len(counts) - 1)
    weight = (counts / np.bincount(place, minlength=len(counts)))[place]
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(mocked), 20_000, p=weight / weight.sum())
    colours = [-np.diff(m, axis=1)[:, 1:] for m in (real, mocked[drawn])]
    expected, found = (np.nanpercentile(c, QUANTILES, axis=0) for c in colours)
    off = found - expected
    assert np.abs(off).max() < 0.15, off
