# SPDX-License-Identifier: MIT
"""From records to the modalities of a config: columns, differences, noisy copies.

A config lists its modalities as plain dicts. `specs_from_config` reads them,
`TableSource` turns the records of any source into records with those modalities, and
`fit_bundle` fits one codec for each, in one pass, on the records it is given.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from aion.codec import CodecBundle, codec_class
from aion.config import to_plain
from aion.errors import AionError, ConfigError, DataError
from aion.hashes import splitmix, text_hashes
from aion.modality import MODALITIES, Kind, Modality, modality_from_dict
from aion.observation import Coefficients, Observation, Scalar, in_unit
from aion.records import Records, RecordSource
from aion.surveys.catalog import CatalogSource

DEFAULT_CODECS: Mapping[Kind, str] = {
    Kind.SCALAR: "empirical",
    Kind.COEFFICIENTS: "channels",
    Kind.CATEGORY: "categories",
}
"""Codec word of a modality that names none; redshift takes "coarse_fine"."""


@dataclass(frozen=True)
class ModalitySpec:
    """One modality of a data set: where it comes from and how it becomes tokens.

    Attributes:
        modality: what it is.
        column: column of the catalogue, or None for a derived one.
        difference: two other modalities, the first minus the second; None for a column.
        codec: {"word": word of the codec class, ...} with the arguments of its fitter.
        jitter: one sigma of the Gaussian noise of noisy copies, in the modality's unit;
            a derived modality takes that of the two it comes from.
    """

    modality: Modality
    column: str | None
    difference: tuple[str, str] | None
    codec: Mapping[str, Any] = field(default_factory=dict)
    jitter: float = 0.0

    @property
    def name(self) -> str:
        """Name of the modality."""
        return self.modality.name

    @property
    def origin(self) -> str:
        """Where its values come from, for messages."""
        if self.difference:
            return f"difference {self.difference[0]} - {self.difference[1]}"
        return f"column {self.column}"


_OWN = ("column", "difference", "codec", "jitter")
_KEYS = (*(f.name for f in fields(Modality)), *_OWN)


def specs_from_config(rows: Iterable[Any]) -> tuple[ModalitySpec, ...]:
    """Specs from the plain dicts of a config.

    Args:
        rows: dicts or ConfigDicts with keys of `Modality` plus `column` or
            `difference`, and optionally `codec` (a word, or a dict with `word` and the
            fitter's arguments) and `jitter`. A name of `aion.MODALITIES` needs only
            `name` and `column`. A name of one's own needs `kind`, unless it is a
            difference, which is a scalar; its survey is "own" and its unit "" unless
            stated (a difference takes the unit of its first modality, and of
            magnitudes "mag").

    Raises:
        ConfigError: an unknown key, a missing or doubled one, a difference of
            modalities that are not there, are derived themselves or are no numbers, a
            codec that does not exist or takes other arguments. Names the row.
    """
    plain = [to_plain(row) for row in rows]
    if not plain:
        raise ConfigError("no modalities", "List at least one in the config.")
    units = {r.get("name"): r.get("unit", _known_unit(r.get("name"))) for r in plain}
    specs = tuple(_spec(row, units) for row in plain)
    by_name = {spec.name: spec for spec in specs}
    names = [spec.name for spec in specs]
    for name in by_name:
        if names.count(name) > 1:
            raise ConfigError(f"modality {name} stands twice", "Give it one row.")
    for spec in specs:
        _check_difference(spec, by_name)
        _fitter(spec)
    return specs


def _known_unit(name: Any) -> str:
    return MODALITIES[name].unit if name in MODALITIES else ""


def _spec(row: dict[str, Any], units: Mapping[Any, str]) -> ModalitySpec:
    where = f"modality {row.get('name')!r}"
    for key in row:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{where} has no key {key!r}", f"{hint}Keys are {', '.join(_KEYS)}."
            )
    column, difference = row.get("column"), row.get("difference")
    if (column is None) == (difference is None):
        raise ConfigError(
            f"{where} needs a column or a difference, and not both",
            "Give column='...' or difference=('a', 'b').",
        )
    if difference is not None and (
        not isinstance(difference, list)
        or len(difference) != 2
        or not all(isinstance(name, str) for name in difference)
    ):
        raise ConfigError(
            f"{where}: difference {difference!r}", "Give two names of modalities."
        )
    jitter = row.get("jitter", 0.0)
    if not isinstance(jitter, int | float) or not 0 <= jitter < np.inf:
        raise ConfigError(f"{where}: jitter {jitter!r}", "Give one sigma, 0 or more.")
    if jitter and difference:
        raise ConfigError(
            f"{where} is a difference and has jitter",
            "Give jitter to the modalities it is made of.",
        )
    pair = tuple(difference) if difference else None
    unit = units.get(pair[0], "") if pair else ""
    modality = _modality(row, where, "mag" if unit == "mag(AB)" else unit)
    codec = row.get("codec") or {}
    codec = {"word": codec} if isinstance(codec, str) else dict(codec)
    word = "coarse_fine" if modality.name == "redshift" else ""
    codec.setdefault("word", word or DEFAULT_CODECS.get(modality.kind, ""))
    return ModalitySpec(modality, column, pair, codec, float(jitter))


def _modality(row: Mapping[str, Any], where: str, unit: str) -> Modality:
    described = {k: v for k, v in row.items() if k not in _OWN}
    name: Any = described.get("name")
    known = MODALITIES[name].to_dict() if name in MODALITIES else None
    own = {"survey": "own"} if known is None else {}
    if row.get("difference") and known is None:
        own |= {"kind": "scalar", "unit": unit}
    try:
        return modality_from_dict((known or own) | described)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}", "Describe it as a Modality.") from None


def _check_difference(spec: ModalitySpec, others: Mapping[str, ModalitySpec]) -> None:
    for name in spec.difference or ():
        other = others.get(name)
        if other is None or other.difference or other.modality.kind is not Kind.SCALAR:
            columns = [
                s.name for s in others.values() if s.column and s.name != spec.name
            ]
            raise ConfigError(
                f"modality {spec.name!r}: {name!r} of its difference is no number from "
                "a column",
                f"Take two of {', '.join(columns)}.",
            )


def _fitter(spec: ModalitySpec) -> Any:
    arguments = dict(spec.codec)
    word = arguments.pop("word")
    try:
        fitter = getattr(codec_class(word), "fitter", None)
        if fitter is None:
            raise ConfigError(f"codec {word!r} is not fitted", "Train it instead.")
        return fitter(**arguments)
    except AionError as error:
        problem = f"modality {spec.name!r}: {error.problem}"
        raise ConfigError(problem, error.fix) from None
    except TypeError as error:
        raise ConfigError(
            f"modality {spec.name!r}: codec {word}: {error}",
            f"See aion_tokenizers.scalar for the arguments of {word}.",
        ) from None


@dataclass(frozen=True)
class TableSource:
    """A `RecordSource` whose records hold exactly the modalities of the specs.

    Attributes:
        source: records with the modalities that come from columns.
        specs: the modalities asked for.
        copies: noisy copies of each batch, given after the batch itself with
            `Records.copy` 1, 2, ...; noise is added before differences are taken.
        seed: of the noise, which depends on nothing but seed, copy, object id and
            modality: not on order, batches or partitions.
    """

    source: RecordSource
    specs: tuple[ModalitySpec, ...]
    copies: int = 0
    seed: int = 0

    def partitions(self) -> Sequence[str]:
        """Names of the partitions of the source."""
        return self.source.partitions()

    def read(self, partition: str) -> Iterator[Records]:
        """Records in the modalities' units, the plain ones and then their copies.

        Raises:
            UnitError: a column's unit does not convert to the modality's.
            DataError: a modality is not in the source, or what the source raises.
        """
        for records in self.source.read(partition):
            plain = self._converted(records)
            for copy in range(self.copies + 1):
                noisy = self._jittered(plain, copy) if copy else plain
                yield replace(noisy, observations=self._derived(noisy), copy=copy)

    def _converted(self, records: Records) -> Records:
        found: dict[str, Observation] = {}
        for spec in self.specs:
            if spec.difference:
                continue
            if spec.name not in records.observations:
                raise DataError(
                    f"{records.origin}: no observation of {spec.name}",
                    f"It has {', '.join(records.observations)}.",
                )
            try:
                found[spec.name] = in_unit(
                    records.observations[spec.name], spec.modality
                )
            except AionError as error:
                problem = f"{records.origin}, {spec.origin}: {error.problem}"
                raise type(error)(problem, error.fix) from None
        return replace(records, observations=found)

    def _jittered(self, records: Records, copy: int) -> Records:
        ids = text_hashes(records.object_id)
        found = dict(records.observations)
        for spec in self.specs:
            value = found.get(spec.name)
            if spec.jitter and isinstance(value, Scalar | Coefficients):
                shape = np.shape(value.values)
                key = f"{self.seed}/{copy}/{spec.name}"
                noise = _normal(ids, key, int(np.prod(shape[1:])))
                shifted = value.values + spec.jitter * noise.reshape(shape)
                found[spec.name] = replace(value, values=shifted)
        return replace(records, observations=found)

    def _derived(self, records: Records) -> dict[str, Observation]:
        found = {}
        for spec in self.specs:
            if spec.difference is None:
                found[spec.name] = records.observations[spec.name]
                continue
            first, second = (
                np.ma.asarray(records.observations[n].values).astype(np.float64)  # pyright: ignore
                for n in spec.difference
            )
            found[spec.name] = Scalar(np.ma.filled(first - second, np.nan))
        return found


def open_catalog(
    path: Path,
    specs: Sequence[ModalitySpec],
    *,
    copies: int = 0,
    seed: int = 0,
    **rest: Any,
) -> TableSource:
    """The records of a catalogue file with the modalities of the specs.

    Args:
        path: CSV, Parquet, FITS, ECSV or VOTable.
        specs: the modalities.
        copies, seed: see `TableSource`.
        **rest: object_id, ra, dec, rows_per_partition, missing of `CatalogSource`.

    Raises:
        DataError: what `CatalogSource` raises about the file and its columns.
    """
    columns = {spec.name: spec.column for spec in specs if spec.column}
    labels = tuple(s.name for s in specs if s.modality.kind is Kind.CATEGORY)
    source = CatalogSource(Path(path), columns, labels, **rest)
    return TableSource(source, tuple(specs), copies, seed)


def fit_bundle(
    specs: Sequence[ModalitySpec], records: Iterable[Records]
) -> CodecBundle:
    """Fits one codec per modality, named like it, on the records given and no others.

    Args:
        specs: the modalities, in the order of the token space to be.
        records: with some of the modalities; the caller keeps held-out objects away.

    Raises:
        DataError: no records, or a modality without a single value; names its column.
    """
    fitters = {spec.name: _fitter(spec) for spec in specs}
    origin = ""
    for batch in records:
        origin = origin or batch.origin
        for spec in specs:
            with _named(spec, batch.origin):
                if (value := batch.observations.get(spec.name)) is not None:
                    fitters[spec.name].update(in_unit(value, spec.modality))
    codecs = {}
    for spec in specs:
        with _named(spec, origin or "no records"):
            codecs[spec.name] = fitters[spec.name].finish()
    return CodecBundle(codecs, {spec.modality: spec.name for spec in specs})


class _named:
    """Adds file, modality and column to what codecs say about their input."""

    def __init__(self, spec: ModalitySpec, origin: str) -> None:
        self._text = f"{origin}, {spec.origin} ({spec.name})"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, AionError):
            raise type(error)(f"{self._text}: {error.problem}", error.fix) from None


def count_values(bundle: CodecBundle, records: Iterable[Records]) -> dict[str, Any]:
    """`Counts` (total, absent, below, above) by modality over the records.

    Args:
        bundle: codecs, each with `count(observation)`.
        records: with the modalities of the bundle.
    """
    found: dict[str, Any] = {}
    for batch in records:
        for modality in bundle:
            codec: Any = bundle.codec(modality.name)
            value = in_unit(batch.observations[modality.name], modality)
            counts = codec.count(value)
            known = found.get(modality.name)
            found[modality.name] = counts if known is None else known + counts
    return found


def _normal(ids: np.ndarray, key: str, count: int) -> np.ndarray:
    """Standard normal numbers [b, count] that depend on id, key and place alone."""
    start = splitmix(ids ^ text_hashes(np.array([key])))[:, None]
    step = np.arange(count, dtype=np.uint64)[None] << np.uint64(1)
    one, two = (
        (splitmix(start + step + np.uint64(k)) >> np.uint64(11)).astype(np.float64)
        for k in (0, 1)
    )
    radius = np.sqrt(-2 * np.log((one + 1) * 2.0**-53))
    return radius * np.cos(2 * np.pi * two * 2.0**-53)
