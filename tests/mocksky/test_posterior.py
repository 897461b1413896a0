# SPDX-License-Identifier: MIT
"""The exact posterior against brute force, and against the truth of fresh objects.

The oracle shares no code with the library: dense sums in float64 with scipy's normal
distribution, and rejection sampling.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr
from scipy.stats import norm

from aion.errors import ConfigError, DataError
from aion.eval.calibration import calibration_error, ks_statistic
from aion.mocksky.cells import ClassPrior, Limit, cells, trapezoid
from aion.mocksky.evidence import Evidence
from aion.mocksky.family import Family
from aion.mocksky.likelihood import log_integrals, log_probability
from aion.mocksky.objects import KINDS
from aion.mocksky.posterior import ExactPosterior, Settings
from aion.mocksky.redshifts import RedshiftPosterior
from aion.mocksky.sightings import sightings
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.mocksky.sums import Summer, single
from aion.mocksky.universe import universe

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


def brute_force(classes, evidence, row, novel=False):
    """Joint probability of class, spectrum and grid point: list of [k, n], sum 1."""
    ebv, shift = evidence.ebv[row], evidence.zero_point[row]
    low, high = evidence.low[row], evidence.high[row]
    parts = []
    for one in classes:
        family = one.family
        spectra, points = family.magnitude_mean.shape
        least, most = np.full(5, -np.inf), np.full(5, np.inf)
        for limit in one.limits:
            at = BANDS.index(limit.band)
            least[at], most[at] = (
                10 ** (-0.4 * (m - 22.5)) for m in (limit.faint, limit.bright)
            )
        prior = family.weights(novel=novel)[:, None] * family.redshift_density
        prior = prior * trapezoid(np.log1p(family.redshift))
        joint, passing = np.zeros((spectra, points)), 0.0
        for k, n in np.ndindex(spectra, points):
            sigma = family.magnitude_sigma[k]
            m = family.magnitude_mean[k, n] + sigma * np.linspace(-7, 7, 2501)
            weight = norm.pdf(m, family.magnitude_mean[k, n], sigma) * (m[1] - m[0])
            where = np.array([n]), np.zeros(1), np.array([ebv])
            colour = colours(one, np.array([k]), *where)[0]
            true = 10 ** (-0.4 * (m[:, None] + colour + shift - 22.5))
            depth = np.nan_to_num(evidence.depth[row], nan=1.0)
            noise = np.sqrt(depth**2 + (0.02 * true) ** 2)

            def between(a, b, true=true, noise=noise):
                a, b = (a - true) / noise, (b - true) / noise
                return np.where(a > 0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))

            passing += prior[k, n] * weight @ between(least, most).prod(axis=1)
            chance = between(np.maximum(low, least), np.minimum(high, most))
            exact = low == high
            inside = (low > least) & (low < most)
            density = norm.pdf(np.where(exact, low, 0.0), true, noise) * inside
            factor = np.where(exact, density, np.maximum(chance, 0.0))
            joint[k, n] = prior[k, n] * weight @ factor.prod(axis=1)
        parts.append(one.share * joint / passing)
    total = sum(part.sum() for part in parts)
    return [part / total for part in parts]


def assert_like_brute_force(classes, evidence, novel=False):
    exact = ExactPosterior(classes, BANDS, novel=novel)
    kind, all_kinds = exact.kind_and_redshift(evidence)
    galaxy, sed = exact.redshift(evidence, "GALAXY"), exact.sed(evidence, "GALAXY")
    width = trapezoid(np.log1p(classes[1].family.redshift))
    for row in range(len(evidence)):
        joint = brute_force(classes, evidence, row, novel)
        np.testing.assert_allclose(
            kind[row], [part.sum() for part in joint], rtol=3e-4, atol=1e-6
        )
        np.testing.assert_allclose(all_kinds.probabilities[row].sum(), 1, atol=1e-5)
        if not joint[1].any():
            assert np.isnan(galaxy.left[row]).all() and np.isnan(sed[row]).all()
            continue
        # A class that is asked for in vain: logarithms of -1000 in 32 bits.
        near = 3e-4 if joint[1].sum() > 1e-40 else 3e-3
        part = joint[1] / joint[1].sum()
        np.testing.assert_allclose(sed[row], part.sum(axis=1), rtol=near, atol=1e-6)
        density = part.sum(axis=0) / width
        scale = density.max() * 1e-5
        np.testing.assert_allclose(galaxy.left[row], density[:-1], near, scale)
        np.testing.assert_allclose(galaxy.right[row], density[1:], near, scale)


@pytest.fixture(scope="module")
def sky():
    classes = toy()
    _, _, ebv, flux = selected(classes, 8, 5)
    return classes, ebv, flux


@pytest.mark.parametrize("novel", [False, True])
def test_fluxes_like_brute_force(sky, novel):
    classes, ebv, flux = sky
    shift = np.array([0.03, -0.02, 0.01, 0.0, 0.05])
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv, zero_point=shift)
    assert_like_brute_force(classes, evidence.take(slice(0, 3 if novel else 8)), novel)


def test_missing_bands_like_brute_force(sky):
    classes, ebv, flux = sky
    flux = flux[:6].copy()
    for row, band in [(0, 2), (1, 3), (1, 1), (2, 0), (2, 4), (3, 2), (3, 1), (3, 3)]:
        flux[row, band] = np.nan
    flux[4, [0, 1, 3, 4]] = np.nan
    flux[5, [0, 1, 2, 3]] = np.nan
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv[:6])
    assert_like_brute_force(classes, evidence)


def test_faint_and_negative_fluxes_like_brute_force(sky):
    classes, ebv, _ = sky
    # Shallow bands: the selected objects are hardly seen in the others.
    flux = np.array(
        [
            [-3.0, 2.0, np.nan, -1.0, 4.0],
            [0.1, -9.0, 60.0, np.nan, np.nan],
            [-20.0, -20.0, np.nan, np.nan, -20.0],
            [30.0, 30.0, np.nan, 41.0, 30.0],
        ]
    )
    depth = np.array([8.0, 9.0, 0.1, 10.0, 12.0])
    evidence = Evidence.fluxes(BANDS, flux, depth=depth, ebv=ebv[:4])
    assert_like_brute_force(classes, evidence)


def test_intervals_like_brute_force(sky):
    classes, ebv, flux = sky
    flux = flux[:8]
    step = np.array([0.05, 0.02, 0.1, 0.4, 0.01])
    low, high = flux * (1 - step), flux * (1 + step / 2)
    low[0, 2], high[1, 2], low[2], high[3] = -np.inf, np.inf, -np.inf, np.inf
    low[4, 1:3], high[4, 1:3] = -np.inf, np.inf
    low[5, :2] = high[5, :2] = flux[5, :2]
    evidence = Evidence.bins(BANDS, low, high, depth=DEPTH, ebv=ebv[:8])
    assert_like_brute_force(classes, evidence)


def test_nothing_measured_is_the_selected_prior(sky):
    classes, ebv, _ = sky
    nothing = np.full((2, 5), np.nan)
    evidence = Evidence.fluxes(BANDS, nothing, depth=DEPTH, ebv=ebv[:2])
    kind = ExactPosterior(classes, BANDS).kind(evidence)
    np.testing.assert_allclose(kind, [[0.3, 0.5, 0.2]] * 2, rtol=2e-3)
    many = toy(points=(1, 60, 60), spectra=(20, 20, 20))
    kind = ExactPosterior(many, BANDS).kind(evidence)
    np.testing.assert_allclose(kind, [[0.3, 0.5, 0.2]] * 2, rtol=2e-4)


def test_share_that_passes_like_rejection(sky):
    classes, _, _ = sky
    exact = ExactPosterior(classes, BANDS)
    shift = np.array([0.1, -0.1, 0.05, 0.2, 0.0])
    ebv = np.array([0.02, 0.08, 0.2])
    nothing = np.full((3, 5), np.nan)
    evidence = Evidence.fluxes(BANDS, nothing, depth=DEPTH, ebv=ebv, zero_point=shift)
    found = np.exp(exact._selection.log_passing(evidence))
    count = 100_000
    for number, one in enumerate(classes):
        for row, reddening in enumerate(ebv):
            rng = np.random.default_rng(row)
            same = np.full(count, reddening)
            share = passes(one, fresh(one, count, same, rng, DEPTH, shift)[1]).mean()
            error = np.sqrt(share * (1 - share) / count)
            assert abs(found[row, number] - share) < 4 * error + 1e-3 * share


def test_what_is_left_out_does_not_matter():
    classes = toy(points=(1, 60, 60), spectra=(40, 30, 20))
    _, _, ebv, flux = selected(classes, 12, 6)
    flux[::3, :2] = np.nan
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv)
    full = np.flatnonzero(np.isfinite(flux).all(axis=1))
    low, high = flux[full] - 0.02 * abs(flux[full]), flux[full] * 1.02 + 0.01
    bins = Evidence.bins(BANDS, low, high, depth=DEPTH, ebv=ebv[full])
    for seen in (evidence, bins):
        quick = ExactPosterior(classes, BANDS)
        whole = ExactPosterior(classes, BANDS, lost=0.0)
        np.testing.assert_allclose(quick.kind(seen), whole.kind(seen), atol=1e-4)
        for kind in (None, "GALAXY"):
            a, b = quick.redshift(seen, kind), whole.redshift(seen, kind)
            gap = np.abs(a.probabilities - b.probabilities).sum(axis=1)
            assert np.nanmax(gap) < 2e-4


def test_probability_of_an_interval_like_scipy():
    rng = np.random.default_rng(0)
    sigma = 10 ** rng.uniform(-2, 3, 5000)
    middle, width = rng.normal(0, 6, 5000), 10 ** rng.uniform(-5, 1.5, 5000)
    ends = [sigma * (middle - width / 2), sigma * (middle + width / 2), sigma]
    low, high, sigma = (x.astype(np.float32).astype(float) for x in ends)
    low[:100], high[100:200] = -np.inf, np.inf
    low[200], high[200] = -np.inf, np.inf
    keep = low < high
    a, b = (low / sigma)[keep], (high / sigma)[keep]
    with np.errstate(divide="ignore", invalid="ignore"):
        flip = np.nan_to_num(a + b) > 0
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        thin = -(((a + b) / 2) ** 2) / 2 + np.log((b - a) / np.sqrt(2 * np.pi))
        wide = log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b)))
    expected = np.where(b - a < 1e-3, thin, wide)
    args = (jnp.asarray(x[keep], jnp.float32) for x in (low, high, sigma))
    np.testing.assert_allclose(log_probability(*args), expected, rtol=2e-6, atol=2e-6)


def test_narrow_intervals_are_fluxes_and_endless_ones_nothing(sky):
    classes, ebv, flux = sky
    exact = ExactPosterior(classes, BANDS)
    known = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv)
    thin = 1e-5 * np.abs(flux)
    narrow = Evidence.bins(BANDS, flux - thin, flux + thin, depth=DEPTH, ebv=ebv)
    np.testing.assert_allclose(exact.kind(narrow), exact.kind(known), atol=2e-4)
    a, b = exact.redshift(narrow), exact.redshift(known)
    assert np.abs(a.probabilities - b.probabilities).sum(axis=1).max() < 1e-3
    absent = np.full_like(flux, np.nan)
    endless = Evidence.magnitude_bins(
        BANDS,
        np.full_like(flux, -np.inf),
        np.full_like(flux, np.inf),
        depth=DEPTH,
        ebv=ebv,
    )
    nothing = Evidence.fluxes(BANDS, absent, depth=DEPTH, ebv=ebv)
    np.testing.assert_array_equal(exact.kind(endless), exact.kind(nothing))


@pytest.fixture(scope="module")
def fresh_objects():
    classes = toy(points=(1, 100, 120), spectra=(6, 6, 6), seed=4, alike=0.25)
    depth = 8 * DEPTH
    kind, redshift, ebv, flux = selected(classes, 1200, 7, depth)
    return classes, kind, redshift, Evidence.fluxes(BANDS, flux, depth=depth, ebv=ebv)


def test_calibrated_on_fresh_objects(fresh_objects):
    classes, kind, redshift, evidence = fresh_objects
    exact = ExactPosterior(classes, BANDS)
    chance, answer = exact.kind_and_redshift(evidence)
    assert 0.02 < np.mean(chance.argmax(axis=1) != kind) < 0.5
    for number in range(3):
        said, happened = chance[:, number], kind == number
        error = np.sqrt(np.sum(said * (1 - said)))
        assert abs(np.sum(said - happened)) < 3 * error
        assert calibration_error(said, happened) < 0.03
    pit = answer.pit(redshift, seed=0)
    assert ks_statistic(pit) < 1.63 / np.sqrt(len(pit))
    for number in (1, 2):
        rows = np.flatnonzero(kind == number)
        known = exact.redshift(evidence.take(rows), KINDS[number])
        assert ks_statistic(known.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))


def test_calibrated_given_tokens(fresh_objects):
    classes, kind, redshift, evidence = fresh_objects
    edges = np.sinh(np.linspace(-4, 9, 60))
    token = np.searchsorted(edges, evidence.low) - 1
    rows = np.flatnonzero(kind == 1)
    bins = Evidence.bins(
        BANDS,
        edges[token][rows],
        edges[token + 1][rows],
        depth=evidence.depth[rows],
        ebv=evidence.ebv[rows],
    )
    exact = ExactPosterior(classes, BANDS)
    coarse, fine = (
        exact.redshift(bins, "GALAXY"),
        exact.redshift(evidence.take(rows), "GALAXY"),
    )
    assert ks_statistic(coarse.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))
    gain = fine.log_density(redshift[rows]) - coarse.log_density(redshift[rows])
    assert gain.mean() > 0.1


def test_unknown_depth(fresh_objects):
    classes, kind, redshift, _ = fresh_objects
    factors, weight = np.array([1.0, 60.0]), np.array([0.6, 0.4])
    exact = ExactPosterior(classes, BANDS)
    parts = []
    for seed, factor in enumerate(factors):
        made = selected(classes, int(600 * weight[seed]), seed, DEPTH * factor)
        parts.append((*made, np.tile(DEPTH * factor, (len(made[0]), 1))))
    kind, redshift, ebv, flux, depth = map(np.concatenate, zip(*parts, strict=True))
    rows = np.flatnonzero(kind == 1)
    evidence = Evidence.fluxes(BANDS, flux, depth=depth, ebv=ebv).take(rows)
    settings = Settings(factors[:, None] * DEPTH, np.zeros((2, 5)), weight)
    known = exact.redshift(evidence, "GALAXY")
    unknown = exact.redshift(evidence, "GALAXY", settings=settings)
    assert ks_statistic(unknown.pit(redshift[rows])) < 1.63 / np.sqrt(len(rows))
    gain = known.log_density(redshift[rows]) - unknown.log_density(redshift[rows])
    assert gain.mean() > 0.0
    assert unknown.std.mean() > known.std.mean()


def test_one_setting_is_a_known_depth(sky):
    classes, ebv, flux = sky
    exact = ExactPosterior(classes, BANDS)
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv)
    once = Settings(DEPTH[None], np.zeros((1, 5)), np.ones(1))
    np.testing.assert_allclose(
        exact.kind(evidence, settings=once), exact.kind(evidence), rtol=1e-6
    )


def test_impossible_evidence_is_nan(sky):
    classes, ebv, flux = sky
    flux = flux[:2].copy()
    flux[0, 2:4] = -1.0
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv[:2])
    exact = ExactPosterior(classes, BANDS)
    posterior = exact.redshift(evidence)
    assert np.isnan(exact.kind(evidence)).any(axis=1).tolist() == [True, False]
    for numbers in (
        posterior.median,
        posterior.pit(np.array([0.1, 0.1])),
        posterior.mean,
    ):
        assert np.isnan(numbers).tolist() == [True, False]


def test_density_is_consistent_with_itself():
    rng = np.random.default_rng(0)
    edges = np.expm1(np.linspace(0.01, 1.0, 21))
    nodes = rng.gamma(0.5, size=(5, 21))
    total = ((nodes[:, 1:] + nodes[:, :-1]) / 2).sum(axis=1) * np.diff(np.log1p(edges))[
        0
    ]
    nodes /= total[:, None]
    posterior = RedshiftPosterior(edges, nodes[:, :-1], nodes[:, 1:])
    np.testing.assert_allclose(posterior.probabilities.sum(axis=1), 1.0)
    levels = np.array([0.01, 0.3, 0.5, 0.99])
    quantiles = posterior.quantile(levels)
    for level, values in zip(levels, quantiles, strict=True):
        np.testing.assert_allclose(posterior.cdf(values), level, atol=1e-12)
    np.testing.assert_array_equal(posterior.median, quantiles[2])
    z = np.expm1(np.linspace(0.01, 1.0, 200_001))
    row = RedshiftPosterior(edges, posterior.left[:1], posterior.right[:1])
    many = RedshiftPosterior(
        edges, *(np.repeat(x, len(z), axis=0) for x in (row.left, row.right))
    )
    density = np.exp(many.log_density(z))
    np.testing.assert_allclose(np.trapezoid(density, z), 1.0, rtol=1e-4)
    np.testing.assert_allclose(np.trapezoid(density * z, z), row.mean[0], rtol=1e-4)
    variance = np.trapezoid(density * (z - row.mean[0]) ** 2, z)
    np.testing.assert_allclose(np.sqrt(variance), row.std[0], rtol=1e-3)
    draws = posterior.draw(4000, seed=0)
    for column in range(5):
        one = RedshiftPosterior(
            edges,
            np.repeat(posterior.left[column : column + 1], 4000, axis=0),
            np.repeat(posterior.right[column : column + 1], 4000, axis=0),
        )
        assert ks_statistic(one.pit(draws[:, column])) < 1.63 / np.sqrt(4000)
    with pytest.raises(DataError, match="probabilities"):
        posterior.quantile(1.5)
    with pytest.raises(DataError, match="one redshift per object"):
        posterior.cdf(np.zeros(3))


def test_errors_name_the_fix(sky):
    classes, ebv, flux = sky
    with pytest.raises(ConfigError, match="in the order STAR"):
        ExactPosterior(classes[::-1], BANDS)
    with pytest.raises(ConfigError, match="no tracks of STAR in DES-G"):
        ExactPosterior(classes, ("DES-G",))
    with pytest.raises(DataError, match="without depth"):
        Evidence.fluxes(BANDS, flux, depth=np.nan, ebv=ebv)
    with pytest.raises(DataError, match="low <= high"):
        Evidence.bins(BANDS, flux + 1, flux, depth=1.0, ebv=ebv)
    with pytest.raises(DataError, match="objects and bands"):
        Evidence.fluxes(BANDS, flux[0], depth=1.0, ebv=ebv)
    exact = ExactPosterior(classes[1:], ("SDSS-U",))
    assert exact.bands == ("SDSS-U", "SDSS-R", "SDSS-I", "SDSS-G")
    evidence = Evidence.fluxes(BANDS, flux, depth=1.0, ebv=ebv)
    with pytest.raises(DataError, match="SDSS-Z"):
        exact.kind(evidence)
    unlimited = Evidence.fluxes(("SDSS-U",), flux[:, :1], depth=1.0, ebv=ebv)
    with pytest.raises(DataError, match="depth there too"):
        exact.kind(unlimited)
    with pytest.raises(ConfigError, match="no class 'STAR'"):
        exact.redshift(unlimited, "STAR")


def test_gaussians_have_a_closed_form():
    # One band at the calibration floor is nearly a Gaussian in magnitude, and the
    # integral is then one too, of the summed variances.
    one = toy_class("GALAXY", 1, 2, 0.02, np.random.default_rng(2))
    family = one.family
    magnitude = family.magnitude_mean[0, 0] + np.linspace(-2, 2, 9)
    colour = one.tracks[0, 0, 0, 2]
    cell = {
        "kind": np.ones(1, np.int32),
        "mean": family.magnitude_mean[0, :1].astype(np.float32),
        "sigma": family.magnitude_sigma.astype(np.float32),
        "colour": one.colour(BANDS)[0, :1],
    }
    free = ClassPrior(family, 1.0, (), BANDS, KNOTS, one.tracks)
    span = Summer(cells([free], BANDS, novel=True), 0.0).span(np.zeros(1))
    for m in magnitude:
        flux = np.full((1, 5), np.nan)
        flux[0, 2] = 10 ** (-0.4 * (m + colour - 22.5))
        evidence = Evidence.fluxes(BANDS, flux, depth=1e-4, ebv=0.0)
        ready = sightings(evidence, np.full((1, 5), -np.inf), span, 8.5)
        seen = {k: jnp.asarray(single(v[0])) for k, v in ready.integral.items()}
        seen |= {k: jnp.zeros((3, 5)) for k in ("low", "high")}
        found = log_integrals(
            {k: jnp.asarray(v) for k, v in cell.items()},
            seen,
            jnp.zeros(1, jnp.int32),
            nodes=int(ready.nodes[0]),
            points=(2,),
            intervals=(),
        )
        per_mag = np.log(10) / 2.5
        wide = np.hypot(family.magnitude_sigma[0], 0.02 / per_mag)
        expected = norm.logpdf(m, family.magnitude_mean[0, 0], wide)
        expected -= np.log(per_mag * flux[0, 2])
        total = float(found[0]) + ready.log_unit[0]
        np.testing.assert_allclose(total, expected, atol=2e-3)


def test_pieces_of_evidence(sky):
    classes, ebv, flux = sky
    evidence = Evidence.fluxes(BANDS, flux, depth=DEPTH, ebv=ebv)
    parts = [evidence.take(slice(0, 3)), evidence.take(slice(3, None))]
    again = Evidence.concatenate(parts)
    np.testing.assert_array_equal(again.low, evidence.low)
    some = evidence.given(("SDSS-G", "SDSS-R"))
    assert some.measured.sum(axis=0).tolist() == [0, len(ebv), len(ebv), 0, 0]
    absent = flux.copy()
    absent[:, [0, 3, 4]] = np.nan
    same = Evidence.fluxes(BANDS, absent, depth=DEPTH, ebv=ebv)
    exact = ExactPosterior(classes, ("SDSS-G",))
    np.testing.assert_array_equal(exact.kind(some), exact.kind(same))
    with pytest.raises(DataError, match="different bands"):
        Evidence.concatenate([evidence, evidence.arranged(BANDS[::-1])])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sample", "bands"),
    [("sdss", BANDS), ("sky", ("DES-G", "DES-R", "DES-I", "DES-Z", "WISE-W1"))],
)
def test_calibrated_on_the_true_population(sample, bands):
    count = 10_000
    population = universe(Sky(count, seed=12), sample)
    kind, redshift, test, seen = [], [], [], []
    for block in population.sky.blocks():
        here = population.sky.conditions(block.cell)
        truth, photometry = population.draw(block)
        kind.append(truth.kind)
        redshift.append(truth.redshift)
        test.append(np.full(len(truth), here.test))
        known = {"depth": here.depth, "zero_point": here.zero_point}
        seen.append(
            Evidence.fluxes(BAND_NAMES, photometry.flux, ebv=truth.ebv, **known)
        )
    kind, redshift, test = map(np.concatenate, (kind, redshift, test))
    evidence = Evidence.concatenate(seen).given(bands)
    pit, chance = np.zeros(count), np.zeros((count, 3))
    for novel in (False, True):
        rows = np.flatnonzero(test == novel)
        exact = ExactPosterior.of(population, bands, novel=novel)
        chance[rows], answer = exact.kind_and_redshift(evidence.take(rows))
        pit[rows] = answer.pit(redshift[rows], seed=0)
        few = evidence.take(rows[:5])
        whole = ExactPosterior.of(population, bands, novel=novel, lost=0.0)
        np.testing.assert_allclose(whole.kind(few), chance[rows[:5]], atol=1e-4)
        gap = whole.redshift(few).probabilities - answer.probabilities[:5]
        assert np.abs(gap).sum(axis=1).max() < 2e-4
    assert ks_statistic(pit) < 0.015
    for number in range(3):
        said, happened = chance[:, number], kind == number
        error = np.sqrt(np.sum(said * (1 - said)))
        assert abs(np.sum(said - happened)) < 3.5 * error
        assert calibration_error(said, happened) < 0.01
