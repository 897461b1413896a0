# SPDX-License-Identifier: MIT
"""Forward passes over any number of objects in batches of few static shapes.

Rows and token counts are padded up to buckets, so that a model is compiled for few
shapes however users batch. Padding does not change what is computed: padded tokens are
masked, padded rows are cut off.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace

TOKENS_PER_PASS = 2**15
"""Tokens, given and asked, that one pass holds at most."""
LOGITS_PER_PASS = 2**25
"""Logits that one pass holds at most; 128 MB in float32."""


@runtime_checkable
class Model(Protocol):
    """What sampling needs of `aion.model.transformer.Transformer`."""

    space: Any
    heads: Any

    def context(self, inputs: TokenBatch) -> Any:
        """What the decoder reads [b, r, d], and which of it is valid [b, r]."""
        ...

    def decode(self, asked: TokenBatch, context: Any, valid: Any) -> Any:
        """Hidden vectors [b, m, d] of asked places."""
        ...


def bucket(count: int) -> int:
    """The padded number of tokens: powers of two to 64, then multiples of 64."""
    if count <= 1:
        return count
    return 2 ** math.ceil(math.log2(count)) if count <= 64 else -(-count // 64) * 64


def row_bucket(count: int) -> int:
    """The padded number of objects: powers of four, since compiling takes longer."""
    return 4 ** math.ceil(math.log(max(count, 1), 4) - 1e-9)


def rows_per_pass(tokens: int, logits: int = 0) -> int:
    """How many objects go into one pass, a power of two; at least one.

    Args:
        tokens: tokens per object, given and asked.
        logits: logits per object.
    """
    room = min(
        TOKENS_PER_PASS // max(tokens, 1), LOGITS_PER_PASS // max(logits, 1), 1024
    )
    return 2 ** int(math.log2(max(room, 1)))


def passes(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows that cover all rows."""
    return (slice(i, min(i + size, rows)) for i in range(0, rows, size))


def pad(array: Any, rows: int, columns: int | None, fill: int) -> np.ndarray:
    """A [b, ...] array with rows, and columns if given, filled up at the end."""
    array = np.asarray(array)
    extra = [(0, rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    if columns is not None:
        extra[1] = (0, columns - array.shape[1])
    return np.pad(array, extra, constant_values=fill)


def pad_tokens(tokens: TokenBatch, rows: int, columns: int) -> TokenBatch:
    """A token batch of [rows, columns] with padding behind and below."""
    return TokenBatch(
        pad(tokens.codes, rows, columns, 0),
        pad(tokens.modality, rows, columns, -1),
        pad(tokens.position, rows, columns, 0),
    )


def take(tokens: TokenBatch, rows: Any) -> TokenBatch:
    """Some rows of a token batch, as NumPy arrays."""
    return jax.tree.map(lambda a: np.asarray(a)[rows], tokens)


def join(*batches: TokenBatch) -> TokenBatch:
    """Token batches of the same objects, side by side."""
    return jax.tree.map(lambda *a: np.concatenate(a, axis=-1, dtype=np.int32), *batches)


def places(space: TokenSpace, names: Sequence[str], rows: int) -> TokenBatch:
    """All places of some modalities for each of some objects, codes 0; int32 [b, m]."""
    ids = [space.index(n) for n in names]
    counts = [space[n].num_tokens for n in names]
    modality = np.repeat(np.array(ids, np.int32), counts)
    position = np.concatenate([np.arange(c, dtype=np.int32) for c in counts])
    shape = (rows, len(modality))
    return TokenBatch(
        np.zeros(shape, np.int32),
        np.broadcast_to(modality, shape),
        np.broadcast_to(position, shape),
    )


def split_places(array: Any, space: TokenSpace, names: Sequence[str]) -> dict[str, Any]:
    """Cuts the last axis, the places of `places`, into modalities."""
    ends = np.cumsum([space[n].num_tokens for n in names])
    return dict(zip(names, np.split(array, ends[:-1], axis=-1), strict=True))


def logits_by_name(model: Any, hidden: jax.Array, names: Sequence[str]) -> list[Any]:
    """Logits [b, t, v] of each modality from hidden vectors of its places [b, m, d]."""
    found, start = [], 0
    for name in names:
        stop = start + model.space[name].num_tokens
        found.append(model.heads.logits(hidden[:, start:stop], name))
        start = stop
    return found


@partial(jax.jit, static_argnames=("graph", "names"))
def _logits(graph: Any, state: Any, tokens: TokenBatch, asked: TokenBatch, names: Any):
    model = nnx.merge(graph, state)
    context, valid = model.context(tokens)
    hidden = model.decode(asked, context, valid)
    return logits_by_name(model, hidden, names)


@partial(jax.jit, static_argnames="graph")
def _context(graph: Any, state: Any, tokens: TokenBatch):
    return nnx.merge(graph, state).context(tokens)


class Forward:
    """A model, ready for passes of static shapes.

    Attributes:
        space: the model's token space.
        graph, state: the two halves of the model; the first is static.
    """

    def __init__(self, model: Model) -> None:
        self.space: TokenSpace = model.space
        self.graph, self.state = nnx.split(model)

    def logits(self, tokens: TokenBatch, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Logits float32 [b, t, v] of asked modalities, each place by itself.

        -inf stands where a slot does not admit a code.
        """
        names = tuple(names)
        rows, width = tokens.shape
        specs = [self.space[n] for n in names]
        asked = sum(s.num_tokens for s in specs)
        size = rows_per_pass(
            bucket(width) + asked, sum(s.num_tokens * s.vocabulary for s in specs)
        )
        size = min(size, row_bucket(rows))
        queries = places(self.space, names, size)
        found = {
            s.name: np.empty((rows, s.num_tokens, s.vocabulary), np.float32)
            for s in specs
        }
        for part in passes(rows, size):
            given = pad_tokens(take(tokens, part), size, bucket(width))
            parts = _logits(self.graph, self.state, given, queries, names)
            for name, array in zip(names, parts, strict=True):
                found[name][part] = np.asarray(array)[: part.stop - part.start]
        return found

    def context(self, tokens: TokenBatch) -> tuple[np.ndarray, int]:
        """What the decoder reads, float32 [b, r, d], and how many rows precede tokens.

        With a register token r = n + 1 and one row precedes.
        """
        rows, width = tokens.shape
        size = min(rows_per_pass(bucket(width)), row_bucket(rows))
        chunks, first = [], 0
        for part in passes(rows, size):
            given = pad_tokens(take(tokens, part), size, bucket(width))
            context, _ = _context(self.graph, self.state, given)
            first = context.shape[1] - bucket(width)
            kept = context[: part.stop - part.start, : first + width]
            chunks.append(np.asarray(kept.astype(jnp.float32)))
        return np.concatenate(chunks), first
