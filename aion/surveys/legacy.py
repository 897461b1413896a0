# SPDX-License-Identifier: MIT
"""Legacy Surveys: images, segmentation, neighbours and catalogue numbers.

Fluxes in nanomaggies AB at zero point 22.5, not corrected for extinction; WISE too.
"""

import numpy as np

from aion.layouts import SOURCE_TYPES
from aion.observation import Catalog, Field, Image
from aion.surveys.recipes import Columns, Recipe, band_names, scalar


def _image(columns: Columns) -> Image:
    flux = columns["image_array"]
    mask = columns["image_mask"].astype(bool)
    if mask.ndim == 3:  # one mask for all bands
        mask = np.broadcast_to(mask[:, None], flux.shape)
    return Image.from_bands(
        flux,
        band_names(columns["image_band"], "image_band"),
        ivar=columns["image_ivar"],
        mask=mask,
        psf_fwhm=columns.get("image_psf_fwhm"),
    )


def _segmentation(columns: Columns) -> Field:
    """Type code over the largest one, so that the field is in [0, 1]."""
    codes = columns["object_mask"]
    if codes.ndim == 4:  # a picture with three equal channels
        codes = codes[..., 0]
    return Field(codes.astype(np.float32) / np.float32(len(SOURCE_TYPES) - 1))


def _catalog(columns: Columns) -> Catalog:
    names = ("X", "Y", "SHAPE_E1", "SHAPE_E2", "SHAPE_R")
    values = (columns[f"catalog_{name}"].astype(np.float32) for name in names)
    return Catalog(*values, valid=columns["catalog_TYPE"] > 0)


_NEIGHBOURS = ("X", "Y", "SHAPE_E1", "SHAPE_E2", "SHAPE_R", "TYPE")

RECIPES = (
    Recipe(
        "legacy_image",
        ("image_array", "image_ivar", "image_mask", "image_band"),
        _image,
        ("image_psf_fwhm",),
    ),
    Recipe("legacy_segmentation", ("object_mask",), _segmentation),
    Recipe(
        "legacy_catalog", tuple(f"catalog_{name}" for name in _NEIGHBOURS), _catalog
    ),
    *[
        scalar(f"legacy_flux_{band.lower()}", f"FLUX_{band}", ivar=f"FLUX_IVAR_{band}")
        for band in ("G", "R", "I", "Z", "W1", "W2", "W3", "W4")
    ],
    *[
        scalar(
            f"legacy_shape_{name.lower()}", f"SHAPE_{name}", ivar=f"SHAPE_{name}_IVAR"
        )
        for name in ("R", "E1", "E2")
    ],
    scalar("legacy_ebv", "EBV"),
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""What files of the Legacy Surveys hold; all but the arrays in float32."""
