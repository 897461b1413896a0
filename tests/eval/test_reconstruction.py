# SPDX-License-Identifier: MIT
"""Scores of reconstructions are what they say, and baselines do what they can."""

import numpy as np
import pytest

from aion.eval.patches import (
    PatchPCA,
    Squares,
    Stretches,
    block_means,
    flux_scales,
    sky_scales,
)
from aion.eval.reconstruction import (
    Measured,
    code_statistics,
    determination,
    ellipticities,
    flux_errors,
    image_rows,
    mean_of,
    mean_ratio,
    median_signal,
    middle,
    overlaps,
    ratio,
    row,
    shape_errors,
    spectrum_rows,
    sums,
)
from aion.eval.reconstruction_plots import (
    plot_images,
    plot_maps,
    plot_object_errors,
    plot_pixel_errors,
    plot_spectra,
)


def gaussian(e=0.0, side=33, width=3.0, shift=(0.0, 0.0)):
    """An ellipse along x with axis ratio (1 - e) / (1 + e) in squares."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    y, x = y - shift[0], x - shift[1]
    return np.exp(-(x**2 / (1 + e) + y**2 / (1 - e)) / (2 * width**2))


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    size = rng.lognormal(2, 1.5, (12, 2, 1, 1))
    truth = (size * gaussian(side=24)).astype(np.float32)
    ivar = np.full(truth.shape, 4.0, np.float32)
    ivar[:, :, 20, 3] = 0
    noise = rng.standard_normal(truth.shape).astype(np.float32) / 2
    return Measured(np.where(ivar > 0, truth + noise, 0), ivar, truth)


@pytest.fixture
def spectra():
    rng = np.random.default_rng(0)
    line = np.linspace(0, 6, 300)
    truth = rng.lognormal(2, 1.2, (30, 1)) * (1 + 0.3 * np.sin(line))
    ivar = np.ones(truth.shape)
    ivar[:, 10] = 0
    flux = np.where(ivar > 0, truth + rng.standard_normal(truth.shape), 0)
    return Measured(flux, ivar, truth)


def test_sums_count_finite_values_where_chosen():
    values = np.array([[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]])
    assert sums(values).tolist() == [[3, 2], [15, 3]]
    assert sums(values, values > 1.5).tolist() == [[2, 1], [15, 3]]
    assert ratio(sums(values)) == pytest.approx(18 / 5)
    assert np.isnan(ratio(np.zeros((2, 2))))
    assert np.isnan(mean_of(np.full((1, 2), np.nan))[0])


def test_an_error_of_one_sigma_is_one_and_bad_pixels_do_not_count(images):
    errors = images.errors(images.truth + images.sigma)
    assert np.isnan(errors[:, :, 20, 3]).all()
    np.testing.assert_allclose(errors[np.isfinite(errors)], 1, rtol=1e-4)
    noise = mean_of(images.errors(images.flux))
    assert noise == pytest.approx(np.ones(12), abs=0.15)


def test_rows_have_the_bootstrap_error_over_objects():
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = row(("q", "m", "x"), values, lambda v: float(np.mean(v)))
    assert found["value"] == pytest.approx(values.mean())
    assert found["error"] == pytest.approx(2 / 20, rel=0.3)
    assert found["count"] == 400
    empty = row(("q", "m", "x"), np.full(3, np.nan), middle)
    assert empty["count"] == 0 and np.isnan(empty["value"])
    assert row(("q", "m", "x"), np.zeros((0, 2)))["count"] == 0


def test_image_rows_are_by_pixels_and_by_objects(images):
    guesses = {"exact": [images.truth], "blank": [np.zeros_like(images.truth)]}
    rows = image_rows("toy", [images], guesses)
    found = {(r["method"], r["metric"]): r["value"] for r in rows}
    assert {v for (m, _), v in found.items() if m == "exact"} == {0.0}
    blank = np.nanmean(images.signal**2)
    assert found["blank", "error"] == pytest.approx(blank, rel=1e-4)
    quarters = [
        found["blank", f"error, {word} quarter of objects"]
        for word in ("faintest", "second", "third", "brightest")
    ]
    assert quarters == sorted(quarters)
    assert np.mean(quarters) == pytest.approx(blank, rel=1e-4)
    bright = images.signal[images.signal > np.nanquantile(images.signal, 0.9)]
    value = found["blank", "error, brightest tenth of pixels"]
    assert value == pytest.approx(np.mean(bright**2), rel=0.02)


def test_images_within_six_magnitudes_are_scored_apart(images):
    bright = Measured(20 * images.flux, images.ivar, 20 * images.truth)
    inside = np.nanmax(bright.signal, axis=(1, 2, 3)) <= 10**2.4
    assert 0 < inside.sum() < len(inside)
    rows = image_rows("toy", [bright], {"blank": [np.zeros_like(bright.truth)]})
    found = {r["metric"]: r for r in rows}["error, objects within 6 mag of the noise"]
    assert found["count"] == inside.sum()
    expected = np.nanmean(bright.signal[inside] ** 2)
    assert found["value"] == pytest.approx(expected, rel=1e-4)


def test_unknown_truth_gives_rows_without_objects(images):
    unknown = Measured(images.flux, images.ivar, np.full_like(images.truth, np.nan))
    rows = image_rows("toy", [unknown], {"blank": [images.flux]})
    assert {r["count"] for r in rows} == {0}
    rows = spectrum_rows(
        "toy",
        [Measured(*(v[:, 0, 0] for v in (unknown.flux, unknown.ivar, unknown.truth)))],
        {"blank": [images.flux[:, 0, 0]]},
    )
    assert {r["count"] for r in rows} == {0}


def test_spectrum_rows_are_by_signal(spectra):
    level = median_signal(spectra)
    guesses = {"off": [spectra.truth + 0.5], "exact": [spectra.truth]}
    rows = spectrum_rows("toy", [spectra], guesses)
    counts = [
        r["count"]
        for r in rows
        if "S/N" in r["metric"]
        and "R2" not in r["metric"]
        and "median" not in r["metric"]
    ]
    assert sum(counts) == 2 * len(level)
    off = [r for r in rows if r["method"] == "off" and r["metric"].startswith("error")]
    assert [r["value"] for r in off if r["count"]] == pytest.approx(
        [0.25] * sum(r["count"] > 0 for r in off)
    )
    clear = [r for r in rows if r["metric"] == "R2, S/N > 10, mean"]
    assert clear[1]["value"] == 1 and clear[1]["count"] == (level > 10).sum()
    assert determination(spectra, np.zeros_like(spectra.flux)).max() < 0


def test_ellipticities_are_those_of_the_light():
    images = np.stack([gaussian(), gaussian(0.3), gaussian(0.3).T])[:, None]
    round_one, flat, tall = ellipticities(images, 1e4)[..., 0].T
    assert round_one == pytest.approx([0, 0], abs=1e-9)
    assert flat == pytest.approx([0.3, 0], abs=0.02)
    assert tall == pytest.approx([-0.3, 0], abs=0.02)
    moved = gaussian(0.3, shift=(1.5, -1.0))[None, None]
    near = ellipticities(np.concatenate([images[1:2], moved]), 8.0)[..., 0]
    np.testing.assert_allclose(near[:, 0], near[:, 1], atol=2e-3)
    assert np.isnan(ellipticities(np.zeros((1, 1, 9, 9)), 4.0)).all()


def test_fluxes_and_shapes_are_of_bright_whole_bands(images):
    fluxes = flux_errors(images, 1.1 * images.truth, 0.4)
    bright = np.isfinite(fluxes)
    assert 0 < bright.sum() < bright.size
    np.testing.assert_allclose(fluxes[bright], 0.1, rtol=1e-3)
    brightest = images.truth.max(axis=(2, 3))
    assert brightest[bright].min() > brightest[~bright].max()
    shapes = shape_errors(images, 1.1 * images.truth, 0.4)
    assert np.nanmax(shapes) < 1e-6
    ivar = images.ivar.copy()
    ivar[:, :, 10:14, 10:14] = 0
    holes = Measured(images.flux, ivar, images.truth)
    assert np.isnan(flux_errors(holes, images.truth, 0.4)).all()


@pytest.mark.parametrize("shape", [(3, 2, 9, 14), (2, 1, 8, 8)])
def test_squares_come_back(shape):
    values = np.random.default_rng(0).random(shape)
    cut = Squares(4)
    patches = cut.patches(values)
    assert patches.shape[2:] == (shape[1], 16)
    np.testing.assert_array_equal(cut.join(patches, shape), values)
    np.testing.assert_array_equal(patches[0, 1, 0, :4], values[0, 0, 0, 4:8])


def test_stretches_come_back():
    values = np.random.default_rng(0).random((3, 23))
    patches = Stretches(5).patches(values)
    assert patches.shape == (3, 5, 1, 5)
    np.testing.assert_array_equal(Stretches(5).join(patches, (3, 23)), values)


def test_block_means_are_weighted_and_ignore_what_is_not_valid():
    flux = np.array([[1.0, 3.0, 99.0, 5.0, 7.0, 8.0]])
    ivar = np.array([[1.0, 3.0, 0.0, 0.0, 0.0, 0.0]])
    found = block_means(flux, ivar, Stretches(3))
    np.testing.assert_allclose(found, [[2.5] * 3 + [0] * 3])


def test_components_hold_what_is_of_their_rank(images, spectra):
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((3, 16))
    flux = (rng.standard_normal((40, 9, 3)) @ shapes).reshape(40, 9, 1, 16)
    flux = Squares(4).join(flux, (40, 1, 12, 12))
    ivar = np.ones_like(flux)
    pca = PatchPCA(3, sky_scales, [(flux[:30], ivar[:30])])
    test = flux[30:], ivar[30:]
    np.testing.assert_allclose(pca.rebuild(*test, Squares(4)), flux[30:], atol=1e-8)
    less = PatchPCA(2, sky_scales, [(flux[:30], ivar[:30])])
    assert np.abs(less.rebuild(*test, Squares(4)) - flux[30:]).max() > 0.1
    both = spectra.flux, spectra.ivar
    found = PatchPCA(2, flux_scales, [both]).rebuild(*both, Stretches(20))
    assert mean_of(spectra.errors(found)).mean() < 0.3
    assert sky_scales(images.flux, images.ivar).ravel() == pytest.approx(0.5)


def test_overlaps_leave_empty_maps_out():
    truth = np.zeros((3, 4, 4), bool)
    truth[0, :2], truth[1, 0] = True, True
    guess = np.zeros((3, 4, 4), bool)
    guess[0, :1] = True
    pairs = overlaps(guess, truth)
    assert pairs.tolist() == [[4, 8], [0, 4], [0, 0]]
    assert mean_ratio(pairs) == 0.25 and ratio(pairs) == pytest.approx(4 / 12)
    assert row(("q", "m", "x"), pairs, mean_ratio)["count"] == 2


def test_codes_used_evenly_have_full_entropy():
    codes = np.concatenate([np.repeat(np.arange(8), 5), [-1, 9]])
    found = code_statistics(codes, 8)
    assert found == {
        "entropy": pytest.approx(3),
        "perplexity": pytest.approx(8),
        "tokens": 40,
    }
    assert code_statistics(np.array([-1]), 8)["entropy"] == 0


def is_picture(path):
    from matplotlib.image import imread

    return min(imread(path).shape[:2]) > 200


def test_figures_are_made(images, spectra, tmp_path):
    guess = images.truth * 0.9
    names = [["A", "B"]]
    made = [
        plot_images([images], [guess], names, tmp_path / "images.png"),
        plot_pixel_errors("x", [images], {"codec": [guess]}, tmp_path / "pixels.png"),
        plot_spectra(
            [spectra], [spectra.truth], [np.arange(300) + 4e3], tmp_path / "spectra.png"
        ),
        plot_object_errors(
            "x", [spectra], {"codec": [spectra.truth + 1]}, tmp_path / "objects.png"
        ),
        plot_maps([(guess[:, 0], images.truth[:, 0])], tmp_path / "maps.png"),
    ]
    assert all(is_picture(path) for path in made)


def test_a_figure_without_objects_is_none(images, tmp_path):
    empty = Measured(*(v[:0] for v in (images.flux, images.ivar, images.truth)))
    path = tmp_path / "none.png"
    assert plot_images([empty], [empty.truth], [["A", "B"]], path) is None
    assert plot_pixel_errors("x", [empty], {"codec": [empty.truth]}, path) is None
    assert not path.exists()
