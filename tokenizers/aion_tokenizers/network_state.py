# SPDX-License-Identifier: MIT
"""Networks as arrays by name, and back, with every shape checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from aion.codec import CodecBundle, bundle_folder, load_codec
from aion.errors import ArtefactError, ConfigError


@runtime_checkable
class MakesNetwork(Protocol):
    """Sizes from which a network is built."""

    def network(self, rngs: nnx.Rngs) -> Any:
        """A freshly initialised network."""
        ...


def network_arrays(network: nnx.Module) -> dict[str, np.ndarray]:
    """The arrays of a network, trained or followed, by their dotted path."""
    flat = nnx.to_flat_state(nnx.state(network))
    return {
        ".".join(map(str, path)): np.asarray(leaf.get_value()) for path, leaf in flat
    }


def start_from(folder: str, word: str, sizes: Any) -> Any:
    """A codec to go on from.

    Args:
        folder: of the codec, or of a bundle that holds one; or the name of a shipped
            bundle.
        word: of its class.
        sizes: that its network must have.

    Raises:
        ConfigError: another class, or other sizes.
    """
    # Training builds its network inside a traced function; files are read outside.
    with jax.ensure_compile_time_eval():
        codec: Any = _codec_of(bundle_folder(folder), word)
    _, state = nnx.split(nnx.eval_shape(lambda: sizes.network(nnx.Rngs(0))))
    fits = codec.word == word
    fits = fits and _shapes(nnx.state(codec.network)) == _shapes(state)
    if not fits:
        raise ConfigError(
            f"{folder} holds a codec {codec.word!r} that is not {word!r} with {sizes}",
            "Give config.codec.network the sizes in its config.json.",
        )
    return codec


def _codec_of(folder: Path, word: str) -> Any:
    """The codec in a folder; of a bundle the one of a class."""
    if not (folder / "bundle.json").is_file():
        return load_codec(folder)
    codecs = CodecBundle.load(folder).codecs.values()
    for codec in codecs:
        if codec.word == word:
            return codec
    raise ConfigError(
        f"the bundle {folder} has no codec {word!r}", "Give the folder of another."
    )


def _shapes(state: Any) -> dict[Any, tuple[int, ...]]:
    return {path: leaf.get_value().shape for path, leaf in nnx.to_flat_state(state)}


def filled_network(
    sizes: MakesNetwork, arrays: Mapping[str, np.ndarray], what: str
) -> Any:
    """The network of some sizes with given arrays.

    Args:
        sizes: tell which arrays there must be.
        arrays: from `network_arrays`.
        what: whose, for messages.

    Raises:
        ArtefactError: an array is missing, of another shape, or one too many.
    """
    network = nnx.eval_shape(lambda: sizes.network(nnx.Rngs(0)))
    graph, state = nnx.split(network)
    flat = nnx.to_flat_state(state)
    wanted = {".".join(map(str, path)): leaf.get_value().shape for path, leaf in flat}
    for name in sorted(set(wanted) | set(arrays)):
        shape = np.shape(arrays[name]) if name in arrays else "missing"
        expected = wanted.get(name, "nothing")
        if shape != expected:
            raise ArtefactError(
                f"{what}: array {name} is {shape}, not {expected}",
                "Take config.json and weights.safetensors from the same codec; what "
                "an older version wrote has to be trained again, see CHANGELOG.md.",
            )
    filled = [
        (path, leaf.replace(jnp.asarray(arrays[".".join(map(str, path))])))
        for path, leaf in flat
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))
