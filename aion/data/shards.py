# SPDX-License-Identifier: MIT
"""Token shards: tokenized records on disk, and their batched reader.

A shard set is a folder in the layout of TensorFlow Datasets (array_record files with
`group_size:1`, `features.json`, `dataset_info.json`), readable by `tfds.data_source`
without TensorFlow, plus `manifest.json`. A record has the codes of all slots of the
token space packed as one integer feature [slots] (-1 = absent), the object's id and its
sky cell. The manifest is written last: a folder without it is not whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore
from tensorflow_datasets.proto import tf_example_pb2

from aion.errors import ArtefactError, DataError
from aion.splits import SPLITS, SplitRule
from aion.tokenspace import TokenSpace

FORMAT = "aion.shards"
VERSION = 1
MANIFEST = "manifest.json"
PLAN = "plan.json"
_READER_OPTIONS = "readahead_buffer_size:0"  # random access reads single records
_READER_BUFFER = 32768


@dataclass(frozen=True)
class TokenRecords:
    """Records as they are stored.

    Attributes:
        codes: -1 where absent; int32 [b, slots].
        object_id: name of the object; str [b].
        cell: HEALPix cell of the split rule; int64 [b].
    """

    codes: np.ndarray
    object_id: np.ndarray
    cell: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)


def code_dtype(space: TokenSpace) -> np.dtype:
    """The type in which codes are stored: int16, or int32 for a vocabulary > 32767."""
    small = space.vocabularies.max() <= np.iinfo(np.int16).max
    return np.dtype("<i2" if small else "<i4")


def to_record(codes: np.ndarray, object_id: str, cell: int) -> bytes:
    """One record as a serialised `tf.train.Example`; codes [slots] as stored."""
    example = tf_example_pb2.Example()  # pyright: ignore
    feature = example.features.feature
    feature["cell"].int64_list.value.append(int(cell))
    feature["codes"].bytes_list.value.append(codes.tobytes())
    feature["object_id"].bytes_list.value.append(object_id.encode())
    return example.SerializeToString(deterministic=True)


def _features(records: Sequence[bytes]) -> list[Any]:
    parse = tf_example_pb2.Example.FromString  # pyright: ignore
    return [parse(record).features.feature for record in records]


class ShardSet:
    """A whole shard set, open for reading; `open` makes one.

    It can be pickled, and read from several threads at the same time.

    Attributes:
        folder: where it is.
        manifest: content of `manifest.json`.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._readers: dict[str, Any] = {}

    @classmethod
    def open(cls, folder: str | Path, space: TokenSpace | None = None) -> "ShardSet":
        """Opens a shard set and checks that it is whole.

        Args:
            folder: where it is.
            space: the token space that it must have; any without.

        Raises:
            ArtefactError: absent, unfinished, of another format version, or a file is
                missing or truncated.
            TokenSpaceError: another token space; names the row that differs.
        """
        folder = Path(folder)
        shards = cls(folder, _read_manifest(folder))
        if space is not None:
            space.check_same(shards.space, "the expected token space", str(folder))
        for split in shards.manifest["splits"].values():
            for file in split["files"]:
                _check_size(folder / file["name"], file["bytes"])
        return shards

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest, "_readers": {}}

    @cached_property
    def space(self) -> TokenSpace:
        """The token space, without code and slot features."""
        return TokenSpace.from_dict(self.manifest["token_space"])

    @property
    def rule(self) -> SplitRule:
        """How objects were divided into splits."""
        return SplitRule(**self.manifest["split_rule"])

    @property
    def max_tokens(self) -> int:
        """Most tokens that any record has."""
        return max(s["max_tokens"] for s in self.manifest["splits"].values())

    def _split(self, split: str) -> Mapping[str, Any]:
        if split not in self.manifest["splits"]:
            raise DataError(f"no split {split!r}", f"There are {', '.join(SPLITS)}.")
        return self.manifest["splits"][split]

    def count(self, split: str) -> int:
        """Number of records of a split.

        Raises:
            DataError: no such split.
        """
        return self._split(split)["records"]

    def read(self, split: str, rows: Any) -> np.ndarray:
        """Codes of some records.

        Args:
            split: "train", "validation" or "test".
            rows: numbers of the records inside the split, int [b], in any order.

        Returns:
            int32 [b, slots], -1 where absent.

        Raises:
            DataError: no such split or row.
            ArtefactError: a file cannot be read.
        """
        return self._codes(_features(self._records(split, rows)))

    def read_records(self, split: str, rows: Any) -> TokenRecords:
        """Like `read`, with the names and sky cells of the objects."""
        features = _features(self._records(split, rows))
        names = [f["object_id"].bytes_list.value[0].decode() for f in features]
        cells = [f["cell"].int64_list.value[0] for f in features]
        return TokenRecords(
            self._codes(features), np.array(names, np.str_), np.array(cells, np.int64)
        )

    def _codes(self, features: Sequence[Any]) -> np.ndarray:
        packed = b"".join(f["codes"].bytes_list.value[0] for f in features)
        codes = np.frombuffer(packed, self.manifest["dtype"])
        return codes.reshape(len(features), self.space.num_slots).astype(np.int32)

    def _records(self, split: str, rows: Any) -> list[bytes]:
        files = self._split(split)["files"]
        rows = np.asarray(rows, np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.count(split):
            raise DataError(
                f"{self.folder}: rows {rows.min()}..{rows.max()} of {split}",
                f"It has {self.count(split)} records.",
            )
        ends = np.cumsum([file["records"] for file in files])
        owner = np.searchsorted(ends, rows, side="right")
        records: list[bytes] = [b""] * len(rows)
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            start = ends[number] - files[number]["records"]
            found = self._read(files[number]["name"], (rows[places] - start).tolist())
            for place, record in zip(places, found, strict=True):
                records[place] = record
        return records

    def _read(self, name: str, rows: list[int]) -> Sequence[bytes]:
        path = self.folder / name
        try:
            if name not in self._readers:
                self._readers[name] = array_record_module.ArrayRecordReader(
                    str(path),
                    options=_READER_OPTIONS,
                    file_reader_buffer_size=_READER_BUFFER,
                )
            return self._readers[name].read(rows)
        except (ValueError, IndexError, RuntimeError, OSError) as error:
            raise _damaged(path, str(error).split("\n")[0]) from None


def _damaged(path: Path, reason: str) -> ArtefactError:
    return ArtefactError(
        f"{path} cannot be read: {reason}",
        "Copy the shard set again, or tokenize again into a new folder.",
    )


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    if found != size:
        raise _damaged(path, f"it has {found} bytes instead of {size}")


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    if not (folder / MANIFEST).is_file():
        if (folder / PLAN).is_file():
            raise ArtefactError(
                f"{folder} is an unfinished shard set",
                "Run the same tokenization again; it goes on where it stopped.",
            )
        raise ArtefactError(
            f"{folder} is not a shard set: it has no {MANIFEST}",
            "Point to a folder that `aion tokenize` wrote.",
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except ValueError as error:
        raise _damaged(folder / MANIFEST, str(error)) from None
    check_format(folder, manifest)
    return manifest


def check_format(folder: Path, content: Mapping[str, Any]) -> None:
    """Checks format name and version of a manifest or plan.

    Raises:
        ArtefactError: another format or version.
    """
    found = content.get("format"), content.get("version")
    if found != (FORMAT, VERSION):
        raise ArtefactError(
            f"{folder}: shard format {found[0]} version {found[1]}, this package reads "
            f"{FORMAT} version {VERSION}",
            "Upgrade aion-jax, or tokenize again.",
        )
