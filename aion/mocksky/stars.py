# SPDX-License-Identifier: MIT
"""The library of stars: dwarfs B to M, giants, blue horizontal branch, hot dwarfs.

A spectrum is a black body behind the lines and bands of `star_lines` and the Balmer
jump, bent by a smooth curve until its ugriz colours are those of the stellar locus
(medians of SDSS's spectroscopic stars by g - r, table `_LOCUS`). Metal-poor stars are
bluer in u - g (Ivezic et al. 2008). Absolute magnitudes follow Juric et al. 2008,
temperatures Fukugita et al. 2011 where these give them.

Not realistic: continua between the bands, anything beyond 1.1 micron but its slope, no
binaries, no emission, no carbon stars; the bend is one curve for all lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aion.instrument import BANDS
from aion.mocksky.family import Family
from aion.mocksky.grids import OBSERVED, STEP
from aion.mocksky.responses import band_fluxes
from aion.mocksky.star_lines import (
    band_depth,
    hydrogen_depth,
    hydrogen_strength,
    metal_depth,
)

_TABLE = Path(__file__).parent / "tables" / "star_weights.npz"
_MORE = 100
WAVELENGTH = np.concatenate(
    [OBSERVED[0] * np.exp(STEP * np.arange(-_MORE, 0)), OBSERVED]
)
"""Rest wavelengths, vacuum, Angstrom: `grids.OBSERVED` and 1 % more in the blue."""

POPULATIONS = ("thin disk", "thick disk", "halo")
"""In the order of the parameter `population`."""
_MODULUS = ((9.0, 1.9), (11.2, 1.7), (13.6, 1.9))  # mean and sigma, mag
_BANDS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")

# g - r: u - g, r - i, i - z at [Fe/H] = -0.9, and the temperature of dwarfs.
_LOCUS = np.array(
    [
        (-0.50, -0.30, -0.35, -0.33, 26000.0),
        (-0.35, 0.35, -0.27, -0.22, 14500.0),
        (-0.20, 1.02, -0.165, -0.12, 10500.0),
        (-0.10, 1.17, -0.11, -0.09, 9300.0),
        (-0.02, 1.19, -0.06, -0.066, 8700.0),
        (0.114, 1.08, 0.005, -0.033, 7850.0),
        (0.218, 0.97, 0.072, 0.005, 7150.0),
        (0.30, 0.94, 0.115, 0.031, 6600.0),
        (0.396, 1.08, 0.149, 0.055, 6060.0),
        (0.515, 1.31, 0.193, 0.085, 5570.0),
        (0.588, 1.50, 0.223, 0.111, 5320.0),
        (0.686, 1.70, 0.261, 0.141, 5040.0),
        (0.804, 1.94, 0.304, 0.165, 4780.0),
        (0.961, 2.28, 0.344, 0.196, 4500.0),
        (1.205, 2.50, 0.46, 0.27, 4150.0),
        (1.35, 2.60, 0.60, 0.34, 3900.0),
        (1.42, 2.60, 0.90, 0.50, 3650.0),
        (1.45, 2.55, 1.20, 0.66, 3400.0),
        (1.50, 2.50, 1.60, 0.90, 3150.0),
        (1.60, 2.50, 2.10, 1.15, 2850.0),
    ]
)
# Hydrogen-atmosphere white dwarfs and hot subdwarfs.
_HOT_LOCUS = np.array(
    [
        (-0.55, -0.42, -0.38, -0.36, 32000.0),
        (-0.40, -0.15, -0.295, -0.285, 17000.0),
        (-0.30, 0.10, -0.25, -0.25, 13500.0),
        (-0.20, 0.32, -0.20, -0.20, 11500.0),
        (-0.05, 0.45, -0.12, -0.15, 10000.0),
        (0.10, 0.40, -0.02, -0.08, 8700.0),
        (0.25, 0.48, 0.06, -0.02, 7600.0),
    ]
)
# g - r: M_r of dwarfs of solar metallicity; of giants.
_DWARFS = np.array(
    [(-0.5, -1.0), (-0.2, 0.9), (0.0, 1.7), (0.2, 3.0), (0.3, 3.7), (0.4, 4.3)]
    + [(0.5, 4.9), (0.6, 5.5), (0.7, 6.0), (0.8, 6.4), (0.96, 7.0), (1.2, 7.9)]
    + [(1.35, 8.6), (1.42, 9.7), (1.45, 11.0), (1.5, 12.6), (1.6, 14.5)]
)
_GIANTS = np.array([(0.4, 3.0), (0.55, 2.0), (0.7, 0.6), (0.9, -0.6), (1.3, -2.2)])
_BLANKETING = 0.17
"""Change of u - g with [Fe/H] near g - r = 0.5, mag per dex."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the spectra of the library are made of, arrays [k]."""

    colour: np.ndarray
    fe_h: np.ndarray
    log_g: np.ndarray
    absolute: np.ndarray
    population: np.ndarray
    sequence: np.ndarray

    @classmethod
    def of(
        cls,
        colour: np.ndarray,
        fe_h: float,
        log_g: np.ndarray,
        absolute: np.ndarray,
        population: int,
        sequence: int,
    ) -> "_Rows":
        full = np.ones(len(colour))
        numbers = (full * population, full * sequence)
        return cls(colour, full * fe_h, log_g * full, absolute * full, *numbers)


SEQUENCES = ("dwarf", "giant", "horizontal branch", "hot subdwarf", "white dwarf")
"""In the order of the parameter `sequence`."""


def _rows() -> _Rows:
    parts = []
    dwarfs = np.concatenate([np.linspace(-0.25, 1.3, 38), [1.36, 1.40, 1.43, 1.45]])
    dwarfs = np.concatenate([dwarfs, [1.47, 1.5, 1.55, 1.6]])
    for fe_h, population in ((-2.0, 2), (-1.3, 2), (-0.8, 1), (-0.3, 0), (0.2, 0)):
        faint = 0.55 * max(-0.3 - fe_h, 0.0) * np.clip(dwarfs / 0.3, 0.0, 1.0)
        absolute = np.interp(dwarfs, *_DWARFS.T) + faint
        gravity = np.interp(dwarfs, [-0.2, 0.4, 1.0, 1.6], [4.1, 4.3, 4.6, 5.1])
        parts.append(_Rows.of(dwarfs, fe_h, gravity, absolute, population, 0))
    giants = np.linspace(0.45, 1.25, 17)
    for fe_h, population in ((-1.6, 2), (-0.7, 1), (-0.1, 0)):
        gravity = np.interp(giants, [0.45, 1.25], [3.2, 1.0])
        absolute = np.interp(giants, *_GIANTS.T)
        parts.append(_Rows.of(giants, fe_h, gravity, absolute, population, 1))
    branch = np.linspace(-0.28, 0.06, 12)
    for fe_h in (-1.9, -1.3):
        parts.append(_Rows.of(branch, fe_h, np.array(3.3), np.array(0.7), 2, 2))
    hot = np.linspace(-0.55, -0.32, 8)
    parts.append(_Rows.of(hot, -0.5, np.array(5.6), np.array(4.4), 1, 3))
    white = np.linspace(-0.55, 0.25, 28)
    absolute = np.interp(white, [-0.55, -0.3, 0.0, 0.25], [9.6, 11.2, 12.3, 13.2])
    parts.append(_Rows.of(white, -0.5, np.array(8.0), absolute, 0, 4))
    names = _Rows.__dataclass_fields__
    return _Rows(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def _locus(rows: _Rows) -> dict[str, np.ndarray]:
    """Colours and temperature of each row."""
    hot = rows.sequence >= SEQUENCES.index("hot subdwarf")
    found = {}
    for place, name in enumerate(("u_g", "r_i", "i_z", "teff"), 1):
        cold = np.interp(rows.colour, _LOCUS[:, 0], _LOCUS[:, place])
        warm = np.interp(rows.colour, _HOT_LOCUS[:, 0], _HOT_LOCUS[:, place])
        found[name] = np.where(hot, warm, cold)
    poor = np.interp(rows.colour, [0.0, 0.25, 0.6, 1.0, 1.3], [0.0, 0.6, 1.0, 0.7, 0.0])
    shift = _BLANKETING * poor * (rows.fe_h + 0.9)
    found["u_g"] = found["u_g"] + np.where(hot, 0.0, shift)
    giant = rows.sequence == SEQUENCES.index("giant")
    found["teff"] = np.where(giant, found["teff"] - 150.0, found["teff"])
    return found


def _bare(rows: _Rows, teff: np.ndarray) -> Float[np.ndarray, "k l"]:
    """Spectra before they are bent onto the locus, per unit wavelength."""
    x = 1.438777e8 / (WAVELENGTH * teff[:, None])
    planck = 1.0 / (WAVELENGTH / 5000.0) ** 5 / np.expm1(np.minimum(x, 300.0))
    jump = 1.1 * hydrogen_strength(teff)[:, None]
    blue = 1.0 / (1.0 + np.exp(np.clip((WAVELENGTH - 3680.0) / 25.0, -50, 50)))
    optical = (WAVELENGTH > 2900.0) & (WAVELENGTH < 11400.0)
    depth = jump * blue
    shown = WAVELENGTH[optical]
    depth[:, optical] += hydrogen_depth(shown, teff, rows.log_g)
    depth[:, optical] += metal_depth(shown, teff, rows.log_g, rows.fe_h)
    depth[:, optical] += band_depth(shown, teff, rows.log_g, rows.fe_h)
    return planck * np.exp(-np.minimum(depth, 3.5))


def _bent(flux: np.ndarray, colours: Mapping[str, np.ndarray]) -> np.ndarray:
    """Spectra times a smooth curve that gives them the colours; r stays as it is."""
    knots = np.log([BANDS[name].wavelength for name in _BANDS])
    place = np.log(WAVELENGTH)
    wanted = np.stack(
        [
            colours["u_g"] + colours["g_r"],
            colours["g_r"],
            np.zeros(len(flux)),
            -colours["r_i"],
            -colours["r_i"] - colours["i_z"],
        ],
        axis=1,
    )
    bend = np.zeros((len(flux), 5))
    basis = np.stack([np.interp(place, knots, row) for row in np.eye(5)])
    for _ in range(5):
        curve = 10 ** (-0.4 * (bend @ basis))
        seen = band_fluxes((flux * curve)[:, _MORE:].astype(np.float32), _BANDS)
        magnitudes = -2.5 * np.log10(seen)
        bend += wanted - (magnitudes - magnitudes[:, 2:3])
    return flux * 10 ** (-0.4 * (bend @ basis))


def _novel(rows: _Rows) -> np.ndarray:
    """Old disk dwarfs of middle colour, metal-rich giants, cool white dwarfs."""
    dwarfs = (rows.sequence == 0) & (rows.fe_h == -0.8) & (rows.colour > 0.6)
    giants = (rows.sequence == 1) & (rows.population == 0)
    white = (rows.sequence == 4) & (rows.colour > 0.05)
    return (dwarfs & (rows.colour < 1.2)) | giants | white


@lru_cache(maxsize=1)
def star_family() -> Family:
    """Stars; parameters by name, [k]:

    `teff` (K), `log_g` (dex of cm/s2), `fe_h` (dex), `g_r` (SDSS, mag),
    `absolute_magnitude` (AB in DES-R), `population` (index into `POPULATIONS`),
    `sequence` (index into `SEQUENCES`). Magnitudes given a spectrum are Gaussian
    because distance moduli of a population are taken to be.
    """
    rows = _rows()
    locus = _locus(rows)
    bare = _bare(rows, locus["teff"])
    flux = _bent(bare, locus | {"g_r": rows.colour})
    flux /= flux[:, [np.argmin(np.abs(WAVELENGTH - 6200.0))]]
    mean, sigma = np.array(_MODULUS)[rows.population.astype(int)].T
    near = rows.sequence == SEQUENCES.index("white dwarf")
    mean, sigma = np.where(near, 6.3, mean), np.where(near, 1.3, sigma)
    with np.load(_TABLE) as table:
        weight = table["weight"].astype(np.float64)
    return Family(
        kind="STAR",
        wavelength=WAVELENGTH,
        flux=flux.astype(np.float32),
        weight=weight / weight.sum(),
        novel=_novel(rows),
        redshift=np.zeros(1),
        redshift_density=np.ones((len(flux), 1)),
        magnitude_mean=(rows.absolute + mean)[:, None],
        magnitude_sigma=sigma,
        parameters={
            "teff": locus["teff"],
            "log_g": rows.log_g,
            "fe_h": rows.fe_h,
            "g_r": rows.colour,
            "absolute_magnitude": rows.absolute,
            "population": rows.population,
            "sequence": rows.sequence,
        },
    )
