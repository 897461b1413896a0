# SPDX-License-Identifier: MIT
"""Our codec of catalogues: always as many objects, some of them absent.

A catalogue is 20 objects x (x, y, e1, e2, radius): 100 tokens, object after object, the
one nearest to the centre of the stamp first. An object that is not there has the absent
code of each field: that a place is empty is something a model can predict. Objects
beyond 20 are left out, the most distant ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Catalog, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.batches import checked_codes
from aion_tokenizers.bins import (
    Bins,
    Compression,
    Counts,
    bins_from_state,
    plain_values,
)
from aion_tokenizers.fitters import EqualMassFitter, positive_count

FIELDS = ("x", "y", "e1", "e2", "radius")
OBJECTS = 20


@dataclass(frozen=True, eq=False)
class CatalogCodec:
    """Catalogues in 5 x `objects` codes.

    Each field has codes of its own: first the absent one, then its bins. Values beyond
    the edges go to the end bins. An object that is not valid, or with a number that is
    not finite, is absent. A catalogue of no objects has 100 codes like any other; -1
    stands for a catalogue that was not measured and is never encoded.

    Attributes:
        bins: of each of `FIELDS`.
        size: pixels along the side of a stamp, whose middle is the centre.
        objects: how many.
    """

    word: ClassVar[str] = "objects"
    bins: tuple[Bins, ...]
    size: int = 96
    objects: int = OBJECTS

    def __post_init__(self) -> None:
        if len(self.bins) != len(FIELDS) or self.size < 1 or self.objects < 1:
            raise ArtefactError(
                f"catalogue codec with {len(self.bins)} fields, {self.objects} objects "
                f"and stamps of {self.size} pixels",
                f"Give bins for {', '.join(FIELDS)}, and positive sizes.",
            )

    @classmethod
    def fitter(cls, **config: Any) -> "CatalogFitter":
        """Takes `bins=256, size=96, objects=20, per_pixel=1`."""
        return CatalogFitter(**config)

    @cached_property
    def starts(self) -> Int32[np.ndarray, "6"]:
        """The absent code of each field, and how many codes there are in all."""
        return np.cumsum([0, *(1 + len(b) for b in self.bins)]).astype(np.int32)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 5 objects] of catalogues of any number of sources.

        Raises:
            DataError: no catalogue, or fields of different shapes.
        """
        values, valid = read_catalog(observation)
        order, kept = self._nearest(values, valid)
        values = np.take_along_axis(values, order[..., None], axis=1)
        codes = np.stack(
            [
                self.starts[n] + 1 + bins.index(np.where(kept, values[..., n], 0.0))
                for n, bins in enumerate(self.bins)
            ],
            axis=-1,
        )
        codes = np.where(kept[..., None], codes, self.starts[:-1])
        full = np.tile(self.starts[:-1], (len(codes), self.objects, 1))
        full[:, : codes.shape[1]] = codes
        return full.reshape(len(codes), -1).astype(np.int32)

    def _nearest(
        self, values: Float64[np.ndarray, "b n 5"], valid: Bool[np.ndarray, "b n"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Objects by distance, at most `objects`, and which of them there are.

        Objects at one distance go by y, then x: the order of rows in a file, which says
        how bright they are, is not kept.
        """
        middle = (self.size - 1) / 2
        x, y = (np.where(valid, values[..., n], np.inf) for n in (0, 1))
        far = np.hypot(x - middle, y - middle)
        order = np.lexsort((x, y, np.round(far, 3)), axis=-1)[:, : self.objects]
        return order, np.take_along_axis(valid, order, axis=1)

    def decode(self, codes: Any, **asked: Any) -> Catalog:
        """Catalogues [b, objects] of codes [b, 5 objects].

        An object with an absent code, or a -1, in any of its fields is not valid and
        NaN in all of them.

        Raises:
            DataError: another number of tokens, or codes of other fields.
        """
        total = int(self.starts[-1])
        plain = checked_codes(codes, self.objects * len(FIELDS), total)
        plain = plain.reshape(len(plain), self.objects, len(FIELDS))
        place = plain - self.starts[:-1] - 1
        sizes = np.diff(self.starts) - 1
        if np.any((plain >= 0) & ((place < -1) | (place >= sizes))):
            raise DataError(
                "codes of one field stand in the slots of another",
                "Draw each slot from its own range of codes.",
            )
        valid = (place >= 0).all(axis=-1)
        columns = [
            bins.values(np.where(valid, place[..., n], -1)).astype(np.float32)
            for n, bins in enumerate(self.bins)
        ]
        return Catalog(*columns, valid=valid)

    def count(self, observation: Observation) -> Counts:
        """How many numbers are absent or left out, and how many are clipped."""
        values, valid = read_catalog(observation)
        order, kept = self._nearest(values, valid)
        values = np.take_along_axis(values, order[..., None], axis=1)
        low, high = 0, 0
        for n, bins in enumerate(self.bins):
            low += int((kept & (values[..., n] < bins.edges[0])).sum())
            high += int((kept & (values[..., n] > bins.edges[-1])).sum())
        absent = (valid.size - int(kept.sum())) * len(FIELDS)
        return Counts(values.shape[0] * valid.shape[1] * len(FIELDS), absent, low, high)

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """Objects of five fields, each with codes of its own."""
        total = int(self.starts[-1])
        pairs = tuple(
            (int(a), int(b)) for a, b in zip(self.starts, self.starts[1:], strict=False)
        )
        return TokenSpec(
            modality,
            name,
            num_codes=total,
            vocabulary=total,
            grid=(self.objects, len(FIELDS)),
            ranges=pairs * self.objects,
            code_features=self._code_features(),
            slot_features=self._slot_features(),
        )

    def _code_features(self) -> Float32[np.ndarray, "v p"]:
        """Which field, whether absent, and what a bin means.

        All fields share the columns of the bin's meaning: they are told apart by the
        first ones.
        """
        meaning = [bins.features() for bins in self.bins]
        count = len(FIELDS)
        table = np.zeros((int(self.starts[-1]), count + 1 + meaning[0].shape[1]))
        for n, part in enumerate(meaning):
            first = self.starts[n]
            table[first : self.starts[n + 1], n] = 1
            table[first, count] = 1
            table[first + 1 : self.starts[n + 1], count + 1 :] = part
        return table.astype(np.float32)

    def _slot_features(self) -> Float32[np.ndarray, "t q"]:
        """Which field, and the place of the object in the order by distance."""
        place = (np.arange(self.objects) + 0.5) / self.objects
        line = np.concatenate([2 * place[:, None] - 1, features.fourier(place, 5)], 1)
        field = np.tile(features.one_hot(len(FIELDS)), (self.objects, 1))
        rows = np.repeat(line, len(FIELDS), axis=0)
        return np.concatenate([field, rows], axis=1).astype(np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        arrays = {
            f"{field}.{name}": array
            for field, bins in zip(FIELDS, self.bins, strict=True)
            for name, array in bins.arrays().items()
        }
        fields = {f: b.config() for f, b in zip(FIELDS, self.bins, strict=True)}
        config = {"fields": fields, "size": self.size, "objects": self.objects}
        return config, arrays

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: keys, types or values that are not this codec's.
        """
        fields: Any = config.get("fields")
        sizes = [config.get(k, 0.0) for k in _SIZES]
        names = {field: f"{field}." for field in FIELDS}
        unknown = [n for n in arrays if n.split(".")[0] not in FIELDS]
        good = isinstance(fields, Mapping) and set(fields) == set(FIELDS)
        if not good or unknown or not all(type(n) is int for n in sizes):
            raise ArtefactError(
                f"catalogue codec with {dict(config)} and arrays {unknown}",
                "Fit the codec again.",
            )
        bins = tuple(
            bins_from_state(
                fields[field],
                {
                    key.removeprefix(start): array
                    for key, array in arrays.items()
                    if key.startswith(start)
                },
            )
            for field, start in names.items()
        )
        return cls(bins, int(sizes[0]), int(sizes[1]))


_SIZES = ("size", "objects")


class CatalogFitter:
    """Fits the bins of catalogues.

    x and y get bins of even width over the stamp; e1, e2 and radius equally many data
    in each, radius in its logarithm. Many sources are round: equal values share a bin.

    Args:
        bins: of e1, e2 and radius each, at most.
        size: pixels along the side of a stamp.
        objects: per catalogue.
        per_pixel: bins per pixel along x and y; files hold whole pixels.

    Raises:
        ConfigError: numbers that are not positive.
    """

    def __init__(
        self,
        bins: int = 256,
        size: int = 96,
        objects: int = OBJECTS,
        per_pixel: int = 1,
    ) -> None:
        self._bins, self._size = positive_count(bins), positive_count(size)
        self._objects, self._per_pixel = (
            positive_count(objects),
            positive_count(per_pixel),
        )
        curves = {"e1": ("none", 1.0), "e2": ("none", 1.0), "radius": ("asinh", 0.05)}
        self._fitters = {
            name: EqualMassFitter(lambda b: b, self._bins, *curve)
            for name, curve in curves.items()
        }

    def update(self, observation: Observation) -> None:
        """Takes a batch of catalogues."""
        values, valid = read_catalog(observation)
        for name, fitter in self._fitters.items():
            fitter.add(values[..., FIELDS.index(name)][valid])

    def finish(self) -> CatalogCodec:
        """The codec.

        Raises:
            DataError: there was no source.
        """
        line = Bins.equal_width(
            -0.5, self._size - 0.5, self._size * self._per_pixel, Compression()
        )
        fitted = (fitter.finish() for fitter in self._fitters.values())
        return CatalogCodec((line, line, *fitted), self._size, self._objects)


def read_catalog(
    observation: Observation,
) -> tuple[Float64[np.ndarray, "b n 5"], Bool[np.ndarray, "b n"]]:
    """Fields, and which sources are valid and finite in all of them.

    Raises:
        DataError: no catalogue, or fields of different shapes.
    """
    if not isinstance(observation, Catalog):
        raise DataError(
            f"a catalogue codec cannot encode {type(observation).__name__}",
            "Give an aion.Catalog.",
        )
    columns = [plain_values(getattr(observation, name)) for name in FIELDS]
    valid = np.asarray(observation.valid, bool)
    if valid.ndim != 2 or any(c.shape != valid.shape for c in columns):
        raise DataError(
            f"catalogue fields have shapes {[c.shape for c in columns]}, valid "
            f"{valid.shape}",
            "Give each as [batch, objects].",
        )
    fields = np.stack(columns, axis=-1)
    return fields, valid & np.isfinite(fields).all(axis=-1)
