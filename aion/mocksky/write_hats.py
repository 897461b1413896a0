# SPDX-License-Identifier: MIT
"""HATS collections of the mock surveys, made by hats-import (extra `hats`).

Columns of the HDF5 form are turned into rows of the HATS form and staged as Parquet,
one file per cell; the import then partitions them, adds the margin catalogue and the
metadata.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import ConfigError, DataError
from aion.layouts import Layout
from aion.layouts.hats import LEAVES, LOWEST_ORDER, MARGIN, Leaf, Turn, arrow_schema
from aion.layouts.png import encode_png

Columns = Mapping[str, np.ndarray]


def hats_table(layout: Layout, columns: Columns) -> Any:
    """Rows of the HATS form as a pyarrow table with `arrow_schema`.

    Args:
        layout: of the set.
        columns: as `MmuWriter` takes them, in the senses of the HDF5 file.

    Raises:
        DataError: a column is missing.
    """
    import pyarrow as pa

    schema = arrow_schema(layout)
    parts: dict[str, dict[str, Any]] = {}
    for leaf in LEAVES[layout.name]:
        column = layout.by_name[leaf.column]
        values = columns.get(leaf.column, columns.get(column.copy))
        if values is None and column.fill is not None:
            count = len(columns[layout.id_column])
            shape = (count, *(n or 1 for n in column.shape))
            values = np.broadcast_to(np.asarray(column.fill), shape)
        if values is None:
            raise DataError(
                f"{layout.name}: column {leaf.column!r} is missing",
                "Give the columns of its layout.",
            )
        kind = schema.field(leaf.top).type
        kind = kind.field(leaf.field).type if leaf.field else kind
        parts.setdefault(leaf.top, {})[leaf.field] = _array(leaf, values, kind, columns)
    arrays = [
        found[""]
        if "" in found
        else pa.StructArray.from_arrays(list(found.values()), list(found))
        for found in parts.values()
    ]
    return pa.table(arrays, schema=schema)


def _array(leaf: Leaf, values: np.ndarray, kind: Any, columns: Columns) -> Any:
    import pyarrow as pa

    if leaf.turn is Turn.PNG:
        pictures = [encode_png(picture.astype(np.uint8)) for picture in values]
        content = pa.array(pictures, pa.binary())
        return pa.StructArray.from_arrays(
            [content, pa.nulls(len(content))], ["bytes", "path"]
        )
    values = _turned(leaf, values, columns)
    if leaf.kind == "str":
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        flat = pa.array(values.ravel().astype(np.str_).tolist(), pa.string())
    else:
        kinds = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "i8": "<i8", "b1": "?"}
        flat = pa.array(np.ascontiguousarray(values).ravel().astype(kinds[leaf.kind]))
    for size in values.shape[:0:-1]:
        steps = np.arange(0, len(flat) + 1, size, dtype=np.int32)
        flat = pa.ListArray.from_arrays(pa.array(steps), flat)
    return flat.cast(kind) if flat.type != kind else flat


def _turned(leaf: Leaf, values: np.ndarray, columns: Columns) -> np.ndarray:
    """A column as its leaf wants it."""
    if leaf.turn is Turn.GOOD:
        return values == 0
    if leaf.turn is Turn.PROBLEM:
        return values != 0
    if leaf.turn is Turn.ITEM:
        return values[:, leaf.item]
    if leaf.turn is Turn.PER_BAND:
        bands = columns["image_array"].shape[1]
        return np.broadcast_to(values[:, None], (len(values), bands, *values.shape[1:]))
    if leaf.turn is Turn.QUOTED:
        texts = values.astype(np.str_)
        return np.char.add(np.char.add("b'", texts), "'")
    return values


class HatsWriter:
    """Writes one set as a collection: stage cells, then `finish`.

    Args:
        folder: the collection is `folder / layout.hats_name`.
        layout: of the set.
        rows: most rows of a partition; None = 8,192, as in the archive.
    """

    def __init__(self, folder: Path, layout: Layout, rows: int | None = None) -> None:
        self.folder, self.layout = Path(folder), layout
        self.rows = rows or 8192

    @property
    def staging(self) -> Path:
        """Where cells wait for the import."""
        return self.folder / f".{self.layout.hats_name}.staging"

    def stage(self, cell: int, blocks: Iterable[Columns]) -> int:
        """Writes a cell's rows; the file is whole or absent.

        Args:
            cell: HEALPix cell, nside 16, NESTED.
            blocks: as of `MmuWriter.write`.

        Returns:
            Rows written.
        """
        import pyarrow.parquet as pq

        self.staging.mkdir(parents=True, exist_ok=True)
        path = self.staging / f"{cell:06d}.parquet"
        partial, rows, writer = path.with_suffix(".partial"), 0, None
        try:
            for block in blocks:
                count = len(block[self.layout.id_column])
                if not count:
                    continue
                block = {"healpix": np.full(count, cell), **block}
                table = hats_table(self.layout, block)
                writer = writer or pq.ParquetWriter(partial, table.schema)
                writer.write_table(table)
                rows += count
        finally:
            if writer is not None:
                writer.close()
        if rows:
            partial.replace(path)
        return rows

    def finish(self, workers: int = 1) -> Path:
        """Imports what is staged, with a margin of 10 arcsec.

        Args:
            workers: processes; 1 stays in this one.

        Returns:
            The folder of the collection.

        Raises:
            ConfigError: the extra `hats` is not installed.
            DataError: nothing is staged.
        """
        try:
            from dask.distributed import Client
            from hats_import.collection.arguments import CollectionArguments
            from hats_import.pipeline import pipeline_with_client
        except ImportError:
            raise ConfigError(
                "HATS collections are written by hats-import, which is not installed",
                'Install it with: pip install "aion-jax[hats]".',
            ) from None
        files = sorted(str(path) for path in self.staging.glob("*.parquet"))
        if not files:
            raise DataError(f"no rows of {self.layout.name} are staged", "Stage some.")
        target = self.folder / self.layout.hats_name
        shutil.rmtree(target, ignore_errors=True)
        scratch = self.staging / "scratch"
        scratch.mkdir(exist_ok=True)
        wanted = CollectionArguments(
            output_artifact_name=self.layout.hats_name,
            output_path=self.folder,
            tmp_dir=scratch,
            progress_bar=False,
            simple_progress_bar=False,
        ).catalog(
            input_file_list=files,
            file_reader="parquet",
            ra_column="ra",
            dec_column="dec",
            pixel_threshold=self.rows,
            lowest_healpix_order=LOWEST_ORDER,
        )
        wanted = wanted.add_margin(margin_threshold=MARGIN, is_default=True)
        client = Client(
            n_workers=workers,
            threads_per_worker=1,
            processes=workers > 1,
            dashboard_address=None,
        )
        with client:
            pipeline_with_client(wanted, client)
        shutil.rmtree(self.staging)
        return target
