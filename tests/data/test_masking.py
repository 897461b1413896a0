# SPDX-License-Identifier: MIT
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from aion.data.allotment import Budget, Offer, Plan, fill_uniformly, pick, spread
from aion.data.draws import Draws
from aion.data.masking import (
    Dirichlet,
    Mixture,
    Named,
    Official,
    Uniform,
    WholeModalities,
    ours,
)
from aion.data.requests import Request
from aion.data.selection import draw_plan, mask_codes
from aion.errors import ConfigError, DataError

REQUEST = Request("picture -> spectrum", ("image",), ("spectrum",))
POLICIES = (
    Official(),
    Dirichlet(),
    Dirichlet((0.01, 10.0), between=True),
    Uniform(),
    WholeModalities(),
    Named((REQUEST,)),
    Mixture((Uniform(), Mixture((Official(), WholeModalities()))), (0.2, 0.8)),
)


def many(space, number, **absent):
    """The offer of `number` equal records, less the modalities named."""
    counts = np.tile(space.num_tokens.astype(np.int64), (number, 1))
    for name in absent:
        counts[:, space.index(name)] = 0
    return Offer(counts, space)


def plan_of(policy, space, budget, number=4000, **absent):
    offer = many(space, number, **absent)
    return draw_plan(policy, Draws.of(1, np.arange(number)), offer, budget)


@settings(max_examples=60)
@given(
    st.sampled_from(POLICIES),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 2**32),
    st.data(),
)
def test_what_every_policy_must_do(toy_space, policy, inputs, targets, seed, data):
    space = toy_space
    present = data.draw(
        arrays.arrays(bool, (8, space.num_slots), elements=st.booleans())
    )
    codes = np.where(present, np.arange(space.num_slots, dtype=np.int32) % 50, -1)
    before = codes.copy()
    draws = Draws.of(seed, np.arange(8))
    example = mask_codes(codes, space, policy, Budget(inputs, targets), draws)
    np.testing.assert_array_equal(codes, before)
    z = space.index("z")
    for row in range(8):
        sides = []
        for tokens, size in ((example.inputs, inputs), (example.targets, targets)):
            assert tokens.shape == (8, size)
            assert {
                a.dtype for a in (tokens.codes, tokens.modality, tokens.position)
            } == {np.dtype(np.int32)}
            valid = tokens.valid[row]
            slots = (space.slot_offsets[tokens.modality] + tokens.position)[row][valid]
            np.testing.assert_array_equal(codes[row, slots], tokens.codes[row][valid])
            assert (codes[row, slots] >= 0).all()
            assert not tokens.codes[row][~valid].any()
            assert not tokens.position[row][~valid].any()
            sides.append(set(slots.tolist()))
            assert len(sides[-1]) == valid.sum()
        given_slots, asked_slots = sides
        assert not given_slots & asked_slots
        coarse, fine = space.slot_offsets[z], space.slot_offsets[z] + 1
        assert fine not in given_slots | asked_slots or coarse in given_slots
        usable = present[row].copy()
        usable[fine] &= usable[coarse]
        assert bool(asked_slots) == usable.any()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)
def test_a_row_does_not_depend_on_its_batch(policy, toy_space, toy_codes):
    budget, draws = Budget(20, 10), Draws.of(3, np.arange(400))
    whole = mask_codes(toy_codes, toy_space, policy, budget, draws)
    rows = np.array([7, 300, 12])
    part = mask_codes(toy_codes[rows], toy_space, policy, budget, draws.take(rows))
    for side in ("inputs", "targets"):
        for name in ("codes", "modality", "position"):
            np.testing.assert_array_equal(
                getattr(getattr(part, side), name),
                getattr(getattr(whole, side), name)[rows],
            )


def test_tokens_of_a_modality_are_equally_likely(toy_space):
    codes = np.zeros((6000, toy_space.num_slots), np.int32)
    draws = Draws.of(4, np.arange(6000))
    example = mask_codes(codes, toy_space, Uniform(), Budget(16, 8), draws)
    for tokens in (example.inputs, example.targets):
        image = tokens.modality == toy_space.index("image")
        found = np.bincount(tokens.position[image], minlength=30)
        assert stats.chisquare(found).pvalue > 1e-3


def test_official_begins_with_any_modality_and_any_number(make):
    space = make.space(a=30, b=30, c=30)
    plan = plan_of(Official(), space, Budget(20, 10), 6000)
    assert (plan.inputs.sum(axis=1) == 20).all()
    assert (plan.targets.sum(axis=1) == 10).all()
    # A third of the time `a` is first with U{1..20}; else it is one of two that fill.
    first = np.arange(1, 21)
    fill = [stats.hypergeom.pmf(np.arange(21), 60, 30, 20 - k) for k in first]
    expected = np.mean(fill, axis=0) * 2 / 3
    expected[1:] += 1 / 60
    found = np.bincount(plan.inputs[:, 0], minlength=21)
    assert stats.chisquare(found, expected * 6000).pvalue > 1e-3


def test_official_targets_follow_the_beta_law(make):
    space = make.space(a=400, b=400)
    plan = plan_of(Official(), space, Budget(2, 100), 6000)
    # The first modality gives 1 + floor(100 U**10) targets, the other one the rest.
    lower = plan.targets.min(axis=1)
    share = np.minimum(np.arange(1, 100) / 100, 1) ** 0.1
    number = np.append(np.diff(share, prepend=0), 1 - share[-1])
    below = number[:49] + number[50:99][::-1]
    expected = np.concatenate([[number[99]], below, [number[49]]])
    found = np.bincount(lower, minlength=51)
    keep = expected * 6000 > 5
    assert found[keep].sum() > 5900
    weights = expected[keep] / expected[keep].sum() * found[keep].sum()
    assert stats.chisquare(found[keep], weights).pvalue > 1e-3


def test_dirichlet_shares(make):
    space = make.space(a=4000, b=4000, c=4000)
    plan = plan_of(Dirichlet((0.5,)), space, Budget(1000, 1000))
    for counts in (plan.inputs, plan.targets):
        assert (counts.sum(axis=1) == 1000).all()
        share = counts[:, 0] / 1000
        assert stats.kstest(share, stats.beta(0.5, 1.0).cdf).statistic < 0.03
    assert abs(np.corrcoef(plan.inputs[:, 0], plan.targets[:, 0])[0, 1]) < 0.05


def test_dirichlet_excess_is_not_lost(make):
    space = make.space(a=2, b=40, c=40)
    plan = plan_of(Dirichlet((0.01, 1.0)), space, Budget(30, 20))
    assert (plan.inputs.sum(axis=1) == 30).all()
    assert (plan.targets.sum(axis=1) == 20).all()


def test_small_alpha_takes_one_modality(make):
    space = make.space(a=50, b=50, c=50, d=50)
    number = (plan_of(Dirichlet((0.01,)), space, Budget(30, 20)).inputs > 0).sum(axis=1)
    assert (number == 1).mean() > 0.85
    number = (plan_of(Dirichlet((10.0,)), space, Budget(30, 20)).inputs > 0).sum(axis=1)
    assert (number == 4).mean() > 0.9


def test_uniform_is_hypergeometric(make):
    space = make.space(a=5, b=40)
    plan = plan_of(Uniform(), space, Budget(20, 10), 6000)
    expected = stats.hypergeom.pmf(np.arange(6), 45, 5, 20) * 6000
    assert stats.chisquare(np.bincount(plan.inputs[:, 0]), expected).pvalue > 1e-3
    left = stats.hypergeom.pmf(np.arange(6), 45, 5, 10) * 6000
    found = np.bincount(plan.targets[:, 0], minlength=6)
    assert stats.chisquare(
        found[:5], left[:5] / left[:5].sum() * found[:5].sum()
    ).pvalue > (1e-3)


def test_whole_modalities_are_given_in_any_number(make):
    space = make.space(**dict.fromkeys("abcde", 3))
    plan = plan_of(WholeModalities(), space, Budget(50, 50), 6000)
    assert set(np.unique(plan.inputs)) == {0, 3}
    assert set(np.unique(plan.targets)) == {0, 3}
    given = (plan.inputs > 0).sum(axis=1)
    # Uniform on 0..5; all five given is turned into four, to have one to ask.
    expected = np.array([1, 1, 1, 1, 2]) / 6
    found = np.bincount(given, minlength=5)
    assert stats.chisquare(found, expected * 6000).pvalue > 1e-3


def test_whole_modalities_keeps_short_ones_whole(make):
    space = make.space(a=1, b=2, image=200, spectrum=100)
    plan = plan_of(WholeModalities(), space, Budget(40, 30))
    for counts, size in ((plan.inputs, 40), (plan.targets, 30)):
        assert set(np.unique(counts[:, 0])) == {0, 1}
        assert set(np.unique(counts[:, 1])) == {0, 2}
        long = counts[:, 2] > 0
        assert (counts[long].sum(axis=1) == size).all()


def test_named_trains_what_it_names(toy_space):
    plan = plan_of(Named((REQUEST,)), toy_space, Budget(64, 32), 50)
    image, spectrum = toy_space.index("image"), toy_space.index("spectrum")
    assert (plan.inputs[:, image] == 30).all() and (
        plan.targets[:, spectrum] == 12
    ).all()
    assert plan.inputs.sum() == 50 * 30 and plan.targets.sum() == 50 * 12
    other = plan_of(Named((REQUEST,)), toy_space, Budget(64, 32), 50, spectrum=0)
    assert (other.targets.sum(axis=1) > 0).all()
    assert not other.targets[:, spectrum].any()
    unknown = Named((Request("no", ("image",), ("ghost",)),))
    with pytest.raises(ConfigError, match="'ghost', which is not in the token space"):
        plan_of(unknown, toy_space, Budget(64, 32))


def test_mixture_draws_by_weight(toy_space):
    named = Named((REQUEST,))
    mixture = Mixture((Uniform(), named), (3.0, 1.0))
    plan = plan_of(mixture, toy_space, Budget(20, 12), 6000)
    only = (plan.inputs.sum(axis=1) == plan.inputs[:, toy_space.index("image")]).sum()
    assert stats.binomtest(int(only), 6000, 0.25).pvalue > 1e-3
    for weights in [(1.0,), (1.0, -1.0), (0.0, 0.0)]:
        with pytest.raises(ConfigError, match="one positive weight per policy"):
            Mixture((Uniform(), named), weights)
    with pytest.raises(ConfigError, match="of 0 policies"):
        Mixture(())


def test_ours_is_thirds_and_named_requests(toy_space):
    policy = ours(toy_space, [REQUEST], named=0.1)
    assert isinstance(policy, Mixture)
    assert [type(p) for p in policy.policies] == [
        Official,
        WholeModalities,
        Dirichlet,
        Named,
    ]
    assert policy.weights == pytest.approx((0.3, 0.3, 0.3, 0.1))
    assert len(ours(toy_space).policies) == 3  # no request of the forty modalities


def test_coarse_and_fine(make):
    """Both asked: the coarse alone, or, for 1 - sqrt(1/2), the fine with it given."""
    space = make.space(z=2, other=30)
    asks = Named((Request("z", ("other",), ("z",)),))
    plan = plan_of(asks, space, Budget(40, 10), 6000)
    pairs = plan.inputs[:, 0], plan.targets[:, 0]
    assert (pairs[1] == 1).all()
    assert set(pairs[0]) == {0, 1}
    assert stats.binomtest(int(pairs[0].sum()), 6000, 1 - 0.5**0.5).pvalue > 1e-3
    full = plan_of(asks, space, Budget(30, 10))
    assert not full.inputs[:, 0].any() and (full.targets[:, 0] == 1).all()


def test_one_token_is_asked_and_nothing_given(make):
    space = make.space(a=1, b=4)
    for policy in (*POLICIES[:5], ours(space)):
        plan = plan_of(policy, space, Budget(8, 4), 100, b=0)
        assert (plan.targets[:, 0] == 1).all() and not plan.inputs.any()


def test_a_policy_that_takes_too_much_is_found_out(toy_space):
    @dataclass(frozen=True)
    class Greedy:
        def plan(self, draws, offer, budget):
            return Plan(offer.counts + 1, offer.counts)

    with pytest.raises(DataError, match="beyond the budget or the record"):
        plan_of(Greedy(), toy_space, Budget(500, 500))


@given(
    arrays.arrays(np.int64, (5, 6), elements=st.integers(0, 40)),
    st.integers(0, 200),
    st.integers(0, 2**32),
    st.floats(0.01, 500),
)
def test_dealing_is_exact(caps, room, seed, scale):
    draws, rooms = Draws.of(seed, np.arange(5)), np.full(5, room)
    weights = draws.stream("w").normal(6) * scale
    for dealt in (
        spread(draws, weights, caps, rooms),
        fill_uniformly(draws, caps, rooms),
    ):
        assert (dealt >= 0).all() and (dealt <= caps).all()
        np.testing.assert_array_equal(
            dealt.sum(axis=1), np.minimum(room, caps.sum(axis=1))
        )


def test_pick_is_fair():
    allowed = np.tile([True, False, True, True], (3000, 1))
    allowed[0] = False
    chosen = pick(Draws.of(0, np.arange(3000)), allowed)
    assert not chosen[0].any() and (chosen[1:].sum(axis=1) == 1).all()
    assert not chosen[:, 1].any()
    assert stats.chisquare(chosen.sum(axis=0)[[0, 2, 3]]).pvalue > 1e-3


@pytest.mark.parametrize("values", [(0, 1), (1, 0), (1, 1, 0), (1, 1, 1, 0.0)])
def test_budgets_below_one(values):
    with pytest.raises(ConfigError, match="at least 1 input"):
        Budget(*values)


def test_named_requests_come_by_their_weights(make):
    space = make.space(a=1, b=1, c=1)
    often = Request("often", ("a",), ("b",), weight=3)
    asks = Named((often, Request("seldom", ("a",), ("c",))))
    plan = plan_of(asks, space, Budget(4, 4), 4000)
    share = int(plan.targets[:, 1].sum())
    assert share + int(plan.targets[:, 2].sum()) == 4000
    assert stats.binomtest(share, 4000, 0.75).pvalue > 1e-3
    with pytest.raises(ConfigError, match="weight 0"):
        Request("never", ("a",), ("b",), weight=0)
