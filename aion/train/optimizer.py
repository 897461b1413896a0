# SPDX-License-Identifier: MIT
"""AdamW or Muon with warm-up and cosine decay, clipping, and skipped bad steps."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax
from optax.contrib import muon

from aion.errors import ConfigError

_NO_DECAY = ("scale", "bias", "embedding")
"""A parameter whose path holds one of these words is not decayed."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter 2019) as 4M and AION-1 use it, or Muon.

    Attributes:
        kind: "adamw", or "muon" (Jordan et al. 2024): the step of a matrix is made
            orthogonal, all else goes by AdamW. Codecs learn twice as much per step.
        learning_rate: peak value.
        warmup: fraction of all steps with a linear rise from 0.
        final: learning rate at the last step as a fraction of the peak.
        beta1, beta2, epsilon: moments of Adam.
        weight_decay: decoupled; not on norms, biases and embeddings.
        clip: largest global norm of the gradient; 0 is no limit.
        free_rows: learning rate of the rows of single codes (embedding and heads)
            relative to the rest. Where codes have features, small data sets learn
            noise in rows that see few examples each; 1 is no difference.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.05
    clip: float = 1.0
    free_rows: float = 1.0


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step.

    Raises:
        ConfigError: no steps, or a warm-up beyond them.
    """
    if steps < 1 or not 0 <= config.warmup < 1:
        raise ConfigError(
            f"{steps} steps with a warm-up of {config.warmup}",
            "Give at least one step and a warm-up fraction in [0, 1).",
        )
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=max(1, round(config.warmup * steps)),
        decay_steps=max(2, steps),
        end_value=config.final * config.learning_rate,
    )


def decayed(params: Any) -> Any:
    """True for parameters that weight decay applies to, as a tree like `params`."""

    def of(path: tuple, _: Any) -> bool:
        text = jax.tree_util.keystr(path).lower()
        return not any(word in text for word in _NO_DECAY)

    return jax.tree_util.tree_map_with_path(of, params)


def free_rows(params: Any) -> Any:
    """True for the tables with one free row per code, as a tree like `params`."""

    def of(path: tuple, _: Any) -> bool:
        text = jax.tree_util.keystr(path)
        return "'codes'" in text or "'rows'" in text

    return jax.tree_util.tree_map_with_path(of, params)


def _rule(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Steps from gradients."""
    if config.kind == "muon":
        return muon(
            schedule(config, steps),
            beta=config.beta1,
            weight_decay=config.weight_decay,
            weight_decay_mask=decayed,
            adam_b1=config.beta1,
            adam_b2=config.beta2,
            eps=config.epsilon,
        )
    return optax.adamw(
        schedule(config, steps),
        b1=config.beta1,
        b2=config.beta2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=decayed,
    )


def make_optimizer(
    config: OptimizerConfig, steps: int
) -> optax.GradientTransformationExtraArgs:
    """The transformation; its state counts the steps that were skipped.

    A step whose gradient holds a NaN or an infinity changes nothing but the counts.
    """
    clip = optax.clip_by_global_norm(config.clip) if config.clip else optax.identity()
    slower = optax.masked(optax.scale(config.free_rows), free_rows)
    never = np.iinfo(np.int32).max
    guarded = optax.apply_if_finite(
        optax.chain(clip, _rule(config, steps), slower), never
    )

    def update(*arguments: Any, **named: Any) -> Any:
        # Optax counts in integers where it computes in floats, which is meant.
        with jax.numpy_dtype_promotion("standard"):
            return guarded.update(*arguments, **named)

    return optax.GradientTransformationExtraArgs(guarded.init, update)
