# SPDX-License-Identifier: MIT
"""Who lives on the sky: draws the objects of a block under an explicit selection.

Class, place and Milky Way reddening of an object are drawn first and kept. Spectrum,
redshift and magnitude are drawn from the prior of the class (`aion.mocksky.family`),
and the fluxes that an imaging survey would measure; they are drawn again until these
pass the limits of the class. Hence the share of a class among the selected objects is
that of the sample, in every cell, and p(spectrum, redshift, magnitude | selected) is
the prior times the probability to pass: what `aion.mocksky.posterior` takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from aion.errors import ConfigError
from aion.mocksky.cells import ClassPrior
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.galaxies import galaxy_labels
from aion.mocksky.likelihood import FLOOR
from aion.mocksky.morphology import Shapes, galaxy_shapes, point_shapes
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.responses import ZERO_POINT, band_fluxes
from aion.mocksky.samples import Sample, Selection
from aion.mocksky.seds import spectra
from aion.mocksky.sky import BAND_NAMES, Block, Conditions, Sky
from aion.mocksky.threads import one_thread
from aion.mocksky.tracks import EBV, colour_tracks

REDDENING_SCATTER = 0.1
"""Of ln E(B-V) within a cell."""
ROUNDS = 1000
"""Draws per object before a selection counts as impossible."""

_SIGMAS = 4.5
_ZERO_POINTS = 0.09  # mag; the largest shift that matters, test cells included


@dataclass(frozen=True, eq=False)
class Photometry:
    """Measured fluxes of objects in all bands.

    Attributes:
        flux: nanomaggies, not corrected for dust, zero point shifts included, [b, c].
        sigma: their errors as a catalogue gives them, [b, c].
    """

    flux: np.ndarray
    sigma: np.ndarray


class Motions(Protocol):
    """How stars move, [b] each: columns of `objects.Objects` with the same names."""

    redshift: np.ndarray
    distance: np.ndarray
    pm_ra: np.ndarray
    pm_dec: np.ndarray


MotionDraw = Callable[
    [Family, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.random.Generator],
    Motions,
]
"""Family, its rows, magnitudes, ra, dec, dice -> motions."""


def observe(
    fluxes: Float[np.ndarray, "b c"], conditions: Conditions, rng: np.random.Generator
) -> Photometry:
    """Measures fluxes in all bands.

    The noise is Gaussian with variance depth**2 + (FLOOR f)**2, f the flux after the
    shift of the zero point.

    Args:
        fluxes: true, nanomaggies, in the order of `sky.BAND_NAMES`.
        conditions: of the cell.
        rng: dice; one number per flux.
    """
    shifted = fluxes * 10 ** (-0.4 * conditions.zero_point)
    noise = np.hypot(conditions.depth, FLOOR * shifted)
    flux = shifted + noise * rng.standard_normal(shifted.shape)
    return Photometry(flux, np.hypot(conditions.depth, FLOOR * np.maximum(flux, 0.0)))


@dataclass(frozen=True, eq=False)
class _Proposal:
    """A table to draw from: the prior cut to a range that holds all that can pass.

    Attributes:
        sums: cumulative probability of (spectrum, redshift), [k * n].
        low, high: magnitudes between which objects are drawn, [k, n].
    """

    sums: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _margin(faint: float, depth: float) -> float:
    """How far outside a limit an object can be and still pass, mag."""
    noise = np.hypot(FLOOR, 2.0 * depth * 10 ** (0.4 * (faint - ZERO_POINT)))
    return _ZERO_POINTS - 2.5 * np.log10(max(1 - _SIGMAS * min(noise, 0.2), 0.1))


@dataclass(frozen=True, eq=False)
class Population:
    """The objects of a sky.

    Attributes:
        sky: where.
        families: the library of each class, by its name in `objects.KINDS`.
        sample: shares and limits.
        motions: draws how stars move; without it they stand still at no distance.

    Raises:
        ConfigError: the sample has a class without a family, or one that none of its
            spectra can pass.
    """

    sky: Sky
    families: Mapping[str, Family]
    sample: Sample
    motions: MotionDraw | None = None
    _proposals: dict[tuple[str, bool], _Proposal] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        for one in self.sample.classes:
            if one.kind not in self.families:
                raise ConfigError(
                    f"sample {self.sample.name} has {one.kind}, the families are "
                    f"{', '.join(self.families)}",
                    "Give a family of each class.",
                )

    def class_priors(self, bands: Sequence[str]) -> tuple[ClassPrior, ...]:
        """What the exact posterior needs to know, with tracks in `bands`.

        Args:
            bands: names; those of the limits are added.
        """
        priors = []
        for one in self.sample.classes:
            names = tuple(
                dict.fromkeys([*bands, *(limit.band for limit in one.limits)])
            )
            family = self.families[one.kind]
            tracks = colour_tracks(family, names)
            priors.append(
                ClassPrior(
                    family, one.share, one.limits, names, np.array(EBV), tracks.values
                )
            )
        return tuple(priors)

    @one_thread
    def draw(self, block: Block) -> tuple[Objects, Photometry]:
        """The objects of a block and their photometry, the same at every call.

        Args:
            block: of `sky`.

        Returns:
            The truth, and what was measured in `sky.BAND_NAMES`.

        Raises:
            ConfigError: limits that next to nothing passes.
        """
        conditions, rng = self.sky.conditions(block.cell), self.sky.rng("truth", block)
        ra, dec = self.sky.positions(block, rng)
        shares = [one.share for one in self.sample.classes]
        which = rng.choice(len(shares), block.count, p=np.array(shares) / sum(shares))
        scatter = REDDENING_SCATTER * rng.standard_normal(block.count)
        ebv = conditions.ebv * np.exp(scatter)
        objects: list[Objects] = []
        seen: list[Photometry] = []
        places: list[np.ndarray] = []
        for number, one in enumerate(self.sample.classes):
            rows = np.flatnonzero(which == number)
            if len(rows):
                start = self._blank(one.kind, block, rows, ra, dec, ebv)
                drawn, photometry = self._select(one, start, conditions, rng)
                objects.append(self._finish(drawn, rng))
                seen.append(photometry)
                places.append(rows)
        order = np.argsort(np.concatenate(places))
        flux = np.concatenate([p.flux for p in seen])[order]
        sigma = np.concatenate([p.sigma for p in seen])[order]
        return Objects.concatenate(objects).take(order), Photometry(flux, sigma)

    def _blank(
        self,
        kind: str,
        block: Block,
        rows: np.ndarray,
        ra: np.ndarray,
        dec: np.ndarray,
        ebv: np.ndarray,
    ) -> Objects:
        """Point sources at rest whose spectrum and magnitude are not drawn yet."""
        count = len(rows)
        return Objects(
            number=(block.start + rows).astype(np.int64),
            ra=ra[rows],
            dec=dec[rows],
            cell=np.full(count, block.cell, np.int64),
            kind=np.full(count, KINDS.index(kind), np.int8),
            sed=np.zeros(count, np.int32),
            redshift=np.zeros(count),
            magnitude=np.zeros(count),
            ebv=ebv[rows],
            distance=np.full(count, np.nan),
            pm_ra=np.zeros(count),
            pm_dec=np.zeros(count),
            **vars(point_shapes(count)),
        )

    def _select(
        self,
        one: Selection,
        objects: Objects,
        conditions: Conditions,
        rng: np.random.Generator,
    ) -> tuple[Objects, Photometry]:
        """Draws spectra, redshifts and magnitudes until all objects pass."""
        flux = np.zeros((len(objects), len(BAND_NAMES)))
        sigma = np.zeros_like(flux)
        waiting = np.arange(len(objects))
        for _ in range(ROUNDS):
            if not len(waiting):
                return objects, Photometry(flux, sigma)
            sed, redshift, magnitude = self._propose(
                one, len(waiting), rng, novel=conditions.test
            )
            objects.sed[waiting], objects.redshift[waiting] = sed, redshift
            objects.magnitude[waiting] = magnitude
            part = objects.take(waiting)
            true = band_fluxes(spectra(part, self.families), BAND_NAMES)
            measured = observe(true.astype(np.float64), conditions, rng)
            flux[waiting], sigma[waiting] = measured.flux, measured.sigma
            passed = np.ones(len(waiting), bool)
            for limit in one.limits:
                low, high = limit.fluxes
                value = measured.flux[:, BAND_NAMES.index(limit.band)]
                passed &= (value >= low) & (value <= high)
            waiting = waiting[~passed]
        raise ConfigError(
            f"sample {self.sample.name}: {one.kind} hardly ever passes its limits",
            "Widen them.",
        )

    def _finish(self, objects: Objects, rng: np.random.Generator) -> Objects:
        """Gives galaxies shapes and stars motions."""
        kind = KINDS[int(objects.kind[0])]
        family, shapes = self.families[kind], None
        if kind == "GALAXY" and "log_mass_at_zero" in family.parameters:
            mass = galaxy_labels(objects, family)["LOGMSTAR"]
            shapes = galaxy_shapes(family, objects.sed, objects.redshift, mass, rng)
        if kind == "STAR" and self.motions is not None:
            found = self.motions(
                family, objects.sed, objects.magnitude, objects.ra, objects.dec, rng
            )
            return _with(objects, found, ("redshift", "distance", "pm_ra", "pm_dec"))
        if shapes is None:
            return objects
        return _with(objects, shapes, tuple(Shapes.__dataclass_fields__))

    def _propose(
        self, one: Selection, count: int, rng: np.random.Generator, *, novel: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Spectrum, redshift and magnitude of objects that may pass."""
        family, table = self.families[one.kind], self._table(one, novel=novel)
        size = len(family.redshift)
        uniform = rng.random((3, count))
        place = np.searchsorted(table.sums, uniform[0] * table.sums[-1], side="right")
        sed, node = np.divmod(np.minimum(place, len(table.sums) - 1), size)
        redshift = np.full(count, family.redshift[0])
        low, high = table.low[sed, node], table.high[sed, node]
        mean = family.magnitude_mean[sed, node]
        if size > 1:
            # Triangles around the nodes add up to what is linear between them; at the
            # ends only their inner half is there.
            grid = np.log1p(family.redshift)
            offset = 1 - np.sqrt(1 - np.abs(2 * uniform[1] - 1))
            offset *= np.sign(2 * uniform[1] - 1)
            offset = np.where(node == 0, np.abs(offset), offset)
            offset = np.where(node == size - 1, -np.abs(offset), offset)
            redshift = np.expm1(grid[node] + offset * (grid[1] - grid[0]))
            other = np.clip(node + np.where(offset > 0, 1, -1), 0, size - 1)
            share = np.abs(offset)
            low = low + share * (table.low[sed, other] - low)
            high = high + share * (table.high[sed, other] - high)
            mean = mean + share * (family.magnitude_mean[sed, other] - mean)
        sigma = family.magnitude_sigma[sed]
        magnitude = mean + sigma * _truncated(
            (low - mean) / sigma, (high - mean) / sigma, uniform[2]
        )
        return sed.astype(np.int32), redshift, magnitude

    def _table(self, one: Selection, *, novel: bool) -> _Proposal:
        key = (one.kind, novel)
        if key not in self._proposals:
            self._proposals[key] = self._tabulate(one, novel=novel)
        return self._proposals[key]

    def _tabulate(self, one: Selection, *, novel: bool) -> _Proposal:
        family = self.families[one.kind]
        low = np.full(family.magnitude_mean.shape, -np.inf)
        high = np.full(family.magnitude_mean.shape, np.inf)
        depths = self.sky.conditions(int(self.sky.cells()[0])).depth
        bands = tuple(limit.band for limit in one.limits)
        tracks = colour_tracks(family, bands or (REFERENCE,))
        clear, dusty = tracks.at(0.0), tracks.at(EBV[-1])
        for column, limit in enumerate(one.limits):
            depth = float(depths[BAND_NAMES.index(limit.band)])
            faint = limit.faint + _margin(limit.faint, depth)
            bright = limit.bright - _margin(limit.bright, depth)
            low = np.maximum(low, bright - dusty[..., column])
            high = np.minimum(high, faint - clear[..., column])
        sigma = family.magnitude_sigma[:, None]
        ends = (
            (low - family.magnitude_mean) / sigma,
            (high - family.magnitude_mean) / sigma,
        )
        inside = np.maximum(ndtr(ends[1]) - ndtr(ends[0]), 0.0)
        chance = family.weights(novel=novel)[:, None] * family.redshift_density * inside
        if len(family.redshift) > 1:
            chance[:, [0, -1]] /= 2
        if not chance.sum() > 0:
            raise ConfigError(
                f"sample {self.sample.name}: no {one.kind} can pass its limits",
                "Widen them.",
            )
        return _Proposal(np.cumsum(chance), low, np.maximum(high, low))


def _with(objects: Objects, source: object, names: tuple[str, ...]) -> Objects:
    return replace(objects, **{name: getattr(source, name) for name in names})


def _truncated(low: np.ndarray, high: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Standard normal numbers between two ends."""
    # In the upper tail ndtr is 1 to rounding; the lower one keeps its precision.
    upper = low > 0
    first, last = np.where(upper, -high, low), np.where(upper, -low, high)
    start, end = ndtr(first), ndtr(last)
    value = ndtri(np.clip(start + uniform * (end - start), 1e-300, 1 - 1e-16))
    return np.where(upper, -value, value)
