# SPDX-License-Identifier: MIT
"""Training of the spectrum codec.

Loss: of a recorrupted pair one spectrum is encoded, and the reconstruction, in native
pixels, is held against the other in units of its noise with Huber's function, so that
cosmic rays and residuals of the sky cannot dominate. Pixels without weight count
nowhere. Spectra are weighted by the inverse of their mean squared error, or the
brightest would be all that is learnt. Score: the error to the noiseless truth in units
of the noise, where the truth is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from aion.errors import DataError
from aion.observation import Spectrum
from aion.train.codec_task import Sample
from aion_tokenizers.quantization import quantized
from aion_tokenizers.quantizers import Quantized, perplexity, usage
from aion_tokenizers.recorruption import recorrupt
from aion_tokenizers.spectrum import SpectrumCodec
from aion_tokenizers.spectrum_grid import (
    Pixels,
    Taps,
    from_grid,
    onto_grid,
    rebinned,
    sampled,
)
from aion_tokenizers.spectrum_network import SpectrumAutoencoder, SpectrumSizes
from aion_tokenizers.spectrum_pixels import (
    LARGEST,
    Seen,
    cell_channels,
    norm_values,
    read_spectrum,
)

LIMITS = (2.0, 5.0, 10.0, 20.0)
"""Between classes of spectra by their median true S/N per pixel."""
CLASSES = ("below2", "2to5", "5to10", "10to20", "above20")
TARGETS = (0.10, 0.10, 0.15, 0.30, 0.80)
"""Errors to the truth of a good codec, by class: the unit of `score`."""
CLEAR = 10.0
"""S/N above which R2 is reported."""


class _Made(NamedTuple):
    """A reconstruction in pixels [b, l], the logit of data in cells [b, n], what the
    quantizer gave, and which cells have data [b, n]."""

    flux: Array
    logit: Array
    found: Quantized
    there: Array


@dataclass(frozen=True)
class SpectrumTask:
    """How the spectrum codec is trained.

    Attributes:
        network: its sizes.
        pixels: per spectrum; shorter ones are padded, of longer ones a piece is taken.
        taps_in: most pixels that a cell of the grid may overlap.
        taps_out: most cells that a pixel may depend on.
        hide: share of the spectra whose resolution the decoder is not told.
        amount: of recorruption, a.
        width: of Huber's function, in sigmas of the second spectrum.
        soft: error in variances below which spectra have equal weights.
        mask: weight of telling which cells have data.
    """

    network: SpectrumSizes = field(default_factory=SpectrumSizes)
    pixels: int = 7808
    taps_in: int = 4
    taps_out: int = 8
    hide: float = 0.1
    amount: float = 0.5
    width: float = 10.0
    soft: float = 0.5
    mask: float = 0.05
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    def build(self, key: Array) -> SpectrumAutoencoder:
        """A freshly initialised network."""
        return self.network.network(nnx.Rngs(params=key))

    def codec(self, module: SpectrumAutoencoder) -> SpectrumCodec:
        """The codec with a trained network."""
        return SpectrumCodec(self.network, module)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Spectra over their norms, with the way onto the grid and back.

        Args:
            samples: spectra with their truth, if it is known.
            rng: dice; without, the first `pixels` pixels of each spectrum.

        Returns:
            flux, ivar, truth [b, l], taps of cells [b, n, k] and of pixels [b, l, k],
            and what encoder and decoder are told [b, t, p].
        """
        parts = [self._rows(sample, rng) for sample in samples]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def _rows(
        self, sample: Sample, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        spectrum, truth = sample.observation, sample.truth
        if not isinstance(spectrum, Spectrum):
            raise DataError(
                f"{sample.modality} is a {type(spectrum).__name__}", "Train on spectra."
            )
        free = np.shape(spectrum.flux)[1] - self.pixels
        start = 0 if rng is None or free <= 0 else int(rng.integers(0, free + 1))
        piece = slice(start, start + self.pixels)
        spectrum = _cut(spectrum, piece)
        seen = read_spectrum(spectrum, self.network)
        known = np.full(seen.flux.shape, np.nan)
        if isinstance(truth, Spectrum):
            flux = np.asarray(_cut(truth, piece).flux, np.float64)
            flux = flux / norm_values(seen.code, self.network)[:, None]
            order = np.broadcast_to(seen.pixels.order, flux.shape)
            known = np.take_along_axis(flux, order, axis=1)
        asked = seen.told
        if rng is not None:
            asked = asked * (rng.random((len(asked), 1, 1)) >= self.hide)
        return self._arrays(seen, known, asked.astype(np.float32))

    def _arrays(
        self, seen: Seen, truth: np.ndarray, asked: np.ndarray
    ) -> dict[str, np.ndarray]:
        count = len(seen.flux)
        grid = self.network.grid
        into = onto_grid(seen.pixels, grid, self.taps_in)
        back = from_grid(_whole(seen.pixels), grid, self.taps_out)
        return {
            "flux": self._filled(seen.flux),
            "ivar": self._filled(seen.ivar),
            "truth": self._filled(truth.astype(np.float32)),
            **_each("in", into, count),
            **{k: self._filled(v) for k, v in _each("out", back, count).items()},
            "told": seen.told,
            "asked": asked,
        }

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """Exactly `pixels` pixels; those added are zeros and have no weight."""
        more = self.pixels - values.shape[1]
        return np.pad(values, ((0, 0), (0, more), *(((0, 0),) * (values.ndim - 2))))

    def prepare(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with the share of each spectrum in the loss."""
        count = batch["flux"].shape[0]
        return batch | {"share": jnp.full((count,), 1.0 / count)}

    def loss(
        self,
        module: SpectrumAutoencoder,
        part: dict[str, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "..."]]]:
        """Huber's function of the recorrupted residuals; sums of squared residuals.

        Without a key the sums also hold the error to the truth of the spectra that are
        encoded as they are.
        """
        del mesh
        dice = jax.random.key(0) if key is None else key
        ivar = part["ivar"]
        valid = ivar > 0
        sigma = jnp.where(valid, ivar, 1.0) ** -0.5
        pair = recorrupt(part["flux"], jnp.where(valid, sigma, 0.0), dice, self.amount)
        made = self._through(module, part, pair.first, key)
        logit, there = made.logit, made.there
        chi = (
            jnp.where(valid, (made.flux - pair.second) / sigma, 0.0) * pair.excess**-0.5
        )
        pixels = jnp.maximum(jnp.sum(valid, axis=1, dtype=jnp.float32), 1.0)
        each = jnp.sum(_huber(chi, self.width), axis=1) / pixels * pair.excess
        # 2 each is pair.excess for a perfect reconstruction.
        error = jnp.maximum(2 * each - pair.excess, 0.0)
        weight = part["share"] / jax.lax.stop_gradient(self.soft + error)
        weight = jnp.where(jnp.any(valid, axis=1), weight, 0.0)
        missing = jnp.mean(jax.nn.softplus(logit) - logit * there, axis=1)
        loss = jnp.sum(weight * each) + self.mask * jnp.sum(part["share"] * missing)
        sums = {
            "counts": made.found.counts,
            "chi2": jnp.stack([jnp.sum(jnp.square(chi)), _number(valid)]),
            "mask": jnp.stack([jnp.sum(missing), jnp.float32(len(missing))]),
        }
        if key is None:
            sums |= self._errors(module, part)
        return loss + made.found.loss, sums

    def _through(
        self,
        module: SpectrumAutoencoder,
        part: dict[str, Array],
        flux: Array,
        key: Array | None,
    ) -> "_Made":
        mean, ivar = rebinned(flux, part["ivar"], part["in_index"], part["in_weight"])
        latent = module.encode(cell_channels(mean, ivar), part["told"])
        found = quantized(module.quantizer, latent, key)
        both = module.decode(found.values, part["asked"])
        cells = jnp.sinh(jnp.clip(both[:, 0], -LARGEST, LARGEST))
        guess = sampled(cells, part["out_index"], part["out_weight"])
        return _Made(guess, both[:, 1], found, (ivar > 0).astype(jnp.float32))

    def _errors(
        self, module: SpectrumAutoencoder, part: dict[str, Array]
    ) -> dict[str, Array]:
        """Sums and counts over spectra: of the mean squared error in variances by
        class, and of 1 - R2 of those above `CLEAR`."""
        guess = self._through(module, part, part["flux"], None).flux
        truth, ivar = part["truth"], part["ivar"]
        known = (ivar > 0) & jnp.isfinite(truth)
        pixels = jnp.maximum(jnp.sum(known, axis=1, dtype=jnp.float32), 1.0)
        error = jnp.square(jnp.where(known, guess - truth, 0.0))
        mean = jnp.sum(error * ivar, axis=1) / pixels
        signal = jnp.where(known, truth * jnp.sqrt(ivar), jnp.nan)
        level = jnp.nanmedian(signal, axis=1)
        group = jnp.searchsorted(jnp.asarray(LIMITS), level)
        seen = jnp.any(known, axis=1)
        inside = (group[:, None] == jnp.arange(len(CLASSES))) & seen[:, None]
        total = jnp.sum(jnp.where(inside, mean[:, None], 0.0), axis=0)
        count = jnp.sum(inside, axis=0, dtype=jnp.float32)
        centre = jnp.sum(jnp.where(known, truth, 0.0), axis=1) / pixels
        spread = jnp.where(known, jnp.square(truth - centre[:, None]), 0.0)
        lost = jnp.sum(error, axis=1) / jnp.maximum(jnp.sum(spread, axis=1), 1e-12)
        clear = seen & (level > CLEAR)
        lost = jnp.stack([jnp.sum(jnp.where(clear, lost, 0.0)), _number(clear)])
        return {"error": jnp.stack([total, count], axis=-1), "lost": lost}

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers.

        `chi2` is of the recorrupted residuals, 1 at best; `mask` nats per cell;
        `error/<class>` the error to the truth; `r2` the mean over spectra with S/N
        above 10; `score` the mean over classes of error over target, or the chi2 where
        no truth is known; `usage` and `perplexity` are of the codes since the last
        report.
        """
        counts = jnp.asarray(sums["counts"])
        values = {
            "chi2": _ratio(sums["chi2"]),
            "mask": _ratio(sums["mask"]),
            "usage": float(usage(counts)),
            "perplexity": float(perplexity(counts)),
        }
        if "error" not in sums:
            return values
        scores = []
        rows = zip(CLASSES, TARGETS, sums["error"], strict=True)
        for name, target, row in rows:
            if row[1] > 0:
                values[f"error/{name}"] = _ratio(row)
                scores.append(_ratio(row) / target)
        if sums["lost"][1] > 0:
            values["r2"] = 1 - _ratio(sums["lost"])
        score = float(np.mean(scores)) if scores else values["chi2"]
        return values | {"score": score}

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch, padding included."""
        return int(np.prod(batch["flux"].shape))


def _huber(chi: Float[Array, "*b"], width: float) -> Float[Array, "*b"]:
    """chi^2 / 2 up to a width, linear beyond (Huber 1964)."""
    size = jnp.abs(chi)
    return jnp.where(size < width, 0.5 * chi**2, width * (size - 0.5 * width))


def _number(chosen: Bool[Array, "*b"]) -> Float[Array, ""]:
    return jnp.sum(chosen, dtype=jnp.float32)


def _ratio(pair: Any) -> float:
    total, count = (float(x) for x in pair)
    return total / max(count, 1.0)


def _cut(spectrum: Spectrum, piece: slice) -> Spectrum:
    """Some pixels of all spectra."""
    values = {
        name: None if value is None or not np.ndim(value) else value[..., piece]
        for name in ("flux", "ivar", "mask", "wavelength", "resolution")
        for value in (getattr(spectrum, name),)
    }
    if not np.ndim(spectrum.resolution):
        values["resolution"] = spectrum.resolution
    return Spectrum(**values)


def _whole(pixels: Pixels) -> Pixels:
    """Pixels with padding moved to the first cell: it has no weight in any loss."""
    real = pixels.real
    return Pixels(
        pixels.order, np.where(real, pixels.low, 0.0), np.where(real, pixels.high, 1.0)
    )


def _each(name: str, taps: Taps, count: int) -> dict[str, np.ndarray]:
    """Taps of every object."""
    shape = (count, *taps.index.shape[1:])
    return {
        f"{name}_index": np.broadcast_to(taps.index, shape),
        f"{name}_weight": np.broadcast_to(taps.weight, shape),
    }
