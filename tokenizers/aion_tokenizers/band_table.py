# SPDX-License-Identifier: MIT
"""How the bands of an image become channels that all cameras share, and back.

`ChannelMixer` is the border between an image's bands and the network; AION-1's table of
nine bands, `BandTable`, is one way to cross it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from aion_tokenizers.convolutions import Dense


class ChannelMixer(Protocol):
    """Mixes the bands of images into channels, and channels into bands.

    `bands` says what the bands are, in the form that the mixer takes.
    """

    def gather(
        self, flux: Float[Array, "b y x c"], present: Bool[Array, "b c"], bands: Any
    ) -> Float[Array, "b y x d"]:
        """Channels of images; a band that is not present has no influence."""
        ...

    def spread(
        self, hidden: Float[Array, "b y x d"], bands: Any
    ) -> Float[Array, "b y x c"]:
        """The asked bands of images, from channels."""
        ...


class BandTable(nnx.Module):
    """One row of weights per band of a fixed list; `bands` are places in the list.

    Channels are sqrt(rows / present bands) times (flux . rows + bias): the bias is
    scaled too, as AION-1's weights expect.
    """

    OFFICIAL: ClassVar[Mapping[str, str]] = {
        "inward": "subsample_in",
        "outward": "subsample_out",
    }

    def __init__(self, count: int, channels: int, rngs: nnx.Rngs) -> None:
        self.inward = Dense(count, channels, rngs)
        self.outward = Dense(channels, count, rngs)

    def gather(
        self,
        flux: Float[Array, "b y x c"],
        present: Bool[Array, "b c"],
        bands: Int[Array, " c"],
    ) -> Float[Array, "b y x d"]:
        """See `ChannelMixer`."""
        weight = present.astype(flux.dtype)
        kernel = self.inward.weight[...]
        shown = jnp.maximum(weight.sum(-1), 1.0)
        scale = jnp.sqrt(kernel.shape[0] / shown)[:, None, None, None]
        flat = (flux * weight[:, None, None]).reshape(-1, flux.shape[-1])
        mixed = flat @ kernel[bands] + self.inward.bias[...]
        return scale * mixed.reshape(*flux.shape[:-1], kernel.shape[1])

    def spread(
        self, hidden: Float[Array, "b y x d"], bands: Int[Array, " c"]
    ) -> Float[Array, "b y x c"]:
        """See `ChannelMixer`."""
        kernel = self.outward.weight[...][:, bands]
        flat = hidden.reshape(-1, hidden.shape[-1]) @ kernel
        out = flat + self.outward.bias[...][bands]
        return out.reshape(*hidden.shape[:-1], bands.shape[0])
