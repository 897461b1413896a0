# SPDX-License-Identifier: MIT
"""How much of an object's light falls into a round fibre."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import chndtr, gammaincinv

from aion.mocksky.objects import Objects

_SHARES = (np.arange(32) + 0.5) / 32
_INDICES = np.arange(0.4, 8.05, 0.1)
_OFFSETS = np.concatenate([[0.0], np.geomspace(0.01, 12.0, 400)])


def fibre_fraction(
    objects: Objects, diameter: float, seeing: float
) -> Float[np.ndarray, " b"]:
    """Light inside a centred fibre, relative to that of a star.

    Spectra are calibrated on stars, so a star keeps all of its light. Bulge and disk
    are each taken as a round Sersic profile of the same area, cut into rings of equal
    light; a ring sends as much into the fibre as a star at its distance would, and a
    star is a Gaussian.

    Args:
        objects: b objects.
        diameter: of the fibre, arcsec.
        seeing: FWHM of a star's image, arcsec.

    Returns:
        in (0, 1], [b].
    """
    taken = _of_a_star(diameter, seeing)
    bulge, disk = (
        _rings(index) * (radius * np.sqrt(ratio))[:, None]
        for radius, ratio, index in (
            (objects.bulge_radius, objects.bulge_axis_ratio, objects.bulge_sersic),
            (objects.disk_radius, objects.disk_axis_ratio, objects.disk_sersic),
        )
    )
    inside = [np.interp(r, _OFFSETS, taken).mean(axis=1) for r in (bulge, disk)]
    share = objects.bulge_fraction
    return (share * inside[0] + (1 - share) * inside[1]) / taken[0]


@lru_cache(maxsize=8)
def _of_a_star(diameter: float, seeing: float) -> np.ndarray:
    """Light of a star in a fibre at `_OFFSETS` from it, [400]; Rice's distribution."""
    sigma = seeing / 2.3548
    return chndtr((diameter / 2 / sigma) ** 2, 2.0, (_OFFSETS / sigma) ** 2)


@lru_cache(maxsize=1)
def _radii() -> np.ndarray:
    """Radii that hold `_SHARES` of the light over that which holds half, [n, rings]."""
    index = _INDICES[:, None]
    half = gammaincinv(2 * index, 0.5)
    return (gammaincinv(2 * index, _SHARES) / half) ** index


def _rings(index: np.ndarray) -> np.ndarray:
    """Radii of rings of equal light over the half-light radius, [b, rings]."""
    place = (np.clip(index, _INDICES[0], _INDICES[-1]) - _INDICES[0]) / 0.1
    below = np.minimum(place.astype(int), len(_INDICES) - 2)
    part = (place - below)[:, None]
    return (1 - part) * _radii()[below] + part * _radii()[below + 1]
