# SPDX-License-Identifier: MIT
"""Tables in three formats, the forty modalities, and what folders hold."""

import io
import json
import math

import hypothesis.strategies as st
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from rich.console import Console

from aion.errors import ArtefactError
from aion.modality import MODALITIES
from aion.report import (
    describe,
    markdown,
    modality_table,
    score_tables,
    with_error,
    write_scores,
)


def row(method, metric, value, error=0.01, question="redshift", count=3500):
    return dict(
        question=question,
        method=method,
        metric=metric,
        value=value,
        error=error,
        count=count,
    )


ROWS = [
    row("aion", "nmad", 0.01663, 0.00041),
    row("aion", "pit_ks", 0.031, 0.004),
    row("forest", "nmad", 0.01641, 0.00039),
    row("aion / forest", "nmad", 1.013, 0.021),
    row("aion / knn", "outliers", math.inf, math.nan),
    row("aion", "accuracy", 0.967, 0.002, "class", 7000),
]


def text(*renderables):
    console = Console(file=io.StringIO(), width=200)
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()  # pyright: ignore


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.01663, 0.00041, "0.01663 ± 0.00041"),
        (12.345, 0.0999, "12.35 ± 0.10"),
        (1234.5, 33.0, "1234 ± 33"),
        (-0.5, 0.0, "-0.5"),
        (1 / 3, 1e-17, "0.3333"),
        (math.nan, 1.0, "-"),
        (2.0, math.inf, "2"),
    ],
)
def test_values_have_two_digits_of_their_error(value, error, expected):
    assert with_error(value, error) == expected


@given(st.floats(-1e3, 1e3), st.floats(1e-5, 10))
def test_no_digit_that_matters_is_lost(value, error):
    found = with_error(value, error).split(" ± ")[0]
    assert abs(float(found) - value) <= 0.06 * error


def test_markdown_has_methods_across_and_comparisons_below():
    lines = markdown(ROWS, "Scores", ["A note."]).splitlines()
    assert lines[0] == "# Scores" and lines[-1] == "A note."
    assert (
        "## redshift (3,500 objects)" in lines and "## class (7,000 objects)" in lines
    )
    assert "| metric | aion | forest |" in lines
    assert "| nmad | 0.01663 ± 0.00041 | 0.01641 ± 0.00039 |" in lines
    assert "| pit_ks | 0.0310 ± 0.0040 |  |" in lines
    assert "| nmad, aion / forest | 1.013 ± 0.021 |  |" in lines
    assert "| outliers, aion / knn | - |  |" in lines


def test_console_shows_the_same_numbers():
    shown = text(*score_tables(ROWS))
    assert all(x in shown for x in ("redshift (3,500 objects)", "0.01663 ± 0.00041"))


def test_scores_are_written_in_three_formats(tmp_path):
    paths = write_scores(ROWS, tmp_path / "out", "Scores", meta={"step": 7})
    assert {p.name for p in paths} == {"scores.md", "scores.json", "scores.parquet"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in paths}
    content = json.loads((tmp_path / "out/scores.json").read_text())
    assert content["meta"] == {"step": 7} and content["scores"][0] == ROWS[0]
    assert content["scores"][4]["value"] is None, "JSON has no infinity"
    table = pq.read_table(tmp_path / "out/scores.parquet")
    assert table.num_rows == 6 and table["metric"][1].as_py() == "pit_ks"


def test_all_forty_modalities_are_shown_with_units():
    shown = text(modality_table())
    assert "40 modalities" in shown
    assert all(name in shown for name in MODALITIES)
    assert "1e-17 erg / (s cm2 Angstrom)" in shown and "tok_spectrum_desi" in shown


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_folders_that_hold_nothing_of_ours_are_refused(tmp_path, name):
    with pytest.raises(ArtefactError, match="Point to a"):
        describe(tmp_path / name)
