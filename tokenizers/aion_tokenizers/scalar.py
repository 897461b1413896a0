# SPDX-License-Identifier: MIT
"""Codecs of numbers, labels and vectors of numbers; fitted in one pass, not trained.

Each class has `fitter(**config)`, which takes observations one after another
(`update`) and gives the codec (`finish`). A missing value is never a code: it encodes
to -1 and -1 decodes to NaN (or ""). Values beyond the edges are clipped to the end
bins; `count` says how many.

The codecs of one number also give the support of a posterior: `bin_edges` and
`bin_centres` in the unit of the observation, and the way between values, bins and
codes. Probability over bin width is a density in physical units.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float64, Int, Int32

from aion.errors import ArtefactError, DataError
from aion.modality import Modality
from aion.observation import Observation, Scalar
from aion.tokenspace import TokenSpec
from aion_tokenizers import features
from aion_tokenizers.bins import Bins, Counts, bins_from_state
from aion_tokenizers.categories import Categories
from aion_tokenizers.channels import Channels
from aion_tokenizers.fitters import EqualMassFitter, EqualWidthFitter, positive_count

__all__ = ["Categories", "Channels", "CoarseFine", "Empirical", "Linear"]


@dataclass(frozen=True, eq=False)
class _Numbers:
    """What the codecs of one number per object share; codes are made by subclasses."""

    bins: Bins

    def encode(self, observation: Observation) -> Int32[np.ndarray, "b t"]:
        """Codes [b, t] of `Scalar.values` [b]; -1 where absent."""
        return self.codes_of_bin(self.bin_of(observation.values)).astype(np.int32)  # pyright: ignore

    def decode(self, codes: Any, **asked: Any) -> Scalar:
        """Representative values [...] of codes [..., t]; NaN where a code is -1."""
        return Scalar(self.bins.values(self.bin_of_codes(np.asarray(codes))))

    def count(self, observation: Observation) -> Counts:
        """How many values are absent, and how many are clipped at each end."""
        return self.bins.count(observation.values)  # pyright: ignore

    def bin_edges(self) -> Float64[np.ndarray, " edges"]:
        """Increasing finite edges of the n bins in the unit of the values, [n + 1]."""
        return self.bins.edges

    def bin_centres(self) -> Float64[np.ndarray, " n"]:
        """Representative value of each bin, [n]: what `decode` gives."""
        return self.bins.centres

    def bin_of(self, values: Any) -> Int[np.ndarray, "..."]:
        """Bin of each value; -1 where it is absent."""
        return self.bins.index(values)

    def codes_of_bin(self, index: Any) -> Int[np.ndarray, "... t"]:
        """Codes [..., 1] of bins [...]; -1 stays -1."""
        return np.asarray(index)[..., None]

    def bin_of_codes(self, codes: Any) -> Int[np.ndarray, "..."]:
        """Bins [...] of codes [..., 1]; -1 stays -1."""
        return np.asarray(codes)[..., 0]

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """One token; as many codes as bins."""
        return TokenSpec(
            modality,
            name,
            num_codes=len(self.bins),
            vocabulary=len(self.bins),
            code_features=self.bins.features(),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        return self.bins.config(), self.bins.arrays()

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: keys, types or values that are not a codec's.
        """
        return cls(bins_from_state(config, arrays))


@dataclass(frozen=True, eq=False)
class Empirical(_Numbers):
    """Bins that hold equally many of the data they were fitted on."""

    word: ClassVar[str] = "empirical"

    @classmethod
    def fitter(cls, **config: Any) -> "EqualMassFitter[Self]":
        """Takes `bins=1024, compression="none", scale=1.0, capacity=2**17`."""
        return EqualMassFitter(cls, **config)


@dataclass(frozen=True, eq=False)
class Linear(_Numbers):
    """Bins of equal width in a compressed coordinate."""

    word: ClassVar[str] = "linear"

    @classmethod
    def fitter(cls, **config: Any) -> "EqualWidthFitter[Self]":
        """Takes `bins=1024, low=None, high=None, compression="none", scale=1.0`.

        Without `low` and `high` the range is that of the data.
        """
        return EqualWidthFitter(cls, **config)


@dataclass(frozen=True, eq=False)
class CoarseFine(_Numbers):
    """One number as two tokens: which coarse bin, and where inside it.

    Bins are of equal width in the compressed coordinate, by default log(1 + z) over
    -0.01 to 7: a little below zero, so that the velocities of stars are not clipped.
    256 x 64 bins are 1.3e-4 wide in log(1 + z).

    Attributes:
        bins: all coarse x fine bins; bin = coarse code x fine + fine place.
        fine: fine bins per coarse bin.

    Codes of the coarse slot are 0 to coarse - 1, of the fine slot coarse to
    coarse + fine - 1.
    """

    word: ClassVar[str] = "coarse_fine"
    fine: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.fine <= len(self.bins) or len(self.bins) % self.fine:
            raise ArtefactError(
                f"{len(self.bins)} bins are not coarse bins of {self.fine} each",
                "Give a multiple of the fine bins.",
            )

    @classmethod
    def fitter(cls, **config: Any) -> "EqualWidthFitter[Self]":
        """Takes `coarse=256, fine=64, low=-0.01, high=7.0, compression="log1p",
        scale=1.0`."""
        values = {"low": -0.01, "high": 7.0, "compression": "log1p"} | config
        coarse = positive_count(values.pop("coarse", 256))
        fine = positive_count(values.pop("fine", 64))
        make = functools.partial(cls, fine=fine)
        return EqualWidthFitter(make, bins=coarse * fine, **values)

    @property
    def coarse(self) -> int:
        """Number of coarse bins."""
        return len(self.bins) // self.fine

    def codes_of_bin(self, index: Any) -> Int[np.ndarray, "... t"]:
        """Codes [..., 2] of bins [...]; -1 stays -1."""
        index = np.asarray(index)
        codes = np.stack([index // self.fine, self.coarse + index % self.fine], axis=-1)
        return np.where(index[..., None] >= 0, codes, -1)

    def bin_of_codes(self, codes: Any) -> Int[np.ndarray, "..."]:
        """Bins [...] of codes [..., 2]; -1 where one of the two is -1.

        Raises:
            DataError: a code of one slot stands in the other.
        """
        first, second = np.asarray(codes)[..., 0], np.asarray(codes)[..., 1]
        absent = (first < 0) | (second < 0)
        place = second - self.coarse
        if np.any(
            ~absent & ((first >= self.coarse) | (place < 0) | (place >= self.fine))
        ):
            raise DataError(
                f"codes outside 0..{self.coarse - 1} (coarse) and {self.coarse}.."
                f"{self.coarse + self.fine - 1} (fine)",
                "Draw each slot from its own range of codes.",
            )
        return np.where(absent, -1, first * self.fine + place)

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """Two tokens, the second refines the first."""
        total = self.coarse + self.fine
        return TokenSpec(
            modality,
            name,
            num_codes=total,
            vocabulary=total,
            grid=(2,),
            ranges=((0, self.coarse), (self.coarse, total)),
            coarse_to_fine=True,
            code_features=features.levels(self.coarse, self.fine),
            slot_features=features.one_hot(2),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config and arrays for `from_state`."""
        return self.bins.config() | {"fine": self.fine}, self.bins.arrays()

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`.

        Raises:
            ArtefactError: keys, types or values that are not this codec's.
        """
        fine = config.get("fine")
        if not isinstance(fine, int) or isinstance(fine, bool):
            raise ArtefactError(f"codec with fine={fine!r}", "Fit the codec again.")
        return cls(bins_from_state(config, arrays), fine)
