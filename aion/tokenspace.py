# SPDX-License-Identifier: MIT
"""How a bundle of codecs lays modalities out as codes and slots.

A `TokenSpec` is the row of one modality, a `TokenSpace` the ordered list of rows. Two
cumulative numberings follow from it and are never typed by hand: *packed codes* (rows
of the embedding and head tables) and *slots* (places that a token can take).

Each modality's vocabulary takes a multiple of `TILE` packed rows, so that tables shard
evenly and blocks of the output head are whole tiles. Rows beyond the vocabulary are
padding: they are never looked up, never drawn, and get no gradient.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ArtefactError, TokenSpaceError
from aion.modality import Modality, modality_from_dict

FORMAT = "aion.tokenspace"
VERSION = 1
TILE = 128


@dataclass(frozen=True)
class TokenSpec:
    """How one modality becomes tokens.

    Attributes:
        modality: the row of the modality table.
        codec: name of its codec in the bundle.
        num_codes: how many codes the codec can give.
        vocabulary: codes the model has rows for; at least `num_codes`.
        grid: shape of the tokens of one object; their number is its product.
        ranges: admissible codes [start, stop) per slot; one pair serves all slots.
        coarse_to_fine: each token refines the one before it, so that a draw goes slot
            by slot and the codes of all slots together name one value.
        code_features: what a code means, float32 [vocabulary, p]; None without.
        slot_features: where a slot lies, float32 [tokens, q]; None without.

    The features are not part of the JSON form: checkpoints store them as arrays.
    """

    modality: Modality
    codec: str
    num_codes: int
    vocabulary: int
    grid: tuple[int, ...] = (1,)
    ranges: tuple[tuple[int, int], ...] = ()
    coarse_to_fine: bool = False
    code_features: np.ndarray | None = field(default=None, compare=False, repr=False)
    slot_features: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        ranges = self.ranges or ((0, self.num_codes),)
        object.__setattr__(self, "grid", tuple(int(n) for n in self.grid))
        object.__setattr__(self, "ranges", tuple((int(a), int(b)) for a, b in ranges))
        if not 0 < self.num_codes <= self.vocabulary:
            raise TokenSpaceError(
                f"{self.name}: {self.num_codes} codes and a vocabulary of "
                f"{self.vocabulary}",
                "Give at least one code and a vocabulary that holds them all.",
            )
        if len(self.ranges) not in (1, self.num_tokens):
            raise TokenSpaceError(
                f"{self.name}: {len(self.ranges)} code ranges for {self.num_tokens} "
                "slots",
                "Give one range for all slots, or one per slot.",
            )
        if any(not 0 <= a < b <= self.num_codes for a, b in self.ranges):
            raise TokenSpaceError(
                f"{self.name}: code ranges {self.ranges} do not lie in 0.."
                f"{self.num_codes}",
                "Give ranges as (start, stop) with start < stop.",
            )

    @property
    def name(self) -> str:
        """Name of the modality."""
        return self.modality.name

    @property
    def num_tokens(self) -> int:
        """Tokens of one object."""
        return math.prod(self.grid)

    @property
    def slot_ranges(self) -> np.ndarray:
        """Admissible codes per slot, int32 [tokens, 2]."""
        ranges = np.asarray(self.ranges, np.int32)
        return np.broadcast_to(ranges, (self.num_tokens, 2))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the feature arrays."""
        return {
            "modality": self.modality.to_dict(),
            "codec": self.codec,
            "num_codes": self.num_codes,
            "vocabulary": self.vocabulary,
            "grid": list(self.grid),
            "ranges": [list(r) for r in self.ranges],
            "coarse_to_fine": self.coarse_to_fine,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "TokenSpec":
        """The inverse of `to_dict`."""
        values = dict(row)
        values["modality"] = modality_from_dict(values["modality"])
        values["grid"] = tuple(values["grid"])
        values["ranges"] = tuple((a, b) for a, b in values["ranges"])
        return cls(**values)


@dataclass(frozen=True)
class TokenSpace:
    """The ordered rows of a bundle, and the numberings that follow from them."""

    specs: tuple[TokenSpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "specs", tuple(self.specs))
        names = [s.name for s in self.specs]
        doubles = sorted({n for n in names if names.count(n) > 1})
        if doubles or not names:
            raise TokenSpaceError(
                f"modalities {doubles} stand twice" if doubles else "no modality",
                "Give each modality one row.",
            )

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[TokenSpec]:
        return iter(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> TokenSpec:
        return self.specs[self.index(name)]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {s.name: row for row, s in enumerate(self.specs)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self._rows)

    def index(self, name: str) -> int:
        """Row of a modality.

        Raises:
            TokenSpaceError: the token space has no such modality.
        """
        if name not in self._rows:
            raise TokenSpaceError(
                f"no modality {name!r} in this token space",
                f"It has {', '.join(self.names)}.",
            )
        return self._rows[name]

    @cached_property
    def num_tokens(self) -> np.ndarray:
        """Tokens of one object per modality, int32 [modalities]."""
        return np.array([s.num_tokens for s in self.specs], np.int32)

    @cached_property
    def vocabularies(self) -> np.ndarray:
        """Vocabulary per modality, int32 [modalities]."""
        return np.array([s.vocabulary for s in self.specs], np.int32)

    @cached_property
    def slot_offsets(self) -> np.ndarray:
        """First slot of each modality, and how many there are; int32 [modalities+1]."""
        return np.concatenate([[0], np.cumsum(self.num_tokens)]).astype(np.int32)

    @cached_property
    def code_offsets(self) -> np.ndarray:
        """First packed row of each modality, and their number; int32 [modalities+1]."""
        tiles = -(-self.vocabularies // TILE) * TILE
        return np.concatenate([[0], np.cumsum(tiles)]).astype(np.int32)

    @property
    def num_slots(self) -> int:
        """Places that a token can take."""
        return int(self.slot_offsets[-1])

    @property
    def num_rows(self) -> int:
        """Packed code rows, padding included."""
        return int(self.code_offsets[-1])

    @cached_property
    def slot_modality(self) -> np.ndarray:
        """Modality of each slot, int32 [slots]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.num_tokens)

    @cached_property
    def slot_position(self) -> np.ndarray:
        """Position of each slot inside its modality, int32 [slots]."""
        first = self.slot_offsets[:-1][self.slot_modality]
        return np.arange(self.num_slots, dtype=np.int32) - first

    @cached_property
    def slot_ranges(self) -> np.ndarray:
        """Admissible codes per slot, int32 [slots, 2]."""
        return np.concatenate([s.slot_ranges for s in self.specs])

    def code_features(self) -> np.ndarray:
        """Features of all packed rows, zero where there are none; float32 [rows, p]."""
        return self._packed(
            [s.code_features for s in self.specs], self.code_offsets, self.num_rows
        )

    def slot_features(self) -> np.ndarray:
        """Features of all slots, zero where a codec has none; float32 [slots, q]."""
        return self._packed(
            [s.slot_features for s in self.specs], self.slot_offsets, self.num_slots
        )

    @staticmethod
    def _packed(
        parts: Sequence[np.ndarray | None], offsets: np.ndarray, rows: int
    ) -> np.ndarray:
        width = max((p.shape[1] for p in parts if p is not None), default=0)
        packed = np.zeros((rows, max(width, 1)), np.float32)
        for start, part in zip(offsets[:-1], parts, strict=True):
            if part is not None:
                packed[start : start + part.shape[0], : part.shape[1]] = part
        return packed

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON form."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the format version, ready for JSON."""
        rows = [s.to_dict() for s in self.specs]
        return {"format": FORMAT, "version": VERSION, "rows": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TokenSpace":
        """The inverse of `to_dict`.

        Raises:
            ArtefactError: not a token space, or one of a newer format.
        """
        if data.get("format") != FORMAT:
            raise ArtefactError(f"not a token space: format {data.get('format')!r}")
        if data.get("version") != VERSION:
            raise ArtefactError(
                f"token space of format version {data.get('version')}, this package "
                f"reads version {VERSION}",
                "Upgrade aion-jax.",
            )
        return cls(tuple(TokenSpec.from_dict(row) for row in data["rows"]))

    def save(self, path: Path) -> None:
        """Writes the JSON form."""
        path.write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TokenSpace":
        """Reads what `save` wrote."""
        return cls.from_dict(json.loads(path.read_text()))

    def check_same(self, other: "TokenSpace", ours: str, theirs: str) -> None:
        """Compares two token spaces row by row.

        Args:
            other: the token space of another artefact.
            ours, theirs: what the two belong to, for the message.

        Raises:
            TokenSpaceError: names the first row and field that differ.
        """
        fix = f"Use {theirs} made with the same codecs as {ours}."
        for row, spec in enumerate(self.specs):
            if row >= len(other):
                raise TokenSpaceError(f"{theirs} has no row {row} ({spec.name})", fix)
            mine, his = spec.to_dict(), other.specs[row].to_dict()
            for key, value in mine.items():
                if his[key] != value:
                    raise TokenSpaceError(
                        f"row {row} ({spec.name}) of the token space differs in "
                        f"{key}: {value} in {ours}, {his[key]} in {theirs}",
                        fix,
                    )
        if len(other) > len(self):
            extra = other.specs[len(self)].name
            raise TokenSpaceError(f"{theirs} has a row more: {extra}", fix)
