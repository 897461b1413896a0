# SPDX-License-Identifier: MIT
"""Point metrics: photometric redshifts, other numbers, labels.

Photometric redshifts are scored on d = (z_phot - z_spec) / (1 + z_spec):

- `nmad` = 1.4826 median |d - median(d)| (Hoaglin et al. 1983; centred as in Brammer et
  al. 2008, ApJ 686, 1503, but over all objects and with 1 + z_spec),
- `outliers` = share with |d| > 0.05,
- `bias` = median(d).
"""

from collections.abc import Callable, Mapping

import numpy as np

from aion.eval.calibration import coverage, ks_statistic
from aion.eval.questions import Sort

OUTLIER = 0.05
GAUSS = 1.4826
"""Standard deviation over median absolute deviation of a Gaussian."""

Columns = Mapping[str, np.ndarray]
Metric = Callable[[Columns], float]


def nmad(residual: np.ndarray) -> float:
    """1.4826 median |d - median(d)|."""
    return float(GAUSS * np.median(np.abs(residual - np.median(residual))))


def scaled(columns: Columns) -> np.ndarray:
    """d = (z_phot - z_spec) / (1 + z_spec), [b]."""
    truth = columns["truth"]
    return (columns["estimate"] - truth) / (1 + truth)


def residual(columns: Columns) -> np.ndarray:
    """Estimate minus truth in the unit of the values, [b]."""
    return columns["estimate"] - columns["truth"]


def log_score(columns: Columns) -> float:
    """Mean natural log of the density or probability given to the truth."""
    return float(np.mean(columns["log_score"]))


def accuracy(columns: Columns) -> float:
    """Share of right labels."""
    return float(np.mean(columns["estimate"] == columns["truth"]))


def balanced_accuracy(columns: Columns) -> float:
    """Mean over labels of the share of its objects that get it."""
    right = columns["estimate"] == columns["truth"]
    labels = np.unique(columns["truth"])
    return float(np.mean([right[columns["truth"] == x].mean() for x in labels]))


def r_squared(columns: Columns) -> float:
    """1 - mean squared residual / variance of the truth."""
    variance = np.var(columns["truth"])
    return float(1 - np.mean(residual(columns) ** 2) / variance)


_DENSITY: dict[str, Metric] = {
    "log_score": log_score,
    "pit_ks": lambda c: ks_statistic(c["pit"]),
    "coverage_68": lambda c: coverage(c["pit"], 0.68),
}

METRICS: Mapping[Sort, Mapping[str, Metric]] = {
    "redshift": {
        "nmad": lambda c: nmad(scaled(c)),
        "outliers": lambda c: float(np.mean(np.abs(scaled(c)) > OUTLIER)),
        "bias": lambda c: float(np.median(scaled(c))),
        **_DENSITY,
    },
    "number": {
        "nmad": lambda c: nmad(residual(c)),
        "rms": lambda c: float(np.sqrt(np.mean(residual(c) ** 2))),
        "bias": lambda c: float(np.median(residual(c))),
        "r2": r_squared,
        **_DENSITY,
    },
    "label": {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "log_score": log_score,
    },
}
"""Metrics by what is asked for; each takes the columns of one method."""

RATIOS: Mapping[Sort, tuple[str, ...]] = {
    "redshift": ("nmad", "outliers"),
    "number": ("nmad", "rms"),
    "label": (),
}
"""Metrics shown also as ours over another method's."""

DIFFERENCES: Mapping[Sort, tuple[str, ...]] = {
    "redshift": ("log_score",),
    "number": ("log_score",),
    "label": ("accuracy", "log_score"),
}
"""Metrics shown also as ours minus another method's."""


def confusion(columns: Columns, labels: tuple[str, ...]) -> np.ndarray:
    """Number of objects by true label (rows) and given label (columns), int [k, k]."""
    index = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    pairs = zip(columns["truth"].tolist(), columns["estimate"].tolist(), strict=True)
    for true, given in pairs:
        table[index[true], index[given]] += 1
    return table
