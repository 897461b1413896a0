# SPDX-License-Identifier: MIT
"""Multi-head attention with normalised queries and keys, as AION-1 has it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from aion.model.config import DecoderAttention, ModelConfig
from aion.model.layers import LayerNorm, linear, parameter, xavier


def attend(
    q: Float[Array, "b n h k"],
    k: Float[Array, "b s h k"],
    v: Float[Array, "b s h k"],
    mask: Bool[Array, "b 1 #n s"],
) -> Float[Array, "b n h k"]:
    """Scaled dot-product attention; a row that may see no key gets zero."""
    # It computes the softmax of bfloat16 scores in float32, which is meant.
    with jax.numpy_dtype_promotion("standard"):
        seen = jax.nn.dot_product_attention(q, k, v, mask=mask)
    some = jnp.any(mask, axis=-1)[:, 0, :, None, None]
    return jnp.where(some, seen, jnp.zeros((), seen.dtype))


class _Projection(nnx.Module):
    """The output matrix from heads back to the residual stream."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, h = config.width, config.heads
        self.kernel = parameter(xavier(rngs.params(), (h, d // h, d), d, d), "hkd")

    def __call__(self, x: Float[Array, "b n h k"]) -> Float[Array, "b n d"]:
        kernel = self.kernel[...]
        return linear(x.reshape(*x.shape[:2], -1), kernel.reshape(-1, kernel.shape[-1]))


class SelfAttention(nnx.Module):
    """Attention of a stream to itself.

    AION-1 initialises the fused matrix with the fans of three separate ones.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, h = config.width, config.heads
        self.qkv = parameter(xavier(rngs.params(), (d, h, 3, d // h), d, d), "dh3k")
        self.q_norm = LayerNorm(d // h, "k")
        self.k_norm = LayerNorm(d // h, "k")
        self.out = _Projection(config, rngs)

    def __call__(
        self, x: Float[Array, "b n d"], mask: Bool[Array, "b 1 #n n"]
    ) -> Float[Array, "b n d"]:
        qkv = linear(x, self.qkv[...])
        q, k, v = qkv[..., 0, :], qkv[..., 1, :], qkv[..., 2, :]
        return self.out(attend(self.q_norm(q), self.k_norm(k), v, mask))

    def values(self, x: Float[Array, "b m d"]) -> Float[Array, "b m h k"]:
        """The value vectors alone."""
        return linear(x, self.qkv[...][:, :, 2])

    def queries(
        self,
        x: Float[Array, "b m d"],
        mask: Bool[Array, "b 1 m m"],
        how: DecoderAttention,
    ) -> Float[Array, "b m d"]:
        """Attention among decoder queries.

        A query that sees itself only returns its own value; where AION-1's forward
        blocks every entry its softmax is uniform, hence the mean over all queries.
        """
        if how == "independent":
            return self.out(self.values(x))
        if how == "official_forward":
            mean = jnp.mean(self.values(x), axis=1, keepdims=True)
            return jnp.broadcast_to(self.out(mean), x.shape)
        return self(x, mask)


class CrossAttention(nnx.Module):
    """Attention of decoder queries to the encoder's context."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, h = config.width, config.heads
        self.q = parameter(xavier(rngs.params(), (d, h, d // h), d, d), "dhk")
        self.kv = parameter(xavier(rngs.params(), (d, h, 2, d // h), d, d), "dh2k")
        self.q_norm = LayerNorm(d // h, "k")
        self.k_norm = LayerNorm(d // h, "k")
        self.out = _Projection(config, rngs)

    def __call__(
        self,
        x: Float[Array, "b m d"],
        context: Float[Array, "b n d"],
        mask: Bool[Array, "b 1 1 n"],
    ) -> Float[Array, "b m d"]:
        q = linear(x, self.q[...])
        kv = linear(context, self.kv[...])
        seen = attend(self.q_norm(q), self.k_norm(kv[..., 0, :]), kv[..., 1, :], mask)
        return self.out(seen)
