# SPDX-License-Identifier: MIT
"""Posteriors against scipy's piecewise-uniform distribution and against brute force."""

from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given
from scipy.integrate import quad
from scipy.stats import kstest, rv_histogram

from aion.errors import DataError, TokenSpaceError
from aion.sampling.forward import Forward
from aion.sampling.posterior import Posterior
from aion.sampling.tables import code_probabilities, visited

GIVEN = [("ra", 0, 2)]


@st.composite
def histograms(draw):
    """A posterior of one object and the same distribution in scipy."""
    count = draw(st.integers(1, 6))
    widths = draw(st.lists(st.floats(0.01, 5), min_size=count, max_size=count))
    mass = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    mass[draw(st.integers(0, count - 1))] += 1
    edges = draw(st.floats(-5, 5)) + np.concatenate([[0], np.cumsum(widths)])
    p = np.array(mass) / sum(mass)
    centres = (edges[1:] + edges[:-1]) / 2
    return Posterior(centres, edges, p[None]), rv_histogram((p, edges), density=False)


@given(histograms(), st.floats(0.001, 0.999))
def test_numbers_are_those_of_a_piecewise_uniform_density(pair, q):
    ours, scipys = pair
    close: Any = dict(atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(ours.mean, scipys.mean(), **close)
    np.testing.assert_allclose(ours.std, scipys.std(), atol=1e-4, rtol=1e-4)
    # Where the distribution is flat a quantile is any value of the gap.
    at = ours.quantile(q)
    np.testing.assert_allclose(scipys.cdf(at), q, **close)
    np.testing.assert_allclose(ours.cdf(at), q, **close)
    np.testing.assert_allclose(ours.quantile([q, 0.5])[1], ours.median)
    assert ours.entropy[0] == pytest.approx(float(scipys.entropy()), abs=1e-6)


@given(histograms(), st.floats(0, 1))
def test_density_and_cdf_at_any_value(pair, place):
    ours, scipys = pair
    value = ours.edges[0] + place * (ours.edges[-1] - ours.edges[0])
    np.testing.assert_allclose(ours.cdf([value]), scipys.cdf(value), atol=1e-9)
    if np.abs(ours.edges - value).min() > 1e-9:
        with np.errstate(divide="ignore"):
            expected = np.log(scipys.pdf(value))
        np.testing.assert_allclose(ours.log_density([value]), expected, atol=1e-9)


def test_density_integrates_to_one():
    posterior = Posterior(
        np.arange(3.0), np.array([-0.5, 0.1, 1.5, 2.5]), np.array([[0.2, 0.5, 0.3]])
    )
    found = quad(
        lambda x: np.exp(posterior.log_density([x])[0]), -0.5, 2.5, points=[0.1, 1.5]
    )
    assert found[0] == pytest.approx(1)


def many(objects: int = 4000, bins: int = 7, seed: int = 0) -> Posterior:
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.1, 2, bins + 1))
    return Posterior(
        (edges[1:] + edges[:-1]) / 2,
        edges,
        rng.dirichlet(np.full(bins, 0.7), objects).astype(np.float32),
    )


def test_draws_have_a_uniform_pit_and_the_wrong_posterior_has_not():
    posterior = many()
    truth = posterior.draw(1, seed=1)[0]
    assert kstest(posterior.pit(truth), "uniform").pvalue > 1e-3
    assert kstest(posterior.pit(truth, seed=2), "uniform").pvalue > 1e-3
    assert kstest(posterior.pit(truth[::-1]), "uniform").pvalue < 1e-6


def test_randomised_pit_is_uniform_whatever_the_density_inside_a_bin():
    posterior = many()
    edges: Any = posterior.edges
    draws = posterior.draw(1, 3)[0]
    truth = edges[np.searchsorted(edges, draws) - 1] + 1e-9
    assert kstest(posterior.pit(truth, seed=2), "uniform").pvalue > 1e-3
    assert kstest(posterior.pit(truth), "uniform").pvalue < 1e-6


def test_intervals_cover_what_they_say():
    posterior = many()
    truth = posterior.draw(1, seed=5)[0]
    low, high = posterior.interval(0.6)
    assert np.mean((truth >= low) & (truth <= high)) == pytest.approx(0.6, abs=0.03)


def test_missing_and_clipped_truth():
    posterior = many(objects=3)
    found = posterior.pit([np.nan, -99.0, 99.0])
    assert np.isnan(found[0]) and found[1] == 0 and found[2] == 1
    edges: Any = posterior.edges
    density = posterior.log_density([np.nan, -99.0, edges[0] + 1e-6])
    assert np.isnan(density[0])
    np.testing.assert_allclose(
        density[1], np.log(posterior.probabilities[1, 0] / np.diff(edges)[0])
    )


def test_mode_is_where_the_density_is_highest():
    posterior = Posterior(
        np.array([0.5, 5.0]), np.array([0.0, 1.0, 9.0]), np.array([[0.3, 0.7]])
    )
    assert posterior.mode == [0.5]


def labels(probabilities) -> Posterior:
    return Posterior(
        np.array(["STAR", "GALAXY", "QSO"]), None, probabilities, name="object_class"
    )


def test_labels_have_probabilities_and_no_quantiles():
    posterior = labels(np.array([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9]]))
    assert posterior.mode.tolist() == ["GALAXY", "QSO"]
    found = posterior.log_probability(["STAR", ""])
    assert found[0] == pytest.approx(np.log(0.2)) and np.isnan(found[1])
    for ask in (
        lambda: posterior.quantile(0.5),
        lambda: posterior.median,
        lambda: posterior.pit(["STAR", "STAR"]),
    ):
        with pytest.raises(DataError, match="object_class is a category"):
            ask()
    with pytest.raises(DataError, match=r"no label 'STARR'.*STAR, GALAXY, QSO"):
        posterior.log_probability(["STARR", "QSO"])
    shares = [np.mean(posterior.draw(4000, 0)[:, 0] == x) for x in posterior.values]
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.03)


def test_shapes_are_checked():
    with pytest.raises(DataError, match="probabilities"):
        Posterior(np.arange(3.0), np.arange(4.0), np.ones((2, 4)))
    with pytest.raises(DataError, match="one true value per object"):
        many(objects=3).pit([0.1])


def brute(toy, model, context):
    table = toy.joint(model, context, [("redshift", 0), ("redshift", 1)])
    found = np.zeros((5, 4))
    for (coarse, fine), mass in table.items():
        found[coarse, fine - 5] = mass
    return found


@pytest.fixture(scope="module")
def contexts(toy):
    given = [[("ra", 0, i), ("object_class", 0, i % 3)] for i in range(5)]
    tokens = [toy.tokens_of(*g) for g in given]
    return given, jax.tree.map(lambda *a: np.concatenate(a), *tokens)


def test_coarse_to_fine_table_is_exact(toy, model, contexts):
    given, tokens = contexts
    found = code_probabilities(Forward(model), tokens, "redshift", covered=1.0)
    expected = np.stack([brute(toy, model, g) for g in given])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_unvisited_coarse_codes_keep_their_mass_and_spread_it(toy, model, contexts):
    given, tokens = contexts
    found = code_probabilities(
        Forward(model), tokens, "redshift", covered=1.0, most_visits=2
    )
    for row, context in zip(found, given, strict=True):
        expected = brute(toy, model, context)
        coarse = expected.sum(1)
        likely = np.argsort(-coarse)
        np.testing.assert_allclose(row.sum(1), coarse, atol=1e-6)
        np.testing.assert_allclose(row[likely[:2]], expected[likely[:2]], atol=1e-6)
        for code in likely[2:]:
            np.testing.assert_allclose(row[code], coarse[code] / 4, atol=1e-6)


def test_visits_are_the_fewest_that_cover():
    coarse = np.array([[0.1, 0.6, 0.3, 0.0], [0.0, 0.0, 0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(visited(coarse, 0.85, 9), [[0, 1], [0, 2], [1, 3]])
    np.testing.assert_array_equal(
        visited(coarse, 1.0, 9), [[0, 1], [0, 2], [0, 0], [1, 3]]
    )
    np.testing.assert_array_equal(visited(coarse, 1.0, 1), [[0, 1], [1, 3]])


def test_one_token_table(toy, model, contexts):
    given, tokens = contexts
    found = code_probabilities(Forward(model), tokens, "gaia_parallax")
    expected = toy.conditionals(model, given, "gaia_parallax", 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_many_tokens_have_no_table(model, contexts):
    with pytest.raises(TokenSpaceError, match="gaia_xp_bp has 3 tokens"):
        code_probabilities(Forward(model), contexts[1], "gaia_xp_bp")
