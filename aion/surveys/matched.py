# SPDX-License-Identifier: MIT
"""Records of matched objects: what all surveys observed of each, in one record.

Modalities that one survey measures carry its name and never meet. Those that several
give are taken from one: the position from the survey with the best astrometry, redshift
and its quality from the first spectrum whose fit gave no warning.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aion.errors import ArtefactError, ConfigError, DataError
from aion.observation import Category, Observation, Scalar
from aion.records import Records, RecordSource
from aion.surveys.crossmatch import FORMAT, PLAN, REPORT
from aion.surveys.files import read_json
from aion.surveys.matching import PRIORITY
from aion.surveys.stacking import stack

SPECTROSCOPY = ("desi", "sdss")
"""Surveys whose redshift is taken, the first whose fit is good."""
_REDSHIFT, _QUALITY, _WARNED = "redshift", "redshift_quality", "warned"


@runtime_checkable
class ReadsIds(Protocol):
    """A source that finds objects in a partition without reading all of it."""

    def read_ids(self, partition: str, ids: np.ndarray) -> Iterator[Records]:
        """The records of some objects, in any order and number of batches."""
        ...


@dataclass(frozen=True)
class MatchedSource:
    """A `RecordSource` over a match and the sources it was made of.

    Partitions are HEALPix cells of nside 16. A batch holds objects that the same
    surveys see, so that all of them have the same modalities; batches come in the
    order of the surveys' combinations. `Records.object_id` is that of the match.

    Attributes:
        folder: of the match, from `crossmatch`.
        sources: records by survey, with the partitions that were matched. A survey of
            the match that is not here is left out of the records. Sources that have
            `read_ids` are asked for a batch's objects; others are read through once
            for each batch.
        need: surveys that must see an object for it to be given.
        splits: splits that are given; none: all.
        batch: objects in a batch at most.

    Raises:
        ArtefactError: no finished match in the folder.
        ConfigError: a source or a needed survey that is not in the match.
    """

    folder: Path
    sources: Mapping[str, RecordSource]
    need: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    batch: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if not (self.folder / REPORT).is_file():
            raise ArtefactError(
                f"{self.folder} holds no finished match", "Finish `aion crossmatch`."
            )
        plan = read_json(self.folder / PLAN)
        unknown = [n for n in (*self.sources, *self.need) if n not in plan["surveys"]]
        if plan["format"] != FORMAT or unknown or self.batch < 1 or not self.sources:
            raise ConfigError(
                f"{self.folder} matches {', '.join(plan['surveys'])}; asked are "
                f"{', '.join((*self.sources, *self.need)) or 'none'} in batches of "
                f"{self.batch}",
                "Ask for surveys of the match.",
            )

    def partitions(self) -> Sequence[str]:
        """Cells that hold an object, like "healpix=123"."""
        return tuple(f"healpix={cell}" for cell in self._cells)

    def read(self, partition: str) -> Iterator[Records]:
        """The objects of a cell.

        Raises:
            DataError: no such cell; an object that its source does not have any more.
        """
        cell = int(partition.removeprefix("healpix="))
        if cell not in self._cells:
            raise DataError(
                f"{self.folder} has no partition {partition!r}",
                "Read those that `partitions` names.",
            )
        rows = self._rows(cell)
        seen = np.stack([rows[f"{name}_id"] != "" for name in self.sources], axis=1)
        weight = seen @ (1 << np.arange(seen.shape[1]))
        for pattern in np.unique(weight[weight > 0])[::-1]:
            here = np.flatnonzero(weight == pattern)
            names = [n for n, s in zip(self.sources, seen[here[0]], strict=True) if s]
            # Objects from the same files side by side: each file is opened seldom.
            files = [rows[f"{name}_partition"][here] for name in names[::-1]]
            here = here[np.lexsort(files)]
            for start in range(0, len(here), self.batch):
                chosen = here[start : start + self.batch]
                batch = {name: values[chosen] for name, values in rows.items()}
                yield self._records(batch, names, partition)

    def _records(
        self, rows: Mapping[str, np.ndarray], names: Sequence[str], partition: str
    ) -> Records:
        found = {
            name: self._fetch(name, rows[f"{name}_partition"], rows[f"{name}_id"])
            for name in names
        }
        return Records(
            rows["object_id"],
            rows["ra"],
            rows["dec"],
            merged(found),
            origin=f"{self.folder.name} {partition}",
        )

    def _fetch(self, survey: str, partitions: np.ndarray, ids: np.ndarray) -> Records:
        """Records of a survey in the order of the ids."""
        source, batches = self.sources[survey], []
        for partition in dict.fromkeys(partitions.tolist()):
            wanted = ids[partitions == partition]
            if isinstance(source, ReadsIds):
                given = source.read_ids(partition, wanted)
            else:
                given = source.read(partition)
            for records in given:
                rows = np.flatnonzero(np.isin(records.object_id, wanted))
                if len(rows):
                    batches.append(records.take(rows))
        every = [records.object_id for records in batches]
        known = np.concatenate([*every, np.empty(0, np.str_)])
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known[order], ids)
        missing = (place == len(known)) | (
            known[order][np.minimum(place, len(known) - 1)] != ids
            if len(known)
            else np.ones(len(ids), bool)
        )
        if missing.any():
            raise DataError(
                f"{survey} {partitions[missing][0]} has no object {ids[missing][0]}, "
                f"which {self.folder} matches",
                "Match again: the files have changed, or are read otherwise.",
            )
        return _stacked(batches, survey).take(order[place])

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("objects-*.parquet"))

    @cached_property
    def _cells(self) -> dict[int, list[tuple[int, int]]]:
        """File and row group of the objects of each cell."""
        found: dict[int, list[tuple[int, int]]] = {}
        columns = ["healpix", "split", *[f"{n}_id" for n in self._columns]]
        for number, path in enumerate(self._files):
            with pq.ParquetFile(path) as file:
                for group in range(file.metadata.num_row_groups):
                    table = self._filtered(file.read_row_group(group, columns))
                    for cell in pc.unique(table["healpix"]).to_pylist():  # pyright: ignore
                        found.setdefault(cell, []).append((number, group))
        return dict(sorted(found.items()))

    @property
    def _columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sources, *self.need)))

    def _filtered(self, table: pa.Table) -> pa.Table:
        """Objects of the splits that all needed and some given surveys see."""
        some = [pc.is_valid(table[f"{name}_id"]) for name in self.sources]  # pyright: ignore
        keep = some[0]
        for mask in some[1:]:
            keep = pc.or_(keep, mask)  # pyright: ignore
        for name in self.need:
            keep = pc.and_(keep, pc.is_valid(table[f"{name}_id"]))  # pyright: ignore
        if self.splits:
            inside = pc.is_in(table["split"], pa.array(list(self.splits)))  # pyright: ignore
            keep = pc.and_(keep, inside)  # pyright: ignore
        return table.filter(keep)

    def _rows(self, cell: int) -> dict[str, np.ndarray]:
        """Columns of the objects of a cell, texts "" where there is none."""
        pieces = []
        for number, group in self._cells[cell]:
            with pq.ParquetFile(self._files[number]) as file:
                table = file.read_row_group(group)
            table = table.filter(pc.equal(table["healpix"], cell))  # pyright: ignore
            pieces.append(self._filtered(table))
        table = pa.concat_tables(pieces)
        texts = ["object_id"]
        for name in self._columns:
            texts += [f"{name}_id", f"{name}_partition"]
        rows = {name: table[name].to_numpy() for name in ("ra", "dec")}
        for name in texts:
            values = [value or "" for value in table[name].to_pylist()]
            rows[name] = np.array(values, np.str_)
        return rows


def _stacked(batches: Sequence[Records], survey: str) -> Records:
    first, *rest = batches
    if not rest:
        return first
    names = [set(records.observations) for records in batches]
    if any(some != names[0] for some in names):
        differ = sorted(set.union(*names) - set.intersection(*names))
        raise DataError(
            f"{survey}: {', '.join(differ)} is in some files and not in others",
            "Name the modalities to read.",
        )
    return replace(
        first,
        object_id=np.concatenate([records.object_id for records in batches]),
        ra=np.concatenate([records.ra for records in batches]),
        dec=np.concatenate([records.dec for records in batches]),
        observations={
            name: stack([r.observations[name] for r in batches], f"{survey} {name}")
            for name in first.observations
        },
    )


def merged(found: Mapping[str, Records]) -> dict[str, Observation]:
    """The observations of all surveys of the same objects.

    Args:
        found: records by survey, the same objects in the same order.
    """
    astrometry = sorted(found, key=_rank(PRIORITY))
    observations: dict[str, Observation] = {}
    for survey in astrometry:
        observations = dict(found[survey].observations) | observations
    surveys = sorted(found, key=_rank((*SPECTROSCOPY, *PRIORITY)))
    surveys = [s for s in surveys if _REDSHIFT in found[s].observations]
    if len(surveys) > 1:
        observations |= _redshifts([found[s].observations for s in surveys])
    return observations


def _rank(order: Sequence[str]) -> Any:
    return lambda survey: order.index(survey) if survey in order else len(order)


def _redshifts(found: Sequence[Mapping[str, Observation]]) -> dict[str, Observation]:
    """Redshift and quality of each object from the first survey whose fit is good."""
    values, errors, quality, badness = [], [], [], []
    for some in found:
        redshift: Any = some[_REDSHIFT]
        value = np.asarray(np.ma.filled(redshift.values, np.nan), np.float64)
        label = np.full(len(value), "")
        if isinstance(label_of := some.get(_QUALITY), Category):
            label = np.asarray(label_of.labels, np.str_)
        error = redshift.errors
        blank = np.full(len(value), np.nan)
        values.append(value)
        errors.append(blank if error is None else np.asarray(error, np.float64))
        quality.append(label)
        badness.append(np.where(np.isfinite(value), label == _WARNED, 2))
    best = np.argmin(badness, axis=0)
    rows = np.arange(len(best))
    told: dict[str, Observation] = {
        _REDSHIFT: Scalar(np.stack(values)[best, rows], np.stack(errors)[best, rows])
    }
    if any(_QUALITY in some for some in found):
        told[_QUALITY] = Category(np.stack(quality)[best, rows])
    return told
