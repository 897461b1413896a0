# SPDX-License-Identifier: MIT
"""What is trained: a task gives a module, a loss, and what to report of it."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from aion.model.config import ModelConfig
from aion.model.transformer import Transformer
from aion.tokens import Example
from aion.tokenspace import TokenSpace
from aion.train.loss import masked_nll, target_weights


@runtime_checkable
class Task(Protocol):
    """A training problem; the loop knows nothing else of it.

    A batch is a pytree of arrays with the batch axis first. `prepare` sees the whole
    global batch once, `loss` sees it in parts whose losses are added.
    """

    def build(self, key: Array) -> nnx.Module:
        """A freshly initialised module; runs under jit."""
        ...

    def prepare(self, batch: Any) -> Any:
        """The batch with all that depends on the whole of it, such as weights."""
        ...

    def loss(
        self, module: Any, part: Any, key: Array | None, mesh: Mesh | None
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "r 2"]]]:
        """This part of the loss, and sums to report: name to rows of (sum, count).

        Without a key nothing is random (evaluation).
        """
        ...

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers from the sums of all parts."""
        ...

    def size(self, batch: Any) -> int:
        """How much work a batch is, for rates: tokens, pixels."""
        ...


@dataclass(frozen=True)
class MaskedTokens:
    """Predict masked tokens: pretraining of the transformer.

    Attributes:
        model: configuration of the transformer.
        space: the token space, with features.
        exponent: weight of a modality by its number of targets (see `aion.train.loss`).
    """

    model: ModelConfig
    space: TokenSpace
    exponent: float = 0.5

    def build(self, key: Array) -> Transformer:
        """The transformer."""
        return Transformer(self.model, self.space, nnx.Rngs(params=key))

    def prepare(self, batch: Example) -> tuple[Example, Array]:
        """The example and the weight of each target."""
        return batch, target_weights(batch.targets, len(self.space), self.exponent)

    def loss(
        self,
        module: Transformer,
        part: tuple[Example, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "r 2"]]]:
        """Weighted negative log-likelihood of the targets, and sums by modality."""
        example, weights = part
        nll = masked_nll(module, example.inputs, example.targets, key, mesh)
        row = jnp.where(
            example.targets.valid, example.targets.modality, len(self.space)
        )
        both = jnp.stack([nll, jnp.ones_like(nll)], axis=-1)
        sums = jnp.zeros((len(self.space) + 1, 2), jnp.float32).at[row].add(both)
        return jnp.sum(nll * weights), {"nll": sums[:-1]}

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Mean negative log-likelihood in nats per token of each modality."""
        return {
            f"nll/{name}": float(total / count)
            for name, (total, count) in zip(self.space.names, sums["nll"], strict=True)
            if count > 0
        }

    def size(self, batch: Example) -> int:
        """Tokens, padding not counted, of this process's rows."""
        valid = (batch.inputs.modality >= 0).sum() + (batch.targets.modality >= 0).sum()
        return int(valid)
