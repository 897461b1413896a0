# SPDX-License-Identifier: MIT
"""Images as surveys publish them, and target lists: Legacy coadd cutouts and tables
(FITS) and HSC arrays (numpy).

The arrays have no positions: those records have ra and dec NaN unless they are given.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aion.errors import DataError
from aion.observation import Image, Scalar
from aion.records import Records
from aion.surveys.tables import open_table

HSC_BAD_BITS = (0, 1, 8)
"""Mask planes BAD, SAT and NO_DATA of the HSC pipeline; the others leave flux valid."""


@dataclass(frozen=True)
class Cutouts:
    """Stamps of a Legacy Surveys coadd cutout.

    Attributes:
        ra, dec: centres of the stamps in degrees; None = the whole cutout is one image.
        size: side of the stamps in pixels; None = the whole cutout.
        object_id: names; made of brick and pixel without.

    A stamp that reaches over the edge is filled with 0 there, not valid.
    """

    ra: Sequence[float] | None = None
    dec: Sequence[float] | None = None
    size: int | None = None
    object_id: Sequence[str] | None = None

    def __call__(self, path: Path, batch: int) -> Iterator[Records]:
        """Stamps in batches.

        Raises:
            DataError: the file has no image with a band and a WCS, or positions and
                names do not go together.
        """
        planes, wcs, brick = _planes(path)
        height, width = planes["image"].shape[1:]
        size = (height, width) if self.size is None else (self.size, self.size)
        if self.ra is None or self.dec is None:
            x, y = np.array([(width - 1) / 2]), np.array([(height - 1) / 2])
            ra, dec = wcs.all_pix2world(x, y, 0)
        else:
            ra, dec = np.asarray(self.ra, float), np.asarray(self.dec, float)
            x, y = wcs.all_world2pix(ra, dec, 0)
        column = np.round(np.asarray(x) - (size[1] - 1) / 2).astype(np.int64)
        row = np.round(np.asarray(y) - (size[0] - 1) / 2).astype(np.int64)
        ids = self.object_id or [
            f"{brick}-{c}-{r}" for c, r in zip(column, row, strict=True)
        ]
        if len(ids) != len(ra):
            raise DataError(
                f"{path}: {len(ids)} names for {len(ra)} positions",
                "Give a name for each position.",
            )
        corners = np.stack([row, column], axis=1)
        for start in range(0, len(ra), batch):
            part = slice(start, start + batch)
            image = _stamps(planes, corners[part], size, wcs)
            yield Records(
                np.array(ids[part], np.str_),
                np.asarray(ra[part], np.float64) % 360.0,
                np.asarray(dec[part], np.float64),
                {"legacy_image": image},
                origin=str(path),
            )


def _planes(path: Path) -> tuple[dict[str, Any], Any, str]:
    from astropy.io import fits
    from astropy.wcs import WCS

    flux, ivar, wcs, brick = {}, {}, None, path.stem
    with fits.open(path, memmap=True) as hdus:
        for hdu in hdus:
            band = hdu.header.get("BAND", "").strip()  # pyright: ignore
            if hdu.data is None or hdu.data.ndim != 2 or not band:  # pyright: ignore
                continue
            kind = hdu.header.get("IMAGETYP", "image").strip()  # pyright: ignore
            planes = ivar if kind == "invvar" else flux
            planes[band] = np.asarray(hdu.data, np.float32)  # pyright: ignore
            brick = hdu.header.get("BRICK", brick)  # pyright: ignore
            if wcs is None and "CTYPE1" in hdu.header:  # pyright: ignore
                wcs = WCS(hdu.header)  # pyright: ignore
    if not flux or wcs is None:
        raise DataError(
            f"{path} has no image with BAND and a WCS",
            "Give a coadd cutout of the Legacy Surveys.",
        )
    shape = next(iter(flux.values())).shape
    weights = [ivar.get(band, np.zeros(shape, np.float32)) for band in flux]
    stacks = {
        "image": np.stack(list(flux.values())),
        "ivar": np.stack(weights),
        "bands": tuple(f"DES-{band.upper()}" for band in flux),
    }
    return stacks, wcs, str(brick).strip()


def _stamps(
    planes: Mapping[str, Any], corners: np.ndarray, size: tuple[int, int], wcs: Any
) -> Image:
    flux, ivar = planes["image"], planes["ivar"]
    shape = (len(corners), len(flux), *size)
    cut, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    frames = []
    for n, (row, column) in enumerate(corners.tolist()):
        low = np.maximum([row, column], 0)
        high = np.minimum([row + size[0], column + size[1]], flux.shape[1:])
        frame = wcs.deepcopy()
        frame.wcs.crpix -= [column, row]
        frames.append(frame)
        if (high <= low).any():
            continue
        here = (slice(low[0], high[0]), slice(low[1], high[1]))
        there = (
            slice(low[0] - row, high[0] - row),
            slice(low[1] - column, high[1] - column),
        )
        cut[n][:, *there], weight[n][:, *there] = flux[:, *here], ivar[:, *here]
    mask = (weight > 0) & np.isfinite(cut)
    return Image.from_bands(cut, planes["bands"], ivar=weight, mask=mask, wcs=frames)


@dataclass(frozen=True)
class HscArrays:
    """HSC stamps saved as arrays: `.npz` with all, or `*_im.npy` with companions.

    The first has `images`, `variance`, `mask` (bits of the pipeline) and `filters`; the
    second one band, with `*_sig.npy` (one sigma) and `*_mask.npy` (1 = bad) beside it.

    Attributes:
        band: band of the second form.
        ra, dec: position in degrees; NaN where not known.
    """

    band: str = "HSC-I"
    ra: float = np.nan
    dec: float = np.nan

    def __call__(self, path: Path, batch: int) -> Iterator[Records]:
        """One record.

        Raises:
            DataError: an array is missing.
        """
        read = _npz if path.suffix == ".npz" else self._npy
        image = read(path)
        ra, dec = np.array([self.ra], float), np.array([self.dec], float)
        name = path.stem.removesuffix("_im")
        yield Records(
            np.array([name]), ra % 360.0, dec, {"hsc_image": image}, origin=str(path)
        )

    def _npy(self, path: Path) -> Image:
        stem = path.stem.removesuffix("_im")
        files = [path, *(path.with_name(f"{stem}_{n}.npy") for n in ("sig", "mask"))]
        for file in files:
            if not file.is_file():
                raise DataError(f"no file {file}", f"It belongs to {path.name}.")
        flux, sigma, bad = (np.load(f, allow_pickle=False)[None, None] for f in files)
        return _image(flux, sigma.astype(np.float64) ** 2, bad == 0, (self.band,))


def _npz(path: Path) -> Image:
    with np.load(path, allow_pickle=False) as file:
        for name in ("images", "variance", "mask", "filters"):
            if name not in file:
                raise DataError(
                    f"{path} has no array {name!r}", f"It has {', '.join(file)}."
                )
        flux, variance, bits = (file[n][None] for n in ("images", "variance", "mask"))
        bands = tuple(f"HSC-{str(name).upper()}" for name in file["filters"])
    bad = sum(1 << bit for bit in HSC_BAD_BITS)
    return _image(flux, variance, (bits & bad) == 0, bands)


def _image(
    flux: Float[np.ndarray, "b c y x"],
    variance: Float[np.ndarray, "b c y x"],
    good: np.ndarray,
    bands: tuple[str, ...],
) -> Image:
    known = np.isfinite(variance) & (variance > 0)
    ivar = np.divide(1.0, variance, out=np.zeros(variance.shape), where=known)
    return Image.from_bands(
        flux.astype(np.float32),
        bands,
        ivar=ivar.astype(np.float32),
        mask=good & known & np.isfinite(flux),
    )


_TARGET_FLUXES = {
    f"legacy_flux_{band.lower()}": f"FLUX_{band}"
    for band in ("G", "R", "Z", "W1", "W2")
}


def read_targets(path: Path, batch: int) -> Iterator[Records]:
    """Rows of DESI's target lists: fluxes of the Legacy Surveys in nanomaggies.

    Objects are named by `TARGETID`, or by their position where there is none.

    Args:
        path: FITS table with RA, DEC and FLUX_*.
        batch: rows per batch.
    """
    table = open_table(path)
    fluxes = {m: c for m, c in _TARGET_FLUXES.items() if c in table.names}
    names = ("TARGETID",) if "TARGETID" in table.names else ("RA", "DEC")
    wanted = [(name, True) for name in names]
    wanted += [(name, False) for name in ("RA", "DEC", *fluxes.values())]
    for piece in table.pieces(batch):
        found = table.read(piece, wanted)
        ids, *rest = (found[name, True] for name in names)
        for part in rest:
            ids = np.char.add(np.char.add(ids, "-"), part)
        ra, dec = (np.asarray(found[name, False]) for name in ("RA", "DEC"))
        values = {m: Scalar(found[c, False]) for m, c in fluxes.items()}
        values |= {"ra": Scalar(ra), "dec": Scalar(dec)}
        yield Records(ids, ra % 360.0, dec, values, origin=str(path))
