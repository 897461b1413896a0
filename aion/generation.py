# SPDX-License-Identifier: MIT
"""A trained model with its codecs: observations in, draws and posteriors out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aion.codec import CodecBundle
from aion.errors import ArtefactError, DataError, TokenSpaceError
from aion.model.store import load_model
from aion.observation import Observation
from aion.sampling.forward import Forward, Model
from aion.sampling.logits import transforms
from aion.sampling.posterior import Posterior
from aion.sampling.sampler import Draws, draw
from aion.sampling.schemes import OneShot, Scheme
from aion.sampling.tables import COVERED, MOST_VISITS, code_probabilities
from aion.tokens import TokenBatch
from aion.tokenspace import TokenSpace

BUNDLE = "bundle"
"""Name of the codecs' folder in a run's folder."""


class AION:
    """A model that can be asked; `aion.load(path)` makes one.

    Objects are rows: b of them in every argument and answer. Any number of objects and
    tokens is taken; both are padded to few static shapes inside.

    Args:
        model: the transformer.
        bundle: the codecs of its token space; None where only codes are used.
        metadata: what the checkpoint says of the model.

    Raises:
        TokenSpaceError: model and bundle have different token spaces.
    """

    def __init__(
        self,
        model: Model,
        bundle: CodecBundle | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.space: TokenSpace = model.space
        if bundle is not None:
            self.space.check_same(bundle.space, "the model", "the bundle")
        self.metadata: dict[str, Any] = dict(metadata or {})
        self._bundle = bundle
        self._forward = Forward(model)

    @property
    def bundle(self) -> CodecBundle:
        """The codecs.

        Raises:
            ArtefactError: the model was made without.
        """
        if self._bundle is None:
            raise ArtefactError(
                "this model has no codec bundle",
                "Load it from a run's folder with its bundle, or work with codes.",
            )
        return self._bundle

    def tokenize(self, observations: Mapping[str, Observation]) -> TokenBatch:
        """Tokens of observations by modality name, in the order given.

        An object that lacks a value has padding there. Of images larger than the
        modality's tokens stand for the middle is taken; a `CroppedWarning` says so.

        Args:
            observations: plain arrays in the modality's unit, or astropy quantities.

        Returns:
            int32 [b, n], n the tokens of all modalities given.

        Raises:
            TokenSpaceError: a modality that the model does not know.
            DataError: modalities with different numbers of objects, or of another kind.
            UnitError: a unit that does not convert.
        """
        codes = {n: self.bundle.encode(n, o) for n, o in observations.items()}
        return self.pack(codes)

    def pack(
        self,
        codes: Mapping[str, Any],
        valid: Mapping[str, Any] | None = None,
        rows: int | None = None,
    ) -> TokenBatch:
        """Tokens from codes [b, t] by modality name, in the order given.

        Args:
            codes: integers [b, t], all t tokens of each modality; -1 is absent.
            valid: True = valid, [b, t] or [b], for some of the modalities.
            rows: number of objects; only needed when no modality is given.

        Raises:
            TokenSpaceError: an unknown modality, or a code that it does not admit.
            DataError: shapes that do not fit.
        """
        valid = valid or {}
        if unknown := sorted(set(valid) - set(codes)):
            raise DataError(
                f"valid names {unknown[0]!r}, which has no codes",
                "Give a mask for modalities that are given.",
            )
        if not codes:
            return TokenBatch(*(np.zeros((rows or 1, 0), np.int32) for _ in range(3)))
        parts = [self._packed(n, c, valid.get(n)) for n, c in codes.items()]
        counts = {n: p.shape[0] for n, p in zip(codes, parts, strict=True)}
        if len(set(counts.values())) > 1 or rows not in (None, parts[0].shape[0]):
            raise DataError(
                f"numbers of objects differ: {counts}", "Give one row per object."
            )
        return jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)

    def _packed(self, name: str, codes: Any, valid: Any) -> TokenBatch:
        spec, row = self.space[name], self.space.index(name)
        codes = np.asarray(codes)
        wrong = codes.ndim != 2 or codes.shape[1] != spec.num_tokens
        if wrong or not np.issubdtype(codes.dtype, np.integer):
            raise DataError(
                f"{name}: codes of shape {codes.shape} and type {codes.dtype}",
                f"Give integers [b, {spec.num_tokens}].",
            )
        keep = codes >= 0
        if valid is not None:
            mask = np.asarray(valid, bool)
            mask = mask[:, None] if mask.ndim == 1 else mask
            if mask.shape not in (codes.shape, (codes.shape[0], 1)):
                raise DataError(
                    f"{name}: valid has shape {mask.shape}, codes {codes.shape}",
                    "Give one True or False per token or per object.",
                )
            keep = keep & mask
        low, high = spec.slot_ranges.T
        outside = keep & ((codes < low) | (codes >= high))
        if outside.any():
            place = int(np.nonzero(outside)[1][0])
            raise TokenSpaceError(
                f"{name}: code {int(codes[outside][0])} in slot {place}, which admits "
                f"{low[place]}..{high[place] - 1}",
                "Use codes made by this model's bundle.",
            )
        return TokenBatch(
            np.where(keep, codes, 0).astype(np.int32),
            np.where(keep, row, -1).astype(np.int32),
            np.broadcast_to(np.arange(codes.shape[1], dtype=np.int32), codes.shape),
        )

    def _check_tokens(self, tokens: TokenBatch) -> TokenBatch:
        """The tokens as NumPy arrays, when they fit the token space."""
        tokens = jax.tree.map(lambda a: np.asarray(a, np.int32), tokens)
        if tokens.codes.ndim != 2 or not tokens.shape[0]:
            raise DataError(
                f"tokens of shape {tokens.shape}", "Give [b, n] of at least one object."
            )
        used = tokens.valid
        modality, position = tokens.modality[used], tokens.position[used]
        fits = modality < len(self.space)
        if fits.all():
            fits = (position >= 0) & (position < self.space.num_tokens[modality])
        if fits.all():
            slot = self.space.slot_offsets[:-1][modality] + position
            low, high = self.space.slot_ranges[slot].T
            fits = (tokens.codes[used] >= low) & (tokens.codes[used] < high)
        if not fits.all():
            bad = int(np.argmin(fits))
            row = int(modality[bad])
            name = self.space.names[row] if row < len(self.space) else f"number {row}"
            raise TokenSpaceError(
                f"a token of modality {name} is not in this model's token space",
                "Make tokens with this model's `tokenize` or `pack`.",
            )
        return tokens

    def _check_asked(self, tokens: TokenBatch, names: Sequence[str]) -> TokenBatch:
        """The tokens, when every asked modality is known, named once and not given."""
        if isinstance(names, str) or not names:
            raise DataError(
                f"asked modalities are {names!r}", 'Give a list such as ["redshift"].'
            )
        tokens = self._check_tokens(tokens)
        for name in names:
            if np.any(tokens.modality == self.space.index(name)):
                raise DataError(
                    f"{name} is asked and also given",
                    f"Leave {name} out of the tokens, or do not ask for it.",
                )
            if list(names).count(name) > 1:
                raise DataError(f"{name} is asked twice", "Ask for it once.")
        return tokens

    def sample(
        self,
        tokens: TokenBatch,
        names: Sequence[str],
        *,
        num_samples: int = 1,
        scheme: Scheme | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Draws:
        """Draws codes of asked modalities, int32 [s, b, t] by name.

        Args:
            tokens: what is given, [b, n].
            names: what is asked; a chained scheme draws in this order.
            num_samples: draws s per object.
            scheme: `aion.OneShot()` (default) or `aion.Chained()` for joint draws.
            seed: same seed, same draws, however many objects or samples there are.
            temperature, top_k, top_p: changes of the distribution that is drawn from;
                with any of them draws are no posterior.

        Raises:
            DataError: an asked modality is also given, asked twice, or no sample is
                asked for.
            TokenSpaceError: an unknown modality, or tokens of another token space.
            ConfigError: a temperature, top_k or top_p outside its range.
        """
        if num_samples < 1:
            raise DataError(f"num_samples is {num_samples}", "Ask for at least one.")
        return draw(
            self._forward,
            self._check_asked(tokens, names),
            names,
            num_samples=num_samples,
            scheme=OneShot() if scheme is None else scheme,
            key=jax.random.key(seed),
            chosen=transforms(temperature, top_k, top_p),
        )

    def detokenize(self, draws: Draws | Mapping[str, Any]) -> dict[str, Observation]:
        """Observations by name from draws, or from codes [..., t]; leading axes stay.

        Values are the representatives of their codes, in the modality's unit.
        """
        codes = draws.codes if isinstance(draws, Draws) else draws
        return {n: self.bundle.decode(n, np.asarray(c)) for n, c in codes.items()}

    def posterior(
        self,
        tokens: TokenBatch,
        name: str,
        *,
        covered: float = COVERED,
        most_visits: int = MOST_VISITS,
    ) -> Posterior:
        """The posterior of a scalar or a category, given tokens; without drawing.

        A coarse-to-fine modality costs one pass per coarse code visited: the likeliest
        that hold the probability `covered`, at most `most_visits`; inside the others
        the probability is spread evenly over the fine codes.

        Returns:
            `Posterior` with values [v] and probabilities float32 [b, v].

        Raises:
            DataError: the modality is also given.
            TokenSpaceError: an unknown modality, one of many tokens, or tokens of
                another token space.
        """
        tokens = self._check_asked(tokens, [name])
        codec, modality = self.bundle.codec(name), self.bundle.modality(name)
        labels = getattr(codec, "labels", None)
        if labels is None and not hasattr(codec, "bin_edges"):
            raise TokenSpaceError(
                f"{name}: its codec {type(codec).__name__} has no bins to put "
                "probabilities on",
                "Draw it with `sample`.",
            )
        values = np.array(labels) if labels is not None else codec.bin_centres()  # pyright: ignore
        codes = np.asarray(codec.codes_of_bin(np.arange(len(values))))  # pyright: ignore
        table = code_probabilities(
            self._forward, tokens, name, covered=covered, most_visits=most_visits
        )
        starts = self.space[name].slot_ranges[:, 0] if codes.shape[1] > 1 else 0
        places = tuple((codes - starts).T)
        edges = None if labels is not None else codec.bin_edges()  # pyright: ignore
        return Posterior(values, edges, table[:, *places], name, modality.unit)

    def logits(self, tokens: TokenBatch, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Logits float32 [b, t, v] by asked modality, -inf at codes a slot has not.

        Every place is asked by itself: the fine token of a redshift is given the
        context, not the coarse one. With `decoder_attention="independent"` the answer
        does not depend on what else is asked.

        Raises:
            DataError, TokenSpaceError: as `sample`.
        """
        return self._forward.logits(self._check_asked(tokens, names), names)

    def context(self, tokens: TokenBatch) -> np.ndarray:
        """What the decoder reads of each token, float32 [b, n, d].

        The row of the register token is left out; rows of padding have no meaning.
        """
        found, first = self._forward.context(self._check_tokens(tokens))
        return found[:, first:]

    def embed(self, tokens: TokenBatch) -> np.ndarray:
        """Features of objects, float32 [b, d]: the mean over valid tokens only.

        An object without any token gets the register's row, zeros without a register.
        """
        tokens = self._check_tokens(tokens)
        found, first = self._forward.context(tokens)
        weight = tokens.valid[..., None].astype(np.float32)
        number = weight.sum(axis=1)
        mean = (found[:, first:] * weight).sum(axis=1) / np.maximum(number, 1)
        alone = found[:, 0] if first else np.zeros_like(mean)
        return np.where(number > 0, mean, alone)


def load(path: str | Path, step: int | None = None) -> AION:
    """A trained model from a run's folder: its last checkpoint and its codecs.

    Args:
        path: the workdir of a training run.
        step: which checkpoint; by default the last whole one.

    Raises:
        ArtefactError: no whole checkpoint or bundle there, or of another format.
        TokenSpaceError: bundle and checkpoint do not belong together.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ArtefactError(
            f"{folder} is not a folder", "Point to the workdir of a training run."
        )
    loaded = load_model(folder, step)
    return AION(loaded.model, CodecBundle.load(folder / BUNDLE), loaded.metadata)
