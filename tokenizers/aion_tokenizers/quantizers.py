# SPDX-License-Identifier: MIT
"""Quantizers without a trained codebook, and what all quantizers report.

FSQ: Mentzer et al. 2023, arXiv:2309.15505. LFQ with its entropy terms: Yu et al. 2023,
arXiv:2310.05737. The quantizer with a codebook is in `codebook.py`.

All work on the last axis, are pure, and give the same numbers when the batch is cut
over devices: under jit a sum over the batch is a sum over all devices.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32

from aion.errors import ConfigError

MOST_CODES = 2**31 - 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantized:
    """What a quantizer makes of latents [..., d].

    Attributes:
        values: what the decoder gets, [..., d]; its gradient passes to the latents as
            if nothing had been rounded.
        codes: int32 [...].
        loss: what to add to the reconstruction loss, a scalar.
        counts: how often each code was used in the whole batch, float32 [v].
    """

    values: Any
    codes: Any
    loss: Any
    counts: Any


def straight_through(
    latent: Float[Array, "*b d"], values: Float[Array, "*b d"]
) -> Float[Array, "*b d"]:
    """`values`, with the gradient of `latent` (Bengio et al. 2013, arXiv:1308.3432)."""
    return latent + jax.lax.stop_gradient(values - latent)


def count_codes(
    codes: Int[Array, "*b"], num_codes: int, valid: Bool[Array, "*b"] | None = None
) -> Float[Array, " v"]:
    """How often each code stands in the batch, where valid."""
    ones = jnp.ones(codes.shape) if valid is None else valid
    flat = ones.astype(jnp.float32).reshape(-1)
    return jnp.zeros(num_codes, jnp.float32).at[codes.reshape(-1)].add(flat)


def usage(counts: Float[Array, " v"]) -> Float[Array, ""]:
    """Fraction of the codes that were used."""
    return jnp.mean((counts > 0).astype(jnp.float32))


def perplexity(counts: Float[Array, " v"]) -> Float[Array, ""]:
    """exp of the entropy of the codes: how many codes used evenly would be as varied.

    With few tokens it is biased low; it cannot exceed their number.
    """
    share = counts / jnp.maximum(counts.sum(), 1.0)
    return jnp.exp(-jnp.sum(share * jnp.log(jnp.where(share > 0, share, 1.0))))


def _mean(values: Float[Array, "*b"], valid: Bool[Array, "*b"] | None) -> Array:
    if valid is None:
        return jnp.mean(values)
    weight = valid.astype(values.dtype)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)


@dataclass(frozen=True)
class FSQ:
    """Finite scalar quantization: each axis is rounded to one of its L levels.

    digit = round(bound(z)) + L // 2, code = sum of digit_i times the product of the
    levels before i (the first axis changes fastest), value = (digit - L // 2) /
    (L // 2): the integer conventions of AION-1. Nothing is trained and no code can die
    for good.

    Attributes:
        levels: levels per axis, each at least 2.
        eps: how far the bound reaches beyond the outermost levels.
    """

    levels: tuple[int, ...]
    eps: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(int(n) for n in self.levels))
        if not self.levels or min(self.levels) < 2 or self.num_codes > MOST_CODES:
            raise ConfigError(
                f"FSQ with levels {self.levels}",
                "Give two levels or more per axis, and fewer than 2**31 codes.",
            )

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return math.prod(self.levels)

    @property
    def dimension(self) -> int:
        """Length of a latent."""
        return len(self.levels)

    @property
    def _half(self) -> np.ndarray:
        return np.asarray(self.levels, np.int32) // 2

    @property
    def _basis(self) -> np.ndarray:
        return np.cumprod([1, *self.levels[:-1]]).astype(np.int32)

    @property
    def _bound(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The bound's reach, offset and shift, for each axis."""
        levels = np.asarray(self.levels, np.float32)
        reach = (levels - 1) * np.float32(1 + self.eps) / np.float32(2)
        offset = np.where(levels % 2 == 1, 0.0, 0.5).astype(np.float32)
        return reach, offset, np.arctanh(offset / reach)

    def bound(self, latent: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Latents squeezed so that rounding gives the digits minus L // 2."""
        reach, offset, shift = self._bound
        return jnp.tanh(latent + shift) * reach - offset

    def digits(self, latent: Float[Array, "*b d"]) -> Int32[Array, "*b d"]:
        """The level of each axis, 0 to L - 1; ties go to the even neighbour."""
        return jnp.round(self.bound(latent)).astype(jnp.int32) + self._half

    def codes_of_digits(self, digits: Int[Array, "*b d"]) -> Int32[Array, "*b"]:
        """One code per vector of digits."""
        return jnp.sum(digits.astype(jnp.int32) * self._basis, axis=-1, dtype=jnp.int32)

    def digits_of_codes(self, codes: Int[Array, "*b"]) -> Int32[Array, "*b d"]:
        """The inverse of `codes_of_digits`."""
        levels = np.asarray(self.levels, np.int32)
        return codes.astype(jnp.int32)[..., None] // self._basis % levels

    def encode(self, latent: Float[Array, "*b d"]) -> Int32[Array, "*b"]:
        """Codes of latents."""
        return self.codes_of_digits(self.digits(latent))

    def decode(self, codes: Int[Array, "*b"]) -> Float[Array, "*b d"]:
        """What codes stand for, in [-1, 1]."""
        return self.values(self.digits_of_codes(codes).astype(jnp.float32))

    def values(self, digits: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """What digits, also ones between two levels, stand for, in [-1, 1]."""
        half = self._half.astype(np.float32)
        return (digits - half) / half

    def clip(self, digits: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Digits that exist."""
        return jnp.clip(digits, 0.0, np.asarray(self.levels, np.float32) - 1)

    def relaxed(self, latent: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Values before they are rounded."""
        return self.bound(latent) / self._half.astype(np.float32)

    def latent(self, digits: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Latents in the middle of what is rounded to these digits."""
        reach, offset, shift = self._bound
        inside = (digits - self._half.astype(np.float32) + offset) / reach
        return jnp.arctanh(inside) - shift

    def __call__(
        self, latent: Float[Array, "*b d"], valid: Bool[Array, "*b"] | None = None
    ) -> Quantized:
        """Rounded latents with straight-through gradients; the loss is zero."""
        half = self._half.astype(np.float32)
        bounded = self.bound(latent)
        values = straight_through(bounded, jnp.round(bounded)) / half
        codes = self.encode(latent)
        counts = count_codes(codes, self.num_codes, valid)
        return Quantized(values, codes, jnp.zeros((), jnp.float32), counts)

    def features(self) -> np.ndarray:
        """What each code means, float32 [v, d]: its digits in [-1, 1]."""
        digits = np.arange(self.num_codes)[:, None] // self._basis % self.levels
        return ((digits - self._half) / self._half).astype(np.float32)


@dataclass(frozen=True)
class LFQ:
    """Lookup-free quantization: the signs of the latent are the bits of the code.

    The first axis is the most significant bit; zero counts as minus one. Without the
    entropy terms training collapses onto few codes: they make each token sure of its
    code (low entropy per token) and the batch use all codes (high entropy on average).
    A token's probability of a code is the softmax of 2 beta (latent . code), which
    factorises over the bits: p(bit = 1) = sigmoid(4 beta latent).

    Attributes:
        bits: length of a latent; 2**bits codes.
        inverse_temperature: beta.
        entropy: weight of the entropy terms.
        diversity: weight of the batch's entropy in them.
        commitment: weight of (latent - sign)^2.
        group: bits whose codes are counted jointly in the batch's entropy; beyond,
            groups count as independent, so that 2**18 codes fit in memory.
    """

    bits: int
    inverse_temperature: float = 100.0
    entropy: float = 0.1
    diversity: float = 1.0
    commitment: float = 0.25
    group: int = 10

    def __post_init__(self) -> None:
        if not (0 < self.bits < 31 and 0 < self.group <= 16):
            raise ConfigError(
                f"LFQ with {self.bits} bits in groups of {self.group}",
                "Give 1 to 30 bits, and groups of 1 to 16.",
            )

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return 2**self.bits

    @property
    def dimension(self) -> int:
        """Length of a latent."""
        return self.bits

    @property
    def _powers(self) -> np.ndarray:
        return (2 ** np.arange(self.bits)[::-1]).astype(np.int32)

    def encode(self, latent: Float[Array, "*b d"]) -> Int32[Array, "*b"]:
        """Codes of latents."""
        bits = (latent > 0).astype(jnp.int32)
        return jnp.sum(bits * self._powers, axis=-1, dtype=jnp.int32)

    def decode(self, codes: Int[Array, "*b"]) -> Float[Array, "*b d"]:
        """The signs that codes stand for, -1 or 1."""
        bits = codes.astype(jnp.int32)[..., None] // self._powers % 2
        return 2.0 * bits.astype(jnp.float32) - 1.0

    def __call__(
        self, latent: Float[Array, "*b d"], valid: Bool[Array, "*b"] | None = None
    ) -> Quantized:
        """Signs with straight-through gradients; entropy and commitment loss."""
        signs = jnp.where(latent > 0, 1.0, -1.0).astype(latent.dtype)
        codes = self.encode(latent)
        certainty, spread = self.entropies(latent, valid)
        distance = jnp.mean(jnp.square(latent - signs), axis=-1)
        loss = self.entropy * (certainty - self.diversity * spread)
        loss = loss + self.commitment * _mean(distance, valid)
        counts = count_codes(codes, self.num_codes, valid)
        return Quantized(straight_through(latent, signs), codes, loss, counts)

    def entropies(
        self, latent: Float[Array, "*b d"], valid: Bool[Array, "*b"] | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean entropy of a token's code, and entropy of the mean over the batch."""
        logit = 4.0 * self.inverse_temperature * latent.reshape(-1, self.bits)
        rows = None if valid is None else valid.reshape(-1)
        high, low = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
        each = -(jnp.exp(high) * high + jnp.exp(low) * low).sum(-1)
        spread = jnp.zeros((), latent.dtype)
        for start in range(0, self.bits, self.group):
            part = slice(start, start + self.group)
            joint = _joint(jnp.exp(high[:, part]), jnp.exp(low[:, part]))
            if rows is not None:
                joint = joint * rows[:, None].astype(joint.dtype)
            total = joint.sum(0)
            share = total / jnp.maximum(total.sum(), 1e-12)
            spread -= jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12)))
        return _mean(each, rows), spread

    def features(self) -> np.ndarray:
        """What each code means, float32 [v, d]: its bits as -1 and 1."""
        bits = np.arange(self.num_codes)[:, None] // self._powers % 2
        return (2.0 * bits - 1.0).astype(np.float32)


def _joint(high: Float[Array, "n d"], low: Float[Array, "n d"]) -> Array:
    """Probability of each code from those of its bits, [n, 2**d]."""
    joint = jnp.ones((high.shape[0], 1), high.dtype)
    for bit in range(high.shape[1]):
        pair = jnp.stack([low[:, bit], high[:, bit]], axis=-1)
        joint = (joint[:, :, None] * pair[:, None]).reshape(high.shape[0], -1)
    return joint
