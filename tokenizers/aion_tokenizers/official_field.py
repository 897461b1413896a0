# SPDX-License-Identifier: MIT
"""AION-1's codec of scalar fields, such as segmentation maps in [0, 1]."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int32

from aion.config import to_plain
from aion.errors import ArtefactError
from aion.modality import Modality
from aion.observation import Field, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import preprocessing
from aion_tokenizers.batches import checked_codes, in_batches, of_kind
from aion_tokenizers.bins import Counts
from aion_tokenizers.blocks import ResidualStack
from aion_tokenizers.convolutions import Convolution, Dense, Transposed
from aion_tokenizers.magvit import Chain
from aion_tokenizers.official import check_constant, fill, official_arrays, settings
from aion_tokenizers.quantizers import FSQ

CROP = 96
# Arguments that only training reads.
_TRAINING = {
    "quantisation_loss_weight",
    "reconstruction_loss",
    "lr",
    "lr_warmup",
    "begin_cosine_annealing",
    "lr_cosine_period",
    "ema_model_weights",
    "ema_decay",
    "ema_update_freq",
}


class Rectified(nnx.Module):
    """A transposed convolution of ReLU(x)."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {"layer": ""}

    def __init__(self, layer: Transposed) -> None:
        self.layer = layer

    def __call__(self, x: Float[Array, "b y x i"]) -> Float[Array, "b yo xo o"]:
        return self.layer(jax.nn.relu(x))


class Shortened(nnx.Module):
    """ReLU of a convolution."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {"layer": ""}

    def __init__(self, layer: Convolution) -> None:
        self.layer = layer

    def __call__(self, x: Float[Array, "b y x i"]) -> Float[Array, "b yo xo o"]:
        return jax.nn.relu(self.layer(x))


class FieldNetwork(nnx.Module):
    """A VQ-VAE's autoencoder: from maps to one latent per 2**downsamples pixels."""

    OFFICIAL: ClassVar[Mapping[str, str]] = {
        "encoder": "encoder.net",
        "decoder": "decoder.net",
    }

    def __init__(self, config: "FieldConfig", rngs: nnx.Rngs) -> None:
        count, hidden = config.num_downsamples, config.res_hidden_dims
        wide, deep = config.encoder_output_dim, config.decoder_width
        layers = config.num_res_layers
        sizes = [1, *_halvings(wide, count), wide]
        encoder: list[nnx.Module] = [
            Shortened(Convolution(a, b, 4, rngs, stride=2, padding=1))
            for a, b in itertools.pairwise(sizes)
        ]
        encoder.append(Convolution(wide, wide, 3, rngs))
        encoder.append(ResidualStack(wide, hidden, layers, rngs))
        places = [*range(0, 2 * count, 2), 2 * count, 2 * count + 1]
        self.encoder = Chain(encoder, [str(n) for n in places])
        # The widths of the decoder do not fall: the weights were made so.
        sizes = [deep, *_halvings(deep, count), 1]
        decoder: list[nnx.Module] = [
            Transposed(deep, deep, 3, rngs),
            ResidualStack(deep, hidden, layers, rngs),
            *(
                Rectified(Transposed(a, b, 4, rngs, stride=2))
                for a, b in itertools.pairwise(sizes)
            ),
        ]
        places = [0, 1, *range(3, 3 + 2 * count, 2)]
        self.decoder = Chain(decoder, [str(n) for n in places])
        self.encode_proj = Dense(wide, config.dimension, rngs, "pointwise2d")
        self.decode_proj = Dense(config.dimension, deep, rngs, "pointwise2d")

    def encode(self, x: Float[Array, "b y x"]) -> Float[Array, "b yo xo d"]:
        """Latents of maps."""
        return self.encode_proj(self.encoder(x[..., None]))

    def decode(self, latent: Float[Array, "b y x d"]) -> Float[Array, "b yo xo"]:
        """Maps before the last activation."""
        return self.decoder(self.decode_proj(latent))[..., 0]


def _halvings(size: int, count: int) -> list[int]:
    return [size // 2**i for i in range(count - 1, 0, -1)]


@dataclass(frozen=True)
class FieldConfig:
    """Constructor arguments of AION-1's `ScalarFieldCodec` that decoding needs."""

    encoder_output_dim: int
    decoder_input_dim: int | None = None
    embedding_dim: int | None = None
    res_hidden_dims: int = 64
    num_res_layers: int = 2
    num_downsamples: int = 3
    variational: bool = False
    output_activation: str | None = "sigmoid"
    output_activation_extension: float | None = None
    levels: tuple[int, ...] = (8, 5, 5, 5)

    def __post_init__(self) -> None:
        fits = self.dimension == len(self.levels) and not self.variational
        if not fits or self.output_activation not in ("sigmoid", None):
            raise ArtefactError(
                f"field codec with embedding_dim {self.dimension}, levels "
                f"{self.levels}, variational {self.variational}, output_activation "
                f"{self.output_activation!r}",
                "One level per dimension; not variational; sigmoid or null.",
            )

    @property
    def dimension(self) -> int:
        """Length of a latent."""
        return self.embedding_dim or self.encoder_output_dim

    @property
    def decoder_width(self) -> int:
        """Channels that the decoder starts with."""
        return self.decoder_input_dim or self.encoder_output_dim


@dataclass(frozen=True, eq=False)
class OfficialField:
    """AION-1's codec of maps with values in [0, 1].

    NaN pixels count as zero; a map of NaN or masked pixels alone is absent. With
    `official_quirks` a NaN goes into the network, and small maps are cropped to a
    corner.
    """

    word: ClassVar[str] = "official_field"
    config: FieldConfig
    network: FieldNetwork
    training: Mapping[str, Any]
    official_quirks: bool = False

    @cached_property
    def quantizer(self) -> FSQ:
        """Latents to codes."""
        return FSQ(self.config.levels)

    @property
    def side(self) -> int:
        """Tokens along each axis."""
        return CROP // 2**self.config.num_downsamples

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        def latents(state: Any, values: Any) -> Any:
            return nnx.merge(graph, state).encode(values)

        def maps(state: Any, codes: Any) -> Any:
            out = nnx.merge(graph, state).decode(self.quantizer.decode(codes))
            if self.config.output_activation == "sigmoid":
                out = jax.nn.sigmoid(out)
            beyond = self.config.output_activation_extension or 0.0
            return ((1 + 2 * beyond) * out - beyond).clip(0.0, 1.0)

        return jax.jit(latents), jax.jit(maps), state

    def latents(self, observation: Field) -> Float32[np.ndarray, "b y x d"]:
        """What is quantized."""
        values = self._cropped(observation.values)
        if not self.official_quirks:
            values = np.where(np.isnan(values), np.float32(0), values)
        encode, _, state = self._compiled
        return in_batches(lambda x: encode(state, x), values)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 144] in raster order; -1 where a map is absent.

        Raises:
            DataError: too few pixels.
        """
        observation = of_kind(observation, Field)
        latent = self.latents(observation)
        codes = np.array(self.quantizer.encode(jnp.asarray(latent)))
        codes = codes.reshape(len(latent), -1)
        if not self.official_quirks:
            seen = ~np.isnan(self._cropped(observation.values))
            if observation.mask is not None:
                seen &= self._cropped(observation.mask).astype(bool)
            codes[~seen.any((-1, -2))] = -1
        return codes

    def decode(self, codes: Any, **asked: Any) -> Field:
        """Maps [b, 96, 96] of codes [b, 144]; NaN where a code is -1."""
        plain = checked_codes(codes, self.side**2, self.quantizer.num_codes)
        grid = np.where(plain < 0, 0, plain).reshape(-1, self.side, self.side)
        _, decode, state = self._compiled
        values = in_batches(lambda c: decode(state, c), grid)
        values[(plain < 0).any(-1)] = np.nan
        return Field(values)

    def count(self, observation: Field) -> Counts:
        """How many pixels are NaN; none is clipped."""
        values = self._cropped(observation.values)
        return Counts(values.size, int(np.isnan(values).sum()))

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token per patch."""
        codes = self.quantizer.num_codes
        return TokenSpec(modality, name, codes, codes, (self.side, self.side))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays; the arrays have PyTorch's names and shapes."""
        config = to_plain(self.config)
        if config["output_activation"] == "sigmoid":
            del config["output_activation"]  # PyTorch's default is a function, not text
        arrays = official_arrays(self.network)
        arrays["_quantizer.levels"] = np.array(self.config.levels, np.int32)
        both = {"official": {**config, **self.training}}
        return both | {"official_quirks": self.official_quirks}, arrays

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        what = "field codec"
        given = config["official"]
        typed = settings(FieldConfig, given, what, _TRAINING)
        rest = dict(arrays)
        check_constant(rest, "_quantizer.levels", list(typed.levels))
        del rest["_quantizer.levels"]
        network = nnx.eval_shape(lambda: FieldNetwork(typed, nnx.Rngs(0)))
        fill(network, rest, what)
        training = {k: v for k, v in given.items() if k in _TRAINING}
        # The averaged weights of training are not kept, so none are announced.
        training |= {"ema_model_weights": False} if training else {}
        return cls(typed, network, training, bool(config.get("official_quirks", False)))

    def _cropped(self, values: Any) -> np.ndarray:
        return preprocessing.centre_crop(
            np.asarray(values, np.float32), CROP, official_quirks=self.official_quirks
        )
