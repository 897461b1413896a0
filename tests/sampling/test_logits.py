# SPDX-License-Identifier: MIT
"""Transforms of logits against definitions written out for one row."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from aion.errors import ConfigError
from aion.sampling.logits import Temperature, TopK, TopP, apply_all, transforms

ROWS = arrays(
    np.float32, (2, 7), elements=st.integers(-48, 48).map(lambda i: i / 8), unique=True
)


def kept(transform, row):
    return np.isfinite(np.asarray(transform.apply(jnp.asarray(row))))


@given(ROWS, st.floats(0.1, 5))
def test_temperature_is_a_power_of_the_probabilities(row, value):
    power = softmax(row.astype(np.float64), axis=-1) ** (1 / value)
    expected = power / power.sum(-1, keepdims=True)
    found = softmax(np.asarray(Temperature(value).apply(jnp.asarray(row))), axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(ROWS, st.integers(1, 9))
def test_top_k_keeps_the_k_largest(row, k):
    for logits, mask in zip(row, kept(TopK(k), row), strict=True):
        assert set(np.nonzero(mask)[0]) == set(np.argsort(-logits)[: min(k, 7)])


@given(ROWS, st.floats(0.05, 0.999))
def test_top_p_keeps_the_fewest_codes_that_reach_p(row, p):
    for logits, mask in zip(row, kept(TopP(p), row), strict=True):
        share = softmax(logits.astype(np.float64))
        order = np.argsort(-share)
        total = np.cumsum(share[order])
        if np.abs(total - p).min() < 1e-5:
            continue
        fewest = int(np.searchsorted(total, p)) + 1
        assert set(np.nonzero(mask)[0]) == set(order[:fewest])


def test_impossible_codes_stay_impossible():
    row = jnp.array([0.0, -jnp.inf, 2.0])
    for transform in (Temperature(9.0), TopK(3), TopP(1.0)):
        assert np.asarray(transform.apply(row))[1] == -np.inf


def test_neutral_values_change_nothing():
    assert transforms() == () == transforms(1.0, None, 1.0)


def test_transforms_compose_in_order():
    chosen = transforms(2.0, 2, 0.9)
    assert chosen == (Temperature(2.0), TopK(2), TopP(0.9))
    row = jnp.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(apply_all(row, chosen), [-np.inf, -np.inf, 1.0, 1.5])


@pytest.mark.parametrize(
    "wrong", [dict(temperature=0.0), dict(top_k=0), dict(top_p=1.5), dict(top_p=0.0)]
)
def test_values_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        transforms(**wrong)
