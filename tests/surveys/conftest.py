# SPDX-License-Identifier: MIT
"""Survey files of invented objects, written by the writer of the mock sky."""

import numpy as np
import pytest

from aion.layouts import LAYOUTS, SOURCE_TYPES, resized
from aion.mocksky.write_mmu import MmuWriter

SIZE = 24
FIRST_ID = 39_633_345_008_634_465


def invented(layout, count, seed=0, length=40):
    """Columns of a layout with values of the right kind, ids in a row."""
    rng = np.random.default_rng(seed)
    draws = {
        "b": lambda shape: rng.random(shape) < 0.8,
        "i": lambda shape: rng.integers(0, 100, shape),
        "S": lambda shape: rng.choice(["ab", "x"], shape),
        "f": lambda shape: rng.normal(1.0, 3.0, shape).astype(np.float32),
    }
    columns = {}
    for column in layout.columns:
        shape = (count, *(length if n is None else n for n in column.shape))
        columns[column.name] = draws[column.kind](shape)
    for name in ("healpix", "gid", "image_band", "image_scale"):
        columns.pop(name, None)
    columns[layout.id_column] = np.arange(count) + FIRST_ID + 1000 * seed
    columns["ra"] = rng.uniform(150.0, 152.0, count)
    columns["dec"] = rng.uniform(1.0, 3.0, count)
    if "object_mask" in columns:
        codes = rng.integers(0, len(SOURCE_TYPES), columns["object_mask"].shape)
        columns["object_mask"] = codes
        columns["catalog_TYPE"] = rng.integers(0, 6, (count, 20))
        columns["object_id"] = np.array(
            [f"1503p020-{seed}{n:03d}" for n in range(count)]
        )
    if "ans" in columns:
        columns["ans"] = np.arange(count) % 10
    if "spectrum_lambda" in columns:
        pixels = columns["spectrum_lambda"].shape[1]
        grid = 3600 + 0.8 * np.arange(pixels)
        columns["spectrum_lambda"] = np.tile(grid, (count, 1))
        columns["spectrum_ivar"] = np.abs(columns["spectrum_ivar"])
        columns["spectrum_lsf_sigma"] = np.full((count, pixels), 0.9)
    return columns


@pytest.fixture
def invent():
    """The function `invented`, for small stamps."""

    def columns(name, count, **rest):
        return invented(resized(LAYOUTS[name], SIZE), count, **rest)

    return columns


@pytest.fixture
def write_set(tmp_path):
    """Writes a set of a few cells: name, rows per cell -> (folder, columns by cell)."""

    def write(name, rows=(3, 4), **rest):
        layout = resized(LAYOUTS[name], SIZE)
        writer, written = MmuWriter(tmp_path, layout), {}
        for cell, count in enumerate(rows, start=1000):
            columns = invented(layout, count, seed=cell, **rest)
            writer.write(cell, [columns])
            written[cell] = columns
        return tmp_path / name, written

    return write
