# SPDX-License-Identifier: MIT
"""Config arguments, files and overrides, and the way into frozen dataclasses."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from aion.config import (
    find_config,
    flatten,
    load_config,
    parse_arg,
    to_dataclass,
    to_plain,
)
from aion.errors import ConfigError

CONFIG = """
from ml_collections import ConfigDict

from aion.config import parse_arg


def get_config(arg=None):
    a = parse_arg(arg, size="nano", steps=10)
    c = ConfigDict({"size": a["size"], "train": {"steps": a["steps"], "lr": 0.1}})
    c.names = ("a", "b")
    return c
"""


@dataclass(frozen=True)
class Optimizer:
    lr: float = 0.1
    name: Literal["adamw", "sgd"] = "adamw"


@dataclass(frozen=True)
class Run:
    steps: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    names: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    fold: int | None = None
    verbose: bool = False


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "job.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("arg", "expected"),
    [
        (None, {}),
        ("", {}),
        ("base", {"size": "base"}),
        ("fold=3", {"fold": 3}),
        ("tiny, fold=-1 ,lr=1e-3", {"size": "tiny", "fold": -1, "lr": 1e-3}),
        ("quick", {"quick": True}),
        ("quick=false", {"quick": False}),
        ("quick=1,size=a=b", {"quick": True, "size": "a=b"}),
        ("lr=2", {"lr": 2.0}),
    ],
)
def test_parse_arg(arg, expected):
    defaults = {"size": "nano", "fold": 0, "lr": 0.1, "quick": False}
    parsed = parse_arg(arg, **defaults)
    assert parsed == defaults | expected
    assert {k: type(v) for k, v in parsed.items()} == {
        k: type(v) for k, v in defaults.items()
    }


@given(st.integers(), st.floats(allow_nan=False), st.booleans())
def test_parse_arg_reads_what_python_writes(number, real, flag):
    text = f"number={number},real={real!r},flag={flag}"
    expected = {"number": number, "real": real, "flag": flag}
    assert parse_arg(text, number=0, real=0.0, flag=False) == expected


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("folds=1", r"'folds'.*fold=0"),
        ("fold=x", "fold=x is not of type int"),
        ("quick=maybe", "not of type bool"),
    ],
)
def test_parse_arg_errors_name_key_and_fix(arg, message):
    with pytest.raises(ConfigError, match=message):
        parse_arg(arg, fold=0, quick=False)


def test_load_config_with_argument_and_overrides(config_file):
    config = load_config(f"{config_file}:base,steps=20", ["--config.train.lr=0.5"])
    assert config.size == "base"
    assert config.train.steps == 20 and config.train.lr == 0.5


def test_misspelt_key_lists_the_keys(config_file):
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, ["--config.train.stesp=5"])
    message = str(caught.value)
    assert "stesp" in message and "train.steps" in message and "\n" not in message


@pytest.mark.parametrize(
    "overrides", [["--config.train.steps=many"], ["--config.train.lr=high"]]
)
def test_value_of_the_wrong_type(config_file, overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, overrides)
    assert "\n" not in str(caught.value)


def test_unknown_config_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"no config 'sdss_photzo'.*There are"):
        find_config("sdss_photzo")


def test_locked_config_takes_no_new_keys(config_file):
    config = load_config(config_file)
    with pytest.raises(AttributeError):
        config.stepps = 3


def test_to_dataclass_from_nested_config():
    config = ConfigDict({"steps": 5, "optimizer": {"lr": 1, "name": "sgd"}})
    config.names = ("a", "b")
    config.pair = (3, 4)
    run = to_dataclass(Run, config)
    assert run == Run(5, Optimizer(1.0, "sgd"), ("a", "b"), (3, 4.0))
    assert isinstance(run.optimizer.lr, float) and isinstance(run.pair[1], float)


def test_none_where_it_is_allowed():
    assert to_dataclass(Run, {"steps": 1, "fold": None}).fold is None
    assert to_dataclass(Run, {"steps": 1, "fold": 2}).fold == 2
    with pytest.raises(ConfigError, match=r"config\.steps"):
        to_dataclass(Run, {"steps": None})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "stpes": 2}, r"config has no key 'stpes'.*steps, optimizer"),
        ({}, "steps"),
        ({"steps": "1"}, r"config\.steps is '1' of type str.*Give a int"),
        ({"steps": 1.5}, r"config\.steps"),
        ({"steps": True}, r"config\.steps is True"),
        ({"steps": 1, "verbose": 1}, r"config\.verbose"),
        ({"steps": 1, "optimizer": {"lr": "x"}}, r"config\.optimizer\.lr"),
        ({"steps": 1, "optimizer": {"name": "adam"}}, r"'adam'.*'adamw', 'sgd'"),
        ({"steps": 1, "optimizer": {"beta": 1}}, r"config\.optimizer has no key"),
        ({"steps": 1, "optimizer": 3}, r"config\.optimizer"),
        ({"steps": 1, "names": ("a", 2)}, r"config\.names\[1\]"),
        ({"steps": 1, "names": "ab"}, r"config\.names"),
        ({"steps": 1, "pair": (1, 2, 3)}, r"config\.pair"),
    ],
)
def test_to_dataclass_errors_name_the_key(values, message):
    with pytest.raises(ConfigError, match=message):
        to_dataclass(Run, values)


def test_flatten_and_plain():
    config = ConfigDict({"a": {"b": 1, "c": {"d": (1, 2)}}})
    assert flatten(config) == {"a.b": 1, "a.c.d": (1, 2)}
    assert to_plain(Run(3)) == {
        "steps": 3,
        "optimizer": {"lr": 0.1, "name": "adamw"},
        "names": [],
        "pair": [1, 2.0],
        "fold": None,
        "verbose": False,
    }
