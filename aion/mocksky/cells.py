# SPDX-License-Identifier: MIT
"""The mock sky's library as one list of (spectrum, redshift) cells to be summed over.

A class of objects is a finite number of spectra, each on a grid of redshifts. A cell is
one spectrum at one grid point, with the prior probability of the interval around it
(trapezoid rule in ln(1 + z)), a Gaussian prior of the reference magnitude, and for each
band the colour: band magnitude minus reference magnitude, a polynomial in E(B-V).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aion.errors import ConfigError
from aion.mocksky.family import Family
from aion.mocksky.objects import KINDS

STAR_HALF_WIDTH = 2e-3
"""A class with one redshift z0 fills [z0 - this, z0 + this], evenly."""
FAINTEST = 40.0
"""Colours are clipped here: a band without light, in mag."""


@dataclass(frozen=True)
class Limit:
    """Observed magnitudes that a class is selected by.

    Attributes:
        band: name in `aion.instrument.BANDS`.
        bright, faint: AB mag, bright < faint; either may be infinite.
    """

    band: str
    bright: float
    faint: float

    @property
    def fluxes(self) -> tuple[float, float]:
        """Lowest and highest flux, nanomaggies; a negative flux has no magnitude."""
        return 10 ** (-0.4 * (self.faint - 22.5)), 10 ** (-0.4 * (self.bright - 22.5))


@dataclass(frozen=True, eq=False)
class ClassPrior:
    """A class before and after its selection.

    Attributes:
        family: its spectra and priors.
        share: its fraction of the selected objects.
        limits: on observed magnitudes, all of which must hold.
        bands: names, [c].
        knots: E(B-V) of the tracks, increasing, [e].
        tracks: band magnitude minus reference magnitude, [e, k, n, c].
    """

    family: Family
    share: float
    limits: tuple[Limit, ...]
    bands: tuple[str, ...]
    knots: np.ndarray
    tracks: np.ndarray

    def colour(self, bands: Sequence[str]) -> np.ndarray:
        """Coefficients of the colours in powers of E(B-V), float32 [k, n, e, c]."""
        missing = [name for name in bands if name not in self.bands]
        if missing:
            raise ConfigError(
                f"no tracks of {self.family.kind} in {missing[0]}",
                f"Bands with tracks: {', '.join(self.bands)}.",
            )
        tracks = self.tracks[..., [self.bands.index(name) for name in bands]]
        powers = np.linalg.inv(
            np.vander(np.asarray(self.knots, float), increasing=True)
        )
        found = np.einsum(
            "pe,eknc->knpc", powers.astype(np.float32), np.minimum(tracks, FAINTEST)
        )
        return np.ascontiguousarray(found, np.float32)


@dataclass(frozen=True, eq=False)
class Columns:
    """The grid points of all classes side by side, axis v.

    Attributes:
        kind: index into `KINDS`, [v].
        place: ln(1 + z), [v].
        width: weight of the trapezoid rule in ln(1 + z), [v].
    """

    kind: np.ndarray
    place: np.ndarray
    width: np.ndarray


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells with a prior above zero, class by class; axis p.

    Attributes:
        kind: index into `KINDS`, int32 [p].
        sed: row in the library of its class, int32 [p].
        column: index into `Columns`, int32 [p].
        log_prior: natural log of weight[k] p(ln(1 + z) | k) width, float32 [p].
        mean, sigma: of the reference magnitude, float32 [p].
        colour: coefficients in powers of E(B-V), float32 [p, e, c].
    """

    kind: np.ndarray
    sed: np.ndarray
    column: np.ndarray
    log_prior: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    colour: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: np.ndarray | slice) -> "Cells":
        """Some cells."""
        return Cells(*(getattr(self, name)[rows] for name in self.__annotations__))


def trapezoid(place: np.ndarray) -> np.ndarray:
    """Weights of the trapezoid rule at increasing places [n]; 1 for a single one."""
    if len(place) == 1:
        return np.ones(1)
    half = np.diff(place) / 2
    return np.concatenate([half, [0.0]]) + np.concatenate([[0.0], half])


def columns(classes: Sequence[ClassPrior]) -> Columns:
    """The grids of several classes."""
    places = [np.log1p(np.asarray(c.family.redshift, float)) for c in classes]
    return Columns(
        kind=np.concatenate(
            [
                np.full(len(place), KINDS.index(c.family.kind))
                for c, place in zip(classes, places, strict=True)
            ]
        ),
        place=np.concatenate(places),
        width=np.concatenate([trapezoid(place) for place in places]),
    )


def cells(classes: Sequence[ClassPrior], bands: Sequence[str], *, novel: bool) -> Cells:
    """All cells of several classes.

    Args:
        classes: in the order of `KINDS`.
        bands: those to have colours.
        novel: whether the spectra that only test cells have are among them.
    """
    parts, before = [], 0
    for one in classes:
        family = one.family
        points = len(family.redshift)
        width = trapezoid(np.log1p(np.asarray(family.redshift, float)))
        with np.errstate(divide="ignore"):
            prior = np.log(
                family.weights(novel=novel)[:, None] * family.redshift_density * width
            )
        sed, point = np.nonzero(np.isfinite(prior))
        parts.append(
            Cells(
                kind=np.full(len(sed), KINDS.index(family.kind), np.int32),
                sed=sed.astype(np.int32),
                column=(before + point).astype(np.int32),
                log_prior=prior[sed, point].astype(np.float32),
                mean=family.magnitude_mean[sed, point].astype(np.float32),
                sigma=family.magnitude_sigma[sed].astype(np.float32),
                colour=one.colour(bands)[sed, point],
            )
        )
        before += points
    return Cells(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Cells.__annotations__
        )
    )
