# SPDX-License-Identifier: MIT
"""A sky written to survey files: cell by cell, in parallel, resumable, reproducible.

The folder holds one tree per survey (see `aion.layouts`), label sets, `truth.parquet`
with every latent parameter and the noiseless photometry, and `sky.json` that says what
sky it is. A cell is made by one process alone and its part of the truth is written
last, so that a run that was killed goes on with the cells that have none. The bytes
depend on the settings and on nothing else.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aion.config import flatten
from aion.errors import ConfigError, WorkdirError
from aion.layouts import LAYOUTS, resized
from aion.mocksky.sky import Block, Sky

if TYPE_CHECKING:
    from aion.mocksky.population import Population

SETS = {
    "legacy": "legacysurvey",
    "hsc": "hsc",
    "sdss": "sdss",
    "desi": "desi",
    "gaia": "gaia",
    "desi_provabgs": "desi_provabgs",
    "gz10": "gz10",
}
"""Folder of each survey and label set."""

FORMAT, VERSION = "aion.mocksky", 1
MANIFEST, TRUTH, PARTS = "sky.json", "truth.parquet", ".parts"
_UNITS = {"ra": "deg", "dec": "deg", "ebv": "mag", "magnitude": "mag(AB)"}
_UNITS |= {"distance": "pc", "parallax": "mas", "pm_ra": "mas / yr"}
_UNITS |= {"pm_dec": "mas / yr", "position_angle": "deg", "bulge_radius": "arcsec"}
_UNITS |= {"disk_radius": "arcsec", "star_teff": "K"}

FORMS = ("mmu", "hats")
"""Formats."""

Progress = Callable[[int, int], None]
"""Told the objects written so far, and how many there will be."""


@dataclass(frozen=True)
class Simulation:
    """What is written, and where.

    Attributes:
        folder: new, or one that the same simulation began.
        sky: the sky.
        surveys: keys of `SETS`.
        sample: which objects, a name out of `samples.SAMPLES`.
        size: pixels along the side of a stamp; the archive's are 160.
        everywhere: every object is in every survey, whatever its brightness.
        form: "mmu", HDF5 trees as the Multimodal Universe has them, or "hats",
            collections (extra `hats`).

    Raises:
        ConfigError: an unknown survey or form.
    """

    folder: Path
    sky: Sky
    surveys: Sequence[str] = tuple(SETS)
    sample: str = "sky"
    size: int = 160
    everywhere: bool = False
    form: str = "mmu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "surveys", tuple(self.surveys))
        unknown = [name for name in self.surveys if name not in SETS]
        if unknown or not self.surveys:
            raise ConfigError(
                f"no survey {', '.join(unknown) or 'given'}",
                f"Choose from {', '.join(SETS)}.",
            )
        if self.form not in FORMS:
            raise ConfigError(
                f"no format {self.form!r}", f"Formats are {', '.join(FORMS)}."
            )

    def settings(self) -> dict[str, Any]:
        """All that the bytes depend on, as JSON values."""
        values = {k: v for k, v in asdict(self).items() if k != "folder"}
        return json.loads(json.dumps(values | {"format": FORMAT, "version": VERSION}))

    def run(self, workers: int = 1, progress: Progress | None = None) -> Path:
        """Writes what is missing.

        Args:
            workers: processes; with 1 it is this one.
            progress: called after every cell.

        Returns:
            The folder.

        Raises:
            WorkdirError: the folder holds something else, or another sky.
        """
        done = self._prepare()
        cells = [(c, tuple(b)) for c, b in groupby(self.sky.blocks(), lambda b: b.cell)]
        missing = [one for one in cells if not self._part(one[0]).exists()]
        count = self.sky.objects
        if done:
            return self.folder
        have = count - sum(block.count for _, blocks in missing for block in blocks)
        tell = progress or (lambda written, total: None)
        tell(have, count)
        for written in _mapped(self, missing, workers):
            have += written
            tell(have, count)
        if self.form == "hats":
            self._collect(workers)
        self._finish([cell for cell, _ in cells])
        return self.folder

    def writer(self, survey: str) -> Any:
        """What takes the columns of a cell."""
        layout = resized(LAYOUTS[SETS[survey]], self.size)
        if self.form == "hats":
            from aion.mocksky.write_hats import HatsWriter

            return HatsWriter(self.folder, layout)
        from aion.mocksky.write_mmu import MmuWriter

        return MmuWriter(self.folder, layout)

    def _collect(self, workers: int) -> None:
        """Makes collections of what was staged, those that are not made yet."""
        for survey in self.surveys:
            writer = self.writer(survey)
            if writer.staging.exists():
                writer.finish(workers)

    def _part(self, cell: int) -> Path:
        return self.folder / PARTS / f"{cell}.parquet"

    def _prepare(self) -> bool:
        """Makes the folder or checks whose it is; True when all is there."""
        path = self.folder / MANIFEST
        mine = self.settings()
        if path.exists():
            theirs = json.loads(path.read_text())
            here, there = flatten(mine), flatten(theirs.get("settings", {}))
            for key in sorted(set(here) | set(there)):
                if there.get(key) != here.get(key):
                    raise WorkdirError(
                        f"{self.folder} holds another sky: {key} is {there.get(key)} "
                        f"there and {here.get(key)} here",
                        "Choose another --out, or the same settings to go on.",
                    )
            return bool(theirs["complete"])
        if self.folder.exists() and any(self.folder.iterdir()):
            raise WorkdirError(
                f"{self.folder} is not empty and holds no sky", "Choose another --out."
            )
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        _write_json(path, {"settings": mine, "complete": False})
        return False

    def _finish(self, cells: Sequence[int]) -> None:
        import pyarrow.parquet as pq

        partial = self.folder / f".{TRUTH}.partial"
        counts: dict[str, int] = {}
        writer = None
        for cell in cells:
            table = pq.read_table(self._part(cell))
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
            for name in table.column_names:
                if name.endswith("_id") and name.removesuffix("_id") in SETS:
                    here = sum(text != "" for text in table[name].to_pylist())
                    counts[name] = counts.get(name, 0) + here
        if writer is not None:
            writer.close()
        partial.replace(self.folder / TRUTH)
        members = {name.removesuffix("_id"): n for name, n in counts.items()}
        manifest = {"settings": self.settings(), "objects": members, "complete": True}
        _write_json(self.folder / MANIFEST, manifest)
        shutil.rmtree(self.folder / PARTS)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def _mapped(
    simulation: Simulation,
    cells: Sequence[tuple[int, tuple[Block, ...]]],
    workers: int,
) -> Iterator[int]:
    """Objects written, cell after cell as they are ready."""
    if workers < 2 or len(cells) < 2:
        for cell, blocks in cells:
            yield write_cell(simulation, cell, blocks)
        return
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread_each(),
        ProcessPoolExecutor(min(workers, len(cells)), context) as pool,
    ):
        waiting = [pool.submit(write_cell, simulation, *one) for one in cells]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers inherit an environment in which libraries start no threads."""
    single = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")
        + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }
    before = {name: os.environ.get(name) for name in single}
    os.environ.update(single)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@lru_cache(maxsize=1)
def _population(sky: Sky, sample: str) -> "Population":
    from aion.mocksky.universe import universe

    return universe(sky, sample)


def write_cell(simulation: Simulation, cell: int, blocks: Sequence[Block]) -> int:
    """Writes the files of one cell, and its part of the truth last.

    Args:
        simulation: what and where.
        cell: HEALPix cell.
        blocks: its blocks.

    Returns:
        How many objects it has.
    """
    from aion.mocksky.observe import observe_block, truth_columns

    population = _population(simulation.sky, simulation.sample)
    seen = [
        observe_block(
            population,
            block,
            simulation.surveys,
            size=simulation.size,
            everywhere=simulation.everywhere,
        )
        for block in blocks
    ]
    for survey in simulation.surveys:
        parts = [one.columns[survey] for one in seen if survey in one.columns]
        if parts:
            writer = simulation.writer(survey)
            write = writer.stage if simulation.form == "hats" else writer.write
            write(cell, parts)
    truth = [truth_columns(one, simulation.surveys) for one in seen]
    joined = {k: np.concatenate([part[k] for part in truth]) for k in truth[0]}
    _write_truth(simulation.folder / PARTS / f"{cell}.parquet", joined)
    return sum(block.count for block in blocks)


def _write_truth(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(values) for name, values in columns.items()}
    schema = []
    for name, array in arrays.items():
        flux = name.startswith(("flux_", "observed_"))
        unit = "nmgy" if flux else _UNITS.get(name)
        metadata = {"unit": unit} if unit else None
        schema.append(pa.field(name, array.type, metadata=metadata))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    table = pa.table(list(arrays.values()), schema=pa.schema(schema))
    pq.write_table(table, partial)
    partial.replace(path)
