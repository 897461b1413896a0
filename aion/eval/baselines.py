# SPDX-License-Identifier: MIT
"""What is had without us: scikit-learn's forests and neighbours, and the marginal.

Baselines learn from the training cells and answer for the same objects as the model,
with the same information: exactly the given modalities of the question, labels as
one-hot columns. When the condition of the question is itself given (class given, and
only galaxies asked about), they learn from such objects only. The marginal always does,
which makes it a stronger opponent where the model is not told the class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aion.errors import AionError, DataError
from aion.eval.evaluator import Held
from aion.eval.predictions import Predictions, fill
from aion.eval.questions import Question, values_of
from aion.sampling.posterior import Posterior
from aion.tokenspace import TokenSpace


@dataclass(frozen=True)
class Lesson:
    """What a baseline learns from and is asked about.

    Attributes:
        question: what is asked.
        labels: labels of the asked category; empty for numbers.
        train: objects to learn from, with a truth.
        held: objects to answer for.
    """

    question: Question
    labels: tuple[str, ...]
    train: Held
    held: Held

    @property
    def truth(self) -> np.ndarray:
        """True values of the training objects."""
        return values_of(self.train.records, self.question.asked)

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of training and held-out objects, float64 [b, p].

        Missing numbers are the training median (forests and neighbours take no NaN).
        """
        sides: list[list[np.ndarray]] = [[], []]
        for name in self.question.given:
            both = [values_of(h.records, name) for h in (self.train, self.held)]
            if both[0].dtype.kind == "U":
                known = [x for x in np.unique(both[0]) if x]
                for side, values in zip(sides, both, strict=True):
                    side += [(values == x).astype(np.float64) for x in known]
                continue
            seen = both[0][np.isfinite(both[0])]
            middle = float(np.median(seen)) if len(seen) else 0.0
            for side, values in zip(sides, both, strict=True):
                side.append(np.where(np.isfinite(values), values, middle))
        return np.stack(sides[0], axis=1), np.stack(sides[1], axis=1)


@runtime_checkable
class Baseline(Protocol):
    """A method to compare with."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    def answer(self, lesson: Lesson) -> Mapping[str, np.ndarray]:
        """Column `estimate` and any others of `predictions`, for the held objects."""
        ...


def _sklearn(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise AionError(
            "baselines need scikit-learn, which is not installed",
            "Install the extra: pip install 'aion-jax[eval]', or leave baselines out.",
        ) from None


def _fitted(model: Any, lesson: Lesson, *, standardise: bool) -> dict[str, np.ndarray]:
    train, held = lesson.features()
    if standardise:
        scaler = _sklearn("preprocessing").StandardScaler().fit(train)
        train, held = scaler.transform(train), scaler.transform(held)
    model.fit(train, lesson.truth)
    found = {"estimate": np.asarray(model.predict(held))}
    if lesson.labels:
        shares = model.predict_proba(held)
        found |= {f"p_{x}": shares[:, i] for i, x in enumerate(model.classes_)}
        found["log_score"] = _label_scores(found, lesson)
    return found


def _label_scores(found: Mapping[str, np.ndarray], lesson: Lesson) -> np.ndarray:
    """Log probability of the true label; no probability is below one in a thousand."""
    truth = values_of(lesson.held.records, lesson.question.asked)
    shares = np.zeros(len(truth))
    for label in lesson.labels:
        said = found.get(f"p_{label}", shares)
        shares = np.where(truth == label, said, shares)
    return np.log(np.maximum(shares, 1e-3))


@dataclass(frozen=True)
class Forest:
    """Random forest (Breiman 2001) with scikit-learn's defaults.

    Attributes:
        name: method name.
        trees: number of trees.
        seed: of the forest.
        jobs: threads; -1 is one per core.
    """

    name: str = "forest"
    trees: int = 300
    seed: int = 0
    jobs: int = -1

    def answer(self, lesson: Lesson) -> Mapping[str, np.ndarray]:
        """Mean of the trees, or their vote."""
        ensemble = _sklearn("ensemble")
        kind = "RandomForestClassifier" if lesson.labels else "RandomForestRegressor"
        model = getattr(ensemble, kind)(
            n_estimators=self.trees, random_state=self.seed, n_jobs=self.jobs
        )
        return _fitted(model, lesson, standardise=False)


@dataclass(frozen=True)
class Neighbours:
    """k nearest neighbours in standardised features, weighted by inverse distance."""

    name: str = "knn"
    k: int = 10

    def answer(self, lesson: Lesson) -> Mapping[str, np.ndarray]:
        """Weighted mean of the neighbours, or their vote."""
        module = _sklearn("neighbors")
        kind = "KNeighborsClassifier" if lesson.labels else "KNeighborsRegressor"
        count = min(self.k, len(lesson.train))
        model = getattr(module, kind)(n_neighbors=count, weights="distance")
        return _fitted(model, lesson, standardise=True)


@dataclass(frozen=True)
class Marginal:
    """The distribution of the asked value among training objects, whatever is given.

    For numbers a histogram of about sqrt(n) bins of equal mass, with one part in n + 1
    spread over its whole range; for labels their shares.
    """

    name: str = "marginal"
    seed: int = field(default=0)

    def answer(self, lesson: Lesson) -> Mapping[str, np.ndarray]:
        """The same answer for every object."""
        chosen = lesson.question.rows(lesson.train.records)
        if not chosen.any():
            raise DataError(
                f"no training object for the marginal of {lesson.question.name!r}",
                "Leave the baselines out.",
            )
        truth, count = lesson.truth[chosen], len(lesson.held)
        if lesson.labels:
            shares = {
                f"p_{x}": np.full(count, np.mean(truth == x)) for x in lesson.labels
            }
            likely = max(lesson.labels, key=lambda x: shares[f"p_{x}"][0])
            found = shares | {"estimate": np.full(count, likely)}
            return found | {"log_score": _label_scores(found, lesson)}
        edges = _equal_mass_edges(truth)
        mass = np.histogram(truth, edges)[0] / len(truth)
        floor = np.diff(edges) / (edges[-1] - edges[0])
        mass = (mass * len(truth) + floor) / (len(truth) + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        same = np.broadcast_to(mass, (count, len(mass)))
        posterior = Posterior(centres, edges, same)
        held = values_of(lesson.held.records, lesson.question.asked)
        return {
            "estimate": posterior.median,
            "pit": posterior.pit(held, seed=self.seed),
            "log_score": posterior.log_density(held),
        }


def _equal_mass_edges(values: np.ndarray) -> np.ndarray:
    bins = max(int(np.sqrt(len(values))), 1)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        half = max(abs(float(edges[0])), 1.0) * 1e-3
        edges = np.array([edges[0] - half, edges[0] + half])
    return edges


DEFAULT: tuple[Baseline, ...] = (Forest(), Neighbours(), Marginal())
"""Every baseline that a comparison shows."""


def run_baselines(
    question: Question,
    space: TokenSpace,
    train: Held,
    held: Held,
    baselines: Sequence[Baseline] = DEFAULT,
) -> list[Predictions]:
    """Answers of all baselines about the held objects that the question is about.

    Args:
        question: what is asked.
        space: the model's token space; says what sort of value is asked.
        train: objects of the training cells.
        held: objects of the test cells.
        baselines: the methods.

    Raises:
        AionError: scikit-learn is not installed.
        DataError: nothing to learn from.
    """
    sort = question.sort(space)
    told = {k: v for k, v in question.where.items() if k in question.given}
    plain = Question(question.name, question.given, question.asked, told)
    train = train.take(plain.rows(train.records))
    held = held.take(question.rows(held.records))
    if not len(train):
        raise DataError(
            f"no training object can answer {question.name!r}",
            "Give a catalogue with objects in training cells, or leave baselines out.",
        )
    truth = values_of(held.records, question.asked)
    labels: tuple[str, ...] = ()
    if sort == "label":
        seen = np.concatenate([values_of(train.records, question.asked), truth])
        labels = tuple(sorted(set(seen.tolist())))
    lesson = Lesson(question, labels, train, held)
    found = []
    for baseline in baselines:
        answers = dict(baseline.answer(lesson))
        keys = held.keys() | {"truth": truth, "estimate": answers.pop("estimate")}
        unit = space[question.asked].modality.unit
        named = answers | {"method": baseline.name}
        found.append(fill(question, sort, unit, keys, named, labels))
    return found
