# SPDX-License-Identifier: MIT
# pyright: reportIndexIssue=false, reportCallIssue=false
"""Files as surveys publish them, real ones and small made ones of the same form."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from aion.errors import DataError
from aion.layouts import DESI_GRID
from aion.modality import MODALITIES
from aion.observation import in_unit
from aion.surveys.native import NativeSource
from aion.surveys.native_images import Cutouts, HscArrays
from aion.surveys.native_spectra import line_width
from aion.surveys.opening import open_survey


def read_all(source):
    return [r for p in source.partitions() for r in source.read(p)]


def one(path, **rest):
    (records,) = read_all(open_survey(path, **rest))
    for name, observation in records.observations.items():
        if name in MODALITIES:
            in_unit(observation, MODALITIES[name])
    return records


def write_coadd(folder, count=2, shift=0.0):
    """A small DESI coadd: flux 1 in B, 2 in R, 3 in Z, weights 1, 3 and 1."""
    folder.mkdir(exist_ok=True)
    ids = np.arange(count) + 39633345008634465
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("TARGETID", "K", array=ids),
            fits.Column("TARGET_RA", "D", array=np.full(count, 150.0)),
            fits.Column("TARGET_DEC", "D", array=np.full(count, 2.0)),
        ],
        name="FIBERMAP",
    )
    hdus = [fits.PrimaryHDU(), table]
    arms = {"B": (0, 2751, 1, 1), "R": (2700, 5026, 2, 3), "Z": (4900, 7781, 3, 1)}
    for arm, (first, last, flux, weight) in arms.items():
        size = last - first
        mask = np.zeros((count, size), np.int32)
        mask[0, :2] = 4
        arrays = {
            "WAVELENGTH": DESI_GRID[first:last] + shift,
            "FLUX": np.full((count, size), flux, np.float32),
            "IVAR": np.full((count, size), weight, np.float32),
            "MASK": mask,
        }
        hdus += [fits.ImageHDU(v, name=f"{arm}_{k}") for k, v in arrays.items()]
    fits.HDUList(hdus).writeto(folder / "coadd-1.fits", overwrite=True)
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns(
                [
                    fits.Column("TARGETID", "K", array=ids[::-1][:1]),
                    fits.Column("Z", "D", array=np.array([0.5])),
                    fits.Column("ZERR", "D", array=np.array([1e-4])),
                    fits.Column("ZWARN", "K", array=np.array([4])),
                    fits.Column("SPECTYPE", "6A", array=np.array(["QSO"])),
                ],
                name="REDSHIFTS",
            ),
        ]
    ).writeto(folder / "redrock-1.fits", overwrite=True)
    return folder / "coadd-1.fits"


def test_three_arms_on_one_grid(tmp_path):
    records = one(write_coadd(tmp_path / "desi"))
    spectrum = records.observations["desi_spectrum"]
    np.testing.assert_array_equal(spectrum.wavelength, DESI_GRID)
    assert spectrum.flux.shape == (2, 7781)
    at = {"b": 100, "b and r": 2720, "r": 4000, "r and z": 5000, "z": 7000}
    flux = {name: spectrum.flux[1, pixel] for name, pixel in at.items()}
    assert flux == {"b": 1, "b and r": 1.75, "r": 2, "r and z": 2.25, "z": 3}
    ivar = [spectrum.ivar[1, pixel] for pixel in at.values()]
    assert ivar == [1, 4, 3, 4, 1]
    assert spectrum.mask[1].all()
    assert not spectrum.mask[0, :2].any(), "masked in its only arm"
    assert spectrum.mask[0, 2700] and spectrum.flux[0, 2700] == 1, "masked in R alone"


def test_redshifts_are_joined_by_id(tmp_path):
    records = one(write_coadd(tmp_path / "desi"))
    redshift = records.observations["redshift"].values
    assert np.isnan(redshift[0]) and redshift[1] == 0.5
    assert records.observations["redshift_quality"].labels.tolist() == ["", "warned"]
    (tmp_path / "desi" / "redrock-1.fits").unlink()
    assert "redshift" not in one(tmp_path / "desi").observations


def test_an_arm_off_the_grid(tmp_path):
    path = write_coadd(tmp_path / "desi", shift=0.01)
    with pytest.raises(DataError, match=r"arm B is not on the grid") as caught:
        one(path)
    assert str(path) in str(caught.value)


def test_line_width_of_a_gaussian():
    from scipy.stats import norm

    edges = np.arange(-5.5, 6.0)
    for sigma in (0.7, 1.1):
        row = np.diff(norm.cdf(edges / sigma))
        got = line_width(np.tile(row[:, None], (2, 1, 3)))
        np.testing.assert_allclose(got, sigma, rtol=1e-3)


def write_cutout(path, size=40):
    """A small coadd cutout whose pixel values tell their place."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [20.5, 20.5]
    wcs.wcs.cdelt = [-0.262 / 3600, 0.262 / 3600]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    hdus = [fits.PrimaryHDU()]
    for n, band in enumerate("grz"):
        for kind, values in (("image", 100 * y + x + n / 10), ("invvar", y * 0 + n)):
            header = wcs.to_header()
            header["BAND"], header["IMAGETYP"], header["BRICK"] = band, kind, "1500p020"
            hdus.append(fits.ImageHDU(values, header))
    fits.HDUList(hdus).writeto(path)
    return path


def test_stamps_of_a_cutout(tmp_path):
    path = write_cutout(tmp_path / "cutout.fits")
    whole = one(path).observations["legacy_image"]
    assert [band.name for band in whole.bands] == ["DES-G", "DES-R", "DES-Z"]
    assert whole.flux.shape == (1, 3, 40, 40)
    assert not whole.mask[:, 0].any() and whole.mask[:, 1:].all()
    frame = fits.getheader(path, 1)
    x, y = np.array([20, 10, 1]), np.array([20, 31, 39])
    ra, dec = WCS(frame).all_pix2world(x, y, 0)
    cutouts = Cutouts(tuple(ra), tuple(dec), 9, ("a", "b", "c"))
    source = NativeSource((path,), cutouts, "legacy", 2017.5, batch=2)
    records = read_all(source)
    assert [r.object_id.tolist() for r in records] == [["a", "b"], ["c"]]
    flux = records[0].observations["legacy_image"].flux
    assert flux.shape == (2, 3, 9, 9)
    np.testing.assert_allclose(flux[:, 0, 4, 4], 100 * y[:2] + x[:2])
    np.testing.assert_allclose(flux[0, 0, :, 0], 100 * np.arange(16, 25) + 16)
    edge = records[1].observations["legacy_image"]
    assert not edge.mask[0, 1, 5:].any() and not edge.mask[0, 1, :, :3].any()
    assert edge.mask[0, 1, :5, 3:].all() and (edge.ivar[~edge.mask] == 0).all()
    place = edge.wcs[0].all_world2pix(ra[2], dec[2], 0)
    np.testing.assert_allclose(place, (4, 4), atol=1e-6)
    even = Cutouts(tuple(ra), tuple(dec), 8)
    (records,) = read_all(NativeSource((path,), even, "legacy", 2017.5))
    assert records.observations["legacy_image"].flux.shape == (3, 3, 8, 8)


def test_arrays_of_hsc(tmp_path):
    rng = np.random.default_rng(0)
    flux, sigma = rng.normal(size=(2, 9, 9)).astype(np.float32)
    bad = np.zeros((9, 9))
    bad[3, 4] = 1
    for name, values in (("im", flux), ("sig", np.abs(sigma)), ("mask", bad)):
        np.save(tmp_path / f"g_{name}.npy", values)
    image = one(tmp_path / "g_im.npy").observations["hsc_image"]
    assert not image.mask[0, 0, 3, 4] and image.mask.sum() == 80
    np.testing.assert_allclose(image.ivar[0, 0], sigma**-2.0, rtol=1e-5)
    placed = HscArrays("HSC-R", 150.0, 2.0)
    source = NativeSource((tmp_path / "g_im.npy",), placed, "hsc", 2016.5)
    (records,) = read_all(source)
    assert records.ra[0] == 150.0
    assert records.observations["hsc_image"].bands[0].name == "HSC-R"
    (tmp_path / "g_sig.npy").unlink()
    with pytest.raises(DataError, match=r"no file .*g_sig\.npy"):
        one(tmp_path / "g_im.npy")


def test_broken_native_files(tmp_path):
    good = write_coadd(tmp_path / "desi")
    content = good.read_bytes()
    source = open_survey(good)
    good.write_bytes(content[: len(content) // 2 + 7])
    with pytest.raises(DataError) as caught:
        read_all(source)
    assert str(good) in str(caught.value) and "\n" not in str(caught.value)
    source = open_survey(tmp_path / "desi", on_bad="quarantine")
    assert not read_all(source)
    assert [fault.path for fault in source.report.faults] == [str(good)]


def test_a_file_that_tells_nothing_is_not_passed_over(tmp_path):
    write_coadd(tmp_path)
    (tmp_path / "coadd-2.fits").write_bytes(b"SIMPLE")
    with pytest.raises(DataError, match=r"coadd-2\.fits: cannot be read"):
        read_all(open_survey(tmp_path))
    source = open_survey(tmp_path, on_bad="quarantine")
    assert sum(len(r) for r in read_all(source)) == 2
    assert [f.path for f in source.report.faults] == [str(tmp_path / "coadd-2.fits")]


def test_a_folder_of_several_kinds(tmp_path):
    write_coadd(tmp_path)
    write_cutout(tmp_path / "cutout.fits")
    with pytest.raises(DataError, match=r"several kinds .*coadd-1\.fits.*cutout\.fits"):
        open_survey(tmp_path)


def test_xp_arrays_of_another_length(tmp_path):
    path = tmp_path / "xp.csv"
    path.write_text(
        "source_id,bp_coefficients,bp_coefficient_errors,rp_coefficients,"
        'rp_coefficient_errors\n5853498713190525696,"(1, 2)","(1, 2)","(1)","(1)"\n'
    )
    with pytest.raises(DataError, match="'bp_coefficients' of source 585349871319"):
        one(path)


@pytest.mark.real
def test_real_desi_coadd(real_data):
    folder = real_data / "desi"
    records = one(folder)
    assert records.object_id.tolist() == ["39633345008634465"]
    assert (records.ra[0], records.dec[0]) == pytest.approx((105.48977452, 56.66930006))
    spectrum = records.observations["desi_spectrum"]
    assert spectrum.flux.shape == (1, 7781) and spectrum.mask.all()
    assert records.observations["redshift"].values[0] == pytest.approx(0.36874355)
    assert records.observations["redshift_quality"].labels[0] == "good"
    assert records.observations["desi_class"].labels[0] == "GALAXY"
    with fits.open(folder / "coadd-4-80613-thru20210324.fits") as hdus:
        blue, red = hdus["B_FLUX"].data[0], hdus["R_FLUX"].data[0]
        weights = hdus["B_IVAR"].data[0], hdus["R_IVAR"].data[0]
    np.testing.assert_array_equal(spectrum.flux[0, :2700], blue[:2700])
    overlap = weights[0][2700:] + weights[1][:51]
    np.testing.assert_allclose(spectrum.ivar[0, 2700:2751], overlap, rtol=1e-6)
    mean = (blue * weights[0])[2700:] + (red * weights[1])[:51]
    np.testing.assert_allclose(
        spectrum.flux[0, 2700:2751], mean / overlap, rtol=1e-4, atol=1e-4
    )
    power = spectrum.resolution[0]
    # DESI Collaboration 2022: 2,000 in the blue to 5,500 in the red.
    assert 1700 < power[50] < 2600 and 4000 < power[-50] < 6000


@pytest.mark.real
def test_real_sdss_spectra(real_data):
    first, second = read_all(open_survey(real_data / "sdss"))
    assert first.object_id.tolist() == ["299492975510054912"]
    assert first.ra[0] == pytest.approx(146.9341)
    assert first.observations["redshift"].values[0] == pytest.approx(0.12131637)
    assert first.observations["sdss_class"].labels.tolist() == ["GALAXY"]
    assert second.observations["sdss_class"].labels.tolist() == ["STAR"]
    spectrum = first.observations["sdss_spectrum"]
    assert spectrum.wavelength[[0, -1]] == pytest.approx([3803.645, 9202.379], rel=1e-6)
    with fits.open(real_data / "sdss" / "spec-0266-51602-0013.fits") as hdus:
        table = hdus[1].data
        assert hdus[0].header["VACUUM"]
        np.testing.assert_allclose(
            spectrum.wavelength, 10 ** table["loglam"], rtol=1e-6
        )
        np.testing.assert_array_equal(spectrum.flux[0], table["flux"])
        np.testing.assert_array_equal(spectrum.mask[0], table["and_mask"] == 0)
    assert 1500 < np.median(spectrum.resolution) < 2300


@pytest.mark.real
def test_real_legacy_cutout(real_data):
    path = real_data / "legacy" / "decals_dr9_grz_cutout_59.1067_-30.4848.fits"
    records = one(path)
    image = records.observations["legacy_image"]
    assert image.flux.shape == (1, 3, 256, 256)
    assert [band.name for band in image.bands] == ["DES-G", "DES-R", "DES-Z"]
    assert (records.ra[0], records.dec[0]) == pytest.approx(
        (59.1067, -30.4848), abs=1e-3
    )
    np.testing.assert_array_equal(image.mask, image.ivar > 0)
    rng = np.random.default_rng(0)
    ra = records.ra[0] + rng.uniform(-0.005, 0.005, 20)
    dec = records.dec[0] + rng.uniform(-0.005, 0.005, 20)
    source = NativeSource(
        (path,), Cutouts(tuple(ra), tuple(dec), 96), "legacy", 2017.5, batch=8
    )
    stamps = read_all(source)
    assert [len(r) for r in stamps] == [8, 8, 4]
    # The noise is that of the inverse variance: pulls of blank sky have a width of 1.
    pulls = (image.flux * np.sqrt(image.ivar))[image.mask]
    width = np.subtract(*np.percentile(pulls, [84, 16])) / 2
    assert 0.7 < width < 1.5


@pytest.mark.real
def test_real_hsc_arrays(real_data):
    records = {r.object_id[0]: r for r in read_all(open_survey(real_data / "hsc"))}
    assert set(records) == {"hsc_cosmos_35", "gal1", "gal2"}
    image = records["hsc_cosmos_35"].observations["hsc_image"]
    assert image.flux.shape == (1, 5, 58, 48)
    assert [band.name for band in image.bands] == [f"HSC-{b}" for b in "GRIZY"]
    with np.load(real_data / "hsc" / "hsc_cosmos_35.npz") as file:
        np.testing.assert_allclose(image.ivar[0], 1 / file["variance"], rtol=1e-6)
        np.testing.assert_array_equal(image.flux[0], file["images"])
    assert image.mask.all(), "no pixel is bad, saturated or without data"
    one_band = records["gal1"].observations["hsc_image"]
    assert 0.7 < one_band.mask.mean() < 0.85
    assert one_band.mask[0, 0, 60, 60], "the galaxy itself is valid"
    assert np.isnan(records["gal1"].ra[0])


@pytest.mark.real
def test_real_gaia_spectra(real_data):
    (records,) = read_all(open_survey(real_data / "gaia" / "XP_CONTINUOUS_RAW.csv"))
    bp = records.observations["gaia_xp_bp"]
    assert bp.values.shape == (2, 55) and np.isfinite(bp.values).all()
    assert bp.values[0, 0] == pytest.approx(56947.03696840172)
    assert bp.errors[0, 0] == pytest.approx(55.701263)
    assert records.object_id[0] == "5853498713190525696"
    path = real_data / "gaia" / "XP_CONTINUOUS_RAW_with_missing_BP.csv"
    (records,) = read_all(open_survey(path))
    missing = np.isnan(records.observations["gaia_xp_bp"].values).all(axis=1)
    assert missing.sum() == 1
    assert np.isfinite(records.observations["gaia_xp_rp"].values[missing]).all()


@pytest.mark.real
def test_real_gaia_rows(real_data):
    total = 0
    for path in sorted((real_data / "gaia").glob("*.fits")):
        source = open_survey(path)
        for partition in source.partitions():
            positions = source.positions(partition)
            (records, *more) = source.read(partition)
            total += len(records) + sum(len(r) for r in more)
            table = fits.getdata(path)
            np.testing.assert_array_equal(positions.pm_ra, table["pmra"])
            ra = table["ra"][: len(records)]
            np.testing.assert_array_equal(records.ra, ra)
            flux = records.observations["gaia_flux_g"]
            back = 25.6884 - 2.5 * np.log10(flux.values)
            magnitude = table["phot_g_mean_mag"][: len(records)]
            np.testing.assert_allclose(back, magnitude, atol=1e-6)
            snr = table["phot_g_mean_flux_over_error"][: len(records)]
            np.testing.assert_allclose(flux.values / flux.errors, snr, rtol=1e-5)
            # The ids tell the position: cells of order 12 are a minute wide.
            from aion.surveys.native_gaia import places_of

            ra, dec = places_of(positions.object_id)
            assert np.abs(dec - positions.dec).max() < 0.02
            assert source.epoch == 2015.5
    assert total == 1376


@pytest.mark.real
def test_real_targets(real_data):
    records = read_all(open_survey(real_data / "legacy" / "desi_targets_1001.fits"))
    assert sum(len(r) for r in records) == 1001
    flux = np.concatenate([r.observations["legacy_flux_r"].values for r in records])
    table = fits.getdata(real_data / "legacy" / "desi_targets_1001.fits")
    np.testing.assert_array_equal(flux, table["FLUX_R"])
    assert {"legacy_flux_w1", "legacy_flux_w2"} <= set(records[0].observations)
