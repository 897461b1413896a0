# SPDX-License-Identifier: MIT
"""XP coefficients: GaiaXPy turns them back into the spectrum, at XP's resolution."""

import ast
import csv

import numpy as np
import pytest

from aion.mocksky.grids import OBSERVED
from aion.mocksky.xp import (
    coefficient_errors,
    coefficients,
    measure_coefficients,
    resolution,
)

# GaiaXPy sets up plotting when it is imported, which warns on some systems.
pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLING = np.arange(336.0, 1021.0, 2.0)
UNIT = 1e-19  # 1e-17 erg/s/cm2/Angstrom in W/m2/nm


def black_body(kelvin):
    x = 1.438777e8 / (OBSERVED * kelvin)
    flux = OBSERVED**-5.0 / np.expm1(np.minimum(x, 300.0))
    return flux / np.interp(6000.0, OBSERVED, flux)


def lines(flux, rows):
    for wavelength, sigma, strength in rows:
        shape = np.exp(-0.5 * ((OBSERVED - wavelength) / sigma) ** 2)
        flux = flux * (1 + strength * shape)
    return flux


def spectra():
    """A hot, a sunlike and a cool star, two galaxies and a quasar, by name."""
    balmer = [(w, 12.0, -0.6) for w in (6564.6, 4862.7, 4341.7, 4102.9, 3971.0)]
    metals = [(3934.8, 6.0, -0.6), (3969.6, 6.0, -0.6), (5180.0, 12.0, -0.3)]
    bands = [(w, 60.0, -0.25) for w in (6200.0, 6700.0, 7150.0, 7700.0, 8450.0)]
    z = 0.08
    step = 1 / (1 + np.exp(-(OBSERVED / (1 + z) - 4000.0) / 20.0))
    old = black_body(4600.0) * (0.55 + 0.45 * step)
    gas = [(w * (1 + z), 3.0, s) for w, s in ((3728.5, 2.0), (5008.2, 1.5))]
    gas += [(6564.6 * (1 + z), 4.0, 3.0), (4862.7 * (1 + z), 3.0, 0.8)]
    broad = [(4862.7, 45.0, 0.6), (6564.6, 60.0, 2.5), (2798.8, 40.0, 0.6)]
    broad = [(w * 1.3, s * 1.3, a) for w, s, a in broad]
    return {
        "white dwarf": lines(black_body(12000.0), balmer),
        "sun": lines(black_body(5800.0), metals + balmer[:1]),
        "red dwarf": lines(black_body(3400.0), bands),
        "old galaxy": lines(old, [(w * (1 + z), s, a) for w, s, a in metals]),
        "young galaxy": lines(black_body(9000.0), gas),
        "quasar": lines((OBSERVED / 6000.0) ** -1.5, broad),
    }


def smoothed(flux, wavelength, arm):
    """Directly: the mean under a Gaussian of XP's width, by the trapezoid rule."""
    sigma = 10 * wavelength / resolution(arm, wavelength) / 2.3548
    near = OBSERVED < 11_300.0
    x = OBSERVED[near]
    kernel = np.exp(-0.5 * ((x - 10 * wavelength[:, None]) / sigma[:, None]) ** 2)
    top = np.trapezoid(kernel * flux[near], x, axis=1)
    return top / np.trapezoid(kernel, x, axis=1)


def calibrated(coeff, pandas):
    """GaiaXPy's spectra of coefficients without errors, in 1e-17 erg/s/cm2/A."""
    import gaiaxpy as calibrator

    rows = []
    for number, both in enumerate(coeff.astype(np.float64)):
        row = {"source_id": number + 1}
        for arm, values in (("bp", both[:55]), ("rp", both[55:])):
            row |= {
                f"{arm}_n_parameters": 55,
                f"{arm}_coefficients": values,
                f"{arm}_coefficient_errors": np.ones(55),
                f"{arm}_coefficient_correlations": np.zeros(1485),
                f"{arm}_standard_deviation": 1.0,
                f"{arm}_n_relevant_bases": 55,
                f"{arm}_relative_shrinking": 1.0,
            }
        rows.append(row)
    found, _ = calibrator.calibrate(
        pandas.DataFrame(rows), sampling=SAMPLING, save_file=False
    )
    return np.array(found["flux"].tolist()) / UNIT


def test_gaiaxpy_gives_the_spectrum_back():
    pandas = pytest.importorskip("pandas")
    library = spectra()
    flux = 40.0 * np.stack(list(library.values()))
    found = calibrated(coefficients(flux.astype(np.float32)), pandas)
    # GaiaXPy joins the arms linearly between 635 and 643 nm.
    red = np.clip((SAMPLING - 635.0) / 8.0, 0.0, 1.0)
    inside = (SAMPLING >= 400.0) & (SAMPLING <= 1000.0)
    for name, one, got in zip(library, flux, found, strict=True):
        want = (1 - red) * smoothed(one, SAMPLING, "bp")
        want += red * smoothed(one, SAMPLING, "rp")
        worst = np.abs(got / want - 1)[inside]
        assert worst.max() < 0.02, (name, SAMPLING[inside][worst.argmax()])


def test_coefficients_are_linear():
    flux = np.stack(list(spectra().values())).astype(np.float32)
    np.testing.assert_allclose(
        coefficients(flux[:1] + 2 * flux[1:2]),
        coefficients(flux[:1]) + 2 * coefficients(flux[1:2]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_shape_and_precision():
    coeff = coefficients(np.ones((3, len(OBSERVED))))
    assert coeff.shape == (3, 110) and coeff.dtype == np.float32


def test_noise_has_the_given_errors():
    flux = np.repeat(black_body(5800.0)[None].astype(np.float32), 2000, axis=0)
    scale = (1.01, 0.98)
    seen, error = measure_coefficients(flux, np.random.default_rng(0), scale=scale)
    truth = coefficients(flux[:1]) * np.repeat(scale, 55)
    pull = (seen - truth) / error
    assert pull.std() == pytest.approx(1.0, abs=0.01)
    assert abs(pull.mean()) < 0.01


def test_faint_sources_have_larger_relative_errors():
    flux = black_body(5800.0)[None].astype(np.float32)
    bright, faint = (coefficients(f * flux) for f in (1e4, 1.0))
    relative = [coefficient_errors(c)[0, 0] / c[0, 0] for c in (bright, faint)]
    assert relative[0] == pytest.approx(4e-4, rel=0.3)
    assert relative[1] > 30 * relative[0]


@pytest.mark.real
def test_real_sources_come_back(real_data):
    """A real source's spectrum, projected, has nearly its coefficients and errors."""
    import gaiaxpy as calibrator

    path = real_data / "gaia" / "XP_CONTINUOUS_RAW.csv"
    found, _ = calibrator.calibrate(str(path), sampling=SAMPLING, save_file=False)
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, flux in zip(rows, found["flux"], strict=True):
        spectrum = np.interp(OBSERVED / 10, SAMPLING, np.asarray(flux) / UNIT)
        ours = coefficients(spectrum[None].astype(np.float32))[0]
        for arm, part in (("bp", slice(0, 55)), ("rp", slice(55, 110))):
            real = np.array(ast.literal_eval(row[f"{arm}_coefficients"]))
            error = np.array(ast.literal_eval(row[f"{arm}_coefficient_errors"]))
            away = np.linalg.norm(ours[part] - real) / np.linalg.norm(real)
            assert away < 0.06, (row["source_id"], arm)
            both = np.zeros((1, 110), np.float32)
            both[0, part] = real
            expected = coefficient_errors(both)[0, part]
            ratio = np.median(expected[:40] / error[:40])
            assert 0.4 < ratio < 2.0, (row["source_id"], arm)
