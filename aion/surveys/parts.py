# SPDX-License-Identifier: MIT
"""One part of the sky matched and written as Parquet."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aion.splits import SplitRule
from aion.surveys.files import read_json, whole_file, write_json
from aion.surveys.matching import Entries, Finder, Objects, Rules, objects_of
from aion.surveys.positions import Positions
from aion.surveys.regions import BASE_ORDER, Patches, next_to
from aion.surveys.runs import COLUMNS, Run, joined, ranges

GROUP_ROWS = 5_000
"""Least rows of a Parquet row group, so that one cell is read without its part."""


@dataclass(frozen=True)
class Matcher:
    """What a process needs to match any part.

    Attributes:
        folder: of the runs; parts are written into its `parts`.
        rules: who is who.
        split: how objects are divided.
        least: surveys that an object must be seen by to be written.
        engine: what finds pairs.
    """

    folder: Path
    rules: Rules
    split: SplitRule
    least: int = 1
    engine: str = "tree"

    def path(self, number: int) -> Path:
        """Where the objects of a part are written."""
        return self.folder / "parts" / f"{number:05d}.parquet"

    def match(self, number: int) -> dict[str, Any]:
        """Matches and writes a part once; returns and keeps its receipt.

        Returns:
            objects, duplicates, entries (by survey, those written), left_out (by
            survey, of objects seen by fewer than `least`), together (objects by pair).
        """
        receipt = self.path(number).with_suffix(".json")
        if receipt.is_file():
            return read_json(receipt)
        index = read_json(self.folder / "index.json")
        first, last = index["parts"][number]
        region = self._region(index, first, last)
        moving = {s: told["moving"] for s, told in index["surveys"].items()}
        positions = [_positions(columns) for columns in region]
        entries = Entries(self.rules, positions, moving)
        objects = objects_of(entries, self._finder(entries, region))
        objects = objects.take(_inside(objects, region, first, last))
        seen = objects.rows >= 0
        enough = seen.sum(axis=1) >= self.least
        kept = objects.take(enough)
        self._write(number, kept, region, index["partitions"])
        told = self._told(kept, seen[~enough])
        write_json(receipt, told)
        return told

    def _told(self, kept: Objects, out: np.ndarray) -> dict[str, Any]:
        names, seen = self.rules.surveys, kept.rows >= 0
        return {
            "objects": len(kept),
            "duplicates": int(kept.duplicate.sum()),
            "entries": dict(zip(names, seen.sum(axis=0).tolist(), strict=True)),
            "left_out": dict(zip(names, out.sum(axis=0).tolist(), strict=True)),
            "together": {
                f"{names[s]}-{names[t]}": int((seen[:, s] & seen[:, t]).sum())
                for s, t in self.rules.couples()
            },
        }

    def _region(
        self, index: Mapping[str, Any], first: int, last: int
    ) -> list[dict[str, np.ndarray]]:
        """All entries that can matter to a part, by survey, sorted by pixel."""
        runs = [
            [Run(self.folder / name) for name in index["runs"][survey]]
            for survey in self.rules.surveys
        ]
        edges = np.array([first]), np.array([last])
        occupied = [np.empty(0, np.int64)]
        for run in (run for some in runs for run in some):
            occupied += [np.unique(run.column("pixel")[s]) for s in run.slices(*edges)]
        around = next_to(
            np.unique(np.concatenate(occupied)), self.rules.order, first, last
        )
        patches = Patches.read(self.folder / "patches").touching(first, last, around)
        outside = np.unique(np.concatenate([around, patches]))
        outside = outside[(outside < first) | (outside >= last)]
        starts, stops = ranges(outside)
        place = int(np.searchsorted(starts, first))
        starts, stops = np.insert(starts, place, first), np.insert(stops, place, last)
        return [_sorted([run.rows(starts, stops) for run in some]) for some in runs]

    def _finder(
        self, entries: Entries, region: Sequence[Mapping[str, np.ndarray]]
    ) -> Finder | None:
        if self.engine == "tree":
            return None
        from aion.surveys.lsdb_engine import StoredPairs

        return StoredPairs(self.folder, entries, [c["pixel"] for c in region])

    def _write(
        self,
        number: int,
        objects: Objects,
        region: Sequence[Mapping[str, np.ndarray]],
        partitions: Mapping[str, Sequence[str]],
    ) -> None:
        columns = object_columns(self.rules, objects, region, partitions)
        ra, dec = columns["ra"].to_numpy(), columns["dec"].to_numpy()
        split = self.split.assign(self.split.cells(ra, dec)) if len(ra) else []
        columns["split"] = pa.array(np.asarray(split, np.str_).tolist(), pa.string())
        schema = match_schema(self.rules)
        table = pa.table([columns[name] for name in schema.names], schema)
        cells = columns["healpix"].to_numpy()
        order = np.lexsort((_ranks(objects, region), objects.anchor, cells))
        table, cells = table.take(order), cells[order]
        cuts = _group_starts(cells)
        with (
            whole_file(self.path(number)) as partial,
            pq.ParquetWriter(partial, schema, compression="zstd") as writer,
        ):
            for a, b in itertools.pairwise(cuts):
                writer.write_table(table.slice(a, b - a))


def _group_starts(cells: np.ndarray) -> list[int]:
    """Row groups of whole cells, of `GROUP_ROWS` rows where cells are small."""
    starts = [0]
    for edge in (np.flatnonzero(np.diff(cells)) + 1).tolist():
        if edge - starts[-1] >= GROUP_ROWS:
            starts.append(edge)
    return [*starts, len(cells)]


def match_schema(rules: Rules) -> pa.Schema:
    """Columns of the match table, with units in the metadata of the fields."""

    def column(name: str, kind: Any, text: str, unit: str = "") -> pa.Field:
        metadata = {"description": text} | ({"unit": unit} if unit else {})
        return pa.field(name, kind, metadata=metadata)

    fields = [
        column("object_id", pa.string(), "survey and id of the anchor"),
        column("ra", pa.float64(), "ICRS, of the anchor at its survey's epoch", "deg"),
        column("dec", pa.float64(), "ICRS, of the anchor at its survey's epoch", "deg"),
    ]
    for name in rules.surveys:
        fields += [
            column(f"{name}_id", pa.string(), f"id in {name}, null where absent"),
            column(
                f"{name}_separation",
                pa.float64(),
                "distance to the anchor at the epoch of comparison",
                "arcsec",
            ),
            column(
                f"{name}_partition",
                pa.dictionary(pa.int32(), pa.string()),
                f"partition of the {name} source that holds the entry",
            ),
        ]
    fields += [
        column("surveys", pa.int8(), "number of surveys that see the object"),
        column("duplicate", pa.bool_(), "another object was within the radius"),
        column("healpix", pa.int64(), "HEALPix cell, nside 16, NESTED"),
        column("split", pa.string(), "train, validation or test"),
    ]
    return pa.schema(fields)


def object_columns(
    rules: Rules,
    objects: Objects,
    region: Sequence[Mapping[str, np.ndarray]],
    partitions: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """The match table's columns but the split, in the order of the objects."""
    count = len(objects)
    ra, dec, cells = np.empty(count), np.empty(count), np.empty(count, np.int64)
    names = np.empty(count, object)
    columns: dict[str, Any] = {}
    for s, (survey, entries) in enumerate(zip(rules.surveys, region, strict=True)):
        rows = objects.rows[:, s]
        absent = rows < 0
        chosen = pa.array(np.where(absent, 0, rows), mask=absent)
        ids = pa.array(entries["object_id"]).cast(pa.string()).take(chosen)
        numbers = pa.array(entries["partition"], pa.int32()).take(chosen)
        listed = pa.array(list(partitions[survey]), pa.string())
        columns[f"{survey}_id"] = ids
        columns[f"{survey}_partition"] = pa.DictionaryArray.from_arrays(numbers, listed)
        separation = pa.array(objects.separation[:, s], mask=absent)
        columns[f"{survey}_separation"] = separation
        here = objects.anchor == s
        ra[here], dec[here] = (entries[k][rows[here]] for k in ("ra", "dec"))
        cells[here] = entries["pixel"][rows[here]] >> 2 * (rules.order - BASE_ORDER)
        own = ids.filter(pa.array(here))
        joint: Any = pc.binary_join_element_wise(pa.scalar(survey), own, "-")  # pyright: ignore
        names[here] = joint.to_numpy(zero_copy_only=False)
    surveys = (objects.rows >= 0).sum(axis=1).astype(np.int8)
    return columns | {
        "object_id": pa.array(names, pa.string()),
        "ra": pa.array(ra),
        "dec": pa.array(dec),
        "surveys": pa.array(surveys),
        "duplicate": pa.array(objects.duplicate),
        "healpix": pa.array(cells),
    }


def _positions(columns: Mapping[str, np.ndarray]) -> Positions:
    return Positions(*(columns.get(name) for name in COLUMNS))  # pyright: ignore


def _sorted(pieces: Sequence[dict[str, np.ndarray] | None]) -> dict[str, np.ndarray]:
    """Entries of all runs; searches are quicker among neighbours on the sky."""
    found = [piece for piece in pieces if piece is not None]
    if not found:
        none = np.empty(0)
        kinds = {"object_id": "U1", "partition": "i4", "pixel": "i4"}
        return {n: none.astype(kinds.get(n, "f8")) for n in (*COLUMNS[:3], *kinds)}
    columns = joined(found)
    order = np.argsort(columns["pixel"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def _inside(
    objects: Objects, region: Sequence[Mapping[str, np.ndarray]], first: int, last: int
) -> np.ndarray:
    """Whether the anchor of each object is in the part."""
    inside = np.zeros(len(objects), bool)
    for s, entries in enumerate(region):
        here = objects.anchor == s
        pixel = entries["pixel"][objects.rows[here, s]]
        inside[here] = (pixel >= first) & (pixel < last)
    return inside


def _ranks(objects: Objects, region: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Order of the objects of one anchor survey by the anchor's id."""
    ranks = np.zeros(len(objects), np.int64)
    for s, entries in enumerate(region):
        here = np.flatnonzero(objects.anchor == s)
        order = np.argsort(entries["object_id"][objects.rows[here, s]], kind="stable")
        ranks[here[order]] = np.arange(len(here))
    return ranks
