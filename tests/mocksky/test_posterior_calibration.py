# SPDX-License-Identifier: MIT
"""The exact posterior against the truth of fresh objects."""

import numpy as np
import pytest
from tests.mocksky.toy_classes import BANDS, DEPTH, selected, toy

from aion.eval.calibration import calibration_error, ks_statistic
from aion.mocksky.evidence import Evidence
from aion.mocksky.objects import KINDS
from aion.mocksky.posterior import ExactPosterior, Settings
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.mocksky.universe import universe


@pytest.fixture(scope="module")
def fresh_objects():
    classes = toy(points=(1, 100, 120), spectra=(6, 6, 6), seed=4, alike=0.25)
    depth = 8 * DEPTH
    kind, redshift, ebv, flux = selected(classes, 1200, 7, depth)
    return classes, kind, redshift, Evidence.fluxes(BANDS, flux, depth=depth, ebv=ebv)


def test_calibrated_on_fresh_objects(fresh_objects):
    classes, kind, redshift, evidence = fresh_objects
    exact = ExactPosterior(classes, BANDS)
    chance, answer = exact.kind_and_redshift(evidence)
    assert 0.02 < np.mean(chance.argmax(axis=1) != kind) < 0.5
    for number in range(3):
        said, happened = chance[:, number], kind == number
        error = np.sqrt(np.sum(said * (1 - said)))
        assert abs(np.sum(said - happened)) < 3 * error
        assert calibration_error(said, happened) < 0.03
    pit = answer.pit(redshift, seed=0)
    assert ks_statistic(pit) < 1.63 / np.sqrt(len(pit))
    for number in (1, 2):
        rows = np.flatnonzero(kind == number)
        known = exact.redshift(evidence.take(rows), KINDS[number])
        assert ks_statistic(known.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))


def test_calibrated_given_tokens(fresh_objects):
    classes, kind, redshift, evidence = fresh_objects
    edges = np.sinh(np.linspace(-4, 9, 60))
    token = np.searchsorted(edges, evidence.low) - 1
    rows = np.flatnonzero(kind == 1)
    bins = Evidence.bins(
        BANDS,
        edges[token][rows],
        edges[token + 1][rows],
        depth=evidence.depth[rows],
        ebv=evidence.ebv[rows],
    )
    exact = ExactPosterior(classes, BANDS)
    coarse, fine = (
        exact.redshift(bins, "GALAXY"),
        exact.redshift(evidence.take(rows), "GALAXY"),
    )
    assert ks_statistic(coarse.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))
    gain = fine.log_density(redshift[rows]) - coarse.log_density(redshift[rows])
    assert gain.mean() > 0.1


def test_unknown_depth(fresh_objects):
    classes, kind, redshift, _ = fresh_objects
    factors, weight = np.array([1.0, 60.0]), np.array([0.6, 0.4])
    exact = ExactPosterior(classes, BANDS)
    parts = []
    for seed, factor in enumerate(factors):
        made = selected(classes, int(600 * weight[seed]), seed, DEPTH * factor)
        parts.append((*made, np.tile(DEPTH * factor, (len(made[0]), 1))))
    kind, redshift, ebv, flux, depth = map(np.concatenate, zip(*parts, strict=True))
    rows = np.flatnonzero(kind == 1)
    evidence = Evidence.fluxes(BANDS, flux, depth=depth, ebv=ebv).take(rows)
    settings = Settings(factors[:, None] * DEPTH, np.zeros((2, 5)), weight)
    known = exact.redshift(evidence, "GALAXY")
    unknown = exact.redshift(evidence, "GALAXY", settings=settings)
    assert ks_statistic(unknown.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))
    gain = known.log_density(redshift[rows]) - unknown.log_density(redshift[rows])
    assert gain.mean() > 0.0
    assert unknown.std.mean() > known.std.mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sample", "bands"),
    [("sdss", BANDS), ("sky", ("DES-G", "DES-R", "DES-I", "DES-Z", "WISE-W1"))],
)
def test_calibrated_on_the_true_population(sample, bands):
    count = 10_000
    population = universe(Sky(count, seed=12), sample)
    kind, redshift, test, seen = [], [], [], []
    for block in population.sky.blocks():
        here = population.sky.conditions(block.cell)
        truth, photometry = population.draw(block)
        kind.append(truth.kind)
        redshift.append(truth.redshift)
        test.append(np.full(len(truth), here.test))
        known = {"depth": here.depth, "zero_point": here.zero_point}
        seen.append(
            Evidence.fluxes(BAND_NAMES, photometry.flux, ebv=truth.ebv, **known)
        )
    kind, redshift, test = map(np.concatenate, (kind, redshift, test))
    evidence = Evidence.concatenate(seen).given(bands)
    pit, chance = np.zeros(count), np.zeros((count, 3))
    for novel in (False, True):
        rows = np.flatnonzero(test == novel)
        exact = ExactPosterior.of(population, bands, novel=novel)
        chance[rows], answer = exact.kind_and_redshift(evidence.take(rows))
        pit[rows] = answer.pit(redshift[rows], seed=0)
        few = evidence.take(rows[:5])
        whole = ExactPosterior.of(population, bands, novel=novel, lost=0.0)
        np.testing.assert_allclose(whole.kind(few), chance[rows[:5]], atol=1e-4)
        gap = whole.redshift(few).probabilities - answer.probabilities[:5]
        assert np.abs(gap).sum(axis=1).max() < 2e-4
    assert ks_statistic(pit) < 0.015
    for number in range(3):
        said, happened = chance[:, number], kind == number
        error = np.sqrt(np.sum(said * (1 - said)))
        assert abs(np.sum(said - happened)) < 3.5 * error
        assert calibration_error(said, happened) < 0.01
