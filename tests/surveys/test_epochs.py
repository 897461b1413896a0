# SPDX-License-Identifier: MIT
"""Positions at another epoch against astropy's rigorous space motion."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time

from aion.errors import ConfigError, DataError
from aion.surveys.epochs import (
    ARCSEC,
    EPOCHS,
    epochs_of,
    moved_vectors,
    speeds,
    unit_vectors,
    years_to_meet,
)
from aion.surveys.positions import Positions

YEARS = -13.0


def stars(count=2000, seed=0):
    """Stars all over the sky, some at the poles, proper motions up to 10 arcsec/yr."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    dec[20:40] = 90 - 10.0 ** rng.uniform(-6, -2, len(dec[20:40]))
    speed = 10 ** rng.uniform(0, 4, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    motion = speed * np.cos(angle), speed * np.sin(angle)
    return Positions(np.arange(count), ra, dec, *motion)


def distances(one, other):
    """Arcsec between unit vectors."""
    return np.linalg.norm(one - other, axis=1) / ARCSEC


def astropy_vectors(positions, distance, velocity):
    """Unit vectors by `apply_space_motion`, as seen from the barycentre."""
    start = SkyCoord(
        positions.ra * u.deg,
        positions.dec * u.deg,
        distance=distance,
        pm_ra_cosdec=positions.pm_ra * u.mas / u.yr,
        pm_dec=positions.pm_dec * u.mas / u.yr,
        radial_velocity=velocity,
        obstime=Time(2016.0, format="jyear", scale="tcb"),
    )
    end = start.apply_space_motion(dt=YEARS * u.yr)
    return unit_vectors(np.asarray(end.ra.deg), np.asarray(end.dec.deg))


def test_unit_vectors_are_those_of_astropy():
    some = stars()
    xyz = SkyCoord(some.ra, some.dec, unit="deg").cartesian.xyz
    theirs = np.asarray(xyz).T
    np.testing.assert_allclose(unit_vectors(some.ra, some.dec), theirs, atol=1e-15)


def test_motion_is_astropys_for_stars_without_radial_velocity():
    some = stars()
    # 47 km/s for all: at the speeds of distant stars astropy adds relativity.
    far = Distance(1000 / speeds(some), u.pc)
    theirs = astropy_vectors(some, far, np.zeros(len(some)) * u.km / u.s)
    assert distances(moved_vectors(some, YEARS), theirs).max() < 1e-5


def test_what_is_left_out_is_below_two_milliarcseconds():
    """Perspective acceleration of a star at 20 pc, 1 arcsec/yr and 100 km/s."""
    one = Positions(
        np.zeros(1, int), np.array([80.0]), np.array([40.0]), *np.full((2, 1), 707.0)
    )
    near = Distance(np.full(1, 20.0), u.pc)
    theirs = astropy_vectors(one, near, np.full(1, 100.0) * u.km / u.s)
    assert 1e-5 < distances(moved_vectors(one, YEARS), theirs).max() < 2e-3


def test_a_row_without_motion_stays_and_has_no_speed():
    some = stars(3)
    some.pm_ra[1] = some.pm_dec[1] = np.nan
    moved = moved_vectors(some, 10.0)
    shift = distances(moved, unit_vectors(some.ra, some.dec))
    assert shift[1] < 1e-9
    np.testing.assert_allclose(shift, speeds(some) / 100, rtol=1e-6, atol=1e-9)
    still = Positions(some.object_id, some.ra, some.dec)
    assert not speeds(still).any()
    np.testing.assert_array_equal(
        moved_vectors(still, 10.0), unit_vectors(some.ra, some.dec)
    )


def test_the_moving_survey_goes_to_the_other_and_two_meet_in_the_middle():
    moving = {"gaia": True, "sdss": False}
    assert years_to_meet(EPOCHS, moving, "gaia", "sdss") == -13.0
    assert years_to_meet(EPOCHS, moving, "sdss", "gaia") == 0.0
    both = {"gaia": True, "sdss": True}
    assert years_to_meet(EPOCHS, both, "gaia", "sdss") == -6.5
    assert years_to_meet(EPOCHS, both, "sdss", "gaia") == 6.5


def test_an_epoch_is_needed_where_something_moves():
    moving = {"gaia": True, "own": False}
    with pytest.raises(ConfigError, match="epoch of survey 'own' is not known"):
        years_to_meet(EPOCHS, moving, "gaia", "own")
    known = epochs_of(("gaia", "own"), {"own": 2010.0})
    assert known == {"gaia": 2016.0, "own": 2010.0}
    with pytest.raises(ConfigError, match="Julian year"):
        epochs_of(("gaia",), {"gaia": 57_000.0})


def test_one_proper_motion_of_two_is_an_error():
    with pytest.raises(DataError, match="both proper motions"):
        Positions(np.arange(2), np.zeros(2), np.zeros(2), np.zeros(2))
