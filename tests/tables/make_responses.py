# SPDX-License-Identifier: MIT
"""Makes aion/mocksky/tables/responses.npz: `python tests/tables/make_responses.py`.

Needs speclite. Curves are scaled to a maximum of 1 and thinned to the points from which
linear interpolation gives them back within 1e-4 of it.
"""

from pathlib import Path

import numpy as np
import speclite.filters

from aion.instrument import BANDS

TABLE = Path(__file__).parents[2] / "aion" / "mocksky" / "tables" / "responses.npz"
TOLERANCE = 1e-4
GROUPS = {
    "DES": "decamDR1-{}",
    "WISE": "wise2010-{}",
    "HSC": "hsc2017-{}",
    "SDSS": "sdss2010-{}",
    "GAIA": "gaiadr3-{}",
}
RENAMED = {"HSC-R": "hsc2017-r2", "HSC-I": "hsc2017-i2"}


def speclite_name(band: str) -> str:
    """The name of one of our bands in speclite."""
    group, _, name = band.partition("-")
    lower = name if group in ("WISE", "GAIA") else name.lower()
    return RENAMED.get(band, GROUPS[group].format(lower))


def thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices that are enough for linear interpolation (Ramer-Douglas-Peucker)."""
    keep, todo = {0, len(x) - 1}, [(0, len(x) - 1)]
    while todo:
        low, high = todo.pop()
        line = np.interp(x[low : high + 1], x[[low, high]], y[[low, high]])
        worst = np.argmax(np.abs(line - y[low : high + 1]))
        if np.abs(line - y[low : high + 1])[worst] > TOLERANCE:
            middle = low + int(worst)
            keep.add(middle)
            todo += [(low, middle), (middle, high)]
    return np.array(sorted(keep))


def main() -> None:
    curves = {}
    for band in BANDS:
        curve = speclite.filters.load_filter(speclite_name(band))
        response = np.asarray(curve.response) / np.max(curve.response)
        points = thinned(curve.wavelength, response)
        curves[band] = np.stack([curve.wavelength[points], response[points]])
    np.savez_compressed(TABLE, **{k: v.astype(np.float32) for k, v in curves.items()})


if __name__ == "__main__":
    main()
