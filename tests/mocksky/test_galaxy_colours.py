# SPDX-License-Identifier: MIT
"""Mock galaxies beside real ones: colours, redshifts, and how hard redshifts are."""

import csv
import itertools

import numpy as np
import pytest
from astropy.table import Table
from sklearn.ensemble import RandomForestRegressor

from aion.mocksky.galaxies import galaxy_family
from aion.mocksky.objects import Objects
from aion.mocksky.population import Population
from aion.mocksky.responses import magnitudes
from aion.mocksky.samples import SAMPLES, Sample, Selection
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.splits import SplitRule

SDSS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
LEGACY = ("DES-G", "DES-R", "DES-Z", "WISE-W1")
DEREDDEN = (3.214, 2.165, 1.211, 0.184)
QUANTILES = (16, 50, 84)
BITS = {"LRG": 1, "ELG": 2, "BGS": 1 << 60}


def draw(sample, count, bands):
    """Galaxies of a sample: truth, observed magnitudes [b, c]."""
    (galaxies,) = [c for c in SAMPLES[sample].classes if c.kind == "GALAXY"]
    alone = Sample("galaxies", (Selection("GALAXY", 1.0, galaxies.limits),))
    sky = Sky(count, seed=5, per_cell=200, block=200, split=SplitRule())
    population = Population(sky, {"GALAXY": galaxy_family()}, alone)
    parts = [population.draw(block) for block in sky.blocks()]
    columns = [BAND_NAMES.index(band) for band in bands]
    flux = np.concatenate([photometry.flux for _, photometry in parts])[:, columns]
    return Objects.concatenate(truth for truth, _ in parts), magnitudes(flux)


@pytest.fixture(scope="module")
def mock():
    return draw("sdss", 5000, SDSS)


def nmad(x):
    return 1.4826 * np.median(np.abs(x - np.median(x)))


def test_redshifts_from_colours_are_as_hard_as_in_reality(mock):
    truth, magnitude = mock
    use = np.isfinite(magnitude).all(axis=1)
    colours = np.column_stack([magnitude[use], -np.diff(magnitude[use], axis=1)])
    redshift, half = truth.redshift[use], use.sum() // 2
    forest = RandomForestRegressor(60, min_samples_leaf=3, random_state=0)
    forest.fit(colours[:half], redshift[:half])
    guess = forest.predict(colours[half:])
    assert 0.01 < nmad((guess - redshift[half:]) / (1 + redshift[half:])) < 0.05


@pytest.mark.real
def test_colours_and_redshifts_are_those_of_sdss(mock, real_data):
    with open(real_data / "catalog" / "sdss_spectroscopic_7000.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "GALAXY"]
    real = np.array([[float(row[band]) for band in "ugriz"] for row in rows])
    redshift = np.array([float(row["redshift"]) for row in rows])
    truth, mocked = mock
    edges = (13.0, 15.0, 16.0, 16.5, 17.0, 17.4, 17.77)
    for low, high in itertools.pairwise(edges):
        ours = mocked[(mocked[:, 2] >= low) & (mocked[:, 2] < high)]
        some = (real[:, 2] >= low) & (real[:, 2] < high)
        expected = np.percentile(-np.diff(real[some], axis=1), QUANTILES, axis=0)
        found = np.percentile(-np.diff(ours, axis=1), QUANTILES, axis=0)
        assert np.abs(found - expected).max() < 0.15, (low, found - expected)
    main = real[:, 2] < 17.77
    found = np.percentile(truth.redshift, QUANTILES)
    assert np.abs(found - np.percentile(redshift[main], QUANTILES)).max() < 0.02


def desi_cuts(magnitude):
    """As in tests/tables/make_galaxy_rows.py, where the sources are."""
    g, r, z, w1 = magnitude.T
    red = (z - w1 > 0.8 * (r - z) - 0.6) & (r - z > 0.75)
    red &= ((g - w1 > 2.6) & (g - r > 1.4)) | (r - w1 > 1.8)
    red &= (r - z > 0.45 * (z - 16.83)) & (r - z > 0.19 * (z - 13.8)) & (z < 20.6)
    blue = (g > 20) & (g < 23.5) & (r - z > 0.3) & (r - z < 1.6)
    blue &= (g - r < 1.15 * (r - z) - 0.15) & (g - r < 1.6 - 1.2 * (r - z))
    return {"LRG": red, "ELG": blue, "BGS": r < 20}


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "count"), [("BGS", 2500), ("LRG", 9000), ("ELG", 15000)]
)
def test_infrared_colours_are_those_of_desi_targets(real_data, kind, count):
    table = Table.read(real_data / "legacy" / "desi_targets_1001.fits")
    names = ("G", "R", "Z", "W1")
    flux = [
        np.array(table[f"FLUX_{n}"] / table[f"MW_TRANSMISSION_{n}"], float)
        for n in names
    ]
    real = magnitudes(np.stack(flux, axis=1))
    chosen = (np.array(table["DESI_TARGET"]) & BITS[kind]) != 0
    with np.errstate(invalid="ignore"):
        real = real[chosen & desi_cuts(real)[kind]]
    truth, mocked = draw(f"desi_{kind.lower()}", count, LEGACY)
    mocked = mocked - truth.ebv[:, None] * np.array(DEREDDEN)
    with np.errstate(invalid="ignore"):
        mocked = mocked[desi_cuts(mocked)[kind]]
    assert len(mocked) > 300
    colours = [-np.diff(m, axis=1)[:, 1:] for m in (real, mocked)]
    expected, found = (np.nanpercentile(c, QUANTILES, axis=0) for c in colours)
    off = found - expected
    assert np.abs(off).max() < 0.15, off
