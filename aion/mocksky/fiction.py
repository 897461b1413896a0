# SPDX-License-Identifier: MIT
"""Images with their truth for codec training, also by cameras that nobody has built.

Eight real bands are eight points; a codec that is told what a band is would learn them
by heart. A fictional camera has five bands of any wavelength, width, PSF, depth and
zero point, and any pixel scale, and sees the same spectra and shapes on the same sky.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from aion.errors import ConfigError, DataError
from aion.instrument import BANDS, Band
from aion.mocksky.blocks import Scene, make_scene
from aion.mocksky.camera import DECAM, HSC, Camera
from aion.mocksky.grids import OBSERVED
from aion.mocksky.observe import members
from aion.mocksky.responses import response_matrix
from aion.mocksky.scene import (
    draw,
    in_view,
    neighbour_sources,
    target_sources,
)
from aion.mocksky.sky import Block, Sky
from aion.mocksky.stamps import expose, recorded
from aion.observation import Image
from aion.records import Records

if TYPE_CHECKING:
    from aion.mocksky.population import Population

FICTION = "fictional_image"
"""The modality of images by fictional cameras; no codec of a bundle serves it."""

CAMERAS: Mapping[str, Camera] = {"legacy": DECAM, "hsc": HSC}

_NUMBER_OF_BANDS = 5
_NEIGHBOURS = 24.0  # the brightest, always as many: one compiled program


@lru_cache(maxsize=2)
def _population(sky: Sky, sample: str) -> "Population":
    from aion.mocksky.universe import universe

    return universe(sky, sample)


@dataclass(frozen=True)
class FictionalCamera(Camera):
    """A camera that is described and not in any table.

    Attributes:
        own: its bands.
        top_hat: whether responses are top hats; Gaussians otherwise.
        depth: one sigma of a point source's flux, nanomaggies, one per band.
        fwhm: of the PSF in arcsec, one per band.
    """

    own: tuple[Band, ...] = ()
    top_hat: bool = True
    depth: tuple[float, ...] = ()
    fwhm: tuple[float, ...] = ()

    @property
    def scale(self) -> float:
        """Arcsec per pixel."""
        scale = self.own[0].pixel_scale
        assert scale is not None
        return scale

    @property
    def unit(self) -> float:
        """Its images are made in nanomaggies."""
        return 1.0

    def matrix(self) -> Float[np.ndarray, "l c"]:
        """Band fluxes in nanomaggies from spectra, see `responses.band_matrix`."""
        shapes = [_response(b.wavelength, b.width, self.top_hat) for b in self.own]
        return response_matrix(np.stack(shapes, axis=1))


def _response(centre: float, width: float, top_hat: bool) -> np.ndarray:
    """A response on `OBSERVED` with maximum 1 and integral `width`."""
    offset = (OBSERVED - centre) / width
    if top_hat:  # edges a twentieth of the width soft
        return 1 / (1 + np.exp(np.clip((np.abs(offset) - 0.5) * 80, -50, 50)))
    return np.exp(-np.pi * offset**2)


def draw_camera(rng: np.random.Generator, size: int) -> FictionalCamera:
    """A camera at random.

    Args:
        rng: dice.
        size: side of its stamps in pixels.
    """
    count = _NUMBER_OF_BANDS
    scale = float(np.exp(rng.uniform(np.log(0.1), np.log(0.45))))
    wavelength = np.sort(np.exp(rng.uniform(np.log(3500), np.log(10500), count)))
    width = np.exp(rng.uniform(np.log(300), np.log(2200), count))
    width = np.minimum(width, 0.3 * wavelength)
    red = np.log(wavelength / 6500)
    depth = (
        rng.uniform(22.8, 26.6) - rng.uniform(0, 3) * red + rng.normal(0, 0.3, count)
    )
    sky = 21.2 - 4.0 * red + rng.normal(0, 0.4, count)
    fwhm = scale * np.exp(
        rng.uniform(np.log(2.7), np.log(6.5)) + rng.normal(0, 0.12, count)
    )
    fwhm = np.clip(fwhm, 2.4 * scale, 9 * scale)
    zero_point = rng.uniform(20.0, 31.0, count)
    own = [
        Band(f"FICTION-{n}", "fiction", *map(float, values), pixel_scale=scale)
        for n, values in enumerate(zip(wavelength, width, zero_point, strict=True))
    ]
    area = (1.2 * size * scale / 60) ** 2
    return FictionalCamera(
        bands=tuple(b.name for b in own),
        sky=tuple(sky.tolist()),
        saturation=float(np.exp(rng.uniform(0, np.log(30)))),
        beta=float(rng.uniform(2.5, 4.5)),
        crowding=(_NEIGHBOURS - 3) / area,
        edges=0.03,
        defects=0.4,
        own=tuple(own),
        top_hat=bool(rng.random() < 0.5),
        depth=tuple((10 ** (-0.4 * (depth - 22.5)) / 5).tolist()),
        fwhm=tuple(fwhm.tolist()),
    )


def fictional_stamps(
    scene: Scene, camera: FictionalCamera, rng: np.random.Generator, size: int
) -> tuple[Image, Image]:
    """What a fictional camera records of a scene, and the same without noise.

    Args:
        scene: b objects.
        camera: which.
        rng: dice.
        size: side of the stamps in pixels.
    """
    shape = (len(scene), len(camera.own))
    fwhm = np.array(camera.fwhm) * np.exp(0.05 * rng.standard_normal(shape))
    depth = np.array(camera.depth) * np.exp(0.15 * rng.standard_normal(shape))
    place = (size - 1) / 2 + rng.uniform(-0.5, 0.5, (len(scene), 2))
    fluxes = scene.spectra @ camera.matrix()
    targets = target_sources(scene.objects, fluxes, camera, place)
    near = in_view(scene.neighbours, camera, place, size)
    light = near.fluxes_at(np.array([b.wavelength for b in camera.own]))
    sources = neighbour_sources(near, light, camera, place)
    model = draw(targets, sources, camera, fwhm, size)
    flux, ivar = recorded(model, fwhm, depth, camera, rng)
    unit = 10 ** (0.4 * (np.array([b.zero_point for b in camera.own]) - 22.5))
    unit = unit.astype(np.float32)[:, None, None]
    seen = Image(
        flux * unit,
        ivar / unit**2,
        ivar > 0,
        camera.own,
        fwhm.astype(np.float32),
    )
    return seen, Image(model * unit, bands=camera.own, psf_fwhm=seen.psf_fwhm)


@dataclass(frozen=True)
class _Pictures:
    """Blocks of a sky, read as images with their truth."""

    sky: Sky
    sample: str = "sky"
    size: int = 96

    def partitions(self) -> Sequence[str]:
        """Names of the blocks, cell by cell."""
        return tuple(self._blocks)

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {f"{b.cell:04d}-{b.index:04d}": b for b in self.sky.blocks()}

    def _scene(self, partition: str) -> tuple[Scene, Block]:
        if partition not in self._blocks:
            raise DataError(
                f"this sky has no partition {partition!r}",
                "Read those that `partitions` names.",
            )
        block = self._blocks[partition]
        return make_scene(_population(self.sky, self.sample), block), block


def _records(scene: Scene, name: str, seen: Image, truth: Image) -> Records:
    here = scene.objects
    both = {name: seen, f"{name}.truth": truth}
    return Records(here.object_id, here.ra, here.dec, both)


@dataclass(frozen=True)
class FictionalCameras(_Pictures):
    """A `RecordSource` of images by cameras drawn at random, a few objects by each.

    Attributes:
        sky: which.
        sample: which objects, a name of `samples.SAMPLES`.
        size: side of the stamps in pixels.
        group: objects per camera.
        camera: number of the one camera that takes all of them instead.
    """

    group: int = 8
    camera: int | None = None

    def read(self, partition: str) -> Iterator[Records]:
        """The objects of a block, `group` at a time.

        Raises:
            DataError: no such block.
        """
        scene, block = self._scene(partition)
        for number, start in enumerate(range(0, len(scene), self.group)):
            rng = np.random.default_rng(
                [self.sky.seed, 50, block.cell, block.index, number]
            )
            part = scene.take(slice(start, start + self.group))
            if self.camera is None:
                camera = draw_camera(rng, self.size)
            else:
                camera = draw_camera(np.random.default_rng(self.camera), self.size)
            yield _records(
                part, FICTION, *fictional_stamps(part, camera, rng, self.size)
            )


@dataclass(frozen=True)
class KnownCamera(_Pictures):
    """A `RecordSource` of one survey's images, with their truth.

    Attributes:
        sky: which.
        sample: which objects, a name of `samples.SAMPLES`.
        size: side of the stamps in pixels.
        camera: "legacy" or "hsc".
        without: bands that are left out.

    Raises:
        ConfigError: another camera, or no band is left.
    """

    camera: str = "legacy"
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.camera not in CAMERAS:
            raise ConfigError(
                f"no camera {self.camera!r}", f"Choose one of {', '.join(CAMERAS)}."
            )
        if not set(CAMERAS[self.camera].bands) - set(self.without):
            raise ConfigError(f"{self.camera} without any band", "Leave one.")

    def read(self, partition: str) -> Iterator[Records]:
        """The objects of a block that the survey holds.

        Raises:
            DataError: no such block.
        """
        scene, block = self._scene(partition)
        rng = self.sky.rng(self.camera, block)
        scene = scene.take(np.flatnonzero(members(scene, self.camera, rng)))
        if not len(scene):
            return
        camera = CAMERAS[self.camera]
        stamps = expose(
            scene.objects,
            scene.true(camera.bands),
            scene.neighbours,
            scene.conditions,
            camera,
            rng,
            self.size,
        ).stamps
        kept = [n for n, name in enumerate(camera.bands) if name not in self.without]
        bands = tuple(BANDS[camera.bands[n]] for n in kept)
        fwhm = stamps.psf_fwhm[:, kept]
        mask = stamps.mask[:, kept]
        if self.camera == "legacy":  # its files have one mask for all bands
            mask = np.broadcast_to(np.all(mask, axis=1, keepdims=True), mask.shape)
        seen = Image(stamps.flux[:, kept], stamps.ivar[:, kept], mask, bands, fwhm)
        truth = Image(stamps.model[:, kept], bands=bands, psf_fwhm=fwhm)
        yield _records(scene, f"{self.camera}_image", seen, truth)
