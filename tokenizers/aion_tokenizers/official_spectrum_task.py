# SPDX-License-Identifier: MIT
"""Training of a codec with AION-1's spectrum network, for PyTorch users to read.

Network, grid, norm and scaling are AION-1's; loss and score are those of our own codec:
inverse variances, and pairs of spectra with independent noise. Masked pixels are seen
by the encoder, as AION-1's are, but nothing is held against them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from aion.errors import DataError
from aion.observation import Spectrum
from aion.train.codec_task import Sample
from aion_tokenizers import spectrum_losses
from aion_tokenizers.convnext import SpectrumNetwork
from aion_tokenizers.network_state import start_from
from aion_tokenizers.official_spectrum import OfficialSpectrum, SpectrumConfig
from aion_tokenizers.quantizers import LFQ, Quantized

_LARGEST = 30.0
"""Of asinh((flux / norm - 1) * scaling) that a network is given."""

_MOST = 1e12
"""Of flux: infinite pixels have no weight, but they must not spoil others."""


@dataclass(frozen=True)
class OfficialSpectrumTask:
    """How a codec of AION-1's architecture is trained.

    Attributes:
        network: its sizes.
        start: a codec to go on from, AION-1's or ours, see `network_state.start_from`.
        pixels: per spectrum; shorter ones are padded, of longer ones the rest is not
            looked at.
        amount, width, evenness, soft, mask: see `SpectrumTask`.
        entropy: weight of LFQ's entropy terms.
    """

    network: SpectrumConfig = field(default_factory=SpectrumConfig)
    start: str = ""
    pixels: int = 7808
    amount: float = 0.5
    width: float = 10.0
    evenness: float = 1.0
    soft: float = 0.5
    mask: float = 0.05
    entropy: float = 0.1
    score: ClassVar[str] = "score"
    guarded: ClassVar[str] = "perplexity"

    @cached_property
    def _started(self) -> OfficialSpectrum:
        """The codec to go on from; its norms and grid stay as they are."""
        return start_from(self.start, OfficialSpectrum.word, self.network)

    @cached_property
    def _reader(self) -> OfficialSpectrum:
        """A codec without weights, for what it does before its network."""
        return self.codec(nnx.eval_shape(lambda: self.network.network(nnx.Rngs(0))))

    def build(self, key: Array) -> SpectrumNetwork:
        """The network to start from."""
        if self.start:
            return self._started.network
        return self.network.network(nnx.Rngs(params=key))

    def codec(self, module: SpectrumNetwork) -> OfficialSpectrum:
        """The codec with a trained network."""
        given = self._started.constants if self.start else self.network.constants()
        return OfficialSpectrum(self.network, module, given)

    def collate(
        self, samples: Sequence[Sample], rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Spectra as they are, with the way onto AION-1's grid and back.

        Args:
            samples: spectra with inverse variances.
            rng: not used, nothing is at random.

        Returns:
            flux, ivar (0 where not valid), seen (as AION-1 clips it), truth [b, l], the
            norm [b], and for each cell of the grid and each pixel the left one of two
            neighbours, the share of the right one, and whether it is inside.
        """
        del rng
        parts = [self._rows(sample) for sample in samples]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def _rows(self, sample: Sample) -> dict[str, np.ndarray]:
        spectrum, truth = sample.observation, sample.truth
        if not isinstance(spectrum, Spectrum) or spectrum.wavelength is None:
            raise DataError(
                f"{sample.modality} is a {type(spectrum).__name__} without wavelengths",
                "Train on spectra that have them.",
            )
        flux, valid, seen, scale = self._reader.cleaned_and_scaled(spectrum)
        flux = np.clip(flux, -_MOST, _MOST)
        ivar = np.nan_to_num(np.asarray(spectrum.ivar, np.float32))
        ivar = np.where(valid & (ivar > 0) & np.isfinite(spectrum.flux), ivar, 0)
        known = np.full(flux.shape, np.nan, np.float32)
        if isinstance(truth, Spectrum):
            known = np.asarray(truth.flux, np.float32)
        maps = {"flux": flux, "ivar": ivar, "seen": seen, "truth": known}
        rows = {k: self._filled(v.astype(np.float32)) for k, v in maps.items()}
        lines = np.atleast_2d(np.asarray(spectrum.wavelength, np.float64))
        pairs = [self._ways(line) for line in lines]
        ways = {k: np.stack([p[k] for p in pairs]) for k in pairs[0]}
        ways = {k: np.broadcast_to(v, (len(flux), v.shape[1])) for k, v in ways.items()}
        inside = ways["out_inside"] > 0
        rows["ivar"] = np.where(inside, rows["ivar"], 0).astype(np.float32)
        return rows | ways | {"norm": scale.astype(np.float32)}

    def _ways(self, line: np.ndarray) -> dict[str, np.ndarray]:
        """Linear interpolation of one spectrum onto the grid and back."""
        grid = self._reader.wavelength
        real = np.flatnonzero(np.isfinite(line) & (line > 0))[: self.pixels]
        into = _neighbours(line[real], grid)
        back = _neighbours(grid, line[: self.pixels])
        index = real[into["index"]].astype(np.int32)
        found = {f"in_{k}": v for k, v in (into | {"index": index}).items()}
        more = self.pixels - len(back["index"])
        return found | {f"out_{k}": np.pad(v, (0, more)) for k, v in back.items()}

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """Exactly `pixels` pixels; those added are zeros and have no weight."""
        values = values[:, : self.pixels]
        return np.pad(values, ((0, 0), (0, self.pixels - values.shape[1])))

    def prepare(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The batch with the share of each spectrum in the loss."""
        return spectrum_losses.with_shares(batch)

    def loss(
        self,
        module: SpectrumNetwork,
        part: dict[str, Array],
        key: Array | None,
        mesh: Mesh | None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, "..."]]]:
        """As `SpectrumTask.loss`."""
        del mesh
        pair = spectrum_losses.corrupted(part, key, self.amount)
        guess, bad, found = self._through(module, part, pair.first)
        loss, chi2 = spectrum_losses.misfit(
            guess, pair, part, self.width, self.evenness, self.soft
        )
        there = (part["ivar"] <= 0).astype(jnp.float32)
        missing, mask = spectrum_losses.logistic(bad, there, part["share"])
        sums = {"counts": found.counts, "chi2": chi2, "mask": mask}
        if key is None:
            guess, *_ = self._through(module, part, part["flux"])
            sums |= spectrum_losses.errors(guess, part)
        return loss + self.mask * missing + found.loss, sums

    def _through(
        self, module: SpectrumNetwork, part: dict[str, Array], flux: Array
    ) -> tuple[Array, Array, Quantized]:
        """The reconstruction in pixels, logits of bad pixels, and the codes."""
        small, norm = self.network.input_scaling, part["norm"][:, None]
        limit = self.network.clip_flux
        flux = flux if limit is None else jnp.clip(flux, -limit, limit)
        both = jnp.stack([(flux / norm - 1) * small, part["seen"] / norm * small], -1)
        cells = _interpolated(both, part, "in")
        latent = module.encode(jnp.clip(jnp.arcsinh(cells), -_LARGEST, _LARGEST))
        found = LFQ(self.network.bits, entropy=self.entropy)(latent)
        made = _interpolated(module.decode(found.values), part, "out")
        bad = made[..., 1] if made.shape[-1] == 2 else jnp.zeros(flux.shape)
        return (made[..., 0] + 1) * norm, bad, found

    def report(self, sums: dict[str, Any]) -> dict[str, float]:
        """Readable numbers; see `spectrum_losses.report`."""
        return spectrum_losses.report(sums)

    def size(self, batch: dict[str, Any]) -> int:
        """Pixels of a batch, padding included."""
        return int(np.prod(batch["flux"].shape))


def _neighbours(place: np.ndarray, new: np.ndarray) -> dict[str, np.ndarray]:
    """Between which of some increasing places others lie."""
    left = np.clip(np.searchsorted(place, new) - 1, 0, len(place) - 2)
    share = (new - place[left]) / (place[left + 1] - place[left])
    inside = (new >= place[0]) & (new <= place[-1])
    return {
        "index": left.astype(np.int32),
        "share": np.where(inside, share, 0).astype(np.float32),
        "inside": inside.astype(np.float32),
    }


def _interpolated(
    values: Float[Array, "b l c"], part: dict[str, Array], way: str
) -> Float[Array, "b m c"]:
    """Values at other places; 0 outside, as AION-1 has it."""
    index, share = part[f"{way}_index"], part[f"{way}_share"][..., None]
    left = jnp.take_along_axis(values, index[..., None], axis=1)
    right = jnp.take_along_axis(values, index[..., None] + 1, axis=1)
    found = left + (right - left) * share
    return found * part[f"{way}_inside"][..., None]
