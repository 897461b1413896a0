# SPDX-License-Identifier: MIT
"""From spectra on the common grid to pixels, as one sparse matrix: a blur by a Gaussian
whose width varies along the spectrum, then the average over each pixel.

A spectrum is taken as straight lines between its points. The light below a pixel edge e
is the integral of f(x) Phi((e - x) / sigma(e)), which has a closed form for straight
lines; a pixel is the difference of two edges over its width. So light is conserved to
rounding whatever sigma does: what leaves a pixel arrives in the next.
"""

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.special import ndtr

REACH = 5.0
"""Where the Gaussian is cut, in sigma: 6e-7 of the light is beyond."""


def pixel_edges(wavelength: Float[np.ndarray, " l"]) -> Float[np.ndarray, " e"]:
    """Edges half way between the centres of l pixels, [l + 1]."""
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    first = 2 * wavelength[0] - middle[0]
    return np.concatenate([[first], middle, [2 * wavelength[-1] - middle[-1]]])


def blur_matrix(
    grid: Float[np.ndarray, " n"],
    edges: Float[np.ndarray, " e"],
    sigma: Float[np.ndarray, " e"],
) -> csr_array:
    """The matrix that takes flux densities at points to mean flux densities in pixels.

    Args:
        grid: wavelengths of the points, increasing and beyond the edges by at least
            `REACH` sigma, [n].
        edges: wavelengths of pixel edges, increasing, [l + 1].
        sigma: of the Gaussian line spread function at the edges, same unit, [l + 1].

    Returns:
        float32 [l, n]; each row sums to 1.
    """
    width = np.diff(edges)
    first = np.searchsorted(
        grid, edges[:-1] - REACH * np.maximum(sigma[:-1], sigma[1:])
    )
    last = np.searchsorted(grid, edges[1:] + REACH * np.maximum(sigma[:-1], sigma[1:]))
    first, last = np.maximum(first - 1, 1), np.minimum(last, len(grid) - 2)
    span = int((last - first).max()) + 1
    column = np.minimum(first[:, None] + np.arange(span), len(grid) - 2)
    wanted = first[:, None] + np.arange(span) <= last[:, None]

    def below(edge: np.ndarray, blur: np.ndarray) -> np.ndarray:
        left = _second_integral(grid[column - 1], edge, blur)
        here = _second_integral(grid[column], edge, blur)
        right = _second_integral(grid[column + 1], edge, blur)
        rise = (here - left) / (grid[column] - grid[column - 1])
        return (right - here) / (grid[column + 1] - grid[column]) - rise

    weight = below(edges[1:], sigma[1:]) - below(edges[:-1], sigma[:-1])
    weight = np.where(wanted, weight / width[:, None], 0.0)
    weight = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    rows = np.concatenate([[0], np.cumsum(wanted.sum(axis=1))])
    return csr_array(
        (weight[wanted], column[wanted], rows), shape=(len(width), len(grid))
    )


def _second_integral(x: np.ndarray, edge: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """G with G''(x) = Phi((edge - x) / sigma)."""
    edge, sigma = edge[:, None], sigma[:, None]
    t = (edge - x) / sigma
    density = np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
    return sigma**2 * ((t**2 + 1) * ndtr(t) + t * density) / 2


def lines_in_pixels(
    lines: Float[np.ndarray, " m"],
    light: Float[np.ndarray, " m"],
    edges: Float[np.ndarray, " e"],
    sigma: Float[np.ndarray, " e"],
) -> Float[np.ndarray, " l"]:
    """Mean flux density in pixels of unresolved lines.

    Args:
        lines: wavelengths, [m].
        light: integrated fluxes, [m].
        edges: of the pixels, increasing, [l + 1].
        sigma: of the line spread function at the edges, [l + 1].

    Returns:
        flux per unit wavelength, [l].
    """
    below = np.zeros(len(edges))
    for line, strength in zip(lines, light, strict=True):
        below += strength * ndtr((edges - line) / sigma)
    return np.diff(below) / np.diff(edges)


def resolution_bands(
    sigma: Float[np.ndarray, " l"], bands: int = 11
) -> Float[np.ndarray, "k l"]:
    """A resolution matrix by its diagonals, as DESI's pipeline stores it.

    Args:
        sigma: of the line spread function at pixel centres, in pixels, [l].
        bands: how many diagonals, odd.

    Returns:
        float32 [bands, l]: entry [k, j] is how much of pixel j - (bands // 2 - k)'s
        light comes from wavelength j: scipy's `dia_array` with offsets bands // 2 ...
        - bands // 2. Rows of the matrix sum to 1.
    """
    half, count = bands // 2, len(sigma)
    offset = np.arange(half, -half - 1, -1)
    row = np.arange(count)[None, :] - offset[:, None]
    inside = (row >= 0) & (row < count)
    blur = sigma[np.clip(row, 0, count - 1)]
    away = offset[:, None]
    weight = ndtr((away + 0.5) / blur) - ndtr((away - 0.5) / blur)
    weight = np.where(inside, weight, 0.0)
    total = np.zeros(count)
    np.add.at(total, row[inside], weight[inside])
    return (weight / total[np.clip(row, 0, count - 1)]).astype(np.float32)
