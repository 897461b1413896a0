# SPDX-License-Identifier: MIT
"""Catalogue files of every format: values, units, columns and partitions."""

import csv

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.surveys.toy_catalog import (
    WRITERS,
    numbers,
    plain,
    read_all,
    source_of,
    write_csv,
)

from aion.errors import ConfigError, DataError, UnitError
from aion.hashes import text_hashes
from aion.observation import Category, Coefficients, Scalar
from aion.records import Records, RecordSource
from aion.surveys.catalog import CatalogSource, Report


@pytest.fixture(params=WRITERS)
def any_file(request, tmp_path):
    path = tmp_path / f"table{request.param}"
    WRITERS[request.param](path, numbers())
    return path


@pytest.fixture
def csv_file(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, numbers())
    return path


@pytest.mark.parametrize("rows", [3, 100])
def test_every_format_gives_the_same_records(any_file, rows):
    source = source_of(any_file, rows_per_partition=rows)
    assert isinstance(source, RecordSource)
    records = read_all(source)
    expected = numbers()
    ids = [
        f"{p}-{f}" for p, f in zip(expected["plate"], expected["fiber"], strict=True)
    ]
    assert np.concatenate([r.object_id for r in records]).tolist() == ids
    for name in ("ra", "dec"):
        got = np.concatenate([getattr(r, name) for r in records])
        assert got.dtype == np.float64 and got.dtype.isnative
        np.testing.assert_allclose(got, expected[name], rtol=1e-12)
    for name, column in (("mag", "r_mag"), ("size", "size")):
        parts = [r.observations[name] for r in records]
        assert all(isinstance(p, Scalar) for p in parts)
        got = np.concatenate([plain(p.values) for p in parts])
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected[column], rtol=1e-12)
    labels = [r.observations["kind"] for r in records]
    assert all(isinstance(k, Category) for k in labels)
    got = np.concatenate([k.labels for k in labels])
    assert got.tolist() == expected["class"].tolist()
    assert max(len(r) for r in records) <= rows
    assert source.report == Report(10, 10, {}, 0)


def test_units_of_the_file_come_along(any_file):
    values = read_all(source_of(any_file))[0].observations["mag"].values
    if any_file.suffix == ".csv":
        assert not hasattr(values, "unit")
    else:
        assert values.unit == u.mag


def test_partitions_can_be_read_alone_and_again(any_file):
    source = source_of(any_file, rows_per_partition=3)
    names = source.partitions()
    assert len(names) >= 4 and len(set(names)) == len(names)
    last = next(iter(source.read(names[-1])))
    again = next(iter(source.read(names[-1])))
    assert last.object_id.tolist() == again.object_id.tolist()
    assert source.report.rows_in == len(last)  # read twice, counted once
    assert source_of(any_file, rows_per_partition=3).partitions() == names
    with pytest.raises(DataError, match="partition '77'"):
        next(iter(source.read("77")))


@settings(max_examples=30)
@given(count=st.integers(1, 60), rows=st.integers(1, 25), newline=st.booleans())
def test_csv_pieces_lose_no_row(tmp_path_factory, count, rows, newline):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    lines = [f"{n},1,{n}.5,0" for n in range(count)]
    end = "\r\n" if newline else ""
    path.write_bytes(("\r\n".join(["id,ra,x,dec", *lines]) + end).encode())
    source = CatalogSource(path, {"x": "x"}, (), ("id",), rows_per_partition=rows)
    parts = read_all(source)
    got = np.concatenate([r.observations["x"].values for r in parts])
    np.testing.assert_array_equal(got, np.arange(count) + 0.5)
    assert len(parts) == -(-count // rows)


def test_csv_of_skyserver_with_comment_quotes_and_bom(tmp_path):
    path = tmp_path / "t.csv"
    text = '#Table1\nid,ra,dec,r_mag,class\n"a,1",1,2,N/A,"STAR"\nb,3,4, 5.5 ,null\n'
    path.write_text(text)
    source = CatalogSource(path, {"m": "r_mag", "k": "class"}, ("k",), ("id",))
    (records,) = read_all(source)
    assert records.object_id.tolist() == ["a,1", "b"]
    np.testing.assert_array_equal(records.observations["m"].values, [np.nan, 5.5])
    assert records.observations["k"].labels.tolist() == ["STAR", ""]
    path.write_bytes(b"\xef\xbb\xbfid,ra,dec\nx,1,2\n")
    (records,) = read_all(CatalogSource(path, {}, (), ("id",)))
    assert records.object_id.tolist() == ["x"]


def test_long_integers_keep_their_digits(tmp_path):
    ids = [1237648720693755918, 1237648720693755919]
    data = {"id": np.array(ids), "ra": np.ones(2), "dec": np.ones(2)}
    for ending in (".csv", ".parquet"):
        WRITERS[ending](tmp_path / f"t{ending}", data)
        source = CatalogSource(tmp_path / f"t{ending}", {}, (), ("id",))
        assert read_all(source)[0].object_id.tolist() == [str(i) for i in ids]


def test_fits_nulls_scaling_and_byte_order(tmp_path):
    columns = [
        fits.Column("id", "K", array=np.array([5, 6, 7])),
        fits.Column("ra", "E", array=np.array([1, 2, 3], np.float32)),
        fits.Column("dec", "D", array=np.zeros(3)),
        fits.Column("n", "I", null=-99, array=np.array([4, -99, 6])),
        fits.Column("s", "I", array=np.array([1, 2, 3])),
        fits.Column("v", "3E", array=np.arange(9, dtype=np.float32).reshape(3, 3)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    fits.setval(tmp_path / "t.fits", "TSCAL5", value=0.1, ext=1)
    fits.setval(tmp_path / "t.fits", "TZERO5", value=5.0, ext=1)
    source = CatalogSource(
        tmp_path / "t.fits", {"n": "n", "s": "s", "v": "v"}, (), ("id",)
    )
    (records,) = read_all(source)
    np.testing.assert_array_equal(records.observations["n"].values, [4, np.nan, 6])
    np.testing.assert_allclose(records.observations["s"].values, [5.1, 5.2, 5.3])
    assert isinstance(records.observations["v"], Coefficients)
    assert records.observations["v"].values.shape == (3, 3)
    assert records.ra.dtype.isnative


def test_parquet_lists_are_coefficients(tmp_path):
    table = pa.table(
        {
            "id": ["a", "b"],
            "ra": [1.0, 2.0],
            "dec": [0.0, 0.0],
            "xp": pa.array([[1.0, 2.0, 3.0], None]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    source = CatalogSource(tmp_path / "t.parquet", {"xp": "xp"}, (), ("id",))
    values = read_all(source)[0].observations["xp"].values
    np.testing.assert_array_equal(values, [[1, 2, 3], [np.nan] * 3])


def test_bad_positions_are_left_out_and_counted(tmp_path):
    data = numbers()
    data["ra"][[0, 3]], data["ra"][5], data["dec"][6] = np.nan, 361.0, -91.0
    data["ra"][7] = 360.0
    write_csv(tmp_path / "t.csv", data)
    source = source_of(tmp_path / "t.csv", rows_per_partition=4)
    records = read_all(source)
    report = source.report
    assert report.left_out == {
        "ra or dec missing": 2,
        "ra outside 0..360": 1,
        "dec outside -90..90": 1,
    }
    assert report.rows_in == 10 == report.rows_out + sum(report.left_out.values())
    assert sum(len(r) for r in records) == report.rows_out == 6
    assert all(np.all((r.ra >= 0) & (r.ra < 360)) for r in records)
    kept = np.concatenate([r.observations["size"].values for r in records])
    np.testing.assert_array_equal(kept, data["size"][[1, 2, 4, 7, 8, 9]])


def test_duplicates_are_kept_and_counted(tmp_path):
    data = numbers()
    data["plate"][:], data["fiber"][:] = 1, [1, 2, 3, 1, 1, 4, 5, 6, 7, 2]
    write_csv(tmp_path / "t.csv", data)
    source = source_of(tmp_path / "t.csv", rows_per_partition=4)
    assert sum(len(r) for r in read_all(source)) == 10
    assert source.report.duplicates == 3


def test_sentinels_are_absent(tmp_path):
    data = numbers()
    data["r_mag"][4] = -9999.0
    for ending in (".csv", ".fits"):
        WRITERS[ending](tmp_path / f"t{ending}", data)
        source = source_of(tmp_path / f"t{ending}", missing=(-9999.0,))
        values = plain(read_all(source)[0].observations["mag"].values)
        assert np.flatnonzero(np.isnan(values)).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"mag": "R_Mag"}}, r"'R_Mag'.*Did you mean r_mag\?"),
        ({"columns": {"mag": "qqq"}}, r"'qqq'.*It has plate, fiber, ra"),
        ({"object_id": ("plat",)}, r"'plat'.*Did you mean plate"),
        ({"ra": "RAJ2000"}, "'RAJ2000'"),
    ],
)
def test_unknown_columns_list_near_ones(any_file, change, message):
    with pytest.raises(DataError, match=message) as caught:
        source_of(any_file, **change)
    assert str(any_file) in str(caught.value)


def test_column_that_is_not_numeric(any_file):
    source = source_of(any_file, {"mag": "class"})
    with pytest.raises(DataError, match=r"column class is not numeric.*'STAR'"):
        read_all(source)


def test_position_in_a_unit_that_is_no_angle(tmp_path):
    table = Table({"id": ["a"], "ra": [1.0] * u.m, "dec": [1.0] * u.deg})
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    with pytest.raises(UnitError, match="column ra has unit m"):
        read_all(CatalogSource(tmp_path / "t.ecsv", {}, (), ("id",)))
    table["ra"] = [12.0] * u.hourangle
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv", overwrite=True)
    (records,) = read_all(CatalogSource(tmp_path / "t.ecsv", {}, (), ("id",)))
    assert records.ra[0] == pytest.approx(180.0)


def test_nonsense_arguments(csv_file):
    with pytest.raises(ConfigError, match="0 rows per partition"):
        source_of(csv_file, rows_per_partition=0)
    with pytest.raises(ConfigError, match="object id"):
        source_of(csv_file, object_id=())


def test_records_of_unlike_lengths_are_refused():
    one = np.ones(2)
    with pytest.raises(DataError, match="2 objects and 3 values of mag"):
        Records(np.array(["a", "b"]), one, one, {"mag": Scalar(np.ones(3))})


@given(
    st.lists(st.text(st.characters(exclude_characters="\0"), max_size=9), min_size=1)
)
def test_hashes_of_texts_do_not_depend_on_the_batch(texts):
    together = text_hashes(np.array(texts, np.str_))
    alone = [int(text_hashes(np.array([t], np.str_))[0]) for t in texts]
    assert together.tolist() == alone
    assert len(set(alone)) == len(set(texts))


@pytest.mark.real
def test_real_sdss_catalogue(real_data):
    path = real_data / "catalog" / "sdss_spectroscopic_7000.csv"
    columns = {"r": "r", "redshift": "redshift", "kind": "class"}
    source = CatalogSource(
        path, columns, ("kind",), ("plate", "mjd", "fiberid"), rows_per_partition=999
    )
    records = read_all(source)
    assert len(records) == 8
    assert source.report == Report(7000, 7000, {}, 0)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    got = np.concatenate([r.observations["redshift"].values for r in records])
    np.testing.assert_array_equal(got, [float(row["redshift"]) for row in rows])
    ids = np.concatenate([r.object_id for r in records])
    assert ids[0] == "-".join(rows[0][k] for k in ("plate", "mjd", "fiberid"))


@pytest.mark.real
def test_real_fits_tables(real_data):
    path = real_data / "legacy" / "desi_targets_1001.fits"
    columns = {"flux_g": "FLUX_G"}
    source = CatalogSource(path, columns, (), ("RA", "DEC"), "RA", "DEC")
    (records,) = read_all(source)
    expected = fits.getdata(path)["FLUX_G"]  # pyright: ignore
    np.testing.assert_array_equal(
        plain(records.observations["flux_g"].values), expected
    )
    assert len(records) == 1001
