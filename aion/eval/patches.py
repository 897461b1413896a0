# SPDX-License-Identifier: MIT
"""What codecs are held against: blanks, means of blocks, principal components.

A baseline rebuilds data from as many numbers as a codec has, cut into as many patches
as it has tokens. Patches are [b, n, c, k]: objects, places, channels, pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Cut(Protocol):
    """How data are cut into patches, and put together again."""

    def patches(
        self, values: Float[np.ndarray, "b ..."]
    ) -> Float[np.ndarray, "b n c k"]:
        """Patches of values; zeros are added at the far ends."""
        ...

    def join(
        self, patches: Float[np.ndarray, "b n c k"], shape: tuple[int, ...]
    ) -> Float[np.ndarray, "b ..."]:
        """The inverse of `patches` for values of that shape."""
        ...


@dataclass(frozen=True)
class Squares:
    """Images [b, c, y, x] in squares, all bands of a place together.

    Attributes:
        side: of a square, pixels.
    """

    side: int

    def patches(
        self, values: Float[np.ndarray, "b c y x"]
    ) -> Float[np.ndarray, "b n c k"]:
        """See `Cut`."""
        side = self.side
        more = [(0, -length % side) for length in values.shape[2:]]
        whole = np.pad(values, ((0, 0), (0, 0), *more))
        b, c, y, x = whole.shape
        split = whole.reshape(b, c, y // side, side, x // side, side)
        return split.transpose(0, 2, 4, 1, 3, 5).reshape(b, -1, c, side * side)

    def join(
        self, patches: Float[np.ndarray, "b n c k"], shape: tuple[int, ...]
    ) -> Float[np.ndarray, "b c y x"]:
        """See `Cut`."""
        b, c, y, x = shape
        rows, columns = -(-y // self.side), -(-x // self.side)
        split = patches.reshape(b, rows, columns, c, self.side, self.side)
        whole = split.transpose(0, 3, 1, 4, 2, 5)
        whole = whole.reshape(b, c, rows * self.side, columns * self.side)
        return whole[:, :, :y, :x]


@dataclass(frozen=True)
class Stretches:
    """Spectra [b, l] in pieces of neighbouring pixels.

    Attributes:
        length: of a piece, pixels.
    """

    length: int

    def patches(self, values: Float[np.ndarray, "b l"]) -> Float[np.ndarray, "b n c k"]:
        """See `Cut`."""
        whole = np.pad(values, ((0, 0), (0, -values.shape[1] % self.length)))
        return whole.reshape(len(values), -1, 1, self.length)

    def join(
        self, patches: Float[np.ndarray, "b n c k"], shape: tuple[int, ...]
    ) -> Float[np.ndarray, "b l"]:
        """See `Cut`."""
        return patches.reshape(shape[0], -1)[:, : shape[1]]


def block_means(
    flux: Float[np.ndarray, "b ..."], ivar: Float[np.ndarray, "b ..."], cut: Cut
) -> Float[np.ndarray, "b ..."]:
    """The mean of each patch and channel with weights `ivar`; 0 where all are 0."""
    weight = cut.patches(ivar)
    total = weight.sum(axis=-1, keepdims=True)
    summed = (cut.patches(flux) * weight).sum(axis=-1, keepdims=True)
    mean = summed / np.where(total > 0, total, 1)
    return cut.join(np.broadcast_to(mean, weight.shape), flux.shape)


def sky_scales(
    flux: Float[np.ndarray, "b c y x"], ivar: Float[np.ndarray, "b c y x"]
) -> Float[np.ndarray, "b c 1 1"]:
    """One sigma of a typical valid pixel of each band; 1 where none is valid."""
    del flux
    flat = ivar.reshape(*ivar.shape[:2], -1)
    shown = np.ma.masked_less_equal(flat, 0)
    middle = np.ma.filled(np.ma.median(shown, axis=-1), 1.0)
    return (middle**-0.5)[..., None, None]


def flux_scales(
    flux: Float[np.ndarray, "b l"], ivar: Float[np.ndarray, "b l"]
) -> Float[np.ndarray, "b 1"]:
    """The mean absolute flux of each spectrum with weights `ivar`; 1 where it is 0."""
    total = ivar.sum(axis=1, keepdims=True)
    mean = (np.abs(flux) * ivar).sum(axis=1, keepdims=True)
    mean = mean / np.where(total > 0, total, 1)
    return np.where(mean > 0, mean, 1)


def _filled(flux: np.ndarray, ivar: np.ndarray, cut: Cut) -> np.ndarray:
    return np.where(ivar > 0, flux, block_means(flux, ivar, cut))


Scales = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of flux and ivar: what the data of each object are divided by."""


@dataclass(frozen=True, eq=False)
class PatchPCA:
    """Principal components of patches; block means stand where data are not valid.

    Attributes:
        components: numbers per patch.
        scales: unit of each object.
        lessons: flux and ivar of the objects it learns from, instrument by instrument.
    """

    components: int
    scales: Scales
    lessons: Sequence[tuple[np.ndarray, np.ndarray]]
    _known: dict[tuple, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def rebuild(
        self,
        flux: Float[np.ndarray, "b ..."],
        ivar: Float[np.ndarray, "b ..."],
        cut: Cut,
    ) -> Float[np.ndarray, "b ..."]:
        """Data from the components of their patches."""
        scale = self.scales(flux, ivar)
        patches = cut.patches(_filled(flux, ivar, cut) / scale)
        flat = patches.reshape(-1, patches.shape[2] * patches.shape[3])
        mean, basis = self._learned(cut, flat.shape[1])
        found = (flat - mean) @ basis.T @ basis + mean
        return cut.join(found.reshape(patches.shape), flux.shape) * scale

    def _learned(self, cut: Cut, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean [f] and components [q, f] of patches of `width` numbers."""
        if (cut, width) not in self._known:
            total, square, count = np.zeros(width), np.zeros((width, width)), 0
            for flux, ivar in self.lessons:
                whole = _filled(flux, ivar, cut) / self.scales(flux, ivar)
                patches = cut.patches(whole)
                flat = patches.reshape(-1, patches.shape[2] * patches.shape[3])
                if flat.shape[1] == width:
                    flat = flat.astype(np.float64)
                    total, count = total + flat.sum(axis=0), count + len(flat)
                    square += flat.T @ flat
            mean = total / max(count, 1)
            spread = square / max(count, 1) - np.outer(mean, mean)
            basis = np.linalg.eigh(spread)[1][:, ::-1].T[: self.components]
            self._known[cut, width] = mean, basis
        return self._known[cut, width]
