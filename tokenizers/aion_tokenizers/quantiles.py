# SPDX-License-Identifier: MIT
"""Quantiles of more values than memory holds, deterministic, with a guaranteed error.

Buffers of `capacity` sorted values are collapsed in pairs, as Munro and Paterson (1980)
and Manku, Rajagopalan and Lindsay (1998, SIGMOD, "Approximate medians and other
quantiles in one pass and with limited memory") do: of the 2 x `capacity` values of two
buffers of equal weight every second one stays, with twice the weight. Collapses of one
weight alternate between the even and the odd places, so that their errors cancel in
pairs. Nothing is random: the result depends on the values and their order, not on the
chunks they come in.
"""

import numpy as np
from jaxtyping import Float

CAPACITY = 2**17


class QuantileSketch:
    """Quantiles of a stream of numbers; NaN and infinities are counted and left out.

    Exact for fewer than 2 x `capacity` values. Beyond, of n values, the rank of any
    number is off by at most n x `rank_error_bound`, which grows like
    log2(n / capacity) / (4 capacity): 2.5e-5 for 1e9 values with the default capacity,
    in 15 MB.

    Args:
        capacity: values per buffer, at least 2.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 2:
            raise ValueError(f"capacity {capacity} of a quantile sketch is below 2")
        self.capacity = capacity
        self.count = 0
        self.missing = 0
        self.low = np.inf
        self.high = -np.inf
        self._fresh = np.empty(capacity)
        self._filled = 0
        self._levels: dict[int, np.ndarray] = {}
        self._collapses: dict[int, int] = {}
        self._under = 0
        self._over = 0

    def update(self, values: np.ndarray) -> None:
        """Takes more values, of any shape, in the order of memory."""
        flat = np.asarray(values, np.float64).ravel()
        finite = flat[np.isfinite(flat)]
        self.missing += flat.size - finite.size
        if not finite.size:
            return
        self.count += finite.size
        self.low = min(self.low, float(finite.min()))
        self.high = max(self.high, float(finite.max()))
        self._fill(finite)

    def merge(self, other: "QuantileSketch") -> None:
        """Takes the values that another sketch of the same capacity has seen.

        Raises:
            ValueError: the capacities differ.
        """
        if other.capacity != self.capacity:
            raise ValueError(
                f"capacities {self.capacity} and {other.capacity} do not merge"
            )
        self.count += other.count
        self.missing += other.missing
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._under += other._under
        self._over += other._over
        for level in sorted(other._levels):
            self._push(other._levels[level], level)
        self._fill(other._fresh[: other._filled])

    @property
    def rank_error_bound(self) -> float:
        """Largest error of a rank, as a fraction of the values seen; guaranteed."""
        return max(self._under, self._over) / max(self.count, 1)

    def distribution(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Distinct values that are kept, increasing, and how many values each is for.

        The weights sum to `count`. The smallest and the largest value are always there.
        """
        parts = [self._fresh[: self._filled], *self._levels.values()]
        weights = [1.0] + [2.0**level for level in self._levels]
        values = np.concatenate(parts)
        mass = np.repeat(weights, [len(part) for part in parts])
        distinct, inverse = np.unique(values, return_inverse=True)
        mass = np.bincount(inverse, mass, len(distinct)).astype(np.float64)
        return self._with_ends(distinct, mass)

    def quantile(self, fraction: np.ndarray | float) -> np.ndarray:
        """The smallest kept value with at least this fraction of values at or below it.

        Args:
            fraction: 0 to 1, any shape.

        Raises:
            ValueError: there are no values yet.
        """
        if not self.count:
            raise ValueError("a quantile sketch without values has no quantiles")
        values, mass = self.distribution()
        targets = np.asarray(fraction, np.float64) * self.count
        # A rank is a whole number: forgive the rounding of fraction x count.
        rank = np.searchsorted(np.cumsum(mass), targets * (1 - 1e-12), side="left")
        return values[np.minimum(rank, len(values) - 1)]

    def _fill(self, values: np.ndarray) -> None:
        start = 0
        while start < len(values):
            room = self.capacity - self._filled
            part = values[start : start + room]
            self._fresh[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            start += len(part)
            if self._filled == self.capacity:
                self._push(np.sort(self._fresh), 0)
                self._filled = 0

    def _push(self, buffer: np.ndarray, level: int) -> None:
        while level in self._levels:
            both = np.sort(np.concatenate([self._levels.pop(level), buffer]))
            turn = self._collapses.get(level, 0)
            self._collapses[level] = turn + 1
            buffer = both[turn % 2 :: 2]
            # Even places stand for themselves and the next: ranks come out too high.
            if turn % 2 == 0:
                self._over += 2**level
            else:
                self._under += 2**level
            level += 1
        self._levels[level] = buffer

    def _with_ends(
        self, values: np.ndarray, mass: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self.count:
            return values, mass
        if values[0] > self.low:
            values, mass = np.insert(values, 0, self.low), np.insert(mass, 0, 1.0)
            mass[1] -= 1.0
        if values[-1] < self.high:
            values, mass = np.append(values, self.high), np.append(mass, 1.0)
            mass[-2] -= 1.0
        keep = mass > 0
        return values[keep], mass[keep]
