# SPDX-License-Identifier: MIT
"""Stamps: noise that is what it says, one scene for two cameras, masks, catalogue."""

from dataclasses import replace

import numpy as np
import pytest

from aion.errors import DataError
from aion.mocksky.camera import DECAM, HSC
from aion.mocksky.defects import draw_defects
from aion.mocksky.neighbours import Neighbours, draw_neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.render import render
from aion.mocksky.rgb import legacy_rgb
from aion.mocksky.scene import draw, target_sources
from aion.mocksky.segmentation import Detected, paint
from aion.mocksky.shapes import Shapes
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.mocksky.stamps import hsc_stamps, legacy_stamps

SKY = Sky(64)
CONDITIONS = SKY.conditions(int(SKY.cells()[0]))
NO_SHIFT = replace(CONDITIONS, zero_point=np.zeros(len(BAND_NAMES)))
COUNT = 12


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def objects(count: int = COUNT, radius: float = 0.8) -> Objects:
    """Galaxies of 20 mag, alike but for their angles; radius 0 is stars."""
    ones, r = np.ones(count), np.full(count, radius)
    return Objects(
        number=np.arange(count),
        ra=150 * ones,
        dec=2 * ones,
        cell=np.zeros(count, np.int64),
        kind=np.full(count, int(radius > 0), np.int8),
        sed=np.zeros(count, np.int32),
        redshift=0.1 * ones,
        magnitude=20 * ones,
        ebv=0.03 * ones,
        bulge_fraction=0.3 * ones * (radius > 0),
        bulge_sersic=4 * ones,
        disk_sersic=ones,
        bulge_radius=0.6 * r,
        disk_radius=r,
        bulge_axis_ratio=0.8 * ones,
        disk_axis_ratio=0.5 * ones,
        position_angle=np.linspace(0, 180, count),
        distance=np.nan * ones,
        pm_ra=0 * ones,
        pm_dec=0 * ones,
    )


def fluxes(bands: int, count: int = COUNT) -> np.ndarray:
    return np.tile(np.linspace(6.0, 14.0, bands), (count, 1))


CAMERAS = {"legacy": (legacy_stamps, DECAM), "hsc": (hsc_stamps, HSC)}


@pytest.mark.parametrize("name", CAMERAS)
def test_shapes_types_and_units(name):
    make, camera = CAMERAS[name]
    bands = len(camera.bands)
    stamps = make(objects(), fluxes(bands), NO_SHIFT, rng(), 96)
    shape = (COUNT, bands, 96, 96)
    for value in (stamps.flux, stamps.ivar, stamps.model):
        assert value.shape == shape and value.dtype == np.float32
    assert stamps.mask.dtype == bool
    assert stamps.mask.shape == ((COUNT, 96, 96) if name == "legacy" else shape)
    assert stamps.psf_fwhm.shape == (COUNT, bands)
    unit = 1.0 if name == "legacy" else 10 ** (0.4 * (27.0 - 22.5))
    total = stamps.model.sum((2, 3)) / unit
    np.testing.assert_allclose(total, fluxes(bands), rtol=0.03)
    assert np.abs(stamps.place - 47.5).max() <= 0.5


@pytest.mark.parametrize("name", CAMERAS)
def test_chi2_of_the_noise_is_one(name):
    make, camera = CAMERAS[name]
    near = draw_neighbours(objects(), rng(1))
    bands = len(camera.bands)
    stamps = make(objects(), fluxes(bands), CONDITIONS, rng(), 96, neighbours=near)
    good = stamps.ivar > 0
    chi2 = (stamps.flux - stamps.model) ** 2 * stamps.ivar
    assert chi2[good].mean() == pytest.approx(1.0, abs=0.01)
    bright = good & (stamps.model > np.quantile(stamps.model, 0.99))
    assert chi2[bright].mean() == pytest.approx(1.0, abs=0.06)
    assert np.array_equal(stamps.mask, good.all(axis=1) if name == "legacy" else good)


@pytest.mark.parametrize("name", CAMERAS)
def test_depth_is_the_error_of_a_point_source(name):
    """Optimally weighted fluxes of faint stars scatter by `Conditions.depth`."""
    make, camera = CAMERAS[name]
    bands, count = len(camera.bands), 64
    stars = objects(count, radius=0.0)
    stamps = make(stars, np.full((count, bands), 1e-3), NO_SHIFT, rng(3), 32)
    psf = stamps.model / stamps.model.sum((2, 3), keepdims=True)
    ivar = np.median(stamps.ivar, axis=(2, 3), keepdims=True)
    error = 1 / np.sqrt(np.sum(psf**2 * ivar, axis=(2, 3))) / camera.unit
    depth = CONDITIONS.of(camera.bands, "depth")
    np.testing.assert_allclose(error, np.tile(depth, (count, 1)), rtol=5e-3)


def test_same_dice_same_stamps():
    near = draw_neighbours(objects(), rng(1))
    first, second = (
        legacy_stamps(objects(), fluxes(4), CONDITIONS, rng(5), 96, neighbours=near)
        for _ in range(2)
    )
    for name in ("flux", "ivar", "mask", "model", "object_mask"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    other = legacy_stamps(objects(), fluxes(4), CONDITIONS, rng(6), 96, neighbours=near)
    assert not np.array_equal(first.flux, other.flux)


def test_zero_points_shift_the_images():
    shift = np.full(len(BAND_NAMES), 0.1)
    shifted = replace(CONDITIONS, zero_point=shift)
    one, two = (
        hsc_stamps(objects(), fluxes(5), which, rng(), 96).model.sum((2, 3))
        for which in (NO_SHIFT, shifted)
    )
    np.testing.assert_allclose(two / one, 10**-0.04, rtol=1e-4)


def test_two_cameras_see_one_scene():
    """The Legacy image of a field, on HSC's pixels, is HSC's image at its PSF."""
    near = draw_neighbours(objects(4), rng(2))
    legacy = legacy_stamps(objects(4), fluxes(4, 4), NO_SHIFT, rng(1), 160, near)
    hsc = hsc_stamps(objects(4), fluxes(5, 4), NO_SHIFT, rng(1), 160, near)
    for b in range(4):
        sky = []
        for stamps, scale, band, unit in (
            (legacy, 0.262, 1, 1.0),
            (hsc, 0.168, 1, HSC.unit),
        ):
            # Light in squares of 4 arcsec around the object's place on the sky.
            y, x = np.mgrid[:160, :160]
            east = -(x - stamps.place[b, 0]) * scale
            north = (y - stamps.place[b, 1]) * scale
            edges = np.arange(-10.0, 11.0, 4.0)
            light = stamps.model[b, band] / unit
            sky.append(
                np.histogram2d(
                    east.ravel(), north.ravel(), [edges, edges], weights=light.ravel()
                )[0].ravel()
            )
        assert np.corrcoef(*sky)[0, 1] > 0.98
        assert np.corrcoef(np.log(np.maximum(sky, 1e-2)))[0, 1] > 0.75


def test_neighbours_follow_the_counts():
    near = draw_neighbours(objects(400), rng(7))
    assert near.east.shape == (400, 64)
    area = 400 * (48 / 60) ** 2
    galaxies = near.valid & (near.radius > 0)
    for limit, expected in ((22.0, 18 * 10**-0.74), (24.0, 18.0)):
        found = (galaxies & (near.magnitude < limit)).sum() / area
        assert found == pytest.approx(expected, rel=0.12)
    flux = near.fluxes(HSC.bands)
    assert flux.shape == (400, 64, 5) and not flux[~near.valid].any()
    g_r = -2.5 * np.log10(flux[galaxies][:, 0] / flux[galaxies][:, 1])
    assert 0.3 < np.median(g_r) < 0.9


def test_neighbour_is_where_the_sky_has_it():
    """East is left, north is up."""
    one = {name: np.zeros((1, 1)) for name in Neighbours.__dataclass_fields__}
    one |= dict(east=np.full((1, 1), 5.0), north=np.full((1, 1), 3.0))
    one |= dict(magnitude=np.full((1, 1), 19.0), sersic=np.ones((1, 1)))
    one |= dict(axis_ratio=np.ones((1, 1)), valid=np.ones((1, 1), bool))
    stamps = hsc_stamps(
        objects(1, 0.0), np.full((1, 5), 1e-3), NO_SHIFT, rng(), 96, Neighbours(**one)
    )
    y, x = np.unravel_index(stamps.model[0, 1].argmax(), (96, 96))
    assert x == pytest.approx(stamps.place[0, 0] - 5 / 0.168, abs=0.6)
    assert y == pytest.approx(stamps.place[0, 1] + 3 / 0.168, abs=0.6)


def test_wide_and_narrow_torus_agree():
    """A large object is drawn apart from its neighbours; nobody sees the seam."""
    place, flux = np.full((1, 2), 47.5), np.ones((1, 5))
    fwhm = np.full((1, 5), 0.7)
    sigmas = (fwhm[..., None] / HSC.scale * HSC.psf.sigmas).astype(np.float32)
    for radius in (0.3, 1.0, 1.5, 2.0, 4.0):
        sources = target_sources(objects(1, radius), flux, HSC, place)
        image = draw(sources, None, HSC, fwhm, 96)
        weights = HSC.psf.weights.astype(np.float32)
        truth = np.asarray(render([sources], weights, sigmas, size=96, border=3.0))
        limit = 5e-4 if radius < 4 else 2e-3
        assert np.abs(image - truth).max() < limit * truth.max()


def test_catalogue_has_twenty_rows_faintest_first():
    near = draw_neighbours(objects(40), rng(9))
    stamps = legacy_stamps(objects(40), fluxes(4, 40), NO_SHIFT, rng(), 160, near)
    table = stamps.catalog
    assert {"TYPE", "X", "Y", "FLUX_I", "SHAPE_R", "SHAPE_E1"} <= set(table)
    for name, column in table.items():
        assert column.shape == (40, 20)
        whole = name in ("TYPE", "X", "Y")
        assert column.dtype == (np.int64 if whole else np.float64)
    there = table["TYPE"] > 0
    assert there.any(axis=1).all() and there.sum(1).max() > 1
    assert not table["FLUX_R"][~there].any()
    for row, used in zip(table["FLUX_I"], there, strict=True):
        assert np.all(np.diff(row[used]) >= 0)
    assert table["FLUX_Z"][there].min() > 10 ** (-0.4 * (21 - 22.5)) - 1e-9
    assert table["X"].min() >= 0 and table["X"].max() < 160
    middle = (np.abs(table["X"] - 80) <= 1) & (np.abs(table["Y"] - 80) <= 1)
    assert (middle & there).any(axis=1).all()


def test_segmentation_is_painted_by_type():
    near = draw_neighbours(objects(), rng(9))
    stamps = legacy_stamps(objects(), fluxes(4), NO_SHIFT, rng(), 160, near)
    mask = stamps.object_mask
    assert mask.dtype == np.uint8 and mask.shape == (COUNT, 160, 160)
    assert set(np.unique(mask)) <= {0, 2, 3, 4, 5}
    centre = np.round(stamps.place).astype(int)
    assert (mask[np.arange(COUNT), centre[:, 1], centre[:, 0]] > 0).all()
    assert stamps.segmentation.max() <= 1 and stamps.segmentation.dtype == np.float32


def test_painted_ellipse_has_the_documented_axes():
    shapes = [np.full((1, 1), v) for v in (3, 20 * 0.262, -1 / 3, 0.0)]
    place = np.full((1, 1), 80.0)
    flux, valid = np.ones((1, 1, 4)), np.ones((1, 1), bool)
    mask = paint(Detected(place, place, flux, Shapes(*shapes), valid), 160)[0]
    # e1 = -1/3: axis ratio 1/2, along east-west.
    assert (mask[80] > 0).sum() == 81 and (mask[:, 80] > 0).sum() == 41


def test_defects_are_marked():
    camera = replace(HSC, defects=30.0, edges=1.0)
    shape = (6, 5, 96, 96)
    defects = draw_defects(shape, camera, rng())
    bad = np.zeros(shape, bool)
    bad[defects.pixels] = True
    assert 0.001 < bad.mean() < 0.3
    assert np.isnan(defects.charge).any() and np.nanmin(defects.charge) > 0
    assert len(np.unique(defects.stamp)) == 6


def test_saturated_stars_are_masked():
    stars = objects(2, radius=0.0)
    stamps = legacy_stamps(stars, np.full((2, 4), 2e3), NO_SHIFT, rng(), 64)
    assert not stamps.mask[:, 31:33, 31:33].any()
    assert stamps.mask.mean() > 0.8
    assert stamps.flux.max() == pytest.approx(DECAM.saturation, rel=0.2)


def test_pictures():
    stamps = legacy_stamps(objects(2), fluxes(4, 2), NO_SHIFT, rng(), 64)
    assert stamps.rgb.shape == (2, 64, 64, 3) and stamps.rgb.dtype == np.uint8
    assert stamps.blobmodel[:, 32, 32].min() > stamps.blobmodel[:, 2, 2].max()
    red = legacy_rgb(np.array([0.0, 0.0, 1.0, 1.0], np.float32).reshape(1, 4, 1, 1))
    assert red[0, 0, 0, 0] > red[0, 0, 0, 2]


def test_wrong_bands_are_an_error():
    with pytest.raises(DataError, match="DES-G"):
        legacy_stamps(objects(), fluxes(5), CONDITIONS, rng(), 32)


@pytest.mark.real
def test_noise_is_like_that_of_a_real_coadd(real_data):
    """Variance of bright pixels over that of the sky, against DECaLS."""
    from astropy.io import fits

    path = real_data / "legacy" / "decals_dr9_grz_cutout_59.1067_-30.4848.fits"
    with fits.open(path) as hdus:
        for band, hdu in ((0, 1), (1, 3), (3, 5)):
            image, ivar = hdus[hdu].data, hdus[hdu + 1].data
            bright = image > 0.08
            real = np.median(ivar) / np.median(ivar[bright])
            ours = 1 + np.median(image[bright]) / DECAM.sky_flux[band]
            assert ours == pytest.approx(real, rel=0.15)
