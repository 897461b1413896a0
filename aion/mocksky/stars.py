# SPDX-License-Identifier: MIT
"""Stars of the Milky Way at high latitude: which there are, how bright, how far.

Populations are the thin and the thick disk and the halo. Absolute magnitudes of dwarfs
follow Pecaut and Mamajek 2013 (ApJS 208, 9), fainter for poor metals as in Ivezic et
al. 2008 (ApJ 684, 287); giants, horizontal branch, blue stragglers and white dwarfs
have one relation each. The apparent magnitude of a type is a Gaussian whose mean is its
absolute magnitude plus the population's mean distance modulus. The shares of the types
were set so that, seen through SDSS's selection, colours by magnitude agree with SDSS's
spectroscopic stars; they are therefore shares of what surveys target, not of space.

Not realistic: distances do not depend on the direction, no binaries, no variables, no
carbon stars, a white dwarf is always DA, a Gaussian has no far tail.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aion.mocksky.family import Family
from aion.mocksky.star_spectra import WAVELENGTH, star_spectra
from aion.mocksky.threads import one_thread

POPULATIONS = ("thin disk", "thick disk", "halo")
"""What `parameters["population"]` counts."""


@dataclass(frozen=True)
class _Type:
    """A sequence of stars in temperature.

    Attributes:
        population: index into `POPULATIONS`.
        teff: lowest and highest temperature, Kelvin.
        count: temperatures, evenly in the logarithm.
        metals: [Fe/H] and its share, each.
        log_g: at the nodes.
        magnitude: absolute, AB in DES-R, at the nodes, for the metals of the Sun.
        modulus: mean distance modulus at the nodes, mag; faint stars are seen nearby.
        spread: one sigma of the distance modulus, mag.
        nodes: temperatures of the relations, Kelvin.
        shares: density in ln temperature at the nodes, any unit common to all types.
        subdwarf: magnitudes fainter per dex of metals below the Sun's.
    """

    population: int
    teff: tuple[float, float]
    count: int
    metals: tuple[tuple[float, float], ...]
    log_g: tuple[float, ...]
    magnitude: tuple[float, ...]
    modulus: tuple[float, ...]
    spread: float
    nodes: tuple[float, ...]
    shares: tuple[float, ...]
    subdwarf: float = 0.0


_DWARFS = (
    2800.0,
    3200.0,
    3600.0,
    4000.0,
    4600.0,
    5200.0,
    5800.0,
    6300.0,
    7000.0,
    8000.0,
    9600.0,
)
_DWARF_LOG_G = (5.2, 5.1, 4.85, 4.7, 4.6, 4.55, 4.42, 4.3, 4.2, 4.15, 4.1)
_DWARF_MAGNITUDE = (15.0, 12.2, 9.6, 8.2, 6.6, 5.4, 4.5, 3.7, 2.8, 2.2, 1.3)

_TYPES = {
    "thin dwarf": _Type(
        population=0,
        teff=(2800.0, 9600.0),
        count=32,
        metals=((-0.35, 0.35), (0.0, 0.45), (0.25, 0.2)),
        log_g=_DWARF_LOG_G,
        magnitude=_DWARF_MAGNITUDE,
        modulus=(4.0, 5.8, 7.6, 8.5, 9.2, 9.8, 10.0, 10.4, 11.0, 11.5, 12.0),
        spread=1.5,
        nodes=_DWARFS,
        shares=(1.7, 0.9, 0.54, 0.5, 0.89, 6.7, 18.0, 1.7, 1.4, 0.44, 0.31),
        subdwarf=1.0,
    ),
    "thick dwarf": _Type(
        population=1,
        teff=(3200.0, 6600.0),
        count=26,
        metals=((-0.9, 0.4), (-0.5, 0.6)),
        log_g=_DWARF_LOG_G[1:8],
        magnitude=_DWARF_MAGNITUDE[1:8],
        modulus=(7.5, 9.0, 9.8, 10.6, 11.6, 12.0, 12.3),
        spread=1.4,
        nodes=_DWARFS[1:8],
        shares=(6.4, 3.6, 2.7, 4.2, 42.0, 49.0, 1.7),
        subdwarf=0.8,
    ),
    "halo dwarf": _Type(
        population=2,
        teff=(4000.0, 7000.0),
        count=26,
        metals=((-2.2, 0.25), (-1.6, 0.5), (-1.1, 0.25)),
        log_g=_DWARF_LOG_G[3:9],
        magnitude=_DWARF_MAGNITUDE[3:9],
        modulus=(10.0, 11.2, 12.4, 13.0, 13.4, 13.6),
        spread=1.4,
        nodes=_DWARFS[3:9],
        shares=(1.3, 1.6, 3.2, 62.0, 100.0, 3.9),
        subdwarf=0.5,
    ),
    "disk giant": _Type(
        population=1,
        teff=(4100.0, 5200.0),
        count=8,
        metals=((-0.6, 0.6), (-0.1, 0.4)),
        log_g=(1.5, 2.3, 3.2),
        magnitude=(-0.7, 0.4, 2.0),
        modulus=(16.0, 15.8, 14.6),
        spread=1.1,
        nodes=(4100.0, 4700.0, 5200.0),
        shares=(1.0, 7.0, 21.0),
    ),
    "halo giant": _Type(
        population=2,
        teff=(4200.0, 5400.0),
        count=10,
        metals=((-2.2, 0.3), (-1.4, 0.7)),
        log_g=(0.9, 2.0, 3.2),
        magnitude=(-1.7, 0.2, 2.2),
        modulus=(17.8, 16.8, 15.2),
        spread=1.2,
        nodes=(4200.0, 4800.0, 5400.0),
        shares=(12.0, 3.5, 47.0),
    ),
    "horizontal branch": _Type(
        population=2,
        teff=(7400.0, 12000.0),
        count=16,
        metals=((-1.6, 1.0),),
        log_g=(3.0, 3.3, 3.8),
        magnitude=(0.5, 0.75, 1.6),
        modulus=(16.2, 16.2, 16.2),
        spread=1.4,
        nodes=(7400.0, 9000.0, 12000.0),
        shares=(10.0, 1.1, 0.37),
    ),
    "blue straggler": _Type(
        population=1,
        teff=(6700.0, 9500.0),
        count=16,
        metals=((-1.2, 1.0),),
        log_g=(4.2, 4.2, 4.2),
        magnitude=(3.6, 2.9, 2.0),
        modulus=(14.0, 14.0, 14.0),
        spread=1.5,
        nodes=(6700.0, 7600.0, 9500.0),
        shares=(4.1, 0.4, 0.21),
    ),
    "hot": _Type(
        population=2,
        teff=(11000.0, 25000.0),
        count=16,
        metals=((-0.5, 1.0),),
        log_g=(4.2, 5.0, 5.6),
        magnitude=(1.5, 3.0, 4.6),
        modulus=(13.5, 13.5, 13.5),
        spread=1.5,
        nodes=(11000.0, 16000.0, 25000.0),
        shares=(0.1, 0.15, 0.85),
    ),
    "white dwarf": _Type(
        population=0,
        teff=(6500.0, 25000.0),
        count=36,
        metals=((-9.0, 1.0),),
        log_g=(8.0, 8.0, 8.0, 8.0),
        magnitude=(13.4, 12.1, 11.2, 10.5),
        modulus=(5.6, 6.6, 7.2, 7.8),
        spread=1.2,
        nodes=(6500.0, 10000.0, 15000.0, 25000.0),
        shares=(0.59, 0.59, 0.7, 0.36),
    ),
}
TYPES = tuple(_TYPES)
"""What `parameters["type"]` counts."""


def _rows(number: int, kind: _Type) -> dict[str, np.ndarray]:
    """The library's rows of a type, without spectra."""
    temperatures = np.geomspace(*kind.teff, kind.count)
    teff = np.repeat(temperatures, len(kind.metals))
    fe_h = np.tile([metals for metals, _ in kind.metals], kind.count)
    share = np.tile([part for _, part in kind.metals], kind.count)
    place, nodes = np.log(teff), np.log(np.array(kind.nodes, float))
    density = np.interp(place, nodes, kind.shares)
    width = np.gradient(np.log(temperatures)).repeat(len(kind.metals))
    magnitude = np.interp(place, nodes, kind.magnitude) - kind.subdwarf * fe_h
    # Single metallicities would leave gaps between tracks of colours.
    jitter = 0.06 * np.sin(2.4 * np.arange(len(teff)))
    return {
        "teff": teff * (1 + 0.012 * np.sin(1.7 * np.arange(len(teff)))),
        "log_g": np.interp(place, nodes, kind.log_g) + jitter,
        "fe_h": np.where(fe_h > -5, fe_h + jitter, fe_h),
        "absolute_magnitude": magnitude,
        "population": np.full(len(teff), kind.population),
        "type": np.full(len(teff), number),
        "weight": share * density * width,
        "modulus": np.interp(place, nodes, kind.modulus),
        "spread": np.full(len(teff), kind.spread),
    }


@lru_cache(maxsize=1)
def _library() -> dict[str, np.ndarray]:
    tables = [_rows(number, kind) for number, kind in enumerate(_TYPES.values())]
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


@lru_cache(maxsize=1)
@one_thread
def star_family() -> Family:
    """Some 330 stars from 2,800 to 25,000 K, cached; not to be written to.

    Returns:
        A family with one redshift, 0. `parameters`: teff (Kelvin), log_g (log10 cm/s2),
        fe_h (dex; -9 for white dwarfs, without metals), absolute_magnitude (AB mag in
        DES-R), population (index into `POPULATIONS`), type (index into `TYPES`).
    """
    rows = _library()
    # Some at a time: the work arrays are ten times as large as the spectra.
    parts = np.array_split(np.arange(len(rows["teff"])), 5)
    made = (rows["teff"], rows["log_g"], rows["fe_h"])
    flux = np.concatenate([star_spectra(*(m[part] for m in made)) for part in parts])
    flux.setflags(write=False)
    mean = rows["absolute_magnitude"] + rows["modulus"]
    names = ("teff", "log_g", "fe_h", "absolute_magnitude", "population", "type")
    return Family(
        kind="STAR",
        wavelength=WAVELENGTH,
        flux=flux,
        weight=rows["weight"] / rows["weight"].sum(),
        novel=np.arange(len(flux)) % 10 == 7,
        redshift=np.zeros(1),
        redshift_density=np.ones((len(flux), 1)),
        magnitude_mean=mean[:, None],
        magnitude_sigma=rows["spread"],
        parameters={name: rows[name] for name in names},
    )
