# SPDX-License-Identifier: MIT
"""Runs: they learn, repeat, resume exactly, and do not depend on the devices."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from aion.errors import AionError, ArtefactError
from aion.model.store import describe, load_model, read_meta, steps_of
from aion.train.loop import run
from aion.train.optimizer import OptimizerConfig
from aion.train.sharding import MeshConfig

ONE = MeshConfig(1, 1, 1)


@pytest.fixture
def go(problem, monkeypatch):
    """A function that trains into a folder and gives the losses by step."""

    def train(folder: Path, devices: int = 1, mesh: MeshConfig = ONE, **changes):
        folder.mkdir(exist_ok=True)
        passed = ("batches", "optimizer", "validation")
        own = {k: v for k, v in changes.items() if k in passed}
        loop = {k: v for k, v in changes.items() if k not in own}
        with monkeypatch.context() as patch:
            all_devices = jax.devices()
            patch.setattr(jax, "devices", lambda: all_devices[:devices])
            outcome = run(
                problem.task,
                own.get("batches", problem.batches),
                replace(problem.loop, **loop),
                own.get("optimizer", problem.optimizer),
                folder,
                describe(problem.model, problem.space),
                mesh,
                own.get("validation"),
                quiet=True,
            )
        return outcome, losses(folder)

    return train


def numbers(folder: Path, name: str) -> list[tuple[int, float]]:
    """Steps and values of a number of a run."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["step"], row[name]) for row in rows if name in row]


def losses(folder: Path) -> list[float]:
    return [value for _, value in numbers(folder, "loss")]


def held(folder: Path) -> list[tuple[int, float]]:
    """Steps and losses of the evaluations of a run."""
    return numbers(folder, "validation/loss")


def test_it_learns_and_the_same_seed_gives_the_same_losses(go, tmp_path):
    fast = OptimizerConfig(learning_rate=1e-2)
    long = {"steps": 150, "checkpoint_every": 0, "optimizer": fast}
    outcome, first = go(tmp_path / "a", **long)
    assert outcome.finished and len(first) == 150
    assert np.mean(first[-10:]) < 0.6 * np.mean(first[:10])
    assert {"nll/sum", "nll/two", "skipped", "tokens_per_second"} <= set(
        outcome.metrics
    )
    _, second = go(tmp_path / "b", **long)
    assert first == second
    _, other = go(tmp_path / "c", steps=3, seed=4)
    assert other[0] != first[0]


@pytest.mark.parametrize(
    ("devices", "mesh"),
    [
        (2, MeshConfig(1, 2, 1)),
        (8, MeshConfig(1, 8, 1)),
        (8, MeshConfig(2, 2, 2)),
    ],
)
def test_devices_do_not_change_the_losses(go, tmp_path, devices, mesh):
    _, expected = go(tmp_path / "one")
    _, found = go(tmp_path / "many", devices, mesh)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_accumulation_does_not_change_the_losses(go, tmp_path):
    _, expected = go(tmp_path / "whole")
    _, found = go(tmp_path / "parts", accumulate=4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("stop", [3, 6])
def test_stop_and_resume_equals_no_stop(go, problem, tmp_path, stop):
    def validation(start: int):
        yield problem.batch(99)

    held_out = {"evaluate_every": 3, "validation": validation}
    _, expected = go(tmp_path / "through", **held_out)

    def interrupted(start: int):
        for step, batch in enumerate(problem.batches(start), start + 1):
            if step == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    outcome, part = go(tmp_path / "stopped", batches=interrupted, **held_out)
    assert (outcome.step, outcome.finished) == (stop, False)
    assert steps_of(tmp_path / "stopped")[-1] == stop
    assert [step for step, _ in held(tmp_path / "stopped")] == [3][: stop // 3 - 1]
    outcome, whole = go(tmp_path / "stopped", **held_out)
    assert outcome.finished and part == expected[:stop]
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    evaluated = held(tmp_path / "through")
    assert [step for step, _ in evaluated] == [3, 6, 8]
    np.testing.assert_allclose(held(tmp_path / "stopped"), evaluated, rtol=1e-6)


def test_an_evaluation_cut_short_costs_no_step_and_is_made_up_for(
    go, problem, tmp_path
):
    """Evaluations at 2, 4, 6 and 8; checkpoints at 4 and 8."""
    waiting, done = [2, 4, 8], []

    def validation(start: int):
        del start
        done.append(len(losses(tmp_path / "killed")))
        if waiting and done[-1] == waiting[0]:
            waiting.pop(0)
            raise InterruptedError
        yield problem.batch(99)

    def whole(start: int):
        yield problem.batch(99)

    go(tmp_path / "through", evaluate_every=2, validation=whole)
    while waiting:
        with pytest.raises(InterruptedError):
            go(tmp_path / "killed", evaluate_every=2, validation=validation)
        saved = steps_of(tmp_path / "killed")
        assert (saved[-1] if saved else 0) == done[-1] // 4 * 4
    outcome, _ = go(tmp_path / "killed", evaluate_every=2, validation=validation)
    assert outcome.finished and "validation/loss" in outcome.metrics
    assert held(tmp_path / "killed") == held(tmp_path / "through")
    before = len(done)
    go(tmp_path / "killed", evaluate_every=2, validation=validation)
    assert len(done) == before  # nothing is owed


def test_resume_onto_other_devices(go, tmp_path):
    _, expected = go(tmp_path / "through")
    go(tmp_path / "moved", 8, MeshConfig(1, 8, 1), steps=8, checkpoint_every=3, keep=9)
    for step in (8, 6):
        folder = tmp_path / "moved" / "checkpoints" / str(step)
        subprocess.run(["rm", "-r", str(folder)], check=True)
    _, found = go(tmp_path / "moved", 2, MeshConfig(2, 1, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_steps_that_are_not_finite_are_skipped_counted_and_end_a_run(go, tmp_path):
    explode = OptimizerConfig(learning_rate=1e30, warmup=0.0, clip=0.0)
    with pytest.raises(AionError, match=r"not finite.*learning_rate"):
        go(tmp_path / "run", steps=40, patience=5, optimizer=explode)
    rows = [
        json.loads(line)
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert rows[-1]["skipped"] > 0


def test_a_finished_run_is_read_back_and_says_what_it_is(go, problem, tmp_path):
    go(tmp_path / "run")
    loaded = load_model(tmp_path / "run")
    assert loaded.metadata["step"] == 8 and loaded.space == problem.space
    example = problem.batch(100)
    nll = loaded.model.heads.nll(
        loaded.model.hidden(example.inputs, example.targets), example.targets
    )
    assert np.isfinite(np.asarray(nll)).all()
    assert loaded.metadata["format"] == "aion.checkpoint"
    with pytest.raises(ArtefactError, match=r"no checkpoint 99.*\[4, 8\]"):
        read_meta(tmp_path / "run", 99)
    with pytest.raises(ArtefactError, match="holds no checkpoint"):
        load_model(tmp_path)


PROGRAM = """
    import runpy, sys, time
    from pathlib import Path
    from dataclasses import replace
    from aion.model.store import describe
    from aion.train.loop import run
    from aion.train.sharding import MeshConfig

    toy = runpy.run_path(sys.argv[1])
    problem = toy["problem"].__wrapped__() if hasattr(toy["problem"], "__wrapped__") \\
        else toy["problem"]._get_wrapped_function()()
    folder = Path(sys.argv[2])
    slow = float(sys.argv[3])

    def batches(start):
        for batch in problem.batches(start):
            time.sleep(slow)
            yield batch

    loop = replace(problem.loop, steps=40, checkpoint_every=1, keep=3)
    run(problem.task, batches, loop, problem.optimizer, folder,
        describe(problem.model, problem.space), MeshConfig(1, 1, 1), quiet=True)
"""


def said(folder: Path) -> str:
    """What the programs of a folder wrote to their standard error."""
    return folder.with_suffix(".log").read_text()


def start(folder: Path, slow: float) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    toy = Path(__file__).with_name("conftest.py")
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "tokenizers")])
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), toy, folder, str(slow)]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": path, "XLA_FLAGS": ""},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def test_kill_9_at_any_moment_costs_at_most_the_steps_since_a_checkpoint(tmp_path):
    """Every step saves, so that kills fall into saves as well as into steps."""
    through = start(tmp_path / "through", 0.0)
    folder = tmp_path / "killed"
    for number in range(3):
        process = start(folder, 0.05)
        before = steps_of(folder)[-1] if steps_of(folder) else 0
        limit = time.monotonic() + 120
        while (steps_of(folder) or [0])[-1] < before + 3 + number:
            assert process.poll() is None, said(folder)
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert steps_of(folder)[-1] >= before + 3
    last = start(folder, 0.0)
    assert last.wait(timeout=200) == 0, said(folder)
    assert through.wait(timeout=200) == 0, said(tmp_path / "through")
    np.testing.assert_allclose(losses(folder), losses(tmp_path / "through"), rtol=1e-6)
    leftovers = [p.name for p in (folder / "checkpoints").iterdir() if "tmp" in p.name]
    assert leftovers == []
