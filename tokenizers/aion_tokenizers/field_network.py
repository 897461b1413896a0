# SPDX-License-Identifier: MIT
"""The network of our field codec: maps of a few values -> grid of latents -> maps."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from aion.errors import ConfigError
from aion_tokenizers.convolutions import Dense, LayerNorm, weight
from aion_tokenizers.image_network import GridDepthwise, from_patches, to_patches
from aion_tokenizers.quantizers import FSQ

TAPS = 3


@dataclass(frozen=True)
class FieldSizes:
    """Sizes of our field codec.

    Attributes:
        classes: values that a map can have: 0, 1 / (classes - 1), ... 1.
        patch: pixels along the side of what one token stands for.
        width: of the latents of a patch.
        encoder_blocks, decoder_blocks: blocks on the grid of patches.
        levels: levels of each axis of the quantizer.

    Raises:
        ConfigError: sizes that are not positive, or fewer than two values.
    """

    classes: int = 7
    patch: int = 8
    width: int = 128
    encoder_blocks: int = 2
    decoder_blocks: int = 4
    levels: tuple[int, ...] = (8, 8, 8, 8)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(int(n) for n in self.levels))
        if min(self.patch, self.width) < 1 or self.classes < 2:
            raise ConfigError(f"field codec with {self}", "Give positive sizes.")

    @property
    def reach(self) -> int:
        """Pixels beyond its patch, on each side, that a token depends on."""
        return self.encoder_blocks * (TAPS // 2) * self.patch

    def make_quantizer(self) -> FSQ:
        """What turns latents into codes."""
        return FSQ(self.levels)

    def network(self, rngs: nnx.Rngs) -> "FieldAutoencoder":
        """A freshly initialised network."""
        return FieldAutoencoder(self, rngs)


class FieldBlock(nnx.Module):
    """x plus depthwise convolution, norm and a two-layer network."""

    def __init__(self, size: int, rngs: nnx.Rngs) -> None:
        self.spatial = GridDepthwise(size, TAPS, rngs)
        self.norm = LayerNorm(size)
        self.widen = Dense(size, 3 * size, rngs)
        self.narrow = Dense(3 * size, size, rngs)
        self.scale = weight(jnp.full((size,), 0.3, jnp.float32), "plain")

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        hidden = self.norm(x + self.spatial(x))
        return x + self.scale[...] * self.narrow(jax.nn.gelu(self.widen(hidden)))


class FieldAutoencoder(nnx.Module):
    """Encoder and decoder around the quantizer.

    Pixels go in as one number per class, so that the order of classes means nothing.
    """

    def __init__(self, sizes: FieldSizes, rngs: nnx.Rngs) -> None:
        pixels, width = sizes.patch**2 * sizes.classes, sizes.width
        self.patch = sizes.patch
        self.pixels_in = Dense(pixels, width, rngs)
        self.encoder = nnx.List(
            FieldBlock(width, rngs) for _ in range(sizes.encoder_blocks)
        )
        self.before = LayerNorm(width)
        self.to_latent = Dense(width, len(sizes.levels), rngs)
        # Large latents sit where the quantizer's bound is flat and hardly learn.
        self.to_latent.weight[...] = 0.1 * self.to_latent.weight[...]
        self.from_latent = Dense(len(sizes.levels), width, rngs)
        self.decoder = nnx.List(
            FieldBlock(width, rngs) for _ in range(sizes.decoder_blocks)
        )
        self.after = LayerNorm(width)
        self.pixels_out = Dense(width, pixels, rngs)

    def encode(self, shares: Float[Array, "b k y x"]) -> Float[Array, "b yt xt q"]:
        """Latents of patches.

        Args:
            shares: 1 for the class of a pixel and 0 for the others; all 0 where it is
                not valid. Sides are multiples of the patch.
        """
        count, _, height, _ = shares.shape
        patches = to_patches(shares, self.patch).transpose(0, 2, 1, 3)
        x = self.pixels_in(patches.reshape(*patches.shape[:2], -1))
        x = x.reshape(count, height // self.patch, -1, x.shape[-1])
        for block in self.encoder:
            x = block(x)
        return self.to_latent(self.before(x))

    def decode(self, values: Float[Array, "b yt xt q"]) -> Float[Array, "b k y x"]:
        """Logits of the classes of pixels."""
        x = self.from_latent(values)
        for block in self.decoder:
            x = block(x)
        count, rows = x.shape[:2]
        x = self.pixels_out(self.after(x)).reshape(count, -1, self.patch**2)
        classes = x.shape[1] // (rows * values.shape[2])
        x = x.reshape(count, rows * values.shape[2], classes, -1)
        return from_patches(x.transpose(0, 2, 1, 3), self.patch, rows)
