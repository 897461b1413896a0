# SPDX-License-Identifier: MIT
"""Shapes as the Legacy Surveys' catalogues have them: one profile per source.

Ellipticities are Tractor's: |e| = (1 - q) / (1 + q), e1 = |e| cos 2p, e2 = |e| sin 2p
with axis ratio q and position angle p, east of north (legacysurvey.org, DR10 catalogs).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aion.mocksky.camera import DECAM
from aion.mocksky.neighbours import Neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.sersic import enclosed, sersic_weights
from aion.mocksky.sky import Conditions

TYPES = ("", "PSF", "REX", "EXP", "DEV", "SER", "DUP")
"""Tractor's types by their code in the survey's files; 0 is the sky."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of sources, arrays of one shape.

    Attributes:
        type: index into `TYPES`.
        radius: half-light radius along the major axis, arcsec.
        e1, e2: ellipticity.
    """

    type: np.ndarray
    radius: np.ndarray
    e1: np.ndarray
    e2: np.ndarray


@dataclass(frozen=True, eq=False)
class Profile:
    """One Sersic profile in place of bulge and disk, arrays of one shape.

    Attributes:
        radius: half-light radius along the major axis, arcsec; 0 for point sources.
        sersic: Sersic index.
        axis_ratio: minor over major axis.
        position_angle: degrees east of north.
    """

    radius: np.ndarray
    sersic: np.ndarray
    axis_ratio: np.ndarray
    position_angle: np.ndarray


def whole_profile(objects: Objects) -> Profile:
    """The radius that holds half of the light, and means over the light, arrays [b].

    The radius is that of ellipses of one shape; index and axis ratio are means of those
    of bulge and disk, weighted by their light.
    """
    share = np.stack([objects.bulge_fraction, 1 - objects.bulge_fraction])
    radii = np.stack([objects.bulge_radius, objects.disk_radius])
    point = np.all((radii == 0) | (share == 0), axis=0)
    index = np.stack([objects.bulge_sersic, objects.disk_sersic])
    weights = sersic_weights(np.where(radii > 0, index, 1.0))
    sizes = np.maximum(radii, 1e-4)
    low, high = sizes.min(0) * 0.1, sizes.max(0) * 1.5
    for _ in range(40):
        middle = 0.5 * (low + high)
        light = np.sum(share * enclosed(weights, middle / sizes), axis=0)
        low, high = (
            np.where(light < 0.5, middle, low),
            np.where(light < 0.5, high, middle),
        )
    ratio = np.stack([objects.bulge_axis_ratio, objects.disk_axis_ratio])

    def mean(values: np.ndarray, of_points: float) -> np.ndarray:
        lit = np.where(share > 0, values, 0.0)
        return np.where(point, of_points, np.sum(share * lit, axis=0))

    return Profile(
        np.where(point, 0.0, 0.5 * (low + high)),
        mean(index, 1.0),
        mean(ratio, 1.0),
        np.asarray(objects.position_angle),
    )


def fitted_shapes(
    profile: Profile | Neighbours,
    flux: Float[np.ndarray, "..."],
    conditions: Conditions,
    rng: np.random.Generator,
) -> Shapes:
    """Shapes and types with errors, as from a fit to the images.

    With S the signal to noise of the flux within the source's own area, ln r has an
    error of 1.5 / S and e1 and e2 of 1 / S each. A source is PSF if it has no size, REX
    (round, exponential) for S < 20, DEV for an index above 3.3, SER for a bright one
    (S > 100) and EXP otherwise. Thresholds are set for the shares of types in DR10 at
    z < 21, roughly.

    Args:
        profile: the truth.
        flux: in DES-R, nanomaggies, of the profile's shape.
        conditions: depth and PSF.
        rng: dice of the Legacy Surveys.
    """
    depth, fwhm = (conditions.of(("DES-R",), name)[0] for name in ("depth", "psf_fwhm"))
    radius = profile.radius
    signal = np.maximum(flux, 0) / depth / np.hypot(1.0, 2 * radius / fwhm)
    error = 1 / np.maximum(signal, 3.0)
    normal = rng.standard_normal((3, *np.shape(radius)))
    size = radius * np.exp(1.5 * error * normal[0])
    length = (1 - profile.axis_ratio) / (1 + profile.axis_ratio)
    angle = 2 * np.radians(profile.position_angle)
    e1 = length * np.cos(angle) + error * normal[1]
    e2 = length * np.sin(angle) + error * normal[2]
    shrink = np.minimum(1.0, 0.95 / np.maximum(np.hypot(e1, e2), 1e-9))
    kind = np.select(
        [radius == 0, signal < 20, profile.sersic > 3.3, signal > 100],
        [TYPES.index(name) for name in ("PSF", "REX", "DEV", "SER")],
        TYPES.index("EXP"),
    )
    round_ = kind <= TYPES.index("REX")
    return Shapes(
        kind,
        np.where(radius == 0, 0.0, np.clip(size, 0.01, 30.0)),
        np.where(round_, 0.0, e1 * shrink),
        np.where(round_, 0.0, e2 * shrink),
    )


def legacy_shapes(
    objects: Objects,
    fluxes: Float[np.ndarray, "b c"],
    conditions: Conditions,
    rng: np.random.Generator,
) -> Shapes:
    """Shapes of objects as in the Legacy Surveys' catalogue, arrays [b].

    Args:
        objects: which.
        fluxes: true ones in griz, nanomaggies.
        conditions: depth and PSF of their cell.
        rng: dice of the Legacy Surveys.
    """
    red = fluxes[:, DECAM.bands.index("DES-R")]
    return fitted_shapes(whole_profile(objects), red, conditions, rng)
