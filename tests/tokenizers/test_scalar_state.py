# SPDX-License-Identifier: MIT
"""Configs and states of codecs of numbers and labels: nonsense is an error."""

import warnings

import numpy as np
import pytest

from aion.codec import CODECS, codec_class
from aion.errors import ArtefactError, ConfigError
from aion_tokenizers.bins import Bins, Compression
from aion_tokenizers.scalar import Categories, Channels, CoarseFine, Empirical, Linear


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (Empirical, {"bins": 0}),
        (Empirical, {"bins": True}),
        (Empirical, {"compression": "sqrt"}),
        (Empirical, {"compression": "asinh", "scale": 0.0}),
        (Linear, {"low": 1.0, "high": 1.0}),
        (Linear, {"low": 0.0, "high": 1e-320, "bins": 4096}),
        (CoarseFine, {"fine": -1}),
    ],
)
def test_wrong_configs_are_config_errors(cls, config):
    with pytest.raises(ConfigError):
        cls.fitter(**config)


def states():
    bins = Bins.equal_width(0.0, 1.0, 4, Compression())
    config, arrays = bins.config(), bins.arrays()
    edges = arrays["edges"]
    yield Empirical, {}, arrays
    yield Empirical, config | {"compression": "eval"}, arrays
    yield Empirical, config | {"scale": "1"}, arrays
    yield Empirical, config, {}
    yield Empirical, config, arrays | {"edges": edges[::-1]}
    yield Empirical, config, arrays | {"edges": edges[:-1]}
    yield Empirical, config, arrays | {"edges": edges.astype(np.float32)}
    yield Empirical, config, arrays | {"edges": edges[None]}
    yield Empirical, config, arrays | {"edges": edges * np.nan}
    yield Linear, config, arrays | {"centres": arrays["centres"] + 1}
    yield Linear, config, arrays | {"mass": -arrays["mass"]}
    yield CoarseFine, config | {"fine": 3}, arrays
    yield CoarseFine, config | {"fine": "2"}, arrays
    yield CoarseFine, config, arrays
    yield Channels, config | {"sizes": [4, 4]}, arrays
    yield Channels, config | {"sizes": "4"}, arrays
    yield Channels, config | {"sizes": []}, arrays
    yield Categories, {"labels": "STAR", "other": None}, {}
    yield Categories, {"labels": [1], "other": None}, {}
    yield Categories, {"labels": [], "other": None}, {}
    yield Categories, {"labels": ["a", "a"], "other": None}, {}
    yield Categories, {"labels": ["a"], "other": "b"}, {}


@pytest.mark.parametrize(("cls", "config", "arrays"), list(states()))
def test_nonsense_in_files_is_an_artefact_error(cls, config, arrays):
    with warnings.catch_warnings(), pytest.raises(ArtefactError):
        warnings.simplefilter("ignore")
        cls.from_state(config, arrays)


def test_every_word_of_the_allow_list_has_a_fitter():
    for word in CODECS:
        cls = codec_class(word)
        assert cls.word == word
        if word.startswith("official_") or hasattr(cls, "task"):
            continue  # read from AION-1's files, or trained
        fitter = cls.fitter()  # pyright: ignore
        assert callable(fitter.update) and callable(fitter.finish)
