# SPDX-License-Identifier: MIT
"""Numbers of a run: a progress line, `metrics.jsonl` and TensorBoard event files."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

METRICS = "metrics.jsonl"
VALIDATION = "validation/"
"""What the names of numbers on validation batches begin with."""


def _rows(path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Lines of the file and the numbers in them, but for torn ones."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            row["step"]
        except (ValueError, KeyError):
            continue
        yield line, row


def was_evaluated(folder: Path, step: int | None) -> bool:
    """Whether a run's file has numbers on validation batches at a step (None: yes)."""
    if step is None:
        return True
    rows = (row for _, row in _rows(folder / METRICS) if row["step"] == step)
    return any(name.startswith(VALIDATION) for row in rows for name in row)


def _keep_until(path: Path, step: int) -> None:
    """Drops lines after a step (a resumed run writes them again) and torn lines."""
    if not path.exists():
        return
    kept = [line for line, row in _rows(path) if row["step"] <= step]
    path.write_text("".join(f"{line}\n" for line in kept))


class Recorder:
    """Writes the numbers of a run; a context manager.

    Args:
        folder: the run's folder.
        start: the step that the run goes on from.
        steps: the step that it ends at.
        quiet: no progress line.
        writes: False on all processes of a run but one: they share the folder.
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        *,
        quiet: bool = False,
        writes: bool = True,
    ) -> None:
        from tensorboardX import SummaryWriter

        self._path = folder / METRICS
        self._board = None
        if writes:
            _keep_until(self._path, start)
            self._board = SummaryWriter(
                str(folder / "tensorboard"), purge_step=start + 1, flush_secs=10
            )
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._progress.add_task(
            "steps", total=steps, completed=start, note=""
        )
        self._clock = time.perf_counter()
        self._work = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def advance(self, step: int, work: int) -> None:
        """One step done, of `work` tokens."""
        self._work += work
        self._progress.update(self._task, completed=step)

    def rate(self) -> float:
        """Tokens per second since the last call."""
        now = time.perf_counter()
        rate = self._work / max(now - self._clock, 1e-9)
        self._clock, self._work = now, 0
        return rate

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends the numbers of a step."""
        if self._board is None:
            return
        row = {"step": step, **{k: float(v) for k, v in values.items()}}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self._board.add_scalar(name, value, step)
        parts = [f"loss {row['loss']:.3f}"] if "loss" in row else []
        if "tokens_per_second" in row:
            parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
        if parts:
            self._progress.update(self._task, note="  ".join(parts))
