# SPDX-License-Identifier: MIT
"""Asks a model the questions of an evaluation about held-out objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aion.errors import ArtefactError, DataError
from aion.eval.predictions import OURS, Predictions, fill
from aion.eval.questions import Question, observation_of, values_of
from aion.generation import AION
from aion.records import Records
from aion.sampling.posterior import Posterior

OBJECTS_PER_PART = 512
EXAMPLES = 9


@dataclass(frozen=True)
class Held:
    """Objects with their place on the sky.

    Attributes:
        records: with the modalities that questions name.
        cells: HEALPix cells, int64 [b].
        fold: number of the fold whose test objects these are.
    """

    records: Records
    cells: np.ndarray
    fold: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: Any) -> "Held":
        """Some of the objects."""
        return replace(self, records=self.records.take(rows), cells=self.cells[rows])

    def keys(self) -> dict[str, np.ndarray]:
        """The columns that name an object in predictions."""
        return {
            "object_id": self.records.object_id.astype(np.str_),
            "cell": np.asarray(self.cells, np.int64),
            "fold": np.full(len(self), self.fold, np.int64),
        }


@dataclass(frozen=True)
class Examples:
    """Whole posteriors of a few objects, for plots.

    Attributes:
        posterior: of k objects.
        truth: true values [k].
        object_id: names [k].
    """

    posterior: Posterior
    truth: np.ndarray
    object_id: np.ndarray

    def save(self, path: Path) -> None:
        """Writes an npz file."""
        p = self.posterior
        edges = np.zeros(0) if p.edges is None else p.edges
        np.savez_compressed(
            path,
            values=p.values,
            edges=edges,
            probabilities=p.probabilities,
            name=np.array(p.name),
            unit=np.array(p.unit),
            truth=self.truth,
            object_id=self.object_id.astype(np.str_),
        )

    @classmethod
    def load(cls, path: Path) -> "Examples":
        """Reads what `save` wrote.

        Raises:
            ArtefactError: no such file, or another content.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                data = dict(file)
            edges = data["edges"] if len(data["edges"]) else None
            posterior = Posterior(
                data["values"],
                edges,
                data["probabilities"],
                str(data["name"]),
                str(data["unit"]),
            )
            return cls(posterior, data["truth"], data["object_id"])
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(
                f"{path} holds no posteriors: {error}", "Evaluate again."
            ) from None


@dataclass(frozen=True)
class Result:
    """What an evaluator gives: answers to score and a few posteriors to look at."""

    predictions: Predictions
    examples: Examples


@runtime_checkable
class Evaluator(Protocol):
    """Asks a model about held-out objects."""

    @property
    def question(self) -> Question:
        """What is asked."""
        ...

    def run(self, model: AION, data: Held) -> Result:
        """The model's answers about the objects that the question is about.

        Raises:
            DataError: there are none.
        """
        ...


@dataclass(frozen=True)
class ByPosterior:
    """Takes every number from the posterior of the asked modality.

    Attributes:
        question: what is asked.
        seed: of the randomisation of PITs inside a bin.
    """

    question: Question
    seed: int = 0

    def run(self, model: AION, data: Held) -> Result:
        """Answers of the model, objects in parts that fit into memory.

        Raises:
            DataError: no object can be scored, or a modality is not in the records.
            TokenSpaceError: the model does not know a modality.
        """
        question, sort = self.question, self.question.sort(model.space)
        rows = np.flatnonzero(question.rows(data.records))
        if not len(rows):
            raise DataError(
                f"no object can answer {question.name!r} (where {question.where})",
                "Give a catalogue with such objects in its held-out cells.",
            )
        held = data.take(rows)
        shown = _spread(len(held), EXAMPLES)
        parts, examples = [], []
        for start in range(0, len(held), OBJECTS_PER_PART):
            part = held.take(slice(start, start + OBJECTS_PER_PART))
            posterior = self._ask(model, part)
            parts.append(self._answers(posterior, part, start))
            here = shown[(shown >= start) & (shown < start + len(part))] - start
            examples.append(posterior.probabilities[here])
        columns = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        truth = values_of(held.records, question.asked)
        keys = held.keys() | {"truth": truth, "estimate": columns.pop("estimate")}
        labels = () if sort != "label" else tuple(str(v) for v in posterior.values)
        answers = {"method": OURS} | columns
        few = replace(posterior, probabilities=np.concatenate(examples))
        return Result(
            fill(question, sort, posterior.unit, keys, answers, labels),
            Examples(few, truth[shown], held.records.object_id[shown]),
        )

    def _ask(self, model: AION, part: Held) -> Posterior:
        given = {n: observation_of(part.records, n) for n in self.question.given}
        return model.posterior(model.tokenize(given), self.question.asked)

    def _answers(
        self, posterior: Posterior, part: Held, start: int
    ) -> dict[str, np.ndarray]:
        truth = values_of(part.records, self.question.asked)
        if posterior.is_category:
            shares = posterior.probabilities.T
            named = zip(posterior.values, shares, strict=True)
            return {
                "estimate": posterior.mode.astype(np.str_),
                "log_score": posterior.log_probability(truth),
            } | {f"p_{label}": share for label, share in named}
        low, high = posterior.interval(0.68)
        return {
            "estimate": np.asarray(getattr(posterior, self.question.estimate)),
            "pit": posterior.pit(truth, seed=self.seed + start),
            "log_score": posterior.log_density(truth),
            "low": low,
            "high": high,
            "std": posterior.std,
        }


def _spread(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64))


def evaluators(questions: Sequence[Question], seed: int = 0) -> tuple[Evaluator, ...]:
    """One evaluator per question."""
    return tuple(ByPosterior(q, seed) for q in questions)
