# SPDX-License-Identifier: MIT
"""Toy classes of a few spectra, and selected objects drawn from them."""

import numpy as np

from aion.mocksky.cells import ClassPrior, Limit
from aion.mocksky.family import Family
from aion.mocksky.objects import KINDS

BANDS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
DEPTH = 10 ** (-0.4 * (np.array([22.15, 23.13, 22.7, 22.2, 20.71]) - 22.5)) / 5
KNOTS = np.array([0.0, 0.15, 0.4])
WAVELENGTH = np.array([3550.0, 4700.0, 6200.0, 7500.0, 8900.0])
DUST = np.array([4.2, 3.3, 2.3, 1.7, 1.3])
LIMITS = {
    "STAR": (Limit("SDSS-R", 14.0, 19.5),),
    "GALAXY": (Limit("SDSS-R", 14.5, 18.5),),
    "QSO": (Limit("SDSS-I", 15.0, 19.1), Limit("SDSS-G", 16.0, 20.5)),
}
SHARE = {"STAR": 0.3, "GALAXY": 0.5, "QSO": 0.2}


def toy_class(kind, spectra, points, farthest, rng, alike=1.0):
    """A class whose colours are those of a step that moves through the bands."""
    place = np.linspace(np.log(1.01), np.log1p(farthest), points)
    place = place if points > 1 else np.zeros(1)
    density = np.ones((spectra, 1))
    if points > 1:
        rise, fall = rng.uniform(1, 3, (2, spectra, 1))
        density = place**rise * np.exp(-place / (fall * 0.2 * place[-1]))
        density /= np.trapezoid(density, place, axis=1)[:, None]
    red = rng.uniform(0, 1, (spectra, 1, 1))
    step = 1 / (1 + np.exp((4000 * np.exp(place)[:, None] - WAVELENGTH) / 400))
    colour = (0.4 + red) * (1 - step) + red * np.array([1.1, 0.4, 0, -0.2, -0.3])
    colour = alike * (colour + rng.normal(0, 0.05, (spectra, 1, 5)))
    dust = DUST * (1 + 0.05 * red) * KNOTS[:, None, None, None]
    weight = rng.gamma(2.0, size=spectra)
    family = Family(
        kind=kind,
        wavelength=np.linspace(1e3, 1e4, 3),
        flux=np.ones((spectra, 3), np.float32),
        weight=weight / weight.sum(),
        novel=np.arange(spectra) == spectra - 1,
        redshift=np.expm1(place),
        redshift_density=density,
        magnitude_mean=17.5 + 2 * place + rng.normal(0, 0.2, (spectra, 1)),
        magnitude_sigma=rng.uniform(0.6, 1.0, spectra),
        parameters={},
    )
    tracks = colour + dust - 0.3 * (KNOTS**2)[:, None, None, None]
    return ClassPrior(family, SHARE[kind], LIMITS[kind], BANDS, KNOTS, tracks)


def toy(points=(1, 10, 10), spectra=(3, 4, 3), seed=3, alike=0.5):
    rng = np.random.default_rng(seed)
    parts = zip(KINDS, spectra, points, (0.0, 0.5, 3.0), strict=True)
    return [toy_class(*part, rng, alike) for part in parts]


def colours(one, sed, low, share, ebv):
    """Colours between grid points `low` and the next, [b, c]."""
    high = np.minimum(low + 1, len(one.family.redshift) - 1)
    tracks = np.moveaxis(one.tracks, 0, -1)
    share = share[:, None, None]
    at = tracks[sed, low] * (1 - share) + tracks[sed, high] * share
    fit = np.polynomial.polynomial.polyfit(KNOTS, at.reshape(-1, len(KNOTS)).T, 2)
    powers = ebv[:, None] ** np.arange(3)
    return np.einsum("ebc,be->bc", fit.reshape(3, *at.shape[:2]), powers)


def fresh(one, count, ebv, rng, depth, zero_point, novel=False):
    """Objects of a class without selection: redshift, flux [b, 5]."""
    family = one.family
    sed = rng.choice(len(family), count, p=family.weights(novel=novel))
    low, share = np.zeros(count, int), np.zeros(count)
    place = np.log1p(family.redshift)
    if len(place) > 1:
        fine = np.linspace(place[0], place[-1], 40 * (len(place) - 1) + 1)
        middle = (fine[1:] + fine[:-1]) / 2
        for k in range(len(family)):
            rows = np.flatnonzero(sed == k)
            chance = np.interp(middle, place, family.redshift_density[k])
            which = rng.choice(len(middle), len(rows), p=chance / chance.sum())
            at = fine[which] + rng.uniform(size=len(rows)) * np.diff(fine)[0]
            low[rows] = np.clip(np.searchsorted(place, at) - 1, 0, len(place) - 2)
            share[rows] = (at - place[low[rows]]) / np.diff(place)[0]
    high = np.minimum(low + 1, len(place) - 1)
    mean = family.magnitude_mean
    mean = mean[sed, low] * (1 - share) + mean[sed, high] * share
    magnitude = rng.normal(mean, family.magnitude_sigma[sed])[:, None]
    shifted = magnitude + colours(one, sed, low, share, ebv) + zero_point
    true = 10 ** (-0.4 * (shifted - 22.5))
    flux = rng.normal(true, np.sqrt(depth**2 + (0.02 * true) ** 2))
    redshift = np.expm1(place[low] * (1 - share) + place[high] * share)
    return redshift, flux


def passes(one, flux):
    good = np.ones(len(flux), bool)
    with np.errstate(invalid="ignore"):
        magnitude = 22.5 - 2.5 * np.log10(flux)
    for limit in one.limits:
        seen = magnitude[:, BANDS.index(limit.band)]
        good &= (seen > limit.bright) & (seen < limit.faint)
    return good


def selected(classes, count, seed, depth=DEPTH, zero_point=0.0):
    """Selected objects: kind, redshift, E(B-V), flux."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, count, p=[one.share for one in classes])
    ebv = np.exp(rng.normal(-3.3, 0.5, count))
    redshift, flux = np.zeros(count), np.zeros((count, 5))
    for number, one in enumerate(classes):
        left = np.flatnonzero(kind == number)
        while len(left):
            z, f = fresh(one, len(left), ebv[left], rng, depth, zero_point)
            good = passes(one, f)
            redshift[left[good]], flux[left[good]] = z[good], f[good]
            left = left[~good]
    return kind, redshift, ebv, flux
