# SPDX-License-Identifier: MIT
"""Makes aion/mocksky/tables/night_sky.npz from real spectra, of SDSS and of DESI.

Usage: python tests/tables/make_night_sky.py FOLDER (of real survey files, with
sdss/spec-0266-51602-0031.fits and desi/coadd-*.fits).

The sky that SDSS subtracted from a fibre is deconvolved into lines by non-negative
least squares over the level between them; redward of SDSS the lines come from the
variance of the DESI spectrum, redward of DESI the pattern of the OH band 8-4 is
repeated at the origins of 3-0 and 4-1. Only positions and brightnesses of lines are
kept.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.optimize import nnls
from scipy.special import ndtr

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "night_sky.npz"
SDSS_FIBRE = np.pi * 1.5**2 / 0.8
"""Sky in a spectrum, arcsec2: area of the fibre over its share of a star's light."""
GREEN = 5578.887
JOIN = 9190.0


def deconvolve(wavelength, value, weight, sigma, step=0.6):
    """Lines (wavelengths, integrals) of a stretch of spectrum without continuum."""
    edges = np.append(wavelength, 2 * wavelength[-1] - wavelength[-2])
    edges = edges - np.gradient(edges) / 2
    nodes = np.arange(wavelength[0], wavelength[-1], step)
    upper = ndtr((edges[1:, None] - nodes) / sigma[:, None])
    lower = ndtr((edges[:-1, None] - nodes) / sigma[:, None])
    design = (upper - lower) / np.diff(edges)[:, None]
    light, _ = nnls(design * weight[:, None], value * weight, maxiter=20000)
    return nodes, light


def merged(nodes, strengths, gap=1.5):
    """Neighbouring nodes are one line at their centre of light."""
    lit = np.flatnonzero(strengths > 0)
    groups = np.split(lit, np.flatnonzero(np.diff(nodes[lit]) > gap) + 1)
    places = [np.average(nodes[g], weights=strengths[g]) for g in groups if len(g)]
    return np.array(places), np.array([strengths[g].sum() for g in groups if len(g)])


def floor(wavelength, value, width=120.0):
    """The level between lines: a low percentile in pieces, at their centres."""
    centres = np.arange(wavelength[0], wavelength[-1], width) + width / 2
    near = [np.abs(wavelength - c) < width for c in centres]
    levels = np.array([np.percentile(value[n], 12) for n in near])
    return centres, np.convolve(np.pad(levels, 1, "edge"), [0.25, 0.5, 0.25], "valid")


def stretches(wavelength, value, weight, sigma, size=260, margin=20):
    """Deconvolves a long spectrum piece by piece: lines and their strengths."""
    lines, strengths = [], []
    for start in range(0, len(wavelength), size):
        rows = slice(max(start - margin, 0), start + size + margin)
        inside = wavelength[start : start + size]
        line, strength = merged(
            *deconvolve(wavelength[rows], value[rows], weight[rows], sigma[rows])
        )
        keep = (line >= inside[0]) & (line < inside[-1])
        lines.append(line[keep])
        strengths.append(strength[keep])
    return np.concatenate(lines), np.concatenate(strengths)


def from_sdss(folder):
    """Continuum (wavelengths, levels) and lines (wavelengths, strengths) of SDSS."""
    with fits.open(folder / "sdss" / "spec-0266-51602-0031.fits") as file:
        data = file[1].data
        wavelength = 10.0 ** data["loglam"].astype(float)
        value = data["sky"].astype(float) / SDSS_FIBRE
        sigma = data["wdisp"] * wavelength * 1e-4 * np.log(10.0)
    continuum = floor(wavelength, value)
    value = value - np.interp(wavelength, *continuum)
    weight = 1 / (0.01 * np.abs(value) + 0.02)
    lines, strengths = stretches(wavelength, value, weight, sigma.astype(float))
    shift = lines[np.argmax(strengths)] / GREEN
    return continuum, (lines / shift, strengths)


def from_desi(folder, continuum):
    """Lines redward of SDSS, from the variance of DESI over its level between them."""
    with fits.open(next((folder / "desi").glob("coadd-*.fits"))) as file:
        wavelength = file["Z_WAVELENGTH"].data.astype(float)
        variance = 1 / file["Z_IVAR"].data[0].astype(float)
    quiet = np.interp(wavelength, *floor(wavelength, variance, 200.0))
    value = 3.5 * continuum * (variance / quiet - 1)
    rows = wavelength > JOIN
    weight = 1 / (0.1 * np.abs(value[rows]) + 0.1)
    sigma = np.full(rows.sum(), 0.72)
    return stretches(wavelength[rows], value[rows], weight, sigma, size=400)


def main(folder: Path) -> None:
    """Writes the table and prints what is in it."""
    (knots, level), (lines, strengths) = from_sdss(folder)
    far, light = from_desi(folder, float(np.median(level[-6:])))
    band = (far > 9360.0) & (far < 9740.0)
    pieces = [(lines, strengths, lines < JOIN), (far, light, far < 9790.0)]
    for origin, brighter, end in ((9791.0, 0.6, 10270.0), (10275.0, 0.9, 10500.0)):
        moved = 1e8 / (1e8 / far[band] - 1e8 / 9378.0 + 1e8 / origin)
        pieces.append((moved, brighter * light[band], moved < end))
    lines = np.concatenate([line[keep] for line, _, keep in pieces])
    light = np.concatenate([strength[keep] for _, strength, keep in pieces])
    order = np.argsort(lines)
    order = order[light[order] > 0.08]
    table = {
        "line_wavelength": lines[order],
        "line_brightness": light[order],
        "continuum_wavelength": np.concatenate([[3000.0], knots, [10600.0]]),
        "continuum_brightness": np.concatenate([level[:1], level, level[-1:]]),
    }
    np.savez_compressed(TABLE, **{k: v.astype(np.float32) for k, v in table.items()})
    print(len(order), "lines", TABLE.stat().st_size, "bytes")
    top = np.argsort(-light)[:30]
    print(np.c_[lines[top], light[top]].round(2).tolist())
    print(np.c_[knots, level][::4].round(2).tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
