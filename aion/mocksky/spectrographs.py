# SPDX-License-Identifier: MIT
"""What the spectrographs of DESI and SDSS see of a spectrum on `grids.OBSERVED`.

The light an object sends into a fibre is blurred by the line spread function and summed
in pixels (`linespread`), then noise is added: photons of object and sky, and read-out
noise, with k electrons for each unit of flux in a pixel,

    variance = (max(flux, 0) + sky) / k + read_noise^2 / k^2 + (residual sky)^2.

k is that of `fibre_cameras` times the exposure: DESI's main survey aims at 1,000 s in
the dark and 180 s in bright time (Schlafly et al. 2023).

Not realistic: no error of flux calibration; noise of neighbouring pixels is independent
(of imperfectly subtracted sky lines too); the line spread function is the same in all
fibres.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aion.errors import DataError
from aion.mocksky.fibre_cameras import Spectrograph, boss, desi, sdss
from aion.mocksky.fibres import fibre_fraction
from aion.mocksky.grids import OBSERVED, OPTICAL_SIZE
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.sky import Conditions

DARK, BRIGHT = 1.0, 0.18
"""Effective exposures of DESI over 1,000 s."""
BRIGHT_LIMIT = 19.5
"""Stars and galaxies brighter than this are observed in bright time (DESI's BGS)."""
BOSS_LIMITS = {"STAR": 18.5, "GALAXY": 17.77, "QSO": 19.1}
"""Fainter objects were observed with BOSS's camera, the others with SDSS's first."""


@dataclass(frozen=True, eq=False)
class ObservedSpectra:
    """Spectra as a survey's files hold them, float32. Rows of unequal length end in
    padding: wavelength -1, ivar 0, mask_bad True, the others repeat their last value.

    Attributes:
        flux: 1e-17 erg/s/cm2/Angstrom, calibrated on stars, [b, l].
        ivar: the true inverse variance of flux; 0 in bad pixels, [b, l].
        mask_bad: True = bad (the opposite of `aion.Spectrum`), [b, l].
        wavelength: vacuum, Angstrom, [l] or [b, l].
        lsf_sigma: of the line spread function, in pixels, [l] or [b, l].
        truth: noiseless flux in the same pixels, [b, l].
        length: pixels before the padding, [b].
        fraction: of the object's light (over a star's) in the fibre, [b].
        instrument: names, [b].
        lsf: diagonals of the resolution matrix, [11, l]; None where a survey has none.
    """

    flux: np.ndarray
    ivar: np.ndarray
    mask_bad: np.ndarray
    wavelength: np.ndarray
    lsf_sigma: np.ndarray
    truth: np.ndarray
    length: np.ndarray
    fraction: np.ndarray
    instrument: np.ndarray
    lsf: np.ndarray | None = None

    def signal_to_noise(self) -> np.ndarray:
        """Median over good pixels of flux over its error, [b]."""
        ratio = np.where(self.mask_bad, np.nan, self.flux * np.sqrt(self.ivar))
        return np.nanmedian(ratio[:, ::5], axis=1)


def observe_desi(
    spectra: Float[np.ndarray, "b n"],
    objects: Objects,
    conditions: Conditions,
    rng: np.random.Generator,
) -> ObservedSpectra:
    """DESI's coadds of some objects.

    Args:
        spectra: noiseless flux density on `OBSERVED`, 1e-17 erg/s/cm2/Angstrom, [b, n].
        objects: b objects, for their sizes and magnitudes.
        conditions: of their cell; `sky` scales the brightness of the night.
        rng: dice.

    Returns:
        7,781 pixels of every object.

    Raises:
        DataError: `spectra` is not on `OBSERVED`, or not one per object.
    """
    kind = np.array(KINDS)[objects.kind]
    bright = (objects.magnitude < BRIGHT_LIMIT) & (kind != "QSO")
    exposure = np.where(bright, BRIGHT, DARK) * np.exp(rng.normal(0, 0.1, len(objects)))
    return observe_with(desi(), spectra, objects, conditions, exposure, rng)


def observe_sdss(
    spectra: Float[np.ndarray, "b n"],
    objects: Objects,
    conditions: Conditions,
    rng: np.random.Generator,
) -> ObservedSpectra:
    """SDSS's and BOSS's spectra of some objects, by their brightness.

    Args:
        spectra, objects, conditions, rng: as for `observe_desi`.

    Returns:
        as many pixels as the longest spectrum has; the others are padded. `instrument`
        tells which camera.

    Raises:
        DataError: `spectra` is not on `OBSERVED`, or not one per object.
    """
    count = len(objects)
    exposure = np.exp(rng.normal(0, 0.12, count))
    trim = rng.integers(0, 6, count)
    limit = np.array([BOSS_LIMITS[kind] for kind in KINDS])[objects.kind]
    faint = objects.magnitude > limit
    parts, rows = [], []
    for camera, chosen in ((sdss(), ~faint), (boss(), faint)):
        if chosen.any() or camera.name == "SDSS":
            row = np.flatnonzero(chosen)
            rows.append(row)
            parts.append(
                observe_with(
                    camera,
                    spectra[row],
                    objects.take(row),
                    conditions,
                    exposure[row],
                    rng,
                )
            )
    return _padded(parts, np.concatenate(rows), trim)


def observe_with(
    camera: Spectrograph,
    spectra: np.ndarray,
    objects: Objects,
    conditions: Conditions,
    exposure: np.ndarray,
    rng: np.random.Generator,
) -> ObservedSpectra:
    """Spectra of some objects by any spectrograph.

    Args:
        camera: which.
        spectra, objects, conditions, rng: as for `observe_desi`.
        exposure: of each object, over the nominal one, [b].

    Raises:
        DataError: `spectra` is not on `OBSERVED`, or not one per object.
    """
    if spectra.shape != (len(objects), len(OBSERVED)):
        raise DataError(
            f"spectra of shape {spectra.shape} for {len(objects)} objects",
            f"Give one row per object on grids.OBSERVED ({len(OBSERVED)} points).",
        )
    fraction = fibre_fraction(objects, camera.fibre, camera.seeing)
    light = spectra[:, :OPTICAL_SIZE].astype(np.float32, copy=False)
    truth = np.ascontiguousarray((camera.matrix @ np.ascontiguousarray(light.T)).T)
    truth *= fraction.astype(np.float32)[:, None]
    factor = (1 / exposure).astype(np.float32)[:, None]
    sky, read = conditions.sky * camera.sky, camera.read_variance / camera.electrons
    per_electron = (1 / camera.electrons).astype(np.float32)
    # (flux + sky) / (k t) + read / (k t)^2, with few passes over memory.
    variance = np.maximum(truth, 0)
    variance += sky.astype(np.float32) + read.astype(np.float32) * factor
    variance *= per_electron * factor
    variance += (camera.sky_residual * sky.astype(np.float32)) ** 2
    ivar = 1 / variance
    flux = rng.standard_normal(truth.shape, dtype=np.float32)
    flux *= np.sqrt(variance, out=variance)
    flux += truth
    mask = np.broadcast_to(sky > camera.bright_sky * np.median(sky), truth.shape).copy()
    _hit(camera, flux, ivar, mask, rng)
    return ObservedSpectra(
        flux=flux,
        ivar=ivar,
        mask_bad=mask,
        wavelength=camera.wavelength.astype(np.float32),
        lsf_sigma=_file_sigma(camera),
        truth=truth,
        length=np.full(len(objects), len(camera.wavelength)),
        fraction=fraction,
        instrument=np.full(len(objects), camera.name),
        lsf=camera.bands if camera.name == "DESI" else None,
    )


def _file_sigma(camera: Spectrograph) -> np.ndarray:
    """DESI's files have one Gaussian for all pixels, SDSS's one for each."""
    sigma = camera.sigma.astype(np.float32)
    return np.full_like(sigma, sigma.mean()) if camera.name == "DESI" else sigma


def _hit(
    camera: Spectrograph,
    flux: np.ndarray,
    ivar: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Cosmic rays and bad columns: up to three pixels of excess light, in place."""
    count, pixels = flux.shape
    hits = rng.poisson(camera.hits * count)
    row, start = rng.integers(0, count, hits), rng.integers(0, pixels, hits)
    width, excess = rng.integers(1, 4, hits), rng.exponential(6.0, hits)
    for more in range(3):
        reached = (width > more) & (start + more < pixels)
        where = row[reached], start[reached] + more
        noise = 1 / np.sqrt(np.where(ivar[where] > 0, ivar[where], 1.0))
        flux[where] += (excess[reached] * noise).astype(np.float32)
        ivar[where] = 0
        mask[where] = True


def _padded(
    parts: list[ObservedSpectra], rows: np.ndarray, trim: np.ndarray
) -> ObservedSpectra:
    """Spectra of several cameras in one table, `trim` pixels off their end."""
    longest = max(len(part.wavelength) for part in parts)
    back = np.argsort(rows)
    length = np.concatenate([part.length for part in parts])[back] - trim

    def table(name: str) -> np.ndarray:
        values = [getattr(part, name) for part in parts]
        wide = [
            np.broadcast_to(value, (len(part.length), len(part.wavelength)))
            for part, value in zip(parts, values, strict=True)
        ]
        padded = [
            np.pad(value, ((0, 0), (0, longest - value.shape[1]))) for value in wide
        ]
        return np.concatenate(padded)[back]

    columns = {
        name: table(name)
        for name in ("flux", "ivar", "mask_bad", "wavelength", "lsf_sigma", "truth")
    }
    beyond = np.arange(longest) >= length[:, None]
    last = length[:, None] - 1
    for name in ("flux", "lsf_sigma", "truth"):
        end = np.take_along_axis(columns[name], last, axis=1)
        columns[name] = np.where(beyond, end, columns[name])
    columns["wavelength"][beyond] = -1
    columns["ivar"][beyond] = 0
    columns["mask_bad"][beyond] = True
    return ObservedSpectra(
        **columns,
        length=length,
        fraction=np.concatenate([part.fraction for part in parts])[back],
        instrument=np.concatenate([part.instrument for part in parts])[back],
    )
