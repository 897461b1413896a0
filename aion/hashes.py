# SPDX-License-Identifier: MIT
"""Hashes that are the same on every machine and in every version of Python."""

from typing import Any

import numpy as np
from jaxtyping import UInt64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: the step of SplitMix64's counter."""
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT = np.uint64(31)


def splitmix(values: Any) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of uint64 that scatters its bits.

    Source: Steele, Lea, Flood 2014, OOPSLA, "Fast splittable pseudorandom number
    generators".

    Args:
        values: integers of any shape, taken modulo 2**64.

    Returns:
        uint64 array of the same shape, at least one-dimensional.
    """
    z = np.atleast_1d(np.asarray(values)).astype(np.uint64)  # a copy, changed in place
    z += GOLDEN
    shifted = np.empty_like(z)
    for shift, factor in _ROUNDS:
        z ^= np.right_shift(z, shift, out=shifted)
        z *= factor
    z ^= np.right_shift(z, _LAST_SHIFT, out=shifted)
    return z


def text_hashes(texts: np.ndarray) -> UInt64[np.ndarray, " b"]:
    """FNV-1a over the characters of each text [b]: the same anywhere and in any batch.

    Args:
        texts: str or bytes, [b].
    """
    plain = np.ascontiguousarray(texts.astype(np.str_))
    width = max(plain.dtype.itemsize // 4, 1)
    characters = plain.view(np.uint32).reshape(len(plain), width).astype(np.uint64)
    state = np.full(len(plain), 0xCBF29CE484222325, np.uint64)
    for column in characters.T:
        step = (state ^ column) * np.uint64(0x100000001B3)
        state = np.where(column > 0, step, state)
    return state
