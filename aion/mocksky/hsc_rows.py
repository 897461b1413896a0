# SPDX-License-Identifier: MIT
"""What HSC's files say of a scene, by their column names."""

import numpy as np

from aion.mocksky.blocks import Scene
from aion.mocksky.camera import HSC
from aion.mocksky.dust import band_extinction
from aion.mocksky.identifiers import survey_ids
from aion.mocksky.moments import Moments, hsc_moments, psf_moments
from aion.mocksky.objects import KINDS
from aion.mocksky.stamps import Stamps, hsc_stamps

NANOJANSKY = 3630.7805
"""Of one nanomaggy (AB)."""
FAINTEST = 30.0
"""Magnitude given to fluxes that are not positive, where the files have none."""


def hsc_rows(
    scene: Scene, rng: np.random.Generator, size: int = 160
) -> tuple[dict[str, np.ndarray], Stamps]:
    """Columns of `aion.layouts.HSC` for a scene, and its stamps.

    Args:
        scene: b objects.
        rng: dice of HSC.
        size: side of the stamps in pixels.
    """
    objects = scene.objects
    ra, dec = scene.positions("hsc", rng)
    flux, sigma = scene.measured(HSC.bands)
    true = scene.true(HSC.bands)
    stamps = hsc_stamps(objects, true, scene.conditions, rng, size, scene.neighbours)
    moments = hsc_moments(objects, true, scene.conditions, rng, HSC.bands)
    points = psf_moments(stamps.psf_fwhm.astype(np.float64))
    columns = {
        "object_id": survey_ids("hsc", objects),
        "ra": ra,
        "dec": dec,
        "healpix": objects.cell,
        "image_array": stamps.flux,
        "image_ivar": stamps.ivar,
        "image_mask": stamps.mask,
        "image_psf_fwhm": stamps.psf_fwhm,
    }
    shade = band_extinction(HSC.bands)
    point = objects.kind != KINDS.index("GALAXY")
    positive = np.maximum(flux, 10 ** (-0.4 * (FAINTEST - 22.5)))
    for place, name in enumerate(HSC.bands):
        band = name.removeprefix("HSC-").lower()
        columns |= {
            f"a_{band}": shade[place] * objects.ebv,
            f"{band}_extendedness_value": np.where(point, 0.0, 1.0),
            f"{band}_variance_value": _sky_variance(stamps, place),
            f"{band}_cmodel_mag": 22.5 - 2.5 * np.log10(positive[:, place]),
            f"{band}_cmodel_magerr": 2.5
            / np.log(10)
            * sigma[:, place]
            / positive[:, place],
            f"{band}_cmodel_flux": flux[:, place] * NANOJANSKY,
            f"{band}_cmodel_fluxerr": sigma[:, place] * NANOJANSKY,
        }
        columns |= _moments(f"{band}_sdssshape", moments, place)
        columns |= _moments(f"{band}_sdssshape_psf", points, place)
    return columns, stamps


def _sky_variance(stamps: Stamps, place: int) -> np.ndarray:
    """Variance of a pixel without sources, counts^2."""
    best = stamps.ivar[:, place].max(axis=(1, 2))
    return 1 / np.maximum(best, 1e-12)


def _moments(name: str, moments: Moments, place: int) -> dict[str, np.ndarray]:
    axes = {"11": moments.xx, "22": moments.yy, "12": moments.xy}
    return {f"{name}_shape{axis}": values[:, place] for axis, values in axes.items()}
