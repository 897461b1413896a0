# SPDX-License-Identifier: MIT
"""How columns of a survey's files become observations: one recipe per modality.

Recipes take columns by their names in the Multimodal Universe's HDF5 files, in native
byte order. Readers of other formats bring their columns into that form first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from aion.errors import ConfigError, DataError
from aion.observation import Category, Observation, Scalar, Spectrum
from aion.surveys.columns import as_texts

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """One modality.

    Attributes:
        modality: its name.
        columns: those it needs; a file without one of them does not have it.
        build: columns [b, ...] -> observation of b objects, in the modality's unit.
        more: columns it takes if they are there.
    """

    modality: str
    columns: tuple[str, ...]
    build: Callable[[Columns], Observation]
    more: tuple[str, ...] = ()


def native(values: np.ndarray) -> np.ndarray:
    """Values in the byte order of the machine."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def chosen(
    recipes: Sequence[Recipe], modalities: Iterable[str] | None
) -> tuple[Recipe, ...]:
    """The recipes of some modalities, or all.

    Raises:
        ConfigError: a modality without a recipe.
    """
    if modalities is None:
        return tuple(recipes)
    known = {recipe.modality: recipe for recipe in recipes}
    wanted = list(modalities)
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"this survey has no modality {name!r}", f"It has {', '.join(known)}."
            )
    return tuple(known[name] for name in wanted)


def columns_of(recipes: Iterable[Recipe], there: Iterable[str]) -> list[str]:
    """Columns to read for those recipes that a file can serve, each once."""
    there = set(there)
    names: list[str] = []
    for recipe in served(recipes, there):
        names += [*recipe.columns, *(name for name in recipe.more if name in there)]
    return list(dict.fromkeys(names))


def served(recipes: Iterable[Recipe], there: Iterable[str]) -> list[Recipe]:
    """The recipes whose columns are all there."""
    there = set(there)
    return [recipe for recipe in recipes if there.issuperset(recipe.columns)]


def observe(recipes: Iterable[Recipe], columns: Columns) -> dict[str, Observation]:
    """Observations by modality name."""
    return {r.modality: r.build(columns) for r in served(recipes, columns)}


def scalar(modality: str, column: str, error: str = "", ivar: str = "") -> Recipe:
    """A number, with one sigma from a column of errors or of inverse variances."""

    def build(columns: Columns) -> Scalar:
        errors = columns.get(error) if error else None
        if ivar and ivar in columns:
            errors = errors_of(columns[ivar])
        return Scalar(columns[column], errors)

    more = tuple(name for name in (error, ivar) if name)
    return Recipe(modality, (column,), build, more)


def category(modality: str, column: str) -> Recipe:
    """A label."""

    def build(columns: Columns) -> Category:
        return Category(as_texts(columns[column]))

    return Recipe(modality, (column,), build)


def quality(column: str) -> Recipe:
    """Whether the redshift fit gave a warning, as "good" or "warned".

    The files hold bits, 0 = good; `hats` turns its booleans into such bits.
    """

    def build(columns: Columns) -> Category:
        return Category(np.where(columns[column] == 0, "good", "warned"))

    return Recipe("redshift_quality", (column,), build)


def errors_of(ivar: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """One sigma of an inverse variance; NaN where that is 0, hence unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ivar > 0, 1 / np.sqrt(ivar), np.nan).astype(ivar.dtype)


def band_names(column: Shaped[np.ndarray, "b c"], where: str) -> tuple[str, ...]:
    """The bands of all objects of a batch.

    Raises:
        DataError: the objects have their bands in different orders.
    """
    names = np.char.upper(as_texts(column.ravel())).reshape(column.shape)
    if len(names) and (names != names[0]).any():
        raise DataError(
            f"column {where}: bands in different orders",
            "Sort the bands of every object alike.",
        )
    return tuple(names[0].tolist()) if len(names) else ()


def trimmed(columns: Columns, prefix: str = "spectrum_") -> Spectrum:
    """A spectrum from columns whose mask is True = bad, padding taken off.

    Padding (wavelength <= 0 or NaN) that other objects of the batch leave is not
    valid, has ivar 0, flux 0, and wavelengths that go on in the same ratio.
    """
    wavelength = columns[f"{prefix}lambda"]
    real = np.isfinite(wavelength) & (wavelength > 0)
    length = max(int(real.sum(axis=1).max(initial=0)), 1)
    real, wavelength = real[:, :length], wavelength[:, :length]
    flux, ivar = (columns[f"{prefix}{name}"][:, :length] for name in ("flux", "ivar"))
    mask = ~columns[f"{prefix}mask"][:, :length].astype(bool)
    sigma = columns.get(f"{prefix}lsf_sigma")
    sigma = None if sigma is None else sigma[:, :length]
    if not real.all():
        wavelength = _continued(wavelength, real)
        flux, ivar = np.where(real, flux, 0), np.where(real, ivar, 0)
        mask = mask & real
    shared = len(wavelength) > 0 and bool((wavelength == wavelength[:1]).all())
    power = None if sigma is None else resolving_power(wavelength, sigma)
    return Spectrum(flux, ivar, mask, wavelength[0] if shared else wavelength, power)


def _continued(
    wavelength: Float[np.ndarray, "b l"], real: Bool[np.ndarray, "b l"]
) -> Float[np.ndarray, "b l"]:
    last = np.maximum(real.sum(axis=1, keepdims=True) - 1, 1)
    log = np.log(np.where(real, wavelength, 1.0).astype(np.float64))
    end = np.take_along_axis(log, last, axis=1)
    step = end - np.take_along_axis(log, last - 1, axis=1)
    ahead = np.arange(wavelength.shape[1]) - last
    longer = np.exp(end + ahead * step)
    return np.where(real, wavelength, longer).astype(wavelength.dtype)


def resolving_power(
    wavelength: Float[np.ndarray, "*b l"], sigma: Float[np.ndarray, "b l"]
) -> Float[np.ndarray, "b l"]:
    """Wavelength over FWHM of a Gaussian line spread function given in pixels."""
    if wavelength.shape[-1] < 2:
        return np.full(sigma.shape, np.nan, np.float32)
    width = np.gradient(wavelength.astype(np.float64), axis=-1)
    fwhm = 2 * np.sqrt(2 * np.log(2)) * sigma * width
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(fwhm > 0, wavelength / fwhm, np.nan).astype(np.float32)
