# SPDX-License-Identifier: MIT
"""The encoder-decoder transformer over a token space.

AION-1's architecture (arXiv:2510.17960, after 4M, arXiv:2312.06647): pre-norm blocks
with normalised queries and keys, SwiGLU, no biases but in the context projection.
Layers of a stack are one module with a leading axis, run by `jax.lax.scan`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from aion.model.attention import CrossAttention, SelfAttention
from aion.model.config import DecoderAttention, ModelConfig
from aion.model.embedding import TokenEmbedding
from aion.model.heads import Heads
from aion.model.layers import LayerNorm, SwiGLU, linear, parameter, xavier
from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace


def _drop(x: Array, rate: float, key: Array | None) -> Array:
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros_like(x))


def _keys(key: Array | None, count: int) -> list[Array | None]:
    return [None] * count if key is None else list(jax.random.split(key, count))


class EncoderBlock(nnx.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.norm1 = LayerNorm(config.width)
        self.attention = SelfAttention(config, rngs)
        self.norm2 = LayerNorm(config.width)
        self.mlp = SwiGLU(config.width, config.hidden, rngs)

    def __call__(
        self, x: Float[Array, "b n d"], mask: Bool[Array, "b 1 1 n"], key: Array | None
    ) -> Float[Array, "b n d"]:
        k1, k2 = _keys(key, 2)
        x = x + _drop(self.attention(self.norm1(x), mask), self.rate, k1)
        return x + _drop(self.mlp(self.norm2(x)), self.rate, k2)


class DecoderBlock(nnx.Module):
    """y += queries(norm(y)); y += cross(norm(y), norm(context)); y += mlp(norm(y))."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.how: DecoderAttention = config.decoder_attention
        self.norm1 = LayerNorm(config.width)
        self.self_attention = SelfAttention(config, rngs)
        self.query_norm = LayerNorm(config.width)
        self.context_norm = LayerNorm(config.width)
        self.cross_attention = CrossAttention(config, rngs)
        self.norm2 = LayerNorm(config.width)
        self.mlp = SwiGLU(config.width, config.hidden, rngs)

    def __call__(
        self,
        y: Float[Array, "b m d"],
        context: Float[Array, "b n d"],
        context_mask: Bool[Array, "b 1 1 n"],
        query_mask: Bool[Array, "b 1 m m"],
        key: Array | None,
    ) -> Float[Array, "b m d"]:
        k1, k2, k3 = _keys(key, 3)
        mixed = self.self_attention.queries(self.norm1(y), query_mask, self.how)
        y = y + _drop(mixed, self.rate, k1)
        seen = self.cross_attention(
            self.query_norm(y), self.context_norm(context), context_mask
        )
        y = y + _drop(seen, self.rate, k2)
        return y + _drop(self.mlp(self.norm2(y)), self.rate, k3)


def _stack(make: Callable[[nnx.Rngs], nnx.Module], layers: int, rngs: nnx.Rngs):
    keys = jax.random.split(rngs.params(), layers)
    return nnx.vmap(lambda key: make(nnx.Rngs(params=key)))(keys)


def _scan(
    config: ModelConfig, stack: nnx.Module, x: Array, key: Array | None, run: Callable
) -> Array:
    """Applies a stack of blocks: `run(block, x, key)` for each in turn."""
    graph, layers = nnx.split(stack)
    count = jax.tree.leaves(layers)[0].shape[0]

    def body(carry: Array, layer: tuple) -> tuple[Array, None]:
        state, index = layer
        own = None if key is None else jax.random.fold_in(key, index)
        return run(nnx.merge(graph, state), carry, own), None

    step = jax.checkpoint(body, prevent_cse=False) if config.remat else body
    layers = (layers, jnp.arange(count))
    return jax.lax.scan(step, x, layers, unroll=config.unroll)[0]


class Transformer(nnx.Module):
    """An encoder of given tokens and a decoder of asked ones.

    Args:
        config: sizes and choices.
        space: the token space; its feature arrays may be absent when the parameters
            are restored from a checkpoint afterwards.
        rngs: the stream `params` seeds the parameters.
    """

    def __init__(self, config: ModelConfig, space: TokenSpace, rngs: nnx.Rngs) -> None:
        self.config = config
        self.space = space
        d = config.width
        self.embedding = TokenEmbedding(config, space, rngs)
        self.encoder = _stack(
            lambda r: EncoderBlock(config, r), config.encoder_layers, rngs
        )
        self.encoder_norm = LayerNorm(d)
        self.context_kernel = parameter(xavier(rngs.params(), (d, d), d, d), "de")
        self.context_bias = parameter(jnp.zeros((d,), jnp.float32), "d")
        self.decoder = _stack(
            lambda r: DecoderBlock(config, r), config.decoder_layers, rngs
        )
        self.decoder_norm = LayerNorm(d)
        self.heads = Heads(config, space, rngs)

    def context(
        self, inputs: TokenBatch, key: Array | None = None
    ) -> tuple[Float[Array, "b r d"], Bool[Array, "b r"]]:
        """What the decoder reads, and which of it is valid.

        Returns r = n + 1 rows with the register token first, r = n without it. A key
        turns dropout on.
        """
        inputs = jax.tree.map(jnp.asarray, inputs)
        valid = inputs.valid
        place = self.embedding.slot_vectors(inputs.modality, inputs.position)
        x = self.embedding.code_vectors(inputs) + place
        if self.config.register:
            token = self.embedding.register[...].astype(x.dtype)
            x = jnp.pad(x, ((0, 0), (1, 0), (0, 0))).at[:, 0].set(token)
            place = jnp.pad(place, ((0, 0), (1, 0), (0, 0)))
            valid = jnp.pad(valid, ((0, 0), (1, 0)), constant_values=True)
        zero = jnp.zeros((), x.dtype)
        x = jnp.where(valid[..., None], x, zero)
        place = jnp.where(valid[..., None], place, zero)
        mask = valid[:, None, None, :]
        x = _scan(self.config, self.encoder, x, key, lambda blk, c, k: blk(c, mask, k))
        out = linear(self.encoder_norm(x), self.context_kernel[...])
        return out + self.context_bias[...].astype(x.dtype) + place, valid

    def decode(
        self,
        asked: TokenBatch,
        context: Float[Array, "b r d"],
        valid: Bool[Array, "b r"],
        key: Array | None = None,
    ) -> Float[Array, "b m d"]:
        """Hidden vectors of asked places; the codes of `asked` are not read."""
        asked = jax.tree.map(jnp.asarray, asked)
        place = self.embedding.slot_vectors(asked.modality, asked.position)
        y = place + self.embedding.mask_token[...].astype(place.dtype)
        together = asked.valid[:, None, :] & asked.valid[:, :, None]
        if self.config.decoder_attention == "within_modality":
            same = asked.modality[:, None, :] == asked.modality[:, :, None]
            together = together & same
        context_mask, query_mask = valid[:, None, None, :], together[:, None]

        def run(block: DecoderBlock, carry: Array, own: Array | None) -> Array:
            return block(carry, context, context_mask, query_mask, own)

        return self.decoder_norm(_scan(self.config, self.decoder, y, key, run))

    def hidden(
        self, inputs: TokenBatch, asked: TokenBatch, key: Array | None = None
    ) -> Float[Array, "b m d"]:
        """Encoder and decoder in one: hidden vectors of asked places."""
        k1, k2 = _keys(key, 2)
        context, valid = self.context(inputs, k1)
        return self.decode(asked, context, valid, k2)
