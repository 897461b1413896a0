# SPDX-License-Identifier: MIT
"""Checkpoints by Orbax: asynchronous, atomic, restored onto any mesh.

A step's folder has four items: `model` (parameters and buffers), `optimizer`,
`progress` (JSON: step and data position) and `meta` (JSON, see `aion.model.store`). A
killed save leaves a temporary folder that is never taken for a checkpoint and is
removed by the next run.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx

from aion.model.store import CHECKPOINTS
from aion.train.step import TrainState


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the run's folder.
        meta: content of the item `meta`.
        keep: how many of the last ones are kept.
    """

    def __init__(self, folder: Path, meta: Mapping[str, Any], keep: int = 2) -> None:
        self._meta = dict(meta)
        self._manager = ocp.CheckpointManager(
            (folder / CHECKPOINTS).resolve(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=True,
            ),
            item_names=("model", "optimizer", "progress", "meta"),
        )

    def latest(self) -> int | None:
        """The last whole step, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int) -> None:
        """Starts to save; returns when the arrays were copied."""
        if step == self._manager.latest_step():
            return
        # Orbax writes in the background while the next step reuses these buffers.
        model = nnx.merge_state(state.params, state.buffers)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardSave(model),
                optimizer=ocp.args.StandardSave(state.optimizer),
                progress=ocp.args.JsonSave({"step": step, "next_batch": step}),
                meta=ocp.args.JsonSave(self._meta),
            ),
            force=True,
        )

    def restore(self, state: TrainState, where: TrainState) -> tuple[TrainState, int]:
        """The last state and the next batch, placed as `where` says.

        Args:
            state: shapes of the state.
            where: its shardings.
        """
        step = self._manager.latest_step()
        wanted = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            replace(state, step=None),
            replace(where, step=None),
        )
        got = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(
                    nnx.merge_state(wanted.params, wanted.buffers)
                ),
                optimizer=ocp.args.StandardRestore(wanted.optimizer),
                progress=ocp.args.JsonRestore(),
            ),
        )
        params, buffers = nnx.split_state(got["model"], nnx.Param, ...)
        count = jax.device_put(jax.numpy.int32(got["progress"]["step"]), where.step)
        restored = TrainState(params, buffers, got["optimizer"], count)
        return restored, int(got["progress"]["next_batch"])

    def stop_requested(self, step: int) -> bool:
        """True when the scheduler asked to stop, on all hosts of a run alike."""
        return jax.process_count() > 1 and self._manager.reached_preemption(step)

    def close(self) -> None:
        """Waits for the save under way."""
        self._manager.wait_until_finished()
        self._manager.close()
