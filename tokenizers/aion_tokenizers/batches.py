# SPDX-License-Identifier: MIT
"""Batches of any size through a compiled function, with few sizes to compile."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from aion.errors import DataError
from aion.observation import Observation

LARGEST = 16
_CACHED = 4
T = TypeVar("T")


def cached() -> int:
    """Objects per call that codecs which refine their codes pass to `in_batches`.

    On a CPU the values of few objects stay in its cache from layer to layer, and images
    take two thirds of the time; accelerators are filled by more.
    """
    return _CACHED if jax.default_backend() == "cpu" else LARGEST


def in_batches(
    function: Callable[..., Any], *arrays: np.ndarray, largest: int = LARGEST
) -> np.ndarray:
    """`function` of arrays that share their first axis, in pieces of at most `largest`.

    A last smaller piece is filled up to a power of two with copies of its last object,
    so that a function is compiled for five sizes and not for every one. Memory is that
    of one piece.

    Args:
        function: of arrays with the batch first; gives one such array.
        arrays: at least one object.
        largest: objects per call; a power of two.
    """
    count, parts = len(arrays[0]), []
    for start in range(0, count, largest):
        pieces = [a[start : start + largest] for a in arrays]
        given = len(pieces[0])
        size = 1 << (given - 1).bit_length()
        if size > given:
            fill = [np.repeat(p[-1:], size - given, axis=0) for p in pieces]
            pieces = [np.concatenate(pair) for pair in zip(pieces, fill, strict=True)]
        parts.append(np.asarray(function(*pieces))[:given])
    return np.concatenate(parts)


def in_pieces(function: Callable[..., T], *parts: Any) -> T:
    """The same inside a compiled function, for a training loop's evaluation.

    Objects of a piece lie apart in the batch, so that each device that holds a part of
    the batch has its share of every piece.

    Args:
        function: of trees of arrays with the batch first; gives such a tree.
        parts: trees of arrays that share their first axis.
    """
    count = len(jax.tree.leaves(parts)[0])
    most = min(cached() * jax.device_count(), count)
    rows = max(n for n in range(1, most + 1) if count % n == 0)

    def cut(x: Any) -> Any:
        return jnp.moveaxis(x.reshape(rows, count // rows, *x.shape[1:]), 1, 0)

    def join(x: Any) -> Any:
        return jnp.moveaxis(x, 0, 1).reshape(count, *x.shape[2:])

    found = jax.lax.map(lambda part: function(*part), jax.tree.map(cut, parts))
    return jax.tree.map(join, found)


def of_kind(observation: Observation, cls: type[T]) -> T:
    """The observation, if it is one that the codec takes.

    Raises:
        DataError: another class.
    """
    if not isinstance(observation, cls):
        raise DataError(
            f"the codec takes {cls.__name__}, not {type(observation).__name__}",
            f"Build it with aion.{cls.__name__}(...).",
        )
    return observation


def checked_codes(codes: Any, tokens: int | None, num_codes: int) -> np.ndarray:
    """Codes as int32 [b, t].

    Args:
        codes: [b, t], or with more axes in front, which are joined.
        tokens: what t must be; None leaves it open.
        num_codes: codes are below it; -1 is absent.

    Raises:
        DataError: another number of tokens, or a code out of range.
    """
    plain = np.asarray(codes)
    if plain.ndim < 2 or (tokens is not None and plain.shape[-1] != tokens):
        raise DataError(
            f"codes have shape {plain.shape}", f"Give [batch, {tokens or 'tokens'}]."
        )
    plain = plain.reshape(-1, plain.shape[-1]).astype(np.int32)
    if plain.size and not -1 <= plain.min() <= plain.max() < num_codes:
        raise DataError(
            f"codes from {plain.min()} to {plain.max()} of a codec with {num_codes}",
            "Decode codes with the codec that made them.",
        )
    return plain
