# SPDX-License-Identifier: MIT
"""From tokens (slot, code) to vectors: what is there, and which place it is.

A code's vector is `table[code] + F[code] W`: F holds what the code means (Fourier
features of the bin centre, digits of a quantizer, one-hot for categories), so that
neighbouring bins are similar before anything was learned. A slot's vector is one
learned vector per modality, shared by encoder and decoder, plus its position.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from aion.model.config import ModelConfig
from aion.model.layers import Buffer, linear, parameter
from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace


def sincos_table(grid: tuple[int, ...], width: int) -> np.ndarray:
    """AION-1's fixed position table over a token grid, float32 [tokens, width].

    Row n of a grid (rows, columns) has a = n // rows and b = n % rows, and channels
    sin(a w), cos(a w), sin(b w), cos(b w) with w_j = 10000^(-j / (width / 4)). A grid
    of one axis is a grid with one column.
    """
    rows = grid[0]
    quarter = width // 4
    omega = 1.0 / 10000 ** (np.arange(quarter, dtype=np.float32) / quarter)
    a, b = np.divmod(np.arange(np.prod(grid), dtype=np.float32), rows)
    parts = [f(x[:, None] * omega) for x in (a, b) for f in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype(np.float32)


class TokenEmbedding(nnx.Module):
    """Embeds the tokens of a token space.

    Modality -1 (padding) looks up row 0; callers mask it.
    """

    def __init__(self, config: ModelConfig, space: TokenSpace, rngs: nnx.Rngs) -> None:
        self.config = config
        self.space = space
        d = config.width
        normal = nnx.initializers.normal(0.02)
        self.codes = parameter(normal(rngs.params(), (space.num_rows, d)), "vd")
        self.modality = parameter(normal(rngs.params(), (len(space), d)), "rd")
        self.mask_token = parameter(normal(rngs.params(), (d,)), "d")
        if config.register:
            self.register = parameter(normal(rngs.params(), (d,)), "d")
        if config.code_features:
            features = space.code_features()
            self.features = Buffer(jnp.asarray(features))
            spread = nnx.initializers.normal(features.shape[1] ** -0.5)
            self.feature_kernel = parameter(
                spread(rngs.params(), (features.shape[1], d)), "pd"
            )
        if config.position == "features":
            slots = space.slot_features()
            self.slots = Buffer(jnp.asarray(slots))
            self.slot_kernel = parameter(
                normal(rngs.params(), (slots.shape[1], d)), "qd"
            )
        else:
            tables = [sincos_table(s.grid, d) for s in space]
            self.slots = Buffer(jnp.asarray(np.concatenate(tables)))

    def slot_vectors(
        self, modality: Int[Array, "b n"], position: Int[Array, "b n"]
    ) -> Float[Array, "b n d"]:
        """Vectors of places, in the compute dtype."""
        row = jnp.maximum(modality, 0)
        offsets = jnp.asarray(self.space.slot_offsets[:-1])
        place = self.slots[...][offsets[row] + position]
        if self.config.position == "features":
            place = linear(place, self.slot_kernel[...])
        vectors = place + self.modality[...][row]
        return vectors.astype(self.config.compute_dtype)

    def code_vectors(self, tokens: TokenBatch) -> Float[Array, "b n d"]:
        """Vectors of codes, in the compute dtype."""
        offsets = jnp.asarray(self.space.code_offsets[:-1])
        row = offsets[jnp.maximum(tokens.modality, 0)] + tokens.codes
        vectors = self.codes[...][row]
        if self.config.code_features:
            meaning = self.features[...][row]
            vectors = vectors + linear(meaning, self.feature_kernel[...])
        return vectors.astype(self.config.compute_dtype)
