# SPDX-License-Identifier: MIT
"""Spectra from any pixels onto the codec's grid in log wavelength, and back.

The grid is even in ln(wavelength): a redshift is a shift. Coordinates here are cells of
the grid: cell j reaches from j to j + 1. Every pixel is an interval, half way to its
nearer neighbour on both sides, so that gaps belong to nobody.

Onto the grid, a pixel's inverse variance is shared out by the part of the pixel in each
cell, and a cell's flux is the mean weighted by these shares: flux is conserved, and a
pixel without weight has none. Back, flux density is taken to be linear between the
middles of cells and is averaged over the asked pixel.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32

from aion.errors import ConfigError, DataError

Values = Any
"""Arrays of numpy or of JAX."""


@dataclass(frozen=True)
class LogGrid:
    """A grid even in ln(wavelength).

    Attributes:
        low, high: its ends, vacuum, Angstrom.
        cells: how many.

    Raises:
        ConfigError: no cells, or an empty range.
    """

    low: float = 3500.0
    high: float = 10500.0
    cells: int = 8704

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high and self.cells > 1):
            raise ConfigError(
                f"{self.cells} cells from {self.low} to {self.high} Angstrom",
                "Give 0 < low < high and two cells or more.",
            )

    @property
    def step(self) -> float:
        """Width of a cell in ln(wavelength)."""
        return float(np.log(self.high / self.low) / self.cells)

    @property
    def wavelength(self) -> Float64[np.ndarray, " l"]:
        """Middles of the cells, Angstrom."""
        return self.low * np.exp((np.arange(self.cells) + 0.5) * self.step)

    def place(self, wavelength: np.ndarray) -> Float64[np.ndarray, "..."]:
        """Coordinates of wavelengths."""
        return np.log(np.asarray(wavelength, np.float64) / self.low) / self.step


@dataclass(frozen=True, eq=False)
class Pixels:
    """Rows of pixels as intervals, real ones first.

    Attributes:
        order: pixel of the spectrum that stands at each place, int [r, l].
        low, high: ends in cells of the grid, float64 [r, l]; both infinite in padding.

    There is one row for all objects, or one per object.
    """

    order: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def real(self) -> Bool[np.ndarray, "r l"]:
        """False for padding."""
        return np.isfinite(self.low)


def checked_rows(wavelength: Any, length: int, count: int) -> np.ndarray:
    """Wavelengths as float64 rows [1, l] or [b, l].

    Raises:
        DataError: missing, or another shape than the fluxes.
    """
    if wavelength is None:
        raise DataError("spectrum without wavelength", "Give it in Angstrom.")
    rows = np.atleast_2d(np.ma.filled(np.ma.asarray(wavelength, np.float64), np.nan))
    if rows.ndim != 2 or rows.shape[1] != length or len(rows) not in (1, count):
        raise DataError(
            f"wavelength has shape {np.shape(wavelength)} for {count} spectra of "
            f"{length} pixels",
            "Give [wavelength] or [batch, wavelength].",
        )
    return rows


def pixel_intervals(rows: Float64[np.ndarray, "r l"], grid: LogGrid) -> Pixels:
    """Pixels around wavelengths.

    Args:
        rows: Angstrom; what is no positive number is padding, wherever it stands.
        grid: in whose cells ends are given.

    Raises:
        DataError: the real wavelengths of a row do not increase.
    """
    real = np.isfinite(rows) & (rows > 0)
    order = np.argsort(~real, axis=1, kind="stable")
    there = np.take_along_axis(real, order, axis=1)
    sorted_rows = np.take_along_axis(np.where(real, rows, 1.0), order, axis=1)
    place = grid.place(sorted_rows)
    gap = np.diff(place, axis=1)
    both = there[:, 1:] & there[:, :-1]
    if np.any(both & (gap <= 0)):
        row = int(np.argmax(np.any(both & (gap <= 0), axis=1)))
        raise DataError(
            f"wavelengths of object {row} do not increase",
            "Sort the spectrum by wavelength and drop repeated ones.",
        )
    gap = np.where(both, gap, np.inf)
    edge = np.full((len(rows), 1), np.inf)
    half = np.minimum(np.hstack([edge, gap]), np.hstack([gap, edge])) / 2
    half = np.where(np.isfinite(half), half, 0.5)  # a lone pixel is as wide as a cell
    low = np.where(there, place - half, np.inf)
    return Pixels(order, low, np.where(there, place + half, np.inf))


@dataclass(frozen=True, eq=False)
class Taps:
    """A sparse matrix: entry [r, n, k] is the k-th neighbour of target n.

    Attributes:
        index: which source, int32 [r, n, k].
        weight: with which weight, float32 [r, n, k].
    """

    index: Int32[np.ndarray, "r n k"]
    weight: Float32[np.ndarray, "r n k"]


def onto_grid(pixels: Pixels, grid: LogGrid, taps: int | None = None) -> Taps:
    """The part of each pixel that lies in each cell.

    Args:
        pixels: sources, after `Pixels.order`.
        grid: targets.
        taps: neighbours per target; as many as needed by default, a power of two.

    Raises:
        DataError: more are needed than `taps`.
    """
    edges = np.arange(grid.cells + 1, dtype=np.float64)
    first, last = [], []
    for low, high in zip(pixels.low, pixels.high, strict=True):
        first.append(np.searchsorted(high, edges[:-1], side="right"))
        last.append(np.searchsorted(low, edges[1:], side="left"))
    start, stop = np.stack(first), np.stack(last)
    index, used = _neighbours(start, stop, taps, pixels.low.shape[1])
    low, high = _picked(pixels.low, index), _picked(pixels.high, index)
    overlap = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    used = used & np.isfinite(low) & (overlap > 0)
    with np.errstate(invalid="ignore"):
        share = np.where(used, overlap / (high - low), 0.0)
    return Taps(index, share.astype(np.float32))


def from_grid(pixels: Pixels, grid: LogGrid, taps: int | None = None) -> Taps:
    """The mean over each pixel of what is linear between the middles of cells.

    Args:
        pixels: targets, after `Pixels.order`.
        grid: sources.
        taps: neighbours per target; as many as needed by default, a power of two.

    Raises:
        DataError: more are needed than `taps`.
    """
    real = pixels.real
    low = np.where(real, np.clip(pixels.low, 0, grid.cells), 0.0)
    high = np.where(real, np.clip(pixels.high, 0, grid.cells), 1.0)
    # A pixel beyond the grid has no width left; it gets the value at the edge.
    high = np.maximum(high, low + 1e-6)
    start = np.clip(np.floor(low - 0.5).astype(np.int64), 0, grid.cells - 1)
    stop = np.clip(np.floor(high - 0.5).astype(np.int64) + 2, 1, grid.cells)
    index, used = _neighbours(start, stop, taps, grid.cells)
    middle = index + 0.5
    part = _hat(high[..., None] - middle) - _hat(low[..., None] - middle)
    # Up to the first and beyond the last middle flux is constant.
    part += np.where(index == 0, _before(low, high)[..., None], 0.0)
    ends = _before(grid.cells - high, grid.cells - low)
    part += np.where(index == grid.cells - 1, ends[..., None], 0.0)
    part = np.where(used & real[..., None], part, 0.0)
    total = part.sum(axis=-1, keepdims=True)
    weight = part / np.where(total > 0, total, 1.0)
    return Taps(index, weight.astype(np.float32))


def _hat(x: np.ndarray) -> np.ndarray:
    """Integral from below of a triangle of height 1 between -1 and 1."""
    x = np.clip(x, -1.0, 1.0)
    return np.where(x < 0, 0.5 * (x + 1) ** 2, 1 - 0.5 * (1 - x) ** 2)


def _before(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What the first triangle lacks of one, over [low, high] below 1/2."""
    a, b = np.minimum(low, 0.5), np.minimum(high, 0.5)
    return 0.5 * ((0.5 - a) ** 2 - (0.5 - b) ** 2)


def _neighbours(
    start: np.ndarray, stop: np.ndarray, taps: int | None, sources: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices start, start + 1, ... of each target, and which lie before stop."""
    most = int(np.max(stop - start, initial=1))
    size = taps or 1 << max(most - 1, 0).bit_length()
    if most > size:
        raise DataError(
            f"pixels with {most} neighbours for {size} taps",
            "Train on spectra with wider or narrower pixels, or give more taps.",
        )
    index = start[..., None] + np.arange(size)
    used = index < stop[..., None]
    return np.clip(index, 0, sources - 1).astype(np.int32), used


def _picked(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    flat = index.reshape(len(index), -1)
    return np.take_along_axis(values, flat, axis=1).reshape(index.shape)


def _namespace(values: Any) -> Any:
    """numpy for its arrays: spectra of every length, and nothing is compiled."""
    return np if isinstance(values, np.ndarray) else jnp


def gathered(values: Values, index: Int32[Any, "r m k"]) -> Float[Any, "b m k"]:
    """The neighbours of each target; one row of indices serves all objects.

    Args:
        values: of numpy or of JAX, [b, n]; and so is the result.
        index: of `Taps`.
    """
    xp = _namespace(values)
    count = index.shape[1] * index.shape[2]
    flat = xp.broadcast_to(index.reshape(-1, count), (values.shape[0], count))
    found = xp.take_along_axis(values, flat, axis=1)
    return found.reshape(values.shape[0], *index.shape[1:])


def rebinned(
    flux: Values, ivar: Values, index: Int32[Any, "r n k"], share: Float[Any, "r n k"]
) -> tuple[Values, Values]:
    """Flux and inverse variance of the cells [b, n]; both 0 in cells without data.

    Args:
        flux: finite, sorted as `Pixels.order` says, [b, l].
        ivar: 0 where a pixel has no weight, [b, l].
        index, share: of `onto_grid`.
    """
    xp = _namespace(flux)
    weights = gathered(ivar, index) * share
    total = xp.sum(weights, axis=-1)
    mean = xp.sum(weights * gathered(flux, index), axis=-1)
    return xp.where(total > 0, mean / xp.where(total > 0, total, 1.0), 0.0), total


def sampled(
    values: Values, index: Int32[Any, "r l k"], weight: Float[Any, "r l k"]
) -> Values:
    """Values of cells [b, n] averaged over pixels [b, l]; see `from_grid`."""
    return (gathered(values, index) * weight).sum(axis=-1)
