# SPDX-License-Identifier: MIT
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aion.data.shards import ShardSet
from aion.errors import (
    ArtefactError,
    DataError,
    TokenSpaceError,
    UnitError,
    WorkdirError,
)
from aion.splits import SPLITS, SplitRule

# A module of its own, so that worker processes and killed ones can import it.
JOB = '''
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from aion.codec import CodecBundle
from aion.splits import SplitRule
from aion.modality import Kind, Modality
from aion.observation import Scalar
from aion.records import Records
from aion.tokenization import tokenize
from aion.tokenspace import TokenSpec

RULE = SplitRule(nside=2)
FLUX = Modality("flux", "toy", Kind.SCALAR, (), "nmgy")
SIZE = Modality("size", "toy", Kind.SCALAR, (), "arcsec")


@dataclass(frozen=True)
class Tenths:
    """Two tokens: the integer part of ten times the value, and whether it is even."""

    most: int = 90
    word = "tenths"

    def encode(self, observation):
        code = np.clip(observation.values * 10, 0, self.most - 1)
        found = np.isfinite(code)
        code = np.where(found, code, -1).astype(np.int32)
        return np.stack([code, np.where(found, code % 2, -1)], axis=1)

    def decode(self, codes, **asked):
        return Scalar(codes[:, 0] / 10)

    def count(self, observation):
        over = observation.values * 10 > self.most - 1
        return SimpleNamespace(below=0, above=int(over.sum()))

    def spec(self, modality, name):
        return TokenSpec(modality, name, self.most, self.most, (2,))

    def state(self):
        return {"most": self.most}, {}

    @classmethod
    def from_state(cls, config, arrays):
        return cls(**config)


@dataclass(frozen=True)
class Source:
    names: tuple = tuple("abcdef")
    copies: int = 0
    marker: str = ""
    broken: str = ""

    def partitions(self):
        return list(self.names)

    def read(self, partition):
        for batch in range(2):
            draws = np.random.default_rng([ord(partition), batch])
            ids = np.array([f"{partition}{batch}-{i}" for i in range(50)])
            ra, z = draws.uniform(0, 360, 50), draws.uniform(-1, 1, 50)
            values = draws.uniform(0, 10, 50)
            values[::7] = np.nan
            if self.broken == partition:
                ra[3] = np.nan
            for copy in range(self.copies + 1):
                seen = {"flux": Scalar(values + copy)}
                if partition != "b":
                    seen["size"] = Scalar(values[::-1].copy())
                place = np.degrees(np.arcsin(z))
                yield Records(ids, ra, place, seen, f"file {partition}", copy)
            if self.marker and partition == "d":
                Path(self.marker).touch()
                time.sleep(600)


def bundle(most=90):
    return CodecBundle({"tenths": Tenths(most)}, {FLUX: "tenths", SIZE: "tenths"})


if __name__ == "__main__":
    tokenize(Source(marker=sys.argv[2]), bundle(), sys.argv[1], RULE)
'''


@pytest.fixture
def job(tmp_path, monkeypatch):
    folder = tmp_path / "module"
    folder.mkdir()
    name = "tokenization_job"
    (folder / f"{name}.py").write_text(JOB)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def contents(folder: Path) -> dict[str, bytes]:
    """Codes and names of all records in their order, and the shards' bytes."""
    shards = ShardSet.open(folder)
    found = {}
    for split in SPLITS:
        records = shards.read_records(split, np.arange(shards.count(split)))
        found[split] = (
            records.codes.tobytes() + str(records.object_id.tolist()).encode()
        )
    return found | {p.name: p.read_bytes() for p in folder.glob("*.array_record*")}


def test_tokens_are_those_of_the_codecs(job, tmp_path):
    calls = []
    shards = job.tokenize(
        job.Source(),
        job.bundle(),
        tmp_path / "set",
        job.RULE,
        settings={"noise": 1},
        provenance={"survey": "toy"},
        progress=lambda *state: calls.append(state),
    )
    assert calls == [(n, 6, 100 * n) for n in range(7)]
    assert sum(map(shards.count, SPLITS)) == 600
    shards.space.check_same(job.bundle().space, "written", "bundle")
    by_name = {}
    for split in SPLITS:
        records = shards.read_records(split, np.arange(shards.count(split)))
        by_name |= dict(zip(records.object_id.tolist(), records.codes, strict=True))
    for partition in "ab":
        for records in job.Source().read(partition):
            value = np.nan_to_num(records.observations["flux"].values * 10, nan=-1)
            code = np.minimum(value, 89).astype(int)
            for row, name in enumerate(records.object_id.tolist()):
                assert by_name[name][0] == code[row]
                assert partition != "b" or (by_name[name][2:] == -1).all()
    manifest = shards.manifest
    assert manifest["codecs"] == job.bundle().digests
    assert manifest["provenance"] == {"survey": "toy"}
    assert manifest["settings"] == {"noise": 1}
    assert manifest["modalities"]["flux"]["absent"] == 6 * 2 * 8
    assert manifest["modalities"]["size"]["absent"] == 5 * 2 * 8 + 100
    assert 0 < manifest["modalities"]["flux"]["above"] < 100


def test_copies_train_and_nothing_else(job, tmp_path):
    plain = job.tokenize(job.Source(), job.bundle(), tmp_path / "one", job.RULE)
    copies = job.tokenize(
        job.Source(copies=2), job.bundle(), tmp_path / "three", job.RULE
    )
    assert copies.count("train") == 3 * plain.count("train")
    for split in ("validation", "test"):
        rows = np.arange(plain.count(split))
        np.testing.assert_array_equal(copies.read(split, rows), plain.read(split, rows))
        assert copies.count(split) == plain.count(split)
    one, three = (s.manifest["modalities"]["flux"] for s in (plain, copies))
    assert one["above"] == three["above"]


def test_workers_and_processes_write_the_same(job, tmp_path):
    job.tokenize(job.Source(), job.bundle(), tmp_path / "one", job.RULE)
    job.tokenize(job.Source(), job.bundle(), tmp_path / "two", job.RULE, workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    for index in (1, 2, 0):
        shards = job.tokenize(
            job.Source(),
            job.bundle(),
            tmp_path / "three",
            job.RULE,
            process_index=index,
            process_count=3,
        )
        assert (shards is None) == (index != 0)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


def test_kill_in_the_middle_and_go_on(job, tmp_path):
    folder, marker = tmp_path / "killed", tmp_path / "marker"
    process = subprocess.Popen(
        [sys.executable, job.__file__, str(folder), str(marker)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL and marker.exists()
    with pytest.raises(ArtefactError, match=r"unfinished shard set\. Run the same"):
        ShardSet.open(folder)
    assert not list(folder.glob("*array_record-0*"))
    receipts = {p: p.stat().st_mtime_ns for p in (folder / "parts").glob("*.json")}
    assert len(receipts) == 3

    before = []
    source = job.Source()
    job.tokenize(
        source, job.bundle(), folder, job.RULE, progress=lambda *s: before.append(s)
    )
    assert before[0] == (3, 6, 0) and before[-1] == (6, 6, 300)
    job.tokenize(source, job.bundle(), tmp_path / "whole", job.RULE)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_finished_run_is_left_alone(job, tmp_path):
    job.tokenize(job.Source(), job.bundle(), tmp_path / "set", job.RULE)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "set").iterdir()}
    again = job.tokenize(job.Source(), job.bundle(), tmp_path / "set", job.RULE)
    assert again.count("train") > 0
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "set").iterdir()}


def test_another_run_is_refused(job, tmp_path):
    folder = tmp_path / "set"
    job.tokenize(job.Source(), job.bundle(), folder, job.RULE, process_count=2)
    plan = json.loads((folder / "plan.json").read_text())
    for text, arguments in {
        "partitions": (job.Source(("a", "b")), job.bundle(), folder, job.RULE),
        "split rule nside": (job.Source(), job.bundle(), folder, SplitRule(nside=4)),
    }.items():
        with pytest.raises(WorkdirError, match=f"begun with another {text}"):
            job.tokenize(*arguments)
    with pytest.raises(TokenSpaceError, match=r"row 0 \(.* differs in"):
        job.tokenize(job.Source(), job.bundle(80), folder, job.RULE)
    with pytest.raises(WorkdirError, match="begun with another settings"):
        job.tokenize(
            job.Source(), job.bundle(), folder, job.RULE, settings={"copies": 2}
        )
    assert json.loads((folder / "plan.json").read_text()) == plan


def test_errors_say_where(job, tmp_path):
    with pytest.raises(DataError, match="file c: 1 of 50 objects have no valid ra"):
        job.tokenize(job.Source(broken="c"), job.bundle(), tmp_path / "a", job.RULE)
    with pytest.raises(DataError, match="0 partitions"):
        job.tokenize(job.Source(()), job.bundle(), tmp_path / "b", job.RULE)
    with pytest.raises(DataError, match="2 partitions, 1 of them different"):
        job.tokenize(job.Source(("a", "a")), job.bundle(), tmp_path / "b", job.RULE)


def test_units_are_converted_or_refused(job):
    from astropy import units as u

    from aion.tokenization import encode_records

    records = next(job.Source().read("a"))
    values = records.observations["flux"].values
    known = dict(records.observations)
    arcmin = job.Records(
        records.object_id,
        records.ra,
        records.dec,
        known | {"size": job.Scalar(values[::-1] / 60 * u.arcmin)},
    )
    plain = encode_records(job.bundle(), records)
    assert np.abs(encode_records(job.bundle(), arcmin) - plain).max() <= 1
    wrong = job.Records(
        records.object_id,
        records.ra,
        records.dec,
        known | {"size": job.Scalar(values * u.m)},
        "file a",
    )
    with pytest.raises(UnitError, match="file a, size: "):
        encode_records(job.bundle(), wrong)


def test_codecs_that_do_not_keep_their_word(job, tmp_path, monkeypatch):
    monkeypatch.setattr(job.Tenths, "encode", lambda self, o: np.zeros((50, 3), int))
    with pytest.raises(
        DataError, match=r"codes of shape \(50, 3\) for 50 objects of 2"
    ):
        job.tokenize(job.Source(), job.bundle(), tmp_path / "a", job.RULE)
    monkeypatch.setattr(job.Tenths, "encode", lambda self, o: np.full((50, 2), 90))
    with pytest.raises(
        DataError, match=r"codes 90\.\.90, the vocabulary of flux is 90"
    ):
        job.tokenize(job.Source(), job.bundle(), tmp_path / "b", job.RULE)
