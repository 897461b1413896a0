# SPDX-License-Identifier: MIT
"""Parameters with logical axes, layer norm, SwiGLU.

Axis letters, one alphabet for annotations, einsum strings and sharding names: b batch,
n shown tokens, m asked tokens, t tokens of one observation, d width, h heads, k head
width, f hidden width, v vocabulary, s samples; y x pixels, c bands, l wavelength bins.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Buffer(nnx.Variable):
    """An array that is stored with the model and is not trained."""


def parameter(value: Array, axes: str) -> nnx.Param:
    """A trained array whose dimensions are named by the letters of `axes`.

    A parameter of a stack of layers has one dimension more, in front.
    """
    return nnx.Param(value, axes=tuple(axes))


def xavier(key: Array, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Xavier-uniform values in float32, with the fans of the matrix that is meant."""
    bound = math.sqrt(6.0 / (fan_in + fan_out))
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def linear(x: Float[Array, " *b d"], kernel: Float[Array, " d *o"]) -> Array:
    """x times a kernel in x's dtype: the last axis becomes the kernel's other axes.

    Both become matrices first: on a CPU, gradients that contract over several axes took
    three times as long. Kernels are laid out with their sharded axis next to d, so that
    flattening keeps it whole on its devices.
    """
    flat = x.reshape(-1, x.shape[-1])
    matrix = kernel.astype(x.dtype).reshape(kernel.shape[0], -1)
    out = flat @ matrix
    return out.reshape(*x.shape[:-1], *kernel.shape[1:])


class LayerNorm(nnx.Module):
    """Layer norm over the last axis in float32, with a scale and no bias, eps 1e-6."""

    def __init__(self, size: int, axis: str = "d") -> None:
        self.scale = parameter(jnp.ones((size,), jnp.float32), axis)

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        wide = x.astype(jnp.float32)
        centred = wide - jnp.mean(wide, -1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), -1, keepdims=True)
        normed = centred * jax.lax.rsqrt(variance + 1e-6)
        return (normed * self.scale[...]).astype(x.dtype)


class SwiGLU(nnx.Module):
    """down(SiLU(gate(x)) * up(x)), without biases (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int, rngs: nnx.Rngs) -> None:
        self.gate = parameter(
            xavier(rngs.params(), (width, hidden), width, hidden), "df"
        )
        self.up = parameter(xavier(rngs.params(), (width, hidden), width, hidden), "df")
        self.down = parameter(
            xavier(rngs.params(), (hidden, width), hidden, width), "fd"
        )

    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        hidden = jax.nn.silu(linear(x, self.gate[...])) * linear(x, self.up[...])
        return linear(hidden, self.down[...])
