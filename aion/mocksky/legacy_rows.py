# SPDX-License-Identifier: MIT
"""What the Legacy Surveys' files say of a scene, by their column names."""

from collections.abc import Sequence

import numpy as np

from aion.instrument import BANDS
from aion.mocksky.blocks import Scene
from aion.mocksky.dust import band_extinction
from aion.mocksky.identifiers import brick_names, survey_ids
from aion.mocksky.shapes import TYPES, Shapes, legacy_shapes
from aion.mocksky.stamps import LegacyStamps, legacy_stamps

OPTICAL = ("G", "R", "I", "Z")
ALL = (*OPTICAL, "W1", "W2", "W3", "W4")
PICTURES = ("image_rgb", "blobmodel", "object_mask")
NAMES = tuple(name for name in BANDS if name.startswith(("DES-", "WISE-")))


def legacy_rows(
    scene: Scene, rng: np.random.Generator, size: int = 160
) -> tuple[dict[str, np.ndarray], LegacyStamps]:
    """Columns of `aion.layouts.LEGACY` for a scene, and its stamps.

    Args:
        scene: b objects.
        rng: dice of the Legacy Surveys.
        size: side of the stamps in pixels.
    """
    objects, count = scene.objects, len(scene)
    ra, dec = scene.positions("legacy", rng)
    flux, sigma = scene.measured(NAMES)
    griz = scene.true(NAMES[:4])
    shapes = legacy_shapes(objects, griz, scene.conditions, rng)
    stamps = legacy_stamps(
        objects,
        griz,
        scene.conditions,
        rng,
        size,
        scene.neighbours,
        shapes,
        flux[:, :4],
    )
    columns = {
        "object_id": survey_ids("legacy", objects),
        "gid": objects.number,
        "ra": ra,
        "dec": dec,
        "healpix": objects.cell,
        "BRICKNAME": brick_names(objects.ra, objects.dec),
        "OBJID": objects.number,
        "TYPE": np.array(TYPES)[shapes.type],
        "EBV": objects.ebv,
        "image_array": stamps.flux,
        "image_ivar": stamps.ivar,
        "image_mask": stamps.mask,
        "image_psf_fwhm": stamps.psf_fwhm,
    }
    columns |= _shape_columns(scene, shapes)
    shade = 10 ** (-0.4 * band_extinction(NAMES) * objects.ebv[:, None])
    for place, band in enumerate(ALL):
        columns |= {
            f"FLUX_{band}": flux[:, place],
            f"FLUX_IVAR_{band}": sigma[:, place] ** -2.0,
            f"MW_TRANSMISSION_{band}": shade[:, place],
        }
    for place, band in enumerate(OPTICAL):
        columns[f"NOBS_{band}"] = np.full(count, 3)
        columns[f"PSFSIZE_{band}"] = stamps.psf_fwhm[:, place]
    return columns | {f"catalog_{k}": v for k, v in stamps.catalog.items()}, stamps


def _shape_columns(scene: Scene, shapes: Shapes) -> dict[str, np.ndarray]:
    """The fitted shapes with the errors of `shapes.fitted_shapes`."""
    flux, sigma = scene.measured(NAMES[1:2])
    error = 1 / np.maximum(flux[:, 0] / sigma[:, 0], 3.0)
    point = shapes.type == TYPES.index("PSF")
    size = (1.5 * error * shapes.radius + 1e-3) ** -2
    return {
        "SHAPE_R": shapes.radius,
        "SHAPE_R_IVAR": np.where(point, 0, size),
        "SHAPE_E1": shapes.e1,
        "SHAPE_E1_IVAR": np.where(point, 0, error**-2),
        "SHAPE_E2": shapes.e2,
        "SHAPE_E2_IVAR": np.where(point, 0, error**-2),
        "SERSIC": _sersic(shapes.type, scene.objects.bulge_fraction),
        "SERSIC_IVAR": np.zeros(len(scene)),
    }


def legacy_pictures(
    stamps: LegacyStamps, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Columns of pictures and of the segmentation.

    Args:
        stamps: whose.
        names: out of `PICTURES`.
    """
    of = {"image_rgb": "rgb", "blobmodel": "blobmodel", "object_mask": "object_mask"}
    return {name: getattr(stamps, of[name]) for name in names}


def _sersic(kind: np.ndarray, bulge: np.ndarray) -> np.ndarray:
    """Index of the fitted profile: fixed by its type, free for SER."""
    fixed = np.array([0.0, 0.0, 1.0, 1.0, 4.0, 0.0, 0.0])[kind]
    return np.where(kind == TYPES.index("SER"), 0.8 + 4.0 * bulge, fixed)
