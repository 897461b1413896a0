# SPDX-License-Identifier: MIT
"""A posterior over the bins of a codec: a density in physical units, or labels.

Inside a bin the density is taken to be uniform, so the cumulative distribution is
linear between edges. Every number below follows from that density.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.errors import DataError


@dataclass(frozen=True)
class Posterior:
    """Probabilities of a batch of objects over the values of one modality.

    Attributes:
        values: the representative value of each bin, or the labels; [v].
        edges: increasing edges of the bins in the unit of the values, [v + 1]; None for
            labels.
        probabilities: [b, v], each row sums to one.
        name: the modality.
        unit: unit of values and edges in astropy's spelling.

    Raises:
        DataError: shapes that do not fit each other.
    """

    values: np.ndarray
    edges: np.ndarray | None
    probabilities: np.ndarray
    name: str = "value"
    unit: str = ""

    def __post_init__(self) -> None:
        shape, count = np.shape(self.probabilities), len(self.values)
        fits = len(shape) == 2 and shape[1] == count
        if not fits or (self.edges is not None and len(self.edges) != count + 1):
            raise DataError(
                f"posterior of {self.name}: probabilities {shape} for {count} values",
                "Give probabilities [b, v] for v values and v + 1 edges.",
            )

    def __len__(self) -> int:
        return self.probabilities.shape[0]

    @property
    def is_category(self) -> bool:
        """Whether values are labels."""
        return self.edges is None

    def _edges(self, what: str) -> np.ndarray:
        if self.edges is None:
            raise DataError(
                f"{self.name} is a category: it has no {what}",
                "Use mode, entropy, log_probability or the probabilities.",
            )
        return np.asarray(self.edges, np.float64)

    def _cumulative(self) -> np.ndarray:
        """Probability below each edge, float64 [b, v + 1]; 0 and 1 at the ends."""
        total = np.zeros((len(self), len(self.values) + 1))
        np.cumsum(self.probabilities, axis=1, dtype=np.float64, out=total[:, 1:])
        return total / total[:, -1:]

    def _bins(self, truth: Any) -> np.ndarray:
        """Bin of each value, clipped to the end bins; -1 where it is not finite."""
        truth = self._one_each(truth, np.float64)
        found = np.searchsorted(self._edges("bins")[1:-1], truth, side="right")
        return np.where(np.isfinite(truth), found, -1)

    def _one_each(self, truth: Any, dtype: Any) -> np.ndarray:
        values = np.asarray(truth, dtype)
        if values.shape != (len(self),):
            raise DataError(
                f"posterior of {self.name}: {len(self)} objects and truth of shape "
                f"{values.shape}",
                "Give one true value per object.",
            )
        return values

    @property
    def mean(self) -> np.ndarray:
        """Mean of the density, [b]: each bin counts with its middle."""
        edges = self._edges("mean")
        return self.probabilities @ ((edges[1:] + edges[:-1]) / 2)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the density, [b]; the width of bins is included."""
        edges = self._edges("standard deviation")
        middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        centre = self.mean
        wide = np.asarray(self.probabilities, np.float64)
        first, second = wide @ middle, wide @ (middle**2 + width**2 / 12)
        variance = second - 2 * centre * first + centre**2
        return np.sqrt(np.maximum(variance, 0.0))

    @property
    def mode(self) -> np.ndarray:
        """Value of the bin with the highest density, or the likeliest label; [b]."""
        density = self.probabilities
        if self.edges is not None:
            density = density / np.diff(self.edges)
        return np.asarray(self.values)[np.argmax(density, axis=1)]

    @property
    def median(self) -> np.ndarray:
        """The 0.5 quantile, [b]."""
        return self.quantile(0.5)

    @property
    def entropy(self) -> np.ndarray:
        """Entropy in nats: of the density (may be negative), or of the labels; [b]."""
        p = np.asarray(self.probabilities, np.float64)
        width = 1.0 if self.edges is None else np.diff(self.edges)
        density = np.where(p > 0, p / width, 1.0)
        return -np.sum(p * np.log(density), axis=1)

    def quantile(self, q: float | Sequence[float]) -> np.ndarray:
        """Values below which a probability lies: [b], or [k, b] for k probabilities.

        Raises:
            DataError: labels, or a probability outside [0, 1].
        """
        edges, levels = self._edges("quantiles"), np.asarray(q, np.float64)
        if np.any((levels < 0) | (levels > 1)):
            raise DataError(f"quantile {q}", "Give probabilities in [0, 1].")
        total = self._cumulative()
        found = np.stack([_invert(total, edges, level) for level in levels.ravel()])
        return found[0] if levels.ndim == 0 else found

    def interval(self, level: float = 0.68) -> tuple[np.ndarray, np.ndarray]:
        """Ends [b], [b] of the central interval that holds a probability."""
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return low, high

    def cdf(self, values: Any) -> np.ndarray:
        """Probability below a value for each object [b]; NaN where it is not finite."""
        edges, values = self._edges("cdf"), self._one_each(values, np.float64)
        index = np.maximum(self._bins(values), 0)
        rows, total = np.arange(len(self)), self._cumulative()
        inside = (values - edges[index]) / (edges[index + 1] - edges[index])
        low, high = total[rows, index], total[rows, index + 1]
        found = low + np.clip(inside, 0.0, 1.0) * (high - low)
        return np.where(np.isfinite(values), found, np.nan)

    def pit(self, truth: Any, seed: int | None = None) -> np.ndarray:
        """Probability integral transform of true values [b]; NaN where not finite.

        Without a seed it is the cumulative distribution at the truth, linear inside
        the bin. With a seed only the bin of the truth counts, and the PIT is drawn
        uniformly between the cumulative probabilities at its edges (Czado et al. 2009,
        Biometrics 65, 1254): calibrated probabilities of bins then give a uniform PIT
        whatever the density inside a bin. Values beyond the edges count in end bins.
        """
        if seed is None:
            return self.cdf(truth)
        index, rows = self._bins(truth), np.arange(len(self))
        total, safe = self._cumulative(), np.maximum(index, 0)
        low, high = total[rows, safe], total[rows, safe + 1]
        place = np.random.default_rng(seed).uniform(size=len(self))
        return np.where(index >= 0, low + place * (high - low), np.nan)

    def log_density(self, truth: Any) -> np.ndarray:
        """Natural log of the density at true values, per unit; [b], NaN if not finite.

        Values beyond the edges get the density of the end bins.
        """
        edges, index = self._edges("density"), self._bins(truth)
        safe = np.maximum(index, 0)
        mass = np.asarray(self.probabilities, np.float64)[np.arange(len(self)), safe]
        with np.errstate(divide="ignore"):
            density = np.log(mass) - np.log(edges[safe + 1] - edges[safe])
        return np.where(index >= 0, density, np.nan)

    def log_probability(self, labels: Any) -> np.ndarray:
        """Natural log of the probability of labels [b]; NaN for a label that is absent.

        Raises:
            DataError: values are numbers, or a label is unknown.
        """
        if self.edges is not None:
            raise DataError(
                f"{self.name} is a number: its values have no probability",
                "Use log_density.",
            )
        labels = self._one_each(labels, str)
        known = {str(label): i for i, label in enumerate(self.values)}
        unknown = sorted({str(x) for x in labels} - set(known) - {""})
        if unknown:
            raise DataError(
                f"{self.name} has no label {unknown[0]!r}",
                f"Its labels are {', '.join(known)}.",
            )
        index = np.array([known.get(str(x), -1) for x in labels], np.int64)
        mass = np.asarray(self.probabilities, np.float64)
        with np.errstate(divide="ignore"):
            found = np.log(mass[np.arange(len(self)), np.maximum(index, 0)])
        return np.where(index >= 0, found, np.nan)

    def draw(self, num_samples: int, seed: int) -> np.ndarray:
        """Independent draws [s, b] of the density, or of the labels."""
        uniform = np.random.default_rng(seed).uniform(size=(num_samples, len(self)))
        total = self._cumulative()
        if self.edges is not None:
            return np.stack([_invert(total, self._edges("draws"), u) for u in uniform])
        index = [np.sum(total[:, 1:-1] <= u[:, None], axis=1) for u in uniform]
        return np.asarray(self.values)[np.stack(index)]


def _invert(total: np.ndarray, edges: np.ndarray, level: Any) -> np.ndarray:
    """Values [b] at which cumulative distributions [b, v + 1] reach a level."""
    level = np.broadcast_to(np.asarray(level, np.float64), total.shape[:1])
    # The first bin that ends at or above the level, and has probability.
    index = np.sum(total[:, 1:-1] < level[:, None], axis=1)
    index = np.where(level <= 0, np.argmax(total[:, 1:] > 0, axis=1), index)
    rows = np.arange(len(total))
    low, high = total[rows, index], total[rows, index + 1]
    inside = (level - low) / np.where(high > low, high - low, 1.0)
    width = edges[index + 1] - edges[index]
    return edges[index] + np.clip(inside, 0.0, 1.0) * width
