# SPDX-License-Identifier: MIT
"""Bins on a line: edges, representative values, and how much of the data each holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int

from aion.errors import ArtefactError, ConfigError, DataError
from aion_tokenizers import features
from aion_tokenizers.quantiles import QuantileSketch

Curve = Callable[[np.ndarray, float], np.ndarray]

COMPRESSIONS: Mapping[str, tuple[Curve, Curve]] = {
    "none": (lambda x, s: x, lambda y, s: y),
    "log": (lambda x, s: np.log(np.maximum(x, s)), lambda y, s: np.exp(y)),
    "log1p": (lambda x, s: np.log1p(x / s), lambda y, s: s * np.expm1(y)),
    "asinh": (lambda x, s: np.arcsinh(x / s), lambda y, s: s * np.sinh(y)),
}
"""Forward and inverse curve by word; both take values and the scale."""


@dataclass(frozen=True)
class Compression:
    """A monotone curve in which bins are even and values look tame.

    Attributes:
        word: "none", "log" (of values clipped from below at `scale`), "log1p"
            (log(1 + x / scale), x > -scale) or "asinh" (of x / scale; Lupton, Gunn and
            Szalay 1999).
        scale: in the unit of the values, positive; not used by "none".

    Raises:
        ConfigError: an unknown word, or a scale that is not positive.
    """

    word: str = "none"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.word not in COMPRESSIONS:
            raise ConfigError(
                f"unknown compression {self.word!r}",
                f"Choose one of {', '.join(COMPRESSIONS)}.",
            )
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(
                f"compression {self.word} has scale {self.scale}",
                "Give a positive scale in the unit of the values.",
            )

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Coordinates of values, float64."""
        clipped = self.clip(np.asarray(values, np.float64))
        return COMPRESSIONS[self.word][0](clipped, self.scale)

    def inverse(self, coordinates: np.ndarray) -> np.ndarray:
        """Values of coordinates, float64."""
        return COMPRESSIONS[self.word][1](
            np.asarray(coordinates, np.float64), self.scale
        )

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Values, those below the domain of the curve moved to its lower end."""
        lowest = {"log": self.scale, "log1p": -self.scale * (1 - 1e-12)}
        return np.maximum(values, lowest.get(self.word, -np.inf))


@dataclass(frozen=True)
class Counts:
    """How many values a codec met, and how many it could not give a bin of their own.

    Attributes:
        total: values, absent ones included.
        absent: NaN, infinite, masked or empty.
        below, above: clipped to the first and the last bin.
    """

    total: int = 0
    absent: int = 0
    below: int = 0
    above: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.total + other.total,
            self.absent + other.absent,
            self.below + other.below,
            self.above + other.above,
        )


@dataclass(frozen=True, eq=False)
class Bins:
    """Adjacent bins [edge, next edge), the last one closed; all in physical units.

    Attributes:
        edges: finite and increasing, [n + 1].
        centres: the representative value of each bin, inside it, [n].
        mass: fraction of the data in each bin, [n]; sums to one.
        compression: the curve in which a bin's middle is meant.

    Raises:
        ArtefactError: shapes or values that are no bins.
    """

    edges: Float64[np.ndarray, " edges"]
    centres: Float64[np.ndarray, " n"]
    mass: Float64[np.ndarray, " n"]
    compression: Compression = Compression()

    def __post_init__(self) -> None:
        edges, centres, mass = self.edges, self.centres, self.mass
        inside = (
            edges.ndim == 1
            and len(edges) > 1
            and centres.shape == mass.shape == (len(edges) - 1,)
            and bool(np.all(np.isfinite(edges)) and np.all(np.diff(edges) > 0))
            and bool(np.all(_inside(centres, edges) == centres))
            and bool(np.all(mass >= 0) and abs(mass.sum() - 1) < 1e-6)
        )
        if not inside:
            raise ArtefactError(
                f"edges {edges.shape} and centres {centres.shape} are no bins",
                "Edges must increase and be finite, one centre inside each bin.",
            )

    @classmethod
    def equal_mass(
        cls, sketch: QuantileSketch, count: int, compression: Compression
    ) -> "Bins":
        """At most `count` bins that hold equally many of the values seen.

        Edges lie half way (in the compressed coordinate) between neighbouring distinct
        values, so equal values share a bin and every bin has data and a width: data
        with few distinct values get fewer bins. Representatives are medians.

        Raises:
            DataError: there are no values.
        """
        if not sketch.count:
            raise DataError("all values are NaN or there are none", _NO_VALUES)
        values, weight = sketch.distribution()
        if len(values) == 1:
            return cls._constant(float(values[0]), compression)
        total = np.cumsum(weight)
        last = _nearest(total[:-1], np.arange(1, count) * (sketch.count / count))
        inner = _between(values[last], values[last + 1], compression)
        top = (
            max(values[-1], np.nextafter(inner[-1], np.inf))
            if len(inner)
            else values[-1]
        )
        edges = np.concatenate([values[:1], inner, [top]])
        bounds = np.concatenate([[0.0], total[last], total[-1:]])
        middle = np.searchsorted(total, (bounds[1:] + bounds[:-1]) / 2)
        mass = np.diff(bounds) / sketch.count
        return cls(edges, _inside(values[middle], edges), mass, compression)

    @classmethod
    def _constant(cls, value: float, compression: Compression) -> "Bins":
        half = max(abs(value), 1e-6) * 1e-6
        edges = np.array([value - half, value + half])
        return cls(edges, np.array([value]), np.ones(1), compression)

    @classmethod
    def equal_width(
        cls, low: float, high: float, count: int, compression: Compression
    ) -> "Bins":
        """`count` bins of equal width in the compressed coordinate.

        Raises:
            ConfigError: the range is empty, or too narrow for so many bins.
        """
        ends = compression.forward(np.array([low, high]))
        if not (np.all(np.isfinite(ends)) and ends[0] < ends[1] and count > 0):
            raise ConfigError(
                f"{count} bins from {low} to {high} with compression "
                f"{compression.word} are empty",
                "Give low < high inside the domain of the compression.",
            )
        line = np.linspace(ends[0], ends[1], 2 * count + 1)
        values = compression.inverse(line)
        values[0], values[-1] = low, high
        if not np.all(np.diff(values) > 0):
            raise ConfigError(
                f"{count} bins from {low} to {high} are narrower than a float64",
                "Take fewer bins or a wider range.",
            )
        return cls(values[::2], values[1::2], np.full(count, 1 / count), compression)

    def __len__(self) -> int:
        return len(self.centres)

    def index(self, values: np.ndarray) -> Int[np.ndarray, "..."]:
        """Bin of each value, clipped to the end bins; -1 where it is absent."""
        plain = plain_values(values)
        found = np.searchsorted(self.edges[1:-1], plain, side="right")
        return np.where(np.isfinite(plain), found, -1)

    def values(self, index: np.ndarray) -> Float64[np.ndarray, "..."]:
        """Representative value of each bin; NaN for -1.

        Raises:
            DataError: an index that is no bin.
        """
        index = np.asarray(index)
        if index.size and index.max() >= len(self):
            raise DataError(
                f"code {index.max()} of a codec with {len(self)} bins",
                "Decode codes with the codec that made them.",
            )
        return np.where(index >= 0, self.centres[np.maximum(index, 0)], np.nan)

    def count(self, values: np.ndarray) -> Counts:
        """How many values are absent or lie beyond the edges."""
        plain = plain_values(values)
        finite = np.isfinite(plain)
        return Counts(
            plain.size,
            int((~finite).sum()),
            int((plain[finite] < self.edges[0]).sum()),
            int((plain[finite] > self.edges[-1]).sum()),
        )

    def features(self) -> Float32[np.ndarray, "n p"]:
        """What each bin means; see `features.ordered`."""
        rank = np.cumsum(self.mass) - self.mass / 2
        return features.ordered(self.compression.forward(self.centres), rank)

    def config(self) -> dict[str, Any]:
        """The JSON half of the state."""
        return {"compression": self.compression.word, "scale": self.compression.scale}

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the state."""
        return {"edges": self.edges, "centres": self.centres, "mass": self.mass}


_NO_VALUES = "Give a column with values, or leave this modality out."


def plain_values(values: Any) -> Float64[np.ndarray, "..."]:
    """Numbers as float64, NaN where they are masked; never a view of the input."""
    masked = np.ma.asarray(values)
    return np.ma.filled(masked.astype(np.float64), np.nan)


def bins_from_state(config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Bins:
    """Bins from `Bins.config` and `Bins.arrays`, with every value checked.

    Raises:
        ArtefactError: a missing or unknown key, or arrays of another type or shape.
    """
    if set(arrays) != {"edges", "centres", "mass"}:
        raise ArtefactError(
            f"a codec of bins has arrays {sorted(arrays)}",
            "It takes edges, centres and mass; fit the codec again.",
        )
    wrong = [k for k, v in arrays.items() if v.dtype != np.float64 or v.ndim != 1]
    if wrong:
        raise ArtefactError(
            f"codec array {wrong[0]} is not a row of float64", "Fit the codec again."
        )
    word, scale = config.get("compression"), config.get("scale")
    if not isinstance(word, str) or not isinstance(scale, float | int):
        raise ArtefactError(
            f"codec compression {word!r} with scale {scale!r}", "Fit the codec again."
        )
    try:
        compression = Compression(word, float(scale))
    except ConfigError as error:
        raise ArtefactError(error.problem, error.fix) from None
    return Bins(arrays["edges"], arrays["centres"], arrays["mass"], compression)


def _nearest(total: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Places in the increasing `total` that are nearest to targets, each once."""
    right = np.clip(np.searchsorted(total, targets), 0, len(total) - 1)
    left = np.maximum(right - 1, 0)
    closer = np.abs(total[left] - targets) < np.abs(total[right] - targets)
    return np.unique(np.where(closer, left, right))


def _between(
    below: np.ndarray, above: np.ndarray, compression: Compression
) -> np.ndarray:
    """Values half way between neighbours in the coordinate: below < v <= above."""
    ends = compression.forward(below), compression.forward(above)
    middle = compression.inverse((ends[0] + ends[1]) / 2)
    return np.where((middle > below) & (middle < above), middle, above)


def _inside(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values moved into their bins, of which only the last holds its upper edge."""
    above = np.nextafter(edges[1:], -np.inf)
    above[-1] = edges[-1]
    return np.clip(values, edges[:-1], above)
