# SPDX-License-Identifier: MIT
"""Layers of convolutional codecs, channels last, in forms that run fast on a CPU too.

Axis letters: b batch, y x pixels, l bins of a spectrum, d width (i in, o out), k taps.
Kernels are stored as the matrices that the products need. Each parameter carries the
word of its layout, with which `official.py` turns it into PyTorch's and back.

On a CPU, XLA's own depthwise convolutions are slow, so they are shifted multiply-adds;
kernels along l whose strides do not overlap are one matrix product.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

MOST_PRODUCTS = 4608
"""Taps times channels of one of XLA's convolutions on a CPU; see `convolve`."""


def weight(value: Array, layout: str) -> nnx.Param:
    """A trained array; `layout` is a word of `official.LAYOUTS`."""
    return nnx.Param(value, layout=layout)


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> Array:
    return rngs.params.normal(shape, jnp.float32) * (fan_in**-0.5)


def _zeros(size: int) -> nnx.Param:
    return weight(jnp.zeros((size,), jnp.float32), "plain")


class Dense(nnx.Module):
    """The last axis times a matrix, plus a bias: a convolution with one tap."""

    def __init__(
        self, size_in: int, size_out: int, rngs: nnx.Rngs, layout: str = "linear"
    ) -> None:
        self.weight = weight(_normal(rngs, (size_in, size_out), size_in), layout)
        self.bias = _zeros(size_out)

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        kernel = self.weight[...]
        flat = x.reshape(-1, kernel.shape[0]) @ kernel + self.bias[...]
        return flat.reshape(*x.shape[:-1], kernel.shape[1])


class LayerNorm(nnx.Module):
    """Layer norm over the last axis with scale and bias; biased variance."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        self.weight = weight(jnp.ones((size,), jnp.float32), "plain")
        self.bias = _zeros(size)
        self.eps = eps

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        centred = x - jnp.mean(x, -1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), -1, keepdims=True)
        normed = centred * lax.rsqrt(variance + self.eps)
        return normed * self.weight[...] + self.bias[...]


class Depthwise(nnx.Module):
    """A convolution along l of each channel with itself; zeros beyond the ends."""

    def __init__(self, size: int, taps: int, rngs: nnx.Rngs) -> None:
        self.weight = weight(_normal(rngs, (taps, size), taps), "depthwise1d")
        self.bias = _zeros(size)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        kernel, length = self.weight[...], x.shape[1]
        taps = kernel.shape[0]
        padded = jnp.pad(x, ((0, 0), (taps // 2, taps // 2), (0, 0)))
        total = self.bias[...]
        for tap in range(taps):
            total = total + padded[:, tap : tap + length] * kernel[tap]
        return total


class Patches(nnx.Module):
    """A convolution along l whose stride is its number of taps: l becomes l / k."""

    def __init__(self, size_in: int, size_out: int, taps: int, rngs: nnx.Rngs) -> None:
        shape = (taps, size_in, size_out)
        self.weight = weight(_normal(rngs, shape, taps * size_in), "patches1d")
        self.bias = _zeros(size_out)

    def __call__(self, x: Float[Array, "b l i"]) -> Float[Array, "b lk o"]:
        taps, size_in, size_out = self.weight.shape
        flat = x.reshape(-1, taps * size_in)
        out = flat @ self.weight[...].reshape(-1, size_out) + self.bias[...]
        return out.reshape(x.shape[0], x.shape[1] // taps, size_out)


class Spread(nnx.Module):
    """The transpose of `Patches`: l becomes l k, each bin k new ones."""

    def __init__(self, size_in: int, size_out: int, taps: int, rngs: nnx.Rngs) -> None:
        shape = (size_in, taps, size_out)
        self.weight = weight(_normal(rngs, shape, size_in), "spread1d")
        self.bias = _zeros(size_out)

    def __call__(self, x: Float[Array, "b l i"]) -> Float[Array, "b lk o"]:
        size_in, taps, size_out = self.weight.shape
        flat = x.reshape(-1, size_in) @ self.weight[...].reshape(size_in, -1)
        out = flat.reshape(x.shape[0], x.shape[1] * taps, size_out)
        return out + self.bias[...]


class Convolution(nnx.Module):
    """A convolution over y and x with equal zero padding on both sides.

    Padding is explicit: "SAME" would pad a stride of two on one side only.
    """

    def __init__(
        self,
        size_in: int,
        size_out: int,
        taps: int,
        rngs: nnx.Rngs,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        shape = (taps, taps, size_in, size_out)
        self.weight = weight(_normal(rngs, shape, taps**2 * size_in), "conv2d")
        self.bias = _zeros(size_out)
        self.stride = stride
        self.padding = taps // 2 if padding is None else padding

    def __call__(self, x: Float[Array, "b y x i"]) -> Float[Array, "b yo xo o"]:
        edge = (self.padding, self.padding)
        out = convolve(x, self.weight[...], self.stride, [edge, edge])
        return out + self.bias[...]


def convolve(
    x: Float[Array, "b y x i"],
    kernel: Float[Array, "k k i o"],
    stride: int,
    padding: list[tuple[int, int]],
) -> Float[Array, "b yo xo o"]:
    """A convolution; on a CPU, of slices of the channels that are added.

    XLA's convolution on a CPU slows down when taps times channels are many: 7 x 7 taps
    of 512 channels ran at 130 GFLOP/s, in slices of 64 channels at 190.
    """
    taps, channels = kernel.shape[0] * kernel.shape[1], kernel.shape[2]
    most = MOST_PRODUCTS if jax.default_backend() == "cpu" else taps * channels
    slices = -(-taps * channels // most)
    size = -(-channels // slices)
    total = None
    for start in range(0, channels, size):
        part = lax.conv_general_dilated(
            x[..., start : start + size],
            kernel[:, :, start : start + size],
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        total = part if total is None else total + part
    assert total is not None
    return total


class Transposed(nnx.Module):
    """A transposed convolution over y and x: y becomes (y - 1) stride - 2 p + k.

    The kernel is stored flipped, so that it is the kernel of a plain convolution.
    """

    def __init__(
        self,
        size_in: int,
        size_out: int,
        taps: int,
        rngs: nnx.Rngs,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        shape = (taps, taps, size_in, size_out)
        self.weight = weight(_normal(rngs, shape, taps**2 * size_in), "transposed2d")
        self.bias = _zeros(size_out)
        self.stride = stride
        self.padding = padding

    def __call__(self, x: Float[Array, "b y x i"]) -> Float[Array, "b yo xo o"]:
        kernel, taps = self.weight[...], self.weight.shape[0]
        if (self.stride, taps, self.padding) == (2, 4, 1):
            return self._doubled(x, kernel) + self.bias[...]
        edge = taps - 1 - self.padding
        out = lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            [(edge, edge)] * 2,
            lhs_dilation=(self.stride, self.stride),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return out + self.bias[...]

    def _doubled(self, x: Array, kernel: Array) -> Array:
        """Even and odd pixels apart: each needs four of the sixteen taps."""
        b, y, c, _ = x.shape
        parts = [
            convolve(x, kernel[i::2, j::2], 1, [(1 - i, i), (1 - j, j)])
            for i in (0, 1)
            for j in (0, 1)
        ]
        grid = jnp.stack(parts, axis=3).reshape(b, y, c, 2, 2, -1)
        return grid.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * y, 2 * c, -1)


class Statistics(nnx.Variable):
    """Running mean, variance or count of a batch norm; stored, not trained."""


class FixedBatchNorm(nnx.Module):
    """Batch norm with stored statistics, eps 1e-5: a scale and a shift per channel."""

    def __init__(self, size: int) -> None:
        self.weight = weight(jnp.ones((size,), jnp.float32), "plain")
        self.bias = _zeros(size)
        zeros, ones = jnp.zeros((size,), jnp.float32), jnp.ones((size,), jnp.float32)
        self.running_mean = Statistics(zeros, layout="plain")
        self.running_var = Statistics(ones, layout="plain")
        self.num_batches_tracked = Statistics(jnp.zeros((), jnp.int32), layout="count")

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        scale = self.weight[...] * lax.rsqrt(self.running_var[...] + 1e-5)
        return (x - self.running_mean[...]) * scale + self.bias[...]


def erf_gelu(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """The exact GELU, x Phi(x)."""
    return jax.nn.gelu(x, approximate=False)
