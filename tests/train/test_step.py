# SPDX-License-Identifier: MIT
"""What a loss writes to variables that are not trained goes on to the next step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aion.train.optimizer import OptimizerConfig, make_optimizer
from aion.train.sharding import MeshConfig, make_mesh
from aion.train.step import init_state, make_step
from aion_tokenizers.codebook import VQ, VectorQuantizer

CONFIG = VQ(num_codes=4, dimension=2, cosine=False, decay=0.5)


class Coder(nnx.Module):
    """A matrix and a codebook."""

    def __init__(self, rngs):
        self.weight = nnx.Param(jnp.eye(2))
        self.book = VectorQuantizer(CONFIG, rngs)


class CodebookTask:
    """Latents near their codes."""

    def build(self, key):
        return Coder(nnx.Rngs(params=key))

    def prepare(self, batch):
        return batch | {"share": jnp.full(len(batch["x"]), 1 / len(batch["x"]))}

    def loss(self, module, part, key, mesh):
        latent = part["x"] @ module.weight[...]
        found = module.book(latent)
        module.book.follow(latent, key)
        each = jnp.mean(jnp.square(found.values - part["x"]), axis=-1)
        return jnp.sum(each * part["share"]) + found.loss, {"counts": found.counts}

    def report(self, sums):
        return {}

    def size(self, batch):
        return len(batch["x"])


def begin(accumulate, kind="adamw"):
    mesh = make_mesh(MeshConfig())
    optimizer = make_optimizer(OptimizerConfig(kind=kind, learning_rate=0.01), 10)
    graph, state = init_state(CodebookTask(), optimizer, jax.random.key(0), mesh)
    step = make_step(CodebookTask(), optimizer, graph, mesh, accumulate)
    return state, step


def vectors(state):
    return np.array(state.buffers["book"]["vectors"][...])


def batch(seed=0):
    return {"x": np.random.default_rng(seed).normal(3, 1, (8, 2)).astype(np.float32)}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_codebook_follows_the_latents(accumulate, kind):
    state, step = begin(accumulate, kind)
    far = np.abs(vectors(state) - 3).max()
    for number in range(8):
        state, metrics = step(state, batch(number), jax.random.key(1))
    assert np.abs(vectors(state) - 3).max() < min(far, 2.5)
    assert int(state.step) == 8 and float(metrics["sums"]["counts"].sum()) == 8


def test_a_step_that_is_skipped_leaves_the_codebook():
    state, step = begin(1)
    before = vectors(state)
    broken = batch()
    broken["x"][0, 0] = np.nan
    state, metrics = step(state, broken, jax.random.key(1))
    assert int(metrics["skipped"]) == 1
    np.testing.assert_array_equal(vectors(state), before)
