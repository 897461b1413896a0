# SPDX-License-Identifier: MIT
"""From a config's rows to observations and codecs: differences, noise, errors."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from scipy import stats

from aion.errors import ConfigError, DataError, UnitError
from aion.mocksky.catalog import write_catalog
from aion.modality import MODALITIES, Kind
from aion.observation import Category, Coefficients, Scalar
from aion.observations import (
    TableSource,
    count_values,
    fit_bundle,
    open_catalog,
    specs_from_config,
)
from aion.records import Records, RecordSource

MAGS = [
    {
        "name": f"mag_{band}",
        "survey": "sdss",
        "kind": "scalar",
        "unit": "mag(AB)",
        "column": band,
        "jitter": 0.02,
        "codec": {"word": "empirical", "bins": 64},
    }
    for band in "ug"
]
COLOR = {"name": "color_ug", "difference": ("mag_u", "mag_g")}
REDSHIFT = {"name": "redshift", "column": "redshift"}
LABELS = {
    "name": "object_class",
    "kind": "category",
    "column": "class",
    "codec": {"word": "categories", "labels": ("STAR", "GALAXY", "QSO")},
}
ROWS = [*MAGS, COLOR, REDSHIFT, LABELS]
SPECS = specs_from_config(ROWS)


class Memory:
    """A source of given batches; each is a partition."""

    def __init__(self, *batches):
        self.batches = batches

    def partitions(self):
        return tuple(str(n) for n in range(len(self.batches)))

    def read(self, partition):
        yield self.batches[int(partition)]


def records(count=6, **changes):
    observations = {
        "mag_u": Scalar(np.arange(20.0, 20 + count)),
        "mag_g": Scalar(np.full(count, 18.0)),
        "redshift": Scalar(np.linspace(0, 1, count)),
        "object_class": Category(np.array(["STAR", "GALAXY", "QSO"] * count)[:count]),
    }
    ids = np.array([f"object-{n}" for n in range(count)])
    place = np.linspace(0, 80, count)
    return Records(ids, place, place, observations | changes, origin="file 000000")


def read(*batches, specs=SPECS, **options):
    source = TableSource(Memory(*batches), specs, **options)
    return [r for part in source.partitions() for r in source.read(part)]


def test_specs_of_known_and_own_modalities():
    by_name = {spec.name: spec for spec in SPECS}
    assert [s.name for s in SPECS] == [row["name"] for row in ROWS]
    assert by_name["redshift"].modality is not None
    assert by_name["redshift"].modality == MODALITIES["redshift"]
    assert by_name["redshift"].codec == {"word": "coarse_fine"}
    color = by_name["color_ug"]
    assert color.difference == ("mag_u", "mag_g") and color.column is None
    assert color.modality.unit == "mag" and color.modality.kind is Kind.SCALAR
    assert color.codec == {"word": "empirical"}
    assert by_name["mag_u"].jitter == 0.02
    assert by_name["object_class"].modality.survey == "own"


def test_config_dicts_are_rows_too():
    assert specs_from_config(ConfigDict({"m": tuple(ROWS)}).m) == SPECS
    assert specs_from_config([ConfigDict(row) for row in ROWS]) == SPECS


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"jiter": 0.1}, r"'mag_u' has no key 'jiter'.*Did you mean jitter\?"),
        ({"column": None}, "needs a column or a difference"),
        ({"difference": ("mag_g", "redshift")}, "needs a column or a difference"),
        ({"kind": "number"}, "'mag_u'.*kind must be one of"),
        ({"kind": None}, "'mag_u'.*kind must be one of"),
        ({"jitter": -1.0}, "jitter -1.0"),
        ({"jitter": "x"}, "jitter 'x'"),
        ({"codec": "empircal"}, r"'mag_u'.*'empircal'.*empirical, linear"),
        ({"codec": {"word": "empirical", "bin": 3}}, r"'mag_u'.*'bin'"),
        ({"codec": {"word": "linear", "low": 2.0, "high": 1.0}}, "'mag_u'.*empty"),
        ({"codec": {"word": "empirical", "compression": "x"}}, "'mag_u'.*'x'"),
        ({"name": "Mag"}, "lower-case"),
    ],
)
def test_wrong_rows_are_named(row, message):
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        specs_from_config([MAGS[0] | row, *ROWS[1:]])
    assert "\n" not in str(caught.value) and caught.value.fix


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (COLOR | {"difference": ("mag_u", "mag_z")}, r"'mag_z'.*Take two of mag_u"),
        (COLOR | {"difference": ("mag_u", "object_class")}, "'object_class'"),
        (COLOR | {"difference": ("mag_u",)}, "two names"),
        (COLOR | {"difference": "ug"}, "two names"),
        (COLOR | {"jitter": 0.1}, "Give jitter to"),
        (COLOR | {"name": "mag_u"}, "stands twice"),
    ],
)
def test_wrong_differences_are_named(row, message):
    with pytest.raises(ConfigError, match=message):
        specs_from_config([*MAGS, REDSHIFT, LABELS, row])


def test_differences_of_differences_are_refused():
    second = {"name": "curve", "difference": ("color_ug", "mag_u")}
    with pytest.raises(ConfigError, match="'color_ug'"):
        specs_from_config([*MAGS, COLOR, second])
    with pytest.raises(ConfigError, match="no modalities"):
        specs_from_config([])


def test_table_source_derives_and_passes_on():
    source = TableSource(Memory(records()), SPECS)
    assert isinstance(source, RecordSource)
    (batch,) = read(records())
    assert list(batch.observations) == [spec.name for spec in SPECS]
    np.testing.assert_array_equal(
        batch.observations["color_ug"].values, np.arange(2.0, 8.0)
    )
    assert batch.copy == 0 and batch.origin == "file 000000"


def test_a_difference_is_absent_if_one_side_is():
    u_mag = np.ma.masked_equal([20.0, 21.0, np.nan, 23.0], 21.0)
    g_mag = np.array([np.nan, 18.0, 18.0, 18.0])
    four = records(4, mag_u=Scalar(u_mag), mag_g=Scalar(g_mag))
    (batch,) = read(four)
    np.testing.assert_array_equal(
        batch.observations["color_ug"].values, [np.nan, np.nan, np.nan, 5.0]
    )


def test_units_are_converted_before_differences():
    flux = 10 ** (-0.4 * (np.arange(20.0, 26.0) - 8.9)) * u.Jy
    (batch,) = read(records(mag_u=Scalar(flux)))
    np.testing.assert_allclose(
        batch.observations["color_ug"].values, np.arange(2.0, 8.0), atol=1e-3
    )
    with pytest.raises(UnitError, match=r"file 000000, column u: mag_u.*km"):
        read(records(mag_u=Scalar(np.ones(6) * u.km)))


def test_missing_modality_is_named():
    one = records()
    some = {k: v for k, v in one.observations.items() if k != "mag_g"}
    with pytest.raises(DataError, match=r"no observation of mag_g.*mag_u"):
        read(replace(one, observations=some))


def test_noise_is_gaussian_independent_and_of_the_size_asked():
    many = records(20_000)
    plain, one, two = read(many, copies=2)
    assert [r.copy for r in (plain, one, two)] == [0, 1, 2]
    noise = {
        (r.copy, name): r.observations[name].values - plain.observations[name].values
        for r in (one, two)
        for name in ("mag_u", "mag_g", "color_ug", "redshift")
    }
    for copy in (1, 2):
        assert stats.kstest(noise[copy, "mag_u"] / 0.02, "norm").pvalue > 1e-3
        assert np.std(noise[copy, "mag_u"]) == pytest.approx(0.02, rel=0.012)
        difference = noise[copy, "mag_u"] - noise[copy, "mag_g"]
        np.testing.assert_allclose(noise[copy, "color_ug"], difference, atol=1e-11)
        assert np.std(noise[copy, "color_ug"]) == pytest.approx(0.02 * 2**0.5, rel=0.03)
        assert not noise[copy, "redshift"].any()
    pairs = [((1, "mag_u"), (2, "mag_u")), ((1, "mag_u"), (1, "mag_g"))]
    for first, second in pairs:
        assert abs(np.corrcoef(noise[first], noise[second])[0, 1]) < 0.03
    neighbours = noise[1, "mag_u"]
    assert abs(np.corrcoef(neighbours[1:], neighbours[:-1])[0, 1]) < 0.03


@given(rows=st.permutations(range(6)), cut=st.integers(1, 5))
def test_noise_depends_on_the_object_and_not_on_its_batch(rows, cut):
    (_, whole) = read(records(), copies=1, seed=3)
    shuffled = records().take(np.array(rows))
    parts = read(
        shuffled.take(slice(0, cut)), shuffled.take(slice(cut, 6)), copies=1, seed=3
    )
    values = np.concatenate([r.observations["mag_u"].values for r in parts if r.copy])
    np.testing.assert_array_equal(
        values, whole.observations["mag_u"].values[list(rows)]
    )


def test_other_seeds_give_other_noise():
    values = [
        read(records(), copies=1, seed=seed)[1].observations["mag_u"].values
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.any(values[0] == values[2])


def test_noise_of_coefficients_is_independent_per_channel():
    row = {"name": "gaia_xp_bp", "column": "bp", "jitter": 2.0}
    specs = specs_from_config([row])
    one = records(500)
    xp = replace(one, observations={"gaia_xp_bp": Coefficients(np.zeros((500, 55)))})
    noise = read(xp, specs=specs, copies=1)[1].observations["gaia_xp_bp"].values
    assert noise.shape == (500, 55)
    assert stats.kstest(noise.ravel() / 2, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T) - np.eye(55)).max() < 0.25


def test_bundle_is_fitted_on_the_records_given_and_no_others():
    near = records(mag_u=Scalar(np.arange(6.0)))
    bundle = fit_bundle(SPECS, read(near))
    assert bundle.space.names == tuple(spec.name for spec in SPECS)
    assert bundle.codec("mag_u").bin_edges()[-1] == 5.0
    both = fit_bundle(SPECS, read(near, records()))
    assert both.codec("mag_u").bin_edges()[-1] == 25.0
    assert bundle.codec("object_class").labels == ("STAR", "GALAXY", "QSO")


def test_clipped_and_absent_values_are_counted():
    bundle = fit_bundle(SPECS, read(records()))
    values = np.array([19.0, 26.0, 27.0, np.nan, 21.0, 22.0])
    counts = count_values(bundle, read(records(mag_u=Scalar(values)), records()))
    found = counts["mag_u"]
    assert (found.total, found.absent, found.below, found.above) == (12, 1, 1, 2)
    assert counts["object_class"].total == 12
    assert counts["color_ug"].absent == 1


def test_all_nan_column_is_named():
    nothing = records(mag_g=Scalar(np.full(6, np.nan)))
    with pytest.raises(DataError, match=r"file 000000, column g \(mag_g\): all") as e:
        fit_bundle(SPECS, read(nothing))
    assert "\n" not in str(e.value)
    with pytest.raises(DataError, match="no records"):
        fit_bundle(SPECS, [])


def test_unknown_label_is_named():
    labels = Category(np.array(["STAR", "NEBULA"] * 3))
    with pytest.raises(DataError, match=r"column class \(object_class\).*NEBULA"):
        fit_bundle(SPECS, read(records(object_class=labels)))


def test_mock_catalogue_from_file_to_codes(tmp_path):
    path = write_catalog(tmp_path / "mock.parquet", 3000, 0)
    source = open_catalog(
        path, SPECS, object_id=("plate", "mjd", "fiberid"), rows_per_partition=700
    )
    batches = [r for part in source.partitions() for r in source.read(part)]
    assert sum(map(len, batches)) == 3000 and len(batches) == 5
    bundle = fit_bundle(SPECS, batches)
    for batch in batches:
        codes = {k: bundle.encode(k, v) for k, v in batch.observations.items()}
        assert codes["redshift"].shape == (len(batch), 2)
        assert all(c.min() >= 0 for c in codes.values())
        again = bundle.decode("redshift", codes["redshift"]).values
        truth = batch.observations["redshift"].values
        assert np.abs((again - truth) / (1 + truth)).max() < 1e-4


@pytest.mark.real
def test_the_real_catalogue(real_data):
    path = real_data / "catalog" / "sdss_spectroscopic_7000.csv"
    source = open_catalog(path, SPECS, object_id=("plate", "mjd", "fiberid"), copies=1)
    plain, noisy = [r for p in source.partitions() for r in source.read(p)]
    bundle = fit_bundle(SPECS, [plain])
    counts = count_values(bundle, [plain])
    assert counts["redshift"].below == counts["redshift"].above == 0
    assert all(c.total == 7000 and not c.absent for c in counts.values())
    color = plain.observations["mag_u"].values - plain.observations["mag_g"].values
    np.testing.assert_array_equal(plain.observations["color_ug"].values, color)
    assert not np.array_equal(noisy.observations["color_ug"].values, color)
