# SPDX-License-Identifier: MIT
"""A run's folder: whose it is, and that a run does not go on as another one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aion.config import flatten, to_plain
from aion.errors import WorkdirError

CONFIG = "config.json"
FORMAT = "aion.run"
VERSION = 1

MAY_CHANGE = (
    "train.log_every",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep",
    "mesh.",
    "evaluate.",
)
"""Keys that do not change the result of a run, and may differ when it goes on."""


def write_whole(path: Path, text: str) -> None:
    """Writes a text file all or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Makes a folder this run's, or checks that it already is.

    Args:
        workdir: the folder; made when absent.
        config: the whole configuration.

    Raises:
        WorkdirError: the folder holds something else, or a run of another
            configuration; names the first key that differs.
    """
    path = workdir / CONFIG
    plain = json.loads(json.dumps(to_plain(config)))
    if not path.exists():
        # A run that was killed while it made its folder leaves a partial file.
        others = [p.name for p in _listed(workdir) if not p.name.endswith(".partial")]
        if others:
            raise WorkdirError(
                f"{workdir} is not empty ({sorted(others)[0]}) and holds no run",
                "Choose another --workdir, or an empty folder.",
            )
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            content = {"format": FORMAT, "version": VERSION, "config": plain}
            write_whole(path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise WorkdirError(
                f"cannot write {workdir}: {error.strerror}",
                "Choose a --workdir that you may write to.",
            ) from None
        return
    stored = read_config(workdir)
    mine, theirs = flatten(plain), flatten(stored)
    for key in sorted(set(mine) | set(theirs)):
        if key.startswith(MAY_CHANGE) or mine.get(key) == theirs.get(key):
            continue
        raise WorkdirError(
            f"{workdir} holds a run with another configuration: {key} is "
            f"{theirs.get(key)} there and {mine.get(key)} here",
            "Choose another --workdir, or give the same configuration to resume.",
        )


def _listed(workdir: Path) -> list[Path]:
    try:
        return list(workdir.iterdir()) if workdir.exists() else []
    except NotADirectoryError:
        raise WorkdirError(
            f"{workdir} is a file", "Choose another --workdir."
        ) from None


def read_config(workdir: Path) -> dict[str, Any]:
    """The configuration of the run in a folder.

    Raises:
        WorkdirError: there is none, or it cannot be read.
    """
    path = workdir / CONFIG
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        raise WorkdirError(
            f"{workdir} holds no run", "Point --workdir to the folder of a run."
        ) from None
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise WorkdirError(
            f"{path}: format {content.get('format')} version {content.get('version')}",
            f"This package reads {FORMAT} version {VERSION}.",
        )
    return content["config"]
