# SPDX-License-Identifier: MIT
"""Makes quasar_weights.npz: `python make_quasar_weights.py SDSS_CATALOGUE`.

How common each spectrum of the library is, and quasars at each redshift, starts from
the luminosity function and is then fitted to the colours, magnitudes and redshifts of
quasars of SDSS (a CSV with u, g, r, i, z, redshift and class, limited at u < 19.6 and
i < 19.1): expectation and maximisation in turn, the shares held close to the start by
`PULL` objects each, the redshifts smoothed over `WIDTH`. Nothing of the catalogue but
these corrections is kept.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from aion.mocksky import quasars
from aion.mocksky.family import Family
from aion.mocksky.tracks import colour_tracks

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "quasar_weights.npz"
BANDS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
EBV = 0.035
FAINT_U, FAINT_I, BRIGHT_I = 19.6, 19.1, 15.0
SPREAD = np.array([0.09, 0.08, 0.06, 0.07])
"""Kernel of the fit in u-g, g-r, r-i, i-z: noise and the distance between rows."""
NOISE = 0.06
PULL = 0.7
WIDTH = 0.05
KNOTS = np.linspace(np.log1p(0.05), np.log1p(4.9), 36)
FARTHEST = 3.0
"""Beyond it the few rows have colours of stars: their redshifts are wrong."""
ROUNDS, ITERATIONS = 4, 25


def catalogue_rows(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes [i, 5] and redshifts [i] of the quasars within the grid."""
    with open(path) as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "QSO"]
    magnitudes = np.array([[float(row[band]) for band in "ugriz"] for row in rows])
    redshift = np.array([float(row["redshift"]) for row in rows])
    inside = (redshift > quasars.REDSHIFTS[0]) & (redshift < FARTHEST)
    return magnitudes[inside], redshift[inside]


def passing(family: Family, track: np.ndarray) -> np.ndarray:
    """Probability to be selected, [k, n]."""
    sigma = np.hypot(family.magnitude_sigma, NOISE)[:, None]
    faint = np.minimum(FAINT_U - track[..., 0], FAINT_I - track[..., 3])
    bright = BRIGHT_I - track[..., 3]
    ends = [ndtr((end - family.magnitude_mean) / sigma) for end in (bright, faint)]
    return np.maximum(ends[1] - ends[0], 0.0)


def likelihood(
    family: Family, track: np.ndarray, magnitudes: np.ndarray, redshift: np.ndarray
) -> np.ndarray:
    """p(magnitudes, redshift | k) before selection, [i, k]."""
    n = np.searchsorted(family.redshift, redshift)
    there = track[:, n]
    off = (-np.diff(there, axis=2) + np.diff(magnitudes, axis=1)) / SPREAD
    sigma = np.hypot(family.magnitude_sigma, NOISE)[:, None]
    r = (magnitudes[:, 2] - family.magnitude_mean[:, n] - there[..., 2]) / sigma
    # A tail for what no row is like: such objects pull on none.
    log = -0.5 * np.minimum((off**2).sum(2), 60.0) - 0.5 * r**2
    return (np.exp(log) * family.redshift_density[:, n]).T


def corrected_factor(
    family: Family, passed: np.ndarray, redshift: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    """The factors of the redshifts times data over expectation, both smoothed."""
    x = np.log1p(family.redshift)
    expected = (family.weight[:, None] * family.redshift_density * passed).sum(0)
    expected *= len(redshift) / expected.sum()
    shape = np.exp(-0.5 * ((KNOTS[:, None] - x) / WIDTH) ** 2)
    seen = np.exp(-0.5 * ((KNOTS[:, None] - np.log1p(redshift)) / WIDTH) ** 2).sum(1)
    ratio = (seen + 2.0) / (shape @ expected + 2.0)
    ratio[np.log1p(FARTHEST) < KNOTS + 2 * WIDTH] = 1.0
    return np.clip(factor * ratio, 0.25, 6.0)


def main(catalogue: str) -> None:
    """Fits and writes the corrections."""
    magnitudes, redshift = catalogue_rows(catalogue)
    share, factor = np.ones(quasars.SIZE), np.ones(len(KNOTS))
    plain = {"share": share, "place": KNOTS, "factor": factor}
    family = quasars.family_of(plain)
    track = colour_tracks(family, BANDS).at(EBV)
    for _ in range(ROUNDS):
        passed = passing(family, track)
        factor = corrected_factor(family, passed, redshift, factor)
        ones = np.ones(quasars.SIZE)
        start = quasars.family_of({"share": ones, "place": KNOTS, "factor": factor})
        like = likelihood(start, track, magnitudes, redshift)
        usual = start.weight * (start.redshift_density * passed).sum(1)
        usual *= len(redshift) / usual.sum()
        for _ in range(ITERATIONS):
            resp = like * (start.weight * share)
            resp /= np.maximum(resp.sum(1, keepdims=True), 1e-30)
            share = (resp.sum(0) + PULL) / (usual + PULL)
        table = {"share": share, "place": KNOTS, "factor": factor}
        family = quasars.family_of(table)
    np.savez_compressed(TABLE, **{n: v.astype(np.float32) for n, v in table.items()})


if __name__ == "__main__":
    main(sys.argv[1])
