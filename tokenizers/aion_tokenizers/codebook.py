# SPDX-License-Identifier: MIT
"""Vector quantization: a codebook that follows the latents by moving averages.

Van den Oord et al. 2017, arXiv:1711.00937 (appendix A.1 for the averages); codes that
nothing uses are moved onto latents of the batch (Dhariwal et al. 2020,
arXiv:2005.00341). All sums go over the whole batch, so under jit with the batch cut
over devices every device ends with the same codebook, that of one device.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from aion.errors import ConfigError
from aion_tokenizers.quantizers import Quantized, count_codes, straight_through

_TINY = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Codebook:
    """Code vectors and the moving averages behind them.

    Attributes:
        vectors: float32 [v, d].
        sizes: average number of latents per code and batch, [v].
        sums: average sum of the latents of a code per batch, [v, d].
    """

    vectors: Any
    sizes: Any
    sums: Any


@dataclass(frozen=True)
class VQ:
    """How latents are matched with a codebook and how it follows them.

    Attributes:
        num_codes, dimension: shape of the codebook.
        cosine: latents and codes have unit length and the nearest is the one with the
            smallest angle; otherwise the Euclidean distance counts.
        decay: of the moving averages, per batch.
        commitment: weight of (latent - code)^2, which keeps latents near their codes.
        dead_below: codes with fewer latents per batch, on average, are replaced.
    """

    num_codes: int
    dimension: int
    cosine: bool = True
    decay: float = 0.99
    commitment: float = 0.25
    dead_below: float = 0.02

    def __post_init__(self) -> None:
        sizes_fit = self.num_codes > 0 and self.dimension > 0
        if not (sizes_fit and 0 <= self.decay < 1 and self.dead_below >= 0):
            raise ConfigError(
                f"VQ of {self.num_codes} codes of length {self.dimension} with decay "
                f"{self.decay} and dead_below {self.dead_below}",
                "Sizes are positive, the decay lies in [0, 1), dead_below is not "
                "negative.",
            )

    def start(self, key: Array) -> Codebook:
        """Random unit vectors, each as if it had held one latent per batch."""
        shape = (self.num_codes, self.dimension)
        vectors = self._direction(jax.random.normal(key, shape, jnp.float32))
        if not self.cosine:
            vectors = vectors * jnp.float32(self.dimension**0.5)
        return Codebook(vectors, jnp.ones(self.num_codes, jnp.float32), vectors)

    def _direction(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.maximum(square, _TINY))

    def _seen(self, latent: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return self._direction(latent) if self.cosine else latent

    def encode(
        self, book: Codebook, latent: Float[Array, "*b d"]
    ) -> Int32[Array, "*b"]:
        """The nearest code of each latent; the lowest of equals."""
        flat = self._seen(latent).reshape(-1, self.dimension)
        score = flat @ book.vectors.T
        if not self.cosine:
            score = score - 0.5 * jnp.sum(jnp.square(book.vectors), axis=-1)
        codes = jnp.argmax(score, axis=-1).astype(jnp.int32)
        return codes.reshape(latent.shape[:-1])

    def decode(self, book: Codebook, codes: Int[Array, "*b"]) -> Float[Array, "*b d"]:
        """The vectors of codes."""
        return book.vectors[codes]

    def quantize(
        self,
        book: Codebook,
        latent: Float[Array, "*b d"],
        valid: Bool[Array, "*b"] | None = None,
    ) -> Quantized:
        """Code vectors with straight-through gradients, and the commitment loss."""
        seen = self._seen(latent)
        codes = self.encode(book, latent)
        vectors = jax.lax.stop_gradient(self.decode(book, codes))
        distance = jnp.mean(jnp.square(seen - vectors), axis=-1)
        weight = jnp.ones(codes.shape) if valid is None else valid
        weight = weight.astype(distance.dtype)
        loss = jnp.sum(distance * weight) / jnp.maximum(jnp.sum(weight), 1.0)
        counts = count_codes(codes, self.num_codes, valid)
        values = straight_through(seen, vectors)
        return Quantized(values, codes, self.commitment * loss, counts)

    def update(
        self,
        book: Codebook,
        latent: Float[Array, "*b d"],
        key: Array,
        valid: Bool[Array, "*b"] | None = None,
    ) -> Codebook:
        """The codebook after a batch: averages moved on, dead codes replaced.

        Args:
            book: the codebook before.
            latent: all latents of the batch.
            key: chooses the latents that replace dead codes.
            valid: False where a latent belongs to no data; it has no influence.
        """
        codes = self.encode(book, latent)
        flat = self._seen(jax.lax.stop_gradient(latent)).reshape(-1, self.dimension)
        weight = jnp.ones(codes.shape) if valid is None else valid
        weight = weight.astype(jnp.float32).reshape(-1)
        counts = count_codes(codes, self.num_codes, valid)
        sums = jnp.zeros_like(book.sums)
        sums = sums.at[codes.reshape(-1)].add(flat * weight[:, None])
        moved = Codebook(
            book.vectors,
            self.decay * book.sizes + (1 - self.decay) * counts,
            self.decay * book.sums + (1 - self.decay) * sums,
        )
        mean = moved.sums / jnp.maximum(moved.sizes, _TINY)[:, None]
        vectors = self._direction(mean) if self.cosine else mean
        # A code whose average has faded to nothing keeps its vector until it is
        # replaced: zero divided by zero is no place.
        alive = moved.sizes > _TINY
        vectors = jnp.where(alive[:, None], vectors, book.vectors)
        moved = Codebook(vectors, moved.sizes, moved.sums)
        return self._revive(moved, flat, weight, key)

    def _revive(
        self, book: Codebook, flat: Array, weight: Array, key: Array
    ) -> Codebook:
        """Dead codes moved onto random valid latents; none without such a latent."""
        total = jnp.cumsum(weight)
        draw = jax.random.uniform(key, (self.num_codes,)) * total[-1]
        chosen = flat[jnp.clip(jnp.searchsorted(total, draw), 0, flat.shape[0] - 1)]
        # side="left" can meet a weight of zero only when the draw is exactly zero.
        dead = (book.sizes < self.dead_below) & (total[-1] > 0)
        size = jnp.float32(max(self.dead_below, _TINY))
        return Codebook(
            jnp.where(dead[:, None], chosen, book.vectors),
            jnp.where(dead, size, book.sizes),
            jnp.where(dead[:, None], chosen * size, book.sums),
        )


class Averages(nnx.Variable):
    """A part of a codebook: stored with the module, moved by averages, not trained."""


class VectorQuantizer(nnx.Module):
    """A `VQ` with its codebook as a part of a module."""

    def __init__(self, config: VQ, rngs: nnx.Rngs) -> None:
        book = config.start(rngs.params())
        self.config = config
        self.vectors = Averages(book.vectors)
        self.sizes = Averages(book.sizes)
        self.sums = Averages(book.sums)

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return self.config.num_codes

    @property
    def dimension(self) -> int:
        """Length of a latent."""
        return self.config.dimension

    @property
    def book(self) -> Codebook:
        """The codebook as it is."""
        return Codebook(self.vectors[...], self.sizes[...], self.sums[...])

    def __call__(
        self, latent: Float[Array, "*b d"], valid: Bool[Array, "*b"] | None = None
    ) -> Quantized:
        """See `VQ.quantize`; changes nothing."""
        return self.config.quantize(self.book, latent, valid)

    def encode(self, latent: Float[Array, "*b d"]) -> Int32[Array, "*b"]:
        """Codes of latents."""
        return self.config.encode(self.book, latent)

    def decode(self, codes: Int[Array, "*b"]) -> Float[Array, "*b d"]:
        """The vectors of codes."""
        return self.config.decode(self.book, codes)

    def follow(
        self,
        latent: Float[Array, "*b d"],
        key: Array,
        valid: Bool[Array, "*b"] | None = None,
    ) -> None:
        """Moves the codebook on by a batch; see `VQ.update`."""
        book = self.config.update(self.book, latent, key, valid)
        self.vectors[...] = book.vectors
        self.sizes[...] = book.sizes
        self.sums[...] = book.sums

    def features(self) -> np.ndarray:
        """What each code means, float32 [v, d]: its vector in units of their spread."""
        vectors = np.asarray(self.vectors[...], np.float32)
        return vectors / max(float(vectors.std()), _TINY)
