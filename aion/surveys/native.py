# SPDX-License-Identifier: MIT
"""Files as surveys publish them, as a source: each file is a partition."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from aion.errors import ConfigError, DataError
from aion.records import Records
from aion.surveys.positions import Positions
from aion.surveys.quarantine import BadFile, Fault, Ledger, Quarantine, checked_rows

Reader = Callable[[Path, int], Iterator[Records]]
"""A file and the rows of a batch -> its records."""


@dataclass(frozen=True)
class NativeSource:
    """A `RecordSource` over native files.

    Attributes:
        paths: the files.
        reader: of one file.
        survey: whose sky it is.
        epoch: Julian year of the positions.
        on_bad: "error" raises at the first fault, "quarantine" notes it in `report`.
        modalities: those to give; None = all there are.
        batch: rows that are read at once.
        places: reads the positions of a file where that is cheaper, or tells proper
            motions; None = as `reader` says.
        placed: False for files that tell no positions; theirs are NaN.
    """

    paths: tuple[Path, ...]
    reader: Reader
    survey: str
    epoch: float
    on_bad: str = "error"
    modalities: tuple[str, ...] | None = None
    batch: int = 256
    places: Callable[[Path], Positions] | None = None
    placed: bool = True
    _ledger: Ledger = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ledger", Ledger(self.on_bad))
        if self.batch < 1:
            raise ConfigError(f"batches of {self.batch} rows", "Give at least 1.")

    @property
    def report(self) -> Quarantine:
        """Counts over the partitions read so far in this process."""
        return self._ledger.total

    def left_out(self, partition: str) -> Quarantine:
        """What was left out of a partition that this process has read."""
        return self._ledger.part(partition)

    def partitions(self) -> Sequence[str]:
        """Names of the files, sorted."""
        return tuple(sorted(path.name for path in self.paths))

    def read(self, partition: str) -> Iterator[Records]:
        """The records of a file in batches.

        Raises:
            DataError: with `on_bad` "error": a file that cannot be read, or rows
                without name or place.
        """
        path = self._path(partition)
        rows, done, faults, names = 0, 0, (), [np.empty(0, np.str_)]
        with self._ledger.files(partition):
            batches = self._batches(path)
            while True:
                try:
                    records = next(batches, None)
                except BadFile as bad:
                    faults = (*faults, bad.fault)
                    break
                if records is None:
                    break
                good, more = self._checked(records, names)
                rows, faults = rows + len(records), (*faults, *more)
                self._ledger.judge(more)
                done += int(good.sum())
                if good.any():
                    yield records if good.all() else records.take(good)
            if not rows and not faults:
                faults = (Fault(str(path), "", "has no rows"),)
            self._ledger.note(partition, Quarantine(1, rows, done, faults))

    def positions(self, partition: str) -> Positions:
        """Name and place of all rows of a file."""
        path = self._path(partition)
        parts = []
        with self._ledger.files(partition):
            if self.places is not None:
                with _readable(path):
                    return self.places(path)
            parts = list(self._batches(path, ()))
        none = np.empty(0)
        return Positions(
            np.concatenate([np.empty(0, "U1"), *(r.object_id for r in parts)]),
            np.concatenate([none, *(r.ra for r in parts)]),
            np.concatenate([none, *(r.dec for r in parts)]),
        )

    def _path(self, partition: str) -> Path:
        for path in self.paths:
            if path.name == partition:
                return path
        raise DataError(
            f"there is no partition {partition!r}", "Read those `partitions` names."
        )

    def _checked(
        self, records: Records, names: list[np.ndarray]
    ) -> tuple[np.ndarray, tuple[Fault, ...]]:
        """Usable rows, with names that no earlier batch of the file has."""
        ra, dec = records.ra, records.dec
        if not self.placed:
            ra, dec = np.zeros(len(ra)), np.zeros(len(dec))
        place = Positions(records.object_id, ra, dec)
        good, faults = checked_rows(place, records.origin, ("object_id", "ra", "dec"))
        again = good & np.isin(records.object_id, np.concatenate(names))
        if again.any():
            reason = "object id not for the first time"
            fault = Fault(records.origin, "object_id", reason, int(again.sum()))
            faults = (*faults, fault)
        names.append(records.object_id[good])
        return good & ~again, faults

    def _batches(
        self, path: Path, modalities: tuple[str, ...] | None = None
    ) -> Iterator[Records]:
        wanted = self.modalities if modalities is None else modalities
        batches = self.reader(path, self.batch)
        while True:
            with _readable(path):
                records = next(batches, None)
            if records is None:
                return
            if wanted is not None:
                kept = {n: v for n, v in records.observations.items() if n in wanted}
                records = replace(records, observations=kept)
            yield records


@contextmanager
def fits_warnings() -> Iterator[None]:
    """A truncated FITS file raises; what astropy thinks of its style is not told."""
    from astropy.io.fits.verify import VerifyWarning
    from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("error", AstropyUserWarning)
        warnings.simplefilter("ignore", VerifyWarning)
        try:
            yield
        except AstropyUserWarning as warning:
            raise OSError(str(warning)) from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what libraries raise on broken files into a `BadFile`."""
    try:
        with fits_warnings():
            yield
    except FileNotFoundError:
        raise DataError(f"no file {path}", "Check the path.") from None
    except DataError as error:
        fault = Fault(str(path), "", error.problem.removeprefix(f"{path}: "))
        raise BadFile(fault) from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())[:160]
        fault = Fault(str(path), "", f"cannot be read: {type(error).__name__} {reason}")
        raise BadFile(fault) from None
