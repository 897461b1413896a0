# SPDX-License-Identifier: MIT
"""`aion tokenize` of survey files, as typed: bundle, parts, faults."""

import json

import numpy as np
import pytest
from flax import nnx

from aion import cli
from aion.codec import CodecBundle, save_codec
from aion.config import load_config
from aion.data.shards import ShardSet
from aion.errors import ConfigError
from aion.jobs.survey_runs import part_of_array, with_refinement
from aion_tokenizers.field import FieldCodec
from aion_tokenizers.field_network import FieldSizes

CONFIG = """
def get_config():
    from ml_collections import ConfigDict
    return ConfigDict({{"data": {{
        "source": {{"kind": "files",
                    "settings": {{"path": {path!r}, "on_bad": "quarantine"}}}},
        "bundle": {bundle!r}, "refinement": {refinement!r},
        "trained": {trained!r},
        "fitted": (
            {{"name": "ra"}}, {{"name": "gaia_parallax"}},
            {{"name": "gaia_flux_g", "codec":
              {{"word": "empirical", "bins": 16, "compression": "asinh"}}}}),
        "objects": 60,
    }}}})
"""


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surveys") / "sky"
    flags = ["--objects=90", "--seed=2", "--surveys=gaia", "--everywhere"]
    assert cli.main(["simulate", *flags, f"--out={folder}"]) == 0
    return folder


@pytest.fixture
def config(sky, tmp_path):
    def write(trained=(), bundle="", refinement=()):
        path, chosen = tmp_path / "config.py", {"trained": trained, "bundle": bundle}
        chosen |= {"path": str(sky / "gaia"), "refinement": dict(refinement)}
        path.write_text(CONFIG.format(**chosen))
        return f"--config={path}"

    return write


def run(*arguments):
    assert cli.main(["tokenize", *map(str, arguments)]) == 0


def codes_of(folder):
    """Codes of all objects by id, and the manifest."""
    shards = ShardSet.open(folder / "shards", CodecBundle.load(folder / "bundle").space)
    found = {}
    for split in ("train", "validation", "test"):
        part = shards.read_records(split, np.arange(shards.count(split)))
        found |= dict(zip(part.object_id, part.codes, strict=True))
    return found, shards.manifest


def test_parts_of_an_array_give_what_one_process_gives(config, tmp_path, monkeypatch):
    flag = config()
    run(flag, f"--workdir={tmp_path / 'one'}")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    for task in ("2", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        run(flag, f"--workdir={tmp_path / 'two'}")
    one, two = codes_of(tmp_path / "one"), codes_of(tmp_path / "two")
    assert len(one[0]) == 90 and one[0].keys() == two[0].keys()
    for name, codes in one[0].items():
        np.testing.assert_array_equal(codes, two[0][name])
    assert one[1]["faults"] == two[1]["faults"] == []


def test_what_is_left_out_stands_in_the_manifest(sky, config, tmp_path, capsys):
    files = sorted((sky / "gaia").rglob("*.hdf5"))
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: len(whole) // 3])
    try:
        run(config(), f"--workdir={tmp_path / 'run'}")
    finally:
        files[0].write_bytes(whole)
    found, manifest = codes_of(tmp_path / "run")
    (fault,) = manifest["faults"]
    assert files[0].name in fault["path"] and fault["reason"]
    assert 0 < len(found) < 90
    assert str(files[0].parent.name) in capsys.readouterr().out


def test_trained_and_fitted_codecs_make_one_bundle(config, tmp_path, capsys):
    sizes = FieldSizes(width=8, encoder_blocks=1, decoder_blocks=1)
    codec = FieldCodec(sizes, sizes.network(nnx.Rngs(0)), 16)
    save_codec(codec, tmp_path / "field")
    row = {
        "name": "field",
        "folder": str(tmp_path / "field"),
        "modalities": ("legacy_segmentation",),
    }
    flag = config((row,))
    run(flag, f"--workdir={tmp_path / 'run'}", "--codecs-only")
    bundle = CodecBundle.load(tmp_path / "run" / "bundle")
    names = ["legacy_segmentation", "gaia_flux_g", "gaia_parallax", "ra"]
    assert [m.name for m in bundle] == names
    assert not (tmp_path / "run" / "shards").exists()
    run(flag, f"--workdir={tmp_path / 'run'}")
    content = json.loads((tmp_path / "run/shards/manifest.json").read_text())
    assert content["modalities"]["legacy_segmentation"]["absent"] == 90
    assert "the middle 16 x 16 pixels" in capsys.readouterr().out


def test_a_run_seeks_codes_as_long_as_it_is_told(config, tmp_path):
    wanted = {"image": (3, 1), "spectrum": (4,)}
    run(config(bundle="nano"), f"--workdir={tmp_path / 'full'}", "--codecs-only")
    # Later stages read the bundle of the run's folder.
    full = CodecBundle.load(tmp_path / "full" / "bundle")
    assert full.digests == CodecBundle.load("nano").digests
    flag = config(bundle="nano", refinement=wanted)
    run(flag, f"--workdir={tmp_path / 'short'}", "--codecs-only")
    nano = CodecBundle.load("nano")
    short = CodecBundle.load(tmp_path / "short" / "bundle")
    assert short.codec("hsc_image").config.refinement == (3, 1, 0)
    spectra = short.codec("sdss_spectrum").sizes
    assert (spectra.refine, spectra.search) == (4, 0)
    assert short.space == nano.space, "the same tokens"
    differs = {n for n, digest in short.digests.items() if digest != nano.digests[n]}
    assert differs == {"image", "spectrum"}


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"ra": (3,)}, "image, spectrum"),
        ({"picture": (3,)}, "image, spectrum"),
        ({"spectrum": (3, 1, 1)}, r"\(steps, passes\)"),
        ({"image": (60.5,)}, "whole numbers"),
        ({"image": "quick"}, "whole numbers"),
        ({"image": ()}, "one or more"),
        ({"image": (-1,)}, "0 or more"),
    ],
)
def test_seeking_that_a_codec_does_not_know_is_refused(wanted, match):
    with pytest.raises(ConfigError, match=match):
        with_refinement(CodecBundle.load("nano"), wanted)


def test_a_word_that_is_wrong_leaves_no_folder_behind(config, tmp_path, capsys):
    flag = config(bundle="nano", refinement={"picture": (3,)})
    assert cli.main(["tokenize", flag, f"--workdir={tmp_path / 'run'}"]) == 2
    assert "picture" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_efforts_are_words_of_the_shipped_config():
    efforts = {
        word: load_config(f"configs/tokenizers/nano.py:effort={word}").data.refinement
        for word in ("full", "quick", "least")
    }
    assert not efforts["full"]
    bundle = CodecBundle.load("nano")
    for word in ("quick", "least"):
        found = with_refinement(bundle, efforts[word].to_dict())
        assert found.codec("hsc_image").config.refine < 240
        assert found.codec("desi_spectrum").sizes.refine < 20
    for config, wrong in (("nano", "effort=ful"), ("image", "bands=wihtout")):
        with pytest.raises(ConfigError, match=f"{wrong}. Choose one of"):
            load_config(f"configs/tokenizers/{config}.py:{wrong}")


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "0/0"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="I/N"):
        part_of_array(text)


def test_the_shipped_config_has_every_modality_once():
    from aion import MODALITIES

    data = load_config("configs/tokenizers/nano.py", []).data
    names = [row["name"] for row in data.fitted]
    names += [name for row in data.trained for name in row["modalities"]]
    assert sorted(names) == sorted(MODALITIES)
