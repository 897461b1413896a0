# SPDX-License-Identifier: MIT
"""Stateless random numbers: a pure function of seed, example and column.

Any process computes the numbers of its own rows and nothing else, and gets the same
ones whatever the number of processes, the batch or the step it started from. The
generator is SplitMix64 (Steele, Lea, Flood 2014, OOPSLA "Fast splittable pseudorandom
number generators") used as a counter hash.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.hashes import GOLDEN, splitmix

_MAX_ATTEMPTS = 64


def _word(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch of examples, one key per example.

    Two calls with the same arguments give the same numbers: take a `stream` for each
    purpose.

    Attributes:
        keys: uint64 [b].
    """

    keys: np.ndarray

    @classmethod
    def of(cls, seed: int, examples: Any) -> "Draws":
        """Draws of the examples with these global numbers, int [b]."""
        # Another function than for examples: else example 6 of seed 5 is 5 of seed 6.
        start = splitmix(splitmix(seed % 2**64) ^ _word("seed"))
        return cls(splitmix(splitmix(examples) ^ start))

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Any) -> "Draws":
        """Those of some rows of the batch."""
        return Draws(self.keys[rows])

    def stream(self, name: str) -> "Draws":
        """Independent draws for a purpose."""
        return Draws(splitmix(self.keys ^ _word(name)))

    def bits(self, columns: int) -> np.ndarray:
        """Random 64-bit words, uint64 [b, columns]."""
        counter = np.arange(1, columns + 1, dtype=np.uint64) * GOLDEN
        return splitmix(self.keys[:, None] + counter)

    def uniform(self, columns: int) -> np.ndarray:
        """Uniform in [0, 1), float64 [b, columns]."""
        return (self.bits(columns) >> np.uint64(11)) * 2.0**-53

    def normal(self, columns: int) -> np.ndarray:
        """Standard normal (Box and Muller 1958), float64 [b, columns]."""
        radius = np.sqrt(-2.0 * np.log1p(-self.stream("radius").uniform(columns)))
        return radius * np.cos(2.0 * np.pi * self.stream("angle").uniform(columns))

    def log_gamma(self, shape: np.ndarray, columns: int) -> np.ndarray:
        """Logarithm of gamma variates, exact for shapes as small as 0.001.

        A variate of shape a is one of shape a + 1 times U**(1 / a); its logarithm does
        not underflow where the variate does. Marsaglia and Tsang (2000, ACM TOMS 26,
        363) with rejection per entry, so that an entry does not depend on the batch.

        Args:
            shape: shape parameter of each row, > 0, [b].
            columns: how many variates per row.

        Returns:
            float64 [b, columns].
        """
        d = np.broadcast_to(shape[:, None] + 2.0 / 3.0, (len(self), columns))
        c = 1.0 / np.sqrt(9.0 * d)
        log_value = np.log(d)
        waiting = np.ones(d.shape, bool)
        for number in range(_MAX_ATTEMPTS):
            draws = self.stream(f"round {number}")
            x = draws.normal(columns)
            v = np.maximum(1.0 + c * x, 1e-12) ** 3
            log_u = np.log1p(-draws.stream("accept").uniform(columns))
            accept = log_u < 0.5 * x * x + d * (1.0 - v + np.log(v))
            accept &= waiting & (1.0 + c * x > 0)
            log_value = np.where(accept, np.log(d) + np.log(v), log_value)
            waiting &= ~accept
            if not waiting.any():
                break
        boost = np.log1p(-self.stream("boost").uniform(columns)) / shape[:, None]
        return log_value + boost
