# SPDX-License-Identifier: MIT
"""From an `Image` in a survey's units to what the network takes, and back.

Everything is in nanomaggies first, by each band's zero point. The sky's noise of a band
is that of its darker pixels, from the inverse variance wherever that is positive,
whatever the mask and the flux say; an image's scale S is the geometric mean over its
bands. S is one token, so pixels are divided by what that token says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from aion.errors import DataError
from aion.instrument import Band
from aion.observation import Image

SCALES = (-6.0, 3.0)
"""Range of log10(S / nanomaggy) that the scale token spans."""

DARK = 0.75
"""Quantile of the inverse variance that is taken for the sky's."""

LARGEST = 13.0
"""Of asinh(flux / S): 14 magnitudes above the sky's noise."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images in nanomaggies.

    Attributes:
        flux: float32 [b, c, y, x]; 0 where not valid.
        sigma: one sigma of flux; 1 where not valid.
        valid: which pixels count.
        sky: noise of the sky, [b, c]; NaN where a band is not there.
        psf_fwhm: arcsec [b, c], NaN where unknown.
        bands: the c bands.
    """

    flux: np.ndarray
    sigma: np.ndarray
    valid: np.ndarray
    sky: np.ndarray
    psf_fwhm: np.ndarray
    bands: tuple[Band, ...]

    def take(self, rows: Int[np.ndarray, " n"]) -> Self:
        """Some of the images, also more than once."""
        names = ("flux", "sigma", "valid", "sky", "psf_fwhm")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def without(self, dropped: Bool[np.ndarray, "b c"]) -> Self:
        """The same with some bands not there."""
        return replace(
            self,
            valid=self.valid & ~dropped[..., None, None],
            sky=np.where(dropped, np.nan, self.sky),
        )

    @property
    def scale(self) -> Float[np.ndarray, " b"]:
        """S in nanomaggies; NaN for an image without a band."""
        there = np.isfinite(self.sky)
        log = np.where(there, np.log(np.where(there, self.sky, 1.0)), 0.0)
        count = there.sum(axis=1)
        mean = log.sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, np.exp(mean), np.nan)

    @property
    def present(self) -> Bool[np.ndarray, " b"]:
        """Which images have a valid pixel."""
        return np.asarray(self.valid.any(axis=(1, 2, 3)))

    def brightness(self) -> Float[np.ndarray, " b"]:
        """Mean squared S/N of the valid pixels; 0 without one."""
        flux = np.where(self.valid, self.flux, 0).astype(np.float64)
        ratio = flux / np.where(self.valid, self.sigma, 1)
        count = self.valid.sum(axis=(1, 2, 3))
        return np.square(ratio).sum(axis=(1, 2, 3)) / np.maximum(count, 1)


def scale_codes(scale: Float[np.ndarray, " b"], count: int) -> Int[np.ndarray, " b"]:
    """Codes 0..count-1 of scales, equal steps in the logarithm; ends are clipped."""
    low, high = SCALES
    with np.errstate(invalid="ignore"):
        place = (np.log10(scale) - low) / (high - low) * count
    return np.clip(np.nan_to_num(place), 0, count - 1).astype(np.int32)


def scale_values(codes: Int[np.ndarray, " b"], count: int) -> Float[np.ndarray, " b"]:
    """What codes of scales stand for, nanomaggies."""
    low, high = SCALES
    return 10 ** (low + (codes + 0.5) / count * (high - low))


def units(bands: Sequence[Band]) -> Float32[np.ndarray, "c 1 1"]:
    """Units of each band per nanomaggy."""
    zero = np.array([band.zero_point for band in bands])
    return (10 ** (0.4 * (zero - 22.5))).astype(np.float32)[:, None, None]


def check_bands(bands: Sequence[Band]) -> None:
    """Bands can be told to the network.

    Raises:
        DataError: none, one without pixel scale, or different pixel scales.
    """
    if not bands:
        raise DataError(
            "image without bands", "Give bands=(aion.BANDS['DES-G'], ...) or names."
        )
    blind = [band.name for band in bands if not band.pixel_scale]
    if blind:
        raise DataError(
            f"bands {', '.join(blind)} have no pixel scale",
            "Give `pixel_scale` in arcsec per pixel in aion.Band(...).",
        )
    scales = {band.pixel_scale or 0.0 for band in bands}
    if len(scales) > 1:
        raise DataError(
            f"bands with pixel scales of {sorted(scales)} arcsec in one image",
            "Encode images of one pixel grid together.",
        )


def read_pixels(image: Image) -> Pixels:
    """An image in nanomaggies, with what is known of its noise.

    A pixel is valid where flux is finite, the mask is True and ivar is positive.
    Without `ivar` the noise of a band is 1.4826 times the median distance of its pixels
    from their median, the same in all; a band where that is 0 is not there.

    Args:
        image: in the units of its bands.

    Raises:
        DataError: no bands, negative ivar, or arrays whose shapes do not fit.
    """
    check_bands(image.bands)
    unit = units(image.bands)
    raw = np.asarray(image.flux).astype(np.float32)
    if min(raw.shape[2:], default=0) < 1:
        raise DataError(f"image of shape {raw.shape}", "Give at least one pixel.")
    valid = np.isfinite(raw)
    if image.mask is not None:
        valid &= np.asarray(image.mask).astype(bool)
    if image.ivar is None:
        sky = _noise_of(raw, valid)
        ivar = np.broadcast_to((sky**-2.0)[..., None, None], raw.shape)
    else:
        ivar = np.asarray(image.ivar).astype(np.float32)
        if np.any(ivar < 0):
            raise DataError(
                "image with negative ivar", "Give inverse variances, 0 where unknown."
            )
        sky = _noise_from(ivar)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = (ivar > 0) & np.isfinite(ivar)
        valid &= known
        sigma = np.where(valid, 1 / np.sqrt(ivar), np.float32(1)) / unit
    flux = np.where(valid, raw, np.float32(0)) / unit
    return Pixels(
        flux.astype(np.float32),
        np.where(valid, sigma, 1).astype(np.float32),
        valid,
        sky / unit[:, 0, 0],
        _fwhm(image.psf_fwhm, raw.shape[:2]),
        image.bands,
    )


def _fwhm(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    if given is None:
        return np.full(shape, np.nan)
    fwhm = np.asarray(given, np.float64)
    if fwhm.shape != shape:
        raise DataError(
            f"psf_fwhm has shape {fwhm.shape} for images {shape}",
            "Give arcsec as [batch, band].",
        )
    return fwhm


def _noise_from(ivar: Float[np.ndarray, "b c y x"]) -> Float[np.ndarray, "b c"]:
    """Sky noise by inverse variance; NaN where none is positive."""
    count, bands, rows, columns = ivar.shape
    flat = ivar.reshape(count, bands, rows * columns)
    good = (flat > 0) & np.isfinite(flat)
    ordered = np.sort(np.where(good, flat, np.float32(np.inf)), axis=-1)
    known = good.sum(axis=-1)
    place = np.floor(DARK * np.maximum(known - 1, 0)).astype(int)
    chosen = np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]
    safe = np.where(known > 0, chosen, 1).astype(np.float64)
    return np.where(known > 0, safe**-0.5, np.nan)


def _noise_of(
    flux: Float[np.ndarray, "b c y x"], valid: Bool[np.ndarray, "b c y x"]
) -> Float[np.ndarray, "b c"]:
    """Sky noise by the scatter of pixels; NaN where there is none."""
    noise = np.full(flux.shape[:2], np.nan)
    for place in np.argwhere(valid.any(axis=(2, 3))).tolist():
        b, c = place
        values = flux[b, c][valid[b, c]].astype(np.float64)
        spread = 1.4826 * np.median(np.abs(values - np.median(values)))
        noise[b, c] = spread if spread > 0 else np.nan
    return noise
