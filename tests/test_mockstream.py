# SPDX-License-Identifier: MIT
"""The sky without files is the sky of the files."""

import pickle

import numpy as np
import pytest

from aion.errors import ConfigError, DataError
from aion.mocksky.simulate import SETS, Simulation
from aion.mocksky.sky import Sky
from aion.mockstream import MockSource
from aion.modality import MODALITIES
from aion.records import RecordSource
from aion.surveys.crossmatch import crossmatch
from aion.surveys.matched import MatchedSource
from aion.surveys.opening import open_survey

SKY = Sky(24, 11, per_cell=24)
SURVEYS = ("legacy", "hsc", "sdss", "desi", "gaia")


@pytest.fixture(scope="module")
def streamed():
    source = MockSource(SKY, size=160)
    assert isinstance(source, RecordSource)
    return [r for partition in source.partitions() for r in source.read(partition)]


def test_all_forty_modalities_are_there_and_every_object_once(streamed):
    everywhere = MockSource(SKY, size=96, everywhere=True)
    (whole,) = everywhere.read(everywhere.partitions()[0])
    assert set(MODALITIES) <= set(whole.observations)
    assert whole.observations["legacy_image"].flux.shape == (24, 4, 96, 96)
    names = np.concatenate([records.object_id for records in streamed])
    assert len(names) == len(set(names)) <= 24


def test_it_travels_to_worker_processes():
    source = MockSource(SKY, ("gaia",), size=96)
    again = pickle.loads(pickle.dumps(source))
    assert again == source and again.partitions() == source.partitions()


def test_files_matched_and_read_give_the_same_records(streamed, tmp_path):
    folder = Simulation(tmp_path / "sky", SKY, SURVEYS).run(1)
    sources = {name: open_survey(folder / SETS[name]) for name in SURVEYS}
    crossmatch(sources, tmp_path / "match")
    matched = MatchedSource(tmp_path / "match", sources)
    read = [r for partition in matched.partitions() for r in matched.read(partition)]
    assert sum(len(r) for r in read) == sum(len(r) for r in streamed)

    def by_place(batches):
        found = {}
        for records in batches:
            for row in range(len(records)):
                one = records.take(np.array([row]))
                key = (round(float(one.dec[0]), 4), frozenset(one.observations))
                found[key] = one
        return found

    ours, theirs = by_place(streamed), by_place(read)
    assert set(ours) == set(theirs)
    for key, one in ours.items():
        other = theirs[key]
        for name in one.observations:
            for field, value in vars(one.observations[name]).items():
                twin = getattr(other.observations[name], field)
                if isinstance(value, np.ndarray) and name != "sdss_spectrum":
                    np.testing.assert_array_equal(
                        value, twin, err_msg=f"{name} {field}"
                    )


def test_only_what_is_asked_is_made():
    source = MockSource(SKY, ("legacy", "desi"), modalities=("desi_spectrum",))
    for records in source.read(source.partitions()[0]):
        assert set(records.observations) == {"desi_spectrum"}
    with pytest.raises(ConfigError, match="hsc_image"):
        MockSource(SKY, ("legacy",), modalities=("hsc_image",))
    with pytest.raises(ConfigError, match="lsst"):
        MockSource(SKY, ("lsst",))
    with pytest.raises(DataError, match="partition"):
        next(source.read("nowhere"))
