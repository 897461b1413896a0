# SPDX-License-Identifier: MIT
"""AION-1's spectrum network: a ConvNeXt-V2 autoencoder in one dimension."""

import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
from flax import nnx
from jaxtyping import Array, Float

from aion_tokenizers.blocks import ConvNextBlock
from aion_tokenizers.convolutions import Dense, LayerNorm, Patches, Spread
from aion_tokenizers.magvit import Chain


def _stages(depths: Sequence[int], sizes: Sequence[int], rngs: nnx.Rngs) -> nnx.List:
    return nnx.List(
        Chain([ConvNextBlock(size, rngs) for _ in range(depth)])
        for depth, size in zip(depths, sizes, strict=True)
    )


class SpectrumEncoder(nnx.Module):
    """Stages of blocks, each after a layer that shortens the spectrum: 4, 2, 2, 2."""

    def __init__(
        self, channels: int, depths: Sequence[int], sizes: Sequence[int], rngs: nnx.Rngs
    ) -> None:
        first = Chain([Patches(channels, sizes[0], 4, rngs), LayerNorm(sizes[0])])
        rest = [
            Chain([LayerNorm(a), Patches(a, b, 2, rngs)])
            for a, b in itertools.pairwise(sizes)
        ]
        self.downsample_layers = nnx.List([first, *rest])
        self.stages = _stages(depths, sizes, rngs)
        self.norm = LayerNorm(sizes[-1])

    def __call__(self, x: Float[Array, "b l c"]) -> Float[Array, "b t d"]:
        for shorten, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(shorten(x))
        return self.norm(x)


class SpectrumDecoder(nnx.Module):
    """Stages of blocks, each after a layer that lengthens the spectrum: 2, 2, 2, 4."""

    def __init__(
        self, size_in: int, depths: Sequence[int], sizes: Sequence[int], rngs: nnx.Rngs
    ) -> None:
        first = Chain([Spread(size_in, sizes[0], 2, rngs), LayerNorm(sizes[0])])
        taps = [2] * (len(sizes) - 2) + [4]
        rest = [
            Chain([LayerNorm(a), Spread(a, b, k, rngs)])
            for a, b, k in zip(sizes[:-1], sizes[1:], taps, strict=False)
        ]
        self.upsample_layers = nnx.List([first, *rest])
        self.stages = _stages(depths, sizes, rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b l c"]:
        for lengthen, stage in zip(self.upsample_layers, self.stages, strict=True):
            x = stage(lengthen(x))
        return x


class Projections(nnx.Module):
    """Matrices around a lookup-free quantizer with another number of bits."""

    def __init__(self, dimension: int, bits: int, rngs: nnx.Rngs) -> None:
        self.project_in = Dense(dimension, bits, rngs)
        self.project_out = Dense(bits, dimension, rngs)


class SpectrumNetwork(nnx.Module):
    """From spectra on the codec's grid, [flux, error], to latents, and back.

    Objects go through one after another: the values of one fit in a processor's cache,
    which on a CPU halves the time of a batch.
    """

    OFFICIAL: ClassVar[Mapping[str, str]] = {"projections": "_quantizer._quantizer"}

    def __init__(
        self,
        encoder: SpectrumEncoder,
        decoder: SpectrumDecoder,
        size: int,
        dimension: int,
        bits: int,
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.pre_quant_norm = LayerNorm(size, 1e-5)
        self.quant_conv = Dense(size, dimension, rngs, "pointwise1d")
        self.post_quant_conv = Dense(dimension, size, rngs, "pointwise1d")
        self.projections = (
            None if bits == dimension else Projections(dimension, bits, rngs)
        )

    def encode(self, x: Float[Array, "b l c"]) -> Float[Array, "b t d"]:
        """Latents; their signs are the codes."""

        def one(row: Array) -> Array:
            latent = self.quant_conv(self.pre_quant_norm(self.encoder(row[None])))
            if self.projections is not None:
                latent = self.projections.project_in(latent)
            return latent[0]

        return jax.lax.map(one, x)

    def decode(self, signs: Float[Array, "b t d"]) -> Float[Array, "b l c"]:
        """Normalised flux and, in a second channel, the logit of a bad pixel."""

        def one(row: Array) -> Array:
            latent = row[None]
            if self.projections is not None:
                latent = self.projections.project_out(latent)
            return self.decoder(self.post_quant_conv(latent))[0]

        return jax.lax.map(one, signs)
