# SPDX-License-Identifier: MIT
"""What is measured: one row per modality, as data. This module imports nothing of ours.

A modality is one kind of measurement by one survey. The forty rows of `MODALITIES` are
those of AION-1 (arXiv:2510.17960) under readable names; `official_key` is the name of
the same row in the PyTorch package. A user's own modalities are `Modality` values too,
built from plain dicts in a config with `modality_from_dict`.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any


class Kind(enum.StrEnum):
    """The shape of a measurement; it decides which observation class holds it."""

    IMAGE = "image"
    SPECTRUM = "spectrum"
    FIELD = "field"
    CATALOG = "catalog"
    SCALAR = "scalar"
    COEFFICIENTS = "coefficients"
    CATEGORY = "category"


@dataclass(frozen=True)
class Modality:
    """One kind of measurement by one survey.

    Attributes:
        name: lower-case identifier, unique in a token space.
        survey: the survey that measured it.
        kind: which observation class holds it.
        shape: shape of one object's values; None is a length that varies.
        unit: unit of the values in astropy's spelling; "" is dimensionless.
        official_key: token key in AION-1's PyTorch package, or None for a new one.
        description: what it is, in one line.
    """

    name: str
    survey: str
    kind: Kind
    shape: tuple[int | None, ...] = ()
    unit: str = ""
    official_key: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"modality name {self.name!r} must be lower-case letters, digits and "
                "underscores, starting with a letter"
            )
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "shape", tuple(self.shape))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"kind": self.kind.value, "shape": list(self.shape)}


def modality_from_dict(row: Mapping[str, Any]) -> Modality:
    """A `Modality` from a plain dict, as a config or a JSON file holds it.

    Raises:
        ValueError: an unknown key, an unknown kind or a name that is no identifier.
    """
    known = [f.name for f in fields(Modality)]
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise ValueError(f"unknown modality keys {unknown}; known keys are {known}")
    kinds = [k.value for k in Kind]
    if row.get("kind") not in kinds:
        raise ValueError(f"modality {row.get('name')!r}: kind must be one of {kinds}")
    typed = {"kind": Kind(row["kind"]), "shape": tuple(row.get("shape", ()))}
    return Modality(**(dict(row) | typed))


SPECTRAL_FLUX = "1e-17 erg / (s cm2 Angstrom)"


def _scalars(
    survey: str, unit: str, rows: list[tuple[str, str, str]]
) -> list[Modality]:
    return [
        Modality(name, survey, Kind.SCALAR, (), unit, key, text)
        for name, key, text in rows
    ]


def _per_band(
    template: tuple[str, str, str], bands: dict[str, str]
) -> list[tuple[str, str, str]]:
    name, key, text = template
    return [
        (name.format(short), key.format(short), text.format(long))
        for short, long in bands.items()
    ]


_OPTICAL = {"g": "g", "r": "r", "i": "i", "z": "z"}
_WISE = {f"w{n}": f"WISE W{n}" for n in range(1, 5)}
_HSC = {**_OPTICAL, "y": "y"}

_ROWS = [
    Modality(
        "legacy_image",
        "legacy",
        Kind.IMAGE,
        (4, 160, 160),
        "nmgy",
        "tok_image",
        "Legacy Surveys DR10 coadd, bands g r i z, 0.262 arcsec pixels",
    ),
    Modality(
        "hsc_image",
        "hsc",
        Kind.IMAGE,
        (5, 160, 160),
        "ct",
        "tok_image_hsc",
        "HSC PDR3 coadd, bands g r i z y, zero point 27.0 AB, 0.168 arcsec pixels",
    ),
    Modality(
        "legacy_segmentation",
        "legacy",
        Kind.FIELD,
        (160, 160),
        "",
        "tok_segmap",
        "Legacy Surveys source map as a field in [0, 1]",
    ),
    Modality(
        "legacy_catalog",
        "legacy",
        Kind.CATALOG,
        (20, 5),
        "",
        "catalog",
        "sources in the cutout: x, y in pixels, e1, e2, half-light radius in arcsec",
    ),
    Modality(
        "desi_spectrum",
        "desi",
        Kind.SPECTRUM,
        (7781,),
        SPECTRAL_FLUX,
        "tok_spectrum_desi",
        "DESI coadd of three arms, vacuum wavelengths 3600-9824 Angstrom",
    ),
    Modality(
        "sdss_spectrum",
        "sdss",
        Kind.SPECTRUM,
        (None,),
        SPECTRAL_FLUX,
        "tok_spectrum_sdss",
        "SDSS, BOSS or eBOSS spectrum, vacuum wavelengths, log-linear grid",
    ),
    *_scalars(
        "legacy",
        "nmgy",
        _per_band(
            ("legacy_flux_{}", "tok_flux_{}", "model flux in {}, not dereddened"),
            {**_OPTICAL, **_WISE},
        ),
    ),
    *_scalars(
        "legacy",
        "arcsec",
        [("legacy_shape_r", "tok_shape_r", "half-light radius of the model")],
    ),
    *_scalars(
        "legacy",
        "",
        [
            ("legacy_shape_e1", "tok_shape_e1", "first ellipticity component"),
            ("legacy_shape_e2", "tok_shape_e2", "second ellipticity component"),
        ],
    ),
    *_scalars(
        "legacy", "mag", [("legacy_ebv", "tok_ebv", "Galactic reddening E(B-V), SFD")]
    ),
    *_scalars("any", "", [("redshift", "tok_z", "spectroscopic redshift")]),
    *_scalars(
        "hsc",
        "mag",
        _per_band(("hsc_a_{}", "tok_a_{}", "Galactic extinction in {}"), _HSC),
    ),
    *_scalars(
        "hsc",
        "mag(AB)",
        _per_band(("hsc_mag_{}", "tok_mag_{}", "cmodel magnitude in {}"), _HSC),
    ),
    *_scalars(
        "hsc",
        "arcsec2",
        [
            ("hsc_shape_11", "tok_shape11", "adaptive second moment xx in i"),
            ("hsc_shape_22", "tok_shape22", "adaptive second moment yy in i"),
            ("hsc_shape_12", "tok_shape12", "adaptive second moment xy in i"),
        ],
    ),
    *_scalars(
        "gaia",
        "electron / s",
        [
            ("gaia_flux_g", "tok_flux_g_gaia", "mean flux in G"),
            ("gaia_flux_bp", "tok_flux_bp_gaia", "mean flux in BP"),
            ("gaia_flux_rp", "tok_flux_rp_gaia", "mean flux in RP"),
        ],
    ),
    *_scalars("gaia", "mas", [("gaia_parallax", "tok_parallax", "parallax")]),
    *_scalars(
        "any",
        "deg",
        [("ra", "tok_ra", "right ascension"), ("dec", "tok_dec", "declination")],
    ),
    *[
        Modality(
            f"gaia_xp_{arm}",
            "gaia",
            Kind.COEFFICIENTS,
            (55,),
            "electron / s",
            f"tok_xp_{arm}",
            f"{arm.upper()} coefficients of the continuous XP representation",
        )
        for arm in ("bp", "rp")
    ],
]

MODALITIES: Mapping[str, Modality] = MappingProxyType({m.name: m for m in _ROWS})
"""The forty modalities of AION-1 by name (its paper says 39; its code has 40 keys)."""
