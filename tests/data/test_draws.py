# SPDX-License-Identifier: MIT
import numpy as np
import pytest
from scipy import stats

from aion.data.draws import Draws
from aion.hashes import splitmix

MANY = Draws.of(5, np.arange(4000))


def test_splitmix_has_its_published_values():
    # First outputs of the reference implementation with seed 1234567.
    golden = 0x9E3779B97F4A7C15
    seeds = np.array([1234567, 1234567 + golden], np.uint64)
    assert splitmix(seeds).tolist() == [6457827717110365317, 3203168211198807973]


def test_rows_do_not_depend_on_the_batch():
    few = Draws.of(5, [17, 3])
    np.testing.assert_array_equal(few.bits(4), MANY.bits(9)[[17, 3], :4])
    shape = np.full(4000, 0.01)
    np.testing.assert_array_equal(
        few.log_gamma(shape[:2], 3), MANY.log_gamma(shape, 3)[[17, 3]]
    )


def test_seeds_examples_and_streams_differ():
    others = [MANY.stream("a"), MANY.stream("b"), Draws.of(6, np.arange(4000))]
    for other in others:
        assert not np.isin(other.keys, MANY.keys).any()


@pytest.mark.parametrize(
    "sample, law",
    [
        (MANY.uniform(5), stats.uniform()),
        (MANY.uniform(5)[:, [0]], stats.uniform()),
        (MANY.normal(5), stats.norm()),
    ],
)
def test_laws(sample, law):
    assert stats.kstest(sample.ravel(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [0.01, 0.3, 1.0, 8.0])
def test_gamma(shape):
    sample = MANY.log_gamma(np.full(4000, shape), 3).ravel()
    assert np.isfinite(sample).all()
    assert stats.kstest(sample, stats.loggamma(shape).cdf).pvalue > 1e-3


def test_columns_are_independent():
    columns = MANY.uniform(40)
    correlation = np.corrcoef(columns.T) - np.eye(40)
    assert np.abs(correlation).max() < 6 / np.sqrt(4000)
