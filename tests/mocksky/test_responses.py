# SPDX-License-Identifier: MIT
"""Band fluxes against speclite, for smooth spectra and for forests of lines."""

import numpy as np
import pytest

from aion.errors import ConfigError
from aion.instrument import BANDS
from aion.mocksky.grids import OBSERVED
from aion.mocksky.responses import band_fluxes, band_matrix, curves, magnitudes

NAMES = tuple(BANDS)
SPECLITE = {
    "DES": "decamDR1",
    "WISE": "wise2010",
    "HSC": "hsc2017",
    "SDSS": "sdss2010",
    "GAIA": "gaiadr3",
}


def by_speclite(spectra):
    speclite = pytest.importorskip("speclite.filters")
    units = pytest.importorskip("astropy.units")
    names = []
    for band in NAMES:
        group, name = band.split("-")
        name = name if group in ("WISE", "GAIA") else name.lower()
        name = {("HSC", "r"): "r2", ("HSC", "i"): "i2"}.get((group, name), name)
        names.append(f"{SPECLITE[group]}-{name}")
    # SDSS u starts 11 Angstrom before our grid, with next to no response there.
    wavelength = np.concatenate([[2930.0], OBSERVED])
    flux = np.concatenate([spectra[:, :1], spectra], axis=1) * 1e-17
    flux = flux * units.Unit("erg / (s cm2 Angstrom)")
    table = speclite.load_filters(*names).get_ab_maggies(flux, wavelength)
    return np.stack([table[name] for name in names], axis=1) * 1e9


def smooth():
    x = np.log(OBSERVED / 6000)
    return np.stack([np.ones_like(x), np.exp(-2 * x), np.exp(0.7 * x - x**2)])


def lines():
    rng = np.random.default_rng(3)
    spectra = np.ones((4, len(OBSERVED)))
    for spectrum in spectra:
        for centre in np.exp(rng.uniform(np.log(3000), np.log(11000), 40)):
            sigma = centre * 100 / 299792.458
            line = np.exp(-0.5 * ((OBSERVED - centre) / sigma) ** 2)
            spectrum += rng.uniform(5, 50) * line
    return spectra


@pytest.mark.parametrize("spectra", [smooth(), lines()], ids=["smooth", "lines"])
def test_agrees_with_speclite_to_a_millimagnitude(spectra):
    ours = band_fluxes(spectra.astype(np.float32), NAMES)
    difference = magnitudes(ours) - magnitudes(by_speclite(spectra))
    assert np.abs(difference).max() < 1e-3


def test_a_flat_ab_source_has_its_magnitude_in_every_band():
    spectrum = 3.631e-29 * 2.99792458e18 / OBSERVED**2 / 1e-17
    fluxes = band_fluxes(7 * spectrum[None], NAMES)
    np.testing.assert_allclose(fluxes, 7, rtol=1e-5)
    np.testing.assert_allclose(magnitudes(np.array([1.0, 100.0])), [22.5, 17.5])
    assert np.isnan(magnitudes(np.array([-1.0, 0.0]))).all()


def test_effective_wavelengths_and_widths_are_those_of_the_instruments():
    for place, band in enumerate(BANDS.values()):
        weight = band_matrix(NAMES)[:, place].astype(float)
        mean = (weight * OBSERVED).sum() / weight.sum()
        assert mean == pytest.approx(band.wavelength, rel=2e-3)
        wavelength, response = curves()[band.name]
        assert np.trapezoid(response, wavelength) == pytest.approx(band.width, rel=1e-3)


def test_the_matrix_is_shared_small_and_names_unknown_bands():
    assert band_matrix(NAMES) is band_matrix(list(NAMES))
    assert not band_matrix(NAMES).flags.writeable
    with pytest.raises(ConfigError, match="DES-Q"):
        band_matrix(["DES-Q"])
