# SPDX-License-Identifier: MIT
"""Figures come out as images, with the numbers they claim."""

import sys

import numpy as np
import pytest

from aion.errors import AionError
from aion.eval.evaluator import ByPosterior
from aion.eval.plots import plot_all, plot_posteriors


def is_image(path):
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    return pixels.shape[0] > 300 and 0.005 < np.mean(pixels < 0.9) < 0.7


def test_every_sort_of_answer_has_figures(
    oracle, question, label_question, test, tmp_path
):
    made = []
    for asked in (question, label_question):
        result = ByPosterior(asked).run(oracle, test)
        made += plot_all(result.predictions, result.examples, tmp_path / "plots")
    names = {p.name for p in made}
    assert names == {
        "redshift-truth.png",
        "redshift-pit.png",
        "redshift-posteriors.png",
        "class-confusion.png",
        "class-posteriors.png",
    }
    assert all(is_image(p) for p in made)


def test_numbers_have_figures_with_units(oracle, question, test, tmp_path):
    from dataclasses import replace

    result = ByPosterior(question).run(oracle, test)
    numbers = replace(result.predictions, sort="number", unit="mag(AB)")
    assert all(is_image(p) for p in plot_all(numbers, None, tmp_path))


def test_figures_do_not_depend_on_what_others_set(oracle, question, test, tmp_path):
    import matplotlib

    examples = ByPosterior(question).run(oracle, test).examples
    with matplotlib.rc_context({"text.usetex": True}):  # as importing GaiaXPy does
        assert is_image(plot_posteriors(examples, tmp_path / "p.png"))


def test_posteriors_without_truth(oracle, question, test, tmp_path):
    from dataclasses import replace

    examples = ByPosterior(question).run(oracle, test).examples
    unknown = replace(examples, truth=np.full(9, np.nan))
    assert is_image(plot_posteriors(unknown, tmp_path / "p.png"))


def test_missing_matplotlib_names_the_extra(
    monkeypatch, oracle, question, test, tmp_path
):
    examples = ByPosterior(question).run(oracle, test).examples
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AionError, match=r"pip install 'aion-jax\[plots\]'"):
        plot_posteriors(examples, tmp_path / "p.png")
