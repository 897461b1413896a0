# SPDX-License-Identifier: MIT
"""The catalogue codec: as many objects always, the nearest first, absent ones told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.codec import load_codec, save_codec
from aion.errors import ArtefactError, ConfigError, DataError
from aion.modality import MODALITIES
from aion.observation import Catalog, Scalar
from aion_tokenizers.catalog import FIELDS, CatalogCodec

EXACT = settings(max_examples=25, deadline=None)


def catalog(count=50, most=20, size=96, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, most)
    round_ = rng.random(shape) < 0.4
    shapes = [np.where(round_, 0.0, rng.normal(0, 0.2, shape)) for _ in range(2)]
    x, y = (rng.integers(0, size, shape).astype(np.float32) for _ in range(2))
    valid = np.arange(most) < rng.integers(0, most + 1, (count, 1))
    return Catalog(x, y, *shapes, np.exp(rng.normal(0, 0.7, shape)), valid)


@pytest.fixture(scope="module")
def codec():
    fitter = CatalogCodec.fitter(bins=64)
    fitter.update(catalog(400))
    return fitter.finish()


def values_of(seen, row):
    return np.stack([getattr(seen, name)[row] for name in FIELDS], axis=-1)


def test_tokens_and_their_spec(codec):
    seen = catalog()
    codes = codec.encode(seen)
    spec = codec.spec(MODALITIES["legacy_catalog"], "objects")
    assert codes.shape == (50, 100) == (50, spec.num_tokens) and codes.dtype == np.int32
    ranges = spec.slot_ranges
    assert np.all((codes >= ranges[:, 0]) & (codes < ranges[:, 1]))
    assert len(np.unique(spec.code_features, axis=0)) == spec.vocabulary
    assert len(np.unique(spec.slot_features, axis=0)) == 100
    absent = (codes == np.tile(codec.starts[:-1], 20)).reshape(50, 20, 5)
    assert np.array_equal((~absent).all(-1).sum(1), seen.valid.sum(1))


@EXACT
@given(seed=st.integers(0, 10_000))
def test_there_and_back(codec, seed):
    seen = catalog(1, seed=seed)
    found = codec.decode(codec.encode(seen))
    count = int(seen.valid.sum())
    assert np.array_equal(found.valid[0], np.arange(20) < count)
    assert np.isnan(found.x[0, count:]).all()
    far = np.hypot(found.x - 47.5, found.y - 47.5)[0, :count]
    assert np.all(np.diff(far) >= -1e-3)
    pixels = [
        sorted(zip(c.x[0][c.valid[0]], c.y[0][c.valid[0]], strict=True))
        for c in (seen, found)
    ]
    assert pixels[0] == pixels[1]
    assert np.array_equal(codec.encode(found), codec.encode(seen))


@EXACT
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(codec, seed):
    seen = catalog(1, seed=seed)
    order = np.random.default_rng(seed).permutation(20)
    mixed = Catalog(*(getattr(seen, n)[:, order] for n in (*FIELDS, "valid")))
    first, second = (codec.encode(c).reshape(20, 5) for c in (seen, mixed))
    # Two sources in one pixel may come in either order.
    assert np.array_equal(first[:, :2], second[:, :2])


@EXACT
@given(seed=st.integers(0, 10_000), bad=st.sampled_from([np.nan, np.inf, 1e30]))
def test_rows_that_are_not_valid_have_no_influence(codec, seed, bad):
    seen = catalog(2, seed=seed)
    wild = [np.where(seen.valid, getattr(seen, n), bad) for n in FIELDS]
    assert np.array_equal(codec.encode(Catalog(*wild, seen.valid)), codec.encode(seen))


def test_too_many_and_too_few_objects(codec):
    many = catalog(3, most=30)
    many = Catalog(*(getattr(many, n) for n in FIELDS), np.ones((3, 30), bool))
    far = np.sort(np.hypot(many.x - 47.5, many.y - 47.5), axis=1)
    found = codec.decode(codec.encode(many))
    assert np.allclose(np.hypot(found.x - 47.5, found.y - 47.5), far[:, :20], atol=1e-3)
    assert codec.count(many).absent == 3 * 10 * 5
    few = catalog(3, most=4)
    assert codec.encode(few).shape == (3, 100)
    none = Catalog(*(np.zeros((2, 0)) for _ in FIELDS), np.zeros((2, 0), bool))
    assert not codec.decode(codec.encode(none)).valid.any()
    assert np.all(codec.encode(none) >= 0)


def test_a_number_that_is_missing_makes_a_source_absent(codec):
    seen = catalog(1, most=2)
    valid = np.ones((1, 2), bool)
    e1 = np.array([[np.nan, 0.1]])
    codes = codec.encode(Catalog(seen.x, seen.y, e1, seen.e2, seen.radius, valid))
    assert codec.decode(codes).valid.sum() == 1
    codes[0, 1] = -1
    assert codec.decode(codes).valid.sum() == 0


def test_clipped_values_are_counted(codec):
    one = np.full((1, 1), 3.0)
    far = Catalog(one - 50, one + 500, 0 * one, 0 * one, 1e6 * one, one > 0)
    counts = codec.count(far)
    assert (counts.total, counts.below, counts.above) == (5, 1, 2)


def test_round_sources_have_a_bin_of_their_own(codec):
    assert codec.bins[2].values(codec.bins[2].index(np.zeros(1)))[0] == 0


def test_bad_input_is_refused(codec):
    with pytest.raises(DataError, match="cannot encode Scalar"):
        codec.encode(Scalar(np.ones(2)))
    seen = catalog(2)
    with pytest.raises(DataError, match="fields have shapes"):
        codec.encode(Catalog(*(getattr(seen, n) for n in FIELDS), seen.valid[:, :3]))
    codes = codec.encode(seen)
    with pytest.raises(DataError, match="slots of another"):
        codec.decode(codes[:, ::-1])
    with pytest.raises(DataError, match="codes have shape"):
        codec.decode(codes[:, :-5])
    with pytest.raises(ConfigError):
        CatalogCodec.fitter(bins=0)
    with pytest.raises(DataError, match="NaN or there are none"):
        CatalogCodec.fitter().finish()


def test_files_keep_the_codec(codec, tmp_path):
    save_codec(codec, tmp_path / "one")
    again = load_codec(tmp_path / "one")
    assert np.array_equal(again.encode(catalog()), codec.encode(catalog()))
    config, arrays = codec.state()
    with pytest.raises(ArtefactError, match="catalogue codec"):
        CatalogCodec.from_state(config | {"size": 9.5}, arrays)
    with pytest.raises(ArtefactError, match="edges, centres"):
        CatalogCodec.from_state(
            config, {k: v for k, v in arrays.items() if k[0] != "x"}
        )
