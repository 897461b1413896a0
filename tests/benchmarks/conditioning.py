# SPDX-License-Identifier: MIT
"""Does the image codec use what it is told of a band?

    python tests/benchmarks/conditioning.py --codec runs/image/best

The loss of squares of test images, with the encoder's own codes, when the wavelengths,
PSF widths or pixel scales that encoder and decoder are told are exchanged between bands
and images, over that when they are right; and the loss of g, r and z of Legacy's images
when i is missing, and their errors to the truth, with refined codes.
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
from aion.eval.reconstruction import row
from aion.jobs.codec_training import feeds_of, task_of
from aion_tokenizers import image_scores
from aion_tokenizers.mixing import FIELDS
from aion_tokenizers.recorruption import recorrupt

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


def loss_of(codec, task):
    """Function of batches and a change of them -> mean loss in training."""
    graph, state = nnx.split(codec.network)

    @jax.jit
    def loss(state, batch, key):
        module = nnx.merge(graph, state)
        return task.loss(module, task.prepare(batch), key, None)[0]

    def mean(batches, change):
        key = jax.random.key(0)
        return np.mean([float(loss(state, change(b), key)) for b in batches])

    return mean


def square_errors(module, batch, task):
    """Squared errors to the truth, in units of the noise."""
    guess = task.through(module, batch, batch["flux"], batch["sigma"], None).guess
    return jnp.square((guess - batch["truth"]) / batch["sigma"])


def legacy_without_i(batch):
    """Legacy's images of a batch that have an i and other bands, and which of their
    pixels are valid once i is left out."""
    there = batch["valid"].any(axis=(2, 3))
    legacy = (batch["group"] == 0) & there[:, 2] & there[:, [0, 1, 3]].any(axis=1)
    part = {k: v[legacy] for k, v in batch.items()}
    kept = part["valid"].copy()
    kept[:, 2] = 0
    return part, kept


def errors_without_i(codec, task, batches):
    """Errors to the truth of g, r and z of Legacy's images that have an i [2, n], with
    i and without; scales of images and told depths are those with i."""
    graph, state = nnx.split(codec.network)
    found = jax.jit(
        lambda state, part: square_errors(nnx.merge(graph, state), part, task)
    )
    rows = []
    for batch in batches:
        part, kept = legacy_without_i(batch)
        pair = []
        for valid in (part["valid"], kept):
            square = np.asarray(found(state, part | {"valid": valid}))
            square = np.where(kept > 0, square, 0).sum(axis=(1, 2, 3))
            pair.append(square / np.maximum(kept.sum(axis=(1, 2, 3)), 1))
        rows.append(np.stack(pair))
    return np.concatenate(rows, axis=1)


def losses_without_i(codec, task, batches):
    """Mean misfits in training of g, r and z of Legacy's squares, with i given and
    without: what `loss_of` has, but for the terms of latents and codes. Scales of
    images and told depths are those with i."""
    graph, state = nnx.split(codec.network)

    @jax.jit
    def loss(state, part, key, valid):
        module = nnx.merge(graph, state)
        pair = recorrupt(part["flux"], part["sigma"], key, task.amount)
        noise = part["sigma"] * np.float32(np.hypot(1, task.amount))
        seen = part | {"valid": valid}
        guess = task.through(module, seen, pair.first, noise, key).guess
        return image_scores.misfit(guess, pair, part, task.evenness, task.soft)[0]

    found = []
    for batch in batches:
        part, kept = legacy_without_i(batch)
        given = part["valid"]
        part = image_scores.with_shares(part | {"valid": kept})
        key = jax.random.key(0)
        found.append([float(loss(state, part, key, v)) for v in (given, kept)])
    return np.mean(found, axis=0)


def told_wrongly(codec, task, feeds):
    """Prints how much the loss rises with what is told of bands exchanged."""
    mean = loss_of(codec, task)
    squares = [feeds.batch(step * feeds.data.stay) for step in range(STEPS)]
    right = mean(squares, lambda batch: batch)
    print(f"loss of squares as in training: {right:.4f}")
    for name, fields in SHUFFLED.items():
        rises = [
            mean(squares, lambda b, s=seed, f=fields: shuffled(b, f, s)) / right - 1
            for seed in range(SEEDS)
        ]
        told = ", ".join(f"{100 * rise:.1f} %" for rise in rises)
        print(f"  {name} shuffled, rise: {told}", flush=True)
    given, missing = losses_without_i(codec, task, squares)
    print(
        f"misfit of Legacy g, r, z: {given:.4f}; with i missing {missing:.4f}, "
        f"{100 * (missing / given - 1):+.1f} %"
    )


def without_i(codec, task, feeds):
    """Prints the errors of g, r and z with i and without, and bootstrap errors."""
    pair = errors_without_i(codec, task, feeds.validation(0))
    count = pair.shape[1]
    total, typical = pair.mean(axis=1), np.median(pair, axis=1)
    ratio = row(("", "", ""), pair.T, lambda v: float(v[:, 1].sum() / v[:, 0].sum()))
    print(
        f"error of Legacy g, r, z in {count} images: mean {total[0]:.4f}, "
        f"median {typical[0]:.4f}; with i missing {total[1]:.4f}, {typical[1]:.4f}; "
        f"ratio of the means {ratio['value']:.3f} +- {ratio['error']:.3f}, "
        f"median ratio {np.median(pair[1] / pair[0]):.3f}; of 1 + error, which is "
        f"what chi2 to other data would be, {(1 + total[1]) / (1 + total[0]):.4f}"
    )


def main():
    """Reads the flags and prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--config", default="configs/tokenizers/image.py:nano")
    parser.add_argument("--only", choices=("told", "i"), help="one of the two")
    options = parser.parse_args()
    codec = load_codec(options.codec)
    config = load_config(options.config, []).to_dict()
    feeds = feeds_of(config, "test")
    task = replace(task_of(config), refined_scores=True, network=codec.config)
    if options.only != "i":
        told_wrongly(codec, task, feeds)
    if options.only != "told":
        without_i(codec, task, feeds)


if __name__ == "__main__":
    main()
