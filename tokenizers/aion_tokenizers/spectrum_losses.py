# SPDX-License-Identifier: MIT
"""What the training of any spectrum codec minimises and how it is scored."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aion_tokenizers.quantizers import perplexity, usage
from aion_tokenizers.recorruption import Pair, recorrupt

LIMITS = (2.0, 5.0, 10.0, 20.0)
"""Between classes of spectra by their median true S/N per pixel."""
CLASSES = ("below2", "2to5", "5to10", "10to20", "above20")
TARGETS = (0.10, 0.10, 0.15, 0.30, 0.80)
"""Errors to the truth of a good codec, by class: the unit of `score`."""
CLEAR = 10.0
"""S/N above which R2 is reported."""


def corrupted(part: Mapping[str, Array], key: Array | None, amount: float) -> Pair:
    """A pair of spectra with independent noise; fixed dice without a key."""
    dice = jax.random.key(0) if key is None else key
    noise = jnp.where(part["ivar"] > 0, sigma_of(part["ivar"]), 0.0)
    return recorrupt(part["flux"], noise, dice, amount)


def misfit(
    guess: Float[Array, "b l"],
    pair: Pair,
    part: Mapping[str, Array],
    width: float,
    evenness: float,
    soft: float,
) -> tuple[Float[Array, ""], Float[Array, "2"]]:
    """Huber's function of the residuals, spectra weighted by their own error.

    Args:
        guess: reconstruction of the first spectrum of a pair.
        pair: recorrupted.
        part: ivar [b, l], 0 where not valid, and each spectrum's share [b].
        width: sigmas from which residuals count linearly.
        evenness: spectra are weighted by (soft + error) to the power of minus this.
        soft: error in variances below which spectra have equal weights.

    Returns:
        the loss, and the sum of chi^2 with the number of pixels.
    """
    valid = part["ivar"] > 0
    residual = (guess - pair.second) / sigma_of(part["ivar"])
    chi = jnp.where(valid, residual, 0.0) * pair.excess**-0.5
    pixels = jnp.maximum(_number(valid, 1), 1.0)
    each = jnp.sum(huber(chi, width), axis=1) / pixels * pair.excess
    # 2 each is pair.excess for a perfect reconstruction.
    error = jnp.maximum(2 * each - pair.excess, 0.0)
    weight = part["share"] * jax.lax.stop_gradient(soft + error) ** -evenness
    weight = jnp.where(jnp.any(valid, axis=1), weight, 0.0)
    chi2 = jnp.stack([jnp.sum(jnp.square(chi)), _number(valid)])
    return jnp.sum(weight * each), chi2


def logistic(
    logit: Float[Array, "b n"], there: Float[Array, "b n"], share: Float[Array, " b"]
) -> tuple[Float[Array, ""], Float[Array, "2"]]:
    """Cross entropy of what is there, in nats per cell, and its sum with a count."""
    each = jnp.mean(jax.nn.softplus(logit) - logit * there, axis=1)
    both = jnp.stack([jnp.sum(each), jnp.float32(len(each))])
    return jnp.sum(share * each), both


def with_shares(batch: dict[str, Array]) -> dict[str, Array]:
    """The batch with the share of each spectrum in the loss."""
    count = batch["flux"].shape[0]
    return batch | {"share": jnp.full((count,), 1.0 / count)}


def errors(guess: Float[Array, "b l"], part: Mapping[str, Array]) -> dict[str, Array]:
    """Sums and counts over spectra: of the mean squared error in variances by class,
    and of 1 - R2 of those above `CLEAR`."""
    truth, ivar = part["truth"], part["ivar"]
    known = (ivar > 0) & jnp.isfinite(truth)
    pixels = jnp.maximum(_number(known, 1), 1.0)
    error = jnp.square(jnp.where(known, guess - truth, 0.0))
    mean = jnp.sum(error * ivar, axis=1) / pixels
    signal = jnp.where(known, truth * jnp.sqrt(ivar), jnp.nan)
    level = jnp.nanmedian(signal, axis=1)
    group = jnp.searchsorted(jnp.asarray(LIMITS), level)
    seen = jnp.any(known, axis=1)
    inside = (group[:, None] == jnp.arange(len(CLASSES))) & seen[:, None]
    total = jnp.sum(jnp.where(inside, mean[:, None], 0.0), axis=0)
    count = jnp.sum(inside, axis=0, dtype=jnp.float32)
    centre = jnp.sum(jnp.where(known, truth, 0.0), axis=1) / pixels
    spread = jnp.where(known, jnp.square(truth - centre[:, None]), 0.0)
    lost = jnp.sum(error, axis=1) / jnp.maximum(jnp.sum(spread, axis=1), 1e-12)
    clear = seen & (level > CLEAR)
    lost = jnp.stack([jnp.sum(jnp.where(clear, lost, 0.0)), _number(clear)])
    return {"error": jnp.stack([total, count], axis=-1), "lost": lost}


def report(sums: Mapping[str, Any]) -> dict[str, float]:
    """Readable numbers.

    `chi2` is of the recorrupted residuals, 1 at best; `mask` nats per cell;
    `error/<class>` the error to the truth; `r2` the mean over spectra with S/N above
    10; `score` the mean over classes of error over target, or the chi2 where no truth
    is known; `usage` and `perplexity` are of the codes since the last report.
    """
    counts = jnp.asarray(sums["counts"])
    values = {
        "chi2": _ratio(sums["chi2"]),
        "mask": _ratio(sums["mask"]),
        "usage": float(usage(counts)),
        "perplexity": float(perplexity(counts)),
    }
    if "error" not in sums:
        return values
    scores = []
    rows = zip(CLASSES, TARGETS, sums["error"], strict=True)
    for name, target, row in rows:
        if row[1] > 0:
            values[f"error/{name}"] = _ratio(row)
            scores.append(_ratio(row) / target)
    if sums["lost"][1] > 0:
        values["r2"] = 1 - _ratio(sums["lost"])
    score = float(np.mean(scores)) if scores else values["chi2"]
    return values | {"score": score}


def sigma_of(ivar: Float[Array, "b l"]) -> Float[Array, "b l"]:
    """One sigma; 1 where a pixel has no weight."""
    return jnp.where(ivar > 0, ivar, 1.0) ** -0.5


def huber(chi: Float[Array, "*b"], width: float) -> Float[Array, "*b"]:
    """chi^2 / 2 up to a width, linear beyond (Huber 1964)."""
    size = jnp.abs(chi)
    return jnp.where(size < width, 0.5 * chi**2, width * (size - 0.5 * width))


def _number(chosen: Bool[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    return jnp.sum(chosen, axis=axis, dtype=jnp.float32)


def _ratio(pair: Any) -> float:
    total, count = (float(x) for x in pair)
    return total / max(count, 1.0)
