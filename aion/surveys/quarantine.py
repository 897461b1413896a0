# SPDX-License-Identifier: MIT
"""What cannot be used: an error that names file and column, or a line in a report.

Nothing is dropped in silence: rows in = rows out + rows in quarantine, always. A file
that does not open tells no rows; it counts as a file, with 0 rows.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from aion.errors import ConfigError, DataError
from aion.surveys.positions import Positions, usable

OnBad = Literal["error", "quarantine"]
CHOICES = ("error", "quarantine")


@dataclass(frozen=True)
class Fault:
    """Something that cannot be used.

    Attributes:
        path: file or partition.
        column: its column, "" where it is the file.
        reason: what is wrong.
        rows: how many rows are left out for it.
    """

    path: str
    column: str
    reason: str
    rows: int = 0

    def error(self) -> DataError:
        """The same as an exception."""
        column = f" column {self.column!r}" if self.column else ""
        rows = f" ({self.rows} rows)" if self.rows else ""
        return DataError(
            f"{self.path}{column}: {self.reason}{rows}",
            'Mend the file, or read with on_bad="quarantine" to go on without.',
        )


class BadFile(Exception):
    """Raised inside readers; leaves them as a `DataError` or as a line in a report."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.reason)


@dataclass(frozen=True)
class Quarantine:
    """Counts over the partitions that were read, each once.

    Attributes:
        files: partitions read.
        rows_in: rows they have.
        rows_out: rows given on.
        faults: what was left out.
    """

    files: int = 0
    rows_in: int = 0
    rows_out: int = 0
    faults: tuple[Fault, ...] = ()

    @property
    def rows_left_out(self) -> int:
        """Rows of all faults: rows in minus rows out."""
        return sum(fault.rows for fault in self.faults)

    @classmethod
    def joined(cls, parts: Iterable["Quarantine"]) -> "Quarantine":
        """The sum, such as of several processes that read different partitions."""
        parts = list(parts)
        faults = dict.fromkeys(fault for part in parts for fault in part.faults)
        return cls(
            sum(part.files for part in parts),
            sum(part.rows_in for part in parts),
            sum(part.rows_out for part in parts),
            tuple(faults),
        )

    def lines(self) -> list[str]:
        """The report as text, a fault a line."""
        return [str(fault.error().problem) for fault in self.faults]


@dataclass
class Ledger:
    """Keeps the counts of one source; reading a partition again counts once.

    Attributes:
        on_bad: "error" raises at the first fault, "quarantine" notes it.
    """

    on_bad: str = "error"
    _parts: dict[str, Quarantine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.on_bad not in CHOICES:
            raise ConfigError(
                f"on_bad is {self.on_bad!r}", f"Choose from {', '.join(CHOICES)}."
            )

    def judge(self, faults: Iterable[Fault]) -> None:
        """Raises the first fault, if so asked.

        Raises:
            DataError: there is a fault and `on_bad` is "error".
        """
        for fault in faults:
            if self.on_bad == "error":
                raise fault.error() from None

    def note(self, partition: str, part: Quarantine) -> None:
        """Sets what a partition came to.

        Raises:
            DataError: as `judge`.
        """
        self.judge(part.faults)
        self._parts[partition] = part

    @contextmanager
    def files(self, partition: str) -> Iterator[None]:
        """Turns `BadFile` into an error or a note: the block ends there."""
        try:
            yield
        except BadFile as bad:
            rows = bad.fault.rows
            self.note(partition, Quarantine(1, rows, 0, (bad.fault,)))

    def part(self, partition: str) -> Quarantine:
        """What a partition came to; nothing where it was not read."""
        return self._parts.get(partition, Quarantine())

    @property
    def total(self) -> Quarantine:
        """Over all partitions read."""
        return Quarantine.joined(self._parts.values())


def checked_rows(
    positions: Positions, path: str, columns: tuple[str, str, str]
) -> tuple[Bool[np.ndarray, " b"], tuple[Fault, ...]]:
    """Rows that can be used, and the faults of the others.

    A row must have a name, a place on the sphere, and no earlier row with its name.

    Args:
        positions: all rows of a file, ids in one form.
        path: for messages.
        columns: names of the columns of id, ra and dec.
    """
    good, found = usable(positions)
    told = {"object id": columns[0], "ra": columns[1], "dec": columns[2]}
    faults = []
    for reason, rows in found.items():
        start = next((word for word in told if reason.startswith(word)), None)
        column = told[start] if start else ""
        if reason.startswith("ra or dec"):
            first = np.isfinite(positions.ra[rows]).all()
            column = columns[2] if first else columns[1]
        faults.append(Fault(path, column, reason, int(rows.sum())))
    chosen = np.flatnonzero(good)
    _, first = np.unique(positions.object_id[chosen], return_index=True)
    again = len(chosen) - len(first)
    if again:
        good = np.zeros(len(good), bool)
        good[chosen[first]] = True
        faults.append(
            Fault(path, columns[0], "object id not for the first time", again)
        )
    return good, tuple(faults)


def name_of(path: Path, root: Path) -> str:
    """A file's name below the root, with forward slashes."""
    return path.relative_to(root).as_posix()
