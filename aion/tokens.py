# SPDX-License-Identifier: MIT
"""The two pytrees that cross every border: `TokenBatch` and `Example`.

This module stays outside the run-time type checker: JAX rebuilds dataclasses with
non-array leaves while it transforms them. Fields carry their shape in a comment.
"""

from dataclasses import dataclass
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenBatch:
    """Tokens of a batch of objects; a token is a place (modality, position) and a code.

    Attributes:
        codes: what is there, 0 <= code < vocabulary of the modality; int32.
        modality: row of the token space, -1 for padding; int32.
        position: place inside the modality, 0 <= position < its tokens; int32.

    The last axis counts tokens; leading axes are batch, or samples and batch.
    """

    codes: Any  # [b, n]
    modality: Any  # [b, n]
    position: Any  # [b, n]

    @property
    def valid(self) -> Any:
        """True where there is a token, False at padding; bool [b, n]."""
        return self.modality >= 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the three arrays, (b, n)."""
        return tuple(self.codes.shape)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Example:
    """What a training step sees: tokens that are given and tokens that are asked."""

    inputs: TokenBatch
    targets: TokenBatch
