# SPDX-License-Identifier: MIT
"""Second moments as HSC's `sdssshape`: weighted with the Gaussian that fits best.

Adaptive moments (Bernstein and Jarvis 2002, AJ 123, 583; Hirata and Seljak 2003) of the
profile as it is seen: after the PSF and the pixel. For a mixture of Gaussians with
covariances C the condition is M = 2 (M - M A M), A the mean of (M + C)^-1 weighted by
light / sqrt(det(M + C)), and iterating it halves the distance to the solution.

Axes are those of the images: 1 is x, to the west; 2 is y, to the north. So `xy` is
positive for a major axis between north and west.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aion.mocksky.camera import HSC
from aion.mocksky.objects import Objects
from aion.mocksky.render import spread
from aion.mocksky.sersic import SIGMAS, sersic_weights
from aion.mocksky.sky import Conditions

_STEPS = 14
_PIXEL = HSC.scale**2 / 12


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments in arcsec^2, arrays [b, c].

    Attributes:
        xx, yy, xy: `shape11`, `shape22` and `shape12` of the survey's files.
    """

    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray

    @property
    def determinant(self) -> np.ndarray:
        """Determinant of the matrix, arcsec^4."""
        return self.xx * self.yy - self.xy**2


def _fit(
    covariance: tuple[np.ndarray, ...], light: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The best Gaussian (xx, yy, xy) of mixtures whose Gaussians are the last axis."""
    cxx, cyy, cxy = covariance
    norm = light / light.sum(-1, keepdims=True)
    # Widest Gaussians hold light that the best one does not see.
    start = 1 / np.sum(norm / np.sqrt(cxx * cyy), -1)
    xx, yy, xy = start, start, np.zeros_like(start)
    for _ in range(_STEPS):
        txx, tyy, txy = cxx + xx[..., None], cyy + yy[..., None], cxy + xy[..., None]
        inverse = 1 / (txx * tyy - txy**2)
        weight = norm * np.sqrt(inverse)
        total = weight.sum(-1)
        weight *= inverse
        axx, ayy, axy = (np.sum(weight * part, -1) / total for part in (tyy, txx, -txy))
        px, py = xx * axx + xy * axy, xx * axy + xy * ayy
        qx, qy = xy * axx + yy * axy, xy * axy + yy * ayy
        xx, yy, xy = (
            2 * (xx - px * xx - py * xy),
            2 * (yy - qx * xy - qy * yy),
            2 * (xy - px * xy - py * yy),
        )
    return xx, yy, xy


def adaptive_moments(objects: Objects, fwhm: Float[np.ndarray, "b c"]) -> Moments:
    """Moments of objects without noise.

    Args:
        objects: which.
        fwhm: of the PSF in arcsec.
    """
    radius = np.stack([objects.bulge_radius, objects.disk_radius], 1)
    ratio = np.stack([objects.bulge_axis_ratio, objects.disk_axis_ratio], 1)
    index = np.stack([objects.bulge_sersic, objects.disk_sersic], 1)
    share = np.stack([objects.bulge_fraction, 1 - objects.bulge_fraction], 1)
    shape = spread(radius, ratio, objects.position_angle[:, None])
    weights = sersic_weights(np.where(radius > 0, index, 1.0)) * share[..., None]
    # Axes: b, c, component of the profile, component of the PSF.
    own = (shape[..., None, :] * SIGMAS[:, None] ** 2).reshape(len(radius), 1, -1, 1, 3)
    blur = (fwhm[..., None] * HSC.psf.sigmas)[:, :, None] ** 2 + _PIXEL
    light = weights.reshape(len(radius), 1, -1, 1) * HSC.psf.weights
    full = np.broadcast_shapes(own[..., 0].shape, blur.shape)
    flat = (*full[:2], -1)
    covariance = (
        np.broadcast_to(own[..., 0] + blur, full).reshape(flat),
        np.broadcast_to(own[..., 2] + blur, full).reshape(flat),
        np.broadcast_to(own[..., 1], full).reshape(flat),
    )
    return Moments(*_fit(covariance, np.broadcast_to(light, full).reshape(flat)))


def psf_moments(fwhm: Float[np.ndarray, "b c"]) -> Moments:
    """Moments of a point source without noise.

    Args:
        fwhm: of the PSF in arcsec.
    """
    blur = (fwhm[..., None] * HSC.psf.sigmas) ** 2 + _PIXEL
    light = np.broadcast_to(HSC.psf.weights, blur.shape)
    return Moments(*_fit((blur, blur, np.zeros_like(blur)), light))


def hsc_moments(
    objects: Objects,
    fluxes: Float[np.ndarray, "b c"],
    conditions: Conditions,
    rng: np.random.Generator,
    bands: Sequence[str] = ("HSC-I",),
) -> Moments:
    """Moments as HSC measures them.

    With S the signal to noise within the object's own area, the errors are
    2 sqrt(2) / S relative in xx and yy and 2 sqrt(xx yy) / S in xy, which makes one of
    2 / S in each ellipticity (Bernstein and Jarvis 2002, for a Gaussian).

    Args:
        objects: which.
        fluxes: true ones in `bands`, nanomaggies.
        conditions: depth and PSF of their cell.
        rng: dice of HSC.
        bands: HSC's, the c bands.
    """
    names = tuple(bands)
    fwhm = np.broadcast_to(conditions.of(names, "psf_fwhm"), fluxes.shape)
    true = adaptive_moments(objects, fwhm)
    area = (true.determinant / psf_moments(fwhm).determinant) ** 0.25
    signal = np.maximum(fluxes, 0) / conditions.of(names, "depth") / area
    error = 2 / np.maximum(signal, 5.0)
    normal = rng.standard_normal((3, *fluxes.shape))
    least = 0.1 * fwhm**2 / 5.5
    return Moments(
        np.maximum(true.xx * (1 + np.sqrt(2) * error * normal[0]), least),
        np.maximum(true.yy * (1 + np.sqrt(2) * error * normal[1]), least),
        true.xy + np.sqrt(true.xx * true.yy) * error * normal[2],
    )
