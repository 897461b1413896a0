# SPDX-License-Identifier: MIT
"""Hyper Suprime-Cam: images and catalogue numbers.

Images are in counts of zero point 27.0 AB, magnitudes are cmodel AB as measured
(extinction is its own modality), moments are SDSS's adaptive ones in i, arcsec2.
"""

from aion.observation import Image
from aion.surveys.recipes import Columns, Recipe, band_names, scalar


def _image(columns: Columns) -> Image:
    return Image.from_bands(
        columns["image_array"],
        band_names(columns["image_band"], "image_band"),
        ivar=columns["image_ivar"],
        mask=columns["image_mask"].astype(bool),
        psf_fwhm=columns.get("image_psf_fwhm"),
    )


_BANDS = ("g", "r", "i", "z", "y")

RECIPES = (
    Recipe(
        "hsc_image",
        ("image_array", "image_ivar", "image_mask", "image_band"),
        _image,
        ("image_psf_fwhm",),
    ),
    *[scalar(f"hsc_a_{band}", f"a_{band}") for band in _BANDS],
    *[
        scalar(f"hsc_mag_{band}", f"{band}_cmodel_mag", f"{band}_cmodel_magerr")
        for band in _BANDS
    ],
    *[scalar(f"hsc_shape_{ij}", f"i_sdssshape_shape{ij}") for ij in (11, 22, 12)],
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""What files of HSC hold."""
