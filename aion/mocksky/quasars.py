# SPDX-License-Identifier: MIT
"""Quasars by luminosity and redshift, and the forest of absorption in front of them.

The luminosity function is Ross et al. 2013's (ApJ 773, 14): pure luminosity evolution
up to z = 2.2, then their evolution of luminosity and density. The library is even in
absolute magnitude and holds a Gaussian of 0.3 mag about each; weights and p(z) of its
rows are the luminosity function times the volume, cut where a quasar would be fainter
than 23rd magnitude, times smooth corrections fitted to SDSS's quasars
(`tables/quasar_weights.npz`). Spectra are those of `quasar_spectra`: the luminous have
weaker lines (Baldwin 1977, ApJ 214, 679) and less of a host, whose own light does not
depend on the quasar's. Reddening has a tail (Hopkins et al. 2004, AJ 128, 1112).
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from aion.mocksky.cosmology import distance_modulus, volume_density
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.grids import OBSERVED
from aion.mocksky.igm import LYMAN_ALPHA
from aion.mocksky.quasar_spectra import WAVELENGTH, QuasarRows, quasar_spectra
from aion.mocksky.responses import TABLES
from aion.mocksky.threads import one_thread
from aion.mocksky.tracks import seen_fluxes

_TABLE = TABLES / "quasar_weights.npz"
SIZE = 320
REDSHIFTS = np.expm1(np.linspace(np.log1p(0.05), np.log1p(4.9), 420))
"""Grid of redshifts, equidistant in ln(1 + z)."""
BRIGHTEST, FAINTEST = -28.0, -18.4
"""Absolute magnitudes of the library at 2,500 Angstrom, AB."""
SCATTER = 0.3
"""Of a row's absolute magnitude, mag."""
_LIMIT = 23.0
_PLASTIC = 1.0850702454914507  # x**9 = x + 1
_SIGMA, _POWER = 1.4, 1.6  # of ln density; of the optical depth with density
_SCALES = ((2.6e-4, 0.75), (2e-3, 0.25))  # ln wavelength (80 and 600 km/s), variance


def luminosity_function(
    absolute: Float[np.ndarray, "..."], redshift: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Quasars per Mpc**3 and magnitude, Ross et al. 2013, broadcast.

    Args:
        absolute: AB magnitude at 2,500 Angstrom; theirs in i at z = 2 is brighter by
            2.5 log10(1 + 2).
        redshift: of the quasars.
    """
    late = np.maximum(redshift - 2.2, 0.0)
    early = np.minimum(redshift, 2.2)
    knee = -22.85 - 2.5 * (1.241 * early - 0.249 * early**2) - 0.809 * late
    below = 0.4 * (knee - absolute + 1.193)
    density = 10 ** (-5.96 - 0.689 * late)
    return density / (10 ** (2.37 * below) + 10 ** (0.16 * below))


def _rows() -> QuasarRows:
    """The library is even over what there is: points of Roberts' lattice in eight."""
    steps = _PLASTIC ** -np.arange(1.0, 9.0)
    cube = (0.5 + np.arange(1, SIZE + 1)[:, None] * steps) % 1.0
    normal = ndtri(np.clip(cube, 0.01, 0.99))
    absolute = BRIGHTEST + (FAINTEST - BRIGHTEST) * cube[:, 0]
    baldwin = 10 ** (0.05 * (absolute + 24.6))
    host = 1.2 * 10 ** (0.4 * (absolute + 21.5)) * np.exp(0.8 * normal[:, 5])
    # The faint, which SDSS finds as galaxies, may be far redder.
    faint = np.clip((absolute + 22.8) / 1.5, 0.0, 1.0)
    tail = np.maximum(cube[:, 4] - 0.7 + 0.2 * faint, 0.0) / (0.3 + 0.2 * faint)
    return QuasarRows(
        slope=-1.71 + 0.22 * normal[:, 1],
        lines=baldwin * np.exp(0.25 * normal[:, 2]),
        narrow=baldwin**2 * np.exp(0.6 * normal[:, 7]),
        iron=np.exp(0.35 * normal[:, 3]),
        host=host,
        reddening=0.015 * cube[:, 4] + (0.13 + 0.5 * faint) * tail**1.5,
        dust=0.65 * np.exp(0.5 * normal[:, 6]),
        absolute=absolute,
    )


def _means(flux: np.ndarray, rows: QuasarRows) -> np.ndarray:
    """Mean reference magnitude at each of `REDSHIFTS`, [k, n]."""
    unreddened = (2500.0 / 5100.0) ** rows.slope
    unit = 1e-17 * 2500.0**2 / 2.99792458e18 / 3.6307805e-29  # nanomaggies
    seen = seen_fluxes(WAVELENGTH, flux, REDSHIFTS, (REFERENCE,))[0, :, :, 0]
    seen = seen / (unreddened[:, None] * unit) / (1 + REDSHIFTS)
    correction = -2.5 * np.log10(np.maximum(seen, 1e-12))
    return rows.absolute[:, None] + distance_modulus(REDSHIFTS) + correction


def family_of(table: Mapping[str, np.ndarray]) -> Family:
    """The library with corrections of the luminosity function.

    Args:
        table: `share` [k], how much more common each spectrum is; `factor` [knots], how
            much more common quasars are at the knots `place` [knots] in ln(1 + z).
    """
    rows = _rows()
    flux = np.empty((SIZE, len(WAVELENGTH)), np.float32)
    for part in np.array_split(np.arange(SIZE), 8):  # to be small in memory
        some = {name: value[part] for name, value in vars(rows).items()}
        flux[part] = quasar_spectra(QuasarRows(**some))
    flux.setflags(write=False)
    means = _means(flux, rows)
    density = luminosity_function(rows.absolute[:, None], REDSHIFTS)
    density *= volume_density(REDSHIFTS)
    density *= np.interp(np.log1p(REDSHIFTS), table["place"], table["factor"])
    density /= 1 + np.exp(np.clip((means - _LIMIT) / 0.2, -50, 50))
    total = np.trapezoid(density, np.log1p(REDSHIFTS), axis=1)
    weight = total * table["share"]
    return Family(
        kind="QSO",
        wavelength=WAVELENGTH,
        flux=flux,
        weight=weight / weight.sum(),
        novel=rows.iron > np.quantile(rows.iron, 0.9),
        redshift=REDSHIFTS,
        redshift_density=density / total[:, None],
        magnitude_mean=means,
        magnitude_sigma=np.full(SIZE, SCATTER),
        parameters=dict(vars(rows)),
    )


@lru_cache(maxsize=1)
@one_thread
def quasar_family() -> Family:
    """320 quasars at redshifts of 0.05 to 4.9, cached; not to be written to.

    Returns:
        A family whose `parameters` are the attributes of
        `quasar_spectra.QuasarRows`.
    """
    with np.load(_TABLE) as table:
        return family_of({name: table[name] for name in table.files})


@lru_cache(maxsize=1)
def _depths() -> tuple[np.ndarray, np.ndarray]:
    """Effective optical depth, optical depth at mean density: ln of both."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    density = np.exp(_SIGMA * nodes - 0.5 * _SIGMA**2)
    depth = np.geomspace(1e-4, 300.0, 240)
    through = np.exp(-depth[:, None] * density**_POWER) @ weights / weights.sum()
    return np.log(-np.log(through)), np.log(depth)


def _smooth_noise(
    rng: np.random.Generator, size: int, step: float
) -> Float[np.ndarray, " l"]:
    """Gaussian noise of variance 1, of gas pressure's scale and of a larger one."""
    total = np.zeros(size)
    for scale, share in _SCALES:
        reach = int(4 * scale / step) + 1
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / scale) ** 2)
        noise = rng.standard_normal(size + 2 * reach)
        smooth = np.convolve(noise, taps / np.sqrt(np.sum(taps**2)), "valid")
        total += np.sqrt(share) * smooth
    return total


def mean_depth(wavelength: Float[np.ndarray, " l"]) -> Float[np.ndarray, " l"]:
    """Effective optical depth of the forest in Ly alpha alone (Inoue et al. 2014).

    Args:
        wavelength: observed, Angstrom.
    """
    x = wavelength / LYMAN_ALPHA
    late = np.where(x < 5.7, 2.354e-3 * x**3.7, 1.026e-4 * x**5.5)
    return np.where(x < 2.2, 1.690e-2 * x**1.2, late)


def forest(
    rng: np.random.Generator,
    redshift: Float[np.ndarray, " b"],
    wavelength: Float[np.ndarray, " l"] = OBSERVED,
) -> Float[np.ndarray, "b l"]:
    """Fluctuations of the Lyman alpha forest about its mean transmission, of mean 1.

    A lognormal density d of the gas gives the optical depth a d**1.6 (fluctuating
    Gunn-Peterson, Bi and Davidsen 1997, ApJ 479, 523), a such that the transmission's
    expectation is that of `mean_depth`. Not realistic: no higher lines of the series,
    no metals, no damped systems, no proximity effect of the quasar.

    Args:
        rng: dice.
        redshift: of the quasars.
        wavelength: observed, Angstrom; equidistant in ln(wavelength) in the forest.

    Returns:
        Factors whose expectation is 1 everywhere; 1 redward of Ly alpha.
    """
    field = np.ones((len(redshift), len(wavelength)))
    step = float(np.log(wavelength[1] / wavelength[0]))
    for row, z in enumerate(redshift.tolist()):
        absorbed = int(np.searchsorted(wavelength, LYMAN_ALPHA * (1 + z)))
        if not absorbed:
            continue
        mean = mean_depth(wavelength[:absorbed])
        depth = np.exp(np.interp(np.log(mean), *_depths()))
        noise = _smooth_noise(rng, absorbed, step)
        density = np.exp(_SIGMA * noise - 0.5 * _SIGMA**2)
        field[row, :absorbed] = np.exp(mean - depth * density**_POWER)
    return field
