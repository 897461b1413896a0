# SPDX-License-Identifier: MIT
"""AION-1's image network: a MagViT autoencoder between two channel mixers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Bool, Float

from aion_tokenizers.band_table import BandTable
from aion_tokenizers.blocks import ResidualUnit, Upsample2x
from aion_tokenizers.convolutions import Convolution, Dense, LayerNorm


class Chain(nnx.Module):
    """Layers one after another; `places` are their names in PyTorch."""

    def __init__(
        self, layers: Sequence[nnx.Module], places: Sequence[str] | None = None
    ) -> None:
        self.layers = nnx.List(layers)
        self.places = tuple(places or map(str, range(len(layers))))

    def __call__(self, x: Float[Array, "b *n i"]) -> Float[Array, "b *m o"]:
        for layer in self.layers:
            x = layer(x)
        return x


class MagVit(nnx.Module):
    """Convolutions from pixels to one vector per patch of 2**compressions, and back."""

    def __init__(
        self,
        channels: int,
        width: int,
        compressions: int,
        consecutive: int,
        rngs: nnx.Rngs,
    ) -> None:
        size = int(width / 2**compressions)

        def units(size: int) -> Chain:
            return Chain([ResidualUnit(size, rngs) for _ in range(consecutive)])

        def convolution(*sizes: int, stride: int = 1) -> Chain:
            return Chain([Convolution(*sizes, rngs=rngs, stride=stride)], ["conv"])

        self.conv_in = convolution(channels, size, 7)
        self.conv_out = convolution(size, channels, 3)
        encoder: list[nnx.Module] = [ResidualUnit(size, rngs)]
        decoder: list[nnx.Module] = [ResidualUnit(size, rngs)]
        for _ in range(compressions):
            encoder += [convolution(size, 2 * size, 3, stride=2), units(2 * size)]
            decoder += [Upsample2x(2 * size, size, rngs), units(2 * size)]
            size *= 2
        encoder += [convolution(size, size, 7), units(size)]
        decoder += [convolution(size, size, 3), units(size)]
        encoder.append(Chain([LayerNorm(size, 1e-5)], ["1"]))
        self.encoder_layers = nnx.List(encoder)
        self.decoder_layers = nnx.List(decoder[::-1])

    def encode(self, x: Float[Array, "b y x c"]) -> Float[Array, "b yo xo d"]:
        """A vector per patch."""
        x = self.conv_in(x)
        for layer in self.encoder_layers:
            x = layer(x)
        return x

    def decode(self, x: Float[Array, "b y x d"]) -> Float[Array, "b yo xo c"]:
        """The inverse in shape."""
        for layer in self.decoder_layers:
            x = layer(x)
        return self.conv_out(x)


class ImageNetwork(nnx.Module):
    """From compressed fluxes of any bands of the mixer to latents, and back."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {"mixer": "", "autoencoder": "model"}

    def __init__(
        self,
        mixer: BandTable,
        autoencoder: MagVit,
        width: int,
        dimension: int,
        rngs: nnx.Rngs,
    ) -> None:
        self.mixer = mixer
        self.autoencoder = autoencoder
        self.pre_quant_proj = Dense(width, dimension, rngs, "pointwise2d")
        self.post_quant_proj = Dense(dimension, width, rngs, "pointwise2d")

    def encode(
        self, flux: Float[Array, "b y x c"], present: Bool[Array, "b c"], bands: Any
    ) -> Float[Array, "b yo xo d"]:
        """Latents of images."""
        hidden = self.mixer.gather(flux, present, bands)
        return self.pre_quant_proj(self.autoencoder.encode(hidden))

    def decode(
        self, latent: Float[Array, "b y x d"], bands: Any
    ) -> Float[Array, "b yo xo c"]:
        """The asked bands from latents."""
        hidden = self.autoencoder.decode(self.post_quant_proj(latent))
        return self.mixer.spread(hidden, bands)
