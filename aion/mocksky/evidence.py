# SPDX-License-Identifier: MIT
"""What is known of objects: fluxes, or intervals of fluxes as tokens give them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aion.errors import DataError


def nanomaggies(magnitude: Any) -> np.ndarray:
    """Flux of AB magnitudes."""
    return np.asarray(10 ** (-0.4 * (np.asarray(magnitude, float) - 22.5)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Measurements of objects in some bands; build it with the class methods.

    Attributes:
        bands: names, [c].
        low, high: the flux is between them, nanomaggies, [b, c]. Equal: the flux is
            known. Infinite: no bound on that side. Both infinite: not measured.
        depth: one sigma of the flux of a point source, nanomaggies, [b, c]; NaN is
            allowed where nothing is measured and nothing selected.
        ebv: Milky Way reddening E(B-V), mag, [b].
        zero_point: an object of magnitude m is measured at m + zero_point, [b, c].

    Raises:
        DataError: shapes that do not fit, low above high, or a measurement without
            depth.
    """

    bands: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    depth: np.ndarray
    ebv: np.ndarray
    zero_point: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.ebv), len(self.bands))
        for name in ("low", "high", "depth", "zero_point"):
            if getattr(self, name).shape != shape:
                raise DataError(
                    f"evidence: {name} has shape {getattr(self, name).shape}",
                    f"Give one value per object and band, {shape}.",
                )
        if np.isnan(self.low).any() or np.any(self.low > self.high):
            raise DataError(
                "evidence: an interval of fluxes is empty",
                "Give low <= high; without a measurement -inf and inf.",
            )
        if np.any(self.measured & ~(self.depth > 0)):
            raise DataError(
                "evidence: a measured flux without depth",
                "Give the one sigma of every measured flux, above 0 nanomaggies.",
            )

    def __len__(self) -> int:
        return len(self.ebv)

    @property
    def measured(self) -> np.ndarray:
        """True = something is known of the flux, [b, c]."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    @property
    def exact(self) -> np.ndarray:
        """True = the flux itself is known, [b, c]."""
        return self.low == self.high

    @classmethod
    def fluxes(
        cls,
        bands: Sequence[str],
        flux: Any,
        *,
        depth: Any,
        ebv: Any,
        zero_point: Any = 0.0,
    ) -> "Evidence":
        """Known fluxes.

        Args:
            bands: names, [c].
            flux: nanomaggies, negative ones too, [b, c]; NaN = not measured.
            depth, zero_point: [b, c], [c] or one number.
            ebv: [b] or one number.
        """
        flux = np.asarray(flux, float)
        absent = np.isnan(flux)
        return cls.bins(
            bands,
            np.where(absent, -np.inf, flux),
            np.where(absent, np.inf, flux),
            depth=depth,
            ebv=ebv,
            zero_point=zero_point,
        )

    @classmethod
    def bins(
        cls,
        bands: Sequence[str],
        low: Any,
        high: Any,
        *,
        depth: Any,
        ebv: Any,
        zero_point: Any = 0.0,
    ) -> "Evidence":
        """Intervals of flux, such as the edges of tokens; see the attributes."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        if low.ndim != 2:
            raise DataError(
                f"evidence of shape {low.shape}", "Give arrays of objects and bands."
            )
        wide = [
            np.broadcast_to(np.asarray(x, float), low.shape)
            for x in (depth, zero_point)
        ]
        reddening = np.broadcast_to(np.asarray(ebv, float), low.shape[:1])
        return cls(tuple(bands), low, high, wide[0], reddening, wide[1])

    @classmethod
    def magnitude_bins(
        cls,
        bands: Sequence[str],
        bright: Any,
        faint: Any,
        *,
        depth: Any,
        ebv: Any,
        zero_point: Any = 0.0,
    ) -> "Evidence":
        """Intervals of AB magnitude; without a faint end, negative fluxes too."""
        low = np.where(np.isposinf(faint), -np.inf, nanomaggies(faint))
        return cls.bins(
            bands,
            low,
            nanomaggies(bright),
            depth=depth,
            ebv=ebv,
            zero_point=zero_point,
        )

    def take(self, rows: Any) -> "Evidence":
        """Some of the objects."""
        names = ("low", "high", "depth", "ebv", "zero_point")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def given(self, bands: Sequence[str]) -> "Evidence":
        """The same if only these bands were measured.

        Depths and zero points of the others stay: the selection needs them.
        """
        hidden = ~np.isin(self.bands, tuple(bands))
        low = np.where(hidden, -np.inf, self.low)
        return replace(self, low=low, high=np.where(hidden, np.inf, self.high))

    @classmethod
    def concatenate(cls, parts: Iterable["Evidence"]) -> "Evidence":
        """All objects of several pieces of evidence in the same bands."""
        parts = list(parts)
        names = ("low", "high", "depth", "ebv", "zero_point")
        if len({part.bands for part in parts}) != 1:
            raise DataError(
                "pieces of evidence in different bands", "Arrange them in the same."
            )
        return replace(
            parts[0],
            **{n: np.concatenate([getattr(part, n) for part in parts]) for n in names},
        )

    def arranged(self, bands: Sequence[str]) -> "Evidence":
        """The same in another list of bands; those that it lacks are not measured.

        Raises:
            DataError: a measured band is not in the list.
        """
        for place, name in enumerate(self.bands):
            if name not in bands and self.measured[:, place].any():
                raise DataError(
                    f"evidence in {name}, which this posterior does not know",
                    f"Give it the band when you build it; it has {', '.join(bands)}.",
                )
        shape = (len(self), len(bands))
        empty = {"low": -np.inf, "high": np.inf, "depth": np.nan, "zero_point": 0.0}
        arrays = {name: np.full(shape, value) for name, value in empty.items()}
        for place, name in enumerate(bands):
            if name in self.bands:
                for key, array in arrays.items():
                    array[:, place] = getattr(self, key)[:, self.bands.index(name)]
        return replace(self, bands=tuple(bands), **arrays)
