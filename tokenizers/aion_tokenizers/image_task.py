# SPDX-License-Identifier: MIT
"""Training of the image codec.

Loss: of a recorrupted pair one image is encoded, and the reconstruction is held against
the other, each pixel in units of its noise, with a function that grows slowly; pixels
that are not valid count nowhere. Score: mean squared error against the noiseless truth
in units of the noise, where the truth is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from aion.errors import DataError
from aion.observation import Image
from aion.train.codec_task import Sample
from aion_tokenizers import image_scores
from aion_tokenizers.batches import in_pieces
from aion_tokenizers.image import ImageCodec, quantized_scale
from aion_tokenizers.image_network import ImageConfig, ImageNetwork
from aion_tokenizers.image_pixels import LARGEST, Pixels, read_pixels, units
from aion_tokenizers.mixing import describe_bands
from aion_tokenizers.network_state import (
    filled_network,
    network_arrays,
    start_from,
)
from aion_tokenizers.quantization import quantized
from aion_tokenizers.quantizers import Quantized
from aion_tokenizers.recorruption import recorrupt
from aion_tokenizers.refinement import Data, refined

_FLAT = 1.5
"""|latent| from which tanh, FSQ's bound, hardly grows."""


class Made(NamedTuple):
    """A reconstruction, the encoder's latents, and the codes."""

    guess: Array
    latent: Array
    found: Quantized


@dataclass(frozen=True)
class ImageTask:
    """How the image codec is trained.

    Attributes:
        network: its sizes.
        start: a codec to go on from, see `network_state.start_from`; "" for none.
        groups: modalities that are scored apart; others are scored together.
        side: of the images of a modality, in pixels.
        crop: side of the squares that are trained on.
        windows: such squares of each image.
        aim: share of the squares that hold a pixel drawn by its S/N.
        channels: bands of a batch; images of fewer are filled up with absent ones, of
            images with more some are left out.
        drop: share of the images that lose one band in training, or more.
        hide: share of the images whose PSF the decoder is not told.
        calibration: by how much zero points are off in training, mag: one sigma, drawn
            for each image and band. A codec whose colours are those of its training
            objects alone would correct a survey whose zero points are not perfect.
        amount: of recorruption, a.
        evenness: 1 weights images by the inverse of their misfit, so that a bright one
            counts as much as a faint one, 0 not at all.
        soft: misfit below which images have equal weights.
        hinge: weight of latents beyond `_FLAT`, where FSQ's bound has no slope.
        refined_scores: scores are of codes as the codec finds them, refined and
            settled; else of the encoder's alone, which is faster.
            (Refined latents in training were tried: reconstructions became worse.)
    """

    network: ImageConfig = field(default_factory=ImageConfig)
    start: str = ""
    groups: tuple[str, ...] = ("legacy_image", "hsc_image")
    side: int = 96
    crop: int = 64
    windows: int = 1
    aim: float = 0.0
    channels: int = 5
    drop: float = 0.25
    hide: float = 0.2
    calibration: float = 0.0
    amount: float = 1.0
    evenness: float = 0.5
    soft: float = 0.5
    hinge: float = 1.0
    refined_scores: bool = False
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    def build(self, key: Array) -> ImageNetwork:
        """The network to start from."""
        if self.start:
            found = start_from(self.start, ImageCodec.word, self.network).network
            return filled_network(self.network, network_arrays(found), self.start)
        return self.network.network(nnx.Rngs(params=key))

    def codec(self, module: ImageNetwork) -> ImageCodec:
        """The codec with a trained network."""
        return ImageCodec(self.network, module, self.side)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Crops of all images, divided by their scales.

        Args:
            samples: images with their truth, if it is known.
            rng: dice of crops, turns, flips and dropped bands; without, the middle of
                images as they are.

        Returns:
            flux, sigma, truth and valid [b, c, y, x], the bands in numbers as encoder
            and decoder are told them [b, c, p] (`known` with every PSF), and the group
            of each image [b].
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
        image, truth = self._chosen(image, truth, rng)
        if rng is not None and self.calibration:
            image, truth = self._miscalibrated(image, truth, rng)
        pixels = read_pixels(image)
        known = np.full_like(pixels.flux, np.nan)
        if isinstance(truth, Image):
            known = np.asarray(truth.flux, np.float32) / units(truth.bands)
        if rng is not None:
            rows = np.repeat(np.arange(len(known)), self.windows)
            pixels, known = pixels.take(rows), known[rows]
            pixels = pixels.without(self._dropped(pixels, rng))
        scale = quantized_scale(pixels, self.network)[:, None, None, None]
        scale = scale.astype(np.float32)
        maps = {
            "flux": pixels.flux / scale,
            "sigma": pixels.sigma / scale,
            "truth": known / scale,
            "valid": pixels.valid.astype(np.float32),
        }
        side = self.side if rng is None else self.crop
        corners = self._corners(pixels, side, rng)
        maps = {k: _windows(v, corners, side) for k, v in maps.items()}
        fwhm = pixels.psf_fwhm
        if rng is not None:
            hidden = rng.random((len(fwhm), 1)) < self.hide
            fwhm = np.where(hidden, np.nan, fwhm)
            turns, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))
            maps = {k: np.rot90(v, turns, (2, 3))[..., ::flip] for k, v in maps.items()}
        numbers = {
            "told": describe_bands(
                pixels.bands, pixels.psf_fwhm, pixels.sky / scale[:, :, 0, 0]
            ),
            "asked": describe_bands(pixels.bands, fwhm, None),
            "known": describe_bands(pixels.bands, pixels.psf_fwhm, None),
        }
        name, known_groups = sample.modality, self.groups
        place = known_groups.index(name) if name in known_groups else len(known_groups)
        group = np.full(len(known), place, np.int32)
        maps["sigma"] = np.where(maps["valid"] > 0, maps["sigma"], 1)
        filled = {
            k: self._filled(v, float(k == "sigma")) for k, v in (maps | numbers).items()
        }
        return {k: v.astype(np.float32) for k, v in filled.items()} | {"group": group}

    def _corners(
        self, pixels: Pixels, side: int, rng: np.random.Generator | None
    ) -> np.ndarray:
        """First row and column of a square of each image; the middle without dice."""
        shape = np.array(pixels.flux.shape[2:])
        if min(shape) < side:
            raise DataError(
                f"images of {shape[0]} x {shape[1]} pixels for crops of {side}",
                "Give larger images, or a smaller codec.crop and codec.side.",
            )
        free, count = shape - side, len(pixels.flux)
        if rng is None:
            return np.tile(free // 2, (count, 1))
        corners = rng.integers(0, free + 1, (count, 2))
        inside = rng.integers(side // 8, side - side // 8, (count, 2))
        signal = np.where(pixels.valid, pixels.flux / pixels.sigma, 0).max(axis=1)
        total = np.cumsum(np.maximum(signal, 0).reshape(count, -1), axis=1)
        for row in np.flatnonzero(rng.random(count) < self.aim):
            place = np.searchsorted(total[row], rng.random() * total[row, -1])
            aimed = np.array(np.divmod(min(place, total.shape[1] - 1), shape[1]))
            corners[row] = np.clip(aimed - inside[row], 0, free)
        return corners

    def _chosen(
        self, image: Image, truth: Any, rng: np.random.Generator | None
    ) -> tuple[Image, Any]:
        """At most `channels` bands of both, the first ones or at random."""
        count = len(image.bands)
        if count <= self.channels:
            return image, truth
        order = np.arange(count) if rng is None else rng.permutation(count)
        kept = np.sort(order[: self.channels])
        return with_bands(image, kept), truth and with_bands(truth, kept)

    def _miscalibrated(
        self, image: Image, truth: Any, rng: np.random.Generator
    ) -> tuple[Image, Any]:
        """Both as if the zero points were off; signal over noise stays."""
        off = self.calibration * rng.standard_normal((*image.flux.shape[:2], 1, 1))
        gain = (10 ** (-0.4 * off)).astype(np.float32)
        ivar = None if image.ivar is None else image.ivar / gain**2
        image = replace(image, flux=image.flux * gain, ivar=ivar)
        if isinstance(truth, Image):
            truth = replace(truth, flux=truth.flux * gain)
        return image, truth

    def _dropped(self, pixels: Pixels, rng: np.random.Generator) -> np.ndarray:
        """Bands to leave out, [b, c]: in `drop` of the images each with a chance of one
        half, but never all."""
        shape = pixels.sky.shape
        gone = (rng.random(shape) < 0.5) & (rng.random((shape[0], 1)) < self.drop)
        gone[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = False
        return gone

    def _filled(self, values: np.ndarray, value: float) -> np.ndarray:
        """Exactly `channels` bands; those added hold one value, valid nowhere."""
        more = self.channels - values.shape[1]
        widths = ((0, 0), (0, more), *(((0, 0),) * (values.ndim - 2)))
        return np.pad(values, widths, constant_values=value)

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
        """The robust misfit of the recorrupted residuals; sums of squared residuals.

        Without a key the data themselves are encoded and the sums hold the error to
        the truth; the second half of a pair with fixed dice stays what the loss sees.
        """
        del mesh
        dice = jax.random.key(0) if key is None else key
        pair = recorrupt(part["flux"], part["sigma"], dice, self.amount)
        noise = part["sigma"] * np.float32(np.hypot(1, self.amount))
        made = self.through(module, part, pair.first, noise, key)
        loss, chi2 = image_scores.misfit(
            made.guess, pair, part, self.evenness, self.soft
        )
        far = jnp.mean(jnp.square(jax.nn.relu(jnp.abs(made.latent) - _FLAT)))
        loss = loss + made.found.loss + self.hinge * far
        sums = {"counts": made.found.counts, "chi2": chi2}
        if key is None:
            made = self.through(module, part, part["flux"], part["sigma"], None)
            groups = len(self.groups) + 1
            sums["error"] = image_scores.errors(made.guess, part, groups)
        return loss, sums

    def through(
        self,
        module: ImageNetwork,
        part: dict[str, Array],
        flux: Array,
        sigma: Array,
        key: Array | None,
    ) -> Made:
        """What becomes of an image with some noise.

        Args:
            module: the network.
            part: of a batch.
            flux: in the image's scale, [b, c, y, x].
            sigma: its noise.
            key: in training; without one, codes are refined for `refined_scores`.
        """
        valid = part["valid"]
        pixels = jnp.arcsinh(jnp.where(valid > 0, flux, 0.0))
        latent = module.encode(pixels, valid, part["told"])
        better, wings = latent, None
        if key is None and self.refined_scores:
            data = Data(flux, sigma, valid, part["known"])
            better, wings = in_pieces(
                lambda *some: refined(module, *some, *self.network.refinement),
                latent,
                data,
            )
        found = self.quantized(module, better, key)
        values = module.decode(found.values, part["asked"], wings)
        guess = jnp.sinh(jnp.clip(values, -LARGEST, LARGEST))
        return Made(guess, latent, found)

    def quantized(
        self, module: ImageNetwork, latent: Array, key: Array | None
    ) -> Quantized:
        """Codes of latents, and the values that are decoded."""
        return quantized(module.quantizer, latent, key)

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers; see `image_scores.report`."""
        return image_scores.report(sums, (*self.groups, "other"))

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch."""
        return int(np.prod(batch["flux"].shape))


def with_bands(image: Image, kept: np.ndarray) -> Image:
    """Some bands of an image."""
    arrays = {
        name: None if value is None else np.asarray(value)[:, kept]
        for name in ("flux", "ivar", "mask", "psf_fwhm")
        for value in (getattr(image, name),)
    }
    return Image(**arrays, bands=tuple(image.bands[n] for n in kept))


def _windows(
    values: np.ndarray, corners: np.ndarray, side: int
) -> Float[np.ndarray, "b c s s"]:
    """Squares of maps [b, c, y, x], each from its own corner."""
    pairs = zip(values, corners.tolist(), strict=True)
    return np.stack([v[:, y : y + side, x : x + side] for v, (y, x) in pairs])
