# SPDX-License-Identifier: MIT
"""The stage: cells, blocks, weather, and what only test cells have."""

import healpy
import numpy as np
import pytest

from aion.errors import ConfigError
from aion.mocksky.sky import (
    BAND_NAMES,
    NOVEL_BANDS,
    NOVEL_SHIFT,
    NSIDE,
    Block,
    Sky,
)
from aion.mocksky.universe import universe
from aion.splits import SplitRule

SKY = Sky(3000, 4)


@pytest.mark.parametrize("objects", [1, 31, 64, 67, 1000, 20_000])
def test_blocks_hold_every_object_once(objects):
    sky = Sky(objects, 1)
    blocks = list(sky.blocks())
    starts = np.cumsum([0, *(b.count for b in blocks)])
    assert starts[-1] == objects
    assert [b.start for b in blocks] == starts[:-1].tolist()
    assert len({(b.cell, b.index) for b in blocks}) == len(blocks)
    sizes = [b.count for b in blocks]
    assert 1 <= min(sizes) <= max(sizes) <= sky.block


def test_objects_are_inside_their_cell_and_all_over_it():
    block = Block(int(SKY.cells()[0]), 0, 0, 4000)
    ra, dec = SKY.positions(block, SKY.rng("truth", block))
    assert (healpy.ang2pix(NSIDE, ra, dec, nest=True, lonlat=True) == block.cell).all()
    quarters = healpy.ang2pix(2 * NSIDE, ra, dec, nest=True, lonlat=True)
    counts = np.unique(quarters, return_counts=True)[1]
    assert len(counts) == 4 and np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_dice_differ_by_purpose_block_and_seed():
    one, other = list(SKY.blocks())[:2]
    draws = {
        float(sky.rng(stream, block).random())
        for sky in (SKY, Sky(3000, 5))
        for stream in ("truth", "legacy", "gaia", "neighbours", "labels")
        for block in (one, other)
    }
    assert len(draws) == 20
    assert SKY.rng("desi", one).random() == SKY.rng("desi", one).random()


def test_every_cell_has_its_own_weather_and_calibration():
    cells = [SKY.conditions(int(cell)) for cell in SKY.cells()]
    for name in ("ebv", "sky"):
        assert np.std(np.log([getattr(c, name) for c in cells])) > 0.1
    depth = np.stack([c.depth for c in cells])
    seeing = np.stack([c.psf_fwhm for c in cells])
    assert (np.log(depth).std(0) > 0.08).all() and (np.log(seeing).std(0) > 0.08).all()
    assert SKY.conditions(int(SKY.cells()[3])).ebv == cells[3].ebv


def test_a_shift_of_zero_points_exists_in_test_cells_alone():
    cells = [SKY.conditions(int(cell)) for cell in SKY.cells()]
    test = np.array([c.test for c in cells])
    numbers = SplitRule().numbers(SKY.cells())
    np.testing.assert_array_equal(test, numbers == 2)
    shifts = np.stack([c.zero_point for c in cells])
    for place, name in enumerate(BAND_NAMES):
        here = shifts[test, place].mean() - shifts[~test, place].mean()
        expected = NOVEL_SHIFT if name in NOVEL_BANDS else 0.0
        assert abs(here - expected) < 5 * 0.01 / np.sqrt(test.sum()), name


def test_a_tenth_of_the_spectra_exists_in_test_cells_alone():
    population = universe(SKY)
    seen = {True: [], False: []}
    for block in list(SKY.blocks())[:40]:
        objects, _ = population.draw(block)
        for kind, name in enumerate(("STAR", "GALAXY", "QSO")):
            rows = objects.sed[objects.kind == kind]
            novel = population.families[name].novel[rows]
            seen[SKY.conditions(block.cell).test].append(novel)
    assert not np.concatenate(seen[False]).any()
    assert np.concatenate(seen[True]).mean() > 0.01
    for family in population.families.values():
        assert 0.05 < family.novel.mean() < 0.2


@pytest.mark.parametrize(
    "wrong",
    [{"objects": 0}, {"objects": 5, "block": 0}, {"objects": 5, "ra": (3.0, 3.0)}],
)
def test_a_sky_that_cannot_be_is_an_error(wrong):
    with pytest.raises(ConfigError):
        Sky(**wrong)
