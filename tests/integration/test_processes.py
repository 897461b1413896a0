# SPDX-License-Identifier: MIT
"""Two processes that train together give the losses of one, stop and resume included.

They find each other with `jax.distributed`, talk through gloo, and each makes its own
rows of every global batch.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "train" / "conftest.py"
# Arguments: folder, port, number of processes, rank, steps until a stop (0: none),
# devices of a process on the axes replica and tensor, folder of messages.
PROGRAM = """
import json, os, runpy, signal, sys
from dataclasses import replace
from pathlib import Path

import jax

folder, port, count, rank, stop, replica, tensor = sys.argv[1], *map(int, sys.argv[2:])
if count > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)

from aion.model.store import describe
from aion.train.loop import run
from aion.train.sharding import MeshConfig

toy = runpy.run_path(os.environ["TOY"])
problem = toy["problem"]._get_wrapped_function()()

def batches(start):
    for step, batch in enumerate(problem.batches(start), start + 1):
        if step == stop and rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        rows = toy["ROWS"] // count
        yield jax.tree.map(lambda x: x[rank * rows : (rank + 1) * rows], batch)

outcome = run(
    problem.task, batches, replace(problem.loop, checkpoint_every=3, **STEPS),
    problem.optimizer, Path(folder), describe(problem.model, problem.space),
    MeshConfig(replica, -1, tensor), quiet=True,
)
print(json.dumps({"step": outcome.step, "finished": outcome.finished}))
"""


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Trains into a folder with some processes; gives their outcomes, one for each."""

    def train(folder, processes, *, devices=1, stop=0, replica=1, tensor=1, steps=8):
        folder.mkdir(exist_ok=True)
        port, path = free_port(), os.pathsep.join([str(ROOT), str(ROOT / "tokenizers")])
        flag = f"--xla_force_host_platform_device_count={devices}"
        own = {"PYTHONPATH": path, "XLA_FLAGS": flag, "TOY": str(TOY)}
        program = PROGRAM.replace("**STEPS", f"steps={steps}")
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(folder)]
                + [str(x) for x in (port, processes, rank, stop, replica, tensor)],
                env=os.environ | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        try:
            ended = [process.communicate(timeout=300) for process in started]
        finally:
            for process in started:
                process.kill()
        for process, (_, error) in zip(started, ended, strict=True):
            assert process.returncode == 0, error[-3000:]
        return [json.loads(out.splitlines()[-1]) for out, _ in ended]

    return train


def losses(folder: Path) -> dict[int, float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    assert len(dict(found)) == len(found), "each step is written once"
    return dict(found)


def same(one: dict[int, float], two: dict[int, float]) -> None:
    assert list(one) == list(two)
    np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-5)


@pytest.fixture(scope="module")
def alone(go, tmp_path_factory) -> dict[int, float]:
    """The losses of one process with one device."""
    folder = tmp_path_factory.mktemp("alone")
    assert go(folder, 1) == [{"step": 8, "finished": True}]
    found = losses(folder)
    assert list(found) == list(range(1, 9))
    return found


def test_two_processes_give_the_losses_of_one(go, alone, tmp_path):
    assert go(tmp_path, 2) == [{"step": 8, "finished": True}] * 2
    same(losses(tmp_path), alone)


def test_two_processes_of_two_devices_on_three_axes(go, alone, tmp_path):
    assert go(tmp_path, 2, devices=2, replica=2, tensor=2)[0]["finished"]
    same(losses(tmp_path), alone)


def test_two_processes_stop_at_the_same_step_and_go_on(go, alone, tmp_path):
    first, second = go(tmp_path, 2, stop=4, steps=8)
    assert first == second, "both stop at the same step"
    assert not first["finished"] and 4 <= first["step"] < 8
    part = losses(tmp_path)
    same(part, {step: alone[step] for step in part})
    assert go(tmp_path, 2) == [{"step": 8, "finished": True}] * 2
    same(losses(tmp_path), alone)


def test_what_two_processes_began_one_finishes(go, alone, tmp_path):
    first, _ = go(tmp_path, 2, stop=4)
    assert not first["finished"]
    assert go(tmp_path, 1) == [{"step": 8, "finished": True}]
    same(losses(tmp_path), alone)
