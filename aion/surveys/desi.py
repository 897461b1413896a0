# SPDX-License-Identifier: MIT
"""DESI: spectra and redshifts."""

from aion.surveys.recipes import Recipe, category, quality, scalar, trimmed

SPECTRUM = tuple(f"spectrum_{name}" for name in ("flux", "ivar", "lambda", "mask"))

RECIPES = (
    Recipe("desi_spectrum", SPECTRUM, trimmed, ("spectrum_lsf_sigma",)),
    scalar("redshift", "Z", "ZERR"),
    quality("ZWARN"),
    category("desi_class", "SPECTYPE"),
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""What files of DESI hold. Redshifts come as they are: mind `redshift_quality`."""
