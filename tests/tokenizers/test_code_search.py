# SPDX-License-Identifier: MIT
"""The search among neighbouring levels: what it finds, and that it never harms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.toy_tokens import (
    LEVELS,
    coupled,
    latents,
    near,
    random_digits,
    rounded_misfit,
)

from aion_tokenizers.code_search import WORTH, searched


@jax.jit
def before_and_after(latent, mixing, data):
    """Latents after two passes, and the misfit of each object before and after."""

    def misfit(values):
        return coupled(values, mixing, data, 5)

    after = searched(LEVELS, latent, misfit, 2)
    return after, rounded_misfit(misfit, latent), rounded_misfit(misfit, after)


def drawn(seed, grid):
    """Arguments of that."""
    rng = np.random.default_rng(seed)
    mixing = jnp.asarray(rng.normal(size=(3, LEVELS.dimension, 4)), jnp.float32)
    data = jnp.asarray(rng.normal(0, 3, (3, *grid, 4)), jnp.float32)
    return latents(rng, (3, *grid)), mixing, data


@pytest.mark.parametrize("grid", [(7,), (4, 5)])
def test_the_levels_that_the_data_came_from_are_found(grid):
    rng = np.random.default_rng(0)
    target = random_digits(rng, (2, *grid))
    away = rng.integers(-1, 2, target.shape)
    first = np.clip(target + away, 0, np.array(LEVELS.levels) - 1)
    latent = LEVELS.latent(jnp.asarray(first, jnp.float32))
    found = searched(LEVELS, latent, near(target), passes=LEVELS.dimension)
    np.testing.assert_array_equal(LEVELS.digits(found), target)
    # A pass takes one step of one axis, the best.
    once = np.asarray(LEVELS.digits(searched(LEVELS, latent, near(target), 1)))
    assert np.abs(once - first).sum(-1).max() == 1
    left = np.abs(once - target).sum(-1)
    np.testing.assert_array_equal(
        left, np.maximum(np.abs(first - target).sum(-1) - 1, 0)
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5,), (9,), (4, 7)]))
def test_no_object_is_worse_than_before(seed, grid):
    latent, mixing, data = drawn(seed, grid)
    after, old, new = before_and_after(latent, mixing, data)
    assert (new <= old).all()
    digits = np.asarray(LEVELS.digits(after))
    assert ((digits >= 0) & (digits < np.array(LEVELS.levels))).all()


def test_neighbours_make_up_for_each_other():
    _, old, new = before_and_after(*drawn(1, (6, 6)))
    assert (new < 0.7 * old).all()


def test_a_gain_that_noise_would_give_changes_nothing():
    rng = np.random.default_rng(2)
    latent = latents(rng, (2, 5))
    step = 1 / 4  # of the values of the first axis
    digits = np.asarray(LEVELS.digits(latent))
    toward = np.where(digits == 0, 1, -1)
    for factor, moves in ((0.9, False), (1.1, True)):
        weight = factor * WORTH / step**2
        goal = digits.copy()
        goal[..., 0] += toward[..., 0]
        found = searched(LEVELS, latent, near(goal, weight), 1)
        assert bool(np.any(np.asarray(found) != np.asarray(latent))) == moves


def test_objects_do_not_depend_on_each_other():
    rng = np.random.default_rng(3)
    latent = latents(rng, (3, 8))
    target = random_digits(rng, (3, 8))
    together = searched(LEVELS, latent, near(target), 2)
    for row in range(3):
        alone = searched(LEVELS, latent[row : row + 1], near(target[row : row + 1]), 2)
        np.testing.assert_array_equal(alone[0], together[row])


def test_what_is_not_finite_changes_nothing():
    rng = np.random.default_rng(4)
    latent = latents(rng, (2, 6))
    target = random_digits(rng, (2, 6))

    def broken(values):
        return near(target)(values).at[0, 3].set(jnp.nan)

    after = searched(LEVELS, latent, broken, 2)
    np.testing.assert_array_equal(after[0], latent[0])
    assert np.any(after[1] != latent[1])


def test_no_passes_change_nothing():
    latent = latents(np.random.default_rng(5), (1, 4))
    assert searched(LEVELS, latent, near(latent), 0) is latent


def test_it_runs_under_jit():
    rng = np.random.default_rng(6)
    latent, target = latents(rng, (2, 7)), random_digits(rng, (2, 7))
    compiled = jax.jit(lambda x: searched(LEVELS, x, near(target), 1))
    np.testing.assert_array_equal(
        compiled(latent), searched(LEVELS, latent, near(target), 1)
    )
