# SPDX-License-Identifier: MIT
"""What the files of SDSS and DESI say of a scene, by their column names."""

import numpy as np

from aion.mocksky.blocks import Scene
from aion.mocksky.fibres import fibre_fraction
from aion.mocksky.identifiers import sdss_fibres, survey_ids
from aion.mocksky.objects import KINDS
from aion.mocksky.pipelines import measure_dispersion, measure_redshifts
from aion.mocksky.spectrographs import ObservedSpectra, observe_desi, observe_sdss

SLOAN = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
TARGETING = ("DES-G", "DES-R", "DES-Z")
FIBRE, SEEING = 1.5, 1.1
"""DESI's fibre diameter and the seeing of the image it is imagined in, arcsec."""


def _spectrum(seen: ObservedSpectra) -> dict[str, np.ndarray]:
    shape = seen.flux.shape
    return {
        "spectrum_flux": seen.flux,
        "spectrum_ivar": seen.ivar,
        "spectrum_lambda": np.broadcast_to(seen.wavelength, shape),
        "spectrum_lsf_sigma": np.broadcast_to(seen.lsf_sigma, shape),
        "spectrum_mask": seen.mask_bad,
    }


def sdss_rows(
    scene: Scene, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], ObservedSpectra]:
    """Columns of `aion.layouts.SDSS` for a scene, and its spectra.

    Spectra are as long as the longest of the block. `SPECTROFLUX` is the light in the
    fibre as the spectrum has it, `SPECTROSYNFLUX` its noiseless counterpart.

    Args:
        scene: b objects.
        rng: dice of SDSS.
    """
    objects, count = scene.objects, len(scene)
    ra, dec = scene.positions("sdss", rng)
    seen = observe_sdss(scene.spectra, objects, scene.conditions, rng)
    signal = seen.signal_to_noise()
    redshifts = measure_redshifts(objects, signal, "sdss", rng)
    dispersion, error = measure_dispersion(objects, signal, rng)
    light = scene.true(SLOAN) * seen.fraction[:, None]
    sigma = np.hypot(scene.conditions.of(SLOAN, "depth"), 0.03 * light)
    columns = sdss_fibres(objects) | {
        "object_id": survey_ids("sdss", objects),
        "ra": ra,
        "dec": dec,
        "healpix": objects.cell,
        "SURVEY": np.where(seen.instrument == "BOSS", "boss", "sdss"),
        "INSTRUMENT": seen.instrument,
        "CLASS": np.array(KINDS)[objects.kind],
        "Z": redshifts.z,
        "Z_ERR": redshifts.error,
        "ZWARNING": redshifts.warning,
        "VDISP": dispersion,
        "VDISP_ERR": error,
        "SN_MEDIAN_ALL": signal,
        "SPECTROFLUX": light + sigma * rng.standard_normal((count, 5)),
        "SPECTROFLUX_IVAR": sigma**-2.0,
        "SPECTROSYNFLUX": light,
        "SPECTROSYNFLUX_IVAR": sigma**-2.0,
    }
    return columns | _spectrum(seen), seen


def desi_rows(
    scene: Scene, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], ObservedSpectra]:
    """Columns of `aion.layouts.DESI` for a scene, and its spectra.

    Args:
        scene: b objects.
        rng: dice of DESI.
    """
    objects, count = scene.objects, len(scene)
    ra, dec = scene.positions("desi", rng)
    seen = observe_desi(scene.spectra, objects, scene.conditions, rng)
    redshifts = measure_redshifts(objects, seen.signal_to_noise(), "desi", rng)
    flux, sigma = scene.measured(TARGETING)
    fibre = flux * fibre_fraction(objects, FIBRE, SEEING)[:, None] * 0.78
    columns = {
        "object_id": survey_ids("desi", objects),
        "ra": ra,
        "dec": dec,
        "healpix": objects.cell,
        "SURVEY": np.full(count, "sv3"),
        "PMRA": objects.pm_ra,
        "PMDEC": objects.pm_dec,
        "SPECTYPE": np.array(KINDS)[objects.kind],
        "Z": redshifts.z,
        "ZERR": redshifts.error,
        "ZWARN": redshifts.warning,
        "EBV": objects.ebv,
    }
    for place, band in enumerate("GRZ"):
        columns |= {
            f"FLUX_{band}": flux[:, place],
            f"FLUX_IVAR_{band}": sigma[:, place] ** -2.0,
            f"FIBERFLUX_{band}": fibre[:, place],
            f"FIBERTOTFLUX_{band}": fibre[:, place],
        }
    lsf = np.broadcast_to(seen.lsf, (count, *np.shape(seen.lsf)))
    return columns | _spectrum(seen) | {"spectrum_lsf": lsf}, seen
