# SPDX-License-Identifier: MIT
"""A tiny run of the command line: config, catalogue, flags, the line of an error."""

from pathlib import Path

import pyarrow.parquet as pq

from aion import cli

CONFIG = '''
"""A tiny run for tests."""
from aion.config import parse_arg


def get_config(arg=None):
    from ml_collections import ConfigDict

    args = parse_arg(arg, steps=2)
    bands = [f"sdss_mag_{b}" for b in "ugriz"]
    scalar = {"survey": "sdss", "kind": "scalar", "unit": "mag(AB)", "jitter": 0.02}
    codec = {"word": "empirical", "bins": 16}
    rows = [scalar | {"name": n, "column": n[-1], "codec": codec} for n in bands]
    rows += [
        {"name": "sdss_color_gr", "difference": bands[1:3], "codec": codec},
        {
            "name": "redshift",
            "column": "redshift",
            "codec": {"word": "coarse_fine", "coarse": 16, "fine": 8},
        },
        {"name": "object_class", "kind": "category", "column": "class"},
    ]
    given = (*bands, "sdss_color_gr")
    return ConfigDict(
        {
            "data": {
                "modalities": tuple(rows),
                "object_id": ("plate", "mjd", "fiberid"),
                "ra": "ra",
                "dec": "dec",
                "copies": 1,
                "seed": 0,
                "split": {"nside": 16, "folds": 2, "fold": 0, "validation": 0.0},
            },
            "model": {
                "size": "nano",
                "width": 16,
                "heads": 2,
                "hidden": 16,
                "encoder_layers": 1,
                "decoder_layers": 1,
            },
            "mask": {"policy": "whole", "named": 0.5},
            "requests": (
                {"name": "z", "given": given, "asked": ("redshift", "object_class")},
            ),
            "budgets": ({"inputs": 8, "targets": 4, "batch": 32},),
            "weight_exponent": 0.5,
            "optimizer": {"learning_rate": 1e-3, "warmup": 0.5},
            "train": {"steps": args["steps"], "seed": 0, "checkpoint_every": 1},
            "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
            "evaluate": {
                "requests": (
                    {
                        "name": "redshift",
                        "given": given,
                        "asked": "redshift",
                        "where": {"object_class": "GALAXY"},
                    },
                    {"name": "class", "given": given, "asked": "object_class"},
                )
            },
        }
    )
'''


def write_home(folder: Path) -> Path:
    """Puts a config and a catalogue in a folder."""
    (folder / "tiny.py").write_text(CONFIG)
    assert (
        cli.main(["simulate", "--objects", "400", "--out", f"{folder}/sky.parquet"])
        == 0
    )
    return folder


def flags(home: Path, workdir: Path, catalog: str | None = "sky.parquet") -> list[str]:
    chosen = [f"--config={home}/tiny.py", f"--workdir={workdir}"]
    return chosen + ([f"--catalog={home}/{catalog}"] if catalog else [])


def changed(home: Path, **columns) -> str:
    """The catalogue with some columns replaced (None: dropped)."""
    table = pq.read_table(home / "sky.parquet")
    for name, values in columns.items():
        table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, values)
    name = "-".join(columns) + ".parquet"
    pq.write_table(table, home / name)
    return name


def one_line(capsys, *words: str) -> str:
    """The error on stderr: one line that holds some words."""
    error = capsys.readouterr().err
    assert error.startswith("aion: ") and error.count("\n") == 1, error
    for word in words:
        assert word in error, error
    return error
