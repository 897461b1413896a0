# SPDX-License-Identifier: MIT
"""A block of objects with all that instruments need to know of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from aion.mocksky.family import Family
from aion.mocksky.neighbours import Neighbours, draw_neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.population import Photometry, Population
from aion.mocksky.responses import band_fluxes
from aion.mocksky.seds import spectra
from aion.mocksky.sky import ASTROMETRY, BAND_NAMES, EPOCHS, Block, Conditions
from aion.mocksky.threads import one_thread

_DEGREE = 3.6e6  # milliarcseconds


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects of one block before anybody looked at them.

    Attributes:
        objects: the truth.
        conditions: of their cell.
        photometry: their fluxes as all catalogues have them.
        spectra: noiseless flux density on `grids.OBSERVED`, 1e-17 cgs per Angstrom,
            float32 [b, l].
        neighbours: what else is in their fields.
        families: the libraries by class.
    """

    objects: Objects
    conditions: Conditions
    photometry: Photometry
    spectra: np.ndarray
    neighbours: Neighbours
    families: Mapping[str, Family]

    def __len__(self) -> int:
        return len(self.objects)

    @cached_property
    def fluxes(self) -> np.ndarray:
        """Noiseless fluxes in all bands, nanomaggies; no zero point shifts."""
        return band_fluxes(self.spectra, BAND_NAMES)

    def true(self, names: tuple[str, ...]) -> np.ndarray:
        """Noiseless fluxes in some bands, nanomaggies, [b, len(names)]."""
        return self.fluxes[:, [BAND_NAMES.index(name) for name in names]]

    def measured(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Measured fluxes and their errors in some bands, nanomaggies."""
        columns = [BAND_NAMES.index(name) for name in names]
        return self.photometry.flux[:, columns], self.photometry.sigma[:, columns]

    def take(self, rows: Any) -> Self:
        """The objects `rows` (slice, indices or boolean)."""
        photometry = self.photometry
        return replace(
            self,
            objects=self.objects.take(rows),
            photometry=Photometry(photometry.flux[rows], photometry.sigma[rows]),
            spectra=self.spectra[rows],
            neighbours=self.neighbours.take(rows),
        )

    def positions(
        self, survey: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Measured ra and dec, degrees, at the epoch of a survey.

        Proper motion is linear in ra cos(dec) and dec: over twenty years this is right
        to 0.01 mas but for the fastest stars near the poles.
        """
        years = EPOCHS[survey] - EPOCHS["gaia"]
        noise = rng.standard_normal((2, len(self))) * 1e3 * ASTROMETRY[survey]
        dec = self.objects.dec + (self.objects.pm_dec * years + noise[1]) / _DEGREE
        east = (self.objects.pm_ra * years + noise[0]) / _DEGREE
        ra = self.objects.ra + east / np.cos(np.radians(self.objects.dec))
        return ra % 360.0, np.clip(dec, -90.0, 90.0)


@one_thread
def make_scene(population: Population, block: Block) -> Scene:
    """The objects of a block, their spectra and their neighbours.

    Args:
        population: who lives on the sky.
        block: of `population.sky`.
    """
    sky = population.sky
    objects, photometry = population.draw(block)
    return Scene(
        objects,
        sky.conditions(block.cell),
        photometry,
        spectra(objects, population.families),
        draw_neighbours(objects, sky.rng("neighbours", block)),
        population.families,
    )
