# SPDX-License-Identifier: MIT
"""AION-1's codec of catalogues: a sequence of x, y, e1, e2, radius per source."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float32, Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Catalog, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers.batches import checked_codes, of_kind
from aion_tokenizers.bins import Counts, plain_values
from aion_tokenizers.official import check_constant, check_names, settings
from aion_tokenizers.quantile_table import NO_CURVE, QuantileTable

PIXELS, BINS, OBJECTS = 96, 1024, 20
VOCABULARY = 3468
VOCABULARY_OFFSET = 204
"""AION-1's transformer has 192 + 3072 codes after 204 words of its own."""

MASK_VALUE = 9999
_KEYS = ("X", "Y", "SHAPE_E1", "SHAPE_E2", "SHAPE_R")
_PREFIX = "_quantizer.quantizers."


@dataclass(frozen=True)
class CatalogConfig:
    """Constructor arguments of AION-1's `CatalogCodec`."""

    mask_value: int = MASK_VALUE


@dataclass(frozen=True, eq=False)
class OfficialCatalog:
    """AION-1's catalogue codec: codes [b, 100], source after source, absent ones -1.

    Codes are those of the PyTorch codec, x from 0, y from 96, e1 from 192, e2 from
    1216, radius from 2240; the rows of AION-1's transformer for them begin
    `VOCABULARY_OFFSET` later. x and y are rounded to pixels and clipped to 0..95; with
    `official_quirks` they are only rounded, and may become another field's codes, and
    absent sources are 9999.
    """

    word: ClassVar[str] = "official_catalog"
    arrays: Mapping[str, np.ndarray]
    official_quirks: bool = False

    @cached_property
    def _books(self) -> Float32[np.ndarray, "3 v"]:
        return np.stack([self.arrays[f"{_PREFIX}{k}._index_to_val"] for k in _KEYS[2:]])

    @cached_property
    def _table(self) -> QuantileTable:
        return QuantileTable.of(list(self._books[:, :-1]), [NO_CURVE] * 3)

    @property
    def offsets(self) -> Int32[np.ndarray, "6"]:
        """First code of each field, and how many codes there are."""
        sizes = [0, PIXELS, PIXELS, BINS, BINS, BINS]
        return np.cumsum(sizes).astype(np.int32)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 100] of catalogues of at most 20 sources.

        Raises:
            DataError: more sources, or fields of different shapes.
        """
        fields, valid = _checked_fields(observation)
        pixels = np.rint(np.where(valid[..., None], fields[..., :2], 0))
        if not self.official_quirks:
            pixels = np.clip(pixels, 0, PIXELS - 1)
        shape = (*valid.shape, 3)
        bins = self._table.encode(fields[..., 2:].reshape(-1, 3)).reshape(shape)
        codes = np.concatenate([pixels.astype(np.int32), bins], -1) + self.offsets[:-1]
        absent = MASK_VALUE if self.official_quirks else -1
        full = np.full((len(codes), OBJECTS, len(_KEYS)), absent, np.int32)
        full[:, : valid.shape[1]] = np.where(valid[..., None], codes, absent)
        return full.reshape(len(codes), -1)

    def decode(self, codes: Any, **asked: Any) -> Catalog:
        """Catalogues [b, objects] of codes [b, 5 objects].

        A source with a -1, or with a code that is not of its slot's field, is not valid
        and NaN in all fields; with `official_quirks`, -1 in the wrong fields alone.
        """
        highest = max(MASK_VALUE, int(self.offsets[-1])) + 1
        plain = checked_codes(codes, None, highest)
        if plain.shape[1] % len(_KEYS):
            raise DataError(f"codes have shape {plain.shape}", "Give five per source.")
        place = plain.reshape(len(plain), -1, len(_KEYS)) - self.offsets[:-1]
        sizes = np.diff(self.offsets)
        good = (place >= 0) & (place < sizes)
        place = np.clip(place, 0, sizes - 1)
        found = self._books[np.arange(3), place[..., 2:]]
        values = np.concatenate([place[..., :2].astype(np.float32), found], -1)
        valid = good.all(-1)
        if self.official_quirks:
            values = np.where(good, values, np.float32(-1))
        else:
            values[~valid] = np.nan
        return Catalog(*np.moveaxis(values, -1, 0), valid=valid)

    def count(self, observation: Observation) -> Counts:
        """How many numbers are absent, and how many are clipped at each end."""
        fields, valid = _checked_fields(observation)
        low = np.concatenate([[0, 0], self._books[:, 0]])
        high = np.concatenate([[PIXELS - 1] * 2, self._books[:, -1]])
        real = valid[..., None]
        return Counts(
            fields.size,
            int((~valid).sum()) * len(_KEYS),
            int((real & (fields < low)).sum()),
            int((real & (fields > high)).sum()),
        )

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """Twenty sources of five fields, each with codes of its own."""
        pairs = [(int(a), int(b)) for a, b in itertools.pairwise(self.offsets)]
        return TokenSpec(
            modality,
            name,
            int(self.offsets[-1]),
            VOCABULARY,
            (OBJECTS, len(_KEYS)),
            tuple(pairs * OBJECTS),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays; the arrays have PyTorch's names and shapes."""
        config = {"official": {"mask_value": MASK_VALUE}}
        return config | {"official_quirks": self.official_quirks}, dict(self.arrays)

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        what = "catalogue codec"
        mask_value = settings(CatalogConfig, config["official"], what).mask_value
        books = {f"{_PREFIX}{key}._index_to_val" for key in _KEYS[2:]}
        reservoirs = {f"{_PREFIX}{key}._reservoir" for key in _KEYS[2:]}
        pixels = {f"{_PREFIX}{key}._codebook_size" for key in _KEYS[:2]}
        # Only PyTorch's fitting reads the reservoirs, so a file without them will do.
        check_names(books | pixels, set(arrays) - reservoirs, what)
        for name in pixels:
            check_constant(arrays, name, PIXELS)
        wrong = [n for n in books if arrays[n].shape != (BINS,)]
        if wrong or mask_value != MASK_VALUE:
            raise ArtefactError(
                f"{what}: mask_value {mask_value}, arrays {wrong} not [{BINS}]",
                f"AION-1 has mask_value {MASK_VALUE} and {BINS} bins.",
            )
        return cls(dict(arrays), bool(config.get("official_quirks", False)))


def _checked_fields(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Fields [b, objects, 5], and which sources are valid and free of NaN."""
    observation = of_kind(observation, Catalog)
    names = ("x", "y", "e1", "e2", "radius")
    columns = [plain_values(getattr(observation, name)) for name in names]
    valid = np.asarray(observation.valid, bool)
    if valid.ndim != 2 or any(c.shape != valid.shape for c in columns):
        raise DataError(
            f"catalogue fields have shapes {[c.shape for c in columns]}, valid "
            f"{valid.shape}",
            "Give each as [batch, objects].",
        )
    if valid.shape[1] > OBJECTS:
        raise DataError(
            f"catalogues of {valid.shape[1]} sources",
            f"AION-1's codec takes {OBJECTS}; keep those nearest to the centre.",
        )
    fields = np.stack(columns, axis=-1)
    return fields, valid & np.isfinite(fields).all(-1)
