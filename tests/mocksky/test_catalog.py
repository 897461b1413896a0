# SPDX-License-Identifier: MIT
"""The mock catalogue: reproducible, like SDSS in its colours, with usable redshifts."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from aion.errors import DataError
from aion.mocksky.catalog import FILTERS, simulate_catalog, write_catalog

SDSS = {"objid", "ra", "dec", *FILTERS, "class", "redshift", "plate", "mjd", "fiberid"}
OBJECTS = 6000


@pytest.fixture(scope="module")
def table():
    return simulate_catalog(OBJECTS, 1)


def of(table, label):
    return {k: v[table["class"] == label] for k, v in table.items()}


def test_columns_are_those_of_the_sdss_file(table):
    truth = {f"{f}_true" for f in FILTERS} | {"redshift_true", "ebv"}
    assert set(table) == SDSS | truth
    assert {len(v) for v in table.values()} == {OBJECTS}
    for name, values in table.items():
        if values.dtype.kind == "f":
            assert np.all(np.isfinite(values)), name


def test_same_seed_same_sky():
    one, again, other = (simulate_catalog(200, seed) for seed in (1, 1, 2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, again[name])
    assert not np.array_equal(one["r"], other["r"])


def test_objects_have_names_and_places_of_their_own(table):
    names = np.stack([table[k] for k in ("plate", "mjd", "fiberid")], 1)
    assert len(np.unique(names, axis=0)) == len(np.unique(table["objid"])) == OBJECTS
    assert table["ra"].min() >= 0 and table["ra"].max() < 360
    assert np.abs(table["dec"]).max() <= 90


def test_noise_is_that_of_the_survey(table):
    bright = table["r_true"] < 17
    for name in FILTERS:
        error = (table[name] - table[f"{name}_true"])[bright]
        # Zero points of cells are off by 0.01 mag, the floor is 2 %.
        assert abs(np.median(error)) < 0.01
        assert 0.02 < 1.4826 * np.median(np.abs(error)) < 0.035, name


def test_galaxies_grow_redder_as_the_break_moves(table):
    galaxies = of(table, "GALAXY")
    g_r = galaxies["g_true"] - galaxies["r_true"]
    near = np.quantile(g_r[galaxies["redshift_true"] < 0.06], 0.9)
    far = np.quantile(g_r[np.abs(galaxies["redshift_true"] - 0.17) < 0.03], 0.9)
    # Red sequence of SDSS: g - r about 0.8 at z = 0.05 and 1.1 at z = 0.17.
    assert 0.65 < near < 0.95 < far < 1.35
    assert galaxies["r"].max() < 17.8
    brighter = galaxies["r"][galaxies["redshift"] < 0.05]
    assert np.median(brighter) < np.median(galaxies["r"][galaxies["redshift"] > 0.12])


def test_quasars_lose_u_when_the_forest_enters(table):
    quasars = of(table, "QSO")
    u_g, z = quasars["u_true"] - quasars["g_true"], quasars["redshift_true"]
    assert abs(np.median(u_g[z < 2.0])) < 0.4
    assert np.median(u_g[z > 2.7]) > np.median(u_g[z < 2.0]) + 0.2


def test_stars_lie_on_a_locus_and_stand_still(table):
    stars = of(table, "STAR")
    assert np.std(stars["redshift"]) < 1e-3 and np.abs(stars["redshift"]).max() < 3e-3
    g_r, r_i = stars["g"] - stars["r"], stars["r"] - stars["i"]
    bright = stars["r"] < 18
    locus = np.polyval(np.polyfit(g_r[bright], r_i[bright], 4), g_r[bright])
    assert np.std(r_i[bright] - locus) < 0.06


def test_photometric_redshifts_work_as_on_the_sky(table):
    magnitudes = np.stack([table[f] for f in FILTERS], 1)
    features = np.concatenate([magnitudes, -np.diff(magnitudes)], 1)
    test = np.arange(OBJECTS) % 4 == 0
    galaxy = table["class"] == "GALAXY"
    forest = RandomForestRegressor(50, n_jobs=2, random_state=0)
    forest.fit(features[galaxy & ~test], table["redshift"][galaxy & ~test])
    truth = table["redshift"][galaxy & test]
    error = (forest.predict(features[galaxy & test]) - truth) / (1 + truth)
    nmad = 1.4826 * np.median(np.abs(error - np.median(error)))
    spread = 1.4826 * np.median(np.abs(truth - np.median(truth)))
    assert 0.01 < nmad < 0.03 < spread
    trees = RandomForestClassifier(50, n_jobs=2, random_state=0)
    trees.fit(features[~test], table["class"][~test])
    assert 0.9 < trees.score(features[test], table["class"][test]) < 0.999


def test_file_has_columns_and_units(tmp_path, table):
    path = write_catalog(tmp_path / "sub" / "mock.parquet", 500, 1)
    read = pq.read_table(path)
    expected = simulate_catalog(500, 1)
    assert set(read.column_names) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(read[name].to_numpy(), values)
    metadata = {f.name: f.metadata for f in read.schema}
    assert metadata["u"][b"unit"] == b"mag(AB)"
    assert metadata["ra"][b"unit"] == b"deg"
    assert [p.name for p in path.parent.iterdir()] == ["mock.parquet"]


def test_no_objects_is_an_error():
    with pytest.raises(DataError, match="0 objects"):
        simulate_catalog(0)
