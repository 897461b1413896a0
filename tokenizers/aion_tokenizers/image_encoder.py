# SPDX-License-Identifier: MIT
"""Training of an image codec's encoder alone, towards latents that decode to the data.

A fit of the decoder (`image_fit`) leaves an encoder behind that was trained with
another decoder. Here the decoder stays as it is. What is decoded are latents before
they are rounded, which is what refinement starts from. Blocks may be added to the
encoder: beside the descent that follows it costs nothing.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from aion.errors import ConfigError
from aion_tokenizers.image import ImageCodec
from aion_tokenizers.image_network import ImageNetwork
from aion_tokenizers.image_task import ImageTask, Made
from aion_tokenizers.network_state import network_arrays, start_from
from aion_tokenizers.quantizers import FSQ, Quantized

ENCODER = ("bands_in", "encoder", "to_latent")
DECODER = ("from_latent", "decoder", "outside", "bands_out", "sharpening")
"""Parts of the network, each of which can be trained alone. What describes a band
serves both, so then it stays as it is."""


@dataclass(frozen=True)
class ImageEncoderFit(ImageTask):
    """How the encoder of an image codec is trained alone.

    Attributes:
        added: blocks of the encoder that the codec in `start` does not have; at first
            they change nothing.

    Raises:
        ConfigError: no codec to start from, no FSQ, or no block that it could have.
    """

    added: int = 0

    def __post_init__(self) -> None:
        if not self.start:
            raise ConfigError(
                "an encoder is fitted to the decoder of a codec that is trained",
                "Give its folder as codec.start.",
            )
        if self.network.quantizer != "fsq":
            raise ConfigError(
                f"an encoder of {self.network.quantizer} fitted alone",
                "Only FSQ has latents that decode without being rounded.",
            )
        if not 0 <= self.added < self.network.encoder_blocks:
            raise ConfigError(
                f"{self.added} of {self.network.encoder_blocks} blocks are new",
                "Give codec.network.encoder_blocks as many as the start and these.",
            )

    def build(self, key: Array) -> ImageNetwork:
        """The network of the start, with the new blocks."""
        before = self.network.encoder_blocks - self.added
        sizes = replace(self.network, encoder_blocks=before)
        found = start_from(self.start, ImageCodec.word, sizes).network
        known = network_arrays(found)
        graph, state = nnx.split(self.network.network(nnx.Rngs(params=key)))
        flat = []
        for path, leaf in nnx.to_flat_state(state):
            name, value = ".".join(map(str, path)), leaf.get_value()
            if name in known:
                value = jnp.asarray(known[name])
            elif "narrow" in path:
                value = jnp.zeros_like(value)
            flat.append((path, leaf.replace(value)))
        return nnx.merge(graph, nnx.from_flat_state(flat))

    def through(
        self,
        module: ImageNetwork,
        part: dict[str, Array],
        flux: Array,
        sigma: Array,
        key: Array | None,
    ) -> Made:
        """As in `ImageTask`, in training with a decoder that stays as it is."""
        if key is not None:
            module = trained_alone(module, ENCODER)
        return super().through(module, part, flux, sigma, key)

    def quantized(
        self, module: ImageNetwork, latent: Array, key: Array | None
    ) -> Quantized:
        """Codes; in training with the values of latents before they are rounded."""
        found = super().quantized(module, latent, key)
        if key is None:
            return found
        assert isinstance(module.quantizer, FSQ)
        return replace(found, values=module.quantizer.relaxed(latent))


def trained_alone(network: ImageNetwork, parts: tuple[str, ...]) -> ImageNetwork:
    """The network, in which only some parts have slopes."""
    graph, state = nnx.split(network)
    flat = []
    for path, leaf in nnx.to_flat_state(state):
        if path[0] not in parts:
            leaf = leaf.replace(jax.lax.stop_gradient(leaf.get_value()))
        flat.append((path, leaf))
    return nnx.merge(graph, nnx.from_flat_state(flat))
