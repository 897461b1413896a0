# SPDX-License-Identifier: MIT
"""Draws against the joint distribution found by enumeration."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from aion.sampling.forward import Forward, bucket, row_bucket, rows_per_pass
from aion.sampling.logits import TopK
from aion.sampling.sampler import categorical, draw
from aion.sampling.schemes import Chained, OneShot, Step
from aion.tokens import TokenBatch

GIVEN = [("ra", 0, 2)]
REDSHIFT = [("redshift", 0), ("redshift", 1)]
CLASS = [("object_class", 0)]


def sample(toy, model, names, number, *, scheme, given=GIVEN, seed=0, chosen=()):
    found = draw(
        Forward(model),
        toy.tokens_of(*given),
        names,
        num_samples=number,
        scheme=scheme,
        key=jax.random.key(seed),
        chosen=chosen,
    )
    return found, np.concatenate([found.codes[n][:, 0] for n in names], axis=1)


def fits(toy, samples, table):
    """p value of the counts of samples; rare outcomes are pooled."""
    expected = np.array(list(table.values())) * len(samples)
    seen = toy.counts(samples, table)
    common = expected >= 5
    pooled = [np.append(a[common], a[~common].sum()) for a in (seen, expected)]
    keep = pooled[1] > 1
    observed, wanted = pooled[0][keep], pooled[1][keep]
    return chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue


@pytest.mark.parametrize(
    "names", [("redshift", "object_class"), ("object_class", "redshift")], ids="-".join
)
def test_chained_draws_follow_the_joint_distribution(toy, model, names):
    places = [p for n in names for p in (REDSHIFT if n == "redshift" else CLASS)]
    table = toy.joint(model, GIVEN, places)
    assert sum(table.values()) == pytest.approx(1, abs=1e-5)
    found, samples = sample(toy, model, names, 3000, scheme=Chained())
    assert fits(toy, samples, table) > 1e-3
    expected = [np.log(table[tuple(int(c) for c in row)]) for row in samples]
    np.testing.assert_allclose(found.log_probability[:, 0], expected, atol=1e-4)


def test_one_shot_draws_are_products_of_marginals(toy, model):
    redshift = toy.joint(model, GIVEN, REDSHIFT)
    labels = toy.conditional(model, GIVEN, "object_class", 0)
    product = {
        (*z, c): mass * labels[c] for z, mass in redshift.items() for c in range(3)
    }
    _, samples = sample(
        toy, model, ("redshift", "object_class"), 3000, scheme=OneShot()
    )
    assert fits(toy, samples, product) > 1e-3


def test_the_two_schemes_differ_where_modalities_depend_on_each_other(toy, model):
    # Else the two tests above would not tell one scheme from the other.
    names = ("redshift", "object_class")
    table = toy.joint(model, GIVEN, [*REDSHIFT, *CLASS])
    _, samples = sample(toy, model, names, 3000, scheme=OneShot())
    assert fits(toy, samples, table) < 1e-6


def test_many_slots_of_one_modality_are_drawn_together(toy, model):
    places = [("gaia_xp_bp", p) for p in range(3)]
    single = [toy.conditional(model, GIVEN, *p) for p in places]
    table = {
        (a, b, c): single[0][a] * single[1][b] * single[2][c]
        for a in range(4)
        for b in range(4)
        for c in range(4)
    }
    _, samples = sample(toy, model, ("gaia_xp_bp",), 3000, scheme=Chained())
    assert fits(toy, samples, table) > 1e-3


def batch(toy, count: int) -> TokenBatch:
    rows = [
        toy.tokens_of(("ra", 0, i % 5), ("object_class", 0, i % 3))
        for i in range(count)
    ]
    return jax.tree.map(lambda *a: np.concatenate(a), *rows)


def test_batching_does_not_change_a_draw(toy, model, monkeypatch):
    forward, run = Forward(model), dict(num_samples=3, key=jax.random.key(3))
    whole = draw(forward, batch(toy, 9), ("redshift",), scheme=OneShot(), **run)
    monkeypatch.setattr("aion.sampling.forward.TOKENS_PER_PASS", 64)
    parts = draw(forward, batch(toy, 9), ("redshift",), scheme=OneShot(), **run)
    np.testing.assert_array_equal(whole.codes["redshift"], parts.codes["redshift"])


def test_more_samples_begin_with_the_same_ones(toy, model):
    forward, run = Forward(model), dict(scheme=OneShot(), key=jax.random.key(3))
    few, many = (
        draw(forward, batch(toy, 3), ("gaia_parallax",), num_samples=n, **run)
        for n in (2, 6)
    )
    name = "gaia_parallax"
    np.testing.assert_array_equal(few.codes[name], many.codes[name][:2])


def test_objects_and_samples_get_their_own_randomness(toy, model):
    same = jax.tree.map(lambda a: np.repeat(a, 40, axis=0), toy.tokens_of(*GIVEN))
    found = draw(
        Forward(model),
        same,
        ("redshift",),
        num_samples=40,
        scheme=OneShot(),
        key=jax.random.key(0),
    )
    codes = found.codes["redshift"][..., 0]
    assert len(np.unique(codes[0])) > 1 and len(np.unique(codes[:, 0])) > 1


def test_nothing_given_draws_from_the_prior(toy, model):
    table = toy.joint(model, [], REDSHIFT)
    _, samples = sample(toy, model, ("redshift",), 3000, scheme=Chained(), given=[])
    assert fits(toy, samples, table) > 1e-3


def test_transforms_reach_the_draw(toy, model):
    best = int(np.argmax(toy.conditional(model, GIVEN, "object_class", 0)))
    _, samples = sample(
        toy, model, ("object_class",), 50, scheme=OneShot(), chosen=(TopK(1),)
    )
    assert np.all(samples == best)


def by_chance(confidence, noise):
    """A random order, as ROAR has it."""
    return noise


def by_confidence(confidence, noise):
    """The surest first, as MaskGIT has it."""
    return confidence


@dataclass(frozen=True)
class OneByOne:
    """A toy scheme: the places of a modality one by one in the order of a rank."""

    rank: object

    def steps(self, asked):
        (spec,) = asked
        every = ((spec.name, tuple(range(spec.num_tokens))),)
        step = Step(every, (spec.name,), 1, self.rank)
        return (step,) * spec.num_tokens


def test_a_random_order_mixes_the_chain_rule_over_orders(toy, model):
    import itertools

    table = {}
    for order in itertools.permutations(range(3)):
        chain = toy.joint(model, GIVEN, [("gaia_xp_bp", p) for p in order])
        for codes, mass in chain.items():
            own = tuple(codes[order.index(p)] for p in range(3))
            table[own] = table.get(own, 0.0) + mass / 6
    _, samples = sample(toy, model, ("gaia_xp_bp",), 3000, scheme=OneByOne(by_chance))
    assert fits(toy, samples, table) > 1e-3


def test_a_greedy_order_takes_the_surest_place_first(toy, model):
    known, expected = list(GIVEN), {}
    while len(expected) < 3:
        tables = {
            p: toy.conditional(model, known, "gaia_xp_bp", p)
            for p in range(3)
            if p not in expected
        }
        place = max(tables, key=lambda p: tables[p].max())
        expected[place] = int(tables[place].argmax())
        known.append(("gaia_xp_bp", place, expected[place]))
    _, samples = sample(
        toy,
        model,
        ("gaia_xp_bp",),
        2,
        scheme=OneByOne(by_confidence),
        chosen=(TopK(1),),
    )
    assert [expected[p] for p in range(3)] == samples[0].tolist()


def test_a_plan_that_leaves_places_out_is_an_error(toy, model):
    @dataclass(frozen=True)
    class Lazy:
        def steps(self, asked):
            return (Step((("gaia_xp_bp", (0, 1)),)),)

    with pytest.raises(RuntimeError, match="undrawn"):
        sample(toy, model, ("gaia_xp_bp",), 2, scheme=Lazy())


def test_queries_of_other_decoders_see_pending_places_only(toy, config):
    model = toy.build(replace(config, decoder_attention="full"))
    found, samples = sample(toy, model, ("redshift",), 20, scheme=OneShot())
    coarse = toy.conditional(model, GIVEN, "redshift", 0, alone=True)
    both = toy.conditional(model, GIVEN, "redshift", 0)
    assert np.abs(coarse - both).max() > 1e-4, "the test cannot tell them apart"
    contexts = [[*GIVEN, ("redshift", 0, int(c))] for c in samples[:, 0]]
    fine = toy.conditionals(model, contexts, "redshift", 1, alone=True)
    expected = coarse[samples[:, 0]] * fine[np.arange(20), samples[:, 1]]
    np.testing.assert_allclose(found.log_probability[:, 0], np.log(expected), atol=1e-5)


def test_categorical_never_draws_the_impossible():
    logits = jnp.array([[[-jnp.inf, 0.0, -jnp.inf, 1.0, -jnp.inf]]])
    ends = jnp.array([0.0, 0.999999, 1.0 - 2**-24, 1.0])[None, :, None]
    assert set(np.asarray(categorical(logits, ends)).ravel()) == {1, 3}


def test_categorical_inverts_the_cumulative_distribution():
    logits = jnp.log(jnp.array([[[0.1, 0.2, 0.7]]]))
    uniform = jnp.array([0.05, 0.15, 0.29, 0.31, 0.99])[None, :, None]
    found = np.asarray(categorical(logits, uniform)).ravel()
    np.testing.assert_array_equal(found, [0, 1, 1, 2, 2])


def test_buckets_are_few_and_hold():
    sizes = {bucket(n) for n in range(1, 1000)}
    assert len(sizes) < 25 and all(bucket(n) >= n for n in range(1000))
    rows = {row_bucket(n) for n in range(1, 1025)}
    assert rows == {1, 4, 16, 64, 256, 1024}
    assert all(row_bucket(n) >= n for n in range(1025))
    assert rows_per_pass(10**9) == 1 and rows_per_pass(8) == 1024


def test_space_has_what_the_tests_need(toy):
    assert (
        toy.space["redshift"].coarse_to_fine
        and toy.space["object_class"].vocabulary == 4
    )
