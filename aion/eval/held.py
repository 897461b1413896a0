# SPDX-License-Identifier: MIT
"""Objects of one split of a catalogue, with their cells, in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np

from aion.errors import DataError
from aion.eval.evaluator import Held
from aion.observation import Observation
from aion.records import Records, RecordSource
from aion.splits import SplitRule

Rows = Literal["train", "validation", "test", "all"]


def split_records(
    source: RecordSource, rule: SplitRule, rows: Rows
) -> Iterator[tuple[Records, np.ndarray]]:
    """Records of a split and their cells, batch by batch; noisy copies are left out.

    Raises:
        DataError: what the source raises.
    """
    for partition in source.partitions():
        for records in source.read(partition):
            if records.copy:
                continue
            cells = rule.cells(records.ra, records.dec)
            chosen = np.ones(len(cells), bool)
            if rows != "all":
                chosen = rule.assign(cells) == rows
            if chosen.any():
                yield records.take(chosen), cells[chosen]


def gather(source: RecordSource, rule: SplitRule, rows: Rows) -> Held:
    """All objects of a split at once.

    Args:
        source: a catalogue, without noisy copies.
        rule: how cells are divided; its fold becomes that of the objects.
        rows: which split, or "all".

    Raises:
        DataError: the split has no objects.
    """
    parts = list(split_records(source, rule, rows))
    if not parts:
        raise DataError(
            f"the catalogue has no object in the {rows} cells of fold {rule.fold}",
            "Give a larger catalogue, or score all its rows.",
        )
    records = join_records([part for part, _ in parts])
    return Held(records, np.concatenate([cells for _, cells in parts]), rule.fold)


def join_records(parts: Sequence[Records]) -> Records:
    """Records of several batches with the same modalities as one."""
    first = parts[0]
    return replace(
        first,
        object_id=np.concatenate([p.object_id for p in parts]),
        ra=np.concatenate([p.ra for p in parts]),
        dec=np.concatenate([p.dec for p in parts]),
        observations={
            name: _join([p.observations[name] for p in parts])
            for name in first.observations
        },
    )


def _join(parts: Sequence[Observation]) -> Observation:
    first, changes = parts[0], {}
    for field in fields(first):
        values: list[Any] = [getattr(p, field.name) for p in parts]
        if hasattr(values[0], "shape"):
            masked = any(np.ma.isMaskedArray(v) for v in values)
            joined = np.ma.concatenate(values) if masked else np.concatenate(values)
            changes[field.name] = joined
    return replace(first, **changes)
