# SPDX-License-Identifier: MIT
"""Distances and motions of stars, from the population they belong to.

Velocities are Gaussian ellipsoids along the axes of the Galaxy (U towards its centre,
V with its rotation, W to its north pole), with the dispersions and the asymmetric
drifts of Bensby, Feltzing and Oey 2014 for the disks and Chiba and Beers 2000 for the
halo, seen from the Sun, which moves as Schoenrich, Binney and Dehnen 2010 say.

Not realistic: a star's orbit does not know where in the Galaxy the star is.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aion.mocksky.family import Family

LIGHT = 299_792.458
"""km/s."""
TRANSVERSE = 4.740470463
"""km/s of one arcsec a year at one parsec."""

_SUN = np.array([11.1, 12.24, 7.25])
# Dispersions and mean velocities in km/s, in the order of `stars.POPULATIONS`.
_DISPERSION = np.array([(35.0, 20.0, 16.0), (67.0, 38.0, 35.0), (141.0, 106.0, 94.0)])
_MEAN = np.array([(0.0, -15.0, 0.0), (0.0, -46.0, 0.0), (0.0, -200.0, 0.0)])
# Columns are the axes of the Galaxy in ICRS (Hipparcos catalogue, volume 1, 1.5.11).
_TO_ICRS = np.array(
    [
        [-0.0548755604, 0.4941094279, -0.8676661490],
        [-0.8734370902, -0.4448296300, -0.1980763734],
        [-0.4838350155, 0.7469822445, 0.4559837762],
    ]
)


@dataclass(frozen=True, eq=False)
class Motions:
    """Where stars are and how they move, arrays [b].

    Attributes:
        distance: parsec.
        pm_ra, pm_dec: mas/yr, pm_ra with cos(dec).
        redshift: radial velocity over c, away is positive.
    """

    distance: np.ndarray
    pm_ra: np.ndarray
    pm_dec: np.ndarray
    redshift: np.ndarray


def star_motions(
    family: Family,
    sed: Int[np.ndarray, " b"],
    magnitude: Float[np.ndarray, " b"],
    ra: Float[np.ndarray, " b"],
    dec: Float[np.ndarray, " b"],
    rng: np.random.Generator,
) -> Motions:
    """Distances that fit the magnitudes exactly, and velocities drawn at random.

    Args:
        family: of stars.
        sed: rows of the family.
        magnitude: reference magnitudes.
        ra, dec: degrees.
        rng: dice.
    """
    absolute = family.parameters["absolute_magnitude"][sed]
    distance = 10 ** (0.2 * (magnitude - absolute) + 1)
    kind = family.parameters["population"][sed].astype(int)
    noise = rng.standard_normal((len(sed), 3))
    galactic = _MEAN[kind] + _DISPERSION[kind] * noise - _SUN
    velocity = galactic @ _TO_ICRS.T
    east, north, away = _directions(ra, dec)
    scale = 1e3 / (TRANSVERSE * distance)
    return Motions(
        distance,
        np.sum(velocity * east, axis=1) * scale,
        np.sum(velocity * north, axis=1) * scale,
        np.sum(velocity * away, axis=1) / LIGHT,
    )


def _directions(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, ...]:
    """Unit vectors to the east, to the north and away, [b, 3] each."""
    a, d = np.radians(ra), np.radians(dec)
    zero = np.zeros_like(a)
    return (
        np.stack([-np.sin(a), np.cos(a), zero], axis=1),
        np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=1),
        np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1),
    )
