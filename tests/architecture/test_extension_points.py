# SPDX-License-Identifier: MIT
"""What adding something costs: toy versions of each, defined here, nothing edited.

A toy observatory with modalities of its own goes the whole way through public
interfaces: its own reader, its own codec from an entry point, its own masking policy in
training, its own decoding scheme in a draw, its own evaluator in a table of scores. A
toy task shows that the training loop takes any module, as codecs to be trained will be.
"""

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

import aion
from aion.codec import Codec, CodecBundle
from aion.data.allotment import Budget, Plan
from aion.data.masking import MaskPolicy, Mixture, Uniform
from aion.data.pipeline import TrainingStream
from aion.data.shards import ShardSet
from aion.errors import ArtefactError, UnitError
from aion.eval.baselines import Baseline, Marginal, run_baselines
from aion.eval.evaluator import Evaluator, Examples, Result
from aion.eval.held import gather
from aion.eval.predictions import fill, pool
from aion.eval.questions import Question, observation_of, values_of
from aion.eval.scores import score
from aion.instrument import band_from_dict, find_band
from aion.modality import Kind
from aion.model.config import ModelConfig
from aion.model.store import describe
from aion.observation import Category, Coefficients, Image, Scalar
from aion.observations import TableSource, fit_bundle, specs_from_config
from aion.records import Records, RecordSource
from aion.sampling.posterior import Posterior
from aion.sampling.schemes import Chained, Scheme, Step
from aion.splits import SplitRule
from aion.tokenization import encode_records, tokenize
from aion.tokenspace import TokenSpec
from aion.train.loop import LoopConfig, run
from aion.train.optimizer import OptimizerConfig
from aion.train.task import MaskedTokens, Task

CONFIG = ConfigDict(
    {
        "bands": (
            {
                "name": "TOY-K",
                "instrument": "ToyCam",
                "wavelength": 21900.0,
                "width": 3900.0,
                "zero_point": 25.0,
            },
        ),
        "modalities": (
            {
                "name": "toy_mag_k",
                "survey": "toy",
                "kind": "scalar",
                "unit": "mag(AB)",
                "column": "K",
                "codec": {"word": "empirical", "bins": 8},
                "jitter": 0.01,
            },
            {
                "name": "toy_mag_h",
                "survey": "toy",
                "kind": "scalar",
                "unit": "mag(AB)",
                "column": "H",
                "codec": {"word": "empirical", "bins": 8},
            },
            {"name": "toy_colour", "difference": ("toy_mag_h", "toy_mag_k")},
            {
                "name": "toy_light_curve",
                "survey": "toy",
                "kind": "coefficients",
                "shape": (6,),
                "column": "curve",
                "codec": {"word": "toy_rises", "quantile": 0.5},
            },
            {"name": "toy_type", "kind": "category", "column": "type"},
        ),
    }
)
RULE = SplitRule(nside=2, folds=3, fold=1, validation=0.0)
ROWS = 80
QUESTION = Question("magnitude", ("toy_mag_k", "toy_colour"), "toy_mag_h")


@dataclass(frozen=True)
class ToySurvey:
    """A reader: pulsating and steady sources, in Janskys, from two hemispheres."""

    def partitions(self):
        return ["north", "south"]

    def read(self, partition) -> Iterator[Records]:
        sign = {"north": 1, "south": -1}[partition]
        rng = np.random.default_rng(sign + 1)
        flux = rng.lognormal(0, 1, ROWS) * 1e-6
        pulsating = rng.random(ROWS) < 0.5
        curve = rng.normal(0, 0.1, (ROWS, 6))
        curve += np.where(pulsating[:, None], [1, -1, 1, -1, 1, -1], 0)
        curve[0] = np.nan
        yield Records(
            np.array([f"{partition}-{n}" for n in range(ROWS)]),
            rng.uniform(0, 360, ROWS),
            np.degrees(np.arcsin(sign * rng.random(ROWS))),
            {
                "toy_mag_k": Scalar(flux * u.Jy),
                "toy_mag_h": Scalar(flux * np.where(pulsating, 2.0, 0.5) * u.Jy),
                "toy_light_curve": Coefficients(curve),
                "toy_type": Category(np.where(pulsating, "pulsating", "steady")),
            },
            origin=f"toy {partition}",
        )


@dataclass(frozen=True)
class Rises:
    """A codec of another package: is each value above a level learnt from the data?"""

    word: ClassVar[str] = "toy_rises"
    level: float = 0.0

    @classmethod
    def fitter(cls, quantile: float):
        seen = []

        def update(observation):
            seen.append(observation.values[np.isfinite(observation.values)])

        def finish():
            return cls(float(np.quantile(np.concatenate(seen), quantile)))

        return SimpleNamespace(update=update, finish=finish)

    def encode(self, observation):
        values = np.asarray(observation.values)
        return np.where(np.isnan(values), -1, values > self.level).astype(np.int32)

    def decode(self, codes, **asked):
        up, absent = np.asarray(codes) == 1, np.asarray(codes) < 0
        return Coefficients(
            np.where(absent, np.nan, self.level + np.where(up, 1.0, -1.0))
        )

    def spec(self, modality, name):
        return TokenSpec(modality, name, 2, 2, modality.shape)

    def state(self):
        return {}, {"level": np.array([self.level])}

    @classmethod
    def from_state(cls, config, arrays):
        return cls(float(arrays["level"][0]))


@dataclass(frozen=True)
class AskLast:
    """A masking policy: asks for one modality, gives all the others."""

    name: str

    def plan(self, draws, offer, budget):
        asked = np.arange(offer.counts.shape[1]) == offer.space.index(self.name)
        targets = np.where(asked, np.minimum(offer.counts, budget.targets), 0)
        return Plan(np.where(asked, 0, offer.counts), targets)


@dataclass(frozen=True)
class Strided:
    """A decoding scheme: every n-th place first, the others after, seeing those."""

    stride: int

    def steps(self, asked):
        plan = []
        for start in range(self.stride):
            places = [
                (s.name, tuple(range(start, s.num_tokens, self.stride))) for s in asked
            ]
            sees = tuple(s.name for s in asked) if start else ()
            plan.append(Step(tuple(p for p in places if p[1]), sees))
        return tuple(plan)


@dataclass(frozen=True)
class InTurn:
    """Modalities one after the other, as Chained has them."""

    def steps(self, asked):
        names = tuple(spec.name for spec in asked)
        return tuple(
            Step(((s.name, tuple(range(s.num_tokens))),), names[:number])
            for number, s in enumerate(asked)
        )


@dataclass(frozen=True)
class ByDraws:
    """An evaluator that answers with the middle of draws instead of a posterior."""

    question: Question
    draws: int = 9

    def run(self, model, data):
        held = data.take(self.question.rows(data.records))
        records = held.records
        tokens = model.tokenize(
            {n: observation_of(records, n) for n in self.question.given}
        )
        asked = self.question.asked
        found = model.detokenize(
            model.sample(tokens, [asked], num_samples=self.draws, seed=1)
        )
        truth = values_of(records, asked)
        keys = held.keys() | {
            "truth": truth,
            "estimate": np.median(found[asked].values, axis=0),
        }
        edges = model.bundle.codec(asked).bin_edges()
        mass = np.stack([np.histogram(row, edges)[0] for row in found[asked].values.T])
        posterior = Posterior(
            (edges[1:] + edges[:-1]) / 2, edges, mass / self.draws, asked, "mag"
        )
        return Result(
            fill(self.question, "number", posterior.unit, keys, {"method": "draws"}),
            Examples(posterior, truth, records.object_id),
        )


@dataclass(frozen=True)
class Arithmetic:
    """A baseline that knows better: H = K + (H - K)."""

    name: str = "arithmetic"

    def answer(self, lesson):
        _, held = lesson.features()
        return {"estimate": held.sum(axis=1)}


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


@dataclass(frozen=True)
class Line:
    """A task of its own: y = slope x + offset; batches are dicts of arrays."""

    def build(self, key):
        return nnx.Linear(1, 1, rngs=nnx.Rngs(params=key))

    def prepare(self, batch):
        # What depends on the whole batch: parts of it are added by the loop.
        return batch | {"weight": jnp.full_like(batch["y"], 1 / batch["y"].size)}

    def loss(self, module, part, key, mesh):
        error = (module(part["x"][:, None])[:, 0] - part["y"]) ** 2
        rows = {
            "slope": jnp.stack([module.kernel[...].sum(), jnp.float32(1)])[None],
            "error": jnp.stack([error.sum(), jnp.float32(error.size)])[None],
        }
        return jnp.sum(error * part["weight"]), rows

    def report(self, sums):
        return {name: float(rows[0, 0] / rows[0, 1]) for name, rows in sums.items()}

    def size(self, batch):
        return len(batch["x"])


def points(start: int):
    while True:
        x = np.random.default_rng([1, start]).uniform(-1, 1, 16).astype(np.float32)
        yield {"x": x, "y": 2 * x - 1}
        start += 1


def fit_line(folder: Path, batches=points, **changes):
    folder.mkdir(exist_ok=True)
    outcome = run(
        Line(),
        batches,
        replace(LoopConfig(80, log_every=1, checkpoint_every=20), **changes),
        OptimizerConfig(learning_rate=0.15, weight_decay=0.0, clip=0.0),
        folder,
        {"what": "a line"},
        validation=lambda start: (b for b, _ in zip(points(999), "ab", strict=False)),
        quiet=True,
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return outcome, [row["loss"] for row in rows if "loss" in row]


def test_a_task_of_ones_own_is_trained_by_the_same_loop(tmp_path):
    outcome, losses = fit_line(tmp_path / "whole", evaluate_every=80)
    assert outcome.finished and len(losses) == 80
    assert losses[-1] < 1e-2 * losses[0]
    assert outcome.metrics["slope"] == pytest.approx(2, abs=0.05)
    assert outcome.metrics["validation/error"] < 1e-2
    _, parts = fit_line(tmp_path / "parts", accumulate=4)
    np.testing.assert_allclose(parts, losses, rtol=1e-4, atol=1e-6)


def test_a_task_of_ones_own_goes_on_after_a_crash(tmp_path):
    _, through = fit_line(tmp_path / "through")

    def failing(start):
        for step, batch in enumerate(points(start), start):
            if step == 33:
                raise OSError("the disk is gone")
            yield batch

    with pytest.raises(OSError, match="disk"):
        fit_line(tmp_path / "crashed", failing)
    seen = []

    def watched(start):
        seen.append(start)
        yield from points(start)

    outcome, losses = fit_line(tmp_path / "crashed", watched)
    assert seen == [20], "goes on from the last checkpoint"
    assert outcome.finished
    np.testing.assert_allclose(losses, through, rtol=1e-6)
