# SPDX-License-Identifier: MIT
"""Codecs with AION-1's spectrum network are trained here and read by everybody."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from aion.codec import load_codec
from aion.config import load_config
from aion.errors import ConfigError, DataError
from aion.jobs.codec_training import task_of
from aion.observation import Spectrum
from aion.train.codec_task import CodecTask, Sample
from aion_tokenizers.official import export_official
from aion_tokenizers.official_spectrum import OfficialSpectrum, SpectrumConfig
from aion_tokenizers.official_spectrum_task import OfficialSpectrumTask

TINY = SpectrumConfig(
    encoder_depths=(1, 1),
    encoder_dims=(8, 16),
    decoder_depths=(1, 1),
    decoder_dims=(8, 2),
    lambda_min=4000.0,
    resolution=4.0,
    num_pixels=256,
    latent_channels=16,
    embedding_dim=6,
    codebook_size=64,
    dim=6,
)
LINE = np.linspace(3990.0, 5010.0, 300)


@pytest.fixture(scope="module")
def task() -> OfficialSpectrumTask:
    return OfficialSpectrumTask(TINY, pixels=320)


def slopes(count: int = 8, seed: int = 0) -> Sample:
    """Spectra that rise or fall, with noise, bad pixels and padding."""
    rng = np.random.default_rng(seed)
    place = (LINE - 4500) / 500
    truth = 5 * (1 + 0.8 * rng.uniform(-1, 1, (count, 1)) * place)
    flux = truth + 0.2 * rng.standard_normal(truth.shape)
    ivar, mask = np.full(flux.shape, 25.0), np.ones(flux.shape, bool)
    flux[:, 100:103], mask[:, 100:103] = 1e4, False
    flux[0, 200] = np.inf
    more = ((0, 0), (0, 10))
    lines = np.pad(np.broadcast_to(LINE, flux.shape), more, constant_values=-1)
    arrays = (np.pad(v, more).astype(np.float32) for v in (flux, ivar))
    seen = Spectrum(*arrays, np.pad(mask, more), lines)
    known = np.pad(truth, more).astype(np.float32)
    return Sample("sdss_spectrum", seen, Spectrum(known, wavelength=lines))


def arrays(task, batch):
    return task.prepare({k: jnp.asarray(v) for k, v in batch.items()})


def scored(task, module, part):
    graph, state = nnx.split(module)
    sums = jax.jit(lambda s, p: task.loss(nnx.merge(graph, s), p, None, None)[1])
    return jax.device_get(sums(state, part))


def test_it_learns(task):
    assert isinstance(task, CodecTask)
    batch = task.collate([slopes()], np.random.default_rng(0))
    assert batch["flux"].shape == (8, 320) and np.isfinite(batch["flux"]).all()
    assert (batch["ivar"][:, 100:103] == 0).all() and batch["ivar"][0, 200] == 0
    assert (batch["ivar"][:, 300:] == 0).all() and (batch["ivar"][:, 4] > 0).all()
    part = arrays(task, batch)
    graph, state = nnx.split(task.build(jax.random.key(0)))
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(state, moments, part, key):
        def loss(state):
            return task.loss(nnx.merge(graph, state), part, key, None)[0]

        value, slope = jax.value_and_grad(loss)(state)
        with jax.numpy_dtype_promotion("standard"):  # optax's counts
            change, moments = optimizer.update(slope, moments)
        return optax.apply_updates(state, change), moments, value

    moments, before = optimizer.init(state), scored(task, nnx.merge(graph, state), part)
    for number in range(60):
        state, moments, value = step(state, moments, part, jax.random.key(number))
    assert np.isfinite(value)
    after = scored(task, nnx.merge(graph, state), part)
    first, last = (task.report(sums)["score"] for sums in (before, after))
    assert last < 0.5 * first


def test_the_score_is_what_users_get(task):
    sample = slopes()
    part = arrays(task, task.collate([sample], None))
    module = task.build(jax.random.key(1))
    report = task.report(scored(task, module, part))
    codec, seen = task.codec(module), sample.observation
    guess = codec.decode(codec.encode(seen), wavelength=LINE).flux
    good = np.asarray(part["ivar"])[:, : len(LINE)] > 0
    square = (guess - sample.truth.flux[:, : len(LINE)]) ** 2 * 25
    each = np.where(good, square, 0).sum(axis=1) / good.sum(axis=1)
    assert report["error/above20"] == pytest.approx(each.mean(), rel=1e-3)


def test_what_is_trained_is_exported_and_gone_on_from(task, tmp_path):
    codec = task.codec(task.build(jax.random.key(2)))
    buckets = "normalization_quantizer.buckets"
    moved = dict(codec.constants) | {buckets: codec.buckets + np.float32(0.01)}
    codec = replace(codec, constants=moved)
    export_official(codec, tmp_path / "spectrum")
    again = load_codec(tmp_path / "spectrum")
    seen = slopes().observation
    assert isinstance(again, OfficialSpectrum)
    np.testing.assert_array_equal(again.encode(seen), codec.encode(seen))
    onward = replace(task, start=str(tmp_path / "spectrum"))
    built = jax.jit(lambda key: nnx.state(onward.build(key)))(jax.random.key(3))
    for new, old in zip(
        jax.tree.leaves(built),
        jax.tree.leaves(nnx.state(codec.network)),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old)
    kept = onward.codec(codec.network).constants[buckets]
    np.testing.assert_array_equal(kept, moved[buckets])
    other = replace(onward, network=replace(TINY, latent_channels=32))
    with pytest.raises(ConfigError, match="sizes"):
        other.build(jax.random.key(0))


def test_nonsense_is_refused(task):
    with pytest.raises(DataError, match="without wavelengths"):
        task.collate([Sample("desi_spectrum", Spectrum(np.ones((1, 9))))], None)


def test_the_config_has_the_sizes_of_the_release():
    config = load_config("configs/tokenizers/spectrum.py:official", []).to_dict()
    task = task_of(config)
    assert isinstance(task, OfficialSpectrumTask) and task.network == SpectrumConfig()
