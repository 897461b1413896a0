# SPDX-License-Identifier: MIT
"""Which objects a sample has: the share of each class and its limits in magnitude."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aion.errors import ConfigError
from aion.instrument import BANDS
from aion.mocksky.cells import Limit
from aion.mocksky.objects import KINDS


@dataclass(frozen=True)
class Selection:
    """How one class is selected.

    Attributes:
        kind: one of `objects.KINDS`.
        share: its fraction of the selected objects, in every cell of the sky.
        limits: on observed (noisy, reddened) magnitudes, all of which must hold.
    """

    kind: str
    share: float
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Sample:
    """A selection of each class.

    Attributes:
        name: short name.
        classes: each class at most once; shares sum to 1.

    Raises:
        ConfigError: shares that do not sum to 1, a class twice or unknown, a limit in
            an unknown band or without room.
    """

    name: str
    classes: tuple[Selection, ...]

    def __post_init__(self) -> None:
        kinds = [one.kind for one in self.classes]
        total = sum(one.share for one in self.classes)
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
            raise ConfigError(
                f"sample {self.name} has the classes {', '.join(kinds)}",
                f"Take each of {', '.join(KINDS)} at most once.",
            )
        if abs(total - 1) > 1e-6 or any(one.share < 0 for one in self.classes):
            raise ConfigError(
                f"sample {self.name}: shares sum to {total:g}", "Make them sum to 1."
            )
        for one in self.classes:
            for limit in one.limits:
                if limit.band not in BANDS or not limit.bright < limit.faint:
                    raise ConfigError(
                        f"sample {self.name}: {one.kind} within {limit}",
                        f"Give bright < faint in one of {', '.join(BANDS)}.",
                    )


def _sample(
    name: str, **classes: tuple[float, Mapping[str, tuple[float, float]]]
) -> Sample:
    return Sample(
        name,
        tuple(
            Selection(kind, share, tuple(Limit(b, *ends) for b, ends in limits.items()))
            for kind, (share, limits) in classes.items()
        ),
    )


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        sample.name: sample
        for sample in (
            # The main galaxy sample (Strauss et al. 2002), low-redshift quasars
            # (Richards et al. 2002), shares and the limit in u of SkyServer's rows.
            _sample(
                "sdss",
                STAR=(0.41, {"SDSS-R": (12.0, 19.4), "SDSS-U": (12.5, 19.6)}),
                GALAXY=(0.507, {"SDSS-R": (12.5, 17.77), "SDSS-U": (12.5, 19.6)}),
                QSO=(0.083, {"SDSS-I": (15.0, 19.2), "SDSS-U": (15.0, 19.6)}),
            ),
            # As deep as the spectra of DESI go (DESI Collaboration 2023).
            _sample(
                "desi",
                STAR=(0.1, {"DES-R": (16.0, 19.0)}),
                GALAXY=(0.75, {"DES-R": (15.0, 22.5)}),
                QSO=(0.15, {"DES-R": (16.0, 22.7)}),
            ),
            _sample("desi_bgs", GALAXY=(1.0, {"DES-R": (15.0, 20.0)})),
            _sample("desi_lrg", GALAXY=(1.0, {"DES-Z": (17.0, 20.6)})),
            _sample("desi_elg", GALAXY=(1.0, {"DES-G": (20.0, 23.5)})),
            # As deep as the images of the archive go; what saturates is left out there.
            _sample(
                "imaging",
                STAR=(0.12, {"DES-I": (17.0, 22.5)}),
                GALAXY=(0.8, {"DES-I": (15.0, 22.5)}),
                QSO=(0.08, {"DES-I": (16.0, 22.5)}),
            ),
            # Seen by all five surveys at once.
            _sample(
                "sky",
                STAR=(0.25, {"DES-R": (14.0, 20.5)}),
                GALAXY=(0.6, {"DES-R": (14.0, 20.5)}),
                QSO=(0.15, {"DES-R": (15.0, 20.5)}),
            ),
        )
    }
)
"""Samples by name: `sky` is for all five surveys, `sdss` and `desi` resemble theirs,
`desi_bgs`, `desi_lrg` and `desi_elg` are what DESI's target classes are cut from, and
`imaging` is what the Legacy Surveys and HSC take pictures of."""
