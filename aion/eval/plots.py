# SPDX-License-Identifier: MIT
"""Figures of an evaluation as PNG files; Matplotlib without a display.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aion.errors import AionError
from aion.eval.calibration import reliability
from aion.eval.evaluator import Examples
from aion.eval.photoz import OUTLIER, confusion, nmad, scaled
from aion.eval.predictions import OURS, Predictions

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
STYLE: dict[Any, Any] = {
    "text.usetex": False,  # packages such as GaiaXPy turn it on for everybody
    "figure.dpi": 150,
    "font.size": 11,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.bbox": "tight",
}


@contextmanager
def canvas(path: Path, rows: int, columns: int, **keywords: Any) -> Iterator[tuple]:
    """A figure and its axes, saved and closed at the end."""
    try:
        import matplotlib
    except ImportError:
        raise AionError(
            "plots need Matplotlib, which is not installed",
            "Install the extra: pip install 'aion-jax[plots]'.",
        ) from None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(layout="constrained", figsize=keywords.pop("figsize"))
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns, **keywords)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _label(name: str, unit: str) -> str:
    return f"{name.replace('_', ' ')} [{unit}]" if unit else name.replace("_", " ")


def _range(*values: np.ndarray) -> tuple[float, float]:
    """Limits that hold all but the outermost thousandth of the values."""
    low, high = np.quantile(np.concatenate(values), [0.001, 0.999])
    margin = 0.04 * (high - low or 1.0)
    return float(low - margin), float(high + margin)


def plot_redshifts(predictions: Predictions, path: Path) -> Path:
    """z_phot against z_spec of our answers, with a panel of scaled residuals."""
    own = predictions.of(OURS)
    d, truth, estimate = scaled(own.columns), own["truth"], own["estimate"]
    far = np.abs(d) > OUTLIER
    low, high = _range(truth, estimate)
    low = max(low, -0.02)
    shape = {"figsize": (5.6, 6.8), "sharex": True, "height_ratios": [3, 1]}
    with canvas(path, 2, 1, **shape) as (_, (top, bottom)):
        line = np.array([low, high])
        top.plot(line, line, color=GREY, lw=1, zorder=3)
        for edge in (-OUTLIER, OUTLIER):
            top.plot(line, line + edge * (1 + line), color=GREY, lw=1, ls="--")
            bottom.axhline(edge, color=GREY, lw=1, ls="--")
        bottom.axhline(0, color=GREY, lw=1)
        for chosen, colour, word in ((~far, BLUE, "within"), (far, ORANGE, "beyond")):
            share = f"{word} {OUTLIER:g} (1+z): {100 * chosen.mean():.1f} %"
            style = {"s": 5, "alpha": 0.5, "color": colour, "lw": 0, "rasterized": True}
            top.scatter(truth[chosen], estimate[chosen], label=share, **style)
            bottom.scatter(truth[chosen], d[chosen], **style)
        top.set(xlim=(low, high), ylim=(low, high), ylabel=r"$z_\mathrm{phot}$")
        top.set_title(
            f"{own.question.name}: {len(own):,} objects, "
            rf"$\sigma_\mathrm{{NMAD}}$ = {nmad(d):.4f}"
        )
        top.legend(loc="upper left", markerscale=3)
        bottom.set(
            xlabel=r"$z_\mathrm{spec}$",
            ylabel=r"$\Delta z / (1 + z_\mathrm{spec})$",
            ylim=(-4 * OUTLIER, 4 * OUTLIER),
        )
    return path


def plot_numbers(predictions: Predictions, path: Path) -> Path:
    """Predicted against true values of our answers, with a panel of residuals."""
    own = predictions.of(OURS)
    truth, estimate = own["truth"], own["estimate"]
    difference, name = estimate - truth, own.question.asked
    low, high = _range(truth, estimate)
    shape = {"figsize": (5.6, 6.8), "sharex": True, "height_ratios": [3, 1]}
    with canvas(path, 2, 1, **shape) as (_, (top, bottom)):
        style = {"s": 5, "alpha": 0.4, "color": BLUE, "lw": 0, "rasterized": True}
        top.plot([low, high], [low, high], color=GREY, lw=1, zorder=3)
        bottom.axhline(0, color=GREY, lw=1, zorder=3)
        top.scatter(truth, estimate, **style)
        bottom.scatter(truth, difference, **style)
        top.set(xlim=(low, high), ylim=(low, high))
        top.set_ylabel(_label(f"predicted {name}", own.unit))
        spread = f"{nmad(difference):.3f} {own.unit}".strip()
        top.set_title(
            f"{own.question.name}: {len(own):,} objects, "
            rf"$\sigma_\mathrm{{NMAD}}$ = {spread}"
        )
        reach = 6 * nmad(difference) or 1.0
        bottom.set(ylim=(-reach, reach), ylabel=_label("residual", own.unit))
        bottom.set_xlabel(_label(f"true {name}", own.unit))
    return path


def plot_pit(predictions: Predictions, path: Path, bins: int = 20) -> Path:
    """PIT histogram with the band expected of calibrated posteriors, and coverage."""
    from scipy.stats import binom

    own = predictions.of(OURS)
    pit = own["pit"][~np.isnan(own["pit"])]
    counts, edges = np.histogram(pit, bins, (0, 1))
    expected = len(pit) / bins
    low, high = (binom.ppf(q, len(pit), 1 / bins) / expected for q in (0.025, 0.975))
    with canvas(path, 1, 2, figsize=(9.4, 4.2)) as (figure, (left, right)):
        band = {"color": GREY, "alpha": 0.25, "lw": 0}
        left.axhspan(low, high, label="95 % if calibrated", **band)
        left.axhline(1, color=GREY, lw=1)
        left.stairs(counts / expected, edges, color=BLUE, lw=2)
        top = max(1.6, 1.15 * float((counts / expected).max()))
        left.set(xlim=(0, 1), ylim=(0, top))
        left.set(xlabel="PIT of the true value", ylabel="objects / expectation")
        left.legend(loc="lower center")
        levels = np.linspace(0, 1, 101)
        covered = [np.mean(np.abs(pit - 0.5) <= level / 2) for level in levels]
        spread = 1.96 * np.sqrt(levels * (1 - levels) / len(pit))
        right.fill_between(levels, levels - spread, levels + spread, **band)
        right.plot(levels, levels, color=GREY, lw=1)
        right.plot(levels, covered, color=BLUE, lw=2)
        right.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        right.set_xlabel("level of the central interval")
        right.set_ylabel("share of truths inside")
        figure.suptitle(f"{own.question.name}: calibration, {len(pit):,} objects")
    return path


def plot_confusion(predictions: Predictions, path: Path) -> Path:
    """Share of each true class that is given each label, and reliability."""
    own, labels = predictions.of(OURS), predictions.labels
    table = confusion(own.columns, labels)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    said = np.concatenate([own[f"p_{x}"] for x in labels])
    happened = np.concatenate([own["truth"] == x for x in labels])
    rows = reliability(said, happened)
    with canvas(path, 1, 2, figsize=(10.2, 4.6)) as (figure, (left, right)):
        left.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(*table.shape):
            colour = "white" if share[i, j] > 0.55 else "black"
            text = f"{100 * share[i, j]:.1f} %\n{table[i, j]:,}"
            left.text(j, i, text, ha="center", va="center", color=colour, fontsize=11)
        left.set(xticks=range(len(labels)), yticks=range(len(labels)))
        left.set(xticklabels=labels, xlabel="given label", ylabel="true class")
        left.set_yticklabels(labels, rotation=90, va="center")
        left.spines[:].set_visible(False)
        left.tick_params(length=0)
        right.plot([0, 1], [0, 1], color=GREY, lw=1)
        x, y, e = ([r[k] for r in rows] for k in ("said", "happened", "error"))
        right.errorbar(x, y, e, fmt="o", color=BLUE, capsize=3)
        right.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        right.set(xlabel="probability given to a class", ylabel="share that is of it")
        right_share = 100 * np.trace(table) / max(table.sum(), 1)
        figure.suptitle(
            f"{own.question.name}: {int(table.sum()):,} objects, "
            f"{right_share:.1f} % right; reliability on the right"
        )
    return path


def plot_posteriors(examples: Examples, path: Path, bins: int = 150) -> Path:
    """Posteriors of a few objects with the true value of each."""
    posterior, count = examples.posterior, len(examples.truth)
    columns = min(3, count)
    rows = -(-count // columns)
    shape = {"figsize": (3.4 * columns + 0.4, 2.5 * rows + 0.4), "squeeze": False}
    with canvas(path, rows, columns, **shape) as (figure, axes):
        for number, axis in enumerate(axes.ravel()):
            if number >= count:
                axis.set_visible(False)
                continue
            _draw_posterior(axis, examples, number, bins)
        figure.supxlabel(_label(posterior.name, posterior.unit))
        figure.supylabel("probability" if posterior.is_category else "density")
    return path


def _draw_posterior(axis: Any, examples: Examples, number: int, bins: int) -> None:
    posterior, truth = examples.posterior, examples.truth[number]
    p = posterior.probabilities[number]
    if posterior.edges is None:
        colours = [ORANGE if v == truth else BLUE for v in posterior.values]
        axis.bar([str(v) for v in posterior.values], p, color=colours)
        axis.set_ylim(0, 1)
    else:
        edges, density = _shown(posterior.edges, p, truth, bins)
        axis.stairs(density, edges, color=BLUE, fill=True, alpha=0.3)
        axis.stairs(density, edges, color=BLUE, lw=1.3)
        if np.isfinite(truth):
            axis.axvline(truth, color=ORANGE, lw=1.8)
        axis.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
    name = str(examples.object_id[number])
    known = truth if isinstance(truth, str) else f"{truth:.4g}"
    text = f"{name}\ntrue {known}" if known not in ("nan", "") else name
    axis.set_title(text, fontsize=9, color=ORANGE if known != "nan" else GREY)


def _shown(
    edges: np.ndarray, p: np.ndarray, truth: float, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """The stretch that holds 99 % and the truth, in even bins, and its density."""
    total = np.concatenate([[0.0], np.cumsum(p, dtype=np.float64)])
    total /= total[-1]
    inner = np.searchsorted(total, [0.005, 0.995])
    low, high = edges[max(inner[0] - 1, 0)], edges[min(inner[1], len(edges) - 1)]
    if np.isfinite(truth):
        low, high = min(low, truth), max(high, truth)
    margin = 0.06 * (high - low)
    line = np.linspace(low - margin, high + margin, bins + 1)
    return line, np.diff(np.interp(line, edges, total)) / np.diff(line)


Plot = Callable[[Predictions, Path], Path]
PLOTS: dict[str, Sequence[tuple[str, Plot]]] = {
    "redshift": (("truth", plot_redshifts), ("pit", plot_pit)),
    "number": (("truth", plot_numbers), ("pit", plot_pit)),
    "label": (("confusion", plot_confusion),),
}
"""Plots by what is asked for, each with the end of its file name."""


def plot_all(
    predictions: Predictions, examples: Examples | None, folder: Path
) -> list[Path]:
    """Every plot of a question, as `<folder>/<question>-<plot>.png`.

    Raises:
        AionError: Matplotlib is not installed.
    """
    slug = predictions.question.slug
    made = [
        plot(predictions, folder / f"{slug}-{name}.png")
        for name, plot in PLOTS[predictions.sort]
    ]
    if examples is not None:
        path = folder / f"{slug}-posteriors.png"
        made.append(plot_posteriors(examples, path))
    return made
