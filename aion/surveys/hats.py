# SPDX-License-Identifier: MIT
"""HATS collections read with pyarrow alone, partition by partition.

Rows become columns of the HDF5 form and then observations by the same recipes, so that
both formats of a set give the same records. The margin catalogue is not read: its rows
are copies of rows of neighbouring partitions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ConfigError, DataError
from aion.layouts import LAYOUTS, Layout
from aion.layouts.hats import LEAVES, SIGNATURES, Leaf, Turn
from aion.layouts.png import decode_png
from aion.records import Records
from aion.surveys.mmu import RECIPES, observed, records
from aion.surveys.positions import Positions, plain_ids
from aion.surveys.quarantine import BadFile, Fault, Ledger, Quarantine, checked_rows
from aion.surveys.recipes import chosen, columns_of

_PROPERTIES = ("hats.properties", "properties")


@dataclass(frozen=True)
class HatsSource:
    """A `RecordSource` over a HATS collection or catalogue of a set.

    Attributes:
        path: folder of the collection or of the catalogue in it.
        layout: which set it is.
        on_bad, modalities, batch: as of `MmuSource`.

    Raises:
        ConfigError: `batch`, `on_bad` or a modality that is none.
    """

    path: Path
    layout: Layout
    on_bad: str = "error"
    modalities: tuple[str, ...] | None = None
    batch: int = 256
    _ledger: Ledger = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "_ledger", Ledger(self.on_bad))
        if self.batch < 1:
            raise ConfigError(f"batches of {self.batch} rows", "Give at least 1.")
        chosen(RECIPES[self.layout.name], self.modalities)

    @property
    def survey(self) -> str:
        """Whose sky it is."""
        return self.layout.survey

    @property
    def epoch(self) -> float:
        """Julian year of the positions."""
        return self.layout.epoch

    @property
    def report(self) -> Quarantine:
        """Counts over the partitions read so far in this process."""
        return self._ledger.total

    def left_out(self, partition: str) -> Quarantine:
        """What was left out of a partition that this process has read."""
        return self._ledger.part(partition)

    def partitions(self) -> Sequence[str]:
        """Files of the dataset, such as `Norder=4/Dir=0/Npix=12.parquet`, sorted.

        Raises:
            DataError: there are none.
        """
        if not self._files:
            raise DataError(
                f"{self.path} has no partitions", "Give a HATS collection with rows."
            )
        return tuple(self._files)

    def read(self, partition: str) -> Iterator[Records]:
        """The records of a partition in batches.

        Raises:
            DataError: with `on_bad` "error": a file that cannot be read, lacks a
                column, has one of another type, or rows without name or place.
        """
        recipes = chosen(RECIPES[self.layout.name], self.modalities)
        told = str(self._dataset / partition)
        with self._ledger.files(partition):
            place, leaves = self._place(told)
            names = columns_of(recipes, (leaf.column for leaf in leaves))
            wanted = [leaf for leaf in leaves if leaf.column in names]
            good, faults = checked_rows(place, told, ("object_id", "ra", "dec"))
            self._ledger.judge(faults)
            start, done = 0, 0
            try:
                for rows, found in self._batches(told, wanted):
                    keep = good[start : start + rows]
                    if keep.any():
                        here = place.take(slice(start, start + rows)).take(keep)
                        found = {name: v[keep] for name, v in found.items()}
                        observations = observed(recipes, found, told)
                        done += len(here)
                        yield records(here, observations, told)
                    start += rows
            except BadFile as bad:
                faults = (*faults, replace(bad.fault, rows=int(good[start:].sum())))
            self._ledger.note(partition, Quarantine(1, len(place), done, faults))

    def positions(self, partition: str) -> Positions:
        """Name and place of all rows of a partition, also of bad ones."""
        with self._ledger.files(partition):
            return self._place(str(self._dataset / partition))[0]
        nothing = np.empty(0)
        return Positions(np.empty(0, np.int64), nothing, nothing)

    @cached_property
    def _dataset(self) -> Path:
        return primary_of(self.path) / "dataset"

    @cached_property
    def _files(self) -> list[str]:
        patterns = ("Npix=*.parquet", "Npix=*/*.parquet")
        found = [
            file
            for pattern in patterns
            for file in self._dataset.glob(f"Norder=*/Dir=*/{pattern}")
            if file.is_file()
        ]
        return sorted(file.relative_to(self._dataset).as_posix() for file in found)

    def _place(self, told: str) -> tuple[Positions, list[Leaf]]:
        """Positions of all rows, and the leaves that the file has."""
        with parquet(told) as file:
            there = _paths(file.schema_arrow)
        leaves = [leaf for leaf in LEAVES[self.layout.name] if leaf.path in there]
        by_path = {leaf.path: leaf for leaf in leaves}
        names = ["object_id", "ra", "dec"]
        if self.layout.survey == "gaia":
            moving = ["astrometry.pmra", "astrometry.pmdec"]
            names += moving if all(name in by_path for name in moving) else []
        for name in (*SIGNATURES[self.layout.name], "object_id", "ra", "dec"):
            if name not in {path.split(".")[0] for path in by_path}:
                reason = f"is missing, so this is no table of {self.layout.name}"
                raise BadFile(Fault(told, name, reason))
            if name in ("ra", "dec") and there[name] != "double":
                reason = f"has type {there[name]}, too coarse for a position"
                raise BadFile(Fault(told, name, reason))
        wanted = [by_path[name] for name in names]
        parts = [found for _, found in self._batches(told, wanted, rows=65_536)]
        if not parts:
            raise BadFile(Fault(told, "", "has no rows"))
        ids, *numbers = (
            np.concatenate([part[leaf.column] for part in parts]) for leaf in wanted
        )
        numbers = [values.astype(np.float64, copy=False) for values in numbers]
        return Positions(plain_ids(ids), *numbers), leaves

    def _batches(
        self, told: str, leaves: Sequence[Leaf], rows: int = 0
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Rows and columns of each batch of a file."""
        names = list(dict.fromkeys(leaf.top for leaf in leaves))
        with parquet(told) as file:
            if not names:
                yield file.metadata.num_rows, {}
                return
            for batch in file.iter_batches(rows or self.batch, columns=names):
                if batch.num_rows:
                    yield batch.num_rows, unpacked(batch, leaves, told)


@contextmanager
def parquet(told: str) -> Iterator[Any]:
    """A Parquet file for reading; a broken one is a `BadFile`."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(told) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"no file {told}", "Check the path.") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise BadFile(Fault(told, "", f"cannot be read: {reason}")) from None


def primary_of(path: Path) -> Path:
    """The catalogue of objects in a collection, or the catalogue itself.

    Raises:
        DataError: no HATS properties there, or they name none.
    """
    collection = path / "collection.properties"
    if not collection.is_file():
        if any((path / name).is_file() for name in _PROPERTIES):
            return path
        raise DataError(f"{path} is no HATS collection", "Give its folder.")
    name = _properties(collection).get("hats_primary_table_url", "")
    if not name or not (path / name).is_dir():
        raise DataError(
            f"{collection} names no primary table that is there",
            "Fetch the collection again.",
        )
    return path / name


def _properties(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text().splitlines())
    return {key.strip(): value.strip() for key, _, value in lines if value}


def layout_of_collection(path: Path) -> Layout:
    """The set of a collection, by the columns of its tables.

    Raises:
        DataError: no readable partition, or of no known set.
    """
    files = sorted((primary_of(path) / "dataset").glob("Norder=*/Dir=*/Npix=*"))
    for file in files:
        file = next(iter(sorted(file.glob("*.parquet"))), file)
        try:
            with parquet(str(file)) as content:
                names = set(content.schema_arrow.names)
        except BadFile:
            continue
        for name, signature in SIGNATURES.items():
            if names.issuperset(signature):
                return LAYOUTS[name]
    raise DataError(
        f"{path}: no partition has the columns of a known set",
        f"Name it: survey is one of {', '.join(LAYOUTS)}.",
    )


def _paths(schema: Any) -> dict[str, str]:
    """Types of columns, and of fields of structs under `struct.field`."""
    import pyarrow as pa

    found = {}
    for column in schema:
        found[column.name] = str(column.type)
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            fields = [kind.field(n) for n in range(kind.num_fields)]
            found |= {f"{column.name}.{f.name}": str(f.type) for f in fields}
    return found


def unpacked(batch: Any, leaves: Iterable[Leaf], told: str) -> dict[str, np.ndarray]:
    """Columns of the HDF5 form from a batch of rows."""
    found: dict[str, np.ndarray] = {}
    vectors: dict[str, dict[int, np.ndarray]] = {}
    for leaf in leaves:
        try:
            values = _values(batch.column(leaf.top), leaf)
        except (DataError, ValueError, TypeError, NotImplementedError) as error:
            reason = f"has no values of kind {leaf.kind}: {error}"
            raise BadFile(Fault(told, leaf.path, reason)) from None
        if leaf.turn is Turn.ITEM:
            vectors.setdefault(leaf.column, {})[leaf.item] = values
        else:
            found[leaf.column] = values
    for name, items in vectors.items():
        found[name] = np.stack([items[n] for n in sorted(items)], axis=1)
    return found


def _values(column: Any, leaf: Leaf) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column, depth = storage(column), leaf.depth
    if leaf.field and pa.types.is_list(column.type):  # a list of structs
        inner = storage(column.flatten().field(leaf.field))
        column = pa.ListArray.from_arrays(_offsets(column), inner)
    elif leaf.field:
        column = storage(pc.struct_field(column, leaf.field))  # pyright: ignore
    if leaf.turn is Turn.PNG and pa.types.is_struct(column.type):
        content = column.field("bytes").to_pylist()
        return np.stack([decode_png(picture) for picture in content])
    if leaf.turn is Turn.PNG:  # nested lists of pixels
        depth = 3 if leaf.column != "object_mask" else 2
    if depth:
        values = _rectangle(column, depth, _padding(leaf))
    else:
        values = column.to_numpy(zero_copy_only=False)
    if leaf.turn is Turn.GOOD:
        return (~values.astype(bool)).astype(np.int64)
    if leaf.turn is Turn.PROBLEM:
        return values.astype(np.int64)
    if values.dtype.kind == "O" and leaf.column.startswith("catalog_"):
        return values.astype(np.float64)
    if leaf.kind in ("f4", "f8", "i4", "i8", "b1") and values.dtype.kind not in "fiub":
        raise ValueError(f"type {column.type}")
    return values


def storage(column: Any) -> Any:
    """An arrow array without extension types, such as those of `datasets`."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.storage if isinstance(column.type, pa.BaseExtensionType) else column


def _offsets(column: Any) -> Any:
    """Starts of the lists, from 0."""
    import pyarrow.compute as pc

    return pc.subtract(column.offsets, column.offsets[0])  # pyright: ignore


_PADDING: Mapping[str, Any] = {"spectrum_lambda": -1, "spectrum_mask": True}


def _padding(leaf: Leaf) -> Any:
    return _PADDING.get(leaf.column, 0)


def _rectangle(column: Any, depth: int, padding: Any) -> np.ndarray:
    """Nested lists as an array; innermost ones of unequal length are padded."""
    shape: list[int] = [len(column)]
    for level in range(depth):
        if column.null_count:
            raise ValueError("lists that are null")
        lengths = np.diff(np.asarray(column.offsets))
        same = len(lengths) == 0 or bool((lengths == lengths[0]).all())
        inner = storage(column.flatten())
        if not same and (level + 1 < depth or depth > 1):
            raise ValueError("lists of unequal length")
        if not same:
            flat = inner.to_numpy(zero_copy_only=False)
            wide = np.full((shape[0], int(lengths.max())), padding, flat.dtype)
            inside = np.arange(wide.shape[1])[None] < lengths[:, None]  # pyright: ignore
            wide[inside] = flat
            return wide
        shape.append(int(lengths[0]) if len(lengths) else 0)
        column = inner
    return column.to_numpy(zero_copy_only=False).reshape(shape)
