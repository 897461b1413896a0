# SPDX-License-Identifier: MIT
"""The spectroscopic sets: SDSS DR17 (all five surveys) and DESI EDR.

Masks are True where a pixel is *bad*. SDSS spectra of a file are padded to the longest
one: wavelength -1, inverse variance 0, mask True, flux and width repeat the last value.
"""

import numpy as np

from aion.layouts.layout import Column, Layout, MaskSense, floats, optional, placed

SPECTRAL = "1e-17 erg / (s cm2 Angstrom)"
_INVERSE = "1e34 s2 cm4 Angstrom2 / erg2"

DESI_GRID = 3600.0 + 0.8 * np.arange(7781)
"""Wavelengths of DESI's coadded spectra, vacuum, Angstrom."""

SDSS_FOLDERS = ("sdss", "segue1", "segue2", "boss", "eboss")
"""The five surveys of SDSS, each a folder of its own."""


def _spectrum(length: int | None) -> tuple[Column, ...]:
    shape = (length,)
    return (
        Column("spectrum_flux", "<f4", shape, SPECTRAL),
        Column("spectrum_ivar", "<f4", shape, _INVERSE),
        Column("spectrum_lambda", "<f4", shape, "Angstrom"),
        Column("spectrum_lsf_sigma", "<f4", shape, "pix"),
        Column("spectrum_mask", "|b1", shape),
    )


_FIVE = ("SPECTROFLUX", "SPECTROFLUX_IVAR", "SPECTROSYNFLUX", "SPECTROSYNFLUX_IVAR")

SDSS = Layout(
    name="sdss",
    survey="sdss",
    folder="sdss",
    suffix=".hdf5",
    columns=(
        Column("object_id", "S22"),
        *placed(">"),
        Column("SPECOBJID", "S22", copy="object_id"),
        Column("SURVEY", "S6", fill="sdss"),
        *optional(Column("INSTRUMENT", "S4")),
        Column("PLATE", ">i4"),
        Column("MJD", ">i4"),
        Column("FIBERID", ">i4"),
        Column("PLUG_RA", ">f8", unit="deg", copy="ra"),
        Column("PLUG_DEC", ">f8", unit="deg", copy="dec"),
        *optional(Column("SPECPRIMARY", "|u1")),
        *optional(Column("TARGETTYPE", "S8")),
        *optional(Column("PLATEQUALITY", "S8")),
        Column("CLASS", "S6"),
        *optional(Column("SUBCLASS", "S21")),
        *floats(["Z", "Z_ERR"]),
        Column("ZWARNING", ">i4"),
        *optional(*floats(["RCHI2"])),
        *floats(["VDISP", "VDISP_ERR"], "km / s"),
        *optional(*floats(["SN_MEDIAN_ALL"])),
        *[
            Column(name, ">f4", (5,), "1 / nmgy2" if name.endswith("_IVAR") else "nmgy")
            for name in _FIVE
        ],
        *_spectrum(None),
    ),
    signature=("spectrum_flux", "SPECTROFLUX"),
    mask=MaskSense.BAD,
    epoch=2003.0,
    hats_name="mmu_sdss_sdss",
)
"""SDSS DR17: one spectrum of each science target."""

_BANDS = ("G", "R", "Z")

DESI = Layout(
    name="desi",
    survey="desi",
    folder="edr_sv3",
    suffix=".hdf5",
    columns=(
        Column("object_id", ">i8"),
        *placed(">"),
        Column("TARGETID", ">i8", copy="object_id"),
        *optional(Column("SURVEY", "S7")),
        *optional(Column("PROGRAM", "S6")),
        *optional(Column("HEALPIX", ">i4")),
        Column("TARGET_RA", ">f8", unit="deg", copy="ra"),
        Column("TARGET_DEC", ">f8", unit="deg", copy="dec"),
        *optional(*floats(["PMRA", "PMDEC"], "mas / yr")),
        *optional(*floats(["REF_EPOCH"], "yr")),
        *optional(Column("OBJTYPE", "S3")),
        Column("SPECTYPE", "S6"),
        *optional(Column("SUBTYPE", "S20")),
        *floats(["Z", "ZERR"], dtype=">f8"),
        Column("ZWARN", ">i8"),
        *optional(*floats(["CHI2", "DELTACHI2"], dtype=">f8")),
        *floats(["EBV"], "mag"),
        *floats([f"FLUX_{band}" for band in _BANDS], "nmgy"),
        *floats([f"FLUX_IVAR_{band}" for band in _BANDS], "1 / nmgy2"),
        *floats([f"FIBERFLUX_{band}" for band in _BANDS], "nmgy"),
        *floats([f"FIBERTOTFLUX_{band}" for band in _BANDS], "nmgy"),
        *optional(Column("COADD_FIBERSTATUS", ">i4")),
        *_spectrum(len(DESI_GRID)),
        Column("spectrum_lsf", "<f4", (11, len(DESI_GRID))),
    ),
    signature=("spectrum_flux", "ZWARN"),
    mask=MaskSense.BAD,
    epoch=2021.5,
    hats_name="mmu_desi_edr_sv3",
)
"""DESI early data release, survey validation 3: coadds of three arms on one grid."""
