# SPDX-License-Identifier: MIT
"""Blocks of convolutional codecs: MagViT-2 (images), ConvNeXt-V2 (spectra), VQ-VAE.

Sources: squeeze-excite with global context, arXiv:2012.13375; MagViT-2,
arXiv:2310.05737; ConvNeXt-V2, arXiv:2301.00808; VQ-VAE, arXiv:1711.00937. All are
channels last and have the sizes, orders and constants of AION-1's codecs.

`OFFICIAL` says what PyTorch calls an attribute whose name there is a number.
"""

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from aion_tokenizers.convolutions import (
    Convolution,
    Dense,
    Depthwise,
    FixedBatchNorm,
    LayerNorm,
    erf_gelu,
    weight,
)


class SqueezeExcite(nnx.Module):
    """Channels times a gate that depends on an attention-weighted mean of all pixels.

    One bad pixel therefore changes every token of its image.
    """

    OFFICIAL: ClassVar[Mapping[str, str]] = {"narrow": "net.0", "widen": "net.2"}

    def __init__(self, size: int, rngs: nnx.Rngs) -> None:
        hidden = max(16, size // 2)
        self.to_k = Dense(size, 1, rngs, "pointwise2d")
        self.narrow = Dense(size, hidden, rngs, "pointwise2d")
        self.widen = Dense(hidden, size, rngs, "pointwise2d")

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        pixels = x.reshape(x.shape[0], -1, x.shape[-1])
        share = jax.nn.softmax(self.to_k(pixels)[..., 0], axis=-1)
        pooled = jnp.einsum("bn,bnd->bd", share, pixels)
        hidden = jax.nn.leaky_relu(self.narrow(pooled), 0.1)
        gate = jax.nn.sigmoid(self.widen(hidden))
        return x * gate[:, None, None]


class ResidualUnit(nnx.Module):
    """x plus what a 3x3 and a 1x1 convolution and a squeeze-excite make of it."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {
        "spatial": "net.0.conv",
        "pointwise": "net.2",
        "excite": "net.4",
    }

    def __init__(self, size: int, rngs: nnx.Rngs) -> None:
        self.spatial = Convolution(size, size, 3, rngs)
        self.pointwise = Dense(size, size, rngs, "pointwise2d")
        self.excite = SqueezeExcite(size, rngs)

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        hidden = jax.nn.elu(self.spatial(x))
        return x + self.excite(jax.nn.elu(self.pointwise(hidden)))


class Upsample2x(nnx.Module):
    """Twice as many pixels along y and x: 1x1 convolution, SiLU, pixel shuffle."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {"expand": "net.0"}

    def __init__(self, size_in: int, size_out: int, rngs: nnx.Rngs) -> None:
        self.expand = Dense(size_in, 4 * size_out, rngs, "pointwise2d")

    def __call__(self, x: Float[Array, "b y x i"]) -> Float[Array, "b y2 x2 o"]:
        wide = jax.nn.silu(self.expand(x))
        b, y, c, size = wide.shape
        parts = wide.reshape(b, y, c, size // 4, 2, 2)
        return parts.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * y, 2 * c, size // 4)


class ResponseNorm(nnx.Module):
    """Global response norm: channels compete by their L2 norm along the spectrum."""

    def __init__(self, size: int) -> None:
        self.gamma = weight(jnp.zeros((size,), jnp.float32), "channels")
        self.beta = weight(jnp.zeros((size,), jnp.float32), "channels")

    def gain(self, x: Float[Array, "b l d"]) -> Float[Array, "b d"]:
        """The factor of each channel; the norm is `x * gain + beta`."""
        norm = jnp.sqrt(jnp.sum(jnp.square(x), axis=1))
        relative = norm / (jnp.mean(norm, axis=-1, keepdims=True) + 1e-6)
        return 1.0 + self.gamma[...] * relative


class ConvNextBlock(nnx.Module):
    """x plus depthwise convolution, layer norm and a two-layer network with a norm.

    The response norm is a factor per object and channel, so it goes into whichever of
    its two neighbours in the product, hidden values or weights, has fewer numbers.
    """

    def __init__(self, size: int, rngs: nnx.Rngs) -> None:
        self.dwconv = Depthwise(size, 7, rngs)
        self.norm = LayerNorm(size)
        self.pwconv1 = Dense(size, 4 * size, rngs)
        self.grn = ResponseNorm(4 * size)
        self.pwconv2 = Dense(4 * size, size, rngs)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        hidden = erf_gelu(self.pwconv1(self.norm(self.dwconv(x))))
        gain = self.grn.gain(hidden)
        kernel, bias = self.pwconv2.weight[...], self.pwconv2.bias[...]
        shift = self.grn.beta[...] @ kernel + bias
        if x.shape[1] > kernel.shape[1]:
            out = jnp.einsum("blf,bfd->bld", hidden, gain[:, :, None] * kernel)
        else:
            out = jnp.einsum("blf,fd->bld", hidden * gain[:, None], kernel)
        return x + out + shift


class ResidualLayer(nnx.Module):
    """x plus [ReLU, 3x3 convolution, batch norm, ReLU, 1x1 convolution] of x."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {
        "spatial": "net.1",
        "norm": "net.2",
        "pointwise": "net.4",
    }

    def __init__(self, size: int, hidden: int, rngs: nnx.Rngs) -> None:
        self.spatial = Convolution(size, hidden, 3, rngs)
        self.norm = FixedBatchNorm(hidden)
        self.pointwise = Dense(hidden, size, rngs, "pointwise2d")

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        hidden = self.norm(self.spatial(jax.nn.relu(x)))
        return x + self.pointwise(jax.nn.relu(hidden))


class ResidualStack(nnx.Module):
    """Residual layers, one after another."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {"layers": "net"}

    def __init__(self, size: int, hidden: int, count: int, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(ResidualLayer(size, hidden, rngs) for _ in range(count))

    def __call__(self, x: Float[Array, "b y x d"]) -> Float[Array, "b y x d"]:
        for layer in self.layers:
            x = layer(x)
        return x
