# SPDX-License-Identifier: MIT
"""How a codec learns what a band is: numbers that describe it, not a place in a table.

A band of an image is wavelength, width, pixel scale, width of the PSF and depth. These
become Fourier features and then a vector, which modulates what the shared layers do
with the band's pixels (FiLM, Perez et al. 2018, arXiv:1709.07871). Any number of bands
in any order can be given, also ones that no training image had.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from aion.errors import DataError
from aion.instrument import Band
from aion_tokenizers.convolutions import Dense

FIELDS = ("wavelength", "width", "pixel_scale", "psf_fwhm", "sampling", "depth")
"""What is told of a band, in this order, each as a logarithm of order one."""

_CENTRES = np.log([6500.0, 1200.0, 0.22, 0.95, 4.3, 1.0]).astype(np.float32)
_SPREADS = np.array([0.45, 0.5, 0.5, 0.4, 0.4, 1.0], np.float32)
_OCTAVES = (6, 2, 3, 3, 3, 2)
FEATURES = len(FIELDS) + 2 * sum(_OCTAVES)

TYPICAL_SAMPLING = 4.3
"""Pixels per FWHM of the PSF where nobody says how wide it is."""


def describe_bands(
    bands: Sequence[Band],
    psf_fwhm: Float[np.ndarray, "b c"] | None,
    depth: Float[np.ndarray, "b c"] | None,
    count: int | None = None,
) -> Float32[np.ndarray, "b c p"]:
    """The numbers of `FIELDS` for each image and band, standardised.

    Args:
        bands: the c bands.
        psf_fwhm: arcsec; where missing or not positive it is `TYPICAL_SAMPLING` pixels.
        depth: sky noise of the band over that of all bands, per pixel; 1 where it is
            missing or not positive.
        count: b, where neither of the two tells it.

    Raises:
        DataError: a band without a pixel scale.
    """
    blind = [band.name for band in bands if not band.pixel_scale]
    if blind:
        raise DataError(
            f"bands {', '.join(blind)} have no pixel scale",
            "Give `pixel_scale` in arcsec per pixel in aion.Band(...).",
        )
    fixed = np.array([[b.wavelength, b.width, b.pixel_scale] for b in bands])
    given = psf_fwhm if depth is None else depth
    shape = (count or 1, len(bands)) if given is None else given.shape
    fixed = np.broadcast_to(fixed, (*shape, 3)).astype(np.float64)
    scale = fixed[..., 2]
    fwhm = np.full(shape, np.nan) if psf_fwhm is None else np.asarray(psf_fwhm)
    level = np.ones(shape) if depth is None else np.asarray(depth, np.float64)
    level = np.where(np.isfinite(level) & (level > 0), level, 1.0)
    known = np.isfinite(fwhm) & (fwhm > 0)
    fwhm = np.where(known, fwhm, TYPICAL_SAMPLING * scale)
    values = np.concatenate([fixed, np.stack([fwhm, fwhm / scale, level], -1)], axis=-1)
    return ((np.log(values) - _CENTRES) / _SPREADS).astype(np.float32)


def pixel_scale_alone(numbers: Float[Array, "*b p"]) -> Float[Array, "*b p"]:
    """The numbers of a band with all but the pixel scale at their mean."""
    return numbers * np.array([n == "pixel_scale" for n in FIELDS], np.float32)


def band_features(numbers: Float[Array, "*b p"]) -> Float[Array, "*b q"]:
    """The numbers themselves, and sines and cosines of them from coarse to fine."""
    parts = [numbers]
    for place, octaves in enumerate(_OCTAVES):
        turns = (0.5 * np.pi * 2.0 ** np.arange(octaves)).astype(np.float32)
        phase = numbers[..., place, None] * turns
        parts += [jnp.sin(phase), jnp.cos(phase)]
    return jnp.concatenate(parts, axis=-1)


class Description(nnx.Module):
    """From the numbers of a band to the vector that modulates layers."""

    def __init__(self, size: int, rngs: nnx.Rngs) -> None:
        self.first = Dense(FEATURES, size, rngs)
        self.second = Dense(size, size, rngs)

    def __call__(self, numbers: Float[Array, "*b p"]) -> Float[Array, "*b e"]:
        hidden = jax.nn.gelu(self.first(band_features(numbers)))
        return jax.nn.gelu(self.second(hidden))


class Modulation(nnx.Module):
    """x times (1 + a) plus b, with a and b linear in a vector; starts as x."""

    def __init__(self, told: int, size: int, rngs: nnx.Rngs) -> None:
        self.both = Dense(told, 2 * size, rngs)

    def __call__(
        self, x: Float[Array, "*#b d"], told: Float[Array, "*#b e"]
    ) -> Float[Array, "*c d"]:
        factor, shift = jnp.split(self.both(told), 2, axis=-1)
        return x * (1.0 + factor) + shift


class BandsIn(nnx.Module):
    """Patches of all bands -> one vector per patch: the channel mixer of the encoder.

    Each band's patch passes the same two layers, modulated by the band, and is weighed
    per output channel by the band before the sum over bands. Pixels that are not valid
    are zero, and the layers are told which they are.
    """

    def __init__(self, pixels: int, told: int, size: int, rngs: nnx.Rngs) -> None:
        self.embed = Dense(2 * pixels, size, rngs)
        self.modulate = Modulation(told, size, rngs)
        self.widen = Dense(size, size, rngs)
        self.gate = Dense(told, size, rngs)

    def __call__(
        self,
        patches: Float[Array, "b c n p"],
        valid: Float[Array, "b c n p"],
        told: Float[Array, "b c e"],
    ) -> Float[Array, "b n d"]:
        both = jnp.concatenate([patches * valid, valid], axis=-1)
        hidden = self.modulate(self.embed(both), told[:, :, None])
        hidden = self.widen(jax.nn.gelu(hidden)) * self.gate(told)[:, :, None]
        seen = jnp.mean(valid, axis=-1, keepdims=True)
        total = jnp.sum(hidden * seen, axis=1)
        return total / jnp.sqrt(0.5 + jnp.sum(seen, axis=1))


class BandsOut(nnx.Module):
    """One vector per patch -> the patch of any band that is described."""

    def __init__(self, pixels: int, told: int, size: int, rngs: nnx.Rngs) -> None:
        self.widen = Dense(size, size, rngs)
        self.modulate = Modulation(told, size, rngs)
        self.gate = Dense(told, size, rngs)
        self.pixels = Dense(size, pixels, rngs)
        # The output is an asinh: what starts large is huge in sigmas.
        self.pixels.weight[...] = 0.1 * self.pixels.weight[...]

    def __call__(
        self, x: Float[Array, "b n d"], told: Float[Array, "b c e"]
    ) -> Float[Array, "b c n p"]:
        hidden = self.modulate(self.widen(x)[:, None], told[:, :, None])
        hidden = jax.nn.gelu(hidden) * (1.0 + self.gate(told)[:, :, None])
        return self.pixels(hidden)
