# SPDX-License-Identifier: MIT
"""Codes made better one step of one axis at a time.

What gradient descent through rounding leaves behind is rounding itself: where the data
are known to a fraction of a per cent, one level of one axis decodes to a change of many
sigmas, and a straight-through gradient does not know how far the next level is. So
levels next to those taken are tried out, and a token takes the best of them if the data
then fit better: coordinate descent (iterated conditional modes, Besag 1986, J. R. Stat.
Soc. B 48, 259) over levels, in which the gradient says up or down for each axis.

Tokens three apart are tried at once, as what they decode to hardly overlaps; whatever
does not make an object's whole misfit smaller is taken back.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion_tokenizers.descent import by_object, total
from aion_tokenizers.quantizers import FSQ

APART = 3
"""Tokens along each side of the grid from one that is tried to the next."""

WORTH = 2.0
"""Least gain in log likelihood for which a token changes.

With 0.5 a third of all tokens followed the noise and images were no better; 6 lost 2 %.
"""


def searched(
    quantizer: FSQ,
    latent: Float[Array, "b ... q"],
    misfit: Callable[[Array], Float[Array, "b ..."]],
    passes: int,
) -> Float[Array, "b ... q"]:
    """Latents whose rounded values decode nearer to the data.

    Args:
        quantizer: of the latents.
        latent: to start from.
        misfit: of rounded values [b, ..., q]; minus the logarithm of a likelihood,
            of the part of the data that a token stands for.
        passes: over all tokens. 0 gives `latent`. Each costs about 20 passes through
            the decoder for spectra and 60 for images.

    Returns:
        latents; where a token changed, one in the middle of its new level. The misfit
        of no object is greater than before.
    """
    if not passes:
        return latent
    axes = jnp.eye(latent.shape[-1])

    def costs(digits: Array) -> tuple[Array, Array]:
        """Misfit of each token, and where it falls."""
        cost, back = jax.vjp(lambda x: misfit(quantizer.values(x)), digits)
        return cost, -jnp.sign(back(jnp.ones_like(cost))[0])

    def turn(carry: tuple[Array, Array, Array], tried: Array) -> tuple[tuple, None]:
        digits, cost, down = carry
        here = tried[..., None].astype(digits.dtype)

        def trial(axis: Array) -> tuple[Array, Array]:
            moved = quantizer.clip(digits + here * down * axis)
            return moved, _around(cost - misfit(quantizer.values(moved)))

        moved, gain = jax.lax.map(trial, axes)
        best = jnp.argmax(gain, axis=0)[None]
        taken = jnp.take_along_axis(moved, best[..., None], axis=0)[0]
        worth = tried & (jnp.max(gain, axis=0) > WORTH)
        proposed = jnp.where(worth[..., None], taken, digits)
        after = (proposed, *costs(proposed))
        better = total(after[1]) < total(cost)

        def keep(new: Array, old: Array) -> Array:
            return jnp.where(by_object(better, new), new, old)

        kept = jax.tree.map(keep, after, carry)
        return kept, None

    first = quantizer.digits(latent).astype(latent.dtype)
    start = (first, *costs(first))
    turns = jnp.concatenate([_turns(latent.shape[1:-1])] * passes)
    (digits, _, _), _ = jax.lax.scan(turn, start, turns)
    changed = jnp.any(digits != first, axis=-1, keepdims=True)
    return jnp.where(changed, quantizer.latent(digits), latent)


def _turns(grid: tuple[int, ...]) -> Array:
    """Which tokens are tried together, [turns, 1, ...]: each exactly once."""
    places = jnp.meshgrid(*(jnp.arange(n) % APART for n in grid), indexing="ij")
    offsets = itertools.product(range(APART), repeat=len(grid))
    rows = [
        jnp.all(jnp.stack([p == n for p, n in zip(places, offset, strict=True)]), 0)
        for offset in offsets
    ]
    return jnp.stack(rows)[:, None]


def _around(values: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
    """Sums over a token and its neighbours."""
    sides = (1, *(APART for _ in values.shape[1:]))
    ones = (1,) * values.ndim
    return jax.lax.reduce_window(values, 0.0, jax.lax.add, sides, ones, "SAME")
