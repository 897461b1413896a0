# SPDX-License-Identifier: MIT
"""Sums over the library for one object at a time, leaving out what cannot matter."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from aion.mocksky.cells import Cells
from aion.mocksky.likelihood import log_integrals
from aion.mocksky.screen import bounds, promising, templates
from aion.mocksky.sightings import REACHES, Sightings, Span

_CHUNKS = (65536, 16384, 4096, 1024)
_SAME_REDDENING = 1e-3
_SIGMAS = 7.0
_FIRST_LOOK = 15.0


def single(values: Any) -> np.ndarray:
    """The same in 32 bits, as the kernels take it."""
    values = np.asarray(values)
    return values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)


def log_sum(values: np.ndarray) -> float:
    """Natural log of the sum of exponentials; -inf for none."""
    peak = values.max(initial=-np.inf)
    if not np.isfinite(peak):
        return -np.inf
    return float(peak + np.log(np.sum(np.exp(values.astype(float) - peak))))


class Summer:
    """Cells on the device.

    Args:
        cells: to sum over.
        lost: largest share of the sum in cells that are left out; 0 leaves out none.
    """

    def __init__(self, cells: Cells, lost: float) -> None:
        self.cells, self.lost = cells, lost
        names = ("kind", "log_prior", "mean", "sigma", "colour")
        self._arrays = {name: jnp.asarray(getattr(cells, name)) for name in names}
        self._flat = {k: v for k, v in self._arrays.items() if k != "colour"}
        self._by_band = jnp.asarray(cells.colour.transpose(1, 2, 0))
        self._template: tuple[float, dict[str, Array]] = (np.inf, {})

    def span(self, ebv: np.ndarray) -> Span:
        """Of magnitudes, for objects with E(B-V) [b]."""
        cells = self.cells
        middle, wide = cells.mean[:, None], _SIGMAS * cells.sigma[:, None]
        bright, faint = [], []
        for one in (ebv.min(), ebv.max()):
            powers = (one ** np.arange(cells.colour.shape[1])).astype(np.float32)
            colour = np.einsum("pec,e->pc", cells.colour, powers)
            bright.append(np.min(middle - wide + colour, axis=0))
            faint.append(np.max(middle + wide + colour, axis=0))
        sigmas = float(cells.sigma.min()), float(cells.sigma.max())
        return Span(np.minimum(*bright), np.maximum(*faint), sigmas)

    def _at(self, ebv: float) -> dict[str, Array]:
        """Colours and fluxes of all cells, kept while E(B-V) hardly changes."""
        if abs(self._template[0] - ebv) > _SAME_REDDENING:
            made = templates(self._by_band, jnp.float32(ebv))
            self._template = (ebv, made)
        return self._template[1]

    def integrals(
        self, rows: np.ndarray, seen: Mapping[str, Any], **static: Any
    ) -> np.ndarray:
        """Log of prior times integral of the cells `rows` [q], without class priors."""
        found, start = [np.zeros(0, np.float32)], 0
        while start < len(rows):
            left = len(rows) - start
            size = next((s for s in _CHUNKS if s <= left), _CHUNKS[-1])
            some = rows[start : start + size]
            padded = np.zeros(size, np.int32)
            padded[: len(some)] = some
            made = log_integrals(self._arrays, seen, jnp.asarray(padded), **static)
            found.append(np.asarray(made)[: len(some)])
            start += len(some)
        return np.concatenate(found) + self.cells.log_prior[rows]

    def _sums(
        self,
        one: Sightings,
        row: int,
        limits: tuple[np.ndarray, np.ndarray],
        kind_prior: np.ndarray,
        static: Mapping[str, Any],
    ) -> Callable[[np.ndarray], np.ndarray]:
        """A function of cells: log of all priors times integral."""
        seen = {name: single(a[row]) for name, a in one.integral.items()}
        seen["low"], seen["high"] = single(limits[0]), single(limits[1])
        nodes = int(one.nodes[row])

        def sums(rows: np.ndarray) -> np.ndarray:
            found = self.integrals(rows, seen, nodes=nodes, **static)
            return found + kind_prior[self.cells.kind[rows]]

        return sums

    def contributions(
        self,
        ready: Sequence[Sightings],
        row: int,
        limits: tuple[np.ndarray, np.ndarray],
        kind_prior: np.ndarray,
        **static: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What matters to an object.

        Args:
            ready: evidence of all objects, one for each of `sightings.REACHES`.
            row: which object.
            limits: lowest and highest flux by class and band, [3, c].
            kind_prior: log factor of each class, [3].
            static: bands, see `log_integrals`.

        Returns:
            cells [q], and log of prior times integral [q].
        """
        for one, (reach, enough) in zip(ready, REACHES, strict=True):
            screen = {name: single(a[row]) for name, a in one.screen.items()}
            screen["kind_prior"] = single(kind_prior)
            template = self._at(float(one.ebv[row]))
            bound, least = bounds(self._flat, template, screen)
            last = reach == REACHES[-1][0]
            if not last and float(least) > enough:
                continue
            bound = np.asarray(bound)
            sums = self._sums(one, row, limits, kind_prior, static)
            found = log_sum(sums(promising(bound, _FIRST_LOOK)))
            # Else what the bound does not see (open intervals) misfits.
            if last or found > screen["floor"]:
                break
        threshold = (
            found + np.log(self.lost / len(self.cells)) if self.lost else -np.inf
        )
        rows = np.flatnonzero((bound >= threshold) & (bound > -np.inf))
        return rows, sums(rows).astype(float) + one.log_unit[row]
