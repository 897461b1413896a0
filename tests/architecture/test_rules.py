# SPDX-License-Identifier: MIT
"""The rules of the house that a machine can hold: sizes, names, docstrings, marks."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("aion", "tokenizers/aion_tokenizers")
SHIPPED = (*LIBRARY, "configs", "launch")
MAX_FILE, MAX_FUNCTION, MAX_ENTRY = 400, 60, 40
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc"}
MAY_PRINT = {"aion/cli.py", "aion/report.py"}
# Spelt in two halves, or this file would find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def files(folders: tuple[str, ...], pattern: str = "*.py") -> list[str]:
    """Paths of all matching files, relative to the repository root."""
    found = [p for folder in folders for p in (ROOT / folder).rglob(pattern)]
    return sorted(p.relative_to(ROOT).as_posix() for p in found)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def public_definitions(tree: ast.Module):
    """Top-level functions and classes whose name has no leading underscore."""
    for node in tree.body:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", files((*SHIPPED, "tests")))
def test_file_is_short(path):
    lines = len(read(path).splitlines())
    assert lines <= MAX_FILE, f"{path} has {lines} lines, at most {MAX_FILE}: split it"


@pytest.mark.parametrize("path", files((*SHIPPED, "tests")))
def test_functions_are_short(path):
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION, (
                f"{path}:{node.lineno} {node.name} has {lines} lines, "
                f"at most {MAX_FUNCTION}: split it"
            )


def test_entry_is_short():
    lines = len(read("aion/__init__.py").splitlines())
    assert lines <= MAX_ENTRY, f"aion/__init__.py has {lines} lines, at most 40"


@pytest.mark.parametrize("path", files(SHIPPED))
def test_file_is_named_for_what_it_holds(path):
    stem = Path(path).stem
    assert stem not in DRAWERS, f"{path}: name it for its one purpose"
    assert stem == "__init__" or stem not in sys.stdlib_module_names, (
        f"{path} is named like a module of the standard library"
    )


@pytest.mark.parametrize("path", files(SHIPPED))
def test_only_the_command_line_prints(path):
    if path in MAY_PRINT:
        return
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", (
                f"{path}:{node.lineno} prints: return the text, or log with absl"
            )


@pytest.mark.parametrize("path", files(LIBRARY))
def test_public_names_have_docstrings(path):
    tree = ast.parse(read(path))
    if read(path).strip():
        assert ast.get_docstring(tree), f"{path} has no module docstring"
    for node in public_definitions(tree):
        assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name}: docstring?"


@pytest.mark.parametrize("path", files((*SHIPPED, "tests")))
def test_nothing_is_left_unfinished(path):
    for number, line in enumerate(read(path).splitlines(), start=1):
        found = UNFINISHED.search(line)
        assert not found, f"{path}:{number} says {found and found[0]}: do it or drop it"


@pytest.mark.parametrize(
    "path", [*files((*SHIPPED, "tests")), *files(("launch",), "*.sh"), ".ci/run"]
)
def test_file_states_its_licence(path):
    head = read(path).splitlines()[:2]
    assert not head or "# SPDX-License-Identifier: MIT" in head, (
        f"{path}: first line should be `# SPDX-License-Identifier: MIT`"
    )


def test_plain_folders_are_not_packages():
    # An editable install puts the root on the path: a package here would be `configs`
    # or `tests` in everybody's environment.
    found = files(("configs", "launch", "tests"), "__init__.py")
    assert not found, f"{found}: no __init__.py outside the two packages"


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_is_content(command):
    run = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache", str(ROOT)]
    result = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    if "No module named ruff" in result.stderr:
        pytest.skip("ruff is not installed; the test extra has it")
    assert result.returncode == 0, result.stdout + result.stderr
