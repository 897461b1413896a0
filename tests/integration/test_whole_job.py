# SPDX-License-Identifier: MIT
"""The whole job through the command line, in processes of its own, killed and not.

One run of `aion quickstart` on a small simulated catalogue is shared by all tests; it
is the shipped config with a model of a few thousand parameters. Tests that could harm
it work on copies.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aion import cli
from aion.data.shards import ShardSet
from aion.errors import ArtefactError
from aion.model.store import steps_of

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
# The user's way: a config file that starts from the shipped one. Environment variables
# slow the run down so that a kill hits what it should.
CONFIG = '''
import os
import runpy
import time

from aion.config import find_config


def slow(module, name, seconds):
    """Lets a function take longer."""
    plain = getattr(module, name)

    def waiting(*arguments, **named):
        time.sleep(seconds)
        return plain(*arguments, **named)

    setattr(module, name, waiting)


def get_config(arg=None):
    if "SLOW_TOKENS" in os.environ:
        import aion.tokenization

        slow(aion.tokenization, "encode_records", float(os.environ["SLOW_TOKENS"]))
    if "SLOW_STEPS" in os.environ:
        import aion.train.loop

        slow(aion.train.loop, "to_devices", float(os.environ["SLOW_STEPS"]))
    config = runpy.run_path(str(find_config("sdss_photoz")))["get_config"](arg)
    config.data.copies = 1
    config.data.split.folds = 3
    config.model.update(
        width=16, heads=2, hidden=32, encoder_layers=1, decoder_layers=1
    )
    config.budgets = ({"inputs": 14, "targets": 4, "batch": 32},)
    config.train.update(
        steps={STEPS}, log_every=1, evaluate_every=6, checkpoint_every=3
    )
    questions = {q["name"]: q for q in config.evaluate.requests}
    config.evaluate.requests = (questions["redshift"], questions["class"])
    return config
'''


def start(*arguments: object, home: Path, **environment: str) -> subprocess.Popen:
    """`aion ...` in a process group of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tokenizers")])
    plain = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.Popen(
        [sys.executable, "-m", "aion.cli", *map(str, arguments)],
        cwd=home,
        env=plain | {"PYTHONPATH": path, "COLUMNS": "100"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeeds(*arguments: object, home: Path) -> str:
    """What a command printed that ends with exit code 0."""
    process = start(*arguments, home=home)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error
    assert "Traceback" not in error
    return out


def refused(*arguments: object, home: Path) -> str:
    """The one line of a command that ends with exit code 2."""
    process = start(*arguments, home=home)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 2, out + error
    (line,) = error.splitlines()
    return line


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run but the event files of TensorBoard."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "tensorboard" not in p.parts
    }


def losses(folder: Path) -> dict[int, float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found = [
        (row["step"], row["loss"]) for row in map(json.loads, lines) if "loss" in row
    ]
    assert len(dict(found)) == len(found), "each step is written once"
    return dict(found)


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.02)


def killed_when(condition, *arguments: object, home: Path, **environment: str) -> None:
    """Runs a command and kills it, -9, as soon as a condition holds."""
    with start(*arguments, home=home, **environment) as process:
        try:
            wait_for(condition, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """The folder of the shared run, its home, and what the command printed."""
    home = tmp_path_factory.mktemp("whole_job")
    (home / "small.py").write_text(CONFIG.replace("{STEPS}", str(STEPS)))
    printed = succeeds(
        "quickstart", "--config=small.py", "--workdir=run", "--objects=600", home=home
    )
    return home, home / "run", printed


def where(workdir: str) -> list[str]:
    return [
        "--config=small.py",
        f"--workdir={workdir}",
        "--catalog=run/catalog.parquet",
    ]


def test_it_ends_with_numbers_and_plots(job):
    home, folder, printed = job
    for word in ("redshift", "class", "nmad", "accuracy", "forest", "marginal"):
        assert word in printed
    plots = sorted((folder / "evaluation" / "plots").glob("*.png"))
    names = {p.name for p in plots}
    assert {"redshift-truth.png", "redshift-pit.png", "class-confusion.png"} <= names
    for plot in [*plots, folder / "draws.png"]:
        content = plot.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 5000, plot
        assert content.rstrip()[-8:-4] == b"IEND", f"{plot} is cut off"
    for plot in plots:
        assert plot.name in printed
    content = json.loads((folder / "evaluation" / "scores.json").read_text())
    found = {(s["question"], s["method"], s["metric"]): s for s in content["scores"]}
    for method in ("aion", "forest", "knn", "marginal"):
        assert np.isfinite(found["redshift", method, "nmad"]["value"])
        assert 0 <= found["class", method, "accuracy"]["value"] <= 1
    test = ShardSet.open(folder / "shards").count("test")
    assert found["class", "aion", "accuracy"]["count"] == test > 100
    assert pq.read_table(folder / "draws.parquet").num_rows == 9
    assert list(losses(folder)) == list(range(1, STEPS + 1))
    assert steps_of(folder)[-1] == STEPS
    assert str(home) not in (folder / "evaluation" / "scores.md").read_text()


def test_the_same_command_again_does_nothing_new(job):
    home, folder, printed = job
    before = digests(folder)
    made = [
        p
        for pattern in ("bundle", "shards", "checkpoints", "evaluation/*.npz")
        for top in folder.glob(pattern)
        for p in ([top] if top.is_file() else top.rglob("*"))
    ]
    kept = {p: p.stat().st_mtime_ns for p in made}
    assert len(kept) > 20
    started = time.monotonic()
    again = succeeds(
        "quickstart", "--config=small.py", "--workdir=run", "--objects=600", home=home
    )
    assert time.monotonic() - started < 120
    assert digests(folder) == before
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "nothing is made again"
    table = [
        line for line in printed.splitlines() if line.startswith(("│", "aion: plot"))
    ]
    assert all(line in again for line in table), "the numbers are shown again"


def test_kill_9_while_tokens_are_written(job):
    home, folder, _ = job
    shards = home / "killed" / "shards"
    killed_when(
        (shards / "plan.json").is_file,
        *("tokenize", *where("killed")),
        home=home,
        SLOW_TOKENS="60",
    )
    with pytest.raises(ArtefactError, match="unfinished shard set"):
        ShardSet.open(shards)
    succeeds("tokenize", *where("killed"), home=home)
    sets = [ShardSet.open(f / "shards") for f in (folder, home / "killed")]
    for split in ("train", "validation", "test"):
        one, two = (s.read_records(split, np.arange(s.count(split))) for s in sets)
        np.testing.assert_array_equal(one.codes, two.codes)
        assert one.object_id.tolist() == two.object_id.tolist()
    assert not [p for p in shards.rglob("*") if "part" in p.name]


def test_kill_9_while_training(job):
    """Twice: while the first checkpoint is being written, and after the second."""
    home, folder, _ = job
    killed = home / "train"
    for name in ("bundle", "shards"):
        shutil.copytree(folder / name, killed / name)
    for name in ("config.json", "catalog.json"):
        shutil.copy(folder / name, killed)
    command = ("train", *where("train"))
    saved = killed / "checkpoints"
    for condition in (lambda: any(saved.glob("3*")), (saved / "6").is_dir):
        killed_when(condition, *command, home=home, SLOW_STEPS="0.5")
        assert 0 < max(losses(killed)) < STEPS
    assert steps_of(killed)[-1] < STEPS
    printed = succeeds(*command, home=home)
    assert "trained" in printed
    assert list(losses(killed)) == list(losses(folder))
    np.testing.assert_allclose(
        list(losses(killed).values()), list(losses(folder).values()), rtol=1e-6
    )
    names = [p.name for p in (killed / "checkpoints").iterdir()]
    assert not [n for n in names if "tmp" in n]


def test_another_file_of_the_same_columns_is_scored(job, tmp_path):
    home, folder, _ = job
    other = tmp_path / "other.parquet"
    succeeds("simulate", "--objects=150", "--seed=7", f"--out={other}", home=home)
    before = digests(folder)
    printed = succeeds(
        *("evaluate", "--config=small.py", "--workdir=run", f"--catalog={other}"),
        *("--rows=all", f"--out={tmp_path}/scores", "--no-baselines"),
        home=home,
    )
    content = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert max(s["count"] for s in content["scores"]) == 150
    assert "accuracy" in printed and "forest" not in printed
    assert (tmp_path / "scores" / "plots" / "redshift-truth.png").exists()
    assert digests(folder) == before, "the run itself is left as it was"


def test_draws_of_a_catalogue_are_written(job, tmp_path):
    home, folder, _ = job
    out = tmp_path / "draws.parquet"
    succeeds(
        *("sample", "--workdir=run", "--catalog=run/catalog.parquet"),
        *("--ask=redshift", "--num-samples=4", "--limit=20", f"--out={out}"),
        home=home,
    )
    table, sky = pq.read_table(out), pq.read_table(folder / "catalog.parquet")
    assert table.num_rows == 20
    assert table["ra"].to_pylist() == sky["ra"].to_pylist()[:20]
    draws = np.array(table["redshift_draws"].to_pylist())
    assert draws.shape == (20, 4) and np.isfinite(draws).all()
    low, high = (table[f"redshift_p{q}"].to_numpy() for q in (16, 84))
    assert (low <= high).all()


def test_another_config_in_the_same_workdir_is_refused(job, monkeypatch, capsys):
    home, folder, _ = job
    before = digests(folder)
    other = "--config.optimizer.learning_rate=0.5"
    line = refused("quickstart", *where("run"), other, home=home)
    assert "learning_rate is 0.004 there and 0.5 here" in line and "--workdir" in line
    for stage in ("train", "tokenize"):
        monkeypatch.chdir(home)
        assert cli.main([stage, *where("run"), other]) == 2
        assert "learning_rate" in capsys.readouterr().err
    assert digests(folder) == before, "nothing is lost"


def test_shards_of_another_token_space_are_refused(job, monkeypatch, capsys):
    home, folder, _ = job
    mixed = home / "mixed"
    shutil.copytree(folder / "bundle", mixed / "bundle")
    for name in ("config.json", "catalog.json"):
        shutil.copy(folder / name, mixed)
    shutil.copytree(folder / "shards", mixed / "shards")
    for name in ("plan.json", "manifest.json"):
        path = mixed / "shards" / name
        content = json.loads(path.read_text())
        row = content["token_space"]["rows"][3]
        row["num_codes"] = row["vocabulary"] = 99
        row["ranges"] = [[0, 99]]
        path.write_text(json.dumps(content))
    before = digests(mixed)
    monkeypatch.chdir(home)
    for flags, word in ((where("mixed"), "space"), (where("mixed")[:-1], "sdss_mag_i")):
        assert cli.main(["train", *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert word in line and "num_codes" in line and "99" in line
    assert digests(mixed) == before


def test_info_tells_what_a_folder_holds(job, monkeypatch, capsys):
    home, _, _ = job
    words = {
        "run": ("sdss_mag_u", "HEALPix", "checkpoint", f"{STEPS}"),
        "run/bundle": ("coarse_fine", "object_class"),
        "run/shards": ("train", "test"),
    }
    monkeypatch.chdir(home)
    for path, expected in words.items():
        assert cli.main(["info", path]) == 0
        printed = capsys.readouterr().out
        for word in expected:
            assert word in printed, (path, word)
