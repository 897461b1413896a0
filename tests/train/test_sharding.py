# SPDX-License-Identifier: MIT
"""The table from logical to mesh axes."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from aion.errors import ConfigError
from aion.train.sharding import MeshConfig, make_mesh, partition, to_devices


def mesh(replica=1, fsdp=4, tensor=2):
    return make_mesh(MeshConfig(replica, fsdp, tensor))


def test_letters_go_where_the_table_says():
    assert partition("df", (16, 32), mesh()) == PartitionSpec("fsdp", "tensor")
    assert partition("hkd", (2, 8, 16), mesh()) == PartitionSpec("tensor", None, "fsdp")


def test_a_stack_of_layers_has_one_dimension_in_front():
    spec = partition("df", (3, 16, 32), mesh())
    assert spec == PartitionSpec(None, "fsdp", "tensor")


def test_a_dimension_that_does_not_divide_is_replicated():
    assert partition("df", (18, 32), mesh()) == PartitionSpec(None, "tensor")


def test_two_letters_may_not_meet():
    with pytest.raises(ConfigError, match="meet on a mesh axis"):
        partition("fv", (16, 16), mesh())


def test_meshes_must_fit_the_devices_and_batches_the_mesh():
    with pytest.raises(ConfigError, match="on 8 devices"):
        make_mesh(MeshConfig(3, 1, 1))
    assert dict(make_mesh(MeshConfig(2, -1, 1)).shape) == {
        "replica": 2,
        "fsdp": 4,
        "tensor": 1,
    }
    with pytest.raises(ConfigError, match="a batch of 6 over 4 devices"):
        to_devices({"x": np.zeros((6, 2))}, mesh())
    placed = to_devices({"x": np.arange(8.0)}, mesh())["x"]
    assert isinstance(placed, jax.Array) and len(placed.sharding.device_set) == 8
