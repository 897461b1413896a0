# SPDX-License-Identifier: MIT
"""Train, validation and test by place on the sky.

Objects of one HEALPix cell go to one split, so that neither the same object observed
twice nor its neighbours (shared sky, shared calibration) leak from train to test.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.errors import ConfigError, DataError
from aion.hashes import splitmix

SPLITS = ("train", "validation", "test")
"""The splits, in the order of their numbers."""


@dataclass(frozen=True)
class SplitRule:
    """Which sky cells are for training, validation and test.

    Attributes:
        nside: HEALPix resolution, a power of two; 16 is cells of 3.7 degrees.
        folds: number of folds of a cross-validation.
        fold: the fold that is the test split, 0 <= fold < folds.
        validation: fraction of the other cells that is the validation split.
        seed: another seed deals the cells anew.

    The cell numbers are hashed, so that a fold is spread over the whole sky.

    Raises:
        ConfigError: a value outside its range.
    """

    nside: int = 16
    folds: int = 5
    fold: int = 0
    validation: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.nside < 1 or self.nside & (self.nside - 1):
            raise ConfigError(f"nside is {self.nside}", "Give a power of two.")
        if self.folds < 1 or not 0 <= self.fold < self.folds:
            raise ConfigError(
                f"fold {self.fold} of {self.folds}", "Give 0 <= fold < folds."
            )
        if not 0 <= self.validation < 1:
            raise ConfigError(
                f"validation fraction {self.validation}", "Give 0 <= validation < 1."
            )

    def cells(self, ra: Any, dec: Any) -> np.ndarray:
        """HEALPix cells in NESTED order (Gorski et al. 2005, ApJ 622, 759).

        Args:
            ra: right ascension in degrees (ICRS), [b].
            dec: declination in degrees, [b].

        Returns:
            int64 [b].

        Raises:
            DataError: a coordinate is missing or a declination beyond the poles.
        """
        import healpy

        ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        good = np.isfinite(ra) & (np.abs(dec) <= 90)
        if not good.all():
            raise DataError(
                f"{np.count_nonzero(~good)} of {good.size} objects have no valid ra, "
                "dec",
                "Give both in degrees, or drop these rows.",
            )
        if not ra.size:
            return np.zeros(0, np.int64)
        return healpy.ang2pix(self.nside, ra, dec, nest=True, lonlat=True)

    def numbers(self, cells: Any) -> np.ndarray:
        """Number of the split of each cell, an index into `SPLITS`; int8 [b]."""
        cells = np.atleast_1d(np.asarray(cells))
        key = splitmix(cells ^ splitmix(self.seed % 2**64).astype(np.int64))
        test = (key % np.uint64(self.folds) == np.uint64(self.fold)) & (self.folds > 1)
        share = (splitmix(key) >> np.uint64(11)) * 2.0**-53
        split = np.where(share < self.validation, 1, 0)
        return np.where(test, 2, split).astype(np.int8)

    def assign(self, cells: Any) -> np.ndarray:
        """Name of the split of each cell: "train", "validation" or "test"; str [b]."""
        return np.array(SPLITS)[self.numbers(cells)]
