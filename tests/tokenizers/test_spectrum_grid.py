# SPDX-License-Identifier: MIT
"""Spectra of any pixels onto the spectrum codec's grid and back."""

import jax
import numpy as np
import pytest

from aion_tokenizers.spectrum_grid import (
    LogGrid,
    from_grid,
    onto_grid,
    pixel_intervals,
    rebinned,
    sampled,
)

GRID = LogGrid(cells=1024)
LINE = np.arange(3700.0, 9700.0, 6.0)


def taps(line, grid=GRID):
    pixels = pixel_intervals(np.atleast_2d(np.asarray(line, float)), grid)
    return onto_grid(pixels, grid), from_grid(pixels, grid)


@pytest.mark.parametrize("step", [0.4, 3.0, 40.0])
def test_weight_is_conserved_and_flux_is_a_mean(step):
    line = np.arange(4000.0, 8000.0, step)
    into, _ = taps(line)
    flux = np.random.default_rng(0).normal(2, 1, (1, len(line)))
    ivar = np.random.default_rng(1).uniform(0, 2, (1, len(line)))
    mean, total = rebinned(flux, ivar, into.index, into.weight)
    assert np.isclose(total.sum(), ivar.sum(), rtol=1e-5)
    assert np.isclose((mean * total).sum(), (flux * ivar).sum(), rtol=1e-5)


@pytest.mark.parametrize("step", [0.4, 3.0, 40.0, 400.0])
def test_what_is_linear_in_cells_is_read_exactly(step):
    line = np.arange(4000.0, 9000.0, step)
    _, back = taps(line)
    cells = np.arange(GRID.cells)[None] + 0.5
    pixels = pixel_intervals(line[None], GRID)
    middle = (pixels.low + pixels.high) / 2
    assert np.allclose(sampled(cells, back.index, back.weight), middle, atol=1e-3)


def test_there_and_back_keeps_a_smooth_spectrum():
    grid = LogGrid()
    line = np.arange(3600.0, 9824.0, 0.8)
    into, back = taps(line, grid)
    flux = 1 + 0.5 * np.sin(line / 50)[None]
    cells, _ = rebinned(flux, np.ones_like(flux), into.index, into.weight)
    error = np.abs(sampled(cells, back.index, back.weight) - flux)
    assert error[:, 5:-5].max() < 2e-3


def test_numpy_and_jax_rebin_alike():
    into, back = taps(LINE)
    flux = np.random.default_rng(0).normal(2, 1, (1, len(LINE))).astype(np.float32)
    ivar = np.ones_like(flux)
    ours = rebinned(flux, ivar, into.index, into.weight)
    theirs = rebinned(
        jax.numpy.asarray(flux), jax.numpy.asarray(ivar), *vars(into).values()
    )
    assert np.allclose(ours[0], theirs[0], atol=1e-5)
    assert np.allclose(
        sampled(ours[0], back.index, back.weight),
        sampled(theirs[0], back.index, back.weight),
        atol=1e-5,
    )


def test_a_gap_belongs_to_nobody():
    line = np.concatenate(
        [np.arange(4000.0, 5000.0, 3.0), np.arange(6000.0, 7000.0, 3.0)]
    )
    into, _ = taps(line)
    there = rebinned(
        np.ones((1, len(line))), np.ones((1, len(line))), *vars(into).values()
    )
    cells = GRID.wavelength
    inside = (cells > 5010) & (cells < 5990)
    assert not there[1][0, inside].any()
    assert there[1][0, (cells > 4010) & (cells < 4990)].all()


def test_padding_may_stand_anywhere():
    line = np.concatenate([[-1.0], LINE[:50], [0.0, np.nan], LINE[50:], [-1.0]])
    kept = np.isfinite(line) & (line > 0)
    ours, plain = taps(line)[0], taps(LINE)[0]
    order = pixel_intervals(line[None], GRID).order[0]
    assert np.array_equal(line[order][: kept.sum()], LINE)
    assert np.array_equal(ours.weight.sum(-1), plain.weight.sum(-1))
