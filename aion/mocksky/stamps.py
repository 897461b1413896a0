# SPDX-License-Identifier: MIT
"""What the two cameras record of objects: flux, inverse variance and mask.

The sky's noise is such that the optimally weighted flux of a point source has the error
`Conditions.depth`; sources add photon noise in proportion to their flux over that of
the sky. Noise is Gaussian and independent from pixel to pixel (coadds' is correlated by
a fifth between neighbouring pixels, and has residuals of the sky's brightness). Zero
points are those of the cell: an object of magnitude m is recorded at m + zero_point.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8

from aion.errors import DataError
from aion.mocksky.camera import DECAM, HSC, Camera
from aion.mocksky.defects import draw_defects
from aion.mocksky.neighbours import Neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.rgb import legacy_rgb
from aion.mocksky.scene import (
    draw,
    in_view,
    neighbour_sources,
    pixel_places,
    target_sources,
)
from aion.mocksky.segmentation import (
    Detected,
    in_catalogue,
    neighbour_table,
    paint,
    segmentation_field,
)
from aion.mocksky.shapes import Shapes, fitted_shapes, legacy_shapes
from aion.mocksky.sky import Conditions

_SEEING_SCATTER = 0.02
"""Scatter of the PSF's width within a cell, in its logarithm."""


@dataclass(frozen=True, eq=False)
class Stamps:
    """Images of some objects.

    Attributes:
        flux: per pixel, nanomaggies (Legacy) or counts of zero point 27.0 (HSC),
            float32 [b, c, y, x].
        ivar: inverse of the true variance of flux; 0 in bad pixels, float32.
        mask: True = valid; [b, y, x] (Legacy: good in all bands) or [b, c, y, x] (HSC).
        psf_fwhm: arcsec, float32 [b, c].
        model: flux without noise, float32 [b, c, y, x].
        place: column and row of the object, float64 [b, 2].
    """

    flux: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray
    psf_fwhm: np.ndarray
    model: np.ndarray
    place: np.ndarray


@dataclass(frozen=True, eq=False)
class LegacyStamps(Stamps):
    """Stamps of the Legacy Surveys, with what its files have beside them.

    Attributes:
        shapes: of the objects, as fitted, arrays [b].
        sources: all in the stamps that the survey's parent sample has.
    """

    shapes: Shapes
    sources: Detected

    @cached_property
    def object_mask(self) -> UInt8[np.ndarray, "b y x"]:
        """Segmentation by type code, see `segmentation.paint`."""
        return paint(self.sources, self.flux.shape[-1])

    @property
    def segmentation(self) -> Float[np.ndarray, "b y x"]:
        """Segmentation as a field in [0, 1]."""
        return segmentation_field(self.object_mask)

    @cached_property
    def catalog(self) -> Mapping[str, np.ndarray]:
        """Twenty sources by column of the survey's files, see `neighbour_table`."""
        return neighbour_table(self.sources)

    @cached_property
    def rgb(self) -> UInt8[np.ndarray, "b y x 3"]:
        """The images as a colour picture."""
        return legacy_rgb(self.flux)

    @cached_property
    def blobmodel(self) -> UInt8[np.ndarray, "b y x 3"]:
        """The images without noise as a colour picture."""
        return legacy_rgb(self.model)


def _places(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cutouts are made at whole pixels: centres are anywhere in the middle pixel."""
    return (size - 1) / 2 + rng.uniform(-0.5, 0.5, (count, 2))


def recorded(
    model: Float[np.ndarray, "b c y x"],
    fwhm: Float[np.ndarray, "b c"],
    depth: Float[np.ndarray, "*b c"],
    camera: Camera,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and inverse variance, 0 in bad pixels, in nanomaggies.

    Args:
        model: without noise.
        fwhm: of the PSF, arcsec.
        depth: one sigma of the flux of a point source.
        camera: whose sky, saturation and defects.
        rng: dice.
    """
    sigma = depth / np.sqrt(camera.psf.area(fwhm / camera.scale))
    sigma = sigma[..., None, None].astype(np.float32)
    sky = camera.sky_flux[:, None, None].astype(np.float32)
    flux, ivar = np.empty_like(model), np.empty_like(model)
    for b in range(len(model)):  # one by one they stay in the cache
        variance = np.maximum(model[b], 0)
        variance *= sigma[b] ** 2 / sky
        variance += sigma[b] ** 2
        rng.standard_normal(dtype=np.float32, out=flux[b])
        np.reciprocal(variance, out=ivar[b])
        flux[b] *= np.sqrt(variance, out=variance)
        flux[b] += model[b]
    defects = draw_defects(model.shape, camera, rng)
    pixels = defects.pixels
    charge = defects.charge * sigma[defects.stamp, defects.band, 0, 0]
    flux[pixels] = np.where(np.isnan(charge), 0.0, flux[pixels] + charge)
    ivar[pixels] = 0
    full = model > camera.saturation
    flux[full], ivar[full] = camera.saturation, 0
    return flux, ivar


@dataclass(frozen=True, eq=False)
class Exposure:
    """Stamps, and the neighbours in them with their fluxes [b, n, c]."""

    stamps: Stamps
    neighbours: Neighbours | None
    neighbour_flux: np.ndarray


def expose(
    objects: Objects,
    fluxes: np.ndarray,
    neighbours: Neighbours | None,
    conditions: Conditions,
    camera: Camera,
    rng: np.random.Generator,
    size: int,
) -> Exposure:
    """Stamps of any camera; the arguments are those of `hsc_stamps`."""
    if fluxes.shape != (len(objects), len(camera.bands)):
        raise DataError(
            f"fluxes of shape {fluxes.shape} for {len(objects)} objects",
            f"Give one per object and band of {', '.join(camera.bands)}.",
        )
    count, bands = fluxes.shape
    scatter = np.exp(_SEEING_SCATTER * rng.standard_normal((count, bands)))
    fwhm = conditions.of(camera.bands, "psf_fwhm") * scatter
    place = _places(count, size, rng)
    gain = 10 ** (-0.4 * conditions.of(camera.bands, "zero_point"))
    targets = target_sources(objects, fluxes * gain, camera, place)
    near, light = None, np.zeros((count, 0, bands))
    if neighbours is not None:
        neighbours = in_view(neighbours, camera, place, size)
        light = neighbours.fluxes(camera.bands) * gain
        near = neighbour_sources(neighbours, light, camera, place)
    model = draw(targets, near, camera, fwhm, size)
    depth = conditions.of(camera.bands, "depth")
    flux, ivar = recorded(model, fwhm, depth, camera, rng)
    mask = ivar > 0
    for values, power in ((flux, 1), (model, 1), (ivar, -2)):
        if camera.unit != 1:
            values *= np.float32(camera.unit**power)
    stamps = Stamps(flux, ivar, mask, fwhm.astype(np.float32), model, place)
    return Exposure(stamps, neighbours, light)


def hsc_stamps(
    objects: Objects,
    fluxes: Float[np.ndarray, "b c"],
    conditions: Conditions,
    rng: np.random.Generator,
    size: int = 160,
    neighbours: Neighbours | None = None,
) -> Stamps:
    """Images in HSC's grizy.

    Args:
        objects: in the middle of the stamps.
        fluxes: true ones in the bands of `camera.HSC`, nanomaggies.
        conditions: of the objects' cell.
        rng: dice of HSC.
        size: side of the stamps in pixels of 0.168 arcsec.
        neighbours: of the objects; none without.

    Raises:
        DataError: `fluxes` has another shape than [objects, 5].
    """
    return expose(objects, fluxes, neighbours, conditions, HSC, rng, size).stamps


def legacy_stamps(
    objects: Objects,
    fluxes: Float[np.ndarray, "b c"],
    conditions: Conditions,
    rng: np.random.Generator,
    size: int = 160,
    neighbours: Neighbours | None = None,
    shapes: Shapes | None = None,
    measured: Float[np.ndarray, "b c"] | None = None,
) -> LegacyStamps:
    """Images in the Legacy Surveys' griz.

    Args:
        objects: in the middle of the stamps.
        fluxes: true ones in the bands of `camera.DECAM`, nanomaggies.
        conditions: of the objects' cell.
        rng: dice of the Legacy Surveys.
        size: side of the stamps in pixels of 0.262 arcsec.
        neighbours: of the objects; none without.
        shapes: of the objects as in their rows of the catalogue; drawn here without.
        measured: their fluxes as in their rows of the catalogue; `fluxes` without.

    Raises:
        DataError: `fluxes` has another shape than [objects, 4].
    """
    exposure = expose(objects, fluxes, neighbours, conditions, DECAM, rng, size)
    shapes = shapes or legacy_shapes(objects, fluxes, conditions, rng)
    measured = fluxes if measured is None else measured
    stamps = exposure.stamps
    return LegacyStamps(
        flux=stamps.flux,
        ivar=stamps.ivar,
        mask=np.asarray(np.all(stamps.mask, axis=1)),
        psf_fwhm=stamps.psf_fwhm,
        model=stamps.model,
        place=stamps.place,
        shapes=shapes,
        sources=_sources(exposure, shapes, measured, conditions, rng),
    )


def _sources(
    exposure: Exposure,
    shapes: Shapes,
    measured: np.ndarray,
    conditions: Conditions,
    rng: np.random.Generator,
) -> Detected:
    """The objects first, then those neighbours that the catalogue may have."""
    x, y = exposure.stamps.place.T[..., None]
    own = Shapes(*(values[:, None] for values in vars(shapes).values()))
    objects = Detected(x, y, measured[:, None], own, np.ones(x.shape, bool))
    if exposure.neighbours is None:
        return objects
    light = exposure.neighbour_flux
    depth = conditions.of(DECAM.bands, "depth")
    noisy = light + depth * rng.standard_normal(light.shape)
    fitted = fitted_shapes(exposure.neighbours, light[..., 1], conditions, rng)
    x, y = pixel_places(exposure.neighbours, DECAM, exposure.stamps.place)
    size = exposure.stamps.flux.shape[-1]
    valid = exposure.neighbours.valid & in_catalogue(x, y, noisy, fitted, size)
    return objects.joined(Detected(x, y, noisy, fitted, valid))
