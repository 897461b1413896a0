# SPDX-License-Identifier: MIT
"""Label sets: PROVABGS's galaxy properties and Galaxy10's morphologies."""

import numpy as np

from aion.errors import DataError
from aion.observation import Category, Coefficients
from aion.surveys.recipes import Columns, Recipe, scalar

MORPHOLOGIES = (
    "disturbed",
    "merging",
    "round smooth",
    "in-between round smooth",
    "cigar shaped smooth",
    "barred spiral",
    "unbarred tight spiral",
    "unbarred loose spiral",
    "edge-on without bulge",
    "edge-on with bulge",
)
"""Galaxy10's classes in the order of `ans` (Leung and Bovy 2019, astroNN)."""


def _morphology(columns: Columns) -> Category:
    codes = columns["ans"].astype(np.int64)
    if codes.size and codes.max() >= len(MORPHOLOGIES):
        raise DataError(
            f"column 'ans' holds {codes.max()}, which is no class",
            f"Classes are 0 to {len(MORPHOLOGIES) - 1}.",
        )
    return Category(np.array(MORPHOLOGIES)[codes])


def _best_fit(columns: Columns) -> Coefficients:
    return Coefficients(columns["PROVABGS_THETA_BF"])


PROVABGS_RECIPES = (
    scalar("log_stellar_mass", "PROVABGS_LOGMSTAR_BF"),
    scalar("stellar_metallicity", "Z_MW"),
    scalar("stellar_age", "TAGE_MW"),
    scalar("star_formation_rate", "AVG_SFR"),
    Recipe("provabgs_theta", ("PROVABGS_THETA_BF",), _best_fit),
    scalar("redshift", "Z_HP", "ZERR"),
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""Log10 of solar masses, mass fraction of metals, Gyr, solar masses a year."""

GZ10_RECIPES = (
    Recipe("morphology", ("ans",), _morphology),
    scalar("redshift", "redshift"),
    scalar("ra", "ra"),
    scalar("dec", "dec"),
)
"""Galaxy10; the pictures are RGB for eyes and are not read."""
