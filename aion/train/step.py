# SPDX-License-Identifier: MIT
"""One training step: gradient of the task's loss, update, sums to report."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from aion.train.sharding import shardings
from aion.train.task import Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that a step changes, and the buffers that it reads."""

    params: Any  # nnx.State of trained parameters
    buffers: Any  # nnx.State of everything else in the module
    optimizer: Any  # optax state
    step: Any  # int32 [], steps done


def init_state(
    task: Task, optimizer: optax.GradientTransformation, key: Array, mesh: Mesh
) -> tuple[Any, TrainState]:
    """The module's graph and the initial state, sharded by the rules from birth."""
    graph, state, placed = abstract_state(task, optimizer, mesh)
    del state

    def build(key: Array) -> TrainState:
        _, params, buffers = nnx.split(task.build(key), nnx.Param, ...)
        return TrainState(params, buffers, optimizer.init(params), jnp.int32(0))

    return graph, jax.jit(build, out_shardings=placed)(key)


def abstract_state(
    task: Task, optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[Any, TrainState, TrainState]:
    """The module's graph, the state as shapes, and its shardings; allocates nothing."""
    module = nnx.eval_shape(lambda: task.build(jax.random.key(0)))
    graph, params, buffers = nnx.split(module, nnx.Param, ...)
    placed = shardings(params, mesh)
    moments = jax.eval_shape(optimizer.init, params)
    everywhere = NamedSharding(mesh, PartitionSpec())
    # Moments lie where their parameters lie, found by path: an optimizer may treat some
    # parameters only. What is no parameter's (counters) is everywhere.
    by_path = dict(jax.tree_util.tree_flatten_with_path(placed)[0])

    def place(path: tuple, _: Any) -> Any:
        ends = (path[start:] for start in range(len(path)))
        return next((by_path[end] for end in ends if end in by_path), everywhere)

    like = jax.tree_util.tree_map_with_path(place, moments)
    state = TrainState(params, buffers, moments, jax.ShapeDtypeStruct((), jnp.int32))
    where = TrainState(placed, shardings(buffers, mesh), like, everywhere)
    return graph, state, where


def _parts(batch: Any, count: int) -> Any:
    return jax.tree.map(
        lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch
    )


def _accumulated(gradient: Callable, buffers: Any, parts: Any, keys: Array) -> Any:
    """Sums of ((loss, sums), gradient) over parts of a batch, and the last buffers."""

    def run(buffers: Any, part: Any, key: Array) -> Any:
        (value, (sums, moved)), grads = gradient(buffers, part, key)
        return ((value, sums), grads), moved

    first = jax.tree.map(lambda x: x[0], parts)
    shapes, _ = jax.eval_shape(run, buffers, first, keys[0])
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def body(carry: Any, part: Any) -> tuple[Any, None]:
        total, buffers = carry
        found, buffers = run(buffers, *part)
        return (jax.tree.map(jnp.add, total, found), buffers), None

    return jax.lax.scan(body, (zero, buffers), (parts, keys))[0]


def make_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    graph: Any,
    mesh: Mesh,
    accumulate: int = 1,
) -> Callable[[TrainState, Any, Array], tuple[TrainState, dict[str, Array]]]:
    """The jitted step (state, batch, key) -> (state, metrics).

    Args:
        task: what is trained.
        optimizer: from `make_optimizer`.
        graph: the module's graph from `init_state`.
        mesh: the mesh of the state.
        accumulate: parts that the batch is cut into, to save memory.

    Metrics are `loss`, `gradient_norm`, and the sums of the task. What the loss writes
    to variables that are no parameters (the averages of a codebook) is carried on, but
    for steps that are skipped; the state is donated.
    """

    def loss(params: Any, buffers: Any, part: Any, key: Array) -> Any:
        module = nnx.merge(graph, params, buffers, copy=True)
        value, sums = task.loss(module, part, key, mesh)
        _, _, moved = nnx.split(module, nnx.Param, ...)
        return (value, (sums, moved))

    gradient = jax.value_and_grad(loss, has_aux=True)

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, batch: Any, key: Array) -> Any:
        prepared = task.prepare(batch)
        key = jax.random.fold_in(key, state.step)
        params, buffers = state.params, state.buffers
        if accumulate == 1:
            (value, (sums, moved)), grads = gradient(params, buffers, prepared, key)
        else:
            parts = _parts(prepared, accumulate), jax.random.split(key, accumulate)
            run = partial(gradient, params)
            ((value, sums), grads), moved = _accumulated(run, buffers, *parts)
        updated: Any = optimizer.update(grads, state.optimizer, state.params)
        updates, moments = updated
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": value,
            "gradient_norm": optax.tree.norm(grads),
            "skipped": moments.total_notfinite,
            "skipped_in_a_row": moments.notfinite_count,
            "sums": sums,
        }
        skipped = moments.notfinite_count > 0
        kept = jax.tree.map(
            lambda old, new: jnp.where(skipped, old, new), buffers, moved
        )
        return TrainState(params, kept, moments, state.step + 1), metrics

    return step


def make_evaluation(task: Task, graph: Any, mesh: Mesh) -> Callable:
    """The jitted evaluation (state, batch) -> metrics; nothing is random."""

    @jax.jit
    def evaluate(state: TrainState, batch: Any) -> dict[str, Any]:
        module = nnx.merge(graph, state.params, state.buffers)
        value, sums = task.loss(module, task.prepare(batch), None, mesh)
        return {"loss": value, "sums": sums}

    return evaluate
