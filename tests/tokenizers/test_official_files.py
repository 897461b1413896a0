# SPDX-License-Identifier: MIT
"""AION-1's codec folders: recognised, strict, written back as they were."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import aion
from aion.codec import CodecBundle, codec_digest, save_codec
from aion.errors import ArtefactError, DataError
from aion.modality import MODALITIES
from aion.observation import Category
from aion_tokenizers.official import OFFICIAL_FOLDERS, export_official

FIXTURES = Path(__file__).resolve().parents[1] / "parity" / "fixtures"
WORDS = {
    "image": "official_image",
    "spectrum": "official_spectrum",
    "spectrum_projected": "official_spectrum",
    "field": "official_field",
    "field_other": "official_field",
    "scalar": "official_scalar",
    "scalar_log": "official_scalar",
    "scalar_grid": "official_scalar",
    "scalar_multi": "official_coefficients",
    "catalog": "official_catalog",
}


@pytest.fixture
def edited(tmp_path):
    """A copy of a case with other arrays or another config."""

    def make(case, arrays=None, config=None):
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(FIXTURES / case, folder)
        if arrays:
            path = folder / "model.safetensors"
            save_file(arrays(load_file(path)), path)
        if config:
            path = folder / "config.json"
            path.write_text(json.dumps(config(json.loads(path.read_text()))))
        return folder

    return make


@pytest.mark.parametrize(("case", "word"), WORDS.items())
def test_export_writes_what_was_read(official, tmp_path, case, word):
    codec = official(case)
    assert codec.word == word
    export_official(codec, tmp_path / "c")
    written = load_file(tmp_path / "c" / "model.safetensors")
    original = load_file(FIXTURES / case / "model.safetensors")
    assert set(written) == set(original)
    for name, array in original.items():
        assert written[name].dtype == array.dtype, name
        np.testing.assert_array_equal(written[name], array, err_msg=name)
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    stored = json.loads((FIXTURES / case / "config.json").read_text())
    assert {k: config[k] for k in stored} == stored
    assert codec_digest(aion.load_codec(tmp_path / "c")) == codec_digest(codec)


@pytest.mark.parametrize("case", WORDS)
def test_our_own_layout_holds_them_too(official, quirky, tmp_path, case):
    save_codec(official(case), tmp_path / "c")
    again = aion.load_codec(tmp_path / "c")
    assert codec_digest(again) == codec_digest(official(case))
    save_codec(quirky(case), tmp_path / "q")
    assert aion.load_codec(tmp_path / "q").official_quirks
    assert not aion.load_codec(tmp_path / "q", official_quirks=False).official_quirks
    assert codec_digest(aion.load_codec(tmp_path / "q")) != codec_digest(again)


def test_older_spellings_and_averages_are_understood(official, edited):
    def older(arrays):
        names = {k: k.removeprefix("_") for k in arrays if k.startswith("_quantizer.")}
        return {names.get(k, k): v for k, v in arrays.items()}

    def averaged(arrays):
        return arrays | {f"ema.module.{k}": v for k, v in arrays.items()}

    for case, change in (("scalar", older), ("image", older), ("field", averaged)):
        codec = aion.load_codec(edited(case, arrays=change))
        assert codec_digest(codec) == codec_digest(official(case))


@pytest.mark.parametrize("case", ["image", "spectrum", "field", "scalar", "catalog"])
@pytest.mark.parametrize("damage", ["missing", "unknown", "shape"])
def test_loading_is_strict(edited, case, damage):
    def change(arrays):
        name = max(arrays, key=lambda k: arrays[k].size)
        if damage == "missing":
            del arrays[name]
        elif damage == "unknown":
            arrays["surprise"] = np.zeros(3, np.float32)
        else:
            arrays[name] = np.zeros((3, *arrays[name].shape), np.float32)
        return arrays

    with pytest.raises(ArtefactError) as caught:
        aion.load_codec(edited(case, arrays=change))
    assert "\n" not in str(caught.value) and caught.value.fix


@pytest.mark.parametrize(
    ("case", "change", "text"),
    [
        ("image", {"quantizer_levels": [7, 5, 5, 5, 4]}, "levels"),
        ("image", {"embedding_dim": 6}, "embedding_dim 6"),
        ("image", {"hidden_dims": "16"}, "hidden_dims"),
        ("image", {"surprise": 1}, "surprise"),
        ("spectrum", {"num_pixels": 1000}, "num_pixels 1000"),
        ("spectrum", {"dim": 9}, "dim 9"),
        ("spectrum", {"codebook_size": 512}, "mask is not what"),
        ("field", {"levels": [8, 5, 5]}, "levels"),
        ("scalar", {"codebook_size": 1000}, "1000 numbers"),
        ("scalar_multi", {"compression_fns": ["eval"]}, "eval"),
        ("catalog", {"mask_value": -99}, "mask_value"),
    ],
)
def test_configurations_that_do_not_fit(edited, case, change, text):
    with pytest.raises(ArtefactError, match=text) as caught:
        aion.load_codec(edited(case, config=lambda c: c | change))
    assert "\n" not in str(caught.value) and caught.value.fix


def test_folders_that_hold_no_codec(edited, tmp_path):
    folder = edited("scalar_grid", config=lambda c: {"dim": 768})
    with pytest.raises(ArtefactError, match="of no codec"):
        aion.load_codec(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ArtefactError, match="no JSON object"):
        aion.load_codec(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ArtefactError, match=r"config\.json"):
        aion.load_codec(folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ArtefactError, match="does not hold a codec"):
        aion.load_codec(folder)
    with pytest.raises(ArtefactError, match="does not hold a codec"):
        aion.load_codec(tmp_path / "nowhere")


def test_a_whole_model_gives_a_bundle(official, tmp_path):
    model = tmp_path / "model"
    for case, name in (("spectrum", "spectrum"), ("scalar_grid", "Z")):
        shutil.copytree(FIXTURES / case, model / "codecs" / name)
    with pytest.raises(ArtefactError, match=r"CodecBundle\.load"):
        aion.load_codec(model)
    bundle = CodecBundle.load(model)
    names = [m.name for m in bundle]
    assert names == ["desi_spectrum", "sdss_spectrum", "redshift"]
    assert bundle.space["redshift"].vocabulary == 1025
    assert bundle.codec("desi_spectrum") is bundle.codec("sdss_spectrum")
    bundle.save(tmp_path / "ours")
    assert CodecBundle.load(tmp_path / "ours").digests == bundle.digests
    (model / "codecs" / "novelty").mkdir()
    with pytest.raises(ArtefactError, match="novelty"):
        CodecBundle.load(model)


def test_every_modality_of_aion_1_has_a_folder():
    keys = {m.official_key for m in MODALITIES.values()}
    assert keys == set(OFFICIAL_FOLDERS) and len(set(OFFICIAL_FOLDERS.values())) == 38


def test_quirks_are_for_official_codecs_only(tmp_path):
    from aion.observation import Scalar
    from aion_tokenizers.scalar import Empirical

    fitter = Empirical.fitter(bins=4)
    fitter.update(Scalar(np.arange(9.0)))
    save_codec(fitter.finish(), tmp_path / "c")
    with pytest.raises(ArtefactError, match="no official quirks"):
        aion.load_codec(tmp_path / "c", official_quirks=True)
    with pytest.raises(ArtefactError, match="no counterpart"):
        export_official(fitter.finish(), tmp_path / "x")


@pytest.mark.parametrize("case", WORDS)
def test_another_kind_of_observation_is_refused(official, case):
    with pytest.raises(DataError, match="not Category"):
        official(case).encode(Category(np.array(["STAR"])))
