# SPDX-License-Identifier: MIT
"""Pixels that are not to be used: cosmic rays, bad columns, edges of the coverage."""

from dataclasses import dataclass

import numpy as np

from aion.mocksky.camera import Camera

_BAD_COLUMNS = 0.3
"""Share of the defects that are bad columns; the others are cosmic rays."""


@dataclass(frozen=True, eq=False)
class Defects:
    """Bad pixels of some stamps, all arrays [n].

    Attributes:
        stamp, band, y, x: which pixel, int64.
        charge: what is added to it, in sigmas of the sky; NaN where there are no data.
    """

    stamp: np.ndarray
    band: np.ndarray
    y: np.ndarray
    x: np.ndarray
    charge: np.ndarray

    @property
    def pixels(self) -> tuple[np.ndarray, ...]:
        """Indices into an array [b, c, y, x]."""
        return self.stamp, self.band, self.y, self.x


def _cosmic_ray(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    angle, length = rng.uniform(0, np.pi), 2 + rng.exponential(6.0)
    along = np.arange(-length / 2, length / 2, 0.7)
    y = np.round(rng.uniform(0, size) + along * np.sin(angle)).astype(np.int64)
    x = np.round(rng.uniform(0, size) + along * np.cos(angle)).astype(np.int64)
    inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
    return y[inside], x[inside], np.full(inside.sum(), 10 * rng.lognormal(1.0))


def _bad_column(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    start = rng.integers(-size // 2, size)
    y = np.arange(max(start, 0), min(start + size, size))
    return y, np.full(len(y), rng.integers(size)), np.full(len(y), np.nan)


def _edge(size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A strip along one of the four sides, at most 0.4 of the stamp."""
    width, side = int(rng.integers(1, max(2, int(0.4 * size)))), int(rng.integers(4))
    near, along = np.divmod(np.arange(width * size), size)
    near = near if side % 2 else size - 1 - near
    y, x = (near, along) if side < 2 else (along, near)
    return y, x, np.full(len(y), np.nan)


def draw_defects(
    shape: tuple[int, ...], camera: Camera, rng: np.random.Generator
) -> Defects:
    """The bad pixels of stamps of shape [b, c, y, x]; a pixel may be bad twice."""
    stamps, bands, size, _ = shape
    area = (size * camera.scale / 60) ** 2
    counts = rng.poisson(camera.defects * area, (stamps, bands))
    found = []
    for stamp, band in np.argwhere(counts).tolist():
        for _ in range(counts[stamp, band]):
            column = rng.random() < _BAD_COLUMNS
            found.append((stamp, band, (_bad_column if column else _cosmic_ray)))
    for stamp in np.flatnonzero(rng.random(stamps) < camera.edges).tolist():
        found.append((stamp, int(rng.integers(bands)), _edge))
    columns = [np.zeros(0, np.int64)] * 4 + [np.zeros(0)]
    for stamp, band, make in found:
        y, x, charge = make(size, rng)
        where = np.full((2, len(y)), [[stamp], [band]])
        columns = [
            np.concatenate(pair)
            for pair in zip(columns, (*where, y, x, charge), strict=True)
        ]
    return Defects(*columns)
