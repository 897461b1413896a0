# SPDX-License-Identifier: MIT
"""A small quantizer and decoders of its tokens, for tests of what seeks codes."""

import jax.numpy as jnp
import numpy as np

from aion_tokenizers.quantizers import FSQ

LEVELS = FSQ((8, 5, 4))


def near(target, weight=1e3):
    """A misfit of tokens that do not see each other; least at the target."""
    goal = LEVELS.values(jnp.asarray(target, jnp.float32))
    return lambda values: weight * jnp.sum(jnp.square(values - goal), axis=-1)


def decoded(values, mixing):
    """What a token decodes to, which depends on its neighbours too."""
    seen = jnp.einsum("...q,qk->...k", values, mixing[1])
    for axis in range(1, values.ndim - 1):
        for turn, kernel in ((1, mixing[0]), (-1, mixing[2])):
            moved = jnp.roll(values, turn, axis)
            seen = seen + 0.3 * jnp.einsum("...q,qk->...k", moved, kernel)
    return jnp.sinh(seen)


def coupled(values, mixing, data, weight):
    """A misfit in which neighbours can make up for each other."""
    return weight * jnp.sum(jnp.square(decoded(values, mixing) - data), axis=-1)


def rounded_misfit(misfit, latent):
    """Misfit of each object once its latents are rounded."""
    values = LEVELS.values(LEVELS.digits(latent).astype(jnp.float32))
    return misfit(values).reshape(len(latent), -1).sum(1)


def random_digits(rng, shape):
    return rng.integers(0, LEVELS.levels, (*shape, LEVELS.dimension))


def latents(rng, shape):
    """Latents that are rounded to random levels."""
    digits = random_digits(rng, shape).astype(np.float32)
    return LEVELS.latent(jnp.asarray(digits))
