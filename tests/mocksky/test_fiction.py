# SPDX-License-Identifier: MIT
"""Cameras that nobody has built: drawn within limits, and honest about their noise."""

import numpy as np
import pytest

from aion.errors import ConfigError, DataError
from aion.mocksky.fiction import FictionalCameras, KnownCamera, draw_camera
from aion.mocksky.sky import Sky


@pytest.fixture(scope="module")
def sky():
    return Sky(objects=20, seed=4)


def test_cameras_differ_and_stay_within_limits():
    cameras = [draw_camera(np.random.default_rng(n), 96) for n in range(40)]
    for camera in cameras:
        wavelength = np.array([band.wavelength for band in camera.own])
        width = np.array([band.width for band in camera.own])
        assert (np.diff(wavelength) >= 0).all() and len(wavelength) == 5
        assert wavelength[0] >= 3500 and wavelength[-1] <= 10_500
        assert (width <= 0.3 * wavelength + 1e-9).all()
        sampling = np.array(camera.fwhm) / camera.scale
        assert ((sampling >= 2.4 - 1e-9) & (sampling <= 9 + 1e-9)).all()
        peak = camera.matrix().max(axis=0)
        assert (peak > 0).all(), "every band sees light"
    assert len({camera.scale for camera in cameras}) == 40


@pytest.mark.parametrize("known", [False, True])
def test_images_are_their_truth_and_the_noise_they_tell_of(sky, known):
    make = KnownCamera if known else FictionalCameras
    source = make(sky, size=48)
    (first, *_) = source.partitions()
    count = 0
    for records in source.read(first):
        name = "legacy_image" if known else "fictional_image"
        seen, truth = (records.observations[n] for n in (name, f"{name}.truth"))
        good = (seen.ivar > 0) & seen.mask
        chi2 = np.square((seen.flux - truth.flux) * np.sqrt(seen.ivar))[good]
        assert chi2.mean() == pytest.approx(1, abs=0.03)
        count += len(records)
    assert 0 < count <= 20


def test_the_same_partition_is_the_same_images(sky):
    source = FictionalCameras(sky, size=32, group=20)
    first = source.partitions()[0]
    one, two = (next(iter(source.read(first))).observations for _ in range(2))
    for name, image in one.items():
        np.testing.assert_array_equal(image.flux, two[name].flux)


def test_one_camera_takes_all_if_it_is_named(sky):
    source = FictionalCameras(sky, size=32, group=8, camera=7)
    bands = [
        records.observations["fictional_image"].bands
        for records in source.read(source.partitions()[0])
    ]
    wanted = draw_camera(np.random.default_rng(7), 32).own
    assert len(bands) > 1 and all(b == wanted for b in bands)


def test_nonsense_is_refused(sky):
    with pytest.raises(ConfigError, match="no camera"):
        KnownCamera(sky, camera="vista")
    with pytest.raises(DataError, match="no partition"):
        next(iter(FictionalCameras(sky).read("nowhere")))
