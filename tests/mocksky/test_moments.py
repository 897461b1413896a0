# SPDX-License-Identifier: MIT
"""Shapes of the two surveys: conventions, GalSim's adaptive moments, noise."""

from dataclasses import replace

import galsim
import numpy as np
import pytest

from aion.mocksky.camera import HSC
from aion.mocksky.moments import adaptive_moments, hsc_moments, psf_moments
from aion.mocksky.objects import Objects
from aion.mocksky.scene import draw, target_sources
from aion.mocksky.shapes import TYPES, legacy_shapes, whole_profile
from aion.mocksky.sky import Sky

SKY = Sky(64)
CONDITIONS = SKY.conditions(int(SKY.cells()[0]))


def galaxies(count: int, **changes) -> Objects:
    """Bright galaxies that differ in size, shape and angle; the first is a star."""
    ones, rng = np.ones(count), np.random.default_rng(4)
    radius, ratio = rng.uniform(0.4, 1.5, count), rng.uniform(0.3, 0.9, count)
    whole = dict(number=np.arange(count), cell=np.zeros(count, np.int64))
    kind = np.r_[0, np.ones(count - 1)].astype(np.int8)
    real = dict(ra=150 * ones, dec=2 * ones, redshift=0.1 * ones, magnitude=19 * ones)
    real |= dict(
        ebv=0.03 * ones, distance=np.nan * ones, pm_ra=0 * ones, pm_dec=0 * ones
    )
    shape = dict(
        bulge_fraction=np.r_[0, rng.uniform(0, 1, count - 1)],
        bulge_sersic=4 * ones,
        disk_sersic=ones,
        bulge_radius=np.r_[0, 0.5 * radius[1:]],
        disk_radius=np.r_[0, radius[1:]],
        bulge_axis_ratio=0.5 * (1 + ratio),
        disk_axis_ratio=ratio,
        position_angle=rng.uniform(0, 180, count),
    )
    sed = dict(sed=np.zeros(count, np.int32), kind=kind)
    return replace(Objects(**whole, **sed, **real, **shape), **changes)


def test_adaptive_moments_as_galsim():
    objects = galaxies(6)
    fwhm = np.full((6, 1), 0.65)
    flux, place = np.ones((6, 1)), np.full((6, 2), 63.5)
    images = draw(target_sources(objects, flux, HSC, place), None, HSC, fwhm, 128)
    ours = adaptive_moments(objects, fwhm)
    for n in range(6):
        image = galsim.Image(images[n, 0].astype(np.float64), scale=1.0)
        theirs = galsim.hsm.FindAdaptiveMom(image)
        shape = theirs.observed_shape
        # GalSim's sigma is det^(1/4) in pixels, its e1 (xx - yy) / (xx + yy).
        size = ours.determinant[n, 0] ** 0.25 / HSC.scale
        assert size == pytest.approx(theirs.moments_sigma, rel=3e-3)
        trace = ours.xx[n, 0] + ours.yy[n, 0]
        e1, e2 = (ours.xx - ours.yy)[n, 0] / trace, 2 * ours.xy[n, 0] / trace
        assert (e1, e2) == pytest.approx((shape.e1, shape.e2), abs=3e-3)


def test_point_source_has_the_moments_of_the_psf():
    fwhm = np.array([[0.6, 0.8]])
    star, psf = adaptive_moments(galaxies(1), fwhm), psf_moments(fwhm)
    np.testing.assert_allclose(star.xx, psf.xx, rtol=1e-6)
    np.testing.assert_allclose(star.xy, 0, atol=1e-9)
    assert np.all(np.abs(2.355 * np.sqrt(psf.xx) / fwhm - 1.12) < 0.05)


def test_moments_get_noisy_for_faint_objects():
    objects = galaxies(400)
    spreads = []
    for flux in (0.5, 50.0):
        fluxes = np.full((400, 1), flux)
        rng = np.random.default_rng(0)
        seen = hsc_moments(objects, fluxes, CONDITIONS, rng)
        fwhm = np.broadcast_to(CONDITIONS.of(("HSC-I",), "psf_fwhm"), (400, 1))
        spreads.append(np.std(seen.xx / adaptive_moments(objects, fwhm).xx))
        assert seen.xx.min() > 0
    assert spreads[0] > 10 * spreads[1]


def test_whole_profile_is_the_disk_without_a_bulge():
    objects = galaxies(5, bulge_fraction=np.zeros(5), disk_sersic=np.full(5, 1.3))
    profile = whole_profile(objects)
    np.testing.assert_allclose(profile.radius[1:], objects.disk_radius[1:], rtol=1e-3)
    np.testing.assert_allclose(profile.sersic[1:], 1.3)
    assert profile.radius[0] == 0 and profile.axis_ratio[0] == 1
    mixed = whole_profile(galaxies(5, bulge_fraction=np.full(5, 0.5)))
    assert np.all(mixed.radius[1:] < objects.disk_radius[1:])
    assert np.all(mixed.radius[1:] > objects.bulge_radius[1:])


def test_ellipticity_is_tractors():
    ratio, angle = 0.5, 30.0
    same = dict(
        disk_axis_ratio=np.full(5, ratio),
        bulge_axis_ratio=np.full(5, ratio),
        position_angle=np.full(5, angle),
    )
    objects = galaxies(5, **same)
    rng = np.random.default_rng(1)
    shapes = legacy_shapes(objects, np.full((5, 4), 1e5), CONDITIONS, rng)
    length = (1 - ratio) / (1 + ratio)
    np.testing.assert_allclose(shapes.e1[1:], length * 0.5, atol=1e-3)
    np.testing.assert_allclose(shapes.e2[1:], length * np.sqrt(0.75), atol=1e-3)
    assert (shapes.e1[0], shapes.e2[0], shapes.radius[0]) == (0, 0, 0)
    assert TYPES[shapes.type[0]] == "PSF"


def test_faint_galaxies_are_round_exponentials():
    rng = np.random.default_rng(2)
    shapes = legacy_shapes(galaxies(50), np.full((50, 4), 0.3), CONDITIONS, rng)
    assert {TYPES[n] for n in shapes.type[1:]} == {"REX"}
    assert not shapes.e1.any() and not shapes.e2.any()
    assert shapes.radius[1:].min() > 0


def test_no_shape_is_impossible():
    rng = np.random.default_rng(3)
    for flux in (0.0, 1.0, 100.0):
        shapes = legacy_shapes(galaxies(300), np.full((300, 4), flux), CONDITIONS, rng)
        assert np.hypot(shapes.e1, shapes.e2).max() <= 0.951
        assert np.isfinite(shapes.radius).all()
