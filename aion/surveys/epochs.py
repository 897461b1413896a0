# SPDX-License-Identifier: MIT
"""Positions at another epoch: stars move, and surveys are decades apart.

A row with proper motion is moved to the epoch of the survey it is compared with. Rows
of surveys without proper motions stay where they are. Two surveys that both have
proper motions meet at the mean of their epochs, so that neither goes first. Parallax
and radial velocity are left out: 1 kpc away a parallax is 1 mas, and the change of a
proper motion with perspective is below 1 mas in 20 years but for a few hundred stars.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from aion.errors import ConfigError
from aion.surveys.positions import Positions

EPOCHS: Mapping[str, float] = {
    "gaia": 2016.0,
    "legacy": 2017.5,
    "hsc": 2016.5,
    "sdss": 2003.0,
    "desi": 2021.5,
}
"""Mean epoch of each survey's positions, Julian years. Gaia's is exact (DR3); the
others are the middle of the observations and can be given by the caller."""

MAS = np.pi / 180 / 3600 / 1000
"""One milliarcsecond in radians."""
ARCSEC = 1000 * MAS
"""One arcsecond in radians."""


def unit_vectors(
    ra: Float64[np.ndarray, " b"], dec: Float64[np.ndarray, " b"]
) -> Float64[np.ndarray, "b 3"]:
    """Positions in degrees as vectors of length one."""
    a, d = np.radians(ra), np.radians(dec)
    xyz = np.empty((len(a), 3))
    xyz[:, 2] = np.sin(d)
    cosine = np.cos(d)
    xyz[:, 0], xyz[:, 1] = cosine * np.cos(a), cosine * np.sin(a)
    return xyz


def moved_vectors(positions: Positions, years: float) -> Float64[np.ndarray, "b 3"]:
    """Unit vectors `years` Julian years later.

    A star moves on a straight line through space; without parallax and radial velocity
    its direction is that of u + years (pm_ra p + pm_dec q), p and q the unit vectors
    towards east and north (ESA 1997, The Hipparcos Catalogue, SP-1200, 1.5.5).
    """
    xyz = unit_vectors(positions.ra, positions.dec)
    if positions.pm_ra is None or positions.pm_dec is None or not years:
        return xyz
    a, d = np.radians(positions.ra), np.radians(positions.dec)
    east = years * MAS * np.nan_to_num(positions.pm_ra)
    north = years * MAS * np.nan_to_num(positions.pm_dec)
    xyz[:, 0] -= east * np.sin(a) + north * np.sin(d) * np.cos(a)
    xyz[:, 1] += east * np.cos(a) - north * np.sin(d) * np.sin(a)
    xyz[:, 2] += north * np.cos(d)
    return xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def speeds(positions: Positions) -> Float64[np.ndarray, " b"]:
    """Proper motion of each row in mas/yr, 0 where there is none."""
    if positions.pm_ra is None or positions.pm_dec is None:
        return np.zeros(len(positions))
    east, north = np.nan_to_num(positions.pm_ra), np.nan_to_num(positions.pm_dec)
    return np.hypot(east, north)


def years_to_meet(
    epochs: Mapping[str, float], moving: Mapping[str, bool], one: str, other: str
) -> float:
    """Julian years by which survey `one` is moved to be compared with `other`.

    Args:
        epochs: Julian year of each survey's positions.
        moving: whether each survey has proper motions.
        one, other: the two surveys.

    Raises:
        ConfigError: `one` moves and an epoch is not known.
    """
    if not moving[one]:
        return 0.0
    for survey in (one, other):
        if survey not in epochs:
            raise ConfigError(
                f"the epoch of survey {survey!r} is not known and {one} has proper "
                "motions",
                f"Give the Julian year of the positions of {survey}.",
            )
    gap = epochs[other] - epochs[one]
    return gap / 2 if moving[other] else gap


def epochs_of(
    surveys: Sequence[str], given: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Epochs of the surveys: the caller's, else those of `EPOCHS`, else none.

    Raises:
        ConfigError: a number that is no year.
    """
    known = {**EPOCHS, **(given or {})}
    found = {survey: float(known[survey]) for survey in surveys if survey in known}
    for survey, year in found.items():
        if not 1900 <= year <= 2100:
            raise ConfigError(
                f"the epoch of survey {survey!r} is {year}", "Give a Julian year."
            )
    return found
