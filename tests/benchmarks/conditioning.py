# SPDX-License-Identifier: MIT
"""Does the image codec use what it is told of a band?

    python tests/benchmarks/conditioning.py --codec runs/image/best

Loss of test images when the wavelengths, PSF widths or pixel scales that encoder and
decoder are told are exchanged between bands and images, over the loss when they are
right; and the errors of other bands when i is missing.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from aion.codec import load_codec
from aion.config import load_config
from aion.jobs.codec_training import feeds_of
from aion_tokenizers.image_task import ImageTask
from aion_tokenizers.mixing import FIELDS

SHUFFLED = {
    "wavelength": ("wavelength",),
    "PSF": ("psf_fwhm", "sampling"),
    "pixel scale": ("pixel_scale", "sampling"),
}
SEEDS = 3


def shuffled(batch, fields, seed):
    """The batch with some numbers of bands exchanged, the same way told and asked."""
    rng, there = np.random.default_rng(seed), batch["valid"].any(axis=(2, 3))
    places = np.argwhere(there)
    order = rng.permutation(len(places))
    changed = dict(batch)
    for name in ("told", "asked"):
        numbers = batch[name].copy()
        for field in fields:
            column = FIELDS.index(field)
            values = numbers[places[:, 0], places[:, 1], column]
            numbers[places[:, 0], places[:, 1], column] = values[order]
        changed[name] = numbers
    return changed


def measure(codec, batches):
    """Function of a change of batches -> the mean loss."""
    task = ImageTask(codec.config)
    graph, state = nnx.split(codec.network)

    @jax.jit
    def loss(state, batch, key):
        return task.loss(nnx.merge(graph, state), task.prepare(batch), key, None)[0]

    def mean(change):
        key = jax.random.key(0)
        return np.mean([float(loss(state, change(b), key)) for b in batches])

    return mean


def errors_without_i(codec, batches):
    """Errors to the truth of g, r and z, with i and without."""
    task = ImageTask(codec.config)
    graph, state = nnx.split(codec.network)

    @jax.jit
    def squares(state, batch):
        module, quantizer = nnx.merge(graph, state), task.network.make_quantizer()
        pixels = jax.numpy.arcsinh(
            jax.numpy.where(batch["valid"] > 0, batch["flux"], 0)
        )
        latent = module.encode(pixels, batch["valid"], batch["told"])
        values = module.decode(quantizer(latent).values, batch["asked"])
        chi = (jax.numpy.sinh(values) - batch["truth"]) / batch["sigma"]
        return jax.numpy.square(chi)

    totals = np.zeros(2)
    for batch in batches:
        legacy = batch["group"] == 0
        part = {k: v[legacy] for k, v in batch.items()}
        kept = part["valid"].copy()
        kept[:, 2] = 0
        count = kept.sum()
        for place, valid in enumerate((part["valid"], kept)):
            square = np.asarray(squares(state, part | {"valid": valid}))
            totals[place] += np.sum(np.where(kept > 0, square, 0)) / count
    return totals / len(batches)


def main():
    """Reads the flags and prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--config", default="configs/tokenizers/image.py:nano")
    options = parser.parse_args()
    codec = load_codec(options.codec)
    config = load_config(options.config, []).to_dict()
    batches = list(feeds_of(config, "test").validation(0))
    mean = measure(codec, batches)
    right = mean(lambda batch: batch)
    print(f"loss {right:.4f}")
    for name, fields in SHUFFLED.items():
        rises = [
            mean(lambda b, s=seed, f=fields: shuffled(b, f, s)) / right - 1
            for seed in range(SEEDS)
        ]
        told = ", ".join(f"{100 * rise:.1f} %" for rise in rises)
        print(f"{name} shuffled: the loss rises by {told}")
    whole, without = errors_without_i(codec, batches)
    print(f"error of Legacy g, r, z: {whole:.3f}; with i missing {without:.3f}")


if __name__ == "__main__":
    main()
