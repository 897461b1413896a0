# SPDX-License-Identifier: MIT
"""Makes aion/mocksky/tables/xp.npz with GaiaXPy's external instrument model.

Usage: python tests/tables/make_xp.py FOLDER (a folder of real survey files, with
gaia/XP_CONTINUOUS_RAW.csv).

GaiaXPy turns coefficients c into a spectrum f = B c. We need the way back: the c of
least squares, weighted by the light that reaches the detector, dark where no light
does, under a Gaussian prior whose widths follow the size of real coefficients by their
order. B alone is so badly conditioned (1e12) that a plain pseudo-inverse is useless.
"""

import ast
import csv
import sys
from os.path import join
from pathlib import Path

import numpy as np
from gaiaxpy.calibrator.external_instrument_model import ExternalInstrumentModel
from gaiaxpy.config.paths import config_path
from gaiaxpy.core import nature, satellite

from aion.mocksky.xp import GROUP, coarse_grid, resolution

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "xp.npz"
MODELS = {
    "bp": ("v375wi", 330.0, 644.0, 322.0, 700.0),
    "rp": ("v142r", 634.0, 1025.0, 618.0, 1060.0),
}
"""GaiaXPy's model, wavelengths in nm that are fitted, and beyond which it is dark."""
FIT = 0.001
"""Error of the fit over the light of a flat spectrum."""
DARK = 0.015
"""Error in the dark wings over the peak of the light."""
UNIT = 1e-19
"""1e-17 erg/s/cm2/Angstrom in W/m2/nm."""


def of_real_sources(folder: Path, arm: str, what: str) -> np.ndarray:
    """Their "coefficients" or "coefficient_errors", [sources, 55]."""
    with open(folder / "gaia" / "XP_CONTINUOUS_RAW.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.array([ast.literal_eval(row[f"{arm}_{what}"]) for row in rows])


def running(values: np.ndarray, half: int = 4) -> np.ndarray:
    """Geometric mean of neighbours."""
    logs = np.log(values)
    near = [logs[max(i - half, 0) : i + half + 1].mean() for i in range(len(logs))]
    return np.exp(near)


def hermite(x: np.ndarray, count: int) -> np.ndarray:
    """Hermite functions of order 0 ... count - 1, [count, n]."""
    rows = [np.pi**-0.25 * np.exp(-(x**2) / 2)]
    rows.append(np.sqrt(2.0) * x * rows[0])
    for k in range(2, count):
        rows.append(np.sqrt(2 / k) * x * rows[-1] - np.sqrt((k - 1) / k) * rows[-2])
    return np.stack(rows)


def bases(arm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """On an even grid of pseudo-wavelength, the samples of an XP spectrum.

    Returns:
        wavelength in nm [n]; light of the basis functions, [n, 55]; light of a flat
        spectrum of 1e-17 erg/s/cm2/Angstrom, [n]. Unit of light: photons/s/nm.
    """
    model = ExternalInstrumentModel.from_config_csv(
        *(
            join(config_path, f"{arm}C03_{MODELS[arm][0]}_{kind}.csv")
            for kind in ("dispersion", "response", "bases")
        )
    )
    known = model.dispersion["pseudo-wavelength"], model.dispersion["wavelength"]
    order = np.argsort(known[0])
    sample = np.arange(-4.0, 64.0, 0.2)
    wavelength = np.interp(sample, known[0][order], known[1][order])
    base = model.bases
    scale = (base["normRangeMax"] - base["normRangeMin"]) / (
        base["pwlRangeMax"] - base["pwlRangeMin"]
    )
    place = base["normRangeMin"] + (sample - base["pwlRangeMin"]) * scale
    inverse = base["inverseBasesCoefficients"] @ hermite(place, base["nBases"])
    design = base["transformationMatrix"] @ inverse
    response = np.maximum(model.get_response(wavelength), 0.0)
    photon = 1e9 * nature.C * nature.PLANCK / wavelength
    return (
        wavelength,
        design.T,
        response * satellite.TELESCOPE_PUPIL_AREA * UNIT / photon,
    )


def smoothing(arm: str, wavelength: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Means of a spectrum on `grid` blurred to XP's resolution, [n, grid]."""
    sigma = wavelength / resolution(arm, wavelength) / 2.3548
    weight = np.exp(-0.5 * ((grid - wavelength[:, None]) / sigma[:, None]) ** 2) * grid
    return weight / weight.sum(axis=1, keepdims=True)


def projection(folder: Path, arm: str, grid: np.ndarray) -> np.ndarray:
    """From spectra on `grid` (nm) to 55 coefficients, [55, grid]."""
    wavelength, design, light = bases(arm)
    first, last, dark_below, dark_above = MODELS[arm][1:]
    seen = (wavelength >= first) & (wavelength <= last)
    dark = (wavelength < dark_below) | (wavelength > dark_above)
    peak = light[seen].max()
    light = np.where(seen, light, 0.0)
    error = np.where(seen, FIT * (light + 0.004 * peak), DARK * peak)
    weight = np.where(seen | dark, 1 / error, 0.0)
    # Prior widths for a spectrum whose light peaks like that of a flat one.
    real = of_real_sources(folder, arm, "coefficients")
    brightest = np.abs(real @ design.T).max(axis=1, keepdims=True)
    prior = 10.0 * running(np.max(np.abs(real) / brightest, axis=0)) * peak
    fitted = design * weight[:, None] * prior
    gram = fitted.T @ fitted + np.eye(55)
    back = prior[:, None] * np.linalg.solve(gram, fitted.T * (weight * light))
    return back @ smoothing(arm, wavelength, grid)


def main(folder: Path) -> None:
    """Writes the table and prints its size."""
    grid = coarse_grid() / 10.0
    table = {}
    for arm in MODELS:
        table[arm] = projection(folder, arm, grid)
        errors = of_real_sources(folder, arm, "coefficient_errors")
        relative = errors / np.median(errors[:, :10], axis=1, keepdims=True)
        table[f"{arm}_error"] = running(relative.mean(axis=0), 3)
    np.savez_compressed(TABLE, **{k: v.astype(np.float32) for k, v in table.items()})
    print({k: v.shape for k, v in table.items()}, TABLE.stat().st_size, GROUP)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
