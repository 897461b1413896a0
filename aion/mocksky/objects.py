# SPDX-License-Identifier: MIT
"""The truth about objects of the mock sky: every latent parameter, as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

KINDS = ("STAR", "GALAXY", "QSO")
"""Classes, in the order of `Objects.kind`; the words are those of SDSS."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Some objects of a sky, each attribute an array [b].

    Attributes:
        number: unique in a sky, int64.
        ra, dec: ICRS position at `sky.EPOCH`, degrees, float64.
        cell: HEALPix cell (nside 16, NESTED), int64.
        kind: index into `KINDS`, int8.
        sed: row in the library of its kind, int32.
        redshift: heliocentric; of stars, radial velocity over c.
        magnitude: AB in DES-R, observed frame, before Milky Way dust.
        ebv: Milky Way reddening E(B-V) in mag.
        bulge_fraction: of the light, in every band; point sources have 0.
        bulge_sersic, disk_sersic: Sersic indices.
        bulge_radius, disk_radius: half-light radius along the major axis, arcsec;
            0 for point sources.
        bulge_axis_ratio, disk_axis_ratio: minor over major axis.
        position_angle: of the major axis, degrees east of north.
        distance: parsec; NaN for all but stars.
        pm_ra, pm_dec: proper motion, mas/yr, pm_ra with cos(dec); 0 for all but stars.
    """

    number: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    cell: np.ndarray
    kind: np.ndarray
    sed: np.ndarray
    redshift: np.ndarray
    magnitude: np.ndarray
    ebv: np.ndarray
    bulge_fraction: np.ndarray
    bulge_sersic: np.ndarray
    disk_sersic: np.ndarray
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    position_angle: np.ndarray
    distance: np.ndarray
    pm_ra: np.ndarray
    pm_dec: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    @property
    def object_id(self) -> np.ndarray:
        """Names, the same in every survey of the mock sky, str [b]."""
        return self.number.astype(np.str_)

    @property
    def parallax(self) -> np.ndarray:
        """Milliarcseconds; 0 for all but stars."""
        return np.where(np.isfinite(self.distance), 1e3 / self.distance, 0.0)

    def take(self, rows: Any) -> Self:
        """The objects `rows` (slice, indices or boolean)."""
        return replace(
            self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)}
        )

    @classmethod
    def concatenate(cls, parts: Iterable["Objects"]) -> "Objects":
        """All objects of several blocks, in their order."""
        parts = list(parts)
        return cls(
            *(
                np.concatenate([getattr(part, f.name) for part in parts])
                for f in fields(cls)
            )
        )
