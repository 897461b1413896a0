# SPDX-License-Identifier: MIT
"""Latents made better by what the decoder makes of them.

An encoder has one look at the data and never sees what its codes decode to; what it
misses is the amortization gap (Cremer et al. 2018, arXiv:1801.03558). Here steps of
descent go from its latents towards those that decode nearest to the data; a pull back
to the encoder's latents keeps codes of the sky from following its noise. Semi-amortized
training (Kim et al. 2018, arXiv:1802.02550) does the same.

What is left is rounding. Latents of images descend unrounded, and then their codes are
settled one after another, see `settling`. Spectra, whose tokens hardly overlap, gained
nothing from that: the *rounded* values of their latents descend, with straight-through
gradients. Of both, a search then tries neighbouring levels, see `code_search`.

Every object is refined by itself: its codes do not depend on the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aion.errors import ConfigError
from aion_tokenizers import image_pixels, spectrum_pixels
from aion_tokenizers.code_search import searched
from aion_tokenizers.descent import (
    RATE,
    STEADY,
    Averages,
    by_object,
    moved,
    prior,
    pull,
    total,
)
from aion_tokenizers.image_network import ImageNetwork, to_patches
from aion_tokenizers.quantization import Quantizer
from aion_tokenizers.quantizers import FSQ
from aion_tokenizers.settling import settled
from aion_tokenizers.spectrum_losses import huber, sigma_of
from aion_tokenizers.spectrum_network import SpectrumAutoencoder
from aion_tokenizers.wings import packed, unpacked, wing_codes, wing_latents

WIDTH = 5.0
"""Sigmas from which residuals of spectra count linearly: cosmic rays pull no harder."""

AT_ONCE = 10
"""Steps of descent after which an image may take smaller ones."""

ENOUGH = 10.0
"""Gain in log likelihood over as many steps below which it does."""

SLOWEST = RATE / 8
"""Step of a latent below which an image ends."""

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


class _Approach(NamedTuple):
    """Latents, Adam's averages, and of each object: its cost, its rate, and steps."""

    latent: Any
    averages: Any
    cost: Any
    rate: Any
    count: Any


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
    turns: int = 0,
    passes: int = 0,
) -> tuple[Float[Array, "b yt xt q"], Float[Array, " b"]]:
    """Latents of images after some steps, settled, and those of their PSFs' wings.

    Args:
        network: whose decoder and quantizer are meant.
        latent: from its encoder.
        data: with sides that are multiples of the patch.
        steps: of descent, at most. Each costs a pass through the decoder and back.
        turns: of `settling.settled` at most; 0 rounds all at once.
        passes: of `code_search.searched` after them.

    Raises:
        ConfigError: turns with a quantizer that has no levels.
    """
    quantizer, misfit = network.quantizer, _image_misfit(network, data)
    shape, row = latent.shape, packed(latent)
    if not turns:

        def rounded(row: Array) -> Array:
            found, wings = unpacked(row, shape)
            return jnp.sum(misfit(quantizer(found).values, wings))

        found, wings = unpacked(descended(row, rounded, steps), shape)
        return found, _known(wings, network.wings)
    if not isinstance(quantizer, FSQ):
        raise ConfigError(f"{turns} turns with {quantizer}", "Only FSQ has levels.")

    def relaxed(row: Array) -> Array:
        found, wings = unpacked(row, shape)
        return misfit(quantizer.relaxed(found), wings)

    found, wings = unpacked(approached(row, relaxed, steps), shape)
    known = _known(wings, network.wings)

    def last(values: Array) -> Array:
        return misfit(values, known)

    found = settled(quantizer, found, latent, last, turns)
    return searched(quantizer, found, last, passes), known


def _known(wings: Float[Array, " b"], count: int) -> Float[Array, " b"]:
    """The nearest that have a code."""
    return wing_latents(wing_codes(wings, count), count)


def _image_misfit(
    network: ImageNetwork, data: Data
) -> Callable[[Array, Array], Float[Array, "b yt xt"]]:
    """Half of chi2 of what values and latents of wings decode to, by the patch.

    Args:
        network: whose decoder is meant.
        data: with sides that are multiples of the patch.
    """
    largest = image_pixels.LARGEST
    far = jnp.sinh(jnp.float32(largest))
    flux = jnp.where(data.valid > 0, jnp.clip(data.flux, -far, far), 0.0)
    sigma = jnp.maximum(data.sigma, _LEAST)
    precision = jnp.where(data.valid > 0, jnp.square(1 / sigma), 0.0)

    def misfit(values: Array, wings: Array) -> Array:
        pixels = network.decode(values, data.bands, wings)
        guess = jnp.sinh(jnp.clip(pixels, -largest, largest))
        each = 0.5 * precision * jnp.square(guess - flux)
        patches = jnp.sum(to_patches(each, network.patch), axis=(1, 3))
        return patches.reshape(values.shape[:-1])

    return misfit


def refined_spectrum(
    network: SpectrumAutoencoder,
    latent: Float[Array, "b t q"],
    cells: Cells,
    steps: int,
    passes: int = 0,
) -> Float[Array, "b t q"]:
    """Latents of spectra after some steps, and a search.

    Args:
        network: whose decoder and quantizer are meant.
        latent: from its encoder.
        cells: what was encoded.
        steps: of descent. Each costs a pass through the decoder and back.
        passes: of `code_search.searched` after them.

    Raises:
        ConfigError: passes with a quantizer that has no levels.
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

    quantizer = network.quantizer
    found = descended(latent, _rounded(quantizer, misfit), steps)
    if not passes:
        return found
    if not isinstance(quantizer, FSQ):
        raise ConfigError(f"a search with {quantizer}", "Only FSQ has levels to try.")
    return searched(quantizer, found, misfit, passes)


def approached(
    latent: Float[Array, "b ... q"],
    misfit: Callable[[Array], Float[Array, "b ..."]],
    steps: int,
) -> Float[Array, "b ... q"]:
    """Latents that descended for as long as their object gained by it.

    Args:
        latent: to start from.
        misfit: of latents; minus the logarithm of a likelihood, by the token.
        steps: at most; an object that gains less than `ENOUGH` in `AT_ONCE` of them
            goes on with half as large ones, and ends when they are below `SLOWEST`.
    """

    def cost(found: Array) -> Float[Array, " b"]:
        return total(misfit(found)) + prior(found, latent)

    slope = jax.grad(lambda found: jnp.sum(cost(found)))

    def some(carry: _Approach) -> _Approach:
        rate = by_object(carry.rate, latent)

        def step(pair: tuple[Array, Averages], _: None) -> tuple[tuple, None]:
            found, averages = pair
            return moved(found, slope(found), averages, rate), None

        pair = (carry.latent, carry.averages)
        found, averages = jax.lax.scan(step, pair, None, length=AT_ONCE)[0]
        after = cost(found)
        better = (carry.rate >= SLOWEST) & (after < carry.cost)
        return _Approach(
            jnp.where(by_object(better, latent), found, carry.latent),
            averages,
            jnp.where(better, after, carry.cost),
            jnp.where(carry.cost - after > ENOUGH, carry.rate, carry.rate / 2),
            carry.count + AT_ONCE,
        )

    def more(carry: _Approach) -> Array:
        return (carry.count < steps) & jnp.any(carry.rate >= SLOWEST)

    rate = jnp.full(len(latent), RATE, jnp.float32)
    averages = Averages.none(latent, STEADY)
    start = _Approach(latent, averages, cost(latent), rate, 0)
    return jax.lax.while_loop(more, some, start).latent


def _rounded(
    quantizer: Quantizer, misfit: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """The misfit of rounded latents, over all objects."""
    return lambda latent: jnp.sum(misfit(quantizer(latent).values))


def descended(
    latent: Float[Array, "b ..."],
    misfit: Callable[[Array], Float[Array, ""]],
    steps: int,
) -> Float[Array, "b ..."]:
    """Latents after some steps down a misfit plus the pull back to where they were.

    Args:
        latent: to start from.
        misfit: of latents; minus the logarithm of a likelihood, summed over objects.
        steps: how many; they shrink to a tenth along a cosine.

    Returns:
        latents; those whose steps are not finite stay as they were.
    """
    if not steps:
        return latent
    slope = jax.grad(lambda found: misfit(found) + pull(found, latent))

    def step(carry: tuple[Array, Averages], count: Array) -> tuple[tuple, None]:
        found, averages = carry
        rate = RATE * (0.55 + 0.45 * jnp.cos(jnp.pi * count / steps))
        return moved(found, slope(found), averages, rate), None

    counts = jnp.arange(steps, dtype=jnp.float32)
    start = (latent, Averages.none(latent))
    (found, _), _ = jax.lax.scan(step, start, counts)
    return jnp.where(jnp.isfinite(found), found, latent)
