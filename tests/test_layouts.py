# SPDX-License-Identifier: MIT
"""The tables of the survey formats hang together and say what the archive has."""

import astropy.units as u
import numpy as np
import pytest

from aion.layouts import DESI_GRID, LAYOUTS, MaskSense, resized
from aion.layouts.hats import LEAVES, SIGNATURES, Turn, arrow_schema
from aion.layouts.png import decode_png, encode_png


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request):
    return request.param


def test_columns_are_unique_and_known(layout):
    names = [column.name for column in layout.columns]
    assert len(names) == len(set(names))
    assert {*layout.signature, layout.id_column, "ra", "dec", "healpix"} <= set(names)
    for column in layout.columns:
        assert not column.copy or column.copy in names
        assert column.numpy.str.lstrip("|") == column.dtype.lstrip("|")


def test_units_are_astropy_s(layout):
    with u.add_enabled_units([u.nmgy, u.mgy]):
        for column in layout.columns:
            u.Unit(column.unit)


def test_signatures_tell_sets_apart(layout):
    for other in LAYOUTS.values():
        names = {column.name for column in other.columns}
        assert (set(layout.signature) <= names) == (other is layout)


# Dtypes, shapes and storage of what the archive's document lists by name.
FROM_THE_DOCUMENT = {
    "legacysurvey": {
        "image_array": ("<f4", (4, 160, 160)),
        "image_ivar": ("<f4", (4, 160, 160)),
        "image_mask": ("|b1", (160, 160)),
        "image_band": ("S5", (4,)),
        "image_psf_fwhm": ("<f4", (4,)),
        "image_scale": ("<f4", (4,)),
        "image_rgb": ("|u1", (160, 160, 3)),
        "blobmodel": ("|u1", (160, 160, 3)),
        "object_mask": ("|u1", (160, 160)),
        "catalog_FLUX_I": ("<f8", (20,)),
        "catalog_SHAPE_E1": ("<f8", (20,)),
        "catalog_TYPE": ("<i8", (20,)),
        "catalog_X": ("<i8", (20,)),
        "object_id": ("S16", ()),
        "gid": ("<i8", ()),
        "EBV": (">f4", ()),
        "FLUX_W4": (">f4", ()),
        "TYPE": ("S3", ()),
    },
    "hsc": {
        "image_array": ("<f4", (5, 160, 160)),
        "image_mask": ("|b1", (5, 160, 160)),
        "image_band": ("S5", (5,)),
        "object_id": (">i8", ()),
        "i_cmodel_mag": (">f4", ()),
        "y_sdssshape_psf_shape12": (">f4", ()),
    },
    "sdss": {
        "spectrum_flux": ("<f4", (None,)),
        "spectrum_mask": ("|b1", (None,)),
        "object_id": ("S22", ()),
        "SPECTROFLUX": (">f4", (5,)),
    },
    "desi": {
        "spectrum_lambda": ("<f4", (7781,)),
        "spectrum_lsf": ("<f4", (11, 7781)),
        "spectrum_mask": ("|b1", (7781,)),
        "object_id": (">i8", ()),
    },
    "gaia": {
        "coeff": ("<f4", (110,)),
        "coeff_error": ("<f4", (110,)),
        "source_id": ("<i8", ()),
        "phot_g_mean_flux": ("<f8", ()),
        "healpix": ("<i8", ()),
    },
    "desi_provabgs": {
        "PROVABGS_MCMC": ("<f8", (100, 13)),
        "PROVABGS_THETA_BF": ("<f8", (13,)),
    },
    "gz10": {"images": ("|u1", (256, 256, 3)), "ans": ("|u1", ())},
}
STORAGE = {
    "legacysurvey": ("dr10_south_21", ".hdf5", "lzf", True, MaskSense.VALID),
    "hsc": ("pdr3_dud_22.5", ".hdf5", "gzip", True, MaskSense.VALID),
    "sdss": ("sdss", ".hdf5", None, False, MaskSense.BAD),
    "desi": ("edr_sv3", ".hdf5", None, False, MaskSense.BAD),
    "gaia": ("gaia", ".hdf5", None, False, None),
    "desi_provabgs": ("datafiles", ".h5", None, False, None),
    "gz10": ("datafiles", ".h5", None, False, None),
}


def test_layout_is_the_document_s(layout):
    for name, (dtype, shape) in FROM_THE_DOCUMENT[layout.name].items():
        column = layout.by_name[name]
        assert (column.dtype, column.shape) == (dtype, shape), name
    told = (layout.folder, layout.suffix, layout.compression, layout.resizable)
    assert (*told, layout.mask) == STORAGE[layout.name]
    assert ("object_id" in layout.by_name) == (layout.name != "gaia")


def test_only_stamps_are_resized(layout):
    for old, new in zip(layout.columns, resized(layout, 96).columns, strict=True):
        assert new.shape == tuple(96 if n == 160 else n for n in old.shape)


def test_desi_grid():
    assert (len(DESI_GRID), DESI_GRID[0]) == (7781, 3600.0)
    assert DESI_GRID[-1] == pytest.approx(9824.0)


def test_leaves_are_columns(layout):
    leaves = LEAVES[layout.name]
    assert len({leaf.path for leaf in leaves}) == len(leaves)
    schema = arrow_schema(layout)
    for leaf in leaves:
        column = layout.by_name[leaf.column]
        assert leaf.top in schema.names
        if leaf.turn is Turn.SAME:
            assert leaf.depth == len(column.shape), leaf.path
    assert str(schema.field("ra").type) == str(schema.field("dec").type) == "double"


def test_tables_are_told_apart_by_their_columns(layout):
    for name, signature in SIGNATURES.items():
        found = set(signature) <= set(arrow_schema(layout).names)
        assert found == (name == layout.name)


@pytest.mark.parametrize("shape", [(7, 5), (6, 9, 3)])
def test_pictures_come_back(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(decode_png(encode_png(picture)), picture)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_of_another_library_come_back(mode):
    import io

    image = pytest.importorskip("PIL.Image")
    y, x = np.mgrid[:40, :50]
    smooth = (127 + 120 * np.sin(x / 9.0) * np.cos(y / 7.0)).astype(np.uint8)
    picture = (
        smooth
        if mode == "L"
        else np.stack(
            [smooth, smooth.T[:40, :40].repeat(2, 1)[:, :50], 255 - smooth], -1
        )
    )
    file = io.BytesIO()
    image.fromarray(picture).save(file, "PNG")
    np.testing.assert_array_equal(decode_png(file.getvalue()), picture)
    back = image.open(io.BytesIO(encode_png(picture)))
    np.testing.assert_array_equal(np.asarray(back), picture)
