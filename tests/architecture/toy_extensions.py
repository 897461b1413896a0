# SPDX-License-Identifier: MIT
"""Toy versions of all that can be added, from a survey's reader to a task to train."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import astropy.units as u
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from aion.data.allotment import Plan
from aion.eval.evaluator import Examples, Result
from aion.eval.predictions import fill
from aion.eval.questions import Question, observation_of, values_of
from aion.observation import Category, Coefficients, Scalar
from aion.records import Records
from aion.sampling.posterior import Posterior
from aion.sampling.schemes import Step
from aion.splits import SplitRule
from aion.tokenspace import TokenSpec

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
