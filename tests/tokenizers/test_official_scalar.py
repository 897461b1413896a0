# SPDX-License-Identifier: MIT
"""AION-1's codecs of numbers and catalogues: PyTorch's tokens, absent values absent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.codec import Codec
from aion.errors import DataError
from aion.modality import MODALITIES
from aion.observation import Catalog, Coefficients, Scalar
from aion_tokenizers.official_catalog import OBJECTS, VOCABULARY_OFFSET
from aion_tokenizers.official_scalar import ScalarSet
from aion_tokenizers.quantile_table import NO_CURVE, QuantileTable

ONE = ("scalar", "scalar_log", "scalar_grid")


def observed(case, values):
    return Coefficients(values) if case == "scalar_multi" else Scalar(values)


@pytest.mark.parametrize("case", [*ONE, "scalar_multi"])
def test_tokens_and_values_are_pytorchs(official, quirky, known, case):
    parts = known(case)
    value = parts["value"]
    expected = parts["codes"].reshape(len(value), -1)
    np.testing.assert_array_equal(quirky(case).encode(observed(case, value)), expected)
    codes = official(case).encode(observed(case, value))
    real = np.isfinite(value.reshape(len(value), -1))
    np.testing.assert_array_equal(codes, np.where(real, expected, -1))
    assert codes.dtype == np.int32
    decoded = official(case).decode(expected).values
    np.testing.assert_allclose(decoded, parts["decoded"], rtol=1e-6)
    assert np.isnan(
        official(case).decode(codes).values[~real.reshape(value.shape)]
    ).all()


@pytest.mark.parametrize("case", ONE)
def test_representatives_come_back(official, case):
    codec = official(case)
    centres, edges = codec.bin_centres(), codec.bin_edges()
    assert np.all(np.diff(edges) > 0) and np.isfinite(edges).all()
    assert len(edges) == len(centres) + 1
    np.testing.assert_allclose(edges[1:], centres, rtol=1e-5, atol=1e-6)
    codes = codec.codes_of_bin(np.arange(len(centres)))
    np.testing.assert_array_equal(codec.decode(codes).values, centres.astype("f4"))
    np.testing.assert_array_equal(codec.bin_of_codes(codes), np.arange(len(centres)))
    middle = (edges[1:] + edges[:-1]) / 2
    wide = np.diff(edges) > 1e-4 * np.abs(middle) + 1e-5
    np.testing.assert_array_equal(codec.bin_of(middle)[wide], np.flatnonzero(wide))


def test_negative_fluxes_share_the_first_code(official):
    codes = official("scalar_log").encode(Scalar(np.array([-3.0, 0.0, 1e-5])))
    assert np.all(codes == codes[0])


def test_masked_values_are_absent(official):
    values = np.ma.masked_array([0.1, 0.2], [False, True])
    assert official("scalar").encode(Scalar(values))[1] == -1


def test_all_scalars_of_a_record_in_one_call(official, quirky):
    rng = np.random.default_rng(0)
    codecs = {
        "e1": official("scalar"),
        "flux": official("scalar_log"),
        "xp": official("scalar_multi"),
        "z": quirky("scalar_grid"),
    }
    given = {n: Scalar(rng.normal(0, 2, 50)) for n in ("e1", "flux", "z")}
    given["xp"] = Coefficients(rng.normal(0, 50, (50, 7)))
    for observation in given.values():
        observation.values[3] = np.nan
    together = ScalarSet(codecs).encode(given)
    for name, codec in codecs.items():
        np.testing.assert_array_equal(together[name], codec.encode(given[name]))
        assert np.all((together[name][3] == -1) == (name != "z"))


@given(st.integers(0, 10_000), st.lists(st.integers(1, 70), min_size=1, max_size=5))
def test_the_table_is_searchsorted(seed, sizes):
    rng = np.random.default_rng(seed)
    edges = [np.sort(np.round(rng.normal(size=n), 1)).astype("f4") for n in sizes]
    values = np.round(rng.normal(size=(20, len(sizes))), 1).astype("f4")
    values[0], values[1] = np.inf, -np.inf
    codes = QuantileTable.of(edges, [NO_CURVE] * len(sizes)).encode(values)
    for column, row in enumerate(edges):
        expected = np.searchsorted(row, values[:, column], side="left")
        np.testing.assert_array_equal(codes[:, column], expected)


def test_specs(official):
    z = official("scalar_grid").spec(MODALITIES["redshift"], "Z")
    assert (z.num_codes, z.vocabulary, z.grid) == (1024, 1025, (1,))
    e1 = official("scalar").spec(MODALITIES["legacy_shape_e1"], "SHAPE_E1")
    assert (e1.num_codes, e1.vocabulary) == (1024, 1024)
    xp = official("scalar_multi").spec(MODALITIES["gaia_xp_bp"], "xp")
    assert (xp.num_codes, xp.grid) == (250, (7,))
    catalog = official("catalog").spec(MODALITIES["legacy_catalog"], "catalog")
    assert (catalog.num_codes, catalog.vocabulary) == (3264, 3468)
    assert catalog.num_codes + VOCABULARY_OFFSET == catalog.vocabulary
    assert catalog.ranges[:5] == (
        (0, 96),
        (96, 192),
        (192, 1216),
        (1216, 2240),
        (2240, 3264),
    )


def test_wrong_shapes_and_codes(official):
    with pytest.raises(DataError, match="one per object"):
        official("scalar").encode(Scalar(np.zeros((3, 2))))
    with pytest.raises(DataError, match=r"\[batch, 7\]"):
        official("scalar_multi").encode(Coefficients(np.zeros((3, 6))))
    with pytest.raises(DataError, match="1024"):
        official("scalar").decode(np.array([[1024]]))


def catalogue(parts):
    given = parts["input"]
    valid = given["SHAPE_R"] != 9999
    names = ("X", "Y", "SHAPE_E1", "SHAPE_E2", "SHAPE_R")
    return Catalog(*(given[n] for n in names), valid=valid)


def test_catalogue_tokens_are_pytorchs(official, quirky, known):
    parts = known("catalog")
    sources = catalogue(parts)
    np.testing.assert_array_equal(quirky("catalog").encode(sources), parts["codes"])
    codes = official("catalog").encode(sources)
    absent = parts["codes"] == 9999
    np.testing.assert_array_equal(codes, np.where(absent, -1, parts["codes"]))
    again = official("catalog").decode(codes)
    theirs = quirky("catalog").decode(parts["codes"])
    np.testing.assert_array_equal(again.valid, sources.valid)
    names = {"x": "X", "y": "Y", "e1": "SHAPE_E1", "e2": "SHAPE_E2"}
    for ours, name in (names | {"radius": "SHAPE_R"}).items():
        expected = parts["decoded"][name]
        np.testing.assert_allclose(getattr(theirs, ours), expected, rtol=1e-6)
        found = getattr(again, ours)
        np.testing.assert_array_equal(np.isnan(found), ~sources.valid)
        np.testing.assert_allclose(found[sources.valid], expected[sources.valid])
    assert isinstance(official("catalog"), Codec)


def test_catalogues_of_few_many_and_odd_sources(official):
    def sources(count, **change):
        fields = {n: np.full((1, count), 2.0) for n in ("e1", "e2", "radius")}
        fields |= {"x": np.array([[-3.0, 40.4, 200.0][:count]]).repeat(1, 0)}
        fields |= {"y": np.full((1, count), 7.6), "valid": np.ones((1, count), bool)}
        return Catalog(**(fields | change))

    codec = official("catalog")
    codes = codec.encode(sources(3)).reshape(OBJECTS, 5)
    assert codes[:4, 0].tolist() == [0, 40, 95, -1] and codes[0, 1] == 96 + 8
    assert codec.count(sources(3)).below == 1
    codes = codec.encode(sources(3, e1=np.array([[np.nan, 0, 0]]))).reshape(OBJECTS, 5)
    assert np.all(codes[0] == -1) and np.all(codes[1:3] >= 0)
    many = {n: np.zeros((1, 21)) for n in ("x", "y", "e1", "e2", "radius")}
    with pytest.raises(DataError, match="21 sources"):
        codec.encode(Catalog(**many, valid=np.ones((1, 21), bool)))
    with pytest.raises(DataError, match="shapes"):
        codec.encode(sources(3, valid=np.ones((1, 2), bool)))
    wrong = codec.encode(sources(3))
    wrong[0, 1] = 5  # a code of x in the place of y
    assert codec.decode(wrong).valid[0, :4].tolist() == [False, True, True, False]
    with pytest.raises(DataError, match="five per source"):
        codec.decode(np.zeros((1, 99), int))
