# SPDX-License-Identifier: MIT
"""What all tests share: eight fake CPU devices, strict dtypes, checked shapes."""

import os

# JAX reads these once, at import; subprocesses that tests start inherit them.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    ).strip()
# Most programs run a few times only: to optimise their machine code takes longer.
if "xla_backend_optimization_level" not in os.environ["XLA_FLAGS"]:
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"

import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Self

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
# One small model is compiled by many tests; each program once per run of the tests.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="aion-test-programs-")
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
PACKAGES = (ROOT / "aion", ROOT / "tokenizers" / "aion_tokenizers")
# JAX rebuilds pytree containers with things that are not arrays (vmap, tree.map), which
# a checked dataclass refuses; the functions that take them carry the shapes instead.
UNCHECKED = {"aion.tokens"}


def checked_modules() -> list[str]:
    """Names whose annotations are checked: all our modules but UNCHECKED."""
    names = []
    for package in PACKAGES:
        for path in sorted(package.glob("*")):
            is_module = path.suffix == ".py" and path.stem != "__init__"
            if is_module or (path / "__init__.py").is_file():
                names.append(f"{package.name}.{path.stem}")
    return [name for name in names if name not in UNCHECKED]


if os.environ.get("AION_TYPECHECK", "1") != "0" and (names := checked_modules()):
    from beartype import BeartypeConf, FrozenDict, beartype
    from jaxtyping import install_import_hook

    # The hook wraps methods one by one, where beartype cannot know what Self means; and
    # it takes its checker by a name that can be imported.
    checker = types.ModuleType("aion_checker")
    checker.check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any})))
    sys.modules[checker.__name__] = checker
    install_import_hook(names, "aion_checker.check")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey files named by AION_REAL_DATA."""
    folder = os.environ.get("AION_REAL_DATA")
    if not folder:
        pytest.skip("AION_REAL_DATA is not set: no folder of real survey files")
    path = Path(folder).expanduser()
    if not path.is_dir():
        pytest.fail(f"AION_REAL_DATA={folder} is not a folder")
    return path
