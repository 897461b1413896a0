# SPDX-License-Identifier: MIT
"""Codes settled one after another, so that later ones make up for earlier ones.

Where the data are known to a fraction of a per cent, rounding a latent to its nearest
levels decodes to a change of many sigmas. So latents are sought unrounded first. Then
the tokens whose rounding does most harm among their neighbours' are rounded for good,
and all others move to where the data fit best again; then the next. What is left at
last are those whose rounding nobody sees. Quantizing the weights of a network works in
the same way (Optimal Brain Quantization: Frantar & Alistarh 2022, arXiv:2208.11580).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aion_tokenizers.descent import RATE, Averages, by_object, moved, pull, total
from aion_tokenizers.quantizers import FSQ

STEPS = 16
"""Of descent in each turn, for the tokens that are left."""

WORTH = 1.0
"""Loss of log likelihood by rounding from which on a token has a turn of its own."""

EVERYWHERE = 2**20
"""How far the turn of a token looks: an object ends when no token is worth another."""

_NEXT = 3  # tokens along each axis from which one with the most harm is chosen


class _Turn(NamedTuple):
    """Latents, Adam's averages, which tokens are settled, at what digits, and turns."""

    latent: Any
    averages: Any
    done: Any
    fixed: Any
    count: Any


def settled(
    quantizer: FSQ,
    latent: Float[Array, "b ... q"],
    origin: Float[Array, "b ... q"],
    misfit: Callable[[Array], Float[Array, "b ..."]],
    turns: int,
) -> Float[Array, "b ... q"]:
    """Latents in the middle of levels that together decode near to the data.

    Args:
        quantizer: of the latents.
        latent: where to start, best from a minimum.
        origin: the encoder's, to which latents are pulled, see `descent.pull`.
        misfit: of values [b, ..., q]; minus the logarithm of a likelihood, of the part
            of the data that a token stands for.
        turns: at most, 1 or more, of `STEPS` each; what is left is rounded then.

    Returns:
        latents; the origin's, rounded, for objects that are not nearer to the data
        than with these.
    """

    def values(latent: Array, done: Array, fixed: Array) -> Array:
        levels = quantizer.values(fixed)
        return jnp.where(done[..., None], levels, quantizer.relaxed(latent))

    def objective(latent: Array, done: Array, fixed: Array) -> Array:
        return jnp.sum(misfit(values(latent, done, fixed))) + pull(latent, origin)

    slope = jax.grad(objective)

    def turn(carry: _Turn) -> _Turn:
        latent, averages, done, fixed, count = carry
        now = misfit(values(latent, done, fixed))
        fixed = jnp.where(done[..., None], fixed, _digits(quantizer, latent))
        harm = misfit(quantizer.values(fixed)) - now
        done = done | _chosen(jnp.where(done, -jnp.inf, harm))
        rate = RATE * (1 - 0.7 * count / turns)

        def move(pair: tuple[Array, Averages], _: None) -> tuple[tuple, None]:
            latent, averages = pair
            return moved(latent, slope(latent, done, fixed), averages, rate), None

        def descend(pair: tuple[Array, Averages]) -> tuple[Array, Averages]:
            return jax.lax.scan(move, pair, None, length=STEPS)[0]

        pair = (latent, averages)
        pair = jax.lax.cond(jnp.all(done), lambda same: same, descend, pair)
        return _Turn(*pair, done, fixed, count + 1)

    done, none = jnp.zeros(latent.shape[:-1], bool), Averages.none(latent)
    first = _Turn(latent, none, done, jnp.zeros_like(latent), 0)
    last = jax.lax.while_loop(
        lambda at: (at.count < turns) & ~jnp.all(at.done), turn, first
    )
    left, plain = _digits(quantizer, last.latent), _digits(quantizer, origin)
    found = jnp.where(last.done[..., None], last.fixed, left)
    cost, most = (total(misfit(quantizer.values(x))) for x in (found, plain))
    return quantizer.latent(jnp.where(by_object(cost < most, latent), found, plain))


def _digits(quantizer: FSQ, latent: Float[Array, "*b q"]) -> Float[Array, "*b q"]:
    """The nearest levels."""
    return quantizer.digits(latent).astype(latent.dtype)


def _chosen(harm: Float[Array, "b ..."]) -> Bool[Array, "b ..."]:
    """Tokens with more harm than their neighbours; all where none is worth a turn.

    Args:
        harm: of rounding them, -inf for those that are settled.
    """
    sides = (1, *(_NEXT for _ in harm.shape[1:]))
    ones = (1,) * harm.ndim
    around = jax.lax.reduce_window(harm, -jnp.inf, jax.lax.max, sides, ones, "SAME")
    worth = (harm >= around) & (harm > WORTH)
    return worth | ~jnp.any(worth, tuple(range(1, harm.ndim)), keepdims=True)
