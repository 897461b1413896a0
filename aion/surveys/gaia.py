# SPDX-License-Identifier: MIT
"""Gaia: mean fluxes, parallaxes, positions and XP coefficients.

Fluxes and coefficients in electrons per second, parallaxes in mas. A source without an
arm has coefficients that are all NaN there, which is absent.
"""

from functools import partial

from aion.layouts.gaia import XP_SIZE
from aion.observation import Coefficients, Scalar
from aion.surveys.recipes import Columns, Recipe, scalar

ARMS = {"bp": slice(0, XP_SIZE), "rp": slice(XP_SIZE, 2 * XP_SIZE)}
"""Where each arm is in `coeff`."""
_MAS = 1 / 3.6e6


def _coefficients(columns: Columns, arm: str) -> Coefficients:
    place = ARMS[arm]
    errors = columns.get("coeff_error")
    return Coefficients(
        columns["coeff"][:, place], None if errors is None else errors[:, place]
    )


def _angle(columns: Columns, name: str) -> Scalar:
    errors = columns.get(f"{name}_error")
    return Scalar(columns[name], None if errors is None else errors * _MAS)


RECIPES = (
    *[
        scalar(
            f"gaia_flux_{band}",
            f"phot_{band}_mean_flux",
            f"phot_{band}_mean_flux_error",
        )
        for band in ("g", "bp", "rp")
    ],
    scalar("gaia_parallax", "parallax", "parallax_error"),
    *[
        Recipe(
            f"gaia_xp_{arm}",
            ("coeff",),
            partial(_coefficients, arm=arm),
            ("coeff_error",),
        )
        for arm in ARMS
    ],
    *[
        Recipe(name, (name,), partial(_angle, name=name), (f"{name}_error",))
        for name in ("ra", "dec")
    ],
)
"""What files of Gaia hold; positions with errors in degrees."""
