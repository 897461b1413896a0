# SPDX-License-Identifier: MIT
"""Images of galaxies and stars: mixtures of Gaussians, drawn in Fourier space.

A source is a mixture of Gaussians that share their centre and their ellipse; so is its
Fourier transform, whatever the widths, and there the PSF and the square pixel are
factors: a scene of many sources in several bands costs one transform per source, a
matrix product with the fluxes and one inverse FFT per band. No Gaussian is so narrow
that it needs oversampling, and integration over pixels is exact.

What is left out. Frequencies above one cycle per two pixels: 1e-3 of the peak of a star
when the FWHM is 2.6 pixels, 1e-4 from 3 pixels on. And the sky is a torus, wider than
the stamp by a border: light that leaves on one side by more than that comes in on the
other. `scene.draw` takes the narrow border where that is below 5e-4 of the peak.

Pixel (0, 0) has its centre at x = 0, y = 0; x is the column, y the row.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aion.mocksky.sersic import SIGMAS

AnyArray = Array | np.ndarray

NARROW, WIDE = 0.2, 1.2
"""Border of the torus beyond the stamp, of its size: for compact sources, for all."""


class Sources(NamedTuple):
    """What there is to draw, float32; a batch of scenes with as many sources each.

    Attributes:
        x, y: centres in pixels, [b, n].
        spread: covariance (xx, xy, yy) in pixels^2 of a Gaussian whose sigma is the
            half-light radius; 0 for point sources, [b, n, 3].
        weights: of the Gaussians `sersic.SIGMAS`, or of the last j of them, [b, n, j].
        flux: total, in any unit, [b, c, n].
    """

    x: Float[AnyArray, "b n"]
    y: Float[AnyArray, "b n"]
    spread: Float[AnyArray, "b n 3"]
    weights: Float[AnyArray, "b n j"]
    flux: Float[AnyArray, "b c n"]


def grid_size(size: int, border: float) -> int:
    """Side of the torus on which a stamp is drawn: even, with small prime factors."""
    least = int(np.ceil((1 + border) * size / 2))
    while True:
        rest = least
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return 2 * least
        least += 1


def spread(
    radius: Float[np.ndarray, "..."],
    axis_ratio: Float[np.ndarray, "..."],
    position_angle: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "... 3"]:
    """Covariance (xx, xy, yy) of an ellipse on the sky, north up and east left.

    Args:
        radius: along the major axis; any unit.
        axis_ratio: minor over major axis.
        position_angle: of the major axis, degrees from north (+y) to east (-x).

    Returns:
        In units of radius^2.
    """
    angle = np.radians(position_angle)
    east, north = np.sin(angle), np.cos(angle)
    major, minor = radius**2, (radius * axis_ratio) ** 2
    xx = major * east**2 + minor * north**2
    yy = major * north**2 + minor * east**2
    return np.stack([xx, (minor - major) * east * north, yy], axis=-1)


def _frequencies(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Angular frequencies along y and, one half, along x, in radians per pixel."""
    y, x = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    return (2 * np.pi * y).astype(np.float32), (2 * np.pi * x).astype(np.float32)


@partial(jax.jit, static_argnames="grid")
def transforms(
    spread: Float[AnyArray, "b n 3"], weights: Float[AnyArray, "b n j"], *, grid: int
) -> Float[AnyArray, "b n y x"]:
    """Fourier transforms of centred sources of flux 1, on half of the frequencies.

    With t the transform of one Gaussian, that of the next wider one is its square; the
    recurrence runs in u = 1 - t, which loses no digits where t is close to 1.

    Args:
        spread, weights: see `Sources`.
        grid: side of the torus in pixels.
    """
    ky, kx = _frequencies(grid)
    ky = ky[:, None]
    xx, xy, yy = (spread[..., n, None, None] for n in range(3))
    part = np.float32(SIGMAS[-weights.shape[-1]] ** 2 / 32)
    # A series for a sixteenth of the exponent costs half of an exponential; beyond the
    # bound the transform is below 1e-6.
    q = part * (xx * kx**2 + 2 * xy * (kx * ky) + yy * ky**2)
    q = jnp.minimum(q, np.float32(0.9))
    u = q * (1 - q / 2 * (1 - q / 3 * (1 - q / 4 * (1 - q / 5 * (1 - q / 6)))))
    for _ in range(4):
        u = u * (2 - u)
    total = weights[..., 0, None, None] * u
    for n in range(1, weights.shape[-1]):
        u = u * (2 - u)
        total = total + weights[..., n, None, None] * u
    return 1 - total


@partial(jax.jit, static_argnames="grid")
def _phases(
    x: Float[AnyArray, "b n"], y: Float[AnyArray, "b n"], *, grid: int
) -> tuple[Float[AnyArray, "..."], ...]:
    """Cosines and sines along x, [b, n, 1, x], and along y, [b, n, y, 1]."""
    ky, kx = _frequencies(grid)
    along_x = x[..., None, None] * kx
    along_y = y[..., None, None] * ky[:, None]
    return jnp.cos(along_x), jnp.sin(along_x), jnp.cos(along_y), jnp.sin(along_y)


@partial(jax.jit, static_argnames="grid")
def _blur(
    weights: Float[AnyArray, " j"], sigmas: Float[AnyArray, "b c j"], *, grid: int
) -> Float[AnyArray, "b c y x"]:
    """Fourier transform of the PSF and the pixel."""
    ky, kx = _frequencies(grid)
    variance = sigmas[..., None] ** 2
    along_x = jnp.exp(-0.5 * variance * kx**2) * jnp.sinc(kx / np.float32(2 * np.pi))
    along_y = jnp.exp(-0.5 * variance * ky**2) * jnp.sinc(ky / np.float32(2 * np.pi))
    return jnp.einsum("bcjy,bcjx->bcyx", along_y * weights[:, None], along_x)


@jax.jit
def _placed(
    profile: Float[AnyArray, "b n y x"], phases: tuple[Float[AnyArray, "..."], ...]
) -> tuple[Float[AnyArray, "b n y x"], Float[AnyArray, "b n y x"]]:
    """Real and negative imaginary part of the transforms at their places."""
    cos_x, sin_x, cos_y, sin_y = phases
    even = profile * (cos_x * cos_y - sin_x * sin_y)
    return even, profile * (sin_x * cos_y + cos_x * sin_y)


def _composed(
    placed: list[tuple[Float[AnyArray, "b _ y x"], Float[AnyArray, "b _ y x"]]],
    fluxes: list[Float[AnyArray, "b c _"]],
    blur: Float[AnyArray, "b c y x"],
    *,
    size: int,
    grid: int,
) -> Float[AnyArray, "b c _ _"]:
    total = []
    for part in zip(*placed, strict=True):
        flat = [values.reshape(*values.shape[:2], -1) for values in part]
        both = [
            jnp.einsum("bcn,bnk->bck", flux, values)
            for flux, values in zip(fluxes, flat, strict=True)
        ]
        total.append(sum(both[1:], both[0]).reshape(blur.shape) * blur)
    image = jnp.fft.irfft2(jax.lax.complex(total[0], -total[1]), s=(grid, grid))
    return image[..., :size, :size]


# With several threads XLA's Fourier transforms on a CPU differ in the last digit from
# run to run; the same seed must give the same bytes.
_alone = jax.jit(
    _composed,
    static_argnames=("size", "grid"),
    compiler_options={"xla_cpu_multi_thread_eigen": False},
)


def render(
    groups: Sequence[Sources],
    psf_weights: Float[AnyArray, " j"],
    psf_sigmas: Float[AnyArray, "b c j"],
    *,
    size: int,
    border: float = WIDE,
) -> Float[AnyArray, "b c y x"]:
    """Noiseless images.

    Pure and differentiable, so it may be called within jit, vmap and grad. Called
    directly it is several compiled functions and not one: XLA for CPUs fuses one into
    the next and then computes the same numbers several times.

    Args:
        groups: what to draw together; they may differ in their number of Gaussians.
        psf_weights: share of each Gaussian of the PSF.
        psf_sigmas: their widths in pixels.
        size: side of the images in pixels.
        border: `WIDE`, or `NARROW` for compact sources.

    Returns:
        Flux per pixel in the unit of `Sources.flux`.
    """
    grid = grid_size(size, border)
    given = jax.tree.leaves((list(groups), psf_weights, psf_sigmas))
    traced = any(isinstance(x, jax.core.Tracer) for x in given)
    compose = _composed if traced else _alone  # options are for whole programs
    return compose(
        [
            _placed(
                transforms(group.spread, group.weights, grid=grid),
                _phases(group.x, group.y, grid=grid),
            )
            for group in groups
        ],
        [group.flux for group in groups],
        _blur(psf_weights, psf_sigmas, grid=grid),
        size=size,
        grid=grid,
    )
