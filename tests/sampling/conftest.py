# SPDX-License-Identifier: MIT
"""A tiny random model with strong opinions, and its distribution by brute force."""

import types

import numpy as np
import pytest
from flax import nnx

from aion.modality import MODALITIES, Kind, Modality
from aion.model.config import ModelConfig
from aion.model.transformer import Transformer
from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace, TokenSpec

OBJECT_CLASS = Modality("object_class", "toy", Kind.CATEGORY)
PLACES = np.eye(3, dtype=np.float32)
SPACE = TokenSpace(
    (
        TokenSpec(MODALITIES["ra"], "a", 5, 5),
        TokenSpec(OBJECT_CLASS, "b", 3, 4),
        TokenSpec(
            MODALITIES["redshift"],
            "c",
            9,
            9,
            (2,),
            ((0, 5), (5, 9)),
            coarse_to_fine=True,
            slot_features=PLACES[:2],
        ),
        TokenSpec(MODALITIES["gaia_parallax"], "e", 6, 6),
        TokenSpec(MODALITIES["gaia_xp_bp"], "d", 4, 4, (3,), slot_features=PLACES),
    )
)


def build(config: ModelConfig, seed: int = 0) -> Transformer:
    """A random transformer whose codes matter: tables larger than a fresh model's."""
    model = Transformer(config, SPACE, nnx.Rngs(seed))
    for table, factor in (
        (model.heads.rows, 30.0),
        (model.embedding.codes, 60.0),
        (model.embedding.modality, 30.0),
        (model.embedding.slot_kernel, 30.0),
    ):
        table[...] = table[...] * factor
    return model


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return ModelConfig(16, 2, 2, 2, 32)


@pytest.fixture(scope="session")
def model(config) -> Transformer:
    return build(config)


def tokens_of(*given: tuple[str, int, int]) -> TokenBatch:
    """One object with tokens (modality, position, code)."""
    rows = np.array([[SPACE.index(n), p, c] for n, p, c in given], np.int32).reshape(
        -1, 3
    )
    modality, position, codes = rows.T[:, None]
    return TokenBatch(codes, modality, position)


ROWS, COLUMNS = 64, 5


@nnx.jit
def _hidden(model, inputs, asked):
    return model.hidden(inputs, asked)


def conditionals(model, givens, name: str, place: int, alone: bool = False):
    """p(code of a place | tokens) for each list of tokens, by a plain pass; [k, v].

    All slots of the modality are asked together, or the place `alone`.
    """
    shape = (ROWS, COLUMNS)
    codes, position = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    modality = np.full(shape, -1, np.int32)
    for row, given in enumerate(givens):
        for column, (known, where, code) in enumerate(given):
            modality[row, column] = SPACE.index(known)
            position[row, column], codes[row, column] = where, code
    slots = np.arange(SPACE[name].num_tokens, dtype=np.int32)
    wanted = np.where((slots == place) | (not alone), SPACE.index(name), -1)
    query = np.broadcast_to(slots, (ROWS, len(slots)))
    asked = TokenBatch(
        np.zeros_like(query),
        np.broadcast_to(wanted.astype(np.int32), query.shape),
        query,
    )
    hidden = _hidden(model, TokenBatch(codes, modality, position), asked)
    logits = np.asarray(model.heads.logits(hidden, name), np.float64)
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return (weight / weight.sum(-1, keepdims=True))[: len(givens), place]


def conditional(model, given, name: str, place: int, alone: bool = False) -> np.ndarray:
    """p(code of a place | given tokens) of one object, [v]."""
    return conditionals(model, [given], name, place, alone)[0]


def joint(model, given, places) -> dict[tuple[int, ...], float]:
    """p(codes | given) by the chain rule over (modality, position) places, in order."""
    table = {(): 1.0}
    for name, place in places:
        contexts = [
            [*given, *((n, p, c) for (n, p), c in zip(places, codes, strict=False))]
            for codes in table
        ]
        steps = conditionals(model, contexts, name, place)
        table = {
            (*codes, c): mass * q
            for (codes, mass), step in zip(table.items(), steps, strict=True)
            for c, q in enumerate(step)
            if q > 0
        }
    return table


def counts(samples: np.ndarray, keys) -> np.ndarray:
    """How often each key stands among rows of samples; none may stand outside."""
    found = dict.fromkeys(keys, 0)
    for row in samples:
        found[tuple(int(c) for c in row)] += 1
    return np.array(list(found.values()))


@pytest.fixture(scope="session")
def toy() -> types.SimpleNamespace:
    """The functions of this file; test modules cannot import each other."""
    return types.SimpleNamespace(
        space=SPACE,
        build=build,
        tokens_of=tokens_of,
        conditional=conditional,
        conditionals=conditionals,
        joint=joint,
        counts=counts,
    )
