# SPDX-License-Identifier: MIT
"""The quantile sketch against sorted data: exact first, then within its own bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion_tokenizers.quantiles import CAPACITY, QuantileSketch

FRACTIONS = np.linspace(0, 1, 257)


def sketch_of(values, capacity, chunk=None):
    sketch = QuantileSketch(capacity)
    for start in range(0, len(values), chunk or max(len(values), 1)):
        sketch.update(values[start : start + (chunk or len(values))])
    return sketch


def worst_rank_error(sketch, values):
    """Largest difference of the two distribution functions, below and at each value."""
    kept, mass = sketch.distribution()
    ordered = np.sort(values)
    places = np.concatenate([kept, ordered])
    worst = 0.0
    for side in ("left", "right"):
        true = np.searchsorted(ordered, places, side=side)
        total = np.concatenate([[0.0], np.cumsum(mass)])
        ours = total[np.searchsorted(kept, places, side=side)]
        worst = max(worst, float(np.abs(true - ours).max()))
    return worst / len(values)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=127),
    st.integers(1, 200),
)
def test_exact_below_twice_the_capacity(values, chunk):
    data = np.array(values)
    sketch = sketch_of(data, 64, chunk)
    assert sketch.rank_error_bound == 0
    expected = np.quantile(data, FRACTIONS, method="inverted_cdf")
    np.testing.assert_array_equal(sketch.quantile(FRACTIONS), expected)


@pytest.mark.parametrize("order", ["random", "sorted", "reversed", "zigzag", "ties"])
@pytest.mark.parametrize("count", [1_000, 40_000, 131_072])
def test_error_is_within_the_bound(order, count):
    data = np.random.default_rng(count).standard_normal(count)
    if order in ("sorted", "reversed"):
        data = np.sort(data)[:: 1 if order == "sorted" else -1]
    if order == "zigzag":
        data = np.sort(data)
        data = np.stack([data[: count // 2], data[::-1][: count // 2]], 1).ravel()
    if order == "ties":
        data = np.round(data, 1)
    sketch = sketch_of(data, 256)
    assert 0 < sketch.rank_error_bound < 0.012
    assert worst_rank_error(sketch, data) <= sketch.rank_error_bound
    mass = sketch.distribution()[1]
    assert mass.sum() == sketch.count == len(data)
    assert np.all(mass > 0)


def test_bound_is_earned_not_generous():
    """Sorted data come within a factor of the bound."""
    data = np.arange(2**14, dtype=float)
    sketch = sketch_of(data, 64)
    assert worst_rank_error(sketch, data) > 0.1 * sketch.rank_error_bound


def test_bound_for_a_billion_values():
    """The bound depends on counts alone, so the collapses of 1e9 values are counted."""
    buffers, over, under = int(1e9) // CAPACITY, 0, 0
    for level in range(40):
        collapses = buffers // 2 ** (level + 1)
        over += -(-collapses // 2) * 2**level
        under += collapses // 2 * 2**level
    assert max(over, under) / 1e9 < 5e-5


def test_bound_counts_as_the_billion_test_does():
    count, capacity = 300_000, 512
    sketch = sketch_of(np.random.default_rng(0).random(count), capacity)
    buffers = count // capacity
    over = sum(-(-(buffers // 2 ** (level + 1)) // 2) * 2**level for level in range(40))
    assert sketch.rank_error_bound == pytest.approx(over / count)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 99))
def test_chunks_do_not_matter(sizes, seed):
    data = np.random.default_rng(seed).standard_normal(sum(sizes))
    whole = sketch_of(data, 16)
    parts = QuantileSketch(16)
    for part in np.split(data, np.cumsum(sizes)[:-1]):
        parts.update(part)
    for ours, theirs in zip(whole.distribution(), parts.distribution(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 99))
def test_merged_sketches_keep_their_promise(first, second, seed):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal(first), rng.gamma(2.0, size=second)
    merged = sketch_of(data[0], 32)
    merged.merge(sketch_of(data[1], 32))
    both = np.concatenate(data)
    assert merged.count == len(both)
    assert worst_rank_error(merged, both) <= merged.rank_error_bound + 1e-12
    assert merged.distribution()[0][[0, -1]].tolist() == [both.min(), both.max()]


def test_missing_values_are_counted_and_left_out():
    sketch = QuantileSketch(8)
    sketch.update(np.array([[1.0, np.nan], [np.inf, 3.0]], np.float32))
    assert (sketch.count, sketch.missing) == (2, 2)
    assert sketch.quantile(np.array([0, 1])).tolist() == [1.0, 3.0]


def test_no_values_and_unlike_sketches_are_errors():
    with pytest.raises(ValueError, match="without values"):
        QuantileSketch().quantile(0.5)
    with pytest.raises(ValueError, match="8 and 16"):
        QuantileSketch(8).merge(QuantileSketch(16))
    with pytest.raises(ValueError, match="below 2"):
        QuantileSketch(1)
