# SPDX-License-Identifier: MIT
"""Spectra in pixels against direct integration, noise against its own inverse variance
and against real files, fibres against GalSim."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.sparse import dia_array

from aion.errors import ConfigError, DataError
from aion.mocksky.fibre_cameras import boss, desi, sdss
from aion.mocksky.fibres import fibre_fraction
from aion.mocksky.grids import OBSERVED, OPTICAL_SIZE
from aion.mocksky.linespread import blur_matrix, lines_in_pixels, pixel_edges
from aion.mocksky.night_sky import night_sky, sky_table
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.pipelines import LIGHT, measure_dispersion, measure_redshifts
from aion.mocksky.sky import Sky
from aion.mocksky.spectrographs import observe_desi, observe_sdss

CAMERAS = {"DESI": desi, "SDSS": sdss, "BOSS": boss}
CONDITIONS = replace(Sky(64).conditions(1000), sky=1.0)


def some_objects(count, kind="STAR", **values):
    """Objects with zeros where no value is given."""
    columns = {f.name: np.zeros(count) for f in fields(Objects)}
    columns |= {"number": np.arange(count), "distance": np.full(count, np.nan)}
    columns["kind"] = np.full(count, KINDS.index(kind), np.int8)
    for name in ("bulge_axis_ratio", "disk_axis_ratio", "disk_sersic"):
        columns[name] = np.ones(count)
    columns["bulge_sersic"] = np.full(count, 4.0)
    columns |= {k: np.broadcast_to(v, count).copy() for k, v in values.items()}
    return Objects(**columns)


def lively_spectrum():
    """A continuum with a break, unresolved emission lines and absorption."""
    flux = 3.0 * (OBSERVED / 6000.0) ** -0.7 * np.where(OBSERVED > 4950.0, 1.0, 0.6)
    for line, height, width in (
        (4651.3, 30.0, 1.2),
        (6203.0, 8.0, 2.0),
        (8190.0, 50.0, 1.0),
        (5892.0, -1.5, 3.0),
    ):
        flux = flux + height * np.exp(-0.5 * ((OBSERVED - line) / width) ** 2)
    return flux


def flat_spectra(count, magnitude):
    flux = 3.631e-20 * 10 ** (-0.4 * magnitude) * 2.99792458e18 / OBSERVED**2 * 1e17
    return np.repeat(flux[None].astype(np.float32), count, axis=0)


@pytest.mark.parametrize("name", CAMERAS)
def test_pixel_is_the_mean_of_the_blurred_spectrum(name):
    camera = CAMERAS[name]()
    flux = lively_spectrum()
    fine = np.linspace(OBSERVED[0], OBSERVED[OPTICAL_SIZE - 1], 1_200_001)
    values = np.interp(fine, OBSERVED, flux)
    seen = camera.matrix @ flux[:OPTICAL_SIZE].astype(np.float32)
    rng = np.random.default_rng(0)
    for pixel in [0, len(seen) - 1, *rng.integers(0, len(seen), 30)]:
        low, high = camera.edges[pixel : pixel + 2]
        sigma = camera.sigma[pixel] * (high - low)
        near = np.abs(fine - low) < 20.0
        x, f = fine[near], values[near]
        places = np.linspace(low, high, 41)
        kernel = np.exp(-0.5 * ((x - places[:, None]) / sigma) ** 2)
        kernel /= np.trapezoid(kernel, x, axis=1)[:, None]
        want = np.trapezoid(np.trapezoid(kernel * f, x, axis=1), places) / (high - low)
        # The width of the blur changes a little across a pixel, the oracle's does not.
        assert seen[pixel] == pytest.approx(want, rel=2e-3)


@pytest.mark.parametrize("name", CAMERAS)
def test_light_is_conserved(name):
    camera = CAMERAS[name]()
    flux = lively_spectrum()
    seen = camera.matrix @ flux[:OPTICAL_SIZE].astype(np.float32)
    total = float(np.sum(seen.astype(np.float64) * np.diff(camera.edges)))
    inside = (camera.edges[0] < OBSERVED) & (camera.edges[-1] > OBSERVED)
    x = np.concatenate([camera.edges[:1], OBSERVED[inside], camera.edges[-1:]])
    assert total == pytest.approx(
        np.trapezoid(np.interp(x, OBSERVED, flux), x), rel=1e-5
    )


def test_light_is_conserved_where_the_blur_jumps():
    grid = np.arange(100.0, 200.0, 0.2)
    edges = np.arange(120.0, 180.5, 0.5)
    sigma = np.where(edges < 150, 0.4, 1.1)
    flux = np.exp(-0.5 * ((grid - 150.3) / 0.8) ** 2)
    seen = blur_matrix(grid, edges, sigma) @ flux.astype(np.float32)
    assert seen.sum() * 0.5 == pytest.approx(np.trapezoid(flux, grid), rel=1e-4)


@pytest.mark.parametrize("name", CAMERAS)
def test_width_of_an_unresolved_line(name):
    camera = CAMERAS[name]()
    for line in (4100.0, 5300.0, 6700.0, 8400.0):
        pixel = int(np.argmin(np.abs(camera.wavelength - line)))
        light = lines_in_pixels(
            np.array([line]), np.array([2.0]), camera.edges, camera.edge_sigma
        )
        weight = light * np.diff(camera.edges)
        assert weight.sum() == pytest.approx(2.0, rel=1e-6)
        place = np.arange(len(weight))
        centre = np.average(place, weights=weight)
        width = np.sqrt(np.average((place - centre) ** 2, weights=weight))
        assert width == pytest.approx(np.hypot(camera.sigma[pixel], 12**-0.5), rel=0.02)


def test_resolving_power_is_that_of_the_instruments():
    for camera, low, high in ((desi(), 2000, 5550), (sdss(), 1450, 2600)):
        step = np.diff(camera.edges)
        power = camera.wavelength / (2.3548 * camera.sigma * step)
        assert low < power.min() < 1.2 * low
        assert 0.85 * high < power.max() < high


def test_resolution_bands_are_a_matrix_that_blurs():
    camera = desi()
    offsets = np.arange(5, -6, -1)
    size = len(camera.wavelength)
    matrix = dia_array((camera.bands, offsets), shape=(size, size))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=2e-6)
    flux = lively_spectrum()
    seen = camera.matrix @ flux[:OPTICAL_SIZE].astype(np.float32)
    sharp = blur_matrix(
        OBSERVED[:OPTICAL_SIZE], camera.edges, np.full(size + 1, 1e-3)
    ) @ flux[:OPTICAL_SIZE].astype(np.float32)
    again = matrix @ sharp
    worst = np.abs(again - seen)[20:-20] / seen[20:-20].max()
    assert worst.max() < 0.03


@pytest.mark.parametrize("observe", [observe_desi, observe_sdss])
@pytest.mark.parametrize("magnitude", [17.0, 21.0])
def test_noise_is_what_the_inverse_variance_says(observe, magnitude):
    squares, pixels = 0.0, 0
    for seed in range(4):
        seen = observe(
            flat_spectra(64, magnitude),
            some_objects(64, magnitude=magnitude),
            CONDITIONS,
            np.random.default_rng(seed),
        )
        good = ~seen.mask_bad
        pull = (seen.flux - seen.truth) * np.sqrt(seen.ivar)
        squares += float(np.sum(pull[good].astype(np.float64) ** 2))
        pixels += int(good.sum())
    assert squares / pixels == pytest.approx(1.0, abs=0.01)


def test_truth_is_the_light_that_enters_the_fibre():
    galaxy = some_objects(2, "GALAXY", magnitude=20.0, disk_radius=np.array([0.1, 2.0]))
    spectra = np.repeat(lively_spectrum()[None], 2, axis=0)
    seen = observe_desi(spectra, galaxy, CONDITIONS, np.random.default_rng(0))
    light = (seen.truth * 0.8).sum(axis=1)
    inside = (OBSERVED > 3599.6) & (OBSERVED < 9824.4)
    total = np.trapezoid(spectra[0][inside], OBSERVED[inside])
    np.testing.assert_allclose(light, seen.fraction * total, rtol=3e-4)
    assert seen.fraction[1] < 0.4 < 0.95 < seen.fraction[0] <= 1


def test_bright_nights_and_short_exposures_are_noisier():
    def error(sky, magnitude, kind):
        seen = observe_desi(
            flat_spectra(32, 22.0),
            some_objects(32, kind, magnitude=magnitude),
            replace(CONDITIONS, sky=sky),
            np.random.default_rng(0),
        )
        return float(np.median(1 / np.sqrt(seen.ivar[seen.ivar > 0])))

    assert 1.2 < error(2.0, 22.0, "QSO") / error(1.0, 22.0, "QSO") < np.sqrt(2)
    assert error(1.0, 19.0, "STAR") > 2 * error(1.0, 19.0, "QSO")


def test_desi_arrays_are_those_of_its_files():
    seen = observe_desi(
        flat_spectra(8, 19.0),
        some_objects(8, magnitude=19.0),
        CONDITIONS,
        np.random.default_rng(0),
    )
    assert seen.flux.shape == (8, 7781)
    for name in ("flux", "ivar", "wavelength", "lsf_sigma", "truth", "lsf"):
        assert getattr(seen, name).dtype == np.float32, name
    assert seen.mask_bad.dtype == bool and 0 < seen.mask_bad.mean() < 0.01
    assert np.all((seen.ivar == 0) == seen.mask_bad)
    np.testing.assert_allclose(seen.wavelength, 3600 + 0.8 * np.arange(7781), rtol=1e-7)
    assert np.ptp(seen.lsf_sigma) == 0
    assert seen.lsf is not None and seen.lsf.shape == (11, 7781)


def test_sdss_rows_are_padded_as_in_its_files():
    magnitude = np.array([16.0, 21.0, 16.5, 20.0])
    seen = observe_sdss(
        flat_spectra(4, 19.0),
        some_objects(4, magnitude=magnitude),
        CONDITIONS,
        np.random.default_rng(0),
    )
    assert seen.instrument.tolist() == ["SDSS", "BOSS", "SDSS", "BOSS"]
    assert seen.lsf is None
    for row, length in enumerate(seen.length):
        inside, beyond = slice(0, length), slice(length, None)
        assert np.all(np.diff(seen.wavelength[row, inside]) > 0)
        step = np.diff(np.log10(seen.wavelength[row, inside].astype(np.float64)))
        np.testing.assert_allclose(step, 1e-4, atol=2e-7)
        assert np.all(seen.wavelength[row, beyond] == -1)
        assert np.all(seen.ivar[row, beyond] == 0)
        assert seen.mask_bad[row, beyond].all()
        assert np.all(seen.flux[row, beyond] == seen.flux[row, length - 1])
        assert np.all(seen.lsf_sigma[row, beyond] == seen.lsf_sigma[row, length - 1])
    first, last = seen.wavelength[:, 0], seen.wavelength[range(4), seen.length - 1]
    np.testing.assert_allclose(first, [3799, 3600, 3799, 3600], atol=1.0)
    np.testing.assert_allclose(last, [9196, 10394, 9196, 10394], atol=15.0)


def test_sdss_flags_the_brightest_sky():
    camera = sdss()
    seen = observe_sdss(
        flat_spectra(16, 17.0),
        some_objects(16, magnitude=17.0),
        CONDITIONS,
        np.random.default_rng(0),
    )
    green = int(np.argmin(np.abs(camera.wavelength - 5578.9)))
    assert seen.mask_bad[:, green].all()
    assert 0.005 < seen.mask_bad[:, :3830].mean() < 0.1


def test_same_dice_same_spectra():
    def once():
        return observe_sdss(
            flat_spectra(4, 19.0),
            some_objects(4, magnitude=np.array([16.0, 20, 21, 17])),
            CONDITIONS,
            np.random.default_rng(3),
        )

    np.testing.assert_array_equal(once().flux, once().flux)


def test_spectra_on_another_grid_are_refused():
    with pytest.raises(DataError, match="OBSERVED"):
        observe_desi(
            np.zeros((2, 100)), some_objects(2), CONDITIONS, np.random.default_rng(0)
        )


def test_brightest_lines_of_the_sky_are_oxygen_and_hydroxyl():
    table = sky_table()
    line, light = table["line_wavelength"], table["line_brightness"]
    blue = line < 7000.0
    assert line[blue][np.argmax(light[blue])] == pytest.approx(5578.9, abs=0.5)
    for known in (6302.0, 8346.9, 8401.5, 8829.5, 9378.5):  # vacuum; Hanuschik 2003
        near = np.abs(line - known) < 1.0
        assert light[near].sum() > 10.0, known
    edges = pixel_edges(np.arange(4000.0, 9000.0, 1.0))
    sky = night_sky(edges, np.full(len(edges), 1.0))
    assert 0.2 < np.median(sky) < 2.0


@pytest.mark.parametrize("index", [1.0, 4.0])
@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0])
def test_light_in_a_fibre_against_galsim(index, radius):
    galsim = pytest.importorskip("galsim")

    def aperture(profile, diameter, seeing):
        star = galsim.Gaussian(fwhm=seeing)
        image = galsim.Convolve(profile, star) if profile else star
        pixels = image.drawImage(nx=200, ny=200, scale=0.05).array
        y, x = np.indices(pixels.shape) - 99.5
        return pixels[np.hypot(x, y) * 0.05 < diameter / 2].sum()

    profile = galsim.Sersic(index, half_light_radius=radius).shear(g1=0.2, g2=0.0)
    ratio = (1 - 0.2) / (1 + 0.2)
    galaxy = some_objects(
        1,
        "GALAXY",
        disk_radius=radius / np.sqrt(ratio),
        disk_axis_ratio=ratio,
        disk_sersic=index,
    )
    for diameter, seeing in ((1.5, 1.1), (3.0, 1.5)):
        want = aperture(profile, diameter, seeing) / aperture(None, diameter, seeing)
        got = fibre_fraction(galaxy, diameter, seeing)[0]
        assert got == pytest.approx(want, abs=0.02)


def test_stars_lose_no_light():
    np.testing.assert_allclose(fibre_fraction(some_objects(3), 1.5, 1.1), 1.0)


@pytest.mark.parametrize("survey", ["sdss", "desi"])
def test_measured_redshifts(survey):
    count = 20_000
    objects = some_objects(count, "GALAXY", redshift=0.4, magnitude=20.0)
    rng = np.random.default_rng(0)
    good = measure_redshifts(objects, np.full(count, 5.0), survey, rng)
    kept = good.warning == 0
    assert kept.mean() > 0.995
    pull = (good.z - 0.4) / good.error
    assert np.median(np.abs(pull)) == pytest.approx(0.6745, rel=0.03)
    assert np.median(good.error) * LIGHT / 1.4 < 60.0
    poor = measure_redshifts(objects, np.full(count, 0.3), survey, rng)
    assert 0.2 < (poor.warning != 0).mean() < 0.4
    assert np.median(poor.error) > 3 * np.median(good.error)


def test_measured_redshifts_are_of_two_surveys():
    with pytest.raises(ConfigError, match="sdss"):
        measure_redshifts(some_objects(1), np.ones(1), "hsc", np.random.default_rng(0))


def test_dispersions_are_of_galaxies_alone():
    rng = np.random.default_rng(0)
    galaxies = some_objects(
        500, "GALAXY", redshift=0.1, magnitude=16.4, bulge_fraction=1.0
    )
    velocity, error = measure_dispersion(galaxies, np.full(500, 20.0), rng)
    assert 170 < np.median(velocity) < 230 and np.all(error > 0)
    velocity, error = measure_dispersion(some_objects(5), np.ones(5), rng)
    assert not velocity.any() and not error.any()


@pytest.mark.real
def test_noise_is_that_of_a_real_sdss_star(real_data):
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(real_data / "sdss" / "spec-0266-51602-0031.fits") as file:
        data = file[1].data
        wavelength = 10.0 ** data["loglam"].astype(float)
        flux, ivar = data["flux"].astype(float), data["ivar"].astype(float)
    smooth = np.convolve(np.pad(flux, 50, "edge"), np.ones(101) / 101, "valid")
    spectra = np.interp(OBSERVED, wavelength, smooth)[None]
    seen = observe_sdss(
        spectra, some_objects(1, magnitude=18.0), CONDITIONS, np.random.default_rng(5)
    )
    for low in (3900, 4500, 5100, 6300, 7000, 7800, 8500):
        real = (wavelength > low) & (wavelength < low + 600) & (ivar > 0)
        mock = (seen.wavelength[0] > low) & (seen.wavelength[0] < low + 600)
        ours = np.median(1 / np.sqrt(seen.ivar[0][mock & (seen.ivar[0] > 0)]))
        assert ours == pytest.approx(np.median(1 / np.sqrt(ivar[real])), rel=0.3), low


@pytest.mark.real
def test_noise_is_that_of_a_real_desi_galaxy(real_data):
    fits = pytest.importorskip("astropy.io.fits")
    (path,) = (real_data / "desi").glob("coadd-*.fits")
    camera = desi()
    with fits.open(path) as file:
        for arm, low, high in (("B", 3800, 5650), ("R", 5900, 7450), ("Z", 7750, 9800)):
            wavelength = file[f"{arm}_WAVELENGTH"].data.astype(float)
            flux, ivar = (file[f"{arm}_{n}"].data[0] for n in ("FLUX", "IVAR"))
            ours = np.abs(camera.wavelength - np.round(camera.wavelength, 1)) < 1e-6
            ours &= (camera.wavelength > low) & (camera.wavelength < high)
            theirs = (wavelength > low) & (wavelength < high)
            level = max(float(np.median(flux[theirs])), 0.0)
            variance = (level + camera.sky) / camera.electrons
            variance += camera.read_variance / camera.electrons**2
            # The file's effective exposure is three times the nominal one.
            for q in (25, 50, 90):
                want = np.percentile(3.0 / ivar[theirs], q) ** 0.5
                got = np.percentile(variance[ours], q) ** 0.5
                assert got == pytest.approx(want, rel=0.25), (arm, q)
