# SPDX-License-Identifier: MIT
"""Weights of targets by a loop over modalities, and that cuts do not change a loss."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.tokens import TokenBatch
from aion.train.loss import target_counts, target_weights


def tokens(modality) -> TokenBatch:
    rows = np.array(modality, np.int32)
    return TokenBatch(np.zeros_like(rows), rows, np.zeros_like(rows))


@given(
    st.lists(st.integers(-1, 3), min_size=1, max_size=40), st.sampled_from([0, 0.5, 1])
)
def test_weights_follow_the_counts(modality, exponent):
    targets = jax.tree.map(jax.numpy.asarray, tokens([modality]))
    weights = np.asarray(target_weights(targets, 4, float(exponent)))[0]
    counts = np.array([modality.count(m) for m in range(4)])
    np.testing.assert_array_equal(target_counts(targets, 4), counts)
    total = sum(c**exponent for c in counts if c)
    for place, row in enumerate(modality):
        expected = 0.0 if row < 0 else counts[row] ** exponent / total / counts[row]
        assert weights[place] == pytest.approx(expected, rel=1e-5)
    assert weights.sum() == pytest.approx(1.0 if counts.sum() else 0.0, rel=1e-5)


def test_a_hundred_image_tokens_weigh_ten_times_one_scalar():
    targets = jax.tree.map(jax.numpy.asarray, tokens([[0] * 100 + [1]]))
    weights = np.asarray(target_weights(targets, 2, 0.5))[0]
    assert weights[:100].sum() / weights[100] == pytest.approx(10.0, rel=1e-5)
