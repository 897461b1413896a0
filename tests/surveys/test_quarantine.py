# SPDX-License-Identifier: MIT
# pyright: reportIndexIssue=false, reportCallIssue=false
"""Bad files: an error that names file and column, or a report; counts always add up."""

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aion.errors import ConfigError, DataError
from aion.surveys.opening import open_survey
from aion.surveys.quarantine import Fault, Ledger, Quarantine


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b"")


def letter(path):
    path.write_text("hello, this is a letter\n")


def changed(name, make):
    """A column replaced by what `make` does to it; None deletes it."""

    def change(path):
        with h5py.File(path, "a") as file:
            values = file[name][:]
            del file[name]
            if (new := make(values)) is not None:
                file[name] = new

    return change


def with_item(name, row, value):
    def make(values):
        values = values.copy()
        values[row] = value
        return values

    return changed(name, make)


def no_rows(path):
    with h5py.File(path, "a") as file:
        columns = {name: file[name][:0] for name in file}
        for name, values in columns.items():
            del file[name]
            file[name] = values


FILE_FAULTS = {
    "truncated": (truncate, "", "cannot be read"),
    "empty": (empty, "", "cannot be read"),
    "another format": (letter, "", "cannot be read"),
    "no rows": (no_rows, "", "has no rows"),
    "no ra": (changed("ra", lambda v: None), "ra", "is missing"),
    "no id": (changed("object_id", lambda v: None), "object_id", "is missing"),
    "foreign": (changed("ZWARN", lambda v: None), "ZWARN", "no file of desi"),
    "texts": (changed("Z", lambda v: v.astype("S9")), "Z", "has dtype"),
    "coarse ra": (changed("ra", np.float32), "ra", "float32, too coarse"),
    "shape": (changed("spectrum_flux", lambda v: v[:, 0]), "spectrum_flux", "shape"),
    "short": (changed("spectrum_ivar", lambda v: v[:1]), "spectrum_ivar", "1 rows"),
    "floats as ids": (changed("object_id", lambda v: v / 2), "object_id", "dtype"),
}
ROW_FAULTS = {
    "NaN ra": (with_item("ra", 1, np.nan), "ra", "ra or dec missing"),
    "NaN dec": (with_item("dec", 2, np.nan), "dec", "ra or dec missing"),
    "infinite": (with_item("dec", 0, np.inf), "dec", "ra or dec missing"),
    "ra": (with_item("ra", 1, 400.0), "ra", "ra outside"),
    "dec": (with_item("dec", 1, -91.0), "dec", "dec outside"),
    "twice": (changed("object_id", lambda v: v[[0, 1, 1]]), "object_id", "first time"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_bad_file_is_named_or_left_out(write_set, fault):
    change, column, reason = FILE_FAULTS[fault]
    folder, _ = write_set("desi", rows=(3, 2))
    path = folder / "edr_sv3/healpix=1000/001-of-001.hdf5"
    change(path)
    source = open_survey(folder)
    with pytest.raises(DataError) as caught:
        list(source.read(source.partitions()[0]))
    assert str(path) in str(caught.value) and reason in str(caught.value)
    assert repr(column) in str(caught.value) or not column
    assert "\n" not in str(caught.value) and caught.value.fix
    source = open_survey(folder, on_bad="quarantine")
    records = [r for p in source.partitions() for r in source.read(p)]
    assert sum(len(r) for r in records) == 2
    (found,) = source.report.faults
    assert (found.path, found.column) == (str(path), column)
    assert reason in found.reason
    assert (source.report.files, source.report.rows_out) == (2, 2)
    assert source.report.rows_in == 2 + source.report.rows_left_out
    assert str(path) in source.report.lines()[0]


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_bad_row_is_named_or_left_out(write_set, fault):
    change, column, reason = ROW_FAULTS[fault]
    folder, _ = write_set("desi", rows=(3,))
    (path,) = folder.rglob("*.hdf5")
    change(path)
    source = open_survey(folder)
    with pytest.raises(DataError) as caught:
        list(source.read(source.partitions()[0]))
    assert f"{path} column {column!r}: " in str(caught.value)
    assert reason in str(caught.value) and "(1 rows)" in str(caught.value)
    for batch in (1, 2, 9):
        source = open_survey(folder, on_bad="quarantine", batch=batch)
        for _ in range(2):  # reading again counts once
            records = [r for p in source.partitions() for r in source.read(p)]
        assert sum(len(r) for r in records) == 2
        ids = [i for r in records for i in r.object_id.tolist()]
        assert len(set(ids)) == 2
        report = source.report
        assert (report.rows_in, report.rows_out, report.rows_left_out) == (3, 2, 1)
        assert report.faults == (Fault(str(path), column, report.faults[0].reason, 1),)


def test_positions_of_a_bad_file(write_set):
    folder, _ = write_set("desi", rows=(3, 2))
    truncate(folder / "edr_sv3/healpix=1000/001-of-001.hdf5")
    source = open_survey(folder, "desi")
    with pytest.raises(DataError, match="cannot be read"):
        source.positions(source.partitions()[0])
    source = open_survey(folder, "desi", on_bad="quarantine")
    got = [len(source.positions(p)) for p in source.partitions()]
    assert got == [0, 2] and len(source.report.faults) == 1


def test_a_foreign_file_in_a_pixel_folder(write_set):
    folder, _ = write_set("desi", rows=(3,))
    pixel = folder / "edr_sv3/healpix=1000"
    (pixel / "notes.txt").write_text("hello")
    (pixel / "001-of-001.hdf5.lock").write_text("")
    (pixel / ".001-of-001.hdf5.7.partial").write_text("")
    with pytest.raises(DataError, match=r"notes\.txt.*no HDF5|notes\.txt.*not an HDF5"):
        open_survey(folder).partitions()
    source = open_survey(folder, on_bad="quarantine")
    assert len(source.partitions()) == 1
    assert [f.path for f in source.report.faults] == [str(pixel / "notes.txt")]


def test_a_file_of_another_survey_in_a_pixel_folder(write_set):
    folder, _ = write_set("desi", rows=(3,))
    other, _ = write_set("sdss", rows=(2,))
    foreign = folder / "edr_sv3/healpix=1000/002-of-002.hdf5"
    (other / "sdss/healpix=1000/001-of-001.hdf5").rename(foreign)
    source = open_survey(folder, on_bad="quarantine")
    assert sum(len(r) for p in source.partitions() for r in source.read(p)) == 3
    (fault,) = source.report.faults
    assert fault.path == str(foreign) and fault.column == "ZWARN"


def test_damage_found_late_is_counted(write_set):
    folder, _ = write_set("hsc", rows=(12,))
    (path,) = folder.rglob("*.hdf5")
    with h5py.File(path) as file:
        chunk = file["image_array"].id.get_chunk_info(1)
        first = chunk.chunk_offset[0]
    content = bytearray(path.read_bytes())
    damage = slice(chunk.byte_offset, chunk.byte_offset + chunk.size)
    content[damage] = b"\xff" * chunk.size
    path.write_bytes(bytes(content))
    source = open_survey(folder, on_bad="quarantine", batch=2)
    records = [r for p in source.partitions() for r in source.read(p)]
    report = source.report
    assert sum(len(r) for r in records) == report.rows_out == first // 2 * 2
    assert report.rows_in == 12 == report.rows_out + report.rows_left_out
    assert [fault.column for fault in report.faults] == ["image_array"]
    source = open_survey(folder, batch=2)
    with pytest.raises(DataError, match="column 'image_array': cannot be read"):
        list(source.read(source.partitions()[0]))


def test_a_file_whose_columns_do_not_fit_together(write_set):
    folder, _ = write_set("legacysurvey", rows=(3,))
    (path,) = folder.rglob("*.hdf5")
    with_item("image_band", 2, [b"des-r", b"des-g", b"des-i", b"des-z"])(path)
    source = open_survey(folder)
    with pytest.raises(DataError, match="bands in different orders"):
        list(source.read(source.partitions()[0]))
    source = open_survey(folder, on_bad="quarantine", batch=2)
    got = [len(r) for p in source.partitions() for r in source.read(p)]
    assert got == [2, 1], "alike within a batch is enough"
    source = open_survey(folder, on_bad="quarantine", batch=3)
    assert not [r for p in source.partitions() for r in source.read(p)]
    assert source.report.rows_left_out == source.report.rows_in == 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(
        st.one_of(
            st.tuples(
                st.just("ra"),
                st.integers(0, 8),
                st.sampled_from([np.nan, np.inf, -1.0, 361.0]),
            ),
            st.tuples(
                st.just("dec"),
                st.integers(0, 8),
                st.sampled_from([np.nan, 91.0, -90.5]),
            ),
            st.tuples(st.just("object_id"), st.integers(0, 8), st.integers(0, 3)),
        ),
        max_size=6,
    ),
    batch=st.integers(1, 10),
)
def test_rows_in_are_rows_out_and_rows_left_out(faults, batch, write_set):
    folder, _ = write_set("gz10", rows=(9, 3))
    path = folder / "datafiles/healpix=1000/001-of-001.h5"
    for name, row, value in faults:
        with h5py.File(path, "a") as file:
            file[name][row] = value
    source = open_survey(folder, on_bad="quarantine", batch=batch)
    records = [r for p in source.partitions() for r in source.read(p)]
    report = source.report
    ids = [i for r in records for i in r.object_id.tolist()]
    assert len(ids) == len(set(ids)) == report.rows_out
    assert report.rows_in == 12 == report.rows_out + report.rows_left_out
    assert all(np.isfinite(r.ra).all() and (np.abs(r.dec) <= 90).all() for r in records)
    if report.faults:
        with pytest.raises(DataError, match="column"):
            strict = open_survey(folder, batch=batch)
            list(strict.read(strict.partitions()[0]))


def test_reports_of_several_processes_add_up():
    fault = Fault("a", "ra", "x", 2)
    parts = [Quarantine(1, 5, 3, (fault,)), Quarantine(2, 7, 7)]
    assert Quarantine.joined(parts) == Quarantine(3, 12, 10, (fault,))
    with pytest.raises(ConfigError):
        Ledger("perhaps")
