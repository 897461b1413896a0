# SPDX-License-Identifier: MIT
# pyright: reportIndexIssue=false, reportCallIssue=false
"""Written files: names, dtypes, shapes and compression of the layouts, whole or not."""

import hashlib

import h5py
import numpy as np
import pytest

from aion.errors import DataError
from aion.layouts import LAYOUTS, resized
from aion.mocksky.write_mmu import MmuWriter


def columns_of(layout, count, length=30, seed=0):
    """Every column of a layout, required or not, with values of its kind."""
    rng = np.random.default_rng(seed)
    draws = {
        "b": lambda shape: rng.random(shape) < 0.5,
        "i": lambda shape: rng.integers(0, 100, shape),
        "S": lambda shape: rng.choice(["ab", "x"], shape),
        "f": lambda shape: rng.normal(size=shape).astype(np.float32),
    }
    return {
        c.name: draws[c.kind]((count, *(length if n is None else n for n in c.shape)))
        for c in layout.columns
        if c.name not in ("healpix", "gid")
    }


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return resized(LAYOUTS[request.param], 16)


def test_files_are_those_of_the_layout(layout, tmp_path):
    blocks = [columns_of(layout, n, seed=n) for n in (2, 3)]
    writer = MmuWriter(tmp_path, layout)
    assert writer.write(77, blocks) == 5
    assert writer.path(77).name == f"001-of-001{layout.suffix}"
    assert writer.path(77).parent.name == "healpix=77"
    with h5py.File(writer.path(77)) as file:
        assert set(file) == {column.name for column in layout.columns}
        assert not file.attrs
        for column in layout.columns:
            data = file[column.name]
            shape = tuple(30 if n is None else n for n in column.shape)
            assert data.dtype == column.numpy, column.name
            assert data.shape == (5, *shape)
            assert data.compression == layout.compression
            assert (data.chunks is None) == (not layout.resizable)
            assert data.maxshape[0] == (None if layout.resizable else 5)
            assert not data.attrs
            text = h5py.check_string_dtype(data.dtype)
            assert text is None or text.encoding == (
                "utf-8" if column.utf8 else "ascii"
            )


def test_values_come_back_bit_by_bit(layout, tmp_path):
    blocks = [columns_of(layout, n, seed=n) for n in (2, 3)]
    writer = MmuWriter(tmp_path, layout)
    writer.write(7, blocks)
    with h5py.File(writer.path(7)) as file:
        assert (file["healpix"][:] == 7).all()
        for name in blocks[0]:
            expected = np.concatenate([block[name] for block in blocks])
            if expected.dtype.kind == "U":
                read = np.char.strip(file[name][:].astype("S").astype(str))
                assert read.tolist() == expected.tolist()
            else:
                np.testing.assert_array_equal(file[name][:], expected)


def test_what_may_be_left_out_is_filled(layout, tmp_path):
    columns = columns_of(layout, 2)
    for column in layout.columns:
        if column.fill is not None or column.copy or not column.required:
            columns.pop(column.name, None)
    writer = MmuWriter(tmp_path, layout)
    writer.write(9, [columns])
    with h5py.File(writer.path(9)) as file:
        assert set(file) == set(layout.required)
        for column in layout.columns:
            if column.copy:
                copied = file[column.copy][:].astype(column.numpy)
                np.testing.assert_array_equal(file[column.name][:], copied)
        if "image_band" in file:
            bands = file["image_band"][0].tolist()
            assert bands[:2] in ([b"des-g", b"des-r"], [b"hsc-g", b"hsc-r"])
            assert file["image_scale"][0, 0] in np.float32([0.262, 0.168])


def test_same_columns_same_bytes(layout, tmp_path):
    digests = []
    for folder in ("a", "b"):
        writer = MmuWriter(tmp_path / folder, layout)
        writer.write(1, (columns_of(layout, n, seed=n) for n in (3, 1, 4)))
        digests.append(hashlib.sha256(writer.path(1).read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_sdss_is_padded_like_the_archive(tmp_path):
    layout = LAYOUTS["sdss"]
    short, long = columns_of(layout, 1, 20), columns_of(layout, 2, 25)
    writer = MmuWriter(tmp_path, layout)
    writer.write(3, [short, long])
    with h5py.File(writer.path(3)) as file:
        assert file["spectrum_flux"].shape == (3, 25)
        assert (file["spectrum_lambda"][0, 20:] == -1).all()
        assert (file["spectrum_ivar"][0, 20:] == 0).all()
        assert file["spectrum_mask"][0, 20:].all()
        for name in ("spectrum_flux", "spectrum_lsf_sigma"):
            assert (file[name][0, 20:] == short[name][0, -1]).all()


def test_sdss_ids_have_blanks_on_the_left(tmp_path):
    layout = LAYOUTS["sdss"]
    columns = columns_of(layout, 1) | {"object_id": np.array([299492975510054912])}
    writer = MmuWriter(tmp_path, layout)
    writer.write(3, [columns])
    with h5py.File(writer.path(3)) as file:
        assert file["object_id"][0] == b"    299492975510054912"


@pytest.mark.parametrize("name", ["desi", "hsc"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"colour": c["ra"]}, "no column 'colour'"),
        (lambda c: {k: v for k, v in c.items() if k != "dec"}, "'dec' is missing"),
        (lambda c: c | {"ra": c["ra"][:1]}, r"'ra' has shape \(1,\), not \(3,\)"),
        (
            lambda c: c | {"object_id": np.array(["a", "b", "c"])},
            "'object_id' holds 'a'",
        ),
        (lambda c: c | {"ra": np.array(["x"] * 3)}, "'ra' holds"),
        (lambda c: c | {"object_id": np.array([1.5, 2, 3])}, "dtype float64"),
    ],
)
def test_a_fault_leaves_no_file(tmp_path, name, change, message):
    layout = resized(LAYOUTS[name], 16)
    writer = MmuWriter(tmp_path, layout)
    good, bad = columns_of(layout, 3), change(columns_of(layout, 3))
    with pytest.raises(DataError, match=message):
        writer.write(3, [good, bad])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_rows_no_file(tmp_path):
    layout = LAYOUTS["gaia"]
    writer = MmuWriter(tmp_path, layout)
    assert writer.write(3, [columns_of(layout, 0)]) == 0
    assert writer.write(3, []) == 0
    assert not writer.path(3).parent.exists()


def test_a_numbers_too_large_for_its_column_is_refused(tmp_path):
    layout = LAYOUTS["sdss"]
    columns = columns_of(layout, 1) | {"PLATE": np.array([2**40])}
    with pytest.raises(DataError, match="'PLATE' does not fit"):
        MmuWriter(tmp_path, layout).write(3, [columns])
    columns = columns_of(layout, 1) | {"CLASS": np.array(["SPAGHETTI"])}
    with pytest.raises(DataError, match="'CLASS' holds 9 characters"):
        MmuWriter(tmp_path, layout).write(3, [columns])
