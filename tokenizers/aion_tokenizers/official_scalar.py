# SPDX-License-Identifier: MIT
"""AION-1's codecs of numbers: reservoirs, their logarithms, a grid, and XP vectors.

A code is the number of edges strictly below a value, so a value goes to the bin whose
representative is the next one *above* it. All columns of a record, from any number of
codecs, are looked up at once: `ScalarSet`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Coefficients, Observation, Scalar
from aion.tokenspace import TokenSpec
from aion_tokenizers.batches import checked_codes, of_kind
from aion_tokenizers.bins import Counts, plain_values
from aion_tokenizers.official import check_names, settings
from aion_tokenizers.quantile_table import CURVES, NO_CURVE, Curve, QuantileTable


@dataclass(frozen=True)
class GridConfig:
    """Constructor arguments of AION-1's `GridScalarCodec`."""

    modality: str
    codebook_size: int

    def lengths(self, prefix: str) -> dict[str, int]:
        """Lengths of the arrays by name."""
        return {f"{prefix}buckets": self.codebook_size}


@dataclass(frozen=True)
class ReservoirConfig(GridConfig):
    """Constructor arguments of AION-1's `ScalarCodec`."""

    reservoir_size: int

    def lengths(self, prefix: str) -> dict[str, int]:
        """Lengths of the arrays by name."""
        return {
            f"{prefix}_reservoir": self.reservoir_size,
            f"{prefix}_index_to_val": self.codebook_size,
        }


@dataclass(frozen=True)
class LogConfig(ReservoirConfig):
    """Constructor arguments of AION-1's `LogScalarCodec`."""

    min_log_value: float = -3.0


@dataclass(frozen=True)
class MultiConfig(ReservoirConfig):
    """Constructor arguments of AION-1's `MultiScalarCodec`."""

    num_quantizers: int
    compression_fns: tuple[str, ...]
    decompression_fns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Quantiles:
    """What the codecs of numbers share.

    Attributes:
        official: the constructor arguments of the PyTorch class.
        arrays: the arrays of its state dict.
        official_quirks: NaN and infinite values get the codes that PyTorch gives them.
    """

    official: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    official_quirks: bool = False

    def columns(self, observation: Observation) -> Float64[np.ndarray, "b c"]:
        """The numbers to encode, NaN where masked."""
        raise NotImplementedError

    @cached_property
    def table(self) -> QuantileTable:
        """Edges and curves of all columns."""
        raise NotImplementedError

    @cached_property
    def centres(self) -> Float32[np.ndarray, "c v"]:
        """What each code of each column decodes to."""
        raise NotImplementedError

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b c"]:
        """Codes [b, columns]; -1 where a value is NaN, infinite or masked."""
        values = self.columns(observation)
        codes = self.table.encode(values)
        return codes if self.official_quirks else _absent(codes, values)

    def values_of(self, codes: Any) -> Float32[np.ndarray, "... c"]:
        """What codes [..., columns] stand for; NaN for -1."""
        shape = np.shape(codes)
        plain = checked_codes(codes, *self.centres.shape)
        found = self.centres[np.arange(len(self.centres)), np.maximum(plain, 0)]
        return np.where(plain < 0, np.float32(np.nan), found).reshape(shape)

    def count(self, observation: Observation) -> Counts:
        """How many values are absent, and beyond the first and last representative."""
        values = self.columns(observation)
        finite = np.isfinite(values)
        low, high = self.centres[:, 0], self.centres[:, -1]
        return Counts(
            values.size,
            int((~finite).sum()),
            int((finite & (values < low)).sum()),
            int((finite & (values > high)).sum()),
        )

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token per number; AION-1's redshift has a row more than codes."""
        columns, size = self.centres.shape
        rows = size + (modality.official_key == "tok_z")
        return TokenSpec(modality, name, size, rows, (columns,))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays; the arrays have PyTorch's names and shapes."""
        config = {"official": dict(self.official)}
        return config | {"official_quirks": self.official_quirks}, dict(self.arrays)


def _absent(codes: np.ndarray, values: np.ndarray) -> Int32[np.ndarray, "b c"]:
    return np.where(np.isfinite(values), codes, np.int32(-1))


@dataclass(frozen=True, eq=False)
class OfficialScalar(_Quantiles):
    """AION-1's `ScalarCodec`, `LogScalarCodec` and `GridScalarCodec`.

    Which one follows from the arguments: `min_log_value` is that of the logarithm,
    `reservoir_size` that of both reservoirs. Zero and negative values of the logarithm
    share its first code. The edges are loaded, never made from the arguments.
    """

    word: ClassVar[str] = "official_scalar"

    @property
    def _edges(self) -> Float32[np.ndarray, " v"]:
        grid = self.arrays.get("_quantizer.buckets")
        return self.arrays["_quantizer._index_to_val"] if grid is None else grid

    @cached_property
    def _curve(self) -> Curve:
        low = self.official.get("min_log_value", ...)
        if low is ...:
            return NO_CURVE
        return (float(np.exp(np.float64(low))), ("log",))

    @cached_property
    def table(self) -> QuantileTable:
        """Edges of the one column; the last representative is no edge."""
        return QuantileTable.of([self._edges[:-1]], [self._curve])

    @cached_property
    def centres(self) -> Float32[np.ndarray, "1 v"]:
        """What each code decodes to."""
        edges = self._edges[None]
        return edges if self._curve is NO_CURVE else np.exp(edges)

    def columns(self, observation: Observation) -> Float64[np.ndarray, "b 1"]:
        """The values as one column.

        Raises:
            DataError: not one value per object.
        """
        observation = of_kind(observation, Scalar)
        values = plain_values(observation.values)
        if values.ndim not in (1, 2) or values.size != len(values):
            raise DataError(f"values have shape {values.shape}", "Give one per object.")
        return values.reshape(-1, 1)

    def decode(self, codes: Any, **asked: Any) -> Scalar:
        """Values [...] of codes [..., 1]; NaN where a code is -1."""
        return Scalar(self.values_of(codes)[..., 0])

    def bin_centres(self) -> Float64[np.ndarray, " v"]:
        """What each code decodes to: the upper edge of its bin."""
        return self.centres[0].astype(np.float64)

    def bin_edges(self) -> Float64[np.ndarray, " edges"]:
        """Increasing finite edges of the bins, [v + 1].

        The first bin, which has no lower end, is given the width of the second; equal
        edges are moved apart by the smallest step there is.
        """
        upper = self._edges.astype(np.float64)
        width = upper[1] - upper[0] if len(upper) > 1 else 1.0
        edges = np.concatenate([[upper[0] - max(width, 1e-6)], upper])
        edges = edges if self._curve is NO_CURVE else np.exp(edges)
        for place in range(1, len(edges)):
            edges[place] = max(edges[place], np.nextafter(edges[place - 1], np.inf))
        return edges

    def bin_of(self, values: Any) -> Int[np.ndarray, "..."]:
        """Bin of each value; -1 where it is absent."""
        plain = plain_values(values)
        codes = _absent(self.table.encode(plain.reshape(-1, 1)), plain.reshape(-1, 1))
        return codes.reshape(plain.shape)

    def codes_of_bin(self, index: Any) -> Int[np.ndarray, "... t"]:
        """Codes [..., 1] of bins [...]; -1 stays -1."""
        return np.asarray(index)[..., None]

    def bin_of_codes(self, codes: Any) -> Int[np.ndarray, "..."]:
        """Bins [...] of codes [..., 1]; -1 stays -1."""
        return np.asarray(codes)[..., 0]

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        given = dict(config["official"])
        what = f"scalar codec {given.get('modality')}"
        cls_of = GridConfig
        if any(name.endswith("_index_to_val") for name in arrays):
            cls_of = LogConfig if "min_log_value" in given else ReservoirConfig
        typed = settings(cls_of, given, what)
        checked = _checked(arrays, typed.lengths("_quantizer."), what)
        return cls(given, checked, bool(config.get("official_quirks", False)))


@dataclass(frozen=True, eq=False)
class OfficialCoefficients(_Quantiles):
    """AION-1's `MultiScalarCodec`: one reservoir per number, after its curves."""

    word: ClassVar[str] = "official_coefficients"

    @property
    def _books(self) -> Float32[np.ndarray, "c v"]:
        count = int(self.official["num_quantizers"])
        names = [f"_quantizer.quantizers.{n}._index_to_val" for n in range(count)]
        return np.stack([self.arrays[name] for name in names])

    @cached_property
    def table(self) -> QuantileTable:
        """Edges of all columns."""
        curve: Curve = (-np.inf, tuple(self.official["compression_fns"]))
        books = self._books
        return QuantileTable.of(list(books[:, :-1]), [curve] * len(books))

    @cached_property
    def centres(self) -> Float32[np.ndarray, "c v"]:
        """What each code of each column decodes to."""
        values = self._books
        with np.errstate(over="ignore"):
            for name in reversed(self.official["decompression_fns"]):
                values = CURVES[name](values)
        return values

    def columns(self, observation: Observation) -> Float64[np.ndarray, "b c"]:
        """The vectors.

        Raises:
            DataError: vectors of another length.
        """
        observation = of_kind(observation, Coefficients)
        values = plain_values(observation.values)
        count = len(self.table.curves)
        if values.ndim != 2 or values.shape[1] != count:
            raise DataError(
                f"coefficients have shape {values.shape}", f"Give [batch, {count}]."
            )
        return values

    def decode(self, codes: Any, **asked: Any) -> Coefficients:
        """Vectors [..., c] of codes [..., c]; NaN where a code is -1."""
        return Coefficients(self.values_of(codes))

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        given = dict(config["official"])
        what = f"scalar codec {given.get('modality')}"
        typed = settings(MultiConfig, given, what)
        functions = [*typed.compression_fns, *typed.decompression_fns]
        unknown = sorted(set(functions) - set(CURVES))
        if unknown:
            raise ArtefactError(
                f"{what}: unknown function {unknown[0]!r}",
                f"Known: {', '.join(CURVES)}.",
            )
        wanted: dict[str, int] = {}
        for place in range(typed.num_quantizers):
            wanted |= typed.lengths(f"_quantizer.quantizers.{place}.")
        checked = _checked(arrays, wanted, what)
        return cls(given, checked, bool(config.get("official_quirks", False)))


def _checked(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, int], what: str
) -> dict[str, np.ndarray]:
    """The arrays as float32, after a look at names and lengths."""
    check_names(set(wanted), set(arrays), what)
    for name, length in wanted.items():
        array, is_book = arrays[name], not name.endswith("_reservoir")
        if array.shape != (length,) or (is_book and not np.all(np.diff(array) >= 0)):
            raise ArtefactError(
                f"{what}: {name} has shape {array.shape} or does not increase",
                f"It holds {length} numbers in order; take both files from one codec.",
            )
    return {name: np.asarray(arrays[name], np.float32) for name in wanted}


@dataclass(frozen=True, eq=False)
class ScalarSet:
    """Codecs of numbers that encode all columns of a record batch in one look-up."""

    codecs: Mapping[str, OfficialScalar | OfficialCoefficients]

    @cached_property
    def _joined(self) -> tuple[QuantileTable, Bool[np.ndarray, " c"]]:
        tables = [codec.table for codec in self.codecs.values()]
        edges = [e[np.isfinite(e)] for t in tables for e in t.edges]
        table = QuantileTable.of(edges, [c for t in tables for c in t.curves])
        quirks = [c.official_quirks for c in self.codecs.values()]
        return table, np.repeat(quirks, [len(t.curves) for t in tables])

    def encode(
        self, observations: Mapping[str, Observation]
    ) -> dict[str, Int32[np.ndarray, "b c"]]:
        """Codes by name; each as its codec alone would give it."""
        parts = [c.columns(observations[n]) for n, c in self.codecs.items()]
        values = np.concatenate(parts, axis=1)
        table, quirks = self._joined
        codes = table.encode(values)
        codes = np.where(quirks, codes, _absent(codes, values))
        stops = np.cumsum([p.shape[1] for p in parts])[:-1]
        return dict(zip(self.codecs, np.split(codes, stops, axis=1), strict=True))
