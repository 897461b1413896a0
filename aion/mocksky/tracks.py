# SPDX-License-Identifier: MIT
"""Colour tracks: how bright each spectrum of a family is in a band, at each redshift.

A track is the band magnitude minus the reference magnitude. It comes from the very
spectra and the very matrix that `seds.spectra` and `responses.band_fluxes` use, and is
what makes exact posteriors and fast selections possible. To be quick, spectra are
averaged over 240 km/s first: responses hardly change over that, and a test holds that
tracks and spectra agree to a millimagnitude.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import sparse

from aion.mocksky.dust import milky_way
from aion.mocksky.family import REFERENCE, Family
from aion.mocksky.grids import OBSERVED
from aion.mocksky.igm import LYMAN_ALPHA, LYMAN_SERIES, igm_transmission
from aion.mocksky.responses import band_matrix

EBV = (0.0, 0.15, 0.4)
"""E(B-V) at which tracks are computed; between them they are parabolas."""
BIN = 8e-4
"""Width in ln(wavelength) over which spectra are averaged."""
FAINTEST = 40.0
"""Magnitudes below the reference at which a band counts as dark: tracks are finite."""


def _bins(wavelength: np.ndarray) -> np.ndarray:
    """In which bin of width `BIN` each wavelength is, int [l].

    The intergalactic medium has edges at the lines of the Lyman series; there bins end.
    """
    place = np.floor(np.log(wavelength) / BIN).astype(np.int64)
    place += np.searchsorted(np.sort(LYMAN_SERIES), wavelength, side="right")
    return np.unique(place, return_inverse=True)[1]


def _to_rest(wavelength: np.ndarray, bins: np.ndarray, z: float) -> sparse.csc_array:
    """The matrix [bins, observed] that takes filters on OBSERVED to the rest frame.

    It is the transpose of what takes a spectrum to OBSERVED by linear interpolation,
    summed over bins. Light beyond the ends of the rest wavelengths is lost.
    """
    rest = OBSERVED / (1 + z)
    last = len(wavelength) - 1
    low = np.searchsorted(wavelength, rest, side="right") - 1
    inside = (low >= 0) & (rest <= wavelength[last])
    low = np.clip(low, 0, last - 1)
    share = (rest - wavelength[low]) / (wavelength[low + 1] - wavelength[low])
    values = np.stack([1 - share, share], axis=1) * inside[:, None]
    rows = np.stack([bins[low], bins[low + 1]], axis=1)
    starts = np.arange(0, 2 * len(OBSERVED) + 1, 2)
    shape = (int(bins[-1]) + 1, len(OBSERVED))
    entries = (values.ravel().astype(np.float32), rows.ravel(), starts)
    return sparse.csc_array(entries, shape)


def seen_fluxes(
    wavelength: Float[np.ndarray, " l"],
    flux: Float[np.ndarray, "k l"],
    redshift: Float[np.ndarray, " n"],
    bands: tuple[str, ...],
    ebv: tuple[float, ...] = (0.0,),
) -> Float[np.ndarray, "e k n c"]:
    """Band fluxes of spectra that are shifted, F(wavelength / (1 + z)), not dimmed.

    Args:
        wavelength: rest frame, Angstrom, increasing.
        flux: per unit wavelength.
        redshift: at which they are seen, through the mean intergalactic medium.
        bands: names.
        ebv: Milky Way reddening.

    Returns:
        Nanomaggies if `flux` is in 1e-17 erg/s/cm2/Angstrom, float32.
    """
    bins = _bins(wavelength)
    firsts = np.flatnonzero(np.diff(bins, prepend=-1))
    mean = np.add.reduceat(flux, firsts, axis=1) / np.bincount(bins).astype(np.float32)
    through = milky_way(np.array(ebv))
    filters = np.concatenate([band_matrix(bands) * t[:, None] for t in through], axis=1)
    seen = np.empty((len(redshift), len(flux), filters.shape[1]), np.float32)
    for place, z in enumerate(redshift.tolist()):
        here = filters
        if LYMAN_ALPHA * (1 + z) > OBSERVED[0]:
            here = filters * igm_transmission(z)[:, None]
        weight = _to_rest(wavelength, bins, z) @ here
        used = np.flatnonzero(weight.any(axis=1))
        part = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        np.matmul(mean[:, part], weight[part], out=seen[place])
    shape = (len(redshift), len(flux), len(ebv), len(bands))
    return np.ascontiguousarray(seen.reshape(shape).transpose(2, 1, 0, 3))


@dataclass(frozen=True, eq=False)
class ColourTracks:
    """Axes: e reddenings, k spectra, n redshifts, c bands.

    Attributes:
        bands: names, [c].
        ebv: E(B-V), [e].
        redshift: that of the family, [n].
        values: AB magnitude in the band behind Milky Way dust, minus the reference
            magnitude, float32 [e, k, n, c].
    """

    bands: tuple[str, ...]
    ebv: tuple[float, ...]
    redshift: np.ndarray
    values: np.ndarray

    def weights(self, ebv: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... e"]:
        """Lagrange's weights of the nodes at some E(B-V)."""
        nodes = np.array(self.ebv)
        weight = np.ones((*np.shape(ebv), len(nodes)))
        for i, j in np.argwhere(~np.eye(len(nodes), dtype=bool)).tolist():
            weight[..., i] *= (ebv - nodes[j]) / (nodes[i] - nodes[j])
        return weight

    def at(self, ebv: float) -> Float[np.ndarray, "k n c"]:
        """The tracks at one E(B-V), float32."""
        weight = self.weights(np.array(ebv)).astype(np.float32)
        return np.tensordot(weight, self.values, 1)

    def colours(
        self,
        sed: np.ndarray,
        redshift: Float[np.ndarray, " b"],
        ebv: Float[np.ndarray, " b"],
    ) -> Float[np.ndarray, "b c"]:
        """Band minus reference magnitudes of objects, linear in ln(1 + z).

        Args:
            sed: rows of the family, int [b].
            redshift: within the family's grid; what is outside gets its ends. Radial
                velocities of stars change no colour.
            ebv: E(B-V) in mag.
        """
        grid = np.log1p(self.redshift)
        place = np.interp(np.log1p(redshift), grid, np.arange(len(grid)))
        low = np.clip(place.astype(np.int64), 0, max(len(grid) - 2, 0))
        high = np.minimum(low + 1, len(grid) - 1)
        share = (place - low)[:, None, None]
        knots = np.moveaxis(self.values, 0, 2)
        between = (1 - share) * knots[sed, low] + share * knots[sed, high]
        return np.einsum("bec,be->bc", between, self.weights(ebv))


@lru_cache(maxsize=8)
def colour_tracks(family: Family, bands: tuple[str, ...]) -> ColourTracks:
    """The tracks of a family; cached, seconds for all bands of a large library.

    Args:
        family: whose.
        bands: names of `aion.instrument.BANDS`.

    Raises:
        ConfigError: an unknown band.
    """
    reference = seen_fluxes(
        family.wavelength, family.flux, family.redshift, (REFERENCE,)
    )
    values = seen_fluxes(family.wavelength, family.flux, family.redshift, bands, EBV)
    values /= reference
    np.maximum(values, 10 ** (-0.4 * FAINTEST), out=values)
    np.log10(values, out=values)
    values *= np.float32(-2.5)
    return ColourTracks(tuple(bands), EBV, family.redshift, values)
