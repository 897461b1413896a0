# SPDX-License-Identifier: MIT
"""What an evaluation asks: given modalities, one asked, and of which objects.

A config declares questions as plain dicts, for example

    {"name": "redshift", "given": ("sdss_mag_g", "sdss_mag_r"), "asked": "redshift",
     "where": {"object_class": "GALAXY"}, "estimate": "median"}

`where` selects objects by their true values: a label, or (low, high) of a number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from aion.config import to_dataclass, to_plain
from aion.errors import ConfigError, DataError
from aion.modality import Kind
from aion.observation import Category, Observation, Scalar
from aion.records import Records
from aion.tokenspace import TokenSpace

Sort = Literal["redshift", "number", "label"]
"""What is asked for, which decides how an answer is scored."""


@dataclass(frozen=True)
class Question:
    """One question of an evaluation.

    Attributes:
        name: what it is called in tables and file names.
        given: modalities that the model and the baselines are given.
        asked: the modality that is asked for, a scalar or a category.
        where: true values that objects must have, by modality.
        estimate: which number of the posterior is the point estimate.
    """

    name: str
    given: tuple[str, ...]
    asked: str
    where: Mapping[str, Any] = field(default_factory=dict)
    estimate: Literal["median", "mean", "mode"] = "median"

    def sort(self, space: TokenSpace) -> Sort:
        """What is asked for.

        Raises:
            ConfigError: it is neither a scalar nor a category.
            TokenSpaceError: the model does not know a modality.
        """
        for name in (*self.given, *self.where):
            space.index(name)
        kind = space[self.asked].modality.kind
        if kind is Kind.CATEGORY:
            return "label"
        if kind is not Kind.SCALAR:
            raise ConfigError(
                f"question {self.name!r} asks for {self.asked}, a {kind.value}",
                "Ask for a scalar or a category.",
            )
        return "redshift" if self.asked == "redshift" else "number"

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        words = "".join(c if c.isalnum() else " " for c in self.name.lower()).split()
        return "-".join(words) or "question"

    def rows(self, records: Records) -> np.ndarray:
        """Objects that can be scored: the truth is known and `where` holds; bool [b].

        Raises:
            DataError: the records lack a modality of the question.
        """
        chosen = present(records, self.asked)
        for name, wanted in self.where.items():
            chosen &= _matches(values_of(records, name), wanted, name)
        return chosen


def questions_from_config(rows: Iterable[Any]) -> tuple[Question, ...]:
    """Questions from the plain dicts of a config.

    Raises:
        ConfigError: an unknown or missing key, doubled names, or a modality that is
            both given and asked.
    """
    found = []
    for number, row in enumerate(rows):
        question = to_dataclass(Question, to_plain(row), f"evaluate.requests[{number}]")
        if question.asked in question.given or not question.given:
            raise ConfigError(
                f"question {question.name!r} gives {list(question.given)} and asks for "
                f"{question.asked}",
                "Give at least one modality, and not the asked one.",
            )
        if question.slug in [q.slug for q in found]:
            raise ConfigError(
                f"question {question.name!r} stands twice", "Give each its own name."
            )
        found.append(question)
    return tuple(found)


def observation_of(records: Records, name: str) -> Observation:
    """A modality of the records.

    Raises:
        DataError: they do not have it.
    """
    if name not in records.observations:
        raise DataError(
            f"{records.origin or 'records'}: no modality {name}",
            f"They have {', '.join(records.observations)}.",
        )
    return records.observations[name]


def values_of(records: Records, name: str) -> np.ndarray:
    """Numbers float64 [b] (NaN is absent) or labels str [b] ("" is absent).

    Raises:
        DataError: the modality is neither a scalar nor a category, or not there.
    """
    value = observation_of(records, name)
    if isinstance(value, Category):
        return np.ma.filled(np.ma.asarray(value.labels), "").astype(np.str_)
    if not isinstance(value, Scalar):
        raise DataError(
            f"{name} is neither a scalar nor a category", "Ask about another modality."
        )
    return np.ma.filled(np.ma.asarray(value.values).astype(np.float64), np.nan)


def present(records: Records, name: str) -> np.ndarray:
    """Objects that have a value of a modality; bool [b]."""
    values = values_of(records, name)
    return values != "" if values.dtype.kind == "U" else np.isfinite(values)


def _matches(values: np.ndarray, wanted: Any, name: str) -> np.ndarray:
    if values.dtype.kind == "U":
        labels = [wanted] if isinstance(wanted, str) else list(wanted)
        return np.isin(values, labels)
    if not isinstance(wanted, list | tuple) or len(wanted) != 2:
        raise ConfigError(
            f"where {name} is {wanted!r}", "Give (low, high) for a number."
        )
    return (values >= wanted[0]) & (values <= wanted[1])
