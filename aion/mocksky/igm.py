# SPDX-License-Identifier: MIT
"""The intergalactic medium: its mean transmission, after Inoue et al. 2014.

Two absorbers, the forest and the damped systems, each in the lines of the Lyman series
(their equations 21 and 22, coefficients of table 2) and in the Lyman continuum (25-29).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from aion.mocksky.grids import OBSERVED

LYMAN_ALPHA = 1215.67
LYMAN_LIMIT = 911.8
"""Angstrom."""

# Table 2: wavelength in Angstrom, coefficients of the forest and of damped systems in
# the lowest redshift range. Those of the other ranges are in fixed ratios to them.
_SERIES = np.array(
    [
        (1215.670, 1.68976e-2, 1.61698e-4),
        (1025.720, 4.69229e-3, 1.54539e-4),
        (972.537, 2.23898e-3, 1.49767e-4),
        (949.743, 1.31901e-3, 1.46031e-4),
        (937.803, 8.70656e-4, 1.42893e-4),
        (930.748, 6.17843e-4, 1.40159e-4),
        (926.226, 4.60924e-4, 1.37714e-4),
        (923.150, 3.56887e-4, 1.35495e-4),
        (920.963, 2.84278e-4, 1.33452e-4),
        (919.352, 2.31771e-4, 1.31561e-4),
        (918.129, 1.92348e-4, 1.29785e-4),
        (917.181, 1.62155e-4, 1.28117e-4),
        (916.429, 1.38498e-4, 1.26540e-4),
        (915.824, 1.19611e-4, 1.25041e-4),
        (915.329, 1.04314e-4, 1.23614e-4),
        (914.919, 9.17397e-5, 1.22248e-4),
        (914.576, 8.12784e-5, 1.20938e-4),
        (914.286, 7.25069e-5, 1.19681e-4),
        (914.039, 6.50549e-5, 1.18469e-4),
        (913.826, 5.86816e-5, 1.17298e-4),
        (913.641, 5.31918e-5, 1.16167e-4),
        (913.480, 4.84261e-5, 1.15071e-4),
        (913.339, 4.42740e-5, 1.14011e-4),
        (913.215, 4.06311e-5, 1.12983e-4),
        (913.104, 3.73821e-5, 1.11972e-4),
        (913.006, 3.45377e-5, 1.11002e-4),
        (912.918, 3.19891e-5, 1.10051e-4),
        (912.839, 2.97110e-5, 1.09125e-4),
        (912.768, 2.76635e-5, 1.08220e-4),
        (912.703, 2.58178e-5, 1.07337e-4),
        (912.645, 2.41479e-5, 1.06473e-4),
        (912.592, 2.26347e-5, 1.05629e-4),
        (912.543, 2.12567e-5, 1.04802e-4),
        (912.499, 1.99967e-5, 1.03991e-4),
        (912.458, 1.88476e-5, 1.03198e-4),
        (912.420, 1.77928e-5, 1.02420e-4),
        (912.385, 1.68222e-5, 1.01657e-4),
        (912.353, 1.59286e-5, 1.00908e-4),
        (912.324, 1.50996e-5, 1.00168e-4),
    ]
)
LYMAN_SERIES = _SERIES[:, 0]
"""Wavelengths of the lines, Angstrom, from Lyman alpha down."""

_FOREST = (1.0, 2.35379e-3 / 1.68976e-2, 1.02611e-4 / 1.68976e-2)
_DAMPED = (1.0, 5.38995e-5 / 1.61698e-4)


def _line_depths(wavelength: np.ndarray) -> np.ndarray:
    """Optical depth of the first j lines together at each wavelength, [1 + j, l]."""
    x = wavelength / _SERIES[:, :1]
    # The three ranges hold below z = 1.2, below 4.7 and above it.
    forest = np.select(
        [x < 2.2, x < 5.7],
        [_FOREST[0] * x**1.2, _FOREST[1] * x**3.7],
        _FOREST[2] * x**5.5,
    )
    damped = np.where(x < 3.0, _DAMPED[0] * x**2, _DAMPED[1] * x**3)
    depths = _SERIES[:, 1:2] * forest + _SERIES[:, 2:] * damped
    return np.concatenate([np.zeros_like(depths[:1]), np.cumsum(depths, 0)])


@lru_cache(maxsize=1)
def _observed_line_depths() -> np.ndarray:
    return _line_depths(OBSERVED).astype(np.float32)


def _forest_continuum(x: np.ndarray, z: float) -> np.ndarray:
    if z < 1.2:
        return 0.325 * (x**1.2 - (1 + z) ** -0.9 * x**2.1)
    if z < 4.7:
        high = 2.55e-2 * ((1 + z) ** 1.6 * x**2.1 - x**3.7)
        low = 2.55e-2 * (1 + z) ** 1.6 * x**2.1 + 0.325 * x**1.2 - 0.250 * x**2.1
        return np.where(x < 2.2, low, high)
    far = 5.22e-4 * (1 + z) ** 3.4 * x**2.1
    return np.select(
        [x < 2.2, x < 5.7],
        [
            far + 0.325 * x**1.2 - 3.14e-2 * x**2.1,
            far + 0.218 * x**2.1 - 2.55e-2 * x**3.7,
        ],
        far - 5.22e-4 * x**5.5,
    )


def _damped_continuum(x: np.ndarray, z: float) -> np.ndarray:
    if z < 2.0:
        return 0.211 * (1 + z) ** 2 - 7.66e-2 * (1 + z) ** 2.3 * x**-0.3 - 0.135 * x**2
    far = 4.70e-2 * (1 + z) ** 3 - 1.78e-2 * (1 + z) ** 3.3 * x**-0.3
    low = 0.634 + far - 0.135 * x**2 - 0.291 * x**-0.3
    return np.where(x < 3.0, low, far - 2.92e-2 * x**3)


def igm_transmission(redshift: float) -> Float[np.ndarray, " l"]:
    """Mean share of the light of a source that arrives, on `grids.OBSERVED`, float32.

    Args:
        redshift: of the source.
    """
    through = np.ones(len(OBSERVED), np.float32)
    size = int(np.searchsorted(OBSERVED, LYMAN_ALPHA * (1 + redshift)))
    if not size:
        return through
    emitted = OBSERVED[:size] / (1 + redshift)
    # The series goes down in wavelength: how many lines are redder than the light.
    lines = len(_SERIES) - np.searchsorted(_SERIES[::-1, 0], emitted, side="right")
    depth = _observed_line_depths()[lines, np.arange(size)].astype(np.float64)
    end = int(np.searchsorted(emitted, LYMAN_LIMIT))
    x = OBSERVED[:end] / LYMAN_LIMIT
    depth[:end] += np.maximum(_forest_continuum(x, redshift), 0.0)
    depth[:end] += np.maximum(_damped_continuum(x, redshift), 0.0)
    through[:size] = np.exp(-depth)
    return through
