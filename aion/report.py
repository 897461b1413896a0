# SPDX-License-Identifier: MIT
"""Tables for people and files: scores, the modalities, and what a folder holds."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from aion.errors import ArtefactError
from aion.modality import MODALITIES, Modality

Row = Mapping[str, Any]
FILE_WIDTH = 120
"""Columns of tables that go to a file or a pipe."""


def with_error(value: float, error: float) -> str:
    """A value with two digits of its error, such as "0.0166 ± 0.0004"."""
    if not math.isfinite(value):
        return "-"
    if not math.isfinite(error) or error <= 1e-9 * abs(value):
        return f"{value:.4g}"
    # 0.0972 has its first digit at the second place, 0.0996 rounds to 0.10.
    first = math.floor(math.log10(float(f"{error:.1e}")))
    digits = max(0, 1 - first)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


_SIGNS = (" / ", " - ")


def _grids(rows: Sequence[Row]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Per question the methods and the lines metric, cell, cell, ...

    Ratios and differences of two methods are lines of their own, in the first column.
    """
    found = {}
    for question in dict.fromkeys(r["question"] for r in rows):
        own = [r for r in rows if r["question"] == question]
        methods = [r["method"] for r in own if not _is_comparison(r)]
        methods = list(dict.fromkeys(methods))
        cells = {(_line(r), _column(r, methods)): r for r in own}
        lines = []
        for name in dict.fromkeys(_line(r) for r in own):
            values = [cells.get((name, method)) for method in methods]
            texts = ["" if c is None else with_error(*_pair(c)) for c in values]
            lines.append([name, *texts])
        count = max(r["count"] for r in own)
        found[f"{question} ({count:,} objects)"] = (methods, lines)
    return found


def _is_comparison(row: Row) -> bool:
    return any(sign in row["method"] for sign in _SIGNS)


def _line(row: Row) -> str:
    metric = row["metric"]
    return f"{metric}, {row['method']}" if _is_comparison(row) else metric


def _column(row: Row, methods: Sequence[str]) -> str:
    return methods[0] if _is_comparison(row) else row["method"]


def _pair(row: Row) -> tuple[float, float]:
    value, error = row["value"], row["error"]
    return (
        math.nan if value is None else value,
        math.nan if error is None else error,
    )


def markdown(rows: Sequence[Row], title: str, notes: Sequence[str] = ()) -> str:
    """Scores as Markdown: one table per question, metrics down, methods across.

    Args:
        rows: dicts with question, method, metric, value, error, count.
        title: heading.
        notes: sentences under the tables.
    """
    parts = [f"# {title}\n"]
    for question, (methods, lines) in _grids(rows).items():
        head = ["metric", *methods]
        body = [head, ["---"] * len(head), *lines]
        table = "\n".join("| " + " | ".join(line) + " |" for line in body)
        parts.append(f"## {question}\n\n{table}\n")
    parts += [f"{note}\n" for note in notes]
    return "\n".join(parts)


def score_tables(rows: Sequence[Row]) -> list[RenderableType]:
    """Scores as tables for the console."""
    tables: list[RenderableType] = []
    for question, (methods, lines) in _grids(rows).items():
        table = Table(title=question, title_justify="left", title_style="bold")
        table.add_column("metric")
        for method in methods:
            table.add_column(method, justify="right")
        for line in lines:
            table.add_row(*line)
        tables.append(table)
    return tables


def write_scores(
    rows: Sequence[Row],
    folder: Path,
    title: str,
    notes: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes `scores.md`, `scores.json` and `scores.parquet`; each whole or not at all.

    Args:
        rows: dicts with question, method, metric, value, error, count.
        folder: made when absent.
        title, notes: see `markdown`.
        meta: JSON values that say where the scores come from.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    plain = [{k: _json_number(v) for k, v in row.items()} for row in rows]
    content = {"title": title, "meta": dict(meta or {}), "scores": plain}
    texts = {
        "scores.md": markdown(rows, title, notes),
        "scores.json": json.dumps(content, indent=1) + "\n",
    }
    paths = [_write(folder / name, text) for name, text in texts.items()]
    table = pa.Table.from_pylist(plain).replace_schema_metadata(
        {"aion": json.dumps(content["meta"])}
    )
    path = folder / "scores.parquet"
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(table, partial)
    partial.replace(path)
    return [*paths, path]


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
    return path


def modality_table(modalities: Sequence[Modality] = ()) -> Table:
    """Modalities with survey, kind, shape and unit; the forty rows by default."""
    shown = list(modalities) or list(MODALITIES.values())
    table = Table(title=f"{len(shown)} modalities", title_justify="left")
    for name in (
        "name",
        "survey",
        "kind",
        "shape",
        "unit",
        "AION-1's key",
        "what it is",
    ):
        table.add_column(name, no_wrap=name == "name")
    for m in shown:
        shape = " x ".join("any" if n is None else str(n) for n in m.shape)
        key = m.official_key or ""
        table.add_row(m.name, m.survey, m.kind, shape, m.unit, key, m.description)
    return table


def describe(path: Path) -> list[RenderableType]:
    """What a run's folder, a codec bundle or a shard set holds.

    Raises:
        ArtefactError: the path is none of them.
    """
    if not path.is_dir():
        raise ArtefactError(
            f"{path} is not a folder", "Point to a workdir, a bundle or a shard set."
        )
    found: list[RenderableType] = []
    if (path / "config.json").is_file():
        found += _describe_run(path)
    if (path / "bundle.json").is_file():
        found += _describe_bundle(path)
    # A set without a manifest is unfinished, and says so when it is opened.
    if (path / "manifest.json").is_file() or (path / "plan.json").is_file():
        found += _describe_shards(path)
    if not found:
        raise ArtefactError(
            f"{path} holds neither a run, a bundle nor a shard set",
            "Point to a folder with config.json, bundle.json or manifest.json.",
        )
    return found


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("value")
    for key, value in facts.items():
        table.add_row(key, str(value))
    return table


def _describe_run(path: Path) -> list[RenderableType]:
    from aion.config import flatten
    from aion.model.store import read_meta, space_of, steps_of
    from aion.train.workdir import read_config

    config, steps = read_config(path), steps_of(path)
    found: list[RenderableType] = []
    facts: dict[str, Any] = {"checkpoints": ", ".join(map(str, steps)) or "none yet"}
    if steps:
        meta = read_meta(path)
        space = space_of(meta)
        facts["model"] = ", ".join(f"{k} {v}" for k, v in meta["model"].items())
        facts["token space"] = (
            f"{len(space)} modalities, {space.num_slots} tokens of an object, "
            f"{int(space.vocabularies.sum()):,} codes"
        )
        for name, share in meta.get("requests", {}).items():
            facts[f"trained for {name}"] = f"{100 * share:.1f} % of the examples"
    found.append(_facts(f"run in {path}", facts))
    leaves = {
        k: v for k, v in flatten(config).items() if not isinstance(v, list | tuple)
    }
    found.append(_facts("configuration", leaves))
    for part, show in (("bundle", _describe_bundle), ("shards", _describe_shards)):
        if (path / part).is_dir():
            found += show(path / part)
    return found


def _describe_bundle(path: Path) -> list[RenderableType]:
    from aion.codec import CodecBundle

    bundle = CodecBundle.load(path)
    table = Table(title=f"codecs in {path}", title_justify="left")
    for name in ("modality", "unit", "codec", "tokens", "codes", "digest"):
        table.add_column(name, no_wrap=True)
    for spec in bundle.space:
        table.add_row(
            spec.name,
            spec.modality.unit,
            bundle.codec(spec.name).word,
            " x ".join(map(str, spec.grid)),
            f"{spec.num_codes:,}",
            bundle.digests[spec.codec][:12],
        )
    return [table]


def _describe_shards(path: Path) -> list[RenderableType]:
    from aion.data.shards import ShardSet
    from aion.splits import SPLITS

    shards = ShardSet.open(path)
    rule = shards.rule
    facts = {s: f"{shards.count(s):,} records" for s in SPLITS}
    facts["cells"] = f"HEALPix nside {rule.nside}, fold {rule.fold} of {rule.folds}"
    facts["modalities"] = ", ".join(shards.space.names)
    return [_facts(f"token shards in {path}", facts)]


def show(*renderables: RenderableType) -> None:
    """Prints tables and lines to the console."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    for renderable in renderables:
        console.print(renderable)
