# SPDX-License-Identifier: MIT
"""The codec of vectors of numbers, such as the 55 coefficients of Gaia XP spectra."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Coefficients, Observation
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.bins import Bins, Counts, bins_from_state, plain_values
from aion_tokenizers.fitters import ChannelsFitter


@dataclass(frozen=True, eq=False)
class Channels:
    """A vector of numbers, each with equal-mass bins of its own; one token per number.

    Attributes:
        channels: the bins of each number.
    """

    word: ClassVar[str] = "channels"
    channels: tuple[Bins, ...]

    @classmethod
    def fitter(cls, **config: Any) -> "ChannelsFitter[Self]":
        """Takes `bins=1024, compression="none", scale=1.0, capacity=2**15`."""
        return ChannelsFitter(cls, **config)

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, n] of `Coefficients.values` [b, n]; -1 where absent.

        Raises:
            DataError: another number of channels.
        """
        values = self._columns(observation)
        codes = [bins.index(v) for bins, v in zip(self.channels, values, strict=True)]
        return np.stack(codes, axis=-1).astype(np.int32)

    def decode(self, codes: Any, **asked: Any) -> Coefficients:
        """Representative values [..., n] of codes [..., n]; NaN for -1."""
        columns = np.moveaxis(np.asarray(codes), -1, 0)
        values = [b.values(c) for b, c in zip(self.channels, columns, strict=True)]
        return Coefficients(np.stack(values, axis=-1))

    def count(self, observation: Observation) -> Counts:
        """How many numbers are absent or clipped, over all channels."""
        values = self._columns(observation)
        counts = [b.count(v) for b, v in zip(self.channels, values, strict=True)]
        return sum(counts, Counts())

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token per channel; codes mean the same rank in each."""
        sizes = [len(bins) for bins in self.channels]
        widest = self.channels[int(np.argmax(sizes))]
        place = (np.arange(len(sizes)) + 0.5) / len(sizes)
        line = (np.sqrt(3) * (2 * place - 1)).astype(np.float32)[:, None]
        return TokenSpec(
            modality,
            name,
            num_codes=max(sizes),
            vocabulary=max(sizes),
            grid=(len(sizes),),
            ranges=tuple((0, size) for size in sizes),
            code_features=_rank_features(widest),
            slot_features=np.concatenate([line, features.fourier(place, 6)], axis=1),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`; the channels' arrays stand in a row."""
        sizes = [len(bins) for bins in self.channels]
        parts = [bins.arrays() for bins in self.channels]
        arrays = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
        return self.channels[0].config() | {"sizes": sizes}, arrays

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: sizes that are no positive integers or do not fit the arrays.
        """
        sizes = config.get("sizes")
        if not isinstance(sizes, list) or not all(
            isinstance(n, int) and n > 0 for n in sizes
        ):
            raise ArtefactError(f"codec with sizes {sizes!r}", "Fit the codec again.")
        stops = np.cumsum([0, *sizes])
        expected = {"edges": stops[-1] + len(sizes), "centres": stops[-1]}
        for key, length in (expected | {"mass": stops[-1]}).items():
            if key not in arrays or arrays[key].shape != (length,):
                raise ArtefactError(
                    f"codec of {len(sizes)} channels has no {key} [{length}]",
                    "Fit the codec again.",
                )
        channels = []
        for k, (a, b) in enumerate(itertools.pairwise(stops)):
            rows = {key: arrays[key][a:b] for key in set(arrays) - {"edges"}}
            rows["edges"] = arrays["edges"][a + k : b + k + 1]
            channels.append(bins_from_state(config, rows))
        return cls(tuple(channels))

    def _columns(self, observation: Observation) -> np.ndarray:
        values = plain_values(observation.values)  # pyright: ignore
        if values.ndim != 2 or values.shape[1] != len(self.channels):
            raise DataError(
                f"coefficients have shape {values.shape}",
                f"Give [batch, {len(self.channels)}].",
            )
        return values.T


def _rank_features(bins: Bins) -> np.ndarray:
    """Features of the rank alone: one table of codes serves channels of any scale."""
    rank = np.cumsum(bins.mass) - bins.mass / 2
    return features.ordered(2 * rank - 1, rank)
