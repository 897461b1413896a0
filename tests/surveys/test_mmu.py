# SPDX-License-Identifier: MIT
# pyright: reportIndexIssue=false, reportCallIssue=false
"""HDF5 trees as records: values bit by bit, units, masks, padding, ids, laziness."""

import pickle

import h5py
import numpy as np
import pytest

from aion.errors import ConfigError, DataError
from aion.layouts import LAYOUTS, MaskSense
from aion.modality import MODALITIES
from aion.observation import in_unit
from aion.surveys.mmu import RECIPES, MmuSource
from aion.surveys.opening import Survey, open_survey


def read_all(source):
    return [r for p in source.partitions() for r in source.read(p)]


def joined(records, modality, field="values"):
    return np.concatenate(
        [np.asarray(getattr(r.observations[modality], field)) for r in records]
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_set_is_recognised_and_read(write_set, name):
    folder, written = write_set(name)
    source = open_survey(folder, batch=2)
    assert isinstance(source, Survey)
    assert source.layout.name == name
    assert source.partitions() == tuple(
        f"{LAYOUTS[name].folder}/healpix={cell}/001-of-001{LAYOUTS[name].suffix}"
        for cell in written
    )
    records = read_all(source)
    assert [len(r) for r in records] == [2, 1, 2, 2]
    ids = np.concatenate([c[source.layout.id_column] for c in written.values()])
    got = np.concatenate([r.object_id for r in records])
    assert got.tolist() == ids.astype(str).tolist()
    for column in ("ra", "dec"):
        expected = np.concatenate([c[column] for c in written.values()])
        np.testing.assert_array_equal(
            np.concatenate([getattr(r, column) for r in records]), expected
        )
    assert source.report.rows_in == source.report.rows_out == 7
    assert {r.modality for r in RECIPES[name]} == set(records[0].observations)


@pytest.mark.parametrize("name", LAYOUTS)
def test_observations_are_those_of_their_modalities(write_set, name):
    folder, _ = write_set(name, rows=(3,))
    (records,) = read_all(open_survey(folder))
    for modality, observation in records.observations.items():
        if modality in MODALITIES:
            same = in_unit(observation, MODALITIES[modality])
            for field in vars(observation):
                value = getattr(same, field)
                if isinstance(value, np.ndarray):
                    assert value.dtype.isnative
                    assert value.dtype.kind in "biuf"


@pytest.mark.parametrize(
    ("name", "modality", "column"),
    [
        ("legacysurvey", "legacy_flux_w1", "FLUX_W1"),
        ("legacysurvey", "legacy_shape_e2", "SHAPE_E2"),
        ("legacysurvey", "legacy_ebv", "EBV"),
        ("hsc", "hsc_a_y", "a_y"),
        ("hsc", "hsc_mag_r", "r_cmodel_mag"),
        ("hsc", "hsc_shape_12", "i_sdssshape_shape12"),
        ("sdss", "redshift", "Z"),
        ("desi", "redshift", "Z"),
        ("gaia", "gaia_flux_bp", "phot_bp_mean_flux"),
        ("gaia", "gaia_parallax", "parallax"),
        ("desi_provabgs", "log_stellar_mass", "PROVABGS_LOGMSTAR_BF"),
        ("gz10", "redshift", "redshift"),
    ],
)
def test_numbers_come_back_bit_by_bit(write_set, name, modality, column):
    folder, written = write_set(name)
    records = read_all(open_survey(folder, modalities=[modality]))
    assert list(records[0].observations) == [modality]
    expected = np.concatenate([c[column] for c in written.values()])
    np.testing.assert_array_equal(joined(records, modality), expected)


@pytest.mark.parametrize("name", ["legacysurvey", "hsc"])
def test_images(write_set, name):
    folder, written = write_set(name)
    survey = LAYOUTS[name].survey
    records = read_all(open_survey(folder))
    for field, column in (("flux", "image_array"), ("ivar", "image_ivar")):
        expected = np.concatenate([c[column] for c in written.values()])
        got = joined(records, f"{survey}_image", field)
        np.testing.assert_array_equal(got, expected)
    mask = np.concatenate([c["image_mask"] for c in written.values()])
    mask = mask[:, None] if mask.ndim == 3 else mask
    got = joined(records, f"{survey}_image", "mask")
    assert got.shape[1] == len(records[0].observations[f"{survey}_image"].bands)
    assert (got == mask).all(), "True is valid, as in the file"
    bands = [band.name for band in records[0].observations[f"{survey}_image"].bands]
    assert bands[:3] == [f"{'DES' if survey == 'legacy' else 'HSC'}-{b}" for b in "GRI"]


def test_segmentation_and_neighbours(write_set):
    folder, written = write_set("legacysurvey", rows=(4,))
    (records,) = read_all(open_survey(folder))
    (columns,) = written.values()
    field = records.observations["legacy_segmentation"].values
    assert field.min() >= 0 and field.max() <= 1
    np.testing.assert_array_equal(np.round(field * 6), columns["object_mask"])
    near = records.observations["legacy_catalog"]
    np.testing.assert_array_equal(near.valid, columns["catalog_TYPE"] > 0)
    np.testing.assert_array_equal(near.x, columns["catalog_X"])
    np.testing.assert_array_equal(near.radius, np.float32(columns["catalog_SHAPE_R"]))


@pytest.mark.parametrize("name", ["sdss", "desi"])
def test_spectra_have_the_mask_turned(write_set, name):
    folder, written = write_set(name)
    assert LAYOUTS[name].mask is MaskSense.BAD
    records = read_all(open_survey(folder))
    columns = list(written.values())
    for field, column in (("flux", "spectrum_flux"), ("ivar", "spectrum_ivar")):
        expected = np.concatenate([c[column] for c in columns])
        np.testing.assert_array_equal(
            joined(records, f"{name}_spectrum", field), expected
        )
    bad = np.concatenate([c["spectrum_mask"] for c in columns])
    np.testing.assert_array_equal(joined(records, f"{name}_spectrum", "mask"), ~bad)
    spectrum = records[0].observations[f"{name}_spectrum"]
    assert spectrum.wavelength.ndim == 1, "one grid for all objects"
    middle = spectrum.wavelength[20] / (2.3548 * 0.9 * 0.8)
    np.testing.assert_allclose(spectrum.resolution[:, 20], middle, rtol=1e-3)


def test_padding_of_sdss_is_taken_off(invent, tmp_path):
    from aion.mocksky.write_mmu import MmuWriter

    writer = MmuWriter(tmp_path, LAYOUTS["sdss"])
    blocks = [invent("sdss", 2, seed=n, length=m) for n, m in ((1, 30), (2, 40))]
    writer.write(5, blocks)
    records = read_all(open_survey(tmp_path / "sdss", batch=2))
    assert [r.observations["sdss_spectrum"].flux.shape[1] for r in records] == [30, 40]
    (both,) = read_all(open_survey(tmp_path / "sdss", batch=4))
    spectrum = both.observations["sdss_spectrum"]
    assert (np.diff(np.broadcast_to(spectrum.wavelength, (4, 40))) > 0).all()
    assert not spectrum.mask[:2, 30:].any()
    assert (spectrum.ivar[:2, 30:] == 0).all()
    np.testing.assert_array_equal(spectrum.mask[:2, :30], ~blocks[0]["spectrum_mask"])


def test_xp_coefficients_and_a_source_without_bp(invent, tmp_path):
    from aion.mocksky.write_mmu import MmuWriter

    columns = invent("gaia", 3)
    columns["coeff"][1, :55] = np.nan
    MmuWriter(tmp_path, LAYOUTS["gaia"]).write(7, [columns])
    (records,) = read_all(open_survey(tmp_path / "gaia"))
    bp, rp = (records.observations[f"gaia_xp_{arm}"] for arm in ("bp", "rp"))
    assert np.isnan(bp.values[1]).all() and np.isfinite(rp.values[1]).all()
    np.testing.assert_array_equal(rp.values, columns["coeff"][:, 55:])
    np.testing.assert_array_equal(rp.errors, columns["coeff_error"][:, 55:])


def test_redshift_warnings_are_words(write_set):
    for name, column in (("desi", "ZWARN"), ("sdss", "ZWARNING")):
        folder, written = write_set(name, rows=(5,))
        (columns,) = written.values()
        (records,) = read_all(open_survey(folder))
        good = records.observations["redshift_quality"].labels == "good"
        np.testing.assert_array_equal(good, columns[column] == 0)


def test_positions_are_read_alone(write_set):
    folder, written = write_set("gaia")
    source = open_survey(folder)
    got = [source.positions(partition) for partition in source.partitions()]
    for positions, columns in zip(got, written.values(), strict=True):
        for name, column in (
            ("object_id", "source_id"),
            ("ra", "ra"),
            ("pm_ra", "pmra"),
            ("pm_dec", "pmdec"),
        ):
            np.testing.assert_array_equal(getattr(positions, name), columns[column])
    assert source.epoch == 2016.0
    folder, _ = write_set("desi")
    assert (
        open_survey(folder).positions("edr_sv3/healpix=1000/001-of-001.hdf5").pm_ra
        is None
    )


@pytest.mark.parametrize(
    "ids",
    [
        np.array([b"b'1503p020-1'", b"   1503p020-2"]),
        np.array([b"1503p020-1", b"b'1503p020-2'"]),
    ],
)
def test_ids_are_plain(write_set, ids):
    folder, _ = write_set("legacysurvey", rows=(2,))
    (path,) = folder.rglob("*.hdf5")
    with h5py.File(path, "a") as file:
        del file["object_id"]
        file["object_id"] = ids
    (records,) = read_all(open_survey(folder))
    assert records.object_id.tolist() == ["1503p020-1", "1503p020-2"]


def test_unknown_columns_and_missing_ones(write_set):
    folder, _ = write_set("legacysurvey", rows=(2,))
    (path,) = folder.rglob("*.hdf5")
    with h5py.File(path, "a") as file:
        file["NEW_COLUMN"] = np.zeros(2)
        del file["FLUX_W4"], file["object_mask"], file["image_psf_fwhm"]
    (records,) = read_all(open_survey(folder))
    names = set(records.observations)
    assert not names & {"legacy_flux_w4", "legacy_segmentation"}
    assert {"legacy_image", "legacy_flux_w3"} <= names
    assert records.observations["legacy_image"].psf_fwhm is None


def test_coordinates_in_capitals(write_set):
    folder, written = write_set("desi", rows=(2,))
    (path,) = folder.rglob("*.hdf5")
    with h5py.File(path, "a") as file:
        for name in ("ra", "dec"):
            file.move(name, name.upper())
    (records,) = read_all(open_survey(folder))
    np.testing.assert_array_equal(records.ra, written[1000]["ra"])


def test_sources_pickle_and_read_alike(write_set):
    folder, _ = write_set("desi", rows=(2,))
    source = open_survey(folder)
    other = pickle.loads(pickle.dumps(source))
    (one,), (two,) = read_all(source), read_all(other)
    assert one.object_id.tolist() == two.object_id.tolist()
    assert source == other


def test_only_a_batch_is_read_at_once(write_set, monkeypatch):
    folder, _ = write_set("hsc", rows=(7,))
    most = []
    whole = h5py.Dataset.__getitem__

    def counted(data, rows, *rest):
        values = whole(data, rows, *rest)
        if data.name == "/image_array":
            most.append(len(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    assert sum(len(r) for r in read_all(open_survey(folder, batch=3))) == 7
    assert most == [3, 3, 1]


def test_a_configuration_a_file_and_a_whole_tree(write_set):
    folder, _ = write_set("sdss", rows=(2,))
    assert read_all(open_survey(folder / "sdss"))
    (path,) = folder.rglob("*.hdf5")
    assert open_survey(path).partitions() == (path.name,)
    assert read_all(open_survey(path))
    write_set("desi", rows=(2,))
    with pytest.raises(DataError, match="holds the sets desi, sdss"):
        open_survey(folder.parent)


def test_prefixed_pixel_folders(write_set):
    folder, _ = write_set("sdss", rows=(2,))
    (path,) = folder.rglob("*.hdf5")
    path.parent.rename(path.parent.with_name("train_healpix=1000"))
    assert open_survey(folder).partitions() == (
        "sdss/train_healpix=1000/001-of-001.hdf5",
    )


def test_nonsense(write_set, tmp_path):
    folder, _ = write_set("sdss", rows=(2,))
    with pytest.raises(ConfigError, match=r"no modality 'hsc_image'.*sdss_spectrum"):
        open_survey(folder, modalities=["hsc_image"])
    with pytest.raises(ConfigError, match="on_bad is 'maybe'"):
        open_survey(folder, on_bad="maybe")
    with pytest.raises(ConfigError, match="batches of 0"):
        MmuSource(folder, LAYOUTS["sdss"], batch=0)
    with pytest.raises(DataError, match="unknown survey 'lsst'"):
        open_survey(folder, "lsst")
    with pytest.raises(DataError, match="no file or folder"):
        open_survey(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="nothing that is known"):
        open_survey(tmp_path / "empty")


def test_some_objects_are_read_by_their_ids(write_set, monkeypatch):
    folder, _ = write_set("desi", rows=(9,))
    source = open_survey(folder, batch=2)
    (partition,) = source.partitions()
    every = list(source.read(partition))
    names = np.concatenate([r.object_id for r in every])
    read = []
    inner = type(source)._columns
    monkeypatch.setattr(
        type(source), "_columns", lambda *a: read.append(a[4]) or inner(*a)
    )
    found = list(source.read_ids(partition, names[[7, 2]]))
    assert [n for r in found for n in r.object_id] == [names[2], names[7]]
    assert [rows.start for rows in read] == [2, 6], "other rows are not touched"
    (there,) = [r.take(np.flatnonzero(r.object_id == names[7])) for r in every[3:4]]
    for name, value in there.observations.items():
        np.testing.assert_array_equal(
            getattr(found[1].observations[name], "flux", 0), getattr(value, "flux", 0)
        )
    assert list(source.read_ids(partition, np.array(["nobody"]))) == []
