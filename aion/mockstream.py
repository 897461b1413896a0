# SPDX-License-Identifier: MIT
"""The mock sky as records without files, for codec training and tokenization.

The records are those that `aion.surveys` reads from the files of the same sky: the same
columns go through the same recipes, with the dtypes of the files. What a full object
takes on disk, 2.4 MB, and to compress, is not spent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from aion.errors import ConfigError, DataError
from aion.layouts import LAYOUTS, Layout
from aion.mocksky.simulate import SETS
from aion.mocksky.sky import Block, Sky
from aion.records import Records
from aion.surveys.matched import merged
from aion.surveys.mmu import RECIPES
from aion.surveys.recipes import Recipe, columns_of, native, observe

if TYPE_CHECKING:
    from aion.mocksky.population import Population

SURVEYS = ("legacy", "hsc", "sdss", "desi", "gaia")


@lru_cache(maxsize=2)
def _population(sky: Sky, sample: str) -> "Population":
    from aion.mocksky.universe import universe

    return universe(sky, sample)


@dataclass(frozen=True)
class MockSource:
    """A `RecordSource` over a sky that exists only while it is read.

    A partition is a block of the sky. A batch holds objects that the same surveys see,
    so that all of them have the same modalities, as in `surveys.matched.MatchedSource`;
    `Records.object_id` is the object's number in the sky.

    Attributes:
        sky: which.
        surveys: that look at it.
        sample: which objects, a name of `mocksky.samples.SAMPLES`.
        size: pixels along the side of a stamp.
        everywhere: every object is in every survey, whatever its brightness.
        modalities: those to give; none: all of the surveys.

    Raises:
        ConfigError: an unknown survey, or a modality that none of them has.
    """

    sky: Sky
    surveys: tuple[str, ...] = SURVEYS
    sample: str = "sky"
    size: int = 96
    everywhere: bool = False
    modalities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.surveys if name not in SURVEYS]
        if unknown or not self.surveys:
            raise ConfigError(
                f"surveys {', '.join(unknown) or 'none'}",
                f"Choose from {', '.join(SURVEYS)}.",
            )
        there = {r.modality for rows in self._recipes.values() for r in rows}
        absent = sorted(set(self.modalities) - there)
        if absent:
            raise ConfigError(
                f"{', '.join(self.surveys)} have no modality {', '.join(absent)}",
                f"They have {', '.join(sorted(there))}.",
            )

    def __reduce__(self) -> tuple:
        """For worker processes: without what is worked out from the fields."""
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    def partitions(self) -> Sequence[str]:
        """Names of the blocks, cell by cell."""
        return tuple(self._blocks)

    def read(self, partition: str) -> Iterator[Records]:
        """The objects of a block, drawn and observed now.

        Raises:
            DataError: no such block.
        """
        if partition not in self._blocks:
            raise DataError(
                f"this sky has no partition {partition!r}",
                "Read those that `partitions` names.",
            )
        from aion.mocksky.observe import observe_block

        block = self._blocks[partition]
        pictures = ("object_mask",) if self._wants("object_mask") else ()
        seen = observe_block(
            _population(self.sky, self.sample),
            block,
            [survey for survey in self.surveys if self._recipes[survey]],
            size=self.size,
            everywhere=self.everywhere,
            pictures=pictures,
        )
        objects = seen.scene.objects
        whole = {
            survey: self._records(survey, columns, partition)
            for survey, columns in seen.columns.items()
        }
        held = np.stack([seen.members[survey] for survey in seen.members], axis=1)
        pattern = held @ (1 << np.arange(held.shape[1]))
        for one in np.unique(pattern[pattern > 0])[::-1]:
            rows = np.flatnonzero(pattern == one)
            found = {
                survey: whole[survey].take(
                    np.searchsorted(np.flatnonzero(inside), rows)
                )
                for survey, inside in seen.members.items()
                if inside[rows[0]]
            }
            here = objects.take(rows)
            yield Records(
                here.object_id, here.ra, here.dec, merged(found), origin=partition
            )

    def _records(
        self, survey: str, columns: Mapping[str, np.ndarray], origin: str
    ) -> Records:
        layout, recipes = LAYOUTS[SETS[survey]], self._recipes[survey]
        count = len(columns["ra"])
        needed = columns_of(recipes, layout.by_name)
        stored = {
            name: values
            for name in needed
            if (values := _stored(layout, name, columns, count)) is not None
        }
        ids = np.asarray(columns[layout.id_column]).astype(np.str_)
        ra, dec = (np.asarray(columns[k], np.float64) for k in ("ra", "dec"))
        return Records(ids, ra, dec, observe(recipes, stored), origin=origin)

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {f"{b.cell:04d}-{b.index:04d}": b for b in self.sky.blocks()}

    @cached_property
    def _recipes(self) -> dict[str, tuple[Recipe, ...]]:
        wanted = set(self.modalities)
        return {
            survey: tuple(
                r for r in RECIPES[SETS[survey]] if not wanted or r.modality in wanted
            )
            for survey in self.surveys
        }

    def _wants(self, column: str) -> bool:
        rows = self._recipes.get("legacy", ())
        return any(column in recipe.columns for recipe in rows)


def _stored(
    layout: Layout, name: str, columns: Mapping[str, Any], count: int
) -> np.ndarray | None:
    """A column as it would come back from a file; None for one that is not written."""
    column = layout.by_name[name]
    values = columns.get(name)
    if values is None:
        if column.fill is None:
            return None
        values = np.broadcast_to(
            np.asarray(column.fill), (count, *_fixed(column.shape))
        )
    return native(np.asarray(values).astype(column.numpy))


def _fixed(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(size or 1 for size in shape)
