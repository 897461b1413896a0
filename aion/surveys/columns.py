# SPDX-License-Identifier: MIT
"""Columns as readers find them, made plain: texts, float64, quantities."""

import warnings
from typing import Any

import numpy as np

from aion.errors import DataError

MISSING_TEXTS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "--", "\\N")
"""Texts that stand for nothing, in columns of texts and of numbers."""


def as_texts(values: np.ndarray) -> np.ndarray:
    """Any column as stripped texts, exact for integers; missing ones are ""."""
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.trunc(values))
        texts = [
            "" if not np.isfinite(v) else str(int(v)) if w else repr(float(v))
            for v, w in zip(values, whole, strict=True)
        ]
        return np.array(texts, np.str_)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "O":
        values = np.array(["" if v is None else str(v) for v in values], np.str_)
    texts = np.char.strip(values.astype(np.str_))
    return np.where(np.isin(texts, MISSING_TEXTS), "", texts)


def as_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """A column as float64.

    Raises:
        DataError: texts that are no numbers; names the first.
    """
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    texts = np.atleast_1d(as_texts(values.ravel()))
    try:
        numbers = np.where(texts == "", "nan", texts).astype(np.float64)
    except ValueError:
        bad = next(text for text in texts if not is_number(text))
        raise not_numeric(where, bad) from None
    return numbers.reshape(values.shape)


def not_numeric(where: str, value: str) -> DataError:
    """The error of a text in a column of numbers."""
    return DataError(
        f"{where} is not numeric: it holds {value!r}",
        "Choose another column, or declare the modality a category.",
    )


def is_number(text: str) -> bool:
    """Whether a text is a number, or empty."""
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def with_unit(values: np.ndarray, unit: str | None) -> Any:
    """Numbers as a quantity if astropy knows the unit, else as they are."""
    if not unit:
        return values
    import astropy.units as u

    alias = {"nanomaggies": "nmgy", "maggies": "mgy"}.get(unit.strip().lower(), unit)
    with warnings.catch_warnings(), u.add_enabled_units([u.nmgy, u.mgy]):
        warnings.simplefilter("ignore")
        parsed = u.Unit(alias, parse_strict="silent")  # pyright: ignore
        if isinstance(parsed, u.UnrecognizedUnit) or parsed == u.dimensionless_unscaled:
            return values
        return u.Quantity(values, parsed, subok=True)
