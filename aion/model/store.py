# SPDX-License-Identifier: MIT
"""How a model lies on disk, and how it is read back without knowing how it was trained.

A run's folder holds `checkpoints/<step>/` written by Orbax. The item `meta` of a step
is JSON: format version, model configuration, token space, widths of the feature arrays.
The item `model` holds parameters and buffers. Optimizer and data position lie beside
them and are only read to go on training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from aion.config import to_dataclass, to_plain
from aion.errors import ArtefactError
from aion.model.config import ModelConfig
from aion.model.transformer import Transformer
from aion.tokenspace import TokenSpace

FORMAT = "aion.checkpoint"
VERSION = 1
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class LoadedModel:
    """A model with what its checkpoint says of it.

    Attributes:
        model: the transformer, parameters on the default device.
        space: its token space.
        metadata: the item `meta`: format, model, token_space, step, and what the run
            stored beside them.
        folder: the run's folder.
    """

    model: Transformer
    space: TokenSpace
    metadata: Mapping[str, Any]
    folder: Path


def describe(config: ModelConfig, space: TokenSpace) -> dict[str, Any]:
    """The item `meta` of a model, ready for JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": to_plain(config),
        "token_space": space.to_dict(),
        "code_features": int(space.code_features().shape[1]),
        "slot_features": int(space.slot_features().shape[1]),
    }


def steps_of(folder: str | Path) -> list[int]:
    """The steps with a whole checkpoint in a run's folder, in order."""
    import orbax.checkpoint as ocp

    root = Path(folder) / CHECKPOINTS
    if not root.is_dir():
        return []
    return sorted(ocp.utils.checkpoint_steps(root.resolve()))


def read_meta(folder: str | Path, step: int | None = None) -> dict[str, Any]:
    """The item `meta` of a step, by default the last.

    Raises:
        ArtefactError: no whole checkpoint, or one of another format version.
    """
    import orbax.checkpoint as ocp

    steps = steps_of(folder)
    if not steps or (step is not None and step not in steps):
        raise ArtefactError(
            f"{folder} holds no checkpoint" + ("" if step is None else f" {step}"),
            f"Steps there: {steps}."
            if steps
            else "Point to the workdir of a training run.",
        )
    step = steps[-1] if step is None else step
    path = (Path(folder) / CHECKPOINTS / str(step) / "meta").resolve()
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        meta = reader.restore(path)
    if meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise ArtefactError(
            f"{path}: format {meta.get('format')} version {meta.get('version')}, this "
            f"package reads {FORMAT} version {VERSION}",
            "Upgrade aion-jax.",
        )
    return meta | {"step": step}


def space_of(meta: Mapping[str, Any]) -> TokenSpace:
    """The token space of a checkpoint, with zeros where its feature arrays go."""
    space = TokenSpace.from_dict(meta["token_space"])
    p, q = int(meta["code_features"]), int(meta["slot_features"])
    return TokenSpace(
        tuple(
            replace(
                spec,
                code_features=np.zeros((spec.vocabulary, p), np.float32),
                slot_features=np.zeros((spec.num_tokens, q), np.float32),
            )
            for spec in space
        )
    )


def load_model(folder: str | Path, step: int | None = None) -> LoadedModel:
    """Reads a transformer from a run's folder onto the default device.

    Args:
        folder: the workdir of a training run.
        step: which checkpoint; by default the last whole one.

    Raises:
        ArtefactError: no whole checkpoint, or one of another format version.
    """
    import orbax.checkpoint as ocp

    meta = read_meta(folder, step)
    space = space_of(meta)
    config = to_dataclass(ModelConfig, meta["model"], "checkpoint.model")
    abstract = nnx.eval_shape(
        lambda: Transformer(config, space, nnx.Rngs(params=jax.random.key(0)))
    )
    graph, state = nnx.split(abstract)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state
    )
    path = (Path(folder) / CHECKPOINTS / str(meta["step"]) / "model").resolve()
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        state = reader.restore(path, args=ocp.args.StandardRestore(wanted))
    return LoadedModel(nnx.merge(graph, state), space, meta, Path(folder))
