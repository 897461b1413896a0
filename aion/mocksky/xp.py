# SPDX-License-Identifier: MIT
"""Gaia's low-resolution spectra: 55 BP and 55 RP coefficients of a spectrum.

Gaia publishes mean spectra as coefficients of basis functions in the internal system
(De Angeli et al. 2023, Carrasco et al. 2021). The shipped matrix is a regularised
inverse of GaiaXPy's external calibration (Montegriffo et al. 2023), applied to the
spectrum blurred to XP's resolution: what GaiaXPy calibrates back is that spectrum.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Float32

from aion.mocksky.grids import OBSERVED, OPTICAL_SIZE

GROUP = 10
"""Points of `OBSERVED` averaged to one, before the projection: a step of 300 km/s."""
_RANGE = (3200.0, 10700.0)

# Resolving power at wavelengths in nm. The powers that are usually quoted, 100 to 30 in
# BP and 100 to 70 in RP (Jordi et al. 2010), count one pixel; the line spread function
# is 2.3 pixels wide (FWHM).
_RESOLUTION = {
    "bp": ((330.0, 680.0), (42.0, 13.0)),
    "rp": ((640.0, 1050.0), (44.0, 31.0)),
}


def resolution(
    arm: str, wavelength: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Resolving power of XP spectra.

    Args:
        arm: "bp" or "rp".
        wavelength: nm, any shape.

    Returns:
        same shape.
    """
    return np.interp(wavelength, *_RESOLUTION[arm])


@lru_cache(maxsize=1)
def _groups() -> slice:
    inside = OBSERVED[:OPTICAL_SIZE]
    first, last = np.searchsorted(inside, _RANGE)
    return slice(int(first), int(first + (last - first) // GROUP * GROUP))


def coarse_grid() -> Float[np.ndarray, " n"]:
    """Wavelengths that the shipped matrix takes, Angstrom, [n]."""
    points = np.log(OBSERVED[_groups()]).reshape(-1, GROUP)
    return np.exp(points.mean(axis=1))


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    path = files("aion.mocksky").joinpath("tables/xp.npz")
    with path.open("rb") as file, np.load(file) as table:
        matrix = np.concatenate([table["bp"], table["rp"]])
        return np.ascontiguousarray(matrix.T), np.concatenate(
            [table["bp_error"], table["rp_error"]]
        )


def coefficients(spectra: Float[np.ndarray, "b l"]) -> Float32[np.ndarray, "b 110"]:
    """Noiseless XP coefficients.

    Args:
        spectra: on `OBSERVED`, 1e-17 erg/s/cm2/Angstrom, [b, l].

    Returns:
        55 of BP, then 55 of RP, float32 [b, 110], in Gaia's unit (e-/s).
    """
    matrix, _ = _table()
    points = spectra[:, _groups()].astype(np.float32, copy=False)
    mean = np.full(GROUP, 1 / GROUP, np.float32)
    return (points.reshape(len(points), -1, GROUP) @ mean) @ matrix


def coefficient_errors(
    truth: Float[np.ndarray, "b 110"],
) -> Float32[np.ndarray, "b 110"]:
    """Typical errors of coefficients.

    Their size against the strength S of an arm is that of DR3's sources: a floor of
    4e-4 S, the photons' part, and the background's, which a faint source has alone.

    Args:
        truth: noiseless coefficients, [b, 110].

    Returns:
        one sigma, float32 [b, 110].
    """
    _, relative = _table()
    arms = truth.reshape(len(truth), 2, 55)
    strength = np.linalg.norm(arms, axis=2)
    low_order = np.sqrt((4e-4 * strength) ** 2 + 1e-4 * strength + 0.3**2)
    return np.repeat(low_order, 55, axis=1).astype(np.float32) * relative


def measure_coefficients(
    spectra: Float[np.ndarray, "b l"],
    rng: np.random.Generator,
    *,
    scale: tuple[float, float],
) -> tuple[Float32[np.ndarray, "b 110"], Float32[np.ndarray, "b 110"]]:
    """XP coefficients with noise.

    Args:
        spectra: as for `coefficients`, [b, l].
        rng: dice.
        scale: factors on the light in BP and RP, for zero points.

    Returns:
        coefficients and their one-sigma errors, float32 [b, 110] each.
    """
    truth = coefficients(spectra) * np.repeat(scale, 55).astype(np.float32)
    visits = np.exp(rng.normal(0.0, 0.15, (len(truth), 1))).astype(np.float32)
    error = coefficient_errors(truth) * visits
    noise = rng.standard_normal(truth.shape, dtype=np.float32)
    return truth + error * noise, error
