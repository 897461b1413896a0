# SPDX-License-Identifier: MIT
"""How much of an object's light falls into a round fibre."""

import numpy as np
from scipy.special import gammainc, gammaincinv

from aion.mocksky.objects import Objects


def fibre_fraction(objects: Objects, diameter: float, seeing: float) -> np.ndarray:
    """Light inside a centred fibre, relative to that of a star.

    Spectra are calibrated on stars, so a star keeps all of its light. Bulge and disk
    are each taken as a round Sersic profile of the same area, and the seeing is added
    to its half-light radius in quadrature: within 0.05 of an exact convolution.

    Args:
        objects: b objects.
        diameter: of the fibre, arcsec.
        seeing: FWHM of a star's image, arcsec.

    Returns:
        in (0, 1], [b].
    """
    blur = seeing / 2
    star = _inside(np.zeros(1), np.ones(1), np.ones(1), diameter / 2, blur)
    parts = [
        _inside(radius, ratio, index, diameter / 2, blur)
        for radius, ratio, index in (
            (objects.bulge_radius, objects.bulge_axis_ratio, objects.bulge_sersic),
            (objects.disk_radius, objects.disk_axis_ratio, objects.disk_sersic),
        )
    ]
    light = objects.bulge_fraction * parts[0] + (1 - objects.bulge_fraction) * parts[1]
    return np.minimum(light / star, 1.0)


def _inside(
    radius: np.ndarray,
    ratio: np.ndarray,
    index: np.ndarray,
    fibre: float,
    blur: float,
) -> np.ndarray:
    """Curve of growth of a Sersic profile (Graham & Driver 2005, eq. 2) at `fibre`."""
    round_radius = radius * np.sqrt(ratio)
    # A Gaussian has Sersic index 1/2: what is unresolved looks like the star.
    resolved = round_radius**2 / (round_radius**2 + blur**2)
    shape = 0.5 + (np.maximum(index, 0.5) - 0.5) * resolved
    half = np.hypot(round_radius, blur)
    scale = gammaincinv(2 * shape, 0.5)
    return gammainc(2 * shape, scale * (fibre / half) ** (1 / shape))
