# SPDX-License-Identifier: MIT
"""What each survey calls an object: names built as the surveys build theirs.

No name of one survey is a name of another, as on the sky: who is who is for a match by
position to find out. The low digits are the object's number, so that names are unique.
"""

import numpy as np

from aion.mocksky.gaia import source_id
from aion.mocksky.objects import Objects

FIBRES = 640
"""Fibres of one SDSS plate."""


def brick_names(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Names like those of the Legacy Surveys' bricks of a quarter of a degree, S8.

    The real bricks are narrowed near the poles so that all have about one area; these
    are cells of a plain grid in ra and dec.
    """
    row = np.floor((dec + 90) * 4)
    centre = (row + 0.5) / 4 - 90
    column = (np.floor(ra * 4) + 0.5) / 4
    east = np.floor(column * 10).astype(int)
    north = np.floor(np.abs(centre) * 10).astype(int)
    sign = np.where(centre < 0, "m", "p")
    names = [f"{e:04d}{s}{n:03d}" for e, s, n in zip(east, sign, north, strict=True)]
    return np.array(names, "S8")


def sdss_fibres(objects: Objects) -> dict[str, np.ndarray]:
    """PLATE, MJD and FIBERID; unique together."""
    plate = 266 + objects.number // FIBRES
    return {
        "PLATE": plate,
        "MJD": 51600 + plate % 3000,
        "FIBERID": objects.number % FIBRES + 1,
    }


def survey_ids(survey: str, objects: Objects) -> np.ndarray:
    """Names [b] in a survey: texts for legacy and sdss, int64 for hsc, desi and gaia.

    SDSS's SPECOBJID packs plate, fibre and date into 64 bits (SDSS DR17, "SpecObj ID").
    """
    number = objects.number
    if survey == "legacy":
        bricks = brick_names(objects.ra, objects.dec)
        pairs = zip(bricks, number, strict=True)
        return np.array([f"{brick.decode()}-{n}" for brick, n in pairs], np.str_)
    if survey == "sdss":
        fibres = {k: v.astype(np.uint64) for k, v in sdss_fibres(objects).items()}
        packed = fibres["PLATE"] << np.uint64(50)
        packed |= fibres["FIBERID"] << np.uint64(38)
        packed |= (fibres["MJD"] - np.uint64(50000)) << np.uint64(24)
        return packed.astype(np.str_)
    if survey == "gaia":
        return source_id(objects)
    first = {"hsc": 40_000_000_000_000_000, "desi": 39_627_000_000_000_000}
    return first[survey] + number
