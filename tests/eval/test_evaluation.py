# SPDX-License-Identifier: MIT
"""Questions, predictions, bootstrap and baselines, on a sky of known posterior."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

from aion.errors import AionError, ArtefactError, ConfigError, DataError
from aion.eval.baselines import Forest, Marginal, Neighbours, run_baselines
from aion.eval.calibration import uniformity
from aion.eval.evaluator import ByPosterior, Examples
from aion.eval.held import gather, join_records
from aion.eval.photoz import METRICS
from aion.eval.predictions import Predictions, fill, pool
from aion.eval.questions import Question, questions_from_config
from aion.eval.scores import resamples, score
from aion.observation import Scalar


@pytest.fixture(scope="module")
def result(oracle, question, test):
    return ByPosterior(question, seed=3).run(oracle, test)


@pytest.fixture(scope="module")
def baselines(oracle, question, train, test):
    return run_baselines(question, oracle.space, train, test)


def test_only_the_objects_of_the_question_are_scored(result, test):
    own = result.predictions
    galaxies = test.records.observations["object_class"].labels == "GALAXY"
    assert set(own["object_id"]) == set(test.records.object_id[galaxies])
    assert len(result.examples.truth) == len(result.examples.posterior) == 9


def test_the_exact_posterior_is_calibrated_and_a_narrow_one_is_not(
    result, braggart, question, test
):
    assert uniformity(result.predictions["pit"]).pvalue > 1e-3
    narrow = ByPosterior(question).run(braggart, test).predictions
    assert uniformity(narrow["pit"]).pvalue < 1e-9
    scores = [
        METRICS["redshift"]["log_score"](p.columns)
        for p in (result.predictions, narrow)
    ]
    # Entropy of a Gaussian: -log(sigma) - (1 + log 2 pi) / 2.
    assert scores[0] == pytest.approx(-np.log(0.03) - 1.4189, abs=0.1)
    assert scores[0] > scores[1]


def test_parts_do_not_matter(oracle, question, test, monkeypatch, result):
    monkeypatch.setattr("aion.eval.evaluator.OBJECTS_PER_PART", 100)
    parts = ByPosterior(question, seed=3).run(oracle, test)
    for name in ("estimate", "log_score", "low", "std"):
        np.testing.assert_allclose(parts.predictions[name], result.predictions[name])
    np.testing.assert_allclose(
        parts.examples.posterior.probabilities, result.examples.posterior.probabilities
    )


@pytest.mark.parametrize("estimate", ["mean", "mode", "median"])
def test_the_point_estimate_is_a_choice(oracle, question, test, estimate):
    chosen = replace(question, estimate=estimate)
    found = ByPosterior(chosen).run(oracle, test).predictions
    colour = test.records.observations["legacy_flux_g"].values
    galaxies = chosen.rows(test.records)
    assert np.abs(found["estimate"] - colour[galaxies]).max() < 0.02


def test_labels_are_scored(oracle, label_question, test):
    found = ByPosterior(label_question).run(oracle, test).predictions
    assert set(found["estimate"]) == {"GALAXY"} and found.labels == ("GALAXY", "STAR")
    star = found["truth"] == "STAR"
    np.testing.assert_allclose(found["log_score"], np.log(np.where(star, 0.3, 0.7)))


def test_predictions_and_examples_round_trip(result, tmp_path):
    result.predictions.save(tmp_path / "p.parquet")
    again = Predictions.load(tmp_path / "p.parquet")
    assert again.question == result.predictions.question and again.sort == "redshift"
    for name, column in result.predictions.columns.items():
        np.testing.assert_array_equal(again[name], column)
    result.examples.save(tmp_path / "e.npz")
    few = Examples.load(tmp_path / "e.npz")
    np.testing.assert_array_equal(few.posterior.edges, result.examples.posterior.edges)
    (tmp_path / "torn").write_bytes(b"PAR1 no")
    for load in (Predictions.load, Examples.load):
        with pytest.raises(ArtefactError, match="Evaluate again"):
            load(tmp_path / "torn")
        with pytest.raises(ArtefactError, match="Evaluate again"):
            load(tmp_path / "nowhere")


def test_folds_are_pooled_once(result, baselines):
    one = result.predictions
    other = replace(one, columns=one.columns | {"fold": one["fold"] + 1})
    assert len(pool([one, other])) == 2 * len(one)
    with pytest.raises(DataError, match="twice for object"):
        pool([one, one])
    with pytest.raises(DataError, match="one question"):
        pool([one, replace(other, question=replace(one.question, name="other"))])
    together = pool([one, *baselines])
    assert together.methods == ("aion", "forest", "knn", "marginal")
    assert np.isnan(together.of("forest")["pit"]).all()
    with pytest.raises(DataError, match="no method 'tree'"):
        together.of("tree")


def test_one_table_has_all_methods_ratios_and_differences(result, baselines):
    rows = score(pool([result.predictions, *baselines]), repeats=50)
    table = {(s.method, s.metric): s for s in rows}
    ours, forest = table["aion", "nmad"], table["forest", "nmad"]
    ratio = table["aion / forest", "nmad"]
    assert ratio.value == pytest.approx(ours.value / forest.value)
    assert ours.value < forest.value < table["marginal", "nmad"].value
    # The same objects on both sides: the ratio is known better than its terms.
    apart = ratio.value * np.hypot(ours.error / ours.value, forest.error / forest.value)
    assert 0 < ratio.error < apart
    gain = table["aion - marginal", "log_score"]
    assert gain.value > 1.5 and gain.error < 0.1
    assert ("forest", "log_score") not in table


def test_different_objects_cannot_be_compared(result, baselines):
    less = replace(
        baselines[0], columns={k: v[:-1] for k, v in baselines[0].columns.items()}
    )
    with pytest.raises(DataError, match="different objects"):
        score(pool([result.predictions, less]))


@pytest.mark.parametrize("by", ["object", "cell"])
def test_bootstrap_error_is_that_of_the_mean(by):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 20)
    shared = rng.standard_normal(100)[groups]
    own = rng.standard_normal(2000)
    samples = resamples(groups, 400, 1, by)
    errors = [np.std([v[s].mean() for s in samples]) for v in (own, shared)]
    assert errors[0] == pytest.approx(2000**-0.5, rel=0.2)
    # What cells share is known to a hundred values, not to two thousand.
    expected = 100**-0.5 if by == "cell" else 2000**-0.5
    assert errors[1] == pytest.approx(expected, rel=0.2)


def test_forest_and_neighbours_are_scikit_learns(
    oracle, question, train, test, baselines
):
    names = ("legacy_flux_g",)
    x = np.stack([train.records.observations[n].values for n in names], axis=1)
    y = train.records.observations["redshift"].values
    galaxies = question.rows(test.records)
    held = np.stack([test.records.observations[n].values for n in names], 1)[galaxies]
    forest = (
        RandomForestRegressor(300, random_state=0, n_jobs=2).fit(x, y).predict(held)
    )
    np.testing.assert_allclose(baselines[0]["estimate"], forest)
    near = KNeighborsRegressor(10, weights="distance").fit(x, y).predict(held)
    np.testing.assert_allclose(baselines[1]["estimate"], near, atol=1e-9)


def test_class_is_given_to_both_or_to_neither(oracle, question, train, test):
    told = replace(question, given=("legacy_flux_g", "object_class"))
    few = [Forest(trees=20), Neighbours()]
    outliers = METRICS["redshift"]["outliers"]
    blind = run_baselines(question, oracle.space, train, test, few)
    seeing = run_baselines(told, oracle.space, train, test, few)
    for without, with_class in zip(blind, seeing, strict=True):
        assert outliers(with_class.columns) < 0.5 * outliers(without.columns)


def test_label_baselines(oracle, label_question, train, test):
    found = run_baselines(
        label_question, oracle.space, train, test, [Forest(trees=50), Marginal()]
    )
    names = label_question.given
    x = np.stack([train.records.observations[n].values for n in names], axis=1)
    y = train.records.observations["object_class"].labels
    held = np.stack([test.records.observations[n].values for n in names], axis=1)
    forest = RandomForestClassifier(50, random_state=0).fit(x, y)
    assert found[0]["estimate"].tolist() == forest.predict(held).tolist()
    np.testing.assert_allclose(found[0]["p_STAR"], forest.predict_proba(held)[:, 1])
    assert np.isfinite(found[0]["log_score"]).all()
    np.testing.assert_allclose(found[1]["p_STAR"], np.mean(y == "STAR"))


def test_marginal_is_calibrated_and_knows_nothing(baselines, question, train):
    marginal = baselines[2]
    assert uniformity(marginal["pit"]).statistic < 0.06
    assert len(np.unique(marginal["estimate"])) == 1
    # Uniform over 0.2 to 1 has log density -log 0.8.
    assert np.mean(marginal["log_score"]) == pytest.approx(0.22, abs=0.1)


def test_missing_scikit_learn_names_the_extra(
    monkeypatch, oracle, question, train, test
):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(AionError, match=r"pip install 'aion-jax\[eval\]'"):
        run_baselines(question, oracle.space, train, test)


def test_nothing_to_score_or_to_learn_from(oracle, question, train, test):
    nothing = replace(question, where={"object_class": "QSO"})
    with pytest.raises(DataError, match="no object can answer 'redshift'"):
        ByPosterior(nothing).run(oracle, test)
    with pytest.raises(DataError, match="no training object"):
        run_baselines(question, oracle.space, train.take(slice(0, 0)), test)


def test_missing_values_are_not_scored_and_fill_features(oracle, question, train, test):
    flux = train.records.observations["legacy_flux_g"].values.copy()
    flux[::7] = np.nan
    changed = dict(train.records.observations) | {"legacy_flux_g": Scalar(flux)}
    gaps = replace(train, records=replace(train.records, observations=changed))
    found = run_baselines(question, oracle.space, gaps, test, [Neighbours()])
    assert np.isfinite(found[0]["estimate"]).all()
    redshift = test.records.observations["redshift"].values.copy()
    redshift[:50] = np.nan
    changed = dict(test.records.observations) | {"redshift": Scalar(redshift)}
    unknown = replace(test.records, observations=changed)
    assert not question.rows(unknown)[:50].any()


def test_conditions_on_numbers(test):
    bright = Question(
        "z", ("legacy_flux_g",), "redshift", {"legacy_flux_g": (0.5, 0.7)}
    )
    flux = test.records.observations["legacy_flux_g"].values
    np.testing.assert_array_equal(
        bright.rows(test.records), (flux >= 0.5) & (flux <= 0.7)
    )
    wrong = replace(bright, where={"legacy_flux_g": 3})
    with pytest.raises(ConfigError, match=r"Give \(low, high\)"):
        wrong.rows(test.records)


ROW = {"name": "z", "given": ("legacy_flux_g",), "asked": "redshift"}


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([ROW | {"wher": {}}], r"no key 'wher'.*where"),
        ([ROW | {"asked": "legacy_flux_g"}], "not the asked one"),
        ([ROW | {"given": ()}], "at least one"),
        ([ROW, ROW], "stands twice"),
        ([ROW | {"estimate": "best"}], "median"),
        ([{"name": "z", "given": ("a",)}], "asked"),
    ],
)
def test_misspelt_questions_are_refused(rows, error):
    with pytest.raises(ConfigError, match=error):
        questions_from_config(rows)


def test_questions_must_fit_the_model(bundle):
    assert Question(**ROW).sort(bundle.space) == "redshift"
    with pytest.raises(AionError, match="no modality 'hsc_mag_g'"):
        Question("z", ("hsc_mag_g",), "redshift").sort(bundle.space)


class Halves:
    """A source of two batches, each with a noisy copy."""

    def __init__(self, records):
        self.records = records

    def partitions(self):
        return ("0", "1")

    def read(self, partition):
        half = self.records.take(slice(int(partition), None, 2))
        yield half
        yield replace(half, copy=1)


def test_splits_are_gathered_without_copies(test):
    from aion.splits import SplitRule

    rule, source = SplitRule(folds=3, fold=1, validation=0.1), Halves(test.records)
    names = {
        rows: set(gather(source, rule, rows).records.object_id)
        for rows in ("train", "validation", "test", "all")
    }
    assert sum(map(len, names.values())) == 2 * len(test) and len(names["all"]) == len(
        test
    )
    held = gather(source, rule, "test")
    assert held.fold == 1 and (rule.assign(held.cells) == "test").all()
    with pytest.raises(DataError, match="no object in the test cells"):
        gather(Halves(test.records.take(slice(0, 0))), rule, "test")


def test_joined_records_keep_their_observations(test):
    parts = [test.records.take(slice(0, 5)), test.records.take(slice(5, 12))]
    joined = join_records(parts)
    np.testing.assert_array_equal(joined.object_id, test.records.object_id[:12])
    for name, value in joined.observations.items():
        assert len(value) == 12, name


def test_a_method_may_leave_columns_out(question):
    keys = {k: np.zeros(2) for k in ("object_id", "cell", "fold", "truth", "estimate")}
    found = fill(question, "redshift", "", keys, {"method": "guess"})
    assert np.isnan(found["log_score"]).all() and found.methods == ("guess",)
    with pytest.raises(DataError, match="missing columns"):
        Predictions(question, "redshift", "", {"truth": np.zeros(2)})
