# SPDX-License-Identifier: MIT
"""Training of the image codec: the loss, the batches, whole runs, and their guards."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from tests.tokenizers.toy_images import (
    CONFIG,
    PLAIN,
    SIZES,
    ToySource,
    arrays,
    blobs,
    sample,
)

from aion.codec import load_codec, save_codec
from aion.config import find_config, load_config, to_plain
from aion.errors import ConfigError, DataError
from aion.jobs import feeds as feeds_module
from aion.jobs.codec_training import CodecWatch, Collapse, Guard, feeds_of, task_of
from aion.jobs.runs import job_of, train
from aion.train.codec_task import CodecTask, Sample
from aion_tokenizers.image import ImageCodec
from aion_tokenizers.image_network import ImageConfig
from aion_tokenizers.image_task import ImageTask
from aion_tokenizers.recorruption import recorrupt, robust


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    sources = {**feeds_module.SOURCES, "toy": ToySource}
    monkeypatch.setattr(feeds_module, "SOURCES", sources)
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)


@pytest.fixture(scope="module")
def task() -> ImageTask:
    return ImageTask(ImageConfig(**SIZES), side=16, crop=12)


def test_a_pair_has_independent_noise_of_known_variance():
    truth, sigma = jnp.float32(3.0), jnp.float32(0.7)
    noise = jax.random.normal(jax.random.key(1), (200_000,))
    pair = recorrupt(
        truth + sigma * noise, jnp.full(200_000, sigma), jax.random.key(2), 0.5
    )
    first, second = (np.asarray(x, np.float64) for x in pair[:2])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert first.var() == pytest.approx(0.49 * 1.25, rel=0.02)
    assert second.var() == pytest.approx(0.49 * pair.excess, rel=0.02)
    assert second.mean() == pytest.approx(3, abs=0.02)


def test_the_misfit_is_a_square_near_zero_and_a_line_far_away():
    chi = jnp.asarray([0.0, 0.1, 1e3, 2e3])
    value = np.asarray(robust(chi))
    assert value[0] == 0 and value[1] == pytest.approx(0.005, rel=5e-3)
    assert value[3] - value[2] == pytest.approx(1e3, rel=1e-3)


def test_batches_have_one_shape_whatever_is_in_them(task):
    rng = np.random.default_rng(0)
    both = task.collate([sample("legacy_image"), sample("hsc_image")], rng)
    assert both["flux"].shape == (8, 5, 12, 12) and both["told"].shape == (8, 5, 6)
    assert not both["valid"][:4, 4].any(), "the Legacy Surveys have four bands"
    assert both["group"].tolist() == [0] * 4 + [1] * 4
    held = task.collate([sample("hsc_image")], None)
    assert held["flux"].shape == (4, 5, 16, 16)
    assert all(np.isfinite(v).all() for v in both.values())
    few = replace(task, channels=3).collate([sample("hsc_image")], rng)
    assert few["flux"].shape[1] == 3
    alone = Sample("other", sample("hsc_image").observation)
    assert np.isnan(task.collate([alone], None)["truth"]).all()


def test_some_images_lose_bands_and_never_all(task):
    busy = replace(task, drop=1.0)
    rng = np.random.default_rng(0)
    batch = busy.collate([sample("hsc_image", 64)], rng)
    left = batch["valid"].any(axis=(2, 3)).sum(axis=1)
    assert left.min() >= 1 and 2 < left.mean() < 4


def test_turns_keep_flux_truth_and_mask_together(task):
    rng = np.random.default_rng(5)
    batch = replace(task, drop=0.0).collate([sample("hsc_image", 32)], rng)
    chi = (batch["flux"] - batch["truth"]) / batch["sigma"]
    assert np.std(chi[batch["valid"] > 0]) == pytest.approx(1, abs=0.03)


def test_zero_points_are_off_in_training_and_signal_over_noise_is_not(task):
    whole = replace(task, crop=16, drop=0.0, channels=4)
    seen, truth = blobs("legacy_image", 400, 0)
    known = Sample("legacy_image", replace(seen, mask=None), truth)
    plain, off = (
        replace(whole, calibration=size).collate([known], np.random.default_rng(1))
        for size in (0.0, 0.05)
    )
    light = [m["truth"].sum(axis=(2, 3)) for m in (plain, off)]
    colours = [np.diff(-2.5 * np.log10(x), axis=1) for x in light]
    assert np.std(colours[1] - colours[0]) == pytest.approx(0.05 * 2**0.5, rel=0.1)
    for name in ("truth", "flux"):  # turned and flipped in another way
        ratios = [
            np.sort((m[name] / m["sigma"]).reshape(400, -1)) for m in (plain, off)
        ]
        np.testing.assert_allclose(ratios[1], ratios[0], rtol=1e-4, atol=1e-4)
    still = replace(whole, calibration=0.05).collate([known], None)
    np.testing.assert_array_equal(still["truth"], whole.collate([known], None)["truth"])


def test_squares_are_aimed_at_what_is_bright_and_keep_inside(task):
    """A single bright pixel is in every aimed square, wherever it stands."""
    seen, truth = blobs("legacy_image", 40, 3)
    flux = np.zeros_like(seen.flux)
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 16, (2, 40))
    flux[np.arange(40), :, rows, columns] = 1.0
    image = replace(seen, flux=flux, mask=np.ones(flux.shape, bool))
    aimed = replace(task, crop=8, windows=3, aim=1.0, drop=0.0)
    batch = aimed.collate([Sample("legacy_image", image, truth)], rng)
    assert batch["flux"].shape[0] == 120 and batch["group"].shape == (120,)
    assert ((batch["flux"][:, :4] > 0).sum(axis=(2, 3)) == 1).all()
    loose = replace(aimed, aim=0.0).collate([Sample("legacy_image", image)], rng)
    assert 0 < (loose["flux"] > 0).any(axis=(1, 2, 3)).mean() < 0.8


@pytest.mark.parametrize("kind", ["fsq", "lfq", "vq"])
def test_a_step_moves_a_codebook_and_nothing_but_one(kind):
    task = ImageTask(ImageConfig(**SIZES, quantizer=kind), side=16, crop=12)
    batch = arrays(task.collate([sample("legacy_image")], None))
    module = task.build(jax.random.key(0))
    graph, params, buffers = nnx.split(module, nnx.Param, ...)

    @jax.jit
    def moved(params, buffers, key):
        module = nnx.merge(graph, params, buffers, copy=True)
        loss, _ = task.loss(module, task.prepare(batch), key, None)
        return loss, nnx.state(module, nnx.Not(nnx.Param))

    loss, after = moved(params, buffers, jax.random.key(1))
    _, scored = moved(params, buffers, None)
    assert np.isfinite(loss)
    old, new, still = (jax.tree.leaves(x) for x in (buffers, after, scored))
    assert len(old) == (3 if kind == "vq" else 0)
    for before, changed, same in zip(old, new, still, strict=True):
        assert not np.array_equal(before, changed)
        np.testing.assert_array_equal(before, same)


def test_bad_pixels_carry_no_gradient(task):
    batch = arrays(task.collate([sample("legacy_image")], None))
    valid = batch["valid"].at[:, 1, 3:9].set(0.0)
    module = task.build(jax.random.key(0))
    graph, state = nnx.split(module)

    @jax.jit
    def gradient(state, flux):
        part = task.prepare({**batch, "valid": valid, "flux": flux})

        def loss(s):
            return task.loss(nnx.merge(graph, s), part, jax.random.key(1), None)[0]

        return jax.grad(loss)(state)

    flux = jnp.asarray(batch["flux"])
    spoilt = jnp.where(valid > 0, flux, jnp.float32(1e6))
    for a, b in zip(
        *map(jax.tree.leaves, (gradient(state, flux), gradient(state, spoilt))),
        strict=True,
    ):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("refined", [False, True])
def test_the_score_is_the_error_to_the_truth(task, refined):
    network = replace(task.network, refine=3 * refined, settle=int(refined))
    task = replace(task, network=network, refined_scores=refined)
    batch = arrays(task.collate([sample("legacy_image")], None))
    module = task.build(jax.random.key(0))
    graph, state = nnx.split(module)
    score = jax.jit(
        lambda s, b: task.loss(nnx.merge(graph, s), task.prepare(b), None, None)[1]
    )
    sums = score(state, batch)
    report = task.report(jax.device_get(sums))
    codec = task.codec(module)
    seen, truth = blobs("legacy_image", 4, 0)
    codes = codec.encode(seen)
    guess = codec.decode(codes, bands=seen.bands, psf_fwhm=seen.psf_fwhm)
    square = (guess.flux - truth.flux) ** 2 * seen.ivar
    assert report["error/legacy_image/all"] == pytest.approx(
        square[seen.mask].mean(), rel=0.02
    )
    assert isinstance(codec, ImageCodec) and isinstance(task, CodecTask)
    assert report["score"] > 0 and 0 < report["usage"] <= 1


def test_the_batch_of_a_step_is_a_function_of_seed_and_step():
    feeds = feeds_of(PLAIN)
    run = feeds.iterate(3)
    for step in (3, 4, 5):
        batch, again = next(run), feeds_of(PLAIN).batch(step)
        assert all(np.array_equal(batch[k], again[k]) for k in batch)
    run.close()
    assert [f.rows for f in feeds.feeds] == [6, 2]
    names = {f.split for f in feeds_of(PLAIN, "test").feeds}
    assert names == {"test"}


@pytest.mark.parametrize(
    ("wanted", "sizes"),
    [(16, [8, 8]), (9, [8, 8]), (8, [8]), (5, [8]), (4, [4]), (1, [4])],
)
def test_few_validation_objects_are_a_part_of_a_batch(wanted, sizes):
    feeds = feeds_of(PLAIN | {"data": PLAIN["data"] | {"validation": wanted}})
    batches = list(feeds.validation(0))
    assert [len(batch["flux"]) for batch in batches] == sizes
    for batch in batches:
        known, other = (np.sum(batch["group"] == group) for group in (0, 1))
        assert known == 3 * other, "of every source"


def test_validation_is_of_the_same_objects_on_any_machine(monkeypatch):
    few = PLAIN | {"data": PLAIN["data"] | {"validation": 4}}
    monkeypatch.setattr(jax, "devices", lambda: [None] * 4)
    assert [len(b["flux"]) for b in feeds_of(few).validation(0)] == [4]
    monkeypatch.setattr(jax, "devices", lambda: [None] * 8)
    with pytest.raises(ConfigError, match=r"data\.validation=8"):
        feeds_of(few)
    none = PLAIN | {"data": PLAIN["data"] | {"validation": 0}}
    with pytest.raises(ConfigError, match="1 or more"):
        feeds_of(none)


def test_a_run_is_resumed_exactly_and_leaves_codecs(tmp_path):
    whole = job_of(CONFIG, tmp_path / "whole")
    metrics = train(whole, quiet=True)
    assert metrics["best/step"] in (3, 6) and "validation/score" in metrics

    def losses(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]

    class Stop(Exception):
        pass

    feeds, seen = feeds_module.Feeds, []
    original = feeds.batch

    def failing(self, step, **how):
        if how.get("random", True) and step > 4 and not seen:
            raise Stop
        return original(self, step, **how)

    feeds.batch = failing
    try:
        with pytest.raises(Stop):
            train(job_of(CONFIG, tmp_path / "part"), quiet=True)
        seen.append(True)
        train(job_of(CONFIG, tmp_path / "part"), quiet=True)
    finally:
        feeds.batch = original
    assert losses(tmp_path / "part") == losses(tmp_path / "whole")
    for name in ("best", "codec"):
        one = load_codec(tmp_path / "whole" / name)
        other = load_codec(tmp_path / "part" / name)
        image = blobs("hsc_image", 3, 9)[0]
        np.testing.assert_array_equal(one.encode(image), other.encode(image))


def test_a_run_goes_on_from_a_codec_with_sizes_of_its_own(task, tmp_path):
    before = task.build(jax.random.key(1))
    save_codec(task.codec(before), tmp_path / "codec")
    sizes = replace(task.network, psf=3.0)
    after = replace(task, network=sizes, start=str(tmp_path / "codec"))
    network = after.build(jax.random.key(0))
    assert (before.psf, network.psf) == (2, 3)
    for one, other in zip(
        jax.tree.leaves(nnx.state(before)),
        jax.tree.leaves(nnx.state(network)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match="that is not"):
        replace(after, network=replace(sizes, width=8)).build(jax.random.key(0))


def test_a_collapse_stops_the_run_with_advice(task, tmp_path):
    watch = CodecWatch(task, tmp_path, Guard(fraction=0.5, armed=10))
    watch.logged(1, {"perplexity": 400.0})  # untrained codes are noise
    watch.logged(9, {"perplexity": 1.0})
    watch.logged(10, {"perplexity": 40.0})
    watch.logged(11, {"perplexity": 25.0})
    with pytest.raises(Collapse, match=r"from 40.*learning_rate"):
        watch.logged(12, {"perplexity": 19.0})


def test_nonsense_in_a_config_is_refused():
    with pytest.raises(ConfigError, match="no word"):
        task_of({"codec": {}})
    with pytest.raises(ConfigError, match="is not trained"):
        task_of({"codec": {"word": "empirical"}})
    with pytest.raises(ConfigError, match="depth"):
        task_of({"codec": {"word": "image", "network": {"depth": 3}}})
    other = ConfigDict(CONFIG.to_dict())
    other.data.batch = 1
    with pytest.raises(ConfigError, match="a batch of 1"):
        feeds_of(to_plain(other))
    with pytest.raises(DataError, match="crops of 99"):
        replace(task_of(PLAIN), side=99).collate([sample("hsc_image")], None)


@pytest.mark.parametrize("size", ["nano", "aion1"])
def test_the_config_is_one_of_this_task(size):
    name = str(find_config("tokenizers/image"))
    config = load_config(f"{name}:{size}")
    plain = to_plain(config)
    assert isinstance(task_of(plain), ImageTask)
    weights = {s["kind"]: 0.0 for s in plain["data"]["sources"]}
    for row in plain["data"]["sources"]:
        weights[row["kind"]] += row["weight"]
    assert weights["fiction"] >= 0.5 * sum(weights.values())
