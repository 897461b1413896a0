# SPDX-License-Identifier: MIT
"""Spectra of stars: continuum, hydrogen, metals and molecules, at DESI's sampling.

The flux in lines follows Milne and Eddington: with opacity eta over the continuum's,

    flux = continuum (r0 + (1 - r0) / (1 + eta)),

r0 the surface's black body over the continuum (Gray 2005, chapter 13). Hydrogen has
Stark wings of Holtsmark's shape (Griem 1960, ApJ 132, 883). Populations are Saha's and
Boltzmann's in the layer where lines form (`aion.mocksky.atmospheres`). Lines of metals
narrower than the grid enter with the equivalent width of a curve of growth; strong ones
have van der Waals wings.

Not realistic: one layer for all lines, no departures from equilibrium, no rotation
(the lines are some 60 km/s wide at most), alpha elements follow iron, weak lines are at
random places (`line_data.weak_lines`), no chromospheric emission.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import sparse

from aion.mocksky.atmospheres import (
    RYDBERG,
    SECOND,
    Photosphere,
    ionisation,
    level_survival,
    photosphere,
    planck,
)
from aion.mocksky.line_data import (
    ELEMENTS,
    PARTITION,
    LineList,
    strong_lines,
    weak_lines,
)
from aion.mocksky.molecules import band_profiles, band_strengths

STEP = 1e-4
_OPTICAL = 2900.0 * np.exp(STEP * np.arange(13_690))
WAVELENGTH = np.concatenate(
    [_OPTICAL, _OPTICAL[-1] * np.exp(2e-3 * np.arange(1, 1_672))]
)
"""Rest wavelengths of the spectra, vacuum, Angstrom, [l]: 2,900 to 11,400 in steps of
30 km/s, then coarser to 320,000."""

_SERIES = {2: range(3, 24), 3: range(4, 24)}  # lower level: upper levels
_OSCILLATOR = {(2, 3): 0.641, (2, 4): 0.119, (2, 5): 0.0444, (2, 6): 0.0221}
_OSCILLATOR |= {(3, 4): 0.842, (3, 5): 0.151, (3, 6): 0.0558, (3, 7): 0.0277}
_CORE = 1.1e-4  # one sigma of narrow lines in ln wavelength: 33 km/s
_THERMAL = 4e-5  # the same of hydrogen's Doppler cores
_TURBULENCE = 2.0e5 / 2.998e10  # Doppler width over c
_WARMED = (3200.0, 4000.0, 5000.0, 6200.0, 9000.0)
_SURFACE = 0.70  # temperature of line cores over the effective one
# Van der Waals widths over the mean (Barklem et al. 2000, A&AS 142, 467).
_DAMPING = {"Fe": 0.4, "Na": 3.0, "Ca": 0.7, "Mg": 0.8}
_CLASSICAL = 8.853e-13  # pi e2 / m c2, cm


def _coarse() -> np.ndarray:
    return np.concatenate(
        [
            np.geomspace(2880, 3600, 10),
            np.linspace(3615, 4000, 28),
            np.geomspace(4060, 8100, 24),
            np.linspace(8180, 8900, 18),
            np.geomspace(9100, 15500, 10),
            np.linspace(15800, 17200, 6),
            np.geomspace(18000, 330_000, 24),
        ]
    )


def _oscillator(lower: int, upper: int) -> float:
    """Absorption oscillator strength of hydrogen; Kramers' n^-3 law for high levels."""
    if (lower, upper) in _OSCILLATOR:
        return _OSCILLATOR[lower, upper]
    kramers = 1.96 / lower**5 / upper**3 / (1 / lower**2 - 1 / upper**2) ** 3
    return 0.9 * kramers


@lru_cache(maxsize=1)
def _hydrogen_grid() -> np.ndarray:
    """Wavelengths on which hydrogen's lines are made: dense at their centres."""
    grid = [np.geomspace(2890.0, 330_000.0, 300)]
    steps = np.concatenate([[0.0], np.geomspace(2e-5, 0.06, 42)])
    for lower, uppers in _SERIES.items():
        for upper in uppers:
            centre = 1 / (RYDBERG * (1 / lower**2 - 1 / upper**2))
            near = steps if upper < 12 else steps[steps < 0.012]
            grid += [centre * np.exp(near), centre * np.exp(-near)]
    return np.unique(np.concatenate(grid))


def _hydrogen_lines(gas: Photosphere) -> np.ndarray:
    """Opacity of Balmer and Paschen lines over the continuum's, [k, l]."""
    grid = _hydrogen_grid()
    t, e = gas.deep_temperature[:, None], gas.deep_electrons[:, None]
    field = 1.25e-9 * (e / (1.38e-16 * t)) ** (2 / 3)
    cross = np.zeros((len(t), len(grid)))
    neutral = 1 / (1 + ionisation(t, e, 13.6))
    for lower, uppers in _SERIES.items():
        boltzmann = lower**2 * np.exp(-13.6 * (1 - 1 / lower**2) * 11604.5 / t)
        for upper in uppers:
            centre = 1 / (RYDBERG * (1 / lower**2 - 1 / upper**2))
            reach = 0.30 if upper < 12 else 0.06
            near = np.abs(np.log(grid / centre)) < reach
            stark = 5.5e-5 * (lower * upper) ** 4 / (upper**2 - lower**2) * field
            offset = np.abs(grid[near] - centre)
            wide = 2.5 * stark
            width = np.hypot(wide, _THERMAL * centre)
            bound = (wide / width) ** 1.5  # of the profile's area, in Stark wings
            shape = 0.3785 * wide**1.5 / (width**2.5 + offset**2 * np.sqrt(offset))
            core = np.exp(-0.5 * np.minimum(offset / (_THERMAL * centre), 12.0) ** 2)
            shape = shape + (1 - bound) * core / (2.5066 * _THERMAL * centre)
            strength = 0.5 * _CLASSICAL * _oscillator(lower, upper) * centre**2 * 1e-8
            survival = level_survival(np.array(float(upper)), t, e)
            cross[:, near] += strength * neutral * boltzmann * survival * shape
    continuum = _log_interpolate(gas.wavelength, gas.deep_opacity, grid)
    eta = np.log(np.maximum(cross / continuum, 1e-12))
    return np.exp(np.stack([np.interp(WAVELENGTH, grid, row) for row in eta]))


def _log_interpolate(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Rows of y at new wavelengths, linear in the logarithms, [k, new]."""
    logs, places = np.log(y), np.log(new)
    return np.exp(np.stack([np.interp(places, np.log(x), row) for row in logs]))


def _populations(gas: Photosphere, fe_h: np.ndarray, lines: LineList) -> np.ndarray:
    """Lower level of each line per hydrogen nucleus over its weight, log10, [k, n]."""
    theta = 5040.0 / gas.temperature[:, None]
    found = np.empty((len(fe_h), len(lines)))
    for element, (abundance, first, second) in ELEMENTS.items():
        chosen = np.flatnonzero(lines.element == element)
        if not len(chosen):
            continue
        once = ionisation(gas.temperature, gas.electrons, first)
        twice = ionisation(gas.temperature, gas.electrons, second)
        neutral = -np.log10(1 + once * (1 + twice))
        stages = np.stack([neutral, neutral + np.log10(once)], 1)
        stages = stages - np.log10(np.array(PARTITION[element], float))
        metals = np.zeros_like(fe_h) if element == "He" else fe_h
        found[:, chosen] = (stages + (abundance + metals)[:, None])[
            :, lines.ion[chosen]
        ]
    return found - theta * lines.energy


def _line_strengths(
    gas: Photosphere, fe_h: np.ndarray, lines: LineList
) -> tuple[np.ndarray, np.ndarray]:
    """Centre opacity over the continuum's, and the damping parameter, both [k, n]."""
    continuum = _log_interpolate(gas.wavelength, gas.opacity, lines.wavelength)
    log_number = _populations(gas, fe_h, lines) + lines.log_gf
    doppler = _TURBULENCE * np.sqrt(0.5 + 0.5 * gas.temperature / 6000.0)[:, None]
    cross = _CLASSICAL * lines.wavelength * 1e-8 / np.sqrt(np.pi) / doppler
    stimulated = -np.expm1(-SECOND / (lines.wavelength * gas.temperature[:, None]))
    centre = 10**log_number * cross * stimulated / continuum
    density = (gas.pressure / (1.38e-16 * gas.temperature))[:, None]
    # Without molecular hydrogen the pressure of M dwarfs would be too high.
    density = np.minimum(density, 3.5e17)
    broad = np.array([_DAMPING.get(e, 1.0) for e in lines.element.tolist()])
    rate = 2e8 + 1.2e-8 * broad * density * (gas.temperature[:, None] / 1e4) ** 0.3
    damping = rate * lines.wavelength * 1e-8 / (4 * np.pi * 2.998e10 * doppler)
    return centre, damping


def _narrow(gas: Photosphere, fe_h: np.ndarray, lines: LineList) -> np.ndarray:
    """Opacity of the cores of lines over the continuum's, [k, l] (curve of growth)."""
    centre, _ = _line_strengths(gas, fe_h, lines)
    doppler = _TURBULENCE * np.sqrt(0.5 + 0.5 * gas.temperature / 6000.0)[:, None]
    linear = np.sqrt(np.pi) * centre
    flat = 2 * np.sqrt(np.log(2 + centre))
    width = doppler * linear * flat / np.hypot(linear, flat)  # over the wavelength
    offsets = np.arange(-4, 5)
    place = np.log(lines.wavelength / WAVELENGTH[0]) / STEP
    nearest = np.round(place).astype(int)
    rows = np.repeat(np.arange(len(lines)), len(offsets))
    columns = (nearest[:, None] + offsets).ravel()
    x = (columns - place[rows]) * STEP / _CORE
    shape = np.exp(-0.5 * x * x) / (np.sqrt(2 * np.pi) * _CORE)
    inside = (columns >= 0) & (columns < len(_OPTICAL))
    spread = sparse.csr_matrix(
        (shape[inside], (rows[inside], columns[inside])),
        shape=(len(lines), len(WAVELENGTH)),
    )
    return np.asarray((spread.T @ width.T).T)


def _wings(gas: Photosphere, fe_h: np.ndarray, lines: LineList) -> np.ndarray:
    """Opacity of the damping wings of strong lines over the continuum's, [k, l]."""
    centre, damping = _line_strengths(gas, fe_h, lines)
    offset = np.log(WAVELENGTH / lines.wavelength[:, None])
    shape = 1 / ((offset / _TURBULENCE) ** 2 + (_CORE / _TURBULENCE) ** 2)
    return (centre * damping / np.sqrt(np.pi)) @ shape


def _haze(gas: Photosphere, fe_h: np.ndarray) -> np.ndarray:
    """Lines too many to list, as a smooth opacity over the continuum's, [k, l].

    Follows neutral iron's population at 1.5 eV as a saturated line does (power 0.4) and
    falls steeply to the red; its height is set by the colours of stars in SDSS, and so
    is its rise in cool stars, where molecules come in.
    """
    line = LineList(*(np.array([v]) for v in (3600.0, 1.5, -1.0, "Fe", 0)))
    centre, _ = _line_strengths(gas, fe_h, line)
    slope = np.minimum(WAVELENGTH / 3600.0, 4.0) ** -7.0
    cool = 10 ** (0.45 * np.clip((4800.0 - gas.temperature) / 1100.0, 0.0, 1.0))
    return 0.044 * cool[:, None] * np.minimum(centre, 1e4) ** 0.4 * slope


def star_spectra(
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k l"]:
    """Fluxes per unit wavelength on `WAVELENGTH`, 1 at 6,200 Angstrom, float32 [k, l].

    Args:
        teff: effective temperature in Kelvin, 2,800-25,000, [k].
        log_g: log10 of the gravity in cm/s2, 0-8.5, [k].
        fe_h: log10 of metals over the Sun's; -9 for white dwarfs without any, [k].
    """
    # Light that lines block warms the gas below them (Gray 2005, chapter 9).
    warm = 0.075 * np.interp(teff, _WARMED, (0.6, 0.8, 1.0, 1.0, 0.0))
    warm = warm * 10 ** (0.3 * fe_h)
    gas = photosphere(teff * (1 + warm), log_g, fe_h, _coarse())
    strong, weak = strong_lines(), weak_lines()
    eta = _hydrogen_lines(gas)
    eta += _narrow(gas, fe_h, strong) + _narrow(gas, fe_h, weak)
    eta += _wings(gas, fe_h, strong) + _haze(gas, fe_h)
    eta += band_strengths(teff, log_g, fe_h) @ band_profiles(WAVELENGTH)
    continuum = _log_interpolate(gas.wavelength, gas.flux, WAVELENGTH)
    floor = planck(WAVELENGTH, _SURFACE * teff[:, None])
    floor = np.minimum(floor / continuum, 0.9)
    flux = continuum * (floor + (1 - floor) / (1 + eta))
    at = np.searchsorted(WAVELENGTH, 6200.0)
    return (flux / flux[:, at : at + 1]).astype(np.float32)
