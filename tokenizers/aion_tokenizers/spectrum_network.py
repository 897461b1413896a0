# SPDX-License-Identifier: MIT
"""The network of our spectrum codec: cells of the grid -> latents -> cells.

Two scales: patches of a few cells, and tokens of a few patches. Blocks are ConvNeXt's
(Liu et al. 2022, arXiv:2201.03545) in one dimension. The encoder sees a neighbourhood
of some tokens and nothing else, so that a bad pixel changes the tokens around it and no
others; the decoder's kernels are dilated, so that it sees most of the spectrum. No norm
stands before latents and cells: it would take away how strong a line is.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from aion.errors import ConfigError
from aion_tokenizers.code_search import APART
from aion_tokenizers.convolutions import Dense, LayerNorm, weight
from aion_tokenizers.quantization import Kind, Quantization, check_refinement
from aion_tokenizers.spectrum_grid import LogGrid

TAPS = 7
CHANNELS = 4
"""Numbers of a cell: flux twice (over the norm, over its error), error, has data."""
TOLD = 2
"""Numbers of a token that say which spectrograph it is: see `spectrum.told_power`."""
DILATIONS = (1, 4, 16)


@dataclass(frozen=True)
class SpectrumSizes:
    """Sizes of our spectrum codec.

    Attributes:
        grid: of the network.
        patch: cells of a patch.
        merge: patches of a token.
        width: of the latents of a token.
        fine: of the latents of a patch.
        encoder_blocks, decoder_blocks: on tokens.
        fine_blocks: on patches, in encoder and decoder each.
        quantizer: see `quantization.Quantization`.
        levels: levels of each axis of FSQ; their product is the number of codes.
        dimension: length of the vectors of a codebook.
        norms: codes of the token that holds the norm.
        refine: steps that improve latents before they are rounded, see `refinement`.
        search: passes over neighbouring codes after them, see `code_search`.
        norm_range: log10 of the least and the greatest norm.

    Raises:
        ConfigError: sizes that do not fit each other.
    """

    grid: LogGrid = field(default_factory=LogGrid)
    patch: int = 8
    merge: int = 4
    width: int = 128
    fine: int = 48
    encoder_blocks: int = 4
    decoder_blocks: int = 6
    fine_blocks: int = 1
    quantizer: Kind = "fsq"
    levels: tuple[int, ...] = (8, 8, 8, 8)
    dimension: int = 16
    norms: int = 256
    refine: int = 0
    search: int = 0
    norm_range: tuple[float, float] = (-2.5, 4.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(int(n) for n in self.levels))
        object.__setattr__(self, "norm_range", tuple(map(float, self.norm_range)))
        low, high = self.norm_range
        sizes = (self.patch, self.merge, self.width, self.fine, self.norms)
        if min(sizes) < 1 or self.grid.cells % (self.patch * self.merge):
            raise ConfigError(
                f"{self.grid.cells} cells in tokens of {self.merge} patches of "
                f"{self.patch} cells",
                "Give positive sizes, and a whole number of tokens.",
            )
        check_refinement(self, "search")
        if not low < high:
            raise ConfigError(f"norm_range {self.norm_range}", "Give low < high.")

    @property
    def cells(self) -> int:
        """Cells of a token."""
        return self.patch * self.merge

    @property
    def tokens(self) -> int:
        """Tokens of the shape of a spectrum; its norm is one more."""
        return self.grid.cells // self.cells

    @property
    def reach(self) -> int:
        """Tokens on each side that a token depends on."""
        patches = self.fine_blocks * (TAPS // 2)
        encoder = -(-patches // self.merge) + self.encoder_blocks * (TAPS // 2)
        dilated = [DILATIONS[n % len(DILATIONS)] for n in range(self.decoder_blocks)]
        decoder = sum(dilated) * (TAPS // 2) + -(-patches // self.merge)
        # Each step of refinement looks from cells to latents and back.
        return encoder + (self.refine + self.search * APART) * 2 * decoder

    @property
    def quantization(self) -> Quantization:
        """What turns latents into codes."""
        return Quantization(self.quantizer, self.levels, self.dimension)

    def network(self, rngs: nnx.Rngs) -> "SpectrumAutoencoder":
        """A freshly initialised network."""
        return SpectrumAutoencoder(self, rngs)


class Dilated(nnx.Module):
    """A convolution along l of each channel with itself, taps `dilation` apart.

    Zeros beyond the ends. Shifted multiply-adds, which XLA fuses into one pass.
    """

    def __init__(self, size: int, taps: int, dilation: int, rngs: nnx.Rngs) -> None:
        values = rngs.params.normal((taps, size), jnp.float32) * taps**-0.5
        self.weight = weight(values, "plain")
        self.dilation = dilation

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        kernel, length = self.weight[...], x.shape[1]
        taps = kernel.shape[0]
        edge = taps // 2 * self.dilation
        padded = jnp.pad(x, ((0, 0), (edge, edge), (0, 0)))
        total = jnp.zeros_like(x)
        for tap in range(taps):
            start = tap * self.dilation
            total = total + padded[:, start : start + length] * kernel[tap]
        return total


class LineBlock(nnx.Module):
    """x plus depthwise convolution, norm and a two-layer network."""

    def __init__(self, size: int, dilation: int, rngs: nnx.Rngs) -> None:
        self.along = Dilated(size, TAPS, dilation, rngs)
        self.norm = LayerNorm(size)
        self.widen = Dense(size, 3 * size, rngs)
        self.narrow = Dense(3 * size, size, rngs)
        self.scale = weight(jnp.full((size,), 0.3, jnp.float32), "plain")

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        hidden = self.norm(x + self.along(x))
        return x + self.scale[...] * self.narrow(jax.nn.gelu(self.widen(hidden)))


def _blocks(count: int, size: int, dilations: tuple, rngs: nnx.Rngs) -> nnx.List:
    return nnx.List(
        LineBlock(size, dilations[n % len(dilations)], rngs) for n in range(count)
    )


class SpectrumAutoencoder(nnx.Module):
    """Encoder and decoder around the quantizer."""

    def __init__(self, sizes: SpectrumSizes, rngs: nnx.Rngs) -> None:
        width, fine = sizes.width, sizes.fine
        bits = sizes.quantization.latent
        self.patch, self.merge = sizes.patch, sizes.merge
        self.cells_in = Dense(sizes.patch * CHANNELS, fine, rngs)
        self.fine_encoder = _blocks(sizes.fine_blocks, fine, (1,), rngs)
        self.merged = Dense(sizes.merge * fine + TOLD, width, rngs)
        self.encoder = _blocks(sizes.encoder_blocks, width, (1,), rngs)
        self.to_latent = Dense(width, bits, rngs)
        # Large latents sit where the quantizer's bound is flat and learn slowly.
        self.to_latent.weight[...] = 0.1 * self.to_latent.weight[...]
        self.from_latent = Dense(bits + TOLD, width, rngs)
        self.decoder = _blocks(sizes.decoder_blocks, width, DILATIONS, rngs)
        self.split = Dense(width, sizes.merge * fine, rngs)
        self.fine_decoder = _blocks(sizes.fine_blocks, fine, (1,), rngs)
        self.cells_out = Dense(fine, 2 * sizes.patch, rngs)
        # Training starts from a spectrum that is nearly flat, at its norm.
        self.cells_out.weight[...] = 0.1 * self.cells_out.weight[...]
        start = jnp.repeat(
            jnp.asarray([np.arcsinh(1.0), 0.0], jnp.float32), sizes.patch
        )
        self.cells_out.bias[...] = start
        self.quantizer = sizes.quantization.make(rngs)

    def encode(
        self, cells: Float[Array, "b l c"], told: Float[Array, "b t p"]
    ) -> Float[Array, "b t q"]:
        """Latents of tokens.

        Args:
            cells: `CHANNELS` numbers of each cell, all 0 where it has no data.
            told: what is known of the spectrograph.
        """
        count, length, _ = cells.shape
        x = self.cells_in(cells.reshape(count, length // self.patch, -1))
        for block in self.fine_encoder:
            x = block(x)
        x = x.reshape(count, told.shape[1], -1)
        x = self.merged(jnp.concatenate([x, told], axis=-1))
        for block in self.encoder:
            x = block(x)
        return self.to_latent(x)

    def decode(
        self, values: Float[Array, "b t q"], told: Float[Array, "b t p"]
    ) -> Float[Array, "b 2 l"]:
        """asinh(flux / norm), and the logit of a cell with data.

        Args:
            values: what the quantizer makes of latents.
            told: what is known of the spectrograph that is asked for.
        """
        x = self.from_latent(jnp.concatenate([values, told], axis=-1))
        for block in self.decoder:
            x = block(x)
        x = self.split(x)
        x = x.reshape(x.shape[0], x.shape[1] * self.merge, -1)
        for block in self.fine_decoder:
            x = block(x)
        x = self.cells_out(x)
        cells = x.reshape(x.shape[0], x.shape[1], 2, self.patch)
        return cells.transpose(0, 2, 1, 3).reshape(x.shape[0], 2, -1)
