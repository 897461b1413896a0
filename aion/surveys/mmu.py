# SPDX-License-Identifier: MIT
"""Trees of the Multimodal Universe's first release (HDF5, one file per sky cell).

Files are read by row ranges, so that memory holds a batch. Unknown columns are ignored,
missing optional ones make their modality absent, everything comes out in native byte
order with masks that are True where a value is valid.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ConfigError, DataError
from aion.layouts import LAYOUTS, Column, Layout
from aion.observation import Observation
from aion.records import Records
from aion.surveys import desi, gaia, hsc, labels, legacy, sdss
from aion.surveys.positions import Positions, plain_ids
from aion.surveys.quarantine import BadFile, Fault, Ledger, Quarantine, checked_rows
from aion.surveys.recipes import (
    Columns,
    Recipe,
    chosen,
    columns_of,
    native,
    observe,
)

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "legacysurvey": legacy.RECIPES,
    "hsc": hsc.RECIPES,
    "sdss": sdss.RECIPES,
    "desi": desi.RECIPES,
    "gaia": gaia.RECIPES,
    "desi_provabgs": labels.PROVABGS_RECIPES,
    "gz10": labels.GZ10_RECIPES,
}
"""Recipes by the name of the set."""

SUFFIXES = (".hdf5", ".h5")
# Locks that the archive's writer leaves behind, and files that are not finished.
_NOT_DATA = re.compile(r"^\.|\.lock$|\.partial$")
_ACCEPTED = {"f": "fiu", "i": "iu", "b": "biu", "S": "SOiu"}


@dataclass(frozen=True)
class MmuSource:
    """A `RecordSource` over one set.

    Attributes:
        path: a folder with `healpix=*` folders in it or one below, or a file.
        layout: which set it is.
        on_bad: "error" raises at the first fault, naming file and column; "quarantine"
            notes it in `report` and goes on.
        modalities: those to read; None = all there are.
        batch: rows that are read at once.

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
        """Files below `path`, sorted by HEALPix cell.

        Raises:
            DataError: none there, or with `on_bad` "error" one that is no HDF5 file.
        """
        foreign = [n for n in self._files if not n.endswith(SUFFIXES)]
        for name in foreign:
            fault = Fault(self._told(name), "", "is not an HDF5 file of a survey")
            self._ledger.note(name, Quarantine(1, 0, 0, (fault,)))
        return tuple(name for name in self._files if name not in foreign)

    def read(self, partition: str) -> Iterator[Records]:
        """The records of a file in batches.

        Raises:
            DataError: with `on_bad` "error": a file that cannot be read, lacks a
                column, has one of another dtype, or rows without name or place.
        """
        recipes = chosen(RECIPES[self.layout.name], self.modalities)
        path, told = self._path(partition), self._told(partition)
        with self._ledger.files(partition), opened(path, told) as file:
            columns = columns_of(recipes, file)
            total, done = self._check(file, told, columns), 0
            place = self._place(file, told)
            names = (self.layout.id_column, *self._coordinates(file))
            good, faults = checked_rows(place, told, names)
            self._ledger.judge(faults)
            for start in range(0, total, self.batch):
                rows = slice(start, start + self.batch)
                keep = good[rows]
                if not keep.any():
                    continue
                try:
                    found = self._columns(file, told, columns, rows, keep)
                    observations = observed(recipes, found, told)
                except BadFile as bad:
                    late = replace(bad.fault, rows=int(good[start:].sum()))
                    faults = (*faults, late)
                    break
                here = place.take(rows).take(keep)
                done += len(here)
                yield records(here, observations, told)
            self._ledger.note(partition, Quarantine(1, total, done, faults))

    def read_ids(self, partition: str, ids: np.ndarray) -> Iterator[Records]:
        """The records of some objects; only batches of rows that hold one are read.

        Args:
            partition: a file.
            ids: names of objects as `Records.object_id` has them; unknown ones are not
                given.

        Raises:
            DataError: as `read`.
        """
        recipes = chosen(RECIPES[self.layout.name], self.modalities)
        path, told = self._path(partition), self._told(partition)
        with self._ledger.files(partition), opened(path, told) as file:
            columns = columns_of(recipes, file)
            total, place = self._check(file, told, columns), self._place(file, told)
            names = (self.layout.id_column, *self._coordinates(file))
            good, faults = checked_rows(place, told, names)
            self._ledger.judge(faults)
            wanted = good & np.isin(place.object_id.astype(np.str_), ids)
            for start in range(0, total, self.batch):
                rows = slice(start, start + self.batch)
                if (keep := wanted[rows]).any():
                    found = self._columns(file, told, columns, rows, keep)
                    here = place.take(rows).take(keep)
                    yield records(here, observed(recipes, found, told), told)

    def positions(self, partition: str) -> Positions:
        """Name and place of all rows of a file, also of bad ones.

        A file that cannot be read has none, and is in `report`, with `on_bad`
        "quarantine".

        Raises:
            DataError: as `read`, for files and columns.
        """
        told = self._told(partition)
        with self._ledger.files(partition), opened(self._path(partition), told) as file:
            self._check(file, told, [])
            return self._place(file, told)
        nothing = np.empty(0)
        return Positions(np.empty(0, np.int64), nothing, nothing)

    @cached_property
    def _files(self) -> list[str]:
        if self.path.is_file():
            return [self.path.name]
        found = [p for pattern in PATTERNS for p in self.path.glob(pattern)]
        names = [
            path.relative_to(self.path).as_posix()
            for path in found
            if path.is_file() and not _NOT_DATA.search(path.name)
        ]
        if not names:
            raise DataError(
                f"{self.path} has no files healpix=*/*.hdf5",
                "Give the folder of a set, such as sdss/sdss.",
            )
        return sorted(names, key=_place_of)

    def _path(self, partition: str) -> Path:
        root = self.path.parent if self.path.is_file() else self.path
        return root / partition

    def _told(self, partition: str) -> str:
        return str(self._path(partition))

    def _coordinates(self, file: Any) -> tuple[str, str]:
        """Names of the coordinate columns; some files have them in capitals."""
        lower = "ra" in file or "RA" not in file
        return ("ra", "dec") if lower else ("RA", "DEC")

    def _check(self, file: Any, told: str, columns: Sequence[str]) -> int:
        """Rows of a file whose columns are as the layout says."""
        here = self._coordinates(file)
        for name in (*self.layout.signature, self.layout.id_column, *here):
            if name not in file:
                reason = f"is missing, so this is no file of {self.layout.name}"
                raise BadFile(Fault(told, name, reason))
        data = file[self.layout.id_column]
        total = data.shape[0] if getattr(data, "shape", ()) else 0
        if not total:
            raise BadFile(Fault(told, "", "has no rows"))
        always = (self.layout.id_column, *here)
        for name in dict.fromkeys((*always, *columns)):
            column = self.layout.by_name.get(name.lower() if name in here else name)
            problem = column and _unlike(file[name], column, total)
            if not problem and name in here and file[name].dtype.itemsize < 8:
                problem = f"has dtype {file[name].dtype}, too coarse for a position"
            if problem:
                raise BadFile(Fault(told, name, problem, total))
        return total

    def _place(self, file: Any, told: str) -> Positions:
        names = self._coordinates(file)
        moving = ("pmra", "pmdec") if self.layout.survey == "gaia" else ()
        moving = moving if all(name in file for name in moving) else ()
        try:
            ids = file[self.layout.id_column][:]
            numbers = [
                native(file[name][:]).astype(np.float64, copy=False)
                for name in (*names, *moving)
            ]
        except (OSError, ValueError) as error:
            raise BadFile(Fault(told, "", _short(error))) from None
        return Positions(plain_ids(native(ids)), *numbers)

    def _columns(
        self,
        file: Any,
        told: str,
        names: Sequence[str],
        rows: slice,
        keep: np.ndarray,
    ) -> dict[str, np.ndarray]:
        found = {}
        for name in names:
            try:
                values = native(file[name][rows])
            except (OSError, ValueError) as error:
                raise BadFile(Fault(told, name, _short(error))) from None
            found[name] = values if keep.all() else values[keep]
        return found


PATTERNS = ("*healpix=*/*", "*/*healpix=*/*")
"""Where files are below the folder of a set: the archive has prefixes like `train_`."""


def _place_of(name: str) -> tuple[str, int, str]:
    cell = re.search(r"healpix=(\d+)", name)
    return name.split("healpix=")[0], int(cell[1]) if cell else -1, name


def _short(error: Exception) -> str:
    return f"cannot be read: {' '.join(str(error).split())[:160]}"


@contextmanager
def opened(path: Path, told: str) -> Iterator[Any]:
    """An HDF5 file for reading; a broken one is a `BadFile`."""
    import h5py

    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise DataError(f"no file {told}", "Check the path.") from None
    except OSError as error:
        raise BadFile(Fault(told, "", _short(error))) from None
    with file:
        yield file


def observed(
    recipes: Sequence[Recipe], columns: Columns, told: str
) -> dict[str, Observation]:
    """Observations by modality; a `BadFile` where the columns do not fit together."""
    try:
        return observe(recipes, columns)
    except DataError as error:
        raise BadFile(Fault(told, "", error.problem)) from None


def records(
    place: Positions, observations: Mapping[str, Observation], told: str
) -> Records:
    """Records of objects with names as texts and right ascension below 360."""
    return Records(
        place.object_id.astype(np.str_),
        place.ra % 360.0,
        place.dec,
        observations,
        origin=told,
    )


def _unlike(data: Any, column: Column, total: int) -> str:
    """How an HDF5 dataset differs from its column in the layout; "" if it does not."""
    if getattr(data, "dtype", None) is None:
        return "is a group, not an array"
    if data.dtype.kind not in _ACCEPTED[column.kind]:
        return f"has dtype {data.dtype}, not {column.dtype}"
    if data.ndim != len(column.shape) + 1:
        return f"has shape {data.shape}, not {('rows', *column.shape)}"
    if data.shape[0] != total:
        return f"has {data.shape[0]} rows, not {total}"
    return ""


def layout_of(path: Path) -> Layout | None:
    """The set an HDF5 file belongs to, by its columns; None if it is of none."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            names = set(file)
    except OSError:
        return None
    for layout in LAYOUTS.values():
        if names.issuperset(layout.signature):
            return layout
    return None
