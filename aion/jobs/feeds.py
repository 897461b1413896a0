# SPDX-License-Identifier: MIT
"""Batches of observations for codec training, mixed from several sources by weight.

The batch of a step follows from the seed and the step alone, so a run goes on exactly
where it was stopped. A partition of a source is read once and used for some steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from aion.errors import ConfigError, DataError
from aion.records import Records, RecordSource
from aion.splits import SplitRule
from aion.train.codec_task import TRUTH, CodecTask, Sample

_AHEAD = 2
"""Batches that are made while the step before them runs."""


@dataclass(frozen=True)
class SourceConfig:
    """One source of observations.

    Attributes:
        kind: a word of `SOURCES`.
        modality: which of its modalities.
        weight: share of the rows of a batch, relative to the other sources.
        settings: arguments of the kind.
    """

    kind: str
    modality: str
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CodecData:
    """What a codec is trained on.

    Attributes:
        sources: where observations come from.
        batch: objects per step, over all processes.
        stay: steps for which a partition is used before the next is read.
        validation: objects on which a step is scored, rounded up to whole batches; of
            fewer than a batch, to an equal part of one, of each of its sources.
        seed: of the order of training objects and of what `collate` draws.
        split: which sky cells are for training, validation and test.
    """

    sources: tuple[SourceConfig, ...]
    batch: int = 32
    stay: int = 8
    validation: int = 64
    seed: int = 0
    split: SplitRule = field(default_factory=SplitRule)


def _mock_sky(objects: int, seed: int, split: SplitRule) -> Any:
    from aion.mocksky.sky import Sky

    return Sky(objects, seed, split=split)


def _fiction(
    split: SplitRule, objects: int = 100_000, seed: int = 0, **settings: Any
) -> RecordSource:
    from aion.mocksky.fiction import FictionalCameras

    return FictionalCameras(_mock_sky(objects, seed, split), **settings)


def _mock_images(
    split: SplitRule, objects: int = 100_000, seed: int = 0, **settings: Any
) -> RecordSource:
    from aion.mocksky.fiction import KnownCamera

    return KnownCamera(_mock_sky(objects, seed, split), **settings)


def _mock_spectra(
    split: SplitRule, objects: int = 100_000, seed: int = 0, **settings: Any
) -> RecordSource:
    from aion.mocksky.fibre_source import FibreSpectra

    return FibreSpectra(_mock_sky(objects, seed, split), **settings)


def _mock(
    split: SplitRule, objects: int = 100_000, seed: int = 0, **settings: Any
) -> RecordSource:
    from aion.mockstream import MockSource

    return MockSource(_mock_sky(objects, seed, split), **settings)


def _files(split: SplitRule, path: str, **settings: Any) -> RecordSource:
    from pathlib import Path

    from aion.surveys.opening import open_survey

    del split  # its objects are dealt by place
    return open_survey(Path(path), **settings)


SOURCES: Mapping[str, Callable[..., RecordSource]] = {
    "fiction": _fiction,
    "mock_images": _mock_images,
    "mock_spectra": _mock_spectra,
    "mock": _mock,
    "files": _files,
}
"""Builders of sources: of the split rule and their own settings. `fiction` and
`mock_images` are images with their truth, `mock_spectra` spectra with theirs, `mock` is
any modality of the mock sky, `files` the files of a survey."""


@dataclass(frozen=True)
class Feed:
    """The objects of one source, as rows of batches.

    Attributes:
        modality: which one.
        source: where it comes from.
        split, rule: objects of this split by this rule.
        rows: per batch.
        stay: steps per partition.
        dice: seeds.
    """

    modality: str
    source: RecordSource
    split: str
    rule: SplitRule
    rows: int
    stay: int
    dice: tuple[int, ...]
    _read: dict[str, list[Records]] = field(default_factory=dict, repr=False)

    @cached_property
    def partitions(self) -> tuple[str, ...]:
        """Names of the partitions that may hold objects of the split.

        Raises:
            DataError: there are none.
        """
        names = tuple(self.source.partitions())
        if hasattr(self.source, "sky"):  # a cell belongs to one split as a whole
            cells = np.array([int(name.split("-")[0]) for name in names])
            names = tuple(np.array(names)[self.rule.assign(cells) == self.split])
        if not names:
            raise DataError(
                f"no {self.modality} in the split {self.split!r}",
                "Give more objects, or another data.split.",
            )
        return names

    def samples(self, step: int, part: slice) -> list[Sample]:
        """The rows of a step.

        Args:
            step: which.
            part: those of the rows that this process takes.

        Raises:
            DataError: no object of the split has the modality.
        """
        turn, count = divmod(step, self.stay)
        epoch, place = divmod(turn, len(self.partitions))
        order = np.random.default_rng([*self.dice, 0, epoch])
        names = np.roll(order.permutation(len(self.partitions)), -place)
        for name in names.tolist():
            pieces = self._pieces(self.partitions[name])
            if pieces:
                break
        else:
            raise DataError(
                f"no object of the split {self.split!r} has {self.modality}",
                "Look at data.sources and data.split.",
            )
        total = sum(len(piece) for piece in pieces)
        shuffled = np.random.default_rng([*self.dice, 1, turn]).permutation(total)
        rows = shuffled[(count * self.rows + np.arange(self.rows)[part]) % total]
        stops = np.cumsum([len(piece) for piece in pieces])
        found = []
        for piece, stop in zip(pieces, stops, strict=True):
            inside = rows[(rows < stop) & (rows >= stop - len(piece))]
            if len(inside):
                found.append(self._sample(piece.take(inside - (stop - len(piece)))))
        return found

    def _sample(self, records: Records) -> Sample:
        seen = records.observations
        truth = seen.get(self.modality + TRUTH)
        return Sample(self.modality, seen[self.modality], truth)

    def _pieces(self, partition: str) -> list[Records]:
        if partition not in self._read:
            kept = []
            for records in self.source.read(partition):
                if self.modality not in records.observations:
                    continue
                cells = self.rule.cells(records.ra, records.dec)
                inside = self.rule.assign(cells) == self.split
                if inside.any():
                    kept.append(records.take(np.flatnonzero(inside)))
            self._read.clear()
            self._read[partition] = kept
        return self._read[partition]


@dataclass(frozen=True)
class Feeds:
    """Batches of all sources.

    Attributes:
        feeds: one per source.
        task: puts rows together.
        data: batch, seed and number of validation objects.
        parts: a validation batch is one of so many equal parts of a batch.
    """

    feeds: tuple[Feed, ...]
    task: CodecTask
    data: CodecData
    parts: int = 1
    _made: dict[int, Any] = field(default_factory=dict, repr=False)

    def batch(self, step: int, *, random: bool = True, parts: int = 1) -> Any:
        """The batch of a step, or the first of its equal parts, of this process."""
        index, count = jax.process_index(), jax.process_count()
        samples = []
        for feed in self.feeds:
            share = feed.rows // (parts * count)
            samples += feed.samples(step, slice(index * share, (index + 1) * share))
        rng = np.random.default_rng([self.data.seed, 2, step, index])
        return self.task.collate(samples, rng if random else None)

    @property
    def pool(self) -> int:
        """Batches that come again and again; 0: each is a new one."""
        return getattr(self.task, "pool", 0)

    def _again(self, step: int) -> Any:
        """The batch of a step out of the task's pool, with the `place` of its rows."""
        epoch, turn = divmod(step, self.pool)
        order = np.random.default_rng([self.data.seed, 3, epoch]).permutation(self.pool)
        number = int(order[turn])
        if number not in self._made:
            made = self.batch(number * self.data.stay)
            rows = jax.tree.leaves(made)[0].shape[0]
            first = (number * jax.process_count() + jax.process_index()) * rows
            place = np.arange(first, first + rows, dtype=np.int32)
            self._made[number] = made | {"place": place}
        return self._made[number]

    def iterate(self, start: int) -> Iterator[Any]:
        """Batches from a step on, made ahead by a thread."""
        make = self._again if self.pool else self.batch
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(make, start + n) for n in range(_AHEAD)]
            try:
                while True:
                    start += 1
                    ahead.append(pool.submit(make, start + _AHEAD - 1))
                    yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()

    def validation(self, start: int) -> Iterator[Any]:
        """The validation batches, the same each time; see `CodecData.validation`."""
        del start
        for step in range(-(-self.data.validation * self.parts // self.data.batch)):
            yield self.batch(step, random=False, parts=self.parts)


def _rows(weights: Sequence[float], batch: int) -> np.ndarray:
    """Whole rows per source in proportion to the weights, that sum to the batch."""
    ends = np.cumsum(weights) / np.sum(weights) * batch
    return np.diff(np.round(ends).astype(int), prepend=0)


def open_feeds(data: CodecData, task: CodecTask, split: str) -> Feeds:
    """The batches of one split.

    Args:
        data: what to train on.
        task: puts rows together.
        split: "train", "validation" or "test".

    Raises:
        ConfigError: no source, an unknown kind, a batch too small for the weights, or
            validation objects that do not divide among the devices.
    """
    configs = data.sources
    if not configs:
        raise ConfigError("data.sources is empty", "Give at least one source.")
    rows = _rows([c.weight for c in configs], data.batch)
    if min(rows) < 1 or any(rows % jax.process_count()):
        raise ConfigError(
            f"a batch of {data.batch} gives the sources {rows.tolist()} rows",
            "Each needs one or more, a multiple of the number of processes.",
        )
    feeds = []
    for place, (config, count) in enumerate(zip(configs, rows.tolist(), strict=True)):
        if config.kind not in SOURCES:
            raise ConfigError(
                f"data.sources[{place}].kind is {config.kind!r}",
                f"Choose one of {', '.join(SOURCES)}.",
            )
        source = SOURCES[config.kind](data.split, **config.settings)
        # Scores of runs with other seeds are of the same objects.
        dice = (data.seed if split == "train" else 0, place)
        stay = data.stay if split == "train" else 1
        feeds.append(
            Feed(config.modality, source, split, data.split, count, stay, dice)
        )
    return Feeds(tuple(feeds), task, data, _equal_parts(data, rows.tolist()))


def _equal_parts(data: CodecData, rows: Sequence[int]) -> int:
    """How many equal parts a batch has of which one is enough for validation.

    It follows from the configuration alone: on any machine the same objects are scored.

    Args:
        data: batch and number of validation objects.
        rows: of a batch, by source.
    """
    if data.validation < 1:
        raise ConfigError(f"data.validation is {data.validation}", "Give 1 or more.")
    most = max(data.batch // data.validation, 1)
    parts = max(n for n in range(1, most + 1) if not any(row % n for row in rows))
    objects, processes = data.batch // parts, jax.process_count()
    uneven = any(row // parts % processes for row in rows)
    if parts > 1 and (uneven or objects % len(jax.devices())):
        raise ConfigError(
            f"{objects} validation objects do not divide among {processes} processes "
            f"and {len(jax.devices())} devices",
            f"Give data.validation={data.batch}, a whole batch.",
        )
    return parts
