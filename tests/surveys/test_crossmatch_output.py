# SPDX-License-Identifier: MIT
"""What a cross-match writes: table, report and bad rows, whole after a kill."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.surveys.toy_positions import ARCSEC, borders, run, scattered, survey

from aion.errors import ConfigError, DataError, WorkdirError
from aion.splits import SplitRule
from aion.surveys import parts
from aion.surveys.crossmatch import crossmatch
from aion.surveys.matching import Rules
from aion.surveys.positions import ArrayPositions, Positions


@pytest.fixture
def small():
    ra, dec = borders(400)
    return {"one": survey(ra, dec), "two": survey(*scattered(ra, dec, 0.3, 1))}


# --- what is written ---------------------------------------------------------------


def test_the_table_says_what_it_holds(tmp_path):
    surveys = {
        "desi": Positions(np.array([7, 8]), np.array([10.0, 50]), np.array([0.0, 5])),
        "legacy": Positions(
            np.array([" b'0001m002-4' ", "0002p002-9"]),
            np.array([10.0, 200]),
            np.array([0.5 * ARCSEC, -30]),
        ),
    }
    table = run(surveys, tmp_path / "out", pieces=1)
    rows = {row["object_id"]: row for row in table.to_pylist()}
    assert set(rows) == {"legacy-0001m002-4", "legacy-0002p002-9", "desi-8"}
    both = rows["legacy-0001m002-4"]
    assert both["desi_id"] == "7" and both["legacy_id"] == "0001m002-4"
    assert both["desi_separation"] == pytest.approx(0.5)
    assert both["legacy_separation"] == 0 and both["surveys"] == 2
    assert (both["ra"], both["dec"]) == (10.0, 0.5 * ARCSEC)
    assert both["desi_partition"] == "000000" and not both["duplicate"]
    alone = rows["desi-8"]
    assert alone["legacy_id"] is alone["legacy_separation"] is None
    cells = SplitRule().cells(table["ra"], table["dec"])
    assert table["healpix"].to_pylist() == cells.tolist()
    assert table["split"].to_pylist() == SplitRule().assign(cells).tolist()
    rules = Rules.of(("desi", "legacy"))
    assert table.schema.equals(parts.match_schema(rules))
    units = {f.name: (f.metadata or {}).get(b"unit") for f in table.schema}
    assert units["ra"] == b"deg" and units["desi_separation"] == b"arcsec"
    few = run(surveys, tmp_path / "few", pieces=1, least=2)
    assert few["object_id"].to_pylist() == ["legacy-0001m002-4"]
    report = json.loads((tmp_path / "few" / "report.json").read_text())
    assert report["surveys"]["desi"]["left_out"] == 1
    assert report["together"] == {"legacy-desi": 1}


class Killed(Exception):
    """A process that is killed."""


@pytest.mark.parametrize("when", range(2, 14, 3))
def test_a_killed_match_goes_on(small, tmp_path, when):
    steps = []

    def progress(stage, done, total):
        steps.append(stage)
        if len(steps) == when:
            raise Killed

    with pytest.raises(Killed):
        run(small, tmp_path / "out", part_rows=100, progress=progress)
    assert not (tmp_path / "out" / "report.json").exists()
    table = run(small, tmp_path / "out", part_rows=100)
    assert table.equals(run(small, tmp_path / "other", part_rows=100))
    assert not (tmp_path / "out" / "scratch").exists()
    again = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    run(small, tmp_path / "out", part_rows=100)
    assert again == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}


def test_a_folder_with_other_settings_is_refused(small, tmp_path):
    run(small, tmp_path / "out")
    with pytest.raises(WorkdirError, match=r"radii one-two: 1\.0 there, 2\.0 here"):
        run(small, tmp_path / "out", radius=2.0)
    with pytest.raises(WorkdirError, match="another sources"):
        run({n: p.take(slice(9)) for n, p in small.items()}, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(WorkdirError, match="is not empty"):
        run(small, tmp_path / "full")


# --- bad rows ------------------------------------------------------------------------


def spoilt(positions):
    """Positions of which nine rows cannot be used."""
    text = Positions(
        positions.object_id.astype("U9"), positions.ra.copy(), positions.dec.copy()
    )
    text.ra[3], text.dec[4], text.dec[5] = np.nan, np.inf, 90.1
    text.ra[6], text.ra[7] = -1, 361
    text.object_id[8] = " "
    text.object_id[10:13] = text.object_id[9]
    return text


def test_bad_rows_are_put_aside_and_all_are_counted(small, tmp_path):
    bad = small | {"one": spoilt(small["one"])}
    table = run(bad, tmp_path / "out", on_bad="quarantine")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    told = report["surveys"]["one"]
    assert told["bad"] == {
        "ra or dec missing": 2,
        "dec outside -90..90": 1,
        "ra outside 0..360": 2,
        "object id missing": 1,
        "an object id that another row has": 3,
    }
    assert told["rows_in"] == 400 and told["entries"] == 391
    assert len(table["one_id"].drop_null()) == 391
    aside = pq.read_table(tmp_path / "out" / "quarantined.parquet").to_pydict()
    assert len(aside["reason"]) == 9 and set(aside["survey"]) == {"one"}
    assert "-1.0" in map(str, aside["ra"])
    kept = min(zip(bad["one"].ra[9:13], bad["one"].dec[9:13], strict=True))
    assert kept not in zip(aside["ra"], aside["dec"], strict=True)


def test_bad_rows_are_an_error_that_names_them(small, tmp_path):
    bad = small | {"one": spoilt(small["one"])}
    with pytest.raises(DataError, match="one 000000: 1 rows with object id missing"):
        run(bad, tmp_path / "out")
    ids = small["two"].object_id.copy()
    ids[50] = ids[60]
    twice = Positions(ids, small["two"].ra, small["two"].dec)
    with pytest.raises(DataError, match=f"two .* first is object {ids[50]}"):
        run(small | {"two": twice}, tmp_path / "twice")


def test_a_survey_without_rows(small, tmp_path):
    none = small | {"two": small["two"].take(slice(0))}
    with pytest.raises(DataError, match="two has no rows"):
        run(none, tmp_path / "out", pieces=1)
    table = run(none, tmp_path / "aside", on_bad="quarantine")
    assert len(table) == 400 and table["two_id"].null_count == 400
    with pytest.raises(DataError, match="no survey has a usable row"):
        nothing = {n: p.take(slice(0)) for n, p in small.items()}
        run(nothing, tmp_path / "nothing", on_bad="quarantine")


def test_files_that_a_source_leaves_out_are_in_the_report(small, tmp_path):
    from dataclasses import dataclass
    from types import SimpleNamespace

    @dataclass(frozen=True, eq=False)
    class Faulty(ArrayPositions):
        @property
        def report(self):
            fault = SimpleNamespace(path="x.hdf5", column="", reason="broken", rows=0)
            return SimpleNamespace(faults=(fault,))

    sources = {name: Faulty(p, 20) for name, p in small.items()}
    crossmatch(sources, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    told = {"path": "x.hdf5", "column": "", "reason": "broken", "rows": "0"}
    assert report["surveys"]["one"]["faults"] == [told]


def test_settings_out_of_range(small, tmp_path):
    for rest in (
        {"engine": "magic"},
        {"on_bad": "ignore"},
        {"workers": 0},
        {"least": 3},
        {"part_rows": 0},
        {"radius": 0.0},
        {"radius": 61.0},
    ):
        with pytest.raises(ConfigError):
            run(small, tmp_path / "out", **rest)
    with pytest.raises(ConfigError, match="at least two surveys"):
        run({"one": small["one"]}, tmp_path / "out")
    with pytest.raises(ConfigError, match="epoch of survey 'two' is not known"):
        one = small["one"]
        still = np.zeros(len(one))
        moving = Positions(one.object_id, one.ra, one.dec, still, still)
        run({"gaia": moving, "two": small["two"]}, tmp_path / "epoch")
