# SPDX-License-Identifier: MIT
"""The sky in parts that are matched one by one, each with all that can matter to it.

A part is a range of HEALPix pixels. Its objects depend on entries outside it, but no
further away than `Rules.reach`, which is less than the least width of a pixel: all
pixels that touch an occupied pixel of the part are enough. Stars that move further than
`slack` between epochs are few and have patches of their own: whatever touches a patch
of such a star depends on all of the patch, and on the patches that overlap it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from aion.surveys.epochs import ARCSEC, unit_vectors
from aion.surveys.files import write_arrays

BASE_ORDER = 4
"""Cells of the output and of splits; no part is wider without need."""
PART_ROWS = 500_000


def cut(counts: Int[np.ndarray, " p"], order: int, limit: int) -> list[list[int]]:
    """Ranges [first, last) of pixels with at most `limit` rows each where that goes.

    Cells of `BASE_ORDER` are divided until they are small enough, then those that
    follow each other are put together.

    Args:
        counts: rows by pixel.
        order: HEALPix order of the pixels.
        limit: rows per range.
    """
    total = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    size = 4 ** (order - BASE_ORDER)
    stack = [(cell * size, size) for cell in range(len(counts) // size)][::-1]
    parts: list[list[int]] = []
    held = 0
    while stack:
        first, width = stack.pop()
        rows = int(total[first + width] - total[first])
        if rows > limit and width > 1:
            quarter = width // 4
            stack += [(first + k * quarter, quarter) for k in (3, 2, 1, 0)]
        elif rows and parts and held + rows <= limit:
            parts[-1][1] = first + width
            held += rows
        elif rows:
            parts.append([first, first + width])
            held = rows
    return parts


def next_to(
    occupied: Int[np.ndarray, " k"], order: int, first: int, last: int
) -> Int[np.ndarray, " m"]:
    """Pixels outside [first, last) that touch an occupied one, sorted."""
    import healpy

    if not len(occupied):
        return np.empty(0, np.int64)
    around = np.unique(healpy.get_all_neighbours(2**order, occupied, nest=True))
    return around[(around >= 0) & ((around < first) | (around >= last))]


def write_patches(
    folder: Path,
    order: int,
    ra: Float64[np.ndarray, " k"],
    dec: Float64[np.ndarray, " k"],
    radius: Float64[np.ndarray, " k"],
) -> None:
    """Keeps the pixels of the patches of fast stars, and which patches overlap.

    Args:
        folder: where; two arrays, `pixel` sorted and `label`, one number for all
            patches that hang together.
        order: HEALPix order of the pixels.
        ra, dec: places of the stars, degrees.
        radius: of their patches, arcsec.
    """
    import healpy

    xyz = unit_vectors(ra, dec)
    labels = np.arange(len(ra))
    if len(ra):
        tree = KDTree(xyz)
        near = tree.query_pairs(2 * radius.max() * ARCSEC, output_type="ndarray")
        gap = np.linalg.norm(xyz[near[:, 0]] - xyz[near[:, 1]], axis=1) / ARCSEC
        near = near[gap <= radius[near].sum(axis=1) * (1 + 1e-6)]
        graph = coo_array((np.ones(len(near)), near.T), (len(ra), len(ra)))
        labels = connected_components(graph, directed=False)[1]
    discs = [
        healpy.query_disc(2**order, place, size * ARCSEC, inclusive=True, nest=True)
        for place, size in zip(xyz, radius, strict=True)
    ]
    pixel = np.concatenate([*discs, np.empty(0, np.int64)]).astype(np.int64)
    label = np.repeat(labels, [len(disc) for disc in discs]).astype(np.int64)
    sorter = np.argsort(pixel, kind="stable")
    write_arrays(folder, {"pixel": pixel[sorter], "label": label[sorter]})


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of fast stars as `write_patches` keeps them.

    Attributes:
        pixel: pixels of all patches, sorted, [k].
        label: number of the group of overlapping patches, [k].
    """

    pixel: Int[np.ndarray, " k"]
    label: Int[np.ndarray, " k"]

    @classmethod
    def read(cls, folder: Path) -> "Patches":
        """Those in a folder."""
        return cls(*(np.load(folder / f"{name}.npy") for name in ("pixel", "label")))

    def touching(
        self, first: int, last: int, around: Int[np.ndarray, " m"]
    ) -> Int[np.ndarray, " n"]:
        """Pixels of all patches that hang together with a part and its surroundings."""
        inside = slice(*np.searchsorted(self.pixel, (first, last)))
        labels = [self.label[inside], self.label[np.isin(self.pixel, around)]]
        touched = np.unique(np.concatenate(labels))
        return np.unique(self.pixel[np.isin(self.label, touched)])
