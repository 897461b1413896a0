# SPDX-License-Identifier: MIT
"""The stage: which part of the sky, its weather and calibration, and its dice.

A sky is cut into HEALPix cells and these into blocks of objects. A block is the unit of
work: all that is random in it follows from the seed, the cell and the number of the
block, so that it comes out the same whoever computes it and in whatever order.

Each cell has its own reddening, depth, seeing and zero points. In the cells of a test
split one band of each camera is shifted more, and a tenth of each library of spectra
exists only there (`Family.novel`): a split by cell then tests more than memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import healpy
import numpy as np

from aion.errors import ConfigError
from aion.instrument import BANDS
from aion.splits import SplitRule

NSIDE = 16
EPOCHS = {
    "gaia": 2016.0,
    "legacy": 2017.5,
    "hsc": 2016.5,
    "sdss": 2003.0,
    "desi": 2021.5,
}
"""Julian year of the positions in each survey's files; `Objects.ra` is at Gaia's."""
ASTROMETRY = {"gaia": 0.0, "legacy": 0.02, "hsc": 0.02, "sdss": 0.05, "desi": 0.0}
"""Scatter of each survey's positions per axis, arcsec. DESI takes Legacy's, Gaia's is
in its errors."""

NOVEL_BANDS = ("DES-Z", "HSC-Z")
NOVEL_SHIFT = 0.05
"""Shift in mag of the zero points of `NOVEL_BANDS`, in test cells alone."""

BAND_NAMES = tuple(BANDS)

# 5 sigma point-source depth, AB mag. Legacy: Dey et al. 2019 (DECaLS, two passes), i
# from DR10; W1 and W2: with the confusion of faint neighbours, where half of the
# sources are found (Schlafly et al. 2019); W3 and W4: Wright et al. 2010, AB; HSC
# Wide: Aihara et al. 2022; SDSS: York et al. 2000; Gaia: see `aion.mocksky.gaia`.
_DEPTHS = {
    "DES": (24.7, 23.9, 23.6, 23.0),
    "WISE": (20.45, 20.0, 17.0, 15.0),
    "HSC": (26.5, 26.1, 25.9, 25.1, 24.4),
    "SDSS": (22.15, 23.13, 22.70, 22.20, 20.71),
    "GAIA": (23.0, 22.0, 22.0),
}
# Median FWHM in arcsec: the same papers.
_SEEING = {
    "DES": (1.29, 1.18, 1.15, 1.11),
    "WISE": (6.1, 6.4, 6.5, 12.0),
    "HSC": (0.79, 0.75, 0.61, 0.68, 0.68),
    "SDSS": (1.53, 1.44, 1.32, 1.26, 1.29),
    "GAIA": (0.1, 0.1, 0.1),
}
_CHANCES = {
    name: number
    for number, name in enumerate(
        ("truth", "legacy", "hsc", "sdss", "desi", "gaia", "neighbours", "labels")
    )
}


def _by_band(table: dict[str, tuple[float, ...]]) -> np.ndarray:
    return np.array([value for values in table.values() for value in values])


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a cell of the sky is like. Axis c is `BAND_NAMES`.

    Attributes:
        ebv: mean Milky Way reddening E(B-V), mag.
        depth: one sigma of the flux of a point source, nanomaggies, [c].
        psf_fwhm: arcsec, [c].
        zero_point: true minus assumed zero point, mag: an object of magnitude m is
            measured at m + zero_point, [c].
        sky: brightness of the night sky over its usual one, for spectrographs.
        test: whether the cell is in the test split.
    """

    ebv: float
    depth: np.ndarray
    psf_fwhm: np.ndarray
    zero_point: np.ndarray
    sky: float
    test: bool

    def of(self, names: tuple[str, ...], what: str) -> np.ndarray:
        """The values of an attribute in some bands, [len(names)]."""
        return getattr(self, what)[[BAND_NAMES.index(name) for name in names]]


@dataclass(frozen=True)
class Block:
    """Objects that are made together.

    Attributes:
        cell: HEALPix cell, nside 16, NESTED.
        index: number of the block in its cell.
        start: number of its first object in the sky.
        count: how many objects it has.
    """

    cell: int
    index: int
    start: int
    count: int


@dataclass(frozen=True)
class Sky:
    """A piece of sky with objects.

    Attributes:
        objects: how many.
        seed: another seed is another sky.
        ra, dec: bounds in degrees; cells whose centre is inside are taken.
        per_cell: objects that a cell has at least, before another cell is begun.
        block: objects that are made at once.
        split: which cells are test cells.

    Raises:
        ConfigError: no objects, or no cell inside the bounds.
    """

    objects: int
    seed: int = 0
    ra: tuple[float, float] = (140.0, 225.0)
    dec: tuple[float, float] = (-5.0, 25.0)
    per_cell: int = 32
    block: int = 64
    split: SplitRule = field(default_factory=SplitRule)

    def __post_init__(self) -> None:
        if self.objects < 1 or self.per_cell < 1 or self.block < 1:
            raise ConfigError(
                f"{self.objects} objects, {self.per_cell} per cell, blocks of "
                f"{self.block}",
                "Give at least one of each.",
            )
        if not len(self._footprint()):
            raise ConfigError(
                f"no cell with ra in {self.ra} and dec in {self.dec}",
                "Give wider bounds; a cell is 3.7 degrees wide.",
            )

    def _footprint(self) -> np.ndarray:
        every = np.arange(healpy.nside2npix(NSIDE))
        ra, dec = healpy.pix2ang(NSIDE, every, nest=True, lonlat=True)
        inside = (ra >= self.ra[0]) & (ra < self.ra[1])
        return every[inside & (dec >= self.dec[0]) & (dec < self.dec[1])]

    def cells(self) -> np.ndarray:
        """The cells that have objects, int64, spread over the bounds."""
        every = self._footprint()
        count = int(np.clip(self.objects // self.per_cell, 1, len(every)))
        return every[np.linspace(0, len(every) - 1, count).round().astype(int)]

    def blocks(self) -> Iterator[Block]:
        """All blocks, cell by cell."""
        cells, start = self.cells(), 0
        share, more = divmod(self.objects, len(cells))
        for place, cell in enumerate(cells.tolist()):
            total = share + (place < more)
            pieces = -(-total // self.block)
            for index in range(pieces):
                count = total // pieces + (index < total % pieces)
                yield Block(cell, index, start, count)
                start += count

    def rng(self, stream: str, block: Block) -> np.random.Generator:
        """The dice of a block for one purpose.

        Args:
            stream: "truth", "neighbours", "labels" or the name of a survey.
            block: whose.
        """
        return np.random.default_rng(
            [self.seed, _CHANCES[stream], block.cell, block.index]
        )

    def positions(
        self, block: Block, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places of the objects of a block, even over its cell: ra, dec in degrees."""
        inside = rng.integers(0, 4**25, block.count)  # order 29 within nside 16
        deep = block.cell * 4**25 + inside
        ra, dec = healpy.pix2ang(2**29, deep, nest=True, lonlat=True)
        return ra, dec

    def conditions(self, cell: int) -> Conditions:
        """What a cell is like; the same for every block in it."""
        rng = np.random.default_rng([self.seed, 100, cell])
        bands = len(BAND_NAMES)
        deeper, seeing = rng.normal(0.0, 0.12, 5), rng.normal(0.0, 0.12, 5)
        camera = np.repeat(np.arange(5), [len(v) for v in _DEPTHS.values()])
        depth = 10 ** (-0.4 * (_by_band(_DEPTHS) - 22.5)) / 5
        zero_point = rng.normal(0.0, 0.01, bands)
        test = bool(self.split.numbers(cell)[0] == 2)
        if test:
            zero_point[[BAND_NAMES.index(name) for name in NOVEL_BANDS]] += NOVEL_SHIFT
        return Conditions(
            ebv=float(np.clip(0.035 * np.exp(rng.normal(0.0, 0.5)), 0.008, 0.25)),
            depth=depth * np.exp(deeper[camera] + rng.normal(0.0, 0.05, bands)),
            psf_fwhm=_by_band(_SEEING)
            * np.exp(seeing[camera] + rng.normal(0.0, 0.04, bands)),
            zero_point=zero_point,
            sky=float(np.exp(rng.normal(0.0, 0.15))),
            test=test,
        )
