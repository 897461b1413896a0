# SPDX-License-Identifier: MIT
"""Who is who: from the positions of n surveys to objects.

For every two surveys, entries that are mutual nearest neighbours within the radius are
a link. Links are used in the order of the surveys: those of the second survey to the
first, of the third to the first and then to the second, and so on. A link adds an entry
to an object that has none of its survey yet; otherwise the entry stays on its own. So
an object holds at most one entry per survey, every entry belongs to exactly one object,
and an object is connected by links. Its first entry is its anchor. Entries may be
further from the anchor than the radius when a third one links them.

An object is a `duplicate` when one of its entries has an entry of *another* object, of
another survey, within the radius: the match was a choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.spatial import KDTree

from aion.errors import ConfigError
from aion.surveys.epochs import ARCSEC, epochs_of, moved_vectors, years_to_meet
from aion.surveys.pairs import Pairs, arcseconds, close_pairs, mutual_nearest, tree_of
from aion.surveys.positions import Positions

PRIORITY = ("gaia", "legacy", "hsc", "sdss", "desi")
"""Order of the known surveys, best astrometry first; others follow as given."""
FINEST_ORDER, COARSEST_ORDER = 10, 5
"""HEALPix orders by which positions are sorted, 3.4 arcmin to 1.8 degrees."""
LEAST_WIDTH = 0.5
"""The least distance across a pixel over the square root of its area is above 0.6
(measured at all latitudes, tests/surveys/test_crossmatch.py)."""


@dataclass(frozen=True)
class Rules:
    """What decides which entries are one object.

    Attributes:
        surveys: names in the order of their priority.
        radii: radius in arcsec by "one-other", in that order.
        epochs: Julian year of each survey's positions, where it is known.
    """

    surveys: tuple[str, ...]
    radii: Mapping[str, float]
    epochs: Mapping[str, float]

    @classmethod
    def of(
        cls,
        surveys: Sequence[str],
        radius: float | Mapping[Any, float] = 1.0,
        epochs: Mapping[str, float] | None = None,
    ) -> "Rules":
        """Rules from what a caller gives.

        Args:
            surveys: names in any order; known ones are put in that of `PRIORITY`.
            radius: arcsec, or by pair, ("gaia", "sdss") or "gaia-sdss" in any order.
            epochs: Julian years that replace those of `EPOCHS`.

        Raises:
            ConfigError: fewer than two surveys, a name that is no word, a radius that
                is missing, not between 0 and 60 arcsec, or too large for so many.
        """
        order = [s for s in PRIORITY if s in surveys]
        names = (*order, *[s for s in surveys if s not in order])
        if len(names) < 2 or not all(n.isidentifier() for n in names):
            raise ConfigError(
                f"cross-matching of {', '.join(names) or 'nothing'}",
                "Give at least two surveys, named by words.",
            )
        radii = {}
        for one, other in _couples(names):
            value: Any = radius
            if isinstance(radius, Mapping):
                keys = ((one, other), (other, one), f"{one}-{other}", f"{other}-{one}")
                value = next((radius[k] for k in keys if k in radius), None)
            if value is None or not 0 < value <= 60:
                raise ConfigError(
                    f"the radius of {one} and {other} is {value}",
                    "Give arcseconds, above 0 and at most 60.",
                )
            radii[f"{one}-{other}"] = float(value)
        rules = cls(names, radii, epochs_of(names, epochs))
        if rules.order < COARSEST_ORDER:
            raise ConfigError(
                f"objects of {len(names)} surveys reach over {rules.reach:.0f} arcsec",
                "Match with smaller radii, or fewer surveys at once.",
            )
        return rules

    def couples(self) -> list[tuple[int, int]]:
        """Numbers of two surveys each, in the order in which links are used."""
        return [(s, t) for t in range(len(self.surveys)) for s in range(t)]

    def radius(self, one: int, other: int) -> float:
        """Radius of two surveys by number, the smaller one first."""
        return self.radii[f"{self.surveys[one]}-{self.surveys[other]}"]

    @property
    def slack(self) -> float:
        """How far a star moves between epochs and is still no fast one, in arcsec."""
        return max(self.radii.values())

    @property
    def reach(self) -> float:
        """How far what happens can matter to an object, fast stars aside, in arcsec.

        A link adds an entry to an object that spans at most t links when the survey t
        is added; whether it does depends on both as they were one step earlier. One
        more step is whether a link is mutual, and the flag looks one object further.
        """
        count = len(self.surveys)
        steps = sum(t * (t + 1) for t in range(1, count)) + count + 1
        return steps * (max(self.radii.values()) + self.slack)

    @property
    def order(self) -> int:
        """HEALPix order of pixels whose neighbours hold all within `reach` of them."""
        size = np.sqrt(4 * np.pi / 12) / ARCSEC
        return min(FINEST_ORDER, int(np.log2(LEAST_WIDTH * size / self.reach)))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"surveys": list(self.surveys)}


def _couples(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for k, b in enumerate(names) for a in names[:k]]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects as rows of the surveys' positions.

    Attributes:
        anchor: number of the survey of the first entry, [k].
        rows: row in each survey, -1 where the survey has no entry, [k, n].
        separation: arcsec from the anchor, both at the epoch at which they are
            compared; 0 for the anchor, NaN where there is no entry, [k, n].
        duplicate: whether the match was a choice, [k].
    """

    anchor: Int[np.ndarray, " k"]
    rows: Int[np.ndarray, "k n"]
    separation: Float64[np.ndarray, "k n"]
    duplicate: Bool[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.anchor)

    def take(self, rows: Any) -> "Objects":
        """The objects `rows` (indices or boolean)."""
        return Objects(
            self.anchor[rows],
            self.rows[rows],
            self.separation[rows],
            self.duplicate[rows],
        )


Finder = Callable[[int, int], Pairs]
"""All pairs within the radius of two surveys by number, as rows of their positions."""


class Entries:
    """Positions of all surveys, at any epoch, with their search trees.

    Args:
        rules: who is who.
        surveys: positions, in the order of the rules.
        moving: whether each survey has proper motions; default: whether these
            positions have.
    """

    def __init__(
        self,
        rules: Rules,
        surveys: Sequence[Positions],
        moving: Mapping[str, bool] | None = None,
    ) -> None:
        self.rules = rules
        self.surveys = surveys
        self._moving = moving or {
            name: p.pm_ra is not None
            for name, p in zip(rules.surveys, surveys, strict=True)
        }
        self._vectors: dict[tuple[int, float], np.ndarray] = {}
        self._trees: dict[tuple[int, float], KDTree] = {}

    def _key(self, one: int, other: int) -> tuple[int, float]:
        names = self.rules.surveys
        years = years_to_meet(self.rules.epochs, self._moving, names[one], names[other])
        return one, years

    def vectors(self, one: int, other: int) -> Float64[np.ndarray, "b 3"]:
        """Unit vectors of survey `one`, moved to be compared with `other`."""
        key = self._key(one, other)
        if key not in self._vectors:
            self._vectors[key] = moved_vectors(self.surveys[one], key[1])
        return self._vectors[key]

    def pairs(self, one: int, other: int) -> Pairs:
        """All pairs within the radius; a `Finder`."""
        left, right = self._tree(one, other), self._tree(other, one)
        return close_pairs(left, right, self.rules.radius(one, other))

    def _tree(self, one: int, other: int) -> KDTree:
        key = self._key(one, other)
        if key not in self._trees:
            self._trees[key] = tree_of(self.vectors(one, other))
        return self._trees[key]


def objects_of(entries: Entries, finder: Finder | None = None) -> Objects:
    """The objects of the positions, each entry in exactly one, anchors in order.

    Args:
        entries: the positions.
        finder: where pairs come from; default `Entries.pairs`.
    """
    find = finder or entries.pairs
    sizes = [len(p) for p in entries.surveys]
    starts = np.cumsum([0, *sizes])
    total, count = int(starts[-1]), len(sizes)
    anchor_of = np.arange(total)
    rows = np.full((total, count), -1)
    for s, size in enumerate(sizes):
        rows[starts[s] : starts[s] + size, s] = np.arange(size)
    found = {}
    for s, t in entries.rules.couples():
        pairs = found[s, t] = find(s, t)
        ids = entries.surveys[s].object_id, entries.surveys[t].object_id
        links = pairs.take(mutual_nearest(pairs, *ids))
        anchor, entry = anchor_of[links.left + starts[s]], links.right + starts[t]
        free = (anchor_of[entry] == entry) & (rows[anchor, t] < 0)
        rows[anchor[free], t] = links.right[free]
        anchor_of[entry[free]] = anchor[free]
    duplicate = np.zeros(total, bool)
    for (s, t), pairs in found.items():
        one = anchor_of[pairs.left + starts[s]]
        other = anchor_of[pairs.right + starts[t]]
        duplicate[one[one != other]] = True
        duplicate[other[one != other]] = True
    anchors = np.flatnonzero(anchor_of == np.arange(total))
    survey = np.searchsorted(starts, anchors, side="right") - 1
    rows = rows[anchors]
    return Objects(
        survey, rows, _separations(entries, survey, rows), duplicate[anchors]
    )


def _separations(
    entries: Entries, survey: np.ndarray, rows: np.ndarray
) -> Float64[np.ndarray, "k n"]:
    found = np.full(rows.shape, np.nan)
    found[np.arange(len(rows)), survey] = 0
    for s, t in entries.rules.couples():
        both = np.flatnonzero((survey == s) & (rows[:, t] >= 0))
        one = entries.vectors(s, t)[rows[both, s]]
        other = entries.vectors(t, s)[rows[both, t]]
        found[both, t] = arcseconds(np.sqrt(((one - other) ** 2).sum(axis=1)))
    return found


def match_positions(
    surveys: Mapping[str, Positions],
    radius: float | Mapping[Any, float] = 1.0,
    epochs: Mapping[str, float] | None = None,
) -> tuple[Rules, Objects]:
    """Objects of positions that are in memory, with the rules that were used.

    Args:
        surveys: positions by survey; ids are unique and positions valid.
        radius, epochs: see `Rules.of`.

    Returns:
        The rules, whose `surveys` are the columns of the objects, and the objects.
    """
    rules = Rules.of(tuple(surveys), radius, epochs)
    return rules, objects_of(Entries(rules, [surveys[name] for name in rules.surveys]))
