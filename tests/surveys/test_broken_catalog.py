# SPDX-License-Identifier: MIT
"""Catalogue files that are empty, cut or something else: an error of one line each."""

import pytest
from tests.surveys.toy_catalog import WRITERS, numbers, read_all, source_of

from aion.errors import DataError
from aion.surveys.tables import READERS


def test_no_file_and_unknown_ending(tmp_path):
    with pytest.raises(DataError, match=r"no file .*t\.csv"):
        source_of(tmp_path / "t.csv")
    (tmp_path / "t.xls").write_text("x")
    with pytest.raises(DataError, match=r"'\.xls'.*\.csv, \.parquet"):
        source_of(tmp_path / "t.xls")


@pytest.mark.parametrize("ending", READERS)
def test_empty_files_are_one_line(tmp_path, ending):
    (tmp_path / f"t{ending}").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        source_of(tmp_path / f"t{ending}")


@pytest.mark.parametrize("ending", WRITERS)
def test_files_without_rows_are_one_line(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    WRITERS[ending](path, {k: v[:0] for k, v in numbers().items()})
    with pytest.raises(DataError, match="has no rows"):
        read_all(source_of(path))


def test_csv_of_blank_lines_has_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("plate,fiber,ra,dec,r_mag,class,size\n\n\n")
    with pytest.raises(DataError, match="has no rows"):
        read_all(source_of(tmp_path / "t.csv"))


@pytest.mark.parametrize("ending", WRITERS)
def test_truncated_files_are_one_line(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    WRITERS[ending](path, numbers(3000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3 + 1])
    if ending == ".csv":  # cut inside a line, so that it has too few columns
        cut = path.read_bytes()
        path.write_bytes(cut[: cut.rindex(b"\n", 0, -2) + 8])
    with pytest.raises(DataError) as caught:
        read_all(source_of(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("ending", sorted(set(WRITERS) - {".csv"}))
def test_files_of_another_format_are_one_line(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    path.write_text("hello\nthis is a letter, not a table\n")
    with pytest.raises(DataError) as caught:
        read_all(source_of(path))
    assert "\n" not in str(caught.value)
