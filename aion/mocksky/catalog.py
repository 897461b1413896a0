# SPDX-License-Identifier: MIT
"""A small synthetic spectroscopic catalogue that looks like SDSS, with known truth.

Spectral energy distributions are simple and physical enough that redshift, class and
colours hang together as on the sky: galaxies mix an old and a young population with a
4000 Angstrom break, stars are black bodies with an opacity break in the blue, quasars
are power laws with broad lines (equivalent widths after Vanden Berk et al. 2001) behind
the Lyman alpha forest (mean optical depth of Madau 1995). They are redshifted and seen
through the five SDSS bands with flux noise of SDSS's depth.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from aion.errors import DataError
from aion.instrument import BANDS

FILTERS = ("u", "g", "r", "i", "z")
DEPTH = (22.15, 23.13, 22.70, 22.20, 20.71)
"""5 sigma point source depth, AB mag (York et al. 2000, SDSS DR7)."""
FLOOR = 0.015
"""Calibration error of every magnitude, mag (Padmanabhan et al. 2008: 1-2 %)."""

_REST = np.geomspace(300.0, 40000.0, 6000)
_REDSHIFTS = np.expm1(np.linspace(0.0, np.log1p(6.0), 600))
_LINES = (  # rest wavelength in Angstrom, equivalent width and sigma in Angstrom
    (1215.7, 92.9, 25.0),
    (1549.0, 23.8, 20.0),
    (1908.7, 21.2, 25.0),
    (2798.8, 32.3, 30.0),
    (4862.7, 46.2, 35.0),
    (5008.2, 13.2, 8.0),
    (6564.6, 195.0, 45.0),
)


def simulate_catalog(objects: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Galaxies (half), quasars (a seventh) and stars, as a table of columns.

    Args:
        objects: rows, at least 1.
        seed: the same seed gives the same rows.

    Returns:
        Columns of equal length: objid (str), ra, dec (deg), u g r i z (AB mag), class
        (STAR, GALAXY, QSO), redshift, plate, mjd, fiberid (unique together), and the
        noiseless u_true ... z_true, redshift_true.

    Raises:
        DataError: fewer than one object.
    """
    if objects < 1:
        raise DataError(f"{objects} objects", "Ask for at least one.")
    rng = np.random.default_rng([seed, 20000])
    kind = rng.choice(3, objects, p=[0.5, 0.14, 0.36])
    redshift, magnitudes = np.empty(objects), np.empty((objects, 5))
    for code, draw in enumerate((_galaxies, _quasars, _stars)):
        chosen = np.flatnonzero(kind == code)
        redshift[chosen], magnitudes[chosen] = draw(rng, len(chosen))
    spread = np.array([3e-5, 6e-4, 2e-5])[kind] * (1 + redshift)
    noisy = redshift + spread * rng.standard_normal(objects)
    table = _places(rng, objects)
    table |= dict(zip(FILTERS, _observed(rng, magnitudes).T, strict=True))
    table["class"] = np.array(["GALAXY", "QSO", "STAR"])[kind]
    table["redshift"] = noisy
    true = zip([f"{name}_true" for name in FILTERS], magnitudes.T, strict=True)
    return table | dict(true) | {"redshift_true": redshift}


def write_catalog(path: str | Path, objects: int = 20_000, seed: int = 0) -> Path:
    """Writes `simulate_catalog` to Parquet, units in the fields' metadata.

    Args:
        path: the file; it appears whole or not at all.
        objects, seed: see `simulate_catalog`.

    Returns:
        The path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    columns = simulate_catalog(objects, seed)
    units: Mapping[str, str] = {"ra": "deg", "dec": "deg"} | dict.fromkeys(
        [*FILTERS, *(f"{name}_true" for name in FILTERS)], "mag(AB)"
    )
    arrays = {name: pa.array(column) for name, column in columns.items()}
    schema = pa.schema(
        [
            pa.field(
                name,
                array.type,
                metadata={"unit": units[name]} if name in units else None,
            )
            for name, array in arrays.items()
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(pa.table(list(arrays.values()), schema=schema), partial)
    partial.replace(path)
    return path


def _galaxies(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Redshift and true magnitudes: a flux-limited sample and luminous red galaxies."""
    red = rng.random(count) < 0.35
    main = np.minimum(rng.gamma(3.2, 0.035, count), 0.45)
    far = np.clip(rng.normal(0.47, 0.13, count), 0.15, 0.85)
    redshift = np.maximum(np.where(red, far, main), 0.003)
    young = np.where(red, rng.beta(1.2, 14.0, count), rng.beta(0.8, 1.4, count))
    absolute = np.where(
        red,
        rng.normal(-22.7, 0.3, count),
        rng.normal(-20.9, 0.5, count) - 4.0 * np.minimum(redshift, 0.3),
    )
    old_flux, young_flux = _colours("old", redshift), _colours("young", redshift)
    flux = (1 - young[:, None]) * old_flux + young[:, None] * young_flux
    dust = rng.gamma(1.5, 0.04, count) * young
    reddening = dust[:, None] * np.array([1.58, 1.16, 0.84, 0.64, 0.45])
    distance = _distance_modulus(redshift)[:, None]
    magnitudes = absolute[:, None] + distance - 2.5 * np.log10(flux) + reddening
    return redshift, magnitudes + 0.02 * rng.standard_normal((count, 5))


def _quasars(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    redshift = np.clip(rng.gamma(4.0, 0.42, count), 0.1, 4.5)
    tilt = rng.normal(0.0, 0.25, count)
    r = np.clip(rng.normal(19.2, 0.8, count), 15.5, 21.5)
    flux = _colours("quasar", redshift)
    wavelength = np.array(
        [BANDS[f"SDSS-{name.upper()}"].wavelength for name in FILTERS]
    )
    tilted = flux * (wavelength / wavelength[2]) ** tilt[:, None]
    colours = -2.5 * np.log10(tilted / tilted[:, 2:3])
    return redshift, r[:, None] + colours + 0.03 * rng.standard_normal((count, 5))


def _stars(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stars: temperature makes the locus; redshift is a velocity of some 100 km/s."""
    temperature = np.exp(rng.normal(np.log(5600.0), 0.28, count)).clip(2900.0, 20000.0)
    metals = rng.normal(0.0, 1.0, count)
    flux = _black_bodies(temperature)
    cool = 1 / (1 + (temperature / 7000.0) ** 4)
    blanket = (0.55 + 0.12 * metals) * cool
    hydrogen = 0.9 * np.exp(-0.5 * (np.log(temperature / 9000.0) / 0.25) ** 2)
    extra = np.stack(
        [blanket + hydrogen, 0.3 * blanket, 0 * cool, 0 * cool, 0 * cool], axis=1
    )
    colours = -2.5 * np.log10(flux / flux[:, 2:3]) + extra
    r = np.clip(rng.normal(17.6, 1.3, count), 14.0, 21.0)
    scatter = 0.02 * rng.standard_normal((count, 5))
    return rng.normal(-2e-5, 3.5e-4, count), r[:, None] + colours + scatter


def _observed(rng: np.random.Generator, magnitudes: np.ndarray) -> np.ndarray:
    """Magnitudes with flux noise; no fainter than a twentieth of a sigma of flux."""
    depth = 10 ** (-0.4 * np.array(DEPTH)) / 5
    flux = 10 ** (-0.4 * magnitudes)
    sigma = np.hypot(depth, FLOOR * flux * np.log(10) / 2.5)
    noisy = flux + sigma * rng.standard_normal(flux.shape)
    return -2.5 * np.log10(np.maximum(noisy, 0.05 * depth))


def _places(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Positions over SDSS's northern cap, and plates of neighbours on the sky."""
    ra = rng.uniform(110.0, 260.0, count)
    low, high = np.sin(np.radians([-5.0, 65.0]))
    dec = np.degrees(np.arcsin(rng.uniform(low, high, count)))
    patch = np.floor((dec + 90) / 3) * 1000 + np.floor(ra / 3)
    rank = np.empty(count, np.int64)
    rank[np.argsort(patch, kind="stable")] = np.arange(count)
    plate = 266 + rank // 640
    return {
        "objid": np.array([f"{1237648720000000000 + n}" for n in range(count)]),
        "ra": ra,
        "dec": dec,
        "plate": plate,
        "mjd": 51600 + plate % 3000,
        "fiberid": 1 + rank % 640,
    }


def _spectrum(kind: str) -> np.ndarray:
    """Flux per unit frequency at `_REST`, 1 at 6200 Angstrom."""
    nu = 6200.0 / _REST
    if kind == "quasar":
        flux = nu**-0.45 * (1 + np.maximum(_REST / 7000.0 - 1, 0)) ** 0.6
        for wavelength, width, sigma in _LINES:
            shape = np.exp(-0.5 * ((_REST - wavelength) / sigma) ** 2)
            flux *= 1 + width * shape / (sigma * np.sqrt(2 * np.pi))
        return np.where(_REST < 912.0, 0.02, 1.0) * flux
    step = 1 / (1 + np.exp(-(_REST - 3950.0) / 60.0))
    ionised = 1 / (1 + np.exp(-(_REST - 930.0) / 10.0))
    slope, metals, jump, ultraviolet = {
        "old": (-1.6, 1.25, 0.55, 2.5),
        "young": (-0.6, 0.5, 0.75, 0.9),
    }[kind]
    blue = np.minimum(_REST / 5600.0, 1.0) ** metals
    blue = blue * np.minimum(_REST / 3500.0, 1.0) ** ultraviolet
    flux = nu**slope * (jump + (1 - jump) * step) * blue * (0.01 + ionised)
    bump = 1 + 0.15 * np.exp(-0.5 * (np.log(_REST / 16000.0) / 0.3) ** 2)
    band = {"old": 0.10, "young": 0.02}[kind]
    magnesium = 1 - band * np.exp(-0.5 * ((_REST - 5175.0) / 60.0) ** 2)
    lines = {"old": 0.0, "young": 1.0}[kind] * sum(
        width * np.exp(-0.5 * ((_REST - wave) / 10.0) ** 2) / 25.0
        for wave, width in ((3728.0, 30.0), (5008.0, 20.0), (6564.0, 60.0))
    )
    return flux * bump * magnesium * (1 + lines)


@lru_cache(maxsize=8)
def _track(kind: str) -> np.ndarray:
    """Band fluxes of a spectrum at `_REDSHIFTS`, [redshifts, 5]; AB, of 1 at rest r."""
    flux = _spectrum(kind)
    fluxes = np.empty((len(_REDSHIFTS), 5))
    for row, z in enumerate(_REDSHIFTS):
        seen = _REST * (1 + z)
        through = flux
        if kind == "quasar":
            depth = 0.0036 * (seen / 1215.67) ** 3.46
            through = flux * np.where(_REST < 1215.67, np.exp(-depth), 1.0)
        fluxes[row] = [_through(name, seen, through) for name in FILTERS]
    # Flux density per frequency is stretched by 1 + z.
    return fluxes * (1 + _REDSHIFTS[:, None])


def _colours(kind: str, redshift: np.ndarray) -> np.ndarray:
    track = _track(kind)
    return np.stack([np.interp(redshift, _REDSHIFTS, t) for t in track.T], axis=1)


def _black_bodies(temperature: np.ndarray) -> np.ndarray:
    grid = np.geomspace(2500.0, 25000.0, 60)
    fluxes = np.empty((60, 5))
    for row, kelvin in enumerate(grid):
        x = 1.438777e8 / (_REST * kelvin)
        planck = _REST**-3.0 / np.expm1(np.minimum(x, 300.0))
        fluxes[row] = [_through(name, _REST, planck) for name in FILTERS]
    logs = np.log(fluxes)
    return np.exp(
        np.stack([np.interp(np.log(temperature), np.log(grid), f) for f in logs.T], 1)
    )


def _through(name: str, wavelength: np.ndarray, flux: np.ndarray) -> float:
    """Mean flux per frequency in a band, photon weighted (d nu / nu)."""
    band = BANDS[f"SDSS-{name.upper()}"]
    edge = np.abs(wavelength - band.wavelength) - band.width / 2
    weight = 1 / (1 + np.exp(np.clip(edge / (0.04 * band.width), -50, 50)))
    weight = weight * np.gradient(np.log(wavelength))
    return float((flux * weight).sum() / weight.sum())


def _distance_modulus(redshift: np.ndarray) -> np.ndarray:
    """5 log10(luminosity distance / 10 pc); flat, H0 = 70 km/s/Mpc, matter 0.3."""
    grid = np.linspace(0.0, 1.0, 2001)
    rate = 1 / np.sqrt(0.3 * (1 + grid) ** 3 + 0.7)
    steps = (rate[1:] + rate[:-1]) / 2 * np.diff(grid)
    comoving = 299792.458 / 70.0 * np.concatenate([[0.0], np.cumsum(steps)])
    megaparsec = np.interp(redshift, grid, comoving) * (1 + redshift)
    return 5 * np.log10(megaparsec) + 25
