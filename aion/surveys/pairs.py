# SPDX-License-Identifier: MIT
"""Pairs of entries of two surveys that are close to each other on the sky."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped
from scipy.spatial import KDTree

from aion.surveys.epochs import ARCSEC


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs within a radius, in no order.

    Attributes:
        left, right: rows of the two surveys, [k].
        separation: great-circle distance in arcsec, [k].
    """

    left: Int[np.ndarray, " k"]
    right: Int[np.ndarray, " k"]
    separation: Float64[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.left)

    def take(self, rows: Any) -> Self:
        """The pairs `rows` (indices or boolean)."""
        return type(self)(self.left[rows], self.right[rows], self.separation[rows])


def tree_of(vectors: Float64[np.ndarray, "b 3"]) -> KDTree:
    """The search tree of unit vectors, built for one search: unbalanced, compact."""
    return KDTree(vectors, balanced_tree=False)


def arcseconds(chord: Any) -> np.ndarray:
    """Great-circle distance of a chord of the unit sphere."""
    return 2 * np.arcsin(np.minimum(np.asarray(chord) / 2, 1)) / ARCSEC


def close_pairs(left: KDTree, right: KDTree, radius: float) -> Pairs:
    """All pairs of two trees of unit vectors that are at most `radius` arcsec apart."""
    if not (left.n and right.n):
        none = np.empty(0, np.int64)
        return Pairs(none, none, np.empty(0))
    chord = 2 * np.sin(radius * ARCSEC / 2)
    found: Any = left.sparse_distance_matrix(
        right, chord * (1 + 1e-9), output_type="ndarray"
    )
    separation = arcseconds(found["v"])
    pairs = Pairs(found["i"].astype(np.int64), found["j"].astype(np.int64), separation)
    return pairs.take(separation <= radius)


def mutual_nearest(
    pairs: Pairs,
    left_ids: Shaped[np.ndarray, " b"],
    right_ids: Shaped[np.ndarray, " c"],
) -> Bool[np.ndarray, " k"]:
    """Which pairs are nearest neighbours of each other; of equals the smaller id."""
    first = _nearest(pairs.left, pairs.right, pairs.separation, right_ids)
    return first & _nearest(pairs.right, pairs.left, pairs.separation, left_ids)


def _nearest(
    of: np.ndarray, to: np.ndarray, separation: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """Whether each pair is the closest one of its entry `of`."""
    if not len(of):
        return np.zeros(0, bool)
    least = np.full(int(of.max()) + 1, np.inf)
    np.minimum.at(least, of, separation)
    nearest = separation == least[of]
    rows = np.flatnonzero(nearest)
    count = np.bincount(of[rows], minlength=len(least))
    tied = rows[count[of[rows]] > 1]
    if len(tied):
        order = tied[np.lexsort((ids[to[tied]], of[tied]))]
        again = np.r_[False, of[order][1:] == of[order][:-1]]
        nearest[order[again]] = False
    return nearest
