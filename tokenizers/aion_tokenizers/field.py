# SPDX-License-Identifier: MIT
"""Our field codec: maps of a few values, such as segmentation maps, in patches."""

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
from aion.errors import ArtefactError, ConfigError, DataError
from aion.modality import Modality
from aion.observation import Field, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.batches import checked_codes, in_batches
from aion_tokenizers.bins import Counts
from aion_tokenizers.field_network import FieldAutoencoder, FieldSizes
from aion_tokenizers.network_state import filled_network, network_arrays
from aion_tokenizers.quantizers import FSQ

LEAST = 8
"""Pixels along the shorter side of the smallest map."""


def read_field(
    observation: Observation, classes: int
) -> tuple[Int32[np.ndarray, "b y x"], Bool[np.ndarray, "b y x"]]:
    """The class of each pixel, the nearest one, and which pixels are valid.

    Raises:
        DataError: no field, another shape, a side below 8 pixels, or a mask of another
            shape.
    """
    if not isinstance(observation, Field):
        raise DataError(
            f"a field codec cannot encode {type(observation).__name__}",
            "Give an aion.Field.",
        )
    masked = np.ma.asarray(observation.values)
    values = np.ma.filled(masked.astype(np.float64), np.nan)
    if values.ndim != 3 or min(values.shape[1:]) < LEAST:
        raise DataError(
            f"field values have shape {values.shape}",
            f"Give [batch, y, x] with {LEAST} pixels or more along each side.",
        )
    valid = np.isfinite(values)
    if observation.mask is not None:
        mask = np.asarray(observation.mask, bool)
        if mask.shape != values.shape:
            raise DataError(
                f"field mask has shape {mask.shape} and values {values.shape}",
                "Give one mask value per pixel.",
            )
        valid = valid & mask
    scaled = np.rint(np.where(valid, values, 0.0) * (classes - 1))
    return np.clip(scaled, 0, classes - 1).astype(np.int32), valid


def class_shares(
    found: Int32[np.ndarray, "b y x"],
    valid: Bool[np.ndarray, "b y x"],
    sizes: FieldSizes,
) -> Float32[np.ndarray, "b k yp xp"]:
    """What the network sees: one-hot classes, 0 where not valid, whole patches."""
    shares = found[:, None] == np.arange(sizes.classes)[:, None, None]
    shares = (shares & valid[:, None]).astype(np.float32)
    more = [(0, -side % sizes.patch) for side in found.shape[1:]]
    return np.pad(shares, ((0, 0), (0, 0), *more))


@dataclass(frozen=True, eq=False)
class FieldCodec:
    """Maps in rows x columns codes, in raster order.

    Values are rounded to the nearest of `classes` even steps from 0 to 1: the Legacy
    Surveys' map is the type code over 6, see `surveys.legacy`. Pixels that are not
    finite or masked have no influence; a map without any other pixel is absent. Sides
    that are no multiples of the patch get such pixels below and to the right, which
    decoding cuts off again.

    Attributes:
        sizes: of the network.
        network: trained.
        size: side of the maps of a modality, for `spec`.
    """

    word: ClassVar[str] = "field"
    sizes: FieldSizes
    network: FieldAutoencoder
    size: int = 96

    @classmethod
    def task(cls, settings: Mapping[str, Any]) -> Any:
        """The training task; see `field_task.FieldTask` for the settings."""
        from aion_tokenizers.field_task import FieldTask

        return to_dataclass(FieldTask, settings, "codec")

    @cached_property
    def quantizer(self) -> FSQ:
        """Latents to codes."""
        return self.sizes.make_quantizer()

    @cached_property
    def _compiled(self) -> tuple[Any, Any, Any]:
        graph, state = nnx.split(self.network)

        def to_codes(state: Any, shares: Any) -> Any:
            return self.quantizer.encode(nnx.merge(graph, state).encode(shares))

        def to_classes(state: Any, codes: Any) -> Any:
            values = self.quantizer.decode(codes)
            return jnp.argmax(nnx.merge(graph, state).decode(values), axis=1)

        return jax.jit(to_codes), jax.jit(to_classes), state

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """Patches along y and x of a map of that many pixels."""
        patch = self.sizes.patch
        return -(-rows // patch), -(-columns // patch)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, rows x columns]; -1 for a map without a valid pixel.

        Raises:
            DataError: no field, or one of another shape.
        """
        found, valid = read_field(observation, self.sizes.classes)
        rows, columns = self.grid(*found.shape[1:])
        if not len(found):
            return np.zeros((0, rows * columns), np.int32)
        encode, _, state = self._compiled
        shares = class_shares(found, valid, self.sizes)
        codes = in_batches(lambda s: encode(state, s), shares)
        codes = codes.reshape(len(found), -1)
        return np.where(np.any(valid, axis=(1, 2))[:, None], codes, -1).astype(np.int32)

    def decode(
        self, codes: Any, size: int | tuple[int, int] | None = None, **asked: Any
    ) -> Field:
        """Maps [b, y, x] of codes [b, t]; NaN where one of them is -1.

        Args:
            codes: with more axes in front of b, these are joined with it.
            size: side or sides in pixels; a square of whole patches by default.
            **asked: nothing else is used.

        Raises:
            DataError: codes of another codec, or a size that the tokens do not fit.
        """
        plain = checked_codes(codes, None, self.quantizer.num_codes)
        sides = self._sides(plain.shape[1], size)
        if not len(plain):
            return Field(np.zeros((0, *sides), np.float32))
        _, decode, state = self._compiled
        safe = np.maximum(plain, 0).reshape(len(plain), *self.grid(*sides))
        found = in_batches(lambda c: decode(state, c), safe)
        values = found[:, : sides[0], : sides[1]].astype(np.float32)
        values /= np.float32(self.sizes.classes - 1)
        values[(plain < 0).any(axis=1)] = np.nan
        return Field(values)

    def _sides(self, patches: int, size: Any) -> tuple[int, int]:
        if size is None:
            side = round(patches**0.5) * self.sizes.patch
            sides = (side, side)
        else:
            sides = (size, size) if isinstance(size, int) else tuple(size)
        rows, columns = self.grid(*sides)
        if patches < 1 or rows * columns != patches:
            raise DataError(
                f"{patches} tokens are no map of {sides[0]} x {sides[1]} pixels",
                f"That has {rows * columns}; give size=(rows, columns).",
            )
        return sides

    def count(self, observation: Observation) -> Counts:
        """How many pixels are absent, and how many lie below 0 or above 1."""
        valid = read_field(observation, self.sizes.classes)[1]
        values = np.where(valid, np.ma.getdata(observation.values), 0.5)  # pyright: ignore
        low, high = int((values < 0).sum()), int((values > 1).sum())
        return Counts(valid.size, int((~valid).sum()), low, high)

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """A square of patches, with what codes and places mean."""
        rows, columns = self.grid(self.size, self.size)
        total = self.quantizer.num_codes
        digits = self.quantizer.features()
        ones = np.ones((total, 1), np.float32)
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) / rows,
            (np.arange(columns) + 0.5) / columns,
            indexing="ij",
        )
        lines = [(2 * place.ravel()[:, None] - 1) for place in (y, x)]
        waves = [features.fourier(place.ravel(), 5) for place in (y, x)]
        return TokenSpec(
            modality,
            name,
            num_codes=total,
            vocabulary=total,
            grid=(rows * columns,),
            code_features=np.concatenate([ones, digits, digits**2], axis=1),
            slot_features=np.concatenate([*lines, *waves], axis=1).astype(np.float32),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        config = {"network": to_plain(self.sizes), "size": self.size}
        return config, network_arrays(self.network)

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: settings or arrays that are not this codec's.
        """
        try:
            sizes = to_dataclass(FieldSizes, config["network"], "network")
            size = int(config["size"])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ArtefactError(
                f"field codec with {dict(config)}: {error}", "Export it again."
            ) from None
        return cls(sizes, filled_network(sizes, arrays, "field codec"), size)
