# SPDX-License-Identifier: MIT
"""Functions of a batch, some objects at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aion.train.sharding import MeshConfig, make_mesh, to_devices
from aion_tokenizers import batches
from aion_tokenizers.batches import cached, in_batches, in_pieces


def running(pair, other):
    """Something of each object that no other one has a say in."""
    mean = jnp.cumsum(pair["x"], axis=-1) * other[:, None]
    return {"mean": mean, "count": pair["n"] + 1}


def made(count: int):
    rng = np.random.default_rng(count)
    pair = {
        "x": rng.normal(size=(count, 5)).astype(np.float32),
        "n": np.arange(count, dtype=np.int32),
    }
    return pair, rng.normal(size=count).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 7, 12, 37, 64])
def test_pieces_are_the_whole(count):
    parts = made(count)
    whole = running(*jax.tree.map(jnp.asarray, parts))
    found = jax.jit(lambda *p: in_pieces(running, *p))(*parts)
    for name in whole:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-6)


def test_no_call_gets_more_than_fits(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    sizes = []

    def seen(x):
        sizes.append(x.shape[0])
        return 2 * x

    np.testing.assert_array_equal(in_pieces(seen, jnp.arange(24.0)), 2 * np.arange(24))
    assert max(sizes) == cached() < 24
    sizes.clear()
    assert len(in_batches(seen, np.arange(21.0), largest=8)) == 21
    assert max(sizes) <= 8


def test_every_device_has_its_share_of_a_piece(monkeypatch):
    monkeypatch.setattr(batches, "cached", lambda: 1)
    parts = made(4 * jax.device_count())
    there = to_devices(parts, make_mesh(MeshConfig()))
    assert len(there[1].sharding.device_set) == jax.device_count() > 1
    run = jax.jit(lambda *p: in_pieces(running, *p))
    found, text = run(*there), run.lower(*there).compile().as_text()
    whole = running(*jax.tree.map(jnp.asarray, parts))
    np.testing.assert_allclose(found["mean"], whole["mean"], rtol=1e-6)
    assert "all-gather" not in text and "all-to-all" not in text
