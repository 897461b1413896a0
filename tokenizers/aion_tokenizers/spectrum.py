# SPDX-License-Identifier: MIT
"""Our spectrum codec: any spectrograph in, any wavelengths out.

Tokens of a spectrum: one for its norm, then one for each piece of a fixed grid in
ln(wavelength), from blue to red. Codes of pieces come first, codes of norms behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32

from aion.config import to_dataclass
from aion.errors import ArtefactError, ConfigError, DataError
from aion.modality import Modality
from aion.observation import Observation, Spectrum
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.batches import cached, checked_codes, in_batches
from aion_tokenizers.bins import Counts
from aion_tokenizers.network_state import filled_network, network_arrays
from aion_tokenizers.quantization import Quantizer, plain_sizes
from aion_tokenizers.refinement import Cells, refined_spectrum
from aion_tokenizers.spectrum_grid import (
    checked_rows,
    from_grid,
    onto_grid,
    pixel_intervals,
    rebinned,
    sampled,
)
from aion_tokenizers.spectrum_network import SpectrumAutoencoder, SpectrumSizes
from aion_tokenizers.spectrum_pixels import (
    LARGEST,
    cell_channels,
    norm_values,
    read_spectrum,
    told_power,
)


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Flux and chance of data [b, l] at wavelengths [1 or b, l], which of the pixels
    are on the grid [b, l], and which spectra are absent [b]."""

    flux: np.ndarray
    chance: np.ndarray
    rows: np.ndarray
    inside: np.ndarray
    absent: np.ndarray


@dataclass(frozen=True, eq=False)
class SpectrumCodec:
    """Spectra in 1 + tokens codes.

    A pixel without influence: not finite, masked, without positive ivar, in padding
    (wavelengths that are no positive numbers), or beyond the grid. A spectrum without
    any other pixel is absent. The norm is a quantile, so bad pixels hardly change it;
    while its code stays, a pixel changes only tokens within `SpectrumSizes.reach`.

    Attributes:
        sizes: of network and grid.
        network: trained.
    """

    word: ClassVar[str] = "spectrum"
    sizes: SpectrumSizes
    network: SpectrumAutoencoder

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> Any:
        """The training task; see `spectrum_task.SpectrumTask` for the settings."""
        from aion_tokenizers.spectrum_task import SpectrumTask

        return to_dataclass(SpectrumTask, settings, "codec")

    def with_refinement(self, steps: int, passes: int = 0) -> "SpectrumCodec":
        """The codec with another number of steps of `refinement`, in `encode`.

        Codes decode as before. With 0, encoding is much faster, and less exact.

        Args:
            steps: of descent.
            passes: of the search among neighbouring codes, see `code_search`.
        """
        return replace(self, sizes=replace(self.sizes, refine=steps, search=passes))

    @property
    def quantizer(self) -> Quantizer:
        """Latents to codes."""
        return self.network.quantizer

    @property
    def shape_codes(self) -> int:
        """Codes of pieces of spectra; those of norms come behind them."""
        return self.quantizer.num_codes

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        def to_codes(state: Any, mean: Any, ivar: Any, told: Any) -> Any:
            network = nnx.merge(graph, state)
            latent = network.encode(cell_channels(mean, ivar), told)
            cells = Cells(mean, ivar, told)
            steps, passes = self.sizes.refine, self.sizes.search
            latent = refined_spectrum(network, latent, cells, steps, passes)
            return network.quantizer.encode(latent)

        def to_cells(state: Any, codes: Any, told: Any) -> Any:
            network = nnx.merge(graph, state)
            both = network.decode(network.quantizer.decode(codes), told)
            flux = jnp.sinh(jnp.clip(both[:, 0], -LARGEST, LARGEST))
            return jnp.stack([flux, jax.nn.sigmoid(both[:, 1])], axis=1)

        return jax.jit(to_codes), jax.jit(to_cells), state

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 1 + tokens]; -1 for a spectrum without a valid pixel.

        Raises:
            DataError: no spectrum, negative ivar, wavelengths that are missing, of
                another shape or not increasing.
        """
        seen = read_spectrum(observation, self.sizes)
        if not len(seen.flux):
            return np.zeros((0, 1 + self.sizes.tokens), np.int32)
        taps = onto_grid(seen.pixels, self.sizes.grid)
        cells = rebinned(seen.flux, seen.ivar, taps.index, taps.weight)
        encode, _, state = self._compiled
        shape = in_batches(
            lambda *parts: encode(state, *parts),
            *cells,
            seen.told,
            largest=cached(),
        )
        codes = np.concatenate([self.shape_codes + seen.code[:, None], shape], axis=1)
        return np.where(seen.present[:, None], codes, -1).astype(np.int32)

    def decode(
        self, codes: Any, wavelength: Any = None, resolution: Any = None, **asked: Any
    ) -> Spectrum:
        """Noiseless spectra of codes [b, 1 + tokens]; NaN where one of them is -1.

        Args:
            codes: with more axes in front of b, these are joined with it.
            wavelength: middles of the pixels that are wanted, [l] or [b, l], Angstrom,
                increasing; the codec's grid by default.
            resolution: resolving power that is wanted, a number, [l] or [b, l]; that of
                a typical spectrograph by default.
            **asked: nothing else is used.

        Returns:
            Flux averaged over each pixel, and as mask where the spectrograph probably
            had data. NaN and not valid beyond the grid. No ivar.

        Raises:
            DataError: codes of another codec, or unusable wavelengths.
        """
        found = self._decoded(codes, wavelength, resolution)
        valid = found.inside & (found.chance > 0.5)
        flux = np.where(found.inside, found.flux, np.float32(np.nan))
        flux[found.absent], valid[found.absent] = np.nan, False
        rows = found.rows
        shared = rows[0] if len(rows) == 1 else rows
        return Spectrum(flux, None, valid, shared, resolution)

    def chance_of_data(
        self, codes: Any, wavelength: Any = None, resolution: Any = None
    ) -> Float32[np.ndarray, "b l"]:
        """Probability that a pixel was valid; 0 beyond the grid, NaN where absent.

        Args:
            codes, wavelength, resolution: as for `decode`.
        """
        found = self._decoded(codes, wavelength, resolution)
        chance = np.where(found.inside, found.chance, np.float32(0))
        chance[found.absent] = np.nan
        return chance

    def _decoded(self, codes: Any, wavelength: Any, resolution: Any) -> "_Decoded":
        grid, shape_codes = self.sizes.grid, self.shape_codes
        total = shape_codes + self.sizes.norms
        plain = checked_codes(codes, 1 + self.sizes.tokens, total)
        absent = np.any(plain < 0, axis=1)
        norms, shape = plain[:, 0] - shape_codes, plain[:, 1:]
        wrong = (norms < 0) | np.any(shape >= shape_codes, axis=1)
        if np.any(wrong & ~absent):
            raise DataError(
                f"codes of norms from {shape_codes} on belong to the first token and "
                "to no other",
                "Draw each slot from its own range of codes.",
            )
        line = grid.wavelength if wavelength is None else wavelength
        count, length = len(plain), np.shape(line)[-1]
        rows = checked_rows(line, length, count)
        pixels = pixel_intervals(rows, grid)
        if not pixels.real.all():
            raise DataError(
                "asked for wavelengths that are no positive numbers",
                "Leave padding out, and mask the result instead.",
            )
        told = told_power(resolution, rows, count, self.sizes)
        inside = np.broadcast_to(
            (rows >= grid.low) & (rows <= grid.high), (count, length)
        )
        if not count:
            empty = np.zeros((0, length), np.float32)
            return _Decoded(empty, empty, rows, inside, absent)
        _, decode, state = self._compiled
        safe = np.clip(shape, 0, shape_codes - 1)
        cells = in_batches(lambda c, t: decode(state, c, t), safe, told)
        taps = from_grid(pixels, grid)
        flux, chance = (sampled(cells[:, n], taps.index, taps.weight) for n in (0, 1))
        scale = norm_values(np.maximum(norms, 0), self.sizes).astype(np.float32)
        return _Decoded(flux * scale[:, None], chance, rows, inside, absent)

    def count(self, observation: Observation) -> Counts:
        """How many spectra are absent, and how many norms are clipped at each end."""
        seen = read_spectrum(observation, self.sizes)
        low, high = (10**end for end in self.sizes.norm_range)
        return Counts(
            len(seen.flux),
            int((~seen.present).sum()),
            int((seen.present & (seen.norm < low)).sum()),
            int((seen.present & (seen.norm > high)).sum()),
        )

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """A norm and a row of pieces, with what codes and places mean."""
        pieces, tokens = self.shape_codes, self.sizes.tokens
        total = pieces + self.sizes.norms
        return TokenSpec(
            modality,
            name,
            num_codes=total,
            vocabulary=total,
            grid=(1 + tokens,),
            ranges=((pieces, total), *(((0, pieces),) * tokens)),
            code_features=features.shape_and_scale(
                self.quantizer.features(), self.sizes.norms
            ),
            slot_features=self._slot_features(),
        )

    def _slot_features(self) -> Float32[np.ndarray, "t q"]:
        """Which slot is the norm's, and ln(wavelength) of the others."""
        grid, tokens = self.sizes.grid, self.sizes.tokens
        place = (np.arange(tokens) + 0.5) / tokens
        line = np.log(grid.low / 6000.0) + place * np.log(grid.high / grid.low)
        waves = features.fourier(place, 9)
        table = np.zeros((1 + tokens, 3 + waves.shape[1]), np.float32)
        table[0, 0] = 1
        table[1:, 1] = 1
        table[1:, 2] = 3 * line
        table[1:, 3:] = waves
        return table

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        return {"network": plain_sizes(self.sizes)}, network_arrays(self.network)

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: settings or arrays that are not this codec's.
        """
        try:
            sizes = to_dataclass(SpectrumSizes, config["network"], "network")
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ArtefactError(
                f"spectrum codec with {dict(config)}: {error}", "Export it again."
            ) from None
        return cls(sizes, filled_network(sizes, arrays, "spectrum codec"))
