# SPDX-License-Identifier: MIT
"""The renderer against GalSim, and what must hold of any picture of the sky."""

import galsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aion.mocksky.psf import Psf, gaussian, moffat
from aion.mocksky.render import NARROW, WIDE, Sources, grid_size, render, spread
from aion.mocksky.sersic import SIGMAS, enclosed, sersic_weights

OFFSET = (0.3, -0.2)
BETA = 3.5
CAMERAS = {"DECam": (0.262, 1.2), "HSC": (0.168, 0.61)}
# Half-light radius in arcsec, axis ratio.
SIZES = ((0.3, 0.2), (0.3, 1.0), (1.0, 0.4), (4.0, 0.2), (4.0, 1.0))


def one(n, radius, ratio, angle, scale, size, flux=(1.0,)) -> Sources:
    """One galaxy near the middle; radius in arcsec, `scale` arcsec per pixel."""
    shape = spread(
        np.array([[radius / scale]]), np.array([[ratio]]), np.array([[angle]])
    )
    middle = (size - 1) / 2
    arrays = (
        [[middle + OFFSET[0]]],
        [[middle + OFFSET[1]]],
        shape,
        sersic_weights(np.array([[n]])),
        np.array(flux)[None, :, None],
    )
    return Sources(*(np.asarray(a, np.float32) for a in arrays))


def drawn(source, psf: Psf, fwhm, scale, size, border=WIDE) -> np.ndarray:
    sigmas = np.reshape(fwhm, (1, -1, 1)) / scale * psf.sigmas
    arrays = psf.weights.astype(np.float32), sigmas.astype(np.float32)
    return np.asarray(render([source], *arrays, size=size, border=border))[0]


def oracle(n, radius, ratio, angle, psf, scale, size) -> np.ndarray:
    """The same by GalSim, whose angles run from +x and whose radius is a mean one."""
    galaxy = galsim.Sersic(n, half_light_radius=radius * ratio**0.5)
    galaxy = galaxy.shear(q=ratio, beta=(90 + angle) * galsim.degrees)
    image = galsim.Convolve(
        galaxy,
        psf,
        gsparams=galsim.GSParams(maximum_fft_size=16384, maxk_threshold=2e-4),
    ).drawImage(  # pyright: ignore[reportCallIssue]
        nx=size, ny=size, scale=scale, offset=galsim.PositionD(*OFFSET)
    )
    return image.array


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("shape", ["gaussian", "moffat"])
@pytest.mark.parametrize(
    ("n", "tolerance"),
    [
        (0.5, 5e-3),
        (0.8, 1e-3),
        (1.0, 1e-3),
        (2.5, 1e-3),
        (4.0, 1e-3),
        (5.0, 1e-3),
        (6.0, 5e-3),
    ],
)
def test_as_galsim(camera, shape, n, tolerance):
    scale, fwhm = CAMERAS[camera]
    ours = gaussian() if shape == "gaussian" else moffat(BETA)
    theirs = (
        galsim.Gaussian(fwhm=fwhm)
        if shape == "gaussian"
        else galsim.Moffat(BETA, fwhm=fwhm)
    )
    for radius, ratio in SIZES:
        image = drawn(one(n, radius, ratio, 35.0, scale, 96), ours, fwhm, scale, 96)[0]
        truth = oracle(n, radius, ratio, 35.0, theirs, scale, 96)
        worst = np.abs(image - truth).max() / truth.max()
        assert worst < tolerance, (radius, ratio, worst)


def test_narrow_border_is_enough_for_compact_sources():
    scale, fwhm = CAMERAS["HSC"]
    psf = galsim.Moffat(BETA, fwhm=fwhm)
    for n in (1.0, 4.0):
        radius = 0.06 * 96 * scale
        source = one(n, radius, 0.7, 80.0, scale, 96)
        image = drawn(source, moffat(BETA), fwhm, scale, 96, NARROW)[0]
        truth = oracle(n, radius, 0.7, 80.0, psf, scale, 96)
        assert np.abs(image - truth).max() < 5e-4 * truth.max()


def test_point_source_as_galsim():
    for camera, (scale, fwhm) in CAMERAS.items():
        image = drawn(one(1.0, 0.0, 1.0, 0.0, scale, 64), moffat(BETA), fwhm, scale, 64)
        truth = galsim.Moffat(BETA, fwhm=fwhm).drawImage(
            nx=64, ny=64, scale=scale, offset=galsim.PositionD(*OFFSET)
        )
        worst = np.abs(image[0] - truth.array).max() / truth.array.max()
        assert worst < 3e-4, camera


@pytest.mark.parametrize("n", [0.5, 1.0, 4.0])
def test_flux_is_conserved(n):
    image = drawn(one(n, 0.6, 0.5, 20.0, 0.262, 128), gaussian(), 1.2, 0.262, 128)
    weights = sersic_weights(np.array(n))
    inside = enclosed(weights, np.array(64 * 0.262 / 0.6))
    assert image.sum() == pytest.approx(1.0, abs=1e-3 + 1 - inside)
    assert image.min() > -1e-6


def test_position_angle_runs_from_north_to_east():
    """North is up and east is left: at 45 degrees the axis points to the upper left."""
    for angle, corner in ((45.0, (1, -1)), (135.0, (1, 1))):
        image = drawn(one(1.0, 1.5, 0.3, angle, 0.262, 64), gaussian(), 1.0, 0.262, 64)[
            0
        ]
        y, x = np.mgrid[:64, :64] - 31.5
        assert np.sign(np.sum(image * x * y)) == corner[0] * corner[1]
    up = drawn(one(1.0, 1.5, 0.3, 0.0, 0.262, 64), gaussian(), 1.0, 0.262, 64)[0]
    assert np.sum(up * y**2) > 2 * np.sum(up * x**2)


def test_bands_share_the_shape_and_have_their_own_psf_and_flux():
    source = one(2.0, 1.0, 0.6, 10.0, 0.262, 64, flux=(1.0, 3.0))
    both = drawn(source, gaussian(), (1.0, 1.5), 0.262, 64)
    for band, (flux, fwhm) in enumerate(((1.0, 1.0), (3.0, 1.5))):
        alone = one(2.0, 1.0, 0.6, 10.0, 0.262, 64, flux=(flux,))
        single = drawn(alone, gaussian(), fwhm, 0.262, 64)[0]
        np.testing.assert_allclose(both[band], single, atol=1e-6 * flux)


def test_sources_add_up_and_work_under_jit_and_grad():
    source = one(1.0, 1.0, 0.6, 10.0, 0.262, 48)
    two = Sources(
        *(
            np.concatenate([a, a], axis=-1 if n in (0, 1, 4) else 1)
            for n, a in enumerate(source)
        )
    )
    single = drawn(source, gaussian(), 1.2, 0.262, 48)
    np.testing.assert_allclose(
        drawn(two, gaussian(), 1.2, 0.262, 48), 2 * single, atol=1e-6
    )
    weights, sigmas = jnp.ones(1), jnp.full((1, 1, 1), 2.0)

    @jax.jit
    def total(flux):
        return render([source._replace(flux=flux)], weights, sigmas, size=48).sum()

    assert jax.grad(total)(source.flux)[0, 0, 0] == pytest.approx(1.0, abs=0.02)


def test_last_gaussians_alone_may_be_given():
    source = one(1.0, 1.0, 0.6, 10.0, 0.262, 48)
    kept = source.weights[..., 7:].copy()
    kept[..., 0] += source.weights[..., :7].sum(-1)
    image = drawn(source._replace(weights=kept), gaussian(), 1.2, 0.262, 48)
    whole = drawn(source, gaussian(), 1.2, 0.262, 48)
    assert np.abs(image - whole).max() < 1e-3 * whole.max()


def test_sersic_weights_are_shares_and_smooth_in_n():
    n = np.linspace(0.5, 6.0, 400)
    weights = sersic_weights(n)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(enclosed(weights, np.ones(400)), 0.5, atol=1e-3)
    for radius in (0.3, 3.0):
        light = enclosed(weights, np.full(400, radius))
        assert np.abs(np.diff(light)).max() < 0.01
    assert sersic_weights(np.array(0.5))[np.argmin(np.abs(SIGMAS - 0.8493))] > 0.999


def test_effective_area_is_that_of_the_pixels():
    for psf in (gaussian(), moffat(BETA)):
        for fwhm in (2.5, 4.0):
            image = drawn(one(1.0, 0.0, 1.0, 0.0, 1.0, 96), psf, fwhm, 1.0, 96)[0]
            area = 1 / np.sum(image.astype(np.float64) ** 2)
            assert psf.area(np.array(fwhm)) == pytest.approx(area, rel=2e-3)


def test_grid_is_even_and_has_small_factors():
    assert [grid_size(size, NARROW) for size in (96, 160)] == [120, 192]
    assert grid_size(96, WIDE) >= 2.2 * 96
