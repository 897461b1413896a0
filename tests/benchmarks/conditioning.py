# SPDX-License-Identifier: MIT
"""Does the image codec use what it is told of a band?

    python tests/benchmarks/conditioning.py --codec runs/image/best

The loss of squares of test images, with the encoder's own codes, when the wavelengths,
PSF widths or pixel scales that encoder and decoder are told are exchanged between bands
and images, over that when they are right; and the loss of g, r and z of Legacy's images
when i is missing, and their errors to the truth, with the codec's own codes. An i also
says what is noise in the other bands: what the best linear filter of patches loses
without it (Wiener's, told the true brightness of each) has nothing to do with codes.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from unseen_bands import images

from aion.codec import load_codec
from aion.config import load_config
from aion.eval.reconstruction import row, sums
from aion.jobs.codec_pieces import Piece, measured
from aion.jobs.codec_training import feeds_of, task_of
from aion_tokenizers import image_scores
from aion_tokenizers.image_task import with_bands
from aion_tokenizers.mixing import FIELDS
from aion_tokenizers.recorruption import recorrupt

SHUFFLED = {
    "wavelength": ("wavelength",),
    "PSF": ("psf_fwhm", "sampling"),
    "pixel scale": ("pixel_scale", "sampling"),
}
SEEDS, STEPS = 3, 6
G, R, I, Z = range(4)
SIDES, CLASSES = (4, 8), 6
"""Pixels of patches that are filtered, and classes of them by brightness."""
FILTERED = {"train": 1280, "test": 256}
"""Images that filters are made of, and are held against; with fewer they overfit."""


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


def legacy_without_i(batch):
    """Legacy's images of a batch that have an i and other bands, and which of their
    pixels are valid once i is left out."""
    there = batch["valid"].any(axis=(2, 3))
    legacy = (batch["group"] == 0) & there[:, 2] & there[:, [0, 1, 3]].any(axis=1)
    part = {k: v[legacy] for k, v in batch.items()}
    kept = part["valid"].copy()
    kept[:, 2] = 0
    return part, kept


def legacy_images(objects, split):
    """Legacy's images with an i, and their truth."""
    found = []
    for image, truth in images(
        "mock_images", "legacy_image", {"camera": "legacy"}, objects, split
    ):
        there = measured(Piece(image, truth)).valid.any(axis=(2, 3))
        whole = there.all(axis=1)
        found.append((image.take(whole), truth.take(whole)))
    return found


def errors_without_i(codec, tests):
    """Errors to the truth of g, r and z [2, n]: with i, and without."""
    rows = []
    for image, truth in tests:
        bare = [with_bands(one, np.array([G, R, Z])) for one in (image, truth)]
        one = measured(Piece(*bare))
        pair = []
        for given in (image, bare[0]):
            shape = np.shape(image.flux)[2:]
            codes = codec.encode(given)
            made = codec.decode(codes, bare[0].bands, bare[0].psf_fwhm, shape).flux
            error = sums(np.square(made - one.truth) * one.ivar, one.valid)
            pair.append(error[:, 0] / error[:, 1])
        rows.append(np.stack(pair))
    return np.concatenate(rows, axis=1)


def patches(pairs, side):
    """Truth and data of patches without bad pixels, in units of the noise
    [n, band x pixel]."""
    found = []
    for pair in pairs:
        one = measured(Piece(*pair))
        b, c, y, x = one.flux.shape

        def cut(values, shape=(b, c, y // side, side, x // side, side)):
            rows = values.reshape(shape).transpose(0, 2, 4, 1, 3, 5)
            return rows.reshape(-1, shape[1] * side * side)

        whole = cut(one.valid).all(axis=1)
        maps = (one.truth / one.sigma, one.flux / one.sigma)
        found.append(np.stack([cut(m)[whole] for m in maps]))
    return np.concatenate(found, axis=1)


def filtered_without_i(training, tests, side):
    """Errors of g, r and z by the best linear filter: with i, and without."""
    (known, _), (truth, data) = patches(training, side), patches(tests, side)
    kept = np.repeat(np.arange(4), side * side) != I
    levels = [np.mean(np.square(t[:, kept]), axis=1) for t in (known, truth)]
    edges = np.quantile(levels[0], np.arange(1, CLASSES) / CLASSES)
    kinds = [np.searchsorted(edges, level) for level in levels]
    total = np.zeros(2)
    for kind in range(CLASSES):
        some = known[kinds[0] == kind]
        middle, spread = some.mean(axis=0), np.cov(some.T)
        off = [(t - middle)[kinds[1] == kind] for t in (truth, data)]
        for n, given in enumerate((np.ones_like(kept), kept)):
            noisy = spread[np.ix_(given, given)] + np.eye(given.sum())
            weights = np.linalg.solve(noisy, spread[np.ix_(given, kept)])
            total[n] += np.sum(np.square(off[1][:, given] @ weights - off[0][:, kept]))
    return total / truth[:, kept].size


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


def without_i(codec, objects):
    """Prints the errors of g, r and z with i and without, and bootstrap errors."""
    lessons, held = (legacy_images(n, split) for split, n in FILTERED.items())
    for side in SIDES:
        given, missing = filtered_without_i(lessons, held, side)
        print(
            f"Legacy g, r, z, filtered in patches of {side} x {side}: {given:.4f}; "
            f"with i missing {missing:.4f}, ratio {missing / given:.3f}"
        )
    pair = errors_without_i(codec, legacy_images(objects, "test"))
    mean, typical = pair.mean(axis=1), np.median(pair, axis=1)
    ratio = row(("", "", ""), pair.T, lambda v: float(v[:, 1].sum() / v[:, 0].sum()))
    print(
        f"by the codec, {pair.shape[1]} images, mean / median: {mean[0]:.4f} / "
        f"{typical[0]:.4f}; with i missing {mean[1]:.4f} / {typical[1]:.4f}; ratio "
        f"{ratio['value']:.3f} +- {ratio['error']:.3f}, in the median image "
        f"{np.median(pair[1] / pair[0]):.3f}"
    )


def main():
    """Reads the flags and prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--config", default="configs/tokenizers/image.py:nano")
    parser.add_argument("--only", choices=("told", "i"), help="one of the two")
    parser.add_argument("--objects", type=int, default=64, help="images without i")
    options = parser.parse_args()
    codec = load_codec(options.codec)
    config = load_config(options.config, []).to_dict()
    feeds = feeds_of(config, "test")
    task = replace(task_of(config), network=codec.config)
    if options.only != "i":
        told_wrongly(codec, task, feeds)
    if options.only != "told":
        without_i(codec, options.objects)


if __name__ == "__main__":
    main()
