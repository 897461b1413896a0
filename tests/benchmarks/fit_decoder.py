# SPDX-License-Identifier: MIT
"""Trains the decoder of an image codec on latents that are refined along with it.

    python tests/benchmarks/fit_decoder.py --codec runs/image/best --out runs/fitted

In training a decoder sees the codes of the encoder; in use it sees refined ones, which
say much more of what is bright. Here the encoder stays as it is. Some hundred squares
of training images, two thirds of them bright, get latents of their own, which go on
from step to step down the misfit of their rounded values, and the decoder follows.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from aion.codec import load_codec, save_codec
from aion.config import load_config
from aion.jobs.codec_training import feeds_of, task_of
from aion_tokenizers.image_pixels import LARGEST
from aion_tokenizers.refinement import SPREAD, Data, refined

BRIGHT = 100.0  # S/N of the brightest pixel
BATCH = 40
FITTED = ("from_latent", "decoder", "bands_out", "sharpening")
SOFT, EVENNESS = 0.5, 0.5
LATENT_RATE, LATENT_LEAST = 0.03, 0.002
WARMUP = 20  # steps in which the decoder's rate rises


def squares(config: str, bright: int, others: int, first: int) -> dict[str, Any]:
    """Squares of training images, of so many bright ones and others.

    Args:
        config: of the codec's training.
        bright: with a pixel of S/N `BRIGHT` or more.
        others: of the rest.
        first: partition of each source to begin with.
    """
    plain = load_config(config, []).to_dict()
    feeds = feeds_of(plain)
    feeds = replace(feeds, task=replace(task_of(plain), hide=0.0, drop=0.2))
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    while len(found[True]) < bright:
        batch = feeds.batch(first * feeds.data.stay)
        first += 1
        signal = np.where(batch["valid"] > 0, batch["flux"] / batch["sigma"], 0)
        for row, peak in enumerate(signal.max(axis=(1, 2, 3))):
            found[peak >= BRIGHT].append({k: v[row] for k, v in batch.items()})
    order = np.random.default_rng(0).permutation(len(found[False]))[:others]
    chosen = found[True][:bright] + [found[False][n] for n in order]
    return {k: np.stack([one[k] for one in chosen]) for k in chosen[0]}


class Fit:
    """A decoder and the latents of squares, which go on together."""

    def __init__(self, codec: Any, data: dict[str, Any], rate: float) -> None:
        self.codec, self.rate = codec, rate
        self.data = {k: jnp.asarray(v) for k, v in data.items()}
        self.graph, self.params, self.rest = nnx.split(codec.network, nnx.Param, ...)
        flat = nnx.to_flat_state(self.params)
        kept = [(p, v.replace(jnp.float32(p[0] in FITTED))) for p, v in flat]
        self.mask = nnx.from_flat_state(kept)
        self.optimizer = optax.adam(1.0, b1=0.9, b2=0.99)
        self.moments = self.optimizer.init(self.params)
        self.first = self._encoded()
        self.latent = self._refined()
        self.mean, self.square = (jnp.zeros_like(self.latent) for _ in range(2))
        self.compiled = jax.jit(self._step)

    def network(self, params: Any) -> Any:
        """The network with these parameters."""
        return nnx.merge(self.graph, params, self.rest)

    def _encoded(self) -> jax.Array:
        d = self.data
        pixels = jnp.arcsinh(jnp.where(d["valid"] > 0, d["flux"], 0))

        def encode(params: Any) -> jax.Array:
            return self.network(params).encode(pixels, d["valid"], d["told"])

        return jax.jit(encode)(self.params)

    def _refined(self) -> jax.Array:
        @jax.jit
        def refine(params: Any, latent: jax.Array, data: Data) -> jax.Array:
            steps = self.codec.config.refine
            return refined(self.network(params), latent, data, steps)

        parts = []
        for start in range(0, len(self.first), BATCH):
            rows = slice(start, start + BATCH)
            names = ("flux", "sigma", "valid", "known")
            data = Data(*(self.data[k][rows] for k in names))
            parts.append(refine(self.params, self.first[rows], data))
        return jnp.concatenate(parts)

    def objective(
        self, both: tuple[Any, jax.Array], rows: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Evened misfit plus the pull to the encoder's latents; errors to the truth."""
        params, latent = both
        d = {k: v[rows] for k, v in self.data.items()}
        network = self.network(params)
        values = network.decode(network.quantizer(latent).values, d["known"])
        guess = jnp.sinh(jnp.clip(values, -LARGEST, LARGEST))
        precision = jnp.where(d["valid"] > 0, jnp.square(1 / d["sigma"]), 0)
        pixels = jnp.maximum(d["valid"].sum(axis=(1, 2, 3)), 1)

        def mean(other: jax.Array) -> jax.Array:
            square = precision * jnp.square(guess - other)
            square = jnp.where(precision > 0, square, 0)
            return jnp.where(jnp.isfinite(square), square, 0).sum((1, 2, 3)) / pixels

        pull = jnp.square((latent - self.first[rows]) / SPREAD).sum((1, 2, 3)) / pixels
        misfit = mean(d["flux"])
        excess = jnp.maximum(jax.lax.stop_gradient(misfit) - 1, 0)
        weight = (SOFT + excess) ** -EVENNESS
        return jnp.sum(weight * (misfit + pull)), mean(d["truth"])

    def _step(
        self, state: Any, rows: jax.Array, share: Any, rise: Any, visit: Any
    ) -> Any:
        params, moments, latent, mean, square = state
        slope = jax.grad(self.objective, has_aux=True)
        (down, turn), error = slope((params, latent[rows]), rows)
        down = jax.tree.map(jnp.multiply, down, self.mask)
        moved, moments = self.optimizer.update(down, moments, params)
        moved = jax.tree.map(lambda x: x * (rise * share * self.rate), moved)
        first = 0.8 * mean[rows] + 0.2 * turn
        second = 0.95 * square[rows] + 0.05 * jnp.square(turn)
        size = jnp.sqrt(second / (1 - 0.95**visit)) + 1e-3
        rate = LATENT_RATE * share + LATENT_LEAST
        there = latent[rows] - rate * first / (1 - 0.8**visit) / size
        state = (
            optax.apply_updates(params, moved),
            moments,
            latent.at[rows].set(there),
            mean.at[rows].set(first),
            square.at[rows].set(second),
        )
        return state, jnp.mean(jnp.sqrt(error))

    def run(self, epochs: int) -> Any:
        """The codec after so many visits to each square."""
        rng, count, done = np.random.default_rng(0), len(self.latent), 0
        state = (self.params, self.moments, self.latent, self.mean, self.square)
        for epoch in range(epochs):
            share = np.float32(0.5 * (1 + np.cos(np.pi * epoch / epochs)))
            order, errors = rng.permutation(count), []
            for start in range(0, count - BATCH + 1, BATCH):
                rows = jnp.asarray(order[start : start + BATCH])
                visit = jnp.float32(epoch + 1)
                rise = np.float32(min(1, done / WARMUP))
                state, error = self.compiled(state, rows, share, rise, visit)
                done += 1
                errors.append(float(error))
            if epoch % 10 == 0 or epoch == epochs - 1:
                print(f"visit {epoch + 1}: mean root error {np.mean(errors):.4f}")
        return replace(self.codec, network=self.network(state[0]))


def main() -> None:
    """Reads the flags and writes the codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="configs/tokenizers/image.py:nano")
    parser.add_argument("--bright", type=int, default=520)
    parser.add_argument("--others", type=int, default=280)
    parser.add_argument("--first", type=int, default=103, help="partition")
    parser.add_argument("--epochs", type=int, default=220)
    parser.add_argument("--rate", type=float, default=2e-4)
    flags = parser.parse_args()
    data = squares(flags.config, flags.bright, flags.others, flags.first)
    fit = Fit(load_codec(flags.codec), data, flags.rate)
    save_codec(fit.run(flags.epochs), flags.out)


if __name__ == "__main__":
    main()
