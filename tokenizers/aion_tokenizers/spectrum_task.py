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

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from aion.errors import DataError
from aion.observation import Spectrum
from aion.train.codec_task import Sample
from aion_tokenizers import spectrum_losses
from aion_tokenizers.network_state import start_from
from aion_tokenizers.quantization import quantized
from aion_tokenizers.quantizers import Quantized
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
        start: a codec to go on from, see `network_state.start_from`; "" for none.
        pixels: per spectrum; shorter ones are padded, of longer ones a piece is taken.
        taps_in: most pixels that a cell of the grid may overlap.
        taps_out: most cells that a pixel may depend on.
        hide: share of the spectra whose resolution the decoder is not told.
        amount: of recorruption, a.
        width: of Huber's function, in sigmas of the second spectrum.
        evenness: 1 weights spectra by the inverse of their error, so that a bright one
            counts as much as a faint one, 0 not at all.
        soft: error in variances below which spectra have equal weights.
        mask: weight of telling which cells have data.
    """

    network: SpectrumSizes = field(default_factory=SpectrumSizes)
    start: str = ""
    pixels: int = 7808
    taps_in: int = 4
    taps_out: int = 8
    hide: float = 0.1
    amount: float = 0.5
    width: float = 10.0
    evenness: float = 1.0
    soft: float = 0.5
    mask: float = 0.05
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    def build(self, key: Array) -> SpectrumAutoencoder:
        """The network to start from."""
        if self.start:
            return start_from(self.start, SpectrumCodec.word, self.network).network
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
        return spectrum_losses.with_shares(batch)

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
        pair = spectrum_losses.corrupted(part, key, self.amount)
        made = self._through(module, part, pair.first, key)
        loss, chi2 = spectrum_losses.misfit(
            made.flux, pair, part, self.width, self.evenness, self.soft
        )
        missing, mask = spectrum_losses.logistic(made.logit, made.there, part["share"])
        sums = {"counts": made.found.counts, "chi2": chi2, "mask": mask}
        if key is None:
            guess = self._through(module, part, part["flux"], None).flux
            sums |= spectrum_losses.errors(guess, part)
        return loss + self.mask * missing + made.found.loss, sums

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

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers; see `spectrum_losses.report`."""
        return spectrum_losses.report(sums)

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch, padding included."""
        return int(np.prod(batch["flux"].shape))


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
