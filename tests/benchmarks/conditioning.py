# SPDX-License-Identifier: MIT
"""Does the image codec use what it is told of a band?

    python tests/benchmarks/conditioning.py --codec runs/image/best

Loss and error of test images when the wavelengths, PSF widths or pixel scales that
encoder and decoder are told are exchanged between bands and images, over those when
they are right; and the errors of other bands when i is missing.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from aion.codec import load_codec
from aion.config import load_config
from aion.jobs.codec_training import feeds_of, task_of
from aion_tokenizers.mixing import FIELDS

SHUFFLED = {
    "wavelength": ("wavelength",),
    "PSF": ("psf_fwhm", "sampling"),
    "pixel scale": ("pixel_scale", "sampling"),
}
SEEDS, STEPS = 3, 6


def shuffled(batch, fields, seed):
    """The batch with some numbers of bands exchanged, the same way told and asked."""
    rng, there = np.random.default_rng(seed), batch["valid"].any(axis=(2, 3))
    places = np.argwhere(there)
    order = rng.permutation(len(places))
    changed = dict(batch)
    for name in ("told", "asked", "known"):
        numbers = batch[name].copy()
        for field in fields:
            column = FIELDS.index(field)
            values = numbers[places[:, 0], places[:, 1], column]
            numbers[places[:, 0], places[:, 1], column] = values[order]
        changed[name] = numbers
    return changed


def measure(codec, task):
    """Function of batches and a change of them -> mean loss, and error to the truth.

    The error is the mean over images of log(1 + its mean over pixels), so that not a
    single bright star decides.
    """
    graph, state = nnx.split(codec.network)

    @jax.jit
    def both(state, batch, key):
        module = nnx.merge(graph, state)
        loss = task.loss(module, task.prepare(batch), key, None)[0]
        error = jnp.where(known(batch), squares(module, batch, task), 0.0)
        pixels = jnp.maximum(known(batch).sum(axis=(1, 2, 3)), 1)
        return loss, jnp.mean(jnp.log1p(error.sum(axis=(1, 2, 3)) / pixels))

    def mean(batches, change):
        key = jax.random.key(0)
        values = [both(state, change(b), key) for b in batches]
        return np.mean(np.array(values, np.float64), axis=0)

    return mean


def known(batch):
    """Pixels with data whose truth is known."""
    return (batch["valid"] > 0) & jnp.isfinite(batch["truth"])


def squares(module, batch, task):
    """Squared errors to the truth, in units of the noise."""
    guess = task.through(module, batch, batch["flux"], batch["sigma"], None).guess
    return jnp.square((guess - batch["truth"]) / batch["sigma"])


def errors_without_i(codec, task, batches):
    """Errors to the truth of g, r and z of Legacy's images [n], with i and without."""
    graph, state = nnx.split(codec.network)
    found = jax.jit(lambda state, part: squares(nnx.merge(graph, state), part, task))
    rows = []
    for batch in batches:
        legacy = batch["group"] == 0
        part = {k: v[legacy] for k, v in batch.items()}
        kept = part["valid"].copy()
        kept[:, 2] = 0
        pair = []
        for valid in (part["valid"], kept):
            square = np.asarray(found(state, part | {"valid": valid}))
            square = np.where(kept > 0, square, 0).sum(axis=(1, 2, 3))
            pair.append(square / np.maximum(kept.sum(axis=(1, 2, 3)), 1))
        rows.append(np.stack(pair))
    return np.concatenate(rows, axis=1)


def main():
    """Reads the flags and prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--config", default="configs/tokenizers/image.py:nano")
    options = parser.parse_args()
    codec = load_codec(options.codec)
    config = load_config(options.config, []).to_dict()
    feeds = feeds_of(config, "test")
    sizes = codec.config
    task = replace(task_of(config), refined_scores=True, network=sizes)
    mean = measure(codec, task)
    whole = list(feeds.validation(0))
    aimed = [feeds.batch(step * feeds.data.stay) for step in range(STEPS)]
    for label, batches in (("squares as in training", aimed), ("images", whole)):
        right = mean(batches, lambda batch: batch)
        print(f"{label}: loss {right[0]:.4f}, log(1 + error) {right[1]:.4f}")
        for name, fields in SHUFFLED.items():
            rises = [
                mean(batches, lambda b, s=seed, f=fields: shuffled(b, f, s)) / right - 1
                for seed in range(SEEDS)
            ]
            told = ", ".join(f"{100 * a:.1f} / {100 * b:.1f} %" for a, b in rises)
            print(f"  {name} shuffled, rise of loss / of the other: {told}")
    pair = errors_without_i(codec, task, whole)
    total, typical = pair.mean(axis=1), np.median(pair, axis=1)
    print(
        f"error of Legacy g, r, z in {pair.shape[1]} images: mean {total[0]:.3f}, "
        f"median {typical[0]:.4f}; with i missing {total[1]:.3f}, {typical[1]:.4f}; "
        f"median ratio {np.median(pair[1] / pair[0]):.3f}"
    )


if __name__ == "__main__":
    main()
