# SPDX-License-Identifier: MIT
"""Spectra with their truth, of known and of fictional spectrographs."""

import numpy as np
import pytest

from aion.errors import ConfigError, DataError
from aion.mocksky.fibre_source import FICTION, FibreSpectra, draw_spectrograph
from aion.mocksky.sky import Sky
from aion.records import RecordSource

SKY = Sky(4000, 3)


@pytest.mark.parametrize("instrument", ["desi", "sdss"])
def test_noise_is_as_told_around_the_truth(instrument):
    source = FibreSpectra(SKY, instrument)
    assert isinstance(source, RecordSource)
    records = list(source.read(source.partitions()[0]))
    for batch in records:
        seen = batch.observations[source.modality]
        truth = batch.observations[f"{source.modality}.truth"]
        good = seen.mask & (seen.ivar > 0)
        chi = (seen.flux - truth.flux) * np.sqrt(seen.ivar)
        assert abs(np.std(chi[good]) - 1) < 0.02
        assert np.all(np.diff(seen.wavelength) > 0)
        assert seen.resolution.shape == seen.wavelength.shape
        assert np.all((seen.resolution > 1000) & (seen.resolution < 7000))
    assert sum(len(batch) for batch in records) > 0


def test_the_same_partition_gives_the_same_spectra():
    source = FibreSpectra(SKY, "sdss")
    first, second = (next(source.read(source.partitions()[1])) for _ in range(2))
    assert np.array_equal(
        first.observations["sdss_spectrum"].flux,
        second.observations["sdss_spectrum"].flux,
    )


def test_fictional_spectrographs_differ():
    source = FibreSpectra(SKY, "fiction", group=8)
    records = list(source.read(source.partitions()[0]))
    lengths = {batch.observations[FICTION].flux.shape[1] for batch in records}
    assert len(lengths) == len(records) > 1
    for seed in range(40):
        camera = draw_spectrograph(np.random.default_rng(seed))
        assert np.all(np.diff(camera.wavelength) > 0)
        assert 3400 < camera.wavelength[0] < camera.wavelength[-1] < 10700
        assert np.all(camera.sigma > 0.4) and np.all(np.isfinite(camera.electrons))


def test_bad_names_are_refused():
    with pytest.raises(ConfigError, match="no spectrograph"):
        FibreSpectra(SKY, "muse")
    with pytest.raises(DataError, match="no partition"):
        next(FibreSpectra(SKY).read("nowhere"))
