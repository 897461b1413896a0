# SPDX-License-Identifier: MIT
"""Gaia as its archive gives it: XP coefficients (CSV) and catalogue rows (FITS)."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from aion.errors import DataError
from aion.layouts.gaia import XP_SIZE
from aion.observation import Coefficients, Observation, Scalar
from aion.records import Records
from aion.surveys.positions import Positions
from aion.surveys.recipes import native

_ID_UNIT = 34_359_738_368
"""Source ids over this are HEALPix cells of order 12, NESTED, ICRS (Gaia DR3
documentation, 20.1.1, `source_id`)."""

DR2_ZERO_POINTS = {"g": 25.6884, "bp": 25.3514, "rp": 24.7619}
"""Vega magnitudes of 1 e-/s as used for the magnitudes of Gaia DR2 (Evans et al. 2018,
A&A 616, A4, table 3)."""
_MAS = 1 / 3.6e6


def read_gaia_xp(path: Path, batch: int) -> Iterator[Records]:
    """Continuous XP spectra; a source without an arm has NaN there, which is absent.

    Coefficients are for the internal calibration, in e-/s. The file has no positions:
    those given are the centres of the cells of order 12 that the ids name, good to an
    arcminute.

    Args:
        path: CSV with `source_id`, `bp_coefficients`, `bp_coefficient_errors` and the
            same for rp, arrays as texts like "(1.0, 2.0)".
        batch: sources per batch.

    Raises:
        DataError: an array has another length than 55, or a number is none.
    """
    limit = csv.field_size_limit()
    with path.open(newline="") as file:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            rows: list[dict[str, str]] = []
            for row in csv.DictReader(line for line in file if line[0] != "#"):
                rows.append(row)
                if len(rows) == batch:
                    yield _xp_records(rows, path)
                    rows = []
            if rows:
                yield _xp_records(rows, path)
        finally:
            csv.field_size_limit(limit)


def _xp_records(rows: Sequence[dict[str, str]], path: Path) -> Records:
    try:
        ids = np.array([int(row["source_id"]) for row in rows], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} column 'source_id': {error}",
            "It may be truncated; fetch it again.",
        ) from None
    ra, dec = places_of(ids)
    found: dict[str, Observation] = {}
    for arm in ("bp", "rp"):
        values, errors = (
            np.stack([_array(row, f"{arm}_{name}", path) for row in rows])
            for name in ("coefficients", "coefficient_errors")
        )
        found[f"gaia_xp_{arm}"] = Coefficients(values, errors)
    return Records(ids.astype(np.str_), ra, dec, found, origin=str(path))


def _array(row: dict[str, str], name: str, path: Path) -> np.ndarray:
    """A text like "(1.0, 2.0)" or "[1.0 2.0]" as numbers; nothing as NaN."""
    text = (row.get(name) or "").strip().strip("()[]{}\"' ")
    words = text.replace(",", " ").split()
    if not words or words[0].lower() in ("nan", "null", "none"):
        return np.full(XP_SIZE, np.nan)
    try:
        values = np.array(words, np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != XP_SIZE:
        raise DataError(
            f"{path} column {name!r} of source {row['source_id']}: {len(words)} values "
            f"that are not {XP_SIZE} numbers",
            "It may be truncated; fetch it again.",
        )
    return values


def places_of(
    ids: Int64[np.ndarray, " b"],
) -> tuple[Float64[np.ndarray, " b"], Float64[np.ndarray, " b"]]:
    """Right ascension and declination in degrees that source ids tell, +- 0.9'."""
    import healpy

    ra, dec = healpy.pix2ang(4096, ids // _ID_UNIT, nest=True, lonlat=True)
    return ra, dec


def read_gaia_rows(path: Path, batch: int) -> Iterator[Records]:
    """Rows of Gaia's source table, such as chunks of DR2.

    Where there are magnitudes and no fluxes, fluxes follow from the zero points of
    DR2, and their errors from `phot_*_mean_flux_over_error`.

    Args:
        path: FITS table with `source_id`, `ra`, `dec`, and more columns of
            `gaia_source`.
        batch: rows per batch.
    """
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        table = hdus[1].data  # pyright: ignore
        names = set(table.dtype.names)
        for start in range(0, len(table), batch):
            part = table[start : start + batch]
            columns = {
                name: native(np.array(part[name]))
                for name in names
                if part[name].dtype.kind in "fiu"
            }
            yield _row_records(columns, path)


def gaia_places(path: Path) -> Positions:
    """Names, places and proper motions of the rows of a source table."""
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        table = hdus[1].data  # pyright: ignore
        ids = native(np.array(table["source_id"]))
        names = ("ra", "dec", "pmra", "pmdec")
        names = names if set(names) <= set(table.dtype.names) else names[:2]
        return Positions(ids, *(np.array(table[name], np.float64) for name in names))


def _row_records(columns: dict[str, np.ndarray], path: Path) -> Records:
    found: dict[str, Observation] = {}
    for band, zero_point in DR2_ZERO_POINTS.items():
        name = f"phot_{band}_mean"
        if f"{name}_flux" in columns:
            flux = columns[f"{name}_flux"]
        elif f"{name}_mag" in columns:
            magnitude = columns[f"{name}_mag"].astype(np.float64)
            flux = 10 ** (-0.4 * (magnitude - zero_point))
            flux = np.where(magnitude > 0, flux, np.nan)
        else:
            continue
        errors = columns.get(f"{name}_flux_error")
        if errors is None and f"{name}_flux_over_error" in columns:
            ratio = columns[f"{name}_flux_over_error"].astype(np.float64)
            errors = np.divide(
                flux, ratio, out=np.full(len(flux), np.nan), where=ratio > 0
            )
        found[f"gaia_flux_{band}"] = Scalar(flux, errors)
    if "parallax" in columns:
        found["gaia_parallax"] = Scalar(
            columns["parallax"], columns.get("parallax_error")
        )
    for name in ("ra", "dec"):
        errors = columns.get(f"{name}_error")
        found[name] = Scalar(columns[name], None if errors is None else errors * _MAS)
    ra, dec = columns["ra"].astype(np.float64), columns["dec"].astype(np.float64)
    ids = columns["source_id"].astype(np.str_)
    return Records(ids, ra % 360.0, dec, found, origin=str(path))
