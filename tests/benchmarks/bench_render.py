# SPDX-License-Identifier: MIT
"""Milliseconds of CPU per survey and object for stamps with noise and neighbours.

    python tests/benchmarks/bench_render.py

One core: pin it, as in `taskset -c 0`. Targets: 2 ms at 96 pixels, 5 ms at 160.
"""

import os

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
)

import sys
import time
from collections.abc import Callable

import numpy as np

from aion.mocksky.camera import DECAM, HSC
from aion.mocksky.neighbours import draw_neighbours
from aion.mocksky.objects import Objects
from aion.mocksky.sky import Sky
from aion.mocksky.stamps import hsc_stamps, legacy_stamps

COUNT = 64


def sample(rng: np.random.Generator) -> Objects:
    """Galaxies and, a fifth, stars between 17 and 21 mag with sizes to match."""
    ones, star = np.ones(COUNT), rng.random(COUNT) < 0.2
    magnitude = rng.uniform(17.0, 21.0, COUNT)
    radius = 10 ** (0.1 - 0.12 * (magnitude - 20) + 0.2 * rng.normal(size=COUNT))
    radius, ratio = np.where(star, 0.0, radius), rng.uniform(0.2, 1.0, COUNT)
    zeros = np.zeros(COUNT)
    return Objects(
        number=np.arange(COUNT),
        ra=150 * ones,
        dec=2 * ones,
        cell=np.zeros(COUNT, np.int64),
        kind=np.where(star, 0, 1).astype(np.int8),
        sed=np.zeros(COUNT, np.int32),
        redshift=0.1 * ones,
        magnitude=magnitude,
        ebv=0.03 * ones,
        bulge_fraction=np.where(star, 0.0, rng.random(COUNT)),
        bulge_sersic=4 * ones,
        disk_sersic=ones,
        bulge_radius=0.6 * radius,
        disk_radius=radius,
        bulge_axis_ratio=0.5 + 0.5 * ratio,
        disk_axis_ratio=ratio,
        position_angle=rng.uniform(0, 180, COUNT),
        distance=np.where(star, 1e3, np.nan),
        pm_ra=zeros,
        pm_dec=zeros,
    )


def milliseconds(run: Callable[[], object], repeats: int = 5) -> float:
    """CPU time per object of the fastest of some runs."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * min(times) / COUNT


def main() -> None:
    sky = Sky(COUNT)
    conditions = sky.conditions(int(sky.cells()[0]))
    objects = sample(np.random.default_rng(0))
    near = draw_neighbours(objects, np.random.default_rng(1))
    flux = 10 ** (-0.4 * (objects.magnitude[:, None] - 22.5))
    for make, camera in ((legacy_stamps, DECAM), (hsc_stamps, HSC)):
        fluxes = np.repeat(flux, len(camera.bands), axis=1)
        for size in (96, 160):

            def run(make=make, fluxes=fluxes, size=size) -> object:
                rng = np.random.default_rng(2)
                return make(objects, fluxes, conditions, rng, size, near)

            sys.stdout.write(f"{make.__name__} {size}: {milliseconds(run):.2f} ms\n")
    stamps = legacy_stamps(
        objects, np.repeat(flux, 4, 1), conditions, np.random.default_rng(2), 160, near
    )
    start = time.process_time()
    for name in ("rgb", "blobmodel", "object_mask", "catalog"):
        getattr(stamps, name)
    spent = 1e3 * (time.process_time() - start) / COUNT
    sys.stdout.write(f"pictures, segmentation and catalogue, 160: {spent:.2f} ms\n")


if __name__ == "__main__":
    main()
