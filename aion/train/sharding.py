# SPDX-License-Identifier: MIT
"""Where arrays live: one table from logical axes to mesh axes.

Parameters carry the letters of their axes (`aion.model.layers`); a rule sends a letter
to an axis of the mesh (replica, fsdp, tensor). Two letters of one array must not land
on one mesh axis. A dimension that its mesh axis does not divide is replicated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aion.errors import ConfigError

BATCH = ("replica", "fsdp")
"""Mesh axes over which the batch is cut."""

RULES: Mapping[str, str] = MappingProxyType(
    {"d": "fsdp", "f": "tensor", "h": "tensor", "v": "tensor"}
)
"""Logical axis of a parameter to mesh axis; letters not named are replicated."""


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; fsdp = -1 takes those that are left.

    Attributes:
        replica: copies of the parameters; each takes its part of the batch.
        fsdp: devices that share one copy, cut along the width, and the batch.
        tensor: devices that share heads, hidden units and vocabulary.
    """

    replica: int = 1
    fsdp: int = -1
    tensor: int = 1


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over all devices, or those given.

    Raises:
        ConfigError: the axes do not multiply to the number of devices.
    """
    devices = list(devices if devices is not None else jax.devices())
    fsdp = config.fsdp
    if fsdp == -1:
        fsdp = max(1, len(devices) // (config.replica * config.tensor))
    shape = (config.replica, fsdp, config.tensor)
    if np.prod(shape) != len(devices):
        raise ConfigError(
            f"mesh replica x fsdp x tensor = {shape} on {len(devices)} devices",
            "Choose axes whose product is the number of devices, or fsdp=-1.",
        )
    grid = np.asarray(devices).reshape(shape)
    return Mesh(grid, (*BATCH, "tensor"), axis_types=(AxisType.Auto,) * 3)


def partition(
    axes: Sequence[str],
    shape: Sequence[int],
    mesh: Mesh,
    rules: Mapping[str, str] = RULES,
) -> PartitionSpec:
    """How a parameter is cut.

    Args:
        axes: its letters; a stack of layers has one dimension more, in front.
        shape: its shape.
        mesh: the mesh.
        rules: letter to mesh axis.

    Raises:
        ConfigError: two letters of the array go to one mesh axis.
    """
    letters = ["layer"] * (len(shape) - len(axes)) + list(axes)
    wanted = [rules.get(letter) for letter in letters]
    used = [axis for axis in wanted if axis]
    if len(set(used)) != len(used):
        raise ConfigError(
            f"axes {''.join(axes)} of one array meet on a mesh axis: {wanted}",
            "Change the sharding rules so that each mesh axis is used once.",
        )
    cut = [
        axis if axis and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(wanted, shape, strict=True)
    ]
    return PartitionSpec(*cut)


def shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """The sharding of each variable of a module's state, as a tree like it."""

    def of(variable: nnx.Variable) -> nnx.Variable:
        value = variable.get_value()
        axes = variable.get_metadata().get("axes", ())
        spec = partition(axes, value.shape, mesh) if axes else PartitionSpec()
        return variable.replace(NamedSharding(mesh, spec))

    return jax.tree.map(of, state, is_leaf=lambda x: isinstance(x, nnx.Variable))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def to_devices(batch: Any, mesh: Mesh) -> Any:
    """This process's rows of a batch as global arrays, cut over the batch axes.

    Raises:
        ConfigError: the batch cannot be cut evenly.
    """
    sharding = batch_sharding(mesh)
    parts = mesh.shape["replica"] * mesh.shape["fsdp"]
    rows = jax.tree.leaves(batch)[0].shape[0] * jax.process_count()
    if rows % parts:
        raise ConfigError(
            f"a batch of {rows} over {parts} devices",
            "Choose a batch that is a multiple of replica x fsdp.",
        )
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
