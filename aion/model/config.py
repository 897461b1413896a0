# SPDX-License-Identifier: MIT
"""Sizes of the transformer, and the choices in which ours differs from AION-1's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from aion.errors import ConfigError

DecoderAttention = Literal["independent", "within_modality", "full", "official_forward"]


@dataclass(frozen=True)
class ModelConfig:
    """Shape and choices of an encoder-decoder transformer.

    Attributes:
        width: size d of the residual stream.
        encoder_layers, decoder_layers: number of blocks.
        heads: attention heads; the head width is width / heads.
        hidden: SwiGLU hidden size.
        code_features: codes carry their meaning through a feature matrix.
        position: "features" projects the slots' coordinates, "sincos" is AION-1's
            fixed table over the token grid.
        decoder_attention: what a query sees of the other queries. "independent":
            itself; "within_modality": its modality (4M's training); "full": all (the
            sampler of AION-1); "official_forward": the uniform mean over all queries
            that AION-1's forward computes.
        register: one learned token is always visible to the encoder.
        head: "grouped" computes padded blocks by modality; "masked_dense" computes
            vocabulary chunks for all tokens and shards over the vocabulary.
        head_block: tokens of a block of the grouped head.
        compute_dtype: dtype of activations; parameters are float32.
        unroll: layers per iteration of the scan over layers. Many make small models
            faster (a third less time for nano's gradient on a CPU), compiling slower.
        remat: recompute block activations in the backward pass.
        dropout: rate on the residual branches while training.
    """

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    hidden: int
    code_features: bool = True
    position: Literal["features", "sincos"] = "features"
    decoder_attention: DecoderAttention = "independent"
    register: bool = True
    head: Literal["grouped", "masked_dense"] = "grouped"
    head_block: int = 128
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    unroll: int = 1
    remat: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise ConfigError(
                f"width {self.width} with {self.heads} heads",
                "The width must be a multiple of the heads and of 4.",
            )


SIZES: Mapping[str, ModelConfig] = MappingProxyType(
    {
        "nano": ModelConfig(128, 2, 2, 2, 256, unroll=2),
        "tiny": ModelConfig(384, 6, 6, 3, 1024),
        "small": ModelConfig(512, 8, 8, 4, 1408),
        "base": ModelConfig(768, 12, 12, 12, 2048),
        "large": ModelConfig(1024, 24, 24, 16, 2816, head="masked_dense", remat=True),
        "xlarge": ModelConfig(2048, 24, 24, 16, 5632, head="masked_dense", remat=True),
    }
)
"""Our sizes by name; few wide heads where a CPU or TPU has to fill its units."""

OFFICIAL: Mapping[str, Any] = MappingProxyType(
    {
        "code_features": False,
        "position": "sincos",
        "decoder_attention": "full",
        "register": False,
    }
)
"""AION-1's choices where ours differ; pass as overrides to `model_config`."""

_OFFICIAL_SHAPES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "base": {"heads": 12, "hidden": 2048},
        "large": {"heads": 16, "hidden": 2730},
        "xlarge": {"heads": 32, "hidden": 5461},
    }
)


def model_config(size: str, **overrides: Any) -> ModelConfig:
    """A configuration by size name, with overrides.

    `official_base`, `official_large` and `official_xlarge` are AION-1's models.

    Raises:
        ConfigError: an unknown size or an unknown override.
    """
    official = size.removeprefix("official_")
    if size != official and official in _OFFICIAL_SHAPES:
        overrides = {**OFFICIAL, **_OFFICIAL_SHAPES[official], **overrides}
        size = official
    if size not in SIZES:
        names = [*SIZES, *(f"official_{s}" for s in _OFFICIAL_SHAPES)]
        raise ConfigError(f"unknown model size {size!r}", f"Sizes: {', '.join(names)}.")
    try:
        return replace(SIZES[size], **overrides)
    except TypeError as error:
        raise ConfigError(f"model: {error}", "See aion.model.config.") from None
