# SPDX-License-Identifier: MIT
"""What the pipelines of spectroscopic surveys derive from spectra of some quality."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aion.errors import ConfigError
from aion.mocksky.cosmology import distance_modulus
from aion.mocksky.objects import KINDS, Objects

LIGHT = 299792.458
"""Speed of light, km/s."""

# One sigma in km/s: a floor, and what it is at a signal-to-noise of 1 per pixel. From
# repeated observations: Bolton et al. 2012 (SDSS), Lan et al. 2023 and Alexander et al.
# 2023 (DESI).
_ERRORS = {
    "sdss": {"STAR": (4.0, 60.0), "GALAXY": (10.0, 200.0), "QSO": (150.0, 1000.0)},
    "desi": {"STAR": (1.0, 20.0), "GALAXY": (6.0, 60.0), "QSO": (60.0, 300.0)},
}
_FARTHEST = {"STAR": 0.002, "GALAXY": 1.4, "QSO": 4.5}
WARNING = 4
"""ZWARN bit 2: the best fits differ too little in chi2."""


@dataclass(frozen=True, eq=False)
class MeasuredRedshifts:
    """Redshifts of b objects.

    Attributes:
        z: heliocentric, [b].
        error: one sigma as the pipeline gives it, [b].
        warning: bits; 0 = good, [b] int64.
    """

    z: np.ndarray
    error: np.ndarray
    warning: np.ndarray


def measure_redshifts(
    objects: Objects,
    signal_to_noise: Float[np.ndarray, " b"],
    survey: str,
    rng: np.random.Generator,
) -> MeasuredRedshifts:
    """Redshifts with Gaussian errors; some of the faintest fail, most with a warning.

    A failure has a redshift that has nothing to do with the true one. Its chance is
    0.1 % at high signal-to-noise and a third at 0.3 per pixel; nine of ten are flagged.

    Args:
        objects: b objects with their true redshifts.
        signal_to_noise: median per pixel, [b].
        survey: "sdss" or "desi".
        rng: dice.

    Returns:
        their measured redshifts.

    Raises:
        ConfigError: another survey.
    """
    if survey not in _ERRORS:
        raise ConfigError(
            f"no spectrograph of survey {survey!r}", f"Surveys are {list(_ERRORS)}."
        )
    count, kind = len(objects), objects.kind
    signal = np.maximum(signal_to_noise, 0.2)
    floor, faint = np.array([_ERRORS[survey][name] for name in KINDS])[kind].T
    error = np.hypot(floor, faint / signal) / LIGHT * (1 + objects.redshift)
    z = objects.redshift + error * rng.standard_normal(count)
    lost = rng.random(count) < 0.001 + 0.5 * np.exp(-signal / 0.7)
    anywhere = rng.random(count) * np.array([_FARTHEST[name] for name in KINDS])[kind]
    flagged = lost & (rng.random(count) < 0.9)
    return MeasuredRedshifts(
        z=np.where(lost, anywhere, z),
        error=error,
        warning=np.where(flagged, WARNING, 0).astype(np.int64),
    )


def measure_dispersion(
    objects: Objects,
    signal_to_noise: Float[np.ndarray, " b"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Velocity dispersions of galaxies by their luminosity and bulge.

    Faber & Jackson's (1976) relation, 200 km/s at M_r = -22, scaled by the share of the
    bulge. The lines in the spectra do not have this width.

    Args:
        objects: b objects.
        signal_to_noise: median per pixel, [b].
        rng: dice.

    Returns:
        dispersion and its error in km/s, [b] each; 0 for what is no galaxy, as in the
        files of SDSS.
    """
    modulus = distance_modulus(np.maximum(objects.redshift, 1e-3))
    absolute = objects.magnitude - modulus
    true = (
        200.0 * 10 ** (-0.1 * (absolute + 22.0)) * (0.4 + 0.6 * objects.bulge_fraction)
    )
    true = np.clip(true * np.exp(rng.normal(0.0, 0.2, len(objects))), 30.0, 420.0)
    error = np.hypot(5.0, 250.0 / np.maximum(signal_to_noise, 0.5))
    seen = np.clip(true + error * rng.standard_normal(len(objects)), 0.0, 850.0)
    galaxy = objects.kind == KINDS.index("GALAXY")
    return np.where(galaxy, seen, 0.0), np.where(galaxy, error, 0.0)
