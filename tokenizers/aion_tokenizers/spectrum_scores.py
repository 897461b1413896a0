# SPDX-License-Identifier: MIT
"""What astronomers measure in spectra, to score reconstructions by."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Line:
    """Where a line and its continuum lie, rest frame, vacuum, Angstrom.

    Attributes:
        inside: the line.
        blue, red: continuum on both sides.
    """

    inside: tuple[float, float]
    blue: tuple[float, float]
    red: tuple[float, float]


LINES: Mapping[str, Line] = MappingProxyType(
    {
        "ca_k": Line((3924.0, 3946.0), (3902.0, 3919.0), (3996.0, 4015.0)),
        "oiii": Line((4996.0, 5020.0), (4975.0, 4992.0), (5025.0, 5050.0)),
        "h_alpha": Line((6555.0, 6574.0), (6505.0, 6535.0), (6600.0, 6630.0)),
    }
)
"""Calcium K, [O III] 5008 and H alpha (between the lines of [N II])."""


def equivalent_width(
    wavelength: Float[np.ndarray, " l"],
    flux: Float[np.ndarray, "b l"],
    redshift: Float[np.ndarray, " b"],
    line: Line,
) -> Float64[np.ndarray, " b"]:
    """Integral of 1 - flux / continuum over a line, rest frame, Angstrom.

    Positive in absorption. The continuum is straight between the means of its two
    sides.

    Args:
        wavelength: vacuum, Angstrom, increasing.
        flux: without NaN where the line and its sides are.
        redshift: of each object.
        line: which.

    Returns:
        NaN where a part is outside the spectrum, or the continuum is not positive.
    """
    found = np.full(len(flux), np.nan)
    width = np.gradient(np.asarray(wavelength, np.float64))
    for row, (values, z) in enumerate(zip(flux, redshift, strict=True)):
        rest = np.asarray(wavelength, np.float64) / (1 + z)
        if rest[0] > line.blue[0] or rest[-1] < line.red[1]:
            continue
        blue, red, inside = (
            (rest >= low) & (rest < high)
            for low, high in (line.blue, line.red, line.inside)
        )
        if not (blue.any() and red.any() and inside.any()):
            continue
        ends = np.mean(values[blue]), np.mean(values[red])
        centres = np.mean(rest[blue]), np.mean(rest[red])
        level = np.interp(rest[inside], centres, ends)
        if np.all(level > 0):
            depth = 1 - values[inside] / level
            found[row] = np.sum(depth * width[inside]) / (1 + z)
    return found
