# SPDX-License-Identifier: MIT
"""The wavelength grid on which every object's spectrum is given before instruments."""

import numpy as np

STEP = 1e-4
"""Step of the optical part in the natural logarithm of wavelength: 30 km/s."""

_OPTICAL = 2950.0 * np.exp(STEP * np.arange(13_431))
_INFRARED = _OPTICAL[-1] * np.exp(2e-3 * np.arange(1, 1_672))

OBSERVED = np.concatenate([_OPTICAL, _INFRARED])
"""Vacuum wavelengths in Angstrom, [l]: 2,950 to 11,300 in steps of 30 km/s for the
spectrographs, then coarser to 320,000 for WISE's bands."""

OPTICAL_SIZE = len(_OPTICAL)
"""How many points the fine part has."""
