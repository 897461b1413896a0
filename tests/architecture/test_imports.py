# SPDX-License-Identifier: MIT
"""Who may import whom, read from the source; TYPE_CHECKING imports count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A module is placed by the name right under `aion`. It imports lower layers only; parts
# of one layer never import each other, except in VOCABULARY. ENTRY is `aion` itself.
ENTRY = "__init__"
LAYERS = (
    {
        "modality",
        "instrument",
        "observation",
        "tokens",
        "tokenspace",
        "config",
        "errors",
        "hashes",
        "cropping",
    },
    {"codec", "layouts", "records", "splits"},
    {"surveys", "mocksky", "data", "model", "sampling"},
    {"observations", "mockstream", "tokenization", "train", "generation"},
    {"eval", "planning", "report"},
    {"jobs"},
    {"cli", "flags", ENTRY},
)
VOCABULARY = 0
LAYER_OF = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# What the codecs' package sees of `aion`: vocabulary, protocol, training loop.
FOR_TOKENIZERS = LAYERS[0] | LAYERS[1] | {"train"}
# Read by tools that must start fast and by data workers: no JAX on the way.
WITHOUT_JAX = (LAYERS[0] | LAYERS[1]) - {"tokens"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}


def imported_modules(source: str, module: str, is_package: bool) -> set[str]:
    """Dotted names of all that `module` imports; `from a import b` gives `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                keep = len(parents) - node.level + int(is_package)
                base = ".".join(parents[:keep] + ([base] if base else []))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str:
    """The part of `aion` a dotted name belongs to: `aion.model.heads` -> `model`.

    A name that is no module of ours (`from aion import Image`) is the entry's.
    """
    words = name.split(".")
    if len(words) > 1 and (
        words[1] in LAYER_OF
        or (ROOT / "aion" / words[1]).is_dir()
        or (ROOT / "aion" / f"{words[1]}.py").is_file()
    ):
        return words[1]
    return ENTRY


def faults_in_aion(module: str, imports: set[str]) -> list[str]:
    """What a module of `aion` imports and should not."""
    part = [*module.split("."), ENTRY][1]
    if part not in LAYER_OF:
        return [
            f"aion.{part} is in no layer: add it to LAYERS in {Path(__file__).name} "
            "and to the picture in README.md"
        ]
    level = LAYER_OF[part]
    faults = []
    for name in sorted(imports):
        top = name.split(".")[0]
        if top == "aion_tokenizers":
            faults.append(f"{module} imports {name}: codecs are resolved by name")
        elif top in JAX and part in WITHOUT_JAX:
            faults.append(f"{module} imports {name}: this part works without JAX")
        elif top == "aion" and name != "aion.__version__":
            other = part_of(name)
            if other == part or other not in LAYER_OF:
                continue
            if LAYER_OF[other] > level:
                faults.append(f"{module} imports {name}, a higher layer")
            elif LAYER_OF[other] == level and level not in (
                VOCABULARY,
                LAYER_OF[ENTRY],
            ):
                faults.append(f"{module} imports its sibling {name}")
    return faults


def faults_in_tokenizers(module: str, imports: set[str]) -> list[str]:
    """What a module of `aion_tokenizers` imports and should not."""
    return [
        f"{module} imports {name}: codecs see only {sorted(FOR_TOKENIZERS)} of aion"
        for name in sorted(imports)
        if name.split(".")[0] == "aion"
        and name != "aion.__version__"
        and part_of(name) not in FOR_TOKENIZERS
    ]


def faults_in_config(module: str, imports: set[str]) -> list[str]:
    """What a file of `configs/` imports and should not."""
    ours = {"aion", "aion_tokenizers", "configs"}
    return [
        f"{module} imports {name}: a config imports aion.config and ml_collections only"
        for name in sorted(imports)
        if (name.split(".")[0] in ours and part_of(name) != "config")
        or name.split(".")[0] in JAX | {"numpy"}
    ]


def sources(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    """(dotted module name, file) of every Python file below a folder."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        words = [prefix, *path.relative_to(folder).with_suffix("").parts]
        if words[-1] == "__init__":
            words.pop()
        found.append((".".join(words), path))
    return found


CHECKED = [
    *[(faults_in_aion, *s) for s in sources(ROOT / "aion", "aion")],
    *[
        (faults_in_tokenizers, *s)
        for s in sources(ROOT / "tokenizers" / "aion_tokenizers", "aion_tokenizers")
    ],
    *[(faults_in_config, *s) for s in sources(ROOT / "configs", "configs")],
]


@pytest.mark.parametrize(
    ("rule", "module", "path"), CHECKED, ids=[module for _, module, _ in CHECKED]
)
def test_imports_follow_the_layers(rule, module, path):
    imports = imported_modules(
        path.read_text(), module, is_package=path.name == "__init__.py"
    )
    faults = rule(module, imports)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (faults_in_aion, "aion.model.heads", "from aion.train import loop"),
        (faults_in_aion, "aion.model.heads", "from aion.data.shards import read"),
        (faults_in_aion, "aion.model.heads", "from ..sampling import sampler"),
        (faults_in_aion, "aion.generation", "import aion.train.checkpoint"),
        (faults_in_aion, "aion.generation", "from aion import train"),
        (faults_in_aion, "aion.train.loop", "from aion import Image"),
        (faults_in_aion, "aion.train.loop", "def f():\n    import aion.cli"),
        (
            faults_in_aion,
            "aion.codec",
            "if TYPE_CHECKING:\n    from aion.surveys import sdss",
        ),
        (faults_in_aion, "aion.tokenization", "import aion_tokenizers.scalar"),
        (faults_in_aion, "aion.config", "import jax"),
        (faults_in_aion, "aion.novelty", "import math"),
        (
            faults_in_tokenizers,
            "aion_tokenizers.image",
            "from aion.model import attention",
        ),
        (faults_in_config, "configs.nano", "from aion.modality import MODALITIES"),
        (faults_in_config, "configs.nano", "import jax.numpy as jnp"),
    ],
)
def test_a_forbidden_import_is_found(rule, module, source):
    assert rule(module, imported_modules(source, module, is_package=False))


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (faults_in_aion, "aion.model.heads", "from aion.tokens import TokenBatch"),
        (faults_in_aion, "aion.model.heads", "from .layers import Linear"),
        (faults_in_aion, "aion.train.loop", "from aion.model import transformer"),
        (faults_in_aion, "aion.train.checkpoint", "from aion import __version__"),
        (faults_in_aion, "aion.observation", "from aion.instrument import Band"),
        (faults_in_tokenizers, "aion_tokenizers.image", "from aion.train import task"),
        (faults_in_config, "configs.nano", "from aion.config import parse_arg"),
    ],
)
def test_an_allowed_import_passes(rule, module, source):
    assert not rule(module, imported_modules(source, module, is_package=False))
