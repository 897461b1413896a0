# SPDX-License-Identifier: MIT
"""Gaia's catalogue against published errors, zero points and astropy's frames."""

import itertools
from dataclasses import fields

import healpy
import numpy as np
import pytest

from aion.errors import DataError
from aion.layouts import GAIA
from aion.mocksky.astrometry import AXES, parallax_error
from aion.mocksky.gaia import (
    GAIA_BANDS,
    NUMBER_BITS,
    flux_error,
    gaia_chance,
    gaia_magnitudes,
    observe_gaia,
    source_id,
)
from aion.mocksky.grids import OBSERVED
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.pipelines import LIGHT
from aion.mocksky.sky import Sky

CONDITIONS = Sky(64).conditions(1000)


def some_objects(count, kind="STAR", **values):
    """Objects with zeros where no value is given."""
    columns = {f.name: np.zeros(count) for f in fields(Objects)}
    columns |= {"number": np.arange(count), "distance": np.full(count, np.nan)}
    columns["kind"] = np.full(count, KINDS.index(kind), np.int8)
    columns |= {k: np.broadcast_to(v, count).copy() for k, v in values.items()}
    return Objects(**columns)


def flat_spectra(count, magnitude):
    flux = 3.631e-20 * 10 ** (-0.4 * magnitude) * 2.99792458e18 / OBSERVED**2 * 1e17
    return np.broadcast_to(flux.astype(np.float32), (count, len(flux)))


def observe(objects, magnitude, seed=0, parameters=None):
    """A flat spectrum has the same AB magnitude in all bands."""
    count = len(objects)
    return observe_gaia(
        flat_spectra(count, magnitude),
        objects,
        CONDITIONS,
        np.random.default_rng(seed),
        band_fluxes=np.full((count, 3), 10 ** (-0.4 * (magnitude - 22.5))),
        parameters=parameters,
    )


def sunlike(count):
    return {
        "teff": np.full(count, 5800.0),
        "logg": np.full(count, 4.4),
        "mh": np.full(count, -0.1),
    }


def test_columns_have_the_dtypes_of_the_archive():
    table = observe(some_objects(4), 16.0, parameters=sunlike(4))
    for column in GAIA.columns:
        if column.name in table:
            got = table[column.name]
            assert got.dtype == np.dtype(column.dtype), column.name
            assert got.shape == (4, *column.shape), column.name
    missing = {c.name for c in GAIA.columns if c.required} - set(table)
    assert missing == {"healpix"}
    assert set(table) <= {c.name for c in GAIA.columns}


@pytest.mark.parametrize(
    "magnitude, low, high", [(14.5, 0.02, 0.03), (17.0, 0.06, 0.08), (20.0, 0.45, 0.65)]
)
def test_parallax_errors_are_those_of_dr3(magnitude, low, high):
    # Gaia Collaboration 2021, table 4: 0.02-0.03, 0.07, 0.5 mas.
    assert low < parallax_error(np.array([magnitude]))[0] < high


@pytest.mark.parametrize("band, mmag", [("G", 1.0), ("BP", 12.0), ("RP", 6.0)])
def test_flux_errors_are_those_of_dr3(band, mmag):
    vega = {"G": 25.6874, "BP": 25.3385, "RP": 24.7479}[band]
    flux = 10 ** (-0.4 * (17.0 - vega))
    error = flux_error(np.array([flux]), f"GAIA-{band}")[0]
    assert 2.5 * np.log10(1 + error / flux) * 1e3 == pytest.approx(mmag, rel=0.01)
    faint = flux_error(np.array([0.0, -5.0]), f"GAIA-{band}")
    assert np.all(faint > 0) and faint[0] == faint[1]


def test_magnitudes_are_on_the_vega_system():
    table = observe(some_objects(1500), 17.0)
    shift = CONDITIONS.of(GAIA_BANDS, "zero_point")
    # AB minus Vega by the zero points of Riello et al. 2021, tables 5.2 and 5.4.
    for i, (band, offset) in enumerate((("g", 0.1136), ("bp", 0.0155), ("rp", 0.3561))):
        got = np.median(table[f"phot_{band}_mean_mag"].astype(float))
        assert got == pytest.approx(17.0 - offset + shift[i], abs=1e-3), band
    noiseless = gaia_magnitudes(np.full((1, 3), 10 ** (0.4 * 5.5)))
    np.testing.assert_allclose(noiseless[0], 17.0 - np.array([0.1136, 0.0155, 0.3561]))


def test_fluxes_scatter_as_their_errors_say():
    table = observe(some_objects(2000), 19.0)
    shift = CONDITIONS.of(GAIA_BANDS, "zero_point")
    for i, (band, zero) in enumerate((("g", 25.801), ("bp", 25.354), ("rp", 25.104))):
        true = 10 ** (-0.4 * (19.0 + shift[i] - zero))
        error = table[f"phot_{band}_mean_flux_error"]
        pull = (table[f"phot_{band}_mean_flux"] - true) / error
        assert pull.std() == pytest.approx(1.0, abs=0.06)
        assert abs(pull.mean()) < 0.08


def test_astrometry_scatters_as_errors_and_correlations_say():
    count = 2000
    stars = some_objects(
        count, ra=150.0, dec=40.0, distance=250.0, pm_ra=-12.0, pm_dec=7.0
    )
    table = observe(stars, 18.0)
    away = np.stack(
        [
            (table["ra"] - 150.0) * np.cos(np.radians(40.0)) * 3.6e6,
            (table["dec"] - 40.0) * 3.6e6,
            table["parallax"] - 4.0,
            table["pmra"] + 12.0,
            table["pmdec"] - 7.0,
        ],
        axis=1,
    )
    covariance = np.zeros((count, 5, 5))
    for i, a in enumerate(AXES):
        covariance[:, i, i] = table[f"{a}_error"].astype(float) ** 2
    for (i, a), (j, b) in itertools.combinations(enumerate(AXES), 2):
        both = table[f"{a}_error"].astype(float) * table[f"{b}_error"]
        covariance[:, i, j] = covariance[:, j, i] = table[f"{a}_{b}_corr"] * both
    chi2 = np.einsum("bi,bij,bj->b", away, np.linalg.inv(covariance), away)
    assert chi2.mean() == pytest.approx(5.0, abs=0.25)
    assert chi2.var() == pytest.approx(10.0, rel=0.25)
    assert np.abs(table["ra_dec_corr"]).max() < 1


def test_parallax_is_the_inverse_of_the_distance():
    table = observe(some_objects(2000, distance=500.0), 15.0)
    error = table["parallax_error"]
    assert np.average(table["parallax"], weights=error**-2.0) == pytest.approx(
        2.0, abs=0.004
    )
    far = observe(some_objects(2000, "QSO"), 15.0)
    assert abs(np.mean(far["parallax"])) < 0.004


def test_other_frames_are_those_of_astropy():
    coordinates = pytest.importorskip("astropy.coordinates")
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 50), rng.uniform(-80, 80, 50)
    table = observe(some_objects(50, ra=ra, dec=dec), 15.0)
    place = coordinates.SkyCoord(table["ra"], table["dec"], unit="deg")
    for frame, lon, lat in (
        (place.galactic, "l", "b"),
        (place.barycentrictrueecliptic, "ecl_lon", "ecl_lat"),
    ):
        got = coordinates.SkyCoord(
            table[lon],
            table[lat],
            unit="deg",
            frame=frame.frame.replicate_without_data(),
        )
        # Nutation moves the true ecliptic by 10 arcsec.
        assert got.separation(frame).deg.max() < 0.01, lon


def test_identifiers_hold_cell_and_number():
    objects = some_objects(5, ra=np.linspace(10, 300, 5), dec=np.linspace(-60, 60, 5))
    ids = source_id(objects)
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids & (2**NUMBER_BITS - 1), objects.number)
    cell = healpy.ang2pix(4096, objects.ra, objects.dec, nest=True, lonlat=True)
    np.testing.assert_array_equal(ids // 2**35, cell)


def test_radial_velocities_are_of_bright_stars():
    bright = observe(some_objects(3000, redshift=1e-4), 12.0, parameters=sunlike(3000))
    velocity, error = bright["radial_velocity"], bright["radial_velocity_error"]
    pull = (velocity - 1e-4 * LIGHT) / error
    assert pull.std() == pytest.approx(1.0, abs=0.05) and np.all(error < 2.0)
    for kind, magnitude in (("STAR", 16.0), ("GALAXY", 12.0), ("QSO", 12.0)):
        table = observe(some_objects(10, kind), magnitude, parameters=sunlike(10))
        assert np.isnan(table["radial_velocity"]).all()


def test_parameters_are_of_stars_and_bracketed():
    stars = some_objects(3000, distance=400.0, ebv=0.05)
    table = observe(stars, 16.0, parameters=sunlike(3000))
    for name, true in (("teff", 5800), ("logg", 4.4), ("mh", -0.1), ("distance", 400)):
        low, mid, high = (table[f"{name}_gspphot{b}"] for b in ("_lower", "", "_upper"))
        assert np.all((low < mid) & (mid < high))
        assert np.mean((low < true) & (true < high)) == pytest.approx(0.683, abs=0.03)
    assert np.all(table["azero_gspphot_lower"] >= 0)
    for kind, given in (("GALAXY", sunlike(4)), ("STAR", None)):
        table = observe(some_objects(4, kind), 16.0, parameters=given)
        assert np.isnan(table["teff_gspphot"]).all()
        assert np.isnan(table["distance_gspphot"]).all()


def test_selection_falls_with_magnitude_and_size():
    def chance(kind, magnitude, radius=0.0):
        objects = some_objects(1, kind, disk_radius=radius)
        return gaia_chance(objects, np.array([magnitude]))[0]

    assert chance("STAR", 16.0) > 0.95
    assert 0.1 < chance("STAR", 18.5) < 0.3
    assert chance("QSO", 18.5) > chance("STAR", 18.5)
    assert chance("QSO", 19.2) == 0
    assert chance("GALAXY", 16.0, 0.3) > 0.5 > 0.05 > chance("GALAXY", 16.0, 2.0)


def test_same_dice_same_table():
    one, other = (observe(some_objects(8), 18.0, seed=5) for _ in range(2))
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name], err_msg=name)


def test_band_fluxes_of_another_shape_are_refused():
    with pytest.raises(DataError, match="GAIA-BP"):
        observe_gaia(
            flat_spectra(2, 15.0),
            some_objects(2),
            CONDITIONS,
            np.random.default_rng(0),
            band_fluxes=np.ones((2, 21)),
        )
