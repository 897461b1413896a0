# SPDX-License-Identifier: MIT
"""The shipped bundle on a sky that it has not seen."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest
from flax import nnx

import aion
from aion.codec import bundle_folder
from aion.config import load_config
from aion.cropping import on_square
from aion.errors import ArtefactError, ConfigError
from aion.jobs.codec_training import task_of
from aion.mocksky.sky import Sky
from aion.mockstream import MockSource
from aion.surveys.opening import open_survey

MOST = 15e6
"""Bytes that a shipped bundle may have."""

IMAGES = 4
"""Objects with images, whose codes take some seconds each."""


@pytest.fixture(scope="module")
def bundle():
    return aion.CodecBundle.load("nano")


@pytest.fixture(scope="module")
def seen():
    source = MockSource(Sky(objects=16, seed=77), size=96, everywhere=True)
    (records,) = source.read(source.partitions()[0])
    return {
        name: seen.take(np.arange(IMAGES)) if isinstance(seen, aion.Image) else seen
        for name, seen in records.observations.items()
    }


@pytest.fixture(scope="module")
def codes(bundle, seen):
    """Of every modality."""
    return {
        spec.name: bundle.encode(spec.name, seen[spec.name]) for spec in bundle.space
    }


def test_it_is_whole_and_small(bundle):
    assert [m.name for m in bundle] == list(aion.MODALITIES)
    files = [p for p in bundle_folder("nano").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < MOST
    assert bundle.space.num_slots == sum(spec.num_tokens for spec in bundle.space)


def test_every_modality_becomes_tokens_and_comes_back(bundle, codes):
    for spec in bundle.space:
        found = codes[spec.name]
        assert found.shape[1] == spec.num_tokens
        assert -1 <= found.min() <= found.max() < spec.vocabulary
        assert (found >= 0).any(), spec.name
        back = bundle.decode(spec.name, found)
        assert len(back) == len(found)


def test_it_travels_to_worker_processes(bundle, seen, codes):
    other = pickle.loads(pickle.dumps(bundle))
    for name in ("hsc_image", "sdss_spectrum", "legacy_segmentation", "redshift"):
        found = other.encode(name, seen[name])
        np.testing.assert_array_equal(found, codes[name])
    assert other.digests == bundle.digests


def in_sigmas(image, values):
    valid = (image.ivar > 0) & np.isfinite(image.flux)
    if image.mask is not None:
        valid &= image.mask
    return np.square((image.flux - values) * np.sqrt(image.ivar))[valid]


@pytest.mark.parametrize("name", ["legacy_image", "hsc_image"])
def test_images_come_back_to_a_part_of_the_noise(bundle, seen, codes, name):
    image = seen[name]
    back = bundle.decode(name, codes[name], bands=image.bands, psf_fwhm=image.psf_fwhm)
    assert np.isfinite(back.flux).all()
    ours, blank = in_sigmas(image, back.flux), in_sigmas(image, 0.0)
    assert np.mean(ours) - 1 < 0.2 * (np.mean(blank) - 1)
    assert np.median(ours) < 0.55  # of a squared normal number it is 0.455


def test_wings_of_psfs_are_found_where_they_show(bundle, seen, codes):
    """An image decoded with other wings than most is encoded with those again."""
    codec, image, given = bundle.codec("hsc_image"), seen["hsc_image"], [3, 13]
    clear = np.where(image.ivar > 0, np.square(image.flux) * image.ivar, 0)
    row = [int(np.argmax(np.nansum(clear, axis=(1, 2, 3))))]
    code = np.repeat(codes["hsc_image"][row], 2, axis=0)
    first, count = codec.patch_codes, codec.config.wings
    code[:, 0] += given - (code[:, 0] - first) % count
    rows = image.take(np.array(row * 2))
    drawn = bundle.decode("hsc_image", code, bands=rows.bands, psf_fwhm=rows.psf_fwhm)
    again = codec.encode(dataclasses.replace(rows, flux=drawn.flux))
    found = (again[:, 0] - first) % count
    assert np.abs(found - given).max() <= 2, found


@pytest.mark.parametrize("name", ["desi_spectrum", "sdss_spectrum"])
def test_spectra_come_back_to_the_noise(bundle, seen, codes, name):
    spectrum = seen[name]
    back = bundle.decode(
        name,
        codes[name],
        wavelength=spectrum.wavelength,
        resolution=spectrum.resolution,
    )
    chi = in_sigmas(spectrum, back.flux)
    assert np.median(chi) < 0.6 and np.mean(chi < 25) > 0.97


def test_maps_come_back(bundle, seen, codes):
    field = seen["legacy_segmentation"]
    back = bundle.decode("legacy_segmentation", codes["legacy_segmentation"])
    there, known = back.values > 0.08, field.values > 0.08
    assert np.sum(there & known) / np.sum(there | known) > 0.9


@pytest.mark.real
def test_real_stamps_and_spectra_pass_through_it(bundle, real_data):
    found = {}
    for path in (real_data / "hsc", real_data / "desi", real_data / "sdss"):
        source = open_survey(path)
        for partition in source.partitions():
            for records in source.read(partition):
                found.update(
                    {(partition, n): o for n, o in records.observations.items()}
                )
    stamps = [(n, o) for (_, n), o in found.items() if n in ("hsc_image",)]
    spectra = [(n, o) for (_, n), o in found.items() if n.endswith("_spectrum")]
    assert len(stamps) == 3 and len(spectra) == 3
    for name, image in stamps:
        image = on_square(image, bundle.codec(name).size)
        codes = bundle.encode(name, image)
        back = bundle.decode(name, codes, bands=image.bands, psf_fwhm=image.psf_fwhm)
        assert (codes >= 0).all() and np.isfinite(back.flux).all()
        assert np.mean(in_sigmas(image, back.flux)) < np.mean(in_sigmas(image, 0.0))
    for name, spectrum in spectra:
        back = bundle.decode(
            name, bundle.encode(name, spectrum), wavelength=spectrum.wavelength
        )
        assert np.isfinite(back.flux).all()
        assert np.median(in_sigmas(spectrum, back.flux)) < 1.0


@pytest.mark.parametrize("kind", ["image", "spectrum", "field"])
def test_training_goes_on_from_it(bundle, kind):
    config = load_config(f"configs/tokenizers/{kind}.py:nano,start=nano", []).to_dict()
    task = task_of(config)
    built = jax.jit(lambda key: nnx.state(task.build(key)))(jax.random.key(0))
    (codec,) = (c for c in bundle.codecs.values() if c.word == kind)
    for ours, shipped in zip(
        *map(jax.tree.leaves, (built, nnx.state(codec.network))), strict=True
    ):
        np.testing.assert_array_equal(ours, shipped)
    config["codec"]["network"]["width"] = 32
    with pytest.raises(ConfigError, match="sizes"):
        task_of(config).build(jax.random.key(0))
    config["codec"]["start"] = "nowhere"
    with pytest.raises(ArtefactError, match="nowhere"):
        task_of(config).build(jax.random.key(0))
