# SPDX-License-Identifier: MIT
"""Colour pictures of griz images, as the Legacy Surveys' viewer makes them."""

import numpy as np
from jaxtyping import Float, UInt8

_SCALES = np.array([6.0, 3.4, 3.0, 2.2], np.float32)
_SOFT, _BIAS = 20.0, 0.03


def legacy_rgb(flux: Float[np.ndarray, "b 4 y x"]) -> UInt8[np.ndarray, "b y x 3"]:
    """The asinh stretch of Lupton et al. 2004 (PASP 116, 133).

    Scales, bias and softening are those of the viewer for its band triplets; blue is g,
    green r, red the mean of i and z.

    Args:
        flux: g, r, i, z in nanomaggies per pixel of 0.262 arcsec.

    Returns:
        Red, green, blue.
    """
    scaled = flux * _SCALES[:, None, None] + np.float32(_BIAS)
    scaled[:, 2] = 0.5 * (scaled[:, 2] + scaled[:, 3])
    colours = scaled[:, 2::-1]
    mean = np.maximum(colours, 0).mean(axis=1, keepdims=True)
    stretch = np.arcsinh(_SOFT * mean)
    stretch *= np.float32(255 / np.sqrt(_SOFT)) / np.maximum(mean, 1e-6)
    colours = np.clip(colours * stretch, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(colours, 1, -1))
