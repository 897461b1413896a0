# SPDX-License-Identifier: MIT
"""Light and darkness of the air above a spectrograph: night sky and absorption.

The shipped table holds lines and continuum of a real dark sky, taken from spectra of
SDSS and DESI (see `tables/README.md`): oxygen at 5578.9, 6302 and 6366 Angstrom,
sodium, mercury, and the forest of OH bands that fills the far red.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from aion.mocksky.linespread import lines_in_pixels

# Bands of O2 (B, A) and H2O in vacuum: from, to in Angstrom, depth; the head is sharp
# and the tail fades (after the transmission in Smette et al. 2015, smoothed).
_ABSORPTION = (
    (6869.0, 6950.0, 0.25),
    (7168.0, 7340.0, 0.12),
    (7594.0, 7690.0, 0.70),
    (8130.0, 8350.0, 0.12),
    (8940.0, 9240.0, 0.18),
    (9290.0, 9800.0, 0.35),
)


@lru_cache(maxsize=1)
def sky_table() -> dict[str, np.ndarray]:
    """The shipped table.

    Returns:
        line_wavelength [m] and continuum_wavelength [n] in vacuum Angstrom;
        line_brightness [m] in 1e-17 erg/s/cm2/arcsec2, continuum_brightness [n] in
        1e-17 erg/s/cm2/Angstrom/arcsec2.
    """
    path = files("aion.mocksky").joinpath("tables/night_sky.npz")
    with path.open("rb") as file, np.load(file) as table:
        return {name: table[name].astype(np.float64) for name in table.files}


def night_sky(
    edges: Float[np.ndarray, " e"],
    sigma: Float[np.ndarray, " e"],
    airglow: float = 1.0,
) -> Float[np.ndarray, " l"]:
    """Brightness of a dark sky in pixels.

    Args:
        edges: vacuum wavelengths in Angstrom, increasing, [l + 1].
        sigma: of the line spread function at the edges, Angstrom, [l + 1].
        airglow: of the lines, relative to the table's night.

    Returns:
        1e-17 erg/s/cm2/Angstrom/arcsec2, [l].
    """
    table = sky_table()
    centre = (edges[1:] + edges[:-1]) / 2
    continuum = np.interp(
        centre, table["continuum_wavelength"], table["continuum_brightness"]
    )
    light = airglow * table["line_brightness"]
    return continuum + lines_in_pixels(table["line_wavelength"], light, edges, sigma)


def transmission(wavelength: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Share of light that the absorption bands of air let through.

    Continuous extinction is not in it; spectrographs count that with their throughput.

    Args:
        wavelength: vacuum, Angstrom, any shape.

    Returns:
        in (0, 1], same shape.
    """
    through = np.ones_like(wavelength)
    for start, stop, depth in _ABSORPTION:
        place = (wavelength - start) / (stop - start)
        head = 1 / (1 + np.exp(-np.clip((wavelength - start) / 4.0, -50, 50)))
        tail = np.exp(-np.clip(2.0 * place**2, 0.0, 50.0))
        through = through - depth * head * tail
    return through
