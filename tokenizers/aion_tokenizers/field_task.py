# SPDX-License-Identifier: MIT
"""Training of the field codec: cross entropy of the class of each valid pixel.

Pixels near an edge between classes count more: nearly all of a map is inside or outside
of its sources, and only edges are hard. Score: one minus the intersection over the
union of the pixels with a value above 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from aion.errors import DataError
from aion.observation import Field
from aion.train.codec_task import Sample
from aion_tokenizers.field import FieldCodec, class_shares, read_field
from aion_tokenizers.field_network import FieldAutoencoder, FieldSizes
from aion_tokenizers.network_state import start_from
from aion_tokenizers.quantizers import perplexity, usage


@dataclass(frozen=True)
class FieldTask:
    """How the field codec is trained.

    Attributes:
        network: its sizes.
        start: a codec to go on from, see `network_state.start_from`; "" for none.
        side: of the maps; larger ones are cut to it.
        edges: weight of pixels beside another class, over that of the others.
    """

    network: FieldSizes = field(default_factory=FieldSizes)
    start: str = ""
    side: int = 96
    edges: float = 8.0
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    def build(self, key: Array) -> FieldAutoencoder:
        """The network to start from."""
        if self.start:
            return start_from(self.start, FieldCodec.word, self.network).network
        return self.network.network(nnx.Rngs(params=key))

    def codec(self, module: FieldAutoencoder) -> FieldCodec:
        """The codec with a trained network."""
        return FieldCodec(self.network, module, self.side)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """One-hot classes [b, k, y, x] and weights of pixels [b, y, x].

        Args:
            samples: fields; of larger ones a square is taken.
            rng: dice of squares, turns and flips; None for the middle as it is.
        """
        parts = [self._rows(sample, rng) for sample in samples]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def _rows(
        self, sample: Sample, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        if not isinstance(sample.observation, Field):
            raise DataError(
                f"{sample.modality} is a {type(sample.observation).__name__}",
                "Train on fields.",
            )
        found, valid = read_field(sample.observation, self.network.classes)
        free = [side - self.side for side in found.shape[1:]]
        if min(free) < 0:
            raise DataError(
                f"maps of {found.shape[1:]} pixels for squares of {self.side}",
                "Give larger maps, or a smaller codec.side.",
            )
        start = [f // 2 if rng is None else int(rng.integers(0, f + 1)) for f in free]
        y, x = (slice(first, first + self.side) for first in start)
        found, valid = found[:, y, x], valid[:, y, x]
        if rng is not None:
            turns, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))
            found, valid = (
                np.rot90(v, turns, (1, 2))[..., ::flip] for v in (found, valid)
            )
        weight = np.where(_beside_another(found), self.edges, 1.0) * valid
        more = [(0, -side % self.network.patch) for side in found.shape[1:]]
        return {
            "shares": class_shares(found, valid, self.network),
            "weight": np.pad(weight, ((0, 0), *more)).astype(np.float32),
        }

    def prepare(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with weights that sum to one."""
        total = jnp.maximum(jnp.sum(batch["weight"]), 1.0)
        return batch | {"part": batch["weight"] / total}

    def loss(
        self,
        module: FieldAutoencoder,
        part: dict[str, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "..."]]]:
        """Weighted cross entropy, and intersections and unions; nothing is random."""
        del key, mesh
        shares, valid = part["shares"], part["weight"] > 0
        found = self.network.make_quantizer()(module.encode(shares))
        logits = module.decode(found.values)
        nll = -jnp.sum(jax.nn.log_softmax(logits, axis=1) * shares, axis=1)
        guess, truth = jnp.argmax(logits, axis=1), jnp.argmax(shares, axis=1)
        classes = jnp.arange(self.network.classes)[:, None, None, None]
        here, there = (guess == classes) & valid, (truth == classes) & valid
        pairs = [jnp.sum(x, axis=(1, 2, 3)) for x in (here & there, here | there)]
        seen, known = (guess > 0) & valid, (truth > 0) & valid
        source = jnp.stack([jnp.sum(seen & known), jnp.sum(seen | known)])
        sums = {
            "counts": found.counts,
            "nll": jnp.stack(
                [jnp.sum(jnp.where(valid, nll, 0.0)), jnp.sum(valid, dtype=jnp.float32)]
            ),
            "source": source.astype(jnp.float32),
            "classes": jnp.stack(pairs, axis=-1).astype(jnp.float32),
        }
        return jnp.sum(nll * part["part"]) + found.loss, sums

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers.

        `iou` is of pixels with a value above 0, `class_iou` the mean over the classes
        that are there, `nll` in nats per pixel, `score` 1 - `iou`.
        """
        counts = jnp.asarray(sums["counts"])
        total, pixels = (float(x) for x in sums["nll"])
        both, either = (float(x) for x in sums["source"])
        rows = np.asarray(sums["classes"])
        there = rows[rows[:, 1] > 0]
        iou = both / either if either else 1.0
        return {
            "nll": total / max(pixels, 1.0),
            "iou": iou,
            "class_iou": float(np.mean(there[:, 0] / there[:, 1])) if len(there) else 1,
            "usage": float(usage(counts)),
            "perplexity": float(perplexity(counts)),
            "score": 1 - iou,
        }

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch."""
        return int(np.prod(batch["weight"].shape))


def _beside_another(found: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour of another class, [b, y, x]."""
    edge = np.zeros(found.shape, bool)
    for axis in (1, 2):
        differs = np.diff(found, axis=axis) != 0
        first = np.concatenate([differs, np.zeros_like(differs.take([0], axis))], axis)
        edge |= first | np.roll(first, 1, axis)
    return edge
