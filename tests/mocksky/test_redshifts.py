# SPDX-License-Identifier: MIT
"""Densities of redshift: quantiles, moments, draws and PIT tell of the same curve."""

import numpy as np
import pytest

from aion.errors import DataError
from aion.eval.calibration import ks_statistic
from aion.mocksky.redshifts import RedshiftPosterior


def test_density_is_consistent_with_itself():
    rng = np.random.default_rng(0)
    edges = np.expm1(np.linspace(0.01, 1.0, 21))
    nodes = rng.gamma(0.5, size=(5, 21))
    total = ((nodes[:, 1:] + nodes[:, :-1]) / 2).sum(axis=1) * np.diff(np.log1p(edges))[
        0
    ]
    nodes /= total[:, None]
    posterior = RedshiftPosterior(edges, nodes[:, :-1], nodes[:, 1:])
    np.testing.assert_allclose(posterior.probabilities.sum(axis=1), 1.0)
    levels = np.array([0.01, 0.3, 0.5, 0.99])
    quantiles = posterior.quantile(levels)
    for level, values in zip(levels, quantiles, strict=True):
        np.testing.assert_allclose(posterior.cdf(values), level, atol=1e-12)
    np.testing.assert_array_equal(posterior.median, quantiles[2])
    z = np.expm1(np.linspace(0.01, 1.0, 200_001))
    row = RedshiftPosterior(edges, posterior.left[:1], posterior.right[:1])
    many = RedshiftPosterior(
        edges, *(np.repeat(x, len(z), axis=0) for x in (row.left, row.right))
    )
    density = np.exp(many.log_density(z))
    np.testing.assert_allclose(np.trapezoid(density, z), 1.0, rtol=1e-4)
    np.testing.assert_allclose(np.trapezoid(density * z, z), row.mean[0], rtol=1e-4)
    variance = np.trapezoid(density * (z - row.mean[0]) ** 2, z)
    np.testing.assert_allclose(np.sqrt(variance), row.std[0], rtol=1e-3)
    draws = posterior.draw(4000, seed=0)
    for column in range(5):
        one = RedshiftPosterior(
            edges,
            np.repeat(posterior.left[column : column + 1], 4000, axis=0),
            np.repeat(posterior.right[column : column + 1], 4000, axis=0),
        )
        assert ks_statistic(one.pit(draws[:, column])) < 1.63 / np.sqrt(4000)
    with pytest.raises(DataError, match="probabilities"):
        posterior.quantile(1.5)
    with pytest.raises(DataError, match="one redshift per object"):
        posterior.cdf(np.zeros(3))
