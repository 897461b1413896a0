# SPDX-License-Identifier: MIT
"""How probable measurements are for cells of the library: the integral over magnitude.

An observed flux f is Gaussian around t = 10**(-0.4 (m + colour + zero point - 22.5))
with variance depth**2 + (FLOOR t)**2, m the reference magnitude. A known flux counts
with its density; an interval (a token, or the limits of a selection) counts with the
probability inside. Given m the bands are independent, so a cell has

    I = integral dm N(m; mean, sigma) prod_b p_b(t_b(m)) ,

which has no closed form: the prior is Gaussian in magnitude, the noise in flux, and its
variance depends on the flux. I is the trapezoid rule on an even grid in m, which for
smooth integrands that vanish at both ends converges faster than any power of the step
(Trefethen and Weideman 2014, SIAM Review 56, 385); a step of one standard deviation of
the narrowest Gaussian is good to 1e-8, and of what deviates from Gaussians to 1e-4.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

FLOOR = 0.02
"""Calibration error of every flux, as a fraction of it."""

_PER_MAG = 0.9210340371976183  # ln(10) / 2.5
_FAR = 1e6
_NARROW = 0.07  # in units of sqrt(2) sigma
_ERFC = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)


def _scaled_erfc(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """exp(z**2) erfc(z) for z >= 0, good to 2e-7 (Press et al. 1992, Numerical Recipes,
    section 6.2)."""
    t = 1 / (1 + z / 2)
    total = jnp.full_like(t, _ERFC[-1])
    for coefficient in _ERFC[-2::-1]:
        total = total * t + coefficient
    return t * jnp.exp(total)


def log_probability(
    low: Float[Array, "..."], high: Float[Array, "..."], sigma: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Natural log of the probability that a Gaussian around 0 is between two values.

    Accurate far out in the tails and for intervals much narrower than sigma, where the
    difference of two cumulative distributions is not; one logarithm for all cases,
    since it is evaluated billions of times. Infinite ends are allowed.
    """
    scale = 0.7071067811865476 / sigma
    width = (high - low) * scale
    a, b = (jnp.clip(end * scale, -_FAR, _FAR) for end in (low, high))
    # Mirrored so that the end nearer to the middle is z, the other farther out.
    flip = a + b > 0
    z, far = jnp.where(flip, a, -b), jnp.where(flip, b, -a)
    near = jnp.abs(z)
    first, second = _scaled_erfc(near), _scaled_erfc(far)
    beside = first - jnp.exp(jnp.minimum(near**2 - far**2, 0.0)) * second
    inverse = jnp.exp(-(near**2))
    around = 2 - inverse * (first + (first - beside))
    narrow = width < _NARROW
    middle = jnp.where(narrow, (z + far) / 2, 0.0)
    thin = jnp.where(narrow, width, 0.0)
    # Density in the middle times width, to fifth order around it.
    bend = (middle * thin) ** 2
    inside = 1.1283791671 * thin * (1 + bend / 6 + bend**2 / 120) * (1 - thin**2 / 12)
    value = jnp.where(narrow, inside, jnp.where(z > 0, beside, around))
    power = jnp.where(narrow, middle**2, jnp.where(z > 0, near**2, 0.0))
    return jnp.log(value / 2) - power


class _Nodes(NamedTuple):
    """Where the trapezoid rule is evaluated.

    Attributes:
        colour: with zero points, [q, c].
        centre: nodes are reference magnitudes plus this, [q].
        first: node, [q].
        step: [q, 1].
    """

    colour: Array
    centre: Array
    first: Array
    step: Array


def _nodes(
    library: dict[str, Array], seen: dict[str, Array], cell: Int[Array, " q"]
) -> _Nodes:
    """The nodes of cells; arguments as of `log_integrals`."""
    powers = seen["ebv"] ** jnp.arange(library["colour"].shape[1], dtype=jnp.float32)
    colour = jnp.einsum("qec,e->qc", library["colour"][cell], powers)
    colour = colour + seen["zero_point"]
    mean, sigma = library["mean"][cell], library["sigma"][cell]
    free = seen["pivot"] < 0
    centre = jnp.where(free, -mean, colour[:, jnp.maximum(seen["pivot"], 0)])
    # Even steps, but another phase for each cell: what is sharper than the step then
    # averages out over cells.
    golden = jnp.fmod(cell.astype(jnp.float32) * 0.6180339887, 1.0)
    phase = jnp.where(free, golden, 0.0)
    unit = jnp.where(free, sigma, 1.0)
    step = (seen["step"] * unit)[:, None]
    first = (seen["start"] + seen["step"] * phase) * unit
    return _Nodes(colour, centre, first, step)


@partial(jax.jit, static_argnames=("nodes", "points", "intervals"))
def log_integrals(
    library: dict[str, Array],
    seen: dict[str, Array],
    cell: Int[Array, " q"],
    *,
    nodes: int,
    points: tuple[int, ...],
    intervals: tuple[int, ...],
) -> Float[Array, " q"]:
    """Natural log of I for cells of the library and one object.

    The factor prod_b (2 pi scale_b**2)**-0.5 of the known fluxes is left out.

    Args:
        library: kind [p], mean [p], sigma [p], colour [p, e, c] of `Cells`.
        seen: the object: `ebv`, and by band [c] `flux`, `known` (1 or 0), `scale` (any
            size of the noise), `depth`, `zero_point`; by class, [3, c], `low`, `high`;
            `pivot`, `start` and `step`: magnitudes in the band number `pivot`
            that are the nodes. A negative pivot puts nodes `start` to `start + step
            (nodes - 1)` in units of sigma around the mean of each cell.
        cell: which cells.
        nodes: how many points of the trapezoid rule.
        points: bands with known flux.
        intervals: bands with an interval.
    """
    colour, centre, first, step = _nodes(library, seen, cell)
    mean, sigma = library["mean"][cell], library["sigma"][cell]
    along = jnp.arange(nodes, dtype=jnp.float32)
    magnitude = (first - centre)[:, None] + step * along
    total = -(((magnitude - mean[:, None]) / sigma[:, None]) ** 2) / 2
    fading = jnp.exp(-_PER_MAG * step * along)
    spread = jnp.ones_like(total)

    def predicted(band: int) -> Float[Array, "q nodes"]:
        bright = (first - 22.5) + (colour[:, band] - centre)
        return jnp.exp(-_PER_MAG * bright)[:, None] * fading

    for band in points:
        flux = predicted(band)
        variance = seen["depth"][band] ** 2 + (FLOOR * flux) ** 2
        known = seen["known"][band]
        total = total - known * (seen["flux"][band] - flux) ** 2 / variance / 2
        share = variance / seen["scale"][band] ** 2
        spread = spread * jnp.where(known > 0, share, 1.0)
    total = total - jnp.log(spread) / 2
    for band in intervals:
        flux = predicted(band)
        noise = jnp.sqrt(seen["depth"][band] ** 2 + (FLOOR * flux) ** 2)
        low, high = seen["low"][:, band], seen["high"][:, band]
        low, high = low[library["kind"][cell]], high[library["kind"][cell]]
        total = total + log_probability(
            low[:, None] - flux, high[:, None] - flux, noise
        )
    peak = jnp.max(total, axis=1)
    safe = jnp.where(jnp.isfinite(peak), peak, 0.0)
    mass = jnp.log(jnp.sum(jnp.exp(total - safe[:, None]), axis=1)) + safe
    return mass + jnp.log(step[:, 0] / sigma) - 0.9189385332046727
