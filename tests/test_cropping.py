# SPDX-License-Identifier: MIT
"""Stamps of a survey onto the square that tokens stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aion
from aion.cropping import on_square
from aion.errors import CroppedWarning
from aion_tokenizers.image import ImageCodec
from aion_tokenizers.image_network import ImageConfig

NAMES = ("DES-G", "DES-R")


def image(rows, columns):
    pixel = np.arange(rows * columns, dtype=np.float32).reshape(1, 1, rows, columns)
    flux = np.repeat(pixel, 2, axis=1)
    return aion.Image.from_bands(flux, NAMES, ivar=np.ones_like(flux))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_the_middle_stays_the_middle(rows, columns, side):
    given = image(rows, columns)
    found = on_square(given, side)
    assert found.flux.shape == found.ivar.shape == (1, 2, side, side)
    valid = np.ones(found.flux.shape, bool) if found.mask is None else found.mask
    assert valid[0, 0].sum() == min(rows, side) * min(columns, side)
    middle = given.flux[0, 0, (rows - 1) // 2, (columns - 1) // 2]
    where = np.argwhere(found.flux[0, 0] == middle)
    place = np.array([(side - 1) // 2] * 2)
    assert np.abs(where - place).max(axis=1).min() <= 1


def test_a_bundle_takes_the_middle_and_says_so():
    from flax import nnx

    config = ImageConfig(width=8, encoder_blocks=1, decoder_blocks=1, told=8)
    codec = ImageCodec(config, config.network(nnx.Rngs(0)), 16)
    modality = aion.MODALITIES["legacy_image"]
    bundle = aion.CodecBundle({"image": codec}, {modality: "image"})
    large = image(22, 21)
    with pytest.warns(CroppedWarning, match="22 x 21 pixels the middle 16 x 16"):
        codes = bundle.encode("legacy_image", large)
    np.testing.assert_array_equal(codes, codec.encode(on_square(large, 16)))
    assert bundle.encode("legacy_image", image(12, 9)).shape == codes.shape
