# SPDX-License-Identifier: MIT
"""Heads against a dense softmax in numpy, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from aion.model.config import ModelConfig
from aion.model.heads import Heads, _group, token_nll
from aion.tokens import TokenBatch


def reference_nll(space, table, hidden, targets) -> np.ndarray:
    """Every target by itself: full logits, then only the codes of its slot."""
    out = np.zeros(targets.codes.shape)
    logits = np.asarray(hidden, np.float64) @ np.asarray(table, np.float64).T
    for place in np.ndindex(*targets.codes.shape):
        row = int(targets.modality[place])
        if row < 0:
            continue
        slot = space.slot_offsets[row] + int(targets.position[place])
        start, (low, high) = space.code_offsets[row], space.slot_ranges[slot]
        own = logits[place][start + low : start + high]
        out[place] = logsumexp(own) - own[int(targets.codes[place]) - low]
    return out


def heads_of(space, head: str, block: int = 8) -> Heads:
    config = ModelConfig(16, 1, 1, 2, 32, head=head, head_block=block)
    return Heads(config, space, nnx.Rngs(0))


@pytest.mark.parametrize("head", ["grouped", "masked_dense"])
@pytest.mark.parametrize("block", [4, 128])
def test_nll_equals_a_dense_softmax(space, draw, head, block):
    heads = heads_of(space, head, block)
    targets = draw(6, 7, seed=3)
    hidden = jax.random.normal(jax.random.key(1), (6, 7, 16))
    nll = heads.nll(hidden, targets)
    expected = reference_nll(space, heads.table(), hidden, targets)
    np.testing.assert_allclose(nll, expected, rtol=2e-6, atol=2e-6)


def test_gradients_of_both_heads_agree_with_automatic_ones(space, draw):
    targets = draw(5, 9, seed=4)
    hidden = jax.random.normal(jax.random.key(2), (5, 9, 16))
    weights = jax.random.uniform(jax.random.key(3), (5, 9))

    def plain(table, hidden):
        logits = jnp.einsum("bmd,vd->bmv", hidden, table)
        row = jnp.maximum(jnp.asarray(targets.modality), 0)
        first = jnp.asarray(space.code_offsets[:-1])[row]
        slot = jnp.asarray(space.slot_offsets[:-1])[row] + targets.position
        ranges = jnp.asarray(space.slot_ranges)[slot] + first[..., None]
        code = jnp.arange(table.shape[0])
        inside = (code >= ranges[..., :1]) & (code < ranges[..., 1:])
        total = jax.nn.logsumexp(jnp.where(inside, logits, -jnp.inf), axis=-1)
        own = jnp.take_along_axis(logits, (first + targets.codes)[..., None], -1)
        return jnp.sum(jnp.where(targets.valid, total - own[..., 0], 0.0) * weights)

    expected = jax.grad(plain, (0, 1))(heads_of(space, "grouped").table(), hidden)
    for head in ("grouped", "masked_dense"):
        heads = heads_of(space, head)

        def loss(table, hidden, config=heads.config):
            nll = token_nll(config, space, table, hidden, targets)
            return jnp.sum(nll * weights)

        found = jax.grad(loss, (0, 1))(heads.table(), hidden)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@settings(max_examples=20)
@given(
    modality=st.lists(st.integers(-1, 4), min_size=1, max_size=60),
    size=st.integers(1, 9),
)
def test_groups_hold_every_token_once_with_its_own_kind(space, modality, size):
    rows = np.array(modality, np.int32)
    token, owner, place = _group(
        jnp.asarray(rows >= 0), jnp.asarray(np.maximum(rows, 0)), space, size
    )
    valid = np.flatnonzero(rows >= 0)
    flat = np.asarray(token).reshape(-1)
    assert (flat[np.asarray(place)[valid]] == valid).all()
    assert len(set(np.asarray(place)[valid])) == len(valid)
    assert (np.asarray(owner)[np.asarray(place)[valid] // size] == rows[valid]).all()


def test_logits_admit_only_the_codes_of_the_slot(space):
    heads = heads_of(space, "grouped")
    logits = heads.logits(jnp.ones((2, 2, 16)), "redshift")
    finite = np.isfinite(np.asarray(logits))
    assert finite[:, 0].sum(-1).tolist() == [16, 16]
    assert finite[:, 1, 16:].all() and not finite[:, 1, :16].any()
    padded = heads.logits(jnp.ones((1, 1, 16)), "plain")
    assert padded.shape == (1, 1, 140) and not np.isfinite(padded[..., 130:]).any()


def test_all_padding_costs_nothing_and_is_finite(space):
    nothing = TokenBatch(*(np.zeros((2, 3), np.int32) for _ in range(3)))
    nothing = TokenBatch(nothing.codes, np.full((2, 3), -1, np.int32), nothing.position)
    heads = heads_of(space, "grouped")

    def loss(hidden):
        return jnp.sum(heads.nll(hidden, nothing))

    value, slope = jax.value_and_grad(loss)(jnp.ones((2, 3, 16)))
    assert float(value) == 0.0 and not np.asarray(slope).any()
