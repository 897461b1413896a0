# SPDX-License-Identifier: MIT
"""Fitters: they take observations one after another and give a codec.

A fitter has `update(observation)` and `finish()`. All fitters ask for at least one
value that is not missing, also those that learn nothing from it: a column without
values is a mistake that should be met here and not in a training run.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from aion.errors import ConfigError, DataError
from aion.observation import Observation
from aion_tokenizers.bins import Bins, Compression, plain_values
from aion_tokenizers.quantiles import CAPACITY, QuantileSketch

C = TypeVar("C")
_FIX = "Give a column with values, or leave this modality out."


class EqualMassFitter(Generic[C]):
    """Fits bins that hold equally many values; exact or within the sketch's bound.

    Args:
        make: the codec of the bins.
        bins: how many at most.
        compression, scale: see `Compression`.
        capacity: of the quantile sketch.

    Raises:
        ConfigError: no bins, or an unknown compression.
    """

    def __init__(
        self,
        make: Callable[[Bins], C],
        bins: int = 1024,
        compression: str = "none",
        scale: float = 1.0,
        capacity: int = CAPACITY,
    ) -> None:
        self._make, self._count = make, positive_count(bins)
        self._compression = Compression(compression, scale)
        self.sketch = QuantileSketch(capacity)

    def update(self, observation: Observation) -> None:
        """Takes `Scalar.values` [b]."""
        self.add(plain_values(observation.values))  # pyright: ignore

    def add(self, values: np.ndarray) -> None:
        """Takes numbers as they are, any shape."""
        self.sketch.update(self._compression.clip(values))

    def finish(self) -> C:
        """The codec.

        Raises:
            DataError: no value was there.
        """
        return self._make(Bins.equal_mass(self.sketch, self._count, self._compression))


class EqualWidthFitter(Generic[C]):
    """Makes bins of equal width over a range that is given, or that of the data.

    Args:
        make: the codec of the bins.
        bins: how many.
        low, high: the range in the unit of the values; None for that of the data.
        compression, scale: see `Compression`.

    Raises:
        ConfigError: no bins, an unknown compression, or an empty range.
    """

    def __init__(
        self,
        make: Callable[[Bins], C],
        bins: int = 1024,
        low: float | None = None,
        high: float | None = None,
        compression: str = "none",
        scale: float = 1.0,
    ) -> None:
        self._make, self._count = make, positive_count(bins)
        self._compression = Compression(compression, scale)
        self._low, self._high = low, high
        self._seen_low, self._seen_high = np.inf, -np.inf
        if low is not None and high is not None:
            self._bins(low, high)

    def update(self, observation: Observation) -> None:
        """Takes `Scalar.values` [b]."""
        values = plain_values(observation.values)  # pyright: ignore
        values = values[np.isfinite(values)]
        if values.size:
            self._seen_low = min(self._seen_low, float(values.min()))
            self._seen_high = max(self._seen_high, float(values.max()))

    def finish(self) -> C:
        """The codec.

        Raises:
            DataError: no value was there.
            ConfigError: the range of the data is empty.
        """
        if self._seen_low > self._seen_high:
            raise DataError("all values are NaN or there are none", _FIX)
        low = self._seen_low if self._low is None else self._low
        high = self._seen_high if self._high is None else self._high
        return self._make(self._bins(low, high))

    def _bins(self, low: float, high: float) -> Bins:
        return Bins.equal_width(low, high, self._count, self._compression)


class CategoriesFitter(Generic[C]):
    """Collects labels, or takes those that are given.

    Args:
        make: the codec of labels and other label.
        labels: labels by code; None for those of the data, sorted.
        other: the label that unknown ones become; added if it is not among them.
    """

    def __init__(
        self,
        make: Callable[[tuple[str, ...], str | None], C],
        labels: Sequence[str] | None = None,
        other: str | None = None,
    ) -> None:
        self._make, self._other = make, other
        self._given = None if labels is None else tuple(labels)
        self._seen: set[str] = set()

    def update(self, observation: Observation) -> None:
        """Takes `Category.labels` [b].

        Raises:
            DataError: a label that is not among those given, without `other`.
        """
        labels = np.unique(plain_labels(observation.labels))  # pyright: ignore
        found = {str(label) for label in labels} - {""}
        unknown = sorted(found.difference(self._given or found))
        if unknown and self._other is None:
            raise DataError(
                f"unknown labels {', '.join(unknown[:5])}",
                f"The config knows {', '.join(self._given or ())}; add to it, or give "
                "an `other` label.",
            )
        self._seen |= found

    def finish(self) -> C:
        """The codec.

        Raises:
            DataError: no label was there.
        """
        if not self._seen:
            raise DataError("all labels are empty or there are none", _FIX)
        labels = tuple(sorted(self._seen)) if self._given is None else self._given
        if self._other is not None and self._other not in labels:
            labels = (*labels, self._other)
        return self._make(labels, self._other)


class ChannelsFitter(Generic[C]):
    """Fits equal-mass bins for each number of a vector.

    Args:
        make: the codec of the channels' bins.
        bins, compression, scale, capacity: as for `EqualMassFitter`, for each channel.
    """

    def __init__(self, make: Callable[[tuple[Bins, ...]], C], **config: Any) -> None:
        self._make = make
        self._config: dict[str, Any] = {"capacity": 2**15} | config
        self._fitters: list[EqualMassFitter[Bins]] = []
        EqualMassFitter(lambda bins: bins, **self._config)

    def update(self, observation: Observation) -> None:
        """Takes `Coefficients.values` [b, n].

        Raises:
            DataError: another number of channels than before.
        """
        values = plain_values(observation.values)  # pyright: ignore
        if values.ndim != 2 or len(self._fitters) not in (0, values.shape[-1]):
            raise DataError(
                f"coefficients have shape {values.shape}",
                f"Give [batch, {len(self._fitters) or 'channels'}].",
            )
        if not self._fitters:
            self._fitters = [
                EqualMassFitter(lambda bins: bins, **self._config)
                for _ in range(values.shape[1])
            ]
        for fitter, column in zip(self._fitters, values.T, strict=True):
            fitter.add(column)

    def finish(self) -> C:
        """The codec.

        Raises:
            DataError: a channel has no value.
        """
        if not self._fitters:
            raise DataError("there are no values", _FIX)
        return self._make(tuple(fitter.finish() for fitter in self._fitters))


def positive_count(count: Any) -> int:
    """A number of bins.

    Raises:
        ConfigError: not a positive integer.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(f"{count!r} bins", "Give a positive integer.")
    return count


def plain_labels(labels: Any) -> np.ndarray:
    """Labels as stripped strings, any shape; "" where masked, None or NaN."""
    masked = np.ma.asarray(labels)
    array, mask = np.ma.getdata(masked), np.ma.getmaskarray(masked)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    elif array.dtype.kind == "O":
        texts = [_text(label) for label in array.ravel()]
        array = np.array(texts, np.str_).reshape(array.shape)
    elif array.dtype.kind == "f":
        mask = mask | ~np.isfinite(array)
    array = array.astype(np.str_)
    return np.where(mask, "", np.char.strip(array))


def _text(label: Any) -> str:
    if label is None or label != label:
        return ""
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
