# SPDX-License-Identifier: MIT
"""Training of a codec with AION-1's image network, so that PyTorch users can read it.

Network, bands, clipping and compression are AION-1's; loss and score are those of our
own codec: inverse variances, and pairs of images with independent noise. Masked pixels
are seen by the encoder, as AION-1's are, but nothing is held against them.
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

from aion.errors import ConfigError, DataError
from aion.observation import Image
from aion.train.codec_task import Sample
from aion_tokenizers import image_scores
from aion_tokenizers.image_pixels import read_pixels, units
from aion_tokenizers.magvit import ImageNetwork
from aion_tokenizers.network_state import start_from
from aion_tokenizers.official_image import (
    CROP,
    LIMITS,
    ImageConfig,
    OfficialImage,
    band_places,
    limits_in_nanomaggies,
)
from aion_tokenizers.quantizers import FSQ, Quantized
from aion_tokenizers.recorruption import recorrupt

_LARGEST = 20.0
"""Of asinh(flux / factor), beyond all limits of the bands."""


@dataclass(frozen=True)
class OfficialImageTask:
    """How a codec of AION-1's architecture is trained.

    Attributes:
        network: its sizes.
        start: a codec to go on from, AION-1's or ours, see `network_state.start_from`.
        groups: modalities that are scored apart.
        crop: side of the squares that are trained on.
        amount: of recorruption.
        evenness, soft: weights of images, see `ImageTask`.

    Raises:
        ConfigError: a crop that the network does not halve evenly.
    """

    network: ImageConfig = field(default_factory=ImageConfig)
    start: str = ""
    groups: tuple[str, ...] = ("legacy_image", "hsc_image")
    crop: int = CROP
    amount: float = 1.0
    evenness: float = 0.5
    soft: float = 0.5
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    def __post_init__(self) -> None:
        step = 2**self.network.n_compressions
        if self.crop % step or not 0 < self.crop <= CROP:
            raise ConfigError(
                f"crops of {self.crop} pixels",
                f"Give a multiple of {step}, at most {CROP}.",
            )

    def build(self, key: Array) -> ImageNetwork:
        """The network to start from."""
        if not self.start:
            network = self.network.network(nnx.Rngs(params=key))
            # Fluxes are sinh of what comes out: training starts near none.
            outward = network.mixer.outward
            outward.weight[...] = 0.1 * outward.weight[...]
            return network
        return start_from(self.start, OfficialImage.word, self.network).network

    def codec(self, module: ImageNetwork) -> OfficialImage:
        """The codec with a trained network."""
        return OfficialImage(self.network, module)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Crops in nanomaggies in the table's nine bands.

        Args:
            samples: images of bands in the table.
            rng: dice of crops; without, the central 96 x 96 pixels.

        Returns:
            flux, sigma, truth, valid [b, 9, y, x], present [b, 9] and group [b].
        """
        parts = [self._rows(sample, rng) for sample in samples]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def _rows(
        self, sample: Sample, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        image, truth = sample.observation, sample.truth
        if not isinstance(image, Image):
            raise DataError(
                f"{sample.modality} is a {type(image).__name__}", "Train on images."
            )
        places = band_places(image.bands)
        side = CROP if rng is None else self.crop
        pixels = read_pixels(image)
        free = [length - side for length in pixels.flux.shape[2:]]
        if min(free) < 0:
            raise DataError(
                f"{sample.modality} of {pixels.flux.shape[2:]} pixels",
                f"AION-1's codec takes {CROP} x {CROP}; give larger stamps.",
            )
        start = [f // 2 if rng is None else int(rng.integers(0, f + 1)) for f in free]
        y, x = (slice(s, s + side) for s in start)
        known = np.full_like(pixels.flux, np.nan)
        if isinstance(truth, Image):
            known = np.asarray(truth.flux, np.float32) / units(truth.bands)
        raw = np.asarray(image.flux, np.float32) / units(image.bands)
        maps = {
            "flux": np.where(np.isfinite(raw), raw, 0),
            "sigma": pixels.sigma,
            "truth": known,
            "valid": pixels.valid.astype(np.float32),
        }
        fill = {"flux": 0.0, "sigma": 1.0, "truth": np.nan, "valid": 0.0}
        rows = {
            name: _in_table(values[..., y, x], places, fill[name])
            for name, values in maps.items()
        }
        names = (*self.groups, sample.modality)
        group = np.full(len(known), names.index(sample.modality), np.int32)
        present = rows["valid"].any(axis=(2, 3))
        return rows | {"present": present, "group": group}

    def prepare(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with the share of one pixel in the loss."""
        return image_scores.with_shares(batch)

    def loss(
        self,
        module: ImageNetwork,
        part: dict[str, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "..."]]]:
        """As `ImageTask.loss`."""
        del mesh
        dice = jax.random.key(0) if key is None else key
        noise = part["sigma"] * part["valid"]
        pair = recorrupt(part["flux"], noise, dice, self.amount)
        guess, found = self._through(module, part, pair.first)
        loss, chi2 = image_scores.misfit(guess, pair, part, self.evenness, self.soft)
        sums = {"counts": found.counts, "chi2": chi2}
        if key is None:
            guess, _ = self._through(module, part, part["flux"])
            sums["error"] = image_scores.errors(guess, part, len(self.groups) + 1)
        return loss, sums

    def _through(
        self, module: ImageNetwork, part: dict[str, Array], flux: Array
    ) -> tuple[Array, Quantized]:
        """The reconstruction of flux in nanomaggies [b, 9, y, x], and its codes."""
        factor, gain = self.network.range_compression_factor, self.network.mult_factor
        every, limit = jnp.arange(len(LIMITS)), limits_in_nanomaggies()
        flux = jnp.clip(flux, -limit, limit)
        small = factor * gain * jnp.arcsinh(flux / factor)
        latent = module.encode(jnp.moveaxis(small, 1, -1), part["present"], every)
        found = FSQ(self.network.quantizer_levels)(latent)
        values = module.decode(found.values, every) / (factor * gain)
        guess = factor * jnp.sinh(jnp.clip(values, -_LARGEST, _LARGEST))
        return jnp.moveaxis(guess, -1, 1), found

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers; see `image_scores.report`."""
        return image_scores.report(sums, (*self.groups, "other"))

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch."""
        return int(np.prod(batch["flux"].shape))


def _in_table(values: np.ndarray, places: np.ndarray, fill: float) -> np.ndarray:
    """Bands at their places among the nine, float32."""
    shape = (len(values), len(LIMITS), *values.shape[2:])
    table = np.full(shape, fill, np.float32)
    table[:, places] = values
    return table
