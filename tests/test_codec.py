# SPDX-License-Identifier: MIT
"""Bundles: stored and read again, tampering noticed, classes only from the list."""

import importlib.metadata
import json
import shutil
import sys
from dataclasses import dataclass
from typing import ClassVar

import astropy.units as u
import numpy as np
import pytest

from aion.codec import (
    Codec,
    CodecBundle,
    codec_class,
    codec_digest,
    load_codec,
    save_codec,
)
from aion.errors import ArtefactError, ConfigError, DataError, UnitError
from aion.modality import MODALITIES, Kind, Modality
from aion.observation import Category, Scalar
from aion.tokenspace import TokenSpec
from aion_tokenizers.scalar import Categories, CoarseFine, Empirical

MAG = Modality("mag_u", "own", Kind.SCALAR, (), "mag(AB)")
MAG_G = Modality("mag_g", "own", Kind.SCALAR, (), "mag(AB)")
CLASS = Modality("object_class", "own", Kind.CATEGORY)


@dataclass(frozen=True)
class Sign:
    """A toy codec of another package: the sign of a number."""

    word: ClassVar[str] = "toy_sign"
    flip: bool = False

    def encode(self, observation):
        values = np.asarray(observation.values, float)
        codes = np.where(np.isnan(values), -1, (values > 0) != self.flip)
        return codes.astype(np.int32)[:, None]

    def decode(self, codes, **asked):
        return Scalar(np.where(np.asarray(codes)[..., 0] == 1, 1.0, -1.0))

    def spec(self, modality, name):
        return TokenSpec(modality, name, 2, 2)

    def state(self):
        return {"flip": self.flip}, {}

    @classmethod
    def from_state(cls, config, arrays):
        return cls(**config)


@pytest.fixture
def installed_toy(monkeypatch):
    """The toy as if a package with an entry point were installed."""
    module = type(sys)("toy_package")
    module.Sign = Sign  # pyright: ignore
    monkeypatch.setitem(sys.modules, "toy_package", module)
    point = importlib.metadata.EntryPoint("toy_sign", "toy_package:Sign", "aion.codecs")
    monkeypatch.setattr(
        "aion.codec.entry_points",
        lambda group: [point] if group == "aion.codecs" else [],
    )


def fit(cls, values, **config):
    fitter = cls.fitter(**config)
    fitter.update(values)
    return fitter.finish()


@pytest.fixture
def bundle():
    rng = np.random.default_rng(0)
    mags = fit(Empirical, Scalar(rng.normal(20, 1, 500)), bins=16)
    redshift = fit(CoarseFine, Scalar(rng.random(500)), coarse=8, fine=4)
    classes = fit(Categories, Category(np.array(["STAR", "QSO"])))
    codecs = {"mag": mags, "z": redshift, "class": classes}
    serves = {MAG: "mag", MODALITIES["redshift"]: "z", MAG_G: "mag", CLASS: "class"}
    return CodecBundle(codecs, serves)


def test_bundle_round_trip(bundle, tmp_path):
    bundle.save(tmp_path / "b")
    again = CodecBundle.load(tmp_path / "b")
    assert again.space == bundle.space
    assert again.digests == bundle.digests
    np.testing.assert_array_equal(
        again.space.code_features(), bundle.space.code_features()
    )
    values = Scalar(np.linspace(17, 23, 50))
    np.testing.assert_array_equal(
        again.encode("mag_g", values), bundle.encode("mag_g", values)
    )
    assert [m.name for m in again] == ["mag_u", "redshift", "mag_g", "object_class"]


def test_nothing_in_a_bundle_is_a_pickle_or_code(bundle, tmp_path):
    bundle.save(tmp_path / "b")
    names = {p.name for p in (tmp_path / "b").rglob("*") if p.is_file()}
    assert names == {"bundle.json", "config.json", "weights.safetensors"}
    text = (tmp_path / "b" / "bundle.json").read_text()
    assert "aion_tokenizers" not in text and str(tmp_path) not in text


def test_one_codec_may_serve_two_modalities(bundle):
    assert bundle.codec("mag_u") is bundle.codec("mag_g")
    assert bundle.space["mag_u"].codec == bundle.space["mag_g"].codec == "mag"


def test_quantities_are_converted_before_encoding(bundle):
    flux = [1.0, 10.0] * u.uJy
    plain = Scalar(flux.to_value(u.ABmag))
    np.testing.assert_array_equal(
        bundle.encode("mag_u", Scalar(flux)), bundle.encode("mag_u", plain)
    )
    with pytest.raises(UnitError, match="mag_u"):
        bundle.encode("mag_u", Scalar([1.0] * u.s))


def test_codes_of_another_shape_are_refused(bundle):
    with pytest.raises(DataError, match="redshift has 2 tokens"):
        bundle.decode("redshift", np.zeros((3, 1), int))


def test_a_bundle_is_never_written_over(bundle, tmp_path):
    bundle.save(tmp_path / "b")
    with pytest.raises(ArtefactError, match="exists"):
        bundle.save(tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("part", ["config.json", "weights.safetensors"])
def test_changed_weights_are_noticed(bundle, tmp_path, part):
    bundle.save(tmp_path / "b")
    target = tmp_path / "b" / "codecs" / "mag" / part
    changed = fit(Empirical, Scalar(np.linspace(0, 1, 99)), bins=16)
    if part == "config.json":
        changed = fit(Empirical, Scalar(np.arange(9.0)), compression="asinh")
    save_codec(changed, tmp_path / "x")
    shutil.copy(tmp_path / "x" / part, target)
    with pytest.raises(ArtefactError, match="codec mag does not have the digest"):
        CodecBundle.load(tmp_path / "b")


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "version", "format"])
def test_broken_bundles_are_one_line(bundle, tmp_path, damage):
    bundle.save(tmp_path / "b")
    weights = tmp_path / "b" / "codecs" / "z" / "weights.safetensors"
    head = tmp_path / "b" / "bundle.json"
    content = json.loads(head.read_text())
    actions = {
        "missing": weights.unlink,
        "cut": lambda: weights.write_bytes(weights.read_bytes()[:40]),
        "text": lambda: head.write_text("{"),
        "version": lambda: head.write_text(json.dumps(content | {"version": 9})),
        "format": lambda: head.write_text(json.dumps(content | {"format": "x"})),
    }
    actions[damage]()
    with pytest.raises(ArtefactError) as caught:
        CodecBundle.load(tmp_path / "b")
    assert "\n" not in str(caught.value) and caught.value.fix


def test_a_file_cannot_name_code_to_import(bundle, tmp_path, monkeypatch):
    """A class word that is a module path is neither imported nor looked for."""
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle.save(tmp_path / "b")
    config = tmp_path / "b" / "codecs" / "mag" / "config.json"
    content = json.loads(config.read_text())
    for word in ("evil:Codec", "evil", "aion_tokenizers.scalar:Empirical"):
        config.write_text(json.dumps(content | {"codec": word}))
        with pytest.raises(ArtefactError, match="unknown codec class"):
            CodecBundle.load(tmp_path / "b")
    assert "evil" not in sys.modules


def test_codec_of_an_installed_package(installed_toy, tmp_path):
    assert isinstance(Sign(), Codec)
    assert codec_class("toy_sign") is Sign
    bundle = CodecBundle({"sign": Sign(flip=True)}, {MAG: "sign"})
    bundle.save(tmp_path / "b")
    again = CodecBundle.load(tmp_path / "b")
    assert again.codec("mag_u") == Sign(flip=True)
    codes = again.encode("mag_u", Scalar(np.array([1.0, -1.0, np.nan])))
    assert codes.tolist() == [[0], [1], [-1]]


def test_without_its_package_a_codec_is_unknown(tmp_path):
    save_codec(Sign(), tmp_path / "c")
    with pytest.raises(ArtefactError, match=r"toy_sign.*entry point"):
        load_codec(tmp_path / "c")


def test_digest_depends_on_word_config_and_arrays():
    one = fit(Empirical, Scalar(np.arange(50.0)), bins=8)
    same = fit(Empirical, Scalar(np.arange(50.0)), bins=8)
    other = fit(Empirical, Scalar(np.arange(51.0)), bins=8)
    digests = [codec_digest(c) for c in (one, other, Sign(), Sign(flip=True))]
    assert codec_digest(same) == digests[0]
    assert len(set(digests)) == 4


def test_modality_without_a_codec_is_refused(bundle):
    with pytest.raises(ConfigError, match="mug"):
        CodecBundle(bundle.codecs, {MAG: "mug"})
