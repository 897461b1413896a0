# SPDX-License-Identifier: MIT
"""Positions of a survey sorted by place and kept on disk, so that any part is quick.

A run is a folder of arrays: some partitions of one survey, about `RUN_ROWS` rows,
sorted by HEALPix pixel. Any range of pixels is then one slice of each
run, and memory never holds more than one run while they are written, and never more
than the asked pixels while they are read.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from aion.errors import DataError
from aion.hashes import splitmix, text_hashes
from aion.surveys.epochs import speeds
from aion.surveys.files import read_json, write_arrays, write_json
from aion.surveys.positions import Positions, PositionSource, plain_ids, usable

RUN_ROWS = 1_000_000
JOBS = 16
COLUMNS = ("object_id", "ra", "dec", "pm_ra", "pm_dec")


def pixels_of(ra: np.ndarray, dec: np.ndarray, order: int) -> np.ndarray:
    """HEALPix pixels in NESTED order, int64 [b]."""
    import healpy

    if not len(ra):
        return np.empty(0, np.int64)
    return healpy.ang2pix(2**order, ra, dec, nest=True, lonlat=True)


@dataclass(frozen=True)
class Job:
    """Consecutive partitions of one survey that one process reads.

    Attributes:
        survey: its name.
        number: of the job in the survey.
        first: number of the first partition.
        partitions: their names.
        order: HEALPix order of the pixels by which rows are sorted.
    """

    survey: str
    number: int
    first: int
    partitions: tuple[str, ...]
    order: int

    @property
    def name(self) -> str:
        """Name of the job's files."""
        return f"{self.survey}-{self.number:05d}"


def jobs_of(survey: str, partitions: Sequence[str], order: int) -> list[Job]:
    """A survey's partitions in at most `JOBS` jobs, always the same."""
    cuts = np.linspace(0, len(partitions), min(JOBS, len(partitions)) + 1).astype(int)
    return [
        Job(survey, number, int(a), tuple(partitions[a:b]), order)
        for number, (a, b) in enumerate(itertools.pairwise(cuts))
    ]


@dataclass(frozen=True)
class BadRows:
    """What happens to bad rows.

    Attributes:
        on_bad: "error" or "quarantine".
    """

    on_bad: str

    def check(self, survey: str, where: str, reason: str, ids: np.ndarray) -> None:
        """Raises on bad rows when they are an error.

        Raises:
            DataError: names survey, partition, reason, count and the first object.
        """
        if self.on_bad == "error" and len(ids):
            raise DataError(
                f"{survey} {where}: {len(ids)} rows with {reason}, the first is object "
                f"{ids[0]!s}",
                "Mend them, or put them aside with on_bad quarantine.",
            )


def write_runs(
    folder: Path, job: Job, source: PositionSource, bad: BadRows
) -> dict[str, Any]:
    """Reads the partitions of a job into runs; returns and keeps its receipt.

    Returns:
        rows_in, bad (count by reason), runs (name and rows), moving (whether there are
        proper motions), faults (what the source says it left out).

    Raises:
        DataError: a bad row where that is an error, or what the source raises.
    """
    receipt = folder / f"{job.name}.json"
    if receipt.is_file():
        return read_json(receipt)
    told: dict[str, Any] = {"rows_in": 0, "bad": {}, "runs": [], "moving": False}
    kept: list[dict[str, np.ndarray]] = []
    put_aside: list[dict[str, np.ndarray]] = []
    for number, partition in enumerate(job.partitions, start=job.first):
        positions = source.positions(partition)
        ids = plain_ids(positions.object_id)
        columns = {name: getattr(positions, name) for name in COLUMNS}
        columns |= {"object_id": ids, "partition": np.full(len(ids), number, np.int32)}
        columns = {name: v for name, v in columns.items() if v is not None}
        plain = Positions(*(columns.get(name) for name in COLUMNS))  # pyright: ignore
        good, reasons = usable(plain)
        told["rows_in"] += len(ids)
        told["moving"] |= positions.pm_ra is not None
        for reason, rows in reasons.items():
            bad.check(job.survey, partition, reason, ids[rows])
            told["bad"][reason] = told["bad"].get(reason, 0) + int(rows.sum())
            aside = _taken(columns, rows)
            put_aside.append(aside | {"reason": np.full(int(rows.sum()), reason)})
        kept.append(_taken(columns, good) if reasons else columns)
        while _count(kept) >= RUN_ROWS:
            kept = [_flush(folder, job, told, kept)]
    while _count(kept):
        kept = [_flush(folder, job, told, kept)]
    told["faults"] = _faults(source)
    if put_aside:
        write_arrays(folder / f"{job.name}-bad", joined(put_aside))
    write_json(receipt, told)
    return told


def _faults(source: PositionSource) -> list[dict[str, Any]]:
    """Files that the source could not read and left out, as it reports them."""
    faults = getattr(getattr(source, "report", None), "faults", ())
    return [{k: str(v) for k, v in vars(fault).items()} for fault in faults]


def _count(pieces: Sequence[Mapping[str, np.ndarray]]) -> int:
    return sum(len(piece["ra"]) for piece in pieces)


def _taken(columns: Mapping[str, np.ndarray], rows: Any) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in columns.items()}


def joined(pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns one below the other; a mixture of ids becomes texts."""
    found = {}
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        parts = [piece.get(name, np.full(len(piece["ra"]), np.nan)) for piece in pieces]
        if len({part.dtype.kind for part in parts}) > 1:
            parts = [part.astype(np.str_) for part in parts]
        found[name] = np.concatenate(parts)
    return found


def _flush(
    folder: Path, job: Job, told: dict[str, Any], kept: list[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Writes one run of what is kept and returns the rest."""
    whole = joined(kept)
    rows, rest = _taken(whole, slice(RUN_ROWS)), _taken(whole, slice(RUN_ROWS, None))
    rows["ra"] = rows["ra"] % 360.0
    pixel = pixels_of(rows["ra"], rows["dec"], job.order).astype(np.int32)
    order = np.argsort(pixel, kind="stable")
    rows = _taken(rows, order) | {"pixel": pixel[order]}
    ids = rows["object_id"]
    hashes = splitmix(ids) if ids.dtype.kind == "i" else text_hashes(ids)
    order = np.argsort(hashes)
    rows |= {"hash": hashes[order], "hash_row": order.astype(np.int32)}
    if ids.dtype.kind == "U":
        rows["object_id"] = _as_bytes(ids)
    name = f"{job.name}-{len(told['runs']):05d}"
    write_arrays(folder / name, rows)
    told["runs"].append([name, len(ids)])
    return rest


def _as_bytes(texts: np.ndarray) -> np.ndarray:
    """Texts at one byte per character where they are plain, as nearly all ids are."""
    try:
        return texts.astype(np.bytes_)
    except UnicodeEncodeError:
        return texts


class Run:
    """One run on disk; its arrays are mapped when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._maps: dict[str, np.ndarray] = {}

    def column(self, name: str) -> np.ndarray:
        """A whole column, mapped and not read."""
        if name not in self._maps:
            self._maps[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._maps[name]

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return (self.folder / f"{name}.npy").is_file()

    def slices(self, first: np.ndarray, last: np.ndarray) -> Iterator[slice]:
        """The rows of ranges of pixels [first, last), each range increasing."""
        pixel = self.column("pixel")
        starts = np.searchsorted(pixel, first.astype(np.int32))
        stops = np.searchsorted(pixel, last.astype(np.int32))
        for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
            if a < b:
                yield slice(a, b)

    def rows(self, first: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray] | None:
        """The columns of the rows of ranges of pixels, without those dropped."""
        slices = list(self.slices(first, last))
        if not slices:
            return None
        names = [n for n in (*COLUMNS, "partition", "pixel") if self.has(n)]
        found = {
            name: np.concatenate([self.column(name)[s] for s in slices])
            for name in names
        }
        if found["object_id"].dtype.kind == "S":
            found["object_id"] = found["object_id"].astype(np.str_)
        if self.has("drop"):
            places = np.concatenate([np.arange(s.start, s.stop) for s in slices])
            found = _taken(found, ~np.isin(places, self.column("drop")))
        return found


def ranges(pixels: Int[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted pixels as ranges [first, last) of neighbours in number."""
    if not len(pixels):
        return pixels, pixels
    new = np.flatnonzero(np.diff(pixels) != 1) + 1
    first = pixels[np.r_[0, new]]
    last = pixels[np.r_[new - 1, len(pixels) - 1]] + 1
    return first, last


def run_speeds(run: Run) -> Shaped[np.ndarray, " b"]:
    """Proper motion of each row of a run in mas/yr."""
    if not run.has("pm_ra"):
        return np.zeros(len(run.column("ra")))
    return speeds(Positions(*(np.asarray(run.column(name)) for name in COLUMNS)))
