# SPDX-License-Identifier: MIT
"""Makes aion/mocksky/tables/sersic.npz: `python tests/tables/make_sersic.py` (15 s).

A Sersic profile with n >= 0.5 is a mixture of round Gaussians with positive weights
(its intensity is completely monotone in the square of the radius). Here the widths are
fixed in steps of sqrt(2), and one of them is the width of the Gaussian that n = 0.5 is.
The weights are those of least squares, none negative, over the profile seen through
Gaussian PSFs of sigma 0.06 to 3 half-light radii, each relative to its peak.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import nnls
from scipy.special import gammainc, gammaincinv, i0e

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "sersic.npz"
SIGMAS = 2.0 ** (0.5 * np.arange(-14, 9)) / np.sqrt(2 * np.log(2))
INDICES = np.geomspace(0.5, 8.0, 65)
SEEINGS = np.geomspace(0.06, 3.0, 10)
RADII = np.append(0.0, np.geomspace(0.02, 12.0, 70))


def rings(n: float) -> tuple[np.ndarray, np.ndarray]:
    """A profile of half-light radius 1 as thin rings: their radii and their light."""
    edges = np.append(0.0, np.geomspace(1e-4, 300.0, 1600))
    light = np.diff(gammainc(2 * n, gammaincinv(2 * n, 0.5) * edges ** (1 / n)))
    return np.sqrt(edges[1:] * np.maximum(edges[:-1], 0.3 * edges[1])), light


def seen(n: float, seeing: float) -> np.ndarray:
    """The profile at RADII after convolution with a round Gaussian."""
    radius, light = rings(n)
    x = RADII[:, None]
    blurred = np.exp(-0.5 * ((x - radius) / seeing) ** 2)
    blurred *= i0e(x * radius / seeing**2) / (2 * np.pi * seeing**2)
    return blurred @ light


def weights(n: float) -> np.ndarray:
    """Light of each Gaussian; sums to 1."""
    rows, values = [np.full((1, len(SIGMAS)), 10.0)], [np.array([10.0])]
    for seeing in SEEINGS:
        variance = SIGMAS**2 + seeing**2
        gaussians = np.exp(-0.5 * RADII[:, None] ** 2 / variance)
        profile = seen(n, seeing)
        rows.append(gaussians / (2 * np.pi * variance) / profile[0])
        values.append(profile / profile[0])
    solution, _ = nnls(np.concatenate(rows), np.concatenate(values))
    return solution / solution.sum()


def main() -> None:
    table = np.stack([weights(n) for n in INDICES]).astype(np.float32)
    np.savez_compressed(TABLE, indices=INDICES, sigmas=SIGMAS, weights=table)


if __name__ == "__main__":
    main()
