# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from aion.data.masking import Mixture, Named, ours
from aion.data.pipeline import TrainingStream
from aion.data.requests import (
    REQUESTS,
    Request,
    applicable,
    practised,
    presence,
    request_report,
)
from aion.errors import ConfigError
from aion.tokens import Example, TokenBatch


def tokens(rows):
    modality = np.array(rows, np.int32)
    zeros = np.zeros_like(modality)
    return TokenBatch(zeros, modality, zeros)


def test_what_counts_as_practice(make):
    space = make.space(a=1, b=1, c=1, d=1)
    request = Request("ab -> c", ("a", "b"), ("c",))
    rows = [  # inputs, targets, whether it is the request
        ([0, -1], [2, -1], True),
        ([0, 1], [2, 3], True),
        ([0, 3], [2, -1], False),
        ([-1, -1], [2, -1], False),
        ([0, 1], [3, -1], False),
    ]
    example = Example(tokens([r[0] for r in rows]), tokens([r[1] for r in rows]))
    found = practised(request, presence(example, space), space)
    assert found.tolist() == [r[2] for r in rows]
    other = Request("elsewhere", ("a",), ("ghost",))
    report = request_report([example, example], [request, other], space)
    assert report == {"ab -> c": 0.4}


def test_requests_that_say_nothing():
    with pytest.raises(ConfigError, match=r"gives and asks \['a'\]"):
        Request("x", ("a", "b"), ("a",))
    with pytest.raises(ConfigError, match="gives or asks nothing"):
        Request("x", (), ("a",))


def test_requests_shrink_to_the_space(make):
    space = make.space(a=1, c=1)
    known = applicable([Request("x", ("a", "b"), ("c", "d"))], space)
    assert known == (Request("x", ("a",), ("c",)),)


def test_every_named_request_is_practised_by_our_default(benchmark, tmp_path):
    """At least 1 % of the examples whose records have both sides."""
    space, shares = benchmark.forty_space(), {}
    budgets = [benchmark.Budget(b.inputs, b.targets, 64) for b in benchmark.BUDGETS]
    for number, pair in enumerate(benchmark.PAIRS):
        shards = benchmark.write_pair(tmp_path / str(number), pair, 128, number)
        stream = TrainingStream([shards], None, ours(space), budgets)
        report = request_report(map(stream.batch, range(30)), REQUESTS, space)
        assert list(report) == [r.name for r in REQUESTS]
        for name, share in report.items():
            if share:
                shares.setdefault(name, []).append(share)
    assert set(shares) == {r.name for r in REQUESTS}
    assert min(min(found) for found in shares.values()) >= 0.01


def test_ours_names_the_requests_of_the_forty(benchmark):
    policy = ours(benchmark.forty_space())
    assert isinstance(policy, Mixture) and policy.policies[-1] == Named(REQUESTS)
