# SPDX-License-Identifier: MIT
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from aion.data.shards import ShardSet, TokenRecords, code_dtype
from aion.data.tally import Tally
from aion.data.writer import ShardWriter
from aion.errors import ArtefactError, DataError, TokenSpaceError, WorkdirError
from aion.modality import Kind, Modality
from aion.splits import SPLITS, SplitRule
from aion.tokenspace import TokenSpace, TokenSpec


def everything(shards: ShardSet) -> dict[str, np.ndarray]:
    """Codes by name of the object, over all splits."""
    found = {}
    for split in SPLITS:
        records = shards.read_records(split, np.arange(shards.count(split)))
        found |= dict(zip(records.object_id.tolist(), records.codes, strict=True))
    return found


@pytest.fixture
def copy(toy_shards, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(toy_shards.folder, tmp_path / "copy"))


def test_everything_comes_back(toy_shards, toy_codes, toy_space):
    found = everything(toy_shards)
    assert len(found) == len(toy_codes) == sum(map(toy_shards.count, SPLITS))
    for row, codes in enumerate(toy_codes):
        np.testing.assert_array_equal(found[f"object {row}"], codes)
    toy_space.check_same(toy_shards.space, "written", "read")
    assert toy_shards.rule == SplitRule(nside=4)


def test_records_lie_in_the_split_of_their_cell(toy_shards):
    for split in SPLITS:
        rows = np.arange(toy_shards.count(split))
        cells = toy_shards.read_records(split, rows).cell
        assert (toy_shards.rule.assign(cells) == split).all()


def test_rows_in_any_order_and_twice(toy_shards):
    every = toy_shards.read("train", np.arange(toy_shards.count("train")))
    rows = np.random.default_rng(0).integers(0, len(every), 200)
    np.testing.assert_array_equal(toy_shards.read("train", rows), every[rows])
    assert toy_shards.read("train", []).shape == (0, toy_shards.space.num_slots)
    other = pickle.loads(pickle.dumps(toy_shards))
    np.testing.assert_array_equal(other.read("train", rows), every[rows])


def test_tfds_reads_the_same(toy_shards):
    source: Any = tfds.builder_from_directory(toy_shards.folder).as_data_source()
    for split in SPLITS:
        assert len(source[split]) == toy_shards.count(split)
        ours = toy_shards.read_records(split, np.arange(len(source[split])))
        for row, theirs in enumerate(source[split]):
            np.testing.assert_array_equal(theirs["codes"], ours.codes[row])
            assert theirs["object_id"].decode() == ours.object_id[row]
            assert theirs["cell"] == ours.cell[row]


def test_no_tensorflow(toy_shards):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        "from aion.data.pipeline import ShardSet\n"
        f"folder = {str(toy_shards.folder)!r}\n"
        "ShardSet.open(folder).read('train', [0])\n"
        "tfds.builder_from_directory(folder).as_data_source(split='train')[0]\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_manifest_counts(toy_shards, toy_codes, toy_space):
    manifest = toy_shards.manifest
    numbers = (toy_codes >= 0).sum(axis=1)
    assert toy_shards.max_tokens == numbers.max()
    total = {}
    for split in manifest["splits"].values():
        for number, times in split["tokens_per_record"].items():
            total[int(number)] = total.get(int(number), 0) + times
    values, times = np.unique(numbers, return_counts=True)
    assert total == dict(zip(values.tolist(), times.tolist(), strict=True))
    absent = (toy_codes[:, :1] < 0).all(axis=1).sum()
    assert manifest["modalities"]["a"] == {"absent": absent, "present": 400 - absent}
    assert manifest["provenance"] == {"from": "a test"}


def test_large_vocabularies_take_more_bytes(make, tmp_path):
    row = TokenSpec(Modality("a", "toy", Kind.SCALAR), "a", 40000, 40000)
    space = TokenSpace((row,))
    assert code_dtype(space) == np.int32 and code_dtype(make.space(a=1)) == np.int16
    codes = np.array([[39999], [-1], [0]], np.int32)
    shards = make.shards(tmp_path / "large", space, codes, 1)
    assert everything(shards)["object 0"] == 39999


def test_another_token_space_names_the_row(toy_shards, make):
    other = make.space(a=1, image=31, z=2, b=1, spectrum=12, c=1)
    with pytest.raises(TokenSpaceError, match=r"row 1 \(image\).*differs in"):
        ShardSet.open(toy_shards.folder, other)


def test_no_shard_set(tmp_path):
    with pytest.raises(ArtefactError, match="is not a shard set"):
        ShardSet.open(tmp_path)


def test_another_format_version(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(ArtefactError, match="version 2, this package reads"):
        ShardSet.open(copy)


def test_a_truncated_file(copy):
    file = sorted(copy.glob("*train*"))[1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match=rf"{file.name} cannot be read: it has"):
        ShardSet.open(copy)
    file.unlink()
    with pytest.raises(ArtefactError, match=rf"{file.name} cannot be read: No such"):
        ShardSet.open(copy)


def test_a_damaged_file(copy):
    file = sorted(copy.glob("*train*"))[0]
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(ArtefactError, match="cannot be read"):
        ShardSet.open(copy).read("train", [0])


def test_rows_and_splits_that_are_not_there(toy_shards):
    with pytest.raises(DataError, match="no split 'dev'"):
        toy_shards.count("dev")
    with pytest.raises(DataError, match=r"rows -1\.\.3 of train"):
        toy_shards.read("train", [3, -1])


def records(space, number):
    return TokenRecords(
        np.zeros((number, space.num_slots), np.int32),
        np.array([f"{i}" for i in range(number)]),
        np.arange(number),
    )


def test_a_source_that_fails_leaves_no_files(toy_space, tmp_path):
    writer = ShardWriter(tmp_path / "set", toy_space, SplitRule(), ("one",))
    writer.prepare()

    def broken():
        yield records(toy_space, 50)
        raise DataError("the file is broken")

    with pytest.raises(DataError, match="the file is broken"):
        writer.write("one", broken(), Tally())
    assert not list((tmp_path / "set" / "parts").iterdir())
    with pytest.raises(ArtefactError, match="1 of 1 partitions are not written"):
        writer.finish()


def test_finishing_can_be_cut_off_anywhere(toy_space, tmp_path, monkeypatch):
    writer = ShardWriter(tmp_path / "set", toy_space, SplitRule(), ("one", "two"))
    writer.prepare()
    for name in writer.partitions:
        writer.write(name, [records(toy_space, 100)], Tally())
    replace = os.replace
    left = 0

    def failing(*names):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return replace(*names)

    monkeypatch.setattr("aion.data.writer.os.replace", failing)
    for steps in range(1, 20):
        left = steps
        try:
            writer.finish()
        except KeyboardInterrupt:
            with pytest.raises(ArtefactError, match="unfinished shard set"):
                ShardSet.open(writer.folder)
        else:
            break
    assert left > 0
    shards = ShardSet.open(writer.folder)
    assert sum(map(shards.count, SPLITS)) == 200
    assert not (writer.folder / "parts").exists()
    assert tfds.builder_from_directory(shards.folder).info.splits["train"]


def test_the_folder_of_another_run(toy_space, make, tmp_path):
    plain = ShardWriter(tmp_path / "set", toy_space, SplitRule(), ("one",), {"a": "1f"})
    (tmp_path / "set" / "parts").mkdir(parents=True)  # killed before the plan
    (tmp_path / "set" / ".plan.json.x1").touch()
    plain.prepare()
    plain.prepare()
    others = {
        "codecs a: 1f there, 2f here": {"digests": {"a": "2f"}},
        "split rule fold: 0 there, 1 here": {"rule": SplitRule(fold=1)},
        "partitions 0: one there, two here": {"partitions": ("two",)},
        "settings jitter: None there, 3 here": {"settings": {"jitter": 3}},
    }
    for text, change in others.items():
        values = {**vars(plain), **change}
        with pytest.raises(WorkdirError, match=f"begun with another {text}"):
            ShardWriter(**values).prepare()
    other = make.space(a=2, image=30, z=2, b=1, spectrum=12, c=1)
    with pytest.raises(TokenSpaceError, match=r"row 0 \(a\).* differs in modality"):
        ShardWriter(**{**vars(plain), "space": other}).prepare()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    values = {**vars(plain), "folder": tmp_path / "mine"}
    with pytest.raises(WorkdirError, match="is not empty and holds no token shards"):
        ShardWriter(**values).prepare()
    assert (tmp_path / "mine" / "thesis.tex").exists()
