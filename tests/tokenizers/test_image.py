# SPDX-License-Identifier: MIT
"""The image codec with random weights: any bands, any size, no harm by bad pixels."""

from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aion.codec import Codec, CodecBundle, codec_digest, load_codec, save_codec
from aion.errors import AionError, ConfigError, DataError
from aion.instrument import BANDS, Band
from aion.modality import MODALITIES
from aion.observation import Image, Scalar
from aion_tokenizers.image import ImageCodec
from aion_tokenizers.image_network import ImageConfig
from aion_tokenizers.image_pixels import (
    read_pixels,
    scale_codes,
    scale_values,
)
from aion_tokenizers.mixing import FIELDS
from aion_tokenizers.point_spread import continued

GRIZ = tuple(BANDS[f"DES-{b}"] for b in "GRIZ")
SIZES = ImageConfig(
    width=16,
    encoder_blocks=1,
    decoder_blocks=1,
    told=8,
    levels=(4, 4, 4),
    scales=64,
    wings=4,
    margin=1,
)
SIDE = 32


@pytest.fixture(scope="module", params=["fsq", "lfq", "vq", "refined"])
def codec(request) -> ImageCodec:
    kind, steps = (request.param, 0) if request.param != "refined" else ("fsq", 3)
    sizes = replace(
        SIZES, quantizer=kind, dimension=5, refine=steps, settle=int(steps > 0)
    )
    return ImageCodec(sizes, sizes.network(nnx.Rngs(1)), SIDE)


def picture(count=2, bands=GRIZ, sides=(SIDE, SIDE), seed=0) -> Image:
    rng = np.random.default_rng(seed)
    shape = (count, len(bands), *sides)
    sigma = rng.uniform(0.01, 0.02, shape[:2])[..., None, None] * np.ones(shape)
    flux = sigma * rng.normal(0, 3, shape)
    return Image(
        flux.astype(np.float32),
        (sigma**-2).astype(np.float32),
        np.ones(shape, bool),
        bands,
        rng.uniform(0.8, 1.5, shape[:2]),
    )


def test_it_is_a_codec_with_one_scale_and_one_token_per_patch(codec):
    assert isinstance(codec, Codec)
    image = picture()
    before = [np.array(v) for v in (image.flux, image.ivar, image.mask)]
    codes = codec.encode(image)
    assert codes.shape == (2, 1 + 64) and codes.dtype == np.int32
    assert (codes[:, 0] >= 64).all() and (codes[:, 1:] < 64).all()
    again = codec.decode(codes, bands=GRIZ, psf_fwhm=image.psf_fwhm)
    assert again.flux.shape == image.flux.shape and np.isfinite(again.flux).all()
    for old, new in zip(before, (image.flux, image.ivar, image.mask), strict=True):
        np.testing.assert_array_equal(old, new)


def test_no_more_is_drawn_beyond_the_edges_than_light_comes_from():
    assert replace(SIZES, margin=3).margin == 3
    with pytest.raises(ConfigError, match="0 to 12 pixels"):
        replace(SIZES, margin=4)


def test_what_is_drawn_beyond_the_edges_shines_into_the_image():
    network = replace(SIZES, margin=2).network(nnx.Rngs(1))
    latent = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    bands = jnp.zeros((1, 2, len(FIELDS)))
    before = network.decode(latent, bands)
    shape = network.outside.narrow.weight[...].shape
    network.outside.narrow.weight[...] = jax.random.normal(jax.random.key(1), shape)
    change = np.abs(np.asarray(network.decode(latent, bands) - before)).max((0, 1))
    assert change[0].min() > 0.01 and change[:, -1].min() > 0.01
    assert change[12:20, 12:20].max() < 1e-2 * change[0].max()


@pytest.mark.parametrize("sides", [(1, 1), (1, 5), (8, 3)])
@pytest.mark.parametrize("margin", [1, 2, 3])
def test_strips_along_the_edges_are_as_of_the_whole_grid(sides, margin):
    network = replace(SIZES, margin=margin).network(nnx.Rngs(1))
    shape = network.outside.narrow.weight[...].shape
    network.outside.narrow.weight[...] = jax.random.normal(jax.random.key(1), shape)
    x = jax.random.normal(jax.random.key(0), (2, *sides, SIZES.width))
    told = jax.random.normal(jax.random.key(2), (2, SIZES.told))
    more = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    expected = np.array(network.outside(jnp.pad(x, more), told))
    assert np.abs(expected[:, :margin]).min() > 0
    expected[:, margin:-margin, margin:-margin] = 0
    np.testing.assert_allclose(network._outside(x, told), expected, atol=1e-5)


def test_at_first_a_scene_goes_on_as_it_came():
    network, drawn = SIZES.network(nnx.Rngs(1)), SIZES.margin * SIZES.patch
    latent = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    wide = network._scene(latent, jnp.zeros((1, 2, len(FIELDS))))
    within = wide[..., drawn:-drawn, drawn:-drawn]
    np.testing.assert_allclose(wide, continued(within, drawn), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(4, 4), (5, 9), (31, 32), (6, 21)])
def test_any_size_is_padded_and_cropped_back(codec, sides):
    codes = codec.encode(picture(1, sides=sides))
    rows, columns = codec.grid(*sides)
    assert codes.shape == (1, 1 + rows * columns)
    assert codec.decode(codes, bands=GRIZ, size=sides).flux.shape == (1, 4, *sides)


def test_what_is_padded_is_not_seen(codec):
    small, large = picture(1, sides=(30, 32)), picture(1, sides=(32, 32))
    flux, mask = np.zeros((1, 4, 32, 32), np.float32), np.zeros((1, 4, 32, 32), bool)
    flux[..., :30, :], mask[..., :30, :] = small.flux, True
    ivar = np.broadcast_to(small.ivar[..., :1, :1], flux.shape)
    same = replace(large, flux=flux, ivar=ivar, mask=mask, psf_fwhm=small.psf_fwhm)
    np.testing.assert_array_equal(codec.encode(same), codec.encode(small))


def test_any_bands_in_any_order(codec):
    image = picture()
    turned = Image(
        *(v[:, ::-1] for v in (image.flux, image.ivar, image.mask)),
        bands=image.bands[::-1],
        psf_fwhm=image.psf_fwhm[:, ::-1],
    )
    codes = codec.encode(image)
    assert (codec.encode(turned) != codes).mean() < 0.01, "rounding alone"
    own = Band("LSST-U", "LSSTCam", 3700.0, 600.0, 31.4, 0.262)
    decoded = codec.decode(codes, bands=[own, "des-r"])
    assert [b.name for b in decoded.bands] == ["LSST-U", "DES-R"]
    alone = codec.decode(codes, bands=["DES-R"])
    np.testing.assert_allclose(decoded.flux[:, 1:], alone.flux, rtol=1e-4, atol=1e-6)


def test_flux_is_in_each_bands_own_unit(codec):
    image = picture()
    shifted = tuple(
        replace(b, zero_point=b.zero_point + 2.5 * n) for n, b in enumerate(GRIZ)
    )
    unit = 10.0 ** np.arange(4)[:, None, None]
    other = replace(
        image, flux=image.flux * unit, ivar=image.ivar / unit**2, bands=shifted
    )
    codes = codec.encode(image)
    assert (codec.encode(other) != codes).mean() < 0.01
    ours = codec.decode(codes, bands=GRIZ).flux
    theirs = codec.decode(codes, bands=shifted).flux
    np.testing.assert_allclose(theirs, ours * unit, rtol=1e-5)


def test_the_scale_token_holds_the_noise_over_nine_decades(codec):
    for factor in (1e-4, 1.0, 1e4):
        image = picture()
        scaled = replace(image, flux=image.flux * factor, ivar=image.ivar / factor**2)
        first = codec.encode(scaled)[:, 0] - codec.patch_codes
        token = first // SIZES.wings
        step = 9 / SIZES.scales
        off = np.log10(scale_values(token, 64) / read_pixels(scaled).scale)
        assert np.abs(off).max() <= step / 2 + 1e-6
    values = 10.0 ** np.array([-9.0, 5.0])
    np.testing.assert_array_equal(scale_codes(values, 64), [0, 63])


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.integers(0, SIDE - 1),
    st.integers(0, SIDE - 1),
    st.integers(0, 3),
    st.sampled_from(["nan", "mask", "ivar", "huge"]),
)
def test_a_bad_pixel_changes_no_token_out_of_reach(codec, y, x, band, how):
    image = picture(1)
    flux, ivar, mask = (np.array(v) for v in (image.flux, image.ivar, image.mask))
    if how == "nan":
        flux[0, band, y, x] = np.nan
    elif how == "ivar":
        ivar[0, band, y, x] = 0
    else:
        mask[0, band, y, x] = False
        flux[0, band, y, x] = 1e9 if how == "huge" else flux[0, band, y, x]
    bad = replace(image, flux=flux, ivar=ivar, mask=mask)
    before, after = codec.encode(image)[0], codec.encode(bad)[0]
    assert before[0] == after[0], "the scale does not change"
    rows, columns = np.divmod(np.arange(64), 8)
    reach = codec.config.reach // SIZES.patch
    near = (np.abs(rows - y // 4) <= reach) & (np.abs(columns - x // 4) <= reach)
    np.testing.assert_array_equal(before[1:][~near], after[1:][~near])


def test_the_value_of_a_masked_pixel_does_not_matter(codec):
    image = picture()
    mask = np.random.default_rng(1).random(image.flux.shape) < 0.8
    codes = codec.encode(replace(image, mask=mask))
    for value in (np.nan, np.inf, 1e20, -5.0):
        flux = np.where(mask, image.flux, np.float32(value))
        np.testing.assert_array_equal(
            codec.encode(replace(image, flux=flux, mask=mask)), codes
        )
    ivar = np.where(mask, image.ivar, 0)
    everything = replace(image, ivar=ivar, mask=None)
    np.testing.assert_array_equal(codec.encode(everything), codes)


def test_absent_images_are_minus_one_and_nan(codec):
    image = picture(3)
    mask = np.array(image.mask)
    mask[1] = False
    codes = codec.encode(replace(image, mask=mask))
    assert (codes[1] == -1).all() and (codes[[0, 2]] >= 0).all()
    decoded = codec.decode(codes, bands=GRIZ).flux
    assert np.isnan(decoded[1]).all() and np.isfinite(decoded[[0, 2]]).all()
    missing = replace(image, ivar=np.zeros_like(image.ivar))
    assert (codec.encode(missing) == -1).all()
    empty = np.zeros((0, 4, 8, 8))
    for ivar in (None, empty):
        assert codec.encode(Image(empty, ivar, bands=GRIZ)).shape == (0, 5)
    assert codec.decode(np.zeros((0, 5), int), bands=GRIZ).flux.shape == (0, 4, 8, 8)


def test_without_a_band_the_others_are_encoded(codec):
    image = picture()
    mask = np.array(image.mask)
    mask[:, 2] = False
    fewer = Image(
        *(np.delete(v, 2, axis=1) for v in (image.flux, image.ivar, image.mask)),
        bands=GRIZ[:2] + GRIZ[3:],
        psf_fwhm=np.delete(image.psf_fwhm, 2, axis=1),
    )
    unknown = np.array(image.ivar)
    unknown[:, 2] = 0
    gone = replace(image, ivar=unknown)
    assert (codec.encode(gone) != codec.encode(fewer)).mean() < 0.01
    assert (codec.encode(replace(image, mask=mask)) >= 0).all()


def test_without_ivar_the_noise_is_taken_from_the_pixels():
    rng = np.random.default_rng(0)
    flux = rng.normal(0, [[[[0.5]], [[2.0]]]], (1, 2, 64, 64))
    flux[0, :, 30:33, 30:33] += 100
    pixels = read_pixels(Image(flux, bands=GRIZ[:2]))
    np.testing.assert_allclose(pixels.sky, [[0.5, 2.0]], rtol=0.05)
    flat = read_pixels(Image(np.zeros((1, 2, 8, 8)), bands=GRIZ[:2]))
    assert not flat.present.any()


def test_the_spec_gives_codes_and_places_a_meaning(codec):
    spec = codec.spec(MODALITIES["hsc_image"], "image")
    total = 64 + SIZES.scales * SIZES.wings
    assert spec.num_codes == total and spec.grid == (65,)
    assert spec.slot_ranges[0].tolist() == [64, total]
    assert (spec.slot_ranges[1:] == [0, 64]).all()
    assert spec.code_features.shape[0] == total
    assert len(np.unique(spec.code_features, axis=0)) == total
    assert len(np.unique(spec.slot_features, axis=0)) == 65
    other = codec.spec(MODALITIES["legacy_image"], "image")
    assert not np.array_equal(other.slot_features, spec.slot_features)


def test_it_is_stored_and_read_back_exactly(codec, tmp_path):
    save_codec(codec, tmp_path / "one")
    again = load_codec(tmp_path / "one")
    assert isinstance(again, ImageCodec) and codec_digest(again) == codec_digest(codec)
    image = picture()
    np.testing.assert_array_equal(again.encode(image), codec.encode(image))
    serves = {MODALITIES["legacy_image"]: "image", MODALITIES["hsc_image"]: "image"}
    bundle = CodecBundle({"image": codec}, serves)
    bundle.save(tmp_path / "bundle")
    loaded = CodecBundle.load(tmp_path / "bundle")
    codes = loaded.encode("legacy_image", image)
    assert loaded.decode("legacy_image", codes, bands=GRIZ).flux.shape == (2, 4, 32, 32)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config, arrays: arrays.pop("to_latent.bias"),
        lambda config, arrays: arrays.update(more=np.zeros(3)),
        lambda config, arrays: config.update(network={"width": "wide"}),
        lambda config, arrays: config["network"].pop("wings"),
        lambda config, arrays: config.pop("size"),
    ],
)
def test_nonsense_in_a_file_is_an_error(codec, spoil):
    config, arrays = codec.state()
    spoil(config, arrays)
    with pytest.raises(AionError):
        ImageCodec.from_state(config, arrays)


def test_bad_input_says_what_is_wrong(codec):
    image = picture()
    with pytest.raises(DataError, match="negative ivar"):
        codec.encode(replace(image, ivar=-image.ivar))
    with pytest.raises(DataError, match="without bands"):
        codec.encode(Image(image.flux))
    with pytest.raises(DataError, match="GAIA-BP"):
        codec.encode(Image(image.flux[:, :1], bands=(BANDS["GAIA-BP"],)))
    with pytest.raises(DataError, match="pixel scales"):
        codec.decode(codec.encode(image), bands=["DES-G", "HSC-G"])
    with pytest.raises(DataError, match="psf_fwhm has shape"):
        codec.encode(replace(image, psf_fwhm=np.ones(4)))
    with pytest.raises(DataError, match="Scalar"):
        codec.encode(Scalar(np.zeros(3)))
    codes = codec.encode(image)
    with pytest.raises(DataError, match="tokens are no image"):
        codec.decode(codes, bands=GRIZ, size=(16, 16))
    with pytest.raises(DataError, match="first token"):
        codec.decode(codes[:, ::-1], bands=GRIZ)
    with pytest.raises(DataError, match="codes from"):
        codec.decode(codes + 1000, bands=GRIZ)
    with pytest.raises(AionError, match="NO-BAND"):
        codec.decode(codes, bands=["NO-BAND"])


def test_any_leading_axes_of_codes_are_joined(codec):
    codes = codec.encode(picture())
    several = codec.decode(np.stack([codes, codes, codes]), bands=["DES-R"])
    assert several.flux.shape == (6, 1, 32, 32)
