# SPDX-License-Identifier: MIT
"""A spectroscopic catalogue of the mock sky that looks like SDSS's, with its truth.

Objects are those of the sample "sdss" (`aion.mocksky.samples`): galaxies of the main
sample, quasars and stars within u < 19.6, their magnitudes with the noise, the
zero points and the Milky Way dust of their cell.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aion.errors import DataError
from aion.mocksky.identifiers import sdss_fibres
from aion.mocksky.objects import KINDS
from aion.mocksky.population import Population
from aion.mocksky.responses import band_fluxes
from aion.mocksky.seds import spectra
from aion.mocksky.sky import BAND_NAMES, Block, Sky
from aion.mocksky.universe import universe
from aion.splits import SplitRule

FILTERS = ("u", "g", "r", "i", "z")
SAMPLE = "sdss"
PER_CELL = 40
"""Objects in a cell at least: a few hundred cells for a quick trial."""

_SPREAD = np.array([3e-5, 6e-5, 6e-4])
"""Error of a spectroscopic redshift over 1 + z, by class."""
_NAMES = tuple(f"SDSS-{name.upper()}" for name in FILTERS)
_COLUMNS = [BAND_NAMES.index(name) for name in _NAMES]
_FAINTEST = 30.0


def catalog_sky(objects: int, seed: int = 0, split: SplitRule | None = None) -> Sky:
    """The sky that `simulate_catalog` looks at.

    Args:
        objects: rows.
        seed: another seed is another sky.
        split: which cells are test cells, where spectra and zero points are that no
            training cell has; the default rule without.

    Raises:
        DataError: fewer than one object.
    """
    if objects < 1:
        raise DataError(f"{objects} objects", "Ask for at least one.")
    return Sky(objects, seed, per_cell=PER_CELL, split=split or SplitRule())


def simulate_catalog(
    objects: int, seed: int = 0, split: SplitRule | None = None
) -> dict[str, np.ndarray]:
    """Stars, galaxies and quasars as a table of columns.

    Args:
        objects, seed, split: see `catalog_sky`.

    Returns:
        Columns of equal length: objid (str), ra, dec (deg), u g r i z (AB mag), class
        (STAR, GALAXY, QSO), redshift, plate, mjd, fiberid (unique together), ebv (mag),
        and the noiseless u_true ... z_true, redshift_true.

    Raises:
        DataError: fewer than one object.
    """
    population = universe(catalog_sky(objects, seed, split), SAMPLE)
    parts = [_rows(population, block) for block in population.sky.blocks()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_catalog(
    path: str | Path,
    objects: int = 20_000,
    seed: int = 0,
    split: SplitRule | None = None,
) -> Path:
    """Writes `simulate_catalog` to Parquet, units in the fields' metadata.

    Args:
        path: the file; it appears whole or not at all.
        objects, seed, split: see `catalog_sky`.

    Returns:
        The path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    columns = simulate_catalog(objects, seed, split)
    magnitudes = [*FILTERS, *(f"{name}_true" for name in FILTERS)]
    units: Mapping[str, str] = {"ra": "deg", "dec": "deg", "ebv": "mag"}
    units = units | dict.fromkeys(magnitudes, "mag(AB)")
    arrays = {name: pa.array(column) for name, column in columns.items()}
    schema = pa.schema(
        [
            pa.field(
                name,
                array.type,
                metadata={"unit": units[name]} if name in units else None,
            )
            for name, array in arrays.items()
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(pa.table(list(arrays.values()), schema=schema), partial)
    partial.replace(path)
    return path


def _rows(population: Population, block: Block) -> dict[str, np.ndarray]:
    objects, photometry = population.draw(block)
    true = band_fluxes(spectra(objects, population.families), _NAMES)
    rng = population.sky.rng("sdss", block)
    noise = _SPREAD[objects.kind] * rng.standard_normal(len(objects))
    table = {"objid": objects.object_id, "ra": objects.ra, "dec": objects.dec}
    measured, noiseless = (
        _magnitudes(flux) for flux in (photometry.flux[:, _COLUMNS], true)
    )
    table |= dict(zip(FILTERS, measured.T, strict=True))
    table["class"] = np.array(KINDS)[objects.kind]
    table["redshift"] = objects.redshift + noise * (1 + objects.redshift)
    table |= {k.lower(): v for k, v in sdss_fibres(objects).items()}
    table["ebv"] = objects.ebv
    names = [f"{name}_true" for name in FILTERS]
    table |= dict(zip(names, noiseless.T, strict=True))
    return table | {"redshift_true": objects.redshift}


def _magnitudes(flux: np.ndarray) -> np.ndarray:
    least = 10 ** (-0.4 * (_FAINTEST - 22.5))
    return 22.5 - 2.5 * np.log10(np.maximum(flux.astype(np.float64), least))
