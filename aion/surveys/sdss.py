# SPDX-License-Identifier: MIT
"""SDSS, BOSS and eBOSS: spectra and redshifts."""

from aion.surveys.recipes import Recipe, category, quality, scalar, trimmed

SPECTRUM = tuple(f"spectrum_{name}" for name in ("flux", "ivar", "lambda", "mask"))

RECIPES = (
    Recipe("sdss_spectrum", SPECTRUM, trimmed, ("spectrum_lsf_sigma",)),
    scalar("redshift", "Z", "Z_ERR"),
    quality("ZWARNING"),
    category("sdss_class", "CLASS"),
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""What files of SDSS hold. Redshifts come as they are: mind `redshift_quality`."""
