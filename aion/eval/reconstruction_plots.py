# SPDX-License-Identifier: MIT
"""Figures of reconstructions: a few objects, and errors by true S/N."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from aion.eval.plots import BLUE, GREEN, GREY, ORANGE, canvas
from aion.eval.reconstruction import Guesses, Measured, mean_of, median_signal

SHOWN = 5
"""Objects of a figure, from bright to faint."""
COLOURS: Mapping[str, str] = {
    "codec": BLUE,
    "blank": GREY,
    "block mean": ORANGE,
    "PCA": GREEN,
}
RESIDUAL = 4.0
"""Range of residuals in sigma."""
_LEAST = 1e-4  # of an error that still has a place on a logarithmic axis


Places = Sequence[tuple[int, int]]
"""Instrument and row of objects."""


def _ordered(level: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Objects from high to low; those without a level left out."""
    places = [(n, i) for n, part in enumerate(level) for i in range(len(part))]
    values = np.concatenate(list(level))
    return [places[i] for i in np.argsort(-values).tolist() if np.isfinite(values[i])]


def _spread(level: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Objects from high to low, without those at both ends."""
    order = _ordered(level)
    chosen = np.linspace(0.05, 0.9, min(SHOWN, len(order))) * (len(order) - 1)
    return [order[int(n)] for n in chosen]


def worst(seen: Sequence[Measured], guesses: Sequence[np.ndarray]) -> Places:
    """The objects with the largest errors to the truth, the largest first.

    Args:
        seen: data instrument by instrument.
        guesses: reconstructions.
    """
    pairs = zip(seen, guesses, strict=True)
    return _ordered([mean_of(one.errors(guess)) for one, guess in pairs])[:SHOWN]


def plot_images(
    seen: Sequence[Measured],
    guesses: Sequence[np.ndarray],
    bands: Sequence[Sequence[str]],
    path: Path,
    chosen: Places | None = None,
) -> Path | None:
    """Input, reconstruction, truth and residual in sigma, one object a row.

    Each object is shown in its second band, or in the first that has data. Without a
    truth the brightness is that of the data.

    Args:
        seen: images instrument by instrument.
        guesses: reconstructions.
        bands: names of the bands of each instrument.
        path: of the PNG file.
        chosen: which objects; some from bright to faint by default.
    """
    level = [mean_of(np.where(v.valid, v.flux**2 * v.ivar, np.nan)) for v in seen]
    chosen = _spread(level) if chosen is None else chosen
    if not chosen:
        return None
    shape = {"figsize": (9.2, 2.2 * len(chosen) + 0.4), "squeeze": False}
    titles = ("input", "reconstruction", "truth", "residual [$\\sigma$]")
    with canvas(path, len(chosen), 4, **shape) as (whole, axes):
        for line, (piece, row) in zip(axes, chosen, strict=True):
            _image_line(line, seen[piece], guesses[piece], bands[piece], row)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        bar = whole.colorbar(axes[0, 3].images[0], ax=axes[:, 3], shrink=0.5)
        bar.outline.set_visible(False)
    return path


def _image_line(
    line: Any, one: Measured, guess: np.ndarray, names: Sequence[str], row: int
) -> None:
    there = one.valid[row].any(axis=(1, 2))
    wanted = [n for n in (1, *range(len(names))) if n < len(names) and there[n]]
    band = wanted[0] if wanted else 0
    valid = one.valid[row, band]
    data, model, truth = (v[row, band] for v in (one.flux, guess, one.truth))
    sigma = np.median(one.sigma[row, band][valid]) if valid.any() else 1.0
    light = [np.where(valid, data, np.nan), model, truth]
    top = max(float(np.quantile(np.arcsinh(data[valid] / sigma), 0.999)), 3.0)
    for axis, values in zip(line, light, strict=False):
        axis.imshow(
            np.arcsinh(values / sigma), cmap="gray", vmin=-1.2, vmax=top, origin="lower"
        )
    residual = np.where(valid, (data - model) / one.sigma[row, band], np.nan)
    line[3].imshow(
        residual, cmap="RdBu_r", vmin=-RESIDUAL, vmax=RESIDUAL, origin="lower"
    )
    for axis in line:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_facecolor("#dddddd")
    chi2 = float(np.nanmean(residual**2))
    line[0].set_ylabel(f"{names[band]}\n$\\chi^2$/pixel {chi2:.2f}", fontsize=9)


def plot_spectra(
    seen: Sequence[Measured],
    guesses: Sequence[np.ndarray],
    wavelengths: Sequence[np.ndarray],
    path: Path,
    chosen: Places | None = None,
) -> Path | None:
    """Data, reconstruction and truth with residuals in sigma, one object a row.

    Args:
        seen: spectra instrument by instrument.
        guesses: reconstructions.
        wavelengths: of each instrument, Angstrom, [l] or [b, l].
        path: of the PNG file.
        chosen: which objects; some from bright to faint by default.
    """
    level = [mean_of(np.where(v.valid, v.flux * v.ivar**0.5, np.nan)) for v in seen]
    chosen = _spread(level) if chosen is None else chosen
    if not chosen:
        return None
    ratios = [3, 1.2] * len(chosen)
    shape = {"figsize": (9.6, 2.9 * len(chosen)), "height_ratios": ratios}
    with canvas(path, 2 * len(chosen), 1, **shape) as (whole, axes):
        for number, (piece, row) in enumerate(chosen):
            one, line = seen[piece], np.asarray(wavelengths[piece])
            line = line[row] if line.ndim > 1 else line
            pair = axes[2 * number], axes[2 * number + 1]
            _spectrum_pair(pair, one, guesses[piece], line, row)
        whole.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3
        )
        axes[-1].set_xlabel(r"vacuum wavelength [$\mathrm{\AA}$]")
        whole.supylabel(r"flux [$10^{-17}$ erg/s/cm$^2$/$\mathrm{\AA}$]")
    return path


def _spectrum_pair(
    pair: tuple[Any, Any],
    one: Measured,
    guess: np.ndarray,
    line: np.ndarray,
    row: int,
) -> None:
    top, bottom = pair
    valid = one.valid[row]
    data, model, truth = (
        np.where(valid, v[row], np.nan) for v in (one.flux, guess, one.truth)
    )
    top.plot(line, data, color="#bbbbbb", lw=0.5, label="data")
    top.plot(line, model, color=BLUE, lw=1.1, label="reconstruction")
    top.plot(line, truth, color="black", lw=0.5, label="truth")
    inner = np.concatenate([v[np.isfinite(v)] for v in (model, truth)])
    low, high = np.quantile(inner, [0.001, 0.999])
    spread = float(np.nanquantile(np.abs(data - model), 0.6))
    top.set(ylim=(low - 2 * spread, high + 2 * spread))
    top.set_title(f"median data S/N {_typical(one, row):.1f} per pixel", fontsize=9)
    top.tick_params(labelbottom=False)
    residual = (data - model) * np.sqrt(one.ivar[row])
    # What is beyond the panel is drawn at its edge.
    bottom.plot(line, np.clip(residual, -RESIDUAL, RESIDUAL), color=GREY, lw=0.4)
    bottom.axhline(0, color="black", lw=0.6)
    bottom.set(ylim=(-RESIDUAL, RESIDUAL), ylabel=r"$\sigma$")
    for axis in pair:
        axis.set_xlim(float(line[0]), float(line[-1]))


def _typical(one: Measured, row: int) -> float:
    valid = one.valid[row]
    return float(np.median(one.flux[row][valid] * np.sqrt(one.ivar[row][valid])))


def plot_maps(
    shown: Sequence[tuple[np.ndarray, np.ndarray]], path: Path
) -> Path | None:
    """Map, reconstruction and where they differ, for maps with more and less on them.

    Args:
        shown: pairs of maps [b, y, x] and their reconstructions.
        path: of the PNG file.
    """
    chosen = _spread([np.mean(truth > 0, axis=(1, 2)) for truth, _ in shown])
    if not chosen:
        return None
    shape = {"figsize": (6.8, 2.2 * len(chosen) + 0.4), "squeeze": False}
    with canvas(path, len(chosen), 3, **shape) as (_, axes):
        for line, (piece, row) in zip(axes, chosen, strict=True):
            truth, guess = (v[row] for v in shown[piece])
            for axis, values in zip(line, (truth, guess), strict=False):
                axis.imshow(values, cmap="viridis", vmin=0, vmax=1, origin="lower")
            line[2].imshow(
                guess - truth, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower"
            )
            for axis in line:
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        for axis, title in zip(
            axes[0], ("map", "reconstruction", "difference"), strict=True
        ):
            axis.set_title(title)
    return path


def plot_pixel_errors(
    name: str, seen: Sequence[Measured], guesses: Guesses, path: Path
) -> Path | None:
    """Mean error of pixels by their true S/N, for every method."""
    edges = np.geomspace(0.1, 1000, 25)
    curves = {}
    for method, found in guesses.items():
        total, count = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
        for one, guess in zip(seen, found, strict=True):
            errors, signal = one.errors(guess), one.signal
            good = np.isfinite(errors) & np.isfinite(signal)
            values = errors[good].astype(np.float64)
            total += np.histogram(signal[good], edges, weights=values)[0]
            count += np.histogram(signal[good], edges)[0]
        mean = np.where(count >= 20, total / np.maximum(count, 1), np.nan)
        curves[method] = np.sqrt(edges[1:] * edges[:-1]), mean
    return _plot_curves(name, curves, ("true S/N of a pixel", "mean error"), path)


def plot_object_errors(
    name: str, seen: Sequence[Measured], guesses: Guesses, path: Path
) -> Path | None:
    """Median error of objects by their median true S/N, for every method."""
    level = np.concatenate([median_signal(one) for one in seen])
    edges = np.geomspace(0.1, 300, 13)
    curves = {}
    for method, found in guesses.items():
        pairs = zip(seen, found, strict=True)
        each = np.concatenate([mean_of(one.errors(guess)) for one, guess in pairs])
        inside = [
            each[(level >= low) & (level < high) & np.isfinite(each)]
            for low, high in pairwise(edges)
        ]
        values = [np.median(v) if len(v) >= 3 else np.nan for v in inside]
        curves[method] = np.sqrt(edges[1:] * edges[:-1]), np.array(values)
    labels = ("median true S/N of an object", "median error of objects")
    return _plot_curves(name, curves, labels, path)


def _plot_curves(
    name: str,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: tuple[str, str],
    path: Path,
) -> Path | None:
    if not any(np.isfinite(y).any() for _, y in curves.values()):
        return None
    with canvas(path, 1, 1, figsize=(6.0, 4.6)) as (_, ax):
        for (method, (x, y)), style in zip(curves.items(), _styles(), strict=False):
            good = np.isfinite(y)
            ax.plot(
                x[good],
                np.maximum(y[good], _LEAST),
                style,
                color=COLOURS.get(method, "black"),
                lw=2 if method == "codec" else 1.4,
                ms=4,
                label=method,
            )
        ax.axhline(1, color="black", lw=0.8, ls=":")
        ax.set(xscale="log", yscale="log", title=name.replace("_", " "))
        shown = np.concatenate([x[np.isfinite(y)] for x, y in curves.values()])
        low, high = np.log10(shown.min()), np.log10(shown.max())
        # Whole decades, or their ticks' labels are too many to read.
        ax.set_xlim(10 ** np.floor(low - 0.05), 10 ** np.ceil(high + 0.05))
        ax.set_xlabel(labels[0])
        ax.set_ylabel(rf"{labels[1]} [$\sigma^2$]")
        top = max(np.nanmax(y) for m, (_, y) in curves.items() if m != "blank")
        ax.set_ylim(top=10 * max(float(top), 1.0))
        ax.legend()
    return path


def _styles() -> Iterator[str]:
    yield from ("o-", "--", "s-", "^-")
