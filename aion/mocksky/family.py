# SPDX-License-Identifier: MIT
"""A class of objects as a finite library of spectra with a prior over all else.

The prior of a family, before any selection, is

    p(k, z, m) = weight[k] p(z | k) N(m; magnitude_mean[k, z], magnitude_sigma[k])

with k the row of the library, z the redshift and m the reference magnitude (AB in
DES-R, observed frame, after the intergalactic medium, before Milky Way dust). Being
finite in k, it can be summed over exactly: see `aion.mocksky.posterior`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

REFERENCE = "DES-R"
"""The band of the reference magnitude."""


@dataclass(frozen=True, eq=False)
class Family:
    """Axes: k spectra, l rest wavelengths, n redshifts.

    Attributes:
        kind: one of `objects.KINDS`.
        wavelength: rest frame, vacuum, Angstrom, increasing, [l].
        flux: flux density per unit wavelength in arbitrary units, float32 [k, l].
        weight: share of each spectrum in the unselected family, sums to 1, [k].
        novel: True = exists only in test cells of the sky, [k].
        redshift: grid, equidistant in ln(1 + z), [n]; stars have one redshift, 0.
        redshift_density: p(ln(1 + z) | k) at the grid, linear between its points,
            integrates to 1 for every k, [k, n]; 1 where the grid has one point.
        magnitude_mean: mean reference magnitude, [k, n].
        magnitude_sigma: its one sigma, [k].
        parameters: what each spectrum is made of, by name, [k]; names and units are in
            the docstring of the function that builds the family.
    """

    kind: str
    wavelength: np.ndarray
    flux: np.ndarray
    weight: np.ndarray
    novel: np.ndarray
    redshift: np.ndarray
    redshift_density: np.ndarray
    magnitude_mean: np.ndarray
    magnitude_sigma: np.ndarray
    parameters: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.weight)

    def weights(self, *, novel: bool) -> np.ndarray:
        """Weights that sum to 1, [k]; without `novel` those of training cells."""
        weight = self.weight if novel else np.where(self.novel, 0.0, self.weight)
        return weight / weight.sum()
