# SPDX-License-Identifier: MIT
"""`aion <stage>`: flags in, one call, one line when something is wrong.

Nothing heavy is imported before a stage runs, so that `aion --help` is quick.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aion import __version__
from aion.errors import AionError, ConfigError

DEFAULT_CONFIG = "configs/sdss_photoz.py"
BAD_INPUT, BUG, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every stage does."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise ConfigError(message, f"See `{self.prog} --help`.")


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
    """Writes the built-in synthetic catalogue."""
    from aion.mocksky.catalog import write_catalog

    _no_overrides(options)
    if options.out.exists():
        raise ConfigError(f"{options.out} exists", "Choose another --out.")
    path = write_catalog(options.out, options.objects, options.seed)
    say(f"wrote {options.objects:,} objects to {path}")


def tokenize(options: argparse.Namespace) -> None:
    """Fits codecs and writes token shards."""
    from aion.jobs.runs import prepare_shards

    _, shards = prepare_shards(_job(options))
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
    """Scores a trained model beside the baselines."""
    from aion.jobs.scoring import EVALUATION, evaluate

    rows = evaluate(
        _job(options, stored=True),
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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add(stages: Any, run: Callable, example: str, **workdir: Any) -> _Parser:
    """A stage: its help is the docstring of what it runs."""
    name = run.__name__
    parser = stages.add_parser(
        name,
        help=run.__doc__,
        description=run.__doc__,
        epilog=f"example:\n  aion {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    if workdir:
        parser.add_argument(
            "--workdir", type=Path, required=True, help="the run's folder"
        )
        parser.add_argument(
            "--config",
            default=workdir["config"],
            help="config file, with :argument; --config.key=value changes a value "
            + ("(default: that of the run)" if workdir["config"] is None else ""),
        )
        parser.add_argument(
            "--catalog",
            type=Path,
            required=workdir["catalog"],
            help="catalogue file: CSV, Parquet, FITS, ECSV, VOTable",
        )
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of all stages."""
    parser = _Parser(prog="aion", description="From telescope files to posteriors.")
    parser.add_argument("--version", action="version", version=f"aion {__version__}")
    stages = parser.add_subparsers(metavar="stage", required=True, parser_class=_Parser)
    stage = _add(stages, quickstart, "--workdir=runs/quickstart", **_FRESH)
    stage.add_argument("--folds", type=int, default=0, help="pool this many folds")
    stage.add_argument("--objects", type=int, default=8000, help="synthetic objects")
    stage.add_argument("--seed", type=int, default=0, help="of the synthetic objects")
    stage = _add(stages, simulate, "--objects 8000 --seed 0 --out mock.parquet")
    stage.add_argument("--objects", type=int, default=8000, help="rows (default 8000)")
    stage.add_argument("--seed", type=int, default=0, help="same seed, same rows")
    stage.add_argument("--out", type=Path, required=True, help="Parquet file")
    run = "--config=configs/sdss_photoz.py --catalog=FILE --workdir=runs/sdss"
    _add(stages, tokenize, run, **_FRESH)
    _add(stages, train, f"{run} --config.train.steps=200", **_FRESH)
    _add_evaluate(stages)
    _add_sample(stages)
    stage = _add(stages, info, "runs/sdss")
    stage.add_argument(
        "path", type=Path, nargs="?", help="workdir, bundle or shards; none: modalities"
    )
    return parser


_FRESH = {"config": DEFAULT_CONFIG, "catalog": False}
_TRAINED = {"config": None, "catalog": True}


def _add_evaluate(stages: Any) -> None:
    stage = _add(stages, evaluate, "--workdir=runs/sdss --catalog=FILE", **_TRAINED)
    stage.add_argument(
        "--rows",
        choices=("test", "all"),
        default="test",
        help="objects of the test cells, or all of a file that was not trained on",
    )
    stage.add_argument(
        "--train-catalog",
        type=Path,
        help="what baselines learn from (default: the run's catalogue)",
    )
    stage.add_argument("--no-baselines", action="store_true", help="ours alone")
    stage.add_argument("--out", type=Path, help="folder (default: WORKDIR/evaluation)")


def _add_sample(stages: Any) -> None:
    example = "--workdir=runs/sdss --catalog=FILE --ask redshift --out draws.parquet"
    stage = _add(stages, sample, example, **_TRAINED)
    stage.add_argument("--ask", type=_names, required=True, help="modalities, a,b,c")
    stage.add_argument(
        "--given",
        type=_names,
        default=(),
        help="modalities (default: those of the config's question)",
    )
    stage.add_argument(
        "--scheme", choices=("chained", "one-shot"), default="chained", help="how"
    )
    stage.add_argument("--num-samples", type=int, default=32, help="draws per object")
    stage.add_argument("--seed", type=int, default=0, help="same seed, same draws")
    stage.add_argument("--limit", type=int, default=0, help="first N objects only")
    stage.add_argument("--temperature", type=float, default=1.0)
    stage.add_argument("--top-k", type=int)
    stage.add_argument("--top-p", type=float)
    stage.add_argument("--out", type=Path, required=True, help="Parquet file")


def _fail(status: int, text: str) -> int:
    print(f"aion: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a stage; returns the exit code: 0, 2 for bad input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        build_parser().print_help()
        return BAD_INPUT
    debug = "--debug" in given
    try:
        options, overrides = build_parser().parse_known_args(given)
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
