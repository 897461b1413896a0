# SPDX-License-Identifier: MIT
"""Our image codec: one model for all cameras, told what each band is.

Tokens of an image: one for its scale S (noise of the sky) and the wings of its PSF,
then one for each patch, in raster order. Codes of patches come first, codes of scales
and wings behind them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32

from aion.config import to_dataclass
from aion.errors import ArtefactError, ConfigError, DataError
from aion.instrument import BANDS, INSTRUMENTS, Band, find_band
from aion.modality import Modality
from aion.observation import Image, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.batches import cached, checked_codes, in_batches
from aion_tokenizers.image_network import ImageConfig, ImageNetwork
from aion_tokenizers.image_pixels import (
    LARGEST,
    Pixels,
    check_bands,
    read_pixels,
    scale_codes,
    scale_values,
    units,
)
from aion_tokenizers.mixing import describe_bands
from aion_tokenizers.network_state import filled_network, network_arrays
from aion_tokenizers.quantization import Quantizer, plain_sizes
from aion_tokenizers.refinement import Data, refined
from aion_tokenizers.wings import wing_codes, wing_latents

_TYPICAL_SCALE = 0.25  # arcsec per pixel of a survey without a camera in the table
_HALF = 25.6  # arcsec to the edge of the square whose coordinates slots are told in


def padded(array: np.ndarray, patch: int) -> np.ndarray:
    """Zeros below and to the right, so that both sides are multiples of the patch."""
    more = [-side % patch for side in array.shape[2:]]
    return np.pad(array, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))


def network_inputs(pixels: Pixels, config: ImageConfig) -> tuple[np.ndarray, ...]:
    """asinh(flux / S), which pixels are valid, their noise, and the bands in numbers.

    Returns:
        float32 [b, c, y, x], three of them, with sides that are multiples of the patch,
        and float32 [b, c, p] as encoder and decoder are told.
    """
    scale = quantized_scale(pixels, config)
    unit = scale[:, None, None, None].astype(np.float32)
    numbers = describe_bands(pixels.bands, pixels.psf_fwhm, pixels.sky / scale[:, None])
    return (
        padded(np.arcsinh(pixels.flux / unit), config.patch),
        padded(pixels.valid.astype(np.float32), config.patch),
        padded(pixels.sigma / unit, config.patch),
        numbers,
        describe_bands(pixels.bands, pixels.psf_fwhm, None),
    )


def quantized_scale(pixels: Pixels, config: ImageConfig) -> np.ndarray:
    """S as its token says, nanomaggies [b]; any value for an image without bands."""
    return scale_values(scale_codes(pixels.scale, config.scales), config.scales)


@dataclass(frozen=True, eq=False)
class ImageCodec:
    """Images of any bands and any size in 1 + rows x columns tokens.

    A pixel without influence: not finite, masked, or without (positive) ivar. It does
    not even say that its band exists. An image without any valid pixel is absent.
    Images whose sides are no multiples of the patch get invalid pixels below and to
    the right, which decoding cuts off again. With `config.refine` latents are improved
    against the image before they are rounded, which takes most of the time; without,
    codes come from the encoder alone.

    Attributes:
        config: sizes.
        network: trained.
        size: side of the images of a modality, for `spec`.
    """

    word: ClassVar[str] = "image"
    config: ImageConfig
    network: ImageNetwork
    size: int = 96

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> Any:
        """The training task.

        Args:
            settings: of `image_task.ImageTask`; with `pool`, of `image_fit.ImageFit`;
                with `added`, of `image_encoder.ImageEncoderFit`.
        """
        if "pool" in settings:
            from aion_tokenizers.image_fit import ImageFit

            return to_dataclass(ImageFit, settings, "codec")
        if "added" in settings:
            from aion_tokenizers.image_encoder import ImageEncoderFit

            return to_dataclass(ImageEncoderFit, settings, "codec")
        from aion_tokenizers.image_task import ImageTask

        return to_dataclass(ImageTask, settings, "codec")

    def with_refinement(
        self, steps: int, turns: int = 0, passes: int = 0
    ) -> "ImageCodec":
        """The codec with another number of steps of `refinement`, in `encode`.

        Codes decode as before. With 0, encoding is hundreds of times faster, and far
        less exact.

        Args:
            steps: of descent; at most, where there are turns.
            turns: in which codes are settled after them, see `settling`.
            passes: of `code_search` after those; none without turns.
        """
        config = replace(self.config, refine=steps, settle=turns, search=passes)
        return replace(self, config=config)

    @property
    def quantizer(self) -> Quantizer:
        """Latents to codes."""
        return self.network.quantizer

    @property
    def patch_codes(self) -> int:
        """Codes of patches; those of scales and wings come behind them."""
        return self.quantizer.num_codes

    @property
    def first_codes(self) -> int:
        """Codes of scales and wings: of a scale, those of all wings in a row."""
        return self.config.scales * self.config.wings

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        def to_codes(state: Any, *parts: Any) -> Any:
            network = nnx.merge(graph, state)
            pixels, valid, sigma, told, asked = parts
            latent = network.encode(pixels, valid, told)
            data = Data(jnp.sinh(pixels), sigma, valid, asked)
            latent, wings = refined(network, latent, data, *self.config.refinement)
            codes = network.quantizer.encode(latent)
            first = wing_codes(wings, self.config.wings)[:, None]
            return jnp.concatenate([first, codes.reshape(len(codes), -1)], axis=1)

        def to_pixels(state: Any, codes: Any, bands: Any, wings: Any) -> Any:
            network = nnx.merge(graph, state)
            latents = wing_latents(wings, self.config.wings)
            return network.decode(network.quantizer.decode(codes), bands, latents)

        return jax.jit(to_codes), jax.jit(to_pixels), state

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """Patches along y and x of an image of that many pixels."""
        patch = self.config.patch
        return -(-rows // patch), -(-columns // patch)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 1 + rows x columns]; -1 for an image without a valid pixel.

        Raises:
            DataError: no image, unusable bands, negative ivar, or shapes that differ.
        """
        if not isinstance(observation, Image):
            raise DataError(
                f"an image codec cannot encode {type(observation).__name__}",
                "Give an aion.Image.",
            )
        pixels = read_pixels(observation)
        count, rows = len(pixels.flux), self.grid(*pixels.flux.shape[2:])
        if not count:
            return np.zeros((0, 1 + rows[0] * rows[1]), np.int32)
        encode, _, state = self._compiled
        # Images of one call are refined until the last of them ends: alike together.
        order = np.arange(count)
        if self.config.refine:
            order = np.argsort(pixels.brightness(), kind="stable")
        found = in_batches(
            lambda *parts: encode(state, *parts),
            *(part[order] for part in network_inputs(pixels, self.config)),
            largest=cached(),
        )
        codes = np.empty_like(found)
        codes[order] = found
        scales = scale_codes(pixels.scale, self.config.scales)
        codes[:, 0] += self.patch_codes + scales * self.config.wings
        return np.where(pixels.present[:, None], codes, -1).astype(np.int32)

    def decode(
        self,
        codes: Any,
        bands: Sequence[str | Band] | None = None,
        psf_fwhm: Any = None,
        size: int | tuple[int, int] | None = None,
        **asked: Any,
    ) -> Image:
        """Images [b, c, y, x] of codes [b, t], each band in its own unit.

        Args:
            codes: with more axes in front of b, these are joined with it.
            bands: names or bands of one pixel scale, in any order, also others than
                were encoded; the Legacy Surveys' griz by default.
            psf_fwhm: of the images that were encoded, arcsec, [c] or [b, c]; where it
                is not told that of a typical camera is taken.
            size: side or sides in pixels; a square of whole patches by default.
            **asked: nothing else is used.

        Returns:
            Noiseless flux; NaN where one of the image's codes is -1. No ivar.

        Raises:
            DataError: codes of another codec, a size that the tokens do not fit,
                unknown bands or several pixel scales.
        """
        chosen = _chosen_bands(bands)
        plain = checked_codes(codes, None, self.patch_codes + self.first_codes)
        sides = self._sides(plain.shape[1] - 1, size)
        grid = self.grid(*sides)
        absent = (plain < 0).any(axis=1)
        first, patches = plain[:, 0] - self.patch_codes, plain[:, 1:]
        wrong = (first < 0) | (patches >= self.patch_codes).any(axis=1)
        if np.any(wrong & ~absent):
            raise DataError(
                f"codes from {self.patch_codes} on belong to the first token and to no "
                "other",
                "Draw each slot from its own range of codes.",
            )
        fwhm = None
        if psf_fwhm is not None:
            shape = (len(plain), len(chosen))
            fwhm = np.broadcast_to(np.asarray(psf_fwhm, np.float64), shape)
        numbers = describe_bands(chosen, fwhm, None, len(plain))
        safe = np.clip(patches, 0, self.patch_codes - 1).reshape(-1, *grid)
        scales, wings = np.divmod(np.maximum(first, 0), self.config.wings)
        flux = self._decoded(safe, numbers, wings)[..., : sides[0], : sides[1]]
        scale = scale_values(scales, self.config.scales)
        flux = flux * scale[:, None, None, None].astype(np.float32) * units(chosen)
        flux[absent] = np.nan
        return Image(flux, bands=chosen, psf_fwhm=fwhm)

    def _decoded(
        self, codes: np.ndarray, numbers: np.ndarray, wings: np.ndarray
    ) -> np.ndarray:
        if not len(codes):
            patch = self.config.patch
            sides = (codes.shape[1] * patch, codes.shape[2] * patch)
            return np.zeros((0, numbers.shape[1], *sides), np.float32)
        _, decode, state = self._compiled
        values = in_batches(lambda *a: decode(state, *a), codes, numbers, wings)
        return np.sinh(np.clip(values, -LARGEST, LARGEST))

    def _sides(self, patches: int, size: Any) -> tuple[int, int]:
        if size is None:
            side = round(max(patches, 0) ** 0.5) * self.config.patch
            sides = (side, side)
        else:
            sides = (size, size) if isinstance(size, int) else tuple(size)
        rows, columns = self.grid(*sides)
        if patches < 1 or rows * columns != patches:
            raise DataError(
                f"{patches + 1} tokens are no image of {sides[0]} x {sides[1]} pixels",
                f"That has {1 + rows * columns}; give size=(rows, columns).",
            )
        return sides

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """Scale and wings and a square of patches, with what codes and places mean."""
        rows, columns = self.grid(self.size, self.size)
        patches, total = self.patch_codes, self.patch_codes + self.first_codes
        ranges = ((patches, total), *(((0, patches),) * (rows * columns)))
        return TokenSpec(
            modality,
            name,
            num_codes=total,
            vocabulary=total,
            grid=(1 + rows * columns,),
            ranges=ranges,
            code_features=self._code_features(),
            slot_features=_slot_features(
                rows, columns, self.config.patch * _pixel_scale(modality)
            ),
        )

    def _code_features(self) -> Float32[np.ndarray, "v p"]:
        """Digits of patches, and lines of scales and of wings, in their own columns."""
        digits, count = self.quantizer.features(), self.first_codes
        scale, wing = np.divmod(np.arange(count), self.config.wings)
        place = (scale + 0.5) / self.config.scales
        lines = np.stack([place, (wing + 0.5) / self.config.wings], axis=1)
        lines = (np.sqrt(3) * (2 * lines - 1)).astype(np.float32)
        ones = (np.ones((len(digits), 1)), np.ones((count, 1)))
        first = np.concatenate([ones[0], digits, digits**2], axis=1)
        second = np.concatenate([ones[1], lines, features.fourier(place, 6)], axis=1)
        total = np.zeros(
            (len(first) + count, first.shape[1] + second.shape[1]), np.float32
        )
        total[: len(first), : first.shape[1]] = first
        total[len(first) :, first.shape[1] :] = second
        return total

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        config = {"network": plain_sizes(self.config), "size": self.size}
        return config, network_arrays(self.network)

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: settings or arrays that are not this codec's.
        """
        try:
            if "wings" not in config["network"]:
                raise ConfigError("no wings in its first token", "It is an older one.")
            sizes = to_dataclass(ImageConfig, config["network"], "network")
            size = int(config["size"])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ArtefactError(
                f"image codec with {dict(config)}: {error}", "Export it again."
            ) from None
        return cls(sizes, filled_network(sizes, arrays, "image codec"), size)


def _chosen_bands(bands: Sequence[str | Band] | None) -> tuple[Band, ...]:
    names = ("DES-G", "DES-R", "DES-I", "DES-Z") if bands is None else bands
    chosen = tuple(b if isinstance(b, Band) else find_band(b) for b in names)
    check_bands(chosen)
    return chosen


def _pixel_scale(modality: Modality) -> float:
    """Arcsec per pixel of a modality, from the first camera of its survey."""
    for band in BANDS.values():
        if INSTRUMENTS[band.instrument].survey == modality.survey and band.pixel_scale:
            return band.pixel_scale
    return _TYPICAL_SCALE


def _slot_features(rows: int, columns: int, step: float) -> Float32[np.ndarray, "t q"]:
    """Which slot is the scale's, and where patches lie: offsets from the middle.

    Args:
        rows, columns: of patches.
        step: arcsec from patch to patch.
    """
    y, x = np.meshgrid(
        (np.arange(rows) - (rows - 1) / 2) * step,
        (np.arange(columns) - (columns - 1) / 2) * step,
        indexing="ij",
    )
    parts = [np.ones((rows * columns, 1), np.float32)]
    for offset in (y.ravel() / _HALF, x.ravel() / _HALF):
        parts += [offset[:, None].astype(np.float32)]
        parts += [features.fourier((offset + 1) / 2, 6)]
    patches = np.concatenate(parts, axis=1)
    table = np.zeros((1 + len(patches), 1 + patches.shape[1]), np.float32)
    table[0, 0] = 1
    table[1:, 1:] = patches
    return table
