# SPDX-License-Identifier: MIT
"""Which data set and which step shape come when, with random access.

A sequence of categories is dealt in shuffled blocks that hold each category in exact
proportion. So any position can be computed without those before it, and so can the
number of times a category came before it: the counter behind sampling without
replacement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from grain.experimental import index_shuffle

from aion.data.allotment import Budget
from aion.data.draws import Draws

_SHUFFLE_ROUNDS = 4


@dataclass(frozen=True)
class Interleave:
    """An endless sequence of categories in shuffled blocks.

    Attributes:
        counts: how often each category comes in a block.
        seed: another seed shuffles the blocks differently.
    """

    counts: tuple[int, ...]
    seed: int

    @classmethod
    def of(cls, shares: Sequence[float], block: int, seed: int) -> "Interleave":
        """Categories in proportion to `shares`, rounded to 1 / `block`.

        A positive share comes at least once per block.
        """
        wanted = np.asarray(shares, np.float64) / np.sum(shares) * block
        counts = np.where(wanted > 0, np.maximum(np.floor(wanted), 1), 0)
        spare = max(int(block - counts.sum()), 0)
        counts[np.argsort(counts - wanted, kind="stable")[:spare]] += 1
        return cls(tuple(int(c) for c in counts), seed)

    def span(self, start: int, stop: int) -> np.ndarray:
        """Categories at positions start..stop, int64 [stop - start]."""
        length = sum(self.counts)
        first = start // length
        blocks = [
            _block(self.counts, self.seed, number)
            for number in range(first, -(-stop // length))
        ]
        offset = first * length
        return np.concatenate(blocks)[start - offset : stop - offset]

    def before(self, position: int) -> np.ndarray:
        """How often each category came before a position, int64 [categories]."""
        whole, rest = divmod(position, sum(self.counts))
        part = _block(self.counts, self.seed, whole)[:rest]
        seen = np.bincount(part, minlength=len(self.counts))
        return np.array(self.counts, np.int64) * whole + seen


@lru_cache(maxsize=64)
def _block(counts: tuple[int, ...], seed: int, number: int) -> np.ndarray:
    order = np.argsort(Draws.of(seed, number).bits(sum(counts))[0])
    return np.repeat(np.arange(len(counts)), counts)[order]


def shuffled(positions: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Rows of a data set at positions of its endless stream of shuffled epochs.

    Every epoch is a permutation of its own, computed entry by entry (grain's index
    shuffle), so that memory does not grow with the data set.

    Args:
        positions: numbers in the stream, int64 [n].
        size: rows of the data set.
        seed: of the stream.

    Returns:
        int64 [n], 0 <= row < size.
    """
    epochs, places = np.divmod(positions, size)
    seeds = (Draws.of(seed, epochs).keys >> np.uint64(32)).tolist()
    pairs = zip(places.tolist(), seeds, strict=True)
    rows = [index_shuffle(p, size - 1, s, _SHUFFLE_ROUNDS) for p, s in pairs]
    return np.array(rows, np.int64)


def route(
    most_tokens: Sequence[int], weights: Sequence[float], budgets: Sequence[Budget]
) -> np.ndarray:
    """Share of all examples by data set and budget.

    A data set uses the smallest budget that holds all tokens of its richest record, and
    all smaller ones: a larger shape would only add padding. Among its budgets it
    chooses by their weights. Each data set's share is its weight, exactly.

    Args:
        most_tokens: tokens of the richest record of each data set, [sets].
        weights: weights of the data sets, [sets].
        budgets: the step shapes.

    Returns:
        float64 [sets, budgets], of sum 1.
    """
    sizes = np.array([b.inputs + b.targets for b in budgets])
    enough = [
        (sizes[sizes >= n].min() if (sizes >= n).any() else sizes.max())
        for n in most_tokens
    ]
    allowed = sizes <= np.array(enough)[:, None]
    share = allowed * np.array([b.weight * b.batch for b in budgets])
    share = share / share.sum(axis=1, keepdims=True)
    return share * (np.asarray(weights, np.float64) / np.sum(weights))[:, None]
