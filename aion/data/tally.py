# SPDX-License-Identifier: MIT
"""What a shard set counts of its records: tokens, absent modalities, clipped values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aion.tokenspace import TokenSpace


@dataclass
class Tally:
    """What was written of one partition, or of all.

    Attributes:
        records: number by split.
        tokens: how many records have a number of tokens, by split and number.
        modalities: counts by modality and kind of count, such as `absent`.
        faults: what the source left out: path, column, reason and rows of each.
    """

    records: Counter = field(default_factory=Counter)
    tokens: dict[str, Counter] = field(default_factory=dict)
    modalities: dict[str, Counter] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add_codes(self, split: str, codes: np.ndarray, space: TokenSpace) -> None:
        """Counts records and tokens of codes [b, slots] that go to a split."""
        present = codes >= 0
        self.records[split] += len(codes)
        numbers, times = np.unique(present.sum(axis=1), return_counts=True)
        tokens = self.tokens.setdefault(split, Counter())
        tokens.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        for row, name in enumerate(space.names):
            start, stop = space.slot_offsets[row : row + 2]
            absent = int((~present[:, start:stop].any(axis=1)).sum())
            counts = {"absent": absent, "present": len(codes) - absent}
            self.add_counts(name, counts)

    def add_counts(self, modality: str, counts: Mapping[str, int]) -> None:
        """Adds counts of a modality, such as `clipped`."""
        self.modalities.setdefault(modality, Counter()).update(counts)

    def merge(self, other: "Tally") -> None:
        """Adds another tally to this one."""
        self.records.update(other.records)
        for split, tokens in other.tokens.items():
            self.tokens.setdefault(split, Counter()).update(tokens)
        for modality, counts in other.modalities.items():
            self.add_counts(modality, counts)
        self.faults += other.faults

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "records": dict(self.records),
            "tokens": {s: dict(numbers) for s, numbers in self.tokens.items()},
            "modalities": {m: dict(c) for m, c in self.modalities.items()},
            "faults": self.faults,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Tally":
        """The inverse of `to_dict`."""
        tokens = {
            split: Counter({int(n): times for n, times in numbers.items()})
            for split, numbers in content["tokens"].items()
        }
        modalities = {m: Counter(c) for m, c in content["modalities"].items()}
        faults = list(content.get("faults", ()))
        return cls(Counter(content["records"]), tokens, modalities, faults)


def split_entry(
    files: Sequence[Mapping[str, Any]], tokens: Counter | None
) -> dict[str, Any]:
    """What the manifest says of a split: records, files, tokens per record.

    Args:
        files: name, records and bytes of each file.
        tokens: how many records have a number of tokens; None without records.
    """
    numbers = {str(n): times for n, times in sorted((tokens or Counter()).items())}
    return {
        "records": sum(f["records"] for f in files),
        "max_tokens": max((int(n) for n in numbers), default=0),
        "tokens_per_record": numbers,
        "files": list(files),
    }
