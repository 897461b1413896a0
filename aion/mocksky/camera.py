# SPDX-License-Identifier: MIT
"""The two cameras of the mock sky, as data."""

from dataclasses import dataclass

import numpy as np

from aion.instrument import BANDS
from aion.mocksky.psf import Psf, moffat


@dataclass(frozen=True)
class Camera:
    """A camera and the coadds of its survey.

    Attributes:
        bands: in the order of the survey's files.
        sky: brightness of the dark sky in each band, AB mag per arcsec^2. It sets the
            share of the sources in the photon noise.
        saturation: flux per pixel above which pixels are saturated, nanomaggies.
        beta: of the Moffat PSF.
        crowding: sources per arcmin^2 that are worth drawing, at the survey's depth.
        edges: share of stamps that reach over the edge of what was observed.
        defects: mean number of cosmic rays and bad columns per band and arcmin^2.
    """

    bands: tuple[str, ...]
    sky: tuple[float, ...]
    saturation: float
    beta: float
    crowding: float
    edges: float
    defects: float

    @property
    def scale(self) -> float:
        """Arcsec per pixel."""
        scale = BANDS[self.bands[0]].pixel_scale
        assert scale is not None
        return scale

    @property
    def unit(self) -> float:
        """Units of flux in the survey's files per nanomaggy."""
        return 10 ** (0.4 * (BANDS[self.bands[0]].zero_point - 22.5))

    @property
    def psf(self) -> Psf:
        """The PSF, of FWHM 1."""
        return moffat(self.beta)

    @property
    def sky_flux(self) -> np.ndarray:
        """Flux of the dark sky in a pixel, nanomaggies, [c]."""
        return 10 ** (-0.4 * (np.array(self.sky) - 22.5)) * self.scale**2


# Sky brightness: chosen so that the variance in bright pixels over that of the sky is
# that of real coadds (DECaLS DR9 in g, r, z; HSC COSMOS in all). Moffat's beta: Dey et
# al. 2019; Aihara et al. 2018. Saturation: stars of 16 and 18 mag.
DECAM = Camera(
    bands=("DES-G", "DES-R", "DES-I", "DES-Z"),
    sky=(21.7, 20.9, 19.9, 18.7),
    saturation=16.0,
    beta=3.5,
    crowding=35.0,
    edges=0.03,
    defects=0.3,
)
HSC = Camera(
    bands=("HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"),
    sky=(21.8, 21.2, 20.1, 19.9, 18.5),
    saturation=4.0,
    beta=3.5,
    crowding=60.0,
    edges=0.02,
    defects=0.6,
)
