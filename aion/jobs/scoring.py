# SPDX-License-Identifier: MIT
"""Scores of trained runs: one run, or several folds pooled into one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aion.config import to_plain
from aion.errors import AionError
from aion.eval.baselines import DEFAULT, run_baselines
from aion.eval.calibration import coverage_table
from aion.eval.evaluator import Examples, evaluators
from aion.eval.held import Rows, gather
from aion.eval.plots import plot_all
from aion.eval.predictions import OURS, Predictions, pool
from aion.eval.questions import Question, questions_from_config
from aion.eval.scores import rows as plain_rows
from aion.eval.scores import score
from aion.generation import load
from aion.jobs.runs import Job, begin, file_digest, recorded_catalog, train
from aion.report import write_scores
from aion.train.workdir import write_whole

EVALUATION = "evaluation"
DONE = "done.json"
NOTES = (
    "Errors are standard deviations over bootstrap samples of sky cells, the same "
    "samples for all methods. `nmad` = 1.4826 median |d - median d| with d = (z_phot - "
    "z_spec) / (1 + z_spec) for redshifts and d = predicted - true for other numbers; "
    "`outliers` = share with |d| > 0.05; `log_score` = mean natural log of the density "
    "(per unit) or probability given to the truth; `pit_ks` = Kolmogorov-Smirnov "
    "distance of the PIT from uniform.",
    "All methods answer for the same objects from the same given modalities. "
    "`marginal` is the distribution of the training objects that meet the question's "
    "condition, whatever is given.",
)


def questions_of(config: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions of a configuration.

    Raises:
        AionError: it has none.
    """
    rows = (config.get("evaluate") or {}).get("requests") or ()
    if not rows:
        raise AionError(
            "the config has no questions to evaluate", "List them in evaluate.requests."
        )
    return questions_from_config(rows)


def evaluate(
    job: Job,
    *,
    rows: Rows = "test",
    train_catalog: Path | None = None,
    baselines: Sequence[Any] | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """Scores a trained run on its test cells, or on another file of the same columns.

    Writes what `predict` writes, scores (Markdown, JSON, Parquet) and plots (PNG).

    Args:
        job: the run, with the catalogue to score on.
        rows, train_catalog, baselines, out: see `predict`.

    Returns:
        the rows of the table of scores.
    """
    folder = predict(
        job, rows=rows, train_catalog=train_catalog, baselines=baselines, out=out
    )
    done = json.loads((folder / DONE).read_text())
    title = f"Scores of {job.workdir.name}"
    return summarise(folder, [folder], questions_of(job.config), title, done)


def predict(
    job: Job,
    *,
    rows: Rows = "test",
    train_catalog: Path | None = None,
    baselines: Sequence[Any] | None = None,
    out: Path | None = None,
) -> Path:
    """Asks a trained run and the baselines every question of its configuration.

    Writes, per question, predictions (Parquet) and posteriors of a few objects (npz).

    Args:
        job: the run, with the catalogue to ask about.
        rows: which objects; "all" only for a file that was not trained on.
        train_catalog: what baselines learn from; by default the run's own catalogue
            when it is unchanged, else the catalogue asked about.
        baselines: methods to compare with; all by default.
        out: folder of the results; `evaluation` in the run's by default.

    Returns:
        the folder of the results.
    """
    folder = out or job.workdir / EVALUATION
    model = load(job.workdir)
    held = gather(job.source(), job.rule, rows)
    learn = train_catalog or recorded_catalog(job.workdir) or job.catalog
    lesson = gather(job.source(learn), job.rule, "train") if baselines != () else None
    chosen = DEFAULT if baselines is None else baselines
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    for evaluator in evaluators(questions_of(job.config)):
        question = evaluator.question
        job.say(f"asking for {question.asked}: {question.name}")
        result = evaluator.run(model, held)
        parts = [result.predictions]
        if lesson is not None:
            parts += run_baselines(question, model.space, lesson, held, chosen)
        pool(parts).save(folder / f"{question.slug}.parquet")
        result.examples.save(folder / f"{question.slug}.npz")
    done = _receipt(job, int(model.metadata["step"]), rows)
    write_whole(folder / DONE, json.dumps(done, indent=1) + "\n")
    return folder


def _receipt(job: Job, step: int, rows: Rows) -> dict[str, Any]:
    """What an evaluation was made of; one with the same receipt is the same."""
    questions = to_plain([vars(q) for q in questions_of(job.config)])
    catalog = file_digest(job.catalog) if job.catalog else None
    return {"step": step, "rows": rows, "catalog": catalog, "questions": questions}


def summarise(
    folder: Path,
    parts: Sequence[Path],
    questions: Sequence[Question],
    title: str,
    meta: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Pools the predictions of folders, scores and plots them.

    Args:
        folder: where the results go.
        parts: folders with predictions, one per fold.
        questions: what was asked.
        title: heading of the table.
        meta: JSON values that say where the scores come from.
    """
    rows: list[dict[str, Any]] = []
    for question in questions:
        name = f"{question.slug}.parquet"
        pooled = pool([Predictions.load(part / name) for part in parts])
        if len(parts) > 1:
            pooled.save(folder / name)
        rows += plain_rows(score(pooled))
        if pooled.sort != "label":
            rows += _coverage_rows(pooled)
        examples = Examples.load(parts[0] / f"{question.slug}.npz")
        plot_all(pooled, examples, folder / "plots")
    write_scores(rows, folder, title, NOTES, meta)
    return rows


def _coverage_rows(pooled: Predictions) -> list[dict[str, Any]]:
    """Coverage of our central intervals, as rows of the table."""
    own = pooled.of(OURS)
    return [
        {
            "question": pooled.question.name,
            "method": OURS,
            "metric": f"coverage_{round(100 * row['level'])}",
            "value": row["coverage"],
            "error": row["error"],
            "count": len(own),
        }
        for row in coverage_table(own["pit"], (0.5, 0.9, 0.95))
    ]


def is_done(job: Job) -> bool:
    """Whether a run was trained to its end and scored with the same questions."""
    from aion.model.store import steps_of

    try:
        done = json.loads((job.workdir / EVALUATION / DONE).read_text())
    except (OSError, ValueError):
        return False
    steps = steps_of(job.workdir)
    last = int(job.config["train"]["steps"])
    return (
        bool(steps) and steps[-1] >= last and done == _receipt(job, steps[-1], "test")
    )


def run_once(job: Job, *, quiet: bool = False) -> list[dict[str, Any]]:
    """Codecs, shards, training and scores of one run; goes on with what is missing."""
    _finish(job, quiet=quiet)
    folder, title = job.workdir / EVALUATION, f"Scores of {job.workdir.name}"
    done = json.loads((folder / DONE).read_text())
    return summarise(folder, [folder], questions_of(job.config), title, done)


def _finish(job: Job, *, quiet: bool) -> None:
    begin(job)
    if is_done(job):
        job.say(f"{job.workdir} is trained and has answered")
        return
    train(job, quiet=quiet)
    predict(job)


def run_folds(job: Job, folds: int, *, quiet: bool = False) -> list[dict[str, Any]]:
    """The whole job once per fold in `fold-0`, `fold-1`, ..., pooled into one table.

    Raises:
        WorkdirError: the folder is another run's.
        Stopped: a fold was asked to stop; the same command goes on.
    """
    begin(fold_of(job, folds, 0, job.workdir))
    jobs = [
        fold_of(job, folds, fold, job.workdir / f"fold-{fold}") for fold in range(folds)
    ]
    for fold, one in enumerate(jobs):
        job.say(f"fold {fold} of {folds}")
        _finish(one, quiet=quiet)
    parts = [one.workdir / EVALUATION for one in jobs]
    title = f"Scores of {job.workdir.name}, {folds} folds pooled"
    questions = questions_of(job.config)
    out = job.workdir / EVALUATION
    return summarise(out, parts, questions, title, {"folds": folds})


def fold_of(job: Job, folds: int, fold: int, workdir: Path) -> Job:
    """The job of one fold, in a folder of its own."""
    config = to_plain(job.config)
    config["data"]["split"] |= {"folds": folds, "fold": fold}
    return Job(config, workdir, job.catalog, job.say, job.progress)
