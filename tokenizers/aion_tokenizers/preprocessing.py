# SPDX-License-Identifier: MIT
"""What AION-1 does to arrays before its networks, on the host and never in place."""

import numpy as np
from jaxtyping import Bool, Float, Float32

from aion.errors import DataError


def centre_crop(
    values: np.ndarray, size: int, *, official_quirks: bool = False
) -> np.ndarray:
    """The central size x size pixels of [..., y, x].

    Args:
        values: images.
        size: pixels along both axes of the result.
        official_quirks: take what AION-1's slice takes of images that are smaller.

    Raises:
        DataError: an image is smaller.
    """
    height, width = values.shape[-2:]
    if min(height, width) < size and not official_quirks:
        raise DataError(
            f"images of {height} x {width} pixels, the codec takes {size} x {size}",
            f"Give images of at least {size} pixels along both axes.",
        )
    y, x = (height - size) // 2, (width - size) // 2
    return values[..., y : y + size, x : x + size]


def compress(
    flux: Float[np.ndarray, "..."], factor: float, gain: float
) -> Float32[np.ndarray, "..."]:
    """gain factor asinh(flux / factor): linear below `factor`, logarithmic beyond."""
    small = np.float32(factor)
    return np.arcsinh(flux / small) * small * np.float32(gain)


def decompress(
    values: Float[np.ndarray, "..."], factor: float, gain: float
) -> Float32[np.ndarray, "..."]:
    """The inverse of `compress`."""
    small = np.float32(factor)
    return np.sinh(values / np.float32(gain) / small) * small


def resample(
    place: Float[np.ndarray, "#b l"],
    values: Float[np.ndarray, "b c l"],
    new: Float[np.ndarray, "#b m"],
    outside: float = 0.0,
) -> Float[np.ndarray, "b c m"]:
    """Values at new places by linear interpolation; no smoothing.

    Args:
        place: increasing, one row for all objects or one per object.
        values: c series per object.
        new: where values are wanted, one row for all or one per object.
        outside: what stands before the first and after the last place.
    """
    if len(place) == len(new) == 1:
        return _interpolated(place[0], values, new[0], outside)
    rows = [
        _interpolated(
            place[min(b, len(place) - 1)],
            values[b],
            new[min(b, len(new) - 1)],
            outside,
        )
        for b in range(len(values))
    ]
    return np.stack(rows)


def _interpolated(
    place: np.ndarray, values: np.ndarray, new: np.ndarray, outside: float
) -> np.ndarray:
    left = np.clip(np.searchsorted(place, new) - 1, 0, len(place) - 2)
    width = place[:-1] - place[1:]
    slope = (values[..., :-1] - values[..., 1:]) / width
    found = values[..., left] + (new - place[left]) * slope[..., left]
    found[..., (new < place[0]) | (new > place[-1])] = outside
    return found


def checked_wavelengths(
    wavelength: np.ndarray, length: int
) -> Float32[np.ndarray, "..."]:
    """Wavelengths as float32 rows [1, l] or [b, l].

    Raises:
        DataError: another shape.
    """
    rows = np.atleast_2d(np.asarray(wavelength, np.float32))
    if rows.ndim != 2 or rows.shape[1] != length:
        raise DataError(
            f"wavelength has shape {np.shape(wavelength)} for {length} fluxes",
            "Give [wavelength] or [batch, wavelength].",
        )
    return rows


def check_increasing(rows: np.ndarray) -> None:
    """Checks rows of wavelengths.

    Raises:
        DataError: not finite or not increasing; names the object.
    """
    bad = ~(np.isfinite(rows).all(-1) & (np.diff(rows) > 0).all(-1))
    if bad.any() or rows.shape[-1] < 2:
        row = int(np.argmax(bad))
        raise DataError(
            f"wavelengths of object {row} do not increase",
            "Sort the spectrum by wavelength and drop repeated or missing ones.",
        )


def real_pixels(rows: Float[np.ndarray, "b l"]) -> Bool[np.ndarray, "b l"]:
    """False for padding: wavelengths that are not positive numbers."""
    return np.isfinite(rows) & (rows > 0)
