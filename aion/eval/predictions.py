# SPDX-License-Identifier: MIT
"""Predictions of one question: what was true and what each method answered.

Columns, one row per method and object:

    method          "aion", "forest", "knn", "marginal"
    object_id, cell, fold
    truth, estimate the asked value; numbers, or labels
    pit             randomised inside the bin; numbers of methods with a density
    log_score       natural log of the density (per unit) or of the label's probability
    low, high, std  central 68 % interval and standard deviation; numbers
    p_<label>       probability of each label

What a method does not give is NaN. One Parquet file holds the question as metadata.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ArtefactError, DataError
from aion.eval.questions import Question, Sort

FORMAT = "aion.predictions"
VERSION = 1
KEYS = ("method", "object_id", "cell", "fold", "truth", "estimate")
NUMBERS = ("pit", "log_score", "low", "high", "std")
OURS = "aion"
"""Method name of the model."""


@dataclass(frozen=True)
class Predictions:
    """Answers of one or more methods to one question.

    Attributes:
        question: what was asked.
        sort: what is asked for.
        unit: unit of truth and estimate.
        columns: see the module; all of the same length.

    Raises:
        DataError: a column is missing or has another length.
    """

    question: Question
    sort: Sort
    unit: str
    columns: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        missing = [k for k in KEYS if k not in self.columns]
        lengths = {len(c) for c in self.columns.values()}
        if missing or len(lengths) != 1:
            raise DataError(
                f"predictions of {self.question.name!r}: missing columns {missing}, "
                f"lengths {sorted(lengths)}",
                "Make predictions with an evaluator.",
            )

    def __len__(self) -> int:
        return len(self.columns["truth"])

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order in which they stand."""
        return tuple(dict.fromkeys(self.columns["method"].tolist()))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels with a probability column."""
        return tuple(c.removeprefix("p_") for c in self.columns if c.startswith("p_"))

    def of(self, method: str) -> "Predictions":
        """The rows of one method, ordered by fold and object.

        Raises:
            DataError: there is no such method.
        """
        if method not in self.methods:
            raise DataError(
                f"no method {method!r} answered {self.question.name!r}",
                f"There are {', '.join(self.methods)}.",
            )
        rows = np.flatnonzero(self.columns["method"] == method)
        own = {k: v[rows] for k, v in self.columns.items()}
        order = np.lexsort((own["object_id"], own["fold"]))
        return replace(self, columns={k: v[order] for k, v in own.items()})

    def save(self, path: Path) -> None:
        """Writes a Parquet file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        meta = {
            "format": FORMAT,
            "version": VERSION,
            "question": asdict(self.question),
            "sort": self.sort,
            "unit": self.unit,
        }
        table = pa.table({k: pa.array(v) for k, v in self.columns.items()})
        table = table.replace_schema_metadata({"aion": json.dumps(meta)})
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        pq.write_table(table, partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads what `save` wrote.

        Raises:
            ArtefactError: no such file, or not predictions of this format.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            meta = json.loads((table.schema.metadata or {})[b"aion"])
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise ArtefactError(
                f"{path} does not hold predictions: {error}", "Evaluate again."
            ) from None
        if meta.get("format") != FORMAT or meta.get("version") != VERSION:
            raise ArtefactError(
                f"{path}: format {meta.get('format')} version {meta.get('version')}",
                f"This package reads {FORMAT} version {VERSION}.",
            )
        values = meta["question"] | {"given": tuple(meta["question"]["given"])}
        columns = {n: _plain(table[n]) for n in table.column_names}
        return cls(Question(**values), meta["sort"], meta["unit"], columns)


def _plain(column: Any) -> np.ndarray:
    values = column.to_numpy()
    return values.astype(np.str_) if values.dtype == object else values


def pool(parts: Iterable[Predictions]) -> Predictions:
    """Predictions of several folds or methods as one.

    Raises:
        DataError: none, different questions, or one object answered twice by a method.
    """
    parts = list(parts)
    if not parts or len({p.question.name for p in parts}) > 1:
        names = sorted({p.question.name for p in parts})
        raise DataError(
            f"predictions of {names} to pool", "Pool answers to one question."
        )
    wanted = list(dict.fromkeys(c for p in parts for c in p.columns))
    columns = {c: np.concatenate([_column(p, c) for p in parts]) for c in wanted}
    pooled = replace(parts[0], columns=columns)
    for method in pooled.methods:
        own = pooled.of(method)
        names = np.char.add(own["object_id"], np.char.mod("/%d", own["fold"]))
        _check_distinct(names, method, pooled.question)
    return pooled


def _check_distinct(names: np.ndarray, method: str, question: Question) -> None:
    distinct, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"{method} answered {question.name!r} twice for object "
            f"{str(distinct[counts > 1][0]).rpartition('/')[0]}",
            "Give object ids that are unique, and pool each fold once.",
        )


def _column(part: Predictions, name: str) -> np.ndarray:
    return part.columns.get(name, np.full(len(part), np.nan))


def fill(
    question: Question,
    sort: Sort,
    unit: str,
    keys: dict[str, np.ndarray],
    answers: dict[str, Any],
    labels: Sequence[str] = (),
) -> Predictions:
    """Predictions of one method; NaN where it gives no answer.

    Args:
        question, sort, unit: see `Predictions`.
        keys: object_id, cell, fold, truth, estimate, [b].
        answers: "method" and those of the other columns that the method gives.
        labels: labels of a category.
    """
    count = len(keys["truth"])
    wanted = ("log_score", *(f"p_{x}" for x in labels)) if sort == "label" else NUMBERS
    columns = {"method": np.full(count, answers["method"])} | keys
    for name in wanted:
        value = answers.get(name, np.full(count, np.nan))
        columns[name] = np.asarray(value, np.float64)
    return Predictions(question, sort, unit, columns)
