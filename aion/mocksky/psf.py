# SPDX-License-Identifier: MIT
"""Round point spread functions as mixtures of Gaussians.

A Moffat profile is one too (of Gaussians with gamma distributed inverse variances), so
its weights are positive and a dozen widths give it to 1e-4 of its peak.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

_FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian of sigma 1


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF of full width at half maximum 1, before it is integrated over pixels.

    Attributes:
        weights: share of the light in each Gaussian, sums to 1, [j].
        sigmas: widths of the Gaussians over the FWHM, [j].
    """

    weights: np.ndarray
    sigmas: np.ndarray

    def area(self, fwhm: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Effective area in pixels, 1 / sum of the squared pixels of a point source.

        The variance of an optimally weighted flux is this times a pixel's variance.

        Args:
            fwhm: in pixels.

        Returns:
            The area. Averaging over two pixels is a triangle of variance 1/6 along
            each axis, here taken as a Gaussian: right to 0.2 % for FWHM >= 2 pixels.
        """
        variance = (fwhm[..., None] * self.sigmas) ** 2
        both = variance[..., :, None] + variance[..., None, :] + 1 / 6
        pairs = self.weights[:, None] * self.weights
        return np.asarray(1 / np.sum(pairs / (2 * np.pi * both), axis=(-2, -1)))


def gaussian() -> Psf:
    """A Gaussian PSF."""
    return Psf(np.ones(1), np.full(1, 1 / _FWHM))


@lru_cache(maxsize=8)
def moffat(beta: float = 3.5) -> Psf:
    """A Moffat PSF, intensity proportional to (1 + r^2 / a^2)^-beta (Moffat 1969).

    Args:
        beta: above 1; the smaller, the more light is in the wings.
    """
    scale = 0.5 / np.sqrt(2 ** (1 / beta) - 1)
    radius = np.append(0.0, np.geomspace(0.02, 60.0, 150))
    profile = (1 + (radius / scale) ** 2) ** -beta
    sigmas = 2.0 ** (0.5 * np.arange(-3, 9)) / _FWHM
    rows = np.exp(-0.5 * (radius[:, None] / sigmas) ** 2)
    light = np.pi * scale**2 / (beta - 1)
    rows = np.concatenate([rows, 2 * np.pi * sigmas[None] ** 2 / light])
    solution, _ = nnls(rows, np.append(profile, 1.0))
    weights = solution * sigmas**2
    used = weights > 1e-7 * weights.sum()
    return Psf(weights[used] / weights[used].sum(), sigmas[used])
