# SPDX-License-Identifier: MIT
"""What the spectrum codec makes of a spectrum before its network sees it."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from aion.errors import DataError
from aion.observation import Observation, Spectrum
from aion_tokenizers.spectrum_grid import (
    Pixels,
    checked_rows,
    pixel_intervals,
)
from aion_tokenizers.spectrum_network import SpectrumSizes

LARGEST = 12.0
"""Of asinh(flux / norm), either way: fluxes of 80,000 norms."""

_HIGH, _CONTRAST = 0.98, 4.0  # fluxes beyond are rare in training, and come out flat
_FLUX, _IVAR = 1e6, 1e12  # in units of the norm: beyond, float32 would overflow
_POWER = 2500.0


@dataclass(frozen=True, eq=False)
class Seen:
    """Spectra ready to be rebinned; pixels sorted so that real ones are first.

    Attributes:
        flux: over the norm, 0 where not valid, float32 [b, l].
        ivar: times the square of the norm, 0 where not valid, float32 [b, l].
        pixels: where they are.
        code: of the norm, int32 [b]; of any value for absent spectra.
        norm: before it was quantized, [b].
        present: whether a pixel is valid, [b].
        told: which spectrograph, float32 [b, t, p].
    """

    flux: Float32[np.ndarray, "b l"]
    ivar: Float32[np.ndarray, "b l"]
    pixels: Pixels
    code: Int32[np.ndarray, " b"]
    norm: Float64[np.ndarray, " b"]
    present: Bool[np.ndarray, " b"]
    told: Float32[np.ndarray, "b t p"]


def norm_values(codes: np.ndarray, sizes: SpectrumSizes) -> Float64[np.ndarray, " b"]:
    """The norms that codes 0, 1, ... stand for: even in the logarithm."""
    low, high = sizes.norm_range
    return 10 ** (low + (np.asarray(codes) + 0.5) * (high - low) / sizes.norms)


def norm_codes(norms: np.ndarray, sizes: SpectrumSizes) -> Int32[np.ndarray, " b"]:
    """Codes of norms, clipped at both ends."""
    low, high = sizes.norm_range
    place = (np.log10(np.maximum(norms, 1e-300)) - low) / (high - low) * sizes.norms
    return np.clip(np.floor(place), 0, sizes.norms - 1).astype(np.int32)


def read_spectrum(observation: Observation, sizes: SpectrumSizes) -> Seen:
    """Spectra over their norms, with what may have influence.

    The norm is the root of the squares of the median flux, if positive, and of the
    median error; or, if that is more, a part of the flux that 2 % of the pixels surely
    exceed, as the median of a cool star says little of its red end.

    A pixel without influence: not finite, masked, without positive ivar, with a
    wavelength that is no positive number, or outside the grid. Spectra without ivar
    get one value of it from the differences of neighbouring pixels.

    Args:
        observation: spectra.
        sizes: of the codec.

    Raises:
        DataError: no spectra, a negative ivar, wavelengths that are missing, of another
            shape or not increasing, a resolution of another shape.
    """
    if not isinstance(observation, Spectrum):
        raise DataError(
            f"a spectrum codec cannot encode {type(observation).__name__}",
            "Give an aion.Spectrum.",
        )
    flux = _plain(observation.flux)
    count, length = flux.shape
    rows = checked_rows(observation.wavelength, length, count)
    pixels = pixel_intervals(rows, sizes.grid)
    valid = np.isfinite(flux) & np.isfinite(rows) & (rows > 0)
    if observation.mask is not None:
        valid &= np.asarray(observation.mask, bool)
    inside = (rows > sizes.grid.low) & (rows < sizes.grid.high)
    valid &= inside
    ivar = _inverse_variance(observation.ivar, flux, valid)
    valid &= ivar > 0
    flux, ivar = np.where(valid, flux, 0.0), np.where(valid, ivar, 0.0)
    norm = _norms(flux, ivar, valid)
    code = norm_codes(norm, sizes)
    scale = norm_values(code, sizes)[:, None]
    order = np.broadcast_to(pixels.order, flux.shape)
    flux = np.clip(flux / scale, -_FLUX, _FLUX)
    ivar = np.where(valid, np.clip(ivar * scale**2, 1 / _IVAR, _IVAR), 0.0)
    return Seen(
        np.take_along_axis(flux, order, axis=1).astype(np.float32),
        np.take_along_axis(ivar, order, axis=1).astype(np.float32),
        pixels,
        code,
        norm,
        np.any(valid, axis=1),
        told_power(observation.resolution, rows, count, sizes),
    )


def _plain(values: Any) -> Float64[np.ndarray, "b l"]:
    return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


def _inverse_variance(
    given: Any, flux: np.ndarray, valid: np.ndarray
) -> Float64[np.ndarray, "b l"]:
    if given is not None:
        ivar = _plain(given)
        if np.any(ivar < 0):
            raise DataError(
                "a spectrum with a negative ivar",
                "Give the inverse variance, 0 where it is unknown.",
            )
        return np.where(np.isfinite(ivar), ivar, 0.0)
    both = valid[:, 1:] & valid[:, :-1]
    jumps = _quantiles(np.abs(np.diff(np.where(valid, flux, 0.0), axis=1)), both)
    level = _quantiles(np.abs(np.where(valid, flux, 0.0)), valid)
    sigma = np.maximum(jumps / (0.6745 * np.sqrt(2)), 1e-3 * level + 1e-12)
    return np.where(valid, sigma[:, None] ** -2.0, 0.0)


def _norms(
    flux: np.ndarray, ivar: np.ndarray, valid: np.ndarray
) -> Float64[np.ndarray, " b"]:
    sigma = 1 / np.sqrt(np.where(valid, ivar, 1.0))
    level = np.maximum(_quantiles(flux, valid), 0.0)
    usual = np.hypot(level, _quantiles(sigma, valid))
    return np.maximum(usual, _quantiles(flux - 3 * sigma, valid, _HIGH) / _CONTRAST)


def _quantiles(
    values: np.ndarray, valid: np.ndarray, share: float = 0.5
) -> Float64[np.ndarray, " b"]:
    """A quantile of each row's valid values, the lower one of two; 0 without any."""
    if not values.shape[1]:
        return np.zeros(len(values))
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    place = np.floor(share * np.maximum(valid.sum(axis=1) - 1, 0)).astype(int)
    found = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    return np.where(valid.any(axis=1), found, 0.0)


def told_power(
    resolution: Any, rows: Float64[np.ndarray, "r l"] | None, count: int, sizes: Any
) -> Float32[np.ndarray, "b t p"]:
    """What the network is told of a spectrograph, for each token.

    Two numbers: whether the resolving power is known, and its logarithm over 2,500.
    Beyond the first and last pixel the power is theirs.

    Args:
        resolution: None, a number, [l] or [b, l]; not known where it is no positive
            number.
        rows: wavelengths, [1, l] or [b, l]; None for a resolution that is a number.
        count: objects.
        sizes: of the codec.

    Raises:
        DataError: a resolution of another shape.
    """
    told = np.zeros((count, sizes.tokens, 2), np.float32)
    if resolution is None:
        return told
    power = np.asarray(resolution, np.float64)
    middle = (np.arange(sizes.tokens) + 0.5) * sizes.cells
    if power.ndim == 0:
        lines = np.full((1, sizes.tokens), float(power))
    else:
        if rows is None or power.shape not in (rows.shape[1:], (count, rows.shape[1])):
            raise DataError(
                f"resolution has shape {power.shape} for {count} spectra",
                "Give a number, [wavelength] or [batch, wavelength].",
            )
        power = np.atleast_2d(power)
        if (
            len(power) > 1
            and len(rows) == 1
            and np.array_equal(power, power[:1] + 0 * power)
        ):
            power = power[:1]
        pairs = [
            (power[b % len(power)], rows[b % len(rows)])
            for b in range(max(len(power), len(rows)))
        ]
        lines = np.stack([_at_tokens(*pair, middle, sizes) for pair in pairs])
    known = np.isfinite(lines) & (lines > 0)
    told[..., 0] = known
    told[..., 1] = np.log(np.where(known, lines, _POWER) / _POWER)
    return told


def _at_tokens(
    power: np.ndarray, row: np.ndarray, middle: np.ndarray, sizes: SpectrumSizes
) -> np.ndarray:
    good = np.isfinite(row) & (row > 0) & np.isfinite(power) & (power > 0)
    if not good.any():
        return np.full(len(middle), np.nan)
    place = sizes.grid.place(np.where(good, row, 1.0))[good]
    return np.interp(middle, place, power[good])


def cell_channels(flux: Any, ivar: Any) -> Any:
    """The numbers of a cell that the network sees, [b, n, 4]; 0 without data.

    Args:
        flux, ivar: of `spectrum_grid.rebinned`, over the norm; of numpy or of JAX.
    """
    xp = np if isinstance(flux, np.ndarray) else jnp
    there = ivar > 0
    error = xp.sqrt(xp.where(there, ivar, 1.0))
    parts = [
        xp.arcsinh(flux),
        0.3 * xp.arcsinh(flux * error),
        0.5 * xp.log(error),
        xp.ones_like(flux),
    ]
    return xp.stack([xp.where(there, part, 0.0) for part in parts], axis=-1)
