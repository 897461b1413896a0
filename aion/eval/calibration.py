# SPDX-License-Identifier: MIT
"""Whether probabilities mean what they say: PIT, coverage, reliability."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.errors import DataError

LEVELS = (0.5, 0.68, 0.9, 0.95)


@dataclass(frozen=True)
class Uniformity:
    """Kolmogorov-Smirnov test of PITs against the uniform distribution.

    Attributes:
        statistic: largest distance of the two cumulative distributions.
        pvalue: probability of a larger one if the PITs are uniform and independent.
        count: number of PITs.
    """

    statistic: float
    pvalue: float
    count: int


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """The values that are not NaN.

    Raises:
        DataError: there are none.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        raise DataError(f"no {what}", "Give objects with a truth and an answer.")
    return kept


def uniformity(pit: np.ndarray) -> Uniformity:
    """KS test of PITs [b] against uniform on [0, 1] (scipy)."""
    from scipy.stats import ks_1samp, uniform

    pit = finite(pit, "PIT")
    found: Any = ks_1samp(pit, uniform.cdf)
    return Uniformity(float(found.statistic), float(found.pvalue), len(pit))


def ks_statistic(pit: np.ndarray) -> float:
    """The KS statistic alone, fast enough to bootstrap; NaN without PITs."""
    ordered = np.sort(pit[~np.isnan(pit)])
    count = len(ordered)
    if not count:
        return float("nan")
    steps = np.arange(count + 1) / count
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def coverage(pit: np.ndarray, level: float) -> float:
    """Share of truths inside the central interval of a level; NaN without PITs."""
    kept = pit[~np.isnan(pit)]
    if not len(kept):
        return float("nan")
    return float(np.mean(np.abs(kept - 0.5) <= level / 2))


def coverage_table(
    pit: np.ndarray, levels: Sequence[float] = LEVELS
) -> list[dict[str, float]]:
    """Rows level, coverage, error (binomial, at the nominal level)."""
    count = len(finite(pit, "PIT"))
    return [
        {
            "level": level,
            "coverage": coverage(pit, level),
            "error": float(np.sqrt(level * (1 - level) / count)),
        }
        for level in levels
    ]


def reliability(
    probability: np.ndarray, happened: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """How often something happened when its probability was said to be p.

    Args:
        probability: said, [b].
        happened: bool [b].
        bins: equal intervals of probability; empty ones are left out.

    Returns:
        Rows low, high, said (mean), happened (share), error (binomial, at the said
        value), count.
    """
    index = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    rows = []
    for number in np.unique(index):
        inside = index == number
        said = float(np.mean(probability[inside]))
        count = int(inside.sum())
        rows.append(
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "said": said,
                "happened": float(np.mean(happened[inside])),
                "error": float(np.sqrt(max(said * (1 - said), 0.0) / count)),
                "count": count,
            }
        )
    return rows


def calibration_error(
    probability: np.ndarray, happened: np.ndarray, bins: int = 10
) -> float:
    """Expected calibration error (Naeini et al. 2015): mean |said - happened|."""
    rows = reliability(probability, happened, bins)
    gaps = [r["count"] * abs(r["said"] - r["happened"]) for r in rows]
    return float(sum(gaps) / sum(r["count"] for r in rows))
