# SPDX-License-Identifier: MIT
"""AION-1's codec files: which codec a folder holds, and its arrays under its names.

The layout is `config.json` (constructor arguments) and `model.safetensors` (the PyTorch
state dict), in `codecs/<name>/` of a model's folder or alone in an older repository.
Loading is strict: after the aliases below, names, shapes and kinds of numbers must be
those of the configuration. Config and arrays are data; nothing in them is run.
"""

import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from aion.codec import Codec, CodecBundle, codec_class
from aion.config import to_dataclass
from aion.errors import ArtefactError, ConfigError
from aion.modality import MODALITIES, Modality

CONFIG, WEIGHTS = "config.json", "model.safetensors"
T = TypeVar("T")


def _flipped(kernel: np.ndarray) -> np.ndarray:
    return kernel[..., ::-1, ::-1]


LAYOUTS: Mapping[str, tuple[Any, Any]] = {
    "plain": (lambda a: a, lambda a: a),
    "count": (lambda a: a.astype(np.int32), lambda a: a.astype(np.int64)),
    "channels": (lambda a: a[0, 0], lambda a: a[None, None]),
    "linear": (lambda a: a.T, lambda a: a.T),
    "pointwise1d": (lambda a: a[:, :, 0].T, lambda a: a.T[:, :, None]),
    "pointwise2d": (lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None]),
    "depthwise1d": (lambda a: a[:, 0].T, lambda a: a.T[:, None]),
    "patches1d": (lambda a: a.transpose(2, 1, 0), lambda a: a.transpose(2, 1, 0)),
    "spread1d": (lambda a: a.transpose(0, 2, 1), lambda a: a.transpose(0, 2, 1)),
    "conv2d": (lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)),
    "transposed2d": (
        lambda a: _flipped(a).transpose(2, 3, 0, 1),
        lambda a: _flipped(a.transpose(2, 3, 0, 1)),
    ),
}
"""How PyTorch's array becomes ours and ours PyTorch's, by the word of a parameter."""

# What PyTorch keeps of an array with this many more axes than ours.
_MORE_AXES = {"pointwise1d": 1, "depthwise1d": 1, "pointwise2d": 2, "channels": 2}


def _children(module: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(module, nnx.List):
        yield from ((str(i), child) for i, child in enumerate(module))
    elif hasattr(module, "places"):
        yield from zip(module.places, module.layers, strict=True)
    else:
        names = getattr(type(module), "OFFICIAL", {})
        for name, child in vars(module).items():
            if isinstance(child, (nnx.Module, nnx.List, nnx.Variable)):
                yield names.get(name, name), child


def variables(module: Any, prefix: str = "") -> dict[str, nnx.Variable]:
    """The variables of a module by their names in PyTorch's state dict.

    A name is the path of attributes, with the renamings of each class's `OFFICIAL`; an
    empty name adds nothing to the path.
    """
    found: dict[str, nnx.Variable] = {}
    for name, child in _children(module):
        path = ".".join(part for part in (prefix, name) if part)
        if isinstance(child, nnx.Variable):
            found[path] = child
        else:
            found |= variables(child, path)
    return found


def official_arrays(module: Any) -> dict[str, np.ndarray]:
    """The arrays of a module as PyTorch's state dict holds them."""
    return {
        name: np.asarray(_layout(variable)[1](np.asarray(variable[...])), order="C")
        for name, variable in variables(module).items()
    }


def _layout(variable: nnx.Variable) -> tuple[Any, Any]:
    return LAYOUTS[variable.get_metadata()["layout"]]


def fill(module: Any, arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Puts PyTorch's arrays into a module, which may be an abstract one.

    Args:
        module: its variables are replaced.
        arrays: by name; all those of the module and no others.
        what: the codec, for messages.

    Raises:
        ArtefactError: a missing or unknown name, or another shape.
    """
    wanted = variables(module)
    check_names(set(wanted), set(arrays), what)
    for name, variable in wanted.items():
        layout = variable.get_metadata()["layout"]
        array, shape = arrays[name], tuple(variable.get_value().shape)
        fits = array.ndim == len(shape) + _MORE_AXES.get(layout, 0)
        ours = LAYOUTS[layout][0](array) if fits else array
        if not fits or ours.shape != shape:
            raise ArtefactError(
                f"{what}: {name} has shape {array.shape}, which does not fit config."
                "json",
                "Take both files from the same codec.",
            )
        dtype = jnp.int32 if layout == "count" else jnp.float32
        variable.set_value(jnp.asarray(ours, dtype))


def check_names(wanted: set[str], given: set[str], what: str) -> None:
    """Compares names of arrays.

    Raises:
        ArtefactError: names one that is missing, or one too many.
    """
    for text, names in (("lacks", wanted - given), ("has unknown", given - wanted)):
        if names:
            raise ArtefactError(
                f"{what}: model.safetensors {text} {len(names)} arrays, such as "
                f"{min(names)}",
                "Take config.json and model.safetensors from the same codec.",
            )


def check_constant(arrays: Mapping[str, np.ndarray], name: str, expected: Any) -> None:
    """Compares an array that must follow from the configuration.

    Raises:
        ArtefactError: absent, or another value.
    """
    if not np.array_equal(arrays.get(name, np.nan), expected):
        raise ArtefactError(
            f"array {name} is not what config.json says",
            "Take config.json and model.safetensors from the same codec.",
        )


def aliased(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under their present names: `_quantizer.` for `quantizer.`, no averages."""
    found = {}
    for name, array in arrays.items():
        if name.startswith("quantizer."):
            name = f"_{name}"
        if not name.startswith("ema."):
            found[name] = np.asarray(array)
    return found


def settings(cls: type[T], config: Any, what: str, ignored: Container[str] = ()) -> T:
    """Constructor arguments as a dataclass, whose defaults stand for missing ones.

    Args:
        cls: the dataclass.
        config: what config.json holds.
        what: the codec, for messages.
        ignored: arguments that nothing here reads.

    Raises:
        ArtefactError: an unknown argument, a missing one, or one of another type.
    """
    try:
        read = {k: v for k, v in config.items() if k not in ignored}
        return to_dataclass(cls, read, f"{what}: config.json")
    except ConfigError as error:
        raise ArtefactError(error.problem, error.fix) from None


def official_word(config: Mapping[str, Any], names: set[str]) -> str:
    """The codec word of a configuration, from keys that only one class has.

    Raises:
        ArtefactError: the configuration of no codec.
    """
    marks = (
        ("quantizer_levels", "official_image"),
        ("encoder_depths", "official_spectrum"),
        ("lambda_min", "official_spectrum"),
        ("encoder_output_dim", "official_field"),
        ("compression_fns", "official_coefficients"),
        ("codebook_size", "official_scalar"),
    )
    for key, word in marks:
        if key in config:
            return word
    if any(name.startswith("_quantizer.quantizers.X.") for name in names):
        return "official_catalog"
    raise ArtefactError(
        f"config.json with keys {sorted(config)} is of no codec of AION-1",
        "Point to a folder codecs/<name> of an AION-1 model.",
    )


def read_official(folder: Path, **options: Any) -> Codec:
    """Reads one codec in AION-1's layout; see `aion.load_codec`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        config = json.loads((folder / CONFIG).read_text())
        arrays = aliased(load_file(folder / WEIGHTS))
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtefactError(
            f"{folder} does not hold a codec of AION-1: {error}",
            f"It needs {CONFIG} and {WEIGHTS}; a pickled file is not read.",
        ) from None
    if not isinstance(config, dict):
        raise ArtefactError(
            f"{folder / CONFIG} is no JSON object", "Download it again."
        )
    cls: Any = codec_class(official_word(config, set(arrays)))
    return cls.from_state({"official": config, **options}, arrays)


def export_official(codec: Any, folder: str | Path) -> None:
    """Writes a codec in AION-1's layout, for the PyTorch package.

    Args:
        codec: one of the official classes, trained by us or loaded.
        folder: becomes `codecs/<name>` of a model; made if it is not there.

    Raises:
        ArtefactError: a codec that the PyTorch package has no class for.
    """
    from safetensors.numpy import save_file

    if not codec.word.startswith("official_"):
        raise ArtefactError(
            f"a codec {codec.word!r} has no counterpart in AION-1's package",
            "Export codecs with AION-1's architecture: official_image and so on.",
        )
    config, arrays = codec.state()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config["official"], indent=1) + "\n")
    contiguous = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})


OFFICIAL_FOLDERS: Mapping[str, str] = {
    "tok_image": "image",
    "tok_image_hsc": "image",
    "tok_segmap": "segmentation_map",
    "catalog": "catalog",
    "tok_spectrum_desi": "spectrum",
    "tok_spectrum_sdss": "spectrum",
    **{f"tok_flux_{b}": f"FLUX_{b.upper()}" for b in "griz"},
    **{f"tok_flux_w{n}": f"FLUX_W{n}" for n in range(1, 5)},
    **{f"tok_shape_{b}": f"SHAPE_{b.upper()}" for b in ("r", "e1", "e2")},
    "tok_ebv": "EBV",
    "tok_z": "Z",
    **{f"tok_a_{b}": f"a_{b}" for b in "grizy"},
    **{f"tok_mag_{b}": f"{b}_cmodel_mag" for b in "grizy"},
    **{f"tok_shape{n}": f"i_sdssshape_shape{n}" for n in ("11", "22", "12")},
    **{f"tok_flux_{b}_gaia": f"phot_{b}_mean_flux" for b in ("g", "bp", "rp")},
    "tok_parallax": "parallax",
    "tok_ra": "ra",
    "tok_dec": "dec",
    "tok_xp_bp": "bp_coefficients",
    "tok_xp_rp": "rp_coefficients",
}
"""Codec folder by AION-1's token key; two modalities may share one."""


def read_official_bundle(folder: Path, **options: Any) -> CodecBundle:
    """All codecs in `codecs/` of a model's folder, serving our modalities.

    Raises:
        ArtefactError: there are none, or a folder that no modality knows.
    """
    present = {p.name for p in (folder / "codecs").iterdir() if p.is_dir()}
    unknown = sorted(present - set(OFFICIAL_FOLDERS.values()))
    if unknown or not present:
        text = f"codecs {unknown} of no modality" if unknown else "no codecs"
        raise ArtefactError(
            f"{folder / 'codecs'} has {text}",
            "Point to a folder of an AION-1 model, or load codecs one by one.",
        )
    serves: dict[Modality, str] = {}
    for modality in MODALITIES.values():
        name = OFFICIAL_FOLDERS[modality.official_key or ""]
        if name in present:
            serves[modality] = name
    codecs = {n: read_official(folder / "codecs" / n, **options) for n in present}
    return CodecBundle(codecs, serves)
