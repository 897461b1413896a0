# SPDX-License-Identifier: MIT
"""Draws and posteriors for the objects of a catalogue, written to one Parquet file."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aion import __version__
from aion.errors import ConfigError, DataError
from aion.eval.evaluator import EXAMPLES, Examples
from aion.eval.held import gather
from aion.eval.questions import values_of
from aion.generation import AION, load
from aion.jobs.runs import Job
from aion.jobs.scoring import questions_of
from aion.modality import Kind
from aion.observation import Category
from aion.observations import ModalitySpec
from aion.records import Records
from aion.sampling.forward import take
from aion.sampling.posterior import Posterior
from aion.sampling.schemes import Chained, OneShot, Scheme
from aion.tokens import TokenBatch

FORMAT = "aion.draws"
VERSION = 1
SCHEMES: dict[str, Scheme] = {"one-shot": OneShot(), "chained": Chained()}
OBJECTS_PER_PART = 512


@dataclass(frozen=True)
class Request:
    """What `aion sample` is asked for.

    Attributes:
        ask: modalities, in the order in which a chained scheme draws them.
        given: modalities that are given; those of the config's question about the
            first asked one when empty.
        scheme: word of `SCHEMES`.
        num_samples: draws per object.
        seed: of the draws.
        limit: number of objects at most; 0 is all.
        temperature, top_k, top_p: see `aion.generation.AION.sample`.
    """

    ask: tuple[str, ...]
    given: tuple[str, ...] = ()
    scheme: str = "chained"
    num_samples: int = 32
    seed: int = 0
    limit: int = 0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ConfigError(
                f"unknown scheme {self.scheme!r}",
                f"Choose one of {', '.join(SCHEMES)}.",
            )
        if not self.ask:
            raise ConfigError("nothing is asked", "Name modalities with --ask=a,b.")


def sample_catalog(job: Job, request: Request, out: Path) -> list[Path]:
    """Draws for every object of the job's catalogue.

    The file has object_id, ra, dec; for each asked modality `<name>_draws` (list of s
    values) and a summary of its posterior given the given modalities alone: mean,
    median, mode, std, p16, p84 of numbers, mode and p_<label> of categories; and the
    true value where the catalogue has it. Its metadata say how it was made.

    Args:
        job: a trained run and the catalogue.
        request: what is asked.
        out: the Parquet file; the plot lies beside it with the end .png.

    Returns:
        the files written.

    Raises:
        DataError: a given column is not in the catalogue.
        TokenSpaceError: an unknown modality.
    """
    model = load(job.workdir)
    request = _complete(job, request, model)
    records = _records(job, request)
    tokens = model.tokenize({n: records.observations[n] for n in request.given})
    columns = _draws(model, tokens, records, request)
    examples = None
    for name in request.ask:
        if model.space[name].modality.kind not in (Kind.SCALAR, Kind.CATEGORY):
            continue
        found, posterior = _summaries(model, tokens, name)
        columns |= found
        if name in records.observations:
            columns[f"{name}_true"] = values_of(records, name)
        examples = examples or _examples(posterior, records)
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "made_by": f"aion-jax {__version__}",
        "request": asdict(request),
        "step": model.metadata.get("step"),
        "catalog": job.catalog.name if job.catalog else None,
        "codecs": model.bundle.digests,
        "units": {n: model.space[n].modality.unit for n in request.ask},
    }
    written = [_write(out, columns, meta)]
    if examples is not None:
        from aion.eval.plots import plot_posteriors

        written.append(plot_posteriors(examples, out.with_suffix(".png")))
    return written


def _complete(job: Job, request: Request, model: AION) -> Request:
    """The request with its given modalities, every name known to the model."""
    for name in (*request.ask, *request.given):
        model.space.index(name)
    if request.given:
        return request
    for question in questions_of(job.config):
        if question.asked == request.ask[0] and not set(question.given) & set(
            request.ask
        ):
            return replace(request, given=question.given)
    raise ConfigError(
        f"the run has no question about {request.ask[0]} to take what is given from",
        "Name what is given with --given=a,b,c.",
    )


def _records(job: Job, request: Request) -> Records:
    """The objects of the catalogue, with the truth of asked modalities it has."""
    by_name = {spec.name: spec for spec in job.specs}
    needed = _with_parents(request.given, by_name)
    for name in request.ask:
        longer = _with_parents([*needed, name], by_name)
        try:
            job.source(specs=[by_name[n] for n in longer])
        except DataError:
            continue
        needed = longer
    source = job.source(specs=[by_name[n] for n in needed])
    records = gather(source, job.rule, "all").records
    return records.take(slice(0, request.limit)) if request.limit else records


def _with_parents(names: Sequence[str], by_name: dict[str, ModalitySpec]) -> list[str]:
    """Names with those that derived ones are made of, in the order of the config."""
    wanted = set(names)
    for name in names:
        wanted |= set(by_name[name].difference or ())
    return [n for n in by_name if n in wanted]


def _draws(
    model: AION, tokens: TokenBatch, records: Records, request: Request
) -> dict[str, Any]:
    """Columns that name the objects, and the draws of each asked modality."""
    draws = model.sample(
        tokens,
        list(request.ask),
        num_samples=request.num_samples,
        scheme=SCHEMES[request.scheme],
        seed=request.seed,
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
    )
    columns: dict[str, Any] = {
        "object_id": records.object_id.astype(np.str_),
        "ra": records.ra,
        "dec": records.dec,
    }
    for name, found in model.detokenize(draws).items():
        values: Any = (
            found.labels if isinstance(found, Category) else vars(found)["values"]
        )
        columns[f"{name}_draws"] = np.moveaxis(np.asarray(values), 0, 1).tolist()
    return columns


def _summaries(
    model: AION, tokens: TokenBatch, name: str
) -> tuple[dict[str, np.ndarray], Posterior]:
    """Summary of the posterior of each object, and the whole one of the first few."""
    parts, first = [], None
    for start in range(0, tokens.shape[0], OBJECTS_PER_PART):
        part = take(tokens, slice(start, start + OBJECTS_PER_PART))
        posterior = model.posterior(part, name)
        parts.append(_summary(name, posterior))
        first = first or posterior
    assert first is not None, "there is at least one object"
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}, first


def _summary(name: str, posterior: Posterior) -> dict[str, Any]:
    if posterior.is_category:
        shares = zip(posterior.values, posterior.probabilities.T, strict=True)
        return {f"{name}_mode": posterior.mode.astype(np.str_)} | {
            f"{name}_p_{label}": share for label, share in shares
        }
    low, high = posterior.interval(0.68)
    return {
        f"{name}_mean": posterior.mean,
        f"{name}_median": posterior.median,
        f"{name}_mode": posterior.mode,
        f"{name}_std": posterior.std,
        f"{name}_p16": low,
        f"{name}_p84": high,
    }


def _examples(posterior: Posterior, part: Records) -> Examples:
    rows = slice(0, EXAMPLES)
    few = replace(posterior, probabilities=posterior.probabilities[rows])
    empty = "" if posterior.is_category else np.nan
    truth = np.full(len(part), empty)
    if posterior.name in part.observations:
        truth = values_of(part, posterior.name)
    return Examples(few, truth[rows], part.object_id[rows])


def _write(out: Path, columns: dict[str, Any], meta: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns)
    table = table.replace_schema_metadata({"aion": json.dumps(meta)})
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    pq.write_table(table, partial)
    partial.replace(out)
    return out
