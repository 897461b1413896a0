# SPDX-License-Identifier: MIT
"""Pretraining of the transformer on token shards, from a configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import jax

from aion.config import to_dataclass, to_plain
from aion.data.allotment import Budget
from aion.data.masking import (
    Dirichlet,
    MaskPolicy,
    Mixture,
    Named,
    Official,
    Uniform,
    WholeModalities,
    ours,
)
from aion.data.pipeline import TrainingStream
from aion.data.requests import REQUESTS, Request, request_report
from aion.data.shards import ShardSet
from aion.model.config import ModelConfig, model_config
from aion.model.store import describe
from aion.tokens import Example
from aion.tokenspace import TokenSpace
from aion.train.loop import LoopConfig, Outcome, run
from aion.train.optimizer import OptimizerConfig
from aion.train.sharding import MeshConfig
from aion.train.task import MaskedTokens

VALIDATION_BATCHES = 8
_REPORTED_STEPS = 20


@dataclass(frozen=True)
class MaskConfig:
    """Which masking policy, and how much of it trains named requests.

    Attributes:
        policy: "ours" is one third each of AION-1's, whole modalities and Dirichlet;
            the others are one policy alone.
        named: share of the examples that practise the config's requests directly.
    """

    policy: Literal["ours", "official", "dirichlet", "uniform", "whole"] = "ours"
    named: float = 0.1


def make_policy(
    config: MaskConfig, space: TokenSpace, requests: Sequence[Request]
) -> MaskPolicy:
    """The masking policy of a configuration."""
    if config.policy == "ours":
        return ours(space, requests, config.named)
    single = {
        "official": Official(),
        "dirichlet": Dirichlet(),
        "uniform": Uniform(),
        "whole": WholeModalities(),
    }[config.policy]
    if not config.named or not requests:
        return single
    rest = 1.0 - config.named
    return Mixture((single, Named(tuple(requests))), (rest, config.named))


def requests_of(config: Mapping[str, Any]) -> tuple[Request, ...]:
    """The named requests of a configuration; our defaults when it has none."""
    rows = config.get("requests")
    if rows is None:
        return REQUESTS
    return tuple(
        to_dataclass(Request, row, f"requests[{number}]")
        for number, row in enumerate(rows)
    )


def model_of(config: Mapping[str, Any]) -> ModelConfig:
    """The model configuration: `size` and overrides."""
    values = to_plain(config["model"])
    chosen = model_config(values.pop("size"), **values)
    return to_dataclass(ModelConfig, to_plain(chosen), "model")


def streams(
    config: Mapping[str, Any], shards: Sequence[ShardSet], weights: Sequence[float]
) -> tuple[TrainingStream, TrainingStream | None]:
    """The training stream of a configuration, and the validation stream if any."""
    space = shards[0].space
    requests = requests_of(config)
    policy = make_policy(
        to_dataclass(MaskConfig, config["mask"], "mask"), space, requests
    )
    budgets = [to_dataclass(Budget, b, "budgets") for b in config["budgets"]]
    processes = (jax.process_index(), jax.process_count())
    seed = int(config["train"]["seed"])

    def stream(split: str, sets: Sequence[ShardSet], share: Sequence[float], seed: int):
        return TrainingStream(sets, share, policy, budgets, seed, split, *processes)

    held = [
        (s, w) for s, w in zip(shards, weights, strict=True) if s.count("validation")
    ]
    validation = None
    if held:
        sets, share = zip(*held, strict=True)
        validation = stream("validation", sets, share, seed + 1)
    return stream("train", shards, weights, seed), validation


def pretrain(
    config: Mapping[str, Any],
    shards: Sequence[ShardSet],
    space: TokenSpace,
    workdir: Path,
    weights: Sequence[float] | None = None,
    *,
    quiet: bool = False,
) -> Outcome:
    """Trains a transformer on shard sets; goes on where a run in `workdir` stopped.

    Args:
        config: with the parts model, mask, budgets, train, optimizer and mesh.
        shards: open shard sets.
        space: their token space with feature arrays, from the codec bundle.
        workdir: the run's folder.
        weights: share of each set in the examples; equal without.
        quiet: no progress line.
    """
    for one in shards:
        space.check_same(one.space, "the codec bundle", str(one.folder))
    shares = list(weights) if weights else [1.0] * len(shards)
    training, held = streams(config, shards, shares)
    model = model_of(config)
    task = MaskedTokens(model, space, float(config["weight_exponent"]))
    requests = requests_of(config)
    report = request_report(
        (training.batch(step) for step in range(_REPORTED_STEPS)), requests, space
    )
    meta = describe(model, space) | {
        "config": to_plain(config),
        "requests": dict(report),
        "digests": shards[0].manifest["codecs"],
    }

    def validation(start: int) -> Iterator[Example]:
        return islice(held.iterate(start, threads=0), VALIDATION_BATCHES)  # pyright: ignore

    return run(
        task,
        training.iterate,
        to_dataclass(LoopConfig, config["train"], "train"),
        to_dataclass(OptimizerConfig, config["optimizer"], "optimizer"),
        workdir,
        meta,
        to_dataclass(MeshConfig, config["mesh"], "mesh"),
        validation if held else None,
        quiet=quiet,
    )
