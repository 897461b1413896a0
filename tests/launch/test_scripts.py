# SPDX-License-Identifier: MIT
"""The launch scripts fail with one line that names the fix, and touch nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


def launch(script: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a launch script with the running interpreter unless PYTHON is given."""
    return subprocess.run(
        ["bash", str(ROOT / "launch" / script)],
        env=dict(os.environ) | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_one_line(result: subprocess.CompletedProcess, *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_parses(path):
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
def test_missing_interpreter(script, tmp_path):
    result = launch(script, PYTHON="/no/such/python", AION_VENV=str(tmp_path / "venv"))
    assert_one_line(result, "/no/such/python", "PYTHON=")
    assert not list(tmp_path.iterdir())


def test_old_interpreter(tmp_path):
    old = tmp_path / "python3.10"
    # Answers the version question, and fails the check that follows it.
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.10;; *) exit 1;; esac\n')
    old.chmod(0o755)
    result = launch("test.sh", PYTHON=str(old), AION_VENV=str(tmp_path / "venv"))
    assert_one_line(result, "3.10", "too old", "PYTHON=")


def test_no_space(tmp_path):
    place = tmp_path / "new" / "venv"
    result = launch("test.sh", AION_VENV=str(place), AION_NEEDED_MB="1000000000")
    assert_one_line(result, "MB free", "AION_VENV=")
    assert not place.exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    result = launch("test.sh", AION_VENV=str(tmp_path), AION_NEEDED_MB="1")
    assert_one_line(result, "not a virtual environment", "AION_VENV=")
    assert (tmp_path / "thesis.tex").read_text() == "precious"
