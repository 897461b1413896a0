# SPDX-License-Identifier: MIT
"""Codes settled one after another: what they make up for, and that none is worse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.toy_tokens import (
    LEVELS,
    coupled,
    decoded,
    latents,
    near,
    random_digits,
    rounded_misfit,
)

from aion_tokenizers.quantizers import FSQ
from aion_tokenizers.refinement import approached
from aion_tokenizers.settling import settled


@jax.jit
def before_and_after(latent, mixing, data):
    """Misfit of each object: rounded at first, rounded at the minimum, settled."""

    def misfit(values):
        return coupled(values, mixing, data, 500)

    least = approached(latent, lambda z: misfit(LEVELS.relaxed(z)), 100)
    after = settled(LEVELS, least, latent, misfit, 16)
    found = (rounded_misfit(misfit, z) for z in (latent, least, after))
    return after, *found


def drawn(seed, grid):
    """Arguments of that."""
    rng = np.random.default_rng(seed)
    mixing = jnp.asarray(rng.normal(size=(3, LEVELS.dimension, 2)), jnp.float32)
    data = decoded(LEVELS.relaxed(encoded(rng, (3, *grid))), mixing)
    return encoded(rng, (3, *grid)), mixing, data


def found(quantizer, latent, misfit, steps, turns):
    """As images are encoded: first descended unrounded, then settled."""
    least = approached(latent, lambda z: misfit(quantizer.relaxed(z)), steps)
    return settled(quantizer, least, latent, misfit, turns)


def encoded(rng, shape):
    """Latents where the bound of FSQ has a slope, as encoders' do."""
    return jnp.asarray(rng.normal(0, 0.5, (*shape, LEVELS.dimension)), jnp.float32)


@pytest.mark.parametrize("grid", [(7,), (4, 5)])
def test_the_levels_that_the_data_came_from_are_found(grid):
    rng = np.random.default_rng(0)
    latent = encoded(rng, (2, *grid))
    target = np.asarray(LEVELS.digits(latent + 0.3))
    best = found(LEVELS, latent, near(target), 60, 2)
    np.testing.assert_array_equal(LEVELS.digits(best), target)
    levels = LEVELS.digits(best).astype(jnp.float32)
    np.testing.assert_allclose(best, LEVELS.latent(levels), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5,), (9,), (4, 7)]))
def test_no_object_is_worse_than_before(seed, grid):
    after, first, _, new = before_and_after(*drawn(seed, grid))
    assert (new <= first).all()
    digits = np.asarray(LEVELS.digits(after))
    assert ((digits >= 0) & (digits < np.array(LEVELS.levels))).all()


def test_tokens_make_up_for_each_others_rounding():
    found = [before_and_after(*drawn(seed, (6, 6)))[2:] for seed in range(1, 6)]
    ratio = np.concatenate([after / rounded for rounded, after in found])
    assert (ratio < 1).all() and np.mean(ratio) < 0.75, ratio


@pytest.mark.parametrize("harmed", [0, 1])
def test_the_token_whose_rounding_does_most_harm_comes_first(harmed):
    """Two tokens a and b that decode to 4 a + b; only the later one can make up."""
    quantizer = FSQ((5,))  # -1, -.5, 0, .5, 1
    share = jnp.zeros(2).at[harmed].set(1.0)

    def misfit(values):
        off = 4 * values[:, 0, 0] + values[:, 1, 0] - 1.3
        return 50 * jnp.square(off)[:, None] * share

    best = found(quantizer, jnp.zeros((1, 2, 1)), misfit, 100, 4)
    a, b = np.asarray(quantizer(best).values)[0, :, 0]
    # Unrounded they are near .31 and .08. With a at .5 first, b goes on to -.5; with b
    # at 0 first, a can make up for nothing.
    assert (a, b) == ((0.5, -0.5) if harmed == 0 else (0.5, 0.0))


def test_objects_do_not_depend_on_each_other():
    rng = np.random.default_rng(3)
    latent = latents(rng, (3, 8))
    target = random_digits(rng, (3, 8))
    together = settled(LEVELS, latent, latent, near(target), 2)
    for row in range(3):
        one = latent[row : row + 1]
        alone = settled(LEVELS, one, one, near(target[row : row + 1]), 2)
        np.testing.assert_array_equal(alone[0], together[row])


def test_what_is_not_finite_changes_nothing():
    rng = np.random.default_rng(4)
    latent = encoded(rng, (2, 6))
    target = LEVELS.digits(latent + 0.3)

    def broken(values):
        return near(target)(values).at[0, 3].set(jnp.nan)

    after = settled(LEVELS, latent, latent, broken, 2)
    np.testing.assert_array_equal(LEVELS.digits(after[0]), LEVELS.digits(latent[0]))
    assert np.any(LEVELS.digits(after[1]) != LEVELS.digits(latent[1]))


@pytest.mark.parametrize("levels", [(2,), (3, 2), (8, 5, 4)])
def test_latents_of_levels_are_rounded_to_them(levels):
    quantizer = FSQ(levels)
    codes = jnp.arange(quantizer.num_codes, dtype=jnp.int32)
    digits = quantizer.digits_of_codes(codes).astype(jnp.float32)
    latent = quantizer.latent(digits)
    np.testing.assert_array_equal(quantizer.encode(latent), codes)
    np.testing.assert_array_equal(quantizer.values(digits), quantizer.decode(codes))
    np.testing.assert_allclose(
        quantizer(latent).values, quantizer.decode(codes), atol=1e-6
    )
    np.testing.assert_allclose(
        quantizer.relaxed(latent), quantizer.decode(codes), atol=1e-6
    )
    np.testing.assert_array_equal(
        quantizer.clip(digits + 100),
        np.broadcast_to(np.array(levels) - 1, digits.shape),
    )


def test_it_runs_under_jit():
    rng = np.random.default_rng(6)
    latent, target = latents(rng, (2, 7)), random_digits(rng, (2, 7))
    compiled = jax.jit(lambda x: found(LEVELS, x, near(target), 5, 1))
    np.testing.assert_array_equal(
        compiled(latent), found(LEVELS, latent, near(target), 5, 1)
    )
