# SPDX-License-Identifier: MIT
"""The engine over HATS catalogues: the same pairs as our own and as LSDB alone."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.surveys.toy_positions import scattered

from aion.errors import ConfigError, DataError
from aion.layouts import LAYOUTS
from aion.surveys.crossmatch import crossmatch
from aion.surveys.hats import HatsSource
from aion.surveys.positions import ArrayPositions, Positions, PositionSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lsdb = pytest.importorskip("lsdb")
    from aion.surveys.lsdb_engine import HatsPositions, as_hats

pytestmark = pytest.mark.filterwarnings("default")


def sky(seed=0, count=2000):
    """Three surveys: crowded borders of cells, one with proper motions."""
    rng = np.random.default_rng(seed)
    import healpy

    corner = healpy.boundaries(16, np.arange(40), step=1, nest=True)
    at = corner[rng.integers(0, 40, count), :, rng.integers(0, 4, count)]
    ra, dec = healpy.vec2ang(at, lonlat=True)
    ra, dec = scattered(ra % 360, dec, 20.0, seed)
    angle, speed = rng.uniform(0, 2 * np.pi, count), 10 ** rng.uniform(0, 3, count)
    motion = speed * np.cos(angle), speed * np.sin(angle)
    stars = Positions(np.arange(count) + 2**40, ra, dec, *motion)
    old = scattered(*_earlier(stars, 13), 0.2, 1)
    names = np.char.add("0001m002-", np.arange(count).astype(str))
    return {
        "gaia": stars,
        "legacy": Positions(names, *scattered(ra, dec, 0.3, 2)),
        "sdss": Positions(np.arange(count), *old).take(slice(200, None)),
    }


def _earlier(stars, years):
    shift = -years / 3.6e6
    east = stars.pm_ra * shift / np.cos(np.radians(stars.dec))
    return (stars.ra + east) % 360, stars.dec + stars.pm_dec * shift


def write_hats(folder, name, positions, threshold=40.0):
    """A HATS collection with several orders, proper motions in a struct."""
    columns = {"id": positions.object_id, "ra": positions.ra, "dec": positions.dec}
    table = pa.table(columns).to_pandas()
    if positions.pm_ra is not None:
        motion = pa.StructArray.from_arrays(
            [pa.array(positions.pm_ra), pa.array(positions.pm_dec)], ["pmra", "pmdec"]
        )
        import pandas as pd

        table["astrometry"] = pd.Series(motion, dtype=pd.ArrowDtype(motion.type))
    catalog = lsdb.from_dataframe(
        table,
        ra_column="ra",
        dec_column="dec",
        lowest_order=2,
        partition_rows=400 if name == "legacy" else 1000,
        margin_threshold=threshold,
    )
    catalog.write_catalog(folder / name, catalog_name=name)
    moving = {"pm_ra": "astrometry.pmra", "pm_dec": "astrometry.pmdec"}
    return HatsPositions(
        folder / name, ("id",), **(moving if positions.pm_ra is not None else {})
    )


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hats")
    return {name: write_hats(folder, name, p) for name, p in sky().items()}


def objects(folder, surveys):
    """Ids, separations and flags of a match, in order."""
    paths = sorted(folder.glob("objects-*.parquet"))
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    kept = [n for n in table.column_names if not n.endswith("_partition")]
    return table.select(kept).sort_by("object_id").to_pylist()


def test_a_hats_catalogue_gives_all_its_rows(catalogs):
    for name, positions in sky().items():
        source = catalogs[name]
        assert isinstance(source, PositionSource)
        found = [source.positions(p) for p in source.partitions()]
        assert len(found) > 2
        for field in ("object_id", "ra", "dec", "pm_ra"):
            theirs = getattr(positions, field)
            if theirs is not None:
                mine = np.concatenate([getattr(p, field) for p in found])
                np.testing.assert_array_equal(np.sort(mine), np.sort(theirs))


def test_both_engines_give_the_same_objects(catalogs, tmp_path):
    crossmatch(catalogs, tmp_path / "lsdb", engine="lsdb", part_rows=2000)
    mine = {name: ArrayPositions(p) for name, p in sky().items()}
    crossmatch(mine, tmp_path / "tree", part_rows=1000)
    crossmatch(catalogs, tmp_path / "hats")
    found = objects(tmp_path / "lsdb", catalogs)
    assert json.dumps(found) == json.dumps(objects(tmp_path / "tree", catalogs))
    assert json.dumps(found) == json.dumps(objects(tmp_path / "hats", catalogs))
    assert sum(row["surveys"] == 3 for row in found) > 1300
    assert sum(row["duplicate"] for row in found) > 20


def test_pairs_are_those_of_lsdb_alone(catalogs, tmp_path):
    two = {name: catalogs[name] for name in ("legacy", "sdss")}
    crossmatch(two, tmp_path / "out", radius=2.0)
    found = {
        (row["legacy_id"], row["sdss_id"])
        for row in objects(tmp_path / "out", two)
        if row["surveys"] == 2
    }
    nearest = []
    for one, other in (("legacy", "sdss"), ("sdss", "legacy")):
        pairs = catalogs[one].catalog.crossmatch(
            catalogs[other].catalog,
            radius_arcsec=2.0,
            n_neighbors=1,
            suffixes=("_a", "_b"),
            suffix_method="all_columns",
            how="left",
        )
        frame = pairs.compute(progress_bar=False).dropna(subset=["id_b"])
        ids = zip(frame["id_a"].astype(str), frame["id_b"].astype(str), strict=True)
        nearest.append(set(ids))
    assert found == nearest[0] & {(a, b) for b, a in nearest[1]}
    assert len(found) > 1000


def test_quarantined_rows_find_no_pair(tmp_path):
    """The second row of an id is near a source; the one that stays is not."""
    one = Positions(
        np.array([1, 1, 2]), np.array([10.0, 50.0, 60.0]), np.array([5.0, 5.0, 5.0])
    )
    two = Positions(np.array([7, 8]), np.array([50.0, 60.0]), np.array([5.0, 5.0]))
    hats = {n: write_hats(tmp_path, n, p, 5.0) for n, p in (("one", one), ("two", two))}
    crossmatch(hats, tmp_path / "out", engine="lsdb", on_bad="quarantine")
    found = objects(tmp_path / "out", hats)
    pairs = {(row["one_id"], row["two_id"]) for row in found}
    assert pairs == {("1", None), (None, "7"), ("2", "8")}


def test_what_the_engine_cannot_do_is_said(catalogs, tmp_path):
    with pytest.raises(DataError, match="margin of 40 arcsec and 5"):
        crossmatch(
            {n: catalogs[n] for n in ("gaia", "sdss")},
            tmp_path / "margin",
            radius=38.0,
            engine="lsdb",
        )
    mixed = {"gaia": catalogs["gaia"], "sdss": ArrayPositions(sky()["sdss"])}
    with pytest.raises(ConfigError, match="sdss is no HATS catalogue"):
        crossmatch(mixed, tmp_path / "mixed", engine="lsdb")
    with pytest.raises(DataError, match="cannot be opened"):
        HatsPositions(tmp_path / "nowhere").partitions()


def test_a_source_of_records_is_a_catalogue_too(tmp_path):
    source = HatsSource(tmp_path, LAYOUTS["gaia"])
    assert as_hats("gaia", source) == HatsPositions(
        tmp_path, pm_ra="astrometry.pmra", pm_dec="astrometry.pmdec"
    )
    assert as_hats("desi", HatsSource(tmp_path, LAYOUTS["desi"])).pm_ra is None


def test_a_dask_cluster_finds_the_same(catalogs, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    two = {name: catalogs[name] for name in ("gaia", "sdss")}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        crossmatch(two, tmp_path / "dask", engine="lsdb", scheduler=address)
    crossmatch(two, tmp_path / "here", engine="lsdb")
    assert objects(tmp_path / "dask", two) == objects(tmp_path / "here", two)
