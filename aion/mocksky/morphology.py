# SPDX-License-Identifier: MIT
"""Shapes of galaxies: bulge and disk, sizes, axis ratios.

Sizes follow Shen et al. 2003 (table 1; late and early types by mass, with their
scatter), and shrink with redshift as in van der Wel et al. 2014. Disks are round, a
fifth as thick as wide and seen from anywhere; bulges are oblate. Not realistic: no
arms, bars, clumps or mergers; dust does not know the inclination; one colour per
galaxy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from aion.mocksky.cosmology import arcsec_per_kiloparsec
from aion.mocksky.family import Family

THICKNESS = 0.2
SMALLEST, LARGEST = 0.05, 25.0
"""Half-light radii in arcsec are kept between these."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Columns of `objects.Objects` with the same names, [b]."""

    bulge_fraction: np.ndarray
    bulge_sersic: np.ndarray
    disk_sersic: np.ndarray
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    position_angle: np.ndarray


def point_shapes(count: int) -> Shapes:
    """What is unresolved: radius 0, no bulge, round."""
    values = {name: np.zeros(count) for name in Shapes.__dataclass_fields__}
    for name in ("disk_sersic", "bulge_axis_ratio", "disk_axis_ratio"):
        values[name] += 1.0
    values["bulge_sersic"] += 4.0
    return Shapes(**values)


def half_light_radius(
    log_mass: Float[np.ndarray, " b"], early: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """Median circularised half-light radius in kpc at redshift 0.1.

    Args:
        log_mass: of the stars, log10 solar masses.
        early: 0 = late type, 1 = early type; in between logarithmically.
    """
    mass = 10**log_mass
    late = 0.1 * mass**0.14 * (1 + mass / 3.98e10) ** (0.39 - 0.14)
    # Dwarf ellipticals do not follow the steep relation of the giant ones.
    massive = 2.88e-6 * np.maximum(mass, 10**9.7) ** 0.56
    massive = massive * np.minimum(mass / 10**9.7, 1.0) ** 0.14
    return late ** (1 - early) * massive**early


def galaxy_shapes(
    family: Family,
    sed: np.ndarray,
    redshift: Float[np.ndarray, " b"],
    log_mass: Float[np.ndarray, " b"],
    rng: np.random.Generator,
) -> Shapes:
    """Draws shapes that go with spectra and masses.

    Args:
        family: of `galaxies.galaxy_family`.
        sed: its rows, int [b].
        redshift: of the galaxies.
        log_mass: of the stars, log10 solar masses.
        rng: dice; five numbers per galaxy are used.
    """
    count = len(sed)
    old = family.parameters["share_3"][sed]
    # More bulge in redder and heavier galaxies: half of the light at the border.
    pull = 5.5 * (old - 0.66) + 1.1 * (log_mass - 10.8)
    bulge = expit(pull + rng.normal(0.0, 0.9, count))
    bulge = np.where(bulge > 0.85, 1.0, np.where(bulge < 0.05, 0.0, bulge))
    early = expit(8.0 * (bulge - 0.6))
    scatter = 0.34 + 0.13 / (1 + 10 ** (2 * (log_mass - 10.6)))
    kiloparsec = half_light_radius(log_mass, early) * np.exp(
        scatter * rng.standard_normal(count)
    )
    shrink = np.power((1 + redshift) / 1.1, -0.75 - 0.5 * early)
    radius = kiloparsec * shrink * arcsec_per_kiloparsec(redshift)
    sersic = 1.2 + 2.6 * early + 0.5 * (log_mass - 10.5)
    sersic = np.clip(sersic + rng.normal(0.0, 0.5, count), 1.0, 5.0)
    edge, spin = rng.uniform(size=(2, count))
    # A round thing of axis ratio q0, seen at a random angle.
    disk = np.sqrt(edge**2 * (1 - THICKNESS**2) + THICKNESS**2)
    flat = 0.8 - 0.25 * (1 - early)
    oblate = np.sqrt(edge**2 * (1 - flat**2) + flat**2)
    inner = radius * (0.3 + 0.7 * bulge**2)
    outer = radius * (1.0 + 0.4 * bulge)
    return Shapes(
        bulge_fraction=bulge,
        bulge_sersic=sersic,
        disk_sersic=np.ones(count),
        bulge_radius=np.clip(inner / np.sqrt(oblate), SMALLEST, LARGEST),
        disk_radius=np.clip(outer / np.sqrt(disk), SMALLEST, LARGEST),
        bulge_axis_ratio=oblate,
        disk_axis_ratio=disk,
        position_angle=180.0 * spin,
    )
