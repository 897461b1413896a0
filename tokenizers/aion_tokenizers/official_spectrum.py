# SPDX-License-Identifier: MIT
"""AION-1's spectrum codec: any wavelengths onto one grid, 1 + 272 tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Int32

from aion.config import to_dataclass, to_plain
from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Observation, Spectrum
from aion.tokenspace import TokenSpec
from aion_tokenizers import preprocessing
from aion_tokenizers.batches import checked_codes, in_batches, of_kind
from aion_tokenizers.bins import Counts
from aion_tokenizers.convnext import SpectrumDecoder, SpectrumEncoder, SpectrumNetwork
from aion_tokenizers.official import check_constant, fill, official_arrays, settings
from aion_tokenizers.quantizers import LFQ

LEAST = np.float32(0.1)  # neither the mean nor the scale of a spectrum is smaller
_BITS = "_quantizer._quantizer.mask"
_GRID = "latent_grid."
_BUCKETS = "normalization_quantizer.buckets"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class SpectrumConfig:
    """Constructor arguments of AION-1's `SpectrumCodec`; defaults are the release's."""

    encoder_depths: tuple[int, ...] = (3, 3, 27, 3)
    encoder_dims: tuple[int, ...] = (64, 128, 256, 512)
    decoder_depths: tuple[int, ...] = (3, 9, 3, 3)
    decoder_dims: tuple[int, ...] = (256, 128, 64, 2)
    lambda_min: float = 3500.0
    resolution: float = 0.8
    num_pixels: int = 8704
    latent_channels: int = 512
    embedding_dim: int = 10
    clip_ivar: float | None = 100.0
    clip_flux: float | None = None
    input_scaling: float = 0.2
    normalization_range: tuple[float, float] = (-1.0, 5.0)
    codebook_size: int = 1024
    dim: int = 10

    def __post_init__(self) -> None:
        bits = self.codebook_size.bit_length() - 1
        fits = self.dim == self.embedding_dim and 2**bits == self.codebook_size
        shrink = 4 * 2 ** (len(self.encoder_depths) - 1)
        if not fits or self.num_pixels % shrink or self.decoder_dims[-1] not in (1, 2):
            raise ArtefactError(
                "config.json of a spectrum codec that cannot work: dim "
                f"{self.dim}, embedding_dim {self.embedding_dim}, codebook_size "
                f"{self.codebook_size}, num_pixels {self.num_pixels}",
                "dim and embedding_dim are equal, the codebook is a power of two, "
                f"num_pixels a multiple of {shrink}, and the decoder ends in 1 or 2.",
            )

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.codebook_size.bit_length() - 1

    @property
    def tokens(self) -> int:
        """Tokens of the shape of a spectrum; its norm is one more."""
        return self.num_pixels // (4 * 2 ** (len(self.encoder_depths) - 1))

    def network(self, rngs: nnx.Rngs) -> SpectrumNetwork:
        """A freshly initialised network."""
        size = self.latent_channels
        return SpectrumNetwork(
            SpectrumEncoder(2, self.encoder_depths, self.encoder_dims, rngs),
            SpectrumDecoder(size, self.decoder_depths, self.decoder_dims, rngs),
            size,
            self.embedding_dim,
            self.bits,
            rngs,
        )

    def constants(self) -> dict[str, np.ndarray]:
        """The arrays that are not trained, as PyTorch names them."""
        first, step = np.float32(self.lambda_min), np.float32(self.resolution)
        line = np.arange(self.num_pixels, dtype=np.float32) * step + first
        low, high = self.normalization_range
        return {
            _BITS: 2 ** np.arange(self.bits, dtype=np.int64)[::-1],
            f"{_GRID}lambda_min": np.asarray(first),
            f"{_GRID}resolution": np.asarray(step),
            f"{_GRID}length": np.asarray(self.num_pixels, np.int64),
            f"{_GRID}_wavelength": line[None],
            _BUCKETS: np.linspace(low, high, self.codebook_size, dtype=np.float32),
        }


@dataclass(frozen=True, eq=False)
class OfficialSpectrum:
    """AION-1's spectrum codec; token 0 is the norm, the rest the shape.

    Fluxes that are NaN count as zero, and so do inverse variances that are NaN or
    negative. As AION-1's weights expect, masked pixels do not enter the norm but the
    network sees them. A spectrum without a valid pixel is absent. Pixels whose
    wavelength is no positive number are padding and are dropped.

    Decoding gives AION-1's flux, and as mask what the network takes for good pixels;
    pixels beyond its grid are not valid, and their flux is the norm, as AION-1 has it.
    There is no decoded `ivar`.

    With `official_quirks` fully masked spectra get tokens, and decoded masks are those
    of the PyTorch package (negated: True = valid): valid beyond the grid, and without
    any valid pixel for decoders without a mask that are given wavelengths.
    """

    word: ClassVar[str] = "official_spectrum"
    config: SpectrumConfig
    network: SpectrumNetwork
    constants: Mapping[str, np.ndarray]
    official_quirks: bool = False

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> Any:
        """The training task; see `official_spectrum_task` for the settings."""
        from aion_tokenizers.official_spectrum_task import OfficialSpectrumTask

        return to_dataclass(OfficialSpectrumTask, settings, "codec")

    @property
    def wavelength(self) -> Float32[np.ndarray, " l"]:
        """The codec's grid, vacuum, Angstrom."""
        return self.constants[f"{_GRID}_wavelength"][0]

    @property
    def buckets(self) -> Float32[np.ndarray, " v"]:
        """log10(1 + norm) of each code of the first token."""
        return self.constants[_BUCKETS]

    @cached_property
    def quantizer(self) -> LFQ:
        """Latents to codes."""
        return LFQ(self.config.bits)

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        def latents(state: Any, values: Any) -> Any:
            return nnx.merge(graph, state).encode(values)

        def spectra(state: Any, codes: Any) -> Any:
            return nnx.merge(graph, state).decode(self.quantizer.decode(codes))

        return jax.jit(latents), jax.jit(spectra), state

    def latents(self, observation: Spectrum) -> Float32[np.ndarray, "b t d"]:
        """What is quantized: a bit is whether a number is positive."""
        return self._latents_and_norms(observation)[0]

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 273]; -1 where no pixel is valid.

        Raises:
            DataError: no inverse variance, no wavelengths, or some that do not
                increase.
        """
        observation = of_kind(observation, Spectrum)
        latent, norm = self._latents_and_norms(observation)
        shape = np.asarray(self.quantizer.encode(jnp.asarray(latent)))
        codes = np.concatenate([norm[:, None], shape], axis=1).astype(np.int32)
        if not self.official_quirks:
            codes[~self._present(observation)] = -1
        return codes

    def decode(self, codes: Any, wavelength: Any = None, **asked: Any) -> Spectrum:
        """Spectra of codes [b, 273]; NaN where a code is -1.

        Args:
            codes: with more axes in front of b, these are joined with it.
            wavelength: where flux is wanted, [l] or [b, l], increasing; None for the
                codec's grid.
            **asked: nothing else is used.
        """
        size = self.config.codebook_size
        plain = checked_codes(codes, 1 + self.config.tokens, size)
        absent = (plain < 0).any(-1)
        plain = np.where(plain < 0, 0, plain)
        _, decode, state = self._compiled
        values = in_batches(lambda c: decode(state, c), plain[:, 1:])
        values = np.moveaxis(values, -1, 1)
        grid = self.wavelength[None]
        rows = grid
        if wavelength is not None:
            length = np.shape(wavelength)[-1]
            rows = preprocessing.checked_wavelengths(wavelength, length)
            preprocessing.check_increasing(rows)
            values = preprocessing.resample(grid, values, rows)
        scale = _scale(self.buckets[plain[:, 0]])
        flux = (values[:, 0] + 1) * scale[:, None]
        valid = self._decoded_mask(values, rows, wavelength is None)
        flux[absent], valid[absent] = np.nan, False
        shared = rows[0] if len(rows) == 1 else rows
        return Spectrum(flux, None, valid, shared)

    def count(self, observation: Spectrum) -> Counts:
        """How many fluxes are absent, and how many objects' norms are clipped."""
        flux = np.asarray(observation.flux)
        mean = np.log10(self._mean(*self._cleaned(observation)[:2]) + 1)
        low = int((mean < self.buckets[0]).sum())
        high = int((mean > self.buckets[-1]).sum())
        return Counts(flux.size, int((~np.isfinite(flux)).sum()), low, high)

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """The norm and then the shape; all slots share the same numbers of codes."""
        size = self.config.codebook_size
        return TokenSpec(modality, name, size, size, (1 + self.config.tokens,))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays; the arrays have PyTorch's names and shapes."""
        config = to_plain(self.config)
        arrays = official_arrays(self.network) | dict(self.constants)
        return {"official": config, "official_quirks": self.official_quirks}, arrays

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        what = "spectrum codec"
        typed = settings(SpectrumConfig, config["official"], what)
        expected = typed.constants()
        for name in (_BITS, f"{_GRID}length"):
            check_constant(arrays, name, expected[name])
        constants = {n: np.asarray(arrays.get(n, np.nan)) for n in expected}
        for name, array in constants.items():
            if array.shape != expected[name].shape:
                raise ArtefactError(
                    f"{what}: {name} has shape {array.shape}, not "
                    f"{expected[name].shape}",
                    "Take config.json and model.safetensors from the same codec.",
                )
        network = nnx.eval_shape(lambda: typed.network(nnx.Rngs(0)))
        rest = {k: v for k, v in arrays.items() if k not in expected}
        fill(network, rest, what)
        return cls(
            typed, network, constants, bool(config.get("official_quirks", False))
        )

    def _present(self, observation: Spectrum) -> Bool[np.ndarray, " b"]:
        seen = _valid(observation) & ~np.isnan(np.asarray(observation.flux))
        return np.asarray(seen.any(-1))

    def _cleaned(self, observation: Spectrum) -> tuple[Any, Any, Any]:
        """Finite flux, mask (True = valid) and error weights sqrt(ivar)."""
        if observation.ivar is None:
            raise DataError(
                "spectrum without ivar", "AION-1's codec reads the inverse variance."
            )
        flux = _finite(observation.flux)
        if self.config.clip_flux is not None:
            flux = np.clip(flux, -self.config.clip_flux, self.config.clip_flux)
        ivar = np.maximum(_finite(observation.ivar), 0)
        if self.config.clip_ivar is not None:
            ivar = np.minimum(ivar, np.float32(self.config.clip_ivar))
        return flux, _valid(observation), np.sqrt(ivar)

    def _mean(self, flux: np.ndarray, valid: np.ndarray) -> Float32[np.ndarray, " b"]:
        total = (flux * valid).sum(-1, dtype=np.float32)
        return np.maximum(total / (valid.sum(-1).astype(np.float32) + 1), LEAST)

    def _norm_codes(self, flux: np.ndarray, valid: np.ndarray) -> np.ndarray:
        mean = np.log10(self._mean(flux, valid) + 1)
        return np.minimum(np.searchsorted(self.buckets, mean), len(self.buckets) - 1)

    def cleaned_and_scaled(self, observation: Spectrum) -> tuple[np.ndarray, ...]:
        """Finite flux, mask and sqrt(ivar) as the network sees them [b, l], and the
        norm of each spectrum that its token stands for [b]."""
        flux, valid, error = self._cleaned(observation)
        return flux, valid, error, _scale(self.buckets[self._norm_codes(flux, valid)])

    def _latents_and_norms(self, observation: Spectrum) -> tuple[Any, Any]:
        if observation.wavelength is None:
            raise DataError("spectrum without wavelength", "Give it in Angstrom.")
        with np.errstate(over="ignore", invalid="ignore"):
            flux, valid, error = self._cleaned(observation)
            norm = self._norm_codes(flux, valid)
            scale = _scale(self.buckets[norm])[:, None]
            small = np.float32(self.config.input_scaling)
            both = np.stack([(flux / scale - 1) * small, error / scale * small], 1)
            values = self._on_grid(observation.wavelength, both)
        encode, _, state = self._compiled
        flat = np.moveaxis(np.arcsinh(values), 1, -1)
        return in_batches(lambda x: encode(state, x), flat), norm

    def _on_grid(self, wavelength: Any, values: np.ndarray) -> np.ndarray:
        rows = preprocessing.checked_wavelengths(wavelength, values.shape[-1])
        grid, real = self.wavelength[None], preprocessing.real_pixels(rows)
        if real.all():
            preprocessing.check_increasing(rows)
            return preprocessing.resample(rows, values, grid)
        parts = []
        for b in range(len(values)):
            row, kept = rows[b % len(rows)], real[b % len(rows)]
            preprocessing.check_increasing(row[None, kept])
            part = values[b : b + 1, :, kept]
            parts.append(preprocessing.resample(row[None, kept], part, grid)[0])
        return np.stack(parts)

    def _decoded_mask(
        self, values: np.ndarray, rows: np.ndarray, on_grid: bool
    ) -> Bool[np.ndarray, "b l"]:
        """True = valid; a logit of a bad pixel above zero is one."""
        inside = (rows >= self.wavelength[0]) & (rows <= self.wavelength[-1])
        inside = np.broadcast_to(inside, (len(values), values.shape[-1]))
        if values.shape[1] == 2:
            valid = values[:, 1] <= 0
            return valid if self.official_quirks else valid & inside
        return ~inside if self.official_quirks and not on_grid else inside.copy()


def _scale(norm: Float32[np.ndarray, " b"]) -> Float32[np.ndarray, " b"]:
    """The flux that a quantized log10(1 + norm) stands for, at least 0.1."""
    return np.maximum(np.power(np.float32(10), norm) - np.float32(1), LEAST)


def _finite(values: Any) -> Float32[np.ndarray, "b l"]:
    plain = np.asarray(values, np.float32)
    return np.nan_to_num(plain, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _valid(observation: Spectrum) -> Bool[np.ndarray, "b l"]:
    if observation.mask is None:
        return np.ones(np.shape(observation.flux), bool)
    return np.asarray(observation.mask, bool)
