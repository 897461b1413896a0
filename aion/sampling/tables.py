# SPDX-License-Identifier: MIT
"""Probabilities of every code of a modality given a context, without drawing."""

from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int

from aion.errors import TokenSpaceError
from aion.sampling.forward import (
    Forward,
    bucket,
    join,
    logits_by_name,
    pad_tokens,
    passes,
    places,
    row_bucket,
    rows_per_pass,
    take,
)
from aion.tokens import TokenBatch

COVERED = 1.0 - 1e-4
"""Probability of the coarse codes whose fine codes are computed."""
MOST_VISITS = 128
"""Coarse codes per object whose fine codes are computed at most."""


def softmax(logits: Any) -> np.ndarray:
    """Probabilities along the last axis, computed in float64; float32."""
    wide = np.asarray(logits, np.float64)
    grown = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return (grown / grown.sum(axis=-1, keepdims=True)).astype(np.float32)


def visited(
    coarse: Float32[np.ndarray, "b v"], covered: float, most: int
) -> Int[np.ndarray, "pairs 2"]:
    """(object, code) pairs of the likeliest codes that together reach `covered`.

    Per object the fewest codes, at most `most`; with `covered` 1 or more all codes that
    are not impossible.
    """
    order = np.argsort(-coarse, axis=1, kind="stable")
    share = np.take_along_axis(coarse.astype(np.float64), order, axis=1)
    before = np.cumsum(share, axis=1) - share
    wanted = (share > 0) & ((before < covered) | (covered >= 1.0))
    wanted[:, most:] = False
    rows, ranks = np.nonzero(wanted)
    return np.stack([rows, order[rows, ranks]], axis=1)


@partial(jax.jit, static_argnames=("graph", "name"))
def _fine_logits(
    graph: Any, state: Any, tokens: TokenBatch, asked: TokenBatch, name: str
):
    model = nnx.merge(graph, state)
    context, valid = model.context(tokens)
    return logits_by_name(model, model.decode(asked, context, valid), [name])[0][:, 1]


def _fine(
    forward: Forward, tokens: TokenBatch, name: str, pairs: np.ndarray
) -> np.ndarray:
    """p(fine code | coarse code, context), float32 [pairs, fine codes]."""
    space, spec = forward.space, forward.space[name]
    low, high = spec.slot_ranges[1]
    width = bucket(tokens.shape[1])
    size = rows_per_pass(width + 4, 2 * spec.vocabulary)
    size = min(size, row_bucket(len(pairs)))
    asked = places(space, [name], size)
    asked = TokenBatch(
        asked.codes, np.where(asked.position == 1, asked.modality, -1), asked.position
    )
    found = np.empty((len(pairs), high - low), np.float32)
    for part in passes(len(pairs), size):
        rows, codes = pairs[part].T
        shown = TokenBatch(
            codes[:, None],
            np.full((len(rows), 1), space.index(name)),
            np.zeros((len(rows), 1), np.int32),
        )
        given = join(pad_tokens(take(tokens, rows), len(rows), width), shown)
        given = pad_tokens(given, size, given.shape[1])
        logits = _fine_logits(forward.graph, forward.state, given, asked, name)
        found[part] = softmax(np.asarray(logits)[: len(rows), low:high])
    return found


def code_probabilities(
    forward: Forward,
    tokens: TokenBatch,
    name: str,
    *,
    covered: float = COVERED,
    most_visits: int = MOST_VISITS,
) -> np.ndarray:
    """Probability of every value of a modality of one token, or of coarse and fine.

    For two tokens, p(coarse, fine) = p(coarse) p(fine | coarse), where each visited
    coarse code costs one pass: those that reach the probability `covered`, the
    likeliest first. The fine codes of the others are taken to be equally probable.
    With `covered=1` and enough visits the table is exact.

    Returns:
        float32 [b, v], or [b, coarse, fine] over the codes that the two slots admit.

    Raises:
        TokenSpaceError: the modality has more tokens, or several that do not refine
            each other.
    """
    spec = forward.space[name]
    if spec.num_tokens > 2 or (spec.num_tokens == 2 and not spec.coarse_to_fine):
        raise TokenSpaceError(
            f"{name} has {spec.num_tokens} tokens, too many for a table of all values",
            "Draw it with `sample`.",
        )
    first = forward.logits(tokens, [name])[name][:, 0]
    if spec.num_tokens == 1:
        return softmax(first)
    low, high = spec.slot_ranges[0]
    coarse = softmax(first[:, low:high])
    pairs = visited(coarse, covered, most_visits)
    count = int(np.diff(spec.slot_ranges[1])[0])
    table = np.repeat((coarse / np.float32(count))[:, :, None], count, axis=2)
    if len(pairs):
        fine = _fine(forward, tokens, name, pairs + np.array([0, low]))
        rows, codes = pairs.T
        table[rows, codes] = coarse[rows, codes, None] * fine
    return table
