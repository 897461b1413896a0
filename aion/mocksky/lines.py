# SPDX-License-Identifier: MIT
"""Emission lines of gas in galaxies: which, how strong, how wide.

Hydrogen has the ratios of Case B at 10,000 K (Osterbrock and Ferland 2006, table 4.4).
The others move along the sequence of star-forming galaxies with [N II] / H alpha, which
stands for metallicity (Pettini and Pagel 2004; Kewley et al. 2013 for [O III] / H beta)
or sit where Seyfert galaxies and LINERs are (Kewley et al. 2006). Not realistic: one
temperature and one electron density, no scatter in [O II], [S II], [O I] beyond that of
the type, no lines in the far ultraviolet or beyond 1 micron.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from aion.mocksky.dust import attenuation

LIGHT = 299_792.458
"""km/s."""

WAVELENGTHS: Mapping[str, float] = MappingProxyType(
    {
        "O II 3727": 3727.10,
        "O II 3730": 3729.86,
        "Ne III 3870": 3869.86,
        "H 9": 3836.49,
        "H 8": 3890.17,
        "Ne III 3969": 3968.59,
        "H epsilon": 3971.20,
        "H delta": 4102.90,
        "H gamma": 4341.69,
        "O III 4364": 4364.44,
        "H beta": 4862.69,
        "O III 4960": 4960.30,
        "O III 5008": 5008.24,
        "He I 5877": 5877.25,
        "O I 6302": 6302.05,
        "O I 6366": 6365.54,
        "N II 6550": 6549.86,
        "H alpha": 6564.61,
        "N II 6585": 6585.27,
        "S II 6718": 6718.29,
        "S II 6733": 6732.67,
        "Ar III 7138": 7137.77,
        "S III 9071": 9071.10,
        "S III 9533": 9533.20,
    }
)
"""Vacuum, Angstrom."""

_CASE_B = {
    "H 9": 0.0731,
    "H 8": 0.105,
    "H epsilon": 0.159,
    "H delta": 0.259,
    "H gamma": 0.468,
    "H beta": 1.0,
    "H alpha": 2.863,
}
OXYGEN_RATIO = 2.98
"""[O III] 5008 over 4960 (Storey and Zeippen 2000)."""
NITROGEN_RATIO = 3.05
"""[N II] 6585 over 6550."""

SHARES = ("star_forming", "seyfert", "liner")
"""What may ionise the gas, in the order of the last axis of `line_ratios`' mix."""


def _star_forming(n2: np.ndarray) -> dict[str, np.ndarray]:
    """Over H beta, by log [N II] 6585 / H alpha."""
    oxygen = 10 ** (0.61 / (np.minimum(n2, -0.25) + 0.08) + 1.1)
    return {
        "O III": np.minimum(oxygen, 7.0),
        "N II": 2.863 * 10**n2,
        "O II": 10 ** (0.48 - 0.9 * (n2 + 0.85) ** 2),
        "S II": 2.863 * 10 ** (-0.48 - 0.35 * (n2 + 0.55) ** 2),
        "O I": 2.863 * 10 ** (-1.45 - 0.2 * (n2 + 0.5)),
    }


_SEYFERT = {"O III": 7.0, "N II": 2.2, "O II": 2.6, "S II": 1.7, "O I": 0.45}
_LINER = {"O III": 2.0, "N II": 3.4, "O II": 4.5, "S II": 2.6, "O I": 0.6}


def line_ratios(
    n2: Float[np.ndarray, " k"], mix: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k lines"]:
    """Line fluxes over that of H alpha, without dust, in the order of `WAVELENGTHS`.

    Args:
        n2: log10 of [N II] 6585 over H alpha in star-forming gas.
        mix: shares of H beta by what ionises, in the order of `SHARES`; sum to 1.
    """
    forming = _star_forming(n2)
    over = {
        name: mix[:, 0] * forming[name]
        + mix[:, 1] * _SEYFERT[name]
        + mix[:, 2] * _LINER[name]
        for name in forming
    }
    one = np.ones_like(n2)
    strength = {name: value * one for name, value in _CASE_B.items()} | {
        # The doublet's ratio at 100 electrons per cubic centimetre, as for [S II].
        "O II 3727": over["O II"] * 0.43,
        "O II 3730": over["O II"] * 0.57,
        "Ne III 3870": over["O III"] * 0.085,
        "Ne III 3969": over["O III"] * 0.026,
        "O III 4364": over["O III"] * 0.008,
        "O III 4960": over["O III"] / OXYGEN_RATIO,
        "O III 5008": over["O III"],
        "He I 5877": 0.11 * one,
        "O I 6302": over["O I"],
        "O I 6366": over["O I"] / 3.03,
        "N II 6550": over["N II"] / NITROGEN_RATIO,
        "N II 6585": over["N II"],
        "S II 6718": over["S II"] * 0.57,
        "S II 6733": over["S II"] * 0.43,
        "Ar III 7138": 0.08 * one,
        "S III 9071": 0.16 * one,
        "S III 9533": 0.16 * 2.47 * one,
    }
    table = np.stack([strength[name] for name in WAVELENGTHS], axis=1)
    return table / _CASE_B["H alpha"]


def add_lines(
    flux: Float[np.ndarray, "k l"],
    wavelength: Float[np.ndarray, " l"],
    strength: Float[np.ndarray, "k lines"],
    sigma: Float[np.ndarray, " k"],
) -> None:
    """Adds Gaussian lines to spectra, in place.

    Args:
        flux: per Angstrom.
        wavelength: increasing, Angstrom.
        strength: integrated flux of the lines of `WAVELENGTHS`.
        sigma: of the profiles, km/s.
    """
    for row, width in enumerate(sigma / LIGHT):
        for centre, total in zip(WAVELENGTHS.values(), strength[row], strict=True):
            edges = centre * (1 + 5 * width * np.array([-1, 1]))
            low, high = np.searchsorted(wavelength, edges)
            x = (wavelength[low:high] / centre - 1) / width
            norm = total / (np.sqrt(2 * np.pi) * width * centre)
            flux[row, low:high] += norm * np.exp(-0.5 * x**2)


def line_attenuation() -> Float[np.ndarray, " lines"]:
    """A(lambda) / A_V of `dust.attenuation` at the lines."""
    return attenuation(np.array(list(WAVELENGTHS.values())))
