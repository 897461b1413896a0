# SPDX-License-Identifier: MIT
"""Files of the Multimodal Universe's first release: one HDF5 file per sky cell.

Names, dtypes with their byte order, shapes, compression and the opposite senses of
masks are those of `aion.layouts`. A file appears whole or not at all, and its bytes
follow from its columns: no times, no attributes.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import DataError
from aion.layouts import Column, Layout

Columns = Mapping[str, np.ndarray]

# What spectra shorter than the longest of their file end in; "edge" repeats the last.
_PADDING: Mapping[str, Any] = {
    "spectrum_lambda": -1,
    "spectrum_ivar": 0,
    "spectrum_mask": True,
    "spectrum_flux": "edge",
    "spectrum_lsf_sigma": "edge",
}


@dataclass(frozen=True)
class MmuWriter:
    """Writes one set below a folder, a cell at a time.

    Attributes:
        folder: root of the tree; `layout.path` is below it.
        layout: of the set.
        compressed: False leaves the compression of the set out (faster, larger; any
            HDF5 reader takes both).
    """

    folder: Path
    layout: Layout
    compressed: bool = True

    def path(self, cell: int) -> Path:
        """The file of a cell."""
        return Path(self.folder) / self.layout.path(cell)

    def write(self, cell: int, blocks: Iterable[Columns]) -> int:
        """Writes the file of a cell; an older one is replaced.

        Resizable sets are appended block by block, so that one block is in memory; the
        files of the others are contiguous and their cell is in memory.

        Args:
            cell: HEALPix cell, nside 16, NESTED.
            blocks: columns [b, ...] by the names of the layout, masks in the sense of
                the file. Columns with `fill` or `copy`, `healpix` and `gid` may be
                left out. Spectra may be of another length in each block where the
                layout leaves the length open.

        Returns:
            Rows written; with none there is no file.

        Raises:
            DataError: a column is missing or unknown, has another shape or number of
                rows, or values that its dtype cannot hold.
        """
        path = self.path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            rows = self._fill(partial, cell, blocks)
            if rows:
                partial.replace(path)
            else:
                path.unlink(missing_ok=True)
        finally:
            partial.unlink(missing_ok=True)
        if not rows and not any(path.parent.iterdir()):
            path.parent.rmdir()
        return rows

    def _fill(self, path: Path, cell: int, blocks: Iterable[Columns]) -> int:
        import h5py

        ready, rows = self._ready(cell, blocks), 0
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            for block in ready if self.layout.resizable else _joined(ready):
                if rows and set(file) != set(block):
                    raise self._error(f"a block has other columns than {list(file)}")
                for name, values in block.items():
                    self._append(file, self.layout.by_name[name], values, rows)
                rows += len(block[self.layout.id_column])
        return rows

    def _append(self, file: Any, column: Column, values: np.ndarray, rows: int) -> None:
        import h5py

        if column.utf8:
            values = values.view(h5py.string_dtype("utf-8", values.dtype.itemsize))
        if rows:
            file[column.name].resize(rows + len(values), axis=0)
            file[column.name][rows:] = values
            return
        chunked = {}
        if self.layout.resizable:
            # A chunk is an object, or a few thousand numbers: readers take few rows.
            size = max(values[:1].nbytes, 1)
            chunked = {
                "chunks": (max(65536 // size, 1), *values.shape[1:]),
                "maxshape": (None, *values.shape[1:]),
                "compression": self.layout.compression if self.compressed else None,
            }
        file.create_dataset(
            column.name,
            data=values,
            dtype=values.dtype if column.utf8 else column.numpy,
            track_times=False,
            **chunked,
        )

    def _ready(self, cell: int, blocks: Iterable[Columns]) -> Iterator[Columns]:
        """Blocks with all columns, in the order and the dtypes of the layout."""
        done = 0
        for block in blocks:
            given = {name: np.asarray(values) for name, values in block.items()}
            unknown = sorted(set(given) - set(self.layout.by_name))
            if unknown:
                raise self._error(f"there is no column {unknown[0]!r}")
            if self.layout.id_column not in given:
                raise self._error(f"column {self.layout.id_column!r} is missing")
            count = len(given[self.layout.id_column])
            if not count:
                continue
            given.setdefault("healpix", np.full(count, cell))
            if "gid" in self.layout.by_name:
                given.setdefault("gid", np.arange(done, done + count))
            found = {c.name: self._values(c, given, count) for c in self.layout.columns}
            yield {name: values for name, values in found.items() if values is not None}
            done += count

    def _values(
        self, column: Column, given: dict[str, np.ndarray], count: int
    ) -> np.ndarray | None:
        values = given.get(column.name, given.get(column.copy))
        if values is None and column.fill is not None:
            shape = (count, *(n or 1 for n in column.shape))
            values = np.broadcast_to(np.asarray(column.fill), shape)
        if values is None and not column.required:
            return None
        if values is None:
            raise self._error(f"column {column.name!r} is missing")
        expected = (count, *column.shape)
        fits = len(values.shape) == len(expected) and all(
            wanted in (None, got)
            for got, wanted in zip(values.shape, expected, strict=True)
        )
        if not fits:
            raise self._error(
                f"column {column.name!r} has shape {values.shape}, not {expected}"
            )
        if column.kind == "S":
            return self._texts(column, values)
        return self._numbers(column, values)

    def _texts(self, column: Column, values: np.ndarray) -> np.ndarray:
        width = column.numpy.itemsize
        if values.dtype.kind != "S":
            values = np.char.encode(values.astype(np.str_), "utf-8")
        if values.dtype.itemsize > width:
            longest = int(np.char.str_len(values).max())
            if longest > width:
                raise self._error(f"column {column.name!r} holds {longest} characters")
        # SDSS writes its 22 character ids with blanks on the left.
        if column.numpy == np.dtype("S22"):
            values = np.char.rjust(np.char.strip(values), width)
        return values.astype(column.numpy)

    def _numbers(self, column: Column, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "SU":  # ids are texts of digits
            values = self._parsed(column, values)
        kind = column.numpy
        lossy = values.dtype.kind in "fc" and kind.kind in "iub"
        if lossy or values.dtype.kind not in "biuf":
            raise self._error(f"column {column.name!r} has dtype {values.dtype}")
        if kind.kind in "iu" and values.size and values.dtype.kind in "iu":
            limits = np.iinfo(kind)
            if values.min() < limits.min or values.max() > limits.max:
                raise self._error(f"column {column.name!r} does not fit {kind}")
        if kind.kind == "b" and values.dtype.kind != "b":
            raise self._error(f"column {column.name!r} has dtype {values.dtype}")
        return values.astype(kind)

    def _parsed(self, column: Column, values: np.ndarray) -> np.ndarray:
        try:
            return values.astype(np.int64)
        except ValueError:
            raise self._error(
                f"column {column.name!r} holds {str(values.ravel()[0])!r}"
            ) from None

    def _error(self, problem: str) -> DataError:
        return DataError(
            f"{self.layout.name}: {problem}",
            f"Give the columns of aion.layouts.LAYOUTS[{self.layout.name!r}].",
        )


def _joined(blocks: Iterable[Columns]) -> Iterator[Columns]:
    """All blocks as one, spectra padded to the longest."""
    blocks = list(blocks)
    if not blocks:
        return
    whole = {}
    for name in blocks[0]:
        parts = [block[name] for block in blocks if name in block]
        if len(parts) < len(blocks):
            raise DataError(
                f"column {name!r} is in some blocks only", "Give it in all, or none."
            )
        if name in _PADDING:
            longest = max(part.shape[1] for part in parts)
            parts = [_padded(part, longest, _PADDING[name]) for part in parts]
        whole[name] = np.concatenate(parts)
    yield whole


def _padded(values: np.ndarray, length: int, padding: Any) -> np.ndarray:
    room = ((0, 0), (0, length - values.shape[1]))
    if not room[1][1]:
        return values
    if padding == "edge":
        return np.pad(values, room, mode="edge").astype(values.dtype)
    return np.pad(values, room, constant_values=padding).astype(values.dtype)
