# SPDX-License-Identifier: MIT
"""Telescopes and bands, as data. A band is described, not enumerated.

Sources. Effective wavelengths (of a source flat per unit wavelength, photon weighted)
and widths (integral of the response over its maximum) were computed from the response
curves that speclite 1.0 distributes: `decamDR1`, `hsc2017` (r2 and i2 replaced r and i
in 2016), `sdss2010`, `wise2010`, `gaiadr3`. Pixel scales: DECam coadds of the Legacy
Surveys 0.262 arcsec, unWISE 2.75, HSC 0.168, SDSS 0.396. Zero points are the AB
magnitude of one unit of flux in the files: 22.5 (nanomaggies; Legacy Surveys give WISE
on the AB system too), 27.0 for HSC coadds (Aihara et al. 2022), and for Gaia (e-/s)
the AB values of Riello et al. 2021, table 5.4. Spectrographs: DESI Collaboration 2022,
Smee et al. 2013, De Angeli et al. 2023.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from aion.errors import ConfigError


@dataclass(frozen=True)
class Band:
    """One filter of one camera.

    Attributes:
        name: as the survey files write it, upper case, such as `DES-G`.
        instrument: name of the instrument.
        wavelength: effective wavelength in Angstrom.
        width: equivalent width of the response in Angstrom.
        zero_point: AB magnitude of one unit of flux.
        pixel_scale: arcsec per pixel of the survey's images; None without images.
    """

    name: str
    instrument: str
    wavelength: float
    width: float
    zero_point: float
    pixel_scale: float | None = None

    def __post_init__(self) -> None:
        if not (self.wavelength > 0 and self.width > 0):
            raise ConfigError(
                f"band {self.name}: wavelength {self.wavelength} and width {self.width}"
                " must be positive",
                "Give both in Angstrom.",
            )


@dataclass(frozen=True)
class Instrument:
    """A camera or spectrograph at a telescope.

    Attributes:
        name: short name.
        telescope: where it is mounted.
        survey: the survey whose products are meant.
        wavelength_range: first and last wavelength in Angstrom.
        resolution: resolving power at both ends of the range; None for cameras.
    """

    name: str
    telescope: str
    survey: str
    wavelength_range: tuple[float, float]
    resolution: tuple[float, float] | None = None


INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType(
    {
        i.name: i
        for i in (
            Instrument("DECam", "Blanco 4 m", "legacy", (3805.0, 10145.0)),
            Instrument("WISE", "WISE 0.4 m", "legacy", (26100.0, 280000.0)),
            Instrument("HSC", "Subaru 8.2 m", "hsc", (3530.0, 10940.0)),
            Instrument("SDSS-camera", "Sloan 2.5 m", "sdss", (2940.0, 11140.0)),
            Instrument(
                "SDSS", "Sloan 2.5 m", "sdss", (3800.0, 9200.0), (1850.0, 2200.0)
            ),
            Instrument(
                "BOSS", "Sloan 2.5 m", "sdss", (3600.0, 10400.0), (1560.0, 2650.0)
            ),
            Instrument(
                "DESI", "Mayall 4 m", "desi", (3600.0, 9824.0), (2000.0, 5500.0)
            ),
            Instrument("Gaia-photometer", "Gaia", "gaia", (3250.0, 10800.0)),
            Instrument("Gaia-BP", "Gaia", "gaia", (3300.0, 6800.0), (100.0, 30.0)),
            Instrument("Gaia-RP", "Gaia", "gaia", (6400.0, 10500.0), (100.0, 70.0)),
        )
    }
)

_BANDS = [
    Band("DES-G", "DECam", 4862.3, 1131.3, 22.5, 0.262),
    Band("DES-R", "DECam", 6460.6, 1385.4, 22.5, 0.262),
    Band("DES-I", "DECam", 7850.8, 1391.2, 22.5, 0.262),
    Band("DES-Z", "DECam", 9199.3, 1253.8, 22.5, 0.262),
    Band("WISE-W1", "WISE", 34002.5, 6824.1, 22.5, 2.75),
    Band("WISE-W2", "WISE", 46520.1, 10507.7, 22.5, 2.75),
    Band("WISE-W3", "WISE", 128103.4, 64561.3, 22.5, 2.75),
    Band("WISE-W4", "WISE", 223752.8, 39451.2, 22.5, 2.75),
    Band("HSC-G", "HSC", 4843.7, 1179.4, 27.0, 0.168),
    Band("HSC-R", "HSC", 6258.7, 1478.2, 27.0, 0.168),
    Band("HSC-I", "HSC", 7773.8, 1446.3, 27.0, 0.168),
    Band("HSC-Z", "HSC", 8912.4, 751.6, 27.0, 0.168),
    Band("HSC-Y", "HSC", 9786.9, 749.2, 27.0, 0.168),
    Band("SDSS-U", "SDSS-camera", 3614.4, 509.7, 22.5, 0.396),
    Band("SDSS-G", "SDSS-camera", 4749.2, 1163.2, 22.5, 0.396),
    Band("SDSS-R", "SDSS-camera", 6205.8, 1108.1, 22.5, 0.396),
    Band("SDSS-I", "SDSS-camera", 7525.6, 1100.3, 22.5, 0.396),
    Band("SDSS-Z", "SDSS-camera", 8947.4, 1089.0, 22.5, 0.396),
    Band("GAIA-G", "Gaia-photometer", 6719.6, 4415.9, 25.8010),
    Band("GAIA-BP", "Gaia-photometer", 5319.9, 2616.4, 25.3540),
    Band("GAIA-RP", "Gaia-photometer", 7939.1, 2862.7, 25.1040),
]

BANDS: Mapping[str, Band] = MappingProxyType({b.name: b for b in _BANDS})
"""The bands of the five surveys by name."""


def find_band(name: str, own: Mapping[str, Band] | None = None) -> Band:
    """A band by its name, whatever the case; a user's own bands go first.

    Raises:
        ConfigError: no such band; lists those there are.
    """
    known = {**BANDS, **(own or {})}
    for key, band in known.items():
        if key.upper() == name.strip().upper():
            return band
    raise ConfigError(
        f"unknown band {name!r}",
        f"Known bands: {', '.join(known)}. Others are described by "
        "aion.Band(name, instrument, wavelength, width, zero_point, pixel_scale).",
    )


def band_from_dict(row: Mapping[str, Any]) -> Band:
    """A `Band` from a plain dict, as a config holds it.

    Raises:
        ConfigError: a key that is not a field of `Band`, or one that is missing.
    """
    try:
        return Band(**row)
    except TypeError as error:
        names = [f.name for f in fields(Band)]
        raise ConfigError(f"band {dict(row)}: {error}", f"Keys are {names}.") from None
