# SPDX-License-Identifier: MIT
"""The flags of every stage of the command line."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from aion import __version__
from aion.errors import ConfigError

DEFAULT_CONFIG = "configs/sdss_photoz.py"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every stage does."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise ConfigError(message, f"See `{self.prog} --help`.")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add(stages: Any, run: Callable, example: str, **workdir: Any) -> Parser:
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


def build_parser(
    run: Mapping[str, Callable[[argparse.Namespace], None]],
) -> argparse.ArgumentParser:
    """The parser of all stages.

    Args:
        run: what each stage does, by its name; its docstring is the help.
    """
    parser = Parser(prog="aion", description="From telescope files to posteriors.")
    parser.add_argument("--version", action="version", version=f"aion {__version__}")
    stages = parser.add_subparsers(metavar="stage", required=True, parser_class=Parser)
    stage = _add(stages, run["quickstart"], "--workdir=runs/quickstart", **_FRESH)
    stage.add_argument("--folds", type=int, default=0, help="pool this many folds")
    stage.add_argument("--objects", type=int, default=8000, help="synthetic objects")
    stage.add_argument("--seed", type=int, default=0, help="of the synthetic objects")
    _add_simulate(stages, run["simulate"])
    _add_crossmatch(stages, run["crossmatch"])
    job = "--config=configs/sdss_photoz.py --catalog=FILE --workdir=runs/sdss"
    stage = _add(stages, run["tokenize"], job, **_FRESH)
    stage.add_argument("--workers", type=int, default=0, help="processes, for surveys")
    stage.add_argument(
        "--part",
        metavar="I/N",
        help="this process does part I of N (default: its place in a SLURM array)",
    )
    stage.add_argument("--codecs-only", action="store_true", help="make the bundle")
    _add(stages, run["train"], f"{job} --config.train.steps=200", **_FRESH)
    _add_evaluate(stages, run["evaluate"])
    _add_sample(stages, run["sample"])
    stage = _add(stages, run["info"], "runs/sdss")
    stage.add_argument(
        "path", type=Path, nargs="?", help="workdir, bundle or shards; none: modalities"
    )
    return parser


_FRESH = {"config": DEFAULT_CONFIG, "catalog": False}
_TRAINED = {"config": None, "catalog": True}


def _add_evaluate(stages: Any, run: Callable) -> None:
    # The run of a codec has its test objects from its own sources.
    flags = _TRAINED | {"catalog": False}
    stage = _add(stages, run, "--workdir=runs/sdss --catalog=FILE", **flags)
    stage.add_argument(
        "--objects",
        type=int,
        default=192,
        help="of each source on which a codec is scored (default: 192)",
    )
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


def _add_sample(stages: Any, run: Callable) -> None:
    example = "--workdir=runs/sdss --catalog=FILE --ask redshift --out draws.parquet"
    stage = _add(stages, run, example, **_TRAINED)
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


def _add_simulate(stages: Any, run: Callable) -> None:
    stage = _add(stages, run, "--objects 2000 --seed 0 --out sky --workers 2")
    stage.add_argument(
        "--objects", type=int, default=8000, help="how many (default 8000)"
    )
    stage.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    stage.add_argument(
        "--out",
        type=Path,
        required=True,
        help="new folder, or one to go on in; a file *.parquet: SDSS-like catalogue",
    )
    stage.add_argument(
        "--format", choices=("mmu", "hats"), default="mmu", help="of the survey files"
    )
    stage.add_argument(
        "--surveys",
        type=_names,
        default=(),
        help="of legacy, hsc, sdss, desi, gaia, desi_provabgs, gz10 (default: all)",
    )
    stage.add_argument(
        "--sample", default="sky", help="which objects: sky, sdss, desi ..."
    )
    stage.add_argument(
        "--everywhere", action="store_true", help="all objects in all surveys"
    )
    stage.add_argument("--workers", type=int, default=1, help="processes")


def _add_crossmatch(stages: Any, run: Callable) -> None:
    example = "legacy=sky/legacysurvey desi=sky/desi gaia=sky/gaia --out match"
    stage = _add(stages, run, example)
    stage.add_argument(
        "sources",
        nargs="+",
        metavar="NAME=PATH",
        help="survey files of any format, or a catalogue; columns of a catalogue are "
        "object_id, ra, dec, pmra, pmdec unless --columns says otherwise",
    )
    stage.add_argument("--out", type=Path, required=True, help="folder of the match")
    stage.add_argument(
        "--radius",
        action="append",
        default=[],
        metavar="[A,B=]ARCSEC",
        help="default 1; A,B=ARCSEC for one pair, may be repeated",
    )
    stage.add_argument(
        "--epoch", action="append", default=[], metavar="NAME=YEAR", help="of positions"
    )
    stage.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAME=ID,RA,DEC[,PMRA,PMDEC]",
        help="columns of a catalogue file",
    )
    stage.add_argument(
        "--least", type=int, default=1, help="surveys that must see an object"
    )
    stage.add_argument("--engine", choices=("tree", "lsdb"), default="tree")
    stage.add_argument("--scheduler", help="address of a Dask scheduler, for lsdb")
    stage.add_argument(
        "--on-bad",
        choices=("error", "quarantine"),
        default="error",
        help="rows and files that cannot be used",
    )
    stage.add_argument("--workers", type=int, default=1, help="processes")
