# SPDX-License-Identifier: MIT
"""What a codec makes of test objects of one modality, as rows of a table and plots.

The codec is asked as anybody would: `encode`, then `decode` in the object's own bands,
seeing and pixels, or on its own wavelengths with its own resolution.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aion.eval import reconstruction as scores
from aion.eval import reconstruction_plots as plots
from aion.eval.patches import (
    Cut,
    PatchPCA,
    Squares,
    Stretches,
    block_means,
    flux_scales,
    sky_scales,
)
from aion.eval.reconstruction import Guesses, Measured, Rows
from aion.jobs.codec_pieces import Piece, measured, read_objects
from aion.jobs.feeds import Feed
from aion.observation import Field, Image, Spectrum

CODEC, BLANK, BLOCKS, PCA = "codec", "blank", "block mean", "PCA"
DATA = "the noisy data"
"""What lines measured in the data themselves are off by: a codec of them may be too."""
AMOUNT = 0.5
"""Of recorruption: data + a s n are encoded, data - s n / a compared with."""
LINES = "aion_tokenizers.spectrum_scores"
"""The module that measures lines, in the package of the codecs."""


@dataclass
class _Fluxes:
    """Scores of fluxes with a known noise; the rest is in `Images` and `Spectra`."""

    codec: Any
    name: str
    pieces: Sequence[Piece]
    lesson: Feed
    objects: int

    scales: ClassVar[Any]

    def decoded(self, codes: np.ndarray, like: Any) -> np.ndarray:
        """Flux of codes, in the bands and pixels of an observation."""
        raise NotImplementedError

    def cut(self, like: Any, tokens: int) -> Cut:
        """As many patches as an observation has tokens."""
        raise NotImplementedError

    def rows(self, seen: Sequence[Measured], guesses: Guesses) -> Rows:
        """Scores that need the truth."""
        raise NotImplementedError

    def plot(self, seen: Sequence[Measured], guesses: Guesses, folder: Path) -> None:
        """Pictures of a few objects, and errors by S/N."""
        raise NotImplementedError

    def run(self, folder: Path) -> Rows:
        """All scores of the modality; plots go to the folder."""
        data = [measured(piece) for piece in self.pieces]
        codes = [self.codec.encode(piece.observation) for piece in self.pieces]
        pca = self._pca()
        rng = np.random.default_rng(0)
        guesses: dict[str, list[np.ndarray]] = {}
        second: dict[str, list[np.ndarray]] = {}
        seen = []
        for one, piece, code in zip(data, self.pieces, codes, strict=True):
            whole = self.decoded(code, piece.observation)
            for method, guess in self._all(one, whole, piece, code, pca):
                guesses.setdefault(method, []).append(guess)
            # Pixels beyond the codec's grid count for no method.
            there = np.isfinite(whole)
            seen.append(replace(one, ivar=np.where(there, one.ivar, 0)))
            for method, chi in self._recorrupted(seen[-1], piece, pca, rng):
                second.setdefault(method, []).append(scores.sums(chi))
        rows = self.rows(seen, guesses)
        rows += [
            scores.row((self.name, method, "recorrupted chi2"), np.concatenate(chi))
            for method, chi in second.items()
        ]
        rows += self._code_rows(codes, self._flips(data, rng))
        self.plot(seen, guesses, folder)
        return [row for row in rows if row["count"]]

    def _pca(self) -> PatchPCA:
        lessons = [measured(p) for p in read_objects(self.lesson, self.objects)]
        return PatchPCA(
            self.codec.quantizer.dimension,
            type(self).scales,
            [(one.flux, one.ivar) for one in lessons],
        )

    def _all(
        self,
        one: Measured,
        whole: np.ndarray,
        piece: Piece,
        codes: np.ndarray,
        pca: PatchPCA,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reconstructions of a piece by the codec (`whole`) and the baselines."""
        cut = self.cut(piece.observation, codes.shape[1] - 1)
        yield CODEC, whole
        yield BLANK, np.zeros_like(one.flux)
        yield BLOCKS, block_means(one.flux, one.ivar, cut)
        yield PCA, pca.rebuild(one.flux, one.ivar, cut)

    def _recorrupted(
        self, one: Measured, piece: Piece, pca: PatchPCA, rng: np.random.Generator
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Squared residuals of every method in the variance of what is not shown."""
        noise = one.sigma * rng.standard_normal(one.flux.shape).astype(np.float32)
        noise = np.where(one.valid, noise, 0)
        shown = replace(
            one, flux=one.flux + AMOUNT * noise, ivar=one.ivar / (1 + AMOUNT**2)
        )
        hidden = Measured(
            one.flux, one.ivar / (1 + AMOUNT**-2), one.flux - noise / AMOUNT
        )
        seen = _with(piece.observation, shown.flux, shown.ivar)
        codes = self.codec.encode(seen)
        whole = self.decoded(codes, piece.observation)
        for method, guess in self._all(shown, whole, piece, codes, pca):
            yield method, hidden.errors(guess)

    def _flips(self, data: Sequence[Measured], rng: np.random.Generator) -> np.ndarray:
        """Sums and counts [b, 2] of tokens that differ between two draws of noise."""
        pairs = [np.zeros((0, 2))]
        for one, piece in zip(data, self.pieces, strict=True):
            if piece.truth is None:
                continue
            drawn = []
            for _ in range(2):
                noise = rng.standard_normal(one.flux.shape).astype(np.float32)
                flux = np.where(one.valid, one.truth + one.sigma * noise, 0)
                seen = _with(piece.observation, flux, one.ivar)
                drawn.append(self.codec.encode(seen))
            differs = np.where(drawn[0] < 0, np.nan, drawn[0] != drawn[1])
            pairs.append(scores.sums(differs))
        return np.concatenate(pairs)

    def _code_rows(self, codes: Sequence[np.ndarray], flips: np.ndarray) -> Rows:
        rows = code_rows(self.codec, self.name, codes)
        where = (self.name, CODEC, "token flip rate")
        return [*rows, scores.row(where, flips)]


def code_rows(codec: Any, name: str, codes: Sequence[np.ndarray]) -> Rows:
    """Entropy and perplexity of the codes of a modality, and how many there were."""
    flat = np.concatenate([c.ravel() for c in codes])
    found = scores.code_statistics(flat, codec.quantizer.num_codes)
    words = {"entropy": "code entropy, bits", "perplexity": "code perplexity"}
    words["tokens"] = "tokens counted"
    return [
        {
            "question": name,
            "method": CODEC,
            "metric": word,
            "value": found[key],
            "error": float("nan"),
            "count": sum(len(c) for c in codes),
        }
        for key, word in words.items()
    ]


def _with(observation: Any, flux: np.ndarray, ivar: np.ndarray) -> Any:
    """The same observation with other fluxes; pixels without ivar are not valid."""
    return replace(observation, flux=flux, ivar=ivar, mask=ivar > 0)


class Images(_Fluxes):
    """Scores of images."""

    scales = staticmethod(sky_scales)

    def decoded(self, codes: np.ndarray, like: Any) -> np.ndarray:
        """See `_Fluxes`."""
        size = np.shape(like.flux)[2:]
        return self.codec.decode(
            codes, bands=like.bands, psf_fwhm=like.psf_fwhm, size=size
        ).flux

    def cut(self, like: Any, tokens: int) -> Cut:
        """See `_Fluxes`."""
        rows, columns = np.shape(like.flux)[2:]
        return Squares(-(-rows // self.codec.grid(rows, columns)[0]))

    def rows(self, seen: Sequence[Measured], guesses: Guesses) -> Rows:
        """See `_Fluxes`."""
        rows = scores.image_rows(self.name, seen, guesses)
        kinds = {"flux": scores.flux_errors, "ellipticity": scores.shape_errors}
        for method, found in guesses.items():
            for word, measure in kinds.items():
                each = [
                    measure(one, guess, piece.observation.bands[0].pixel_scale)
                    for one, guess, piece in zip(seen, found, self.pieces, strict=True)
                ]
                where = (self.name, method, f"{word} error, S/N > {scores.SURE:g}")
                rows.append(scores.row(where, np.concatenate(each), scores.middle))
        return rows

    def plot(self, seen: Sequence[Measured], guesses: Guesses, folder: Path) -> None:
        """See `_Fluxes`."""
        bands = [[b.name for b in piece.observation.bands] for piece in self.pieces]
        path = folder / f"{slug(self.name)}-examples.png"
        plots.plot_images(seen, guesses[CODEC], bands, path)
        path, chosen = (
            folder / f"{slug(self.name)}-worst.png",
            plots.worst(seen, guesses[CODEC]),
        )
        plots.plot_images(seen, guesses[CODEC], bands, path, chosen)
        path = folder / f"{slug(self.name)}-errors.png"
        plots.plot_pixel_errors(self.name, seen, guesses, path)


class Spectra(_Fluxes):
    """Scores of spectra."""

    scales = staticmethod(flux_scales)

    def decoded(self, codes: np.ndarray, like: Any) -> np.ndarray:
        """See `_Fluxes`."""
        return self.codec.decode(
            codes, wavelength=like.wavelength, resolution=like.resolution
        ).flux

    def cut(self, like: Any, tokens: int) -> Cut:
        """See `_Fluxes`."""
        return Stretches(-(-np.shape(like.flux)[1] // tokens))

    def rows(self, seen: Sequence[Measured], guesses: Guesses) -> Rows:
        """See `_Fluxes`."""
        rows = scores.spectrum_rows(self.name, seen, guesses)
        if any(piece.redshift is None for piece in self.pieces):
            return rows
        lines = importlib.import_module(LINES)
        level = np.concatenate([scores.median_signal(one) for one in seen])
        data = [np.where(one.valid, one.flux, one.truth) for one in seen]
        for line, sides in lines.LINES.items():
            for method, found in {**guesses, DATA: data}.items():
                off = self._line_errors(lines, sides, seen, found)
                for word, least in (("", -np.inf), (", S/N > 5", 5.0)):
                    where = (self.name, method, f"EW {line}{word}")
                    chosen = off[level > least]
                    rows.append(scores.row(where, chosen, scores.middle))
        return rows

    def _line_errors(
        self, lines: Any, sides: Any, seen: Sequence[Measured], found: Any
    ) -> np.ndarray:
        """Relative errors of the equivalent width of a line, NaN for weak ones."""
        parts = []
        for one, guess, piece in zip(seen, found, self.pieces, strict=True):
            wavelength = np.asarray(piece.observation.wavelength, np.float64)
            if wavelength.ndim > 1:
                parts.append(np.full(len(one), np.nan))
                continue
            shift = np.asarray(piece.redshift, np.float64)
            true, ours = (
                lines.equivalent_width(wavelength, v, shift, sides)
                for v in (one.truth, guess)
            )
            strong = np.abs(true) > scores.STRONG
            safe = np.where(strong, true, 1)
            parts.append(np.where(strong, np.abs(ours / safe - 1), np.nan))
        return np.concatenate(parts)

    def plot(self, seen: Sequence[Measured], guesses: Guesses, folder: Path) -> None:
        """See `_Fluxes`."""
        lines = [piece.observation.wavelength for piece in self.pieces]
        path = folder / f"{slug(self.name)}-examples.png"
        plots.plot_spectra(seen, guesses[CODEC], lines, path)
        path, chosen = (
            folder / f"{slug(self.name)}-worst.png",
            plots.worst(seen, guesses[CODEC]),
        )
        plots.plot_spectra(seen, guesses[CODEC], lines, path, chosen)
        path = folder / f"{slug(self.name)}-errors.png"
        plots.plot_object_errors(self.name, seen, guesses, path)


@dataclass
class Maps:
    """Scores of fields, which have no noise."""

    codec: Any
    name: str
    pieces: Sequence[Piece]
    lesson: Feed
    objects: int

    def run(self, folder: Path) -> Rows:
        """See `_Fluxes.run`."""
        parts: dict[tuple[str, str], list[np.ndarray]] = {}
        codes, shown = [], []
        for piece in self.pieces:
            seen = piece.observation
            truth = np.asarray((piece.truth or seen).values, np.float32)
            codes.append(self.codec.encode(seen))
            size = truth.shape[1:]
            guess = np.asarray(self.codec.decode(codes[-1], size=size).values)
            cut = Squares(-(-size[0] // self.codec.grid(*size)[0]))
            shown.append((truth, guess))
            for word, limit in (("", 0.5), (", any value", 0.0)):
                there = truth > limit
                for method, found in {
                    CODEC: guess > limit,
                    BLANK: np.zeros_like(there),
                    BLOCKS: _mostly(there, cut),
                }.items():
                    key = (method, f"IoU{word}")
                    parts.setdefault(key, []).append(scores.overlaps(found, there))
        rows: Rows = []
        for (method, metric), each in parts.items():
            pairs, together = np.concatenate(each), f"{metric}, all pixels together"
            where = (self.name, method, metric)
            rows.append(scores.row(where, pairs, scores.mean_ratio))
            rows.append(scores.row((self.name, method, together), pairs))
        rows += code_rows(self.codec, self.name, codes)
        plots.plot_maps(shown, folder / f"{slug(self.name)}-examples.png")
        return [row for row in rows if row["count"]]


def _mostly(there: np.ndarray, cut: Cut) -> np.ndarray:
    """Which blocks of maps [b, y, x] are there for more than a half."""
    flux = there[:, None].astype(np.float32)
    return block_means(flux, np.ones_like(flux), cut)[:, 0] > 0.5


BOARDS: Mapping[type, Any] = {Image: Images, Spectrum: Spectra, Field: Maps}
"""Scores by what is observed."""


def slug(name: str) -> str:
    """A name for files."""
    return name.replace(" ", "-")
