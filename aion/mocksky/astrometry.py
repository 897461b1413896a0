# SPDX-License-Identifier: MIT
"""Positions, parallaxes and proper motions as Gaia measures them, with correlations."""

import itertools

import healpy
import numpy as np
from jaxtyping import Float

from aion.mocksky.objects import Objects

AXES = ("ra", "dec", "parallax", "pmra", "pmdec")
# Median errors of DR3 over that of the parallax, in mas and mas/yr, averaged over the
# sky (Gaia science performance pages).
_SCALE = np.array([0.80, 0.70, 1.00, 1.03, 0.89])
_CORRELATION = 0.2
_MAS = 1 / 3.6e6  # degrees


def parallax_error(magnitude: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """Median error of Gaia DR3's parallaxes.

    Args:
        magnitude: G (Vega), any shape.

    Returns:
        mas, same shape: sqrt(40 + 800 z + 30 z^2) microarcsec with z = max(10^(0.4 (13
        - 15)), 10^(0.4 (G - 15))), the formula of the science performance pages.
    """
    z = 10 ** (0.4 * (np.maximum(magnitude, 13.0) - 15.0))
    return 1e-3 * np.sqrt(40 + 800 * z + 30 * z**2)


def measure_astrometry(
    objects: Objects, magnitude: Float[np.ndarray, " b"], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The five parameters of each source at epoch 2016.0.

    The noise of the five is drawn with the correlations that are given. Gaia's parallax
    zero point (-0.02 to -0.04 mas) is not in it, nor are binaries.

    Args:
        objects: b objects.
        magnitude: G (Vega), [b].
        rng: dice.

    Returns:
        columns of `gaia_source`: ra, dec (deg), parallax (mas), pmra, pmdec (mas/yr),
        pm, their errors (those of ra and dec in mas) and correlations, ruwe,
        ecl_lon, ecl_lat, l, b (deg), ref_epoch; [b] each.
    """
    count = len(objects)
    scan = np.exp(rng.normal(0.0, 0.12, (count, 1)))
    error = (parallax_error(magnitude)[:, None] * _SCALE * scan).astype(np.float32)
    factor = np.eye(5) + _CORRELATION * rng.standard_normal((count, 5, 5))
    factor /= np.linalg.norm(factor, axis=2, keepdims=True)
    correlation = factor @ factor.transpose(0, 2, 1)
    dice = rng.standard_normal((count, 5, 1))
    noise = error.astype(np.float64) * (factor @ dice)[:, :, 0]
    stretch = np.cos(np.radians(objects.dec))
    columns: dict[str, np.ndarray] = {
        "ra": (objects.ra + noise[:, 0] * _MAS / stretch) % 360.0,
        "dec": objects.dec + noise[:, 1] * _MAS,
        "parallax": objects.parallax + noise[:, 2],
        "pmra": objects.pm_ra + noise[:, 3],
        "pmdec": objects.pm_dec + noise[:, 4],
    }
    columns |= {f"{axis}_error": error[:, i] for i, axis in enumerate(AXES)}
    for (i, a), (j, b) in itertools.combinations(enumerate(AXES), 2):
        columns[f"{a}_{b}_corr"] = correlation[:, i, j].astype(np.float32)
    over_error = columns["parallax"] / error[:, 2]
    columns["parallax_over_error"] = over_error.astype(np.float32)
    motion = np.hypot(columns["pmra"], columns["pmdec"])
    columns["pm"] = motion.astype(np.float32)
    # What is resolved fits a point worse.
    radius = np.maximum(objects.bulge_radius, objects.disk_radius)
    excess = np.exp(rng.normal(0.015, 0.05, count)) * (1 + 0.6 * radius)
    columns["ruwe"] = excess.astype(np.float32)
    columns["ref_epoch"] = np.full(count, 2016.0)
    for frame, names in (("E", ("ecl_lon", "ecl_lat")), ("G", ("l", "b"))):
        turned = np.asarray(
            healpy.Rotator(coord=["C", frame])(
                columns["ra"], columns["dec"], lonlat=True
            )
        )
        columns[names[0]] = np.reshape(turned[0] % 360.0, count)
        columns[names[1]] = np.reshape(turned[1], count)
    return columns
