# SPDX-License-Identifier: MIT
"""Any catalogue file as records: which column is which modality is the user's word.

Nothing is dropped in silence. Rows without a usable position are left out and counted
by reason in `CatalogSource.report`; rows in = rows out + rows left out. Rows that share
an object id are *kept* and counted: they may be two measurements of one object, and
since data are split by place on the sky both fall on the same side of a split.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ConfigError, DataError, UnitError
from aion.hashes import text_hashes
from aion.observation import Category, Coefficients, Observation, Scalar, is_quantity
from aion.records import Records
from aion.surveys.tables import Table, open_table


@dataclass(frozen=True)
class Report:
    """What happened to the rows that were read.

    Attributes:
        rows_in: rows in the partitions read so far.
        rows_out: rows that were given on.
        left_out: rows that were not, by reason.
        duplicates: rows given on whose object id an earlier one has.
    """

    rows_in: int = 0
    rows_out: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0


@dataclass(frozen=True)
class _Read:
    rows_in: int
    left_out: Mapping[str, int]
    ids: np.ndarray


@dataclass(frozen=True)
class CatalogSource:
    """A `RecordSource` over one catalogue file (see `tables.READERS` for formats).

    Attributes:
        path: the file.
        columns: column by modality name.
        labels: modalities whose column holds labels and not numbers.
        object_id: columns that name an object together, joined by "-".
        ra, dec: columns of the ICRS position, in degrees or the unit the file states.
        rows_per_partition: rows that are read at once.
        missing: numbers that stand for "not measured", such as -9999.

    Raises:
        DataError: no such file, an unknown format, a broken or empty file, an unknown
            column (near matches are named).
        ConfigError: `rows_per_partition` or `object_id` is empty.
    """

    path: Path
    columns: Mapping[str, str]
    labels: tuple[str, ...] = ()
    object_id: tuple[str, ...] = ("object_id",)
    ra: str = "ra"
    dec: str = "dec"
    rows_per_partition: int = 50_000
    missing: tuple[float, ...] = ()
    _reads: dict[str, _Read] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.rows_per_partition < 1 or not self.object_id:
            raise ConfigError(
                f"{self.path}: {self.rows_per_partition} rows per partition, object id "
                f"from columns {self.object_id}",
                "Give at least one of each.",
            )
        asked = [*self.columns.values(), *self.object_id, self.ra, self.dec]
        for name in asked:
            if name not in self._table.names:
                raise self._unknown(name)

    def partitions(self) -> Sequence[str]:
        """Names of the row ranges, in the order of the file.

        Raises:
            DataError: the file has no rows.
        """
        return tuple(self._pieces)

    def read(self, partition: str) -> Iterator[Records]:
        """The rows of a partition in one batch; none if no row has a usable position.

        Raises:
            DataError: a broken file, a column that is not numeric, no such partition.
            UnitError: ra or dec in a unit that is no angle.
        """
        if partition not in self._pieces:
            raise DataError(
                f"{self.path} has no partition {partition!r}",
                "Read those that `partitions` names.",
            )
        values = {name: (c, name in self.labels) for name, c in self.columns.items()}
        names = [(column, True) for column in self.object_id]
        place = [(self.ra, False), (self.dec, False)]
        wanted = tuple(dict.fromkeys([*names, *place, *values.values()]))
        table = self._table.read(self._pieces[partition], wanted)
        ids = self._ids([table[column] for column in names])
        ra, dec = (self._degrees(table[column], column[0]) for column in place)
        good, left_out = _usable(ra, dec)
        self._reads[partition] = _Read(len(ids), left_out, text_hashes(ids[good]))
        if not good.any():
            return
        yield Records(
            ids[good],
            ra[good] % 360.0,
            dec[good],
            {
                name: self._observation(name, table[column]).take(good)
                for name, column in values.items()
            },
            origin=f"{self.path.name} {partition}",
        )

    @property
    def report(self) -> Report:
        """Counts over the partitions read so far, each once; 8 bytes per row."""
        reads = list(self._reads.values())
        reasons = dict.fromkeys(reason for read in reads for reason in read.left_out)
        ids = [read.ids for read in reads] or [np.empty(0, np.uint64)]
        every = np.concatenate(ids)
        return Report(
            sum(read.rows_in for read in reads),
            len(every),
            {r: sum(read.left_out.get(r, 0) for read in reads) for r in reasons},
            len(every) - len(np.unique(every)),
        )

    @cached_property
    def _table(self) -> Table:
        return open_table(self.path)

    @cached_property
    def _pieces(self) -> dict[str, tuple[int, int]]:
        pieces = self._table.pieces(self.rows_per_partition)
        if not pieces:
            raise DataError(f"{self.path} has no rows", "Give a table with rows.")
        return {f"{number:06d}": piece for number, piece in enumerate(pieces)}

    def _unknown(self, name: str) -> DataError:
        names = list(self._table.names)
        by_case = {n.lower(): n for n in names}
        near = difflib.get_close_matches(name.lower(), by_case, 3, 0.6)
        listed = [by_case[n] for n in near] or names[:20]
        word = "Did you mean" if near else "It has"
        mark = "?" if near else "."
        return DataError(
            f"{self.path} has no column {name!r}", f"{word} {', '.join(listed)}{mark}"
        )

    def _ids(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        ids = parts[0]
        for part in parts[1:]:
            ids = np.char.add(np.char.add(ids, "-"), part)
        if not len(ids) and len(self._pieces) == 1:
            raise DataError(f"{self.path} has no rows", "Give a table with rows.")
        return ids

    def _degrees(self, values: Any, column: str) -> np.ndarray:
        if not is_quantity(values):
            return values
        import astropy.units as u

        try:
            return values.to_value(u.deg)
        except u.UnitConversionError:
            raise UnitError(
                f"{self.path} column {column} has unit {values.unit}, no angle",
                "Give the column of positions in degrees.",
            ) from None

    def _observation(self, name: str, values: Any) -> Observation:
        if name in self.labels:
            return Category(values)
        if self.missing:
            plain = np.asarray(values)
            absent = np.isin(plain, self.missing)
            hidden = np.where(absent, np.nan, plain)
            values = hidden * values.unit if is_quantity(values) else hidden
        return Coefficients(values) if np.ndim(values) == 2 else Scalar(values)


def _usable(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Rows whose position is one, and how many are not, by reason."""
    no_place = ~(np.isfinite(ra) & np.isfinite(dec))
    beyond_ra = ~no_place & ((ra < 0) | (ra > 360))
    beyond_dec = ~no_place & ~beyond_ra & (np.abs(dec) > 90)
    reasons = {
        "ra or dec missing": int(no_place.sum()),
        "ra outside 0..360": int(beyond_ra.sum()),
        "dec outside -90..90": int(beyond_dec.sum()),
    }
    good = ~(no_place | beyond_ra | beyond_dec)
    return good, {reason: count for reason, count in reasons.items() if count}
