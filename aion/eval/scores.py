# SPDX-License-Identifier: MIT
"""One table of scores with bootstrap errors, ours beside the baselines'.

Errors are standard deviations over bootstrap samples, the same objects for all methods,
so that ratios and differences of methods have paired errors. By default whole cells of
the sky are drawn, which counts what objects of a cell share.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from aion.errors import DataError
from aion.eval.photoz import DIFFERENCES, METRICS, RATIOS, Metric
from aion.eval.predictions import OURS, Predictions

Unit = Literal["cell", "object"]


@dataclass(frozen=True)
class Score:
    """One number of the table.

    Attributes:
        question: name of the question.
        method: "aion", a baseline, "aion / forest" (ratio) or "aion - forest".
        metric: name of the metric.
        value: over all objects.
        error: one standard deviation.
        count: number of objects.
    """

    question: str
    method: str
    metric: str
    value: float
    error: float
    count: int


def resamples(
    cells: np.ndarray, repeats: int, seed: int, by: Unit = "cell"
) -> list[np.ndarray]:
    """Row indices of bootstrap samples: objects, or whole cells, with replacement."""
    rng = np.random.default_rng(seed)
    if by == "object":
        count = len(cells)
        return [rng.integers(0, count, count) for _ in range(repeats)]
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=cells[order][0] - 1))
    groups = np.split(order, starts[1:])
    picks = rng.integers(0, len(groups), (repeats, len(groups)))
    return [np.concatenate([groups[g] for g in pick]) for pick in picks]


def bootstrap(
    columns: dict[str, np.ndarray], metric: Metric, samples: Sequence[np.ndarray]
) -> np.ndarray:
    """The metric on each bootstrap sample, float64 [repeats]."""
    return np.array(
        [metric({k: v[rows] for k, v in columns.items()}) for rows in samples]
    )


def _same_objects(parts: dict[str, Predictions], name: str) -> None:
    first, *others = parts.values()
    for other in others:
        if not np.array_equal(first["object_id"], other["object_id"]):
            raise DataError(
                f"methods answered {name!r} for different objects",
                "Evaluate model and baselines on the same catalogue and fold.",
            )


def score(
    predictions: Predictions, *, repeats: int = 200, seed: int = 0, by: Unit = "cell"
) -> list[Score]:
    """All scores of one question, over all folds together.

    Args:
        predictions: of one or more methods on the same objects.
        repeats: bootstrap samples.
        seed: of the bootstrap.
        by: what is drawn with replacement.

    Raises:
        DataError: methods answered for different objects.
    """
    sort, name = predictions.sort, predictions.question.name
    parts = {m: predictions.of(m) for m in predictions.methods}
    _same_objects(parts, name)
    first = next(iter(parts.values()))
    samples = resamples(first["cell"], repeats, seed, by)
    wanted = {"truth", "estimate", "pit", "log_score"}
    found: list[Score] = []
    values: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    for method, part in parts.items():
        columns = {k: v for k, v in part.columns.items() if k in wanted}
        for label, metric in METRICS[sort].items():
            value = metric(columns)
            if np.isnan(value):
                continue
            drawn = bootstrap(columns, metric, samples)
            values[method, label] = value, drawn
            found.append(
                Score(name, method, label, value, float(np.std(drawn)), len(part))
            )
    return found + _compared(values, predictions, len(first))


def _compared(
    values: dict[tuple[str, str], tuple[float, np.ndarray]],
    predictions: Predictions,
    count: int,
) -> list[Score]:
    """Ratios and differences of ours to every other method."""
    name, found = predictions.question.name, []
    for sign, metrics in (("/", RATIOS), ("-", DIFFERENCES)):
        for metric in metrics[predictions.sort]:
            for other in predictions.methods:
                mine, his = values.get((OURS, metric)), values.get((other, metric))
                if other == OURS or mine is None or his is None:
                    continue
                (a, ours), (b, theirs) = mine, his
                with np.errstate(divide="ignore", invalid="ignore"):
                    value = np.divide(a, b) if sign == "/" else a - b
                    drawn = ours / theirs if sign == "/" else ours - theirs
                    error = float(np.std(drawn))
                method = f"{OURS} {sign} {other}"
                found.append(Score(name, method, metric, float(value), error, count))
    return found


def rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Plain rows, ready for a report."""
    return [asdict(s) for s in scores]
