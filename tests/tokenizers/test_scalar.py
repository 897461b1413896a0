# SPDX-License-Identifier: MIT
"""Codecs of numbers: round trips, support, absence, clipping, a channel or many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats

from aion.codec import Codec, codec_class, codec_digest, load_codec, save_codec
from aion.errors import DataError
from aion.modality import MODALITIES
from aion.observation import Coefficients, Scalar
from aion_tokenizers.bins import Compression, Counts
from aion_tokenizers.scalar import Channels, CoarseFine, Empirical, Linear

REDSHIFT = MODALITIES["redshift"]
COMPRESSIONS = [("none", 1.0), ("asinh", 0.1), ("log", 0.01), ("log1p", 2000.0)]

numbers = hnp.arrays(
    np.float64,
    st.integers(1, 80),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda x: x + 0.0),
)


def fitted(cls, values, **config):
    fitter = cls.fitter(**config)
    for part in np.array_split(np.asarray(values), 3):
        fitter.update(Scalar(part))
    return fitter.finish()


def numeric_codecs():
    rng = np.random.default_rng(5)
    heavy = rng.standard_t(2, 20_000) * 3
    for word, scale in COMPRESSIONS:
        yield fitted(Empirical, heavy, bins=256, compression=word, scale=scale)
    yield fitted(Empirical, np.round(heavy), bins=256)
    yield fitted(Linear, heavy, bins=100, low=-20.0, high=20.0)
    yield fitted(Linear, heavy, bins=64, compression="asinh", scale=0.5)
    yield fitted(CoarseFine, np.abs(heavy) / 10)
    yield fitted(CoarseFine, heavy, coarse=10, fine=3, low=1.0, high=5.0)


@pytest.mark.parametrize("codec", list(numeric_codecs()), ids=lambda c: c.word)
class TestSupport:
    def test_is_a_codec(self, codec):
        assert isinstance(codec, Codec)
        assert codec_class(codec.word) is type(codec)

    def test_edges_increase_and_are_finite(self, codec):
        edges, centres = codec.bin_edges(), codec.bin_centres()
        assert edges.dtype == centres.dtype == np.float64
        assert edges.shape == (len(centres) + 1,)
        assert np.all(np.isfinite(edges)) and np.all(np.diff(edges) > 0)

    def test_representatives_and_codes_come_back(self, codec):
        index = np.arange(len(codec.bin_centres()))
        np.testing.assert_array_equal(codec.bin_of(codec.bin_centres()), index)
        np.testing.assert_array_equal(codec.bin_of(codec.bin_edges()[:-1]), index)
        codes = codec.codes_of_bin(index)
        np.testing.assert_array_equal(codec.bin_of_codes(codes), index)
        values = codec.decode(codes).values
        np.testing.assert_array_equal(values, codec.bin_centres())
        np.testing.assert_array_equal(codec.encode(Scalar(values)), codes)

    def test_codes_lie_in_the_ranges_of_the_spec(self, codec):
        spec = codec.spec(REDSHIFT, "c")
        codes = codec.codes_of_bin(np.arange(len(codec.bin_centres())))
        assert codes.shape[-1] == spec.num_tokens
        for column, (start, stop) in zip(codes.T, spec.slot_ranges, strict=True):
            assert set(column) == set(range(start, stop))

    def test_probability_over_width_is_a_density(self, codec):
        """The sampled bins of known data integrate to one and follow the histogram."""
        edges = codec.bin_edges()
        values = np.random.default_rng(0).uniform(edges[0], edges[-1], 50_000)
        mass = np.bincount(codec.bin_of(values), minlength=len(edges) - 1) / len(values)
        expected = np.histogram(values, edges)[0] / len(values)
        np.testing.assert_allclose(mass, expected, atol=1e-12)
        wide = np.diff(edges) > 0.02 * (edges[-1] - edges[0])
        if wide.any():
            density = (mass / np.diff(edges))[wide] * (edges[-1] - edges[0])
            assert np.all(np.abs(density - 1) < 0.25)

    def test_absent_is_never_a_code(self, codec):
        centre = codec.bin_centres()[1]
        values = np.ma.array([np.nan, centre, centre, np.inf])
        values[2] = np.ma.masked
        codes = codec.encode(Scalar(values))
        assert codes.dtype == np.int32
        np.testing.assert_array_equal(codes[:, 0] >= 0, [False, True, False, False])
        assert np.all((codes >= 0) == (codes[:, :1] >= 0))
        decoded = codec.decode(codes).values
        np.testing.assert_array_equal(np.isnan(decoded), [True, False, True, True])
        assert codec.count(Scalar(values)) == Counts(4, 3, 0, 0)

    def test_beyond_the_edges_is_clipped_and_counted(self, codec):
        low, high = codec.bin_edges()[[0, -1]]
        values = np.array([low - 1, low, high, high + 1, high + 2])
        last = len(codec.bin_centres()) - 1
        np.testing.assert_array_equal(codec.bin_of(values), [0, 0, last, last, last])
        assert codec.count(Scalar(values)) == Counts(5, 0, 1, 2)

    def test_input_is_not_touched(self, codec):
        values = np.array([np.nan, 1.0, -5.0])
        before = values.copy()
        codec.encode(Scalar(values))
        np.testing.assert_array_equal(values, before)

    def test_decode_takes_sample_axes(self, codec):
        codes = codec.codes_of_bin(np.zeros((4, 5), int))
        assert codec.decode(codes).values.shape == (4, 5)

    def test_state_round_trip(self, codec, tmp_path):
        save_codec(codec, tmp_path / "c")
        again = load_codec(tmp_path / "c")
        assert codec_digest(again) == codec_digest(codec)
        np.testing.assert_array_equal(again.bin_edges(), codec.bin_edges())  # pyright: ignore

    def test_features_know_the_order(self, codec):
        features = codec.spec(REDSHIFT, "c").code_features
        assert features.dtype == np.float32
        assert 16 <= features.shape[1] <= 24
        assert np.all(np.isfinite(features)) and np.abs(features).max() < 4
        distinct = len(np.unique(features, axis=0))
        assert distinct == len(features)


@pytest.mark.parametrize(("word", "scale"), COMPRESSIONS)
@given(data=numbers, count=st.integers(1, 30))
def test_any_data_give_proper_bins(word, scale, data, count):
    codec = fitted(Empirical, data, bins=count, compression=word, scale=scale)
    edges = codec.bin_edges()
    seen = np.maximum(data, scale) if word == "log" else data
    assert 1 <= len(edges) - 1 <= count
    assert edges[0] <= seen.min() and edges[-1] >= seen.max()
    index = np.arange(len(edges) - 1)
    np.testing.assert_array_equal(codec.bin_of(codec.bin_centres()), index)
    np.testing.assert_allclose(
        codec.bins.mass, np.bincount(codec.bin_of(seen)) / len(seen), atol=1e-12
    )
    assert np.all(codec.bins.mass > 0)


@given(data=numbers)
def test_compression_inverts(data):
    for word, scale in COMPRESSIONS:
        curve = Compression(word, scale)
        clipped = curve.clip(data)
        again = curve.inverse(curve.forward(data))
        np.testing.assert_allclose(again, clipped, rtol=1e-9, atol=1e-9)


def test_bins_hold_equal_mass_like_numpy_quantiles():
    data = np.random.default_rng(3).gamma(2.0, size=100_000)
    codec = fitted(Empirical, data, bins=64)
    edges = np.quantile(data, np.linspace(0, 1, 65))
    np.testing.assert_allclose(codec.bin_edges(), edges, rtol=1e-3)
    counts = np.bincount(codec.bin_of(data), minlength=64)
    assert np.all(np.abs(counts - 100_000 / 64) <= 1)
    medians = stats.binned_statistic(data, data, "median", codec.bin_edges()).statistic
    np.testing.assert_allclose(codec.bin_centres(), medians, atol=2e-3)


def test_posterior_density_integrates_to_the_truth():
    """The marginal as a density is close to the gamma law it was drawn from."""
    data = np.random.default_rng(3).gamma(2.0, size=200_000)
    codec = fitted(Empirical, data, bins=100)
    width = np.diff(codec.bin_edges())
    density = codec.bins.mass / width
    assert (density * width).sum() == pytest.approx(1)
    middle = slice(1, -1)
    law = stats.gamma(2.0)
    exact = np.diff(law.cdf(codec.bin_edges())) / width
    np.testing.assert_allclose(density[middle], exact[middle], rtol=0.1)
    grid = np.linspace(0.5, 3, 500)
    at = density[codec.bin_of(grid)]
    assert integrate.trapezoid(at, grid) == pytest.approx(
        law.cdf(3) - law.cdf(0.5), abs=0.01
    )


def test_few_distinct_values_get_a_bin_each():
    codec = fitted(Empirical, np.repeat([1.0, 2.0, 3.0, 10.0], [5, 1, 90, 4]), bins=64)
    np.testing.assert_array_equal(codec.bin_edges(), [1, 1.5, 2.5, 6.5, 10])
    np.testing.assert_array_equal(codec.bin_centres(), [1, 2, 3, 10])
    np.testing.assert_allclose(codec.bins.mass, [0.05, 0.01, 0.9, 0.04])


def test_an_atom_in_continuous_data_keeps_its_bin_narrow():
    rng = np.random.default_rng(0)
    data = np.concatenate([np.zeros(3000), rng.normal(size=7000)])
    codec = fitted(Empirical, data, bins=100)
    zero = int(codec.bin_of(np.zeros(1))[0])
    assert codec.bin_centres()[zero] == 0
    assert 0 < np.diff(codec.bin_edges())[zero] < 0.1
    assert codec.bins.mass[zero] == pytest.approx(0.3, abs=0.02)
    assert len(codec.bin_centres()) < 100


def test_constant_column_has_a_bin_with_a_width():
    codec = fitted(Empirical, np.full(9, 4.2))
    assert codec.bin_of(np.array([4.2, 4.3, np.nan])).tolist() == [0, 0, -1]
    assert np.all(np.diff(codec.bin_edges()) > 0)


def test_coarse_fine_default_is_that_of_the_design():
    codec = fitted(CoarseFine, [0.1])
    spec = codec.spec(REDSHIFT, "z")
    assert (spec.num_codes, spec.vocabulary, spec.grid) == (320, 320, (2,))
    assert spec.ranges == ((0, 256), (256, 320)) and spec.coarse_to_fine
    edges = codec.bin_edges()
    assert (edges[0], edges[-1]) == (-0.01, 7.0)
    steps = np.diff(np.log1p(edges))
    np.testing.assert_allclose(steps, (np.log(8) - np.log(0.99)) / 16384, rtol=1e-6)
    star = codec.encode(Scalar(np.array([-0.001, 0.0, 0.001])))
    assert len(np.unique(star[:, 1])) > 1  # velocities of 300 km/s are told apart
    z = np.random.default_rng(0).uniform(0, 7, 1000)
    error = (codec.decode(codec.encode(Scalar(z))).values - z) / (1 + z)
    assert np.abs(error).max() < 6.6e-5


def test_coarse_and_fine_features_have_columns_of_their_own():
    features = fitted(CoarseFine, [0.1]).spec(REDSHIFT, "z").code_features
    assert not np.any((features[:256] != 0).any(0) & (features[256:] != 0).any(0))


def test_codes_of_the_wrong_slot_are_errors():
    codec = fitted(CoarseFine, [0.1])
    for codes in ([[300, 260]], [[3, 4]], [[3, 320]]):
        with pytest.raises(DataError, match=r"0\.\.255.*256\.\.319"):
            codec.decode(np.array(codes))
    with pytest.raises(DataError, match="1024"):
        fitted(Linear, [0.0, 1.0]).decode(np.array([[1024]]))


@pytest.mark.parametrize("cls", [Empirical, Linear, CoarseFine])
@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [np.inf]])
def test_nothing_to_fit_is_one_line(cls, values):
    with pytest.raises(DataError, match="NaN or there are none") as caught:
        fitted(cls, np.array(values, float))
    assert "\n" not in str(caught.value) and caught.value.fix


class TestChannels:
    XP = MODALITIES["gaia_xp_bp"]

    def codec(self, **config):
        rng = np.random.default_rng(0)
        values = rng.standard_normal((3000, 55)) * 10.0 ** np.linspace(3, -1, 55)
        fitter = Channels.fitter(bins=128, compression="asinh", **config)
        for part in np.array_split(values, 4):
            fitter.update(Coefficients(part))
        return fitter.finish(), values

    def test_each_channel_has_its_own_bins(self, tmp_path):
        codec, values = self.codec()
        codes = codec.encode(Coefficients(values))
        assert codes.shape == values.shape and codes.dtype == np.int32
        for channel in (0, 54):
            alone = fitted(Empirical, values[:, channel], bins=128, compression="asinh")
            np.testing.assert_array_equal(
                codes[:, channel], alone.encode(Scalar(values[:, channel]))[:, 0]
            )
        decoded = codec.decode(codes).values
        np.testing.assert_array_equal(codec.encode(Coefficients(decoded)), codes)
        assert np.all(np.abs(decoded - values).mean(0) < 0.05 * values.std(0))
        save_codec(codec, tmp_path / "c")
        assert codec_digest(load_codec(tmp_path / "c")) == codec_digest(codec)

    def test_spec(self):
        spec = self.codec()[0].spec(self.XP, "xp")
        assert (spec.num_tokens, spec.num_codes, len(spec.ranges)) == (55, 128, 55)
        assert spec.slot_features is not None and spec.slot_features.shape[0] == 55
        assert len(np.unique(spec.slot_features, axis=0)) == 55

    def test_channels_with_ties_have_fewer_codes(self):
        values = np.stack([np.arange(50.0), np.arange(50.0) % 3], axis=1)
        fitter = Channels.fitter(bins=16)
        fitter.update(Coefficients(values))
        spec = fitter.finish().spec(self.XP, "xp")
        assert spec.ranges == ((0, 16), (0, 3)) and spec.num_codes == 16

    def test_absent_and_clipped(self):
        codec, values = self.codec()
        some = values[:2].copy()
        some[0, :3], some[1, 0] = np.nan, 1e9
        codes = codec.encode(Coefficients(some))
        assert (codes == -1).sum() == 3
        assert codec.count(Coefficients(some)) == Counts(110, 3, 0, 1)

    def test_wrong_numbers_of_channels(self):
        codec, values = self.codec()
        with pytest.raises(DataError, match=r"\[batch, 55\]"):
            codec.encode(Coefficients(values[:, :54]))
        values[:, 7] = np.nan
        fitter = Channels.fitter()
        fitter.update(Coefficients(values))
        with pytest.raises(DataError, match="NaN"):
            fitter.finish()
