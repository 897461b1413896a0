# SPDX-License-Identifier: MIT
"""Dust: the Milky Way's extinction, and the attenuation of starlight in galaxies.

E(B-V) is on the scale of Schlegel, Finkbeiner and Davis 1998, as in the columns of the
Legacy Surveys; Schlafly and Finkbeiner 2011 found that this scale must be multiplied by
0.86 where the curve of Fitzpatrick 1999 with R_V = 3.1 is used, which is done here.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from aion.instrument import BANDS
from aion.mocksky.grids import OBSERVED

R_V = 3.1
RECALIBRATION = 0.86
"""True over tabulated E(B-V) (Schlafly and Finkbeiner 2011, section 5)."""

CALZETTI_R_V = 4.05
SHORTEST = 2700.0
"""Angstrom; the Milky Way's curve is not given below, where no band of ours is."""

# Fitzpatrick 1999, table 3: inverse micron, A(lambda) / E(B-V) for R_V = 3.1.
_ANCHORS = np.array(
    [
        (0.0, 0.0),
        (1e4 / 26500, 0.265),
        (1e4 / 12200, 0.829),
        (1e4 / 6000, 2.688),
        (1e4 / 5470, 3.055),
        (1e4 / 4670, 3.806),
        (1e4 / 4110, 4.315),
        (1e4 / 2700, 6.265),
        (1e4 / 2600, 6.591),
    ]
)


def extinction(wavelength: Float[np.ndarray, " l"]) -> Float[np.ndarray, " l"]:
    """Milky Way extinction A(lambda) / E(B-V): Fitzpatrick 1999, R_V = 3.1.

    Args:
        wavelength: Angstrom, at least `SHORTEST`; what is below gets its value.

    Returns:
        Magnitudes per magnitude of true E(B-V), without `RECALIBRATION`.
    """
    spline = CubicSpline(*_ANCHORS.T, bc_type="natural")
    return spline(1e4 / np.maximum(wavelength, SHORTEST))


@lru_cache(maxsize=1)
def _observed_extinction() -> np.ndarray:
    exponent = -0.4 * RECALIBRATION * np.log(10) * extinction(OBSERVED)
    return exponent.astype(np.float32)


def milky_way(ebv: Float[np.ndarray, " b"]) -> Float[np.ndarray, "b l"]:
    """What the Milky Way lets through on `grids.OBSERVED`, float32.

    Args:
        ebv: E(B-V) in mag on the scale of survey catalogues.
    """
    return np.exp(ebv.astype(np.float32)[:, None] * _observed_extinction())


def attenuation(wavelength: Float[np.ndarray, " l"]) -> Float[np.ndarray, " l"]:
    """Attenuation of starlight A(lambda) / A_V: Calzetti et al. 2000, equation 4.

    Its two branches meet at 0.63 micron; beyond 2.2 micron, where it is not given, it
    falls as wavelength**-1.7; below 0.12 it is continued by its own polynomial.

    Args:
        wavelength: rest frame, Angstrom.
    """
    micron = np.asarray(wavelength) / 1e4

    def optical(x: np.ndarray) -> np.ndarray:
        return 2.659 * (-2.156 + 1.509 / x - 0.198 / x**2 + 0.011 / x**3)

    def infrared(x: np.ndarray) -> np.ndarray:
        return 2.659 * (-1.857 + 1.040 / x)

    curve = CALZETTI_R_V + np.where(micron < 0.63, optical(micron), infrared(micron))
    end = CALZETTI_R_V + infrared(np.array([2.2]))
    far = np.maximum(end * (micron / 2.2) ** -1.7, 0.0)
    return np.where(micron > 2.2, far, curve) / CALZETTI_R_V


def band_extinction(names: Sequence[str]) -> Float[np.ndarray, " c"]:
    """Extinction A / E(B-V) at the effective wavelength of each band, mag per mag.

    E(B-V) is on the scale of survey catalogues; a band's true extinction depends on the
    spectrum too and is not this number exactly.
    """
    return RECALIBRATION * extinction(np.array([BANDS[n].wavelength for n in names]))
