# SPDX-License-Identifier: MIT
"""The exact posterior against brute force.

The oracle shares no code with the library: dense sums in float64 with scipy's normal
distribution, and rejection sampling.
"""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm
from tests.mocksky.toy_classes import (
    BANDS,
    DEPTH,
    colours,
    fresh,
    passes,
    selected,
    toy,
)

from aion.errors import ConfigError, DataError
from aion.mocksky.cells import trapezoid
from aion.mocksky.evidence import Evidence
from aion.mocksky.posterior import ExactPosterior, Settings


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
