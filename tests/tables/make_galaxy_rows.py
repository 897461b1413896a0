# SPDX-License-Identifier: MIT
"""Makes galaxy_rows.npz: `python make_galaxy_rows.py SDSS_CATALOGUE DESI_TARGETS`.

Rows are drawn from broad distributions around the mean sums of kcorrect's templates
along the sequence from blue to red galaxies. How common each is starts from luminosity
functions of blue and red galaxies and is then fitted, by a fixed-point iteration held
close to the start, to

- colours, magnitudes and redshifts of the main sample of SDSS (a CSV with u, g, r, i,
  z, redshift and class, limited at r < 17.77 and u < 19.6), and
- magnitudes and colours of targets of DESI (`desi_cuts`; a FITS table with FLUX_G, R,
  Z, W1, MW_TRANSMISSION_* and DESI_TARGET).

Nothing of these but the thousand weights is kept.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.special import ndtr
from scipy.stats import beta

from aion.mocksky.family import Family
from aion.mocksky.galaxies import family_of_rows
from aion.mocksky.tracks import ColourTracks, colour_tracks

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "galaxy_rows.npz"
BANDS = ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z")
EBV = 0.03
LIMITS = {"SDSS-R": (12.5, 17.77), "SDSS-U": (12.5, 19.6)}
SPREAD = np.array([0.09, 0.05, 0.035, 0.045])
"""Kernel of the fit in u-g, g-r, r-i, i-z: noise and the distance between rows."""
PULL = 0.6
"""How much the start counts against the data."""
LEGACY = ("DES-G", "DES-R", "DES-Z", "WISE-W1")
DEPTH = 10 ** (-0.4 * (np.array([24.7, 23.9, 23.0, 21.7]) - 22.5)) / 5
FAR_SPREAD = np.array([0.06, 0.05, 0.12])
"""Kernel in g-r, r-z, z-W1, to which the noise is added."""
BITS = {"LRG": 1, "ELG": 2, "BGS": 1 << 60}
THIN = 4
"""Every how many redshifts are summed over where the redshift is not known."""

# Mean shares of dusty, young, star-forming, old, post-starburst light at 6300 Angstrom
# from the bluest to the reddest galaxies.
SEQUENCE = np.array(
    [
        (0.015, 0.140, 0.499, 0.066, 0.280),
        (0.018, 0.050, 0.490, 0.142, 0.300),
        (0.020, 0.020, 0.452, 0.248, 0.260),
        (0.022, 0.010, 0.404, 0.344, 0.220),
        (0.022, 0.010, 0.363, 0.434, 0.170),
        (0.025, 0.010, 0.325, 0.500, 0.140),
        (0.025, 0.000, 0.295, 0.570, 0.110),
        (0.020, 0.000, 0.252, 0.658, 0.070),
        (0.012, 0.000, 0.188, 0.760, 0.040),
        (0.005, 0.000, 0.113, 0.862, 0.020),
        (0.003, 0.000, 0.052, 0.936, 0.010),
        (0.003, 0.000, 0.022, 0.966, 0.010),
    ]
)
COUNTS = {"sequence": 720, "young": 180, "dusty": 100}


def shares(rng: np.random.Generator, place: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Shares of the five populations, [k, 5]."""
    grid = np.linspace(0, 1, len(SEQUENCE))
    mean = np.stack([np.interp(place, grid, c) for c in SEQUENCE.T], 1) + 0.004
    drawn = rng.standard_gamma(mean * (25.0 + 35.0 * place[:, None] ** 2))
    strong = rng.uniform(0.04, 0.6, len(place))
    drawn /= drawn.sum(1, keepdims=True)
    for name, column in (("young", 1), ("dusty", 0)):
        some = kind == name
        drawn[some] *= 1 - strong[some, None]
        drawn[some, column] += strong[some]
    return drawn


def draw_rows(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters of all rows but their weights."""
    kind = np.repeat(list(COUNTS), list(COUNTS.values()))
    k = len(kind)
    place = rng.permutation((np.arange(k) + 0.5) / k) ** 0.8
    place = np.where(kind == "sequence", place, rng.uniform(0.0, 0.45, k))
    red = 1 / (1 + np.exp(-(place - 0.62) / 0.05))
    # More rows where most galaxies of a survey are; the weights make up for it.
    slope = np.where(place > 0.6, 2.8, 2.1)
    unit = rng.beta(1.3, slope)
    absolute = -24.2 + 8.2 * unit
    rows = {f"share_{n}": s for n, s in enumerate(shares(rng, place, kind).T)}
    dust = np.abs(rng.normal(0.0, 0.32 - 0.24 * red, k))
    dust = np.where(kind == "dusty", rng.uniform(0.2, 1.6, k), dust)
    bright = -(absolute + 21.0)
    seyfert = (rng.random(k) < 0.08) & (place > 0.2)
    width = np.where(
        seyfert, rng.uniform(4, 25, k), 0.9 * red * rng.lognormal(0, 0.5, k)
    )
    rows |= {
        "place": place,
        "a_v": np.where(kind == "young", 0.9 * dust, dust),
        "blanketing": np.clip(
            rng.normal(0.5 + 0.75 * red + 0.1 * bright, 0.3, k), 0, 2.2
        ),
        "dispersion": np.clip(10 ** (2.1 + 0.1 * bright + 0.12 * red), 60, 330),
        "gas_dispersion": np.clip(10 ** rng.normal(1.95 + 0.08 * bright, 0.1), 60, 250),
        "line_scale": rng.normal(-0.15 - 0.5 * red, 0.2, k),
        "warm_scale": rng.normal(0.0, 0.2, k),
        "n2": np.clip(rng.normal(-0.45 + 0.13 * bright, 0.1), -1.5, -0.25),
        "nucleus_width": width,
        "seyfert": seyfert.astype(float),
        "absolute": absolute,
        "sigma": np.full(k, 0.45),
        "evolution": 1.3 - 0.4 * red,
    }
    # Old and metal-rich galaxies were rarer: age comes in by the mix of rows.
    tilt = 2.5 * red * (rows["blanketing"] - 0.6)
    usual = np.where(kind == "young", 1.5, 0.3)
    rows["density_evolution"] = np.clip(usual - 2.2 * red - tilt, -5.0, 1.5)
    rows["novel"] = novel(rows, kind)
    rows["weight"] = luminosity_function(absolute, red) * np.where(
        kind == "sequence", 1.0, 0.4
    )
    rows["weight"] /= beta.pdf(unit, 1.3, slope)
    rows["weight"] /= rows["weight"].sum()
    return rows


def novel(rows: dict[str, np.ndarray], kind: np.ndarray) -> np.ndarray:
    """A tenth: dusty starbursts, and galaxies that have just stopped forming stars."""
    dusty = (kind == "dusty") & (rows["a_v"] > 0.75)
    quenched = (rows["share_4"] > 0.36) & (rows["share_1"] < 0.1)
    return dusty | (quenched & (rows["a_v"] < 0.3))


def luminosity_function(absolute: np.ndarray, red: np.ndarray) -> np.ndarray:
    """Schechter functions per magnitude (shapes after Blanton et al. 2003, h = 0.7)."""

    def schechter(mean: float, slope: float) -> np.ndarray:
        x = 10 ** (0.4 * (mean - absolute))
        return x ** (slope + 1) * np.exp(-x)

    return (1 - red) * schechter(-21.0, -1.2) + 0.8 * red * schechter(-21.4, -0.5)


def chance(family: Family, tracks: ColourTracks) -> np.ndarray:
    """Probability to be inside LIMITS, [k]."""
    colour = tracks.at(EBV)
    low, high = np.full(colour.shape[:2], -np.inf), np.full(colour.shape[:2], np.inf)
    for band, (bright, faint) in LIMITS.items():
        track = colour[..., BANDS.index(band)]
        low, high = np.maximum(low, bright - track), np.minimum(high, faint - track)
    sigma = family.magnitude_sigma[:, None]
    inside = ndtr((high - family.magnitude_mean) / sigma)
    inside -= ndtr((low - family.magnitude_mean) / sigma)
    density = family.redshift_density * np.maximum(inside, 0.0)
    return np.trapezoid(density, np.log1p(family.redshift), axis=1)


def likelihood(family: Family, tracks: ColourTracks, data: Table) -> np.ndarray:
    """Of each galaxy given each row, up to a factor per galaxy, [b, k]."""
    magnitude = np.stack([np.array(data[b]) for b in "ugriz"], 1)
    colour = -np.diff(magnitude, axis=1)
    grid = np.log1p(family.redshift)
    near = np.interp(np.log1p(np.array(data["redshift"])), grid, np.arange(len(grid)))
    near = near.round().astype(int)
    track = np.moveaxis(tracks.at(EBV)[:, near], 0, 1)  # [b, k, c]
    off = (-np.diff(track, axis=2) - colour[:, None]) / SPREAD
    # Outliers of the photometry must not decide.
    log = np.logaddexp(-0.5 * (off**2).sum(2), -12.0)
    sigma = family.magnitude_sigma
    bright = (
        magnitude[:, 2, None] - track[..., 2] - family.magnitude_mean[:, near].T
    ) / sigma
    log += -0.5 * bright**2 - np.log(sigma) + np.log(family.redshift_density[:, near].T)
    return np.exp(log - log.max(axis=1, keepdims=True))


def desi_cuts(magnitude: np.ndarray) -> dict[str, np.ndarray]:
    """Which galaxies DESI's early target selection takes, by class.

    Bright galaxies: r < 20. Luminous red galaxies: the colour cuts of the Legacy
    Surveys' DR8 (Zhou et al. 2020), with z < 20.6 in place of its fibre magnitude.
    Emission-line galaxies: Raichoor et al. 2020. But for the fibre magnitude of a
    fifth of the red ones, all 945 real targets pass.

    Args:
        magnitude: `LEGACY`, dereddened, [..., 4].
    """
    g, r, z, w1 = np.moveaxis(magnitude, -1, 0)
    red = (z - w1 > 0.8 * (r - z) - 0.6) & (r - z > 0.75)
    red &= ((g - w1 > 2.6) & (g - r > 1.4)) | (r - w1 > 1.8)
    red &= (r - z > 0.45 * (z - 16.83)) & (r - z > 0.19 * (z - 13.8)) & (z < 20.6)
    blue = (g > 20) & (g < 23.5) & (r - z > 0.3) & (r - z < 1.6)
    blue &= (g - r < 1.15 * (r - z) - 0.15) & (g - r < 1.6 - 1.2 * (r - z))
    return {"LRG": red, "ELG": blue, "BGS": r < 20}


@dataclass(frozen=True)
class Survey:
    """Likelihoods [b, k] up to a factor per galaxy, chances to be selected [k]."""

    given: np.ndarray
    passing: np.ndarray


def targets(family: Family, table: Table) -> list[Survey]:
    """The target classes of DESI; redshifts are summed over."""
    colour = colour_tracks(family, LEGACY).at(0.0)[:, ::THIN]
    sigma = family.magnitude_sigma[:, None]
    mean = family.magnitude_mean[:, ::THIN]
    density = family.redshift_density[:, ::THIN]
    steps = np.linspace(-3, 3, 25)
    rng = np.random.default_rng(5)
    chance = {name: np.zeros(len(family)) for name in BITS}
    for step in steps:
        magnitude = (mean + step * sigma)[..., None] + colour
        noise = np.hypot(0.04, 1.086 * DEPTH * 10 ** (0.4 * (magnitude - 22.5)))
        noisy = magnitude + np.minimum(noise, 2.0) * rng.standard_normal(noise.shape)
        passing = desi_cuts(noisy)
        for name, inside in passing.items():
            weight = np.exp(-0.5 * step**2) / np.exp(-0.5 * steps**2).sum()
            chance[name] += weight * (density * inside).sum(1) / density.sum(1)
    names = ("G", "R", "Z", "W1")
    flux = np.stack(
        [table[f"FLUX_{n}"] / table[f"MW_TRANSMISSION_{n}"] for n in names], 1
    )
    surveys = []
    for name, bit in BITS.items():
        some = ((np.array(table["DESI_TARGET"]) & bit) != 0) & (flux > 0).all(1)
        some &= desi_cuts(22.5 - 2.5 * np.log10(np.maximum(flux, 1e-3)))[name]
        surveys.append(
            Survey(
                without_redshift(flux[some], colour, mean, sigma, density), chance[name]
            )
        )
    return surveys


def without_redshift(
    flux: np.ndarray,
    colour: np.ndarray,
    mean: np.ndarray,
    sigma: np.ndarray,
    density: np.ndarray,
) -> np.ndarray:
    """Likelihoods of galaxies without redshifts, [b, k]."""
    magnitude = 22.5 - 2.5 * np.log10(flux)
    noise = 1.086 * DEPTH / flux
    model = -np.diff(colour, axis=2)
    given = np.empty((len(flux), len(mean)))
    for row, (m, e) in enumerate(zip(magnitude, noise, strict=True)):
        error = np.sqrt(FAR_SPREAD**2 + e[1:] ** 2 + e[:-1] ** 2)
        log = -0.5 * (((model + np.diff(m)) / error) ** 2).sum(2)
        log -= 0.5 * ((m[1] - colour[..., 1] - mean) / sigma) ** 2
        given[row] = (np.exp(np.maximum(log, -14.0)) * density / sigma).sum(1)
    return given / given.max(axis=1, keepdims=True)


def fit(start: np.ndarray, surveys: list[Survey]) -> np.ndarray:
    """Weights that make the surveys likely, pulled to the start."""

    def expected(weight: np.ndarray) -> np.ndarray:
        return np.sum(
            [len(s.given) * s.passing / (weight @ s.passing) for s in surveys], axis=0
        )

    pull = PULL * np.maximum(expected(start), 100.0)
    weight = start.copy()
    for _ in range(80):
        counted = np.zeros(len(start))
        for survey in surveys:
            part = survey.given * weight
            counted += (part / part.sum(axis=1, keepdims=True)).sum(0)
        weight = (counted + pull * start) / (expected(weight) + pull)
        weight /= weight.sum()
    return weight


def main(catalogue: str, target_table: str) -> None:
    rows = draw_rows(np.random.default_rng(11))
    family = family_of_rows(rows)
    tracks = colour_tracks(family, BANDS)
    data = Table.read(catalogue)
    data = data[data["class"] == "GALAXY"]
    good = (data["redshift"] > 0.004) & (data["redshift"] < 0.45) & (data["r"] < 17.77)
    near = Survey(likelihood(family, tracks, data[good]), chance(family, tracks))
    surveys = [near, *targets(family, Table.read(target_table))]
    weight = fit(rows["weight"], surveys)
    for survey in surveys:
        parts = [w * survey.passing for w in (rows["weight"], weight)]
        print("effective rows", [round(p.sum() ** 2 / (p**2).sum()) for p in parts])
    rows["weight"] = weight
    np.savez_compressed(TABLE, **{n: v.astype(np.float32) for n, v in rows.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
