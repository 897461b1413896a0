# SPDX-License-Identifier: MIT
"""Positions with errors on borders of cells, and the table of their matches."""

import astropy.units as u
import healpy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord

from aion.surveys.crossmatch import crossmatch
from aion.surveys.positions import ArrayPositions, Positions

ARCSEC = 1 / 3600


def scattered(ra, dec, sigma, seed):
    """Positions with Gaussian errors in arcsec, right on any part of the sphere."""
    rng = np.random.default_rng(seed)
    place = SkyCoord(ra, dec, unit="deg")
    angle = rng.uniform(0, 360, len(ra)) * u.deg
    moved = place.directional_offset_by(
        angle, np.abs(rng.normal(0, sigma, len(ra))) * u.arcsec
    )
    return np.asarray(moved.ra.deg) % 360, np.asarray(moved.dec.deg)


def borders(count, seed=0):
    """Places where a matcher by cells may fail: poles, ra 0, corners and edges."""
    rng = np.random.default_rng(seed)
    quarter = count // 4
    cells = rng.integers(0, 12 * 16**2, quarter)
    corner = healpy.boundaries(16, cells, step=1, nest=True)
    edge = healpy.boundaries(16, cells, step=4, nest=True)
    at = np.concatenate(
        [
            corner[np.arange(quarter), :, rng.integers(0, 4, quarter)],
            edge[np.arange(quarter), :, rng.integers(0, 16, quarter)],
        ]
    )
    ra, dec = healpy.vec2ang(at, lonlat=True)
    pole = 90 - 10.0 ** rng.uniform(-3.7, 0, quarter)
    ra = np.concatenate(
        [ra, rng.uniform(0, 360, quarter), rng.normal(0, 2e-4, count - 3 * quarter)]
    )
    dec = np.concatenate(
        [
            dec,
            pole * rng.choice([-1, 1], quarter),
            np.degrees(np.arcsin(rng.uniform(-1, 1, count - 3 * quarter))),
        ]
    )
    return scattered(ra % 360, dec, 1.0, seed)


def survey(ra, dec, prefix="", seed=0, **motion):
    """Positions in a random order, with text ids where there is a prefix."""
    order = np.random.default_rng(seed).permutation(len(ra))
    ids = np.arange(len(ra))
    names = np.char.add(prefix, ids.astype(str)) if prefix else ids
    moving = {k: v[order] for k, v in motion.items()}
    return Positions(names[order], ra[order], dec[order], **moving)


def read(folder):
    """The match table of a folder."""
    paths = sorted(folder.glob("objects-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])


def run(surveys, out, pieces=3, **rest):
    sources = {name: ArrayPositions(p, pieces) for name, p in surveys.items()}
    return read(crossmatch(sources, out, **rest))
