# SPDX-License-Identifier: MIT
"""The column tables of the survey formats: one source for readers, writers and tests.

`LAYOUTS` holds the seven sets of the Multimodal Universe (release v1, HDF5) that this
package reads and writes. Source: the scripts of
https://github.com/MultimodalUniverse/MultimodalUniverse, revision 2dcff3d, and files
written through the same steps.
"""

from collections.abc import Mapping
from types import MappingProxyType

from aion.layouts.gaia import GAIA
from aion.layouts.imaging import BAND_COLUMNS, HSC, LEGACY, SOURCE_TYPES, resized
from aion.layouts.labels import GZ10, PROVABGS
from aion.layouts.layout import Column, Layout, MaskSense
from aion.layouts.spectra import DESI, DESI_GRID, SDSS

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {layout.name: layout for layout in (LEGACY, HSC, SDSS, DESI, GAIA, PROVABGS, GZ10)}
)
"""The seven sets by the name of their folder."""

__all__ = [
    "BAND_COLUMNS",
    "DESI",
    "DESI_GRID",
    "GAIA",
    "GZ10",
    "HSC",
    "LAYOUTS",
    "LEGACY",
    "PROVABGS",
    "SDSS",
    "SOURCE_TYPES",
    "Column",
    "Layout",
    "MaskSense",
    "resized",
]
