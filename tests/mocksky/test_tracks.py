# SPDX-License-Identifier: MIT
"""Colour tracks against the spectra themselves."""

from dataclasses import replace

import numpy as np
import pytest

from aion.mocksky.family import Family
from aion.mocksky.galaxies import galaxy_family
from aion.mocksky.grids import STEP
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.responses import band_fluxes, magnitudes
from aion.mocksky.seds import spectra
from aion.mocksky.sky import BAND_NAMES
from aion.mocksky.tracks import EBV, FAINTEST, colour_tracks


def few(family, rows, nodes):
    return replace(
        family,
        flux=family.flux[rows],
        weight=family.weight[rows],
        novel=family.novel[rows],
        redshift=family.redshift[nodes],
        redshift_density=family.redshift_density[rows][:, nodes],
        magnitude_mean=family.magnitude_mean[rows][:, nodes],
        magnitude_sigma=family.magnitude_sigma[rows],
        parameters={k: v[rows] for k, v in family.parameters.items()},
    )


def make(family, sed, redshift, ebv):
    count = len(sed)
    empty = {name: np.zeros(count) for name in Objects.__dataclass_fields__}
    return Objects(
        **empty
        | {
            "kind": np.full(count, KINDS.index(family.kind), np.int8),
            "sed": np.asarray(sed),
            "redshift": redshift,
            "magnitude": np.full(count, 18.0),
            "ebv": ebv,
        }
    )


def direct(family, sed, redshift, ebv):
    objects = make(family, sed, redshift, ebv)
    flux = band_fluxes(spectra(objects, {family.kind: family}), BAND_NAMES)
    return magnitudes(flux) - 18.0


def quasar_like():
    """Broad lines on a power law, some with narrow lines too, to redshift 4.

    H alpha is broad alone: OBSERVED is too coarse for narrow lines in W1.
    """
    wavelength = 580.0 * np.exp(STEP * np.arange(63_200))
    flux = np.empty((4, len(wavelength)), np.float32)
    for row, slope in enumerate((-1.8, -1.5, -1.0, -0.5)):
        flux[row] = (wavelength / 3000) ** slope
        for line in (1215.67, 1549.5, 2799.0, 4862.7, 6564.6):
            narrow = 6.0 * (row % 2) * (line < 6000)
            for width, height in ((4e-3, 4.0), (4e-4, narrow)):
                x = np.log(wavelength / line) / width
                flux[row] += height * (line / 3000) ** slope * np.exp(-0.5 * x**2)
    redshift = np.expm1(np.linspace(np.log(1.1), np.log(5.0), 40))
    flat = np.ones((4, 40)) / np.log(5.0 / 1.1)
    weight = np.full(4, 0.25)
    novel = np.zeros(4, bool)
    return Family(
        "QSO",
        wavelength,
        flux,
        weight,
        novel,
        redshift,
        flat,
        18 * np.ones((4, 40)),
        np.ones(4),
        {},
    )


@pytest.fixture(scope="module", params=["galaxies", "quasars"])
def family(request):
    if request.param == "quasars":
        return quasar_like()
    return few(galaxy_family(), slice(0, None, 25), slice(0, None, 24))


def test_tracks_are_the_colours_of_the_spectra_to_a_millimagnitude(family):
    tracks = colour_tracks(family, BAND_NAMES)
    rng = np.random.default_rng(2)
    sed = rng.integers(0, len(family), 120)
    node = rng.integers(0, len(family.redshift), 120)
    for place, ebv in enumerate(EBV):
        expected = direct(family, sed, family.redshift[node], np.full(120, ebv))
        found = tracks.values[place, sed, node]
        seen = expected < 12  # what the intergalactic medium leaves counts for nothing
        assert np.abs(found - expected)[seen].max() < 1e-3
    assert tracks.values.dtype == np.float32
    assert np.isfinite(tracks.values).all() and tracks.values.max() <= FAINTEST + 1


def test_reddening_between_the_nodes_is_a_parabola(family):
    tracks = colour_tracks(family, BAND_NAMES)
    sed = np.arange(60) % len(family)
    node = np.arange(60) % len(family.redshift)
    for ebv in (0.03, 0.1, 0.3):
        at = np.full(60, ebv)
        expected = direct(family, sed, family.redshift[node], at)
        seen = expected < 12
        found = tracks.colours(sed, family.redshift[node], at)
        assert np.abs(found - expected)[seen].max() < 1.5e-3
        np.testing.assert_allclose(tracks.at(ebv)[sed, node], found, atol=1e-4)


def test_between_redshifts_tracks_are_straight_to_a_quarter_of_the_floor():
    family = few(galaxy_family(), slice(0, None, 20), slice(40, 70))
    tracks = colour_tracks(family, BAND_NAMES)
    rng = np.random.default_rng(4)
    sed = rng.integers(0, len(family), 200)
    redshift = rng.uniform(family.redshift[0], family.redshift[-1], 200)
    ebv = rng.uniform(0.0, 0.2, 200)
    off = tracks.colours(sed, redshift, ebv) - direct(family, sed, redshift, ebv)
    assert np.abs(off).max() < 5e-3


def test_tracks_are_cached_by_family_and_bands(family):
    assert colour_tracks(family, BAND_NAMES) is colour_tracks(family, BAND_NAMES)


def test_one_redshift_is_enough_for_stars():
    one = few(galaxy_family(), slice(0, 5), slice(0, 1))
    sed = np.arange(5)
    values = colour_tracks(one, ("DES-G",)).colours(sed, np.zeros(5), np.full(5, 0.1))
    expected = colour_tracks(one, ("DES-G",)).at(0.1)[:, 0]
    np.testing.assert_allclose(values, expected, atol=1e-5)
