# SPDX-License-Identifier: MIT
"""Training of an image codec's encoder alone, with blocks that its start lacks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tests.tokenizers.toy_images import SIZES, arrays, sample

from aion.codec import save_codec
from aion.config import find_config, load_config, to_plain
from aion.errors import ConfigError
from aion.jobs.codec_training import task_of
from aion_tokenizers.image_encoder import ENCODER, ImageEncoderFit
from aion_tokenizers.image_network import ImageConfig
from aion_tokenizers.image_task import ImageTask
from aion_tokenizers.network_state import network_arrays


@pytest.fixture(scope="module")
def before() -> ImageTask:
    return ImageTask(ImageConfig(**SIZES), side=16, crop=12)


@pytest.fixture(scope="module")
def start(before, tmp_path_factory):
    """Folder of a codec that nobody trained."""
    folder = tmp_path_factory.mktemp("start") / "codec"
    save_codec(before.codec(before.build(jax.random.key(1))), folder)
    return str(folder)


@pytest.fixture(scope="module")
def task(start) -> ImageEncoderFit:
    sizes = ImageConfig(**SIZES | {"encoder_blocks": 3})
    return ImageEncoderFit(sizes, start, side=16, crop=12, added=2)


def test_new_blocks_change_nothing_at_first(before, task):
    batch = arrays(before.collate([sample("hsc_image")], None))
    old, new = before.build(jax.random.key(1)), task.build(jax.random.key(2))
    latents = [
        network.encode(batch["flux"], batch["valid"], batch["told"])
        for network in (old, new)
    ]
    assert float(jnp.std(latents[0])) > 1e-3
    np.testing.assert_allclose(latents[1], latents[0], atol=1e-6)
    known, found = network_arrays(old), network_arrays(new)
    assert {name.split(".")[1] for name in set(found) - set(known)} == {"1", "2"}


def test_the_encoder_learns_and_the_decoder_stays(task):
    batch = arrays(task.collate([sample("legacy_image", 16)], None))
    part = task.prepare(batch)
    graph, state = nnx.split(task.build(jax.random.key(0)))
    adam = optax.adam(1e-2)

    @jax.jit
    def step(state, moments, key):
        def loss(s):
            return task.loss(nnx.merge(graph, s), part, key, None)[0]

        value, slope = jax.value_and_grad(loss)(state)
        with jax.numpy_dtype_promotion("standard"):
            change, moments = adam.update(slope, moments)
        return optax.apply_updates(state, change), moments, value

    moments, values = adam.init(state), []
    first = network_arrays(nnx.merge(graph, state))
    for _ in range(20):
        state, moments, value = step(state, moments, jax.random.key(3))
        values.append(float(value))
    last = network_arrays(nnx.merge(graph, state))
    # The same dice each time, so that only learning can lower it.
    assert values[-1] < 0.99 * values[0]
    for name, value in last.items():
        same = np.array_equal(value, first[name])
        assert same == (name.split(".")[0] not in ENCODER), name


def test_scores_are_of_codes(task, before):
    """Without dice it is the task of the whole codec."""
    batch = arrays(before.collate([sample("legacy_image")], None))
    module, part = task.build(jax.random.key(0)), before.prepare(batch)
    sizes = replace(before, network=task.network)
    for one, other in zip(
        jax.tree.leaves(task.loss(module, part, None, None)),
        jax.tree.leaves(sizes.loss(module, part, None, None)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": ""}, "codec.start"),
        ({"added": 3}, "encoder_blocks"),
        ({"added": -1}, "encoder_blocks"),
        ({"network": ImageConfig(quantizer="vq")}, "Only FSQ"),
    ],
)
def test_nonsense_is_refused(task, change, words):
    with pytest.raises(ConfigError, match=words):
        replace(task, **change)


def test_a_start_of_another_size_is_refused(task):
    with pytest.raises(ConfigError, match="that is not"):
        replace(task, added=1).build(jax.random.key(0))


def test_the_config_is_one_of_this_task():
    name = str(find_config("tokenizers/image"))
    plain = to_plain(load_config(f"{name}:nano,start=nano,encoder=0"))
    task = task_of(plain)
    assert isinstance(task, ImageEncoderFit) and task.added == 0
    assert plain["optimizer"]["weight_decay"] == 0
    assert plain["train"]["steps"] == 2500  # not that of a run from nothing
