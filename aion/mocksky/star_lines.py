# SPDX-License-Identifier: MIT
"""Lines and bands in the spectra of stars, as optical depths on a wavelength grid.

Strengths are smooth functions of temperature, gravity and metallicity that follow the
spectral classification (Gray and Corbally 2009): Balmer lines peak at 9,500 K, Ca II
and the G band in late F to K, Mg b, MgH and Na D in K dwarfs, TiO, VO and CaH in M.
Wavelengths are NIST's, in vacuum; band heads are Kirkpatrick et al. 1991's.

Not realistic: profiles are of one analytic form, a line's strength does not saturate as
a curve of growth does, and the many weak lines of metals stand at random wavelengths.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

RYDBERG = 1.0 / 1.0967758e-3  # Angstrom, of hydrogen, vacuum

# Vacuum wavelength, central depth at solar abundance in a K0 dwarf, sigma in Angstrom,
# temperature of greatest strength, its width in ln T.
_METALS = (
    (3934.78, 2.6, 5.0, 4700.0, 0.36),  # Ca II K
    (3969.59, 2.3, 5.0, 4700.0, 0.36),  # Ca II H
    (4227.92, 0.8, 2.2, 4000.0, 0.20),  # Ca I
    (4305.6, 0.55, 7.0, 5300.0, 0.16),  # CH, the G band
    (4384.78, 0.4, 2.2, 4500.0, 0.30),  # Fe I
    (4668.0, 0.12, 8.0, 4700.0, 0.20),  # C2 and Fe I
    (5015.0, 0.18, 8.0, 4600.0, 0.30),  # Fe I blend
    (5168.76, 0.55, 2.2, 4500.0, 0.25),  # Mg I b4
    (5174.13, 0.6, 2.2, 4500.0, 0.25),  # Mg I b2
    (5185.05, 0.65, 2.2, 4500.0, 0.25),  # Mg I b1
    (5211.0, 0.22, 18.0, 4200.0, 0.16),  # MgH
    (5271.0, 0.3, 4.0, 4500.0, 0.30),  # Fe I
    (5329.5, 0.25, 3.0, 4500.0, 0.30),  # Fe I
    (5406.0, 0.15, 4.0, 4500.0, 0.30),  # Fe I
    (5891.58, 0.7, 1.8, 3900.0, 0.25),  # Na I D2
    (5897.56, 0.6, 1.8, 3900.0, 0.25),  # Na I D1
    (6497.0, 0.15, 4.0, 4500.0, 0.30),  # Ba II, Fe I, Ca I
    (7701.0, 0.3, 2.0, 3600.0, 0.25),  # K I
    (8185.5, 0.3, 2.0, 3300.0, 0.20),  # Na I
    (8197.1, 0.35, 2.0, 3300.0, 0.20),  # Na I
    (8500.36, 0.45, 2.0, 4900.0, 0.35),  # Ca II
    (8544.44, 0.8, 2.4, 4900.0, 0.35),  # Ca II
    (8664.52, 0.7, 2.4, 4900.0, 0.35),  # Ca II
)
# Helium in B stars: wavelength, depth.
_HELIUM = (
    (4027.3, 0.22),
    (4472.7, 0.25),
    (4923.3, 0.12),
    (5877.2, 0.2),
    (6679.9, 0.15),
)
# Head, how far the band reaches to the red, depth at 3,200 K.
_OXIDES = (
    (4584.0, 170.0, 0.7),
    (4762.0, 180.0, 1.0),
    (4955.0, 200.0, 1.1),
    (5168.0, 260.0, 1.2),
    (5449.0, 250.0, 0.9),
    (5848.0, 300.0, 1.0),
    (6160.0, 330.0, 1.1),
    (6653.0, 200.0, 0.8),
    (7055.0, 260.0, 1.5),
    (7591.0, 150.0, 1.0),
    (7667.0, 220.0, 0.9),
    (8209.0, 180.0, 0.35),
    (8434.0, 220.0, 0.7),
    (8861.0, 250.0, 0.6),
)
_HYDRIDES = ((6385.0, 90.0, 0.35), (6832.0, 180.0, 0.7))  # CaH, strong in dwarfs
_VANADIUM = ((7335.0, 200.0, 0.5), (7851.0, 200.0, 0.6))  # VO, latest types


def balmer_wavelengths(lower: int, upper: int) -> Float[np.ndarray, " n"]:
    """Vacuum wavelengths of hydrogen lines from level `lower`, to `upper` at most."""
    level = np.arange(lower + 1, upper + 1)
    return RYDBERG / (lower**-2.0 - level**-2.0)


def _peak(teff: np.ndarray, at: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * (np.log(teff / at) / width) ** 2)


def hydrogen_strength(teff: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Strength of hydrogen lines over their greatest, at 9,500 K."""
    cool = _peak(teff, 9500.0, 0.26)
    hot = _peak(teff, 9500.0, 0.55)
    return np.where(teff < 9500.0, cool, hot)


def hydrogen_depth(
    wavelength: Float[np.ndarray, " l"],
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k l"]:
    """Optical depth of Balmer and Paschen lines with wings of pressure broadening."""
    strength = hydrogen_strength(teff)[:, None]
    total = np.zeros((len(teff), len(wavelength)))
    wide = 2.0 + 11.0 * strength[:, 0] * 10 ** (0.22 * (log_g - 4.0))
    for lower, first in ((2, 1.75), (3, 0.5)):
        for n, line in enumerate(balmer_wavelengths(lower, 24)):
            scale = wide * (1.0 if n < 4 else 0.82 ** (n - 3))
            near = np.abs(wavelength - line) < 400.0
            shape = (wavelength[near] - line) / scale[:, None]
            depth = first * strength * 0.9**n
            total[:, near] += depth / (1.0 + shape**2) ** 1.4
    return total


def metal_depth(
    wavelength: Float[np.ndarray, " l"],
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k l"]:
    """Optical depth of lines of metals, of helium, and of the forest of weak lines."""
    total = np.zeros((len(teff), len(wavelength)))
    metal = 10 ** (0.35 * fe_h)
    dwarf = 10 ** (0.12 * (log_g - 4.5))
    for line, depth, sigma, at, width in _METALS:
        near = np.abs(wavelength - line) < 12 * sigma
        shape = (wavelength[near] - line) / sigma
        size = depth * _peak(teff, at, width) * metal * dwarf
        total[:, near] += size[:, None] / (1.0 + 0.5 * shape**2) ** 2
    for line, depth in _HELIUM:
        near = np.abs(wavelength - line) < 60
        size = depth * _peak(teff, 20000.0, 0.3)
        shape = np.exp(-0.5 * ((wavelength[near] - line) / 3.0) ** 2)
        total[:, near] += size[:, None] * shape
    weak = _peak(np.minimum(teff, 20000.0), 4300.0, 0.33) * 10 ** (0.4 * fe_h)
    return total + weak[:, None] * _forest(wavelength.tobytes(), len(wavelength))


@lru_cache(maxsize=2)
def _forest(raw: bytes, size: int) -> np.ndarray:
    """Two thousand weak lines, denser and stronger in the blue; the same for ever."""
    wavelength = np.frombuffer(raw, np.float64, size)
    rng = np.random.default_rng(20250101)
    lines = 3000.0 * (9500.0 / 3000.0) ** (rng.random(2000) ** 1.8)
    depth = rng.exponential(0.22, 2000) * np.minimum((5200.0 / lines) ** 3, 4.0)
    total = np.zeros(size)
    for line, size_ in zip(lines, depth, strict=True):
        a, b = np.searchsorted(wavelength, [line - 5.0, line + 5.0])
        total[a:b] += size_ * np.exp(-0.5 * ((wavelength[a:b] - line) / 0.8) ** 2)
    return total


def band_depth(
    wavelength: Float[np.ndarray, " l"],
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k l"]:
    """Optical depth of molecular bands of M stars, sharp to the blue."""
    oxide = np.clip((4050.0 - teff) / 850.0, 0.0, 1.6) * 10 ** (0.3 * fe_h)
    hydride = oxide * np.clip((log_g - 2.0) / 2.5, 0.0, 1.2) * 10 ** (-0.3 * fe_h)
    vanadium = np.clip((3150.0 - teff) / 350.0, 0.0, 1.5)
    total = np.zeros((len(teff), len(wavelength)))
    for bands, size in ((_OXIDES, oxide), (_HYDRIDES, hydride), (_VANADIUM, vanadium)):
        for head, reach, depth in bands:
            place = (wavelength - head) / reach
            edge = 1.0 / (1.0 + np.exp(np.clip(-(wavelength - head) / 3.0, -60, 60)))
            shape = edge * np.exp(-np.maximum(place, 0.0))
            total += (depth * size)[:, None] * shape
    return total
