# SPDX-License-Identifier: MIT
"""From objects on the sky to images without noise.

North is up (y increases) and east is left (x decreases); position angles run from north
to east. The object is at the centre of its stamp, up to half a pixel.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float, Int

from aion.mocksky.camera import Camera
from aion.mocksky.neighbours import Neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.render import (
    NARROW,
    WIDE,
    Sources,
    grid_size,
    render,
    spread,
)
from aion.mocksky.sersic import SIGMAS, sersic_weights

WRAPPED = 2e-4
"""Brightness over the peak's that light may have where it wraps around, to be drawn on
the narrow torus; four sides together make an error of 5e-4 of the peak at most."""

# A neighbour's innermost Gaussians are points to every camera; their light goes to the
# smallest of those that are kept, 0.075 half-light radii wide.
_KEPT = 16


def target_sources(
    objects: Objects,
    flux: Float[np.ndarray, "b c"],
    camera: Camera,
    place: Float[np.ndarray, "b 2"],
) -> Sources:
    """Bulge and disk of each object; a point source is a bulge without size.

    Args:
        objects: which.
        flux: total, in each band.
        camera: whose pixels.
        place: x, y of the centres in pixels.
    """
    radius = np.stack([objects.bulge_radius, objects.disk_radius], 1) / camera.scale
    ratio = np.stack([objects.bulge_axis_ratio, objects.disk_axis_ratio], 1)
    index = np.stack([objects.bulge_sersic, objects.disk_sersic], 1)
    share = np.stack([objects.bulge_fraction, 1 - objects.bulge_fraction], 1)
    x, y = np.repeat(place.T[..., None], 2, axis=2).astype(np.float32)
    return Sources(
        x,
        y,
        spread(radius, ratio, objects.position_angle[:, None]).astype(np.float32),
        # Catalogues may give point sources any index, even 0 or NaN.
        sersic_weights(np.where(radius > 0, index, 1.0)).astype(np.float32),
        (flux[:, :, None] * share[:, None]).astype(np.float32),
    )


def pixel_places(
    neighbours: Neighbours, camera: Camera, place: Float[np.ndarray, "b 2"]
) -> Float[np.ndarray, "2 b n"]:
    """Columns and rows of neighbours of objects at `place`, in pixels."""
    x = place[:, :1] - neighbours.east / camera.scale
    return np.stack([x, place[:, 1:] + neighbours.north / camera.scale])


def in_view(
    neighbours: Neighbours, camera: Camera, place: Float[np.ndarray, "b 2"], size: int
) -> Neighbours:
    """The brightest neighbours in and just outside the stamps, a fixed number."""
    margin = (grid_size(size, NARROW) - size) / 2
    x, y = pixel_places(neighbours, camera, place)
    middle, reach = (size - 1) / 2, size / 2 + margin
    inside = (np.abs(x - middle) < reach) & (np.abs(y - middle) < reach)
    seen = neighbours.valid & inside
    area = (2 * reach * camera.scale / 60) ** 2
    slots = min(4 * int(np.ceil(area * camera.crowding / 4)), seen.shape[1])
    order = np.argsort(np.where(seen, neighbours.magnitude, np.inf), axis=1)[:, :slots]
    chosen = neighbours.pick(order)
    return Neighbours(
        **(vars(chosen) | {"valid": np.take_along_axis(seen, order, axis=1)})
    )


def neighbour_sources(
    neighbours: Neighbours,
    flux: Float[np.ndarray, "b n c"],
    camera: Camera,
    place: Float[np.ndarray, "b 2"],
) -> Sources:
    """Neighbours of objects at `place`, as `in_view` chose them."""
    weights = sersic_weights(neighbours.sersic)
    kept = weights[..., -_KEPT:].copy()
    kept[..., 0] += weights[..., :-_KEPT].sum(-1)
    shape = spread(
        neighbours.radius / camera.scale,
        neighbours.axis_ratio,
        neighbours.position_angle,
    )
    x, y = pixel_places(neighbours, camera, place).astype(np.float32)
    # Where there is none its flux is 0; its place and shape must only be finite.
    return Sources(
        x,
        y,
        shape.astype(np.float32),
        kept.astype(np.float32),
        np.swapaxes(flux, 1, 2).astype(np.float32),
    )


def _chunks(rows: Int[np.ndarray, " n"]) -> Iterator[Int[np.ndarray, " m"]]:
    """Rows a few at a time, always as many, the last repeated: one compiled program."""
    # A CPU is fastest with what fits into its cache.
    size = 2 if jax.default_backend() == "cpu" else 64
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield np.pad(part, (0, size - len(part)), mode="edge")


def _wrapped(
    sources: Sources, distance: float, seeing: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """Brightness at some distance from the centres over that of the peaks.

    Args:
        sources: with a common centre.
        distance: in pixels.
        seeing: sigma of the PSF in pixels.
    """
    xx, xy, yy = np.moveaxis(np.asarray(sources.spread, np.float64), -1, 0)
    major = 0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy)
    minor = np.maximum(xx + yy - major, 0)
    light = sources.flux.sum(1)[..., None] * sources.weights
    wide, narrow = (
        seeing[:, None, None] ** 2 + s[..., None] * SIGMAS**2 for s in (major, minor)
    )
    peak = light / np.sqrt(wide * narrow)
    far = peak * np.exp(-0.5 * distance**2 / wide)
    return far.sum((1, 2)) / np.maximum(peak.sum((1, 2)), 1e-30)


def draw(
    targets: Sources,
    neighbours: Sources | None,
    camera: Camera,
    fwhm: Float[np.ndarray, "b c"],
    size: int,
) -> Float[np.ndarray, "b c y x"]:
    """Images without noise, float32, in the unit of the fluxes.

    Args:
        targets: the objects.
        neighbours: what is near them.
        camera: whose PSF.
        fwhm: of the PSF, arcsec.
        size: side of the images in pixels.
    """
    psf = camera.psf
    weights = psf.weights.astype(np.float32)
    sigmas = (fwhm[..., None] / camera.scale * psf.sigmas).astype(np.float32)
    far = grid_size(size, NARROW) - size / 2
    seeing = fwhm.max(1) / camera.scale / 2.355
    compact = _wrapped(targets, far, seeing) < WRAPPED
    image = np.empty((*fwhm.shape, size, size), np.float32)

    def show(groups: list[Sources], rows: np.ndarray, border: float) -> np.ndarray:
        some = [Sources(*(values[rows] for values in group)) for group in groups]
        return np.asarray(render(some, weights, sigmas[rows], size=size, border=border))

    near = [] if neighbours is None else [neighbours]
    for rows in _chunks(np.flatnonzero(compact)):
        image[rows] = show([targets, *near], rows, NARROW)
    for rows in _chunks(np.flatnonzero(~compact)):
        image[rows] = show([targets], rows, WIDE)
        for group in near:
            image[rows] += show([group], rows, NARROW)
    return image
