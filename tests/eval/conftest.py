# SPDX-License-Identifier: MIT
"""A sky in which the posterior is known, and a model that knows it."""

import numpy as np
import pytest

from aion.codec import CodecBundle, codec_class
from aion.eval.evaluator import Held
from aion.eval.questions import Question
from aion.generation import AION
from aion.modality import MODALITIES, Kind, Modality
from aion.observation import Category, Scalar
from aion.records import Records
from aion.sampling.posterior import Posterior

CLASS = Modality("object_class", "own", Kind.CATEGORY)
LABELS = ("GALAXY", "STAR")
WIDTH = 0.03


def make_records(count: int, seed: int) -> Records:
    """Galaxies and stars; z of galaxies is dec_like colour plus Gaussian noise."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0.2, 1.0, count)
    star = rng.random(count) < 0.3
    redshift = np.where(star, 0.0, colour + WIDTH * rng.standard_normal(count))
    return Records(
        np.char.mod("o%d", np.arange(count) + 100_000 * seed),
        rng.uniform(0, 360, count),
        rng.uniform(-60, 60, count),
        {
            "legacy_flux_g": Scalar(colour),
            "redshift": Scalar(redshift),
            "object_class": Category(np.where(star, "STAR", "GALAXY")),
        },
        origin="toy",
    )


def codec(word, observation, **config):
    fitter = codec_class(word).fitter(**config)  # pyright: ignore
    fitter.update(observation)
    return fitter.finish()


@pytest.fixture(scope="session")
def bundle() -> CodecBundle:
    values = make_records(2000, 9).observations
    codecs = {
        "legacy_flux_g": codec("empirical", values["legacy_flux_g"], bins=64),
        "redshift": codec("coarse_fine", values["redshift"], coarse=64, fine=16),
        "object_class": codec("categories", values["object_class"]),
    }
    known = MODALITIES | {"object_class": CLASS}
    return CodecBundle(codecs, {known[n]: n for n in codecs})


class Oracle(AION):
    """Answers from the formula of the toy sky; `factor` widens its posteriors."""

    def __init__(self, bundle: CodecBundle, factor: float = 1.0) -> None:
        self.space, self.factor = bundle.space, factor
        self.metadata, self._bundle = {}, bundle

    def tokenize(self, observations):
        return observations

    def posterior(self, tokens, name, **rest):
        from scipy.stats import norm

        colour = np.asarray(tokens["legacy_flux_g"].values)[:, None]
        if name == "object_class":
            shares = np.broadcast_to([0.7, 0.3], (len(colour), 2))
            return Posterior(np.array(LABELS), None, shares, name)
        edges = self.bundle.codec(name).bin_edges()
        total = norm.cdf(edges, colour, self.factor * WIDTH)
        shares = np.diff(total) / (total[:, -1:] - total[:, :1])
        return Posterior(self.bundle.codec(name).bin_centres(), edges, shares, name)


@pytest.fixture(scope="session")
def oracle(bundle) -> AION:
    return Oracle(bundle)


@pytest.fixture(scope="session")
def braggart(bundle) -> AION:
    return Oracle(bundle, 0.5)


@pytest.fixture(scope="session")
def question() -> Question:
    return Question(
        "redshift", ("legacy_flux_g",), "redshift", {"object_class": "GALAXY"}
    )


@pytest.fixture(scope="session")
def label_question() -> Question:
    return Question("class", ("legacy_flux_g", "redshift"), "object_class")


def held(count: int, seed: int) -> Held:
    records = make_records(count, seed)
    return Held(records, np.arange(count) % 97, fold=0)


@pytest.fixture(scope="session")
def train() -> Held:
    return held(1500, 1)


@pytest.fixture(scope="session")
def test() -> Held:
    return held(1200, 2)
