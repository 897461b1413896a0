# SPDX-License-Identifier: MIT
"""Makes aion/mocksky/tables/galaxies.npz: `python tests/tables/make_galaxies.py`.

Needs kcorrect. Takes its five default templates, cuts them to the wavelengths our bands
see up to a redshift of 1.5, removes the emission lines (the library adds its own), and
undoes most of their smoothing to 300 km/s, so that absorption lines are as deep in a
small galaxy as they should be.
"""

from pathlib import Path

import kcorrect
import numpy as np
from astropy.io import fits

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "galaxies.npz"
SOURCE = Path(kcorrect.__file__).parent / "data/templates/kcorrect-default-v4.fits"
RANGE = (1150.0, 330_000.0)
SMOOTHING, LEFT = 300.0, 150.0
"""Sigma in km/s of the templates, and what is left of it in the table."""

STARS_ONLY = 70_000.0
ABOUT = ("METS", "M300", "M1000", "MREMAIN")
WITHOUT_LINES = (3, 4)
"""The old and the post-starburst template have no emission lines in the optical."""
BORROWED = {0: (0.6, 0.5), 1: (0.0, 0.4), 2: (0.4, 0.7)}
"""What the others have of the absorption lines of those two."""

LIGHT = 299_792.458
# Vacuum, Angstrom; windows of 900 km/s to either side are bridged.
LINES = np.fromstring(
    """1215.7 1240.8 1549.5 1640.4 1663.0 1908.7 2326.0 2471.0 2800.0 3727.1 3729.9
    3751.2 3771.7 3798.9 3836.5 3869.9 3890.2 3968.6 3971.2 4069.7 4102.9 4341.7 4364.4
    4472.7 4572.4 4687.0 4862.7 4960.3 5008.2 5201.0 5756.2 5877.3 6302.0 6313.8 6333.0
    6365.5 6549.9 6564.6 6585.3 6680.0 6718.3 6732.7 7067.2 7137.8 7322.0 7332.0 7753.2
    9017.4 9071.1 9231.5 9533.2 9548.6""",
    sep=" ",
)


def windows(wave: np.ndarray) -> list[slice]:
    """The places of `LINES`, as few contiguous pieces."""
    near = np.zeros(len(wave), bool)
    for line in LINES:
        near |= np.abs(wave / line - 1) * LIGHT < 900.0
    edges = np.flatnonzero(np.diff(near.astype(int))) + 1
    return [slice(*pair) for pair in edges.reshape(-1, 2)]


def bridged(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """All lines replaced by a straight line between the means beside them."""
    smooth = flux.copy()
    for inside in windows(wave):
        low, high = inside.start - 1, inside.stop
        ends = [flux[low - 1 : low + 1].mean(), flux[high : high + 2].mean()]
        smooth[inside] = np.interp(wave[inside], wave[[low, high]], ends)
    return smooth


def without_spikes(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """A running median where stars have no narrow features and nebulae have many."""
    half = 20
    padded = np.pad(np.log(flux), half, mode="reflect", reflect_type="odd")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    far = (wave > 9600.0) | (wave < 1800.0)
    spike = far & (np.abs(np.log(flux) - np.median(window, -1)) > 0.03)
    clean = np.where(spike, np.exp(np.percentile(window, 45, axis=-1)), flux)
    # The source is flat and then falls off a cliff beyond 10 micron: stars do not.
    start = np.searchsorted(wave, STARS_ONLY)
    clean[start:] = clean[start] * (wave[start:] / wave[start]) ** -4
    return clean


def sharpened(flux: np.ndarray, step: float) -> np.ndarray:
    """Undoes smoothing from SMOOTHING to LEFT, with a Wiener filter against ringing."""
    trend = np.exp(
        np.polynomial.Polynomial.fit(x := np.arange(len(flux)), np.log(flux), 9)(x)
    )
    ratio = np.concatenate([flux / trend, (flux / trend)[::-1]])
    frequency = 2 * np.pi * np.fft.rfftfreq(len(ratio), step)
    was = np.exp(-0.5 * (frequency * SMOOTHING / LIGHT) ** 2)
    wanted = np.exp(-0.5 * (frequency * LEFT / LIGHT) ** 2)
    gain = wanted * was / (was**2 + 0.01)
    gain /= gain[0]
    return trend * np.fft.irfft(np.fft.rfft(ratio) * gain, len(ratio))[: len(flux)]


def cleaned(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Without emission lines, with the absorption lines that these had filled."""
    smooth = np.array([bridged(wave, row) for row in flux])
    clean = np.where(
        np.isin(np.arange(len(flux)), WITHOUT_LINES)[:, None], flux, smooth
    )
    depth = np.log(flux / smooth)[list(WITHOUT_LINES)]
    for row, mix in BORROWED.items():
        for inside in windows(wave):
            if 3700.0 < wave[inside][0] < 7000.0:
                clean[row, inside] *= np.exp(np.array(mix) @ depth[:, inside])
    return np.array([without_spikes(wave, row) for row in clean])


def halpha(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Flux of H alpha; [N II] beside it is taken to be 0.4 of it."""
    near = np.abs(wave / 6566.0 - 1) * LIGHT < 1800.0
    above = [row - bridged(wave, row) for row in flux]
    sums = np.array([np.trapezoid(row[near], wave[near]) for row in above]) / 1.4
    sums[list(WITHOUT_LINES)] = 0.0
    return sums


def main() -> None:
    with fits.open(SOURCE) as file:
        wave = file["FLUX"].data["wave"][0].astype(np.float64)
        flux = file["FLUX"].data["flux"][0].astype(np.float64)
        about = {name: file[name].data.astype(np.float64) for name in ABOUT}
    inside = (wave > RANGE[0]) & (wave < RANGE[1])
    even = np.geomspace(wave[inside][0], wave[inside][-1], inside.sum())
    logs = np.log(np.maximum(flux, 1e-30))
    flux = np.exp([np.interp(np.log(even), np.log(wave), row) for row in logs])
    clean = cleaned(even, flux)
    optical = slice(0, int(np.searchsorted(even, 9600.0)))
    step = np.log(even[1] / even[0])
    for row in clean:
        row[optical] = np.maximum(sharpened(row[optical], step), 0.05 * row[optical])
    np.savez_compressed(
        TABLE,
        wavelength=even[[0, -1]],
        flux=clean.astype(np.float32),
        halpha=halpha(even, flux),
        **{name.lower(): value for name, value in about.items()},
    )


if __name__ == "__main__":
    main()
