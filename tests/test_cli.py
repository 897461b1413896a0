# SPDX-License-Identifier: MIT
"""The command line: the whole way once, what an old run refuses, help."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.toy_run import changed, flags, one_line, write_home

import aion
from aion import cli
from aion.eval.predictions import Predictions


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a config and a catalogue."""
    return write_home(tmp_path_factory.mktemp("cli"))


def untrained(config, shards, space, workdir, **rest):
    """Stands for training: saves the model as it begins, after `steps` steps."""
    import jax
    import orbax.checkpoint as ocp
    from flax import nnx

    from aion.model.store import CHECKPOINTS, describe
    from aion.model.transformer import Transformer
    from aion.train.loop import Outcome
    from aion.train.pretrain import model_of

    steps = int(config["train"]["steps"])
    network = Transformer(model_of(config), space, nnx.Rngs(params=jax.random.key(0)))
    meta = describe(network.config, space)
    items = ocp.args.Composite(
        model=ocp.args.StandardSave(nnx.state(network)), meta=ocp.args.JsonSave(meta)
    )
    with ocp.CheckpointManager((workdir / CHECKPOINTS).resolve()) as manager:
        if manager.latest_step() != steps:
            manager.save(steps, args=items)
    return Outcome(steps, finished=True, metrics={"loss": 1.0})


@pytest.fixture(scope="module")
def run(home) -> Path:
    """A run of the whole job but the training itself, two folds pooled."""
    workdir = home / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aion.train.pretrain.pretrain", untrained)
        assert cli.main(["quickstart", *flags(home, workdir), "--folds", "2"]) == 0
    return workdir


@pytest.mark.slow
def test_quickstart_with_training(home, tmp_path):
    assert cli.main(["quickstart", *flags(home, tmp_path / "w")]) == 0
    metrics = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    assert json.loads(metrics[-1])["step"] == 2
    assert (tmp_path / "w/evaluation/scores.md").exists()


def test_quickstart_pools_folds_and_goes_on(home, run, capsys):
    scores = json.loads((run / "evaluation/scores.json").read_text())["scores"]
    methods = {s["method"] for s in scores}
    assert {"aion", "forest", "knn", "marginal", "aion / forest"} <= methods
    pooled = Predictions.load(run / "evaluation/redshift.parquet")
    sky = pq.read_table(home / "sky.parquet")
    galaxies = sky["class"].to_pylist().count("GALAXY")
    for method in ("aion", "forest"):
        own = pooled.of(method)
        assert len(set(own["object_id"])) == len(own) == galaxies, "each object once"
        assert set(own["fold"]) == {0, 1}
    names = {p.name for p in (run / "evaluation/plots").iterdir()}
    assert {"redshift-truth.png", "redshift-pit.png", "class-confusion.png"} <= names
    assert (run / "draws.parquet").exists() and (run / "draws.png").exists()
    assert cli.main(["quickstart", *flags(home, run), "--folds", "2"]) == 0
    assert "fold-1 is trained and has answered" in capsys.readouterr().out


def test_baselines_learn_from_other_cells_than_they_are_asked_about(run):
    parts = [
        pq.read_table(run / f"fold-{k}/evaluation/redshift.parquet") for k in (0, 1)
    ]
    cells = [set(p["cell"].to_pylist()) for p in parts]
    assert cells[0] and cells[1] and not cells[0] & cells[1]


def test_codecs_are_fitted_on_training_cells_only(home, run):
    from aion.codec import CodecBundle
    from aion.jobs.runs import Job
    from aion.jobs.scoring import gather
    from aion.train.workdir import read_config

    job = Job(read_config(run / "fold-1"), run / "fold-1", home / "sky.parquet")
    values = {
        rows: gather(job.source(), job.rule, rows).records.observations["sdss_mag_u"]
        for rows in ("train", "all")
    }
    edges = CodecBundle.load(run / "fold-1/bundle").codec("sdss_mag_u").bin_edges()  # pyright: ignore
    seen = values["train"].values  # pyright: ignore
    assert edges[0] == seen.min() and edges[-1] == seen.max()
    assert len(seen) < len(values["all"])


def test_draws_are_written_with_summaries_and_provenance(home, run, tmp_path):
    out = tmp_path / "draws.parquet"
    ask = ["--ask", "redshift,object_class", "--limit", "9"]
    where = [f"--workdir={run}/fold-0", f"--catalog={home}/sky.parquet"]
    assert cli.main(["sample", *where, *ask, f"--out={out}"]) == 0
    table = pq.read_table(out)
    data = table.to_pydict()
    assert [len(x) for x in data["redshift_draws"]] == [32] * 9
    labels = ("STAR", "GALAXY", "QSO")
    assert {x for row in data["object_class_draws"] for x in row} <= set(labels)
    assert np.all(np.less(data["redshift_p16"], data["redshift_median"]))
    shares = np.sum([data[f"object_class_p_{x}"] for x in labels], axis=0)
    np.testing.assert_allclose(shares, 1, atol=1e-5)
    assert np.isfinite(data["redshift_true"]).all()
    meta = json.loads(table.schema.metadata[b"aion"])
    assert meta["request"]["scheme"] == "chained" and meta["step"] == 2
    assert meta["codecs"] and str(home) not in json.dumps(meta)
    assert out.with_suffix(".png").exists()


def test_a_catalogue_without_the_asked_column_can_be_sampled(home, run, tmp_path):
    sky = pq.read_table(home / "sky.parquet").drop_columns(["redshift", "class"])
    pq.write_table(sky.slice(0, 9), tmp_path / "photometry.parquet")
    out = tmp_path / "draws.parquet"
    where = [f"--workdir={run}/fold-0", f"--catalog={tmp_path}/photometry.parquet"]
    names = ["sdss_color_gr", *(f"sdss_mag_{b}" for b in "zirgu")]
    given = ["--ask", "redshift", "--given", ",".join(names)]
    assert cli.main(["sample", *where, *given, f"--out={out}"]) == 0
    assert "redshift_true" not in pq.read_table(out).column_names


def test_another_file_is_scored(home, run, tmp_path):
    assert (
        cli.main(
            [
                "simulate",
                "--objects",
                "60",
                "--seed",
                "5",
                f"--out={tmp_path}/o.parquet",
            ]
        )
        == 0
    )
    where = [f"--workdir={run}/fold-0", f"--catalog={tmp_path}/o.parquet"]
    rest = ["--rows", "all", "--no-baselines", f"--out={tmp_path}/scores"]
    assert cli.main(["evaluate", *where, *rest]) == 0
    scores = json.loads((tmp_path / "scores/scores.json").read_text())["scores"]
    assert {s["method"] for s in scores} == {"aion"}
    assert max(s["count"] for s in scores) == 60


def test_info_shows_modalities_runs_and_bundles(run, capsys):
    assert cli.main(["info"]) == 0
    assert "40 modalities" in capsys.readouterr().out
    assert cli.main(["info", f"{run}/fold-0"]) == 0
    shown = capsys.readouterr().out
    for word in ("checkpoints", "sdss_mag_u", "coarse_fine", "HEALPix nside 16"):
        assert word in shown
    assert cli.main(["info", f"{run}/fold-0/bundle"]) == 0
    assert "object_class" in capsys.readouterr().out


def test_a_mended_catalogue_does_not_slip_into_an_old_run(home, run, capsys):
    name = changed(home, z=pa.array(np.full(400, 17.0)))
    assert cli.main(["train", *flags(home, run / "fold-0", name)]) == 2
    one_line(capsys, "another")


def test_missing_workdirs_and_files(home, run, tmp_path, capsys):
    nowhere, sky = f"--workdir={tmp_path}/no", f"--catalog={home}/sky.parquet"
    assert cli.main(["evaluate", nowhere, sky]) == 2
    one_line(capsys, "holds no run")
    assert (
        cli.main(["sample", nowhere, sky, "--ask=redshift", f"--out={tmp_path}/o"]) == 2
    )
    one_line(capsys, "holds no run")
    assert cli.main(["info", f"{tmp_path}/no"]) == 2
    one_line(capsys, "is not a folder")
    assert cli.main(["train", *flags(home, tmp_path / "w", None)]) == 2
    one_line(capsys, "no token shards", "--catalog=FILE")
    assert (
        cli.main(["evaluate", f"--workdir={run}/fold-0", "--catalog=missing.csv"]) == 2
    )
    one_line(capsys, "missing.csv")


def test_a_run_of_another_config_is_refused(home, run, capsys):
    other = "--config.optimizer.learning_rate=0.5"
    assert cli.main(["train", *flags(home, run / "fold-0"), other]) == 2
    one_line(capsys, "learning_rate")


def test_questions_that_cannot_be_asked(home, run, tmp_path, capsys):
    where = [f"--workdir={run}/fold-0", f"--catalog={home}/sky.parquet"]
    out = f"--out={tmp_path}/o.parquet"
    assert cli.main(["sample", *where, "--ask=redshfit", out]) == 2
    one_line(capsys, "no modality 'redshfit'", "redshift")
    assert cli.main(["sample", *where, "--ask=redshift", "--given=redshift", out]) == 2
    one_line(capsys, "redshift is asked and also given")
    assert cli.main(["sample", *where, "--ask=redshift", "--temperature=0", out]) == 2
    one_line(capsys, "temperature")
    existing = f"--out={home}/sky.parquet"
    assert cli.main(["sample", *where, "--ask=redshift", existing]) == 2
    one_line(capsys, "exists")


def test_help_has_an_example_for_every_stage(capsys):
    for stage in [
        "quickstart",
        "simulate",
        "tokenize",
        "train",
        "evaluate",
        "sample",
        "info",
    ]:
        with pytest.raises(SystemExit) as ended:
            cli.main([stage, "--help"])
        assert ended.value.code == 0
        assert f"example:\n  aion {stage} " in capsys.readouterr().out


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys, aion.cli\n"
        "try: aion.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'rich', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(aion.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
