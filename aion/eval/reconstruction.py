# SPDX-License-Identifier: MIT
"""How close reconstructions come to the noiseless truth.

The error of a pixel is (reconstruction - truth)^2 ivar: the squared error in units of
the noise. Held against the data a reconstruction is rewarded for storing their noise;
held against the truth it is not. Where nobody knows the truth there is only the chi2 of
recorrupted residuals (Pang et al. 2021, CVPR): 1 plus a part of the error.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

SPECTRUM_LIMITS = (2.0, 5.0, 10.0, 20.0)
"""Between classes of spectra by their median true S/N per pixel."""
CLEAR = 10.0
"""S/N of a spectrum from which on R2 is given."""
APERTURE = 3.0
"""Radius in arcsec in which fluxes are summed."""
WEIGHT = 2.0
"""FWHM in arcsec of the Gaussian weight of second moments."""
SURE = 50.0
"""S/N in the aperture from which on flux and shape of a band are compared."""
RANGE = 6.0
"""Magnitudes above the noise of a pixel within which images are scored apart."""
STRONG = 5.0
"""Equivalent widths in Angstrom from which on lines are compared."""

Rows = list[dict[str, Any]]
Guesses = Mapping[str, Sequence[np.ndarray]]
"""Reconstructions by method, instrument by instrument."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Data of one instrument and their truth, all [b, ...].

    Attributes:
        flux: 0 where not valid.
        ivar: 0 where not valid.
        truth: without noise; NaN where nobody knows.
    """

    flux: np.ndarray
    ivar: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.flux)

    @property
    def valid(self) -> Bool[np.ndarray, "b ..."]:
        """Which pixels count."""
        return self.ivar > 0

    @property
    def sigma(self) -> Float[np.ndarray, "b ..."]:
        """One sigma of flux; 1 where not valid."""
        return np.where(self.valid, self.ivar, 1) ** -0.5

    @property
    def signal(self) -> Float[np.ndarray, "b ..."]:
        """True S/N; NaN where not valid or unknown."""
        return np.where(self.valid, self.truth * np.sqrt(self.ivar), np.nan)

    def errors(self, guess: Float[np.ndarray, "b ..."]) -> Float[np.ndarray, "b ..."]:
        """Squared errors in units of the noise; NaN where not valid or unknown."""
        return np.where(self.valid, np.square(guess - self.truth) * self.ivar, np.nan)


def sums(
    values: Float[np.ndarray, "b ..."], chosen: Bool[np.ndarray, "b ..."] | None = None
) -> Float64[np.ndarray, "b 2"]:
    """Sum and number of the finite values of each object, where chosen."""
    there = np.isfinite(values)
    there = there if chosen is None else there & chosen
    axes = tuple(range(1, values.ndim))
    total = np.where(there, values, 0).sum(axis=axes, dtype=np.float64)
    return np.stack([total, there.sum(axis=axes)], axis=1)


def ratio(pairs: Float[np.ndarray, "b 2"]) -> float:
    """Mean over all pixels from the sums of objects; NaN without a pixel."""
    total, count = pairs.sum(axis=0)
    return float(total / count) if count else float("nan")


def middle(values: Float[np.ndarray, "b ..."]) -> float:
    """Median of the finite values; NaN without one."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def mean(values: Float[np.ndarray, " b"]) -> float:
    """Mean of the values of objects."""
    return float(np.mean(values))


def row(
    where: tuple[str, str, str],
    values: np.ndarray,
    statistic: Callable[[Any], float] = ratio,
    draws: int = 100,
) -> dict[str, Any]:
    """One score with its bootstrap error over objects.

    Args:
        where: question, method and metric.
        values: of each object [b, ...]: what `statistic` takes.
        statistic: number of objects' values.
        draws: of the bootstrap.

    Returns:
        question, method, metric, value, error and count (objects with a value).
    """
    question, method, metric = where
    finite = np.isfinite(values).any(axis=tuple(range(1, values.ndim)))
    pairs = statistic in (ratio, mean_ratio)
    there = values[:, 1] > 0 if pairs else finite
    kept = values[there]
    value = error = float("nan")
    if len(kept):
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, len(kept), (draws, len(kept)))
        value = statistic(kept)
        error = float(np.std([statistic(kept[one]) for one in chosen]))
    return {
        "question": question,
        "method": method,
        "metric": metric,
        "value": value,
        "error": error if len(kept) > 1 else float("nan"),
        "count": len(kept),
    }


def image_rows(question: str, seen: Sequence[Measured], guesses: Guesses) -> Rows:
    """Errors to the truth of images, by true S/N of pixels and brightness of objects.

    Args:
        question: heading.
        seen: images instrument by instrument.
        guesses: their reconstructions.
    """
    signal = [one.signal for one in seen]
    brightness = np.concatenate([mean_of(np.square(s)) for s in signal])
    some = np.isfinite(brightness)
    edges = np.quantile(brightness[some], [0.25, 0.5, 0.75]) if some.any() else [0]
    quarter = np.where(some, np.searchsorted(edges, brightness), -1)
    starts = np.cumsum([0, *map(len, seen)])
    chosen = {"": np.ones(len(quarter), bool)} | {
        f", {word} quarter of objects": quarter == number
        for number, word in enumerate(("faintest", "second", "third", "brightest"))
    }
    peak = np.concatenate([highest(s) for s in signal])
    chosen[f", objects within {RANGE:g} mag of the noise"] = peak <= 10 ** (0.4 * RANGE)
    rows: Rows = []
    for method, found in guesses.items():
        errors = [one.errors(guess) for one, guess in zip(seen, found, strict=True)]
        for label, kept in chosen.items():
            parts = [kept[a:b] for a, b in pairwise(starts)]
            inside = [s[k] for s, k in zip(signal, parts, strict=True)]
            made = [e[k] for e, k in zip(errors, parts, strict=True)]
            for metric, limit in _signal_limits(inside).items():
                pairs = [sums(e, s > limit) for e, s in zip(made, inside, strict=True)]
                where = (question, method, f"error{label}{metric}")
                rows.append(row(where, np.concatenate(pairs)))
        each = np.concatenate([mean_of(e) for e in errors])
        where = (question, method, "error, median over objects")
        rows.append(row(where, each, middle))
    return rows


def _signal_limits(signal: Sequence[Float[np.ndarray, "b ..."]]) -> dict[str, float]:
    """True S/N above which pixels are counted, by the words for it."""
    known = np.concatenate([s[np.isfinite(s)] for s in signal])
    return {
        "": -np.inf,
        ", brightest tenth of pixels": float(np.quantile(known, 0.9))
        if len(known)
        else np.inf,
        ", pixels with S/N > 1": 1.0,
        ", pixels with S/N > 10": 10.0,
    }


def mean_of(values: Float[np.ndarray, "b ..."]) -> Float64[np.ndarray, " b"]:
    """Mean of the finite values of each object; NaN without one."""
    total, count = sums(values).T
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def highest(values: Float[np.ndarray, "b ..."]) -> Float64[np.ndarray, " b"]:
    """Largest finite value of each object; NaN without one."""
    flat = np.where(np.isfinite(values), values, -np.inf).reshape(len(values), -1)
    most = flat.max(axis=1, initial=-np.inf).astype(np.float64)
    return np.where(np.isfinite(most), most, np.nan)


def median_signal(one: Measured) -> Float64[np.ndarray, " b"]:
    """Median true S/N of each object's valid pixels; NaN without one."""
    shown = np.ma.masked_invalid(one.signal.reshape(len(one), -1))
    found = np.ma.median(shown, axis=1)
    return np.ma.filled(np.ma.asarray(found, np.float64), np.nan)


def spectrum_rows(question: str, seen: Sequence[Measured], guesses: Guesses) -> Rows:
    """Errors to the truth of spectra, by classes of median true S/N, and R2.

    Args:
        question: heading.
        seen: spectra instrument by instrument.
        guesses: their reconstructions.
    """
    level = np.concatenate([median_signal(one) for one in seen])
    place = np.where(
        np.isfinite(level), np.searchsorted(SPECTRUM_LIMITS, level, "right"), -1
    )
    low, high = ("", *SPECTRUM_LIMITS), (*SPECTRUM_LIMITS, "")
    names = [
        f"error, S/N {a:g} to {b:g}" if a and b else ""
        for a, b in zip(low[1:-1], high[1:-1], strict=True)
    ]
    first, last = SPECTRUM_LIMITS[0], SPECTRUM_LIMITS[-1]
    names = [f"error, S/N < {first:g}", *names, f"error, S/N > {last:g}"]
    rows: Rows = []
    for method, found in guesses.items():
        errors = [one.errors(guess) for one, guess in zip(seen, found, strict=True)]
        whole = np.concatenate([sums(e) for e in errors])
        each = np.concatenate([mean_of(e) for e in errors])
        rows.append(row((question, method, "error"), whole))
        rows.append(row((question, method, "error, median over objects"), each, middle))
        for number, metric in enumerate(names):
            rows.append(row((question, method, metric), whole[place == number]))
        for number, metric in enumerate(names):
            where = (question, method, f"{metric}, median")
            rows.append(row(where, each[place == number], middle))
        r2 = [determination(one, guess) for one, guess in zip(seen, found, strict=True)]
        clear = np.concatenate(r2)[level > CLEAR]
        for word, statistic in (("mean", mean), ("median", middle)):
            where = (question, method, f"R2, S/N > {CLEAR:g}, {word}")
            rows.append(row(where, clear, statistic))
    return rows


def determination(
    one: Measured, guess: Float[np.ndarray, "b l"]
) -> Float64[np.ndarray, " b"]:
    """R2 of each object: 1 - squared errors over squares of truth - its mean.

    NaN for an object without pixels or with a flat truth.
    """
    there = one.valid & np.isfinite(one.truth) & np.isfinite(guess)
    truth = np.where(there, one.truth, np.nan)
    lost = sums(np.square(guess - truth))[:, 0]
    total = sums(np.square(truth - mean_of(truth)[:, None]))[:, 0]
    return np.where(total > 0, 1 - lost / np.where(total > 0, total, 1), np.nan)


def flux_errors(
    one: Measured, guess: Float[np.ndarray, "b c y x"], pixel_scale: float
) -> Float64[np.ndarray, "b c"]:
    """Relative error of the flux in the aperture of each band of each object.

    The aperture is around the middle of the stamp; only valid pixels are summed. NaN
    for bands below the S/N `SURE`, or with less than 95 % of the aperture valid.

    Args:
        one: images and their truth.
        guess: reconstruction.
        pixel_scale: arcsec.
    """
    inside = _distance(one.flux.shape) * pixel_scale <= APERTURE
    chosen = _sure(one, pixel_scale)
    there = one.valid & inside
    true, found = (
        np.where(there, v, 0).sum(axis=(2, 3), dtype=np.float64)
        for v in (one.truth, guess)
    )
    safe = np.where(chosen, true, 1)
    return np.where(chosen, np.abs(found / safe - 1), np.nan)


def shape_errors(
    one: Measured, guess: Float[np.ndarray, "b c y x"], pixel_scale: float
) -> Float64[np.ndarray, "b c"]:
    """Length of the error of the ellipticity (e1, e2) of each band of each object.

    NaN as for `flux_errors`, and where the weighted flux is not positive.
    """
    width = WEIGHT / pixel_scale
    off = ellipticities(guess, width) - ellipticities(one.truth, width)
    return np.where(_sure(one, pixel_scale), np.hypot(*off), np.nan)


def ellipticities(
    images: Float[np.ndarray, "b c y x"], fwhm: float
) -> Float64[np.ndarray, "2 b c"]:
    """(e1, e2) from second moments with a Gaussian weight around the object's middle.

    e1 = (Qxx - Qyy) / (Qxx + Qyy), e2 = 2 Qxy / (Qxx + Qyy). The weight follows the
    weighted centroid from the middle of the stamp. Circles of noiseless light have 0.

    Args:
        images: without noise.
        fwhm: of the weight in pixels.
    """
    y, x = (v.astype(np.float64) for v in np.indices(images.shape[2:]))
    at = [np.full((*images.shape[:2], 1, 1), v.mean()) for v in (y, x)]
    sigma = fwhm / np.sqrt(8 * np.log(2))
    moments = np.zeros((2, *images.shape[:2]))
    for _ in range(6):
        dy, dx = y - at[0], x - at[1]
        light = images * np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
        total = light.sum(axis=(2, 3))
        total = np.where(total > 0, total, np.nan)
        shift = [(light * d).sum(axis=(2, 3)) / total for d in (dy, dx)]
        xx, yy, xy = (
            (light * d).sum(axis=(2, 3)) / total for d in (dx * dx, dy * dy, dx * dy)
        )
        size = np.where(xx + yy > 0, xx + yy, np.nan)
        moments = np.stack([(xx - yy) / size, 2 * xy / size])
        at = [a + s[..., None, None] for a, s in zip(at, shift, strict=True)]
    return moments


def _distance(shape: tuple[int, ...]) -> Float64[np.ndarray, "y x"]:
    """Of pixels from the middle of a stamp, in pixels."""
    y, x = np.indices(shape[2:])
    return np.hypot(y - (shape[2] - 1) / 2, x - (shape[3] - 1) / 2)


def _sure(one: Measured, pixel_scale: float) -> Bool[np.ndarray, "b c"]:
    """Bands with enough S/N in an aperture that is valid nearly everywhere."""
    inside = _distance(one.flux.shape) * pixel_scale <= APERTURE
    there = one.valid & inside & np.isfinite(one.truth)
    flux = np.where(there, one.truth, 0).sum(axis=(2, 3), dtype=np.float64)
    noise = np.where(there, one.sigma**2, 0).sum(axis=(2, 3), dtype=np.float64) ** 0.5
    whole = there.sum(axis=(2, 3)) >= 0.95 * inside.sum()
    return whole & (flux > SURE * noise)


def overlaps(
    guess: Bool[np.ndarray, "b y x"], truth: Bool[np.ndarray, "b y x"]
) -> Float64[np.ndarray, "b 2"]:
    """Pixels in both and pixels in either of each map.

    `ratio` of them is the intersection over union of all maps together.
    """
    pair = [(guess & truth).sum(axis=(1, 2)), (guess | truth).sum(axis=(1, 2))]
    return np.stack(pair, axis=1).astype(np.float64)


def mean_ratio(pairs: Float[np.ndarray, "b 2"]) -> float:
    """Mean over objects of the first over the second; where the second is not 0."""
    some = pairs[pairs[:, 1] > 0]
    return float(np.mean(some[:, 0] / some[:, 1])) if len(some) else float("nan")


def code_statistics(codes: np.ndarray, total: int) -> dict[str, float]:
    """Entropy in bits, perplexity and number of codes from 0 to `total` - 1.

    Other codes are left out: those of absent objects, and of scales behind them.
    With few tokens both are biased low.
    """
    flat = codes[(codes >= 0) & (codes < total)]
    share = np.bincount(flat, minlength=total) / max(len(flat), 1)
    entropy = -float(np.sum(share[share > 0] * np.log2(share[share > 0])))
    return {"entropy": entropy, "perplexity": 2**entropy, "tokens": float(len(flat))}
