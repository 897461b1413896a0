# SPDX-License-Identifier: MIT
"""Distances and volumes in a flat universe of matter and a cosmological constant."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

HUBBLE = 70.0
"""km/s/Mpc."""
MATTER = 0.3
LARGEST = 9.0
"""Redshift up to which distances are tabulated."""

_LIGHT = 299_792.458
_POINTS = 20_001


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    z = np.expm1(np.linspace(0.0, np.log1p(LARGEST), _POINTS))
    slope = 1 / np.sqrt(MATTER * (1 + z) ** 3 + 1 - MATTER)
    steps = (slope[1:] + slope[:-1]) / 2 * np.diff(z)
    return z, _LIGHT / HUBBLE * np.concatenate([[0.0], np.cumsum(steps)])


def comoving_distance(redshift: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Megaparsec."""
    return np.interp(redshift, *_table())


def distance_modulus(redshift: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """5 log10(luminosity distance / 10 pc), mag."""
    return 5 * np.log10(comoving_distance(redshift) * (1 + redshift)) + 25


def arcsec_per_kiloparsec(
    redshift: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """Angle of a proper kiloparsec."""
    megaparsec = comoving_distance(redshift) / (1 + redshift)
    return np.degrees(1e-3 / megaparsec) * 3600


def volume_density(redshift: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Comoving volume per unit of ln(1 + z) and steradian, Mpc**3."""
    rate = np.sqrt(MATTER * (1 + redshift) ** 3 + 1 - MATTER)
    depth = _LIGHT / HUBBLE / rate * (1 + redshift)
    return comoving_distance(redshift) ** 2 * depth
