# SPDX-License-Identifier: MIT
"""The loop: batches in, checkpoints and numbers out, the same for every task.

The batch of a step is a pure function of the seed and the step, and so is the key of
its randomness. A run that was stopped therefore goes on exactly.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from aion.errors import AionError
from aion.train.checkpoint import Checkpoints
from aion.train.metrics import VALIDATION, Recorder, was_evaluated
from aion.train.optimizer import OptimizerConfig, make_optimizer, schedule
from aion.train.sharding import MeshConfig, make_mesh, to_devices
from aion.train.step import (
    TrainState,
    abstract_state,
    init_state,
    make_evaluation,
    make_step,
)
from aion.train.task import Task

Batches = Callable[[int], Iterator[Any]]
"""From the first step wanted to an iterator over the batches of this process."""


@runtime_checkable
class Watch(Protocol):
    """Looks on while a run trains; may end it by raising an `AionError`."""

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Told the numbers of the last steps."""
        ...

    def evaluated(
        self, step: int, values: Mapping[str, float], graph: Any, state: TrainState
    ) -> None:
        """Told the numbers on validation batches, and the module they belong to."""
        ...


@dataclass(frozen=True)
class LoopConfig:
    """How long a run is, and what it writes when.

    Attributes:
        steps: number of steps.
        seed: seeds parameters and dropout.
        accumulate: parts that a batch is cut into.
        log_every, evaluate_every, checkpoint_every: steps between; 0 is never.
        keep: checkpoints that are kept.
        patience: steps in a row that may be skipped for a gradient that is not finite.
    """

    steps: int
    seed: int = 0
    accumulate: int = 1
    log_every: int = 20
    evaluate_every: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    patience: int = 20


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: steps done in all.
        finished: False when it was asked to stop; its state is saved.
        metrics: the last numbers.
    """

    step: int
    finished: bool
    metrics: Mapping[str, float]


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that a run saves before it ends.

    With several hosts JAX's preemption service takes SIGTERM instead.
    """
    asked = threading.Event()
    alone = threading.current_thread() is threading.main_thread()
    if not alone or jax.process_count() > 1:
        yield asked
        return
    before = {
        s: signal.signal(s, lambda *_: asked.set())
        for s in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sum_metrics(task: Task, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Numbers to report from the metrics of several steps: means, and sums by name."""
    rows = jax.device_get(rows)
    values = {
        key: float(sum(r[key] for r in rows) / len(rows))
        for key in ("loss", "gradient_norm")
        if key in rows[0]
    }
    totals = jax.tree.map(lambda *x: sum(x), *[r["sums"] for r in rows])
    return values | task.report(totals)


def _check_finite(row: Mapping[str, Any], patience: int, step: int) -> None:
    if int(row["skipped_in_a_row"]) > patience:
        raise AionError(
            f"{int(row['skipped_in_a_row'])} steps in a row up to step {step} had a "
            "gradient that is not finite",
            "Lower optimizer.learning_rate, set optimizer.clip, or look for infinite "
            "values in the data; the last checkpoint is intact.",
        )


@dataclass
class _Run:
    """A run under way: what the loop needs at each step."""

    task: Task
    config: LoopConfig
    state: TrainState
    mesh: Mesh
    step: Callable
    evaluation: Callable
    rate: Callable[[int], Any]
    checkpoints: Checkpoints
    recorder: Recorder
    validation: Batches | None
    graph: Any
    watch: Watch | None

    def log(self, step: int, rows: list[dict[str, Any]]) -> dict[str, float]:
        """Writes the numbers of the last steps."""
        values = _sum_metrics(self.task, rows)
        values["skipped"] = float(rows[-1]["skipped"])
        values["learning_rate"] = float(self.rate(step))
        values["tokens_per_second"] = self.recorder.rate()
        _check_finite(jax.device_get(rows[-1]), self.config.patience, step)
        self.recorder.write(step, values)
        if self.watch is not None:
            self.watch.logged(step, values)
        return values

    def evaluate(self, step: int) -> dict[str, float]:
        """Loss on validation batches, the same ones each time."""
        if self.validation is None:
            return {}
        rows = [
            self.evaluation(self.state, to_devices(batch, self.mesh))
            for batch in self.validation(0)
        ]
        values = _sum_metrics(self.task, rows)
        if self.watch is not None:
            self.watch.evaluated(step, values, self.graph, self.state)
        named = {f"{VALIDATION}{k}": v for k, v in values.items()}
        self.recorder.write(step, named)  # last: a resumed run looks for it
        return named


def run(
    task: Task,
    batches: Batches,
    config: LoopConfig,
    optimizer_config: OptimizerConfig,
    workdir: Path,
    meta: Mapping[str, Any],
    mesh_config: MeshConfig | None = None,
    validation: Batches | None = None,
    watch: Watch | None = None,
    *,
    quiet: bool = False,
) -> Outcome:
    """Trains until the last step, or until asked to stop; resumes what is there.

    Args:
        task: what is trained.
        batches: gives an iterator over batches from a step on.
        config: length and cadence.
        optimizer_config: optimizer and schedule.
        workdir: the run's folder; a checkpoint in it is resumed.
        meta: what is stored with each checkpoint (see `aion.model.store.describe`).
        mesh_config: devices per mesh axis.
        validation: gives an iterator over the validation batches.
        watch: looks on, and may stop the run.
        quiet: no progress line.

    Raises:
        AionError: too many steps in a row were not finite.
    """
    mesh = make_mesh(mesh_config or MeshConfig())
    optimizer = make_optimizer(optimizer_config, config.steps)
    checkpoints = Checkpoints(workdir, meta, config.keep)
    key = jax.random.key(config.seed)
    # Read before the state is restored, which all processes wait for: the first one
    # then writes the file again.
    evaluated = was_evaluated(workdir, checkpoints.latest())
    new = jax.random.fold_in(key, 0)
    graph, state, start = _begin(task, optimizer, checkpoints, new, mesh)
    first = jax.process_index() == 0
    silent = quiet or not first
    with Recorder(workdir, start, config.steps, quiet=silent, writes=first) as recorder:
        going = _Run(
            task,
            config,
            state,
            mesh,
            make_step(task, optimizer, graph, mesh, config.accumulate),
            make_evaluation(task, graph, mesh),
            schedule(optimizer_config, config.steps),
            checkpoints,
            recorder,
            validation,
            graph,
            watch,
        )
        try:
            return _loop(going, batches, start, jax.random.fold_in(key, 1), evaluated)
        finally:
            checkpoints.close()


def _begin(
    task: Task, optimizer: Any, checkpoints: Checkpoints, key: Any, mesh: Mesh
) -> tuple[Any, TrainState, int]:
    """Graph, state and step of a new run, or of the last checkpoint."""
    if checkpoints.latest() is None:
        graph, state = init_state(task, optimizer, key, mesh)
        return graph, state, 0
    graph, shapes, where = abstract_state(task, optimizer, mesh)
    state, start = checkpoints.restore(shapes, where)
    return graph, state, start


def _loop(
    going: _Run, batches: Batches, start: int, key: Any, evaluated: bool
) -> Outcome:
    """Steps from `start` on; first the evaluation that a killed run still owes."""
    config, rows, last = going.config, [], {}
    done, stopped = start, False

    def due(every: int) -> bool:
        return bool(every) and (done % every == 0 or done == config.steps)

    with _stop_signals() as asked:
        if due(config.evaluate_every) and not evaluated:
            last = going.evaluate(done)
        iterator = batches(start) if start < config.steps else iter(())
        while done < config.steps and not stopped:
            batch = next(iterator)
            work = going.task.size(batch)
            going.state, metrics = going.step(
                going.state, to_devices(batch, going.mesh), key
            )
            done += 1
            rows.append(metrics)
            going.recorder.advance(done, work)
            if due(config.log_every):
                last, rows = last | going.log(done, rows), []
            stopped = asked.is_set() or going.checkpoints.stop_requested(done)
            if due(config.checkpoint_every) or stopped or done == config.steps:
                going.checkpoints.save(going.state, done)
            if due(config.evaluate_every) and (not stopped or done == config.steps):
                last = last | going.evaluate(done)
    return Outcome(done, done >= config.steps, last)
