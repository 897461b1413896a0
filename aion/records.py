# SPDX-License-Identifier: MIT
"""What sources give: objects with a name, a place and observations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float64, Shaped

from aion.errors import DataError
from aion.observation import Observation


@dataclass(frozen=True, eq=False)
class Records:
    """A batch of objects.

    Attributes:
        object_id: unique name of each object in its survey, str [b].
        ra, dec: ICRS position in degrees, 0 <= ra < 360, [b].
        observations: by modality name; each of the same b objects.
        origin: file and partition they come from, for messages.
        copy: 0 for what was measured, 1 and up for noisy copies made of it.

    Raises:
        DataError: arrays of different lengths.
    """

    object_id: Shaped[np.ndarray, " b"]
    ra: Float64[np.ndarray, " b"]
    dec: Float64[np.ndarray, " b"]
    observations: Mapping[str, Observation]
    origin: str = ""
    copy: int = 0

    def __post_init__(self) -> None:
        lengths = {"ra": len(self.ra), "dec": len(self.dec)}
        lengths |= {name: len(value) for name, value in self.observations.items()}
        for name, length in lengths.items():
            if length != len(self):
                raise DataError(
                    f"{self.origin or 'records'}: {len(self)} objects and {length} "
                    f"values of {name}",
                    "Give one value per object.",
                )

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: Any) -> Self:
        """The objects `rows` (slice, indices or boolean) of the batch."""
        return replace(
            self,
            object_id=self.object_id[rows],
            ra=self.ra[rows],
            dec=self.dec[rows],
            observations={k: v.take(rows) for k, v in self.observations.items()},
        )


@runtime_checkable
class RecordSource(Protocol):
    """Something that can be read in partitions, in any order and more than once."""

    def partitions(self) -> Sequence[str]:
        """Names of the partitions, always the same for the same files."""
        ...

    def read(self, partition: str) -> Iterator[Records]:
        """The records of one partition, in batches that fit into memory."""
        ...
