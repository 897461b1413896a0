# SPDX-License-Identifier: MIT
import itertools

import jax
import numpy as np
import pytest

from aion.data.masking import Named, Uniform, ours
from aion.data.pipeline import Budget, TrainingStream, evaluation_batches
from aion.data.requests import Request
from aion.data.schedule import Interleave, route, shuffled
from aion.errors import ConfigError, DataError, TokenSpaceError

BUDGETS = (Budget(8, 4, 8, 2.0), Budget(20, 10, 8), Budget(60, 20, 4))


def same(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def joined(examples):
    return jax.tree.map(lambda *parts: np.concatenate(parts), *examples)


@pytest.fixture(scope="module")
def second(make, toy_space, tmp_path_factory):
    codes = make.codes(toy_space, 90, seed=1)
    return make.shards(tmp_path_factory.mktemp("second") / "set", toy_space, codes)


@pytest.fixture(scope="module")
def stream(toy_shards, second):
    def build(**changes):
        values = {
            "sets": [toy_shards, second],
            "weights": [3.0, 1.0],
            "policy": ours(toy_shards.space),
            "budgets": BUDGETS,
            "seed": 7,
        }
        return TrainingStream(**{**values, **changes})

    return build


@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_gives_the_same_stream(stream, processes):
    whole = stream()
    parts = [
        stream(process_index=index, process_count=processes)
        for index in range(processes)
    ]
    for step in (0, 1, 17, 10**9):
        same(joined([p.batch(step) for p in parts]), whole.batch(step))


def test_resuming_at_any_step(stream):
    run = list(itertools.islice(stream().iterate(), 12))
    for start in (0, 3, 11):
        rest = itertools.islice(stream().iterate(start), 12 - start)
        for one, two in zip(rest, run[start:], strict=True):
            same(one, two)
    still = itertools.islice(stream().iterate(5, threads=0), 3)
    for one, two in zip(still, run[5:8], strict=True):
        same(one, two)


def test_worker_processes_give_the_same(stream):
    batches = stream().iterate(2, threads=1, workers=2)
    for step, batch in zip(range(2, 7), batches, strict=False):
        same(batch, stream().batch(step))


def test_seeds_differ(stream):
    one, two = stream().rows(0), stream(seed=8).rows(0)
    assert one.shape != two.shape or (one != two).any()


def test_shapes_are_static(stream):
    found = stream()
    seen = set()
    for step in range(60):
        example, budget = found.batch(step), found.budget(step)
        assert example.inputs.shape == (budget.batch, budget.inputs)
        assert example.targets.shape == (budget.batch, budget.targets)
        seen.add(budget)
    assert seen == set(BUDGETS) == set(found.budgets)


def test_weights_are_realised(stream):
    found = stream()
    chosen = np.concatenate([found.rows(step)[0] for step in range(480)])
    assert np.bincount(chosen) / len(chosen) == pytest.approx([0.75, 0.25], abs=0.01)
    steps = [BUDGETS.index(found.budget(step)) for step in range(480)]
    assert np.bincount(steps).tolist() == [240, 120, 120]


def test_without_replacement_whatever_the_shapes(stream, toy_shards, second):
    found = stream()
    seen = [[], []]
    for step in range(300):
        for number, row in found.rows(step).T:
            seen[number].append(row)
    for number, shards in enumerate((toy_shards, second)):
        size = shards.count("train")
        epochs = len(seen[number]) // size
        assert epochs >= 3
        orders = np.array(seen[number][: epochs * size]).reshape(epochs, size)
        np.testing.assert_array_equal(
            np.sort(orders), np.tile(range(size), (epochs, 1))
        )
        assert (orders[0] != orders[1]).any()


def test_fewer_rows_than_the_batch(stream, make, toy_space, tmp_path):
    few = make.shards(tmp_path / "few", toy_space, make.codes(toy_space, 9), 1)
    found = stream(sets=[few], weights=None, budgets=[Budget(4, 2, batch=64)])
    assert few.count("train") < 9
    assert found.batch(3).inputs.shape == (64, 4)


def test_every_epoch_is_masked_anew(make, toy_space, stream, tmp_path):
    codes = make.codes(toy_space, 9)
    few = make.shards(tmp_path / "few", toy_space, codes, 1)
    size = few.count("train")
    budget = Budget(10, 5, batch=size)
    found = stream(sets=[few], weights=None, budgets=[budget], policy=Uniform())
    one, two = (np.sort(found.batch(s).inputs.position, axis=None) for s in (0, 1))
    assert (one != two).any()


def test_small_objects_use_small_shapes():
    budgets = (Budget(64, 32, 10), Budget(256, 128, 10, 2.0), Budget(960, 384, 5))
    share = route([9, 300, 1000, 5000], [2.0, 1.0, 1.0, 1.0], budgets)
    assert share.sum() == pytest.approx(1.0)
    assert share.sum(axis=1) == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert (share > 0).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]
    # A set that uses all: examples by weight times batch, so steps by weight.
    assert share[2] / share[2].sum() == pytest.approx(np.array([10, 20, 5]) / 35)


def test_shapes_that_nothing_fills_are_dropped(stream):
    found = stream(budgets=(Budget(64, 32, 8), Budget(256, 128, 8)))
    assert found.budgets == (Budget(64, 32, 8),)


def test_named_requests_need_their_modalities(stream):
    policy = Named((Request("x", ("ghost",), ("image",)),))
    with pytest.raises(ConfigError, match="'ghost'"):
        stream(policy=policy).batch(0)


def test_another_token_space(stream, toy_shards, make, tmp_path):
    space = make.space(a=1, image=30, z=2, b=2, spectrum=12, c=1)
    other = make.shards(tmp_path / "other", space, make.codes(space, 30))
    with pytest.raises(TokenSpaceError, match=r"row 3 \(b\) .*differs in modality"):
        stream(sets=[toy_shards, other])


def test_empty_splits(stream, make, toy_space, tmp_path):
    one = make.shards(tmp_path / "one", toy_space, make.codes(toy_space, 1), 1)
    empty = next(s for s in ("validation", "test", "train") if not one.count(s))
    with pytest.raises(DataError, match=f"no record in the split '{empty}'"):
        stream(sets=[one], weights=None, split=empty)
    with pytest.raises(DataError, match="Choose another split"):
        next(evaluation_batches(one, empty, 4))
    nothing = np.full((40, toy_space.num_slots), -1, np.int32)
    absent = make.shards(tmp_path / "absent", toy_space, nothing)
    with pytest.raises(DataError, match="all modalities of all records are absent"):
        stream(sets=[absent], weights=None)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"weights": [1.0]}, "one positive weight per data set"),
        ({"weights": [1.0, 0.0]}, "one positive weight per data set"),
        ({"budgets": ()}, "at least one of each"),
        ({"process_count": 3}, "a batch of 8 does not divide among 3"),
        ({"process_index": 2, "process_count": 2}, "process 2 of 2"),
    ],
)
def test_values_that_do_not_fit(stream, change, text):
    with pytest.raises(ConfigError, match=text):
        stream(**change)


def test_evaluation_reads_everything_once(toy_shards):
    batches = list(evaluation_batches(toy_shards, "test", 7))
    total = toy_shards.count("test")
    assert [b.count for b in batches] == [7] * (total // 7) + [total % 7]
    assert {b.codes.shape[0] for b in batches} == {7}
    names = np.concatenate([b.object_id[: b.count] for b in batches])
    expected = toy_shards.read_records("test", np.arange(total))
    np.testing.assert_array_equal(names, expected.object_id)
    codes = np.concatenate([b.codes[: b.count] for b in batches])
    np.testing.assert_array_equal(codes, expected.codes)
    last = batches[-1]
    assert (last.codes[last.count :] == -1).all() and not last.object_id[-1]


def test_interleave_counts_what_it_deals():
    deal = Interleave.of([0.5, 0.0, 0.3, 0.2, 0.0001], 100, seed=3)
    assert sum(deal.counts) == 100
    assert deal.counts[1] == 0 and deal.counts[4] == 1
    sequence = deal.span(0, 450)
    for position in (0, 1, 99, 100, 250, 449):
        before = np.bincount(sequence[:position], minlength=5)
        np.testing.assert_array_equal(deal.before(position), before)
    np.testing.assert_array_equal(deal.span(130, 310), sequence[130:310])


def test_epochs_are_permutations():
    rows = shuffled(np.arange(35), 7, seed=1).reshape(5, 7)
    np.testing.assert_array_equal(np.sort(rows), np.tile(range(7), (5, 1)))
    assert len({tuple(r) for r in rows}) > 1
