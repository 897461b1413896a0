# SPDX-License-Identifier: MIT
"""Training of an image codec's decoder on latents that go on along with it."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict
from tests.tokenizers.toy_images import CONFIG, SIZES, ToySource, blobs, sample

from aion.codec import load_codec, save_codec
from aion.config import find_config, load_config, to_plain
from aion.errors import ConfigError
from aion.jobs import feeds as feeds_module
from aion.jobs.codec_training import feeds_of, task_of
from aion.jobs.runs import job_of, train
from aion.train.optimizer import OptimizerConfig, make_optimizer
from aion.train.sharding import MeshConfig, make_mesh, to_devices
from aion.train.step import init_state, make_step
from aion_tokenizers.image_encoder import DECODER
from aion_tokenizers.image_fit import BRIGHT, Descent, ImageFit
from aion_tokenizers.image_network import ImageConfig
from aion_tokenizers.image_task import ImageTask
from aion_tokenizers.wings import packed


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    sources = {**feeds_module.SOURCES, "toy": ToySource}
    monkeypatch.setattr(feeds_module, "SOURCES", sources)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Folder of a codec that nobody trained."""
    folder = tmp_path_factory.mktemp("start") / "codec"
    task = ImageTask(ImageConfig(**SIZES, refine=4), side=16, crop=12)
    save_codec(task.codec(task.build(jax.random.key(1))), folder)
    return str(folder)


@pytest.fixture(scope="module")
def task(start) -> ImageFit:
    sizes = ImageConfig(**SIZES, refine=4)
    few = {"pool": 2, "kept": 4, "visits": 30, "first": 4}
    return ImageFit(sizes, start, side=16, crop=12, drop=0.0, **few)


@pytest.fixture
def config(start, monkeypatch) -> ConfigDict:
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    config = ConfigDict(CONFIG.to_dict())
    config.codec = {
        **config.codec.to_dict(),
        "network": {**SIZES, "refine": 4},
        "start": start,
        "pool": 3,
        "kept": 4,
        "visits": 30,
        "first": 4,
        "refined_scores": True,
    }
    config.optimizer = {"learning_rate": 1e-2, "weight_decay": 0.0}
    return config


def batch_of(task: ImageFit, number: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    made = task.collate([sample("hsc_image", 6, number)], rng)
    place = number * task.kept + np.arange(task.kept, dtype=np.int32)
    return made | {"place": place}


def steps(task, batches, accumulate=1, devices=1, rate=1e-3):
    """The module after a step for each batch."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
    config = OptimizerConfig(learning_rate=rate, warmup=0.0, weight_decay=0.0, clip=0.0)
    optimizer = make_optimizer(config, 100)
    graph, state = init_state(task, optimizer, jax.random.key(0), mesh)
    step = make_step(task, optimizer, graph, mesh, accumulate)
    for batch in batches:
        state, metrics = step(state, to_devices(batch, mesh), jax.random.key(2))
    return nnx.merge(graph, state.params, state.buffers), jax.device_get(metrics)


def test_latents_go_by_adam_each_with_its_own_count():
    rng = np.random.default_rng(0)
    shape = (2, 37)
    latent = jnp.asarray(rng.normal(size=shape), jnp.float32)
    zero = jnp.zeros_like(latent)
    descent = Descent(latent, latent, zero, zero, jnp.zeros(2, jnp.int32))
    reference = optax.adam(0.1, b1=0.8, b2=0.95, eps=1e-3)
    with jax.numpy_dtype_promotion("standard"):
        state, wanted = reference.init(latent), latent
        for _ in range(4):
            slope = jnp.asarray(rng.normal(size=shape), jnp.float32)
            descent = descent.moved(slope, jnp.full(2, 0.1, jnp.float32))
            change, state = reference.update(slope, state)
            wanted = optax.apply_updates(wanted, change)
    np.testing.assert_allclose(descent.latent, wanted, rtol=1e-4, atol=1e-5)
    assert descent.steps.tolist() == [4, 4]


def test_a_step_moves_the_decoder_and_the_latents_of_its_squares(task):
    before = task.build(jax.random.key(0)).network
    module, metrics = steps(task, [batch_of(task, 1)] * 2)
    moved = {}
    for (path, old), (_, new) in zip(
        *(nnx.to_flat_state(nnx.state(x)) for x in (before, module.network)),
        strict=True,
    ):
        same = np.array_equal(old.get_value(), new.get_value())
        moved[path[0]] = moved.get(path[0], False) or not same
    assert {name for name, changed in moved.items() if changed} == set(DECODER)
    descent = module.rows(jnp.arange(8))
    assert descent.steps.tolist() == [0] * 4 + [2] * 4
    assert not np.asarray(descent.latent[:4]).any()
    away = np.abs(np.asarray(descent.latent - descent.origin))[4:].max(axis=1)
    assert (away > 0).all() and np.isfinite(metrics["sums"]["chi2"]).all()


def test_a_square_begins_where_the_codec_would_begin(task):
    batch = batch_of(task)
    network = task.build(jax.random.key(0)).network
    valid = jnp.asarray(batch["valid"])
    pixels = jnp.arcsinh(jnp.where(valid > 0, batch["flux"], 0))
    wanted = packed(network.encode(pixels, valid, jnp.asarray(batch["told"])))
    for visits in (1, 2):
        module, _ = steps(task, [batch] * visits)
        descent = module.rows(jnp.arange(8))
        np.testing.assert_allclose(descent.origin[:4], wanted, rtol=1e-4, atol=1e-5)
        assert descent.steps.tolist() == [visits] * 4 + [0] * 4


def test_moves_of_a_visit_are_those_of_as_many_visits_while_the_decoder_waits(task):
    batch = batch_of(task)
    once, told = steps(replace(task, moves=4), [batch], rate=1e-12)
    often, last = steps(replace(task, visits=4 * task.visits), [batch] * 4, rate=1e-12)
    one, four = (m.rows(jnp.arange(4)) for m in (once, often))
    assert one.steps.tolist() == four.steps.tolist() == [4] * 4
    np.testing.assert_allclose(one.latent, four.latent, rtol=1e-4, atol=1e-4)
    assert told["loss"] == pytest.approx(last["loss"], rel=1e-4)
    _, first = steps(task, [batch], rate=1e-12)
    assert told["loss"] < first["loss"]  # latents of the last move are what is decoded


@pytest.mark.parametrize(("accumulate", "devices"), [(2, 1), (1, 4)])
def test_parts_and_devices_change_nothing(task, accumulate, devices):
    batches = [batch_of(task, 0), batch_of(task, 1)]
    whole, one = steps(task, batches)
    parts, other = steps(task, batches, accumulate, devices)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    first, second = (m.rows(jnp.arange(8)) for m in (whole, parts))
    np.testing.assert_allclose(first.latent, second.latent, rtol=1e-3, atol=1e-3)


def test_bad_pixels_have_no_influence(task):
    clean = batch_of(task)
    valid = clean["valid"].copy()
    valid[:, 1, 3:9] = 0
    spoilt = np.where(valid > 0, clean["flux"], np.float32(1e9))
    spoilt[0, 1, 4, 4] = np.nan
    both = [
        steps(task, [{**clean, "valid": valid, "flux": flux}])
        for flux in (clean["flux"], spoilt)
    ]
    (one, first), (other, second) = both
    assert first["loss"] == second["loss"] and np.isfinite(first["loss"])
    for a, b in zip(
        *(jax.tree.leaves(nnx.state(m)) for m in (one, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("split", [0.0, 0.5])
def test_the_decoder_is_held_against_independent_noise(task, split):
    split_task = replace(task, split=split)
    rng = np.random.default_rng(0)
    shape = (4, 5, 32, 32)
    noise = rng.normal(size=shape).astype(np.float32)
    part = {
        "flux": jnp.asarray(noise),
        "sigma": jnp.ones(shape, jnp.float32),
        "place": jnp.arange(4, dtype=jnp.int32),
    }
    pair, again = split_task.pair(part), split_task.pair(part)
    np.testing.assert_array_equal(pair.first, again.first)
    first, second = np.asarray(pair.first).ravel(), np.asarray(pair.second).ravel()
    if not split:
        assert pair.excess == 1 and np.array_equal(first, second)
        return
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert second.var() == pytest.approx(pair.excess, rel=0.05)
    assert first.var() == pytest.approx(1.25, rel=0.05)
    alone = split_task.pair({k: v[1:] for k, v in part.items()})
    np.testing.assert_array_equal(alone.first, pair.first[1:])


def test_a_new_axis_changes_nothing_until_latents_move_along_it(task, start):
    levels = (*task.network.levels, 5)
    wider = replace(task, network=replace(task.network, levels=levels), axes=1)
    old, new = (t.build(jax.random.key(0)).network for t in (task, wider))
    batch = batch_of(task)
    valid, told, asked = (
        jnp.asarray(batch[name]) for name in ("valid", "told", "asked")
    )
    pixels = jnp.arcsinh(jnp.where(valid > 0, batch["flux"], 0))
    before, after = (n.encode(pixels, valid, told) for n in (old, new))
    np.testing.assert_allclose(after[..., :-1], before, atol=1e-6)
    assert not after[..., -1].any()
    drawn = [
        n.decode(n.quantizer(z).values, asked)
        for n, z in ((old, before), (new, after), (new, after.at[..., -1].set(1.0)))
    ]
    np.testing.assert_allclose(drawn[1], drawn[0], atol=1e-5)
    assert np.abs(drawn[2] - drawn[0]).max() > 1e-3
    with pytest.raises(ConfigError, match="sizes"):
        replace(wider, axes=0).build(jax.random.key(0))


def test_bright_squares_come_first_and_leave_room_for_others(task):
    seen, truth = blobs("hsc_image", 12, 0)
    flux = seen.flux.copy()
    flux[:6, :, 8, 8] = 10 * BRIGHT
    bright = replace(seen, flux=flux, mask=np.ones(flux.shape, bool))
    picky = replace(task, kept=8, bright=0.5, aim=1.0, windows=1)
    found = picky.collate(
        [replace(sample("hsc_image"), observation=bright, truth=truth)],
        np.random.default_rng(0),
    )
    peak = (found["flux"] / found["sigma"]).max(axis=(1, 2, 3))
    assert (peak >= BRIGHT).tolist() == [True] * 4 + [False] * 4
    with pytest.raises(ConfigError, match="4 squares in a batch, of which 8"):
        picky.collate([sample("hsc_image", 4)], np.random.default_rng(0))


@pytest.mark.parametrize("brightness", [1.0, 1e4])
def test_squares_are_kept_of_all_sources_alike(task, brightness):
    picky, kept = replace(task, kept=6, bright=0.7), []
    for seed in range(8):
        several = [sample(name, 12, seed) for name in ("legacy_image", "hsc_image")]
        for one in several:
            one.observation.flux[...] *= brightness
        found = picky.collate(several, np.random.default_rng(seed))
        kept += found["group"].tolist()
    assert np.mean(kept) == pytest.approx(0.5, abs=0.2)


def test_batches_of_a_pool_come_again_in_another_order(config):
    feeds = feeds_of(to_plain(config))
    run = feeds.iterate(0)
    batches = [next(run) for _ in range(9)]
    run.close()
    places = [tuple(batch["place"].tolist()) for batch in batches]
    for epoch in range(3):
        some = places[3 * epoch : 3 * epoch + 3]
        assert sorted(n for place in some for n in place) == list(range(12))
    assert len({tuple(places[3 * n : 3 * n + 3]) for n in range(3)}) > 1
    same = [b for b in batches if b["place"][0] == 0]
    assert all(np.array_equal(b["flux"], same[0]["flux"]) for b in same)
    later = feeds_of(to_plain(config)).iterate(7)
    np.testing.assert_array_equal(next(later)["flux"], batches[7]["flux"])
    later.close()


def test_a_run_decodes_nearer_and_is_resumed_exactly(config, start, tmp_path):
    config.codec.pool, config.codec.kept = 8, 6
    config.train.steps = 100
    config.train.evaluate_every = config.train.checkpoint_every = 50
    metrics = train(job_of(config, tmp_path / "whole"), quiet=True)
    rows = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])

    def error(codec):
        seen, truth = blobs("hsc_image", 48, 99)
        guess = codec.decode(
            codec.encode(seen), bands=seen.bands, psf_fwhm=seen.psf_fwhm
        )
        return np.square(guess.flux - truth.flux)[seen.mask].mean()

    whole = load_codec(tmp_path / "whole" / "codec")
    assert error(whole) < 0.93 * error(load_codec(start))
    assert metrics["best/score"] > 0

    half = ConfigDict(config.to_dict())
    cut = feeds_module.Feeds.iterate

    def stopping(self, first):
        for count, batch in enumerate(cut(self, first), first):
            if count == 55:
                raise KeyboardInterrupt
            yield batch

    feeds_module.Feeds.iterate = stopping
    try:
        with pytest.raises(KeyboardInterrupt):
            train(job_of(half, tmp_path / "part"), quiet=True)
    finally:
        feeds_module.Feeds.iterate = cut
    train(job_of(half, tmp_path / "part"), quiet=True)
    other = load_codec(tmp_path / "part" / "codec")
    for one, two in zip(
        *(jax.tree.leaves(nnx.state(c.network)) for c in (whole, other)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_nonsense_is_refused(task):
    with pytest.raises(ConfigError, match="latents of a codec"):
        replace(task, start="")
    with pytest.raises(ConfigError, match="whole patches"):
        replace(task, crop=13)
    for name in ("pool", "moves"):
        with pytest.raises(ConfigError, match="1 or more"):
            replace(task, **{name: 0})
    for axes in (-1, len(task.network.levels)):
        with pytest.raises(ConfigError, match="are new"):
            replace(task, axes=axes)
    unfitted = load_config("configs/tokenizers/image.py:nano,start=nano,axes=1", [])
    with pytest.raises(ConfigError, match="axes"):
        task_of(unfitted.to_dict())
    fitted = load_config("configs/tokenizers/image.py:nano,start=a,fit=2,axes=1", [])
    assert task_of(fitted.to_dict()).axes == 1


def test_the_config_fits_a_decoder_on_request():
    name = str(find_config("tokenizers/image"))
    plain = to_plain(load_config(f"{name}:nano,start=nano,fit=20"))
    task = task_of(plain)
    assert isinstance(task, ImageFit) and (task.pool, task.refined_scores) == (20, True)
    assert plain["train"]["steps"] == 20 * task.visits
    sources = plain["data"]["sources"]
    fictional = [s["weight"] for s in sources if s["kind"] == "fiction"]
    assert sum(fictional) >= 0.5 * sum(s["weight"] for s in sources)
    assert not isinstance(task_of(to_plain(load_config(name))), ImageFit)
