# SPDX-License-Identifier: MIT
"""Table files read by rows: CSV, Parquet, FITS, ECSV and VOTable.

A table gives columns as numpy arrays in native byte order, as astropy quantities where
the file states a unit that astropy knows. Missing numbers are NaN, missing texts "".
CSV, Parquet and FITS are read piece by piece; ECSV and VOTable are read whole, because
astropy does so.
"""

import csv
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aion.errors import DataError
from aion.surveys.columns import (
    MISSING_TEXTS,
    as_numbers,
    as_texts,
    is_number,
    not_numeric,
    with_unit,
)

_BLOCK = 2**24

Column = tuple[str, bool]
"""Name of a column and how it is wanted: True as texts (str), False as float64."""
Wanted = Sequence[Column]


@runtime_checkable
class Table(Protocol):
    """A table file."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""
        ...

    def pieces(self, rows: int) -> Sequence[tuple[int, int]]:
        """Row ranges [start, stop) of about `rows` rows that can be read at once."""
        ...

    def read(self, piece: tuple[int, int], wanted: Wanted) -> dict[Column, Any]:
        """Columns of a piece, each as it is wanted."""
        ...


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turns what libraries raise on broken files into one line."""
    from astropy.io.fits.verify import VerifyWarning
    from astropy.utils.exceptions import AstropyUserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", AstropyUserWarning)
        warnings.simplefilter("ignore", VerifyWarning)
        try:
            yield
        except DataError:
            raise
        except FileNotFoundError:
            raise DataError(f"no file {path}", "Check the path.") from None
        except (AstropyUserWarning, OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path} cannot be read: {reason}",
                "It may be truncated or of another format; fetch it again.",
            ) from None


def _even(total: int, rows: int) -> list[tuple[int, int]]:
    return [(a, min(a + rows, total)) for a in range(0, total, rows)]


class CsvTable:
    """Comma-separated values with a header line; lines before it that start with # are
    skipped (SkyServer writes `#Table1`). Pieces are byte ranges of whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _whole(path), path.open("rb") as file:
            line = file.readline()
            while line.startswith(b"#"):
                line = file.readline()
            text = line.decode("utf-8-sig")
            self.names = [name.strip() for name in next(csv.reader([text]), [])]
            self._body = file.tell()

    def pieces(self, rows: int) -> list[tuple[int, int]]:
        """Byte ranges of `rows` lines each, found in one pass over the file."""
        cuts, lines, place = [self._body], 0, self._body
        with _whole(self.path), self.path.open("rb") as file:
            file.seek(self._body)
            while block := file.read(_BLOCK):
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
                number = np.arange(lines + 1, lines + len(ends) + 1)
                cuts += (place + ends[number % rows == 0]).tolist()
                lines, place = lines + len(ends), place + len(block)
        cuts = list(dict.fromkeys([*cuts, place]))
        return list(itertools.pairwise(cuts))

    def read(self, piece: tuple[int, int], wanted: Wanted) -> dict[Column, Any]:
        """Columns of the lines in a byte range.

        Raises:
            DataError: a line with another number of columns, or a text for a number.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow

        with self.path.open("rb") as file:
            file.seek(piece[0])
            lines = file.read(piece[1] - piece[0])
        if not lines.strip():
            return {c: np.empty(0, "U1" if c[1] else float) for c in wanted}
        names = list(dict.fromkeys(name for name, _ in wanted))
        try:
            # Texts first: a wrong number is then named by its column and value.
            table = arrow.read_csv(
                pa.BufferReader(lines),
                arrow.ReadOptions(column_names=self.names),
                convert_options=arrow.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(
                f"{self.path} is broken near byte {piece[0]}: {reason}",
                "It may be truncated; fetch it again.",
            ) from None
        found = {}
        for name, text in wanted:
            where = f"{self.path} column {name}"
            values = table[name].combine_chunks()
            read = _arrow_texts if text else _arrow_floats
            found[name, text] = read(values, where)
        return found


def _arrow_texts(values: Any, where: str) -> np.ndarray:
    return as_texts(np.asarray(values.to_pylist(), object))


def _arrow_floats(values: Any, where: str) -> np.ndarray:
    """Float64 of arrow texts, NaN for the usual words for nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(values)  # pyright: ignore
    empty = pc.is_in(trimmed, pa.array(MISSING_TEXTS))  # pyright: ignore
    kept = pc.if_else(empty, pa.scalar(None, pa.string()), trimmed)  # pyright: ignore
    try:
        numbers = pc.cast(kept, pa.float64())
    except pa.ArrowInvalid:
        bad = (t for t in kept.to_pylist() if t is not None and not is_number(t))
        raise not_numeric(where, next(bad, "?")) from None
    return numbers.to_numpy(zero_copy_only=False).astype(np.float64)


class ParquetTable:
    """Parquet; units are those in the `unit` metadata of the fields."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: tuple[Any, Any] = (None, None)
        with _whole(path):
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                self.names = list(file.schema_arrow.names)
                self._schema = file.schema_arrow
                groups = range(file.metadata.num_row_groups)
                sizes = [file.metadata.row_group(g).num_rows for g in groups]
        self._starts = np.cumsum([0, *sizes])

    def pieces(self, rows: int) -> list[tuple[int, int]]:
        """Row ranges that do not cross row groups."""
        pieces = []
        for start, stop in itertools.pairwise(self._starts.tolist()):
            pieces += [(start + a, start + b) for a, b in _even(stop - start, rows)]
        return pieces

    def read(self, piece: tuple[int, int], wanted: Wanted) -> dict[Column, Any]:
        """Columns of a row range; the row group last read is kept in memory."""
        import pyarrow.parquet as pq

        group = int(np.searchsorted(self._starts, piece[0], side="right")) - 1
        names = list(dict.fromkeys(name for name, _ in wanted))
        if self._kept[0] != (group, names):
            with _whole(self.path), pq.ParquetFile(self.path) as file:
                rows = file.read_row_group(group, columns=names)
            self._kept = ((group, names), rows)
        start = piece[0] - int(self._starts[group])
        table = self._kept[1].slice(start, piece[1] - piece[0])
        found = {}
        for name, text in wanted:
            values = _arrow_column(table[name].combine_chunks())
            if text:
                found[name, text] = as_texts(values)
                continue
            numbers = as_numbers(values, f"{self.path} column {name}")
            metadata = self._schema.field(name).metadata or {}
            found[name, text] = with_unit(numbers, metadata.get(b"unit", b"").decode())
        return found


def _arrow_column(values: Any) -> np.ndarray:
    """Arrow values as numpy, lists of one length as rows of a matrix."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        rows = values.to_pylist()
        width = max((len(row) for row in rows if row is not None), default=0)
        return np.array([row or [np.nan] * width for row in rows], np.float64)
    return values.to_numpy(zero_copy_only=False)


class FitsTable:
    """The first table of a FITS file, memory-mapped; units are TUNIT."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as hdu:
            self.names = list(hdu.columns.names)
            self._rows = int(hdu.header["NAXIS2"])
            self._units = {c.name: c.unit for c in hdu.columns}
            self._nulls = {c.name: c.null for c in hdu.columns}

    @contextmanager
    def _open(self) -> Iterator[Any]:
        from astropy.io import fits

        with _whole(self.path), fits.open(self.path, memmap=True) as file:
            tables = [
                h for h in file if isinstance(h, fits.BinTableHDU | fits.TableHDU)
            ]
            if not tables:
                raise DataError(f"{self.path} has no table", "Give a FITS table.")
            yield tables[0]

    def pieces(self, rows: int) -> list[tuple[int, int]]:
        """Row ranges."""
        return _even(self._rows, rows)

    def read(self, piece: tuple[int, int], wanted: Wanted) -> dict[Column, Any]:
        """Columns of a row range, copied out of the map."""
        found = {}
        with self._open() as hdu:
            part = hdu.data[piece[0] : piece[1]]
            for name, text in wanted:
                values = np.array(part[name])
                values = values.astype(values.dtype.newbyteorder("="))
                if text:
                    found[name, text] = as_texts(values)
                    continue
                numbers = as_numbers(values, f"{self.path} column {name}")
                if self._nulls[name] is not None:
                    numbers[values == self._nulls[name]] = np.nan
                found[name, text] = with_unit(numbers, self._units[name])
        return found


class AstropyTable:
    """ECSV or VOTable, read whole by astropy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = list(self._table.colnames)

    @cached_property
    def _table(self) -> Any:
        from astropy.table import Table as Whole

        kind = "ascii.ecsv" if self.path.suffix.lower() == ".ecsv" else "votable"
        with _whole(self.path):
            return Whole.read(self.path, format=kind)

    def pieces(self, rows: int) -> list[tuple[int, int]]:
        """Row ranges."""
        return _even(len(self._table), rows)

    def read(self, piece: tuple[int, int], wanted: Wanted) -> dict[Column, Any]:
        """Columns of a row range."""
        found = {}
        for name, text in wanted:
            column = self._table[name][piece[0] : piece[1]]
            values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
            if text:
                found[name, text] = np.where(mask, "", as_texts(np.asarray(values)))
                continue
            numbers = as_numbers(np.asarray(values), f"{self.path} column {name}")
            unit = None if column.unit is None else column.unit.to_string()
            found[name, text] = with_unit(np.where(mask, np.nan, numbers), unit)
        return found


READERS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": CsvTable,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
    ".fits": FitsTable,
    ".fit": FitsTable,
    ".ecsv": AstropyTable,
    ".vot": AstropyTable,
    ".xml": AstropyTable,
}
"""Table class by the end of the file's name."""


def open_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        DataError: no such file, an unknown ending, an empty or broken file.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} has an unknown ending {path.suffix!r}",
            f"Tables end in {', '.join(READERS)}.",
        )
    if not path.is_file():
        raise DataError(f"no file {path}", "Check the path.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty", "Give a table with a header and rows.")
    return reader(path)
