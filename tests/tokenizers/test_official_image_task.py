# SPDX-License-Identifier: MIT
"""Codecs with AION-1's image network are trained here and read by everybody."""

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
from aion.instrument import BANDS
from aion.jobs.codec_training import task_of
from aion.observation import Image
from aion.train.codec_task import CodecTask, Sample
from aion_tokenizers.official import export_official
from aion_tokenizers.official_image import ImageConfig, OfficialImage
from aion_tokenizers.official_image_task import OfficialImageTask

TINY = ImageConfig(
    n_compressions=1,
    quantizer_levels=(5, 5, 5),
    hidden_dims=16,
    multisurvey_projection_dims=6,
    num_consecutive=1,
    embedding_dim=3,
)
GRIZ = tuple(BANDS[f"DES-{b}"] for b in "GRIZ")


@pytest.fixture(scope="module")
def task() -> OfficialImageTask:
    return OfficialImageTask(TINY, crop=16)


def blobs(count: int = 4, seed: int = 0) -> Sample:
    """Round sources in griz; the mask hides a row of nonsense."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] - 47.5
    width = rng.uniform(15, 30, (count, 1, 1, 1))
    shape = np.exp(-0.5 * (y**2 + x**2) / width**2)
    truth = rng.uniform(0.1, 1.0, (count, 4, 1, 1)) * shape
    flux = truth + 0.02 * rng.standard_normal(truth.shape)
    mask = np.ones(flux.shape, bool)
    mask[:, :, 40], flux[:, :, 40] = False, 30.0
    ivar = np.full(flux.shape, 0.02**-2, np.float32)
    seen = Image(flux.astype(np.float32), ivar, mask, GRIZ)
    return Sample("legacy_image", seen, Image(truth.astype(np.float32), bands=GRIZ))


def arrays(task, batch):
    return task.prepare({k: jnp.asarray(v) for k, v in batch.items()})


def scored(task, module, part):
    graph, state = nnx.split(module)
    sums = jax.jit(lambda s, p: task.loss(nnx.merge(graph, s), p, None, None)[1])
    return jax.device_get(sums(state, part))


def test_it_learns_and_nothing_is_held_against_masked_pixels(task):
    assert isinstance(task, CodecTask)
    batch = task.collate([blobs()], np.random.default_rng(0))
    assert batch["flux"].shape == (4, 9, 16, 16)
    assert (batch["present"].sum(axis=1) == 4).all()
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

    moments, losses = optimizer.init(state), []
    for number in range(100):
        state, moments, value = step(state, moments, part, jax.random.key(number))
        losses.append(float(value))
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    hidden = part["valid"] * (jnp.arange(16) != 3).astype(jnp.float32)
    spoilt = part | {"valid": hidden, "truth": part["truth"].at[..., 3].set(1e6)}
    assert scored(task, nnx.merge(graph, state), spoilt)["error"][0, 0, 0] < 1e6


def test_the_score_is_what_users_get(task):
    sample = blobs()
    part = arrays(task, task.collate([sample], None))
    module = task.build(jax.random.key(1))
    report = task.report(scored(task, module, part))
    codec, seen = task.codec(module), sample.observation
    guess = codec.decode(codec.encode(seen), bands=GRIZ)
    square = (guess.flux - sample.truth.flux) ** 2 * seen.ivar
    wanted = square[seen.mask].mean()
    assert report["error/legacy_image/all"] == pytest.approx(wanted, rel=1e-3)
    assert report["score"] > 0


def test_what_is_trained_is_exported_and_gone_on_from(task, tmp_path):
    codec = task.codec(task.build(jax.random.key(2)))
    export_official(codec, tmp_path / "image")
    again = load_codec(tmp_path / "image")
    seen = blobs().observation
    assert isinstance(again, OfficialImage)
    np.testing.assert_array_equal(again.encode(seen), codec.encode(seen))
    onward = replace(task, start=str(tmp_path / "image"))
    built = jax.jit(lambda key: nnx.state(onward.build(key)))(jax.random.key(3))
    for new, old in zip(
        jax.tree.leaves(built),
        jax.tree.leaves(nnx.state(codec.network)),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old)
    other = replace(onward, network=replace(TINY, hidden_dims=32))
    with pytest.raises(ConfigError, match="sizes"):
        other.build(jax.random.key(0))


def test_nonsense_is_refused(task):
    with pytest.raises(ConfigError, match="multiple of 2"):
        OfficialImageTask(TINY, crop=31)
    small = Image(np.zeros((1, 4, 40, 40), np.float32), bands=GRIZ)
    with pytest.raises(DataError, match="larger stamps"):
        task.collate([Sample("legacy_image", small)], None)
    alien = Image(np.zeros((1, 1, 96, 96), np.float32), bands=(BANDS["SDSS-U"],))
    with pytest.raises(DataError, match="SDSS-U"):
        task.collate([Sample("legacy_image", alien)], None)


def test_the_config_has_the_sizes_of_the_release():
    config = load_config("configs/tokenizers/image.py:official", []).to_dict()
    task = task_of(config)
    assert isinstance(task, OfficialImageTask) and task.network == ImageConfig()
