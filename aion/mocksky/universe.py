# SPDX-License-Identifier: MIT
"""The sky of this package: stars, galaxies and quasars under a sample's selection."""

from collections.abc import Mapping
from functools import lru_cache

from aion.errors import ConfigError
from aion.mocksky.family import Family
from aion.mocksky.galaxies import galaxy_family
from aion.mocksky.kinematics import star_motions
from aion.mocksky.population import Population
from aion.mocksky.quasars import quasar_family
from aion.mocksky.samples import SAMPLES
from aion.mocksky.sky import Sky
from aion.mocksky.stars import star_family


@lru_cache(maxsize=1)
def all_families() -> Mapping[str, Family]:
    """The library of each class, by its name in `objects.KINDS`; some seconds once."""
    return {
        "STAR": star_family(),
        "GALAXY": galaxy_family(),
        "QSO": quasar_family(),
    }


def universe(sky: Sky, sample: str = "sky") -> Population:
    """Who lives on a sky.

    Args:
        sky: where, how many and with which seed.
        sample: a name of `samples.SAMPLES`.

    Raises:
        ConfigError: no such sample.
    """
    if sample not in SAMPLES:
        raise ConfigError(
            f"no sample {sample!r}", f"Choose one of {', '.join(SAMPLES)}."
        )
    chosen = SAMPLES[sample]
    kinds = {one.kind for one in chosen.classes}
    families = {k: v for k, v in all_families().items() if k in kinds}
    return Population(sky, families, chosen, star_motions)
