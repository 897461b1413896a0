# SPDX-License-Identifier: MIT
"""The choice of a quantizer: FSQ, LFQ or VQ, by the words of a configuration."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from flax import nnx
from jaxtyping import Array, Bool, Float

from aion.config import to_plain
from aion.errors import ConfigError
from aion_tokenizers.codebook import VQ, VectorQuantizer
from aion_tokenizers.quantizers import FSQ, LFQ, Quantized

Kind = Literal["fsq", "lfq", "vq"]
Quantizer = FSQ | LFQ | VectorQuantizer


@dataclass(frozen=True)
class Quantization:
    """Which quantizer a network has.

    Attributes:
        kind: "fsq"; "lfq", a bit per axis; "vq", a codebook.
        levels: of each axis of FSQ. Their product is the number of codes of any kind.
        dimension: length of the vectors of VQ's codebook.

    Raises:
        ConfigError: an unknown kind, or LFQ with codes that are no power of two.
    """

    kind: Kind
    levels: tuple[int, ...]
    dimension: int

    def __post_init__(self) -> None:
        if self.kind not in ("fsq", "lfq", "vq"):
            raise ConfigError(
                f"quantizer {self.kind!r} is unknown", "Take fsq, lfq or vq."
            )
        codes = self.num_codes
        if self.kind == "lfq" and codes != 2 ** (codes.bit_length() - 1):
            raise ConfigError(
                f"LFQ of {codes} codes", "Give levels whose product is a power of two."
            )

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return math.prod(self.levels)

    @property
    def latent(self) -> int:
        """Length of a latent, and of what the decoder gets."""
        if self.kind == "fsq":
            return len(self.levels)
        return self.dimension if self.kind == "vq" else self.num_codes.bit_length() - 1

    def make(self, rngs: nnx.Rngs) -> Quantizer:
        """A fresh quantizer."""
        if self.kind == "fsq":
            return FSQ(self.levels)
        if self.kind == "lfq":
            return LFQ(self.latent)
        return VectorQuantizer(VQ(self.num_codes, self.dimension), rngs)


def plain_sizes(sizes: Any) -> dict[str, Any]:
    """A network's sizes as plain values, without those that have no effect.

    A codec's digest is over these: it must not change with what does not matter to it.
    """
    values = to_plain(sizes)
    if sizes.quantizer != "vq":
        del values["dimension"]
    for name in ("refine", "settle", "search", "drawn"):
        if not values.get(name, True):
            del values[name]
    return values


def check_refinement(sizes: Any, after: str) -> None:
    """Refuses a network's sizes that codes cannot be refined with.

    Args:
        sizes: with `refine`.
        after: name of the size that says what follows it: `settle` or `search`.

    Raises:
        ConfigError: negative numbers, or what needs levels without them.
    """
    number = getattr(sizes, after)
    if min(sizes.refine, number) < 0:
        raise ConfigError(
            f"refine {sizes.refine} and {after} {number}", "Give 0 or more."
        )
    if number and sizes.quantizer != "fsq":
        raise ConfigError(
            f"{after} {number} with quantizer {sizes.quantizer!r}",
            f"Only fsq has levels: give {after}=0.",
        )


def quantized(
    quantizer: Quantizer,
    latent: Float[Array, "*b d"],
    key: Array | None = None,
    valid: Bool[Array, "*b"] | None = None,
) -> Quantized:
    """What the quantizer makes of latents.

    With a key, in training, a codebook then follows the latents.
    """
    found = quantizer(latent, valid)
    if key is not None and isinstance(quantizer, VectorQuantizer):
        quantizer.follow(latent, key, valid)
    return found
