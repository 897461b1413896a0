# SPDX-License-Identifier: MIT
"""Likelihoods of fluxes and intervals against scipy and a closed form."""

import jax.numpy as jnp
import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm
from tests.mocksky.toy_classes import BANDS, KNOTS, toy_class

from aion.mocksky.cells import ClassPrior, cells
from aion.mocksky.evidence import Evidence
from aion.mocksky.likelihood import log_integrals, log_probability
from aion.mocksky.sightings import sightings
from aion.mocksky.sums import Summer, single


def test_probability_of_an_interval_like_scipy():
    rng = np.random.default_rng(0)
    sigma = 10 ** rng.uniform(-2, 3, 5000)
    middle, width = rng.normal(0, 6, 5000), 10 ** rng.uniform(-5, 1.5, 5000)
    ends = [sigma * (middle - width / 2), sigma * (middle + width / 2), sigma]
    low, high, sigma = (x.astype(np.float32).astype(float) for x in ends)
    low[:100], high[100:200] = -np.inf, np.inf
    low[200], high[200] = -np.inf, np.inf
    keep = low < high
    a, b = (low / sigma)[keep], (high / sigma)[keep]
    with np.errstate(divide="ignore", invalid="ignore"):
        flip = np.nan_to_num(a + b) > 0
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        thin = -(((a + b) / 2) ** 2) / 2 + np.log((b - a) / np.sqrt(2 * np.pi))
        wide = log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b)))
    expected = np.where(b - a < 1e-3, thin, wide)
    args = (jnp.asarray(x[keep], jnp.float32) for x in (low, high, sigma))
    np.testing.assert_allclose(log_probability(*args), expected, rtol=2e-6, atol=2e-6)


def test_gaussians_have_a_closed_form():
    # One band at the calibration floor is nearly a Gaussian in magnitude, and the
    # integral is then one too, of the summed variances.
    one = toy_class("GALAXY", 1, 2, 0.02, np.random.default_rng(2))
    family = one.family
    magnitude = family.magnitude_mean[0, 0] + np.linspace(-2, 2, 9)
    colour = one.tracks[0, 0, 0, 2]
    cell = {
        "kind": np.ones(1, np.int32),
        "mean": family.magnitude_mean[0, :1].astype(np.float32),
        "sigma": family.magnitude_sigma.astype(np.float32),
        "colour": one.colour(BANDS)[0, :1],
    }
    free = ClassPrior(family, 1.0, (), BANDS, KNOTS, one.tracks)
    span = Summer(cells([free], BANDS, novel=True), 0.0).span(np.zeros(1))
    for m in magnitude:
        flux = np.full((1, 5), np.nan)
        flux[0, 2] = 10 ** (-0.4 * (m + colour - 22.5))
        evidence = Evidence.fluxes(BANDS, flux, depth=1e-4, ebv=0.0)
        ready = sightings(evidence, np.full((1, 5), -np.inf), span, 8.5)
        seen = {k: jnp.asarray(single(v[0])) for k, v in ready.integral.items()}
        seen |= {k: jnp.zeros((3, 5)) for k in ("low", "high")}
        found = log_integrals(
            {k: jnp.asarray(v) for k, v in cell.items()},
            seen,
            jnp.zeros(1, jnp.int32),
            nodes=int(ready.nodes[0]),
            points=(2,),
            intervals=(),
        )
        per_mag = np.log(10) / 2.5
        wide = np.hypot(family.magnitude_sigma[0], 0.02 / per_mag)
        expected = norm.logpdf(m, family.magnitude_mean[0, 0], wide)
        expected -= np.log(per_mag * flux[0, 2])
        total = float(found[0]) + ready.log_unit[0]
        np.testing.assert_allclose(total, expected, atol=2e-3)
