# SPDX-License-Identifier: MIT
"""Schedule, decay and skipped steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aion.errors import ConfigError
from aion.train.optimizer import OptimizerConfig, decayed, make_optimizer, schedule


def test_warm_up_and_cosine():
    rate = schedule(OptimizerConfig(learning_rate=2.0, warmup=0.1, final=0.1), 100)
    values = [float(rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0.0, 1.0, 2.0, 1.1, 0.2], rtol=1e-5)
    with pytest.raises(ConfigError, match="warm-up"):
        schedule(OptimizerConfig(warmup=1.0), 10)


def test_norms_biases_and_embeddings_are_not_decayed(problem):
    module = problem.task.build(jax.random.key(0))
    params = nnx.state(module, nnx.Param)
    flags = jax.tree_util.tree_flatten_with_path(decayed(params))[0]
    by_name = {jax.tree_util.keystr(path): flag for path, flag in flags}
    off = [name for name, flag in by_name.items() if not flag]
    assert all(any(w in n for w in ("scale", "bias", "embedding")) for n in off)
    assert any("codes" in n for n in off) and any("norm1" in n for n in off)
    on = [name for name, flag in by_name.items() if flag]
    assert any("qkv" in n for n in on) and any("gate" in n for n in on)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(bad):
    optimizer = make_optimizer(OptimizerConfig(), 10)
    params = {"kernel": jnp.ones(3)}
    state = optimizer.init(params)
    grads = {"kernel": jnp.array([1.0, bad, 1.0])}
    updated: Any = optimizer.update(grads, state, params)
    updates, state = updated
    assert not np.asarray(updates["kernel"]).any()
    assert int(state.total_notfinite) == 1 and int(state.notfinite_count) == 1
    updates, state = optimizer.update({"kernel": jnp.ones(3)}, state, params)
    assert int(state.notfinite_count) == 0 and int(state.total_notfinite) == 1
