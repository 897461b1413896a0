# SPDX-License-Identifier: MIT
"""The image sets: Legacy Surveys DR10 south and HSC PDR3 deep/ultradeep.

Image arrays and their catalogue columns keep what the processing left: flux in
nanomaggies per pixel (Legacy, zero point 22.5 AB) or counts (HSC, 27.0 AB), masks that
are True where a pixel is good, one for all bands in Legacy and one per band in HSC.
"""

from dataclasses import replace

from aion.layouts.layout import Column, Layout, MaskSense, floats, optional, placed

SOURCE_TYPES = ("", "PSF", "REX", "EXP", "DEV", "SER", "DUP")
"""Morphological types in the order of their codes in `object_mask` and `catalog_TYPE`;
0 is sky, or no source."""

NEIGHBOURS = 20
"""Rows of the catalogue of neighbours of one object."""

_SIZE = 160
_OPTICAL = ("G", "R", "I", "Z")
_ALL = (*_OPTICAL, "W1", "W2", "W3", "W4")
_HSC = ("g", "r", "i", "z", "y")
BAND_COLUMNS = {
    "legacy": ("des-g", "des-r", "des-i", "des-z"),
    "hsc": ("hsc-g", "hsc-r", "hsc-i", "hsc-z", "hsc-y"),
}
"""Contents of `image_band`, by survey."""


def _images(survey: str, scale: float) -> tuple[Column, ...]:
    names = BAND_COLUMNS[survey]
    bands = len(names)
    stack = (bands, _SIZE, _SIZE)
    unit = {"legacy": "nmgy", "hsc": "ct"}[survey]
    mask = stack if survey == "hsc" else stack[1:]
    return (
        Column("image_band", "S5", (bands,), utf8=True, fill=names),
        Column("image_array", "<f4", stack, unit),
        Column("image_ivar", "<f4", stack, f"1 / {unit}2"),
        Column("image_mask", "|b1", mask),
        Column("image_psf_fwhm", "<f4", (bands,), "arcsec"),
        Column("image_scale", "<f4", (bands,), "arcsec", fill=scale),
    )


def _sweep() -> tuple[Column, ...]:
    """The columns of the DR10.1 sweep files that a file must have, and some more."""

    def per_band(prefix: str, bands: tuple[str, ...] = _ALL) -> list[str]:
        return [f"{prefix}_{band}" for band in bands]

    return (
        Column("BRICKNAME", "S8"),
        Column("OBJID", ">i4"),
        Column("TYPE", "S3"),
        *floats(["EBV"], "mag"),
        *floats(per_band("FLUX"), "nmgy"),
        *floats(per_band("FLUX_IVAR"), "1 / nmgy2"),
        *floats(per_band("MW_TRANSMISSION")),
        *floats(per_band("NOBS", _OPTICAL), dtype=">i2"),
        *floats(per_band("PSFSIZE", _OPTICAL), "arcsec"),
        *floats(["SHAPE_R"], "arcsec"),
        *floats(["SHAPE_R_IVAR"], "1 / arcsec2"),
        *floats(["SHAPE_E1", "SHAPE_E1_IVAR", "SHAPE_E2", "SHAPE_E2_IVAR"]),
        Column("MASKBITS", ">i4", fill=0),
        *floats(["SERSIC", "SERSIC_IVAR"]),
        *optional(
            Column("RELEASE", ">i2"),
            Column("BRICKID", ">i4"),
            *floats(["RA_IVAR", "DEC_IVAR"], "1 / deg2"),
            Column("DCHISQ", ">f4", (5,)),
            *floats(per_band("NOBS", _ALL[4:]), dtype=">i2"),
            *floats(per_band("RCHISQ")),
            *floats(per_band("FRACFLUX")),
            *floats(per_band("FRACMASKED", _OPTICAL)),
            *floats(per_band("FRACIN", _OPTICAL)),
            *floats(per_band("ANYMASK", _OPTICAL), dtype=">i2"),
            *floats(per_band("ALLMASK", _OPTICAL), dtype=">i2"),
            *floats(per_band("PSFDEPTH"), "1 / nmgy2"),
            *floats(per_band("GALDEPTH", _OPTICAL), "1 / nmgy2"),
            *floats(per_band("FIBERFLUX", _OPTICAL), "nmgy"),
            *floats(per_band("FIBERTOTFLUX", _OPTICAL), "nmgy"),
            Column("REF_CAT", "S2"),
            Column("REF_ID", ">i8"),
            *floats(["REF_EPOCH"], "yr"),
            *floats(["PARALLAX"], "mas"),
            *floats(["PARALLAX_IVAR"], "1 / mas2"),
            *floats(["PMRA", "PMDEC"], "mas / yr"),
            *floats(["PMRA_IVAR", "PMDEC_IVAR"], "yr2 / mas2"),
        ),
    )


def _neighbours() -> tuple[Column, ...]:
    shape = (NEIGHBOURS,)
    fluxes = [f"catalog_FLUX_{band}" for band in _OPTICAL]
    shapes = ["catalog_SHAPE_E1", "catalog_SHAPE_E2"]
    return (
        *floats(fluxes, "nmgy", "<f8", shape),
        Column("catalog_TYPE", "<i8", shape),
        *floats(["catalog_SHAPE_R"], "arcsec", "<f8", shape),
        *floats(shapes, "", "<f8", shape),
        Column("catalog_X", "<i8", shape, "pix"),
        Column("catalog_Y", "<i8", shape, "pix"),
    )


LEGACY = Layout(
    name="legacysurvey",
    survey="legacy",
    folder="dr10_south_21",
    suffix=".hdf5",
    columns=(
        Column("object_id", "S16", utf8=True),
        Column("gid", "<i8"),
        *placed(">"),
        *_sweep(),
        *_images("legacy", 0.262),
        Column("image_rgb", "|u1", (_SIZE, _SIZE, 3)),
        Column("object_mask", "|u1", (_SIZE, _SIZE)),
        Column("blobmodel", "|u1", (_SIZE, _SIZE, 3)),
        *_neighbours(),
    ),
    signature=("image_array", "catalog_FLUX_G"),
    compression="lzf",
    resizable=True,
    mask=MaskSense.VALID,
    epoch=2017.5,
    hats_name="mmu_legacysurvey_dr10_south_21",
)
"""Legacy Surveys DR10 south: griz coadds, z < 21, no point sources."""


def _hsc_query() -> tuple[Column, ...]:
    columns = [
        Column("tract", ">i4", fill=0),
        Column("patch", ">i4", fill=0),
        *floats([f"a_{band}" for band in _HSC], "mag"),
    ]
    for band in _HSC:
        magnitudes = [f"{band}_cmodel_mag", f"{band}_cmodel_magerr"]
        fluxes = [f"{band}_cmodel_flux", f"{band}_cmodel_fluxerr"]
        moments = [
            f"{band}_sdssshape{psf}_shape{axes}"
            for psf in ("_psf", "")
            for axes in (11, 22, 12)
        ]
        columns += [
            Column(f"{band}_extendedness_value", ">f4"),
            Column(f"{band}_variance_value", ">f4", unit="ct2"),
            *floats(magnitudes, "mag(AB)"),
            *floats(fluxes, "nJy"),
            *floats(moments, "arcsec2"),
        ]
    return tuple(columns)


HSC = Layout(
    name="hsc",
    survey="hsc",
    folder="pdr3_dud_22.5",
    suffix=".hdf5",
    columns=(
        Column("object_id", ">i8"),
        *placed(">"),
        *_hsc_query(),
        *_images("hsc", 0.168),
    ),
    signature=("image_array", "i_cmodel_mag"),
    compression="gzip",
    resizable=True,
    mask=MaskSense.VALID,
    epoch=2016.5,
    hats_name="mmu_hsc_pdr3_dud_22.5",
)
"""HSC PDR3 deep and ultradeep: grizy coadds, i < 22.5."""


def resized(layout: Layout, size: int) -> Layout:
    """The same set with stamps of another size; the archive's have 160 pixels.

    Args:
        layout: any set; one without stamps stays as it is.
        size: pixels along the side.
    """
    columns = tuple(
        replace(c, shape=tuple(size if n == _SIZE else n for n in c.shape))
        for c in layout.columns
    )
    return replace(layout, columns=columns)
