# SPDX-License-Identifier: MIT
"""Light through filters: spectra on `grids.OBSERVED` to fluxes in nanomaggies.

All 21 bands of `aion.instrument.BANDS` at once are one matrix product. The curves are
shipped (`tables/README.md` has their sources) and count photons: the AB maggies of a
spectrum are the photons it sends through the band over those that 3631 Jy sends.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aion.errors import ConfigError
from aion.instrument import BANDS
from aion.mocksky.grids import OBSERVED
from aion.mocksky.threads import one_thread

TABLES = Path(__file__).parent / "tables"
"""Where the shipped tables are."""

ZERO_POINT = 22.5
"""AB magnitude of one nanomaggy."""

_LIGHT = 2.99792458e18  # Angstrom / s
_NANOMAGGY = 3.631e-29  # erg / s / cm2 / Hz
_UNIT = 1e-17  # erg / s / cm2 / Angstrom


@lru_cache(maxsize=1)
def curves() -> dict[str, np.ndarray]:
    """Response curves by band: wavelength in Angstrom, response with maximum 1."""
    with np.load(TABLES / "responses.npz") as table:
        return {name: table[name].astype(np.float64) for name in table.files}


@lru_cache(maxsize=32)
def _matrix(names: tuple[str, ...]) -> np.ndarray:
    unknown = [name for name in names if name not in BANDS]
    if unknown:
        raise ConfigError(
            f"no response curve for {', '.join(unknown)}",
            f"The bands are {', '.join(BANDS)}.",
        )
    matrix = response_matrix(
        np.stack(
            [
                np.interp(OBSERVED, *curves()[name], left=0.0, right=0.0)
                for name in names
            ],
            1,
        )
    )
    matrix.setflags(write=False)
    return matrix


@one_thread
def response_matrix(responses: Float[np.ndarray, "l c"]) -> Float[np.ndarray, "l c"]:
    """As `band_matrix`, of response curves on `grids.OBSERVED` in any unit."""
    photons = responses * (OBSERVED * np.gradient(OBSERVED))[:, None]
    one = _NANOMAGGY * _LIGHT / OBSERVED**2  # a nanomaggy per unit wavelength
    return (_UNIT * photons / (one @ photons)).astype(np.float32)


def band_matrix(names: Sequence[str]) -> Float[np.ndarray, "l c"]:
    """The matrix that turns spectra into band fluxes; cached, not to be written to.

    Args:
        names: bands, names of `aion.instrument.BANDS`.

    Returns:
        Nanomaggies per 1e-17 erg/s/cm2/Angstrom on `grids.OBSERVED`, float32.

    Raises:
        ConfigError: an unknown band.
    """
    return _matrix(tuple(names))


def band_fluxes(
    spectra: Float[np.ndarray, "b l"], names: Sequence[str]
) -> Float[np.ndarray, "b c"]:
    """Fluxes in bands.

    Args:
        spectra: 1e-17 erg/s/cm2/Angstrom on `grids.OBSERVED`.
        names: bands.

    Returns:
        Nanomaggies (AB, zero point 22.5), in the precision of `spectra`.
    """
    return spectra @ band_matrix(names).astype(spectra.dtype, copy=False)


def magnitudes(fluxes: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """AB magnitudes of nanomaggies; NaN where a flux is not positive."""
    positive = np.where(fluxes > 0, fluxes, np.nan)
    return ZERO_POINT - 2.5 * np.log10(positive)
