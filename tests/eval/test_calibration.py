# SPDX-License-Identifier: MIT
"""Calibration and point metrics against scipy, scikit-learn and plain formulas."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest, median_abs_deviation, norm
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    r2_score,
)

from aion.errors import DataError
from aion.eval.calibration import (
    calibration_error,
    coverage,
    coverage_table,
    ks_statistic,
    reliability,
    uniformity,
)
from aion.eval.photoz import METRICS, confusion, nmad

VALUES = arrays(np.float64, st.integers(3, 40), elements=st.floats(-5, 5))


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)))
def test_ks_is_scipys(pit):
    expected = kstest(pit, "uniform")
    assert ks_statistic(pit) == pytest.approx(expected.statistic)
    found = uniformity(np.append(pit, np.nan))
    assert (found.statistic, found.count) == (
        pytest.approx(expected.statistic),
        len(pit),
    )


def test_nothing_to_test_is_said():
    with pytest.raises(DataError, match="no PIT"):
        uniformity(np.array([np.nan]))
    assert np.isnan(ks_statistic(np.array([]))) and np.isnan(
        coverage(np.array([]), 0.5)
    )


@given(VALUES)
def test_nmad_is_scaled_deviation_about_the_median(values):
    expected = median_abs_deviation(values, scale=1) * 1.4826
    assert nmad(values) == pytest.approx(expected)


def test_nmad_of_a_gaussian_is_its_width():
    residual = 0.02 * np.random.default_rng(0).standard_normal(100_000) + 0.3
    assert nmad(residual) == pytest.approx(0.02, rel=0.01)


def test_redshift_metrics_by_hand():
    columns = {
        "truth": np.array([0.0, 1.0, 1.0, 3.0]),
        "estimate": np.array([0.01, 1.2, 0.98, 3.04]),
        "pit": np.array([0.5, 0.99, 0.4, 0.6]),
        "log_score": np.array([1.0, 2.0, 3.0, 4.0]),
    }
    found = {k: f(columns) for k, f in METRICS["redshift"].items()}
    # d = .01, .1, -.01, .01
    assert found["outliers"] == 0.25
    assert found["bias"] == pytest.approx(0.01)
    assert found["nmad"] == pytest.approx(1.4826 * 0.01)
    assert found["log_score"] == 2.5 and found["coverage_68"] == 0.75


@given(VALUES.filter(lambda v: np.std(v) > 1e-3), st.floats(-1, 1))
def test_number_metrics(truth, shift):
    columns = {"truth": truth, "estimate": truth[::-1] + shift}
    expected = r2_score(truth, columns["estimate"])
    assert METRICS["number"]["r2"](columns) == pytest.approx(expected, abs=1e-6)
    residual = columns["estimate"] - truth
    assert METRICS["number"]["rms"](columns) == pytest.approx(
        np.linalg.norm(residual) / len(truth) ** 0.5
    )


@given(arrays(np.int64, (2, 30), elements=st.integers(0, 2)))
def test_label_metrics_are_scikit_learns(pair):
    labels = np.array(["GALAXY", "QSO", "STAR"])
    truth, estimate = labels[pair[0]], labels[pair[1]]
    columns = {"truth": truth, "estimate": estimate}
    assert METRICS["label"]["accuracy"](columns) == accuracy_score(truth, estimate)
    expected = confusion_matrix(truth, estimate, labels=labels)
    np.testing.assert_array_equal(confusion(columns, tuple(labels)), expected)
    recall = [expected[i, i] / expected[i].sum() for i in range(3) if expected[i].sum()]
    balanced = METRICS["label"]["balanced_accuracy"](columns)
    assert balanced == pytest.approx(np.mean(recall))
    if len(recall) == 3:
        assert balanced == pytest.approx(balanced_accuracy_score(truth, estimate))


def test_coverage_of_wide_and_narrow_posteriors():
    truth = np.random.default_rng(1).standard_normal(20_000)
    for width, level in ((1.0, 0.9), (0.5, 0.5886), (2.0, 0.99899)):
        rows = coverage_table(norm.cdf(truth / width), [0.9])
        assert rows[0]["coverage"] == pytest.approx(level, abs=4 * 0.0025)
        assert rows[0]["error"] == pytest.approx((0.09 / 20_000) ** 0.5)


def test_reliability_of_honest_and_boastful_probabilities():
    rng = np.random.default_rng(2)
    said = rng.uniform(size=20_000)
    happened = rng.uniform(size=20_000) < said
    rows = reliability(said, happened)
    assert len(rows) == 10 and sum(r["count"] for r in rows) == 20_000
    assert all(abs(r["said"] - r["happened"]) < 4 * r["error"] for r in rows)
    assert calibration_error(said, happened) < 0.02
    boast = np.clip(1.5 * (said - 0.5) + 0.5, 0, 1)
    assert calibration_error(boast, happened) > 0.05
