# SPDX-License-Identifier: MIT
"""What a codec promises, and bundles: folders of codecs, one per modality or more.

A bundle folder holds `bundle.json` and, per codec, `codecs/<name>/config.json` with
`weights.safetensors`; folders in AION-1's layout are read too. A codec's class is named
by a short word that is looked up in an allow-list (`CODECS`) and in the entry points of
*installed* packages (group `aion.codecs`). No file names code to import, and nothing is
pickled.
"""

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable
from warnings import warn

import numpy as np

from aion.cropping import on_square, stamp_shape
from aion.errors import ArtefactError, ConfigError, CroppedWarning, DataError
from aion.modality import Modality, modality_from_dict
from aion.observation import Observation, in_unit
from aion.tokenspace import TokenSpace, TokenSpec

FORMAT = "aion.bundle"
VERSION = 1

CODECS: Mapping[str, str] = {
    "empirical": "aion_tokenizers.scalar:Empirical",
    "linear": "aion_tokenizers.scalar:Linear",
    "coarse_fine": "aion_tokenizers.scalar:CoarseFine",
    "categories": "aion_tokenizers.scalar:Categories",
    "channels": "aion_tokenizers.scalar:Channels",
    "image": "aion_tokenizers.image:ImageCodec",
    "spectrum": "aion_tokenizers.spectrum:SpectrumCodec",
    "field": "aion_tokenizers.field:FieldCodec",
    "objects": "aion_tokenizers.catalog:CatalogCodec",
    "official_image": "aion_tokenizers.official_image:OfficialImage",
    "official_spectrum": "aion_tokenizers.official_spectrum:OfficialSpectrum",
    "official_field": "aion_tokenizers.official_field:OfficialField",
    "official_scalar": "aion_tokenizers.official_scalar:OfficialScalar",
    "official_coefficients": "aion_tokenizers.official_scalar:OfficialCoefficients",
    "official_catalog": "aion_tokenizers.official_catalog:OfficialCatalog",
}
"""The codec classes of this project, by the word that stands in files."""

OFFICIAL_READER = "aion_tokenizers.official"
"""The module that reads AION-1's layout: `read_official`, `read_official_bundle`."""


@runtime_checkable
class Codec(Protocol):
    """Turns observations into codes and back; pure, never touches its input.

    Attributes:
        word: the word of the class in the allow-list.
    """

    word: ClassVar[str]

    def encode(self, observation: Observation) -> np.ndarray:
        """Codes int32 [b, tokens]; -1 where the observation is absent."""
        ...

    def decode(self, codes: np.ndarray, **asked: Any) -> Observation:
        """The observation that codes [b, tokens] stand for; absent (-1) gives NaN."""
        ...

    def spec(self, modality: Modality, name: str) -> TokenSpec:
        """The row of `modality` when this codec, called `name`, serves it."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Config (JSON values) and arrays from which `from_state` builds the codec."""
        ...

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Self:
        """The inverse of `state`."""
        ...


def codec_class(word: str) -> type:
    """The class behind a codec word.

    Raises:
        ArtefactError: neither in the allow-list nor an installed entry point.
    """
    if word in CODECS:
        module, _, name = CODECS[word].partition(":")
        return getattr(importlib.import_module(module), name)
    for point in entry_points(group="aion.codecs"):
        if point.name == word:
            return point.load()
    raise ArtefactError(
        f"unknown codec class {word!r}",
        f"Known: {', '.join(CODECS)}. Others come from installed packages with an "
        "entry point in the group 'aion.codecs'.",
    )


def codec_digest(codec: Codec) -> str:
    """SHA-256 over a codec's word, config and arrays."""
    config, arrays = codec.state()
    digest = hashlib.sha256(json.dumps([codec.word, config], sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_codec(codec: Codec, folder: Path) -> None:
    """Writes `config.json` and `weights.safetensors` into a folder."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config, arrays = codec.state()
    content = {"codec": codec.word, "version": VERSION, "config": config}
    (folder / "config.json").write_text(json.dumps(content, indent=1) + "\n")
    contiguous = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    save_file(contiguous, folder / "weights.safetensors")


def load_codec(folder: str | Path, *, official_quirks: bool | None = None) -> Codec:
    """Reads a codec that `save_codec` wrote, or one in AION-1's layout.

    AION-1's layout is `codecs/<name>/` of a model, or an older repository of one codec:
    `config.json` and `model.safetensors`.

    Args:
        folder: the codec's folder.
        official_quirks: reproduce the defects of AION-1's PyTorch package too; only for
            its codecs. None leaves it as stored, and off in AION-1's layout.

    Raises:
        ArtefactError: a file is missing, broken, or of an unknown class or version, or
            the folder holds several codecs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    if (folder / "codecs").is_dir():
        raise ArtefactError(
            f"{folder} holds several codecs",
            "Load one of codecs/<name>, or all with aion.CodecBundle.load.",
        )
    quirks = {} if official_quirks is None else {"official_quirks": official_quirks}
    if (folder / "model.safetensors").is_file():
        return importlib.import_module(OFFICIAL_READER).read_official(folder, **quirks)
    try:
        content = json.loads((folder / "config.json").read_text())
        arrays = load_file(folder / "weights.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtefactError(
            f"{folder} does not hold a codec: {error}", "Point to a codec folder."
        ) from None
    if content.get("version") != VERSION:
        raise ArtefactError(
            f"{folder}: codec format version {content.get('version')}, this package "
            f"reads version {VERSION}",
            "Upgrade aion-jax.",
        )
    if quirks and not content["codec"].startswith("official_"):
        raise ArtefactError(
            f"{folder}: codec {content['codec']!r} has no official quirks",
            "Leave official_quirks out.",
        )
    cls = codec_class(content["codec"])
    return cls.from_state(content["config"] | quirks, arrays)


SHIPPED = Path(__file__).parent / "bundles"


def bundle_folder(name: str | Path) -> Path:
    """A bundle's folder: what is at a path, or else a shipped bundle such as "nano"."""
    path = Path(name)
    shipped = SHIPPED / path
    return shipped if not path.exists() and shipped.is_dir() else path


@dataclass(frozen=True)
class CodecBundle:
    """Codecs by name, and which of them serves each modality.

    Attributes:
        codecs: codec by its name in the bundle.
        serves: codec name by modality, in the order of the token space.
    """

    codecs: Mapping[str, Codec]
    serves: Mapping[Modality, str]

    def __post_init__(self) -> None:
        missing = sorted(set(self.serves.values()) - set(self.codecs))
        if missing:
            raise ConfigError(
                f"no codec {missing} in this bundle",
                f"It has {', '.join(self.codecs)}.",
            )

    def __reduce__(self) -> tuple:
        """For worker processes: codecs travel as what they would be saved as."""
        parts = [(n, type(c), *c.state()) for n, c in self.codecs.items()]
        return _restored, (parts, dict(self.serves))

    @cached_property
    def space(self) -> TokenSpace:
        """The token space, features included."""
        return TokenSpace(
            tuple(self.codecs[name].spec(m, name) for m, name in self.serves.items())
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 by codec name."""
        return {name: codec_digest(codec) for name, codec in self.codecs.items()}

    def __iter__(self) -> Iterator[Modality]:
        return iter(self.serves)

    def modality(self, name: str) -> Modality:
        """A modality of the bundle by name."""
        return self.space[name].modality

    def codec(self, name: str) -> Codec:
        """The codec that serves a modality."""
        return self.codecs[self.space[name].codec]

    def encode(self, name: str, observation: Observation) -> np.ndarray:
        """Codes int32 [b, tokens] of a modality; quantities are converted first.

        Of images and fields the middle is taken, as large as the modality's tokens
        stand for; a `CroppedWarning` says so. Smaller ones are filled up with pixels
        that are not valid.
        """
        plain, codec = in_unit(observation, self.modality(name)), self.codec(name)
        side = getattr(codec, "size", None)
        if side is None:
            return codec.encode(plain)
        square = on_square(plain, side)
        given = stamp_shape(plain)
        if max(given) > side:
            told = (
                f"{name}: of {given[0]} x {given[1]} pixels the middle {side} x {side}"
            )
            warn(f"{told} is taken", CroppedWarning, stacklevel=2)
        return codec.encode(square)

    def decode(self, name: str, codes: np.ndarray, **asked: Any) -> Observation:
        """The observation that the codes of a modality stand for."""
        spec = self.space[name]
        if np.shape(codes)[-1] != spec.num_tokens:
            raise DataError(
                f"{name} has {spec.num_tokens} tokens, the codes have shape "
                f"{np.shape(codes)}",
                "Give codes as [batch, tokens].",
            )
        return self.codec(name).decode(codes, **asked)

    def save(self, folder: str | Path) -> None:
        """Writes the bundle into a folder that does not exist yet, all or nothing.

        Raises:
            ArtefactError: the folder exists.
        """
        folder = Path(folder)
        if folder.exists():
            raise ArtefactError(f"{folder} exists", "Choose a new folder.")
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, codec in self.codecs.items():
            save_codec(codec, partial / "codecs" / name)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "serves": [[m.to_dict(), name] for m, name in self.serves.items()],
            "digests": self.digests,
            "token_space": self.space.to_dict(),
        }
        (partial / "bundle.json").write_text(json.dumps(content, indent=1) + "\n")
        partial.rename(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "CodecBundle":
        """Reads a bundle, a folder or the name of a shipped one, and checks digests.

        A folder of an AION-1 model gives a bundle of the codecs it holds, in the order
        of `MODALITIES`; there are no digests to check.

        Raises:
            ArtefactError: no bundle, another format, or weights that were changed.
        """
        folder = bundle_folder(folder)
        if (folder / "codecs").is_dir() and not (folder / "bundle.json").is_file():
            return importlib.import_module(OFFICIAL_READER).read_official_bundle(folder)
        try:
            content = json.loads((folder / "bundle.json").read_text())
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{folder} is not a codec bundle: {error}",
                "Point to a folder with bundle.json.",
            ) from None
        if content.get("format") != FORMAT or content.get("version") != VERSION:
            raise ArtefactError(
                f"{folder}: bundle format {content.get('format')} version "
                f"{content.get('version')}, this package reads {FORMAT} version "
                f"{VERSION}",
                "Upgrade aion-jax.",
            )
        serves = {modality_from_dict(m): name for m, name in content["serves"]}
        names = dict.fromkeys(serves.values())
        bundle = cls({n: load_codec(folder / "codecs" / n) for n in names}, serves)
        for name, digest in content["digests"].items():
            if bundle.digests.get(name) != digest:
                raise ArtefactError(
                    f"{folder}: codec {name} does not have the digest of the bundle",
                    "The files were changed or mixed up; copy the bundle again.",
                )
        return bundle


def _restored(parts: list[tuple], serves: Mapping[Modality, str]) -> CodecBundle:
    codecs = {
        name: cls.from_state(config, arrays) for name, cls, config, arrays in parts
    }
    return CodecBundle(codecs, serves)
