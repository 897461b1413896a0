# SPDX-License-Identifier: MIT
"""The loop that draws tokens: it runs the plan of a scheme and knows no scheme.

Codes drawn in a step become encoder inputs of the steps that see them. Randomness is a
pure function of key, step, object and sample: neither batching nor the number of
samples changes a draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from aion.sampling.forward import (
    Forward,
    bucket,
    join,
    logits_by_name,
    pad,
    pad_tokens,
    passes,
    places,
    row_bucket,
    rows_per_pass,
    split_places,
    take,
)
from aion.sampling.logits import LogitTransform, apply_all
from aion.sampling.schemes import Scheme, Step
from aion.tokens import TokenBatch


@dataclass(frozen=True)
class Draws:
    """Codes drawn for a batch of objects.

    Attributes:
        codes: int32 [s, b, t] by asked modality.
        log_probability: natural log of the probability with which each sample was
            drawn, summed over its places; float32 [s, b]. With the scheme `Chained` and
            no transforms it is the model's joint probability.
    """

    codes: Mapping[str, np.ndarray]
    log_probability: np.ndarray


def categorical(
    logits: Float[Array, "b t v"], uniform: Float[Array, "b s t"]
) -> Int[Array, "b s t"]:
    """Codes drawn by inversion of the cumulative distribution, s for each place.

    Gumbel noise would need s times the memory of the logits. A code of probability zero
    is never drawn.
    """
    total = jnp.cumsum(jax.nn.softmax(logits, axis=-1), axis=-1)
    last = total[:, None, :, -1]
    wanted = jnp.minimum(uniform * last, jnp.nextafter(last, jnp.zeros_like(last)))
    search = partial(jnp.searchsorted, side="right")
    over_samples = jax.vmap(search, in_axes=(None, 0))
    over_places = jax.vmap(over_samples, in_axes=(0, 1), out_axes=1)
    return jax.vmap(over_places)(total, wanted).astype(jnp.int32)


@partial(jax.jit, static_argnames="count")
def _uniforms(
    key: Array, objects: Int[Array, " b"], samples: Int[Array, "b s"], count: int
) -> Float[Array, "b s count"]:
    """Uniform numbers in [0, 1), a pure function of key, object and sample."""

    def one(number: Array, sample: Array) -> Array:
        own = jax.random.fold_in(jax.random.fold_in(key, number), sample)
        return jax.random.uniform(own, (count,), jnp.float32)

    flat = jax.vmap(one)(jnp.repeat(objects, samples.shape[1]), samples.reshape(-1))
    return flat.reshape(*samples.shape, count)


def _propose(
    logits: Sequence[Array], chosen: Sequence[LogitTransform], uniform: Array
) -> tuple[Int[Array, "b s m"], Float[Array, "2 b s m"]]:
    """Codes for all places of several modalities, and their log probabilities.

    The latter are [2, b, s, m]: as drawn, and by the model before any transform.
    """
    codes, both, start = [], [], 0
    for array in logits:
        stop = start + array.shape[1]
        changed = apply_all(array, chosen)
        code = categorical(changed, uniform[..., start:stop])
        shares = jax.nn.log_softmax(jnp.stack([changed, array]), axis=-1)
        own = jnp.take_along_axis(shares, jnp.moveaxis(code, 1, 2)[None], axis=-1)
        codes.append(code)
        both.append(jnp.moveaxis(own, 3, 2))
        start = stop
    return jnp.concatenate(codes, -1), jnp.concatenate(both, -1)


def _select(step: Step, confidence: Array, pending: Array, noise: Array) -> Array:
    """The pending places [b, s, m] that this step draws."""
    if step.rank is None or step.count is None:
        return pending
    rank = jax.vmap(jax.vmap(step.rank))
    score = jnp.where(pending, rank(confidence, noise), -jnp.inf)
    order = jnp.argsort(jnp.argsort(score, descending=True, stable=True))
    return pending & (order < step.count)


@partial(jax.jit, static_argnames=("graph", "step", "chosen"))
def _draw(
    graph: Any,
    state: Any,
    tokens: TokenBatch,
    asked: TokenBatch,
    pending: Array,
    uniform: Array,
    step: Step,
    chosen: tuple[LogitTransform, ...],
) -> tuple[Array, Array, Array]:
    """Codes [b, s, m], their log probability, and which of them are taken."""
    model = nnx.merge(graph, state)
    context, valid = model.context(tokens)
    hidden = model.decode(asked, context, valid)
    logits = logits_by_name(model, hidden, [name for name, _ in step.places])
    count = asked.codes.shape[1]
    codes, (drawn, confidence) = _propose(logits, chosen, uniform[..., :count])
    taken = _select(step, confidence, pending, uniform[..., -count:])
    return codes, drawn, taken


@dataclass
class _Loop:
    """A draw under way: codes [s, b, m] of all asked places, and which are drawn."""

    forward: Forward
    tokens: TokenBatch
    names: tuple[str, ...]
    chosen: tuple[LogitTransform, ...]
    codes: np.ndarray
    drawn: np.ndarray
    log_probability: np.ndarray

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Columns of the places of some asked modalities."""
        every = np.arange(self.codes.shape[-1])
        found = split_places(every, self.forward.space, self.names)
        return np.concatenate([found[n] for n in names] or [every[:0]])

    def run(self, step: Step, key: Array) -> None:
        """Runs a step on all objects and samples."""
        names = [name for name, _ in step.places]
        columns, seen = self.columns(names), self.columns(step.sees)
        candidate = np.concatenate(
            [
                np.isin(np.arange(self.forward.space[n].num_tokens), list(where))
                for n, where in step.places
            ]
        )
        samples, rows = self.codes.shape[:2]
        # Samples that still agree share one pass.
        shared = not (self.drawn[..., seen].any() or self.drawn[..., columns].any())
        per_row = samples if shared else 1
        total = rows if shared else rows * samples
        size = min(self._rows_per_pass(names, len(seen), per_row), row_bucket(total))
        for part in passes(total, size):
            index = np.arange(part.start, part.stop)
            objects = index % rows
            if shared:
                which = np.broadcast_to(np.arange(samples), (len(index), samples))
            else:
                which = (index // rows)[:, None]
            self._pass(step, key, (objects, which), (columns, seen, candidate), size)

    def _rows_per_pass(self, names: Sequence[str], seen: int, samples: int) -> int:
        specs = [self.forward.space[n] for n in names]
        asked = sum(s.num_tokens for s in specs)
        width = bucket(self.tokens.shape[1]) + seen
        logits = sum(s.num_tokens * s.vocabulary for s in specs)
        return rows_per_pass(width + asked, logits + samples * asked)

    def _pass(
        self,
        step: Step,
        key: Array,
        ids: tuple[np.ndarray, np.ndarray],
        where: tuple[np.ndarray, np.ndarray, np.ndarray],
        size: int,
    ) -> None:
        objects, which = ids
        columns, seen, candidate = where
        space, first = self.forward.space, which[:, 0]
        given = pad_tokens(
            take(self.tokens, objects), len(objects), bucket(self.tokens.shape[1])
        )
        if len(seen):
            shown = places(space, step.sees, len(objects))
            known = self.drawn[first, objects][:, seen]
            shown = TokenBatch(
                np.where(known, self.codes[first, objects][:, seen], 0),
                np.where(known, shown.modality, -1),
                shown.position,
            )
            given = join(given, shown)
        at: Any = (which[..., None], objects[:, None, None], columns)
        pending = candidate & ~self.drawn[at]
        asked = places(space, [n for n, _ in step.places], len(objects))
        asked = TokenBatch(
            asked.codes,
            np.where(pending[:, 0], asked.modality, -1),
            asked.position,
        )
        names = [pad(i.astype(np.int32), size, None, 0) for i in ids]
        numbers = len(columns) if step.rank is None else 2 * len(columns)
        codes, drawn, taken = _draw(
            self.forward.graph,
            self.forward.state,
            pad_tokens(given, size, given.shape[1]),
            pad_tokens(asked, size, asked.shape[1]),
            pad(pending, size, None, 0),
            _uniforms(key, *names, numbers),
            step,
            self.chosen,
        )
        kept = np.asarray(taken)[: len(objects)]
        own = np.asarray(drawn)[: len(objects)]
        self.codes[at] = np.where(
            kept, np.asarray(codes)[: len(objects)], self.codes[at]
        )
        self.drawn[at] |= kept
        self.log_probability[which, objects[:, None]] += np.where(kept, own, 0).sum(-1)


def draw(
    forward: Forward,
    tokens: TokenBatch,
    names: Sequence[str],
    *,
    num_samples: int,
    scheme: Scheme,
    key: Array,
    chosen: Sequence[LogitTransform] = (),
) -> Draws:
    """Draws codes of asked modalities for each object.

    Args:
        forward: the model.
        tokens: what is given, int32 [b, n]; none of the asked modalities.
        names: asked modalities, in the order in which a scheme may chain them.
        num_samples: draws s per object.
        scheme: which places are drawn in which step.
        key: a JAX key.
        chosen: transforms of the logits, applied in order.

    Raises:
        RuntimeError: the scheme's plan leaves a place undrawn.
    """
    space, names = forward.space, tuple(names)
    rows = tokens.shape[0]
    count = sum(space[n].num_tokens for n in names)
    shape = (num_samples, rows, count)
    loop = _Loop(
        forward,
        tokens,
        names,
        tuple(chosen),
        np.full(shape, -1, np.int32),
        np.zeros(shape, bool),
        np.zeros(shape[:2], np.float32),
    )
    for number, step in enumerate(scheme.steps([space[n] for n in names])):
        loop.run(step, jax.random.fold_in(key, number))
    if not loop.drawn.all():
        raise RuntimeError(f"{scheme} left places of {names} undrawn")
    return Draws(split_places(loop.codes, space, names), loop.log_probability)
