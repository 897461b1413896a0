# SPDX-License-Identifier: MIT
"""From records to token shards: encode every modality, deal out to splits, write.

The work is divided into the partitions of the source. A run that was killed goes on
with the partitions that have no receipt; several processes can share the work. What a
source leaves out (`left_out`) stands in the manifest, as `faults`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from jaxtyping import Int32

from aion.codec import CodecBundle
from aion.data.shards import ShardSet, TokenRecords
from aion.data.tally import Tally
from aion.data.writer import ShardWriter
from aion.errors import AionError, CroppedWarning, DataError
from aion.observation import in_unit
from aion.records import Records, RecordSource
from aion.splits import SplitRule

Progress = Callable[[int, int, int], None]
"""Told the partitions done, their number, and the records written by this process."""

_CLIPPED = ("below", "above")


def encode_records(
    bundle: CodecBundle, records: Records
) -> Int32[np.ndarray, "b slots"]:
    """Codes of all slots of the token space; -1 where absent.

    Args:
        bundle: one codec per modality.
        records: a modality that they do not have is absent.

    Raises:
        AionError: what a codec says about its input, with the records' origin.
        DataError: a codec gives codes of another shape or outside its vocabulary.
    """
    space = bundle.space
    codes = np.full((len(records), space.num_slots), -1, np.int32)
    for row, spec in enumerate(space):
        if spec.name not in records.observations:
            continue
        try:
            found = np.asarray(
                bundle.encode(spec.name, records.observations[spec.name])
            )
        except AionError as error:
            where = f"{records.origin or 'records'}, {spec.name}"
            raise type(error)(f"{where}: {error.problem}", error.fix) from None
        if found.shape != (len(records), spec.num_tokens):
            raise DataError(
                f"codec {spec.codec} gives codes of shape {found.shape} for "
                f"{len(records)} objects of {spec.num_tokens} tokens ({spec.name})",
                "Mend the codec's encode or its spec.",
            )
        if found.size and not -1 <= found.min() <= found.max() < spec.vocabulary:
            raise DataError(
                f"codec {spec.codec} gives codes {found.min()}..{found.max()}, the "
                f"vocabulary of {spec.name} is {spec.vocabulary}",
                "Mend the codec's encode or its spec.",
            )
        codes[:, space.slot_offsets[row] : space.slot_offsets[row + 1]] = found
    return codes


@dataclass(frozen=True)
class _Job:
    """Writes one partition; a value that worker processes can be sent."""

    source: RecordSource
    bundle: CodecBundle
    writer: ShardWriter

    def run(self, partition: str) -> int:
        """Number of records written."""
        tally = Tally()
        self.writer.write(partition, self._batches(partition, tally), tally)
        return sum(tally.records.values())

    def _batches(self, partition: str, tally: Tally) -> Iterator[TokenRecords]:
        rule = self.writer.rule
        for records in self.source.read(partition):
            try:
                cells = rule.cells(records.ra, records.dec)
            except DataError as error:
                where = records.origin or partition
                raise DataError(f"{where}: {error.problem}", error.fix) from None
            if records.copy:
                train = rule.assign(cells) == "train"
                records, cells = records.take(train), cells[train]
            else:
                _count_clipped(self.bundle, records, tally)
            with catch_warnings():  # whoever tokenizes has been told once
                simplefilter("ignore", CroppedWarning)
                codes = encode_records(self.bundle, records)
            yield TokenRecords(codes, records.object_id, cells)
        if hasattr(self.source, "left_out"):
            faults = self.source.left_out(partition).faults  # pyright: ignore
            tally.faults += [asdict(fault) for fault in faults]


def _count_clipped(bundle: CodecBundle, records: Records, tally: Tally) -> None:
    for name, value in records.observations.items():
        if name in bundle.space:
            codec: Any = bundle.codec(name)
            if hasattr(codec, "count"):
                counts = codec.count(in_unit(value, bundle.modality(name)))
                found = {k: int(getattr(counts, k, 0)) for k in _CLIPPED}
                tally.add_counts(name, found)


def tokenize(
    source: RecordSource,
    bundle: CodecBundle,
    folder: str | Path,
    rule: SplitRule | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    progress: Progress | None = None,
) -> ShardSet | None:
    """Writes the token shards of a source; goes on where a killed run stopped.

    Noisy copies (`Records.copy` > 0) of objects outside the train split are dropped.

    Args:
        source: where the records come from.
        bundle: the codecs.
        folder: a new folder, or one that the same run began.
        rule: how objects are divided into splits; the defaults of `SplitRule` without.
        settings: what else the codes depend on, such as the noise of copies; a run
            with other settings may not go on in the same folder. JSON values.
        provenance: where the data come from, for the manifest; JSON values.
        workers: processes that encode partitions; 0 encodes in this one. They are
            spawned, so that source and bundle must be picklable.
        process_index, process_count: this process writes the partitions of its number;
            processes on other machines write the others into the same folder.
        progress: called after every partition.

    Returns:
        the open shard set, or None while partitions of other processes are missing.

    Raises:
        WorkdirError: the folder holds something else, or shards made with other codecs,
            another source, split rule or settings.
        DataError: no records, doubled partitions, or what source and codecs raise.
    """
    partitions = tuple(source.partitions())
    if not partitions or len(set(partitions)) < len(partitions):
        raise DataError(
            f"the source has {len(partitions)} partitions, {len(set(partitions))} of "
            "them different",
            "Point to files with records, each of them once.",
        )
    writer = ShardWriter(
        Path(folder),
        bundle.space,
        rule or SplitRule(),
        partitions,
        bundle.digests,
        dict(settings or {}),
    )
    writer.prepare()
    missing = set(writer.missing())
    mine = [p for p in partitions[process_index::process_count] if p in missing]
    report = partial(_report, progress, len(partitions), len(partitions) - len(missing))
    _run(_Job(source, bundle, writer), mine, workers, report)
    return None if writer.missing() else writer.finish(provenance)


def _report(
    progress: Progress | None, total: int, before: int, done: int, records: int
) -> None:
    if progress is not None:
        progress(before + done, total, records)


def _run(
    job: _Job,
    partitions: Sequence[str],
    workers: int,
    report: Callable[[int, int], None],
) -> None:
    records = 0
    report(0, 0)
    if not workers or len(partitions) < 2:
        for done, partition in enumerate(partitions, 1):
            records += job.run(partition)
            report(done, records)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(partitions)), context) as pool:
        for done, number in enumerate(pool.map(job.run, partitions), 1):
            records += number
            report(done, records)
