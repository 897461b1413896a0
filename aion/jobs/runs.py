# SPDX-License-Identifier: MIT
"""The stages of a run on a catalogue: codecs, shards, training, scores, folds.

A run's folder holds `config.json` (whose run it is), `catalog.json` (on which file),
`bundle/`, `shards/`, `checkpoints/`, `metrics.jsonl` and `evaluation/`. Each stage goes
on where it was stopped, and refuses a folder that is another run's.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aion.codec import CodecBundle
from aion.config import to_dataclass, to_plain
from aion.data.shards import ShardSet
from aion.errors import AionError, ArtefactError, WorkdirError
from aion.eval.held import split_records
from aion.generation import BUNDLE
from aion.mocksky.catalog import write_catalog
from aion.observations import (
    ModalitySpec,
    TableSource,
    fit_bundle,
    open_catalog,
    specs_from_config,
)
from aion.splits import SplitRule
from aion.tokenization import Progress, tokenize
from aion.train.workdir import claim, write_whole

SHARDS = "shards"
CATALOG = "catalog.json"

Say = Callable[[str], None]
"""Told in one line what is going on."""


class Stopped(AionError):
    """A run was asked to stop; its state is saved."""

    status = 130
    """Exit code, as of an interrupted command."""


@dataclass(frozen=True)
class Job:
    """A configuration, the folder of its run, and the catalogue it is about.

    Attributes:
        config: plain values of the whole configuration.
        workdir: the run's folder.
        catalog: the catalogue file; None where shards are there already.
        say: told what is going on.
        progress: told how far tokenization is.
    """

    config: Mapping[str, Any]
    workdir: Path
    catalog: Path | None = None
    say: Say = lambda text: None
    progress: Progress | None = None

    @property
    def rule(self) -> SplitRule:
        """How cells are divided into splits."""
        return to_dataclass(SplitRule, self.config["data"]["split"], "data.split")

    @property
    def specs(self) -> tuple[ModalitySpec, ...]:
        """The modalities."""
        return specs_from_config(self.config["data"]["modalities"])

    def source(
        self,
        catalog: Path | None = None,
        specs: Sequence[ModalitySpec] | None = None,
        *,
        copies: int = 0,
    ) -> TableSource:
        """The records of the catalogue, or of another file of the same columns.

        Raises:
            AionError: no catalogue was given.
            DataError: what reading it raises.
        """
        path = catalog or self.catalog
        if path is None:
            raise AionError("no catalogue", "Give one with --catalog=FILE.")
        data = self.config["data"]
        rest = {k: data[k] for k in ("ra", "dec", "missing") if k in data}
        if "object_id" in data:
            rest["object_id"] = tuple(data["object_id"])
        if "missing" in rest:
            rest["missing"] = tuple(rest["missing"])
        chosen = self.specs if specs is None else tuple(specs)
        seed = int(data.get("seed", 0))
        return open_catalog(path, chosen, copies=copies, seed=seed, **rest)


def synthetic_catalog(job: Job, objects: int, seed: int) -> Path:
    """The built-in catalogue in the run's folder; written when it is not there.

    Raises:
        WorkdirError: the folder is another run's.
    """
    claim(job.workdir, job.config)
    path = job.workdir / "catalog.parquet"
    if not path.exists():
        job.say(f"simulating {objects:,} objects")
        write_catalog(path, objects, seed, job.rule)
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def begin(job: Job) -> None:
    """Makes the folder this run's; checks configuration and catalogue if it is.

    The catalogue is opened first, so that a wrong file leaves no folder behind.

    Raises:
        WorkdirError: the folder is another run's, or this run's on another catalogue.
        DataError: the catalogue cannot be read.
    """
    if job.catalog is not None:
        job.source()
    claim(job.workdir, job.config)
    if job.catalog is None:
        return
    path = job.workdir / CATALOG
    if not path.exists():
        return
    theirs = json.loads(path.read_text())
    if theirs["sha256"] != file_digest(job.catalog):
        raise WorkdirError(
            f"{job.workdir} holds a run on {theirs['path']}, not on {job.catalog} "
            "(or the file has changed)",
            "Choose another --workdir, or give the same catalogue.",
        )


def _record_catalog(job: Job) -> None:
    """Writes which catalogue the run is about; once its codecs could be fitted."""
    path = job.workdir / CATALOG
    if job.catalog is not None and not path.exists():
        mine = {"path": str(job.catalog.resolve()), "sha256": file_digest(job.catalog)}
        write_whole(path, json.dumps(mine, indent=1) + "\n")


def recorded_catalog(workdir: Path) -> Path | None:
    """The catalogue a run was trained on, if it is still there unchanged."""
    try:
        stored = json.loads((workdir / CATALOG).read_text())
        path = Path(stored["path"])
        return path if file_digest(path) == stored["sha256"] else None
    except (OSError, ValueError, KeyError):
        return None


def prepare_codecs(job: Job) -> CodecBundle:
    """The codecs of the run, fitted on its training cells unless they are there.

    A new folder is claimed when they could be fitted: a catalogue that cannot be used
    leaves nothing behind.

    Raises:
        WorkdirError: the folder is another run's.
        DataError: a column without a single value; names it.
    """
    folder = job.workdir / BUNDLE
    if job.workdir.exists() and any(job.workdir.iterdir()):
        begin(job)
    if folder.exists():
        return CodecBundle.load(folder)
    job.say("fitting codecs on the training cells")
    source = job.source()
    training = (part for part, _ in split_records(source, job.rule, "train"))
    bundle = fit_bundle(job.specs, training)
    _tell_left_out(job, source)
    begin(job)
    _record_catalog(job)
    bundle.save(folder)
    return bundle


def _tell_left_out(job: Job, source: TableSource) -> None:
    """Says what became of the rows of the catalogue, where not all are used."""
    report = getattr(source.source, "report", None)
    if report is None:
        return
    for reason, count in report.left_out.items():
        job.say(f"left out {count:,} of {report.rows_in:,} rows: {reason}")
    if report.duplicates:
        job.say(f"{report.duplicates:,} rows repeat an object id; all are kept")


def prepare_shards(job: Job) -> tuple[CodecBundle, ShardSet]:
    """Codecs and token shards of the run; made when they are not there.

    Raises:
        AionError: they are not there and no catalogue was given.
        WorkdirError: the folder is another run's.
    """
    folder, manifest = job.workdir / SHARDS, job.workdir / SHARDS / "manifest.json"
    if job.catalog is None:
        begin(job)
        if not manifest.exists():
            raise ArtefactError(
                f"{job.workdir} holds no token shards",
                "Give the catalogue with --catalog=FILE, or run `aion tokenize` first.",
            )
        bundle = CodecBundle.load(job.workdir / BUNDLE)
        return bundle, ShardSet.open(folder, bundle.space)
    bundle, copies = prepare_codecs(job), int(job.config["data"].get("copies", 0))
    noisy = f", {copies} noisy copies for each object" if copies else ""
    job.say(f"tokenizing {job.catalog.name}{noisy}")
    settings = {
        "copies": copies,
        "seed": int(job.config["data"].get("seed", 0)),
        "catalog": file_digest(job.catalog),
        "jitter": {s.name: s.jitter for s in job.specs if s.jitter},
    }
    shards = tokenize(
        job.source(copies=copies),
        bundle,
        folder,
        job.rule,
        settings=settings,
        provenance={"catalog": job.catalog.name},
        progress=job.progress,
    )
    if shards is None:
        raise ArtefactError(
            f"{folder} is not whole: other processes are still writing",
            "Run the same command again when they have finished.",
        )
    return bundle, shards


def train(job: Job, *, quiet: bool = False) -> Mapping[str, float]:
    """Trains the model of the run, tokenizing first if needed; goes on if it began.

    A configuration with a part `codec` trains that codec instead.

    Returns:
        the last numbers of the run.

    Raises:
        Stopped: the run was asked to stop; the same command goes on.
    """
    if "codec" in job.config:
        from aion.jobs.codec_training import train_codec

        return train_codec(job, quiet=quiet)
    from aion.train.pretrain import pretrain

    bundle, shards = prepare_shards(job)
    job.say(f"training on {shards.count('train'):,} records")
    outcome = pretrain(job.config, [shards], bundle.space, job.workdir, quiet=quiet)
    if not outcome.finished:
        raise Stopped(
            f"stopped at step {outcome.step}, state saved",
            "The same command goes on from there.",
        )
    return outcome.metrics


def job_of(config: Any, workdir: Path, catalog: Path | None = None, **rest: Any) -> Job:
    """A job from a ConfigDict."""
    return Job(to_plain(config), workdir, catalog, **rest)
