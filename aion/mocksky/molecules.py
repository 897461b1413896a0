# SPDX-License-Identifier: MIT
"""Molecular bands of cool stars: heads where they are, strengths by type.

Heads: Gray and Corbally 2009, chapters 7-9; Kirkpatrick et al. 1991, ApJS 77, 417. The
strength of a system is a smooth function of temperature, gravity and metals, set so
that bands appear and saturate at the spectral types of those references and that the
colours of M dwarfs follow West et al. 2011, AJ 141, 97. Rotational lines in a band are
random. Not realistic: no chemical equilibrium, no C stars, no bands beyond 1.1 micron.
"""

import numpy as np
from jaxtyping import Float

from aion.mocksky.line_data import to_vacuum

# Per system: heads in air (Angstrom), relative strength, length of the tail (fraction
# of the wavelength; positive degrades to the red, negative to the blue).
SYSTEMS = {
    "CN": ((3883.4, 1.0, -0.010), (3871.4, 0.8, -0.010), (4215.9, 0.35, -0.012)),
    "CH": ((4314.0, 1.0, -0.0045), (4300.0, 0.7, -0.004), (4324.0, 0.4, -0.003)),
    "MgH": ((5211.0, 1.0, -0.012), (4845.0, 0.25, -0.012), (5621.0, 0.15, -0.012)),
    "CaH": ((6382.0, 0.7, 0.012), (6908.0, 0.5, -0.010), (6946.0, 1.0, -0.028)),
    "TiO blue": (
        (4584.0, 0.5, 0.02),
        (4761.0, 0.9, 0.02),
        (4954.6, 1.3, 0.02),
        (5166.8, 1.5, 0.025),
        (5448.0, 1.1, 0.03),
    ),
    "TiO": (
        (5759.0, 0.5, 0.012),
        (5847.0, 0.8, 0.018),
        (6158.0, 1.5, 0.022),
        (6322.0, 0.6, 0.015),
        (6651.0, 0.9, 0.010),
        (6714.0, 0.8, 0.020),
        (7053.0, 0.9, 0.006),
        (7087.0, 1.1, 0.006),
        (7125.0, 1.3, 0.020),
        (7589.0, 0.7, 0.010),
        (7666.0, 0.7, 0.018),
        (8205.0, 0.15, 0.010),
        (8432.0, 0.7, 0.006),
        (8859.0, 0.45, 0.010),
        (9209.0, 0.3, 0.015),
    ),
    "VO": (
        (5469.0, 0.5, 0.02),
        (7334.0, 0.6, 0.018),
        (7400.0, 0.6, 0.018),
        (7851.0, 0.8, 0.018),
        (7939.0, 0.8, 0.015),
        (8521.0, 0.5, 0.02),
        (8625.0, 0.4, 0.015),
        (9600.0, 0.3, 0.03),
    ),
    "FeH": ((9896.0, 1.0, 0.012), (8692.0, 0.25, 0.006)),
}


def band_profiles(
    wavelength: Float[np.ndarray, " l"], seed: int = 12
) -> Float[np.ndarray, "n l"]:
    """Opacity of each of `SYSTEMS` over its strongest head, [n, l].

    Args:
        wavelength: vacuum, Angstrom, [l].
        seed: of the random rotational lines.
    """
    rng = np.random.default_rng(seed)
    profiles = np.zeros((len(SYSTEMS), len(wavelength)))
    rough = rng.standard_normal((len(SYSTEMS), len(wavelength)))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.8) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    for row, heads in enumerate(SYSTEMS.values()):
        for head, strength, tail in heads:
            offset = np.log(wavelength / to_vacuum(np.array([head]))) / tail
            edge = np.abs(tail) / 2e-4
            inside = 1 / (1 + np.exp(-np.clip(edge * offset, -60, 60)))
            profiles[row] += strength * inside * np.exp(-np.clip(offset, 0, 60))
        lines = np.exp(0.22 * np.convolve(rough[row], kernel, "same") - 0.024)
        profiles[row] *= lines
    return profiles


def band_strengths(
    teff: Float[np.ndarray, " k"],
    log_g: Float[np.ndarray, " k"],
    fe_h: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k n"]:
    """Opacity of each of `SYSTEMS` over the continuum's, [k, n].

    Args:
        teff: Kelvin, [k].
        log_g: log10 cm/s2, [k].
        fe_h: dex, [k].
    """

    def onset(kelvin: float, width: float) -> np.ndarray:
        return 1 / (1 + np.exp(np.clip((teff - kelvin) / width, -60, 60)))

    dwarf = log_g - 4.5
    oxide = 10 ** (0.8 * fe_h.clip(-2.0, 0.3))
    strengths = {
        "CN": 0.9 * onset(5400.0, 350.0) * 10 ** (0.8 * fe_h - 0.10 * dwarf),
        "CH": 0.9
        * onset(6000.0, 280.0)
        * (0.35 + 0.65 * (1 - onset(4300.0, 200.0)))
        * 10 ** (0.35 * fe_h - 0.02 * dwarf),
        "MgH": 0.55 * onset(4500.0, 250.0) * 10 ** (0.4 * fe_h + 0.20 * dwarf),
        "CaH": 0.75 * onset(3650.0, 170.0) * 10 ** (0.20 * dwarf),
        "TiO blue": 1.5
        * oxide
        * 10 ** ((3600.0 - teff) / 1100.0)
        * onset(3980.0, 90.0),
        "TiO": 1.5 * oxide * 10 ** ((3450.0 - teff) / 520.0) * onset(4000.0, 70.0),
        "VO": oxide * 10 ** ((2750.0 - teff) / 330.0),
        "FeH": 0.4 * onset(2950.0, 150.0) * 10 ** (0.20 * dwarf),
    }
    return np.minimum(np.stack([strengths[name] for name in SYSTEMS], 1), 60.0)
