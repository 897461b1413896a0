# SPDX-License-Identifier: MIT
"""Spectra as they arrive: brightness, redshift, dust, the intergalactic medium."""

import numpy as np
import pytest

from aion.errors import DataError
from aion.mocksky.dust import milky_way
from aion.mocksky.family import Family
from aion.mocksky.grids import OBSERVED, STEP
from aion.mocksky.igm import igm_transmission
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.seds import intrinsic_spectra, spectra

LINE = 6000.0


def family(kind="GALAXY"):
    """A flat spectrum with one narrow line."""
    wavelength = 500.0 * np.exp(STEP * np.arange(65_000))
    line = 20 * np.exp(-0.5 * (np.log(wavelength / LINE) / 3e-4) ** 2)
    flux = np.stack([np.ones_like(wavelength), 1 + line]).astype(np.float32)
    one = np.ones((2, 1))
    return Family(
        kind,
        wavelength,
        flux,
        np.full(2, 0.5),
        np.zeros(2, bool),
        np.zeros(1),
        one,
        18 * one,
        np.ones(2),
        {},
    )


def objects(redshift, *, magnitude=18.0, ebv=0.0, kind="GALAXY"):
    redshift = np.asarray(redshift, float)
    count = len(redshift)
    empty = {name: np.zeros(count) for name in Objects.__dataclass_fields__}
    return Objects(
        **empty
        | {
            "kind": np.full(count, KINDS.index(kind), np.int8),
            "sed": np.ones(count, int),
            "redshift": redshift,
            "magnitude": np.full(count, magnitude),
            "ebv": np.full(count, ebv),
        }
    )


def test_the_reference_magnitude_is_that_of_speclite():
    speclite = pytest.importorskip("speclite.filters")
    units = pytest.importorskip("astropy.units")
    given = objects([0.0, 0.02, 0.5, 3.0], magnitude=19.3)
    flux = spectra(given, {"GALAXY": family()})
    unit = 1e-17 * units.Unit("erg / (s cm2 Angstrom)")
    band = speclite.load_filters("decamDR1-r")
    table = band.get_ab_magnitudes(flux.astype(float) * unit, OBSERVED)
    assert np.abs(table["decamDR1-r"] - 19.3).max() < 1e-3
    assert flux.dtype == np.float32 and (flux >= 0).all()


@pytest.mark.parametrize("redshift", [-0.001, 0.0, 0.0003, 0.1, 0.7])
def test_lines_are_where_they_should_be(redshift):
    flux = spectra(objects([redshift]), {"GALAXY": family()})[0].astype(float)
    near = np.abs(OBSERVED / LINE / (1 + redshift) - 1) < 0.002
    above = flux - np.median(flux[near])
    centre = (above * OBSERVED)[near].sum() / above[near].sum()
    assert centre == pytest.approx(LINE * (1 + redshift), rel=1e-5)


def test_dust_dims_and_the_forest_absorbs():
    families = {"GALAXY": family()}
    clear = intrinsic_spectra(objects([3.0], ebv=0.2), families)
    reddened = spectra(objects([3.0], ebv=0.2), families)
    np.testing.assert_allclose(reddened / clear, milky_way(np.array([0.2])), rtol=1e-5)
    high = intrinsic_spectra(objects([3.0]), families)[0]
    red = OBSERVED > 5000
    level = np.median(high[red])
    blue = OBSERVED < 4800
    np.testing.assert_allclose(high[blue] / level, igm_transmission(3.0)[blue], 1e-3)


def test_a_class_without_a_library_is_named():
    with pytest.raises(DataError, match="QSO"):
        spectra(objects([1.0], kind="QSO"), {"GALAXY": family()})
