# SPDX-License-Identifier: MIT
"""Observations of one modality from several batches as one, spectra padded to fit."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Shaped

from aion.errors import DataError
from aion.observation import Observation, Spectrum, is_quantity


def stack(parts: Sequence[Observation], where: str) -> Observation:
    """One observation of all objects, in the order of the parts.

    Spectra of different lengths are padded at the end: flux and inverse variance 0,
    not valid, wavelengths that go on in the same ratio.

    Args:
        parts: of one class.
        where: their modality and origin, for messages.

    Raises:
        DataError: arrays that do not fit together, or that only some parts have.
    """
    first, *rest = parts
    if not rest:
        return first
    if isinstance(first, Spectrum):
        length = max(np.shape(part.flux)[1] for part in parts)  # pyright: ignore
        parts = [_alike(part, length) for part in parts]  # pyright: ignore
    values = {}
    for name in (f.name for f in fields(first)):
        column = [getattr(part, name) for part in parts]
        values[name] = _joined(column, len(first), f"{where} {name}")
    return replace(first, **values)


def _joined(column: Sequence[Any], count: int, where: str) -> Any:
    first = column[0]
    if all(value is None for value in column):
        return None
    if any(value is None for value in column):
        raise DataError(f"{where} is in some files and not in others", "Read one kind.")
    if not hasattr(first, "shape") or not np.ndim(first) or len(first) != count:
        if any(not np.array_equal(value, first) for value in column[1:]):
            raise DataError(f"{where} differs between files", "Read one kind.")
        return first
    if is_quantity(first):
        column = [first, *[value.to(first.unit) for value in column[1:]]]
    if len({np.shape(value)[1:] for value in column}) > 1:
        shapes = sorted({str(np.shape(value)[1:]) for value in column})
        raise DataError(
            f"{where} has shapes {', '.join(shapes)}", "Read files of one kind."
        )
    return np.concatenate(column)


def _alike(part: Spectrum, length: int) -> Spectrum:
    """A spectrum of `length` pixels with a mask and a wavelength grid per object."""
    flux = np.asarray(part.flux) if not is_quantity(part.flux) else part.flux
    count, short = np.shape(flux)
    mask = np.ones((count, short), bool) if part.mask is None else part.mask
    grid, power = part.wavelength, part.resolution
    if grid is not None:
        grid = _longer(_per_object(grid, count), length)
    if power is not None and np.ndim(power):
        power = _padded(_per_object(power, count), length)
    return replace(
        part,
        flux=_padded(flux, length),
        ivar=None if part.ivar is None else _padded(part.ivar, length),
        mask=_padded(np.asarray(mask), length),
        wavelength=grid,
        resolution=power,
    )


def _per_object(values: Any, count: int) -> Any:
    if np.ndim(values) == 2:
        return values
    return np.broadcast_to(values, (count, len(values)), subok=True)


def _padded(values: Any, length: int) -> Any:
    """Zeros (or False) behind the values."""
    more = length - np.shape(values)[1]
    return np.pad(values, ((0, 0), (0, more))) if more else values


def _longer(grid: Any, length: int) -> Shaped[np.ndarray, "b l"]:
    more = length - np.shape(grid)[1]
    if not more:
        return grid
    ratio = grid[:, -1:] / grid[:, -2:-1] if np.shape(grid)[1] > 1 else 1.0
    ahead = grid[:, -1:] * ratio ** np.arange(1, more + 1)
    return np.concatenate([grid, ahead.astype(grid.dtype)], axis=1)
