# SPDX-License-Identifier: MIT
"""The field codec: maps of a few values, of any size, and what has no influence."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.codec import load_codec, save_codec
from aion.errors import ArtefactError, ConfigError, DataError
from aion.modality import MODALITIES
from aion.observation import Field, Scalar
from aion.train.codec_task import Sample
from aion.train.optimizer import OptimizerConfig, make_optimizer
from aion_tokenizers.field import FieldCodec
from aion_tokenizers.field_network import FieldSizes

SMALL = FieldSizes(width=16, encoder_blocks=1, decoder_blocks=1, levels=(5, 5))


@pytest.fixture(scope="module")
def codec():
    return FieldCodec(SMALL, SMALL.network(nnx.Rngs(0)), 32)


def maps(count=2, size=32, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    values = np.zeros((count, size, size), np.float32)
    for one in values:
        for _ in range(3):
            cy, cx, r = rng.uniform((0, 0, 2), (size, size, 7))
            one[np.hypot(y - cy, x - cx) < r] = rng.integers(1, 7) / 6
    return values


def test_tokens_and_their_spec(codec):
    codes = codec.encode(Field(maps()))
    spec = codec.spec(MODALITIES["legacy_segmentation"], "field")
    assert codes.shape == (2, 16) == (2, spec.num_tokens) and codes.dtype == np.int32
    assert codes.min() >= 0 and codes.max() < spec.vocabulary == 25
    assert len(np.unique(spec.code_features, axis=0)) == 25
    assert len(np.unique(spec.slot_features, axis=0)) == 16
    big = FieldCodec(SMALL, codec.network)
    assert big.spec(MODALITIES["legacy_segmentation"], "field").num_tokens == 144


@pytest.mark.parametrize("size", [8, 13, 32])
def test_any_size_is_padded_and_cut_back(codec, size):
    codes = codec.encode(Field(maps(size=size)))
    decoded = codec.decode(codes, size=size)
    assert decoded.values.shape == (2, size, size)
    assert np.isin(np.rint(decoded.values * 6), np.arange(7)).all()
    oblong = codec.encode(Field(maps(size=32)[:, :20]))
    assert codec.decode(oblong, size=(20, 32)).values.shape == (2, 20, 32)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_bad_pixels_have_no_influence(codec, seed):
    rng = np.random.default_rng(seed)
    values, bad = maps(1, seed=seed), rng.random((1, 32, 32)) < 0.2
    wild = values.copy()
    wild[bad] = rng.choice([np.nan, np.inf, 1e9, -5.0], bad.sum())
    plain = codec.encode(Field(values, mask=~bad))
    assert np.array_equal(codec.encode(Field(wild, mask=~bad)), plain)
    gone = np.where(bad, np.nan, values)
    assert np.array_equal(codec.encode(Field(gone)), plain)


def test_bad_pixels_change_only_tokens_around_them(codec):
    values = maps(1, 96)
    mask = np.ones(values.shape, bool)
    mask[0, :8, :8] = False
    first, second = codec.encode(Field(values)), codec.encode(Field(values, mask=mask))
    changed = np.flatnonzero(first != second)
    assert SMALL.reach == 8
    assert np.all((changed // 12 <= 1) & (changed % 12 <= 1))


def test_absent_maps(codec):
    values = maps(3)
    values[1] = np.nan
    codes = codec.encode(Field(values))
    assert np.all(codes[1] == -1) and np.all(codes[[0, 2]] >= 0)
    assert np.isnan(codec.decode(codes).values[1]).all()
    assert codec.count(Field(values)).absent == 32 * 32
    assert codec.encode(Field(values[:0])).shape == (0, 16)
    assert codec.decode(codes[:0]).values.shape == (0, 32, 32)


def test_bad_input_is_refused(codec):
    with pytest.raises(DataError, match="cannot encode Scalar"):
        codec.encode(Scalar(np.ones(2)))
    with pytest.raises(DataError, match="values have shape"):
        codec.encode(Field(np.ones((2, 7, 9))))
    with pytest.raises(DataError, match="mask has shape"):
        codec.encode(Field(maps(), mask=np.ones((2, 8, 8), bool)))
    with pytest.raises(DataError, match="16 tokens are no map"):
        codec.decode(codec.encode(Field(maps())), size=40)
    with pytest.raises(DataError, match="codes from"):
        codec.decode(np.full((1, 16), 25))
    with pytest.raises(ConfigError, match="positive sizes"):
        FieldSizes(classes=1)
    config, arrays = codec.state()
    with pytest.raises(ArtefactError, match="field codec"):
        FieldCodec.from_state(config | {"size": "a"}, arrays)


def test_files_keep_the_codec(codec, tmp_path):
    save_codec(codec, tmp_path / "one")
    again = load_codec(tmp_path / "one")
    codes = codec.encode(Field(maps()))
    assert np.array_equal(again.encode(Field(maps())), codes)
    assert np.array_equal(again.decode(codes).values, codec.decode(codes).values)


def test_training_learns_a_map():
    task = FieldCodec.task(
        {
            "network": {
                "width": 32,
                "encoder_blocks": 1,
                "decoder_blocks": 1,
                "levels": (8, 8),
            },
            "side": 32,
        }
    )
    rng = np.random.default_rng(0)
    given = [Sample("legacy_segmentation", Field(maps(8, 40)))]
    assert task.collate(given, rng)["shares"].shape == (8, 7, 32, 32)
    batch = task.prepare(jax.tree.map(jax.numpy.asarray, task.collate(given, None)))
    graph, params = nnx.split(task.build(jax.random.key(0)))
    optimizer = make_optimizer(
        OptimizerConfig(learning_rate=1e-2, weight_decay=0.0), 60
    )
    moments = optimizer.init(params)

    @jax.jit
    def step(params, moments):
        def loss(params):
            return task.loss(nnx.merge(graph, params), batch, None, None)

        (_, sums), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, sums

    reports = []
    for _ in range(60):
        params, moments, sums = step(params, moments)
        reports.append(task.report(jax.device_get(sums)))
    first, last = reports[0], reports[-1]
    assert last["nll"] < 0.3 * first["nll"] and last["iou"] > first["iou"]
    assert np.isclose(last["score"], 1 - last["iou"])
    assert isinstance(task.codec(nnx.merge(graph, params)), FieldCodec)
    with pytest.raises(DataError, match="squares of 32"):
        task.collate([Sample("a", Field(maps(size=16)))], None)
