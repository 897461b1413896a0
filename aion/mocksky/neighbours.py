# SPDX-License-Identifier: MIT
"""What else is near an object: galaxies and stars in its stamp, as numbers on the sky.

Counts of galaxies follow N(< r) = 18 per arcmin^2 at r = 24 with 0.37 dex per mag, and
those of stars 1.3 at r = 22 with 0.14 (a high galactic latitude; both are rounded from
published counts of SDSS and deep fields). Places are even over the field: neighbours
are not clustered, and know nothing of the object in the middle. Their spectra are
parabolas in log wavelength, enough for colours of field galaxies and late stars.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from aion.instrument import BANDS
from aion.mocksky.family import REFERENCE
from aion.mocksky.objects import Objects

SLOTS = 64
"""Most neighbours of one object."""
FIELD = 24.0
"""Half the side of the square in which they are drawn, arcsec: a little more than a
stamp of the Legacy Surveys."""
FAINT = 25.5
"""Magnitude of the faintest."""

# N(< FAINT) per arcmin^2, dex per mag, magnitude of the brightest.
_GALAXIES = (18.0 * 10 ** (0.37 * (FAINT - 24)), 0.37, 16.0)
_STARS = (1.3 * 10 ** (0.14 * (FAINT - 22)), 0.14, 15.0)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of some objects, each attribute an array [b, n].

    Attributes:
        east, north: offset from the object, arcsec.
        magnitude: AB in DES-R as observed.
        slope, curvature: the flux density per frequency is proportional to
            10^(slope x + curvature x^2), x = log10(wavelength over that of DES-R).
        radius: half-light radius along the major axis, arcsec; 0 for stars.
        sersic: Sersic index.
        axis_ratio: minor over major axis.
        position_angle: of the major axis, degrees east of north.
        valid: True = there is such a neighbour.
    """

    east: np.ndarray
    north: np.ndarray
    magnitude: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    radius: np.ndarray
    sersic: np.ndarray
    axis_ratio: np.ndarray
    position_angle: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.east)

    def take(self, rows: Any) -> Self:
        """Those of the objects `rows` (slice, indices or boolean)."""
        return replace(
            self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)}
        )

    def pick(self, columns: np.ndarray) -> Self:
        """Some neighbours of each object, by their columns, int [b, m]."""
        return replace(
            self,
            **{
                f.name: np.take_along_axis(getattr(self, f.name), columns, axis=1)
                for f in fields(self)
            },
        )

    def fluxes(self, names: Sequence[str]) -> Float[np.ndarray, "b n c"]:
        """Fluxes in some bands, nanomaggies; 0 where there is no neighbour."""
        return self.fluxes_at(np.array([BANDS[name].wavelength for name in names]))

    def fluxes_at(
        self, wavelength: Float[np.ndarray, " c"]
    ) -> Float[np.ndarray, "b n c"]:
        """Fluxes at wavelengths in Angstrom, nanomaggies."""
        x = np.log10(wavelength / BANDS[REFERENCE].wavelength)
        shape = self.slope[..., None] * x + self.curvature[..., None] * x**2
        flux = 10 ** (shape - 0.4 * (self.magnitude[..., None] - 22.5))
        return np.where(self.valid[..., None], flux, 0.0)


def _magnitudes(uniform: np.ndarray, law: tuple[float, float, float]) -> np.ndarray:
    _, rise, bright = law
    least = 10 ** (rise * (bright - FAINT))
    return FAINT + np.log10(least + uniform * (1 - least)) / rise


def draw_neighbours(objects: Objects, rng: np.random.Generator) -> Neighbours:
    """The neighbours of each object, the same for all cameras.

    Args:
        objects: around which.
        rng: dice of the truth, the same for all surveys.

    Returns:
        `SLOTS` neighbours each, those that are `valid` first.
    """
    shape = (len(objects), SLOTS)
    area = (2 * FIELD / 60) ** 2
    count = rng.poisson(area * (_GALAXIES[0] + _STARS[0]), (len(objects), 1))
    star = rng.random(shape) < _STARS[0] / (_GALAXIES[0] + _STARS[0])
    place = rng.uniform(-FIELD, FIELD, (2, *shape))
    uniform = rng.random(shape)
    magnitude = np.where(
        star, _magnitudes(uniform, _STARS), _magnitudes(uniform, _GALAXIES)
    )
    normal = rng.standard_normal((3, *shape))
    # 1.1 arcsec at r = 20 and 0.5 at r = 23, scatter 0.2 dex: deep HST fields.
    radius = 10 ** (np.log10(0.5) - 0.11 * (magnitude - 23) + 0.2 * normal[0])
    early = rng.random(shape) < 0.25
    sersic = np.where(early, 3.0, 1.0) * np.exp(0.2 * normal[1])
    slope = np.where(star, 3.0, np.where(early, 2.3, 1.4)) + 0.8 * normal[2]
    return Neighbours(
        east=place[0],
        north=place[1],
        magnitude=magnitude,
        slope=slope,
        curvature=np.where(star, -3.0, -2.5),
        radius=np.where(star, 0.0, np.clip(radius, 0.05, 5.0)),
        sersic=np.clip(sersic, 0.5, 6.0),
        axis_ratio=np.where(star, 1.0, 0.2 + 0.8 * rng.beta(2.0, 1.2, shape)),
        position_angle=rng.uniform(0.0, 180.0, shape),
        valid=np.arange(SLOTS) < count,
    )
