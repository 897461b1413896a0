# SPDX-License-Identifier: MIT
"""`aion evaluate` of the run of a codec: every kind, from folder to figures."""

import json
from dataclasses import dataclass

import jax
import numpy as np
import pytest

from aion import cli
from aion.codec import codec_class
from aion.errors import ArtefactError, ConfigError
from aion.jobs import feeds as feeds_module
from aion.jobs.codec_boards import BOARDS
from aion.jobs.codec_pieces import REDSHIFT, Piece, measured
from aion.jobs.codec_scoring import evaluate_codec
from aion.jobs.codec_training import BEST, save_codec_whole, task_of
from aion.jobs.runs import Job
from aion.observation import Field, Image, Scalar, Spectrum
from aion.records import Records
from aion.splits import SplitRule
from aion.train.workdir import claim

SIZES = {"width": 16, "encoder_blocks": 1, "decoder_blocks": 1, "levels": (4, 4, 4)}
CODECS = {
    "legacy_image": {"word": "image", "network": SIZES, "side": 16, "crop": 12},
    "sdss_spectrum": {"word": "spectrum", "network": SIZES},
    "legacy_segmentation": {"word": "field", "network": SIZES, "side": 16},
}


def images(rng, count):
    y, x = np.mgrid[:16, :16] - 7.5
    peak = rng.lognormal(3, 1, (count, 4, 1, 1))
    truth = (peak * np.exp(-(y**2 + x**2) / 18)).astype(np.float32)
    noise = rng.standard_normal(truth.shape).astype(np.float32)
    names = [f"DES-{b}" for b in "GRIZ"]
    valid = rng.random(truth.shape) < 0.99
    seen = Image.from_bands(truth + noise, names, ivar=np.ones_like(truth), mask=valid)
    return seen, Image.from_bands(truth, names)


def spectra(rng, count):
    line = np.geomspace(3800, 9000, 900)
    truth = rng.lognormal(2, 1, (count, 1)) * (1 + 0.2 * np.sin(line / 300))
    peak = np.exp(-((line - 6564.6 * 1.1) ** 2) / (2 * 15.0**2))
    truth = truth * (1 + peak)
    flux = truth + rng.standard_normal(truth.shape)
    ivar = np.ones_like(flux)
    return Spectrum(flux, ivar, None, line, 2000.0), Spectrum(truth, wavelength=line)


def maps(rng, count):
    y, x = np.mgrid[:16, :16]
    at = rng.uniform(3, 13, (2, count, 1, 1))
    inside = (y - at[0]) ** 2 + (x - at[1]) ** 2 < 12
    return Field(inside.astype(np.float32)), None


MADE = {"legacy_image": images, "sdss_spectrum": spectra, "legacy_segmentation": maps}


@dataclass(frozen=True)
class ToySource:
    """Objects all over the sky with their truth, if `truth`."""

    rule: SplitRule
    name: str
    truth: bool = True

    def partitions(self):
        return ["one", "two"]

    def read(self, partition):
        rng = np.random.default_rng(len(partition) + (partition == "two"))
        seen, truth = MADE[self.name](rng, 30)
        found = {self.name: seen, self.name + REDSHIFT: Scalar(np.full(30, 0.1))}
        if truth is not None and self.truth:
            found[f"{self.name}.truth"] = truth
        yield Records(
            np.array([f"{partition}-{n}" for n in range(30)]),
            rng.uniform(0, 360, 30),
            rng.uniform(-60, 60, 30),
            found,
        )


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    sources = {**feeds_module.SOURCES, "toy": ToySource}
    monkeypatch.setattr(feeds_module, "SOURCES", sources)


@pytest.fixture
def run(tmp_path):
    """Writes the run of an untrained codec."""

    def made(name, *, truth=True):
        settings = {"name": name, "truth": truth}
        config = {
            "codec": CODECS[name],
            "data": {
                "sources": [{"kind": "toy", "modality": name, "settings": settings}],
                "batch": 4,
                "split": {"folds": 2},
            },
        }
        claim(tmp_path, config)
        task = task_of(config)
        save_codec_whole(task.codec(task.build(jax.random.key(0))), tmp_path / BEST)
        return Job(config, tmp_path)

    return made


@pytest.mark.parametrize("name", MADE)
def test_a_run_is_scored_from_the_command_line(name, run, capsys):
    folder = run(name).workdir
    assert cli.main(["evaluate", f"--workdir={folder}", "--objects=10"]) == 0
    assert f"{name} (10 objects)" in capsys.readouterr().out
    written = json.loads((folder / "evaluation" / "scores.json").read_text())
    assert len(written["meta"]["digest"]) == 64
    found = {(r["method"], r["metric"]): r["value"] for r in written["scores"]}
    if name == "legacy_segmentation":
        assert 0 <= found["codec", "IoU"] < found["block mean", "IoU"] <= 1
        assert found["blank", "IoU"] == 0
    else:
        assert found["PCA", "error"] < found["blank", "error"]
        assert found["block mean", "error"] < found["blank", "error"]
        assert found["codec", "error"] > 0
        assert 0 <= found["codec", "token flip rate"] <= 1
        chi2 = found["PCA", "recorrupted chi2"]
        # The variance of what is hidden is five times that of the data.
        expected = 1 + (found["PCA", "error"]) / 5
        assert chi2 == pytest.approx(expected, rel=0.05)
    assert found["codec", "code perplexity"] >= 1
    if name == "sdss_spectrum":
        assert found["block mean", "EW h_alpha"] < 0.5
        noisy = [found["the noisy data", f"EW h_alpha{x}"] for x in ("", ", S/N > 5")]
        assert 0 < noisy[1] < noisy[0] < 0.5
    made = {p.name for p in (folder / "evaluation" / "plots").iterdir()}
    more = () if name == "legacy_segmentation" else ("errors", "worst")
    assert made == {f"{name}-{word}.png" for word in ("examples", *more)}


@pytest.mark.parametrize("name", ["legacy_image", "sdss_spectrum"])
def test_without_truth_only_recorrupted_residuals_count(name, run):
    rows = evaluate_codec(run(name, truth=False), objects=6)
    metrics = {r["metric"] for r in rows}
    assert metrics == {
        "recorrupted chi2",
        "code entropy, bits",
        "code perplexity",
        "tokens counted",
    }


def test_what_cannot_be_scored_is_said(run, tmp_path):
    job = run("legacy_image")
    with pytest.raises(ConfigError, match="--objects is 0"):
        evaluate_codec(job, objects=0)
    with pytest.raises(ArtefactError, match="no codec yet"):
        evaluate_codec(Job(job.config, tmp_path / "other"))
    seen, _ = images(np.random.default_rng(0), 2)
    bare = Image(seen.flux, bands=seen.bands)
    with pytest.raises(Exception, match="without ivar"):
        measured(Piece(bare))


def test_every_trained_codec_has_scores():
    assert {c.__name__ for c in BOARDS} == {"Image", "Spectrum", "Field"}
    assert all(hasattr(codec_class(c["word"]), "task") for c in CODECS.values())
