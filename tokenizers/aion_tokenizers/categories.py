# SPDX-License-Identifier: MIT
"""The codec of labels: one code per label, nothing for a missing one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int, Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Category, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.bins import Counts
from aion_tokenizers.fitters import CategoriesFitter, plain_labels


@dataclass(frozen=True)
class Categories:
    """Labels as codes; "" is absent.

    Attributes:
        labels: label by code.
        other: the label among them that unknown labels become; None if they are errors.
    """

    word: ClassVar[str] = "categories"
    labels: tuple[str, ...]
    other: str | None = None

    def __post_init__(self) -> None:
        doubled = len(set(self.labels)) != len(self.labels)
        if not self.labels or doubled or "" in self.labels:
            raise ArtefactError(
                f"labels {self.labels} are empty or not distinct", "Name each once."
            )
        if self.other is not None and self.other not in self.labels:
            raise ArtefactError(
                f"other label {self.other!r} is not among {self.labels}", "Add it."
            )

    @classmethod
    def fitter(cls, **config: Any) -> "CategoriesFitter[Self]":
        """Takes `labels=None, other=None`; without labels those of the data, sorted."""
        return CategoriesFitter(cls, **config)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 1] of `Category.labels` [b]; -1 where a label is empty.

        Raises:
            DataError: an unknown label, and the codec has no `other`.
        """
        return self.bin_of(observation.labels).astype(np.int32)[:, None]  # pyright: ignore

    def decode(self, codes: Any, **asked: Any) -> Category:
        """Labels [...] of codes [..., 1]; "" for -1."""
        index = np.asarray(codes)[..., 0]
        if index.size and index.max() >= len(self.labels):
            raise DataError(
                f"code {index.max()} of a codec with {len(self.labels)} labels",
                "Decode codes with the codec that made them.",
            )
        return Category(np.array([*self.labels, ""])[index])

    def count(self, observation: Observation) -> Counts:
        """How many labels are empty; nothing is clipped."""
        labels = plain_labels(observation.labels)  # pyright: ignore
        return Counts(labels.size, int((labels == "").sum()))

    def bin_of(self, labels: Any) -> Int[np.ndarray, "..."]:
        """Code of each label; -1 where it is empty."""
        distinct, inverse = np.unique(plain_labels(labels), return_inverse=True)
        unknown = [str(x) for x in distinct if x and x not in self.labels]
        if unknown and self.other is None:
            raise DataError(
                f"unknown labels {', '.join(unknown[:5])}",
                f"This codec knows {', '.join(self.labels)}; give it an `other` label "
                "or fit it again.",
            )
        codes = {label: code for code, label in enumerate(self.labels)} | {"": -1}
        fallback = codes.get(self.other or "", -1)
        table = np.array([codes.get(str(x), fallback) for x in distinct], np.int64)
        return table[inverse] if len(table) else np.zeros(0, np.int64)

    def codes_of_bin(self, index: Any) -> Int[np.ndarray, "... t"]:
        """Codes [..., 1] of categories [...]; the two are the same number."""
        return np.asarray(index)[..., None]

    def bin_of_codes(self, codes: Any) -> Int[np.ndarray, "..."]:
        """Categories [...] of codes [..., 1]."""
        return np.asarray(codes)[..., 0]

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token, one code per label."""
        count = len(self.labels)
        return TokenSpec(
            modality, name, count, count, code_features=features.one_hot(count)
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        return {"labels": list(self.labels), "other": self.other}, {}

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: labels that are not a list of strings.
        """
        labels, other = config.get("labels"), config.get("other")
        if (
            not isinstance(labels, list)
            or not all(isinstance(label, str) for label in labels)
            or not isinstance(other, str | None)
            or arrays
        ):
            raise ArtefactError(
                "a codec of categories takes a list of labels", "Fit the codec again."
            )
        return cls(tuple(labels), other)
