# SPDX-License-Identifier: MIT
"""Records of matched objects from sources in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from aion.errors import ArtefactError, ConfigError, DataError
from aion.instrument import BANDS
from aion.layouts import LAYOUTS, resized
from aion.mocksky.write_mmu import MmuWriter
from aion.observation import Category, Image, Scalar, Spectrum
from aion.records import Records, RecordSource
from aion.splits import SplitRule
from aion.surveys.crossmatch import crossmatch
from aion.surveys.matched import MatchedSource, ReadsIds, merged
from aion.surveys.opening import open_survey
from aion.surveys.positions import Positions
from aion.surveys.stacking import stack

COUNT = 60


@dataclass(frozen=True, eq=False)
class Memory:
    """Records in partitions, two batches each."""

    content: dict[str, Records]
    asked: list = field(default_factory=list)

    def partitions(self):
        return tuple(self.content)

    def read(self, partition) -> Iterator[Records]:
        self.asked.append(partition)
        records = self.content[partition]
        half = len(records) // 2
        yield records.take(slice(0, half))
        yield records.take(slice(half, None))

    def positions(self, partition):
        records = self.content[partition]
        return Positions(records.object_id, records.ra, records.dec)


@dataclass(frozen=True, eq=False)
class Selective(Memory):
    """The same, which finds objects by their ids."""

    def read_ids(self, partition, ids) -> Iterator[Records]:
        self.asked.append((partition, len(ids)))
        records = self.content[partition]
        yield records.take(np.isin(records.object_id, ids))

    def read(self, partition):
        raise AssertionError("read_ids is there")


def spectrum(numbers, length):
    """Spectra whose flux is the object's number, one grid for all."""
    flux = np.repeat(numbers[:, None].astype(np.float32), length, axis=1)
    grid = 3600 * 1.001 ** np.arange(length)
    return Spectrum(flux, np.ones_like(flux), None, grid)


def survey(name, numbers, seed, sigma=0.2):
    """Records of some of the objects, in partitions that are not cells of the sky."""
    rng = np.random.default_rng(0)
    ra, dec = 150 + rng.uniform(0, 8, COUNT), rng.uniform(-4, 4, COUNT)
    rng = np.random.default_rng(seed)
    order = rng.permutation(numbers)
    ra = ra[order] + rng.normal(0, sigma / 3600, len(order)) / 2
    dec = dec[order] + rng.normal(0, sigma / 3600, len(order)) / 2
    content = {}
    for piece, rows in enumerate(np.array_split(np.arange(len(order)), 3)):
        here = order[rows]
        seen: dict = {"ra": Scalar(ra[rows]), "dec": Scalar(dec[rows])}
        if name == "legacy":
            flux = np.broadcast_to(here[:, None, None, None], (len(here), 4, 3, 3))
            bands = [BANDS[f"DES-{b}"] for b in "GRIZ"]
            seen["legacy_image"] = Image(flux.astype(np.float32), bands=tuple(bands))
        else:
            length = 20 if name == "desi" else 10 + piece
            seen[f"{name}_spectrum"] = spectrum(here, length)
            seen["redshift"] = Scalar(here + (0.0 if name == "desi" else 0.5))
            label = np.where(here % 3 == 0, "warned", "good")
            seen["redshift_quality"] = Category(
                label if name == "desi" else np.full(len(here), "good")
            )
        ids = np.char.add(name[0], here.astype(str))
        content[f"part-{piece}"] = Records(ids, ra[rows], dec[rows], seen)
    return content


@pytest.fixture
def match(tmp_path):
    sources = {
        "legacy": Memory(survey("legacy", np.arange(0, 50), 1)),
        "desi": Selective(survey("desi", np.arange(10, 60), 2)),
        "sdss": Memory(survey("sdss", np.arange(20, 40), 3)),
    }
    return crossmatch(sources, tmp_path / "match", 2.0), sources


def everything(source):
    return [records for p in source.partitions() for records in source.read(p)]


def numbers(records, survey):
    """Which objects these are, by what the survey observed of them."""
    found = records.observations
    if survey == "legacy":
        return found["legacy_image"].flux[:, 0, 0, 0].astype(int)
    return found[f"{survey}_spectrum"].flux[:, 0].astype(int)


def test_a_record_holds_what_all_surveys_saw_of_an_object(match):
    folder, sources = match
    source = MatchedSource(folder, sources, batch=7)
    assert isinstance(source, RecordSource)
    assert isinstance(sources["desi"], ReadsIds)
    batches = everything(source)
    seen = {}
    for records in batches:
        assert 1 <= len(records) <= 7
        surveys = {m.split("_")[0] for m in records.observations if "_" in m}
        surveys -= {"redshift"}
        for name in surveys:
            # The same object in every survey of the record, whatever its order there.
            first = numbers(records, name)
            np.testing.assert_array_equal(first, numbers(records, sorted(surveys)[0]))
            for number in first:
                seen.setdefault(int(number), set()).add(name)
    where = {
        n: {s for s, r in (("legacy", range(50)), ("desi", range(10, 60)),
                           ("sdss", range(20, 40))) if n in r}
        for n in range(COUNT)
    }  # fmt: skip
    assert seen == where
    ids = np.concatenate([records.object_id for records in batches])
    assert len(set(ids)) == len(ids) == COUNT
    asked = [a for a in sources["desi"].asked if isinstance(a, tuple)]
    assert sum(count for _, count in asked) == 50


def test_partitions_are_cells_of_the_sky_and_can_be_read_again(match):
    folder, sources = match
    source = MatchedSource(folder, sources)
    for partition in source.partitions():
        once = list(source.read(partition))
        cells = {int(c) for r in once for c in SplitRule().cells(r.ra, r.dec).tolist()}
        assert {f"healpix={cell}" for cell in cells} == {partition}
        again = list(source.read(partition))
        assert [r.object_id.tolist() for r in once] == [
            r.object_id.tolist() for r in again
        ]
    assert len(source.partitions()) > 3
    with pytest.raises(DataError, match="no partition 'healpix=0'"):
        list(source.read("healpix=0"))


def test_objects_and_surveys_can_be_chosen(match):
    folder, sources = match
    both = MatchedSource(folder, sources, need=("legacy", "sdss"))
    found = np.concatenate([numbers(r, "sdss") for r in everything(both)])
    assert sorted(found) == list(range(20, 40))
    few = MatchedSource(folder, {"legacy": sources["legacy"]}, need=("desi",))
    records = everything(few)
    assert sorted(np.concatenate([numbers(r, "legacy") for r in records])) == list(
        range(10, 50)
    )
    assert all("desi_spectrum" not in r.observations for r in records)
    rule = SplitRule()
    test = MatchedSource(folder, sources, splits=("test",))
    assert everything(test)
    for r in everything(test):
        assert set(rule.assign(rule.cells(r.ra, r.dec))) == {"test"}


def test_position_and_redshift_come_from_the_best_survey(match):
    folder, sources = match
    for records in everything(MatchedSource(folder, sources)):
        found = records.observations
        if "redshift" not in found or "sdss_spectrum" not in found:
            continue
        if "desi_spectrum" in found:
            number = numbers(records, "desi")
            # A warned fit of DESI (every third) gives way to a good one of SDSS.
            expected = np.where(number % 3 == 0, number + 0.5, number)
            np.testing.assert_array_equal(found["redshift"].values, expected)
            assert set(found["redshift_quality"].labels) == {"good"}
        if "legacy_image" in found:
            np.testing.assert_array_equal(found["ra"].values, records.ra)


def test_without_a_good_redshift_the_first_is_taken():
    def of(values, labels):
        found = {
            "redshift": Scalar(np.array(values)),
            "redshift_quality": Category(np.array(labels)),
        }
        return Records(np.array(["a", "b"]), np.zeros(2), np.zeros(2), found)

    found = merged(
        {
            "sdss": of([1.0, 2.0], ["warned", "warned"]),
            "desi": of([3.0, np.nan], ["warned", "good"]),
        }
    )
    assert found["redshift"].values.tolist() == [3.0, 2.0]
    assert found["redshift_quality"].labels.tolist() == ["warned", "warned"]


def test_spectra_of_different_lengths_are_padded():
    short, long = spectrum(np.arange(2), 10), spectrum(np.arange(3), 12)
    both = stack([short, long], "sdss_spectrum")
    assert both.flux.shape == (5, 12) and both.mask[:2, 10:].sum() == 0
    assert both.mask[:2, :10].all() and both.mask[2:].all()
    assert (both.ivar[:2, 10:] == 0).all()
    np.testing.assert_allclose(both.wavelength[0], both.wavelength[4], rtol=1e-12)
    assert stack([short], "sdss_spectrum") is short


def test_what_does_not_fit_together_is_an_error():
    short = spectrum(np.arange(2), 10)
    with pytest.raises(DataError, match="ivar is in some files"):
        stack([short, replace(short, ivar=None)], "sdss_spectrum")
    image = Image(np.zeros((1, 4, 3, 3)))
    with pytest.raises(DataError, match=r"flux has shapes .*4, 3, 3.*4, 5, 5"):
        stack([image, Image(np.zeros((1, 4, 5, 5)))], "legacy_image")
    with pytest.raises(DataError, match="bands differs"):
        one = (BANDS["DES-G"],) * 4
        stack([image, replace(image, bands=one)], "legacy_image")


def test_what_is_asked_must_be_in_the_match(match, tmp_path):
    folder, sources = match
    with pytest.raises(ArtefactError, match="no finished match"):
        MatchedSource(tmp_path, sources)
    with pytest.raises(ConfigError, match="asked are hsc"):
        MatchedSource(folder, {"hsc": sources["desi"]})
    partition = next(iter(sources["legacy"].content))
    records = sources["legacy"].content[partition]
    sources["legacy"].content[partition] = records.take(slice(1, None))
    with pytest.raises(DataError, match=f"no object {records.object_id[0]}, which"):
        everything(MatchedSource(folder, sources))


def test_files_of_five_surveys_come_out_as_one_record(invent, tmp_path):
    rng = np.random.default_rng(0)
    ra, dec = 150 + rng.uniform(0, 8, 12), rng.uniform(-4, 4, 12)
    sources = {}
    for name in ("legacysurvey", "hsc", "desi", "sdss", "gaia"):
        layout = resized(LAYOUTS[name], 24)
        for cell, rows in ((1000, slice(0, 5)), (1001, slice(5, 12))):
            some = invent(name, len(ra[rows]), seed=cell, length=cell - 960)
            some |= {"ra": ra[rows], "dec": dec[rows]}
            if name == "gaia":
                some |= {k: np.zeros(len(ra[rows])) for k in ("pmra", "pmdec")}
            MmuWriter(tmp_path, layout).write(cell, [some])
        source = open_survey(tmp_path / name)
        sources[source.survey] = source
    folder = crossmatch(sources, tmp_path / "match", workers=2)
    source = MatchedSource(folder, sources, need=tuple(sources), batch=4)
    batches = everything(source)
    assert sum(map(len, batches)) == 12
    for records in batches:
        assert len(records) <= 4
        assert {m.split("_")[0] for m in records.observations} >= set(sources)
        for modality in ("ra", "dec"):
            place = records.observations[modality].values
            np.testing.assert_array_equal(place, getattr(records, modality))
        flux = records.observations["sdss_spectrum"].flux
        assert flux.shape[1] in (40, 41)
