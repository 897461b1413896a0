# SPDX-License-Identifier: MIT
"""Named requests: what users ask of a model, and how often training practises it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aion.errors import ConfigError
from aion.tokens import Example
from aion.tokenspace import TokenSpace


@dataclass(frozen=True)
class Request:
    """Something that is asked of a model.

    Attributes:
        name: what it is called in reports.
        given: modalities that may be given; at least one of them is.
        asked: modalities of which at least one is asked.
        weight: how often it is trained, relative to the others; 1, 2, ...

    Raises:
        ConfigError: a side is empty, a modality stands on both, or a weight below 1.
    """

    name: str
    given: tuple[str, ...]
    asked: tuple[str, ...]
    weight: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", tuple(self.given))
        object.__setattr__(self, "asked", tuple(self.asked))
        both = sorted(set(self.given) & set(self.asked))
        if both or not self.given or not self.asked:
            raise ConfigError(
                f"request {self.name!r} "
                + (f"gives and asks {both}" if both else "gives or asks nothing"),
                "Name at least one modality on either side, and none on both.",
            )

        if self.weight < 1:
            raise ConfigError(
                f"request {self.name!r} has weight {self.weight}",
                "Give a whole number of at least 1, or leave the request out.",
            )

    def rows(self, space: TokenSpace) -> np.ndarray:
        """Which rows of a token space are given and asked, bool [2, modalities].

        Raises:
            ConfigError: a modality is not in the token space.
        """
        sides = np.zeros((2, len(space)), bool)
        for side, names in enumerate((self.given, self.asked)):
            for name in names:
                if name not in space:
                    raise ConfigError(
                        f"request {self.name!r} names {name!r}, which is not in the "
                        "token space",
                        f"It has {', '.join(space.names)}.",
                    )
                sides[side, space.index(name)] = True
        return sides


_LEGACY_PHOTOMETRY = tuple(
    f"legacy_flux_{band}" for band in ("g", "r", "i", "z", "w1", "w2", "w3", "w4")
)
_HSC = tuple(f"hsc_mag_{band}" for band in "grizy")

REQUESTS = (
    Request("photometry -> redshift", (*_LEGACY_PHOTOMETRY, *_HSC), ("redshift",)),
    Request(
        "image -> spectrum",
        ("legacy_image", "hsc_image"),
        ("desi_spectrum", "sdss_spectrum"),
    ),
    Request("XP -> DESI", ("gaia_xp_bp", "gaia_xp_rp"), ("desi_spectrum",)),
    Request("Legacy -> HSC", ("legacy_image",), ("hsc_image",)),
)
"""The requests that every model of the forty modalities is trained for."""


def applicable(requests: Iterable[Request], space: TokenSpace) -> tuple[Request, ...]:
    """The requests that a token space can serve, less modalities it does not have."""
    known = []
    for request in requests:
        given = tuple(n for n in request.given if n in space)
        asked = tuple(n for n in request.asked if n in space)
        if given and asked:
            known.append(replace(request, given=given, asked=asked))
    return tuple(known)


def presence(example: Example, space: TokenSpace) -> np.ndarray:
    """Which modalities are given and asked in a batch, bool [b, 2, modalities]."""
    sides = np.zeros((example.inputs.shape[0], 2, len(space)), bool)
    for side, tokens in enumerate((example.inputs, example.targets)):
        rows, columns = np.nonzero(np.asarray(tokens.valid))
        sides[rows, side, np.asarray(tokens.modality)[rows, columns]] = True
    return sides


def practised(request: Request, sides: np.ndarray, space: TokenSpace) -> np.ndarray:
    """Which examples practise a request, bool [b].

    They give at least one of its given modalities and nothing else, and ask for at
    least one of its asked ones.

    Args:
        request: the request.
        sides: modalities given and asked, bool [b, 2, modalities].
        space: their token space.
    """
    given, asked = request.rows(space)
    inputs, targets = sides[:, 0], sides[:, 1]
    return (
        (inputs & given).any(axis=1)
        & ~(inputs & ~given).any(axis=1)
        & (targets & asked).any(axis=1)
    )


def request_report(
    examples: Iterable[Example], requests: Sequence[Request], space: TokenSpace
) -> Mapping[str, float]:
    """Share of the examples that practise each request.

    Args:
        examples: batches of training examples.
        requests: requests by name; those that the token space cannot serve are left
            out.
        space: the token space of the examples.
    """
    known = applicable(requests, space)
    hits, number = dict.fromkeys((r.name for r in known), 0), 0
    for example in examples:
        sides = presence(example, space)
        number += len(sides)
        for request in known:
            hits[request.name] += int(practised(request, sides, space).sum())
    return {name: count / max(number, 1) for name, count in hits.items()}
