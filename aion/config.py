# SPDX-License-Identifier: MIT
"""Configs: Python files with `get_config(arg)`, overrides, and frozen dataclasses.

A config file is a recipe that a user may copy and edit. It returns an
`ml_collections.ConfigDict`, states choices and never consequences, and takes one
argument string after a colon: `configs/sdss_photoz.py:fold=1,steps=500`. Inside the
package the ConfigDict is turned into small frozen dataclasses by `to_dataclass`.
"""

import dataclasses
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aion.errors import ConfigError

T = TypeVar("T")

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "_configs")


def parse_arg(arg: str | None, **defaults: Any) -> dict[str, Any]:
    """Typed values from a config argument such as "nano,fold=1".

    Args:
        arg: comma-separated `key=value`; a bare word sets the key to True, or the
            first string-valued key when no boolean has that name.
        **defaults: every key that the config knows; its type is the value's type.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    values = dict(defaults)
    first = next((k for k, v in defaults.items() if isinstance(v, str)), None)
    for part in filter(None, (arg or "").split(",")):
        key, equals, text = (s.strip() for s in part.partition("="))
        if not equals and not isinstance(defaults.get(key), bool) and first:
            key, text, equals = first, key, "="
        if key not in defaults:
            known = ", ".join(f"{k}={v}" for k, v in defaults.items())
            raise ConfigError(
                f"unknown config argument {key!r}", f"This config takes {known}."
            )
        values[key] = _parse(key, text if equals else "true", defaults[key])
    return values


def _parse(key: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return type(default)(text) if default is not None else text
    except (ValueError, KeyError):
        kind = type(default).__name__
        raise ConfigError(
            f"config argument {key}={text} is not of type {kind}", f"Give a {kind}."
        ) from None


def option(options: Mapping[str, Any] | Sequence[str], key: str, word: str) -> Any:
    """What a word of a config argument stands for; itself where options are words.

    Raises:
        ConfigError: it stands for nothing; lists the words there are.
    """
    if word not in options:
        raise ConfigError(
            f"config argument {key}={word}", f"Choose one of {', '.join(options)}."
        )
    return options[word] if isinstance(options, Mapping) else word


def find_config(name: str) -> Path:
    """The file of a config: a path, or a name in the repository or the package.

    Raises:
        ConfigError: there is no such file; lists those that ship with the package.
    """
    bare = name.removeprefix("configs/").removesuffix(".py")
    candidates = [Path(name), *(folder / f"{bare}.py" for folder in _FOLDERS)]
    for path in candidates:
        if path.is_file():
            return path.resolve()
    shipped = sorted({str(p.relative_to(f)) for f in _FOLDERS for p in f.rglob("*.py")})
    raise ConfigError(f"no config {name!r}", f"There are {', '.join(shipped)}.")


def load_config(name: str, overrides: Sequence[str] = ()) -> Any:
    """A locked ConfigDict from `file.py:arg` and overrides `--config.key=value`.

    Raises:
        ConfigError: no such file, a misspelt key, or a value of the wrong type.
    """
    from absl import flags
    from ml_collections import config_flags

    file, colon, arg = name.partition(":")
    words = ["aion", f"--config={find_config(file)}{colon}{arg}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=True, sys_argv=words
    )
    try:
        with warnings.catch_warnings():
            # ml_collections imports config files in a way that Python has deprecated.
            warnings.filterwarnings(
                "ignore", r"the load_module\(\) method is deprecated"
            )
            values(words)
        config = values.config
    except (flags.Error, KeyError, AttributeError) as error:
        # Some arrive as the representation of a KeyError's text.
        problem = str(error.args[0] if error.args else error)
        if problem[:1] in "'\"" and problem[-1:] == problem[:1]:
            problem = problem[1:-1].replace("\\n", " ").replace("\\'", "'")
        problem = "no key " + problem if problem.startswith("'") else problem
        problem = " ".join(problem.split())
        raise ConfigError(problem, _advice(file, colon + arg, overrides)) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{file}: {error}", "Give a value of that type.") from None
    return config


def _advice(file: str, arg: str, overrides: Sequence[str]) -> str:
    if not overrides:
        return f"Mend {file}."
    keys = sorted(flatten(load_config(file + arg)))
    return f"Keys of {Path(file).name}: {', '.join(keys)}."


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if hasattr(value, "items"):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def to_plain(value: Any) -> Any:
    """JSON values from a ConfigDict, dataclass or nested tuples of them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if hasattr(value, "items"):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return value


def to_dataclass(cls: type[T], values: Any, where: str = "config") -> T:
    """A frozen dataclass from a ConfigDict or plain mapping, nested ones included.

    Raises:
        ConfigError: a key that is no field, a missing one, or a value of another type.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # pyright: ignore
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"{where} has no key {unknown[0]!r}", f"Its keys are {', '.join(known)}."
        )
    hints = typing.get_type_hints(cls)
    built = {
        key: _fit(value, hints[key], f"{where}.{key}") for key, value in values.items()
    }
    try:
        return cls(**built)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}", "Give the missing key.") from None


def _fit(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _fit(value, next(a for a in args if a is not type(None)), where)
    if dataclasses.is_dataclass(hint) and hasattr(value, "items"):
        return to_dataclass(hint, value, where)  # pyright: ignore
    if origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_fit(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            raise ConfigError(
                f"{where} has {len(value)} values", f"Give {len(args)} of them."
            )
        return tuple(_fit(v, a, where) for v, a in zip(value, args, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where} is {value!r}", f"Choose one of {args}.")
        return value
    hint = origin if origin is tuple else hint
    wrong_bool = isinstance(value, bool) and hint in (int, float)
    if isinstance(hint, type) and (wrong_bool or not isinstance(value, hint)):
        raise ConfigError(
            f"{where} is {value!r} of type {type(value).__name__}",
            f"Give a {hint.__name__}.",
        )
    return value
