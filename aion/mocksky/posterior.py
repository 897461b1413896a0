# SPDX-License-Identifier: MIT
"""The exact answer: p(redshift | photometry) and p(class | photometry) of the mock sky.

The mock sky draws an object as a class, a spectrum k of a finite library, a redshift z
and a magnitude m, looks at it with known noise, and keeps it if its observed magnitudes
are within the limits of its class. Hence p(class, k, z | data) is proportional to

    share[class] / Z[class] weight[k] p(z | k) integral dm N(m) prod_b p_b(data_b | m)

with Z the same sum and integral for no data but that the object passes the limits.
A band that is both measured and limited counts with the flux alone, and is impossible
outside the limits; a limited band that is not measured, or only as an interval, counts
with the probability to be in the intersection of interval and limits.

What is exact: the sum over the library, the noise (Gaussian in flux with a variance
that depends on the flux, negative fluxes included), the selection, the integral over
magnitude (1e-4 in log), and the cells that are left out (together less than `LOST` of
the rest). Logarithms have 32 bits: where a class is asked for that data exclude by 30
standard deviations, its redshifts are good to 1e-3.

What is not exact: redshift is summed on the library's grid by the trapezoid rule,
densities are linear in ln(1 + z) between its points, and colours are polynomials in
E(B-V) through a few values. That is harmless as long as photometry does not resolve a
step of the grid; with many bands at the calibration floor it begins to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aion.errors import ConfigError
from aion.mocksky.cells import STAR_HALF_WIDTH, ClassPrior, cells, columns
from aion.mocksky.evidence import Evidence
from aion.mocksky.objects import KINDS
from aion.mocksky.population import Population
from aion.mocksky.redshifts import RedshiftPosterior
from aion.mocksky.selection import Selection, allowed
from aion.mocksky.sightings import REACHES, sightings
from aion.mocksky.sums import Summer, log_sum

LOST = 1e-4
"""Largest share of the probability in cells that are left out."""


@dataclass(frozen=True, eq=False)
class Settings:
    """Conditions that objects may have been seen under; axes s settings, c bands.

    Attributes:
        depth: one sigma, nanomaggies, [s, c], bands as in the evidence.
        zero_point: mag, [s, c].
        weight: share of the selected objects, sums to 1, [s].
    """

    depth: np.ndarray
    zero_point: np.ndarray
    weight: np.ndarray


class ExactPosterior:
    """Answers for objects of one selection in given bands.

    Building it takes seconds; an object takes 5-10 ms given fluxes and some 50 ms given
    intervals, against half a million cells.

    Args:
        classes: priors and selections, in the order of `KINDS`.
        bands: names; the limited bands of the classes are added.
        novel: whether spectra that only test cells of the sky have are possible.
        lost: largest share of the probability in cells that are left out; 0 leaves
            out none, and is slow.

    Raises:
        ConfigError: classes out of order, or a band without tracks.
    """

    def __init__(
        self,
        classes: Sequence[ClassPrior],
        bands: Sequence[str],
        *,
        novel: bool = False,
        lost: float = LOST,
    ) -> None:
        order = [KINDS.index(one.family.kind) for one in classes]
        if order != sorted(set(order)) or not order:
            raise ConfigError(
                f"classes {[one.family.kind for one in classes]}",
                f"Give each class once, in the order {', '.join(KINDS)}.",
            )
        limited = [limit.band for one in classes for limit in one.limits]
        self.classes, self.lost = tuple(classes), lost
        self.bands = tuple(dict.fromkeys([*bands, *limited]))
        self.columns = columns(classes)
        self._share = np.zeros(len(KINDS))
        self._share[order] = [one.share for one in classes]
        every = cells(classes, self.bands, novel=novel)
        self._selection = Selection(classes, self.bands, every)
        self._summers: dict[str | None, Summer] = {None: Summer(every, lost)}

    @classmethod
    def of(
        cls,
        population: Population,
        bands: Sequence[str],
        *,
        novel: bool = False,
        lost: float = LOST,
    ) -> "ExactPosterior":
        """For the objects that a population draws; arguments as of the class."""
        limited = [
            limit.band for one in population.sample.classes for limit in one.limits
        ]
        priors = population.class_priors(tuple(dict.fromkeys([*bands, *limited])))
        ordered = sorted(priors, key=lambda one: KINDS.index(one.family.kind))
        return cls(ordered, bands, novel=novel, lost=lost)

    def _summer(self, kind: str | None) -> Summer:
        if kind not in self._summers:
            if kind not in [one.family.kind for one in self.classes]:
                raise ConfigError(
                    f"no class {kind!r}",
                    f"Classes: {', '.join(one.family.kind for one in self.classes)}.",
                )
            every = self._summers[None].cells
            rows = np.flatnonzero(every.kind == KINDS.index(kind))
            # Cells of a class are neighbours: a slice is a view.
            part = every.take(slice(int(rows[0]), int(rows[-1]) + 1))
            self._summers[kind] = Summer(part, self.lost)
        return self._summers[kind]

    def _each(
        self, evidence: Evidence, kind: str | None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For each object its row, cells and the log of their joint probability."""
        evidence = evidence.arranged(self.bands)
        summer = self._summer(kind)
        low, high, possible = allowed(
            evidence, self._selection.low, self._selection.high
        )
        with np.errstate(divide="ignore"):
            prior = np.log(self._share) - self._selection.log_passing(evidence)
        prior = np.where(possible, prior, -np.inf)
        if kind is not None:
            asked = np.array([name == kind for name in KINDS])
            prior = np.where(asked, prior, -np.inf)
        ends = np.stack([low, high])
        ends = np.where(np.isfinite(ends), ends, -np.inf).max(axis=(0, 2))
        span = summer.span(evidence.ebv)
        ready = [sightings(evidence, ends, span, reach) for reach, _ in REACHES]
        bounded = np.isfinite(low) | np.isfinite(high)
        static = {
            "points": tuple(np.flatnonzero(evidence.exact.any(axis=0)).tolist()),
            "intervals": tuple(np.flatnonzero(bounded.any(axis=(0, 1))).tolist()),
        }
        for row in np.argsort(evidence.ebv, kind="stable").tolist():
            if not np.isfinite(prior[row]).any():
                yield row, np.zeros(0, int), np.zeros(0)
                continue
            rows, mass = summer.contributions(
                ready, row, (low[row], high[row]), prior[row], **static
            )
            yield row, rows, mass

    def _masses(
        self, evidence: Evidence, kind: str | None, axis: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums by a number that each cell has, [b, size], and log of their unit."""
        found = np.zeros((len(evidence), size))
        unit = np.full(len(evidence), -np.inf)
        for row, rows, mass in self._each(evidence, kind):
            unit[row] = log_sum(mass)
            if np.isfinite(unit[row]):
                share = np.exp(mass.astype(float) - unit[row])
                found[row] = np.bincount(axis[rows], share, size)
        return found, unit

    def _answer(
        self,
        evidence: Evidence,
        kind: str | None,
        what: str,
        size: int,
        settings: Settings | None,
    ) -> np.ndarray:
        """Probabilities of the values of `Cells.what`, [b, size]; NaN: impossible."""
        axis = getattr(self._summer(kind).cells, what)
        if settings is None:
            found, _ = self._masses(evidence, kind, axis, size)
        else:
            parts = []
            for depth, zero, weight in zip(
                settings.depth, settings.zero_point, settings.weight, strict=True
            ):
                seen = replace(
                    evidence,
                    depth=np.broadcast_to(depth, evidence.low.shape),
                    zero_point=np.broadcast_to(zero, evidence.low.shape),
                )
                mass, unit = self._masses(seen, kind, axis, size)
                with np.errstate(divide="ignore"):
                    parts.append((mass, unit + np.log(weight)))
            top = np.max([unit for _, unit in parts], axis=0)
            top = np.where(np.isfinite(top), top, 0.0)
            found = np.sum([m * np.exp(u - top)[:, None] for m, u in parts], axis=0)
        total = found.sum(axis=1, keepdims=True)
        return found / np.where(total > 0, total, np.nan)

    def kind(
        self, evidence: Evidence, *, settings: Settings | None = None
    ) -> np.ndarray:
        """Probability of each class, [b, 3] in the order of `KINDS`.

        NaN where no class can have been measured so. Arguments as of `redshift`.
        """
        return self.kind_and_redshift(evidence, settings=settings)[0]

    def kind_and_redshift(
        self, evidence: Evidence, *, settings: Settings | None = None
    ) -> tuple[np.ndarray, RedshiftPosterior]:
        """What `kind` and `redshift` of an unknown class give, at the cost of one."""
        mass = self._answer(evidence, None, "column", self.columns.kind.size, settings)
        kind = np.stack(
            [mass[:, self.columns.kind == k].sum(axis=1) for k in range(len(KINDS))],
            axis=1,
        )
        kinds = [one.family.kind for one in self.classes]
        return kind, self._densities(mass, kinds)

    def sed(
        self, evidence: Evidence, kind: str, *, settings: Settings | None = None
    ) -> np.ndarray:
        """Probability of each spectrum of a class that is known, [b, k]."""
        size = next((len(c.family) for c in self.classes if c.family.kind == kind), 0)
        return self._answer(evidence, kind, "sed", size, settings)

    def redshift(
        self,
        evidence: Evidence,
        kind: str | None = None,
        *,
        settings: Settings | None = None,
    ) -> RedshiftPosterior:
        """Density of redshift.

        Args:
            evidence: of objects, in the bands of this posterior or some of them.
            kind: the class, if it is known.
            settings: average over these instead of the evidence's own depth and zero
                point: for objects whose depth is not known.

        Raises:
            ConfigError: no such class.
            DataError: measured bands that this posterior has not, or limited bands
                whose depth is unknown.
        """
        if kind is None:
            return self.kind_and_redshift(evidence, settings=settings)[1]
        mass = self._answer(evidence, kind, "column", self.columns.kind.size, settings)
        return self._densities(mass, [kind])

    def _densities(self, mass: np.ndarray, kinds: list[str]) -> RedshiftPosterior:
        """Adds classes, each linear between the points of its own grid."""
        grids = {}
        for name in kinds:
            rows = np.flatnonzero(self.columns.kind == KINDS.index(name))
            place = self.columns.place[rows]
            density = mass[:, rows] / self.columns.width[rows]
            if len(rows) == 1:
                z = np.expm1(place[0])
                place = np.log1p([z - STAR_HALF_WIDTH, z + STAR_HALF_WIDTH])
                density = np.repeat(density / np.diff(place), 2, axis=1)
            grids[name] = place, density
        edges = np.unique(np.concatenate([place for place, _ in grids.values()]))
        left = np.zeros((len(mass), len(edges) - 1))
        right = np.zeros_like(left)
        for place, density in grids.values():
            ends = [
                _linear(edges[:-1], place, density),
                _linear(edges[1:], place, density),
            ]
            middle = (edges[1:] + edges[:-1]) / 2
            inside = (middle > place[0]) & (middle < place[-1])
            left += np.where(inside, ends[0], 0.0)
            right += np.where(inside, ends[1], 0.0)
        return RedshiftPosterior(np.expm1(edges), left, right)


def _linear(at: np.ndarray, place: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Interpolation of densities [b, n] given at places [n]; [b, len(at)]."""
    index = np.clip(np.searchsorted(place, at, side="right") - 1, 0, len(place) - 2)
    share = (at - place[index]) / (place[index + 1] - place[index])
    return density[:, index] * (1 - share) + density[:, index + 1] * share
