# SPDX-License-Identifier: MIT
"""What codes and slots mean, as numbers: the feature matrices of a `TokenSpec`.

A model that adds `features @ W` to its embedding of a code knows from the first step
that neighbouring bins are neighbours; free rows must learn it from data. Features are
of order one. A position on a line is written as itself and as sines and cosines of
pi 2^j times it (Tancik et al. 2020, arXiv:2006.10739): from coarse to fine.
"""

import numpy as np
from jaxtyping import Float, Float32

_SPREAD = 3.0  # where the standardised value begins to saturate, in robust sigmas


def fourier(place: Float[np.ndarray, " v"], octaves: int) -> Float32[np.ndarray, "v p"]:
    """Sines and cosines of pi 2^j place for j below `octaves`; p = 2 octaves.

    Args:
        place: positions, 0 to 1 along the line.
        octaves: how many frequencies.
    """
    phase = np.pi * place[:, None] * 2.0 ** np.arange(octaves)
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)


def standardised(
    coordinate: Float[np.ndarray, " v"], rank: Float[np.ndarray, " v"]
) -> Float[np.ndarray, " v"]:
    """The coordinate in robust sigmas from the median, smoothly kept within +-3.

    Args:
        coordinate: increasing.
        rank: fraction of the data below each coordinate, increasing.
    """
    low, middle, high = np.interp([0.15865, 0.5, 0.84135], rank, coordinate)
    sigma = (high - low) / 2 or 1.0
    return _SPREAD * np.tanh((coordinate - middle) / (_SPREAD * sigma))


def ordered(
    coordinate: Float[np.ndarray, " v"], rank: Float[np.ndarray, " v"]
) -> Float32[np.ndarray, "v p"]:
    """Features of ordered bins: value, rank, and Fourier features of both; p = 20.

    Args:
        coordinate: centre of each bin in the codec's compressed coordinate, increasing.
        rank: fraction of the data below each centre, 0 to 1.
    """
    value = standardised(coordinate, rank)
    line = np.stack([value, 2 * rank - 1], axis=1).astype(np.float32)
    place = (value / _SPREAD + 1) / 2
    return np.concatenate([line, fourier(rank, 5), fourier(place, 4)], axis=1)


def levels(coarse: int, fine: int) -> Float32[np.ndarray, "v p"]:
    """Features of coarse codes and of fine codes, in columns of their own; p = 24."""
    blocks = []
    for count, octaves in ((coarse, 6), (fine, 4)):
        place = (np.arange(count) + 0.5) / count
        line = (np.sqrt(3) * (2 * place - 1)).astype(np.float32)
        blocks.append(
            np.concatenate(
                [
                    np.ones((count, 1), np.float32),
                    line[:, None],
                    fourier(place, octaves),
                ],
                axis=1,
            )
        )
    first, second = (block.shape[1] for block in blocks)
    features = np.zeros((coarse + fine, first + second), np.float32)
    features[:coarse, :first] = blocks[0]
    features[coarse:, first:] = blocks[1]
    return features


def one_hot(count: int) -> Float32[np.ndarray, "v p"]:
    """One column per code, for categories and for the slots of few-slot codecs."""
    return np.eye(count, dtype=np.float32)


def shape_and_scale(
    digits: Float32[np.ndarray, "n d"], count: int
) -> Float32[np.ndarray, "v p"]:
    """Features of codes of pieces and, behind them, of codes on a line.

    Each kind has columns of its own, and a first one that says which kind it is.

    Args:
        digits: of the codes of pieces, in [-1, 1]; they and their squares are taken.
        count: codes on the line.
    """
    place = (np.arange(count) + 0.5) / count
    line = (np.sqrt(3) * (2 * place - 1))[:, None]
    ones = np.ones((len(digits), 1)), np.ones((count, 1))
    first = np.concatenate([ones[0], digits, digits**2], axis=1)
    second = np.concatenate([ones[1], line, fourier(place, 6)], axis=1)
    width = first.shape[1]
    table = np.zeros((len(first) + count, width + second.shape[1]), np.float32)
    table[: len(first), :width] = first
    table[len(first) :, width:] = second
    return table
