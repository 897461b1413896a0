# SPDX-License-Identifier: MIT
"""Where the objects of a survey are: what cross-matching reads, and nothing more."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from aion.errors import DataError, UnitError
from aion.observation import is_quantity
from aion.surveys.columns import as_texts
from aion.surveys.tables import Table, open_table

SPEED_LIMIT = 20_000.0
"""Proper motion in mas/yr beyond which a row is bad; Barnard's star has 10,400."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Names and places of a batch of objects of one survey.

    Attributes:
        object_id: name of each object, integers or str, [b].
        ra, dec: ICRS position at the survey's epoch in degrees, [b].
        pm_ra, pm_dec: proper motion in mas/yr, that in right ascension times cos(dec),
            [b]; NaN where it is not known. None: a survey without proper motions.

    Raises:
        DataError: arrays of different lengths, or one proper motion of two.
    """

    object_id: Shaped[np.ndarray, " b"]
    ra: Float64[np.ndarray, " b"]
    dec: Float64[np.ndarray, " b"]
    pm_ra: Float64[np.ndarray, " b"] | None = None
    pm_dec: Float64[np.ndarray, " b"] | None = None

    def __post_init__(self) -> None:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        lengths = {name: len(v) for name, v in found.items() if v is not None}
        if len(set(lengths.values())) > 1 or (self.pm_ra is None) != (
            self.pm_dec is None
        ):
            raise DataError(
                f"positions with lengths {lengths}",
                "Give one value per object, and both proper motions or none.",
            )

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: Any) -> Self:
        """The objects `rows` (slice, indices or boolean) of the batch."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: v[rows] for name, v in values.items() if v is not None}
        )


@runtime_checkable
class PositionSource(Protocol):
    """Positions in partitions, in any order and more than once.

    Sources are sent to other processes, so they pickle.
    """

    def partitions(self) -> Sequence[str]:
        """Names of the partitions, always the same for the same files."""
        ...

    def positions(self, partition: str) -> Positions:
        """The positions of one partition; all rows, also bad ones."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayPositions:
    """Positions that are in memory, as a source.

    Attributes:
        content: all positions.
        pieces: number of partitions.
    """

    content: Positions
    pieces: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        state = hashlib.sha256()
        for name in (f.name for f in fields(self.content)):
            values = getattr(self.content, name)
            state.update(b"" if values is None else np.ascontiguousarray(values).data)
        return state.hexdigest()

    def partitions(self) -> Sequence[str]:
        """Numbers of the pieces."""
        return tuple(f"{piece:06d}" for piece in range(self.pieces))

    def positions(self, partition: str) -> Positions:
        """A range of rows."""
        cuts = np.linspace(0, len(self.content), self.pieces + 1).astype(int)
        piece = int(partition)
        return self.content.take(slice(cuts[piece], cuts[piece + 1]))


@dataclass(frozen=True)
class TablePositions:
    """Positions of a catalogue file (see `tables.READERS` for formats).

    Attributes:
        path: the file.
        object_id: columns that name an object together, joined by "-".
        ra, dec: columns of the position, in degrees or the unit the file states.
        pm_ra, pm_dec: columns of the proper motion, in mas/yr or the unit the file
            states, right ascension times cos(dec); None where there are none.
        rows_per_partition: rows that are read at once.

    Raises:
        DataError: no such file, an unknown format, a broken file, an unknown column.
    """

    path: Path
    object_id: tuple[str, ...] = ("object_id",)
    ra: str = "ra"
    dec: str = "dec"
    pm_ra: str | None = None
    pm_dec: str | None = None
    rows_per_partition: int = 500_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        for name in named_columns(self):
            if name not in self._table.names:
                raise DataError(
                    f"{self.path} has no column {name!r}",
                    f"It has {', '.join(list(self._table.names)[:20])}.",
                )

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _table(self) -> Table:
        return open_table(self.path)

    @cached_property
    def _pieces(self) -> Mapping[str, tuple[int, int]]:
        pieces = self._table.pieces(self.rows_per_partition)
        return {f"{number:06d}": piece for number, piece in enumerate(pieces)}

    def partitions(self) -> Sequence[str]:
        """Names of the row ranges, in the order of the file."""
        return tuple(self._pieces)

    def positions(self, partition: str) -> Positions:
        """A range of rows.

        Raises:
            DataError: a broken file or a column that is not numeric.
            UnitError: a position or a proper motion in a unit that is none.
        """
        places = {self.ra: "deg", self.dec: "deg"}
        if self.pm_ra and self.pm_dec:
            places |= {self.pm_ra: "mas / yr", self.pm_dec: "mas / yr"}
        wanted = [(name, True) for name in self.object_id]
        wanted += [(name, False) for name in places]
        table = self._table.read(self._pieces[partition], wanted)
        ids, *rest = [table[name, True] for name in self.object_id]
        for part in rest:
            ids = np.char.add(np.char.add(ids, "-"), part)
        numbers = [
            self._in_unit(table[name, False], name, unit)
            for name, unit in places.items()
        ]
        return Positions(ids, *numbers)

    def _in_unit(self, values: Any, column: str, unit: str) -> np.ndarray:
        if not is_quantity(values):
            return np.asarray(values, np.float64)
        import astropy.units as u

        try:
            return np.asarray(values.to_value(u.Unit(unit)), np.float64)
        except u.UnitConversionError:
            raise UnitError(
                f"{self.path} column {column} has unit {values.unit}, not {unit}",
                f"Give the column in {unit}.",
            ) from None


def named_columns(source: Any) -> tuple[str, ...]:
    """Columns that a source of a table names: ids, place, proper motion."""
    names = (*source.object_id, source.ra, source.dec, source.pm_ra, source.pm_dec)
    return tuple(name for name in names if name)


def plain_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as int64 or as stripped texts, whatever the reader's way of writing them.

    Loaders of byte ids give the text "b'...'" (and blanks on the left); both forms
    become the plain one, so that ids compare across file formats.
    """
    if ids.dtype.kind in "iu" and (
        ids.dtype != np.uint64 or not len(ids) or ids.max() < 2**63
    ):
        return ids.astype(np.int64)
    texts = np.atleast_1d(as_texts(ids))
    quoted = np.char.startswith(texts, "b'") | np.char.startswith(texts, 'b"')
    if quoted.any():
        inner = [text[2:-1].strip() for text in texts[quoted].tolist()]
        texts = texts.copy()
        texts[quoted] = inner
    return texts


def usable(positions: Positions) -> tuple[Bool[np.ndarray, " b"], dict[str, Any]]:
    """Rows that can be matched, and the rows that cannot by reason: boolean [b]."""
    ra, dec = positions.ra, positions.dec
    ids = positions.object_id
    nameless = ids == "" if ids.dtype.kind == "U" else np.zeros(len(ids), bool)
    no_place = ~(np.isfinite(ra) & np.isfinite(dec))
    with np.errstate(invalid="ignore"):
        speed = np.zeros(len(ids))
        if positions.pm_ra is not None and positions.pm_dec is not None:
            speed = np.hypot(positions.pm_ra, positions.pm_dec)
        tests = {
            "object id missing": nameless,
            "ra or dec missing": no_place,
            "ra outside 0..360": (ra < 0) | (ra > 360),
            "dec outside -90..90": np.abs(dec) > 90,
            "proper motion beyond 20 arcsec a year": speed > SPEED_LIMIT,
        }
    good, found = np.ones(len(ids), bool), {}
    for reason, test in tests.items():
        rows = test & good
        if rows.any():
            found[reason] = rows
        good &= ~test
    return good, found
