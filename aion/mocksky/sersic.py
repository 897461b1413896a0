# SPDX-License-Identifier: MIT
"""Sersic profiles as mixtures of round Gaussians (Hogg and Lang 2013, PASP 125, 719).

The widths are the same for all profiles, in steps of sqrt(2), so that the Fourier
transform of one Gaussian is the square of the one before. The weights are tabulated on
the Sersic index n and none is negative; `tables/README.md` says how they were made.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

_TABLE = Path(__file__).parent / "tables" / "sersic.npz"

SIGMAS = 2.0 ** (0.5 * np.arange(-14, 9)) / np.sqrt(2 * np.log(2))
"""Widths of the Gaussians in units of the half-light radius, [j]: 0.0066 to 13.6."""


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    with np.load(_TABLE) as table:
        return np.log(table["indices"]), table["weights"].astype(np.float64)


def sersic_weights(n: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... j"]:
    """Share of the light in each of `SIGMAS`; sums to 1 over j.

    Args:
        n: Sersic indices; clipped to 0.5 to 8.

    Returns:
        Linear in ln n between the 65 tabulated profiles, float64.
    """
    grid, weights = _table()
    step = grid[1] - grid[0]
    place = np.clip((np.log(n) - grid[0]) / step, 0.0, len(grid) - 1.0)
    low = np.minimum(place.astype(np.int64), len(grid) - 2)
    part = (place - low)[..., None]
    return (1 - part) * weights[low] + part * weights[low + 1]


def enclosed(
    weights: Float[np.ndarray, "... j"], radius: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Share of the light of a mixture within a radius in half-light radii."""
    inside = -np.expm1(-0.5 * (radius[..., None] / SIGMAS) ** 2)
    return np.asarray(np.sum(weights * inside, axis=-1))
