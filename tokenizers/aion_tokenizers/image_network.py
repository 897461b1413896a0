# SPDX-License-Identifier: MIT
"""The network of the image codec: bands -> grid of latents -> any bands.

All layers see a neighbourhood of a few patches and nothing else: a bad pixel changes
the tokens around it and no others, and any image size can be encoded. Blocks are
ConvNeXt's (Liu et al. 2022, arXiv:2201.03545), with 3 x 3 depthwise kernels. The
encoder's are modulated by the mean description of the image's bands, the decoder's by
the pixel scale alone, so that a band is decoded the same whatever is asked beside it.
The decoder draws a scene without knowing any PSF; what a band's own makes of it is a
matter of flux, see `point_spread`.
No norm stands before latents and pixels: how bright a patch is must pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from aion.errors import ConfigError
from aion_tokenizers import point_spread
from aion_tokenizers.convolutions import Dense, LayerNorm, weight
from aion_tokenizers.image_pixels import LARGEST
from aion_tokenizers.mixing import (
    BandsIn,
    BandsOut,
    Description,
    Modulation,
    pixel_scale_alone,
    without_psf,
)
from aion_tokenizers.quantization import Kind, Quantization, check_refinement
from aion_tokenizers.settling import EVERYWHERE
from aion_tokenizers.starlets import Sharpening
from aion_tokenizers.wings import beta_of

TAPS = 3


@dataclass(frozen=True)
class ImageConfig:
    """Sizes of the image codec.

    Attributes:
        patch: pixels along the side of what one token stands for.
        width: of the latents of a patch, in encoder and decoder.
        encoder_blocks, decoder_blocks: blocks on the grid of patches.
        told: size of the vector that describes a band.
        quantizer: see `quantization.Quantization`.
        levels: levels of each axis of FSQ; their product is the number of codes.
        dimension: length of the vectors of a codebook.
        scales: that the first token of an image knows.
        wings: that it knows beside each scale, see `wings`.
        refine: steps that improve latents before they are rounded, see `refinement`.
        settle: turns in which codes are settled after them, see `settling`.
        search: passes of `code_search` after those.
        psf: pixels per FWHM of the PSF that the decoder draws with, before a band's
            own is laid over it, see `point_spread`.
        planes: of the starlet transform, by which what is drawn is made sharper.
        margin: patches beyond each edge that the decoder draws; with 0 what it draws
            within goes on there as it came.
    """

    patch: int = 4
    width: int = 128
    encoder_blocks: int = 4
    decoder_blocks: int = 5
    told: int = 48
    quantizer: Kind = "fsq"
    levels: tuple[int, ...] = (8, 8, 8, 8)
    dimension: int = 16
    scales: int = 128
    wings: int = 16
    refine: int = 0
    settle: int = 0
    search: int = 0
    psf: float = 2.0
    planes: int = 4
    margin: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(int(n) for n in self.levels))
        sizes = (self.patch, self.width, self.told, self.scales, self.wings)
        if min(*sizes, self.planes) < 1 or not self.psf > 0:
            raise ConfigError(f"image codec with {self}", "Give positive sizes.")
        if not 0 <= self.margin * self.patch <= point_spread.MARGIN:
            raise ConfigError(
                f"{self.margin} patches of {self.patch} pixels beyond each edge",
                f"Give a margin of 0 to {point_spread.MARGIN} pixels.",
            )
        check_refinement(self, "settle")
        check_refinement(self, "search")
        if self.search and not self.settle:
            raise ConfigError(
                f"search {self.search} without settle",
                "Only settled codes are searched: give settle=16, or search=0.",
            )

    @property
    def quantization(self) -> Quantization:
        """What turns latents into codes."""
        return Quantization(self.quantizer, self.levels, self.dimension)

    @property
    def refinement(self) -> tuple[int, int, int]:
        """Steps, turns and passes, as `refinement.refined` takes them."""
        return self.refine, self.settle, self.search

    @property
    def reach(self) -> int:
        """Pixels beyond its patch, on each side, that a token depends on."""
        if self.refine or self.settle:
            return EVERYWHERE
        return self.encoder_blocks * (TAPS // 2) * self.patch

    def network(self, rngs: nnx.Rngs) -> "ImageNetwork":
        """A freshly initialised network."""
        return ImageNetwork(self, rngs)


class GridDepthwise(nnx.Module):
    """A convolution over y and x of each channel with itself; zeros beyond the edge.

    Written as shifted multiply-adds, which XLA runs many times faster on a CPU.
    """

    def __init__(self, size: int, taps: int, rngs: nnx.Rngs) -> None:
        values = rngs.params.normal((taps, taps, size), jnp.float32) / taps
        self.weight = weight(values, "plain")

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        kernel, (height, width) = self.weight[...], x.shape[1:3]
        taps = kernel.shape[0]
        edge = (taps // 2, taps // 2)
        padded = jnp.pad(x, ((0, 0), edge, edge, (0, 0)))
        total = jnp.zeros_like(x)
        for row in range(taps):
            for column in range(taps):
                view = padded[:, row : row + height, column : column + width]
                total = total + view * kernel[row, column]
        return total


class GridBlock(nnx.Module):
    """x plus depthwise convolution, norm, modulation and a two-layer network."""

    def __init__(self, size: int, told: int, rngs: nnx.Rngs, taps: int = TAPS) -> None:
        self.spatial = GridDepthwise(size, taps, rngs)
        self.norm = LayerNorm(size)
        self.modulate = Modulation(told, size, rngs)
        self.widen = Dense(size, 3 * size, rngs)
        self.narrow = Dense(3 * size, size, rngs)
        self.scale = weight(jnp.full((size,), 0.3, jnp.float32), "plain")

    def __call__(
        self, x: Float[Array, "b y x d"], told: Float[Array, "b e"]
    ) -> Float[Array, "b y x d"]:
        return x + self.change(x + self.spatial(x), told)

    def change(
        self, x: Float[Array, "b y x d"], told: Float[Array, "b e"]
    ) -> Float[Array, "b y x d"]:
        """What is added to each vector, of itself and what surrounds it."""
        hidden = self.modulate(self.norm(x), told[:, None, None])
        return self.scale[...] * self.narrow(jax.nn.gelu(self.widen(hidden)))


def to_patches(pixels: Float[Array, "b c y x"], patch: int) -> Float[Array, "b c n p"]:
    """Patches in raster order; sides must be multiples of `patch`."""
    b, c, y, x = pixels.shape
    cut = pixels.reshape(b, c, y // patch, patch, x // patch, patch)
    return cut.transpose(0, 1, 2, 4, 3, 5).reshape(b, c, -1, patch * patch)


def from_patches(
    patches: Float[Array, "b c n p"], patch: int, rows: int
) -> Float[Array, "b c y x"]:
    """The inverse of `to_patches`."""
    b, c, n, _ = patches.shape
    cut = patches.reshape(b, c, rows, n // rows, patch, patch)
    return cut.transpose(0, 1, 2, 4, 3, 5).reshape(b, c, rows * patch, -1)


class ImageNetwork(nnx.Module):
    """Encoder and decoder around the quantizer."""

    def __init__(self, config: ImageConfig, rngs: nnx.Rngs) -> None:
        pixels, width, told = config.patch**2, config.width, config.told
        self.patch, self.psf, self.wings = config.patch, config.psf, config.wings
        self.margin = config.margin
        self.describe = Description(told, rngs)
        self.bands_in = BandsIn(pixels, told, width, rngs)
        self.encoder = nnx.List(
            GridBlock(width, told, rngs) for _ in range(config.encoder_blocks)
        )
        self.to_latent = Dense(width, config.quantization.latent, rngs)
        # Large latents sit where the quantizer's bound is flat and hardly learn.
        self.to_latent.weight[...] = 0.1 * self.to_latent.weight[...]
        self.from_latent = Dense(config.quantization.latent, width, rngs)
        self.decoder = nnx.List(
            GridBlock(width, told, rngs) for _ in range(config.decoder_blocks)
        )
        if config.margin:
            self.outside = GridBlock(width, told, rngs, 2 * config.margin + 1)
            for values in (self.outside.narrow.weight, self.outside.narrow.bias):
                values[...] = jnp.zeros_like(values[...])  # as it came, at first
        self.bands_out = BandsOut(pixels, told, width, rngs)
        self.sharpening = Sharpening(config.planes)
        self.quantizer = config.quantization.make(rngs)

    def encode(
        self,
        pixels: Float[Array, "b c y x"],
        valid: Float[Array, "b c y x"],
        bands: Float[Array, "b c p"],
    ) -> Float[Array, "b yt xt q"]:
        """Latents of the grid of patches.

        Args:
            pixels: asinh(flux / scale), anything where not valid.
            valid: 1 where a pixel is valid, else 0.
            bands: see `mixing.describe_bands`; of bands that an image does not have
                (no valid pixel) they do not matter.
        """
        told = self.describe(bands)
        seen = to_patches(valid, self.patch)
        clean = to_patches(jnp.where(valid > 0, pixels, 0.0), self.patch)
        x = self.bands_in(clean, seen, bands, told)
        x = x.reshape(x.shape[0], pixels.shape[2] // self.patch, -1, x.shape[-1])
        # A band without a single valid pixel says nothing, not even that it exists.
        there = jnp.max(valid, axis=(2, 3))[..., None]
        camera = jnp.sum(told * there, 1) / jnp.maximum(jnp.sum(there, 1), 1.0)
        for block in self.encoder:
            x = block(x, camera)
        return self.to_latent(x)

    def decode(
        self,
        latent: Float[Array, "b yt xt q"],
        bands: Float[Array, "b c p"],
        wings: Float[Array, " b"] | None = None,
    ) -> Float[Array, "b c y x"]:
        """asinh(flux / scale) of the bands that are described.

        Args:
            latent: quantized.
            bands: see `mixing.describe_bands`.
            wings: latents of those of the PSF, see `wings`; 0 by default.
        """
        beta = beta_of(jnp.zeros(len(latent)) if wings is None else wings)
        sides = (latent.shape[1] * self.patch, latent.shape[2] * self.patch)
        wide = point_spread.beyond(sides)
        transfer = point_spread.moffat(wide, bands, self.psf, beta)
        transfer = transfer * self.sharpening(wide)
        scene = self._scene(latent, without_psf(bands))
        drawn = (scene.shape[2] - sides[0]) // 2
        return jnp.arcsinh(point_spread.spread(scene, transfer, drawn))

    def _scene(
        self, latent: Float[Array, "b yt xt q"], bands: Float[Array, "b c p"]
    ) -> Float[Array, "b c y1 x1"]:
        """Flux over the scale before any PSF, and as far beyond the edges as it is
        drawn. There it goes on as it came, changed by what tokens nearby say of it."""
        told = self.describe(bands)
        camera = self.describe(jnp.mean(pixel_scale_alone(bands), axis=1))
        x = self.from_latent(latent)
        for block in self.decoder:
            x = block(x, camera)

        def pixels(x: Array, draw: Callable[..., Array]) -> Array:
            patches = draw(x.reshape(len(x), -1, x.shape[-1]), bands, told)
            return from_patches(patches, self.patch, x.shape[1])

        flux = jnp.sinh(jnp.clip(pixels(x, self.bands_out), -LARGEST, LARGEST))
        if not self.margin:
            return point_spread.continued(flux, point_spread.MARGIN)
        wide = jnp.arcsinh(point_spread.continued(flux, self.margin * self.patch))
        more = pixels(self._outside(x, camera), self.bands_out.without_level)
        return jnp.sinh(jnp.clip(wide + more, -LARGEST, LARGEST))

    def _outside(
        self, x: Float[Array, "b yt xt d"], camera: Float[Array, "b e"]
    ) -> Float[Array, "b y1 x1 d"]:
        """Vectors of patches beyond the edges; 0 within.

        Nothing is computed within: of four strips along the edges, as wide as what is
        near them, the outer half is kept.
        """
        n, near, (rows, columns) = self.margin, self.outside.spatial, x.shape[1:3]
        wide = jnp.pad(x, ((0, 0), (n, n), (n, n), (0, 0)))
        strips = (
            near(wide[:, : 2 * n])[:, :n],
            near(wide[:, -2 * n :])[:, n:],
            near(wide[:, :, : 2 * n])[:, n:-n, :n],
            near(wide[:, :, -2 * n :])[:, n:-n, n:],
        )
        flat = [strip.reshape(len(x), -1, 1, x.shape[-1]) for strip in strips]
        found = self.outside.change(jnp.concatenate(flat, axis=1), camera)
        ends = np.cumsum([part.shape[1] for part in flat])[:-1]
        parts = jnp.split(found, ends, axis=1)
        above, below, left, right = (
            part.reshape(strip.shape) for part, strip in zip(parts, strips, strict=True)
        )
        beside = [left, jnp.zeros((len(x), rows, columns, x.shape[-1]), x.dtype), right]
        return jnp.concatenate([above, jnp.concatenate(beside, 2), below], axis=1)
