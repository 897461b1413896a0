# SPDX-License-Identifier: MIT
"""The objects a codec is scored on, instrument by instrument."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aion.errors import DataError
from aion.eval.reconstruction import Measured
from aion.jobs.feeds import Feed
from aion.observation import Scalar
from aion.train.codec_task import TRUTH

REDSHIFT = ".redshift"
"""Sources may give the true redshift under a modality's name and this."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Test objects of one instrument.

    Attributes:
        observation: as measured.
        truth: the same without noise; None where nobody knows.
        redshift: [b]; None where nobody knows.
    """

    observation: Any
    truth: Any = None
    redshift: np.ndarray | None = None


def read_objects(feed: Feed, count: int) -> list[Piece]:
    """The first objects of a feed's split, instrument by instrument.

    Args:
        feed: where from.
        count: how many; fewer where there are no more.

    Raises:
        DataError: there are none.
    """
    found: list[Piece] = []
    left, name = count, feed.modality
    for partition in feed.partitions:
        for records in feed.source.read(partition):
            if left <= 0 or name not in records.observations:
                continue
            cells = feed.rule.cells(records.ra, records.dec)
            inside = np.flatnonzero(feed.rule.assign(cells) == feed.split)[:left]
            if not len(inside):
                continue
            seen = records.take(inside).observations
            shift = seen.get(name + REDSHIFT)
            known = np.asarray(shift.values) if isinstance(shift, Scalar) else None
            found.append(Piece(seen[name], seen.get(name + TRUTH), known))
            left -= len(inside)
        if left <= 0:
            break
    if not found:
        raise DataError(
            f"no object of the split {feed.split!r} has {name}",
            "Look at data.sources and data.split.",
        )
    return found


def measured(piece: Piece) -> Measured:
    """Flux, ivar and truth of a piece; 0, 0 and NaN where there is none.

    Raises:
        DataError: no ivar, without which nothing is known of the noise.
    """
    seen, truth = piece.observation, piece.truth
    if seen.ivar is None:
        raise DataError(
            f"a {type(seen).__name__} without ivar has no noise to compare with",
            "Score data with inverse variances.",
        )
    flux = np.asarray(seen.flux, np.float32)
    ivar = np.asarray(seen.ivar, np.float32)
    valid = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if seen.mask is not None:
        valid &= np.asarray(seen.mask, bool)
    known = np.full(flux.shape, np.nan, np.float32)
    if truth is not None:
        known = np.asarray(truth.flux, np.float32)
    return Measured(np.where(valid, flux, 0), np.where(valid, ivar, 0), known)
