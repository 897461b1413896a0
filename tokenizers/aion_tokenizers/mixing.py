# SPDX-License-Identifier: MIT
"""How a codec learns what a band is: numbers that describe it, not a place in a table.

A band of an image is wavelength, width, pixel scale, width of the PSF and depth. From
these numbers follows the matrix that a band's patches are multiplied by: a sum of
trained matrices, one for each of a dozen places along the logarithm of the wavelength,
and a few whose shares a small network finds. Bands of different colour are thus apart
from the first step (modulating one shared layer was tried, and learnt four times
slower), and any number of bands in any order can be given, also ones that no training
image had. What is decoded also has matrices by the wavelengths that a band covers, by
which bands that overlap differ. Blocks are modulated by the description (FiLM, Perez et
al. 2018, arXiv:1709.07871).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from aion.errors import DataError
from aion.instrument import Band
from aion_tokenizers.convolutions import Dense, weight

FIELDS = ("wavelength", "width", "pixel_scale", "psf_fwhm", "sampling", "depth")
"""What is told of a band, in this order, each as a logarithm of order one."""

_CENTRES = np.log([6500.0, 1200.0, 0.22, 0.95, 4.3, 1.0]).astype(np.float32)
_SPREADS = np.array([0.45, 0.5, 0.5, 0.4, 0.4, 1.0], np.float32)
_OCTAVES = (6, 2, 3, 3, 3, 2)
FEATURES = len(FIELDS) + 2 * sum(_OCTAVES)

_PLACES, _WAVELENGTHS = 12, (3400.0, 10_800.0)
_LEARNT = 8

BINS, _EDGES = 32, (3000.0, 11_500.0)
"""Of the logarithm of the wavelength, by how much of each a band covers."""

_FINE = 2.0  # scale of what a band covers, so that it learns as fast as `places`

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


def without_psf(numbers: Float[Array, "*b p"]) -> Float[Array, "*b p"]:
    """The numbers of a band with those of its PSF at their mean."""
    kept = [n not in ("psf_fwhm", "sampling") for n in FIELDS]
    return numbers * np.array(kept, np.float32)


def sampling_of(numbers: Float[Array, "*b p"]) -> Float[Array, "*b"]:
    """Pixels per FWHM of the PSF, from the numbers of a band."""
    return _in_units(numbers, "sampling")


def _in_units(numbers: Float[Array, "*b p"], name: str) -> Float[Array, "*b"]:
    """One of `FIELDS` as it was before its logarithm was standardised."""
    place = FIELDS.index(name)
    return jnp.exp(numbers[..., place] * _SPREADS[place] + _CENTRES[place])


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


class BandKernels(nnx.Module):
    """A matrix [n, m] for each band."""

    def __init__(self, n: int, m: int, told: int, rngs: nnx.Rngs) -> None:
        self.coefficients = Dense(told, _LEARNT, rngs)
        shape = (_PLACES + _LEARNT, n, m)
        values = rngs.params.normal(shape, jnp.float32) / np.sqrt(n)
        self.basis = weight(values, "plain")

    def __call__(
        self, numbers: Float[Array, "b c p"], told: Float[Array, "b c e"]
    ) -> Float[Array, "b c n m"]:
        parts = [places(numbers), 0.3 * self.coefficients(told)]
        share = jnp.concatenate(parts, axis=-1)
        return jnp.einsum("bck,knm->bcnm", share, self.basis[...])


def places(numbers: Float[Array, "*b p"]) -> Float[Array, "*b k"]:
    """Where a band lies in wavelength: Gaussians of its logarithm, of norm 1.

    Beyond both ends, near 3400 and 10,800 Angstrom, it is the last of them.
    """
    low, high = ((np.log(x) - _CENTRES[0]) / _SPREADS[0] for x in _WAVELENGTHS)
    centres = np.linspace(low, high, _PLACES).astype(np.float32)
    offset = (numbers[..., :1] - centres) / (centres[1] - centres[0])
    height = -0.5 * jnp.square(offset)
    bumps = jnp.exp(height - jnp.max(height, axis=-1, keepdims=True))
    return bumps / jnp.linalg.norm(bumps, axis=-1, keepdims=True)


def coverage(numbers: Float[Array, "*b p"]) -> Float[Array, "*b k"]:
    """Shares of a band in each of `BINS` bins of log wavelength.

    The band is taken for a box of its equivalent width around its wavelength; what is
    beyond the bins, from 3000 to 11,500 Angstrom, is in none.
    """
    middle, width = (_in_units(numbers, name) for name in ("wavelength", "width"))
    low, high = (middle - width / 2)[..., None], (middle + width / 2)[..., None]
    edges = np.geomspace(*_EDGES, BINS + 1).astype(np.float32)
    inside = jnp.minimum(high, edges[1:]) - jnp.maximum(low, edges[:-1])
    return jnp.maximum(inside, 0.0) / (high - low)


class BandsIn(nnx.Module):
    """Patches of all bands -> one vector per patch: the channel mixer of the encoder.

    Of a band's patch it takes the pixels, which of them are valid, the pixels over the
    patch's level in all bands (its shape, whatever its brightness) and the logarithm of
    that level, and sums over bands. Pixels that are not valid are zero.
    """

    def __init__(self, pixels: int, told: int, size: int, rngs: nnx.Rngs) -> None:
        self.kernels = BandKernels(3 * pixels + 2, size, told, rngs)

    def __call__(
        self,
        patches: Float[Array, "b c n p"],
        valid: Float[Array, "b c n p"],
        numbers: Float[Array, "b c q"],
        told: Float[Array, "b c e"],
    ) -> Float[Array, "b n d"]:
        flux = jnp.sinh(patches) * valid
        count = jnp.maximum(jnp.sum(valid, axis=(1, 3), keepdims=True), 1.0)
        square = jnp.sum(jnp.square(flux), axis=(1, 3), keepdims=True) / count
        level = jnp.sqrt(1.0 + square)
        seen = jnp.mean(valid, axis=-1, keepdims=True)
        parts = [patches * valid, valid, flux / level, jnp.log(level) * seen, seen]
        total = jnp.einsum(
            "bcnp,bcpd->bnd",
            jnp.concatenate(parts, axis=-1),
            self.kernels(numbers, told),
        )
        return total / jnp.sqrt(0.5 + jnp.sum(seen, axis=1))


class BandsOut(nnx.Module):
    """One vector per patch -> the patch of any band that is described.

    To the matrix of a band come those of the bins that it covers, zero at first: bands
    that overlap, and differ by a feature of the spectra, are else nearly the same.
    """

    def __init__(self, pixels: int, told: int, size: int, rngs: nnx.Rngs) -> None:
        self.kernels = BandKernels(size, pixels, told, rngs)
        self.fine = weight(jnp.zeros((BINS, size, pixels), jnp.float32), "plain")
        self.level = Dense(told, pixels, rngs)

    def __call__(
        self,
        x: Float[Array, "b n d"],
        numbers: Float[Array, "b c q"],
        told: Float[Array, "b c e"],
    ) -> Float[Array, "b c n p"]:
        level = 0.1 * self.level(told)[:, :, None]
        return self.without_level(x, numbers, told) + level

    def without_level(
        self,
        x: Float[Array, "b n d"],
        numbers: Float[Array, "b c q"],
        told: Float[Array, "b c e"],
    ) -> Float[Array, "b c n p"]:
        """What the vectors add to the level of the band; 0 for vectors of 0."""
        share = _FINE * coverage(numbers)
        fine = jnp.einsum("bck,kdp->bcdp", share, self.fine[...])
        kernels = self.kernels(numbers, told) + fine
        return jnp.einsum("bnd,bcdp->bcnp", x, kernels)
