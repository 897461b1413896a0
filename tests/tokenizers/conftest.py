# SPDX-License-Identifier: MIT
"""AION-1's codecs with random weights, and what the PyTorch package made of inputs."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aion.codec import load_codec

FIXTURES = Path(__file__).resolve().parents[1] / "parity" / "fixtures"
_LOADED: dict[str, Any] = {}


@pytest.fixture(scope="session")
def official():
    """The codec of a case, one object per session, so that it compiles once."""

    def get(case):
        if case not in _LOADED:
            _LOADED[case] = load_codec(FIXTURES / case)
        return _LOADED[case]

    return get


@pytest.fixture(scope="session")
def quirky():
    """The codec of a case with the defects of the PyTorch package."""
    return lambda case: load_codec(FIXTURES / case, official_quirks=True)


@pytest.fixture(scope="session")
def known():
    """What PyTorch made of a case: a nested dictionary of arrays."""

    def get(case):
        tree: dict[str, Any] = {}
        with np.load(FIXTURES / case / "cases.npz") as file:
            for name in file.files:
                *path, leaf = name.split("/")
                branch = tree
                for part in path:
                    branch = branch.setdefault(part, {})
                branch[leaf] = file[name]
        return tree

    return get


@pytest.fixture(scope="session")
def release():
    """The folder that `make_fixtures.py --release` wrote."""
    folder = os.environ.get("AION_RELEASE_CODECS")
    if not folder:
        pytest.skip("AION_RELEASE_CODECS is not set: no codecs at release sizes")
    return Path(folder)


@pytest.fixture(scope="session")
def check_codes():
    """Codes are equal, but for at most one in a thousand that lie on a boundary."""

    def check(codes, expected, margin):
        """`margin`: distance of each token's latent to the nearest boundary."""
        wrong = np.asarray(codes) != np.asarray(expected)
        assert np.shape(codes) == np.shape(expected) == np.shape(margin)
        assert np.all(np.asarray(margin)[wrong] < 1e-4), f"{wrong.sum()} wrong codes"
        assert wrong.mean() <= 1e-3

    return check


@pytest.fixture(scope="session")
def check_decoded():
    """Values within 1e-4 relative, plus 1e-4 of the root mean square of the band."""

    def check(values, expected, rms=None):
        if rms is None:
            rms = np.sqrt(np.mean(np.square(expected)))
        tolerance = 1e-4 * np.abs(expected) + 1e-4 * rms
        worst = np.max(np.abs(values - expected) / tolerance)
        assert worst <= 1, f"off by {worst:.2f} tolerances"

    return check
