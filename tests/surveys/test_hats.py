# SPDX-License-Identifier: MIT
"""HATS collections: the same records as from HDF5; what lsdb opens; bad files."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aion.errors import DataError
from aion.layouts import LAYOUTS, resized
from aion.layouts.hats import arrow_schema
from aion.mocksky.write_hats import HatsWriter, hats_table
from aion.mocksky.write_mmu import MmuWriter
from aion.surveys.hats import HatsSource
from aion.surveys.opening import open_survey


def read_all(source):
    return [r for p in source.partitions() for r in source.read(p)]


@pytest.fixture
def collection(tmp_path, invent):
    """A small collection made by hand, without lsdb: name -> (folder, columns)."""

    def make(name, rows=(3, 2), change=lambda table: table):
        layout = LAYOUTS[name]
        folder = tmp_path / layout.hats_name
        dataset = folder / layout.hats_name / "dataset/Norder=4/Dir=0"
        dataset.mkdir(parents=True)
        url = f"hats_primary_table_url={layout.hats_name}\n"
        (folder / "collection.properties").write_text(f"#HATS\n{url}")
        (folder / layout.hats_name / "hats.properties").write_text("hats_order=4\n")
        written = []
        for pixel, count in enumerate(rows, start=1000):
            columns = invent(name, count, seed=pixel)
            columns["healpix"] = np.full(count, pixel)
            table = change(hats_table(layout, columns))
            pq.write_table(table, dataset / f"Npix={pixel}.parquet")
            written.append(columns)
        return folder, written

    return make


def same(one, two, name):
    """Two observations are equal but for what HATS does not keep."""
    for field, value in vars(one).items():
        other = getattr(two, field)
        if isinstance(value, np.ndarray) and other is not None:
            if value.dtype.kind in "US":
                assert value.tolist() == other.tolist()
            else:
                np.testing.assert_array_equal(
                    np.float32(value), np.float32(other), f"{name}.{field}"
                )


@pytest.mark.parametrize("name", LAYOUTS)
def test_both_formats_give_the_same_records(collection, tmp_path, name):
    folder, written = collection(name)
    writer = MmuWriter(tmp_path / "mmu", resized(LAYOUTS[name], 24))
    for cell, columns in zip((1000, 1001), written, strict=True):
        writer.write(cell, [columns])
    hats = open_survey(folder, batch=2)
    assert isinstance(hats, HatsSource) and hats.layout.name == name
    assert hats.partitions() == (
        "Norder=4/Dir=0/Npix=1000.parquet",
        "Norder=4/Dir=0/Npix=1001.parquet",
    )
    mmu = open_survey(tmp_path / "mmu" / name, batch=2)
    for one, two in zip(read_all(mmu), read_all(hats), strict=True):
        assert one.object_id.tolist() == two.object_id.tolist()
        np.testing.assert_array_equal(one.ra, two.ra)
        np.testing.assert_array_equal(one.dec, two.dec)
        for modality, observation in two.observations.items():
            same(one.observations[modality], observation, modality)
        without = {"sdss_class", "desi_class"}
        assert set(one.observations) - without == set(two.observations)
    assert hats.report.rows_in == hats.report.rows_out == 5
    for one, two in zip(mmu.partitions(), hats.partitions(), strict=True):
        a, b = mmu.positions(one), hats.positions(two)
        assert a.object_id.astype(str).tolist() == b.object_id.astype(str).tolist()
        np.testing.assert_array_equal(a.ra, b.ra)
        assert (a.pm_ra is None) == (b.pm_ra is None)


@pytest.mark.parametrize("name", LAYOUTS)
def test_tables_have_the_schema(collection, name):
    folder, _ = collection(name)
    for path in folder.rglob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == arrow_schema(LAYOUTS[name])


def test_quirks_are_written(invent):
    columns = invent("legacysurvey", 2)
    row = hats_table(LAYOUTS["legacysurvey"], columns).slice(1, 1).to_pylist()[0]
    assert row["object_id"] == f"b'{columns['object_id'][1]}'"
    assert np.array(row["image"]["mask"]).shape == (4, 24, 24)
    assert (np.array(row["image"]["mask"]) == columns["image_mask"][1]).all()
    assert row["image"]["band"] == ["des-g", "des-r", "des-i", "des-z"]
    assert row["object_mask"]["bytes"][:4] == b"\x89PNG"
    columns = invent("desi", 2) | {"ZWARN": np.array([0, 4])}
    rows = hats_table(LAYOUTS["desi"], columns).to_pylist()
    assert [row["ZWARN"] for row in rows] == [True, False]
    assert rows[0]["spectrum"]["mask"] == columns["spectrum_mask"][0].tolist()
    columns = invent("sdss", 2) | {"ZWARNING": np.array([0, 4])}
    columns["healpix"] = np.array([1, 1])
    rows = hats_table(LAYOUTS["sdss"], columns).to_pylist()
    assert [row["ZWARNING"] for row in rows] == [False, True]
    assert rows[0]["SPECTROFLUX_I"] == pytest.approx(columns["SPECTROFLUX"][0, 3])


def test_spectra_of_unequal_length(invent, tmp_path):
    dataset = tmp_path / "c/dataset/Norder=4/Dir=0/Npix=7"
    dataset.mkdir(parents=True)
    (tmp_path / "c/properties").write_text("hats_order=4\n")
    blocks = [invent("sdss", 1, seed=n, length=m) for n, m in ((1, 20), (2, 30))]
    tables = [
        hats_table(LAYOUTS["sdss"], block | {"healpix": np.array([7])})
        for block in blocks
    ]
    pq.write_table(pa.concat_tables(tables), dataset / "part0.parquet")
    source = open_survey(tmp_path / "c")
    assert source.partitions() == ("Norder=4/Dir=0/Npix=7/part0.parquet",)
    (records,) = read_all(source)
    spectrum = records.observations["sdss_spectrum"]
    assert spectrum.flux.shape == (2, 30)
    assert not spectrum.mask[0, 20:].any() and (spectrum.ivar[0, 20:] == 0).all()
    np.testing.assert_array_equal(spectrum.flux[0, :20], blocks[0]["spectrum_flux"][0])


def test_lists_of_structs_and_lists_of_pixels(collection):
    """The other form that some converted sets have."""

    def change(table):
        columns = {name: table[name].combine_chunks() for name in table.schema.names}
        image = columns["image"]
        names = [image.type.field(n).name for n in range(image.type.num_fields)]
        items = [image.field(name) for name in names]
        inner = pa.StructArray.from_arrays([item.flatten() for item in items], names)
        columns["image"] = pa.ListArray.from_arrays(items[0].offsets, inner)
        from aion.layouts.png import decode_png

        pictures = columns["object_mask"].field("bytes").to_pylist()
        columns["object_mask"] = pa.array([decode_png(p).tolist() for p in pictures])
        return pa.table(columns)

    folder, written = collection("legacysurvey", rows=(3,), change=change)
    (records,) = read_all(open_survey(folder))
    flux = records.observations["legacy_image"].flux
    np.testing.assert_array_equal(flux, written[0]["image_array"])
    codes = np.round(records.observations["legacy_segmentation"].values * 6)
    np.testing.assert_array_equal(codes, written[0]["object_mask"])


def test_missing_columns_and_unknown_ones(collection):
    def change(table):
        table = table.append_column("new", pa.nulls(table.num_rows))
        return table.drop_columns(["FLUX_W4", "blobmodel", "object_mask"])

    folder, _ = collection("legacysurvey", rows=(2,), change=change)
    (records,) = read_all(open_survey(folder))
    assert not {"legacy_flux_w4", "legacy_segmentation"} & set(records.observations)
    assert "legacy_flux_w3" in records.observations


def test_sources_pickle(collection):
    folder, _ = collection("gaia", rows=(2,))
    source = pickle.loads(
        pickle.dumps(open_survey(folder, modalities=["gaia_parallax"]))
    )
    (records,) = read_all(source)
    assert list(records.observations) == ["gaia_parallax"]


def nan_ra(table):
    ra = table["ra"].to_numpy().copy()
    ra[1] = np.nan
    return table.set_column(table.schema.get_field_index("ra"), "ra", pa.array(ra))


def coarse(table):
    ra = table["ra"].cast(pa.float32())
    return table.set_column(table.schema.get_field_index("ra"), "ra", ra)


def words(table):
    place = table.schema.get_field_index("Z")
    return table.set_column(place, "Z", pa.array(["x"] * table.num_rows))


FAULTS = {
    "NaN": (nan_ra, "ra", "ra or dec missing", 4),
    "coarse": (coarse, "ra", "too coarse", 0),
    "texts": (words, "Z", "no values of kind f4", 0),
    "no spectrum": (lambda t: t.drop_columns("ZWARN"), "ZWARN", "no table of desi", 0),
    "no rows": (lambda t: t.slice(0, 0), "", "has no rows", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_tables(collection, fault):
    change, column, reason, left = FAULTS[fault]
    folder, _ = collection("desi", rows=(3, 3), change=change)
    source = open_survey(folder, "desi")
    with pytest.raises(DataError) as caught:
        read_all(source)
    assert "Npix=1000.parquet" in str(caught.value) and reason in str(caught.value)
    source = open_survey(folder, "desi", on_bad="quarantine", batch=2)
    assert sum(len(r) for r in read_all(source)) == left
    assert {f.column for f in source.report.faults} == {column}
    assert source.report.rows_in == left + source.report.rows_left_out


def test_truncated_parquet(collection):
    folder, _ = collection("desi")
    path = next(folder.rglob("Npix=1000.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"Npix=1000\.parquet: cannot be read"):
        read_all(open_survey(folder))
    source = open_survey(folder, on_bad="quarantine")
    assert sum(len(r) for r in read_all(source)) == 2
    assert len(source.report.faults) == 1


def test_a_collection_without_its_table(collection):
    folder, _ = collection("desi")
    (folder / "collection.properties").write_text("hats_primary_table_url=gone\n")
    with pytest.raises(DataError, match="names no primary table"):
        open_survey(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_hats_import_makes(invent, tmp_path):
    lsdb = pytest.importorskip("lsdb")
    dask = pytest.importorskip("dask")
    layout = resized(LAYOUTS["sdss"], 24)
    writer = HatsWriter(tmp_path, layout)
    blocks = [invent("sdss", n, seed=n) for n in (4, 3)]
    writer.stage(1703, blocks)
    folder = writer.finish()
    assert folder == tmp_path / "mmu_sdss_sdss"
    assert not writer.staging.exists()
    names = {path.name for path in folder.iterdir()}
    assert {"collection.properties", "mmu_sdss_sdss", "mmu_sdss_sdss_10arcs"} <= names
    inner = {path.name for path in (folder / "mmu_sdss_sdss").iterdir()}
    assert {"hats.properties", "partition_info.csv", "dataset"} <= inner
    margin = (folder / "mmu_sdss_sdss_10arcs" / "hats.properties").read_text()
    assert "hats_margin_threshold=10.0" in margin
    records = read_all(open_survey(folder))
    by_id = {
        i: r.take([n]) for r in records for n, i in enumerate(r.object_id.tolist())
    }
    for block in blocks:
        for n, name in enumerate(block["object_id"].astype(str).tolist()):
            spectrum = by_id[name].observations["sdss_spectrum"]
            np.testing.assert_array_equal(spectrum.flux[0], block["spectrum_flux"][n])
    catalog = lsdb.open_catalog(str(folder), columns=["object_id", "ra", "dec"])
    with dask.config.set(scheduler="synchronous"):
        frame = catalog.compute()
    assert len(frame) == len(by_id) == 7
    path = next(folder.rglob("Npix=*.parquet"))
    assert "_healpix_29" in pq.read_schema(path).names
