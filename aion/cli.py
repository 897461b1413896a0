# SPDX-License-Identifier: MIT
"""`aion <stage>`: flags in, one call, one line when something is wrong.

Nothing heavy is imported before a stage runs, so that `aion --help` is quick.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aion.errors import AionError, ConfigError
from aion.flags import build_parser

BAD_INPUT, BUG, INTERRUPTED = 2, 1, 130


def say(text: str) -> None:
    """One line of what is going on."""
    print(f"aion: {text}", flush=True)


def _config(options: argparse.Namespace) -> Any:
    from aion.config import load_config

    for argument in options.overrides:
        if not argument.startswith("--config.") or "=" not in argument:
            raise ConfigError(
                f"unknown argument {argument}",
                "See --help; values of the config are given as --config.key=value.",
            )
    return load_config(options.config, options.overrides)


def _job(options: argparse.Namespace, *, stored: bool = False) -> Any:
    """The job of a stage; `stored` takes the configuration of the run's folder."""
    from aion.jobs.runs import Job, job_of
    from aion.train.workdir import read_config

    if stored and options.config is None:
        if options.overrides:
            raise ConfigError(
                f"unknown argument {options.overrides[0]}",
                "See --help; values of a config can be changed beside --config=FILE.",
            )
        config = read_config(options.workdir)
        return Job(config, options.workdir, options.catalog, say, _progress())
    config = _config(options)
    return job_of(
        config, options.workdir, options.catalog, say=say, progress=_progress()
    )


def _counting(verb: str, noun: str) -> Callable[[int, int], None]:
    """A line at most every two seconds: done of all, rate and time to go."""
    import time

    start, last, first = time.monotonic(), [0.0], [-1]

    def told(done: int, total: int) -> None:
        now = time.monotonic()
        first[0] = done if first[0] < 0 else first[0]
        here = done - first[0]
        if not here or (now - last[0] < 2 and done < total):
            return
        last[0] = now
        rate = here / max(now - start, 1e-9)
        say(
            f"{verb} {done:,} of {total:,} {noun}, {rate:,.0f} {noun}/s, "
            f"{(total - done) / rate:.0f} s to go"
        )

    return told


def _progress() -> Callable[[int, int, int], None]:
    """A line of tokenization at most every two seconds, with rate and time to go."""
    import time

    start, last = time.monotonic(), [0.0]

    def told(done: int, total: int, records: int) -> None:
        now = time.monotonic()
        if not records or (now - last[0] < 2 and done < total):
            return
        last[0] = now
        rate, left = records / max(now - start, 1e-9), (now - start) / max(done, 1)
        eta = left * (total - done)
        say(
            f"tokenized {done} of {total} parts, {records:,} records, "
            f"{rate:,.0f} records/s, {eta:.0f} s to go"
        )

    return told


def _show(rows: list[dict[str, Any]], folder: Path) -> None:
    from aion.report import score_tables, show

    show(*score_tables(rows))
    say(f"scores: {folder / 'scores.md'}")
    for plot in sorted((folder / "plots").glob("*.png")):
        say(f"plot: {plot}")


def simulate(options: argparse.Namespace) -> None:
    """Writes the mock sky: files of five surveys with their truth, or a catalogue."""
    from aion.jobs.skies import simulate_sky

    _no_overrides(options)
    simulate_sky(options, say, _counting("simulated", "objects"))


def crossmatch(options: argparse.Namespace) -> None:
    """Finds which entries of several surveys are the same object on the sky."""
    from aion.jobs.skies import match_surveys

    _no_overrides(options)
    match_surveys(options, say)


def tokenize(options: argparse.Namespace) -> None:
    """Fits codecs and writes token shards."""
    job = _job(options)
    if "source" in job.config["data"]:
        return _tokenize_surveys(options, job)
    from aion.jobs.runs import prepare_shards

    _, shards = prepare_shards(job)
    _tell_shards(shards)


def _tokenize_surveys(options: argparse.Namespace, job: Any) -> None:
    from aion.jobs import survey_runs

    if options.codecs_only:
        bundle = survey_runs.prepare_bundle(job)
        return say(f"codecs of {len(bundle.serves)} modalities in {job.workdir}")
    part = survey_runs.part_of_array(options.part)
    _, shards = survey_runs.prepare_survey_shards(job, options.workers, part)
    if shards is None:
        return say("this part is done; others are still writing")
    _tell_shards(shards)


def _tell_shards(shards: Any) -> None:
    counts = {s: shards.count(s) for s in ("train", "validation", "test")}
    listed = ", ".join(f"{v:,} {k}" for k, v in counts.items())
    say(f"token shards in {shards.folder}: {listed} records")


def train(options: argparse.Namespace) -> None:
    """Trains a model, or goes on where training was stopped."""
    from aion.jobs import runs

    metrics = runs.train(_job(options))
    loss = f"{metrics['loss']:.4f}" if "loss" in metrics else "known"
    say(f"trained; loss {loss}; checkpoints in {options.workdir / 'checkpoints'}")


def evaluate(options: argparse.Namespace) -> None:
    """Scores a trained model, or a trained codec, beside the baselines."""
    from aion.jobs.codec_scoring import evaluate_codec
    from aion.jobs.scoring import EVALUATION, evaluate

    job = _job(options, stored=True)
    if "codec" in job.config:
        rows = evaluate_codec(job, objects=options.objects, out=options.out)
        return _show(rows, options.out or options.workdir / EVALUATION)
    rows = evaluate(
        job,
        rows=options.rows,
        train_catalog=options.train_catalog,
        baselines=() if options.no_baselines else None,
        out=options.out,
    )
    _show(rows, options.out or options.workdir / EVALUATION)


def sample(options: argparse.Namespace) -> None:
    """Draws values and posteriors for the objects of a catalogue."""
    from aion.jobs.drawing import Request, sample_catalog

    request = Request(
        options.ask,
        options.given,
        options.scheme,
        options.num_samples,
        options.seed,
        options.limit,
        options.temperature,
        options.top_k,
        options.top_p,
    )
    if options.out.exists():
        raise ConfigError(f"{options.out} exists", "Choose another --out.")
    for path in sample_catalog(_job(options, stored=True), request, options.out):
        say(f"wrote {path}")


def info(options: argparse.Namespace) -> None:
    """Shows the modalities, or what a folder holds."""
    from aion.report import describe, modality_table, show

    _no_overrides(options)
    show(*([modality_table()] if options.path is None else describe(options.path)))


def quickstart(options: argparse.Namespace) -> None:
    """The whole way: catalogue, codecs, tokens, training, scores, draws."""
    from dataclasses import replace

    from aion.jobs.drawing import Request, sample_catalog
    from aion.jobs.runs import synthetic_catalog
    from aion.jobs.scoring import EVALUATION, fold_of, questions_of, run_folds, run_once

    job, folds = _job(options), options.folds
    if folds > 1:
        job = fold_of(job, folds, 0, job.workdir)
    if job.catalog is None:
        path = synthetic_catalog(job, options.objects, options.seed)
        job = replace(job, catalog=path)
    rows = run_folds(job, folds) if folds > 1 else run_once(job)
    model = replace(job, workdir=job.workdir / "fold-0") if folds > 1 else job
    first = questions_of(job.config)[0]
    request = Request((first.asked,), first.given, limit=9)
    drawn = sample_catalog(model, request, job.workdir / "draws.parquet")
    _show(rows, job.workdir / EVALUATION)
    for path in drawn:
        say(f"draws: {path}")


def _no_overrides(options: argparse.Namespace) -> None:
    if options.overrides:
        raise ConfigError(f"unknown argument {options.overrides[0]}", "See --help.")


STAGES: Mapping[str, Callable[[argparse.Namespace], None]] = {
    run.__name__: run
    for run in (
        quickstart,
        simulate,
        crossmatch,
        tokenize,
        train,
        evaluate,
        sample,
        info,
    )
}
"""What each stage does, by its name."""


def _fail(status: int, text: str) -> int:
    print(f"aion: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a stage; returns the exit code: 0, 2 for bad input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser(STAGES)
    if not given:
        parser.print_help()
        return BAD_INPUT
    debug = "--debug" in given
    try:
        options, overrides = parser.parse_known_args(given)
        options.overrides = overrides
        options.run(options)
    except AionError as error:
        if debug:
            raise
        return _fail(getattr(error, "status", BAD_INPUT), str(error))
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted. The same command goes on.")
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(BAD_INPUT, f"{where}{error.strerror or error}. Mend it and go on.")
    except Exception as error:
        if debug:
            raise
        problem = f"{type(error).__name__}: {error}"
        return _fail(BUG, f"{problem}. A bug; --debug shows where, please report it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
