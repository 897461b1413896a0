# SPDX-License-Identifier: MIT
"""Does the image codec serve a band and a camera that it was never trained with?

    python tests/benchmarks/unseen_bands.py --without=runs/without/best \\
        --seen=runs/with/best

Errors to the truth of HSC y and of all bands of an invented camera (number 7), in units
of the noise, by a codec that never saw them, by one that did, and by a ridge regression
of each pixel from the other bands of its image. Test cells of the mock sky. Each line
has the mean over pixels and the median over objects, of all and of those images of
which no pixel is more than 6 magnitudes above the noise.
"""

import argparse
from pathlib import Path

import numpy as np

from aion.codec import load_codec
from aion.config import load_config
from aion.eval.reconstruction import RANGE, highest, middle, ratio, row, sums
from aion.jobs.codec_pieces import Piece, measured
from aion.jobs.codec_training import feeds_of

INVENTED = 7
SOURCES = {
    "HSC y": ("mock_images", "hsc_image", {"camera": "hsc"}, (4,)),
    "invented camera": (
        "fiction",
        "fictional_image",
        {"camera": INVENTED},
        (0, 1, 2, 3, 4),
    ),
}


def images(kind, modality, settings, objects, split):
    """Images and their truth, of cells of a split."""
    config = load_config("configs/tokenizers/image.py:nano", []).to_dict()
    source = {
        "kind": kind,
        "modality": modality,
        "settings": {"sample": "imaging", **settings},
    }
    config["data"] |= {"sources": (source,), "batch": 32}
    (feed,) = feeds_of(config, split).feeds
    found = []
    step = 0
    while sum(len(pair[0].flux) for pair in found) < objects:
        for sample in feed.samples(step * feed.stay, slice(None)):
            found.append((sample.observation, sample.truth))
        step += 1
    return found


def ridge(training, bands, band, strength=1e-3):
    """Weights of the other bands' pixels, and of a constant, for one band's pixels.

    Pixels count by the inverse variance of the band that is wanted.
    """
    others = [n for n in range(bands) if n != band]
    square = np.zeros((bands, bands))
    product = np.zeros(bands)
    for image, _ in training:
        good = _good(image)
        for n in range(len(image.flux)):
            keep = good[n].all(axis=0)
            x = np.stack([image.flux[n, k][keep] for k in others])
            x = np.concatenate([x, np.ones((1, x.shape[1]))])
            weight = image.ivar[n, band][keep]
            square += (x * weight) @ x.T
            product += (x * weight) @ image.flux[n, band][keep]
    square += strength * np.diag(np.diag(square))
    return others, np.linalg.solve(square, product)


def _good(image):
    good = np.isfinite(image.flux) & (image.ivar > 0)
    return good if image.mask is None else good & image.mask


def errors(tests, band, guess):
    """Sums of squared errors to the truth in units of the noise, and pixels [b, 2]."""
    found = []
    for pair, made in zip(tests, guess, strict=True):
        one = measured(Piece(*pair))
        square = np.square(made - one.truth[:, band]) * one.ivar[:, band]
        found.append(sums(square, one.valid.all(axis=1)))
    return np.concatenate(found)


def within_range(tests):
    """Which images have no pixel in any band brighter than `RANGE` magnitudes above
    the noise."""
    return np.concatenate(
        [highest(measured(Piece(*pair)).signal) for pair in tests]
    ) <= (10 ** (0.4 * RANGE))


def summary(pairs):
    """Of methods' sums [k, b, 2]: mean over pixels and median over objects, in a line
    of k pairs, and the ratio of the first two means with its bootstrap error."""
    pairs = pairs[:, pairs[0, :, 1] > 0]
    typical = [middle(one[:, 0] / one[:, 1]) for one in pairs]
    numbers = zip(map(ratio, pairs), typical, strict=True)
    told = ", ".join(f"{a:.3f} / {b:.4f}" for a, b in numbers)
    # All methods are scored on the same pixels.
    both = pairs[:2, :, 0].T
    means = row(("", "", ""), both, lambda v: float(v[:, 0].sum() / v[:, 1].sum()))
    return (
        f"{told}; ratio {means['value']:.2f} +- {means['error']:.2f} "
        f"/ {typical[0] / typical[1]:.2f} ({len(both)} images)"
    )


def decoded(codec, tests):
    """Images through the codec and back."""
    return [
        codec.decode(
            codec.encode(image), image.bands, image.psf_fwhm, image.flux.shape[2:]
        ).flux
        for image, _ in tests
    ]


def main():
    """Reads the flags and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", type=Path, required=True)
    parser.add_argument("--seen", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=96)
    parser.add_argument("--refine", type=int, default=240, help="steps")
    parser.add_argument("--settle", type=int, default=16, help="turns")
    parser.add_argument("--search", type=int, default=1, help="passes")
    parser.add_argument("--only", choices=list(SOURCES), help="one of the two")
    options = parser.parse_args()
    codecs = {
        name: load_codec(getattr(options, name)).with_refinement(
            options.refine, options.settle, options.search
        )
        for name in ("without", "seen")
    }
    print("error, mean over pixels / median over objects; ratio of the first two:")
    print("without, seen, ridge from the other bands, blank")
    for name, (kind, modality, settings, wanted) in SOURCES.items():
        if options.only not in (None, name):
            continue
        training = images(kind, modality, settings, options.objects, "train")
        tests = images(kind, modality, settings, options.objects, "test")
        made = {k: decoded(codec, tests) for k, codec in codecs.items()}
        kept = within_range(tests)
        rows = []
        for band in wanted:
            others, weights = ridge(training, len(tests[0][0].bands), band)
            linear = [
                np.einsum("bkyx,k->byx", image.flux[:, others], weights[:-1])
                + weights[-1]
                for image, _ in tests
            ]
            guesses = [[m[:, band] for m in made[k]] for k in codecs]
            guesses += [linear, [0 * m for m in linear]]
            rows.append(np.stack([errors(tests, band, g) for g in guesses]))
            print(f"  {tests[0][0].bands[band].name}: {summary(rows[-1])}")
        together = np.sum(rows, axis=0)
        print(f"{name}: {summary(together)}")
        print(f"  within {RANGE:g} mag of the noise: {summary(together[:, kept])}")


if __name__ == "__main__":
    main()
