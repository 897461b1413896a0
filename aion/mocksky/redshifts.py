# SPDX-License-Identifier: MIT
"""A probability density of redshift on a grid, linear in ln(1 + z) between edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.errors import DataError


@dataclass(frozen=True, eq=False)
class RedshiftPosterior:
    """Densities of a batch of objects; axes b objects, n intervals.

    Attributes:
        edges: increasing redshifts, [n + 1].
        left, right: density in ln(1 + z) at the two ends of each interval, linear in
            ln(1 + z) between them, [b, n]; integrates to 1. NaN where nothing in the
            library can have been measured so.
    """

    edges: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.left)

    @property
    def _place(self) -> np.ndarray:
        return np.log1p(self.edges)

    @property
    def values(self) -> np.ndarray:
        """Middles of the intervals in redshift, [n]."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def probabilities(self) -> np.ndarray:
        """Of the intervals, [b, n]."""
        return (self.left + self.right) / 2 * np.diff(self._place)

    def _moment(self, power: int) -> np.ndarray:
        """Mean of z**power, by Simpson's rule in each interval; [b]."""
        place = self._place
        middle = np.expm1((place[1:] + place[:-1]) / 2) ** power
        ends = self.edges**power
        low, high = (ends[:-1] + 2 * middle) / 6, (ends[1:] + 2 * middle) / 6
        width = np.diff(place)
        return self.left @ (low * width) + self.right @ (high * width)

    @property
    def mean(self) -> np.ndarray:
        """[b]."""
        return self._moment(1)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation, [b]."""
        return np.sqrt(np.maximum(self._moment(2) - self._moment(1) ** 2, 0.0))

    @property
    def mode(self) -> np.ndarray:
        """Middle of the interval with the highest density per redshift, [b]."""
        return self.values[np.argmax(self.probabilities / np.diff(self.edges), axis=1)]

    @property
    def median(self) -> np.ndarray:
        """[b]."""
        return self.quantile(0.5)

    def _cumulative(self) -> np.ndarray:
        total = np.zeros((len(self), len(self.edges)))
        np.cumsum(self.probabilities, axis=1, out=total[:, 1:])
        return total

    def quantile(self, q: float | Sequence[float] | np.ndarray) -> np.ndarray:
        """Redshifts below which a probability lies: [b], or [k, b] for k of them."""
        levels = np.asarray(q, float)
        if np.any((levels < 0) | (levels > 1)):
            raise DataError(f"quantile {q}", "Give probabilities in [0, 1].")
        found = np.stack([self._invert(level) for level in levels.ravel()])
        return found[0] if levels.ndim == 0 else found

    def _invert(self, level: Any) -> np.ndarray:
        total, place = self._cumulative(), self._place
        level = np.broadcast_to(level, len(self)) * total[:, -1]
        index = np.sum(total[:, 1:-1] < level[:, None], axis=1)
        rows, width = np.arange(len(self)), np.diff(place)[index]
        low, high = self.left[rows, index] * width, self.right[rows, index] * width
        more = np.clip(level - total[rows, index], 0.0, None)
        # The root of low s + (high - low) s**2 / 2 = more, without cancellation.
        root = np.sqrt(np.maximum(low**2 + 2 * (high - low) * more, 0.0))
        share = 2 * more / np.maximum(low + root, 1e-300)
        found = np.expm1(place[index] + np.clip(share, 0.0, 1.0) * width)
        return np.where(np.isfinite(total[:, -1]), found, np.nan)

    def interval(self, level: float = 0.68) -> tuple[np.ndarray, np.ndarray]:
        """Ends [b], [b] of the central interval that holds a probability."""
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return low, high

    def _find(self, truth: Any) -> tuple[np.ndarray, np.ndarray]:
        """Interval of each redshift and how far inside, 0 to 1; beyond: the ends."""
        truth = np.asarray(truth, float)
        if truth.shape != (len(self),):
            raise DataError(
                f"{len(self)} posteriors and redshifts of shape {truth.shape}",
                "Give one redshift per object.",
            )
        place, at = self._place, np.log1p(truth)
        index = np.searchsorted(place[1:-1], at, side="right")
        inside = (at - place[index]) / (place[index + 1] - place[index])
        return index, np.clip(inside, 0.0, 1.0)

    def cdf(self, values: Any) -> np.ndarray:
        """Probability below one redshift per object, [b]."""
        index, inside = self._find(values)
        rows, width = np.arange(len(self)), np.diff(self._place)[index]
        left, right = self.left[rows, index], self.right[rows, index]
        more = width * inside * (left + (right - left) * inside / 2)
        return np.clip(self._cumulative()[rows, index] + more, 0.0, 1.0)

    def pit(self, truth: Any, seed: int | None = None) -> np.ndarray:
        """Probability integral transform of true redshifts, [b].

        Without a seed, the probability below the truth. With a seed, drawn evenly
        between the probabilities at the edges of its interval (Czado et al. 2009,
        Biometrics 65, 1254), which forgives any density inside intervals.
        """
        if seed is None:
            return self.cdf(truth)
        index, _ = self._find(truth)
        rows, total = np.arange(len(self)), self._cumulative()
        low, high = total[rows, index], total[rows, index + 1]
        return low + np.random.default_rng(seed).uniform(size=len(self)) * (high - low)

    def log_density(self, truth: Any) -> np.ndarray:
        """Natural log of the density per unit redshift at true redshifts, [b]."""
        index, inside = self._find(truth)
        rows = np.arange(len(self))
        left, right = self.left[rows, index], self.right[rows, index]
        with np.errstate(divide="ignore"):
            density = np.log(left + (right - left) * inside)
        return density - np.log1p(np.asarray(truth, float))

    def draw(self, num_samples: int, seed: int) -> np.ndarray:
        """Independent draws, [s, b]."""
        uniform = np.random.default_rng(seed).uniform(size=(num_samples, len(self)))
        return np.stack([self._invert(one) for one in uniform])
