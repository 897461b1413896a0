# SPDX-License-Identifier: MIT
"""A token space with every kind of row: wide, padded, coarse to fine, a grid."""

import numpy as np
import pytest

from aion.modality import Kind, Modality
from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace, TokenSpec


def _scalar(name: str) -> Modality:
    return Modality(name, "toy", Kind.SCALAR)


@pytest.fixture(scope="session")
def space() -> TokenSpace:
    rng = np.random.default_rng(0)

    def features(rows: int, width: int) -> np.ndarray:
        return rng.normal(size=(rows, width)).astype(np.float32)

    return TokenSpace(
        (
            TokenSpec(_scalar("wide"), "a", 200, 200, code_features=features(200, 5)),
            TokenSpec(_scalar("label"), "b", 3, 4, code_features=np.eye(4, dtype="f4")),
            TokenSpec(
                _scalar("redshift"),
                "c",
                24,
                24,
                (2,),
                ((0, 16), (16, 24)),
                coarse_to_fine=True,
                code_features=features(24, 7),
                slot_features=np.eye(2, dtype=np.float32),
            ),
            TokenSpec(_scalar("plain"), "d", 130, 140),
            TokenSpec(
                _scalar("image"), "e", 50, 50, (3, 3), slot_features=features(9, 4)
            ),
        )
    )


@pytest.fixture(scope="session")
def draw(space):
    """A function (rows, tokens, seed) -> random TokenBatch with padding."""

    def make(rows: int, tokens: int, seed: int = 0, padding: float = 0.3) -> TokenBatch:
        rng = np.random.default_rng(seed)
        slots = np.stack(
            [rng.permutation(space.num_slots)[:tokens] for _ in range(rows)]
        )
        low, high = np.moveaxis(space.slot_ranges[slots], -1, 0)
        codes = low + (rng.random(slots.shape) * (high - low)).astype(np.int32)
        keep = rng.random(slots.shape) >= padding
        return TokenBatch(
            np.where(keep, codes, 0).astype(np.int32),
            np.where(keep, space.slot_modality[slots], -1).astype(np.int32),
            np.where(keep, space.slot_position[slots], 0).astype(np.int32),
        )

    return make
