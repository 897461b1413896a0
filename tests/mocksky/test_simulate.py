# SPDX-License-Identifier: MIT
"""A sky on disk: the same bytes whoever writes them, whole after a kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aion.errors import ConfigError, WorkdirError
from aion.mocksky.simulate import Simulation
from aion.mocksky.sky import Sky
from aion.surveys.opening import open_survey

SKY = Sky(24, 5, per_cell=8)
SURVEYS = ("sdss", "desi", "gaia", "desi_provabgs")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sky") / "sky"
    told = []
    Simulation(folder, SKY, SURVEYS).run(1, lambda done, total: told.append(done))
    assert told[0] == 0 and told[-1] == 24 and told == sorted(told)
    return folder


def test_truth_and_files_agree(written):
    truth = pq.read_table(written / "truth.parquet").to_pydict()
    assert len(truth["number"]) == 24 == len(set(truth["number"]))
    for survey in ("sdss", "desi", "gaia"):
        source, ids, redshifts = open_survey(written / survey), [], []
        for partition in source.partitions():
            for records in source.read(partition):
                ids += records.object_id.tolist()
                if survey == "desi":
                    redshifts += records.observations["redshift"].values.tolist()
        assert sorted(ids) == sorted(filter(None, truth[f"{survey}_id"]))
        if survey == "desi":
            true = dict(zip(truth["desi_id"], truth["redshift"], strict=True))
            off = [abs(z - true[name]) for z, name in zip(redshifts, ids, strict=True)]
            assert np.median(off) < 1e-3
    manifest = json.loads((written / "sky.json").read_text())
    assert manifest["complete"]
    assert manifest["objects"]["desi"] == len([i for i in truth["desi_id"] if i])


def test_units_stand_beside_the_truth(written):
    schema = pq.read_schema(written / "truth.parquet")
    assert schema.field("flux_DES-R").metadata[b"unit"] == b"nmgy"
    assert schema.field("distance").metadata[b"unit"] == b"pc"


def test_going_on_with_a_finished_sky_changes_nothing(written):
    before = digests(written)
    Simulation(written, SKY, SURVEYS).run(1)
    assert digests(written) == before


def test_two_processes_write_the_same_bytes(written, tmp_path):
    Simulation(tmp_path / "two", SKY, SURVEYS).run(2)
    assert digests(tmp_path / "two") == digests(written)


def test_a_killed_run_goes_on_to_the_same_bytes(written, tmp_path):
    folder = tmp_path / "killed"
    code = (
        "from aion.mocksky.simulate import Simulation\n"
        "from aion.mocksky.sky import Sky\n"
        f"Simulation({str(folder)!r}, Sky(24, 5, per_cell=8), {SURVEYS!r}).run(1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    deadline = time.monotonic() + 120
    while not list((folder / ".parts").glob("*.parquet")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "truth.parquet").exists()
    with pytest.raises(WorkdirError, match="another sky"):
        Simulation(folder, Sky(24, 6, per_cell=8), SURVEYS).run(1)
    Simulation(folder, SKY, SURVEYS).run(1)
    assert digests(folder) == digests(written)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WorkdirError, match="not empty"):
        Simulation(tmp_path, SKY, SURVEYS).run(1)
    with pytest.raises(ConfigError, match="lsst"):
        Simulation(tmp_path, SKY, ("lsst",))
