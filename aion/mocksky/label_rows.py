# SPDX-License-Identifier: MIT
"""Labels of a scene: galaxy properties as PROVABGS has them, classes as Galaxy10's.

They are the truth with the errors that such labels have, not the result of a fit to the
mock data or of looking at mock images.
"""

import numpy as np

from aion.mocksky.blocks import Scene
from aion.mocksky.galaxies import galaxy_labels
from aion.mocksky.identifiers import survey_ids
from aion.mocksky.objects import KINDS
from aion.mocksky.rgb import legacy_rgb
from aion.mocksky.shapes import whole_profile
from aion.mocksky.stamps import LegacyStamps

POSTERIORS = 100
PARAMETERS = 13
"""Draws and parameters of `PROVABGS_MCMC`. The first parameter is log stellar mass, the
last two are metallicity and dust; those between, of the star formation history, are
zero here."""
_ERRORS = {"LOGMSTAR": 0.08, "Z_MW": 0.12, "TAGE_MW": 0.10, "AVG_SFR": 0.25}

CLASSES = (
    "Disturbed",
    "Merging",
    "Round Smooth",
    "In-between Round Smooth",
    "Cigar Shaped Smooth",
    "Barred Spiral",
    "Unbarred Tight Spiral",
    "Unbarred Loose Spiral",
    "Edge-on without Bulge",
    "Edge-on with Bulge",
)
"""Galaxy10's classes; those that need structure which the mock sky does not have
(disturbed, merging, barred) are given to none."""
PICTURE = 256


def provabgs_rows(scene: Scene, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of `aion.layouts.PROVABGS` for the galaxies of a scene.

    Args:
        scene: b galaxies and nothing else.
        rng: dice of labels.
    """
    objects, count = scene.objects, len(scene)
    labels = galaxy_labels(objects, scene.families["GALAXY"])
    noise = dict(zip(_ERRORS, rng.standard_normal((4, count)), strict=True))
    mass = labels["LOGMSTAR"] + _ERRORS["LOGMSTAR"] * noise["LOGMSTAR"]
    scaled = {
        name: labels[name] * np.exp(_ERRORS[name] * noise[name])
        for name in ("Z_MW", "TAGE_MW", "AVG_SFR")
    }
    best = np.zeros((count, PARAMETERS))
    best[:, 0] = mass
    best[:, -2] = np.log10(np.maximum(scaled["Z_MW"], 1e-6))
    draws = np.repeat(best[:, None], POSTERIORS, axis=1)
    spread = np.zeros(PARAMETERS)
    spread[0], spread[-2] = _ERRORS["LOGMSTAR"], _ERRORS["Z_MW"] / np.log(10)
    draws += spread * rng.standard_normal(draws.shape)
    names = ("DES-G", "DES-R", "DES-Z", "WISE-W1")
    magnitudes = 22.5 - 2.5 * np.log10(np.maximum(scene.measured(names)[0], 1e-3))
    ra, dec = scene.positions("desi", rng)
    return scaled | {
        "object_id": survey_ids("desi", objects),
        "ra": ra,
        "dec": dec,
        "healpix": objects.cell,
        "PROVABGS_MCMC": draws,
        "PROVABGS_THETA_BF": best,
        "PROVABGS_LOGMSTAR_BF": mass,
        "Z_HP": objects.redshift,
        "ZERR": np.full(count, 2e-5),
        "MAG_G": magnitudes[:, 0],
        "MAG_R": magnitudes[:, 1],
        "MAG_Z": magnitudes[:, 2],
        "MAG_W1": magnitudes[:, 3],
        "FIBMAG_R": magnitudes[:, 1] + 0.7,
    }


def galaxy_class(scene: Scene) -> np.ndarray:
    """Index into `CLASSES` of each galaxy, by its true shape, uint8 [b]."""
    objects = scene.objects
    profile = whole_profile(objects)
    ratio, bulge = profile.axis_ratio, objects.bulge_fraction
    smooth = np.select([ratio > 0.8, ratio > 0.45], [2, 3], 4)
    disk = np.select([ratio < 0.3, bulge > 0.25], [np.where(bulge > 0.15, 9, 8), 6], 7)
    return np.where(profile.sersic > 2.2, smooth, disk).astype(np.uint8)


def gz10_rows(scene: Scene, stamps: LegacyStamps) -> dict[str, np.ndarray]:
    """Columns of `aion.layouts.GZ10` for the galaxies of a scene.

    Args:
        scene: b galaxies and nothing else.
        stamps: theirs; the picture is repeated at its edges up to 256 pixels.
    """
    size = stamps.flux.shape[-1]
    low = max((PICTURE - size) // 2, 0)
    edge = (low, max(PICTURE - size - low, 0))
    picture = np.pad(legacy_rgb(stamps.flux), ((0, 0), edge, edge, (0, 0)), "reflect")
    return {
        "ans": galaxy_class(scene),
        "ra": scene.objects.ra,
        "dec": scene.objects.dec,
        "healpix": scene.objects.cell,
        "images": picture[:, :PICTURE, :PICTURE],
        "redshift": scene.objects.redshift,
        "object_id": scene.objects.number,
    }


def is_galaxy(scene: Scene) -> np.ndarray:
    """Which objects can have labels, bool [b]."""
    return scene.objects.kind == KINDS.index("GALAXY")
