# SPDX-License-Identifier: MIT
"""Cost and calibration of the exact posterior on fresh objects of the mock sky.

    python tests/benchmarks/bench_posterior.py [sample] [objects]

Objects of all cells, training and test ones, given fluxes and given tokens (1,024 bins
in asinh of the flux).
"""

import sys
import time

import numpy as np

from aion.eval.calibration import calibration_error, ks_statistic
from aion.mocksky.evidence import Evidence
from aion.mocksky.objects import KINDS, Objects
from aion.mocksky.posterior import ExactPosterior
from aion.mocksky.redshifts import RedshiftPosterior
from aion.mocksky.sky import BAND_NAMES, Sky
from aion.mocksky.universe import universe

BANDS = {
    "sdss": ("SDSS-U", "SDSS-G", "SDSS-R", "SDSS-I", "SDSS-Z"),
    "sky": ("DES-G", "DES-R", "DES-I", "DES-Z", "WISE-W1", "WISE-W2"),
}


def fresh(sample: str, count: int, seed: int) -> tuple[Objects, Evidence, np.ndarray]:
    """Objects, all their fluxes, and whether they are in test cells."""
    population = universe(Sky(count, seed=seed), sample)
    objects, evidence, test = [], [], []
    for block in population.sky.blocks():
        conditions = population.sky.conditions(block.cell)
        truth, photometry = population.draw(block)
        objects.append(truth)
        test.append(np.full(len(truth), conditions.test))
        evidence.append(
            Evidence.fluxes(
                BAND_NAMES,
                photometry.flux,
                depth=conditions.depth,
                ebv=truth.ebv,
                zero_point=conditions.zero_point,
            )
        )
    return (
        Objects.concatenate(objects),
        Evidence.concatenate(evidence),
        np.concatenate(test),
    )


def tokens(evidence: Evidence, bins: int = 1024) -> Evidence:
    """The bins that exact fluxes fall into, even in asinh, open at both ends."""
    place = np.arcsinh(evidence.low / 0.1)
    edges = np.linspace(-4.0, 13.0, bins - 1)
    index = np.searchsorted(edges, place)
    ends = 0.1 * np.sinh(np.concatenate([[-np.inf], edges, [np.inf]]))
    seen = evidence.exact
    return Evidence.bins(
        evidence.bands,
        np.where(seen, ends[index], -np.inf),
        np.where(seen, ends[index + 1], np.inf),
        depth=evidence.depth,
        ebv=evidence.ebv,
        zero_point=evidence.zero_point,
    )


def timed(
    name: str, evidence: Evidence, exact: ExactPosterior
) -> tuple[np.ndarray, RedshiftPosterior]:
    """Asks and prints CPU milliseconds per object, compilation included."""
    start = time.process_time()
    answer = exact.kind_and_redshift(evidence)
    each = (time.process_time() - start) / len(evidence) * 1e3
    print(f"  {name:12s} {len(evidence):6d} objects, {each:6.1f} CPU ms each")
    return answer


def main() -> None:
    """Runs one sample."""
    sample = sys.argv[1] if len(sys.argv) > 1 else "sdss"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    objects, evidence, test = fresh(sample, count, seed=11)
    chance, of_kind = np.zeros((count, len(KINDS))), np.full(count, np.nan)
    pits = {"fluxes": np.full(count, np.nan), "tokens": np.full(count, np.nan)}
    for novel in (False, True):
        rows = np.flatnonzero(test == novel)
        population = universe(Sky(count, seed=11), sample)
        exact = ExactPosterior.of(population, BANDS[sample], novel=novel)
        seen = evidence.take(rows).given(BANDS[sample])
        print(f"{sample}, {'test' if novel else 'training'} cells, novel={novel}")
        for name, given in (("fluxes", seen), ("tokens", tokens(seen))):
            rows_of = rows if name == "fluxes" else rows[: len(rows) // 10]
            kind, answer = timed(name, given.take(slice(0, len(rows_of))), exact)
            pits[name][rows_of] = answer.pit(objects.redshift[rows_of], seed=0)
            if name == "fluxes":
                chance[rows] = kind
                for number in np.unique(objects.kind[rows][objects.kind[rows] > 0]):
                    some = np.flatnonzero(objects.kind[rows] == number)
                    known = exact.redshift(seen.take(some), KINDS[number])
                    of_kind[rows[some]] = known.pit(objects.redshift[rows[some]])
    for number, name in enumerate(KINDS):
        said, happened = chance[:, number], objects.kind == number
        error = np.sqrt(np.sum(said * (1 - said)))
        line = f"{name}: {happened.sum()} expected {said.sum():.1f} +- {error:.1f}"
        line += f", calibration error {calibration_error(said, happened):.4f}"
        if number:
            pits[name + ", class known"] = np.where(happened, of_kind, np.nan)
        print(line)
    for name, pit in pits.items():
        kept = pit[~np.isnan(pit)]
        limit = 1.36 / np.sqrt(len(kept))
        print(f"{name}: KS {ks_statistic(kept):.4f}, 5 % level {limit:.4f}")


if __name__ == "__main__":
    main()
