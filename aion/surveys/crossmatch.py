# SPDX-License-Identifier: MIT
"""Cross-matching of surveys of any size, restartable at any moment.

First every survey's positions are read once and kept in runs sorted by place
(`aion.surveys.runs`); then the sky is cut into parts of about equal numbers of rows
(`regions`), and each is matched with all that can matter to it (`parts`, `matching`).
Memory holds a run or a part per process, never a survey. Every entry comes out exactly
once or is in the report: the counts are compared at the end.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aion.errors import ArtefactError, ConfigError, DataError, WorkdirError
from aion.splits import SplitRule
from aion.surveys.duplicates import REASON, drop_duplicates
from aion.surveys.epochs import years_to_meet
from aion.surveys.files import read_json, whole_file, write_json
from aion.surveys.matching import Rules
from aion.surveys.parts import Matcher
from aion.surveys.positions import PositionSource
from aion.surveys.regions import PART_ROWS, cut, write_patches
from aion.surveys.runs import BadRows, Run, jobs_of, run_speeds, write_runs

FORMAT, VERSION = "aion-match", 1
PLAN, REPORT, SCRATCH = "plan.json", "report.json", "scratch"
ENGINES = ("tree", "lsdb")
Progress = Callable[[str, int, int], None]
"""Told a stage ("read" or "match"), how many of its steps are done, and of how many."""


def crossmatch(
    sources: Mapping[str, PositionSource],
    out: Path,
    radius: float | Mapping[Any, float] = 1.0,
    epochs: Mapping[str, float] | None = None,
    *,
    engine: str = "tree",
    workers: int = 1,
    split: SplitRule | None = None,
    on_bad: str = "error",
    least: int = 1,
    part_rows: int = PART_ROWS,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Matches n surveys and writes one row per object.

    Args:
        sources: positions by survey; the known surveys come first, in the order of
            `matching.PRIORITY`, then the others as given.
        out: folder, new or begun with the same settings. It gets
            `objects-*.parquet` (see `parts.match_schema`), `report.json` and, if there
            are bad rows, `quarantined.parquet`.
        radius: arcsec, or by pair of surveys.
        epochs: Julian year of surveys' positions, in place of `epochs.EPOCHS`.
        engine: "tree", or "lsdb" for HATS catalogues (extra `hats`).
        workers: processes.
        split: how objects are divided; default `SplitRule()`.
        on_bad: "error", or "quarantine": rows without a usable id and place and all
            but one row of an id are put aside and counted.
        least: surveys that must see an object for it to be written.
        part_rows: rows of all surveys that are matched at once, where the sky is not
            too crowded for that; a process needs about 1 kB for each.
        scheduler: address of a Dask scheduler, for the engine "lsdb".
        progress: told what is done.

    Returns:
        The folder.

    Raises:
        ConfigError: settings out of range.
        WorkdirError: the folder holds something else, or other settings.
        DataError: bad rows where they are an error, a survey without rows, or what a
            source raises.
    """
    rules = Rules.of(tuple(sources), radius, epochs)
    if engine not in ENGINES or on_bad not in ("error", "quarantine"):
        raise ConfigError(
            f"engine {engine!r}, on_bad {on_bad!r}",
            "Engines are tree and lsdb; on_bad is error or quarantine.",
        )
    matcher = Matcher(Path(out) / SCRATCH, rules, split or SplitRule(), least, engine)
    bad = BadRows(on_bad)
    run = _Crossmatch(Path(out), matcher, sources, bad, part_rows, workers, progress)
    return run.all(scheduler)


def _tell_nothing(stage: str, done: int, total: int) -> None:
    del stage, done, total


@dataclass(frozen=True)
class _Crossmatch:
    """The stages, each of which may be repeated after a kill."""

    out: Path
    matcher: Matcher
    sources: Mapping[str, PositionSource]
    bad: BadRows
    part_rows: int
    workers: int
    progress: Progress | None

    def __post_init__(self) -> None:
        least, count = self.matcher.least, len(self.sources)
        if min(self.workers, self.part_rows) < 1 or not 1 <= least <= count:
            raise ConfigError(
                f"{self.workers} workers, {self.part_rows} rows in a part, at least "
                f"{least} surveys",
                f"Give 1 or more workers and rows, and 1 to {count} surveys.",
            )

    def all(self, scheduler: str | None) -> Path:
        """All that is not done yet."""
        self.prepare()
        if not (self.out / REPORT).is_file():
            self.read()
            if self.matcher.engine == "lsdb":
                from aion.surveys.lsdb_engine import store_pairs

                store_pairs(self.scratch, self.matcher.rules, self.sources, scheduler)
            self.match()
            self.finish()
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.out

    @property
    def scratch(self) -> Path:
        return self.out / SCRATCH

    def plan(self) -> dict[str, Any]:
        plan = {
            "format": FORMAT,
            "version": VERSION,
            **self.matcher.rules.to_dict(),
            "engine": self.matcher.engine,
            "least": self.matcher.least,
            "split_rule": asdict(self.matcher.split),
            "on_bad": self.bad.on_bad,
            "part_rows": self.part_rows,
            "sources": {name: _identity(s) for name, s in self.sources.items()},
        }
        return json.loads(json.dumps(plan))

    def prepare(self) -> None:
        """Makes the folder, or checks that it belongs to this very match."""
        ours, path = self.plan(), self.out / PLAN
        if not path.is_file():
            if self.out.exists() and any(
                not p.name.startswith(f".{PLAN}.") for p in self.out.iterdir()
            ):
                raise WorkdirError(
                    f"{self.out} is not empty and holds no match",
                    "Choose a new folder.",
                )
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(path, ours)
        theirs = read_json(path)
        for key, value in ours.items():
            if theirs.get(key) != value:
                what = _difference(value, theirs.get(key), key.replace("_", " "))
                raise WorkdirError(
                    f"{self.out} was begun with another {what}",
                    "Choose a new folder, or go on with what it was begun with.",
                )
        (self.scratch / "parts").mkdir(parents=True, exist_ok=True)

    def read(self) -> None:
        """Positions into runs, and what all parts share into `index.json`."""
        if (self.scratch / "index.json").is_file():
            return
        names = {s: list(source.partitions()) for s, source in self.sources.items()}
        self._check_epochs(names)
        order = self.matcher.rules.order
        jobs = [job for s, some in names.items() for job in jobs_of(s, some, order)]
        steps = [(self.scratch, j, self.sources[j.survey], self.bad) for j in jobs]
        receipts = self._each("read", write_runs, steps)
        told: dict[str, Any] = {
            s: {"rows_in": 0, "bad": {}, "faults": [], "moving": False} for s in names
        }
        runs: dict[str, list[str]] = {survey: [] for survey in names}
        for job, receipt in zip(jobs, receipts, strict=True):
            mine = told[job.survey]
            mine["rows_in"] += receipt["rows_in"]
            mine["moving"] |= receipt["moving"]
            mine["faults"] += [f for f in receipt["faults"] if f not in mine["faults"]]
            runs[job.survey] += [name for name, _ in receipt["runs"]]
            for reason, count in receipt["bad"].items():
                mine["bad"][reason] = mine["bad"].get(reason, 0) + count
        for survey, mine in told.items():
            self._check_rows(survey, runs[survey])
            again = drop_duplicates(self.scratch, survey, runs[survey], self.bad)
            mine["bad"] |= {REASON: again} if again else {}
        if not any(runs.values()):
            raise DataError("no survey has a usable row", "Check the sources.")
        index = {"partitions": names, "runs": runs, "surveys": told}
        write_json(self.scratch / "index.json", index | self._parts(runs, told))

    def _check_epochs(self, names: Mapping[str, Sequence[str]]) -> None:
        """One look at each survey, so that a missing epoch is told at once."""
        moving = {
            survey: bool(some)
            and self.sources[survey].positions(some[0]).pm_ra is not None
            for survey, some in names.items()
        }
        self._years(moving)

    def _years(self, moving: Mapping[str, bool]) -> dict[str, float]:
        """The longest time by which entries of each survey are moved, years."""
        rules = self.matcher.rules
        return {
            s: max(
                abs(years_to_meet(rules.epochs, moving, s, t))
                for t in rules.surveys
                if t != s
            )
            for s in rules.surveys
        }

    def _check_rows(self, survey: str, runs: Sequence[str]) -> None:
        if not runs and self.bad.on_bad == "error":
            raise DataError(
                f"{survey} has no rows",
                "Leave it out, or go on without it with on_bad quarantine.",
            )

    def _parts(
        self, runs: Mapping[str, Sequence[str]], told: Mapping[str, Any]
    ) -> dict[str, Any]:
        rules = self.matcher.rules
        moving = {s: bool(told[s]["moving"]) for s in rules.surveys}
        years = self._years(moving)
        counts = np.zeros(12 * 4**rules.order, np.int32)
        fast = [np.empty((3, 0))]
        speed = dict.fromkeys(runs, 0.0)
        for survey, names in runs.items():
            for run in (Run(self.scratch / name) for name in names):
                pixel, rows = np.unique(run.column("pixel"), return_counts=True)
                counts[pixel] += rows.astype(np.int32)
                if years[survey]:
                    motion = run_speeds(run) / 1000
                    speed[survey] = max(speed[survey], float(motion.max()))
                    shift = motion * years[survey]
                    far = shift > rules.slack
                    place = [run.column(name)[far] for name in ("ra", "dec")]
                    fast.append(np.stack([*place, shift[far] + rules.reach]))
        stars = np.concatenate(fast, axis=1)
        write_patches(self.scratch / "patches", rules.order, *stars)
        parts = cut(counts, rules.order, self.part_rows)
        told = {"fast_stars": stars.shape[1], "speed": speed}
        return told | {"parts": parts}

    def match(self) -> None:
        """All parts."""
        parts = read_json(self.scratch / "index.json")["parts"]
        steps = [(number,) for number in range(len(parts))]
        self._each("match", self.matcher.match, steps)

    def finish(self) -> None:
        """Parts take their names; the report comes last."""
        index = read_json(self.scratch / "index.json")
        total = len(index["parts"])
        receipts = [self.matcher.match(number) for number in range(total)]
        report = self.plan() | _summed(receipts, index)
        for survey, told in report["surveys"].items():
            out = told["entries"] + told["left_out"] + sum(told["bad"].values())
            if told["rows_in"] != out:
                raise ArtefactError(
                    f"{survey}: {told['rows_in']} rows in, {out} out and reported",
                    "Remove the folder and match again; if it happens again, tell us.",
                )
        for number in range(total):
            name = f"objects-{number:05d}-of-{total:05d}.parquet"
            if self.matcher.path(number).is_file():
                os.replace(self.matcher.path(number), self.out / name)
        self._write_quarantined(index["partitions"])
        write_json(self.out / REPORT, report)

    def _write_quarantined(self, partitions: Mapping[str, Sequence[str]]) -> None:
        pieces = []
        for survey, names in partitions.items():
            for folder in sorted(self.scratch.glob(f"{survey}-*")):
                if not (folder / "reason.npy").is_file():
                    continue
                columns = {p.stem: np.load(p) for p in folder.glob("*.npy")}
                ids = columns["object_id"].astype(np.str_)
                where = [names[number] for number in columns["partition"]]
                content = {
                    "survey": [survey] * len(ids),
                    "object_id": ids.tolist(),
                    "ra": columns["ra"],
                    "dec": columns["dec"],
                    "partition": where,
                    "reason": columns["reason"].tolist(),
                }
                pieces.append(pa.table(content))
        if pieces:
            with whole_file(self.out / "quarantined.parquet") as partial:
                pq.write_table(pa.concat_tables(pieces), partial)

    def _each(
        self, stage: str, function: Callable[..., Any], steps: Sequence[tuple]
    ) -> list[Any]:
        """Results of a function on all arguments, in order, in parallel processes."""
        tell, total = self.progress or _tell_nothing, len(steps)
        if self.workers == 1 or total < 2:
            results = []
            for done, step in enumerate(steps, start=1):
                results.append(function(*step))
                tell(stage, done, total)
            return results
        # Forked processes inherit locks of threads that libraries have started.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.workers, total), context) as pool:
            futures = [pool.submit(function, *step) for step in steps]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    tell(stage, done, total)
            except BrokenProcessPool:
                raise ArtefactError(
                    f"a process of {self.out} was killed",
                    "Perhaps memory ran out: go on with fewer workers.",
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]


def _summed(
    receipts: Sequence[Mapping[str, Any]], index: Mapping[str, Any]
) -> dict[str, Any]:
    """The receipts of all parts as one, with what was read."""

    def total(key: str) -> dict[str, int]:
        return {name: sum(r[key][name] for r in receipts) for name in receipts[0][key]}

    entries, left_out = total("entries"), total("left_out")
    surveys = {
        survey: told | {"entries": entries[survey], "left_out": left_out[survey]}
        for survey, told in index["surveys"].items()
    }
    return {
        "surveys": surveys,
        "objects": sum(r["objects"] for r in receipts),
        "duplicates": sum(r["duplicates"] for r in receipts),
        "together": total("together"),
        "parts": len(receipts),
        "fast_stars": index["fast_stars"],
    }


def _difference(ours: Any, theirs: Any, where: str) -> str:
    """Where two JSON values differ first, in words."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                return _difference(ours.get(key), theirs.get(key), f"{where} {key}")
    return f"{where}: {theirs} there, {ours} here"


def _identity(source: PositionSource) -> dict[str, Any]:
    """What tells one source from another, as JSON values."""
    plain = (str, int, float, Path, tuple, type(None))
    described: dict[str, Any] = {"kind": type(source).__name__}
    if is_dataclass(source):
        values = {f.name: getattr(source, f.name) for f in fields(source)}
        described |= {k: str(v) for k, v in values.items() if isinstance(v, plain)}
    if digest := getattr(source, "digest", None):
        described["digest"] = digest
    names = "\n".join(source.partitions())
    return described | {"partitions": hashlib.sha256(names.encode()).hexdigest()}
