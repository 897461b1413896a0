# SPDX-License-Identifier: MIT
"""Edges of many columns of numbers, looked up together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

CURVES: Mapping[str, Any] = {
    "arcsinh": np.arcsinh,
    "asinh": np.arcsinh,
    "sinh": np.sinh,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "log": np.log,
    "exp": np.exp,
}
"""Functions of PyTorch that a configuration may name."""

Curve = tuple[float, tuple[str, ...]]
"""A floor, and the functions that follow it."""
NO_CURVE: Curve = (-np.inf, ())


@dataclass(frozen=True, eq=False)
class QuantileTable:
    """Edges of many columns, each with a curve that its values go through first.

    Attributes:
        edges: increasing, padded with infinity to 2**k - 1, [c, e].
        curves: one per column.
    """

    edges: Float32[np.ndarray, "c e"]
    curves: tuple[Curve, ...]

    @classmethod
    def of(
        cls, edges: Sequence[np.ndarray], curves: Sequence[Curve]
    ) -> "QuantileTable":
        """Columns side by side; `edges` [e] of each, which may differ in number."""
        longest = max(len(e) for e in edges)
        size = 2 ** longest.bit_length() - 1
        table = np.full((len(edges), size), np.inf, np.float32)
        for row, column in zip(table, edges, strict=True):
            row[: len(column)] = column
        return cls(table, tuple(curves))

    @cached_property
    def _groups(self) -> list[tuple[Curve, np.ndarray]]:
        distinct = dict.fromkeys(self.curves)
        places = {c: [i for i, d in enumerate(self.curves) if d == c] for c in distinct}
        return [(c, np.array(p)) for c, p in places.items() if c != NO_CURVE]

    def compressed(self, values: np.ndarray) -> Float32[np.ndarray, "b c"]:
        """Values [b, c] on the curves of their columns."""
        out = np.array(values, np.float32)
        with np.errstate(all="ignore"):
            for (floor, names), places in self._groups:
                part = np.maximum(out[:, places], np.float32(floor))
                for name in names:
                    part = CURVES[name](part)
                out[:, places] = part
        return out

    def encode(self, values: np.ndarray) -> Int32[np.ndarray, "b c"]:
        """How many edges of its column are strictly below each value [b, c].

        NaN is taken for the largest of all, as PyTorch's `bucketize` does.
        """
        small = self.compressed(values)
        flat, columns = self.edges.reshape(-1), self.edges.shape[1]
        # One bisection for all columns: after k steps 2**k - 1 edges are told apart.
        start = np.arange(self.edges.shape[0]) * columns - 1
        found = np.broadcast_to(start, small.shape).copy()
        step = (columns + 1) // 2
        while step:
            found += np.where(small > flat[found + step], step, 0)
            step //= 2
        codes = (found - start).astype(np.int32)
        nan = np.isnan(small)
        if nan.any():
            last = np.isfinite(self.edges).sum(1).astype(np.int32)
            codes = np.where(nan, last, codes)
        return codes
