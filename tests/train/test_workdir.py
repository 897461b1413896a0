# SPDX-License-Identifier: MIT
"""A folder belongs to one run."""

import pytest

from aion.errors import WorkdirError
from aion.train.workdir import claim, read_config

CONFIG = {"train": {"steps": 5, "log_every": 1}, "seed": (1, 2)}


def test_a_new_folder_is_claimed_and_known_again(tmp_path):
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG)
    assert read_config(tmp_path / "run")["train"]["steps"] == 5


def test_another_configuration_is_refused_by_its_key(tmp_path):
    claim(tmp_path / "run", CONFIG)
    changed = CONFIG | {"train": {"steps": 6, "log_every": 1}}
    with pytest.raises(WorkdirError, match=r"train\.steps is 5 there and 6 here"):
        claim(tmp_path / "run", changed)
    claim(tmp_path / "run", CONFIG | {"train": {"steps": 5, "log_every": 9}})


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(WorkdirError, match=r"not empty \(thesis\.tex\)"):
        claim(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(WorkdirError, match="is a file"):
        claim(tmp_path / "thesis.tex", CONFIG)


def test_a_claim_that_was_cut_off_can_be_made_again(tmp_path):
    (tmp_path / ".config.json.77.partial").write_text('{"form')
    claim(tmp_path, CONFIG)
    assert read_config(tmp_path)["seed"] == [1, 2]


def test_no_run_and_broken_runs_are_named(tmp_path):
    with pytest.raises(WorkdirError, match="holds no run"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WorkdirError, match="holds no run"):
        read_config(tmp_path)
