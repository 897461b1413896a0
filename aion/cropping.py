# SPDX-License-Identifier: MIT
"""Stamps of any size onto the square that a modality's tokens stand for."""

from dataclasses import replace
from typing import Any

import numpy as np

from aion.observation import Field, Image, Observation


def stamp_shape(observation: Observation) -> tuple[int, int]:
    """Pixels along y and x of images and fields; 0, 0 of others."""
    if isinstance(observation, Image | Field):
        values = getattr(observation, "flux", getattr(observation, "values", None))
        rows, columns = np.shape(values)[-2:]
        return rows, columns
    return 0, 0


def on_square(observation: Observation, side: int) -> Observation:
    """The middle of images and fields, `side` pixels square.

    Smaller stamps are filled up with pixels that are not valid. Of an even surplus both
    sides lose alike, of an odd one the far side loses one more. The WCS is dropped
    where pixels move.

    Args:
        observation: others than images and fields are given back as they are.
        side: in pixels.
    """
    shape = stamp_shape(observation)
    if shape in ((0, 0), (side, side)):
        return observation
    image = isinstance(observation, Image)
    names = ("flux", "ivar", "mask") if image else ("values", "mask")
    changed: dict[str, Any] = {
        name: _middle(value, side)
        for name in names
        if (value := getattr(observation, name)) is not None
    }
    if min(shape) < side and "mask" not in changed:
        whole = np.ones(np.shape(getattr(observation, names[0])), bool)
        changed["mask"] = _middle(whole, side)
    if image:
        changed["wcs"] = None
    return replace(observation, **changed)


def _middle(values: Any, side: int) -> np.ndarray:
    array = np.asarray(values)
    for axis in (-2, -1):
        surplus = array.shape[axis] - side
        if surplus > 0:
            kept = np.arange(surplus // 2, surplus // 2 + side)
            array = np.take(array, kept, axis=axis)
        elif surplus < 0:
            widths = [(0, 0)] * array.ndim
            widths[axis] = (-surplus // 2, -surplus - (-surplus // 2))
            array = np.pad(array, widths)
    return array
