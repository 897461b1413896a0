# SPDX-License-Identifier: MIT
"""What Gaia's table says of a scene."""

import numpy as np

from aion.mocksky.blocks import Scene
from aion.mocksky.gaia import GAIA_BANDS, observe_gaia
from aion.mocksky.objects import KINDS

_PARAMETERS = {"teff": "teff", "logg": "log_g", "mh": "fe_h"}


def star_parameters(scene: Scene) -> dict[str, np.ndarray]:
    """Teff (K), logg and mh (dex) of the stars of a scene, NaN for the rest, [b]."""
    star = scene.objects.kind == KINDS.index("STAR")
    found = {name: np.full(len(scene), np.nan) for name in _PARAMETERS}
    if star.any():
        known = scene.families["STAR"].parameters
        for name, ours in _PARAMETERS.items():
            found[name][star] = known[ours][scene.objects.sed[star]]
    return found


def gaia_rows(scene: Scene, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of `aion.layouts.GAIA` for a scene.

    Args:
        scene: b objects.
        rng: dice of Gaia.
    """
    columns = observe_gaia(
        scene.spectra,
        scene.objects,
        scene.conditions,
        rng,
        band_fluxes=scene.true(GAIA_BANDS),
        parameters=star_parameters(scene),
    )
    return columns | {"healpix": scene.objects.cell}
