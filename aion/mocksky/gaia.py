# SPDX-License-Identifier: MIT
"""What Gaia sees: fluxes in G, BP and RP, astrometry, XP coefficients, parameters.

Columns have the names, units and meaning of `gaiadr3.gaia_source`. Magnitudes are on
Gaia's Vega system, fluxes in electrons per second (Riello et al. 2021).

Not realistic: no crowding, no variability, no binaries; the light of an extended object
is counted whole; XP errors are uncorrelated.
"""

from collections.abc import Mapping

import healpy
import numpy as np
from jaxtyping import Float, Int64

from aion.errors import DataError
from aion.instrument import BANDS
from aion.mocksky.astrometry import measure_astrometry
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.pipelines import LIGHT
from aion.mocksky.sky import Conditions
from aion.mocksky.xp import measure_coefficients

GAIA_BANDS = ("GAIA-G", "GAIA-BP", "GAIA-RP")
VEGA = {"GAIA-G": 25.6874, "GAIA-BP": 25.3385, "GAIA-RP": 24.7479}
"""Vega magnitude of 1 e-/s (Riello et al. 2021, table 5.2)."""
XP_LIMIT = 19.0
"""No XP spectrum of what is fainter in G."""
NUMBER_BITS = 35
"""The low bits of a source_id are the object's number in the mock sky; the others are
its HEALPix cell at level 12, as in Gaia's."""

# Median error in mmag at magnitude (Gaia Collaboration 2023, table 3).
_ERRORS = {
    "GAIA-G": ((13.0, 17.0, 20.0, 21.0), (0.3, 1.0, 6.0, 14.0)),
    "GAIA-BP": ((13.0, 17.0, 20.0, 21.0), (0.9, 12.0, 108.0, 280.0)),
    "GAIA-RP": ((13.0, 17.0, 20.0, 21.0), (0.6, 6.0, 52.0, 135.0)),
}
_MMAG = 1e-3 * np.log(10) / 2.5
# Upper and lower bounds of parameters from XP spectra: relative for teff and distance.
_PARAMETER_ERRORS = {
    "teff": 0.015,
    "logg": 0.10,
    "mh": 0.20,
    "distance": 0.06,
    "azero": 0.06,
    "ag": 0.05,
    "ebpminrp": 0.03,
}
_RELATIVE = ("teff", "distance")


def observe_gaia(
    spectra: Float[np.ndarray, "b l"],
    objects: Objects,
    conditions: Conditions,
    rng: np.random.Generator,
    *,
    band_fluxes: Float[np.ndarray, "b c"],
    parameters: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Gaia's table of some objects; `gaia_chance` tells which it would hold.

    Args:
        spectra: noiseless flux density on `OBSERVED`, 1e-17 erg/s/cm2/Angstrom, [b, l].
        objects: b objects.
        conditions: of their cell, for the zero points.
        rng: dice.
        band_fluxes: noiseless, in `GAIA_BANDS`, nanomaggies, [b, 3].
        parameters: of stars, NaN for others: "teff" (K), "logg", "mh" (dex), [b] each.

    Returns:
        columns by name, [b] each; `coeff` and `coeff_error` are [b, 110].

    Raises:
        DataError: band fluxes of another shape.
    """
    if band_fluxes.shape != (len(objects), len(GAIA_BANDS)):
        raise DataError(
            f"band fluxes of shape {band_fluxes.shape} for {len(objects)} objects",
            f"Give a flux in {', '.join(GAIA_BANDS)} for each.",
        )
    shift = 10 ** (-0.4 * conditions.of(GAIA_BANDS, "zero_point"))
    columns = _photometry(band_fluxes * shift, rng)
    g = columns["phot_g_mean_mag"].astype(np.float64)
    columns["source_id"] = source_id(objects)
    columns |= measure_astrometry(objects, g, rng)
    coeff, error = measure_coefficients(spectra, rng, scale=(shift[1], shift[2]))
    columns |= {"coeff": coeff, "coeff_error": error}
    columns |= _radial_velocity(objects, columns, parameters, rng)
    columns |= _parameters(objects, g, parameters, rng)
    return columns | _flags(objects, columns)


def source_id(objects: Objects) -> Int64[np.ndarray, " b"]:
    """Identifiers built like Gaia's, from position and number, int64 [b]."""
    cell = healpy.ang2pix(2**12, objects.ra, objects.dec, nest=True, lonlat=True)
    return (cell.astype(np.int64) << NUMBER_BITS) | objects.number


def gaia_magnitudes(
    band_fluxes: Float[np.ndarray, "b 3"],
) -> Float[np.ndarray, "b 3"]:
    """Vega magnitudes in `GAIA_BANDS` of fluxes in nanomaggies, [b, 3]."""
    zero = [VEGA[name] - BANDS[name].zero_point for name in GAIA_BANDS]
    return 22.5 - 2.5 * np.log10(np.maximum(band_fluxes, 1e-6)) + np.array(zero)


def gaia_chance(
    objects: Objects, magnitude: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """Probability that Gaia's set of sources with XP spectra holds an object.

    DR3 has XP spectra of nearly all sources with G < 17.65, and of ever fewer to G =
    19, mostly quasars; of galaxies only those whose core is compact.

    Args:
        objects: b objects.
        magnitude: noiseless G (Vega), [b].

    Returns:
        in [0, 1], [b].
    """
    beyond = np.maximum(magnitude - 17.65, 0.0)
    slope = np.where(objects.kind == KINDS.index("QSO"), 0.7, 2.0)
    chance = np.where(magnitude < XP_LIMIT, 0.98 * np.exp(-slope * beyond), 0.0)
    radius = (
        objects.bulge_fraction * objects.bulge_radius
        + (1 - objects.bulge_fraction) * objects.disk_radius
    )
    return chance * np.exp(-((radius / 0.8) ** 2))


def flux_error(flux: Float[np.ndarray, "*b"], band: str) -> Float[np.ndarray, "*b"]:
    """Error of a mean flux by the median errors of DR3.

    Args:
        flux: e-/s, any shape.
        band: of `GAIA_BANDS`.

    Returns:
        e-/s, same shape; below magnitude 21 the error stays that of 21.
    """
    at, mmag = _ERRORS[band]
    least = 10 ** (-0.4 * (at[-1] - VEGA[band]))
    bright = np.maximum(flux, least)
    magnitude = VEGA[band] - 2.5 * np.log10(bright)
    return bright * _MMAG * np.exp(np.interp(magnitude, at, np.log(mmag)))


def _photometry(
    nanomaggies: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    columns, flux, magnitude = {}, {}, {}
    for i, band in enumerate(GAIA_BANDS):
        short = band.removeprefix("GAIA-").lower()
        true = nanomaggies[:, i] * 10 ** (0.4 * (BANDS[band].zero_point - 22.5))
        error = flux_error(true, band)
        error = error * np.exp(rng.normal(0.0, 0.1, len(true)))
        flux[short] = true + error * rng.standard_normal(len(true))
        with np.errstate(invalid="ignore", divide="ignore"):
            magnitude[short] = VEGA[band] - 2.5 * np.log10(
                np.where(flux[short] > 0, flux[short], np.nan)
            )
        name = f"phot_{short}_mean"
        columns[f"{name}_flux"] = flux[short]
        columns[f"{name}_flux_error"] = error.astype(np.float32)
        columns[f"{name}_flux_over_error"] = (flux[short] / error).astype(np.float32)
        columns[f"{name}_mag"] = magnitude[short].astype(np.float32)
    excess = (flux["bp"] + flux["rp"]) / flux["g"]
    columns["phot_bp_rp_excess_factor"] = excess.astype(np.float32)
    for one, other in (("bp", "rp"), ("bp", "g"), ("g", "rp")):
        colour = magnitude[one] - magnitude[other]
        columns[f"{one}_{other}"] = colour.astype(np.float32)
    return columns


def _given(
    objects: Objects, parameters: Mapping[str, np.ndarray] | None, name: str
) -> np.ndarray:
    if parameters is None or name not in parameters:
        return np.full(len(objects), np.nan)
    star = objects.kind == KINDS.index("STAR")
    return np.where(star, parameters[name], np.nan)


def _radial_velocity(
    objects: Objects,
    columns: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray] | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Of stars with G_RVS < 14 between 3,600 and 14,500 K (Katz et al. 2023)."""
    # Sartoretti et al. 2023, eq. 2.
    red = np.clip(columns["g_rp"].astype(np.float64), -0.15, 1.2)
    step = -0.0397 - 0.2852 * red - 0.0330 * red**2 - 0.0867 * red**3
    grvs = columns["phot_rp_mean_mag"] + step
    teff = _given(objects, parameters, "teff")
    star = objects.kind == KINDS.index("STAR")
    seen = star & (grvs < 14.0) & ~(teff < 3600.0) & ~(teff > 14500.0)
    error = 0.12 + 6.4 * 10 ** (0.35 * (np.minimum(grvs, 14.0) - 14.0))
    velocity = objects.redshift * LIGHT + error * rng.standard_normal(len(objects))
    rows = {
        "radial_velocity": velocity,
        "radial_velocity_error": error,
        "rv_template_teff": np.round(teff / 250.0) * 250.0,
        "rv_template_logg": np.round(_given(objects, parameters, "logg") * 2) / 2,
        "rv_template_fe_h": np.round(_given(objects, parameters, "mh") * 4) / 4,
        "grvs_mag": grvs,
    }
    return {k: np.where(seen, v, np.nan).astype(np.float32) for k, v in rows.items()}


def _parameters(
    objects: Objects,
    magnitude: np.ndarray,
    parameters: Mapping[str, np.ndarray] | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Of stars, from the true ones; errors grow towards faint stars (Andrae 2023)."""
    truth = {name: _given(objects, parameters, name) for name in ("teff", "logg", "mh")}
    truth["distance"] = objects.distance
    truth["azero"] = 3.1 * objects.ebv
    truth["ag"] = 2.7 * objects.ebv
    truth["ebpminrp"] = 1.35 * objects.ebv
    worse = np.exp(0.25 * np.maximum(magnitude - 16.0, 0.0))
    columns = {}
    for name, true in truth.items():
        error = _PARAMETER_ERRORS[name] * worse
        error = error * true if name in _RELATIVE else error
        value = true + error * rng.standard_normal(len(objects))
        known = np.isfinite(truth["teff"]) & (magnitude < XP_LIMIT)
        if name in ("azero", "ag", "ebpminrp"):
            value = np.maximum(value, 0.0)
        for bound, sign in (("", 0.0), ("_lower", -1.0), ("_upper", 1.0)):
            column = np.where(known, value + sign * error, np.nan)
            if name in ("azero", "ag", "ebpminrp"):
                column = np.maximum(column, 0.0)
            columns[f"{name}_gspphot{bound}"] = column.astype(np.float32)
    return columns


def _flags(
    objects: Objects, columns: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    count = len(objects)
    colour = columns["bp_rp"].astype(np.float64)
    # Lindegren et al. 2021a, eq. 3.
    wavenumber = 1.76 - 1.61 / np.pi * np.arctan(0.531 * colour)
    return {
        "nu_eff_used_in_astrometry": wavenumber.astype(np.float32),
        "pseudocolour": np.full(count, np.nan, np.float32),
        "astrometric_params_solved": np.full(count, 31, np.int8),
        "duplicated_source": np.zeros(count, np.int32),
        "has_xp_continuous": np.ones(count, np.int32),
        "in_qso_candidates": (objects.kind == KINDS.index("QSO")).astype(np.int32),
        "solution_id": np.full(count, 1636148068921376768, np.int64),
        "random_index": objects.number.astype(np.int64),
    }
