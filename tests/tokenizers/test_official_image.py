# SPDX-License-Identifier: MIT
"""AION-1's image codec: PyTorch's tokens and images, without its defects."""

import jax.numpy as jnp
import numpy as np
import pytest

from aion.codec import Codec
from aion.errors import DataError
from aion.instrument import Band
from aion.modality import MODALITIES
from aion.observation import Image
from aion_tokenizers.bins import Counts
from aion_tokenizers.official_image import BROKEN, LIMITS

LEGACY = ("DES-G", "DES-R", "DES-I", "DES-Z")
CASES = ("image", "image_other")
SURVEYS = ("legacy", "subset", "hsc")


def given(parts):
    flux = parts["numbers"] * parts["step"]
    return Image.from_bands(flux, [str(b) for b in parts["bands"]])


def boundary(codec, latent):
    """Distance of each token's bounded latent to the nearest half."""
    bounded = np.asarray(codec.quantizer.bound(jnp.asarray(latent)))
    return np.abs(np.abs(bounded - np.floor(bounded)) - 0.5).min(-1)


@pytest.fixture(scope="module")
def random_image():
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (3, 4, 96, 96)).astype(np.float32)


@pytest.mark.parametrize("survey", SURVEYS)
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_pytorchs(official, known, check_codes, case, survey):
    codec, parts = official(case), known(case)[survey]
    latent = np.moveaxis(parts["latent"], 1, -1)
    ours = codec.latents(given(parts))
    np.testing.assert_allclose(ours.reshape(latent.shape), latent, atol=2e-4)
    codes = codec.encode(given(parts))
    assert codes.dtype == np.int32 and len(np.unique(codes)) > 40
    check_codes(codes, parts["codes"], boundary(codec, latent))


@pytest.mark.parametrize("survey", SURVEYS)
@pytest.mark.parametrize("case", CASES)
def test_images_are_pytorchs(official, known, check_decoded, case, survey):
    codec, parts = official(case), known(case)[survey]
    names = [str(b) for b in parts["asked"]]
    image = codec.decode(parts["codes"], bands=names)
    assert [b.name for b in image.bands] == names
    # PyTorch's HSC planes are in the Legacy Surveys' unit here: DES-G was named first.
    units = [10 ** ((b.zero_point - 22.5) / 2.5) for b in image.bands]
    flux = image.flux[..., ::3, ::3] / np.reshape(units, (1, -1, 1, 1))
    rms = parts["decoded_rms"].reshape(1, -1, 1, 1)
    check_decoded(flux, parts["decoded"], rms)


def test_bands_may_stand_in_any_order(official, random_image):
    codec = official("image")
    order = [2, 0, 3, 1]
    codes = codec.encode(Image.from_bands(random_image, LEGACY))
    names = [LEGACY[i] for i in order]
    again = codec.encode(Image.from_bands(random_image[:, order], names))
    assert np.mean(codes == again) > 0.995  # sums are rounded in another order
    every = codec.decode(codes[:1])
    assert [b.name for b in every.bands] == list(LIMITS)
    one = codec.decode(codes[:1], bands=[every.bands[7], "des-g"])
    np.testing.assert_allclose(one.flux, every.flux[:, [7, 5]], rtol=1e-4, atol=1e-6)


def test_input_is_not_touched(official):
    rng = np.random.default_rng(1)
    flux = rng.normal(0, 300, (1, 5, 100, 100)).astype(np.float32)
    flux[0, 0, 50, 50] = np.nan
    before = flux.copy()
    image = Image.from_bands(flux, ["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"])
    first = official("image").encode(image)
    np.testing.assert_array_equal(official("image").encode(image), first)
    np.testing.assert_array_equal(flux, before)


def test_nan_pixels_are_zeros_and_do_not_spread(official, random_image):
    codec = official("image")
    holes, filled = random_image.copy(), random_image.copy()
    holes[0, 1, 40:50, 40:50], filled[0, 1, 40:50, 40:50] = np.nan, 0
    codes = codec.encode(Image.from_bands(holes, LEGACY))
    np.testing.assert_array_equal(codes, codec.encode(Image.from_bands(filled, LEGACY)))
    assert codes.min() >= 0


@pytest.mark.parametrize("by", ["nan", "mask"])
def test_an_empty_band_is_a_missing_band(official, random_image, by):
    codec = official("image")
    three = codec.encode(Image.from_bands(random_image[:, :3], LEGACY[:3]))
    flux, mask = random_image.copy(), None
    if by == "nan":
        flux[1, 3] = np.nan
    else:
        mask = np.ones(flux.shape, bool)
        mask[1, 3] = False
    codes = codec.encode(Image.from_bands(flux, LEGACY, mask=mask))
    assert np.mean(codes[1] == three[1]) > 0.995
    full = codec.encode(Image.from_bands(random_image, LEGACY))
    np.testing.assert_array_equal(codes[[0, 2]], full[[0, 2]])


def test_an_object_without_bands_is_absent(official, random_image):
    flux = random_image.copy()
    flux[1] = np.nan
    codec = official("image")
    codes = codec.encode(Image.from_bands(flux, LEGACY))
    assert np.all(codes[1] == -1) and np.all(codes[[0, 2]] >= 0)
    decoded = codec.decode(codes, bands=LEGACY).flux
    assert np.all(np.isnan(decoded[1])) and np.all(np.isfinite(decoded[[0, 2]]))


def test_wrong_images_are_refused(official, random_image):
    codec = official("image")
    with pytest.raises(DataError, match=r"64 x 96 pixels.*96"):
        codec.encode(Image.from_bands(random_image[..., :64, :], LEGACY))
    with pytest.raises(DataError, match=r"SDSS-U.*knows HSC-G"):
        codec.encode(Image.from_bands(random_image, ["SDSS-U", *LEGACY[:3]]))
    own = Band("X", "camera", 5000.0, 100.0, 22.5)
    with pytest.raises(DataError, match="band X"):
        codec.decode(np.zeros((1, 576), int), bands=[own])
    with pytest.raises(DataError, match="twice"):
        codec.encode(Image.from_bands(random_image, ["DES-G"] * 4))
    with pytest.raises(DataError, match="no bands"):
        codec.encode(Image(random_image))
    with pytest.raises(DataError, match=r"\[batch, 576\]"):
        codec.decode(np.zeros((1, 575), int))
    with pytest.raises(DataError, match="4375"):
        codec.decode(np.full((1, 576), 4375))


def test_quirks_are_those_of_the_package(quirky, random_image):
    codec = quirky("image")
    flux = random_image.copy()
    flux[0, 1, 3, 3] = np.nan
    codes = codec.encode(Image.from_bands(flux, LEGACY))
    assert np.all(codes[0] == BROKEN) and np.all(codes[1:] >= 0)
    small = codec.encode(Image.from_bands(random_image[..., :64, :64], LEGACY))
    assert small.shape == (3, 16)
    with pytest.raises(DataError, match="HSC"):
        codec.decode(codes[1:], bands=["HSC-G"])


def test_clipped_pixels_are_counted(official):
    flux = np.zeros((1, 2, 100, 100), np.float32)
    flux[0, 0, 50, 50], flux[0, 1, 50, 50:52], flux[0, 1, 60, 60] = 7, -16, np.nan
    flux[0, 0, 0, 0] = 1e9  # cropped away
    found = official("image").count(Image.from_bands(flux, LEGACY[:2]))
    assert found == Counts(2 * 96 * 96, 1, 2, 1)


def test_spec_and_protocol(official):
    codec = official("image")
    spec = codec.spec(MODALITIES["legacy_image"], "image")
    assert (spec.grid, spec.num_codes, spec.vocabulary) == ((24, 24), 4375, 4375)
    assert isinstance(codec, Codec)
    assert official("image_other").spec(MODALITIES["hsc_image"], "i").grid == (48, 48)


def test_any_batch_size_gives_the_same_codes(official):
    rng = np.random.default_rng(3)
    flux = rng.normal(0, 2, (19, 1, 96, 96)).astype(np.float32)
    codec = official("image_other")
    together = codec.encode(Image.from_bands(flux, ["DES-G"]))
    alone = codec.encode(Image.from_bands(flux[17:18], ["DES-G"]))
    assert np.mean(together[17:18] == alone) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("survey", SURVEYS)
def test_release_size(official, known, check_codes, check_decoded, release, survey):
    case = release / "image_release"
    test_tokens_are_pytorchs(official, known, check_codes, case, survey)
    test_images_are_pytorchs(official, known, check_decoded, case, survey)
