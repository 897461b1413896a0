# SPDX-License-Identifier: MIT
"""Grey stellar atmospheres: continua, and the gas in which absorption lines form.

Plane-parallel, hydrostatic, in local thermodynamic equilibrium, with the temperature of
Eddington's grey solution and continuous opacity of hydrogen, its negative ion and free
electrons (Gray 2005, "The Observation and Analysis of Stellar Photospheres", chapters
8-9; negative ion bound-free: John 1988, A&A 193, 189). High levels of hydrogen dissolve
where their neighbours' fields overlap (Inglis and Teller 1939), which turns the series
limits into smooth jumps.

Not realistic: no convection, no line blanketing of the temperature, no molecular
hydrogen (M dwarfs have too high a pressure), opacity of helium and of metals is left
out (continua of B stars and white dwarfs are right within some percent in the optical).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SECOND = 1.438777e8
"""hc/k in Angstrom Kelvin."""
RYDBERG = 109_679.0e-8
"""Of hydrogen, 1/Angstrom; lowered by 1.3e-5 to the centres of its blended lines."""
_BOLTZMANN = 1.380649e-16
_HELIUM = 0.1  # by number
_GRAMS = 1.6726e-24 * 1.4  # per hydrogen nucleus
_DONORS = np.array(  # ionisation energy in eV, number over hydrogen in the Sun
    [
        (7.65, 4.0e-5),
        (8.15, 3.2e-5),
        (7.90, 3.2e-5),
        (5.14, 1.7e-6),
        (6.11, 2.2e-6),
        (5.99, 2.8e-6),
        (4.34, 1.1e-7),
    ]
)
_DEPTHS = np.geomspace(1e-5, 60.0, 34)
_FORMING = (0.35, 0.7)  # depth where lines of metals and wings of hydrogen form
_MEAN = np.geomspace(1500.0, 60000.0, 36)  # Angstrom, for the Rosseland mean
_LEVELS = np.arange(1, 8)


@dataclass(frozen=True, eq=False)
class Photosphere:
    """Axes: k stars, c wavelengths.

    Attributes:
        wavelength: Angstrom, [c].
        flux: of the continuum, per unit wavelength, arbitrary but common units, [k, c].
        opacity: continuous, per hydrogen nucleus, cm2, where lines form, [k, c].
        temperature: Kelvin, there, [k].
        electrons: electron pressure, dyn/cm2, there, [k].
        pressure: of the gas, dyn/cm2, there, [k].
        deep_opacity, deep_temperature, deep_electrons: the same where the wings of
            hydrogen's lines form.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    opacity: np.ndarray
    temperature: np.ndarray
    electrons: np.ndarray
    pressure: np.ndarray
    deep_opacity: np.ndarray
    deep_temperature: np.ndarray
    deep_electrons: np.ndarray


def planck(wavelength: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Black-body flux per unit wavelength in arbitrary units, broadcast."""
    exponent = np.minimum(SECOND / (wavelength * temperature), 200.0)
    return 1e18 * wavelength**-5.0 / np.expm1(exponent)


def ionisation(
    temperature: np.ndarray, electrons: np.ndarray, energy: float | np.ndarray
) -> np.ndarray:
    """Ionised over neutral atoms (Saha), partition functions in the ratio 1 to 2.

    Args:
        temperature: Kelvin.
        electrons: electron pressure, dyn/cm2.
        energy: of ionisation, eV.
    """
    log_ratio = 2.5 * np.log10(temperature) - 0.48 - 5040.0 / temperature * energy
    return 10**log_ratio / electrons


def electron_pressure(
    temperature: Float[np.ndarray, " k"],
    pressure: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """Electron pressure of a gas of hydrogen, helium and metals, dyn/cm2, [k].

    Args:
        temperature: Kelvin, [k].
        pressure: of the gas with its electrons, dyn/cm2, [k].
        fe_h: metals over the Sun's, dex, [k].
    """
    low, high = np.full(len(temperature), -14.0), np.log10(pressure / 2.0001)
    energies = np.concatenate([[13.6], _DONORS[:, 0]])[:, None]
    numbers = _DONORS[:, 1:] * 10**fe_h
    numbers = np.concatenate([np.ones((1, len(fe_h))), numbers])
    saha = ionisation(temperature, np.ones(1), energies)
    for _ in range(30):
        middle = (low + high) / 2
        electrons = 10**middle
        free = (numbers * saha / (saha + electrons)).sum(0)
        supplied = (pressure - electrons) / (1 + _HELIUM) * free
        low = np.where(supplied > electrons, middle, low)
        high = np.where(supplied > electrons, high, middle)
    return 10 ** ((low + high) / 2)


def level_survival(
    level: np.ndarray, temperature: np.ndarray, electrons: np.ndarray
) -> np.ndarray:
    """Fraction of hydrogen's level n that its neighbours' fields leave bound.

    Inglis and Teller: log Ne = 23.26 - 7.5 log n at the last level, made smooth; 23.6
    here, for the eighth Balmer line is seen in white dwarfs of SDSS.
    """
    density = electrons / (_BOLTZMANN * temperature)
    last = 10 ** ((23.6 - np.log10(density)) / 7.5)
    return 1 / (1 + (level / last) ** 9)


def _negative_ion(wavelength, temperature, electrons):
    """Opacity of H- per neutral hydrogen atom, cm2: bound-free and free-free."""
    micron = wavelength / 1e4
    inverse = np.maximum(1 / micron - 1 / 1.6419, 0.0)
    series = np.zeros_like(inverse)
    for power, c in enumerate((152.519, 49.534, -118.858, 92.536, -34.194, 4.982)):
        series = series + c * inverse ** (power / 2)
    cross = 1e-18 * micron**3 * inverse**1.5 * np.maximum(series, 0.0)
    bound = 0.750 * temperature**-2.5 * np.exp(1.439e4 / (1.6419 * temperature))
    x = np.log10(np.clip(wavelength, 2600.0, 113_900.0))
    f0 = -2.2763 - 1.6850 * x + 0.76661 * x**2 - 0.0533464 * x**3
    f1 = 15.2827 - 9.2846 * x + 1.99381 * x**2 - 0.142631 * x**3
    f2 = -197.789 + 190.266 * x - 67.9775 * x**2 + 10.6913 * x**3 - 0.625151 * x**4
    theta = np.log10(np.clip(5040.0 / temperature, 0.4, 2.2))
    far = np.maximum(wavelength / 113_900.0, 1.0) ** 2
    free = 1e-26 * far * 10 ** (f0 + f1 * theta + f2 * theta**2)
    stimulated = -np.expm1(-SECOND / (wavelength * temperature))
    return electrons * (bound * cross * stimulated + free)


def _hydrogen(wavelength, temperature, electrons):
    """Opacity of neutral hydrogen per atom, cm2: Kramers, limits made smooth."""
    theta = 5040.0 / temperature
    total = 1.0443e-26 * wavelength**3 * 10 ** (-theta * 13.6) / (4.6052 * theta * 13.6)
    for n in _LEVELS:
        upper = np.sqrt(1 / np.maximum(1 / n**2 - 1 / (RYDBERG * wavelength), 1e-6))
        dissolved = 1 - level_survival(upper, temperature, electrons)
        dissolved = np.where(RYDBERG * wavelength < n**2, 1.0, dissolved)
        # Beyond n + 1 there is no line of the series left to dissolve.
        dissolved = np.where(upper < n + 1, 0.0, dissolved)
        energy = 13.6 * (1 - 1 / n**2)
        total = total + 1.0449e-26 * wavelength**3 / n**3 * dissolved * 10 ** (
            -theta * energy
        )
    stimulated = -np.expm1(-SECOND / (wavelength * temperature))
    return total * stimulated


def opacity(
    wavelength: Float[np.ndarray, " c"],
    temperature: Float[np.ndarray, " k"],
    electrons: Float[np.ndarray, " k"],
    pressure: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k c"]:
    """Continuous opacity per hydrogen nucleus, cm2, [k, c].

    Args:
        wavelength: Angstrom, [c].
        temperature, electrons, pressure: Kelvin, dyn/cm2, [k].
    """
    t, e, p = temperature[:, None], electrons[:, None], pressure[:, None]
    neutral = 1 / (1 + ionisation(t, e, 13.6))
    rayleigh = 5.8e-13 / wavelength**4 * (1 + (1240.0 / wavelength) ** 2)
    per_atom = _negative_ion(wavelength, t, e) + _hydrogen(wavelength, t, e)
    electron = 6.65e-25 * e / (p - e) * (1 + _HELIUM)
    return neutral * (per_atom + rayleigh) + electron


def _temperatures(teff: np.ndarray, depth: float) -> np.ndarray:
    """Eddington's solution with a Hopf function that falls to the surface: line
    cooling, as in models of Kurucz (1979, ApJS 40, 1)."""
    hopf = 0.71 - 0.30 * np.exp(-5.0 * depth)
    return teff * (0.75 * (depth + hopf)) ** 0.25


def _rosseland(temperature, electrons, pressure) -> np.ndarray:
    x = np.minimum(SECOND / (_MEAN * temperature[:, None]), 150.0)
    weight = x**4 * np.exp(-x) / np.expm1(-x) ** 2 / _MEAN  # dB/dT per ln wavelength
    kappa = opacity(_MEAN, temperature, electrons, pressure)
    return weight.sum(1) / (weight / kappa).sum(1)


def photosphere(
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
    wavelength: Float[np.ndarray, " c"],
) -> Photosphere:
    """Continua of stars and the state of the gas where their lines form.

    Args:
        teff: effective temperature in Kelvin, [k].
        log_g: log10 of the gravity in cm/s2, [k].
        fe_h: log10 of metals over the Sun's, [k].
        wavelength: Angstrom, [c].
    """
    gravity = 10**log_g * _GRAMS
    pressure = gravity * _DEPTHS[0] / 1e-26
    optical = np.zeros((len(teff), len(wavelength)))
    flux, before, seen_before = (np.zeros_like(optical) for _ in range(3))
    step = np.log(_DEPTHS[1] / _DEPTHS[0])
    states = []
    for place, depth in enumerate(_DEPTHS):
        temperature = _temperatures(teff, float(depth))
        for _ in range(3 if place == 0 else 1):
            electrons = electron_pressure(temperature, pressure, fe_h)
            mean = _rosseland(temperature, electrons, pressure)
            if place == 0:
                pressure = gravity * depth / mean
        states.append((temperature, electrons, pressure))
        kappa = opacity(wavelength, temperature, electrons, pressure)
        ratio = kappa / mean[:, None] * depth
        optical = ratio if place == 0 else optical + step * (ratio + before) / 2
        # Emergent flux = 2 int S E2 dt, by the trapezoid rule in the depth's logarithm.
        seen = planck(wavelength, temperature[:, None]) * _exponential2(optical)
        if place:
            flux = flux + step * (seen * ratio + seen_before * before)
        before, seen_before = ratio, seen
        # The next pressure from a step of d ln P / d ln depth, implicit in the mean.
        grown = pressure + gravity * depth / mean * step
        pressure = grown + 0.5 * gravity * depth / mean * step**2
    lines, deep = (states[int(np.argmin(np.abs(_DEPTHS - x)))] for x in _FORMING)
    return Photosphere(
        wavelength=wavelength,
        flux=flux,
        opacity=opacity(wavelength, *lines),
        temperature=lines[0],
        electrons=lines[1],
        pressure=lines[2],
        deep_opacity=opacity(wavelength, *deep),
        deep_temperature=deep[0],
        deep_electrons=deep[1],
    )


def _exponential2(t: np.ndarray) -> np.ndarray:
    """Exponential integral E2 within 1 %: exp(-t) (1 - t exp(t) E1(t))."""
    small = np.exp(-t)
    # t exp(t) E1(t) of Abramowitz and Stegun 5.1.54, extended to small t by a fit.
    large = (t * t + 2.334733 * t + 0.250621) / (t * t + 3.330657 * t + 1.681534)
    little = -np.log(np.maximum(t, 1e-12)) - 0.57721566 + t - t**2 / 4 + t**3 / 18
    little = little - t**4 / 96 + t**5 / 600
    body = np.where(t < 1.0, t * little * np.exp(np.minimum(t, 1.0)), large)
    return small * (1 - body)
