# SPDX-License-Identifier: MIT
"""The fibre spectrographs of DESI and SDSS as numbers: pixels, blur, sensitivity, sky.

The electrons that a unit of flux makes in a pixel were set so that the noise between
sky lines equals that of real spectra: two of SDSS's plate 266, and one DESI coadd whose
effective exposure is 3,000 s (its TSNR2 values), scaled to 1,000 s. BOSS's camera is
more sensitive than SDSS's first by a factor of 1.6 and has fibres of 2 arcsec (Smee et
al. 2013). Widths of line spread functions are those of the same files.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.sparse import csr_array

from aion.mocksky.grids import OBSERVED, OPTICAL_SIZE
from aion.mocksky.linespread import blur_matrix, pixel_edges, resolution_bands
from aion.mocksky.night_sky import night_sky, transmission

# DESI's arms: wavelengths, and electrons for 1e-17 erg/s/cm2/Angstrom in a pixel of
# 0.8 Angstrom in 1,000 s.
_DESI_ARMS = (
    (
        (3600, 3700, 3800, 3900, 4000, 4200, 4500, 4800, 5100, 5400, 5650, 5740, 5800),
        (1.7, 2.7, 4.3, 6.3, 7.4, 10.2, 13.2, 16.4, 19.9, 24.2, 26.8, 15.4, 14.0),
    ),
    (
        (5760, 5800, 5900, 6200, 6500, 6800, 7100, 7400, 7500, 7550, 7620),
        (34.0, 41.3, 41.8, 48.7, 54.7, 57.2, 63.2, 65.9, 64.5, 44.2, 38.1),
    ),
    (
        (7520, 7580, 7650, 7800, 8100, 8400, 8700, 9000, 9200, 9500, 9700, 9824),
        (28.0, 31.8, 67.6, 87.0, 94.8, 99.3, 102.3, 97.0, 92.0, 85.0, 75.0, 68.0),
    ),
)
# Sigma of each arm's line spread function at its two ends, in pixels.
_DESI_SIGMA = ((0.84, 0.83), (0.73, 0.75), (0.88, 0.95))
# SDSS: electrons for the same flux in a pixel of 1e-4 dex in 3,600 s.
_SDSS_WAVELENGTH = (
    *(
        3600,
        3800,
        3840,
        3950,
        4100,
        4300,
        4500,
        4800,
        5100,
        5400,
        5700,
        5850,
        5950,
        6050,
    ),
    *(6200, 6500, 6800, 7100, 7400, 7800, 8200, 8600, 9000, 9200, 9800, 10400),
)
_SDSS_ELECTRONS = (
    *(2.3, 4.5, 6.1, 7.5, 10.8, 14.3, 17.3, 21.9, 25.1, 26.8, 25.5, 21.5, 29.1, 36.2),
    *(38.5, 45.8, 48.4, 49.5, 47.5, 42.3, 34.5, 27.4, 20.5, 18.0, 11.0, 4.0),
)
_SDSS_SIGMA = (
    (3600, 3890, 4300, 4700, 5130, 5600, 5880, 6160, 6800, 7800, 8500, 9200, 10400),
    (1.25, 1.19, 1.07, 0.98, 0.90, 0.84, 0.85, 0.90, 0.86, 0.81, 0.77, 0.72, 0.62),
)


@dataclass(frozen=True, eq=False)
class Spectrograph:
    """A spectrograph and its fibres. Axis l is its pixels.

    Attributes:
        name: as in `aion.instrument.INSTRUMENTS`.
        wavelength: of pixel centres, vacuum, Angstrom, [l].
        sigma: of the Gaussian line spread function, in pixels, [l].
        electrons: for 1e-17 erg/s/cm2/Angstrom in a pixel, nominal exposure, [l].
        read_variance: electrons squared per pixel, [l].
        fibre: diameter, arcsec.
        seeing: FWHM, arcsec.
        star_light: share of a star's light that the fibre takes.
        airglow: brightness of the sky's lines over the shipped table's, which is of the
            year 2000, near a maximum of the Sun's activity.
        sky_residual: error of the subtracted sky over the sky.
        bright_sky: where the sky has more than this many times its median, pixels are
            flagged; infinite = never.
        hits: bad places per spectrum, mean.
    """

    name: str
    wavelength: np.ndarray
    sigma: np.ndarray
    electrons: np.ndarray
    read_variance: np.ndarray
    fibre: float
    seeing: float
    star_light: float
    airglow: float
    sky_residual: float
    bright_sky: float
    hits: float

    @cached_property
    def edges(self) -> np.ndarray:
        """Of the pixels, Angstrom, [l + 1]."""
        return pixel_edges(self.wavelength)

    @cached_property
    def edge_sigma(self) -> np.ndarray:
        """Of the line spread function at the edges, Angstrom, [l + 1]."""
        blur = self.sigma * np.diff(self.edges)
        return np.interp(self.edges, self.wavelength, blur)

    @cached_property
    def matrix(self) -> csr_array:
        """From the optical part of `OBSERVED` to pixels, float32."""
        return blur_matrix(OBSERVED[:OPTICAL_SIZE], self.edges, self.edge_sigma)

    @cached_property
    def sky(self) -> np.ndarray:
        """What a dark sky sends into a fibre, in units of a star's flux, [l]."""
        area = np.pi * (self.fibre / 2) ** 2 / self.star_light
        return area * night_sky(self.edges, self.edge_sigma, self.airglow)

    @cached_property
    def bands(self) -> np.ndarray:
        """The resolution matrix, see `linespread.resolution_bands`, [11, l]."""
        return resolution_bands(self.sigma)


@lru_cache(maxsize=1)
def desi() -> Spectrograph:
    """DESI: 7,781 pixels of 0.8 Angstrom, three arms added where they overlap."""
    wavelength = 3600.0 + 0.8 * np.arange(7781)
    arms = np.stack(
        [
            np.interp(wavelength, at, electrons, left=0.0, right=0.0)
            for at, electrons in _DESI_ARMS
        ]
    )
    blur = np.stack(
        [
            np.interp(wavelength, (at[0], at[-1]), ends)
            for (at, _), ends in zip(_DESI_ARMS, _DESI_SIGMA, strict=True)
        ]
    )
    sigma = (arms * blur).sum(axis=0) / arms.sum(axis=0)
    return Spectrograph(
        name="DESI",
        wavelength=wavelength,
        sigma=sigma,
        electrons=arms.sum(axis=0) * transmission(wavelength),
        read_variance=50.0 * (arms > 0).sum(axis=0),
        fibre=1.5,
        seeing=1.1,
        star_light=0.65,
        airglow=0.45,
        sky_residual=0.0,
        bright_sky=np.inf,
        hits=6.0,
    )


@lru_cache(maxsize=1)
def sdss() -> Spectrograph:
    """SDSS's first camera (2000-2009): 3,842 pixels of 1e-4 dex, 3,800-9,200 A."""
    return _sloan(
        "SDSS", 3.5797, 3842, fibre=3.0, gain=1.0, star_light=0.8, sky_residual=0.010
    )


@lru_cache(maxsize=1)
def boss() -> Spectrograph:
    """The camera of BOSS and eBOSS: 4,608 pixels of 1e-4 dex, 3,600-10,400 A."""
    return _sloan(
        "BOSS", 3.5563, 4608, fibre=2.0, gain=1.6, star_light=0.6, sky_residual=0.006
    )


def _sloan(
    name: str,
    start: float,
    count: int,
    *,
    fibre: float,
    gain: float,
    star_light: float,
    sky_residual: float,
) -> Spectrograph:
    wavelength = 10 ** (start + 1e-4 * np.arange(count))
    electrons = np.interp(wavelength, _SDSS_WAVELENGTH, _SDSS_ELECTRONS)
    return Spectrograph(
        name=name,
        wavelength=wavelength,
        sigma=np.interp(wavelength, *_SDSS_SIGMA),
        electrons=gain * electrons * transmission(wavelength),
        read_variance=np.full(count, 300.0),
        fibre=fibre,
        seeing=1.5,
        star_light=star_light,
        airglow=1.0,
        sky_residual=sky_residual,
        bright_sky=8.0,
        hits=4.0,
    )
