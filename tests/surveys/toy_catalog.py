# SPDX-License-Identifier: MIT
"""A small catalogue, and its files in every format."""

import csv

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from aion.surveys.catalog import CatalogSource

COLUMNS = {"mag": "r_mag", "kind": "class", "size": "size"}


def numbers(count=10):
    """Rows as plain lists: ids, positions, a magnitude with a gap, labels, sizes."""
    rng = np.random.default_rng(0)
    mag = np.round(rng.normal(20, 1, count), 6)
    mag[1] = np.nan
    labels = np.array(["STAR", "GALAXY", ""] * count)[:count]
    return {
        "plate": np.arange(count) // 4 + 266,
        "fiber": np.arange(count) % 4,
        "ra": np.round(rng.uniform(0, 360, count), 6),
        "dec": np.round(rng.uniform(-90, 90, count), 6),
        "r_mag": mag,
        "class": labels,
        "size": rng.integers(1, 9, count),
    }


def write_csv(path, data):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(data)
        for row in zip(*data.values(), strict=True):
            writer.writerow(["" if v != v else v for v in row])


def write_parquet(path, data):
    arrays = {k: pa.array(v, from_pandas=True) for k, v in data.items()}
    meta = {"r_mag": {"unit": "mag"}, "ra": {"unit": "deg"}}
    schema = pa.schema(
        [pa.field(k, a.type, metadata=meta.get(k)) for k, a in arrays.items()]
    )
    table = pa.table(list(arrays.values()), schema=schema)
    pq.write_table(table, path, row_group_size=4)


def write_fits(path, data):
    columns = []
    for name, values in data.items():
        kind = values.dtype.kind
        code = {"i": "J", "f": "D", "U": "8A"}[kind]
        unit = {"r_mag": "mag", "ra": "deg"}.get(name)
        columns.append(fits.Column(name, code, unit=unit, array=values))
    fits.BinTableHDU.from_columns(columns).writeto(path)


def write_astropy(path, data):
    table = Table(data, masked=True)
    table["r_mag"] = MaskedColumn(data["r_mag"], mask=np.isnan(data["r_mag"]))
    table["r_mag"].unit, table["ra"].unit = u.mag, u.deg
    kind = "ascii.ecsv" if path.suffix == ".ecsv" else "votable"
    table.write(path, format=kind)


WRITERS = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".fits": write_fits,
    ".ecsv": write_astropy,
    ".vot": write_astropy,
}


def source_of(path, columns=None, **rest):
    rest = {"labels": ("kind",), "object_id": ("plate", "fiber")} | rest
    return CatalogSource(path, columns or COLUMNS, **rest)


def read_all(source):
    return [r for part in source.partitions() for r in source.read(part)]


def plain(values):
    return np.asarray(getattr(values, "value", values))
