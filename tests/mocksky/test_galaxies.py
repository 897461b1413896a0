# SPDX-License-Identifier: MIT
"""The library of galaxies against cosmology, speclite and the physics of gas."""

import numpy as np
import pytest
from astropy import units
from astropy.cosmology import FlatLambdaCDM

from aion.errors import DataError
from aion.mocksky.cosmology import (
    arcsec_per_kiloparsec,
    distance_modulus,
    volume_density,
)
from aion.mocksky.galaxies import galaxy_family, galaxy_labels
from aion.mocksky.grids import OBSERVED
from aion.mocksky.lines import WAVELENGTHS, add_lines, line_ratios
from aion.mocksky.objects import KINDS, Objects

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3)  # pyright: ignore[reportCallIssue]
LINES = list(WAVELENGTHS)


@pytest.fixture(scope="module")
def family():
    return galaxy_family()


def test_distances_and_volumes_are_those_of_astropy():
    z = np.array([0.003, 0.1, 0.5, 1.5, 5.0])
    expected = COSMOLOGY.distmod(z).value
    np.testing.assert_allclose(distance_modulus(z), expected, atol=2e-4)
    arcsec = COSMOLOGY.arcsec_per_kpc_proper(z).value
    np.testing.assert_allclose(arcsec_per_kiloparsec(z), arcsec, rtol=1e-4)
    volume = COSMOLOGY.differential_comoving_volume(z) * (1 + z)
    expected = volume.to_value(units.Mpc**3 / units.sr)
    np.testing.assert_allclose(volume_density(z), expected, rtol=2e-4)


def test_the_family_is_a_prior(family):
    assert 900 <= len(family) <= 1100
    assert family.flux.nbytes < 150e6 and family.flux.dtype == np.float32
    assert np.isfinite(family.flux).all() and (family.flux > 0).all()
    assert family.weight.sum() == pytest.approx(1.0)
    total = np.trapezoid(family.redshift_density, np.log1p(family.redshift), axis=1)
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)
    steps = np.diff(np.log1p(family.redshift))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert 0.07 < family.novel.mean() < 0.14
    assert family.weights(novel=False)[family.novel].sum() == 0
    # Seen at any redshift of the family, a spectrum covers the whole observed grid.
    assert family.wavelength[0] * (1 + family.redshift[-1]) < OBSERVED[0] * 1.01
    assert family.wavelength[-1] > OBSERVED[-1]


def test_magnitudes_dim_as_speclite_and_astropy_say(family):
    speclite = pytest.importorskip("speclite.filters")
    band = speclite.load_filters("decamDR1-r")
    unit = units.Unit("erg / (s cm2 Angstrom)")

    def magnitude(flux, wavelength):
        return float(band.get_ab_magnitudes(flux * unit, wavelength)["decamDR1-r"][0])

    for row, node in ((3, 50), (400, 200), (750, 320)):
        z, flux = family.redshift[node], family.flux[row].astype(float)
        near = family.wavelength < 40_000
        wave, flux = family.wavelength[near], flux[near]
        rest = magnitude(flux, wave)
        dimmed = magnitude(flux / (1 + z), wave * (1 + z))
        p = {name: float(value[row]) for name, value in family.parameters.items()}
        expected = p["absolute"] - p["evolution"] * z
        expected += dimmed - rest + COSMOLOGY.distmod(z).value
        assert family.magnitude_mean[row, node] == pytest.approx(expected, abs=3e-3)


def test_line_ratios_are_physical():
    n2 = np.linspace(-1.4, -0.25, 30)
    mix = np.tile([1.0, 0.0, 0.0], (30, 1))
    ratio = dict(zip(LINES, line_ratios(n2, mix).T, strict=True))
    np.testing.assert_allclose(ratio["H alpha"], 1.0)
    np.testing.assert_allclose(1 / ratio["H beta"], 2.863, rtol=1e-6)
    np.testing.assert_allclose(ratio["O III 5008"] / ratio["O III 4960"], 2.98)
    np.testing.assert_allclose(ratio["N II 6585"] / ratio["N II 6550"], 3.05)
    np.testing.assert_allclose(np.log10(ratio["N II 6585"]), n2)
    o3 = np.log10(ratio["O III 5008"] / ratio["H beta"])
    # Kauffmann et al. 2003: star-forming galaxies are below this curve.
    assert (o3 < 0.61 / (n2 - 0.05) + 1.3).all()
    seyfert = line_ratios(np.array([-0.4]), np.array([[0.0, 1.0, 0.0]]))[0]
    n2, o3 = np.log10(seyfert[LINES.index("N II 6585")]), np.log10(7.0)
    # Kewley et al. 2001: active nuclei are above this one.
    assert o3 > 0.61 / (n2 - 0.47) + 1.19


def test_lines_keep_their_flux_and_width():
    wavelength = 3000 * np.exp(1e-4 * np.arange(12_000))
    flux = np.zeros((1, len(wavelength)))
    strength = np.zeros((1, len(LINES)))
    strength[0, LINES.index("O III 5008")] = 3.0
    add_lines(flux, wavelength, strength, np.array([100.0]))
    assert np.trapezoid(flux[0], wavelength) == pytest.approx(3.0, rel=1e-4)
    velocity = (wavelength / WAVELENGTHS["O III 5008"] - 1) * 299_792.458
    width = np.sqrt(np.average(velocity**2, weights=flux[0]))
    assert width == pytest.approx(100.0, rel=1e-2)


def break_4000(family):
    """D4000 of Balogh et al. 1999."""
    wave = family.wavelength
    nu = family.flux * wave**2
    red = nu[:, (wave > 4000) & (wave < 4100)].mean(1)
    return red / nu[:, (wave > 3850) & (wave < 3950)].mean(1)


def test_ages_breaks_lines_and_colours_hang_together(family):
    p, d4000 = family.parameters, break_4000(family)
    quiet = p["log_ssfr"] < -11.3
    busy = p["log_ssfr"] > -10.2
    assert 1.55 < np.median(d4000[quiet]) < 2.1
    assert 1.0 < np.median(d4000[busy]) < 1.45
    assert (
        np.median(p["halpha_width"][busy])
        > 15
        > 4
        > np.median(p["halpha_width"][quiet])
    )
    assert np.corrcoef(p["age"], d4000)[0, 1] > 0.5
    # Mass-to-light ratios in r, solar units: Bell et al. 2003, 0.5 to 3.
    ratio = 10 ** (p["log_mass_at_zero"] - 0.4 * 4.61)
    assert 1.2 < np.median(ratio[quiet]) < 3.5
    assert 0.2 < np.median(ratio[busy]) < 1.5


def test_labels_follow_brightness(family):
    count = 40
    empty = {name: np.zeros(count) for name in Objects.__dataclass_fields__}
    node = np.full(count, 100)
    objects = Objects(
        **empty
        | {
            "kind": np.full(count, KINDS.index("GALAXY"), np.int8),
            "sed": np.arange(count),
            "redshift": family.redshift[node],
            "magnitude": family.magnitude_mean[np.arange(count), node] - 2.5,
        }
    )
    labels = galaxy_labels(objects, family)
    p = {name: value[:count] for name, value in family.parameters.items()}
    absolute = p["absolute"] - p["evolution"] * objects.redshift - 2.5
    np.testing.assert_allclose(labels["ABSMAG_R"], absolute, atol=1e-6)
    np.testing.assert_allclose(
        labels["LOGMSTAR"], p["log_mass_at_zero"] - 0.4 * absolute, atol=1e-6
    )
    rate = np.log10(labels["AVG_SFR"]) - labels["LOGMSTAR"]
    np.testing.assert_allclose(rate, p["log_ssfr"], atol=1e-6)
    assert set(labels) >= {"LOGMSTAR", "Z_MW", "TAGE_MW", "AVG_SFR"}
    with pytest.raises(DataError):
        galaxy_labels(Objects(**vars(objects) | {"kind": np.zeros(count)}), family)
