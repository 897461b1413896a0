# SPDX-License-Identifier: MIT
"""Dust and the intergalactic medium against the papers and other implementations."""

import numpy as np
import pytest

from aion.mocksky.dust import attenuation, extinction, milky_way
from aion.mocksky.grids import OBSERVED
from aion.mocksky.igm import LYMAN_ALPHA, igm_transmission
from aion.mocksky.responses import band_matrix


def test_the_milky_ways_curve_is_that_of_fitzpatrick():
    wavelength = np.array([3000.0, 5318.1, 9427.3, 16711.7, 29624.7])
    # The numbers of the package dust_extinction 1.7, F99 with R_V = 3.1.
    expected = np.array([5.5699, 3.1809, 1.2942, 0.5020, 0.2306])
    np.testing.assert_allclose(extinction(wavelength), expected, atol=6e-4)
    assert extinction(np.array([1e9]))[0] == pytest.approx(0.0, abs=1e-4)


def test_band_extinctions_are_those_of_the_legacy_surveys():
    # A / E(B-V) of the Legacy Surveys' description; they assume a stellar spectrum.
    expected = {"DES-G": 3.214, "DES-R": 2.165, "DES-Z": 1.211, "WISE-W1": 0.184}
    sun = np.expm1(1.4388e8 / (7000.0 * OBSERVED)) ** -1 * OBSERVED**-5
    matrix = band_matrix(tuple(expected)).astype(float)
    seen = (sun * milky_way(np.array([0.01]))[0]) @ matrix / (sun @ matrix)
    ours = -2.5 * np.log10(seen) / 0.01
    np.testing.assert_allclose(ours, list(expected.values()), rtol=0.03, atol=0.02)


def test_attenuation_is_that_of_calzetti():
    # Calzetti et al. 2000, equation 4: k(0.55 micron) = R_V = 4.05 within 1 %.
    assert attenuation(np.array([5500.0]))[0] == pytest.approx(1.0, abs=0.01)
    k = 2.659 * (-2.156 + 1.509 / 0.3 - 0.198 / 0.09 + 0.011 / 0.027) + 4.05
    assert attenuation(np.array([3000.0]))[0] == pytest.approx(k / 4.05)
    edges = attenuation(np.array([6299.0, 6301.0, 21999.0, 22001.0]))
    np.testing.assert_allclose(edges[::2], edges[1::2], rtol=0.01)
    assert (np.diff(attenuation(OBSERVED)) < 1e-2).all()


# The numbers of the package eazy 0.8.7, Inoue14, at these observed wavelengths.
EAZY = {
    1.8: (1.0, 1.0, 1.0),
    2.5: (0.83321, 1.0, 1.0),
    3.5: (0.09015, 0.63072, 1.0),
    4.5: (0.00214, 0.01798, 0.41825),
    5.2: (0.00008, 0.00022, 0.18872),
}


@pytest.mark.parametrize("redshift", EAZY)
def test_the_intergalactic_medium_is_that_of_inoue(redshift):
    ours = np.interp([3500.0, 4500.0, 6000.0], OBSERVED, igm_transmission(redshift))
    np.testing.assert_allclose(ours, EAZY[redshift], atol=2e-3)


def test_light_redder_than_lyman_alpha_passes():
    for redshift in (0.0, 1.0, 2.5, 5.0):
        through = igm_transmission(redshift)
        assert (through[LYMAN_ALPHA * (1 + redshift) <= OBSERVED] == 1).all()
        assert through.min() >= 0 and through.max() <= 1
