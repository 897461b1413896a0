# SPDX-License-Identifier: MIT
"""Masked examples per second, and how often each named request is practised.

    python tests/benchmarks/bench_pipeline.py [seconds per measurement]

Forty modalities with AION-1's numbers of tokens, records of six survey pairs.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aion.data.masking import Dirichlet, Official, WholeModalities, ours
from aion.data.pipeline import Budget, TrainingStream
from aion.data.requests import REQUESTS, practised, presence
from aion.data.shards import ShardSet, TokenRecords
from aion.data.tally import Tally
from aion.data.writer import ShardWriter
from aion.modality import MODALITIES
from aion.splits import SplitRule
from aion.tokenspace import TokenSpace, TokenSpec

TOKENS = {
    "legacy_image": 576,
    "hsc_image": 576,
    "legacy_segmentation": 144,
    "legacy_catalog": 100,
    "desi_spectrum": 273,
    "sdss_spectrum": 273,
    "gaia_xp_bp": 55,
    "gaia_xp_rp": 55,
}
PAIRS = (
    ("legacy", "desi"),
    ("legacy", "sdss"),
    ("legacy", "hsc"),
    ("hsc", "desi"),
    ("gaia", "desi"),
    ("gaia", "sdss"),
)
SPECTRA = {"desi", "sdss"}
BUDGETS = (Budget(64, 32, 256), Budget(256, 128, 256), Budget(960, 384, 256))


def forty_space() -> TokenSpace:
    """The forty modalities; redshift as a coarse and a fine token."""
    specs = []
    for name, modality in MODALITIES.items():
        codes = 4096 if name.endswith("image") else 1024
        spec = TokenSpec(modality, name, codes, codes, (TOKENS.get(name, 1),))
        if name == "redshift":
            ranges = ((0, 256), (0, 64))
            spec = TokenSpec(modality, name, 256, 256, (2,), ranges, True)
        specs.append(spec)
    return TokenSpace(tuple(specs))


def pair_codes(space: TokenSpace, pair: tuple[str, ...], rows: int, seed: int):
    """Random codes of objects that two surveys saw, int32 [rows, slots]."""
    surveys = np.array([s.modality.survey for s in space])
    seen = np.isin(surveys, (*pair, "any"))
    if not SPECTRA & set(pair):
        seen[space.index("redshift")] = False
    stop = space.slot_ranges[:, 1]
    codes = np.random.default_rng(seed).integers(0, stop, (rows, space.num_slots))
    return np.where(seen[space.slot_modality], codes, -1).astype(np.int32)


def write_pair(folder: Path, pair: tuple[str, ...], rows: int, seed: int) -> ShardSet:
    """A shard set of one survey pair, nearly all of it for training."""
    space = forty_space()
    writer = ShardWriter(folder, space, SplitRule(folds=50), ("all",))
    writer.prepare()

    def batches() -> Iterator[TokenRecords]:
        for start in range(0, rows, 512):
            number = min(512, rows - start)
            codes = pair_codes(space, pair, number, seed + start)
            names = np.array([f"{start + i}" for i in range(number)])
            cells = np.random.default_rng(start).integers(0, 3072, number)
            yield TokenRecords(codes, names, cells)

    writer.write("all", batches(), Tally())
    return writer.finish()


def rate(stream: TrainingStream, seconds: float, ahead: bool) -> float:
    """Examples per second, with or without grain's prefetching."""
    batches = stream.iterate() if ahead else map(stream.batch, range(10**9))
    next(iter(batches))
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        number += len(next(iter(batches)).inputs.codes)
    return number / (time.perf_counter() - start)


def request_shares(stream: TrainingStream, steps: int) -> dict[str, float]:
    """Share of the examples that practise each request."""
    sides = [presence(stream.batch(step), stream.space) for step in range(steps)]
    every = np.concatenate(sides)
    return {r.name: practised(r, every, stream.space).mean() for r in REQUESTS}


def main(seconds: float) -> None:
    """Prints the tables."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [
            write_pair(Path(folder) / "-".join(pair), pair, 2048, number)
            for number, pair in enumerate(PAIRS)
        ]
        space = sets[0].space
        print(f"{len(space)} modalities, {space.num_slots} slots")
        policies = {
            "official": Official(),
            "whole": WholeModalities(),
            "dirichlet": Dirichlet((0.01, 10.0), between=True),
            "ours": ours(space),
        }
        for name, policy in policies.items():
            for budget in BUDGETS:
                stream = TrainingStream(sets, None, policy, (budget,))
                alone, ahead = (rate(stream, seconds, a) for a in (False, True))
                print(
                    f"{name:10s} {budget.inputs:4d}/{budget.targets:<4d}"
                    f"{alone:8.0f}/s one thread {ahead:8.0f}/s prefetching"
                )
        for pair, shards in zip(PAIRS, sets, strict=True):
            stream = TrainingStream([shards], None, ours(space), BUDGETS)
            shares = request_shares(stream, 40)
            print(" x ".join(pair), {k: f"{v:.2%}" for k, v in shares.items() if v})


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
