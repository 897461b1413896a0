# SPDX-License-Identifier: MIT
"""Writing token shards so that a kill at any moment loses no finished work.

Processes write partitions with no coordinator: each partition's files appear under
temporary names, are flushed, renamed, and then vouched for by a receipt. When all
receipts are there, any process may finish: files take their TFDS names, the metadata
follow, and last the manifest. Every step can be done twice.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore

from aion.data.shards import (
    FORMAT,
    MANIFEST,
    PLAN,
    VERSION,
    ShardSet,
    TokenRecords,
    check_format,
    code_dtype,
    to_record,
)
from aion.data.tally import Tally, split_entry
from aion.errors import ArtefactError, DataError, WorkdirError
from aion.splits import SPLITS, SplitRule
from aion.tokenspace import TokenSpace

_OPTIONS = "group_size:1"
_PARTS = "parts"
_DATASET = "aion_tokens"
_DATASET_VERSION = "1.0.0"


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that the file is whole or absent, also after a power cut."""
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that it is whole or absent, also after a power cut."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    os.replace(name, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class ShardWriter:
    """Writes one shard set, partition by partition.

    Attributes:
        folder: where; made when it is not there.
        space: the token space.
        rule: how objects are divided into splits.
        digests: SHA-256 of each codec by name.
        partitions: all partitions, in the order of the records.
        settings: anything else that the codes depend on; JSON values.
    """

    folder: Path
    space: TokenSpace
    rule: SplitRule
    partitions: Sequence[str]
    digests: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def plan(self) -> dict[str, Any]:
        """All that two runs must agree on to write into the same folder."""
        plan = {
            "format": FORMAT,
            "version": VERSION,
            "token_space": self.space.to_dict(),
            "codecs": dict(self.digests),
            "split_rule": asdict(self.rule),
            "partitions": list(self.partitions),
            "settings": dict(self.settings),
        }
        return json.loads(json.dumps(plan))

    def prepare(self) -> None:
        """Makes the folder, or checks that it belongs to this very run.

        Raises:
            WorkdirError: the folder holds something else, or shards made with other
                codecs, split rule, source or settings.
            TokenSpaceError: shards of another token space; names the modality.
            ArtefactError: another format version.
        """
        if not (self.folder / PLAN).is_file():
            # What a run may have left that was killed, or has come, before its plan.
            begun = (_PARTS, f".{PLAN}.")
            if self.folder.exists() and any(
                not p.name.startswith(begun) for p in self.folder.iterdir()
            ):
                raise WorkdirError(
                    f"{self.folder} is not empty and holds no token shards",
                    "Choose a new folder.",
                )
            (self.folder / _PARTS).mkdir(parents=True, exist_ok=True)
            write_json(self.folder / PLAN, self.plan())
        theirs = json.loads((self.folder / PLAN).read_text())
        check_format(self.folder, theirs)
        ours = self.plan()
        begun = TokenSpace.from_dict(theirs["token_space"])
        self.space.check_same(begun, "the codec bundle", str(self.folder))
        for key in ("token_space", "codecs", "split_rule", "partitions", "settings"):
            if ours[key] != theirs.get(key):
                what = _difference(ours[key], theirs.get(key), key.replace("_", " "))
                raise WorkdirError(
                    f"{self.folder} was begun with another {what}",
                    "Choose a new folder, or go on with what it was begun with.",
                )
        if not (self.folder / MANIFEST).is_file():
            (self.folder / _PARTS).mkdir(exist_ok=True)

    def done(self, partition: str) -> bool:
        """Whether a partition is written."""
        return self._receipt(partition).is_file()

    def _receipt(self, partition: str) -> Path:
        return self.folder / _PARTS / f"{_short(partition)}.json"

    def write(
        self, partition: str, batches: Iterable[TokenRecords], tally: Tally
    ) -> None:
        """Writes one partition; nothing of it is visible until it is whole.

        Args:
            partition: its name.
            batches: its records, split by their cells.
            tally: counts of clipped values that the caller goes on filling while
                `batches` is read; records and tokens are added here.
        """
        stem, pid = _short(partition), os.getpid()
        writers: dict[str, Any] = {}
        whole = False
        try:
            for batch in batches:
                self._write_batch(stem, batch, tally, writers)
            whole = True
        finally:
            for split, writer in writers.items():
                writer.close()
                if not whole:
                    self._part(stem, split, f".{pid}.partial").unlink()
        files = {}
        for split in writers:
            partial = self._part(stem, split, f".{pid}.partial")
            _flush(partial)
            files[split] = {
                "part": self._part(stem, split).name,
                "records": tally.records[split],
                "bytes": partial.stat().st_size,
            }
            os.replace(partial, self._part(stem, split))
        _flush(self.folder / _PARTS)
        receipt = {"partition": partition, "files": files, "tally": tally.to_dict()}
        write_json(self._receipt(partition), receipt)

    def _part(self, stem: str, split: str, suffix: str = "") -> Path:
        return self.folder / _PARTS / f"{stem}-{split}.array_record{suffix}"

    def _write_batch(
        self, stem: str, batch: TokenRecords, tally: Tally, writers: dict[str, Any]
    ) -> None:
        dtype = code_dtype(self.space)
        splits = self.rule.assign(batch.cell) if len(batch) else np.zeros(0, np.str_)
        for split in (s for s in SPLITS if (splits == s).any()):
            if split not in writers:
                path = self._part(stem, split, f".{os.getpid()}.partial")
                writers[split] = array_record_module.ArrayRecordWriter(
                    str(path), _OPTIONS
                )
            rows = np.flatnonzero(splits == split)
            tally.add_codes(split, batch.codes[rows], self.space)
            for codes, name, cell in zip(
                batch.codes[rows].astype(dtype),
                batch.object_id[rows].tolist(),
                batch.cell[rows].tolist(),
                strict=True,
            ):
                writers[split].write(to_record(codes, name, cell))

    def missing(self) -> list[str]:
        """Partitions that are not written yet; none once the shard set is finished."""
        if (self.folder / MANIFEST).is_file():
            return []
        return [p for p in self.partitions if not self.done(p)]

    def finish(self, provenance: Mapping[str, Any] | None = None) -> ShardSet:
        """Gives the files their names and writes the metadata, last the manifest.

        It may be called again after a kill, and by several processes.

        Args:
            provenance: where the data come from; JSON values for the manifest.

        Raises:
            ArtefactError: a partition is not written yet.
            DataError: there is not one record.
        """
        if missing := self.missing():
            raise ArtefactError(
                f"{self.folder}: {len(missing)} of {len(self.partitions)} partitions "
                f"are not written, the first is {missing[0]}",
                "Run the tokenization of these partitions.",
            )
        try:
            if not (self.folder / MANIFEST).is_file():
                self._finish(provenance or {})
        except FileNotFoundError:  # another process finished and cleared the receipts
            if not (self.folder / MANIFEST).is_file():
                raise
        shutil.rmtree(self.folder / _PARTS, ignore_errors=True)
        return ShardSet.open(self.folder, self.space)

    def _finish(self, provenance: Mapping[str, Any]) -> None:
        receipts = [json.loads(self._receipt(p).read_text()) for p in self.partitions]
        tally = Tally()
        for receipt in receipts:
            tally.merge(Tally.from_dict(receipt["tally"]))
        if not sum(tally.records.values()):
            raise DataError(f"{self.folder}: no record", "Check the source's files.")
        files = {split: self._place(receipts, split) for split in SPLITS}
        _flush(self.folder)
        self._write_tfds(files)
        content = self.plan() | {
            "dtype": code_dtype(self.space).str,
            "splits": {s: split_entry(files[s], tally.tokens.get(s)) for s in SPLITS},
            "modalities": {m: dict(c) for m, c in tally.modalities.items()},
            "faults": tally.faults,
            "provenance": dict(provenance),
        }
        write_json(self.folder / MANIFEST, content)

    def _place(self, receipts: Sequence[Mapping], split: str) -> list[dict[str, Any]]:
        parts = [r["files"][split] for r in receipts if split in r["files"]]
        placed = []
        for number, part in enumerate(parts):
            name = f"{_DATASET}-{split}.array_record-{number:05d}-of-{len(parts):05d}"
            final = self.folder / name
            try:
                os.replace(self.folder / _PARTS / part["part"], final)
            except FileNotFoundError:  # placed before, by a killed or another process
                if not final.is_file():
                    raise
            counts = {"records": part["records"], "bytes": part["bytes"]}
            placed.append({"name": name, **counts})
        return placed

    def _write_tfds(self, files: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        for path in _tfds_metadata(self.folder, self.space, files):
            write_bytes(self.folder / path.name, path.read_bytes())


def _tfds_metadata(
    folder: Path, space: TokenSpace, files: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Path]:
    """Writes TFDS's metadata into a temporary folder beside the receipts."""
    import tensorflow_datasets as tfds
    from etils import epath
    from tensorflow_datasets.core.dataset_info import DatasetIdentity
    from tensorflow_datasets.core.splits import SplitDict

    into = folder / _PARTS / f"metadata-{os.getpid()}"
    into.mkdir(exist_ok=True, parents=True)
    codes = tfds.features.Tensor(
        shape=(space.num_slots,), dtype=code_dtype(space).type, encoding="bytes"
    )
    features = tfds.features.FeaturesDict(
        {"cell": np.int64, "codes": codes, "object_id": tfds.features.Text()}
    )
    template = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(folder),
        dataset_name=_DATASET,
        filetype_suffix="array_record",
    )
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[f["records"] for f in entries],
            num_bytes=sum(f["bytes"] for f in entries),
            filename_template=template.replace(split=split),
        )
        for split, entries in files.items()
        if entries
    ]
    identity = DatasetIdentity(
        name=_DATASET,
        version=tfds.core.Version(_DATASET_VERSION),
        data_dir=str(folder),
        module_name="",
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    info.set_splits(SplitDict(infos))
    info.write_to_directory(into)
    return sorted(into.iterdir())


def _short(partition: str) -> str:
    return hashlib.sha256(partition.encode()).hexdigest()[:16]


def _difference(ours: Any, theirs: Any, where: str) -> str:
    """Where two JSON values differ first, in words."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                return _difference(ours.get(key), theirs.get(key), f"{where} {key}")
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (mine, his) in enumerate(zip(ours, theirs, strict=True)):
            if mine != his:
                return _difference(mine, his, f"{where} {number}")
    return f"{where}: {theirs} there, {ours} here"
