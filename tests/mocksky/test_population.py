# SPDX-License-Identifier: MIT
"""Draws under a selection against brute force, on a toy library of three spectra."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from aion.errors import ConfigError
from aion.mocksky.cells import Limit
from aion.mocksky.family import Family
from aion.mocksky.grids import STEP
from aion.mocksky.morphology import LARGEST, SMALLEST, galaxy_shapes, half_light_radius
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.population import FLOOR, Population, observe
from aion.mocksky.responses import band_fluxes, magnitudes
from aion.mocksky.samples import SAMPLES, Sample, Selection
from aion.mocksky.seds import spectra
from aion.mocksky.sky import BAND_NAMES, Sky

R = BAND_NAMES.index("DES-R")


def toy(kind, *, sigma=0.8, mean=20.0, nodes=30):
    """Three power laws, the last of them novel."""
    wavelength = 900.0 * np.exp(STEP * 10 * np.arange(5_900))
    slopes = np.array([-2.0, -0.5, 1.0])[:, None]
    flux = ((wavelength / 6000) ** slopes).astype(np.float32)
    redshift = np.expm1(np.linspace(0.05, 0.9, nodes)) if nodes > 1 else np.zeros(1)
    density = np.ones((3, nodes))
    if nodes > 1:
        density = np.log1p(redshift) ** np.array([[1.0], [2.0], [0.0]])
        density /= np.trapezoid(density, np.log1p(redshift), axis=1)[:, None]
    return Family(
        kind,
        wavelength,
        flux,
        np.array([0.5, 0.3, 0.2]),
        np.array([False, False, True]),
        redshift,
        density,
        mean + 2 * redshift + np.zeros((3, 1)),
        np.array([sigma, sigma / 2, sigma]),
        {},
    )


FAMILIES = {"STAR": toy("STAR", nodes=1), "GALAXY": toy("GALAXY"), "QSO": toy("QSO")}
FAINT = (Limit("DES-R", 17.0, 21.0), Limit("SDSS-U", 15.0, 22.4))


def sample(**shares):
    classes = (Selection(kind, share, FAINT) for kind, share in shares.items())
    return Sample("toy", tuple(classes))


def population(count=600, *, motions=None, **shares):
    shares = shares or {"STAR": 0.3, "GALAXY": 0.5, "QSO": 0.2}
    sky = Sky(count, seed=3, per_cell=200, block=100)
    return Population(sky, FAMILIES, sample(**shares), motions)


def everything(who):
    parts = [who.draw(block) for block in who.sky.blocks()]
    truth = Objects.concatenate(objects for objects, _ in parts)
    return truth, np.concatenate([photometry.flux for _, photometry in parts])


def test_a_block_is_the_same_at_every_call_and_for_everybody():
    blocks = list(population().sky.blocks())
    first, second = population(), population()
    second.draw(blocks[2])
    one, two = first.draw(blocks[1]), second.draw(blocks[1])
    for name in Objects.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one[0], name), getattr(two[0], name))
    np.testing.assert_array_equal(one[1].flux, two[1].flux)
    np.testing.assert_array_equal(
        one[0].number, blocks[1].start + np.arange(blocks[1].count)
    )


def test_all_pass_the_limits_and_classes_have_their_shares():
    truth, flux = everything(population(3000))
    magnitude = magnitudes(flux)
    for limit in FAINT:
        column = magnitude[:, BAND_NAMES.index(limit.band)]
        assert column.min() >= limit.bright and column.max() <= limit.faint
    found = np.bincount(truth.kind, minlength=3) / len(truth)
    np.testing.assert_allclose(found, [0.3, 0.5, 0.2], atol=0.03)


def test_draws_are_the_prior_times_the_chance_to_pass():
    who = population(5000, GALAXY=1.0)
    truth, _ = everything(who)
    cells = [c for c in who.sky.cells().tolist() if not who.sky.conditions(c).test]
    truth = truth.take(np.isin(truth.cell, cells))
    family, rng = FAMILIES["GALAXY"], np.random.default_rng(0)
    # Brute force: everything from the prior, in cells like those of the sky.
    count, grid = 400_000, np.log1p(family.redshift)
    sed = rng.choice(3, count, p=family.weights(novel=False))
    fine = np.linspace(grid[0], grid[-1], 4001)
    place = np.empty(count)
    for row in range(2):
        rows = np.flatnonzero(sed == row)
        density = np.interp(fine, grid, family.redshift_density[row])
        sums = np.cumsum(density)
        place[rows] = np.interp(rng.random(len(rows)), sums / sums[-1], fine)
    redshift = np.expm1(place)
    magnitude = 20.0 + 2 * redshift
    magnitude += family.magnitude_sigma[sed] * rng.standard_normal(count)
    cell = rng.choice(cells, count)
    passed = np.zeros(count, bool)
    for one in cells:
        conditions = who.sky.conditions(one)
        rows = np.flatnonzero((cell == one) & (magnitude < 21.4))
        ebv = conditions.ebv * np.exp(0.1 * rng.standard_normal(len(rows)))
        empty = {name: np.zeros(len(rows)) for name in Objects.__dataclass_fields__}
        kind = np.full(len(rows), KINDS.index("GALAXY"), np.int8)
        rest = dict(sed=sed[rows], redshift=redshift[rows], kind=kind, ebv=ebv)
        objects = Objects(**empty | rest | {"magnitude": magnitude[rows]})
        keep = rng.random(len(rows)) < 0.12
        rows, objects = rows[keep], objects.take(keep)
        true = band_fluxes(spectra(objects, FAMILIES), BAND_NAMES).astype(float)
        seen = magnitudes(observe(true, conditions, rng).flux)
        inside = np.ones(len(rows), bool)
        for limit in FAINT:
            column = seen[:, BAND_NAMES.index(limit.band)]
            inside &= (column > limit.bright) & (column < limit.faint)
        passed[rows] = inside
    assert passed.sum() > 3000
    share = np.bincount(sed[passed], minlength=3) / passed.sum()
    found = np.bincount(truth.sed, minlength=3) / len(truth)
    np.testing.assert_allclose(found, share, atol=0.03)
    assert stats.ks_2samp(truth.redshift, redshift[passed]).pvalue > 1e-3
    assert stats.ks_2samp(truth.magnitude, magnitude[passed]).pvalue > 1e-3


def test_noise_is_the_depth_of_the_cell_and_two_percent():
    sky = Sky(100, seed=2)
    conditions = sky.conditions(int(sky.cells()[0]))
    rng = np.random.default_rng(0)
    true = np.tile(10 ** rng.uniform(-2, 3, 21), (20_000, 1))
    measured = observe(true, conditions, rng)
    shifted = true[0] * 10 ** (-0.4 * conditions.zero_point)
    sigma = np.hypot(conditions.depth, FLOOR * shifted)
    pull = (measured.flux - shifted) / sigma
    np.testing.assert_allclose(pull.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(pull.std(0), 1, atol=0.03)
    assert (measured.sigma >= conditions.depth).all()


def test_novel_spectra_live_in_test_cells_alone():
    who = population(3000)
    test = {cell: who.sky.conditions(cell).test for cell in who.sky.cells().tolist()}
    truth, _ = everything(who)
    inside = np.array([test[cell] for cell in truth.cell.tolist()])
    assert not (truth.sed[~inside] == 2).any()
    if inside.any():
        assert (truth.sed[inside] == 2).any()


def test_stars_move_if_they_are_told_to():
    def motions(family, sed, magnitude, ra, dec, rng):
        size = len(sed)
        return SimpleNamespace(
            redshift=np.full(size, 1e-4),
            distance=np.full(size, 500.0),
            pm_ra=rng.normal(size=size),
            pm_dec=rng.normal(size=size),
        )

    truth, _ = everything(population(300, motions=motions))
    star = truth.kind == KINDS.index("STAR")
    assert (truth.distance[star] == 500).all() and np.isnan(truth.distance[~star]).all()
    assert len(np.unique(truth.pm_ra[star])) == star.sum()
    assert (truth.parallax[star] == 2).all() and (truth.parallax[~star] == 0).all()


def test_the_posterior_gets_shares_limits_and_tracks():
    priors = population().class_priors(("DES-G",))
    assert [prior.family.kind for prior in priors] == ["STAR", "GALAXY", "QSO"]
    assert priors[1].bands == ("DES-G", "DES-R", "SDSS-U")
    assert priors[1].tracks.shape == (len(priors[1].knots), 3, 30, 3)
    assert priors[1].limits == FAINT and priors[1].share == 0.5


def test_impossible_wishes_are_refused():
    sky = Sky(50, seed=1)
    with pytest.raises(ConfigError, match="family"):
        Population(sky, {"STAR": FAMILIES["STAR"]}, sample(GALAXY=1.0))
    bright = (Selection("GALAXY", 1.0, (Limit("DES-R", -60.0, -50.0),)),)
    with pytest.raises(ConfigError, match="Widen"):
        Population(sky, FAMILIES, Sample("bright", bright)).draw(next(sky.blocks()))
    with pytest.raises(ConfigError, match="sum to"):
        sample(STAR=0.5, QSO=0.4)
    with pytest.raises(ConfigError, match="DES-Q"):
        Sample("q", (Selection("STAR", 1.0, (Limit("DES-Q", 1.0, 2.0),)),))
    with pytest.raises(ConfigError, match="at most once"):
        Sample("twice", (Selection("STAR", 0.5, FAINT), Selection("STAR", 0.5, FAINT)))
    assert {"sdss", "desi", "sky"} <= set(SAMPLES)


def test_sizes_and_shapes_follow_mass_type_and_redshift():
    # Shen et al. 2003, equations 17 and 18 with the parameters of table 1.
    late, early = half_light_radius(np.array([10.6, 10.6]), np.array([0.0, 1.0]))
    mass = 10**10.6
    assert late == pytest.approx(0.1 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25)
    assert early == pytest.approx(2.88e-6 * mass**0.56)
    count = 4000
    parameters = {"share_3": np.array([0.05, 0.95])}
    family = replace(FAMILIES["GALAXY"], parameters=parameters)
    sed = np.repeat([0, 1], count)
    shapes = galaxy_shapes(
        family,
        sed,
        np.full(2 * count, 0.1),
        np.full(2 * count, 10.7),
        np.random.default_rng(1),
    )
    blue, red = sed == 0, sed == 1
    assert np.median(shapes.bulge_fraction[blue]) < 0.2
    assert np.median(shapes.bulge_fraction[red]) > 0.7
    assert np.median(shapes.bulge_sersic[red]) > np.median(shapes.bulge_sersic[blue])
    for radius in (shapes.bulge_radius, shapes.disk_radius):
        assert radius.min() >= SMALLEST and radius.max() <= LARGEST
    for ratio in (shapes.bulge_axis_ratio, shapes.disk_axis_ratio):
        assert ratio.min() > 0.15 and ratio.max() <= 1
    # Thin disks seen from anywhere: half of them are flatter than 0.53.
    assert np.median(shapes.disk_axis_ratio) == pytest.approx(0.53, abs=0.02)
