# SPDX-License-Identifier: MIT
"""Selection on observed magnitudes: limits, and the share of a class that passes."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erf
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from aion.errors import DataError
from aion.mocksky.cells import Cells, ClassPrior
from aion.mocksky.evidence import Evidence, nanomaggies
from aion.mocksky.likelihood import FLOOR
from aion.mocksky.objects import KINDS
from aion.mocksky.sums import single

_SIGMAS = 6.0
_LEAST, _MOST, _ENOUGH = 12, 512, 4_000_000
_REDDENING_STEP = 0.03


def flux_limits(
    classes: Sequence[ClassPrior], bands: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest flux by class and band, nanomaggies, [3, c]; else infinite.

    Limits hold on magnitudes of observed fluxes, so a negative flux never passes.
    """
    low = np.full((len(KINDS), len(bands)), -np.inf)
    high = np.full_like(low, np.inf)
    for one in classes:
        row = KINDS.index(one.family.kind)
        for limit in one.limits:
            at = list(bands).index(limit.band)
            low[row, at] = max(low[row, at], nanomaggies(limit.faint))
            high[row, at] = min(high[row, at], nanomaggies(limit.bright))
    return low, high


class Allowed(NamedTuple):
    """What evidence and limits leave to each class.

    Attributes:
        low, high: interval of flux, infinite where the flux is known, [b, 3, c].
        possible: False = the limits exclude the class, [b, 3].
    """

    low: np.ndarray
    high: np.ndarray
    possible: np.ndarray


def allowed(evidence: Evidence, low: np.ndarray, high: np.ndarray) -> Allowed:
    """Evidence within limits of flux, [3, c]."""
    known = evidence.exact[:, None]
    least = np.maximum(evidence.low[:, None], low)
    most = np.minimum(evidence.high[:, None], high)
    possible = np.asarray(np.where(known, least <= most, least < most).all(axis=2))
    wide = known | ~possible[:, :, None]
    return Allowed(
        np.where(wide, -np.inf, least), np.where(wide, np.inf, most), possible
    )


@partial(jax.jit, static_argnames=("bands", "nodes"))
def _shares(
    library: dict[str, Array],
    seen: dict[str, Array],
    *,
    bands: tuple[int, ...],
    nodes: int,
) -> Float[Array, ""]:
    """Sum over cells of prior times the probability to pass limits in some bands.

    Args:
        library: log_prior, mean, sigma [p], colour [e, c, p] of one class.
        seen: `ebv`; `low`, `high`, `depth`, `zero_point` by band, [c].
        bands: numbers of those with limits.
        nodes: magnitudes to sum over.
    """
    colour = library["colour"][-1]
    for coefficient in library["colour"][-2::-1]:
        colour = colour * seen["ebv"] + coefficient
    cell = jnp.arange(library["mean"].shape[0], dtype=jnp.int32)
    # Another phase for each cell: what is sharper than a step averages out over cells.
    phase = jnp.fmod(cell.astype(jnp.float32) * 0.6180339887, 1.0) - 0.5
    step = 2 * _SIGMAS / nodes

    def add(node: Array, passed: Array) -> Array:
        place = -_SIGMAS + step * (node.astype(jnp.float32) + 0.5 + phase)
        magnitude = library["mean"] + library["sigma"] * place
        inside = jnp.exp(-(place**2) / 2) * (step * 0.3989422804)
        for band in bands:
            bright = magnitude + colour[band] + (seen["zero_point"][band] - 22.5)
            flux = jnp.exp(-0.9210340371976183 * bright)
            noise = jnp.sqrt(2 * (seen["depth"][band] ** 2 + (FLOOR * flux) ** 2))
            ends = [erf((seen[name][band] - flux) / noise) for name in ("low", "high")]
            inside = inside * (ends[1] - ends[0]) / 2
        return passed + inside

    passed = jax.lax.fori_loop(0, nodes, add, jnp.zeros_like(phase))
    return jnp.sum(passed * jnp.exp(library["log_prior"]))


class Selection:
    """Limits of classes in some bands, and how many objects of a class pass them.

    Args:
        classes: with their limits.
        bands: names, [c].
        cells: of all classes, with colours in these bands.
    """

    def __init__(
        self, classes: Sequence[ClassPrior], bands: Sequence[str], cells: Cells
    ) -> None:
        self.low, self.high = flux_limits(classes, bands)
        limited = np.isfinite(self.low) | np.isfinite(self.high)
        self._limited = [tuple(np.flatnonzero(row).tolist()) for row in limited]
        self.bands = np.flatnonzero(limited.any(axis=0))
        self._libraries = {}
        for kind, bands_of_kind in enumerate(self._limited):
            rows = np.flatnonzero(cells.kind == kind)
            if len(rows) and bands_of_kind:
                names = ("log_prior", "mean", "sigma")
                part = {name: jnp.asarray(getattr(cells, name)[rows]) for name in names}
                colour = jnp.asarray(cells.colour[rows].transpose(1, 2, 0))
                self._libraries[kind] = {**part, "colour": colour}

    def log_passing(self, evidence: Evidence) -> np.ndarray:
        """Log of the share of each class that passes its limits, [b, 3].

        Computed once per distinct depth and zero point at a few E(B-V), between which
        its logarithm is interpolated.

        Raises:
            DataError: a limited band has no depth.
        """
        ebv = evidence.ebv
        found = np.zeros((len(ebv), len(KINDS)))
        settings = np.stack([evidence.depth, evidence.zero_point], axis=1)
        part = settings[:, :, self.bands]
        if not (part[:, 0] > 0).all():
            raise DataError(
                "evidence has no depth in a band by which objects are selected",
                "Give the depth there too, with NaN as the flux if it is not measured.",
            )
        _, first, which = np.unique(
            part.reshape(len(ebv), -1), axis=0, return_index=True, return_inverse=True
        )
        for number, example in enumerate(first if self._libraries else []):
            rows = np.flatnonzero(which.ravel() == number)
            least, most = ebv[rows].min(), ebv[rows].max()
            knots = np.linspace(least, most, 3 + int((most - least) / _REDDENING_STEP))
            if most - least < 1e-6:
                knots = knots[:1]
            at = np.log([self._shares(settings[example], knot) for knot in knots])
            if len(knots) == 1:
                found[rows] = at[0]
            else:
                found[rows] = CubicSpline(knots, at)(ebv[rows])
        return found

    def _shares(self, setting: np.ndarray, ebv: float) -> np.ndarray:
        """Of each class, [3], at one depth and zero point, [2, c]; 1 without limits."""
        shares = np.ones(len(KINDS))
        for kind, arrays in self._libraries.items():
            seen = {
                "ebv": ebv,
                "low": self.low[kind],
                "high": self.high[kind],
                "depth": np.nan_to_num(setting[0], nan=1.0),
                "zero_point": setting[1],
            }
            device = {name: single(value) for name, value in seen.items()}
            # What is sharper than a step averages out over cells if there are many.
            nodes = int(np.clip(_ENOUGH // arrays["mean"].size, _LEAST, _MOST))
            bands = self._limited[kind]
            shares[kind] = _shares(arrays, device, bands=bands, nodes=nodes)
        return shares
