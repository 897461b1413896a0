# SPDX-License-Identifier: MIT
"""AION in JAX: foundation models of the sky, from telescope files to posteriors.

Names are imported when they are first used, so that `import aion` is quick.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "aion.errors": "AionError",
    "aion.modality": "MODALITIES Kind Modality",
    "aion.instrument": "BANDS INSTRUMENTS Band Instrument",
    "aion.observation": "Image Spectrum Field Catalog Scalar Coefficients Category",
    "aion.tokens": "Example TokenBatch",
    "aion.tokenspace": "TokenSpace TokenSpec",
    "aion.codec": "CodecBundle load_codec",
    "aion.sampling.schemes": "OneShot Chained",
    "aion.generation": "AION load",
}
_WHERE = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = [*_WHERE, "__version__"]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'aion' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
