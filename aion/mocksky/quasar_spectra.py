# SPDX-License-Identifier: MIT
"""Spectra of quasars: disk, emission lines, iron, hot dust and the host's stars.

Not realistic: all lines of a quasar scale together but for the Baldwin effect, none is
shifted against another, all hosts are one old population, there is no broad absorption,
nothing varies and the silicate feature at 10 micron is missing.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from aion.mocksky.atmospheres import planck
from aion.mocksky.responses import TABLES

STEP = 2e-4
_FINE = 480.0 * np.exp(STEP * np.arange(15_850))
_COARSE = _FINE[-1] * np.exp(2e-3 * np.arange(1, 1_680))
WAVELENGTH = np.concatenate([_FINE, _COARSE])
"""Rest wavelengths, vacuum, Angstrom, [l]: 480 to 11,400 in steps of 60 km/s, then
coarser to 330,000."""

BROAD = (  # wavelength, equivalent width and sigma in Angstrom
    (973.0, 6.0, 9.0),  # Ly gamma, C III
    (1033.03, 9.77, 7.76),  # O VI, Ly beta
    (1063.0, 3.7, 14.0),  # N II, He II
    (1216.25, 64.0, 17.5),  # Ly alpha
    (1240.8, 14.0, 11.0),  # N V
    (1305.42, 1.66, 5.42),  # O I, Si II
    (1336.60, 0.69, 3.86),  # C II
    (1396.76, 8.13, 14.26),  # Si IV, O IV]
    (1546.15, 23.78, 14.33),  # C IV
    (1637.84, 3.2, 13.0),  # He II
    (1664.74, 2.0, 9.0),  # O III]
    (1746.82, 0.44, 4.95),  # N III]
    (1858.0, 2.4, 12.0),  # Al III
    (1905.97, 18.8, 19.0),  # C III], Si III]
    (2800.26, 24.0, 25.0),  # Mg II
    (3890.0, 1.5, 18.0),  # H zeta
    (3971.2, 2.4, 18.0),  # H epsilon
    (4102.73, 5.05, 18.62),  # H delta
    (4346.42, 12.62, 20.32),  # H gamma
    (4687.0, 2.5, 25.0),  # He II
    (4862.68, 46.21, 36.0),  # H beta
    (5877.41, 4.94, 23.45),  # He I
    (6564.61, 194.52, 44.0),  # H alpha
    (10_833.0, 36.0, 70.0),  # He I
    (10_941.0, 18.0, 70.0),  # Pa gamma
    (12_821.6, 30.0, 90.0),  # Pa beta
    (18_756.1, 40.0, 130.0),  # Pa alpha
)
"""Vanden Berk et al. 2001 (AJ 122, 549), table 2, but blends of Ly alpha with N V, of
C III] with Al III and of Mg II with iron are split; infrared lines after Glikman et al.
2006 (ApJ 640, 579)."""

NARROW = (
    (3346.8, 0.35, 3.0),  # [Ne V]
    (3426.85, 1.22, 3.5),  # [Ne V]
    (3728.8, 1.56, 3.0),  # [O II]
    (3869.86, 1.38, 3.5),  # [Ne III]
    (4364.4, 0.46, 3.5),  # [O III]
    (4960.30, 4.41, 3.85),  # [O III], a third of the next
    (5008.24, 13.23, 3.85),  # [O III]
    (4862.68, 1.3, 3.85),  # H beta
    (6302.0, 1.15, 4.0),  # [O I]
    (6549.85, 0.68, 4.0),  # [N II]
    (6564.61, 6.0, 4.0),  # H alpha
    (6585.28, 2.02, 4.0),  # [N II]
    (6718.29, 1.65, 4.0),  # [S II]
    (6732.67, 1.49, 4.0),  # [S II]
)
"""Equivalent widths of the same table, widths of some 230 km/s instead of a
composite's."""

# Iron over the continuum: wavelength, height. Humps of Vestergaard and Wilkes 2001
# (ApJS 134, 1) in the ultraviolet, of Boroson and Green 1992 (ApJS 80, 109) beyond, and
# the shelf around 1,700 Angstrom (Laor et al. 1994, ApJ 420, 110), which is not only
# iron; heights are fitted to the median colours of SDSS's quasars by redshift.
_IRON = (
    (1480.0, 0.0),
    (1560.0, 0.057),
    (1620.0, 0.1),
    (1680.0, 0.122),
    (1750.0, 0.134),
    (1820.0, 0.09),
    (1900.0, 0.035),
    (2000.0, 0.016),
    (2100.0, 0.004),
    (2200.0, 0.015),
    (2300.0, 0.048),
    (2400.0, 0.101),
    (2500.0, 0.137),
    (2580.0, 0.137),
    (2660.0, 0.09),
    (2730.0, 0.114),
    (2800.0, 0.167),
    (2870.0, 0.171),
    (2950.0, 0.114),
    (3080.0, 0.073),
    (3200.0, 0.085),
    (3320.0, 0.053),
    (3450.0, 0.036),
    (3700.0, 0.0),
    (4150.0, 0.0),
    (4250.0, 0.034),
    (4400.0, 0.047),
    (4500.0, 0.068),
    (4570.0, 0.075),
    (4650.0, 0.057),
    (4750.0, 0.02),
    (4900.0, 0.011),
    (5000.0, 0.009),
    (5100.0, 0.013),
    (5170.0, 0.041),
    (5230.0, 0.046),
    (5310.0, 0.041),
    (5390.0, 0.018),
    (5450.0, 0.0),
)
_BALMER = 0.19
_SOFTER = 0.24
"""Balmer continuum over the disk at its edge; what is added to the slope of the disk
redward of `PIVOT`; the former from the same fit, the latter held to z - W1, too."""
PIVOT = 5100.0
_HOST = ((3, 0.95), (2, 0.05))  # rows of the templates and shares of the light
_EDGE = 3646.0


@dataclass(frozen=True, eq=False)
class QuasarRows:
    """What spectra are made of, arrays [k].

    Attributes:
        slope: of flux per unit wavelength between 1,216 and 5,100 Angstrom.
        lines: equivalent widths of broad lines over the composite's.
        narrow: the same of narrow lines.
        iron: the same of iron and of the Balmer continuum.
        host: light of the host's stars over the quasar's at 5,500 Angstrom.
        reddening: E(B-V) of dust like the Small Magellanic Cloud's, mag.
        dust: flux of hot dust over the mean.
        absolute: AB magnitude at 2,500 Angstrom without the reddening.
    """

    slope: np.ndarray
    lines: np.ndarray
    narrow: np.ndarray
    iron: np.ndarray
    host: np.ndarray
    reddening: np.ndarray
    dust: np.ndarray
    absolute: np.ndarray


def disk(slope: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k l"]:
    """Continuum per unit wavelength, 1 at `PIVOT`.

    A power law, softer by 1.1 beyond Ly alpha (Telfer et al. 2002, ApJ 565, 773) and
    by `_SOFTER` in the red, where Vanden Berk et al. 2001 find a break, too.
    """
    alpha = slope[:, None]
    x = WAVELENGTH / PIVOT
    edge = 1216.0 / PIVOT
    red = np.maximum(x, 1.0) ** _SOFTER
    return x**alpha * np.minimum(x / edge, 1.0) ** 1.1 * red


def line_profiles(
    lines: tuple[tuple[float, float, float], ...], tail: float
) -> Float[np.ndarray, " l"]:
    """Flux of lines over the continuum; integrates to their equivalent widths.

    Args:
        lines: wavelength, equivalent width, sigma in Angstrom.
        tail: share of a line in a Gaussian 2.2 times as wide; the core is narrower, so
            that the profile is peaked as broad lines are.
    """
    total = np.zeros(len(WAVELENGTH))
    for centre, width, sigma in lines:
        for share, wide in ((1 - tail, 0.72), (tail, 1.6)):
            x = np.minimum(np.abs(WAVELENGTH - centre) / (wide * sigma), 20.0)
            height = share * width / (wide * sigma * np.sqrt(2 * np.pi))
            total += height * np.exp(-0.5 * x * x)
    return total


@lru_cache(maxsize=1)
def _iron() -> np.ndarray:
    """Iron and the Balmer continuum over the disk; multiplets at random places."""
    rng = np.random.default_rng(13)
    places = np.log(WAVELENGTH)
    smooth = np.interp(WAVELENGTH, *np.array(_IRON).T, left=0.0, right=0.0)
    rough = np.zeros(len(WAVELENGTH))
    for centre in rng.uniform(np.log(1480.0), np.log(5700.0), 300):
        near = np.abs(places - centre) < 0.03
        rough[near] += np.exp(-0.5 * ((places[near] - centre) / 0.0055) ** 2)
    inside = (WAVELENGTH > 1480) & (WAVELENGTH < 5700)
    rough = 0.55 + 0.45 * rough / rough[inside].mean()
    # Optically thin recombination at 15,000 K (Grandi 1982, ApJ 255, 25); beyond the
    # edge the high lines of the series go on with it.
    thin = planck(WAVELENGTH, 15_000.0) * -np.expm1(-((WAVELENGTH / _EDGE) ** 3))
    thin = thin / np.interp(_EDGE, WAVELENGTH, thin) * (PIVOT / _EDGE) ** -1.56
    thin = thin / (WAVELENGTH / PIVOT) ** -1.56
    fall = 1 / (1 + np.exp(np.clip((WAVELENGTH - _EDGE - 110.0) / 45.0, -50, 50)))
    peak = np.interp(_EDGE, WAVELENGTH, thin)
    return smooth * rough + _BALMER * thin / peak * fall * (WAVELENGTH > 1000.0)


def _hot_dust() -> np.ndarray:
    """Per unit wavelength over the disk at `PIVOT`: two black bodies.

    1,350 K at the sublimation radius and cooler dust as one of 380 K; heights after the
    mean energy distribution of Richards et al. 2006 (ApJS 166, 470).
    """
    total = np.zeros(len(WAVELENGTH))
    for kelvin, height in ((1350.0, 0.62), (380.0, 0.50)):
        shape = WAVELENGTH * planck(WAVELENGTH, kelvin)
        total += height * shape / shape.max() * PIVOT / WAVELENGTH
    return total


@lru_cache(maxsize=1)
def _host() -> np.ndarray:
    """Light of galaxies of the mock sky, per unit wavelength, 1 at 5,500 Angstrom.

    The old and the star-forming template of kcorrect (see `tables/README.md`).
    """
    with np.load(TABLES / "galaxies.npz") as table:
        ends, templates = np.log(table["wavelength"]), np.log(table["flux"])
    grid = np.linspace(ends[0], ends[1], templates.shape[1])
    place, total = np.log(WAVELENGTH), np.zeros(len(WAVELENGTH))
    for row, share in _HOST:
        log = CubicSpline(grid, templates[row].astype(np.float64))
        light = np.exp(log(np.maximum(place, ends[0])) - log(np.log(5500.0)))
        total += share * light * (place >= ends[0])
    return total


def reddening_curve(wavelength: np.ndarray) -> np.ndarray:
    """A / E(B-V) of the Small Magellanic Cloud: 1.39 (wavelength / micron)**-1.2.

    Richards et al. 2003, AJ 126, 1131.
    """
    return 1.39 * (wavelength / 1e4) ** -1.2


def quasar_spectra(rows: QuasarRows) -> Float[np.ndarray, "k l"]:
    """Flux per unit wavelength on `WAVELENGTH`, before the intergalactic medium.

    1 is the unreddened disk at `PIVOT`.
    """
    over = 1 + rows.lines[:, None] * line_profiles(BROAD, 0.5)
    over += rows.narrow[:, None] * line_profiles(NARROW, 0.25)
    over += rows.iron[:, None] * _iron()
    flux = disk(rows.slope) * over
    flux *= 10 ** (-0.4 * rows.reddening[:, None] * reddening_curve(WAVELENGTH))
    flux += rows.dust[:, None] * _hot_dust()
    scale = (5500.0 / PIVOT) ** (rows.slope + _SOFTER)
    return flux + (rows.host * scale)[:, None] * _host()
