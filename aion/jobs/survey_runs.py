# SPDX-License-Identifier: MIT
"""Codecs and token shards of surveys: images, spectra, maps, catalogues and numbers.

A configuration whose part `data` has a `source` is about records of surveys (their
files, matched surveys, or a mock sky) and not about one catalogue. Its codecs are a
bundle that exists (`data.bundle`, a folder or the name of a shipped one), or are made:
trained ones are taken from their folders, all others are fitted on training cells.
"""

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aion.codec import Codec, CodecBundle, bundle_folder, load_codec
from aion.config import to_dataclass
from aion.data.shards import ShardSet
from aion.errors import ArtefactError, ConfigError, DataError
from aion.generation import BUNDLE
from aion.jobs.feeds import SOURCES
from aion.jobs.runs import SHARDS, Job
from aion.modality import MODALITIES, Kind
from aion.observations import fit_bundle, specs_from_config
from aion.records import Records, RecordSource
from aion.splits import SplitRule
from aion.tokenization import tokenize
from aion.train.workdir import claim


@dataclass(frozen=True)
class TrainedCodec:
    """A codec that was trained, for a bundle.

    Attributes:
        name: in the bundle.
        folder: such as `best` of its run.
        modalities: that it serves.
    """

    name: str
    folder: str
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class SurveyData:
    """What a run on surveys reads.

    Attributes:
        source: `kind`, a word of `feeds.SOURCES`, and its `settings`.
        bundle: folder or name of a bundle; "" makes one.
        refinement: how long codes are sought, by the name of a codec in the bundle:
            the arguments of its `with_refinement`. Others do as they were saved.
        trained: codecs of a bundle to be made.
        fitted: of a bundle to be made: `name` of each modality, and `codec` (a word, or
            `word` and its fitter's arguments) where it is not the usual one.
        objects: on which codecs are fitted; more are not read.
        split: which sky cells are for training, validation and test.
    """

    source: Mapping[str, Any]
    bundle: str = ""
    refinement: Mapping[str, Any] = field(default_factory=dict)
    trained: tuple[TrainedCodec, ...] = ()
    fitted: tuple[Mapping[str, Any], ...] = ()
    objects: int = 20_000
    split: SplitRule = field(default_factory=SplitRule)

    def open(self, modalities: tuple[str, ...] = ()) -> RecordSource:
        """The source, of some modalities or of all.

        Raises:
            ConfigError: an unknown kind.
        """
        kind, settings = self.source.get("kind"), dict(self.source.get("settings", {}))
        if kind not in SOURCES:
            raise ConfigError(
                f"data.source.kind is {kind!r}", f"Choose one of {', '.join(SOURCES)}."
            )
        if modalities:
            settings["modalities"] = modalities
        return SOURCES[kind](self.split, **settings)


def survey_data(config: Mapping[str, Any]) -> SurveyData:
    """The part `data` of a configuration.

    Raises:
        ConfigError: keys that it does not have.
    """
    return to_dataclass(SurveyData, config["data"], "data")


def prepare_bundle(job: Job) -> CodecBundle:
    """The codecs of a run; made, or copied from `data.bundle`, when not there.

    Several processes may begin together: each makes the same, the first one's is kept.

    Raises:
        WorkdirError: the folder is another run's.
        ConfigError, DataError: what making them raises.
    """
    data, folder = survey_data(job.config), job.workdir / BUNDLE
    bundle = None
    if data.bundle and not folder.exists():
        # A wrong word leaves no folder behind.
        bundle = CodecBundle.load(bundle_folder(data.bundle))
        bundle = with_refinement(bundle, data.refinement)
    claim(job.workdir, job.config)
    if not folder.exists():
        bundle = bundle or with_refinement(make_bundle(data, job), data.refinement)
        try:
            bundle.save(folder)
        except (ArtefactError, OSError):
            if not folder.exists():
                raise
    return CodecBundle.load(folder)


def with_refinement(bundle: CodecBundle, wanted: Mapping[str, Any]) -> CodecBundle:
    """The bundle whose codecs seek their codes for another while.

    Args:
        bundle: as it was saved.
        wanted: as `SurveyData.refinement`.

    Raises:
        ConfigError: a codec that is not there or seeks nothing, or other numbers than
            it takes.
    """
    codecs = dict(bundle.codecs)
    able = sorted(n for n, c in codecs.items() if hasattr(c, "with_refinement"))
    for name, numbers in wanted.items():
        if name not in able:
            raise ConfigError(
                f"data.refinement: codec {name!r} cannot be told how long to seek",
                f"Those that can are {', '.join(able) or 'none'}.",
            )
        change = codecs[name].with_refinement
        takes = ", ".join(inspect.signature(change).parameters)
        whole = not isinstance(numbers, str) and all(type(n) is int for n in numbers)
        if not (whole and 0 < len(numbers) <= takes.count(",") + 1):
            raise ConfigError(
                f"data.refinement.{name} is {numbers!r}",
                f"Give whole numbers, one or more of ({takes}).",
            )
        codecs[name] = change(*numbers)
    return CodecBundle(codecs, bundle.serves)


def make_bundle(data: SurveyData, job: Job) -> CodecBundle:
    """Trained codecs and fitted ones in the order of `MODALITIES`, own ones last.

    Raises:
        ConfigError: a modality twice, or a trained codec of another kind.
        DataError: a modality without a single value among the training objects.
        ArtefactError: a folder that holds no codec.
    """
    codecs: dict[str, Codec] = {}
    serves: dict[str, str] = {}
    for row in data.trained:
        job.say(f"codec {row.name} from {row.folder}")
        codecs[row.name] = load_codec(row.folder)
        for modality in row.modalities:
            if modality not in MODALITIES:
                raise ConfigError(
                    f"data.trained: unknown modality {modality!r}",
                    "Name one of `aion info`.",
                )
            serves[modality] = row.name
    rows = [{"column": row.get("name"), **row} for row in data.fitted]
    specs = specs_from_config(rows)
    twice = sorted(set(serves) & {spec.name for spec in specs})
    if twice:
        raise ConfigError(f"{twice[0]} is trained and fitted", "List it once.")
    job.say(f"fitting {len(specs)} codecs on {data.objects:,} training objects")
    names = tuple(spec.name for spec in specs)
    fitted = fit_bundle(specs, _training(data, names))
    codecs |= fitted.codecs
    known = {m.name: m for m in fitted.serves} | {n: MODALITIES[n] for n in serves}
    serves |= {m.name: name for m, name in fitted.serves.items()}
    order = [n for n in MODALITIES if n in known] + [
        n for n in known if n not in MODALITIES
    ]
    return CodecBundle(codecs, {known[n]: serves[n] for n in order})


def _training(data: SurveyData, names: tuple[str, ...]) -> Iterator[Records]:
    """Objects of training cells, from partitions all over the sky."""
    source, seen = data.open(names), 0
    partitions = list(source.partitions())
    for place in np.random.default_rng(0).permutation(len(partitions)).tolist():
        for records in source.read(partitions[place]):
            cells = data.split.cells(records.ra, records.dec)
            kept = records.take(np.flatnonzero(data.split.assign(cells) == "train"))
            if len(kept):
                seen += len(kept)
                yield kept
        if seen >= data.objects:
            return
    if not seen:
        raise DataError("no object in a training cell", "Look at data.split.")


def prepare_survey_shards(
    job: Job, workers: int = 0, part: tuple[int, int] = (0, 1)
) -> tuple[CodecBundle, ShardSet | None]:
    """Codecs and token shards of a run; goes on where it was stopped.

    Args:
        job: its config has `data.source`.
        workers: processes; 0 encodes in this one.
        part: number of this process and how many share the work, each on its own
            partitions of the source; they need nothing but the folder in common.

    Returns:
        the bundle, and the shards; None while others are still writing.

    Raises:
        WorkdirError, DataError: as `tokenization.tokenize`.
    """
    data, bundle = survey_data(job.config), prepare_bundle(job)
    source = data.open()
    source.partitions()
    report: Any = getattr(source, "report", None)
    listed = [] if report is None else report.lines()
    for line in listed:
        job.say(f"left out: {line}")
    for modality in bundle:
        side = getattr(bundle.codec(modality.name), "size", 0)
        flat = modality.kind in (Kind.IMAGE, Kind.FIELD)
        if flat and max(modality.shape[-2:]) > side > 0:
            job.say(f"of {modality.name} the middle {side} x {side} pixels are taken")
    settings = {"source": _plain(data.source)}
    shards = tokenize(
        source,
        bundle,
        job.workdir / SHARDS,
        data.split,
        settings=settings,
        provenance=settings | {"left_out": listed},
        workers=workers,
        process_index=part[0],
        process_count=part[1],
        progress=job.progress,
    )
    for fault in [] if shards is None else shards.manifest.get("faults", ()):
        where = f"{fault['path']} {fault['column']}".strip()
        job.say(f"left out {fault['rows']:,} rows of {where}: {fault['reason']}")
    return bundle, shards


def _plain(source: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v
        for k, v in dict(source.get("settings", {})).items()
    }
    return {"kind": source["kind"], "settings": settings}


def part_of_array(text: str | None) -> tuple[int, int]:
    """Which part of the work is this process's: "I/N", or a SLURM array's task.

    Raises:
        ConfigError: nonsense, or an I that is not below N.
    """
    if text is None:
        here = os.environ.get("SLURM_ARRAY_TASK_ID")
        if here is None:
            return 0, 1
        first = int(os.environ.get("SLURM_ARRAY_TASK_MIN", "0"))
        text = f"{int(here) - first}/{os.environ['SLURM_ARRAY_TASK_COUNT']}"
    try:
        index, count = (int(number) for number in text.split("/"))
    except ValueError:
        index, count = -1, 0
    if not 0 <= index < count:
        raise ConfigError(f"part {text!r}", "Give I/N with 0 <= I < N, such as 0/8.")
    return index, count
