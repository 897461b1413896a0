# SPDX-License-Identifier: MIT
"""Makes star_weights.npz: `python make_star_weights.py SDSS_CATALOGUE`.

How common each spectrum of the library is follows from the colours and magnitudes of
spectroscopic stars of SDSS (a CSV with u, g, r, i, z, class, limited at u < 19.6):
Richardson and Lucy's iteration from equal shares, stopped early so that it stays smooth.
Nothing of the catalogue but these shares is kept.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from aion.mocksky import stars
from aion.mocksky.tracks import colour_tracks

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "star_weights.npz"
BANDS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
EBV = 0.035
FAINT, BRIGHT = 19.6, 14.0
COLOURS = np.array([-0.8, -0.45, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4])
COLOURS = np.concatenate([COLOURS, np.arange(0.45, 1.3, 0.05), [1.4, 1.6]])
BLUE = np.array(
    [-1.0, 0.0, 0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.7, 2.0, 3.0]
)
RED = np.array([14.0, 15.5, 16.5, 17.3, 18.0, 18.6, 19.8])
ITERATIONS = 200
FLOOR = 0.01
"""Share of the weight that is spread evenly: what u < 19.6 hides exists too."""


def histogram(magnitudes: np.ndarray) -> np.ndarray:
    """Counts in g - r, u - g and r."""
    u, g, r = magnitudes[:, 0], magnitudes[:, 1], magnitudes[:, 2]
    return np.histogramdd(np.stack([g - r, u - g, r], 1), (COLOURS, BLUE, RED))[0]


def main(catalogue: str) -> None:
    """Fits and writes the shares."""
    with open(catalogue) as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "STAR"]
    real = np.array([[float(row[band]) for band in "ugriz"] for row in rows])
    wanted = histogram(real).ravel()
    family = stars.star_family()
    track = colour_tracks(family, BANDS).at(EBV)[:, 0]
    rng = np.random.default_rng(1)
    draws = 4000
    response = np.empty((len(family), wanted.size))
    for k in range(len(family)):
        m = family.magnitude_mean[k, 0] + family.magnitude_sigma[k] * rng.normal(
            size=draws
        )
        seen = m[:, None] + track[k] + 0.03 * rng.standard_normal((draws, 5))
        passed = (seen[:, 0] < FAINT) & (seen[:, 2] > BRIGHT)
        response[k] = histogram(seen[passed]).ravel() / draws
    efficiency = response.sum(1)
    weight = np.full(len(family), 1 / len(family))
    for _ in range(ITERATIONS):
        expected = weight @ response
        ratio = np.where(wanted > 0, wanted / np.maximum(expected, 1e-9), 0)
        weight *= (response @ ratio) / np.maximum(efficiency, 1e-4)
    weight /= weight.sum()
    weight = (1 - FLOOR) * weight + FLOOR / len(weight)
    np.savez_compressed(TABLE, weight=weight.astype(np.float32))


if __name__ == "__main__":
    main(sys.argv[1])
