# SPDX-License-Identifier: MIT
"""What the training of any image codec minimises and how it is scored."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion_tokenizers.quantizers import perplexity, usage
from aion_tokenizers.recorruption import Pair, robust

CLASSES = ("all", "bright", "seen", "clear")
"""Pixels by truth: all, the brightest tenth of a batch (in S/N), S/N > 1, S/N > 10."""

_PIXELS = (1, 2, 3)


def misfit(
    guess: Float[Array, "b c y x"],
    pair: Pair,
    part: Mapping[str, Array],
    evenness: float,
    soft: float,
) -> tuple[Float[Array, ""], Float[Array, "2"]]:
    """The robust misfit of a reconstruction with the second image of a pair.

    Args:
        guess: made of the first.
        pair: recorrupted.
        part: sigma and valid [b, c, y, x], and each image's share of a pixel [b].
        evenness: images are weighted by (soft + misfit) to the power of minus this.
        soft: misfit below which images have equal weights.

    Returns:
        the loss, and the sum of chi^2 with the number of pixels.
    """
    valid = part["valid"]
    residual = guess - pair.second
    variance = pair.excess * jnp.square(part["sigma"])
    pixels = jnp.sum(valid, axis=_PIXELS)
    each = valid * robust(residual * jax.lax.rsqrt(variance))
    each = jnp.sum(each, axis=_PIXELS) / jnp.maximum(pixels, 1.0)
    evened = (soft + jax.lax.stop_gradient(each)) ** -evenness
    loss = jnp.sum(part["share"] * pixels * each * evened)
    square = jnp.where(valid > 0, jnp.square(residual) / variance, 0.0)
    return loss, jnp.stack([jnp.sum(square), jnp.sum(valid)])


def with_shares(batch: dict[str, Array]) -> dict[str, Array]:
    """The batch with the share of one pixel in the loss, for each image."""
    total = jnp.maximum(jnp.sum(batch["valid"]), 1.0)
    share = jnp.broadcast_to(1.0 / total, (batch["valid"].shape[0],))
    return batch | {"share": share}


def errors(
    guess: Float[Array, "b c y x"], part: Mapping[str, Array], groups: int
) -> Float[Array, "g k 2"]:
    """Sums and counts of squared errors in sigmas, by group and class of pixels."""
    signal = part["truth"] / part["sigma"]
    known = (part["valid"] > 0) & jnp.isfinite(signal)
    square = jnp.square((guess - part["truth"]) / part["sigma"])
    square = jnp.where(known, square, 0.0)
    rows = []
    for group in range(groups):
        here = known & (part["group"] == group)[:, None, None, None]
        bright = jnp.nanquantile(jnp.where(here, signal, jnp.nan), 0.9)
        limits = (-jnp.inf, bright, 1.0, 10.0)
        rows.append([_sums(square, here & (signal > limit)) for limit in limits])
    return jnp.stack([jnp.stack(row) for row in rows])


def report(sums: Mapping[str, Any], groups: Sequence[str]) -> dict[str, float]:
    """Readable numbers.

    `chi2` is of the recorrupted residuals, 1 plus half of the error at best;
    `error/<group>/<class>` the error to the truth; `score` the mean over groups of the
    errors of all, bright and S/N > 1 pixels, or the chi2 where no truth is known;
    `usage` and `perplexity` are of the codes since the last report.
    """
    counts = jnp.asarray(sums["counts"])
    total, count = (float(x) for x in sums["chi2"])
    values = {
        "chi2": total / max(count, 1.0),
        "usage": float(usage(counts)),
        "perplexity": float(perplexity(counts)),
    }
    if "error" not in sums:
        return values
    means = []
    for name, rows in zip(groups, sums["error"], strict=True):
        for label, (error, pixels) in zip(CLASSES, rows, strict=True):
            if pixels > 0:
                values[f"error/{name}/{label}"] = float(error / pixels)
                means += [float(error / pixels)] * (label != "clear")
    score = sum(means) / len(means) if means else values["chi2"]
    return values | {"score": score}


def _sums(values: Array, mask: Array) -> Float[Array, "2"]:
    return jnp.stack(
        [jnp.sum(jnp.where(mask, values, 0.0)), jnp.sum(mask.astype(jnp.float32))]
    )
