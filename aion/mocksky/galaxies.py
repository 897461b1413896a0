# SPDX-License-Identifier: MIT
"""The galaxies: a thousand spectra with everything that is known about each.

A spectrum is a non-negative sum of five stellar populations (the templates of kcorrect,
Blanton and Roweis 2007, see `tables/README.md`), smoothed to a velocity dispersion,
behind dust after Calzetti et al. 2000, with emission lines (`aion.mocksky.lines`) and
the infrared of warm dust. Which sums there are, how common each is and how bright, is
a shipped table, made by `tests/tables/make_galaxy_rows.py`.

Not realistic: five populations cannot make every star formation history; a spectrum
does not change with redshift but for how common and bright it is; absorption lines are
never narrower than 150 km/s; active nuclei show in narrow lines alone.
"""

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit

from aion.errors import DataError
from aion.mocksky.cosmology import distance_modulus, volume_density
from aion.mocksky.dust import attenuation
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.grids import STEP
from aion.mocksky.lines import (
    LIGHT,
    WAVELENGTHS,
    add_lines,
    line_attenuation,
    line_ratios,
)
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.responses import TABLES, ZERO_POINT
from aion.mocksky.threads import one_thread
from aion.mocksky.tracks import seen_fluxes

REDSHIFTS = np.expm1(np.linspace(np.log(1.003), np.log(2.5), 458))
"""The grid of the family: 0.003 to 1.5, steps of 0.002 in ln(1 + z)."""

ANCHOR = 6300.0
"""Angstrom at which the populations' shares of the light are given."""

_FINE = 1174.0 * np.exp(STEP * np.arange(22_670))
_COARSE = _FINE[-1] * np.exp(2e-3 * np.arange(1, 1_675))
WAVELENGTH = np.concatenate([_FINE, _COARSE])
"""Rest wavelengths in Angstrom, [l]: as fine as `grids.OBSERVED` for z up to 1.5."""

_DISPERSIONS = np.array([150.0, 180.0, 220.0, 270.0])
_OLD = 3
_AGES = np.array([[0.15, 0.65, old] for old in (7.0, 8.0, 7.0, 10.0, 8.0)])
"""Gyr of the stars of each template that are younger than 0.3, than 1, and the rest."""
_GAS_DUST = np.array([1.5, 0.2, 1.0, 0.0, 0.0])
"""A_V in front of the gas of each template, which its H alpha flux has gone through."""
_STARS_TO_GAS = 0.44
"""E(B-V) of stars over that of gas (Calzetti et al. 2000)."""
_TEN_PARSEC = 4 * np.pi * (3.0857e19) ** 2  # cm2
_STAR_FORMATION = 10**-41.27
"""Solar masses a year per erg/s of H alpha (Kennicutt and Evans 2012)."""
_WARM = 10**42.35
"""nu L_nu at 12 micron, erg/s, per solar mass a year (Cluver et al. 2017)."""
# Aromatics over a continuum: centre in micron, width in ln(wavelength), height.
_AROMATICS = (
    (3.3, 0.02, 0.10),
    (6.2, 0.03, 0.9),
    (7.7, 0.06, 1.6),
    (8.6, 0.03, 0.5),
    (11.3, 0.03, 0.9),
    (12.7, 0.04, 0.5),
)


def _blanketing(wavelength: np.ndarray) -> np.ndarray:
    """What richness in metals does to an old population, mag at full strength.

    Fitted to the mean colours of red galaxies, which the old template of kcorrect
    misses by 0.2 mag in u - g.
    """
    blue = 0.21 * expit((3720.0 - wavelength) / 50.0)
    blue = blue + 0.2 * np.clip(np.log(3800.0 / wavelength), 0.0, 0.5)
    red = 0.24 * np.clip(np.log(wavelength / 6300.0), 0.0, 0.5)
    return blue - red


@lru_cache(maxsize=1)
def _table() -> dict[str, np.ndarray]:
    with np.load(TABLES / "galaxies.npz") as table:
        return {name: table[name].astype(np.float64) for name in table.files}


def _infrared(wavelength: np.ndarray) -> np.ndarray:
    """How much fainter galaxies are than the templates beyond 1.3 micron, mag.

    Fitted to z - W1 of luminous red galaxies and, as much, of emission-line galaxies.
    """
    return 0.27 * expit((np.log(wavelength / 13_000.0)) / 0.15)


def _populations() -> np.ndarray:
    """The five templates on `WAVELENGTH`, by dispersion, [d, 5, l]."""
    table = _table()
    ends = np.log(table["wavelength"])
    grid = np.linspace(ends[0], ends[1], table["flux"].shape[1])
    logs = CubicSpline(grid, np.log(table["flux"]), axis=1)(np.log(WAVELENGTH))
    flux, fine = np.exp(logs), len(_FINE)
    flux *= 10 ** (-0.4 * _infrared(WAVELENGTH))
    several = np.repeat(flux[None], len(_DISPERSIONS), 0)
    for place, sigma in enumerate(_DISPERSIONS[1:], start=1):
        pixels = np.sqrt(sigma**2 - _DISPERSIONS[0] ** 2) / LIGHT / STEP
        several[place, :, :fine] = gaussian_filter1d(
            flux[:, :fine], pixels, mode="nearest"
        )
    return several


def _warm_dust() -> np.ndarray:
    """Flux density of warm dust whose nu F_nu at 12 micron is about 1, [l]."""
    micron = WAVELENGTH / 1e4
    shape = 0.9 * np.exp(-((4.5 / micron) ** 2)) * (micron / 12.0) ** 0.25
    for centre, width, height in _AROMATICS:
        shape = shape + 0.5 * height * np.exp(
            -0.5 * (np.log(micron / centre) / width) ** 2
        )
    return shape / WAVELENGTH


def build_spectra(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spectra and what follows from them, of rows of parameters.

    Args:
        rows: parameters by name, [k] each: `share_0` ... `share_4` of the light at
            `ANCHOR` before `a_v`, and those that `galaxy_family` calls chosen.

    Returns:
        `flux` [k, l], float32, per solar mass formed at 10 pc, and the derived
        parameters of `galaxy_family`, [k].
    """
    table, several = _table(), _populations()
    shares = np.stack([rows[f"share_{n}"] for n in range(5)], axis=1)
    anchor = np.argmin(np.abs(WAVELENGTH - ANCHOR))
    mass = shares / several[0, :, anchor]
    mass /= mass.sum(axis=1, keepdims=True)
    kind = np.abs(rows["dispersion"][:, None] - _DISPERSIONS).argmin(axis=1)
    flux = np.empty((len(mass), len(WAVELENGTH)), np.float32)
    blanket, dust = _blanketing(WAVELENGTH), attenuation(WAVELENGTH)
    for group, templates in enumerate(several.astype(np.float32)):
        some = np.flatnonzero(kind == group)
        part = mass[some].astype(np.float32)
        light = np.delete(part, _OLD, 1) @ np.delete(templates, _OLD, 0)
        rich = rows["blanketing"][some, None].astype(np.float32)
        dim = np.exp(rich * (-0.4 * np.log(10) * blanket).astype(np.float32))
        light += part[:, [_OLD]] * templates[_OLD] * dim
        a_v = rows["a_v"][some, None].astype(np.float32)
        light *= np.exp(a_v * (-0.4 * np.log(10) * dust).astype(np.float32))
        flux[some] = light
    derived = _gas(flux, rows, mass)
    flux += (derived["warm"][:, None] * _warm_dust()).astype(np.float32)
    return derived | {"flux": flux} | _stars(flux, mass, table)


def _gas(
    flux: np.ndarray, rows: dict[str, np.ndarray], mass: np.ndarray
) -> dict[str, np.ndarray]:
    """Adds the lines to `flux`; star formation and warm dust per solar mass formed."""
    halpha = mass * _table()["halpha"] * 10 ** rows["line_scale"][:, None]
    bare = halpha * 10 ** (0.4 * _GAS_DUST * line_attenuation()[_line("H alpha")])
    forming = bare.sum(axis=1)
    behind = (bare * _GAS_DUST).sum(axis=1) / np.maximum(forming, 1e-300)
    behind += rows["a_v"] / _STARS_TO_GAS
    dim = 10 ** (-0.4 * behind[:, None] * line_attenuation())
    near = np.argmin(np.abs(WAVELENGTH - WAVELENGTHS["H alpha"] * 1.01))
    # The nucleus' own lines are given by their width, hence already behind the dust.
    nucleus = rows["nucleus_width"] * flux[:, near] / dim[:, _line("H alpha")]
    every = forming + nucleus
    seyfert = nucleus * rows["seyfert"] / np.maximum(every, 1e-300)
    liner = nucleus * (1 - rows["seyfert"]) / np.maximum(every, 1e-300)
    mix = np.stack([1 - seyfert - liner, seyfert, liner], axis=1)
    strength = every[:, None] * line_ratios(rows["n2"], mix) * dim
    continuum = flux[:, near].copy()
    add_lines(flux, WAVELENGTH, strength, rows["gas_dispersion"])
    rate = _STAR_FORMATION * forming * _TEN_PARSEC
    return {
        "ssfr_formed": rate,
        "halpha_width": strength[:, _line("H alpha")] / continuum,
        "warm": rate * _WARM / _TEN_PARSEC * 10 ** rows["warm_scale"],
        "gas_a_v": behind,
    }


def _line(name: str) -> int:
    return list(WAVELENGTHS).index(name)


def _stars(
    flux: np.ndarray, mass: np.ndarray, table: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Mass, age and metallicity of the stars, mass weighted."""
    young, middle, old = _AGES.T
    m300, m1000 = table["m300"], np.maximum(table["m1000"], table["m300"])
    ages = m300 * young + (m1000 - m300) * middle + (1 - m1000) * old
    remain = mass @ table["mremain"]
    seen = seen_fluxes(WAVELENGTH, flux * 1e17, np.zeros(1), (REFERENCE,))[0, :, 0, 0]
    absolute = ZERO_POINT - 2.5 * np.log10(seen)
    return {
        "log_mass_at_zero": np.log10(remain) + 0.4 * absolute,
        "age": (mass * ages * table["mremain"]).sum(1) / remain,
        "metallicity": (mass * table["mets"] * table["mremain"]).sum(1) / remain,
        "remaining": remain,
    }


@lru_cache(maxsize=1)
@one_thread
def galaxy_family() -> Family:
    """The library of galaxies, about 100 MB, built in a few seconds and cached.

    Parameters by name. Chosen: `share_0` ... `share_4` of the light at `ANCHOR` (dusty,
    young, star-forming, old, post-starburst population), `a_v` (mag, of dust in front
    of all stars), `blanketing` (of the old population by metals, 0 = that of the
    template), `dispersion` and `gas_dispersion` (km/s), `line_scale` and `warm_scale`
    (dex of gas lines and warm dust against the mean), `n2` (log [N II] / H alpha of
    star-forming gas), `nucleus_width` (equivalent width of the nucleus' H alpha,
    Angstrom), `seyfert` (1 Seyfert, 0 LINER), `absolute` (mean absolute magnitude in
    DES-R, AB, at redshift 0), `evolution` (mag that it is brighter per unit redshift),
    `density_evolution` (power of 1 + z of the number density). Derived:
    `log_mass_at_zero` (log10 of the stellar mass in solar masses at absolute magnitude
    0), `age` (Gyr), `metallicity` (mass fraction of metals), `log_ssfr`
    (1/yr), `halpha_width` (Angstrom), `gas_a_v` (mag).
    """
    with np.load(TABLES / "galaxy_rows.npz") as table:
        rows = {name: table[name] for name in table.files}
    return family_of_rows(rows)


def family_of_rows(rows: dict[str, np.ndarray]) -> Family:
    """A family of any rows of chosen parameters, with `weight`, `novel` and `sigma`."""
    parts = build_spectra(rows)
    flux = parts.pop("flux")
    flux /= flux[:, [np.argmin(np.abs(WAVELENGTH - ANCHOR))]]
    ends = np.concatenate([[0.0], REDSHIFTS])
    seen = seen_fluxes(WAVELENGTH, flux, ends, (REFERENCE,))[0, :, :, 0]
    correction = -2.5 * np.log10(seen[:, 1:] / seen[:, :1] / (1 + REDSHIFTS))
    absolute = rows["absolute"][:, None] - rows["evolution"][:, None] * REDSHIFTS
    density = volume_density(REDSHIFTS) * np.power(
        1 + REDSHIFTS, rows["density_evolution"][:, None]
    )
    density /= np.trapezoid(density, np.log1p(REDSHIFTS), axis=1)[:, None]
    parts["log_ssfr"] = np.log10(
        np.maximum(parts.pop("ssfr_formed") / parts.pop("remaining"), 1e-16)
    )
    parts.pop("warm")
    chosen = {n: v for n, v in rows.items() if n not in ("weight", "novel", "sigma")}
    return Family(
        kind="GALAXY",
        wavelength=WAVELENGTH,
        flux=flux,
        weight=rows["weight"] / rows["weight"].sum(),
        novel=rows["novel"].astype(bool),
        redshift=REDSHIFTS,
        redshift_density=density,
        magnitude_mean=absolute + distance_modulus(REDSHIFTS) + correction,
        magnitude_sigma=rows["sigma"],
        parameters=chosen | parts,
    )


def galaxy_labels(objects: Objects, family: Family) -> dict[str, np.ndarray]:
    """What a fit of stellar populations would give: PROVABGS's columns, [b] each.

    Args:
        objects: galaxies, no others.
        family: that of `galaxy_family`.

    Returns:
        `LOGMSTAR` (log10 solar masses), `AVG_SFR` (solar masses a year), `Z_MW` (mass
        fraction of metals), `TAGE_MW` (Gyr), `ABSMAG_R` (DES-R at rest, AB).

    Raises:
        DataError: something else than galaxies.
    """
    if (objects.kind != KINDS.index("GALAXY")).any():
        raise DataError("labels asked of stars or quasars", "Take the galaxies alone.")
    grid, sed = np.log1p(family.redshift), objects.sed
    place = np.interp(np.log1p(objects.redshift), grid, np.arange(len(grid)))
    low = np.clip(place.astype(np.int64), 0, len(grid) - 2)
    share = place - low
    mean = family.magnitude_mean
    usual = (1 - share) * mean[sed, low] + share * mean[sed, low + 1]
    p = {name: values[sed] for name, values in family.parameters.items()}
    absolute = p["absolute"] - p["evolution"] * objects.redshift
    absolute = absolute + objects.magnitude - usual
    mass = p["log_mass_at_zero"] - 0.4 * absolute
    return {
        "LOGMSTAR": mass,
        "AVG_SFR": 10 ** (mass + p["log_ssfr"]),
        "Z_MW": p["metallicity"],
        "TAGE_MW": p["age"],
        "ABSMAG_R": absolute,
    }
