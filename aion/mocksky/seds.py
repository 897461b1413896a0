# SPDX-License-Identifier: MIT
"""The spectrum of every object as it arrives at the Earth, without noise."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from aion.errors import DataError
from aion.mocksky.dust import milky_way
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.grids import OBSERVED
from aion.mocksky.igm import LYMAN_ALPHA, igm_transmission
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.responses import ZERO_POINT, band_fluxes


def intrinsic_spectra(
    objects: Objects, families: Mapping[str, Family]
) -> Float[np.ndarray, "b l"]:
    """Spectra before Milky Way dust; see `spectra`."""
    flux = np.zeros((len(objects), len(OBSERVED)), np.float32)
    for kind in np.unique(objects.kind).tolist():
        if KINDS[kind] not in families:
            raise DataError(
                f"no family of spectra for class {KINDS[kind]}",
                f"Give one; there are {', '.join(families)}.",
            )
        family = families[KINDS[kind]]
        for row in np.flatnonzero(objects.kind == kind).tolist():
            z = float(objects.redshift[row])
            flux[row] = np.interp(
                OBSERVED / (1 + z),
                family.wavelength,
                family.flux[objects.sed[row]],
                left=0.0,
                right=0.0,
            )
            if LYMAN_ALPHA * (1 + z) > OBSERVED[0]:
                flux[row] *= igm_transmission(z)
    wanted = 10 ** (-0.4 * (objects.magnitude - ZERO_POINT))
    flux *= (wanted / band_fluxes(flux, (REFERENCE,))[:, 0]).astype(np.float32)[:, None]
    return flux


def spectra(
    objects: Objects, families: Mapping[str, Family]
) -> Float[np.ndarray, "b l"]:
    """Shifted, through the intergalactic medium, as bright as told, reddened by us.

    Args:
        objects: whose spectra.
        families: the library of each class, by its name in `objects.KINDS`.

    Returns:
        Flux density in 1e-17 erg/s/cm2/Angstrom on `grids.OBSERVED`, float32.

    Raises:
        DataError: objects of a class without a family.
    """
    return intrinsic_spectra(objects, families) * milky_way(objects.ebv)
