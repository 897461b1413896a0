# SPDX-License-Identifier: MIT
"""The mock sky beside real data, in pictures and in numbers.

    python tests/benchmarks/plot_mocksky.py --real FOLDER --out FOLDER

FOLDER of real data as for the tests marked `real`. Writes colours.png, redshifts.png,
spectra.png, stamps.png, xp.png, and prints quantiles of colours by class and magnitude.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from aion.mocksky.catalog import FILTERS, simulate_catalog
from aion.mocksky.objects import KINDS
from aion.mocksky.observe import observe_block
from aion.mocksky.sky import Sky
from aion.mocksky.universe import universe
from aion.surveys.opening import open_survey
from aion.surveys.tables import open_table

PAIRS = ("u-g", "g-r", "r-i", "i-z")
BINS = {
    "GALAXY": (13.0, 15.0, 16.0, 16.5, 17.0, 17.4, 17.77),
    "STAR": (14.0, 15.0, 16.0, 17.0, 18.0, 19.0),
    "QSO": (15.5, 17.5, 18.2, 18.8, 19.6),
}
QUANTILES = (16, 50, 84)


def real_catalog(folder: Path) -> dict[str, np.ndarray]:
    """Columns of the spectroscopic catalogue, without absurd magnitudes."""
    table = open_table(folder / "catalog" / "sdss_spectroscopic_7000.csv")
    wanted = [*((name, False) for name in (*FILTERS, "redshift")), ("class", True)]
    parts = [table.read(piece, wanted) for piece in table.pieces(100_000)]
    rows = {name: np.concatenate([p[name, t] for p in parts]) for name, t in wanted}
    good = np.all([rows[name] < 22 for name in FILTERS], axis=0)
    return {name: values[good] for name, values in rows.items()}


def colours(mock: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> float:
    """Prints quantiles of colours; returns the largest difference in mag."""
    worst = 0.0
    for kind, edges in BINS.items():
        for low, high in itertools.pairwise(edges):
            rows = []
            for table in (mock, real):
                r = table["r"]
                inside = (table["class"] == kind) & (r >= low) & (r < high)
                values = np.stack([table[name][inside] for name in FILTERS], 1)
                rows.append(np.percentile(-np.diff(values), QUANTILES, axis=0))
            difference = rows[0] - rows[1]
            count = int(inside.sum())
            shown = " ".join(
                f"{p} {np.array2string(d, precision=2, suppress_small=True)}"
                for p, d in zip(PAIRS, difference.T, strict=True)
            )
            print(f"{kind:7s} r {low:5.2f}-{high:5.2f} real {count:5d}  {shown}")
            if count >= 30:
                worst = max(worst, float(np.abs(difference).max()))
    return worst


def plot_colours(mock: dict[str, np.ndarray], real: dict[str, np.ndarray], out: Path):
    """Colour-colour diagrams by class, mock beside real."""
    figure, axes = plt.subplots(3, 6, figsize=(18, 9), constrained_layout=True)
    pairs = (("u", "g", "r"), ("g", "r", "i"), ("r", "i", "z"))
    for row, kind in enumerate(KINDS):
        for place, (a, b, c) in enumerate(pairs):
            for side, (told, table) in enumerate((("mock", mock), ("real", real))):
                s = table["class"] == kind
                panel = axes[row, 2 * place + side]
                x, y = table[a][s] - table[b][s], table[b][s] - table[c][s]
                window = [[-0.7, 2.6], [-0.6, 1.6]]
                panel.hist2d(x, y, 60, range=window, norm="log")
                panel.set_title(f"{told} {kind}", fontsize=9)
                panel.set_xlabel(f"{a} - {b}")
                panel.set_ylabel(f"{b} - {c}")
    figure.savefig(out / "colours.png", dpi=70)
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), constrained_layout=True)
    for panel, kind in zip(axes, KINDS, strict=True):
        top = {"STAR": 0.003, "GALAXY": 0.3, "QSO": 4.0}[kind]
        bins = np.linspace(-top if kind == "STAR" else 0, top, 50)
        for told, table in (("mock", mock), ("real", real)):
            z = table["redshift"][table["class"] == kind]
            panel.hist(z, bins, density=True, histtype="step", label=told)
        panel.set_title(kind)
        panel.set_xlabel("redshift")
        panel.legend()
    figure.savefig(out / "redshifts.png", dpi=70)


def brightest(seen: list[Any], kind: int, survey: str, low: float, high: float) -> Any:
    """Columns and row of the first object of a class and magnitude."""
    for one in seen:
        objects = one.scene.objects
        rows = np.flatnonzero(
            (objects.kind == kind)
            & (objects.magnitude > low)
            & (objects.magnitude < high)
            & one.members[survey]
        )
        if len(rows):
            place = int(
                np.flatnonzero(np.flatnonzero(one.members[survey]) == rows[0])[0]
            )
            return one.columns[survey], place, objects, int(rows[0])
    raise SystemExit(f"no {KINDS[kind]} of magnitude {low} to {high}")


def plot_spectra(seen: list[Any], folder: Path, out: Path) -> None:
    """A DESI galaxy, an SDSS galaxy, an SDSS star and a quasar, with real ones."""
    figure, axes = plt.subplots(6, 1, figsize=(14, 20), constrained_layout=True)
    coadd = sorted((folder / "desi").glob("coadd*.fits"))[0]
    specs = sorted((folder / "sdss").glob("spec*.fits"))
    for panel, path in zip(axes[::2], (coadd, *specs), strict=True):
        source = open_survey(path)
        (records,) = source.read(source.partitions()[0])
        name = "desi_spectrum" if "coadd" in path.name else "sdss_spectrum"
        spectrum = records.observations[name]
        z = records.observations.get("redshift")
        wavelength = np.atleast_2d(spectrum.wavelength)[0]
        panel.plot(
            wavelength, np.where(spectrum.mask, spectrum.flux, np.nan)[0], lw=0.4
        )
        told = f"real {path.name}" + (f", z = {z.values[0]:.3f}" if z else "")
        panel.set_title(told, fontsize=9)
    wanted = ((1, "desi", 19.0, 20.5), (1, "sdss", 16.5, 17.5), (0, "sdss", 17.0, 18.5))
    for panel, (kind, survey, low, high) in zip(axes[1::2], wanted, strict=True):
        columns, row, objects, number = brightest(seen, kind, survey, low, high)
        good = ~columns["spectrum_mask"][row]
        wavelength = columns["spectrum_lambda"][row][good]
        panel.plot(wavelength, columns["spectrum_flux"][row][good], lw=0.4)
        panel.set_title(
            f"mock {survey} {KINDS[kind]}, z = {objects.redshift[number]:.3f}, "
            f"r = {objects.magnitude[number]:.2f}",
            fontsize=9,
        )
    for panel in axes:
        low, high = np.nanpercentile(panel.lines[0].get_ydata(), [0.5, 99.7])
        panel.set_ylim(min(low, 0), 1.15 * high)
    figure.savefig(out / "spectra.png", dpi=60)


def _rgb(flux: np.ndarray, scale: float) -> np.ndarray:
    red, green, blue = (flux[i] / scale for i in (2, 1, 0))
    picture = np.arcsinh(np.stack([red, green, blue], -1)) / 4.5 + 0.08
    return np.clip(picture, 0, 1)


def plot_stamps(seen: list[Any], folder: Path, out: Path) -> None:
    """Stamps of both cameras, mock rows below real ones."""
    figure, axes = plt.subplots(4, 8, figsize=(20, 10.5), constrained_layout=True)
    from astropy.io import fits

    with fits.open(sorted((folder / "legacy").glob("*cutout*.fits"))[0]) as file:
        real = np.stack([np.asarray(file[n].data, np.float32) for n in (1, 3, 5)])
    hsc = np.load(folder / "hsc" / "hsc_cosmos_35.npz")["images"].astype(np.float32)
    corners = ((0, 0), (0, 96), (96, 0), (96, 96), (48, 48), (0, 48), (48, 0), (96, 48))
    block = seen[0]
    for place, (y, x) in enumerate(corners):
        axes[0, place].imshow(_rgb(real[:, y : y + 160, x : x + 160], 0.02))
        flux = block.columns["legacy"]["image_array"][place]
        axes[1, place].imshow(_rgb(flux[[0, 1, 3]], 0.02))
        shown = hsc[:3] if place == 0 else np.zeros((3, 58, 48))
        axes[2, place].imshow(_rgb(shown, 0.1))
        flux = block.columns["hsc"]["image_array"][place]
        axes[3, place].imshow(_rgb(flux[:3], 0.2))
    for panel, told in zip(
        axes[:, 0], ("real DECaLS", "mock Legacy", "real HSC", "mock HSC"), strict=True
    ):
        panel.set_title(told)
    for panel in axes.ravel():
        panel.invert_yaxis()
        panel.axis("off")
    figure.savefig(out / "stamps.png", dpi=60)


def plot_xp(seen: list[Any], folder: Path, out: Path) -> None:
    """Coefficients of mock stars beside those of real sources, over the first."""
    source = open_survey(folder / "gaia" / "XP_CONTINUOUS_RAW.csv")
    (records,) = source.read(source.partitions()[0])
    figure, axes = plt.subplots(1, 2, figsize=(15, 5), constrained_layout=True)
    for panel, arm in zip(axes, ("bp", "rp"), strict=True):
        for values in records.observations[f"gaia_xp_{arm}"].values[:2]:
            panel.plot(np.abs(values / values[0]), "k.-", lw=0.6, label="real")
        columns, start = seen[0].columns["gaia"], 0 if arm == "bp" else 55
        for values in columns["coeff"][:6, start : start + 55]:
            panel.plot(np.abs(values / values[0]), ".-", lw=0.5, label="mock")
        panel.set_yscale("log")
        panel.set_title(f"{arm.upper()} coefficients over the first")
        panel.legend(fontsize=7)
    figure.savefig(out / "xp.png", dpi=70)


def main() -> None:
    """Plots and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=20_000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    mock, real = simulate_catalog(options.objects, 0), real_catalog(options.real)
    print(f"largest difference {colours(mock, real):.3f} mag (bins of 30 and more)")
    plot_colours(mock, real, options.out)
    sky = Sky(400, 1, per_cell=50, block=50)
    population = universe(sky)
    blocks = list(sky.blocks())[:4]
    surveys = ("legacy", "hsc", "sdss", "desi", "gaia")
    seen = [observe_block(population, b, surveys, pictures=()) for b in blocks]
    plot_spectra(seen, options.real, options.out)
    plot_stamps(seen, options.real, options.out)
    plot_xp(seen, options.real, options.out)


if __name__ == "__main__":
    main()
