# SPDX-License-Identifier: MIT
"""Stages on the sky: simulate surveys, and find the same objects in several."""

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aion.errors import ConfigError, DataError

Say = Callable[[str], None]


def simulate_sky(
    options: argparse.Namespace, say: Say, progress: Callable[[int, int], None]
) -> None:
    """Writes the files of a mock sky, or the catalogue of one.

    Args:
        options: objects, seed, out, format, surveys, sample, everywhere, workers.
        say: told in one line what is going on.
        progress: told the objects written, and how many there will be.

    Raises:
        AionError: settings that make no sense, or a folder that is another sky's.
    """
    from aion.mocksky.sky import Sky

    if options.out.suffix == ".parquet":
        from aion.mocksky.catalog import write_catalog

        if options.out.exists():
            raise ConfigError(f"{options.out} exists", "Choose another --out.")
        path = write_catalog(options.out, options.objects, options.seed)
        say(f"wrote {options.objects:,} objects to {path}")
        return
    from aion.mocksky.simulate import SETS, Simulation

    if options.objects < 1:
        raise DataError(f"{options.objects} objects", "Ask for at least one.")
    simulation = Simulation(
        options.out,
        Sky(options.objects, options.seed),
        options.surveys or tuple(SETS),
        options.sample,
        everywhere=options.everywhere,
        form=options.format,
    )
    say(f"simulating {options.objects:,} objects into {options.out}")
    folder = simulation.run(options.workers, progress)
    say(f"the sky is in {folder}; its truth in {folder / 'truth.parquet'}")


def _split(text: str, what: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise ConfigError(f"{what} {text!r}", "Give it as NAME=VALUE.")
    return name, rest


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{what} {text!r} is no number", "Give one.") from None


def _radius(texts: Sequence[str], names: Sequence[str]) -> dict[Any, float]:
    """Radius of every pair of surveys: one for all, and some of their own."""
    single = [text for text in texts if "=" not in text]
    default = _number(single[-1], "radius") if single else 1.0
    radii = {frozenset(pair): default for pair in itertools.combinations(names, 2)}
    for text in texts:
        if "=" not in text:
            continue
        pair, value = _split(text, "radius")
        two = frozenset(name.strip() for name in pair.split(","))
        if two not in radii:
            raise ConfigError(
                f"radius {text!r}", f"Name two of {', '.join(names)}: A,B=ARCSEC."
            )
        radii[two] = _number(value, "radius")
    return {tuple(pair): value for pair, value in radii.items()}


def _source(name: str, path: Path, columns: Mapping[str, str], on_bad: str) -> Any:
    from aion.surveys.opening import open_survey
    from aion.surveys.positions import TablePositions
    from aion.surveys.tables import READERS, open_table

    table = path.suffix.lower() in READERS and path.is_file()
    if name in columns:
        parts = [part.strip() for part in columns[name].split(",")]
        if len(parts) not in (3, 5):
            raise ConfigError(
                f"--columns {name}={columns[name]}",
                "Give ID,RA,DEC or ID,RA,DEC,PMRA,PMDEC; ID may be A+B+C.",
            )
        moving = parts[3:] or [None, None]
        return TablePositions(
            path,
            tuple(parts[0].split("+")),
            ra=parts[1],
            dec=parts[2],
            pm_ra=moving[0],
            pm_dec=moving[1],
        )
    if table:
        there = set(open_table(path).names)
        if {"object_id", "ra", "dec"} <= there:
            moving = ("pmra", "pmdec") if {"pmra", "pmdec"} <= there else (None, None)
            return TablePositions(path, pm_ra=moving[0], pm_dec=moving[1])
    return open_survey(path, on_bad=on_bad)


def match_surveys(options: argparse.Namespace, say: Say) -> None:
    """Matches surveys by place on the sky.

    Args:
        options: sources, out, radius, epoch, columns, least, engine, scheduler,
            on_bad, workers.
        say: told in one line what is going on.

    Raises:
        AionError: what the sources or the match say about their input.
    """
    from aion.surveys.crossmatch import crossmatch
    from aion.surveys.files import read_json

    named = dict(_split(text, "source") for text in options.sources)
    if len(named) < len(options.sources) or len(named) < 2:
        raise ConfigError(
            f"{len(options.sources)} sources of {len(named)} names",
            "Give two or more, each with a name of its own.",
        )
    columns = dict(_split(text, "columns") for text in options.columns)
    epochs = {
        name: _number(year, "epoch")
        for name, year in (_split(text, "epoch") for text in options.epoch)
    }
    sources = {
        name: _source(name, Path(path), columns, options.on_bad)
        for name, path in named.items()
    }
    said = [""]

    def progress(stage: str, done: int, total: int) -> None:
        if stage != said[0] or done == total:
            said[0] = stage
            say(f"{stage}: {done:,} of {total:,}")

    folder = crossmatch(
        sources,
        options.out,
        _radius(options.radius, list(named)),
        epochs or None,
        engine=options.engine,
        workers=options.workers,
        least=options.least,
        on_bad=options.on_bad,
        scheduler=options.scheduler,
        progress=progress,
    )
    report = read_json(folder / "report.json")
    say(f"matched: {folder}; {_told(report)}")


def _told(report: Mapping[str, Any]) -> str:
    return f"{report.get('objects', 0):,} objects"
