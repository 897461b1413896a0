# SPDX-License-Identifier: MIT
"""An upper bound of each cell's integral, cheap enough for every cell and object.

With v the largest variance that a flux can have within some standard deviations (the
reach, see `sightings`) of what was measured, chi-squared at variance v is below the
true one there; it is a parabola in amplitude, and its minimum has a closed form.
Further out the likelihood of that band alone is below exp(-reach**2 / 2) of its peak,
which is far below the bound of the likely cells. The prior of the magnitude is bounded
by its largest value where the best measured band is within reach. So no cell has more
than its bound.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

_SEGMENT = 512


@jax.jit
def templates(
    colour: Float[Array, "e c p"], ebv: Float[Array, ""]
) -> dict[str, Float[Array, "c p"]]:
    """Colours of all cells at one E(B-V), and fluxes of reference magnitude 22.5."""
    at = colour[-1]
    for coefficient in colour[-2::-1]:
        at = at * ebv + coefficient
    return {"colour": at, "flux": jnp.exp(-0.9210340371976183 * at)}


@jax.jit
def bounds(
    flat: dict[str, Array], template: dict[str, Array], seen: dict[str, Array]
) -> tuple[Float[Array, " p"], Float[Array, ""]]:
    """Natural log of the bound of each cell.

    Args:
        flat: kind, log_prior, mean, sigma of the cells, [p] each.
        template: of `templates`.
        seen: the object: `weighted` = flux / v and `precision` = 1 / v of its bands,
            times factor and squared factor of the zero point, [c]; `offset`:
            chi-squared at amplitude 0, minus what intervals take off; `slack`: log of
            the largest ratio of densities at variance v and at the true one; `pivot`:
            the best band's number, and magnitudes in it within reach, zero point taken
            off, `bright` and `faint`; `floor`: -reach**2 / 2; `kind_prior`: log of each
            class's factor, [3].

    Returns:
        The bounds, and the least chi-squared at variance v of a possible cell.
    """
    top = jnp.zeros_like(flat["mean"])
    bottom = jnp.zeros_like(top)
    for flux, weight, precision in zip(
        template["flux"], seen["weighted"], seen["precision"], strict=True
    ):
        top = top + weight * flux
        bottom = bottom + precision * flux * flux
    gain = jnp.maximum(top, 0.0) ** 2 / jnp.maximum(bottom, 1e-30)
    misfit = jnp.maximum(seen["offset"] - gain, 0.0)
    pivot = template["colour"][jnp.maximum(seen["pivot"], 0)]
    low, high = seen["bright"] - pivot, seen["faint"] - pivot
    sharp = 1 / flat["sigma"]
    away = jnp.maximum(jnp.maximum(low - flat["mean"], flat["mean"] - high), 0.0)
    inside = jnp.minimum(
        jnp.log(0.3989423 * (seen["faint"] - seen["bright"])) + jnp.log(sharp), 0.0
    )
    prior = jnp.where(seen["pivot"] < 0, 0.0, inside - (away * sharp) ** 2 / 2)
    value = jnp.maximum(prior - misfit / 2, seen["floor"])
    factor = seen["kind_prior"]
    kind = jnp.where(flat["kind"] == 1, factor[1], factor[2])
    kind = jnp.where(flat["kind"] == 0, factor[0], kind)
    least = jnp.min(jnp.where(kind > -jnp.inf, misfit, jnp.inf))
    return value + flat["log_prior"] + kind + seen["slack"], least


def promising(bound: np.ndarray, within: float) -> np.ndarray:
    """The best cell of each run of neighbours whose bound is not far below the best.

    Args:
        bound: of each cell, [p].
        within: in natural log.
    """
    whole = len(bound) // _SEGMENT * _SEGMENT
    runs = bound[:whole].reshape(-1, _SEGMENT)
    best = runs.max(axis=1, initial=-np.inf)
    top = max(best.max(initial=-np.inf), bound[whole:].max(initial=-np.inf))
    likely = np.flatnonzero(best > top - within)
    found = likely * _SEGMENT + runs[likely].argmax(axis=1)
    rest = whole + np.flatnonzero(bound[whole:] > top - within)
    return np.concatenate([found, rest])
