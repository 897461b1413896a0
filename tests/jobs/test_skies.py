# SPDX-License-Identifier: MIT
"""`aion simulate` and `aion crossmatch`, as typed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aion import cli


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skies") / "sky"
    surveys = "sdss,desi,gaia"
    arguments = ["--objects=20", "--seed=2", f"--surveys={surveys}", "--everywhere"]
    assert cli.main(["simulate", *arguments, f"--out={folder}"]) == 0
    return folder


def objects(folder):
    (path,) = folder.glob("objects-*.parquet")
    return pq.read_table(path).to_pydict()


def test_what_is_simulated_is_matched_as_the_truth_says(sky, tmp_path, capsys):
    out = tmp_path / "match"
    sources = [f"{name}={sky / name}" for name in ("gaia", "sdss", "desi")]
    assert cli.main(["crossmatch", *sources, f"--out={out}", "--least=3"]) == 0
    assert "20 objects" in capsys.readouterr().out
    found, truth = objects(out), pq.read_table(sky / "truth.parquet").to_pydict()
    names = ("gaia_id", "sdss_id", "desi_id")
    ours = set(zip(*(found[name] for name in names), strict=True))
    assert ours == set(zip(*(truth[name] for name in names), strict=True))


def test_radii_epochs_and_columns_are_the_users(sky, tmp_path):
    truth = pq.read_table(sky / "truth.parquet").to_pydict()
    shifted = np.array(truth["dec"]) + 2.0 / 3600
    table = {"field": ["f"] * 20, "n": truth["number"], "RA": truth["ra"]}
    pq.write_table(pa.table(table | {"DE": shifted}), tmp_path / "own.parquet")
    plain = [f"gaia={sky / 'gaia'}", f"own={tmp_path / 'own.parquet'}"]
    rest = ["--columns=own=field+n,RA,DE", "--epoch=own=2016", "--least=2"]
    for radius, expected in ((["--radius=1"], 0), (["--radius=gaia,own=3"], 20)):
        out = tmp_path / f"match{expected}"
        assert cli.main(["crossmatch", *plain, *rest, *radius, f"--out={out}"]) == 0
        found = objects(out) if list(out.glob("objects-*")) else {"own_id": []}
        assert len(found["own_id"]) == expected
    assert all(name.startswith("f-") for name in found["own_id"])
    report = json.loads((out / "report.json").read_text())
    assert report["surveys"]["own"]["rows_in"] == 20


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["crossmatch", "a=x", "--out=m"], "two or more"),
        (["crossmatch", "a", "b=y", "--out=m"], "NAME=VALUE"),
        (["crossmatch", "a=nowhere", "b=nothing", "--out=m"], "no file or folder"),
        (["simulate", "--objects=0", "--out=m"], "0 objects"),
        (["simulate", "--objects=5", "--surveys=lsst", "--out=m"], "lsst"),
        (["simulate", "--objects=5", "--sample=all", "--out=m"], "no sample"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_another_sky_does_not_go_on_in_the_folder(sky, capsys):
    arguments = ["--objects=20", "--seed=3", "--surveys=sdss,desi,gaia", "--everywhere"]
    assert cli.main(["simulate", *arguments, f"--out={sky}"]) == 2
    assert "sky.seed is 2 there and 3 here" in capsys.readouterr().err
