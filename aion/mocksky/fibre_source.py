# SPDX-License-Identifier: MIT
"""Spectra with their truth for codec training, also by spectrographs nobody has built.

A codec that is told wavelengths and resolving power should not learn two instruments by
heart: a fictional spectrograph has any range, sampling, resolution and sensitivity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32

from aion.errors import ConfigError, DataError
from aion.mocksky.blocks import Scene, make_scene
from aion.mocksky.fibre_cameras import Spectrograph, boss, desi, sdss
from aion.mocksky.night_sky import transmission
from aion.mocksky.observe import members, through_forest
from aion.mocksky.sky import Block, Sky
from aion.mocksky.spectrographs import (
    ObservedSpectra,
    observe_desi,
    observe_sdss,
    observe_with,
)
from aion.observation import Scalar, Spectrum
from aion.records import Records

if TYPE_CHECKING:
    from aion.mocksky.population import Population

FICTION = "fictional_spectrum"
"""The modality of fictional spectrographs; no codec of a bundle serves it."""

INSTRUMENTS = ("desi", "sdss", "fiction")

_FWHM = 2 * np.sqrt(2 * np.log(2))


@lru_cache(maxsize=2)
def _population(sky: Sky, sample: str) -> "Population":
    from aion.mocksky.universe import universe

    return universe(sky, sample)


def draw_spectrograph(rng: np.random.Generator) -> Spectrograph:
    """A spectrograph at random: resolving power 1,000 to 4,500 at 6,500 Angstrom.

    Args:
        rng: dice.
    """
    base = desi()
    start = np.exp(rng.uniform(np.log(3450), np.log(5500)))
    stop = min(start * np.exp(rng.uniform(0.45, 1.05)), 10600.0)
    even = rng.random() < 0.5  # in wavelength, or else in its logarithm
    power = np.exp(rng.uniform(np.log(1600 if even else 1000), np.log(4500)))
    fwhm = 6500.0 / power
    step = fwhm / rng.uniform(1.8, 2.8)
    if even:
        wavelength = np.arange(start, stop, step)
    else:
        wavelength = np.exp(np.arange(np.log(start), np.log(stop), step / 6500.0))
    width = np.gradient(wavelength)
    electrons = np.interp(wavelength, base.wavelength, base.electrons)
    tilt = (wavelength / 6500.0) ** rng.normal(0, 0.5)
    electrons = electrons * tilt * (width / 0.8) * np.exp(rng.normal(0, 0.5))
    return replace(
        base,
        name="FICTION",
        wavelength=wavelength,
        sigma=fwhm / _FWHM / width * (wavelength / 6500.0) ** rng.uniform(0, 1),
        electrons=np.maximum(electrons, 1e-3) * transmission(wavelength),
        read_variance=np.full(len(wavelength), 50.0),
        fibre=float(rng.uniform(1.0, 3.0)),
        hits=float(rng.uniform(0, 8)),
    )


@dataclass(frozen=True)
class FibreSpectra:
    """A `RecordSource` of spectra of one instrument, with their truth.

    A batch holds spectra on one wavelength grid. The truth is flux without noise in the
    same pixels, through the same line spread function. The true redshift is there too,
    under the modality's name and ".redshift".

    Attributes:
        sky: which.
        instrument: "desi", "sdss" (two cameras) or "fiction" (others at random).
        sample: which objects, a name of `mocksky.samples.SAMPLES`.
        everywhere: every object is observed, whatever its brightness.
        group: objects per fictional spectrograph.

    Raises:
        ConfigError: another instrument.
    """

    sky: Sky
    instrument: str = "desi"
    sample: str = "sky"
    everywhere: bool = False
    group: int = 8

    def __post_init__(self) -> None:
        if self.instrument not in INSTRUMENTS:
            raise ConfigError(
                f"no spectrograph {self.instrument!r}",
                f"Choose one of {', '.join(INSTRUMENTS)}.",
            )

    @property
    def modality(self) -> str:
        """Name of what it gives."""
        return (
            FICTION if self.instrument == "fiction" else f"{self.instrument}_spectrum"
        )

    def partitions(self) -> Sequence[str]:
        """Names of the blocks, cell by cell."""
        return tuple(self._blocks)

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {f"{b.cell:04d}-{b.index:04d}": b for b in self.sky.blocks()}

    def read(self, partition: str) -> Iterator[Records]:
        """The objects of a block, one wavelength grid after another.

        Raises:
            DataError: no such block.
        """
        if partition not in self._blocks:
            raise DataError(
                f"this sky has no partition {partition!r}",
                "Read those that `partitions` names.",
            )
        block = self._blocks[partition]
        scene = make_scene(_population(self.sky, self.sample), block)
        survey = "desi" if self.instrument == "fiction" else self.instrument
        rng = self.sky.rng(survey, block)
        if not self.everywhere:
            scene = scene.take(np.flatnonzero(members(scene, survey, rng)))
        if not len(scene):
            return
        scene = through_forest(scene)
        if self.instrument == "fiction":
            yield from self._fiction(scene, block)
            return
        look = observe_desi if survey == "desi" else observe_sdss
        seen = look(scene.spectra, scene.objects, scene.conditions, rng)
        for name, camera in (("DESI", desi), ("SDSS", sdss), ("BOSS", boss)):
            rows = np.flatnonzero(seen.instrument == name)
            if len(rows):
                wavelength = camera().wavelength
                yield self._records(scene.take(rows), seen, rows, wavelength)

    def _fiction(self, scene: Scene, block: Block) -> Iterator[Records]:
        for number, start in enumerate(range(0, len(scene), self.group)):
            rng = np.random.default_rng(
                [self.sky.seed, 51, block.cell, block.index, number]
            )
            part = scene.take(slice(start, start + self.group))
            camera = draw_spectrograph(rng)
            exposure = np.exp(rng.normal(0, 0.7, len(part)))
            seen = observe_with(
                camera, part.spectra, part.objects, part.conditions, exposure, rng
            )
            yield self._records(part, seen, np.arange(len(part)), camera.wavelength)

    def _records(
        self,
        scene: Scene,
        seen: ObservedSpectra,
        rows: np.ndarray,
        wavelength: Float[np.ndarray, " l"],
    ) -> Records:
        length = len(wavelength)
        real = np.arange(length) < seen.length[rows, None]
        flux, ivar, bad, truth = (
            getattr(seen, name)[rows, :length]
            for name in ("flux", "ivar", "mask_bad", "truth")
        )
        sigma = np.broadcast_to(seen.lsf_sigma, seen.flux.shape)[rows[0], :length]
        power = _resolving_power(wavelength, sigma)
        here = scene.objects
        both = {
            self.modality: Spectrum(flux, ivar, ~bad & real, wavelength, power),
            f"{self.modality}.truth": Spectrum(truth, None, real, wavelength, power),
            f"{self.modality}.redshift": Scalar(here.redshift),
        }
        return Records(here.object_id, here.ra, here.dec, both)


def _resolving_power(
    wavelength: Float[np.ndarray, " l"], sigma: Float[np.ndarray, " l"]
) -> Float32[np.ndarray, " l"]:
    """Wavelength over FWHM of a line spread function with `sigma` in pixels."""
    fwhm = _FWHM * np.maximum(sigma, 1e-3) * np.gradient(wavelength)
    return (wavelength / fwhm).astype(np.float32)
