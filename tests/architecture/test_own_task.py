# SPDX-License-Identifier: MIT
"""The training loop takes a task of one's own, as codecs to be trained will be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.architecture.toy_extensions import Line

from aion.train.loop import LoopConfig, run
from aion.train.optimizer import OptimizerConfig


def points(start: int):
    while True:
        x = np.random.default_rng([1, start]).uniform(-1, 1, 16).astype(np.float32)
        yield {"x": x, "y": 2 * x - 1}
        start += 1


def fit_line(folder: Path, batches=points, **changes):
    folder.mkdir(exist_ok=True)
    outcome = run(
        Line(),
        batches,
        replace(LoopConfig(80, log_every=1, checkpoint_every=20), **changes),
        OptimizerConfig(learning_rate=0.15, weight_decay=0.0, clip=0.0),
        folder,
        {"what": "a line"},
        validation=lambda start: (b for b, _ in zip(points(999), "ab", strict=False)),
        quiet=True,
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return outcome, [row["loss"] for row in rows if "loss" in row]


def test_a_task_of_ones_own_is_trained_by_the_same_loop(tmp_path):
    outcome, losses = fit_line(tmp_path / "whole", evaluate_every=80)
    assert outcome.finished and len(losses) == 80
    assert losses[-1] < 1e-2 * losses[0]
    assert outcome.metrics["slope"] == pytest.approx(2, abs=0.05)
    assert outcome.metrics["validation/error"] < 1e-2
    _, parts = fit_line(tmp_path / "parts", accumulate=4)
    np.testing.assert_allclose(parts, losses, rtol=1e-4, atol=1e-6)


def test_a_task_of_ones_own_goes_on_after_a_crash(tmp_path):
    _, through = fit_line(tmp_path / "through")

    def failing(start):
        for step, batch in enumerate(points(start), start):
            if step == 33:
                raise OSError("the disk is gone")
            yield batch

    with pytest.raises(OSError, match="disk"):
        fit_line(tmp_path / "crashed", failing)
    seen = []

    def watched(start):
        seen.append(start)
        yield from points(start)

    outcome, losses = fit_line(tmp_path / "crashed", watched)
    assert seen == [20], "goes on from the last checkpoint"
    assert outcome.finished
    np.testing.assert_allclose(losses, through, rtol=1e-6)
