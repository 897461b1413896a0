# SPDX-License-Identifier: MIT
"""The command line: one line for everything that is wrong, and how a stage ends."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.toy_run import changed, flags, one_line, write_home

from aion import cli
from aion.errors import DataError


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a config and a catalogue."""
    return write_home(tmp_path_factory.mktemp("cli"))


def test_unknown_column(home, tmp_path, capsys):
    name = changed(home, g=None)
    assert cli.main(["tokenize", *flags(home, tmp_path / "w", name)]) == 2
    one_line(capsys, "has no column 'g'")
    assert not (tmp_path / "w").exists(), "nothing is left behind"


def test_wrong_unit(home, tmp_path, capsys):
    table = pq.read_table(home / "sky.parquet")
    field = pa.field("g", pa.float64(), metadata={"unit": "km"})
    column = table.column_names.index("g")
    table = table.set_column(column, field, table["g"].combine_chunks())
    pq.write_table(table, home / "unit.parquet")
    assert cli.main(["tokenize", *flags(home, tmp_path / "w", "unit.parquet")]) == 2
    one_line(capsys, "column g", "km", "mag")


def test_empty_file(home, tmp_path, capsys):
    pq.write_table(
        pq.read_table(home / "sky.parquet").slice(0, 0), home / "none.parquet"
    )
    assert cli.main(["train", *flags(home, tmp_path / "w", "none.parquet")]) == 2
    one_line(capsys, "has no rows")


def test_all_nan_column(home, tmp_path, capsys):
    name = changed(home, r=pa.array(np.full(400, np.nan)))
    assert cli.main(["tokenize", *flags(home, tmp_path / "w", name)]) == 2
    one_line(capsys, "column r", "NaN")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.train.stepz=3", ("stepz",)),
        ("--config.train.steps=many", ("steps",)),
        ("--confg.train.steps=3", ("unknown argument --confg.train.steps=3",)),
        ("--config.train.steps", ("unknown argument",)),
    ],
)
def test_misspelt_config_keys(home, tmp_path, capsys, override, words):
    assert cli.main(["train", *flags(home, tmp_path / "w"), override]) == 2
    one_line(capsys, *words)
    assert not (tmp_path / "w").exists()


def test_a_folder_of_something_else_is_refused_untouched(home, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert cli.main(["quickstart", *flags(home, tmp_path)]) == 2
    one_line(capsys, "is not empty", "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_unknown_stages_and_flags(capsys):
    assert cli.main(["trian"]) == 2
    one_line(capsys, "trian", "--help")
    assert cli.main(["evaluate"]) == 2
    one_line(capsys, "--workdir", "aion evaluate --help")
    assert cli.main(["info", "--verbose"]) == 2
    one_line(capsys, "unknown argument --verbose")


def test_a_traceback_only_with_debug(capsys):
    with pytest.raises(DataError):
        cli.main(["simulate", "--objects=0", "--out=x", "--debug"])
    assert cli.main(["simulate", "--objects=0", "--out=x"]) == 2
    assert "Traceback" not in one_line(capsys, "0 objects")


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (KeyboardInterrupt(), 130, ("interrupted", "goes on")),
        (OSError(28, "No space left on device", "shard-0"), 2, ("shard-0", "No space")),
        (ZeroDivisionError("division by zero"), 1, ("ZeroDivisionError", "--debug")),
    ],
)
def test_other_ends_are_one_line_too(monkeypatch, capsys, raised, status, words):
    def explode(*arguments):
        raise raised

    monkeypatch.setattr("aion.mocksky.catalog.write_catalog", explode)
    assert cli.main(["simulate", "--out=nowhere.parquet"]) == status
    one_line(capsys, *words)


def test_a_stopped_run_says_how_to_go_on(home, tmp_path, monkeypatch, capsys):
    from aion.train.loop import Outcome

    ended = Outcome(3, finished=False, metrics={})
    monkeypatch.setattr("aion.train.pretrain.pretrain", lambda *a, **k: ended)
    assert cli.main(["train", *flags(home, tmp_path / "w")]) == 130
    one_line(capsys, "stopped at step 3", "goes on")
