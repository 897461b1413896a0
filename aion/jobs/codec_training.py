# SPDX-License-Identifier: MIT
"""The stage that trains a codec: observations of several sources in, a codec out.

A run's folder holds `config.json`, `checkpoints/`, `metrics.jsonl`, `best/` (the codec
of the step with the best score on validation objects) and `codec/` (that of the last
step). Both are codec folders for `aion.load_codec`.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from aion.codec import Codec, codec_class, save_codec
from aion.config import to_dataclass, to_plain
from aion.errors import AionError, ConfigError
from aion.jobs.feeds import CodecData, Feeds, open_feeds
from aion.jobs.runs import Job, Stopped
from aion.train.codec_task import CodecTask
from aion.train.loop import LoopConfig, run
from aion.train.optimizer import OptimizerConfig
from aion.train.sharding import MeshConfig
from aion.train.step import TrainState
from aion.train.workdir import claim, write_whole

BEST, LAST, SCORE = "best", "codec", "best.json"

FORMAT = "aion.codec.checkpoint"
VERSION = 1


class Collapse(AionError):
    """The codes of a codec in training collapsed onto a few."""


@dataclass(frozen=True)
class Guard:
    """When a run is stopped because its codes collapse.

    Attributes:
        fraction: of the highest value so far, below which the run is stopped.
        armed: steps before the guard looks at all: untrained codes are spread widely,
            and most of that is noise.
    """

    fraction: float = 0.25
    armed: int = 500


def task_of(config: Mapping[str, Any]) -> CodecTask:
    """The task of a configuration with the part `codec`.

    Raises:
        ConfigError: no codec word, or a codec that is not trained.
    """
    settings = to_plain(config["codec"])
    word = settings.pop("word", None)
    if not word:
        raise ConfigError(
            "config.codec has no word", "Name the codec's class, such as word='image'."
        )
    cls = codec_class(word)
    if not hasattr(cls, "task"):
        raise ConfigError(f"codec {word!r} is not trained", "It is fitted or given.")
    return cls.task(settings)


def save_codec_whole(codec: Codec, folder: Path) -> None:
    """Writes a codec folder all or nothing, in place of one that is there."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_codec(codec, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


@dataclass
class CodecWatch:
    """Keeps the best codec of a run, and stops the run when its codes collapse.

    Attributes:
        task: of the run.
        workdir: the run's folder.
        guard: when to stop.
        best: the lowest score so far, and its step.
        highest: the largest value of the guarded number since the guard looks.
    """

    task: CodecTask
    workdir: Path
    guard: Guard
    best: dict[str, float] = field(default_factory=dict)
    highest: float = 0.0

    def __post_init__(self) -> None:
        path = self.workdir / SCORE
        if path.exists():
            self.best = json.loads(path.read_text())

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Looks at the guarded number.

        Raises:
            Collapse: it is below a fraction of its peak.
        """
        name = self.task.guarded
        value = values.get(name) if name else None
        if value is None:
            return
        if step < self.guard.armed:
            return
        self.highest = max(self.highest, value)
        if value < self.guard.fraction * self.highest:
            raise Collapse(
                f"{name} fell to {value:.4g} at step {step}, from {self.highest:.4g}: "
                "the codes collapse",
                "Lower optimizer.learning_rate, or start again with another "
                f"train.seed; the best codec so far is in {self.workdir / BEST}.",
            )

    def evaluated(
        self, step: int, values: Mapping[str, float], graph: Any, state: TrainState
    ) -> None:
        """Keeps the codec if its score is the best."""
        score = values.get(self.task.score)
        if score is None or score >= self.best.get("score", float("inf")):
            return
        self.best = {"score": float(score), "step": step}
        if jax.process_index() == 0:
            module = nnx.merge(graph, state.params, state.buffers)
            save_codec_whole(self.task.codec(module), self.workdir / BEST)
            write_whole(self.workdir / SCORE, json.dumps(self.best) + "\n")


@dataclass
class _Last:
    """Passes on what it is told, and writes the codec of the last step."""

    watch: CodecWatch
    steps: int

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        self.watch.logged(step, values)

    def evaluated(
        self, step: int, values: Mapping[str, float], graph: Any, state: TrainState
    ) -> None:
        self.watch.evaluated(step, values, graph, state)
        if step == self.steps and jax.process_index() == 0:
            module = nnx.merge(graph, state.params, state.buffers)
            save_codec_whole(self.watch.task.codec(module), self.watch.workdir / LAST)


def feeds_of(config: Mapping[str, Any], split: str = "train") -> Feeds:
    """The batches of a configuration's part `data`, of one split."""
    data = to_dataclass(CodecData, config["data"], "data")
    return open_feeds(data, task_of(config), split)


def train_codec(job: Job, *, quiet: bool = False) -> Mapping[str, float]:
    """Trains the codec of a run; goes on where it was stopped.

    Args:
        job: its config has the parts codec, data, optimizer, train, mesh and guard.
        quiet: no progress line.

    Returns:
        the last numbers of the run, and `best/score`, `best/step`.

    Raises:
        Stopped: the run was asked to stop; the same command goes on.
        Collapse: the codes collapsed.
        WorkdirError: the folder is another run's.
    """
    config = job.config
    task, loop = task_of(config), to_dataclass(LoopConfig, config["train"], "train")
    training, held = feeds_of(config), feeds_of(config, "validation")
    claim(job.workdir, config)
    guard = to_dataclass(Guard, config.get("guard", {}), "guard")
    watch = CodecWatch(task, job.workdir, guard)
    job.say(f"training codec {config['codec']['word']} for {loop.steps:,} steps")
    outcome = run(
        task,
        training.iterate,
        loop,
        to_dataclass(OptimizerConfig, config["optimizer"], "optimizer"),
        job.workdir,
        {"format": FORMAT, "version": VERSION, "config": to_plain(config)},
        to_dataclass(MeshConfig, config["mesh"], "mesh"),
        held.validation,
        _Last(watch, loop.steps),
        quiet=quiet,
    )
    if not outcome.finished:
        raise Stopped(
            f"stopped at step {outcome.step}, state saved",
            "The same command goes on from there.",
        )
    return {**outcome.metrics, **{f"best/{k}": v for k, v in watch.best.items()}}
