# SPDX-License-Identifier: MIT
"""Codecs of labels: which there are, those nobody knows, round trips."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aion.codec import load_codec, save_codec
from aion.errors import DataError
from aion.modality import Kind, Modality
from aion.observation import Category
from aion_tokenizers.bins import Counts
from aion_tokenizers.scalar import Categories

CLASS = Modality("object_class", "sdss", Kind.CATEGORY)


class TestCategories:
    def labels(self, *labels):
        return Category(np.array(labels, object))

    def fit(self, *labels, **config):
        fitter = Categories.fitter(**config)
        fitter.update(self.labels(*labels))
        return fitter.finish()

    def test_labels_are_collected_and_sorted(self):
        codec = self.fit("STAR", "QSO ", b"GALAXY", None, "", np.nan)
        assert codec.labels == ("GALAXY", "QSO", "STAR")
        codes = codec.encode(self.labels("QSO", "", None, "STAR"))
        np.testing.assert_array_equal(codes, [[1], [-1], [-1], [2]])
        assert codec.decode(codes).labels.tolist() == ["QSO", "", "", "STAR"]
        assert codec.count(self.labels("QSO", "", None)) == Counts(3, 2)

    def test_given_labels_keep_their_order(self):
        codec = self.fit("QSO", labels=["STAR", "GALAXY", "QSO"])
        assert codec.labels == ("STAR", "GALAXY", "QSO")

    def test_unknown_label_lists_those_there_are(self):
        with pytest.raises(DataError, match=r"STARR.*STAR, QSO"):
            self.fit("STARR", labels=["STAR", "QSO"])
        codec = self.fit("STAR", "QSO")
        with pytest.raises(DataError, match=r"NEBULA.*QSO, STAR"):
            codec.encode(self.labels("NEBULA"))

    def test_unknown_label_becomes_other(self):
        codec = self.fit("A", "Z", labels=["A"], other="REST")
        assert codec.labels == ("A", "REST")
        assert codec.encode(self.labels("Q", "A")).tolist() == [[1], [0]]

    def test_no_labels_is_an_error(self):
        with pytest.raises(DataError, match="empty"):
            self.fit("", None)

    def test_round_trip_and_features(self, tmp_path):
        codec = self.fit("b", "a", other="c")
        save_codec(codec, tmp_path / "c")
        assert load_codec(tmp_path / "c") == codec
        spec = codec.spec(CLASS, "c")
        assert (spec.num_codes, spec.grid) == (3, (1,))
        np.testing.assert_array_equal(spec.code_features, np.eye(3))

    @given(st.lists(st.text(min_size=1).filter(lambda s: s.strip(" \0\n\t"))))
    def test_any_text_comes_back(self, texts):
        stripped = [str(np.char.strip(np.array(t))) for t in texts]
        assume(stripped and all(stripped))
        codec = self.fit(*stripped)
        again = codec.decode(codec.encode(self.labels(*stripped))).labels
        assert again.tolist() == stripped
