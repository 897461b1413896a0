# SPDX-License-Identifier: MIT
"""Time and memory of cross-matching two surveys at 1 arcsec, half of all rows matched.

    python tests/benchmarks/bench_crossmatch.py memory 1000000
    python tests/benchmarks/bench_crossmatch.py stream 10000000 FOLDER [workers]

`memory` times the engine on arrays (CPU seconds of this process, no file is touched).
`stream` reads from sources that hold nothing, writes the match table into a new folder,
and tells CPU seconds and the peak resident memory of the largest process.
"""

import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aion.surveys.crossmatch import crossmatch
from aion.surveys.matching import match_positions
from aion.surveys.positions import Positions

PIECE = 200_000
SCATTER = 0.2 / 3600


@dataclass(frozen=True)
class Drawn:
    """A survey of rows drawn anew at each reading, at most one partition in memory.

    Attributes:
        rows: how many.
        moved: whether it is the second survey: half of its rows are those of the first,
            with errors, the others are elsewhere.
    """

    rows: int
    moved: bool

    def partitions(self) -> tuple[str, ...]:
        """Numbers of the pieces."""
        return tuple(str(piece) for piece in range(-(-self.rows // PIECE)))

    def positions(self, partition: str) -> Positions:
        """Rows spread over 4,600 square degrees."""
        piece = int(partition)
        count = min(PIECE, self.rows - piece * PIECE)
        ra, dec = place(piece, 0, count)
        ids = piece * PIECE + np.arange(count)
        if self.moved:
            rng = np.random.default_rng([piece, 1])
            half = count // 2
            other = place(piece, 2, count - half)
            ra = np.concatenate([ra[:half], other[0]])
            dec = np.concatenate([dec[:half], other[1]])
            ra[:half] += rng.normal(0, SCATTER, half) / np.cos(np.radians(dec[:half]))
            dec[:half] += rng.normal(0, SCATTER, half)
            return Positions(ids, ra % 360, np.clip(dec, -90, 90))
        return Positions(ids, ra, dec)


def place(piece: int, stream: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions on a part of the sky, degrees."""
    rng = np.random.default_rng([piece, stream])
    ra = rng.uniform(0, 160, count)
    return ra, np.degrees(np.arcsin(rng.uniform(0, 0.5, count)))


def whole(source: Drawn) -> Positions:
    """All rows of a source."""
    pieces = [source.positions(p) for p in source.partitions()]
    names = ("object_id", "ra", "dec")
    return Positions(*(np.concatenate([getattr(p, n) for p in pieces]) for n in names))


def in_memory(rows: int) -> None:
    """CPU seconds of the engine on arrays, three times."""
    surveys = {"one": whole(Drawn(rows, False)), "two": whole(Drawn(rows, True))}
    for _ in range(3):
        start = time.process_time()
        _, objects = match_positions(surveys)
        seconds = time.process_time() - start
        matched = int((objects.rows >= 0).all(axis=1).sum())
        print(f"{rows:,} x {rows:,}: {seconds:.2f} CPU s, {matched:,} matched")


def streaming(rows: int, folder: Path, workers: int) -> None:
    """CPU seconds, wall seconds and peak memory of the whole match on disk."""
    sources = {"one": Drawn(rows, False), "two": Drawn(rows, True)}
    start, wall = cpu(), time.monotonic()
    crossmatch(sources, folder, workers=workers)
    report = json.loads((folder / "report.json").read_text())
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{rows:,} x {rows:,}, {workers} workers: {cpu() - start:.1f} CPU s, "
        f"{time.monotonic() - wall:.1f} s, {peak / 1e6:.2f} GB in the largest process, "
        f"{report['together']['one-two']:,} matched of {report['objects']:,} objects"
    )


def cpu() -> float:
    """CPU seconds of this process and of those that have ended."""
    usage = [
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in usage)


if __name__ == "__main__":
    kind, count = sys.argv[1], int(float(sys.argv[2]))
    if kind == "memory":
        in_memory(count)
    else:
        given = int(sys.argv[4]) if len(sys.argv) > 4 else 1
        streaming(count, Path(sys.argv[3]), given)
