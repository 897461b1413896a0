# SPDX-License-Identifier: MIT
"""Rows of one survey that have the same object id, found with bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aion.surveys.files import read_json, write_arrays, write_json
from aion.surveys.runs import BadRows, Run, joined

REASON = "an object id that another row has"
_BLOCK = 4_000_000


def drop_duplicates(folder: Path, survey: str, names: list[str], bad: BadRows) -> int:
    """Marks all rows of an id but one, and returns how many were marked.

    The row that stays is the first by ra, dec and partition, whatever the order in
    which rows were read. The marked ones are kept as `<survey>-duplicates`.

    Args:
        folder: of the runs.
        survey: its name.
        names: of its runs.
        bad: what happens to bad rows.

    Raises:
        DataError: there are any, and bad rows are an error.
    """
    receipt = folder / f"{survey}-duplicates.json"
    if receipt.is_file():
        return read_json(receipt)["dropped"]
    aside, drop = [], {name: [np.empty(0, np.int64)] for name in names}
    for run, row in _equal_hashes([Run(folder / name) for name in names]):
        found = _read(folder, names, run, row)
        order = np.lexsort(
            (found["partition"], found["dec"], found["ra"], found["object_id"])
        )
        ids = found["object_id"][order]
        again = order[np.r_[False, ids[1:] == ids[:-1]]]
        dropped = {name: values[again] for name, values in found.items()}
        bad.check(survey, "in all partitions", REASON, dropped["object_id"])
        aside.append(dropped | {"reason": np.full(len(again), REASON)})
        for number in set(run[again].tolist()):
            drop[names[number]].append(row[again[run[again] == number]])
    for name, rows in drop.items():
        marked = np.sort(np.concatenate(rows))
        if len(marked):
            np.save(folder / name / "drop.npy", marked)
    if aside:
        write_arrays(folder / f"{survey}-duplicates", joined(aside))
    count = sum(len(piece["ra"]) for piece in aside)
    write_json(receipt, {"dropped": count})
    return count


def _equal_hashes(runs: Sequence[Run]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Number of the run and row of all whose hash is not alone, hashes in order."""
    total = sum(len(run.column("hash")) for run in runs)
    blocks = max(-(-total // _BLOCK), 1)
    edges = [k * (2**64 // blocks) for k in range(blocks)]
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        hashes, number, row = [], [], []
        for k, run in enumerate(runs):
            column = run.column("hash")
            a = int(np.searchsorted(column, np.uint64(low)))
            b = len(column)
            if high is not None:
                b = int(np.searchsorted(column, np.uint64(high)))
            hashes.append(column[a:b])
            number.append(np.full(b - a, k))
            row.append(run.column("hash_row")[a:b].astype(np.int64))
        if not hashes:
            continue
        every = np.concatenate(hashes)
        order = np.argsort(every)
        equal = every[order][1:] == every[order][:-1]
        chosen = order[np.r_[False, equal] | np.r_[equal, False]] if len(every) else []
        if len(chosen):
            yield np.concatenate(number)[chosen], np.concatenate(row)[chosen]


def _read(
    folder: Path, names: list[str], run: np.ndarray, row: np.ndarray
) -> dict[str, np.ndarray]:
    """Id, place and partition of rows of runs, in the order given."""
    pieces, places = [], []
    for number in set(run.tolist()):
        here = np.flatnonzero(run == number)
        opened = Run(folder / names[number])
        piece = {
            name: opened.column(name)[row[here]]
            for name in ("object_id", "ra", "dec", "partition")
        }
        if piece["object_id"].dtype.kind == "S":
            piece["object_id"] = piece["object_id"].astype(np.str_)
        pieces.append(piece)
        places.append(here)
    back = np.argsort(np.concatenate(places))
    return {name: values[back] for name, values in joined(pieces).items()}
