# SPDX-License-Identifier: MIT
"""A block of the sky as all surveys see it: columns of their files, and the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from aion.mocksky.blocks import Scene, make_scene
from aion.mocksky.fibre_rows import desi_rows, sdss_rows
from aion.mocksky.gaia import GAIA_BANDS, gaia_chance, gaia_magnitudes
from aion.mocksky.gaia_rows import gaia_rows, star_parameters
from aion.mocksky.galaxies import galaxy_labels
from aion.mocksky.hsc_rows import hsc_rows
from aion.mocksky.identifiers import survey_ids
from aion.mocksky.label_rows import gz10_rows, is_galaxy, provabgs_rows
from aion.mocksky.legacy_rows import PICTURES, legacy_pictures, legacy_rows
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.population import Population
from aion.mocksky.quasars import forest
from aion.mocksky.sky import BAND_NAMES, Block
from aion.mocksky.threads import one_thread

SURVEYS = ("legacy", "hsc", "sdss", "desi", "gaia")
LABELS = ("desi_provabgs", "gz10")

Columns = Mapping[str, np.ndarray]

# Observed magnitudes within which a survey holds an object: Legacy z < 21 and HSC i <
# 22.5 as in the archive, SDSS and DESI as deep as their spectra, and not saturated.
_LIMITS = {
    "legacy": ("DES-Z", 12.0, 21.0),
    "hsc": ("HSC-I", 14.5, 22.5),
    "sdss": ("SDSS-R", 13.0, 20.0),
    "desi": ("DES-R", 14.0, 22.7),
}


@dataclass(frozen=True, eq=False)
class Seen:
    """One block as everybody sees it.

    Attributes:
        scene: what was there.
        columns: of each survey's files, by survey; only of the objects it holds.
        members: which objects each survey holds, by survey, bool [b].
    """

    scene: Scene
    columns: Mapping[str, Columns]
    members: Mapping[str, np.ndarray]


def members(scene: Scene, survey: str, rng: np.random.Generator) -> np.ndarray:
    """Which objects a survey holds, bool [b].

    Args:
        scene: b objects.
        survey: one of `SURVEYS` or `LABELS`.
        rng: dice of the survey; only Gaia throws them.
    """
    if survey == "gaia":
        magnitude = gaia_magnitudes(scene.true(GAIA_BANDS))[:, 0]
        chance = gaia_chance(scene.objects, magnitude)
        return rng.random(len(scene)) < chance
    if survey in LABELS:
        labelled = is_galaxy(scene)
        faint = {"desi_provabgs": 20.2, "gz10": 17.8}[survey]
        return labelled & (scene.objects.magnitude < faint)
    band, bright, faint = _LIMITS[survey]
    flux = scene.measured((band,))[0][:, 0]
    low, high = (10 ** (-0.4 * (m - 22.5)) for m in (faint, bright))
    return (flux >= low) & (flux <= high)


@one_thread
def observe_block(
    population: Population,
    block: Block,
    surveys: Sequence[str] = SURVEYS,
    *,
    size: int = 160,
    everywhere: bool = False,
    pictures: Sequence[str] = PICTURES,
) -> Seen:
    """All that surveys record of a block; a pure function of sky and block.

    Args:
        population: who lives on the sky.
        block: of `population.sky`.
        surveys: names out of `SURVEYS` and `LABELS`.
        size: side of the stamps in pixels.
        everywhere: every object is in every survey, whatever its brightness; labels
            are of galaxies all the same.
        pictures: which of Legacy's columns of pictures and segmentation; they take half
            of its time.
    """
    scene = make_scene(population, block)
    columns: dict[str, Columns] = {}
    held: dict[str, np.ndarray] = {}
    for survey in surveys:
        rng = population.sky.rng("labels" if survey in LABELS else survey, block)
        inside = members(scene, survey, rng)
        if everywhere:
            inside = is_galaxy(scene) if survey in LABELS else np.ones_like(inside)
        held[survey] = inside
        if inside.any():
            part = scene.take(inside)
            columns[survey] = _look(part, survey, rng, size, pictures)
    return Seen(scene, columns, held)


def _look(
    scene: Scene,
    survey: str,
    rng: np.random.Generator,
    size: int,
    pictures: Sequence[str],
) -> Columns:
    if survey in ("sdss", "desi"):
        look = sdss_rows if survey == "sdss" else desi_rows
        return look(through_forest(scene), rng)[0]
    if survey == "hsc":
        return hsc_rows(scene, rng, size)[0]
    if survey == "gaia":
        return gaia_rows(scene, rng)
    if survey == "desi_provabgs":
        return provabgs_rows(scene, rng)
    columns, stamps = legacy_rows(scene, rng, size)
    if survey == "gz10":
        return gz10_rows(scene, stamps)
    return columns | legacy_pictures(stamps, pictures)


def through_forest(scene: Scene) -> Scene:
    """The scene with the Lyman alpha forest of each line of sight, the same for all."""
    objects = scene.objects
    quasar = np.flatnonzero(objects.kind == KINDS.index("QSO"))
    if not len(quasar):
        return scene
    spectra = scene.spectra.copy()
    for row in quasar:
        dice = np.random.default_rng(
            [4, int(objects.number[row]), int(objects.cell[row])]
        )
        spectra[row] *= forest(dice, objects.redshift[[row]])[0]
    return replace(scene, spectra=spectra)


def truth_columns(seen: Seen, surveys: Sequence[str]) -> dict[str, np.ndarray]:
    """The truth about a block, one column per latent parameter and noiseless flux.

    `<survey>_id` is the object's name in a survey, "" where that does not hold it;
    `flux_<BAND>` is noiseless in nanomaggies, `observed_<BAND>` as catalogues have it;
    `label_*` are galaxy properties, `star_*` stellar parameters, NaN for others.
    """
    scene = seen.scene
    objects, count = scene.objects, len(scene)
    columns = {
        f.name: getattr(objects, f.name) for f in fields(Objects) if f.name != "kind"
    }
    columns["class"] = np.array(KINDS)[objects.kind]
    columns["parallax"] = objects.parallax
    columns["test_cell"] = np.full(count, scene.conditions.test)
    for survey in surveys:
        if survey in SURVEYS:
            names = survey_ids(survey, objects).astype(np.str_)
            columns[f"{survey}_id"] = np.where(seen.members[survey], names, "")
    for place, band in enumerate(BAND_NAMES):
        columns[f"flux_{band}"] = scene.fluxes[:, place].astype(np.float64)
        columns[f"observed_{band}"] = scene.photometry.flux[:, place]
    columns |= {f"star_{k}": v for k, v in star_parameters(scene).items()}
    return columns | _labels(scene)


def _labels(scene: Scene) -> dict[str, np.ndarray]:
    names = ("LOGMSTAR", "AVG_SFR", "Z_MW", "TAGE_MW", "ABSMAG_R")
    columns = {f"label_{name.lower()}": np.full(len(scene), np.nan) for name in names}
    galaxy = is_galaxy(scene)
    if galaxy.any():
        found = galaxy_labels(scene.objects.take(galaxy), scene.families["GALAXY"])
        for name in names:
            columns[f"label_{name.lower()}"][galaxy] = found[name]
    return columns
