# SPDX-License-Identifier: MIT
"""Token spaces and shard sets that the tests of the data share."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from aion.data.shards import ShardSet, TokenRecords
from aion.data.tally import Tally
from aion.data.writer import ShardWriter
from aion.modality import Kind, Modality
from aion.splits import SplitRule
from aion.tokenspace import TokenSpace, TokenSpec

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "bench_pipeline.py"


def make_space(**tokens: int) -> TokenSpace:
    """A toy space with these numbers of tokens; `z` is coarse-to-fine."""
    return TokenSpace(
        tuple(
            TokenSpec(
                Modality(name, "toy", Kind.COEFFICIENTS, (number,)),
                name,
                50,
                50,
                (number,),
                coarse_to_fine=name == "z",
            )
            for name, number in tokens.items()
        )
    )


def make_codes(space: TokenSpace, rows: int, seed: int = 0) -> np.ndarray:
    """Random codes where whole modalities and single tokens are absent."""
    draws = np.random.default_rng(seed)
    codes = draws.integers(0, 50, (rows, space.num_slots)).astype(np.int32)
    missing = draws.random((rows, len(space))) < 0.3
    gaps = draws.random(codes.shape) < 0.1
    return np.where(missing[:, space.slot_modality] | gaps, -1, codes)


def make_shards(
    folder: Path, space: TokenSpace, codes: np.ndarray, partitions: int = 3
) -> ShardSet:
    """A shard set of these codes in several partitions; object i is `object i`."""
    names = tuple(f"part {number}" for number in range(partitions))
    writer = ShardWriter(folder, space, SplitRule(nside=4), names)
    writer.prepare()
    for name, rows in zip(
        names, np.array_split(np.arange(len(codes)), partitions), strict=True
    ):
        ids = np.array([f"object {row}" for row in rows])
        cells = rows * 7 % 192
        half = len(rows) // 2
        batches = [
            TokenRecords(codes[rows[part]], ids[part], cells[part])
            for part in (slice(0, half), slice(half, None))
        ]
        writer.write(name, batches, Tally())
    return writer.finish({"from": "a test"})


@pytest.fixture(scope="session")
def toy_space() -> TokenSpace:
    return make_space(a=1, image=30, z=2, b=1, spectrum=12, c=1)


@pytest.fixture(scope="session")
def toy_codes(toy_space) -> np.ndarray:
    return make_codes(toy_space, 400)


@pytest.fixture(scope="session")
def toy_shards(toy_space, toy_codes, tmp_path_factory) -> ShardSet:
    return make_shards(tmp_path_factory.mktemp("toy") / "set", toy_space, toy_codes)


@pytest.fixture(scope="session")
def make():
    """The functions above, for tests that want others."""

    class Make:
        space = staticmethod(make_space)
        codes = staticmethod(make_codes)
        shards = staticmethod(make_shards)

    return Make


@pytest.fixture(scope="session")
def benchmark():
    """The benchmark's module: forty modalities and survey pairs."""
    spec = importlib.util.spec_from_file_location("bench_pipeline", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
