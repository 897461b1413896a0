# SPDX-License-Identifier: MIT
"""One call that recognises what is at a path and gives a source of records."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from aion.errors import DataError
from aion.layouts import LAYOUTS, Layout
from aion.records import RecordSource
from aion.surveys.mmu import PATTERNS, SUFFIXES, MmuSource, layout_of
from aion.surveys.native import NativeSource, Reader, fits_warnings
from aion.surveys.native_gaia import gaia_places, read_gaia_rows, read_gaia_xp
from aion.surveys.native_images import Cutouts, HscArrays, read_targets
from aion.surveys.native_spectra import read_desi_coadd, read_sdss_spec
from aion.surveys.positions import Positions, PositionSource
from aion.surveys.quarantine import Quarantine


@runtime_checkable
class Survey(RecordSource, PositionSource, Protocol):
    """Records and positions of one survey, with a report on what was left out."""

    @property
    def survey(self) -> str:
        """Whose sky it is: legacy, hsc, sdss, desi or gaia."""
        ...

    @property
    def epoch(self) -> float:
        """Julian year of the positions."""
        ...

    @property
    def report(self) -> Quarantine:
        """Counts over the partitions read so far in this process."""
        ...


def open_survey(
    path: str | Path,
    survey: str | None = None,
    *,
    on_bad: str = "error",
    modalities: Sequence[str] | None = None,
    batch: int = 256,
) -> Survey:
    """A source of records over a survey's files, whatever their format.

    Recognised are HDF5 trees of the Multimodal Universe (a set, a configuration of it,
    or one file), HATS collections, DESI coadds, SDSS spec files, Legacy Surveys coadd
    cutouts, HSC arrays, Gaia XP CSV and Gaia source tables, or a folder of one kind of
    those. Positions for stamps of a cutout, and of HSC arrays, are given by making
    `NativeSource` with `Cutouts` or `HscArrays`.

    Args:
        path: file or folder.
        survey: name of a set (`aion.layouts.LAYOUTS`) or of a survey; None = what the
            files say.
        on_bad: "error" raises at the first fault and names file and column;
            "quarantine" leaves it out and keeps it in `report`.
        modalities: names of those to read; None = all.
        batch: rows that are read at once.

    Returns:
        A source that pickles.

    Raises:
        DataError: nothing there, or nothing that is known.
        ConfigError: an unknown value of `on_bad`, or modality.
    """
    path = Path(path)
    rest: dict[str, Any] = {
        "on_bad": on_bad,
        "modalities": None if modalities is None else tuple(modalities),
        "batch": batch,
    }
    if not path.exists():
        raise DataError(f"no file or folder {path}", "Check the path.")
    if path.is_dir() and _is_hats(path):
        from aion.surveys.hats import HatsSource, layout_of_collection

        layout = _asked(path, survey) or layout_of_collection(path)
        return HatsSource(path, layout, **rest)
    if path.is_file() and path.suffix in SUFFIXES:
        return MmuSource(path, _asked(path, survey) or _found(path, [path]), **rest)
    if path.is_dir() and (files := _tree(path)):
        return MmuSource(path, _asked(path, survey) or _found(path, files), **rest)
    return _native(path, rest)


def _native(path: Path, rest: dict[str, Any]) -> NativeSource:
    """A source over native files, all of one kind."""
    kinds = {kind: paths for kind in NATIVE if (paths := kind.files(path))}
    if len(kinds) > 1:
        listed = "; ".join(
            f"{k.told}: {', '.join(p.name for p in kinds[k])}" for k in kinds
        )
        raise DataError(
            f"{path} holds files of several kinds ({listed})",
            "Give one file, or a folder with one kind.",
        )
    for kind, paths in kinds.items():
        # A broken file tells no kind: its reader reports it.
        broken = [] if path.is_file() else _broken(path)
        return kind.source(tuple(sorted({*paths, *broken})), rest)
    raise DataError(
        f"{path} is nothing that is known",
        "Give a set with healpix=*/*.hdf5, a HATS collection, or native files: "
        f"{', '.join(kind.told for kind in NATIVE)}. Tables are read by CatalogSource.",
    )


def _is_hats(path: Path) -> bool:
    names = ("collection.properties", "hats.properties", "properties")
    return any((path / name).is_file() for name in names)


def _tree(path: Path) -> list[Path]:
    """HDF5 files of a set, sorted; an error where there are several sets."""
    found = sorted(
        file
        for pattern in PATTERNS
        for file in path.glob(pattern)
        if file.suffix in SUFFIXES and not file.name.startswith(".")
    )
    if found:
        return found
    below = sorted({p.relative_to(path).parts[0] for p in path.glob("*/*/*healpix=*")})
    if below:
        raise DataError(
            f"{path} holds the sets {', '.join(below)}", f"Give one: {path / below[0]}."
        )
    return []


def _asked(path: Path, survey: str | None) -> Layout | None:
    if survey is None:
        return None
    by_survey: dict[str, Layout] = {}
    for layout in LAYOUTS.values():
        by_survey.setdefault(layout.survey, layout)
    found = LAYOUTS.get(survey) or by_survey.get(survey)
    if found is None:
        raise DataError(
            f"{path}: unknown survey {survey!r}",
            f"Known: {', '.join((*LAYOUTS, *by_survey))}.",
        )
    return found


def _found(path: Path, files: Iterable[Path]) -> Layout:
    """The set of the first file that tells it; bad files are the reader's matter."""
    for file in files:
        if layout := layout_of(file):
            return layout
    raise DataError(
        f"{path}: no file has the columns of a known set",
        f"Name it: survey is one of {', '.join(LAYOUTS)}.",
    )


class _Native:
    """A kind of native files: how they are called, told apart and read."""

    def __init__(
        self,
        told: str,
        survey: str,
        reader: Reader,
        fits: Callable[[Path], bool],
        *,
        epoch: float,
        places: Callable[[Path], Positions] | None = None,
        placed: bool = True,
    ) -> None:
        self.told, self.pattern = told, told.split(" ")[0]
        self._fits, self._places, self._placed = fits, places, placed
        self._survey, self._reader, self._epoch = survey, reader, epoch

    def files(self, path: Path) -> tuple[Path, ...]:
        """Those of this kind at a path."""
        if path.is_file():
            return (path,) if self._fits(path) else ()
        return tuple(sorted(p for p in path.glob(self.pattern) if self._fits(p)))

    def source(self, paths: tuple[Path, ...], rest: dict[str, Any]) -> NativeSource:
        """A source over files."""
        return NativeSource(
            paths,
            self._reader,
            self._survey,
            self._epoch,
            places=self._places,
            placed=self._placed,
            **rest,
        )


def _extensions(path: Path) -> dict[str, set[str]]:
    """Names of a FITS file's extensions (or band and type), each with its columns."""
    from astropy.io import fits

    found: dict[str, set[str]] = {}
    try:
        with fits_warnings(), fits.open(path, memmap=True) as hdus:
            for number, hdu in enumerate(hdus):
                header = hdu.header  # pyright: ignore
                name = header.get("EXTNAME") or header.get("IMAGETYP") or str(number)
                fields = range(1, header.get("TFIELDS", 0) + 1)
                columns = {header[f"TTYPE{n}"].lower() for n in fields}
                found.setdefault(name.strip(), set()).update(columns)
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _broken(folder: Path) -> list[Path]:
    """FITS files of a folder that do not open."""
    return [path for path in folder.glob("*.fits") if not _extensions(path)]


def _fits_with(name: str, *columns: str) -> Callable[[Path], bool]:
    def fits(path: Path) -> bool:
        if path.suffix.lower() not in (".fits", ".fit"):
            return False
        found = _extensions(path)
        return name in found and found[name].issuperset(columns)

    return fits


def _xp_csv(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = next((line for line in file if not line.startswith("#")), "")
    return "bp_coefficients" in first and "source_id" in first


def _hsc_arrays(path: Path) -> bool:
    return path.name.endswith("_im.npy") or path.suffix == ".npz"


NATIVE = (
    _Native(
        "coadd-*.fits",
        "desi",
        read_desi_coadd,
        _fits_with("B_FLUX"),
        epoch=LAYOUTS["desi"].epoch,
    ),
    _Native(
        "spec-*.fits",
        "sdss",
        read_sdss_spec,
        _fits_with("COADD", "loglam", "and_mask"),
        epoch=LAYOUTS["sdss"].epoch,
    ),
    _Native(
        "*.fits (cutouts with BAND and WCS)",
        "legacy",
        Cutouts(),
        _fits_with("invvar"),
        epoch=LAYOUTS["legacysurvey"].epoch,
    ),
    _Native(
        "*.fits (Gaia sources)",
        "gaia",
        read_gaia_rows,
        _fits_with("1", "source_id", "ra", "dec"),
        epoch=2015.5,
        places=gaia_places,
    ),
    _Native(
        "*.fits (DESI targets)",
        "legacy",
        read_targets,
        _fits_with("TARGETS", "ra", "dec", "flux_g"),
        epoch=LAYOUTS["legacysurvey"].epoch,
    ),
    _Native(
        "*.csv (Gaia XP)", "gaia", read_gaia_xp, _xp_csv, epoch=LAYOUTS["gaia"].epoch
    ),
    _Native(
        "*.np? (HSC arrays)",
        "hsc",
        HscArrays(),
        _hsc_arrays,
        epoch=LAYOUTS["hsc"].epoch,
        placed=False,
    ),
)
"""Native files, in the order in which they are tried."""
