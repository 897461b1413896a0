# SPDX-License-Identifier: MIT
"""The loss of masked tokens: cross-entropy, weighted by modality over the global batch.

A modality with c targets in the global batch has weight c^a / sum c^a, and its loss is
the mean over its targets. Exponent a = 1/2 is ours (scalars are 2 % of target tokens
and would starve at a = 1), a = 1 is the mean over tokens, a = 0 the mean over
modalities present. The counts are those of all devices and all accumulation steps, so
the loss does not depend on how a batch is cut.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from aion.model.heads import token_nll
from aion.model.transformer import Transformer
from aion.tokens import TokenBatch
from aion.train.sharding import BATCH


def target_counts(targets: TokenBatch, modalities: int) -> Float[Array, " r"]:
    """Number of targets of each modality in the global batch."""
    row = jnp.where(targets.valid, targets.modality, modalities)
    counts = jnp.zeros(modalities + 1, jnp.float32).at[row].add(1.0)
    return counts[:modalities]


def target_weights(
    targets: TokenBatch, modalities: int, exponent: float
) -> Float[Array, "b m"]:
    """Weight of each target token; they sum to 1 over the global batch."""
    counts = target_counts(targets, modalities)
    share = jnp.where(counts > 0, jnp.maximum(counts, 1.0) ** exponent, 0.0)
    share = share / jnp.maximum(jnp.sum(share), 1e-9)
    weight = (share / jnp.maximum(counts, 1.0))[jnp.maximum(targets.modality, 0)]
    return jnp.where(targets.valid, weight, 0.0)


def masked_nll(
    model: Transformer,
    inputs: TokenBatch,
    targets: TokenBatch,
    key: Array | None,
    mesh: Mesh | None,
) -> Float[Array, "b m"]:
    """Negative log-likelihood in nats of each target token, 0 at padding.

    The grouped head sorts tokens, which must not cross devices: with several devices
    each groups its own rows.
    """
    hidden = model.hidden(inputs, targets, key)
    table = model.heads.table()
    nll = partial(token_nll, model.config, model.space)
    if mesh is None or model.config.head != "grouped" or mesh.size == 1:
        return nll(table, hidden, targets)
    rows = PartitionSpec(BATCH)
    local = jax.shard_map(
        nll,
        mesh=mesh,
        in_specs=(PartitionSpec(), rows, rows),
        out_specs=rows,
        check_vma=False,
    )
    return local(table, hidden, targets)
