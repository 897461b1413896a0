# SPDX-License-Identifier: MIT
"""Latents made better by what the decoder makes of them.

An encoder has one look at the data and never sees what its codes decode to; what it
misses is the amortization gap (Cremer et al. 2018, arXiv:1801.03558). Here a few steps
of Adam (Kingma & Ba 2015, arXiv:1412.6980) go from its latents towards those whose
*rounded* values decode nearest to the data, so that neighbours make up for each other's
rounding; a pull back to the encoder's latents keeps codes of the sky from following
its noise. Semi-amortized training (Kim et al. 2018, arXiv:1802.02550) does the same.

Every image is refined by itself: its codes do not depend on the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion_tokenizers.image_network import ImageNetwork
from aion_tokenizers.image_pixels import LARGEST

RATE = 0.1
"""Largest step of a latent; it falls to a tenth of that along a cosine."""

SPREAD = 0.22
"""How far latents are expected to go from the encoder's: their prior's sigma."""

_KEPT, _SQUARES = 0.8, 0.95
_CALM = 1.0  # slope below which a step shrinks, in units of the objective
_LEAST = 1e-3  # of a sigma over the image's scale; a smaller one is no noise


class Data(NamedTuple):
    """What latents are refined against.

    Attributes:
        flux: over the image's scale, [b, c, y, x]; anything where not valid.
        sigma: its noise over the same scale; anything where not valid.
        valid: 1 where a pixel is valid, else 0.
        bands: in numbers as the decoder is told them, [b, c, p].
    """

    flux: Array
    sigma: Array
    valid: Array
    bands: Array


def refined(
    network: ImageNetwork, latent: Float[Array, "b yt xt q"], data: Data, steps: int
) -> Float[Array, "b yt xt q"]:
    """Latents after some steps down half of chi^2 plus the pull back.

    Args:
        network: whose decoder and quantizer are meant.
        latent: from its encoder.
        data: with sides that are multiples of the patch.
        steps: 0 gives `latent`. Each costs a pass through the decoder and back.

    Returns:
        latents; where a step is not finite they stay the encoder's.
    """
    if not steps:
        return latent
    far = jnp.sinh(jnp.float32(LARGEST))
    flux = jnp.where(data.valid > 0, jnp.clip(data.flux, -far, far), 0.0)
    sigma = jnp.maximum(data.sigma, _LEAST)
    precision = jnp.where(data.valid > 0, jnp.square(1 / sigma), 0.0)

    def objective(moved: Array) -> Array:
        values = network.decode(network.quantizer(moved).values, data.bands)
        guess = jnp.sinh(jnp.clip(values, -LARGEST, LARGEST))
        pull = jnp.sum(jnp.square((moved - latent) / SPREAD))
        return 0.5 * (jnp.sum(precision * jnp.square(guess - flux)) + pull)

    slope = jax.grad(objective)

    def step(carry: tuple[Array, Array, Array], count: Array) -> tuple[tuple, None]:
        moved, mean, square = carry
        gradient = slope(moved)
        mean = _KEPT * mean + (1 - _KEPT) * gradient
        square = _SQUARES * square + (1 - _SQUARES) * jnp.square(gradient)
        unbiased = mean / (1 - _KEPT ** (count + 1))
        size = jnp.sqrt(square / (1 - _SQUARES ** (count + 1)))
        rate = RATE * (0.55 + 0.45 * jnp.cos(jnp.pi * count / steps))
        return (moved - rate * unbiased / (size + _CALM), mean, square), None

    zero = jnp.zeros_like(latent)
    counts = jnp.arange(steps, dtype=jnp.float32)
    (moved, _, _), _ = jax.lax.scan(step, (latent, zero, zero), counts)
    return jnp.where(jnp.isfinite(moved), moved, latent)
