# SPDX-License-Identifier: MIT
"""The same sets as HATS collections (Parquet): release v1.5 of June 2026.

Each leaf of a row is a column of the HDF5 file under another name, in a struct of
lists for images, spectra, neighbours and Gaia's groups. Source: `catalog_functions/` of
https://github.com/UniverseTBD/mmu-hdf-to-hats, revision bc467bd. Kept are its quirks:
ids that were bytes are texts like "b'...'", masks of spectra are True = bad, DESI's
`ZWARN` is True = good and SDSS's `ZWARNING` True = a problem.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from aion.layouts.gaia import GAIA
from aion.layouts.imaging import HSC, LEGACY
from aion.layouts.labels import GZ10, PROVABGS
from aion.layouts.layout import Layout
from aion.layouts.spectra import DESI, SDSS

MARGIN = 10.0
"""Width of the margin catalogue, arcsec."""
LOWEST_ORDER = 4


class Turn(enum.Enum):
    """How a leaf differs from its column."""

    SAME = "same"
    QUOTED = "bytes as the text b'...'"
    PNG = "a picture as PNG bytes"
    GOOD = "True where the column is 0"
    PROBLEM = "True where the column is not 0"
    PER_BAND = "one mask repeated for each band"
    ITEM = "one item of a vector"


@dataclass(frozen=True)
class Leaf:
    """One value of a row.

    Attributes:
        path: name, or names of struct and field joined by a dot.
        column: of the HDF5 file.
        kind: f4, f8, i4, i8, b1, str or bytes.
        depth: how many lists it is in.
        turn: how it differs from the column.
        item: which item of the vector, where `turn` is ITEM.
    """

    path: str
    column: str
    kind: str = "f4"
    depth: int = 0
    turn: Turn = Turn.SAME
    item: int = 0

    @property
    def top(self) -> str:
        """Name of the column of the table it is in."""
        return self.path.split(".")[0]

    @property
    def field(self) -> str:
        """Name of the field of the struct; "" where there is none."""
        return self.path.partition(".")[2]


def _same(*names: str, kind: str = "f4", group: str = "") -> tuple[Leaf, ...]:
    return tuple(Leaf(f"{group}{name}", name, kind) for name in names)


_PLACE = _same("ra", "dec", kind="f8")


def _image(*order: str, per_band: bool) -> tuple[Leaf, ...]:
    leaves = {
        "band": Leaf("image.band", "image_band", "str", 1),
        "flux": Leaf("image.flux", "image_array", "f4", 3),
        "ivar": Leaf("image.ivar", "image_ivar", "f4", 3),
        "mask": Leaf(
            "image.mask",
            "image_mask",
            "b1",
            3,
            Turn.PER_BAND if per_band else Turn.SAME,
        ),
        "psf_fwhm": Leaf("image.psf_fwhm", "image_psf_fwhm", "f4", 1),
        "scale": Leaf("image.scale", "image_scale", "f4", 1),
    }
    return tuple(leaves[name] for name in order)


_SPECTRUM = tuple(
    Leaf(f"spectrum.{name}", f"spectrum_{name}", "b1" if name == "mask" else "f4", 1)
    for name in ("flux", "ivar", "lsf_sigma", "lambda", "mask")
)


def _legacy() -> tuple[Leaf, ...]:
    def picture(name: str, column: str) -> Leaf:
        return Leaf(name, column, "bytes", turn=Turn.PNG)

    bands = ("G", "R", "I", "Z")
    neighbours = [f"FLUX_{band}" for band in bands]
    neighbours += ["TYPE", "SHAPE_R", "SHAPE_E1", "SHAPE_E2", "X", "Y"]
    return (
        *_image("band", "flux", "mask", "ivar", "psf_fwhm", "scale", per_band=True),
        picture("blobmodel", "blobmodel"),
        picture("rgb", "image_rgb"),
        picture("object_mask", "object_mask"),
        *[Leaf(f"catalog.{n}", f"catalog_{n}", "f4", 1) for n in neighbours],
        *_same("EBV", *[f"FLUX_{band}" for band in (*bands, "W1", "W2", "W3", "W4")]),
        *_same("SHAPE_R", "SHAPE_E1", "SHAPE_E2"),
        *_PLACE,
        Leaf("object_id", "object_id", "str", turn=Turn.QUOTED),
    )


def _hsc() -> tuple[Leaf, ...]:
    numbers = [
        column.name
        for column in HSC.columns
        if column.name.startswith("a_")
        or column.name.endswith(("extendedness_value", "_cmodel_mag", "_cmodel_magerr"))
        or "_sdssshape_" in column.name
    ]
    order = ("band", "flux", "ivar", "mask", "psf_fwhm", "scale")
    return (
        *_image(*order, per_band=False),
        *_same(*numbers),
        *_PLACE,
        Leaf("object_id", "object_id", "str"),
    )


def _sdss() -> tuple[Leaf, ...]:
    fluxes = (
        "SPECTROFLUX",
        "SPECTROFLUX_IVAR",
        "SPECTROSYNFLUX",
        "SPECTROSYNFLUX_IVAR",
    )
    return (
        *_SPECTRUM,
        *_same("VDISP", "VDISP_ERR", "Z", "Z_ERR"),
        *[
            Leaf(f"{name}_{band}", name, turn=Turn.ITEM, item=n)
            for name in fluxes
            for n, band in enumerate("UGRIZ")
        ],
        Leaf("ZWARNING", "ZWARNING", "b1", turn=Turn.PROBLEM),
        *_PLACE,
        *_same("healpix", kind="i8"),
        Leaf("object_id", "object_id", "str", turn=Turn.QUOTED),
    )


def _desi() -> tuple[Leaf, ...]:
    fluxes = ("FLUX", "FLUX_IVAR", "FIBERFLUX", "FIBERTOTFLUX")
    return (
        *_SPECTRUM,
        *_same("Z", "ZERR", "EBV", *[f"{n}_{band}" for n in fluxes for band in "GRZ"]),
        *_PLACE,
        Leaf("ZWARN", "ZWARN", "b1", turn=Turn.GOOD),
        Leaf("object_id", "object_id", "str"),
    )


def _gaia() -> tuple[Leaf, ...]:
    names = [c.name for c in GAIA.columns]
    photometry = [
        f"phot_{band}_mean_{kind}"
        for band in ("g", "bp", "rp")
        for kind in ("mag", "flux", "flux_error")
    ]
    astrometry = ["ra", "ra_error", "dec", "dec_error", "parallax", "parallax_error"]
    astrometry += ["pmra", "pmra_error", "pmdec", "pmdec_error"]
    astrometry += [name for name in names if name.endswith("_corr")]
    groups = {
        "photometry": [
            *photometry,
            "phot_bp_rp_excess_factor",
            "bp_rp",
            "bp_g",
            "g_rp",
        ],
        "astrometry": astrometry,
        "radial_velocity": [
            "radial_velocity",
            "radial_velocity_error",
            "rv_template_fe_h",
            "rv_template_logg",
            "rv_template_teff",
        ],
        "gspphot": [name for name in names if "_gspphot" in name],
        "flags": ["ruwe"],
        "corrections": [
            "ecl_lat",
            "ecl_lon",
            "nu_eff_used_in_astrometry",
            "pseudocolour",
            "astrometric_params_solved",
            "rv_template_teff",
            "grvs_mag",
        ],
    }
    return (
        *[
            Leaf(f"spectral_coefficients.{name}", name, "f4", 1)
            for name in ("coeff", "coeff_error")
        ],
        *[leaf for g, names in groups.items() for leaf in _same(*names, group=f"{g}.")],
        *_PLACE,
        *_same("healpix", kind="i8"),
        Leaf("object_id", "source_id", "i8"),
    )


def _provabgs() -> tuple[Leaf, ...]:
    numbers = "Z_HP Z_MW TAGE_MW AVG_SFR ZERR TSNR2_BGS MAG_G MAG_R MAG_Z MAG_W1"
    more = "FIBMAG_R HPIX_64 PROVABGS_Z_MAX SCHLEGEL_COLOR PROVABGS_W_ZFAIL"
    return (
        *_PLACE,
        Leaf("PROVABGS_MCMC", "PROVABGS_MCMC", "f4", 2),
        Leaf("PROVABGS_THETA_BF", "PROVABGS_THETA_BF", "f4", 1),
        Leaf("LOG_MSTAR", "PROVABGS_LOGMSTAR_BF"),
        *_same(*numbers.split(), *more.split(), "PROVABGS_W_FIBASSIGN"),
        Leaf("object_id", "object_id", "str"),
    )


def _gz10() -> tuple[Leaf, ...]:
    return (
        Leaf("rgb_image", "images", "bytes", turn=Turn.PNG),
        Leaf("gz10_label", "ans", "i4"),
        Leaf("redshift", "redshift"),
        Leaf("rgb_pixel_scale", "pxscale"),
        *_PLACE,
        Leaf("object_id", "object_id", "str"),
    )


LEAVES: Mapping[str, tuple[Leaf, ...]] = MappingProxyType(
    {
        LEGACY.name: _legacy(),
        HSC.name: _hsc(),
        SDSS.name: _sdss(),
        DESI.name: _desi(),
        GAIA.name: _gaia(),
        PROVABGS.name: _provabgs(),
        GZ10.name: _gz10(),
    }
)
"""Leaves of a row by the name of the set, in the order of the table."""

SIGNATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        LEGACY.name: ("image", "catalog"),
        HSC.name: ("image", "i_cmodel_mag"),
        SDSS.name: ("spectrum", "ZWARNING"),
        DESI.name: ("spectrum", "ZWARN"),
        GAIA.name: ("spectral_coefficients",),
        PROVABGS.name: ("PROVABGS_MCMC",),
        GZ10.name: ("gz10_label",),
    }
)
"""Columns of a table that no other set has together."""


def _arrow_type(leaf: Leaf) -> Any:
    import pyarrow as pa

    kinds = {
        "f4": pa.float32(),
        "f8": pa.float64(),
        "i4": pa.int32(),
        "i8": pa.int64(),
        "b1": pa.bool_(),
        "str": pa.string(),
        "bytes": pa.struct([("bytes", pa.binary()), ("path", pa.null())]),
    }
    kind = kinds[leaf.kind]
    for _ in range(leaf.depth):
        kind = pa.list_(kind)
    return kind


@cache
def arrow_schema(layout: Layout) -> Any:
    """The pyarrow schema of a set's tables, without `_healpix_29`."""
    import pyarrow as pa

    fields: dict[str, Any] = {}
    for leaf in LEAVES[layout.name]:
        if leaf.field:
            fields.setdefault(leaf.top, []).append((leaf.field, _arrow_type(leaf)))
        else:
            fields[leaf.top] = _arrow_type(leaf)
    return pa.schema(
        [
            pa.field(name, pa.struct(kind) if isinstance(kind, list) else kind)
            for name, kind in fields.items()
        ]
    )
