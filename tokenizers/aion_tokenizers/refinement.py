# SPDX-License-Identifier: MIT
"""Latents made better by what the decoder makes of them.

An encoder has one look at the data and never sees what its codes decode to; what it
misses is the amortization gap (Cremer et al. 2018, arXiv:1801.03558). Here a few steps
of Adam (Kingma & Ba 2015, arXiv:1412.6980) go from its latents towards those whose
*rounded* values decode nearest to the data, so that neighbours make up for each other's
rounding; a pull back to the encoder's latents keeps codes of the sky from following
its noise. Semi-amortized training (Kim et al. 2018, arXiv:1802.02550) does the same.
Then a search tries neighbouring levels of the codes, see `code_search`.

Every object is refined by itself: its codes do not depend on the batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion.errors import ConfigError
from aion_tokenizers import image_pixels, spectrum_pixels
from aion_tokenizers.code_search import searched
from aion_tokenizers.image_network import ImageNetwork, to_patches
from aion_tokenizers.quantization import Quantizer
from aion_tokenizers.quantizers import FSQ
from aion_tokenizers.spectrum_losses import huber, sigma_of
from aion_tokenizers.spectrum_network import SpectrumAutoencoder

RATE = 0.1
"""Largest step of a latent; it falls to a tenth of that along a cosine."""

SPREAD = 0.22
"""How far latents are expected to go from the encoder's: their prior's sigma."""

WIDTH = 5.0
"""Sigmas from which residuals of spectra count linearly: cosmic rays pull no harder."""

_KEPT, _SQUARES = 0.8, 0.95
_CALM = 1.0  # slope below which a step shrinks, in units of the objective
_LEAST = 1e-3  # of a sigma over the image's scale; a smaller one is no noise


class Data(NamedTuple):
    """What latents of images are refined against.

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


class Cells(NamedTuple):
    """What latents of spectra are refined against, on the codec's own grid.

    Attributes:
        flux: over the norm, [b, n]; anything where `ivar` is 0.
        ivar: inverse variance in the same units, 0 where nothing is known.
        told: what is known of the spectrograph, [b, t, p].
    """

    flux: Array
    ivar: Array
    told: Array


def refined(
    network: ImageNetwork,
    latent: Float[Array, "b yt xt q"],
    data: Data,
    steps: int,
    passes: int = 0,
) -> Float[Array, "b yt xt q"]:
    """Latents of images after some steps, and a search; see `bettered`.

    Args:
        network: whose decoder and quantizer are meant.
        latent: from its encoder.
        data: with sides that are multiples of the patch.
        steps: of descent. Each costs a pass through the decoder and back.
        passes: of the search.
    """
    largest = image_pixels.LARGEST
    far = jnp.sinh(jnp.float32(largest))
    flux = jnp.where(data.valid > 0, jnp.clip(data.flux, -far, far), 0.0)
    sigma = jnp.maximum(data.sigma, _LEAST)
    precision = jnp.where(data.valid > 0, jnp.square(1 / sigma), 0.0)

    def misfit(values: Array) -> Array:
        pixels = network.decode(values, data.bands)
        guess = jnp.sinh(jnp.clip(pixels, -largest, largest))
        each = 0.5 * precision * jnp.square(guess - flux)
        patches = jnp.sum(to_patches(each, network.patch), axis=(1, 3))
        return patches.reshape(values.shape[:-1])

    return bettered(network.quantizer, latent, misfit, steps, passes)


def refined_spectrum(
    network: SpectrumAutoencoder,
    latent: Float[Array, "b t q"],
    cells: Cells,
    steps: int,
    passes: int = 0,
) -> Float[Array, "b t q"]:
    """Latents of spectra after some steps, and a search; see `bettered`.

    Args:
        network: whose decoder and quantizer are meant.
        latent: from its encoder.
        cells: what was encoded.
        steps: of descent. Each costs a pass through the decoder and back.
        passes: of the search.
    """
    largest, there = spectrum_pixels.LARGEST, cells.ivar > 0
    far = jnp.sinh(jnp.float32(largest))
    flux = jnp.where(there, jnp.clip(cells.flux, -far, far), 0.0)
    sigma = sigma_of(cells.ivar)

    def misfit(values: Array) -> Array:
        both = network.decode(values, cells.told)
        guess = jnp.sinh(jnp.clip(both[:, 0], -largest, largest))
        chi = jnp.where(there, (guess - flux) / sigma, 0.0)
        mask = jax.nn.softplus(both[:, 1]) - jnp.where(there, both[:, 1], 0.0)
        each = huber(chi, WIDTH) + mask
        return jnp.sum(each.reshape(*values.shape[:-1], -1), axis=-1)

    return bettered(network.quantizer, latent, misfit, steps, passes)


def bettered(
    quantizer: Quantizer,
    latent: Float[Array, "b ... q"],
    misfit: Callable[[Array], Float[Array, "b ..."]],
    steps: int,
    passes: int,
) -> Float[Array, "b ... q"]:
    """Latents whose rounded values decode nearer to the data.

    Args:
        quantizer: of the latents; FSQ where there are passes.
        latent: to start from.
        misfit: of rounded values [b, ..., q]; minus the logarithm of a likelihood,
            of the part of the data that a token stands for.
        steps: of `descended`.
        passes: of `code_search.searched` after them.
    """

    def total(moved: Array) -> Array:
        return jnp.sum(misfit(quantizer(moved).values))

    moved = descended(latent, total, steps)
    if not passes:
        return moved
    if not isinstance(quantizer, FSQ):
        raise ConfigError(f"a search with {quantizer}", "Only FSQ has levels to try.")
    return searched(quantizer, moved, misfit, passes)


def averaged(
    slope: Array, mean: Array, square: Array, count: Array
) -> tuple[Array, Array, Array, Array]:
    """Adam's averages (Kingma & Ba 2015, arXiv:1412.6980) after one more slope.

    Args:
        slope: of latents.
        mean, square: the averages of slopes and their squares so far, from zero on.
        count: of slopes with this one, of a shape that fits.

    Returns:
        mean and root mean square without bias, then both averages as they are.
    """
    mean = _KEPT * mean + (1 - _KEPT) * slope
    square = _SQUARES * square + (1 - _SQUARES) * jnp.square(slope)
    size = jnp.sqrt(square / (1 - _SQUARES**count))
    return mean / (1 - _KEPT**count), size, mean, square


def descended(
    latent: Float[Array, "b ..."],
    misfit: Callable[[Array], Float[Array, ""]],
    steps: int,
) -> Float[Array, "b ..."]:
    """Latents after some steps down a misfit plus the pull back to where they were.

    Args:
        latent: to start from.
        misfit: of latents; minus the logarithm of a likelihood, summed over objects.
        steps: how many.

    Returns:
        latents; those whose steps are not finite stay as they were.
    """
    if not steps:
        return latent

    def objective(moved: Array) -> Array:
        pull = jnp.sum(jnp.square((moved - latent) / SPREAD))
        return misfit(moved) + 0.5 * pull

    slope = jax.grad(objective)

    def step(carry: tuple[Array, Array, Array], count: Array) -> tuple[tuple, None]:
        moved, mean, square = carry
        unbiased, size, mean, square = averaged(slope(moved), mean, square, count + 1)
        rate = RATE * (0.55 + 0.45 * jnp.cos(jnp.pi * count / steps))
        return (moved - rate * unbiased / (size + _CALM), mean, square), None

    zero = jnp.zeros_like(latent)
    counts = jnp.arange(steps, dtype=jnp.float32)
    (moved, _, _), _ = jax.lax.scan(step, (latent, zero, zero), counts)
    return jnp.where(jnp.isfinite(moved), moved, latent)
