# SPDX-License-Identifier: MIT
import healpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.errors import ConfigError, DataError
from aion.splits import SPLITS, SplitRule

CELLS = np.arange(12 * 16**2)


def test_cells_are_those_of_healpix():
    ra, dec = np.array([0.0, 120.5, 359.9]), np.array([-90.0, 3.25, 90.0])
    theta, phi = np.radians(90 - dec), np.radians(ra)
    expected = healpy.ang2pix(16, theta, phi, nest=True)
    np.testing.assert_array_equal(SplitRule().cells(ra, dec), expected)
    assert SplitRule().cells([], []).shape == (0,)


def test_every_cell_is_tested_in_exactly_one_fold():
    folds = [SplitRule(fold=fold).assign(CELLS) == "test" for fold in range(5)]
    np.testing.assert_array_equal(np.sum(folds, axis=0), 1)
    for fold in folds:
        assert fold.mean() == pytest.approx(0.2, abs=0.03)


def test_validation_is_a_share_of_the_rest():
    names = SplitRule(validation=0.2).assign(CELLS)
    assert set(names) == set(SPLITS)
    rest = names != "test"
    assert (names[rest] == "validation").mean() == pytest.approx(0.2, abs=0.03)


def test_split_is_the_same_for_ever():
    # A change of these would mix test objects into the training of old checkpoints.
    numbers = SplitRule().numbers(np.arange(24))
    assert "".join(map(str, numbers)) == FROZEN


FROZEN = "220001200020010220020000"


@given(st.integers(0, 2**40), st.integers(0, 4), st.integers(0, 2**70))
def test_a_cell_does_not_depend_on_its_neighbours(cell, fold, seed):
    rule = SplitRule(fold=fold, seed=seed)
    alone = rule.assign([cell])
    among = rule.assign([cell + 1, cell, cell + 2])
    assert alone.tolist() == among[1:2].tolist()


def test_seeds_deal_anew():
    assert (SplitRule().numbers(CELLS) != SplitRule(seed=1).numbers(CELLS)).any()


def test_one_fold_has_no_test_split():
    assert set(SplitRule(folds=1).assign(CELLS)) == {"train", "validation"}


@pytest.mark.parametrize(
    "values", [{"nside": 12}, {"fold": 5}, {"folds": 0}, {"validation": 1.0}]
)
def test_values_out_of_range(values):
    with pytest.raises(ConfigError, match="Give"):
        SplitRule(**values)


@pytest.mark.parametrize("ra, dec", [([np.nan], [0.0]), ([0.0], [91.0])])
def test_places_that_are_none(ra, dec):
    with pytest.raises(DataError, match="1 of 1 objects have no valid ra"):
        SplitRule().cells(ra, dec)
