# SPDX-License-Identifier: MIT
"""One object, five surveys: what they record of it hangs together."""

import numpy as np
import pytest

from aion.layouts import LAYOUTS
from aion.mocksky.blocks import make_scene
from aion.mocksky.observe import (
    LABELS,
    SURVEYS,
    observe_block,
    through_forest,
    truth_columns,
)
from aion.mocksky.simulate import SETS
from aion.mocksky.sky import BAND_NAMES, EPOCHS, Sky
from aion.mocksky.universe import universe

SKY = Sky(60, 3, per_cell=30, block=30)


@pytest.fixture(scope="module")
def population():
    return universe(SKY)


@pytest.fixture(scope="module")
def seen(population):
    block = next(SKY.blocks())
    every = (*SURVEYS, *LABELS)
    return observe_block(population, block, every, size=96, everywhere=True)


def test_every_required_column_is_there_and_nothing_unknown(seen):
    for survey, columns in seen.columns.items():
        layout = LAYOUTS[SETS[survey]]
        filled = {c.name for c in layout.columns if c.fill is not None or c.copy}
        assert set(layout.required) - filled <= set(columns), survey
        assert set(columns) <= set(layout.by_name), survey


def test_a_block_is_the_same_whoever_makes_it(population, seen):
    block = next(SKY.blocks())
    again = observe_block(population, block, ("desi", "gaia"), size=96, everywhere=True)
    for survey in ("desi", "gaia"):
        for name, values in again.columns[survey].items():
            np.testing.assert_array_equal(values, seen.columns[survey][name])


def test_images_spectra_and_catalogues_see_one_flux(seen):
    scene = seen.scene
    point = scene.objects.bulge_radius + scene.objects.disk_radius == 0
    bright = point & (scene.objects.magnitude < 19)
    assert bright.sum() >= 3
    stamps = seen.columns["legacy"]
    middle = stamps["image_array"][:, 1, 36:60, 36:60].sum((1, 2))[bright]
    catalogue = stamps["FLUX_R"][bright]
    assert np.median(np.abs(middle / catalogue - 1)) < 0.08
    hsc = seen.columns["hsc"]
    whole = bright & (scene.objects.magnitude > 17.2)  # the others are saturated
    assert whole.sum() >= 3
    counts = hsc["image_array"][:, 1, 30:66, 30:66].sum((1, 2))[whole]
    magnitude = 27.0 - 2.5 * np.log10(counts)
    assert np.median(np.abs(magnitude - hsc["r_cmodel_mag"][whole])) < 0.08
    desi = seen.columns["desi"]
    window = (desi["spectrum_lambda"][0] > 5700) & (desi["spectrum_lambda"][0] < 7200)
    level = np.median(desi["spectrum_flux"][:, window], axis=1)[bright]
    # AB: f_nu of a nanomaggy is 3.63e-29 erg/s/cm2/Hz.
    expected = catalogue * 3.63e-29 * 2.998e18 / 6460.0**2 / 1e-17
    assert np.median(np.abs(np.log(level / expected))) < 0.15


def test_places_move_with_stars_and_stay_with_galaxies(seen):
    objects = seen.scene.objects
    star = np.isfinite(objects.distance)
    for survey in ("legacy", "sdss"):
        years = EPOCHS[survey] - EPOCHS["gaia"]
        north = (seen.columns[survey]["dec"] - objects.dec) * 3.6e6
        expected = objects.pm_dec * years
        assert np.abs(north - expected).max() < 6 * 60
        assert np.abs(north[~star]).max() < 6 * 60
    parallax = seen.columns["gaia"]["parallax"]
    error = seen.columns["gaia"]["parallax_error"]
    pull = (parallax - objects.parallax) / error
    assert np.abs(pull).max() < 5
    np.testing.assert_allclose(objects.parallax[star], 1e3 / objects.distance[star])


def test_truth_names_the_objects_of_every_survey(seen):
    truth = truth_columns(seen, SURVEYS)
    assert set(truth["class"]) <= {"STAR", "GALAXY", "QSO"}
    for survey in SURVEYS:
        column = LAYOUTS[SETS[survey]].id_column
        there = np.asarray(seen.columns[survey][column]).astype(np.str_)
        np.testing.assert_array_equal(truth[f"{survey}_id"], there)
        assert len(set(there)) == len(there)
    for name in BAND_NAMES:
        assert np.isfinite(truth[f"flux_{name}"]).all()
    galaxy = truth["class"] == "GALAXY"
    assert np.isfinite(truth["label_logmstar"][galaxy]).all()
    assert np.isnan(truth["label_logmstar"][~galaxy]).all()


def test_surveys_hold_what_is_bright_enough_for_them(population):
    block = next(SKY.blocks())
    found = observe_block(population, block, SURVEYS, size=96)
    z = 22.5 - 2.5 * np.log10(found.scene.measured(("DES-Z",))[0][:, 0])
    np.testing.assert_array_equal(found.members["legacy"], (z > 12) & (z < 21))
    galaxy = ~np.isfinite(found.scene.objects.distance)
    assert found.members["gaia"][galaxy].mean() < found.members["legacy"].mean()


def test_quasars_have_a_forest_in_spectra_and_none_in_photometry(population):
    sky = Sky(400, 9, per_cell=400, block=400)
    scene = make_scene(universe(sky), next(sky.blocks()))
    far = np.flatnonzero((scene.objects.kind == 2) & (scene.objects.redshift > 2.3))
    assert len(far)
    part = scene.take(far)

    absorbed = through_forest(part)
    blue = absorbed.spectra[:, 2000:3000] / part.spectra[:, 2000:3000]
    assert blue.std() > 0.05
    np.testing.assert_array_equal(
        absorbed.spectra[:, 11_000:], part.spectra[:, 11_000:]
    )
    np.testing.assert_allclose(part.fluxes, scene.fluxes[far], rtol=1e-5)


def test_a_block_of_one_object_is_like_any_other():
    sky = Sky(1, 2, per_cell=1)
    seen = observe_block(
        universe(sky), next(sky.blocks()), SURVEYS, size=96, everywhere=True
    )
    for survey, columns in seen.columns.items():
        for name, values in columns.items():
            assert np.shape(values)[:1] == (1,), f"{survey} {name}"
