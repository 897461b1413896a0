# SPDX-License-Identifier: MIT
"""Training of an image codec's decoder on latents that are refined along with it.

In training by `image_task` a decoder sees the codes of the encoder; in use it sees
refined ones, which say much more of what is bright. Here the encoder stays as it is,
and what describes bands with it. The same squares of images come again and again. Each
has latents of its own, which at each visit go on down the misfit of their rounded
values, and the decoder follows (an auto-decoder: Park et al. 2019, arXiv:1901.05103).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int32

from aion.errors import ConfigError
from aion.train.codec_task import Sample
from aion_tokenizers.descent import Averages, by_object, prior
from aion_tokenizers.image import ImageCodec
from aion_tokenizers.image_encoder import DECODER, trained_alone
from aion_tokenizers.image_network import ImageNetwork
from aion_tokenizers.image_pixels import LARGEST
from aion_tokenizers.image_task import ImageTask
from aion_tokenizers.network_state import (
    filled_network,
    network_arrays,
    start_from,
)
from aion_tokenizers.recorruption import Pair, recorrupt
from aion_tokenizers.refinement import Data, refined
from aion_tokenizers.wings import packed, unpacked

BRIGHT = 100.0
"""S/N of its brightest pixel from which a square is a bright one."""

_CALM = 1e-3  # slope below which a step shrinks, in units of the objective
_PIXELS = (1, 2, 3)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Descent:
    """Latents on their way, and Adam's averages of their slopes.

    Attributes:
        origin: the encoder's, as of `wings.packed`, [b, n].
        latent: where they are now.
        mean, square: of the slope.
        steps: made, [b].
    """

    origin: Any
    latent: Any
    mean: Any
    square: Any
    steps: Any

    def moved(self, slope: Float[Array, "b n"], rate: Array) -> "Descent":
        """After one step of Adam."""
        before = self.steps.astype(jnp.float32)[:, None]
        averages = Averages(self.mean, self.square, before).after(slope)
        change = rate[:, None] * averages.direction(_CALM)
        return Descent(
            self.origin,
            self.latent - change,
            averages.mean,
            averages.square,
            self.steps + 1,
        )


class FittedImages(nnx.Module):
    """A network and the latents of the squares that its decoder is trained on.

    Attributes:
        network: of the codec.
        origin, latent, mean, square, steps: of every square, see `Descent`.
    """

    def __init__(self, network: ImageNetwork, squares: int, side: int) -> None:
        self.network = network
        self.shape = (side, side, network.to_latent.bias.shape[-1])
        shape = (squares, 1 + math.prod(self.shape))
        for name in ("origin", "latent", "mean", "square"):
            setattr(self, name, nnx.Variable(jnp.zeros(shape, jnp.float32)))
        self.steps = nnx.Variable(jnp.zeros(squares, jnp.int32))

    def rows(self, place: Int32[Array, " b"]) -> Descent:
        """Those of some squares."""
        return Descent(*(getattr(self, f.name)[place] for f in fields(Descent)))

    def write(self, place: Int32[Array, " b"], rows: Descent) -> None:
        """Puts those of some squares back."""
        for one in fields(Descent):
            variable = getattr(self, one.name)
            variable[...] = variable[...].at[place].set(getattr(rows, one.name))


@dataclass(frozen=True)
class ImageFit(ImageTask):
    """How the decoder of an image codec is trained on refined latents.

    Attributes:
        split: amount of recorruption between what latents are fitted to and what the
            decoder is held against; with 0 they are the same.
        pool: batches, which come again and again.
        kept: squares of a batch; others that `ImageTask` cuts are left out.
        bright: share of the kept ones that are `BRIGHT`, if there are so many.
        visits: that each square gets in all.
        first: steps of descent from the encoder's latents, at the first visit.
        moves: steps of latents at each visit, after which the decoder is held against
            the data: it should not learn to make up for what they are behind.
        step: of a latent in units of the slope's size, at the first visit; it falls
            along a cosine.
        least: added to it.
        axes: of FSQ, the last ones, that the codec in `start` does not have.

    Raises:
        ConfigError: no codec to start from, or numbers below 1.
    """

    split: float = 0.0
    pool: int = 20
    kept: int = 40
    bright: float = 0.65
    visits: int = 30
    first: int = 20
    moves: int = 1
    step: float = 0.03
    least: float = 0.002
    axes: int = 0

    def __post_init__(self) -> None:
        if not self.start:
            raise ConfigError(
                "a decoder is fitted to the latents of a codec that is trained",
                "Give its folder as codec.start.",
            )
        least = min(self.pool, self.kept, self.visits, self.moves)
        if least < 1 or self.crop % self.network.patch:
            raise ConfigError(
                f"a fit with {self}",
                "Give 1 or more of all, and a crop of whole patches.",
            )
        network = self.network
        if self.axes and (
            network.quantizer != "fsq" or not 0 < self.axes < len(network.levels)
        ):
            raise ConfigError(
                f"{self.axes} axes of {network.quantizer} {network.levels} are new",
                "Give fewer than codec.network.levels, of fsq.",
            )

    def build(self, key: Array) -> FittedImages:
        """The network to start from, with room for the latents."""
        side = self.crop // self.network.patch
        network = self._with_axes(key) if self.axes else super().build(key)
        return FittedImages(network, self.pool * self.kept, side)

    def _with_axes(self, key: Array) -> ImageNetwork:
        """The network of the start, whose encoder leaves new axes at 0."""
        levels = self.network.levels
        sizes = replace(self.network, levels=levels[: len(levels) - self.axes])
        arrays = network_arrays(start_from(self.start, ImageCodec.word, sizes).network)
        fresh = self.network.network(nnx.Rngs(params=key)).from_latent.weight[...]
        for name in ("weight", "bias"):
            old = arrays[f"to_latent.{name}"]
            more = ((0, 0),) * (old.ndim - 1) + ((0, self.axes),)
            arrays[f"to_latent.{name}"] = jnp.pad(old, more)
        old = arrays["from_latent.weight"]
        arrays["from_latent.weight"] = jnp.concatenate([old, fresh[len(old) :]])
        return filled_network(self.network, arrays, self.start)

    def codec(self, module: FittedImages) -> ImageCodec:
        """The codec with a trained network."""
        return super().codec(module.network)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Squares as of `ImageTask`, the kept ones alone.

        Raises:
            ConfigError: there are fewer than are to be kept.
        """
        batch = super().collate(samples, rng)
        if rng is None:
            return batch
        signal = np.where(batch["valid"] > 0, batch["flux"] / batch["sigma"], 0)
        peak, kept = signal.max(axis=_PIXELS), self.kept // jax.process_count()
        if len(peak) < kept:
            raise ConfigError(
                f"{len(peak)} squares in a batch, of which {kept} are to be kept",
                "Give a larger data.batch, or more codec.windows.",
            )
        # Squares come source by source: without dice few of the last would be kept.
        order = rng.permutation(len(peak))
        bright, faint = order[peak[order] >= BRIGHT], order[peak[order] < BRIGHT]
        most = round(self.bright * kept)
        rows = np.concatenate([bright[:most], faint, bright[most:]])[:kept]
        return {k: v[rows] for k, v in batch.items()}

    def loss(
        self,
        module: FittedImages,
        part: dict[str, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "..."]]]:
        """The misfit of what is decoded after the latents of these squares moved.

        Without a key it is that of `ImageTask`.
        """
        if key is None:
            return super().loss(module.network, part, None, mesh)
        still = trained_alone(module.network, ())
        place, pair = part["place"], self.pair(part)
        noise = part["sigma"] * np.float32(np.hypot(1, self.split))
        data = Data(pair.first, noise, part["valid"], part["known"])
        descent = self._begun(still, module.rows(place), part["told"], data)

        shape = (len(place), *module.shape)

        def objective(row: Array) -> Array:
            far = 2 * prior(row, descent.origin)
            misfit = _chi2(_decoded(still, row, shape, data), data)
            return jnp.sum(self._weights(misfit) * (misfit + far / _pixels(data)))

        def move(descent: Descent, _: None) -> tuple[Descent, None]:
            slope = jax.grad(objective)(descent.latent)
            return descent.moved(slope, self._rate(descent)), None

        descent, _ = jax.lax.scan(move, descent, None, length=self.moves)
        descent = jax.lax.stop_gradient(descent)
        module.write(place, descent)
        noise = part["sigma"] * np.float32(pair.excess**0.5)
        held = Data(pair.second, noise, part["valid"], part["known"])
        network = trained_alone(module.network, DECODER)
        misfit = _chi2(_decoded(network, descent.latent, shape, held), held)
        codes = network.quantizer(unpacked(descent.latent, shape)[0])
        pixels = _pixels(held)
        sums = jnp.stack([jnp.sum(misfit * pixels), jnp.sum(pixels)])
        loss = jnp.sum(part["share"] * self._weights(misfit) * misfit)
        return loss, {"counts": codes.counts, "chi2": sums}

    def prepare(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with the share of one pixel in the loss, or of one square."""
        if "place" not in batch:
            return super().prepare(batch)
        rows = len(batch["place"])
        return batch | {"share": jnp.full(rows, 1 / rows, jnp.float32)}

    def pair(self, part: dict[str, Array]) -> Pair:
        """What latents are fitted to and what the decoder is held against: the same at
        every visit, with independent noise unless `split` is 0."""
        if not self.split:
            return Pair(part["flux"], part["flux"], 1.0)

        def split(place: Array, flux: Array, sigma: Array) -> tuple[Array, Array]:
            key = jax.random.fold_in(jax.random.key(0), place)
            return recorrupt(flux, sigma, key, self.split)[:2]

        first, second = jax.vmap(split)(part["place"], part["flux"], part["sigma"])
        return Pair(first, second, 1 + self.split**-2)

    def _begun(
        self, network: ImageNetwork, rows: Descent, told: Array, data: Data
    ) -> Descent:
        """Those at their first visit get refined latents of the encoder."""

        def begin() -> Descent:
            pixels = jnp.arcsinh(jnp.where(data.valid > 0, data.flux, 0.0))
            origin = network.encode(pixels, data.valid, told)
            latent = packed(*refined(network, origin, data, self.first))
            zero = jnp.zeros_like(latent)
            fresh = Descent(packed(origin), latent, zero, zero, rows.steps)
            first = rows.steps == 0

            def pick(new: Array, old: Array) -> Array:
                return jnp.where(by_object(first, old), new, old)

            return jax.tree.map(pick, fresh, rows)

        return jax.lax.cond(jnp.any(rows.steps == 0), begin, lambda: rows)

    def _weights(self, misfit: Float[Array, " b"]) -> Float[Array, " b"]:
        """Of images by what is wrong with them beyond their noise."""
        excess = jnp.maximum(jax.lax.stop_gradient(misfit) - 1, 0)
        return (self.soft + excess) ** -self.evenness

    def _rate(self, descent: Descent) -> Float[Array, " b"]:
        most = self.visits * self.moves
        done = jnp.minimum(descent.steps.astype(jnp.float32) / most, 1)
        return self.step * (0.5 + 0.5 * jnp.cos(jnp.pi * done)) + self.least


def _decoded(
    network: ImageNetwork, row: Array, shape: tuple[int, ...], data: Data
) -> Array:
    """What rounded latents (and those of wings) decode to, over the images' scales."""
    latent, wings = unpacked(row, shape)
    pixels = network.decode(network.quantizer(latent).values, data.bands, wings)
    return jnp.sinh(jnp.clip(pixels, -LARGEST, LARGEST))


def _pixels(data: Data) -> Float[Array, " b"]:
    return jnp.maximum(jnp.sum(data.valid, _PIXELS), 1)


def _chi2(guess: Array, data: Data) -> Float[Array, " b"]:
    """Of a pixel, by image."""
    there = data.valid > 0
    sigma = jnp.where(there, data.sigma, 1)
    square = jnp.square(jnp.where(there, guess - data.flux, 0) / sigma)
    return jnp.sum(jnp.where(jnp.isfinite(square), square, 0), _PIXELS) / _pixels(data)
