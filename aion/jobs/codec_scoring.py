# SPDX-License-Identifier: MIT
"""Scores of a trained codec: its reconstructions of test objects beside baselines."""

import json
from pathlib import Path
from typing import Any

from aion.codec import codec_digest, load_codec
from aion.errors import ArtefactError, ConfigError, DataError
from aion.eval.reconstruction import APERTURE, STRONG, SURE, Rows
from aion.jobs.codec_boards import BOARDS
from aion.jobs.codec_pieces import read_objects
from aion.jobs.codec_training import BEST, LAST, SCORE, feeds_of
from aion.jobs.runs import Job
from aion.report import write_scores

EVALUATION = "evaluation"
OBJECTS = 192
NOTES = (
    "`error` is mean((reconstruction - truth)^2 ivar) over valid pixels. S/N is that "
    "of the noiseless truth, of spectra its median over pixels. Quarters of objects "
    "are by their mean squared S/N per pixel; objects within some magnitudes of the "
    "noise have no pixel brighter than that. Errors of scores are standard deviations "
    "over bootstrap samples of objects.",
    "`block mean` has one number per token and band, `PCA` as many numbers per token "
    "as the quantizer has axes, learnt on objects of the train split; neither is "
    "rounded: they have real numbers where the codec has codes.",
    "`recorrupted chi2`: data + s n / 2 are encoded, data - 2 s n compared with, over "
    "the variance of these, 5 s^2. `token flip rate`: share of the tokens that differ "
    "when the noise is drawn twice. Entropy and perplexity are of the codes of "
    "patches, without the token that holds an object's scale.",
    f"`flux` and `ellipticity`: median error of bands with S/N > {SURE:g} within "
    f"{APERTURE:g} arcsec. `EW`: median relative error of equivalent widths above "
    f"{STRONG:g} Angstrom in the truth; `the noisy data` are lines measured in the "
    "spectra that were encoded, bad pixels filled with the truth. `IoU`: intersection "
    "over union of the pixels above 0.5, or above 0 (`any value`), mean over maps with "
    "any.",
)


def evaluate_codec(
    job: Job, *, objects: int = OBJECTS, out: Path | None = None
) -> list[dict[str, Any]]:
    """Scores the codec of a run on objects of the test split.

    Writes scores (Markdown, JSON, Parquet) and plots (PNG).

    Args:
        job: the run.
        objects: of each source.
        out: folder of the results; `evaluation` in the run's by default.

    Returns:
        the rows of the table of scores.

    Raises:
        ConfigError: fewer than one object.
        ArtefactError: the run has no codec yet.
        DataError: a source without objects in a split, or of a kind without scores.
    """
    if objects < 1:
        raise ConfigError(f"--objects is {objects}", "Give one or more.")
    folder = out or job.workdir / EVALUATION
    place = _codec_folder(job.workdir)
    codec = load_codec(place)
    rows: Rows = []
    feeds = zip(
        feeds_of(job.config, "test").feeds,
        feeds_of(job.config, "train").feeds,
        strict=True,
    )
    names: list[str] = []
    for held, lesson in feeds:
        names.append(held.modality)
        again = names.count(held.modality)
        name = held.modality if again == 1 else f"{held.modality} {again}"
        job.say(f"scoring {name}: {objects} objects")
        pieces = read_objects(held, objects)
        board = BOARDS.get(type(pieces[0].observation))
        if board is None:
            raise DataError(
                f"no scores for a {type(pieces[0].observation).__name__} ({name})",
                f"There are some for {', '.join(c.__name__ for c in BOARDS)}.",
            )
        rows += board(codec, name, pieces, lesson, objects).run(folder / "plots")
    meta = {"codec": str(place.name), "digest": codec_digest(codec), "objects": objects}
    score = job.workdir / SCORE
    meta |= json.loads(score.read_text()) if score.exists() else {}
    write_scores(rows, folder, f"Scores of {job.workdir.name}", NOTES, meta)
    return rows


def _codec_folder(workdir: Path) -> Path:
    for name in (BEST, LAST):
        if (workdir / name / "config.json").exists():
            return workdir / name
    raise ArtefactError(
        f"{workdir} has no codec yet", "Train it; the best so far is kept in best/."
    )
