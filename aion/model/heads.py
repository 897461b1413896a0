# SPDX-License-Identifier: MIT
"""Output heads: each asked token meets the codes of its own slot only.

All heads are one packed table `[v, d]`; a modality's head is a run of its rows. The
table is `W + F U`: free rows plus what the codes mean (see `embedding`). A softmax runs
over the slot's admissible codes, so padded rows are never drawn.

Two ways to the same loss, both with static shapes and neither storing logits:

- `grouped`: tokens are sorted by modality into blocks of one modality each, and a
  block multiplies its modality's rows only.
- `masked_dense`: the table is cut into chunks of rows, each multiplies all tokens, and
  a running logsumexp counts the admissible codes. More arithmetic, no gather, and the
  rows can be sharded.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from aion.model.config import ModelConfig
from aion.model.layers import Buffer, parameter
from aion.tokens import TokenBatch
from aion.tokenspace import TILE, TokenSpace

_FAR = -1e30
"""Stands for minus infinity in running maxima, where inf - inf would be NaN."""


class Heads(nnx.Module):
    """The packed output table of a token space."""

    def __init__(self, config: ModelConfig, space: TokenSpace, rngs: nnx.Rngs) -> None:
        self.config = config
        self.space = space
        d = config.width
        normal = nnx.initializers.normal(0.02)
        self.rows = parameter(normal(rngs.params(), (space.num_rows, d)), "vd")
        if config.code_features:
            features = space.code_features()
            self.features = Buffer(jnp.asarray(features))
            self.feature_kernel = parameter(
                normal(rngs.params(), (features.shape[1], d)), "pd"
            )

    def table(self) -> Float[Array, "v d"]:
        """The packed table in the compute dtype."""
        rows = self.rows[...]
        if self.config.code_features:
            rows = rows + jnp.einsum(
                "vp,pd->vd", self.features[...], self.feature_kernel[...]
            )
        return rows.astype(self.config.compute_dtype)

    def logits(
        self, hidden: Float[Array, "*b t d"], name: str
    ) -> Float[Array, "*b t v"]:
        """Logits float32 of a modality's vocabulary; -inf where a slot has no code.

        `hidden` holds all t slots of the modality in order.
        """
        row = self.space.index(name)
        spec = self.space[name]
        start = int(self.space.code_offsets[row])
        table = self.table()[start : start + spec.vocabulary]
        logits = jnp.einsum(
            "...td,vd->...tv", hidden, table, preferred_element_type=jnp.float32
        )
        code = np.arange(spec.vocabulary)
        low, high = spec.slot_ranges[:, :1], spec.slot_ranges[:, 1:]
        return jnp.where((code >= low) & (code < high), logits, -jnp.inf)

    def nll(
        self, hidden: Float[Array, "b m d"], targets: TokenBatch
    ) -> Float[Array, "b m"]:
        """Negative log-likelihood in nats of each target; 0 at padding."""
        return token_nll(self.config, self.space, self.table(), hidden, targets)


def token_nll(
    config: ModelConfig,
    space: TokenSpace,
    table: Float[Array, "v d"],
    hidden: Float[Array, "b m d"],
    targets: TokenBatch,
) -> Float[Array, "b m"]:
    """Negative log-likelihood of targets, by the head that the config names.

    A plain function of arrays, so that it can run inside `jax.shard_map`.
    """
    targets = jax.tree.map(jnp.asarray, targets)
    modality = jnp.maximum(targets.modality, 0).reshape(-1)
    position = targets.position.reshape(-1)
    slot = jnp.asarray(space.slot_offsets[:-1])[modality] + position
    first = jnp.asarray(space.code_offsets[:-1])[modality]
    ranges = jnp.asarray(space.slot_ranges)[slot] + first[:, None]
    wanted = first + targets.codes.reshape(-1)
    flat = hidden.reshape(-1, hidden.shape[-1])
    valid = targets.valid.reshape(-1)
    if config.head == "grouped":
        blocks = _group(valid, modality, space, config.head_block)
        picked = [jnp.take(a, blocks[0], axis=0) for a in (flat, ranges, wanted)]
        grouped = _grouped_nll(_Layout(space), table, *picked, blocks[1])
        nll = jnp.take(jnp.ravel(grouped), blocks[2], axis=0)
    else:
        nll = _dense_nll(table, flat, ranges, wanted)
    nll = jnp.where(valid, nll, jnp.zeros((), nll.dtype))
    return nll.reshape(targets.codes.shape)


def _group(
    valid: Array, modality: Array, space: TokenSpace, size: int
) -> tuple[Array, Array, Array]:
    """Sorts n tokens by modality into blocks of `size`, each of one modality.

    Returns the token of each place [blocks, size] (any token at padding), the modality
    of each block [blocks] (-1 when unused), and the place of each token [n].
    """
    n, modalities = valid.shape[0], len(space)
    count = -(-n // size) + modalities
    key = jnp.where(valid, modality, modalities)
    order = jnp.argsort(key, stable=True)
    counts = jnp.zeros(modalities + 1, jnp.int32).at[key].add(1)
    firsts = jnp.cumsum(counts) - counts
    needed = -(-counts[:modalities] // size)
    ends = jnp.cumsum(needed)
    starts = jnp.concatenate([ends - needed, ends[-1:]])
    rank = jnp.arange(n, dtype=jnp.int32) - firsts[key[order]]
    place_sorted = starts[key[order]] * size + rank
    place = jnp.zeros(n, jnp.int32).at[order].set(place_sorted)
    token = jnp.zeros(count * size, jnp.int32)
    token = token.at[jnp.where(valid, place, count * size)].set(
        jnp.arange(n, dtype=jnp.int32), mode="drop"
    )
    block = jnp.arange(count, dtype=jnp.int32)
    owner = jnp.searchsorted(ends, block, side="right").astype(jnp.int32)
    owner = jnp.where(block < ends[-1], owner, -1)
    return token.reshape(count, size), owner, jnp.minimum(place, count * size - 1)


class _Layout:
    """Static facts of a token space for the grouped head, hashable for JAX."""

    def __init__(self, space: TokenSpace) -> None:
        self.sizes = tuple(int(s) for s in np.diff(space.code_offsets))
        self.classes = tuple(sorted(set(self.sizes)))
        self.kind = tuple(self.classes.index(s) for s in self.sizes)
        self.starts = tuple(int(s) for s in space.code_offsets[:-1])

    def __hash__(self) -> int:
        return hash(self.sizes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layout) and self.sizes == other.sizes

    def of(self, owner: Array) -> tuple[Array, Array]:
        """Which branch a block takes (0 = unused) and where its rows start."""
        safe = jnp.maximum(owner, 0)
        branch = jnp.asarray(self.kind, jnp.int32)[safe] + 1
        start = jnp.asarray(self.starts, jnp.int32)[safe]
        return jnp.where(owner >= 0, branch, 0), start


def _block_logits(table: Array, start: Array, rows: int, h: Array, ranges: Array):
    """A block's rows and its logits, -1e30 outside the slots' admissible codes."""
    w = jax.lax.dynamic_slice_in_dim(table, start, rows)
    logits = jnp.einsum("nd,vd->nv", h, w, preferred_element_type=jnp.float32)
    code = start + jnp.arange(rows, dtype=jnp.int32)[None]
    inside = (code >= ranges[:, :1]) & (code < ranges[:, 1:])
    return w, jnp.where(inside, logits, _FAR)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _grouped_nll(layout, table, hidden, ranges, wanted, owner):
    return _grouped_forward(layout, table, hidden, ranges, wanted, owner)[0]


def _grouped_forward(layout, table, hidden, ranges, wanted, owner):
    branch, start = layout.of(owner)

    def unused(h, r, y, s):
        return jnp.zeros((2, h.shape[0]), jnp.float32)

    def used(rows, h, r, y, s):
        logits = _block_logits(table, s, rows, h, r)[1]
        total = jax.nn.logsumexp(logits, axis=-1)
        index = jnp.clip(y - s, 0, rows - 1)[:, None]
        own = jnp.take_along_axis(logits, index, axis=-1)[:, 0]
        return jnp.stack([total - own, total])

    branches = [unused, *(partial(used, rows) for rows in layout.classes)]

    def body(_, block):
        h, r, y, b, s = block
        return None, jax.lax.switch(b, branches, h, r, y, s)

    _, out = jax.lax.scan(body, None, (hidden, ranges, wanted, branch, start))
    return out[:, 0], (table, hidden, ranges, wanted, owner, out[:, 1])


def _grouped_backward(layout, saved, gradient):
    table, hidden, ranges, wanted, owner, total = saved
    branch, start = layout.of(owner)
    widest = layout.classes[-1]

    def unused(h, r, y, s, z, g):
        return jnp.zeros((widest, h.shape[-1]), jnp.float32), jnp.zeros_like(h)

    def used(rows, h, r, y, s, z, g):
        w, logits = _block_logits(table, s, rows, h, r)
        code = s + jnp.arange(rows, dtype=jnp.int32)[None]
        slope = jnp.exp(logits - z[:, None]) - (code == y[:, None]).astype(jnp.float32)
        slope = (slope * g[:, None]).astype(h.dtype)
        dw = jnp.einsum("nv,nd->vd", slope, h, preferred_element_type=jnp.float32)
        dh = jnp.einsum("nv,vd->nd", slope, w)
        return jnp.pad(dw, ((0, widest - rows), (0, 0))), dh

    branches = [unused, *(partial(used, rows) for rows in layout.classes)]

    def body(carry, block):
        h, r, y, b, s, z, g = block
        dw, dh = jax.lax.switch(b, branches, h, r, y, s, z, g)
        old = jax.lax.dynamic_slice_in_dim(carry, s, widest)
        return jax.lax.dynamic_update_slice_in_dim(carry, old + dw, s, 0), dh

    # Rows past the end keep the update of the last modality from being shifted.
    empty = jnp.zeros((table.shape[0] + widest, table.shape[1]), jnp.float32)
    blocks = (hidden, ranges, wanted, branch, start, total, gradient)
    dtable, dhidden = jax.lax.scan(body, empty, blocks)
    return dtable[: table.shape[0]].astype(table.dtype), dhidden, None, None, None


_grouped_nll.defvjp(_grouped_forward, _grouped_backward)


def _dense_nll(
    table: Float[Array, "v d"],
    hidden: Float[Array, "n d"],
    ranges: Int[Array, "n 2"],
    wanted: Int[Array, " n"],
) -> Float[Array, " n"]:
    """Negative log-likelihood by a running logsumexp over chunks of all rows."""
    tiles = table.shape[0] // TILE
    per_chunk = next(c for c in (32, 16, 8, 4, 2, 1) if tiles % c == 0)
    rows = per_chunk * TILE
    n = hidden.shape[0]

    @partial(jax.checkpoint, prevent_cse=False)
    def body(carry, start):
        top, total, own = carry
        logits = _block_logits(table, start, rows, hidden, ranges)[1]
        new = jnp.maximum(top, jnp.max(logits, axis=-1))
        weight = jnp.where(logits > _FAR, jnp.exp(logits - new[:, None]), 0.0)
        total = total * jnp.exp(top - new) + jnp.sum(weight, axis=-1)
        here = (wanted >= start) & (wanted < start + rows)
        index = jnp.clip(wanted - start, 0, rows - 1)[:, None]
        value = jnp.take_along_axis(logits, index, axis=-1)[:, 0]
        return (new, total, jnp.where(here, value, own)), None

    starts = jnp.arange(0, table.shape[0], rows, dtype=jnp.int32)
    first = (jnp.full(n, _FAR), jnp.zeros(n), jnp.zeros(n))
    (top, total, own), _ = jax.lax.scan(body, first, starts)
    return top + jnp.log(total) - own
