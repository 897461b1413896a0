# SPDX-License-Identifier: MIT
"""What a codec gives so that it can be trained: a task that eats observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aion.codec import Codec
from aion.observation import Observation
from aion.train.task import Task

TRUTH = ".truth"
"""Records hold the noiseless truth of a modality, if it is known, as an observation of
the same type under the modality's name and this."""


@dataclass(frozen=True)
class Sample:
    """Some objects of one modality.

    Attributes:
        modality: its name.
        observation: as measured.
        truth: the same without noise; None where nobody knows.
    """

    modality: str
    observation: Observation
    truth: Observation | None = None


@runtime_checkable
class CodecTask(Task, Protocol):
    """A task whose module becomes a codec.

    A codec class that can be trained has a class method `task(settings)`, which takes
    the plain values of a config's `codec` without `word`.

    Attributes:
        score: number of `report` that chooses the best step on validation batches; the
            lower the better.
        guarded: number of `report` that falls when the codes collapse; "" for none.

    A task with `pool`, a number, has so many batches, dicts, that come again and again;
    they then hold the `place` of each row among those of all.
    """

    score: str
    guarded: str

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> Any:
        """One batch of arrays, always of the same shapes.

        Args:
            samples: of several modalities or instruments.
            rng: dice of crops, flips and the like; None for validation.
        """
        ...

    def codec(self, module: Any) -> Codec:
        """The codec with a trained module."""
        ...


@runtime_checkable
class TrainableCodec(Protocol):
    """A codec class that can be trained."""

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> CodecTask:
        """The task of a configuration.

        Raises:
            ConfigError: settings that the codec does not have.
        """
        ...
