# SPDX-License-Identifier: MIT
"""Pairs found by LSDB: for HATS catalogues, on a Dask cluster if there is one.

LSDB brings the partitions of two catalogues together, with the margin of the second,
and our own search runs on each of them (Caplar et al. 2025, arXiv:2501.02103). So both
engines find the same pairs; what is made of them is `aion.surveys.matching` in both.
Workers of a cluster need this package. Not imported unless asked for: extra `hats`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from lsdb import open_catalog  # pyright: ignore
from lsdb.core.crossmatch.abstract_crossmatch_algorithm import (
    AbstractCrossmatchAlgorithm,
)

from aion.errors import ConfigError, DataError
from aion.surveys.epochs import moved_vectors, years_to_meet
from aion.surveys.files import read_json, write_arrays, write_json
from aion.surveys.hats import HatsSource
from aion.surveys.matching import Entries, Rules
from aion.surveys.pairs import Pairs, arcseconds, close_pairs, tree_of
from aion.surveys.positions import (
    Positions,
    PositionSource,
    named_columns,
    plain_ids,
)
from aion.surveys.runs import Run, pixels_of

_DISTANCE = "_dist_arcsec"


@dataclass(frozen=True)
class HatsPositions:
    """Positions of a HATS catalogue or collection, one partition per HEALPix pixel.

    Attributes:
        path: folder of the collection, or of the catalogue and `margin`.
        object_id: columns that name an object together, joined by "-". A field of a
            struct is named like "astrometry.pmra", here and below.
        ra, dec: columns of the position in degrees.
        pm_ra, pm_dec: columns of the proper motion in mas/yr; None: there are none.
        margin: folder of the margin catalogue, where it is not the collection's.
    """

    path: Path
    object_id: tuple[str, ...] = ("object_id",)
    ra: str = "ra"
    dec: str = "dec"
    pm_ra: str | None = None
    pm_dec: str | None = None
    margin: Path | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def columns(self) -> list[str]:
        """Columns of the file that are read."""
        return list(dict.fromkeys(name.split(".")[0] for name in named_columns(self)))

    @cached_property
    def catalog(self) -> Any:
        """The catalogue as LSDB opens it, with its margin.

        Raises:
            DataError: it cannot be opened, or has no such column.
        """
        rest: dict[str, Any] = {}
        if self.margin:
            rest = {"margin_cache": str(self.margin)}
        try:
            return open_catalog(str(self.path), columns=self.columns, **rest)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self.path} cannot be opened: {reason}",
                "Give the folder of a HATS collection and columns that it has.",
            ) from None

    @cached_property
    def _pixels(self) -> Mapping[str, tuple[int, int]]:
        found = {}
        for place in self.catalog.get_healpix_pixels():
            order, pixel = int(place.order), int(place.pixel)
            folder = f"Norder={order}/Dir={pixel // 10_000 * 10_000}"
            found[f"{folder}/Npix={pixel}.parquet"] = order, pixel
        return found

    def partitions(self) -> Sequence[str]:
        """Names of the files below `dataset`, "Norder=4/Dir=0/Npix=123.parquet"."""
        return tuple(self._pixels)

    def positions(self, partition: str) -> Positions:
        """The rows of a pixel."""
        (piece,) = self.catalog.get_partition(*self._pixels[partition]).to_delayed()
        return positions_of(piece.compute(scheduler="synchronous"), self)


def _column(frame: Any, name: str, suffix: str = "") -> np.ndarray:
    outer, *inner = name.split(".")
    values = pa.array(frame[outer + suffix])
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    for field in inner:
        values = values.field(field)
    return values.to_numpy(zero_copy_only=False)


def positions_of(frame: Any, source: HatsPositions) -> Positions:
    """Positions of a data frame with the columns of a source."""
    parts = [plain_ids(_column(frame, name)) for name in source.object_id]
    ids = parts[0]
    for part in parts[1:]:
        ids = np.char.add(np.char.add(ids.astype(np.str_), "-"), part.astype(np.str_))
    numbers = [
        _column(frame, name).astype(np.float64)
        for name in (source.ra, source.dec, source.pm_ra, source.pm_dec)
        if name
    ]
    return Positions(ids, *numbers)


class ClosePairs(AbstractCrossmatchAlgorithm):
    """All pairs of two partitions within a radius, moved to where they are compared.

    Args:
        left, right: the sources, for their columns.
        years: by which the positions of each are moved.
        radius: arcsec.
    """

    extra_columns = pd.DataFrame(
        {_DISTANCE: pd.Series(dtype=pd.ArrowDtype(pa.float64()))}
    )

    def __init__(
        self,
        left: HatsPositions,
        right: HatsPositions,
        years: tuple[float, float],
        radius: float,
    ) -> None:
        super().__init__()
        self.sources = left, right
        self.years = years
        self.radius = radius

    def crossmatch(self, crossmatch_args: Any, how: str, *rest: Any, **more: Any):
        """Matched rows only: `how` is "left" for its partitions, not for its rows."""
        del how
        return super().crossmatch(crossmatch_args, "inner", *rest, **more)

    def perform_crossmatch(self, crossmatch_args: Any) -> Any:
        """Rows of the left and of the right frame, and their distance."""
        trees, good = [], []
        frames = crossmatch_args.left_df, crossmatch_args.right_df
        for frame, source, years in zip(frames, self.sources, self.years, strict=True):
            positions = positions_of(frame, source)
            rows = np.flatnonzero(
                np.isfinite(positions.ra) & (np.abs(positions.dec) <= 90)
            )
            good.append(rows)
            trees.append(tree_of(moved_vectors(positions.take(rows), years)))
        pairs = close_pairs(trees[0], trees[1], self.radius)
        gaps = pd.Series(pairs.separation, dtype=pd.ArrowDtype(pa.float64()))
        extra = pd.DataFrame({_DISTANCE: gaps})
        return good[0][pairs.left], good[1][pairs.right], extra


def store_pairs(
    folder: Path,
    rules: Rules,
    sources: Mapping[str, PositionSource],
    scheduler: str | None = None,
) -> None:
    """Finds all pairs of all surveys and keeps them sorted by place.

    Args:
        folder: of the runs, whose `index.json` is there.
        rules: who is who.
        sources: all of them `HatsPositions` or `HatsSource`.
        scheduler: address of a Dask scheduler; None: this process.

    Raises:
        ConfigError: another kind of source.
        DataError: a catalogue without a margin that is wide enough.
    """
    if (folder / "pairs.json").is_file():
        return
    index = read_json(folder / "index.json")
    told = index["surveys"]
    moving = {survey: bool(told[survey]["moving"]) for survey in rules.surveys}
    stored = {}
    for s, t in rules.couples():
        names = rules.surveys[s], rules.surveys[t]
        pair = [as_hats(name, sources[name]) for name in names]
        years = [
            years_to_meet(rules.epochs, moving, *order)
            for order in (names, names[::-1])
        ]
        speeds = [index["speed"][name] for name in names]
        shift = float(np.abs(np.multiply(speeds, years)).sum())
        _check_margin(names[1], pair[1], rules.radius(s, t) + shift)
        close = ClosePairs(*pair, tuple(years), rules.radius(s, t))  # pyright: ignore
        stored[f"{s}-{t}"] = _store(
            folder, f"pairs-{s}-{t}", close, rules.order, scheduler
        )
    write_json(folder / "pairs.json", stored)


def as_hats(survey: str, source: PositionSource) -> HatsPositions:
    """The catalogue and columns of a source of a HATS collection.

    Raises:
        ConfigError: a source of another kind.
    """
    if isinstance(source, HatsPositions):
        return source
    if not isinstance(source, HatsSource):
        raise ConfigError(
            f"{survey} is no HATS catalogue", "Match with the engine tree."
        )
    moving = ("astrometry.pmra", "astrometry.pmdec")
    motion = moving if source.layout.survey == "gaia" else (None, None)
    return HatsPositions(source.path, ("object_id",), "ra", "dec", *motion)


def _check_margin(survey: str, source: Any, needed: float) -> None:
    margin = source.catalog.margin
    width = 0.0
    if margin is not None:
        width = float(margin.hc_structure.catalog_info.margin_threshold)
    if width < needed:
        raise DataError(
            f"{survey} {source.path} has a margin of {width:g} arcsec and "
            f"{needed:.2f} are needed",
            "Make a wider margin catalogue, or match with the engine tree.",
        )


def _store(
    folder: Path, name: str, close: ClosePairs, order: int, scheduler: str | None
) -> list[str]:
    left, right = close.sources
    matched = left.catalog.crossmatch(
        right.catalog,
        algorithm=close,
        how="left",
        suffixes=("_left", "_right"),
        suffix_method="all_columns",
    )
    names = []
    for number, frame in enumerate(_frames(matched, scheduler)):
        if not len(frame):
            continue
        one, other = (
            positions_of(frame.rename(columns=lambda c, s=s: c.removesuffix(s)), source)
            for s, source in (("_left", left), ("_right", right))
        )
        pixel = pixels_of(one.ra % 360, one.dec, order)
        sorter = np.argsort(pixel, kind="stable")
        names.append(f"{name}-{number:06d}")
        columns = {
            "pixel": pixel.astype(np.int32),
            "left": one.object_id,
            "right": other.object_id,
            "separation": _column(frame, _DISTANCE),
        }
        write_arrays(folder / names[-1], {k: v[sorter] for k, v in columns.items()})
    return names


def _frames(matched: Any, scheduler: str | None) -> Iterator[Any]:
    """Results of all partitions, in any order, one at a time."""
    pieces = matched.to_delayed()
    if scheduler is None:
        for piece in pieces:
            yield piece.compute(scheduler="synchronous")
        return
    from dask.distributed import Client, as_completed

    with Client(scheduler) as client:
        for future in as_completed(client.compute(pieces)):
            yield future.result()
            future.release()


@dataclass(frozen=True)
class StoredPairs:
    """A `matching.Finder` over the pairs that `store_pairs` keeps.

    Attributes:
        folder: of the runs.
        entries: of a region.
        pixels: of the entries of each survey.
    """

    folder: Path
    entries: Entries
    pixels: Sequence[np.ndarray]

    def __call__(self, one: int, other: int) -> Pairs:
        """Pairs of two surveys by number; those of rows put aside are left out."""
        names = read_json(self.folder / "pairs.json")[f"{one}-{other}"]
        wanted = np.unique(self.pixels[one])
        pieces = []
        for run in (Run(self.folder / name) for name in names if len(wanted)):
            for rows in run.slices(wanted[:1], wanted[-1:] + 1):
                kept = np.isin(run.column("pixel")[rows], wanted)
                columns = [run.column(k)[rows][kept] for k in _PAIR]
                pieces.append(columns)
        if not pieces:
            none = np.empty(0, np.int64)
            return Pairs(none, none, np.empty(0))
        left, right, separation = map(np.concatenate, zip(*pieces, strict=True))
        rows = [
            _rows(self.entries.surveys[s].object_id, ids)
            for s, ids in ((one, left), (other, right))
        ]
        known = (rows[0] >= 0) & (rows[1] >= 0)
        pairs = Pairs(rows[0][known], rows[1][known], separation[known])
        return pairs.take(self._meant(pairs, one, other))

    def _meant(self, pairs: Pairs, one: int, other: int) -> np.ndarray:
        """Whether the rows are those of the pair and not others with their ids."""
        a = self.entries.vectors(one, other)[pairs.left]
        b = self.entries.vectors(other, one)[pairs.right]
        gap = arcseconds(np.sqrt(((a - b) ** 2).sum(axis=1)))
        same = np.abs(gap - pairs.separation) < 1e-6
        _, first = np.unique(
            np.stack([pairs.left, pairs.right]), axis=1, return_index=True
        )
        return same & np.isin(np.arange(len(pairs)), first)


_PAIR = ("left", "right", "separation")


def _rows(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Row of each wanted id, -1 where there is none."""
    if not len(ids):
        return np.full(len(wanted), -1)
    if ids.dtype.kind != wanted.dtype.kind:
        ids, wanted = ids.astype(np.str_), wanted.astype(np.str_)
    order = np.argsort(ids)
    place = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][place] == wanted, order[place], -1)
