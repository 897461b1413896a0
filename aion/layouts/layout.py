# SPDX-License-Identifier: MIT
"""What a column and a set of files are, as data."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np


class MaskSense(enum.Enum):
    """What True means in a mask column. It is the opposite in images and spectra."""

    VALID = "valid"
    BAD = "bad"


@dataclass(frozen=True)
class Column:
    """One HDF5 dataset of a file; axis 0 is objects.

    Attributes:
        name: of the dataset.
        dtype: numpy's spelling with byte order, such as ">f4". Columns that come from
            FITS tables are big-endian, arrays built by numpy little-endian.
        shape: per object; None is a length that is the same within a file only.
        unit: astropy's spelling. The files have no attributes, hence no units.
        required: whether every file of the set has it.
        utf8: fixed-length strings that HDF5 marks as UTF-8.
        fill: the value of every object where a writer is given none.
        copy: the column that a writer copies where it is given none.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    unit: str = ""
    required: bool = True
    utf8: bool = False
    fill: Any = None
    copy: str = ""

    @property
    def numpy(self) -> np.dtype:
        """The dtype on disk."""
        return np.dtype(self.dtype)

    @property
    def kind(self) -> str:
        """Letter of the kind of value: b, i, f or S."""
        return {"u": "i"}.get(self.numpy.kind, self.numpy.kind)


@dataclass(frozen=True)
class Layout:
    """One set of files, `<name>/<folder>/healpix=<P>/001-of-001<suffix>`.

    Attributes:
        name: of the set.
        survey: whose sky it is: legacy, hsc, sdss, desi or gaia.
        folder: of the configuration, inside the folder of the set.
        suffix: of the files.
        columns: of every file, in the order they are written.
        signature: columns which no other set has together.
        id_column: names the objects.
        compression: HDF5 filter of every column, or None.
        resizable: chunked with an unlimited axis 0, else contiguous.
        mask: what True means in the mask column; None without one.
        epoch: Julian year of the positions.
        hats_name: of the collection in the public HATS release.
    """

    name: str
    survey: str
    folder: str
    suffix: str
    columns: tuple[Column, ...]
    signature: tuple[str, ...]
    id_column: str = "object_id"
    compression: str | None = None
    resizable: bool = False
    mask: MaskSense | None = None
    epoch: float = 2000.0
    hats_name: str = ""

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that every file has."""
        return tuple(column.name for column in self.columns if column.required)

    def path(self, cell: int) -> str:
        """Where the file of a HEALPix cell is, below the root."""
        return f"{self.name}/{self.folder}/healpix={cell}/001-of-001{self.suffix}"


NSIDE = 16
"""HEALPix resolution of the sets, NESTED order."""


def placed(big: str = "") -> tuple[Column, ...]:
    """The columns of a position; `big` is ">" where they come from a FITS table."""
    return (
        Column("ra", f"{big or '<'}f8", unit="deg"),
        Column("dec", f"{big or '<'}f8", unit="deg"),
        Column("healpix", "<i8"),
    )


def floats(
    names: Iterable[str],
    unit: str = "",
    dtype: str = ">f4",
    shape: tuple[int | None, ...] = (),
) -> tuple[Column, ...]:
    """Columns that differ in name only."""
    return tuple(Column(name, dtype, shape, unit) for name in names)


def filled(value: Any, *columns: Column) -> tuple[Column, ...]:
    """The same columns, which a writer fills with one value if it is given none."""
    return tuple(replace(column, fill=value) for column in columns)


def optional(*columns: Column) -> tuple[Column, ...]:
    """The same columns, which a file may lack."""
    return tuple(replace(column, required=False) for column in columns)
