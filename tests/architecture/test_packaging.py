# SPDX-License-Identifier: MIT
"""What an install brings: two packages, their data, nothing that shadows others."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = sorted((ROOT / "launch").glob("constraints-*.txt"))
# Loaded inside a function alone, when somebody asks for what an extra brings.
LAZY = ("aion/surveys/lsdb_engine.py",)
HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "tensorflow_datasets", "grain")
RUN_COMMAND = """
import sys
from importlib.metadata import entry_points
command = entry_points(group="console_scripts", name="aion")["aion"]
sys.argv = ["aion", *sys.argv[1:]]
try:
    status = command.load()()
except SystemExit as stop:
    status = stop.code
import aion
print("LOADED", aion.__file__, *sorted(m for m in sys.modules if "." not in m))
sys.exit(status)
"""


def python(*arguments: str, folder: Path, path: Path | None = None):
    """Runs this interpreter in a folder, with `path` before all that is installed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def build(target: str, source: Path, out: Path) -> Path:
    """Builds a wheel or sdist with hatchling, offline; returns the file."""
    result = python(
        "-m", "hatchling", "build", "-t", target, "-d", str(out), folder=source
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built the long way, work tree -> sdist -> wheel, as an index would."""
    folder = tmp_path_factory.mktemp("packaging")
    sdist = build("sdist", ROOT, folder / "sdist")
    with tarfile.open(sdist) as archive:
        # Debian 12's Python 3.11.2 has no `filter` argument yet.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder / "source")
    (source,) = (folder / "source").iterdir()
    return build("wheel", source, folder / "wheel")


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    """The wheel's files in a folder, as `pip install --target` puts them."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_tokenizers_folder_cannot_shadow_hugging_face():
    assert not list((ROOT / "tokenizers").glob("*.py")), (
        "a .py file directly in tokenizers/ shadows the package of that name"
    )


def test_wheel_holds_our_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "aion",
        "aion_tokenizers",
    }
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]
    assert "aion/py.typed" in names


@pytest.mark.parametrize(
    ("folder", "inside"),
    [
        ("aion", "aion"),
        ("tokenizers/aion_tokenizers", "aion_tokenizers"),
        ("configs", "aion/_configs"),
        ("launch", "aion/_launch"),
    ],
)
def test_wheel_carries_every_file(wheel, folder, inside):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for pattern in ("*.py", "*.npz", "*.sh", "*.txt", "*.sbatch")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert wanted, f"{folder} holds nothing to ship"
    assert not wanted - names


def test_wheel_is_the_same_from_work_tree_and_sdist(wheel, tmp_path):
    direct = build("wheel", ROOT, tmp_path / "direct")
    assert sorted(zipfile.ZipFile(direct).namelist()) == sorted(
        zipfile.ZipFile(wheel).namelist()
    )


@pytest.mark.parametrize("arguments", [["--help"], ["info"]], ids=" ".join)
def test_command_runs_from_the_wheel_in_an_empty_folder(unpacked, tmp_path, arguments):
    result = python("-c", RUN_COMMAND, *arguments, folder=tmp_path, path=unpacked)
    assert result.returncode == 0, result.stdout + result.stderr
    loaded = result.stdout.rpartition("LOADED")[2].split()
    assert Path(loaded[0]).is_relative_to(unpacked), "ran the clone, not the wheel"
    assert not list(tmp_path.iterdir()), "left files behind"


@pytest.mark.parametrize(
    "code",
    ["import aion", "import aion.cli", "import aion; dir(aion)", RUN_COMMAND],
    ids=["import", "cli", "dir", "--help"],
)
def test_start_loads_nothing_heavy(unpacked, tmp_path, code):
    report = "\nfinally:\n    import sys; print('LOADED', *sys.modules)"
    tried = "try:\n" + "\n".join("    " + line for line in code.splitlines()) + report
    result = python("-c", tried, "--help", folder=tmp_path, path=unpacked)
    assert result.returncode == 0, result.stdout + result.stderr
    loaded = set(result.stdout.rpartition("LOADED")[2].split())
    assert not loaded & set(HEAVY)


def test_lazy_names_are_all_there():
    import aion

    missing = [name for name in aion.__all__ if not hasattr(aion, name)]
    assert not missing


def declared(extras: tuple[str, ...]) -> set[NormalizedName]:
    """Canonical names of the runtime dependencies and of those of the extras."""
    lines = list(PROJECT["dependencies"])
    lines += [r for e in extras for r in PROJECT["optional-dependencies"][e]]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    return names - {canonicalize_name(PROJECT["name"])}


def third_party_imports(path: Path) -> list[tuple[str, bool]]:
    """(top-level name, is it imported with the module) of all that is not ours."""
    tree = ast.parse(path.read_text())
    local = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        found += [(name.split(".")[0], id(node) not in local) for name in names]
    ours = {"aion", "aion_tokenizers"} | set(sys.stdlib_module_names)
    return [(name, at_import) for name, at_import in found if name not in ours]


def test_every_import_is_declared():
    """Runtime dependencies anywhere; what an extra brings only inside functions."""
    distributions = importlib.metadata.packages_distributions()
    runtime = declared(())
    everything = declared(("plots", "eval", "hats"))
    faults = []
    for folder in ("aion", "tokenizers/aion_tokenizers", "configs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name, at_import in third_party_imports(path):
                owners = {canonicalize_name(d) for d in distributions.get(name, [name])}
                at_import &= path.relative_to(ROOT).as_posix() not in LAZY
                if not owners & (runtime if at_import else everything):
                    faults.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not faults, (
        "not declared in pyproject.toml, or brought by an extra and imported outside a "
        "function: " + ", ".join(faults)
    )


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_constraints_pin_every_dependency_within_its_range(path):
    pins = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.M)
    }
    lines = PROJECT["dependencies"] + [
        r for e in ("eval", "test") for r in PROJECT["optional-dependencies"][e]
    ]
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name != "aion-jax":
            assert name in pins, f"{path.name} lacks {name}"
            assert requirement.specifier.contains(pins[name]), f"{path.name}: {name}"


@pytest.mark.slow
def test_wheel_lives_beside_hugging_face(wheel, tmp_path):
    """A whole install into an empty environment that also has `tokenizers`."""

    def run(*command: str, folder: Path = tmp_path) -> None:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=900
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"

    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    major, minor, *_ = sys.version_info
    pins = ROOT / "launch" / f"constraints-{major}.{minor}.txt"
    constraints = ("-c", str(pins)) if pins.is_file() else ()
    install = (str(programs / "python"), "-m", "pip", "install", "-q", *constraints)
    run(*install, "tokenizers", str(wheel))
    code = (
        "import aion, aion_tokenizers, tokenizers\n"
        "tokenizers.Tokenizer(tokenizers.models.BPE())"
    )
    for folder in (ROOT, tmp_path, Path("/")):
        run(str(programs / "python"), "-c", code, folder=folder)
        run(str(programs / "aion"), "--help", folder=folder)
        run(str(programs / "aion"), "info", folder=folder)
