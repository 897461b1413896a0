# SPDX-License-Identifier: MIT
"""Evidence made ready for summing: what the bound and the integral need per object."""

from dataclasses import dataclass

import numpy as np

from aion.mocksky.evidence import Evidence
from aion.mocksky.likelihood import FLOOR

REACHES = ((8.5, 25.0), (20.0, 100.0), (40.0, np.inf))
"""How far, in standard deviations of a band, likelihoods are followed; and up to which
chi-squared of the best cell that is far enough. Farther is slower."""
_MARGIN = 0.5
_NODES = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_EDGE = 4.0
_MAG = 2.5 / np.log(10)


@dataclass(frozen=True, eq=False)
class Span:
    """Where the library has any light: axis c.

    Attributes:
        bright, faint: magnitudes of all cells with all but 1e-12 of their prior, [c].
        sigma: narrowest and widest prior of the magnitude.
    """

    bright: np.ndarray
    faint: np.ndarray
    sigma: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Sightings:
    """Objects as the kernels take them; axis b first.

    Attributes:
        ebv: [b].
        nodes: number of magnitudes to sum over, [b].

        screen: arrays of `screen.bounds` but `kind_prior`.
        integral: arrays of `likelihood.log_integrals` but `low`, `high`.
        log_unit: log of the factor that `log_integrals` leaves out, [b].
    """

    ebv: np.ndarray
    nodes: np.ndarray
    screen: dict[str, np.ndarray]
    integral: dict[str, np.ndarray]
    log_unit: np.ndarray


def _reach(
    low: np.ndarray, high: np.ndarray, depth: np.ndarray, sigmas: float
) -> tuple[np.ndarray, np.ndarray]:
    """Faintest and brightest true flux so many sigmas from an interval."""
    wide = (sigmas * FLOOR) ** 2

    def root(flux: np.ndarray, sign: float) -> np.ndarray:
        noise = wide * flux**2 + (1 - wide) * (sigmas * depth) ** 2
        return (flux + sign * np.sqrt(noise)) / (1 - wide)

    # A flux far below zero is as impossible for a faint object as for none.
    return np.maximum(root(low, -1.0), 0.0), np.maximum(root(high, 1.0), 1e-3 * depth)


def _magnitude(flux: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 22.5 - 2.5 * np.log10(flux)


def sightings(
    evidence: Evidence, edges: np.ndarray, span: Span, reach: float
) -> Sightings:
    """Prepares evidence.

    Args:
        evidence: in the bands of the library.
        edges: largest finite end of all intervals, those of limits too, nanomaggies,
            -inf where a band has none, [b, c].
        span: of the library at these E(B-V).
        reach: one of `REACHES`.
    """
    bounded = np.isfinite(evidence.low) & np.isfinite(evidence.high)
    low, high = (np.where(bounded, x, 0.0) for x in (evidence.low, evidence.high))
    used = bounded | np.isfinite(edges)
    depth = np.where(used, evidence.depth, 1.0)
    faintest, brightest = _reach(low, high, depth, reach)
    # The bound takes E(B-V) rounded: a thousandth of the flux is more than that does.
    largest = depth**2 + (FLOOR**2 + 1e-6) * brightest**2
    smallest = depth**2 + (FLOOR * faintest) ** 2
    known = evidence.exact
    half, centre = (high - low) / 2, (high + low) / 2
    # (|t - centre| - half)**2 / v >= (t - centre)**2 / (v + more) - taken
    ratio = half / np.sqrt(largest)
    more = ratio + ratio**2 / 4
    taken = np.where(ratio > 0, ratio**2 / np.maximum(more, 1e-30), 0.0)
    precision = np.where(bounded, 1 / (largest * (1 + more)), 0.0)
    factor = 10 ** (-0.4 * evidence.zero_point)
    # No interval has more than the highest density times its width.
    most = np.maximum(half, 1e-30) * np.sqrt(2 / np.pi / smallest)
    sharp = np.where(bounded, np.minimum(np.log(most), 0.0), 0.0)
    sharp = np.where(known, np.log(largest / smallest) / 2, sharp)
    pivot, plan = _plan(evidence, bounded, edges, depth, span, reach - _MARGIN)
    rows, at = np.arange(len(evidence)), np.maximum(pivot, 0)
    shift = evidence.zero_point[rows, at]
    return Sightings(
        ebv=evidence.ebv,
        nodes=plan.pop("nodes"),
        screen={
            "weighted": centre * precision * factor,
            "precision": precision * factor**2,
            "offset": np.sum(centre**2 * precision - np.where(bounded, taken, 0), 1),
            "slack": sharp.sum(axis=1),
            "floor": np.full(len(evidence), -(reach**2) / 2),
            "pivot": pivot,
            "bright": _magnitude(brightest)[rows, at] - shift,
            "faint": np.minimum(_magnitude(faintest)[rows, at], 99.0) - shift,
        },
        integral={
            "ebv": evidence.ebv,
            "flux": np.where(known, low, 0.0),
            "known": known.astype(float),
            "scale": np.sqrt(largest),
            "depth": depth,
            "zero_point": evidence.zero_point,
            "pivot": pivot,
            **plan,
        },
        log_unit=-np.sum(np.where(known, np.log(2 * np.pi * largest) / 2, 0.0), 1),
    )


def _plan(
    evidence: Evidence,
    bounded: np.ndarray,
    edges: np.ndarray,
    depth: np.ndarray,
    span: Span,
    reach: float,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The best measured band, [b], and the nodes in its magnitude."""
    low, high = (np.where(bounded, x, 0.0) for x in (evidence.low, evidence.high))
    centre, half = (low + high) / 2, (high - low) / 2
    noise = np.sqrt(depth**2 + (FLOOR * centre) ** 2 + half**2 / 3)
    signal = np.where(bounded, centre / noise, -np.inf)
    pivot = np.where(bounded.any(axis=1), signal.argmax(axis=1), -1)
    # The width in magnitude of what each band does to the integrand, where it does.
    edge = np.where(bounded, high, edges)
    bright = np.maximum(edge, 0.0) + _EDGE * depth
    width = _MAG * np.sqrt(depth**2 + (FLOOR * bright) ** 2) / bright
    inverse = np.where(np.isfinite(edge), 1 / width**2, 0.0).sum(axis=1)
    finest = 1 / np.sqrt(inverse + 1 / span.sigma[0] ** 2)
    rows, at = np.arange(len(evidence)), np.maximum(pivot, 0)
    faintest, brightest = _reach(low, high, depth, reach)
    first, last = _magnitude(brightest)[rows, at], _magnitude(faintest)[rows, at]
    shift = evidence.zero_point[rows, at]
    last = np.minimum(last, np.maximum(span.faint[at] + shift, first + 1.0))
    near = span.bright[at] + shift
    first = np.where(near < last, np.maximum(first, near), first)
    free = pivot < 0
    first, last = np.where(free, -6.0, first), np.where(free, 6.0, last)
    finest = np.where(free, finest / span.sigma[1], finest)
    wanted = np.minimum((last - first) / finest + 1, _NODES[-1])
    nodes = np.array(_NODES)[np.searchsorted(_NODES, wanted)]
    return pivot, {"nodes": nodes, "start": first, "step": (last - first) / (nodes - 1)}
