# SPDX-License-Identifier: MIT
"""The library of quasars, and the forest of absorption in front of them.

Broken power laws with the emission lines of Vanden Berk et al. 2001 (table 2), iron
(Vestergaard and Wilkes 2001 as broad humps), the Balmer continuum, hot dust (Glikman et
al. 2006), light of the host galaxy at low luminosity, and dust of the Small Magellanic
Cloud in some (Hopkins et al. 2004). The narrow lines of the luminous are weaker, and so
are the broad ones (Baldwin 1977).

Not realistic: lines do not shift against each other; no broad absorption, no damped
systems; the host is one old population.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from aion.mocksky.cosmology import distance_modulus, volume_density
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.grids import OBSERVED
from aion.mocksky.igm import LYMAN_ALPHA
from aion.mocksky.star_spectra import WAVELENGTH as STAR_WAVELENGTH
from aion.mocksky.star_spectra import star_spectra
from aion.mocksky.tracks import seen_fluxes

_TABLE = Path(__file__).parent / "tables" / "quasar_weights.npz"
SIZE = 216
STEP = 2e-4
REDSHIFTS = np.expm1(np.linspace(np.log1p(0.05), np.log1p(5.0), 560))
"""Grid of redshifts, equidistant in ln(1 + z)."""

_FINE = 480.0 * np.exp(STEP * np.arange(15_850))
_COARSE = _FINE[-1] * np.exp(2e-3 * np.arange(1, 1_680))
WAVELENGTH = np.concatenate([_FINE, _COARSE])
"""Rest wavelengths, vacuum, Angstrom."""

BROAD = (  # wavelength, equivalent width and sigma in Angstrom
    (1033.03, 9.77, 7.76),  # O VI, Ly beta
    (1216.25, 92.91, 19.46),  # Ly alpha
    (1239.85, 18.0, 7.0),  # N V: deblended, larger than the peak's width in table 2
    (1305.42, 1.66, 5.42),  # O I, Si II
    (1396.76, 8.13, 14.26),  # Si IV, O IV]
    (1546.15, 23.78, 14.33),  # C IV
    (1637.84, 2.5, 12.0),  # He II
    (1905.97, 21.19, 23.58),  # C III], Si III]
    (2800.26, 32.28, 34.95),  # Mg II
    (4103.73, 5.05, 18.62),  # H delta
    (4346.42, 12.62, 20.32),  # H gamma
    (4862.68, 46.21, 40.44),  # H beta
    (5877.41, 4.94, 23.45),  # He I
    (6564.93, 194.52, 47.39),  # H alpha
)
"""Broad lines of the composite."""

NARROW = (
    (3729.66, 1.56, 3.32),  # [O II]
    (3869.77, 1.38, 5.31),  # [Ne III]
    (4960.36, 3.5, 3.85),  # [O III]
    (5008.22, 13.23, 6.04),  # [O III]
    (6549.9, 0.7, 4.0),  # [N II]
    (6585.3, 2.02, 4.0),  # [N II]
    (6718.3, 1.65, 5.0),  # [S II]
    (6732.7, 1.49, 5.0),  # [S II]
)
"""Narrow lines of the composite, as broad as there."""

_IRON = ((2080.0, 60.0, 6.0), (2240.0, 70.0, 12.0), (2420.0, 90.0, 16.0))
_IRON += ((2550.0, 60.0, 8.0), (2950.0, 90.0, 6.0), (3200.0, 110.0, 8.0))
_IRON += ((4570.0, 55.0, 9.0), (5190.0, 60.0, 7.0), (5320.0, 50.0, 6.0))
BREAK = 4661.0  # Vanden Berk et al. 2001, section 4


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the spectra are made of, arrays [k]: see `quasar_family`."""

    slope: np.ndarray
    lines: np.ndarray
    iron: np.ndarray
    host: np.ndarray
    reddening: np.ndarray
    dust: np.ndarray
    absolute: np.ndarray


def _rows() -> _Rows:
    """Low-discrepancy draws: the library is even over what there is."""
    cube = qmc.Halton(7, seed=3).random(SIZE)
    from scipy.special import ndtri

    normal = ndtri(np.clip(cube, 1e-3, 1 - 1e-3))
    absolute = -23.4 + 1.35 * normal[:, 0]
    faint = np.clip((absolute + 23.6) / 2.6, 0.0, 1.0)
    baldwin = 10 ** (0.05 * (absolute + 23.4))
    red = np.where(cube[:, 4] < 0.75, 0.02 * cube[:, 4], 0.16 * (cube[:, 4] - 0.75) / 0.25)
    return _Rows(
        slope=-1.56 + 0.24 * normal[:, 1],
        lines=baldwin * np.exp(0.3 * normal[:, 2]),
        iron=np.exp(0.45 * normal[:, 3]),
        host=faint * (0.15 + 1.15 * cube[:, 5]),
        reddening=red,
        dust=np.exp(0.3 * normal[:, 6]),
        absolute=absolute,
    )


def _continuum(slope: np.ndarray) -> Float[np.ndarray, "k l"]:
    """Per unit wavelength, 1 at the break; softer beyond Ly alpha, flat in the red."""
    x = WAVELENGTH / BREAK
    blue = x ** slope[:, None]
    red = x ** (0.5 * slope[:, None] - 0.45)
    flux = np.where(x < 1.0, blue, red)
    edge = LYMAN_ALPHA / BREAK
    hard = edge ** slope[:, None] * (x / edge) ** (slope[:, None] + 1.0)
    return np.where(x < edge, hard, flux)


def _gaussians(lines: tuple[tuple[float, ...], ...]) -> Float[np.ndarray, "n l"]:
    """Lines over the continuum at their place, with the equivalent widths given."""
    rows = []
    for line, width, sigma in lines:
        shape = np.exp(-0.5 * ((WAVELENGTH - line) / sigma) ** 2)
        rows.append(width / (sigma * np.sqrt(2 * np.pi)) * shape)
    return np.array(rows)


def _balmer_continuum() -> Float[np.ndarray, " l"]:
    """Optically thin Balmer recombination, over the continuum at its edge."""
    edge = 3646.0
    below = np.exp(-1.2 * np.maximum(edge - WAVELENGTH, 0.0) / edge * 3.0)
    fall = 1.0 / (1.0 + np.exp(np.clip((WAVELENGTH - edge - 60.0) / 60.0, -50, 50)))
    return 0.18 * below * fall * (WAVELENGTH > 1200.0)


def _hot_dust() -> Float[np.ndarray, " l"]:
    """A black body of 1,300 K and a power law beyond, over the break's continuum."""
    x = 1.438777e8 / (WAVELENGTH * 1300.0)
    planck = (WAVELENGTH / 22_000.0) ** -5.0 / np.expm1(np.minimum(x, 300.0))
    planck /= planck.max()
    warm = (np.maximum(WAVELENGTH, 1e4) / 40_000.0) ** -1.2
    warm *= 1.0 / (1.0 + np.exp(np.clip(-(WAVELENGTH - 30_000.0) / 8_000.0, -50, 50)))
    return 0.34 * planck + 0.13 * warm


def _host() -> Float[np.ndarray, " l"]:
    """Giants and dwarfs of an old population, 1 at 5,500 Angstrom."""
    teff, share = np.array([4900.0, 4300.0, 5500.0, 6100.0]), (0.45, 0.2, 0.25, 0.1)
    spectra = star_spectra(teff, np.array([2.8, 1.8, 4.4, 4.3]), np.full(4, -0.1))
    total = np.zeros(len(WAVELENGTH))
    for part, flux in zip(share, spectra, strict=True):
        seen = np.interp(WAVELENGTH, STAR_WAVELENGTH, flux, left=0.0)
        total += part * seen / np.interp(5500.0, STAR_WAVELENGTH, flux)
    return total


def _smc(wavelength: np.ndarray) -> np.ndarray:
    """A / E(B-V) of the SMC bar: 1.39 (wavelength / micron)^-1.2 (Richards 2003)."""
    return 1.39 * (wavelength / 1e4) ** -1.2


def build_spectra(rows: _Rows) -> Float[np.ndarray, "k l"]:
    """Spectra before the intergalactic medium, 1 at the break without host."""
    column = {name: value[:, None] for name, value in vars(rows).items()}
    continuum = _continuum(rows.slope)
    over = column["lines"] * _gaussians(BROAD).sum(0)
    over = over + column["iron"] * (_gaussians(_IRON).sum(0) + _balmer_continuum())
    over = over + 0.8 * column["lines"] * _gaussians(NARROW).sum(0)
    flux = continuum * (1.0 + over)
    flux *= 10 ** (-0.4 * column["reddening"] * _smc(WAVELENGTH))
    flux += column["dust"] * _hot_dust()
    return flux + column["host"] * _host()


@lru_cache(maxsize=1)
def quasar_family() -> Family:
    """Quasars; parameters by name, [k]:

    `slope` (of flux per unit wavelength in the ultraviolet), `lines` and `iron`
    (strengths over the composite's), `host` (its light over the quasar's at 5,500
    Angstrom), `reddening` (E(B-V), mag), `dust` (hot dust over the mean), `absolute`
    (AB at 2,500 Angstrom at z = 0, mag). Quasars were brighter at high redshift, as
    in Richards et al. 2006: 1.6 mag per unit of z up to 1.9.
    """
    rows = _rows()
    flux = build_spectra(rows)
    at = np.argmin(np.abs(WAVELENGTH - 2500.0))
    flux /= flux[:, [at]]
    seen = seen_fluxes(WAVELENGTH, flux.astype(np.float32), REDSHIFTS, (REFERENCE,))
    nanomaggies = 1e-17 * 2500.0**2 / 2.99792458e18 / 3.6307805e-29
    correction = -2.5 * np.log10(seen[0, :, :, 0] / nanomaggies / (1 + REDSHIFTS))
    brighter = -1.6 * np.minimum(REDSHIFTS, 1.9)
    density = volume_density(REDSHIFTS) * np.exp(-0.5 * ((REDSHIFTS - 2.3) / 1.0) ** 2)
    density = density / np.trapezoid(density, np.log1p(REDSHIFTS))
    with np.load(_TABLE) as table:
        weight = table["weight"].astype(np.float64)
    return Family(
        kind="QSO",
        wavelength=WAVELENGTH,
        flux=flux.astype(np.float32),
        weight=weight / weight.sum(),
        novel=_novel(rows),
        redshift=REDSHIFTS,
        redshift_density=np.broadcast_to(density, (SIZE, len(REDSHIFTS))).copy(),
        magnitude_mean=rows.absolute[:, None]
        + brighter
        + distance_modulus(REDSHIFTS)
        + correction,
        magnitude_sigma=np.full(SIZE, 0.6),
        parameters=dict(vars(rows)),
    )


def _novel(rows: _Rows) -> np.ndarray:
    """The tenth with the strongest iron."""
    return rows.iron > np.quantile(rows.iron, 0.9)


def forest(
    rng: np.random.Generator,
    redshift: Float[np.ndarray, " b"],
    wavelength: Float[np.ndarray, " l"] = OBSERVED,
) -> Float[np.ndarray, "b l"]:
    """Fluctuations of the Lyman alpha forest about its mean transmission, of mean 1.

    A lognormal gas density of correlation length 100 km/s gives the optical depth tau =
    a d^1.6 (fluctuating Gunn-Peterson, Bi and Davidsen 1997); its transmission is
    divided by its mean, so that band fluxes do not change on average.

    Args:
        rng: dice.
        redshift: of the quasars.
        wavelength: observed, Angstrom; equidistant in ln(wavelength) in the forest.
    """
    field = np.ones((len(redshift), len(wavelength)))
    step = np.log(wavelength[1] / wavelength[0])
    taps = np.exp(-0.5 * (np.arange(-12, 13) * step / 3.3e-4) ** 2)
    taps /= np.sqrt(np.sum(taps**2))
    for row, z in enumerate(redshift.tolist()):
        absorbed = np.searchsorted(wavelength, LYMAN_ALPHA * (1 + z))
        if absorbed < 50:
            continue
        noise = np.convolve(rng.standard_normal(absorbed + 24), taps, "valid")
        sigma = 1.3
        density = np.exp(sigma * noise - 0.5 * sigma**2)
        place = wavelength[:absorbed] / LYMAN_ALPHA
        tau = 0.42 * (place / 4.0) ** 3.4 * density**1.6
        through = np.exp(-tau)
        width = 400
        mean = np.convolve(np.pad(through, width, "reflect"), np.ones(2 * width + 1))
        mean = mean[2 * width : 2 * width + absorbed] / (2 * width + 1)
        field[row, :absorbed] = through / np.maximum(mean, 1e-3)
    return field
