# SPDX-License-Identifier: MIT
"""The Legacy Surveys' catalogue around an object, and the map painted from it.

Both as in the Multimodal Universe's files. The sources are those of its parent sample
inside the stamp: not PSF, z brighter than 21; an object of ours is always one of them.
The list of 20 is sorted by flux in i, faintest first, and cut after the sort: where
there are more, the brightest are missing. Sources are painted in the order of the list
before the cut, so that bright ones lie on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, UInt8

from aion.mocksky.shapes import TYPES, Shapes

ROWS = 20
LIMIT = 21.0
"""Magnitude in z of the faintest neighbours in the catalogue."""

SCALE = 0.262


@dataclass(frozen=True, eq=False)
class Detected:
    """Catalogued sources in stamps, arrays [b, n] unless noted.

    Attributes:
        x, y: column and row, pixels.
        flux: g, r, i, z as measured, nanomaggies, [b, n, 4].
        shapes: as fitted.
        valid: True = there is such a source.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    shapes: Shapes
    valid: np.ndarray

    def joined(self, others: Self) -> Self:
        """These sources and others, behind them in each stamp."""

        def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            return np.concatenate([first, second], axis=1)

        mine, theirs = vars(self.shapes), vars(others.shapes)
        return replace(
            self,
            x=both(self.x, others.x),
            y=both(self.y, others.y),
            flux=both(self.flux, others.flux),
            shapes=Shapes(**{name: both(mine[name], theirs[name]) for name in mine}),
            valid=both(self.valid, others.valid),
        )


def in_catalogue(
    x: Float[np.ndarray, "b n"],
    y: Float[np.ndarray, "b n"],
    flux: Float[np.ndarray, "b n 4"],
    shapes: Shapes,
    size: int,
) -> Bool[np.ndarray, "b n"]:
    """Which neighbours the parent sample has inside the stamp."""
    inside = (np.round([x, y]) >= 0).all(0) & (np.round([x, y]) < size).all(0)
    bright = flux[..., 3] > 10 ** (-0.4 * (LIMIT - 22.5))
    return inside & bright & (shapes.type > TYPES.index("PSF"))


def neighbour_table(sources: Detected) -> Mapping[str, np.ndarray]:
    """The catalogue of `ROWS` rows by column of the survey's files, each [b, ROWS].

    TYPE, X and Y are int64, the rest float64; rows without a source are 0.
    """
    key = np.where(sources.valid, sources.flux[..., 2], np.inf)
    order = np.argsort(key, axis=1, kind="stable")[:, :ROWS]
    shapes = sources.shapes
    columns = {
        "TYPE": shapes.type,
        "X": np.round(sources.x).astype(np.int64),
        "Y": np.round(sources.y).astype(np.int64),
        "SHAPE_R": shapes.radius,
        "SHAPE_E1": shapes.e1,
        "SHAPE_E2": shapes.e2,
    } | {f"FLUX_{band}": sources.flux[..., n] for n, band in enumerate("GRIZ")}
    table = {}
    for name, column in columns.items():
        column = np.where(sources.valid, column, 0)
        column = np.take_along_axis(column, order, axis=1)
        table[name] = np.pad(column, ((0, 0), (0, ROWS - order.shape[1])))
    return table


def paint(sources: Detected, size: int) -> UInt8[np.ndarray, "b y x"]:
    """Type codes inside the ellipses of the sources, 0 elsewhere.

    Semi-axes are 2 r / 0.262 pixels and that times the axis ratio, and a pixel at
    least.
    """
    shapes = sources.shapes
    length = np.hypot(shapes.e1, shapes.e2)
    ratio = (1 - length) / (1 + length)
    angle = 0.5 * np.arctan2(shapes.e2, shapes.e1)
    major = np.maximum(2 * shapes.radius / SCALE, 1.0)
    minor = np.maximum(major * ratio, 1.0)
    image = np.zeros((len(sources.x), size, size), np.uint8)
    order = np.argsort(sources.flux[..., 2], axis=1, kind="stable")
    for b, row in enumerate(order):
        for n in row[sources.valid[b, row]]:
            reach = int(np.ceil(major[b, n]))
            x0, y0 = sources.x[b, n], sources.y[b, n]
            ys = slice(max(int(y0) - reach, 0), max(int(y0) + reach + 2, 0))
            xs = slice(max(int(x0) - reach, 0), max(int(x0) + reach + 2, 0))
            part = image[b, ys, xs]
            dy = np.arange(part.shape[0])[:, None] + ys.start - y0
            dx = np.arange(part.shape[1]) + xs.start - x0
            north, east = np.cos(angle[b, n]), np.sin(angle[b, n])
            along, across = dy * north - dx * east, dy * east + dx * north
            inside = (along / major[b, n]) ** 2 + (across / minor[b, n]) ** 2 <= 1
            part[inside] = shapes.type[b, n]
    return image


def segmentation_field(
    object_mask: UInt8[np.ndarray, "b y x"],
) -> Float[np.ndarray, "b y x"]:
    """The map as AION-1's field in [0, 1]: the type code over the largest code, 6."""
    return object_mask.astype(np.float32) / np.float32(len(TYPES) - 1)
