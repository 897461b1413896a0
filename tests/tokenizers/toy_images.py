# SPDX-License-Identifier: MIT
"""Round sources on a flat sky, for tests of the training of image codecs."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from aion.config import to_plain
from aion.instrument import BANDS
from aion.observation import Image
from aion.records import Records
from aion.splits import SplitRule
from aion.train.codec_task import Sample

BAND_SETS = {
    "legacy_image": tuple(BANDS[f"DES-{b}"] for b in "GRIZ"),
    "hsc_image": tuple(BANDS[f"HSC-{b}"] for b in "GRIZY"),
}
SIZES = {
    "width": 16,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "told": 8,
    "levels": (4, 4, 4),
    "scales": 64,
    "margin": 1,
}
CONFIG = ConfigDict(
    {
        "codec": {"word": "image", "network": SIZES, "side": 16, "crop": 12},
        "data": {
            "sources": (
                {"kind": "toy", "modality": "legacy_image", "weight": 3.0},
                {"kind": "toy", "modality": "hsc_image", "weight": 1.0},
            ),
            "batch": 8,
            "stay": 2,
            "validation": 16,
            "split": {"validation": 0.3},
        },
        "optimizer": {"learning_rate": 3e-3},
        "train": {
            "steps": 6,
            "log_every": 1,
            "evaluate_every": 3,
            "checkpoint_every": 3,
        },
        "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
        "guard": {"fraction": 0.0},
    }
)


PLAIN = to_plain(CONFIG)


def blobs(name: str, count: int, seed: int, side: int = 16) -> tuple[Image, Image]:
    """Round sources, wider than the PSF, on a flat sky, with and without noise."""
    rng = np.random.default_rng(seed)
    bands = BAND_SETS[name]
    y, x = np.mgrid[:side, :side]
    at = rng.uniform(4, side - 4, (2, count, 1, 1))
    shape = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)
    flux = rng.lognormal(1.5, 1, (count, len(bands), 1, 1)) * shape[:, None]
    seen = Image(
        (flux + rng.standard_normal(flux.shape)).astype(np.float32),
        np.ones(flux.shape, np.float32),
        rng.random(flux.shape) < 0.98,
        bands,
        np.full(flux.shape[:2], 3.0 * (bands[0].pixel_scale or 1.0)),
    )
    return seen, Image(flux.astype(np.float32), bands=bands)


@dataclass(frozen=True)
class ToySource:
    """Partitions all over the sky, with both modalities and their truth."""

    rule: SplitRule
    truth: bool = True

    def partitions(self):
        return [f"part-{n}" for n in range(5)]

    def read(self, partition):
        seed = int(partition.split("-")[1])
        rng = np.random.default_rng(seed)
        seen = {}
        for name in BAND_SETS:
            image, truth = blobs(name, 20, seed)
            seen |= (
                {name: image, f"{name}.truth": truth} if self.truth else {name: image}
            )
        yield Records(
            np.array([f"{seed}-{n}" for n in range(20)]),
            rng.uniform(0, 360, 20),
            rng.uniform(-60, 60, 20),
            seen,
        )


def sample(name: str, count: int = 4, seed: int = 0) -> Sample:
    return Sample(name, *blobs(name, count, seed))


def arrays(batch):
    """A batch as the loop hands it over."""
    return {k: jnp.asarray(v) for k, v in batch.items()}
