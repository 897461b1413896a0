# SPDX-License-Identifier: MIT
"""A small masked-token problem with something to learn."""

import types

import numpy as np
import pytest

from aion.modality import Kind, Modality
from aion.model.config import ModelConfig
from aion.tokens import Example, TokenBatch
from aion.tokenspace import TokenSpace, TokenSpec
from aion.train.loop import LoopConfig
from aion.train.optimizer import OptimizerConfig
from aion.train.task import MaskedTokens

SPACE = TokenSpace(
    tuple(
        TokenSpec(
            Modality(name, "toy", Kind.SCALAR),
            name,
            codes,
            codes,
            code_features=np.linspace(-1, 1, codes, dtype=np.float32)[:, None],
        )
        for name, codes in (("one", 8), ("two", 8), ("sum", 15))
    )
)
ROWS = 16


def batch(step: int) -> Example:
    """Given one and two, asked their sum; or given one and the sum, asked two."""
    rng = np.random.default_rng([7, step])
    one, two = rng.integers(0, 8, (2, ROWS))
    codes = np.stack([one, two, one + two], axis=1).astype(np.int32)
    backward = rng.random(ROWS) < 0.3
    order = np.where(backward[:, None], [0, 2, 1], [0, 1, 2]).astype(np.int32)
    placed = np.take_along_axis(codes, order, axis=1)
    zero = np.zeros((ROWS, 3), np.int32)
    tokens = [
        TokenBatch(*(x[:, cut] for x in (placed, order, zero)))
        for cut in (slice(0, 2), slice(2, 3))
    ]
    return Example(*tokens)


def batches(start: int):
    """The batches from a step on."""
    while True:
        yield batch(start)
        start += 1


@pytest.fixture(scope="session")
def problem() -> types.SimpleNamespace:
    """Task, batches and settings of a run of a few seconds."""
    model = ModelConfig(16, 1, 1, 2, 32, head_block=8)
    return types.SimpleNamespace(
        space=SPACE,
        model=model,
        task=MaskedTokens(model, SPACE),
        batch=batch,
        batches=batches,
        loop=LoopConfig(steps=8, log_every=1, checkpoint_every=4, seed=3),
        optimizer=OptimizerConfig(learning_rate=3e-3),
    )
