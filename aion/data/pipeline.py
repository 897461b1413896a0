# SPDX-License-Identifier: MIT
"""Training batches from token shards, by the number of the step.

`TrainingStream.batch(step)` is a pure function. The *global* batch of a step follows
from the seed alone, and a process makes only its own rows of it: any number of
processes gives the same stream, and a run resumes at any step with nothing restored.
`iterate` adds prefetching with grain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grain
import numpy as np

from aion.data.allotment import Budget
from aion.data.draws import Draws
from aion.data.masking import MaskPolicy
from aion.data.schedule import Interleave, route, shuffled
from aion.data.selection import mask_codes
from aion.data.shards import ShardSet
from aion.errors import ConfigError, DataError
from aion.hashes import splitmix
from aion.tokens import Example

BUDGETS = (
    Budget(64, 32, batch=256, weight=1.0),
    Budget(256, 128, batch=256, weight=1.0),
    Budget(960, 384, batch=256, weight=0.25),
)
"""Our three step shapes; the large one covers whole images."""

_ENDLESS = 2**62
_SHAPE_BLOCK = 240
_SET_BLOCK = 960


class TrainingStream:
    """The endless stream of masked batches of a training run.

    A mixture of data sets, each read in shuffled epochs without replacement whatever
    the shapes of its steps, and masked by a policy.

    Attributes:
        budgets: the step shapes that occur; those that no data set fills are dropped.
        space: the token space of all data sets.

    Args:
        sets: open shard sets of one token space.
        weights: share of each in the examples, of any sum; equal without.
        policy: which tokens are given and asked.
        budgets: step shapes; each step has one, drawn from the seed.
        seed: decides all of it.
        split: split of the records.
        process_index: number of this process.
        process_count: number of processes; each has an equal part of each batch.

    Raises:
        DataError: a data set has no record in the split, or no token.
        TokenSpaceError: data sets of different token spaces.
        ConfigError: weights, batches or processes that do not fit.
    """

    def __init__(
        self,
        sets: Sequence[ShardSet],
        weights: Sequence[float] | None,
        policy: MaskPolicy,
        budgets: Sequence[Budget] = BUDGETS,
        seed: int = 0,
        split: str = "train",
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        weights = [1.0] * len(sets) if weights is None else list(weights)
        _check(sets, weights, budgets, split)
        _check_processes(budgets, process_index, process_count)
        self.space = sets[0].space
        most = [s.manifest["splits"][split]["max_tokens"] for s in sets]
        share = route(most, weights, budgets)
        used = np.flatnonzero(share.sum(axis=0))
        self.budgets = tuple(budgets[int(k)] for k in used)
        self._sets = tuple(sets)
        self._policy = policy
        self._split = split
        self._process = process_index, process_count
        self._seeds = [int(s) for s in splitmix(splitmix(seed % 2**64) + _numbers(4))]
        batches = np.array([b.batch for b in self.budgets])
        steps = share[:, used].sum(axis=0) / batches
        self._shapes = Interleave.of(steps.tolist(), _SHAPE_BLOCK, self._seeds[0])
        self._mixtures = tuple(
            Interleave.of(share[:, k].tolist(), _SET_BLOCK, self._seeds[1] + number)
            for number, k in enumerate(used)
        )

    def budget(self, step: int) -> Budget:
        """The shape of a step."""
        return self.budgets[self._shapes.span(step, step + 1)[0]]

    def rows(self, step: int) -> np.ndarray:
        """Data set and record of each example of a global batch, int64 [2, batch]."""
        shape = self._shapes.span(step, step + 1)[0]
        before = self._shapes.before(step)
        seen = [
            mixture.before(int(steps) * budget.batch)
            for mixture, steps, budget in zip(
                self._mixtures, before, self.budgets, strict=True
            )
        ]
        batch = self.budgets[shape].batch
        start = int(before[shape]) * batch
        chosen = self._mixtures[shape].span(start, start + batch)
        records = np.zeros(batch, np.int64)
        for number, shards in enumerate(self._sets):
            places = np.flatnonzero(chosen == number)
            first = sum(int(s[number]) for s in seen)
            records[places] = shuffled(
                first + np.arange(len(places)),
                shards.count(self._split),
                self._seeds[2] + number,
            )
        return np.stack([chosen, records])

    def batch(self, step: int) -> Example:
        """This process's rows of the global batch of a step.

        Returns:
            `Example` of int32 arrays [batch / process_count, inputs or targets].
        """
        step = int(step)
        budget = self.budget(step)
        index, count = self._process
        size = budget.batch // count
        mine = slice(index * size, (index + 1) * size)
        chosen, records = self.rows(step)[:, mine]
        codes = np.empty((size, self.space.num_slots), np.int32)
        for number, shards in enumerate(self._sets):
            places = np.flatnonzero(chosen == number)
            if len(places):
                codes[places] = shards.read(self._split, records[places])
        stride = max(b.batch for b in self.budgets)
        examples = step * stride + np.arange(mine.start, mine.stop)
        draws = Draws.of(self._seeds[3], examples)
        return mask_codes(codes, self.space, self._policy, budget, draws)

    def iterate(
        self, start: int = 0, threads: int = 2, buffer: int = 8, workers: int = 0
    ) -> Iterator[Example]:
        """Batches from a step on, made ahead of time.

        Args:
            start: the first step.
            threads: threads that make batches; 0 makes them when they are asked for.
            buffer: batches made ahead.
            workers: processes that make batches, each with these threads; they are
                spawned, so that the caller's main module must be importable.
        """
        options = grain.ReadOptions(
            num_threads=threads, prefetch_buffer_size=buffer if threads else 0
        )
        steps = grain.MapDataset.range(start, _ENDLESS)
        batches = steps.map(self.batch).to_iter_dataset(options)
        if workers:
            _allow_workers()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=workers)
            )
        yield from batches


def _numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64)


def _allow_workers() -> None:
    # grain passes absl's flags on to its workers and refuses where none were parsed.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _check(
    sets: Sequence[ShardSet],
    weights: Sequence[float],
    budgets: Sequence[Budget],
    split: str,
) -> None:
    if not sets or not budgets:
        raise ConfigError(
            f"{len(sets)} data sets and {len(budgets)} budgets",
            "Give at least one of each.",
        )
    if len(weights) != len(sets) or min(weights) <= 0:
        raise ConfigError(
            f"weights {list(weights)} for {len(sets)} data sets",
            "Give one positive weight per data set.",
        )
    for shards in sets:
        if not shards.count(split):
            raise DataError(
                f"{shards.folder} has no record in the split {split!r}",
                "Choose another split, or tokenize with another split rule.",
            )
        if not shards.manifest["splits"][split]["max_tokens"]:
            raise DataError(
                f"{shards.folder}: all modalities of all records are absent",
                "Check the units and columns that were tokenized.",
            )
        sets[0].space.check_same(shards.space, str(sets[0].folder), str(shards.folder))


def _check_processes(budgets: Sequence[Budget], index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ConfigError(
            f"process {index} of {count}", "Give 0 <= process_index < process_count."
        )
    for budget in budgets:
        if budget.batch % count:
            raise ConfigError(
                f"a batch of {budget.batch} does not divide among {count} processes",
                f"Give a multiple of {count}.",
            )


@dataclass(frozen=True)
class EvaluationBatch:
    """Records in their order, unmasked.

    Attributes:
        codes: int32 [b, slots]; -1 where absent, and in the rows that fill up.
        object_id: names of the objects, "" in the rows that fill up; str [b].
        cell: sky cells, -1 in the rows that fill up; int64 [b].
        count: number of real rows; they come first.
    """

    codes: np.ndarray
    object_id: np.ndarray
    cell: np.ndarray
    count: int


def evaluation_batches(
    shards: ShardSet, split: str, batch: int
) -> Iterator[EvaluationBatch]:
    """All records of a split, once and in order, in batches of one size.

    Args:
        shards: an open shard set.
        split: its split.
        batch: rows per batch; the last one is filled up with absent records.

    Raises:
        DataError: the split has no record.
        ConfigError: a batch below 1.
    """
    if batch < 1:
        raise ConfigError(f"a batch of {batch}", "Give at least 1.")
    total = shards.count(split)
    if not total:
        raise DataError(
            f"{shards.folder} has no record in the split {split!r}",
            "Choose another split.",
        )
    for start in range(0, total, batch):
        found = shards.read_records(split, np.arange(start, min(start + batch, total)))
        spare = (0, batch - len(found))
        names = np.concatenate([found.object_id, np.full(spare[1], "", np.str_)])
        yield EvaluationBatch(
            np.pad(found.codes, (spare, (0, 0)), constant_values=-1),
            names,
            np.pad(found.cell, spare, constant_values=-1),
            len(found),
        )
