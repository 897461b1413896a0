# SPDX-License-Identifier: MIT
"""AION-1's image codec: nine bands, 96 x 96 pixels, one token per patch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32

from aion.config import to_dataclass, to_plain
from aion.errors import ArtefactError, DataError
from aion.instrument import Band, find_band
from aion.modality import Modality
from aion.observation import Image, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import preprocessing
from aion_tokenizers.band_table import BandTable
from aion_tokenizers.batches import checked_codes, in_batches, of_kind
from aion_tokenizers.bins import Counts
from aion_tokenizers.magvit import ImageNetwork, MagVit
from aion_tokenizers.official import check_constant, fill, official_arrays, settings
from aion_tokenizers.quantizers import FSQ

CROP = 96
BROKEN = np.iinfo(np.int32).min  # what AION-1 gives for an image with a NaN

LIMITS: Mapping[str, float] = {
    "HSC-G": 80,
    "HSC-R": 110,
    "HSC-I": 200,
    "HSC-Z": 330,
    "HSC-Y": 500,
    "DES-G": 6,
    "DES-R": 15,
    "DES-I": 20,
    "DES-Z": 25,
}
"""The bands in the order of the table; |flux| in the files' unit is clipped there."""


@dataclass(frozen=True)
class ImageConfig:
    """Constructor arguments of AION-1's `ImageCodec`; defaults are the release's."""

    quantizer_levels: tuple[int, ...] = (7, 5, 5, 5, 5)
    hidden_dims: int = 512
    multisurvey_projection_dims: int = 54
    n_compressions: int = 2
    num_consecutive: int = 4
    embedding_dim: int = 5
    range_compression_factor: float = 0.01
    mult_factor: float = 10.0

    def __post_init__(self) -> None:
        fits = self.embedding_dim == len(self.quantizer_levels)
        if not fits or CROP % 2**self.n_compressions:
            raise ArtefactError(
                f"image codec with embedding_dim {self.embedding_dim}, quantizer_levels"
                f" {self.quantizer_levels}, n_compressions {self.n_compressions}",
                f"One level per dimension; {CROP} pixels are halved n_compressions "
                "times.",
            )

    def network(self, rngs: nnx.Rngs) -> ImageNetwork:
        """A freshly initialised network."""
        channels, width = self.multisurvey_projection_dims, self.hidden_dims
        return ImageNetwork(
            BandTable(len(LIMITS), channels, rngs),
            MagVit(channels, width, self.n_compressions, self.num_consecutive, rngs),
            width,
            self.embedding_dim,
            rngs,
        )


@dataclass(frozen=True, eq=False)
class OfficialImage:
    """AION-1's image codec.

    A band whose pixels are all NaN or masked counts as not there, and an object without
    any band is absent. Single NaN pixels count as zero flux. Masked pixels and `ivar`
    are not looked at, as AION-1's weights expect.

    With `official_quirks` it does as the PyTorch package does: a NaN spoils all tokens
    of its image, empty bands count as black ones, images of less than 96 pixels are
    cropped to a corner, the scale of all bands is that of the first one's survey, and
    HSC images are not decoded. It never changes its input.
    """

    word: ClassVar[str] = "official_image"
    config: ImageConfig
    network: ImageNetwork
    official_quirks: bool = False

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> Any:
        """The training task; see `official_image_task` for the settings."""
        from aion_tokenizers.official_image_task import OfficialImageTask

        return to_dataclass(OfficialImageTask, settings, "codec")

    @cached_property
    def quantizer(self) -> FSQ:
        """Latents to codes."""
        return FSQ(self.config.quantizer_levels)

    @property
    def side(self) -> int:
        """Tokens along each axis."""
        return CROP // 2**self.config.n_compressions

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        every = jnp.arange(len(LIMITS))

        def latents(state: Any, flux: Any, present: Any) -> Any:
            return nnx.merge(graph, state).encode(flux, present, every)

        def fluxes(state: Any, codes: Any) -> Any:
            latent = self.quantizer.decode(codes)
            return nnx.merge(graph, state).decode(latent, every)

        return jax.jit(latents), jax.jit(fluxes), state

    def latents(self, observation: Image) -> Float32[np.ndarray, "b y x d"]:
        """What is quantized, for any image with at least one band that is there."""
        flux, present = self._prepared(observation)
        encode, _, state = self._compiled
        return in_batches(lambda f, p: encode(state, f, p), flux, present)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, 576] in raster order; -1 where an object has no band.

        Raises:
            DataError: a band that is not in the table, or too few pixels.
        """
        observation = of_kind(observation, Image)
        latent = self.latents(observation)
        codes = np.array(self.quantizer.encode(jnp.asarray(latent)))
        codes = codes.reshape(len(latent), -1)
        if self.official_quirks:
            codes[np.isnan(latent).reshape(len(latent), -1).any(-1)] = BROKEN
        else:
            codes[~self._present(observation).any(-1)] = -1
        return codes

    def decode(
        self, codes: Any, bands: Sequence[str | Band] | None = None, **asked: Any
    ) -> Image:
        """Images [b, c, 96, 96] of codes [b, 576]; NaN where a code is -1.

        Args:
            codes: with more axes in front of b, these are joined with it.
            bands: names or bands, in any order; None for all nine of the table. Flux is
                in the unit of the band's survey files.
            **asked: nothing else is used.

        Raises:
            DataError: a band that is not in the table, or codes that do not fit.
        """
        chosen = tuple(
            b if isinstance(b, Band) else find_band(b) for b in bands or LIMITS
        )
        places = band_places(chosen)
        plain = checked_codes(codes, self.side**2, self.quantizer.num_codes)
        absent = (plain < 0).any(-1)
        grid = np.where(plain < 0, 0, plain).reshape(-1, self.side, self.side)
        _, decode, state = self._compiled
        values = in_batches(lambda c: decode(state, c), grid)[..., places]
        factor, gain = self.config.range_compression_factor, self.config.mult_factor
        flux = preprocessing.decompress(values, factor, gain) * self._scales(chosen)
        if self.official_quirks and chosen[0].name.startswith("HSC"):
            raise DataError(
                "AION-1's package does not decode images whose first band is of HSC",
                "Load the codec without official_quirks.",
            )
        flux[absent] = np.nan
        return Image(np.moveaxis(flux, -1, 1), bands=chosen)

    def count(self, observation: Image) -> Counts:
        """How many pixels are NaN, and how many are clipped at each end."""
        flux = self._cropped(observation)
        limit = self._limits(observation.bands)
        return Counts(
            flux.size,
            int(np.isnan(flux).sum()),
            int((flux < -limit).sum()),
            int((flux > limit).sum()),
        )

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token per patch."""
        codes = self.quantizer.num_codes
        return TokenSpec(modality, name, codes, codes, (self.side, self.side))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays; the arrays have PyTorch's names and shapes."""
        config = to_plain(self.config)
        arrays = official_arrays(self.network)
        arrays["_quantizer.levels"] = np.array(self.config.quantizer_levels, np.int32)
        return {"official": config, "official_quirks": self.official_quirks}, arrays

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: config and arrays that do not fit each other.
        """
        what = "image codec"
        typed = settings(ImageConfig, config["official"], what)
        rest = dict(arrays)
        check_constant(rest, "_quantizer.levels", list(typed.quantizer_levels))
        del rest["_quantizer.levels"]
        network = nnx.eval_shape(lambda: typed.network(nnx.Rngs(0)))
        fill(network, rest, what)
        return cls(typed, network, bool(config.get("official_quirks", False)))

    def _cropped(self, observation: Image) -> np.ndarray:
        flux = np.asarray(observation.flux, np.float32)
        return preprocessing.centre_crop(
            flux, CROP, official_quirks=self.official_quirks
        )

    def _limits(self, bands: tuple[Band, ...]) -> Float32[np.ndarray, "c 1 1"]:
        band_places(bands)
        limits = np.array([LIMITS[b.name] for b in bands], np.float32)
        return limits[:, None, None]

    def _scales(self, bands: tuple[Band, ...]) -> Float32[np.ndarray, " c"]:
        """Units of each band's files per nanomaggy."""
        read = bands[:1] * len(bands) if self.official_quirks else bands
        return np.array([_unit(b.name) for b in read], np.float32)

    def _present(self, observation: Image) -> np.ndarray:
        seen = ~np.isnan(self._cropped(observation))
        if observation.mask is not None:
            seen &= self._cropped(Image(observation.mask)).astype(bool)
        return np.asarray(seen.any((-1, -2)))

    def _prepared(self, observation: Image) -> tuple[np.ndarray, np.ndarray]:
        """Compressed flux [b, y, x, 9] and which bands are there [b, 9].

        All nine, so that one compiled program serves any bands in any order.
        """
        bands = observation.bands
        limit, scale = self._limits(bands), self._scales(bands)
        flux = np.clip(self._cropped(observation), -limit, limit)
        present = np.ones(flux.shape[:2], bool)
        if not self.official_quirks:
            flux = np.where(np.isnan(flux), np.float32(0), flux)
            present = self._present(observation)
        factor, gain = self.config.range_compression_factor, self.config.mult_factor
        small = preprocessing.compress(flux / scale[:, None, None], factor, gain)
        places = band_places(bands)
        every = np.zeros((len(small), *small.shape[2:], len(LIMITS)), np.float32)
        every[..., places] = np.moveaxis(small, 1, -1)
        shown = np.zeros((len(small), len(LIMITS)), bool)
        shown[:, places] = present
        return every, shown


def band_places(bands: Sequence[Band]) -> Int32[np.ndarray, " c"]:
    """Places of bands in the table."""
    names = list(LIMITS)
    unknown = [b.name for b in bands if b.name not in names]
    if unknown or not bands or len({b.name for b in bands}) < len(bands):
        text = f"band {unknown[0]}" if unknown else "no bands, or one of them twice"
        raise DataError(
            f"image with {text}", f"AION-1's codec knows {', '.join(names)}."
        )
    return np.array([names.index(b.name) for b in bands], np.int32)


def _unit(band: str) -> np.float32:
    """Units of a band's files per nanomaggy."""
    hsc = np.float32(10 ** ((27.0 - 22.5) / 2.5))
    return hsc if band.startswith("HSC") else np.float32(1)


def limits_in_nanomaggies() -> Float32[np.ndarray, "c 1 1"]:
    """`LIMITS` of all nine bands in nanomaggies."""
    limits = [limit / _unit(name) for name, limit in LIMITS.items()]
    return np.array(limits, np.float32)[:, None, None]
