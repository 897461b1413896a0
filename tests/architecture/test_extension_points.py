# SPDX-License-Identifier: MIT
"""What adding something costs: toy versions of each, defined beside, nothing edited.

A toy observatory with modalities of its own goes the whole way through public
interfaces: its own reader, its own codec from an entry point, its own masking policy in
training, its own decoding scheme in a draw, its own evaluator in a table of scores.
"""

import importlib.metadata
import sys
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import jax
import numpy as np
import pytest
from tests.architecture.toy_extensions import (
    CONFIG,
    QUESTION,
    ROWS,
    RULE,
    Arithmetic,
    AskLast,
    ByDraws,
    InTurn,
    Line,
    Rises,
    Strided,
    ToySurvey,
)

import aion
from aion.codec import Codec, CodecBundle
from aion.data.allotment import Budget
from aion.data.masking import MaskPolicy, Mixture, Uniform
from aion.data.pipeline import TrainingStream
from aion.data.shards import ShardSet
from aion.errors import ArtefactError, UnitError
from aion.eval.baselines import Baseline, Marginal, run_baselines
from aion.eval.evaluator import Evaluator
from aion.eval.held import gather
from aion.eval.predictions import pool
from aion.eval.scores import score
from aion.instrument import band_from_dict, find_band
from aion.modality import Kind
from aion.model.config import ModelConfig
from aion.model.store import describe
from aion.observation import Image, Scalar
from aion.observations import TableSource, fit_bundle, specs_from_config
from aion.records import RecordSource
from aion.sampling.schemes import Chained, Scheme
from aion.tokenization import encode_records, tokenize
from aion.train.loop import LoopConfig, run
from aion.train.optimizer import OptimizerConfig
from aion.train.task import MaskedTokens, Task


@pytest.fixture(scope="module")
def installed():
    """The codec as if a package with an entry point were installed."""
    module = type(sys)("toy_observatory")
    module.Rises = Rises  # pyright: ignore
    group = "aion.codecs"
    point = importlib.metadata.EntryPoint("toy_rises", "toy_observatory:Rises", group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "toy_observatory", module)
        patch.setattr(
            "aion.codec.entry_points", lambda group: [point] * (group == point.group)
        )
        yield patch


@pytest.fixture(scope="module")
def source(installed) -> TableSource:
    return TableSource(ToySurvey(), specs_from_config(CONFIG.modalities), copies=1)


@pytest.fixture(scope="module")
def run_folder(source, tmp_path_factory) -> Path:
    """Codecs and shards of the toy survey, made with public functions only."""
    folder = tmp_path_factory.mktemp("toy_run")
    plain = replace(source, copies=0)
    parts = (records for p in plain.partitions() for records in plain.read(p))
    bundle = fit_bundle(source.specs, parts)
    bundle.save(folder / "bundle")
    tokenize(source, bundle, folder / "shards", RULE)
    return folder


@pytest.fixture(scope="module")
def shards(run_folder) -> ShardSet:
    return ShardSet.open(run_folder / "shards")


@pytest.fixture(scope="module")
def stream(shards):
    def build(policy, **changes):
        values = {"budgets": [Budget(10, 6, batch=16)], "seed": 3} | changes
        return TrainingStream([shards], None, policy, **values)

    return build


@pytest.fixture(scope="module")
def model(run_folder, stream) -> aion.AION:
    """A model of the toy survey, trained for a few steps under the toy policy."""
    space = CodecBundle.load(run_folder / "bundle").space
    config = ModelConfig(16, 1, 1, 2, 32, head_block=8)
    policy = Mixture((AskLast("toy_type"), Uniform()))
    one = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: one)
        outcome = run(
            MaskedTokens(config, space),
            stream(policy).iterate,
            LoopConfig(steps=6, log_every=3, checkpoint_every=0),
            OptimizerConfig(learning_rate=3e-3),
            run_folder,
            describe(config, space),
            quiet=True,
        )
    assert outcome.finished and np.isfinite(outcome.metrics["loss"])
    return aion.load(run_folder)


def test_the_toys_are_what_the_protocols_ask_for():
    assert isinstance(ToySurvey(), RecordSource)
    assert isinstance(Rises(), Codec)
    assert isinstance(AskLast("x"), MaskPolicy)
    assert isinstance(Strided(2), Scheme)
    assert isinstance(ByDraws(QUESTION), Evaluator)
    assert isinstance(Arithmetic(), Baseline)
    assert isinstance(Line(), Task)


def test_own_modalities_and_bands_are_plain_dicts_of_a_config(installed):
    specs = {s.name: s.modality for s in specs_from_config(CONFIG.modalities)}
    assert not set(specs) & set(aion.MODALITIES)
    assert specs["toy_light_curve"].shape == (6,)
    assert specs["toy_colour"].unit == "mag" and specs["toy_colour"].survey == "own"
    assert specs["toy_type"].kind is Kind.CATEGORY
    own = {b.name: b for b in map(band_from_dict, CONFIG.bands)}
    pair = (find_band("toy-k", own), find_band("DES-Z", own))
    image = Image(np.zeros((3, 2, 4, 4)), bands=pair)
    assert [b.wavelength for b in image.bands] == [21900.0, 9199.3]
    assert "TOY-K" not in aion.BANDS


def test_a_survey_of_ones_own_becomes_token_shards(source, run_folder, shards):
    bundle = CodecBundle.load(run_folder / "bundle")
    shards.space.check_same(bundle.space, "the shards", "the bundle")
    assert shards.count("validation") == 0
    kept = {s: shards.count(s) for s in ("train", "test")}
    assert kept["train"] // 2 + kept["test"] == 2 * ROWS, "copies only train"
    held = gather(replace(source, copies=0), RULE, "test")
    records = shards.read_records("test", np.arange(kept["test"]))
    assert records.object_id.tolist() == held.records.object_id.tolist()
    np.testing.assert_array_equal(records.codes, encode_records(bundle, held.records))
    magnitude = held.records.observations["toy_mag_k"].values
    for survey in ToySurvey().partitions():
        (raw,) = ToySurvey().read(survey)
        rows = np.isin(held.records.object_id, raw.object_id)
        flux = raw.observations["toy_mag_k"].values[
            np.isin(raw.object_id, held.records.object_id)
        ]
        np.testing.assert_allclose(magnitude[rows], flux.to_value(u.ABmag), rtol=1e-12)


def test_a_survey_in_a_wrong_unit_is_refused_by_name(source):
    class Wrong(ToySurvey):
        def read(self, partition):
            for records in super().read(partition):
                seen = dict(records.observations)
                seen["toy_mag_h"] = Scalar(np.ones(ROWS) * u.s)
                yield replace(records, observations=seen)

    with pytest.raises(UnitError, match=r"toy north, column H.*toy_mag_h"):
        next(replace(source, source=Wrong()).read("north"))


def test_a_codec_of_another_package_serves_a_bundle(source, run_folder, installed):
    bundle = CodecBundle.load(run_folder / "bundle")
    assert isinstance(bundle.codec("toy_light_curve"), Rises)
    (records,) = replace(source, copies=0).read("north")
    curve = records.observations["toy_light_curve"]
    codes = bundle.encode("toy_light_curve", curve)
    assert codes.shape == (ROWS, 6) and (codes[0] == -1).all()
    again = bundle.decode("toy_light_curve", codes)
    np.testing.assert_array_equal(bundle.encode("toy_light_curve", again), codes)
    text = (run_folder / "bundle" / "bundle.json").read_text()
    assert "toy_observatory" not in text, "a file names no code to import"
    with installed.context() as patch:
        patch.setattr("aion.codec.entry_points", lambda group: [])
        with pytest.raises(ArtefactError, match=r"toy_rises.*entry point"):
            CodecBundle.load(run_folder / "bundle")


def test_a_masking_policy_decides_what_is_asked(stream):
    found = stream(AskLast("toy_light_curve"))
    row = found.space.index("toy_light_curve")
    sides = {"inputs": [], "targets": []}
    for step in range(20):
        example = found.batch(step)
        given, asked = example.inputs, example.targets
        full = (asked.valid & (asked.modality == row)).sum(axis=1) == 6
        assert not (given.modality == row).any()
        assert (given.valid.sum(axis=1) == len(found.space) - 1)[full].all()
        sides["targets"] += [full]
    # An object without a light curve is asked for something else: the rule of all.
    assert 0.9 < np.mean(sides["targets"]) < 1
    mixed = stream(Mixture((AskLast("toy_light_curve"), Uniform()), (1.0, 3.0)))
    share = np.mean(
        [
            (mixed.batch(step).targets.modality == row).all(axis=1).mean()
            for step in range(20)
        ]
    )
    assert 0.15 < share < 0.5


def test_a_decoding_scheme_is_passed_to_sample(model, source):
    (records,) = replace(source, copies=0).read("south")
    given = {n: records.observations[n] for n in ("toy_mag_k", "toy_mag_h")}
    tokens = model.tokenize({n: v.take(slice(0, 5)) for n, v in given.items()})
    asked = ["toy_light_curve"]

    def draw(scheme):
        return model.sample(tokens, asked, num_samples=8, scheme=scheme, seed=2)

    draws, chained, same = (draw(s) for s in (Strided(2), Chained(), InTurn()))
    codes = draws.codes["toy_light_curve"]
    assert codes.shape == (8, 5, 6) and (codes >= 0).all()
    assert np.isfinite(draws.log_probability).all()
    assert model.detokenize(draws)["toy_light_curve"].values.shape == (8, 5, 6)
    # The plan alone decides: Chained by another name draws what Chained draws.
    np.testing.assert_array_equal(chained.codes[asked[0]], same.codes[asked[0]])
    assert (chained.codes[asked[0]] != codes).any()


def test_an_evaluator_and_a_baseline_stand_in_the_table_of_scores(model, source):
    plain = replace(source, copies=0)
    held, lesson = (gather(plain, RULE, rows) for rows in ("test", "train"))
    ours = ByDraws(QUESTION).run(model, held)
    others = run_baselines(
        QUESTION, model.space, lesson, held, [Marginal(), Arithmetic()]
    )
    table = score(pool([ours.predictions, *others]))
    found = {(row.method, row.metric): row.value for row in table}
    assert found["arithmetic", "rms"] == pytest.approx(0, abs=1e-9)
    assert found["draws", "rms"] > 0 and found["marginal", "rms"] > 0
    assert {row.count for row in table} == {len(held)}
