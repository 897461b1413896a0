# SPDX-License-Identifier: MIT
"""Spectra as DESI and SDSS publish them: coadd and spec files (FITS)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aion.errors import DataError
from aion.layouts import DESI_GRID
from aion.observation import Category, Observation, Scalar, Spectrum
from aion.records import Records
from aion.surveys.columns import as_texts
from aion.surveys.recipes import native, resolving_power

ARMS = ("B", "R", "Z")
_STEP = 0.8
_TOLERANCE = 1e-3
"""How far a pixel of an arm may be from the common grid, Angstrom."""


def read_desi_coadd(path: Path, batch: int) -> Iterator[Records]:
    """Spectra of a DESI coadd file, its three arms on one grid.

    Where arms overlap, pixels are averaged with their inverse variances; masked pixels
    do not count. The redshift is that of `redrock-*.fits` beside it, if it is there.

    Args:
        path: `coadd-*.fits` with extensions FIBERMAP and, per arm, WAVELENGTH, FLUX,
            IVAR, MASK and perhaps RESOLUTION.
        batch: spectra per batch.

    Raises:
        DataError: an arm is not on the grid 3600 + 0.8 k.
    """
    from astropy.io import fits

    fitted = _redrock(path)
    with fits.open(path, memmap=True) as hdus:
        table = hdus["FIBERMAP"].data  # pyright: ignore
        ids = native(np.asarray(table["TARGETID"]))
        for start in range(0, len(ids), batch):
            rows = slice(start, start + batch)
            spectrum = _one_grid(hdus, rows, str(path))
            found: dict[str, Observation] = {"desi_spectrum": spectrum}
            found |= _fits_of(ids[rows], fitted)
            for name in ("ra", "dec"):
                place = native(np.asarray(table[f"TARGET_{name.upper()}"][rows]))
                found[name] = Scalar(place.astype(np.float64))
            yield Records(
                ids[rows].astype(np.str_),
                found["ra"].values % 360.0,  # pyright: ignore
                found["dec"].values,  # pyright: ignore
                found,
                origin=str(path),
            )


def _one_grid(hdus: Any, rows: slice, where: str) -> Spectrum:
    count = len(hdus["B_FLUX"].data[rows])
    weight = np.zeros((count, len(DESI_GRID)))
    total, covered = np.zeros_like(weight), np.zeros(len(DESI_GRID), bool)
    sigma = np.zeros_like(weight)
    for arm in ARMS:
        wavelength = np.asarray(hdus[f"{arm}_WAVELENGTH"].data, np.float64)
        place = np.round((wavelength - DESI_GRID[0]) / _STEP).astype(np.int64)
        ok = place.min() >= 0 and place.max() < len(DESI_GRID)
        if not ok or np.abs(DESI_GRID[place] - wavelength).max() > _TOLERANCE:
            raise DataError(
                f"{where}: arm {arm} is not on the grid 3600 + 0.8 k Angstrom",
                "Give a coadd of DESI's spectroscopic pipeline.",
            )
        flux, ivar, mask = (
            np.asarray(hdus[f"{arm}_{name}"].data[rows])
            for name in ("FLUX", "IVAR", "MASK")
        )
        good = np.where((mask == 0) & np.isfinite(flux), ivar, 0.0)
        total[:, place] += good * np.where(good > 0, flux, 0.0)
        weight[:, place] += good
        covered[place] = True
        if f"{arm}_RESOLUTION" in hdus:
            sigma[:, place] = line_width(
                np.asarray(hdus[f"{arm}_RESOLUTION"].data[rows])
            )
    flux = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    power = resolving_power(DESI_GRID, sigma) if sigma.any() else None
    return Spectrum(
        flux.astype(np.float32),
        weight.astype(np.float32),
        (weight > 0) & covered,
        DESI_GRID.copy(),
        power,
    )


def line_width(
    resolution: Float[np.ndarray, "b d l"],
) -> Float[np.ndarray, "b l"]:
    """Standard deviation in pixels of the rows of a resolution matrix.

    That of the Gaussian with the same share of the light in the middle pixel, which
    the negative wings of a spectroperfect extraction do not spoil.
    """
    from scipy.special import erfinv

    middle = resolution.shape[1] // 2
    share = resolution[:, middle] / resolution.sum(axis=1)
    inside = np.clip(share, 0.05, 0.999)
    return 0.5 / (np.sqrt(2) * erfinv(inside))


def _redrock(path: Path) -> Mapping[str, np.ndarray]:
    from astropy.io import fits

    beside = path.with_name(path.name.replace("coadd-", "redrock-", 1))
    if beside == path or not beside.is_file():
        return {}
    with fits.open(beside) as hdus:
        table = hdus["REDSHIFTS"].data  # pyright: ignore
        names = ("TARGETID", "Z", "ZERR", "ZWARN", "SPECTYPE")
        return {name: native(np.array(table[name])) for name in names}


def _fits_of(
    ids: np.ndarray, fitted: Mapping[str, np.ndarray]
) -> dict[str, Observation]:
    """Redshifts of targets, joined by id; targets without a fit are NaN."""
    if not fitted:
        return {}
    order = np.argsort(fitted["TARGETID"], kind="stable")
    known = fitted["TARGETID"][order]
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    there, row = known[at] == ids, order[at]
    warned = np.where(fitted["ZWARN"][row] == 0, "good", "warned")
    return {
        "redshift": Scalar(
            np.where(there, fitted["Z"][row], np.nan),
            np.where(there, fitted["ZERR"][row], np.nan),
        ),
        "redshift_quality": Category(np.where(there, warned, "")),
        "desi_class": Category(np.where(there, as_texts(fitted["SPECTYPE"][row]), "")),
    }


def read_sdss_spec(path: Path, batch: int) -> Iterator[Records]:
    """The spectrum of an SDSS, BOSS or eBOSS spec file.

    Valid pixels are those the archive's own selection takes: `and_mask` 0 and inverse
    variance above 1e-6. `wdisp` is the width of the line spread function in pixels.

    Args:
        path: `spec-*.fits`, the coadd in the first extension, redshift in the second.
        batch: not used, a file has one spectrum.
    """
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        coadd, fit = hdus[1].data, hdus[2].data  # pyright: ignore
        pixels = {
            name.lower(): native(np.array(coadd[name]))[None]
            for name in coadd.dtype.names
        }
        row = {
            name: native(np.array(fit[name]))
            for name in fit.dtype.names
            if name in _SPEC_COLUMNS
        }
    wavelength = 10 ** pixels["loglam"][0].astype(np.float64)
    ivar = pixels["ivar"]
    spectrum = Spectrum(
        pixels["flux"],
        ivar,
        (pixels["and_mask"] == 0) & (ivar > 1e-6),
        wavelength,
        resolving_power(wavelength, pixels["wdisp"]),
    )
    ra, dec = (row[name].astype(np.float64) for name in ("PLUG_RA", "PLUG_DEC"))
    found: dict[str, Observation] = {
        "sdss_spectrum": spectrum,
        "redshift": Scalar(row["Z"], row["Z_ERR"]),
        "redshift_quality": Category(np.where(row["ZWARNING"] == 0, "good", "warned")),
        "sdss_class": Category(as_texts(row["CLASS"])),
        "ra": Scalar(ra),
        "dec": Scalar(dec),
    }
    ids = as_texts(row["SPECOBJID"])
    yield Records(ids, ra % 360.0, dec, found, origin=str(path))


_SPEC_COLUMNS = (
    "SPECOBJID",
    "PLUG_RA",
    "PLUG_DEC",
    "Z",
    "Z_ERR",
    "ZWARNING",
    "CLASS",
)
