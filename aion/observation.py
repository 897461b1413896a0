# SPDX-License-Identifier: MIT
"""Values with inverse variance and mask: what surveys give and codecs take.

Conventions, held by tests:

- Arrays are batch first. Masks are True where a value is valid.
- Wavelengths are in vacuum, in Angstrom, increasing.
- Fluxes are not corrected for Galactic extinction. Legacy and WISE fluxes are in
  nanomaggies (AB) as the survey files give them, HSC counts have zero point 27.0 AB,
  spectra are in 1e-17 erg/s/cm2/Angstrom. Negative fluxes are data, not errors.
- Plain arrays are taken to be in the modality's unit; astropy quantities are converted
  by `in_unit`, which raises when they cannot be. A quantity in plain "mag" is taken to
  be in the modality's magnitude system; maggies are of the AB system.
- NaN, masked and empty values are absent. A value beyond a codec's edges is clipped,
  counted and reported; it is not absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from aion.errors import DataError, UnitError
from aion.instrument import Band, find_band
from aion.modality import Kind, Modality


@dataclass(frozen=True)
class Observation:
    """Base of all observations.

    `kind` and three lists of field names: those in the modality's unit, those in its
    inverse square, and those that all objects share when they have one axis.
    """

    kind: ClassVar[Kind]
    unit_fields: ClassVar[tuple[str, ...]] = ()
    inverse_square_fields: ClassVar[tuple[str, ...]] = ()
    shared_when_flat: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return int(np.shape(getattr(self, fields(self)[0].name))[0])

    def take(self, rows: Any) -> Self:
        """The objects `rows` (slice, indices or boolean) of the batch."""
        count = len(self)

        def pick(name: str, value: Any) -> Any:
            least = 2 if name in self.shared_when_flat else 1
            batched = hasattr(value, "shape") and np.ndim(value) >= least
            return value[rows] if batched and np.shape(value)[0] == count else value

        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: pick(name, v) for name, v in values.items()})


def _check_like(name: str, value: Any, flux: Any) -> None:
    if value is not None and np.shape(value) != np.shape(flux):
        raise DataError(
            f"{name} has shape {np.shape(value)} and flux {np.shape(flux)}",
            f"Give {name} one value per flux value.",
        )


@dataclass(frozen=True)
class Image(Observation):
    """Images of one camera.

    Attributes:
        flux: [b, c, y, x] in the modality's unit per pixel.
        ivar: inverse variance of flux, [b, c, y, x], 0 where unknown.
        mask: True = valid, [b, c, y, x].
        bands: the c bands.
        psf_fwhm: [b, c] in arcsec.
        wcs: astropy WCS per object, or None.
    """

    kind: ClassVar[Kind] = Kind.IMAGE
    unit_fields: ClassVar[tuple[str, ...]] = ("flux",)
    inverse_square_fields: ClassVar[tuple[str, ...]] = ("ivar",)

    flux: Any
    ivar: Any = None
    mask: Any = None
    bands: tuple[Band, ...] = ()
    psf_fwhm: Any = None
    wcs: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", tuple(self.bands))
        shape = np.shape(self.flux)
        if len(shape) != 4 or (self.bands and shape[1] != len(self.bands)):
            raise DataError(
                f"image flux has shape {shape} for {len(self.bands)} bands",
                "Give flux as [batch, band, y, x], one channel per band.",
            )
        _check_like("ivar", self.ivar, self.flux)
        _check_like("mask", self.mask, self.flux)

    @classmethod
    def from_bands(
        cls,
        flux: Any,
        names: Sequence[str],
        own: Mapping[str, Band] | None = None,
        **rest: Any,
    ) -> "Image":
        """An image whose bands are looked up by name, such as "DES-G".

        Args:
            flux: [b, c, y, x].
            names: names of the c bands.
            own: bands of one's own by name; they go first.
            **rest: the other attributes.
        """
        bands = tuple(find_band(name, own) for name in names)
        return cls(flux, bands=bands, **rest)


@dataclass(frozen=True)
class Spectrum(Observation):
    """Spectra on one or several wavelength grids.

    Attributes:
        flux: [b, l] flux density.
        ivar: inverse variance of flux, [b, l].
        mask: True = valid, [b, l].
        wavelength: vacuum, Angstrom, increasing; [l] or [b, l].
        resolution: resolving power, scalar, [l] or [b, l].
    """

    kind: ClassVar[Kind] = Kind.SPECTRUM
    unit_fields: ClassVar[tuple[str, ...]] = ("flux",)
    inverse_square_fields: ClassVar[tuple[str, ...]] = ("ivar",)
    shared_when_flat: ClassVar[tuple[str, ...]] = ("wavelength", "resolution")

    flux: Any
    ivar: Any = None
    mask: Any = None
    wavelength: Any = None
    resolution: Any = None

    def __post_init__(self) -> None:
        if np.ndim(self.flux) != 2:
            raise DataError(
                f"spectrum flux has shape {np.shape(self.flux)}",
                "Give flux as [batch, wavelength].",
            )
        _check_like("ivar", self.ivar, self.flux)
        _check_like("mask", self.mask, self.flux)


@dataclass(frozen=True)
class Field(Observation):
    """Maps with values in [0, 1]; `values` is [b, y, x]."""

    kind: ClassVar[Kind] = Kind.FIELD
    unit_fields: ClassVar[tuple[str, ...]] = ("values",)

    values: Any
    mask: Any = None


@dataclass(frozen=True)
class Catalog(Observation):
    """Sources around an object, each array [b, objects].

    Attributes:
        x, y: pixel coordinates in the cutout.
        e1, e2: ellipticity components.
        radius: half-light radius in arcsec.
        valid: True = there is such a source.
    """

    kind: ClassVar[Kind] = Kind.CATALOG

    x: Any
    y: Any
    e1: Any
    e2: Any
    radius: Any
    valid: Any


@dataclass(frozen=True)
class Scalar(Observation):
    """One number per object; `values` and `errors` (one sigma) are [b]."""

    kind: ClassVar[Kind] = Kind.SCALAR
    unit_fields: ClassVar[tuple[str, ...]] = ("values", "errors")

    values: Any
    errors: Any = None


@dataclass(frozen=True)
class Coefficients(Observation):
    """A vector of numbers per object; `values` and `errors` are [b, n]."""

    kind: ClassVar[Kind] = Kind.COEFFICIENTS
    unit_fields: ClassVar[tuple[str, ...]] = ("values", "errors")

    values: Any
    errors: Any = None


@dataclass(frozen=True)
class Category(Observation):
    """One label per object, strings [b]; "" is absent."""

    kind: ClassVar[Kind] = Kind.CATEGORY

    labels: Any


OBSERVATIONS: dict[Kind, type[Observation]] = {
    c.kind: c for c in (Image, Spectrum, Field, Catalog, Scalar, Coefficients, Category)
}


def is_quantity(value: Any) -> bool:
    """True for an astropy quantity, without importing astropy."""
    return hasattr(value, "to_value") and hasattr(value, "unit")


def _convert(value: Any, unit: str, power: int, where: str) -> Any:
    if not is_quantity(value):
        return value
    import astropy.units as u

    with u.add_enabled_units([u.nmgy, u.mgy]):
        target = u.Unit(unit) ** power if unit else u.dimensionless_unscaled
        if value.unit == u.mag and isinstance(target, u.MagUnit):
            return np.asarray(value.value)  # files write "mag" for AB magnitudes too
        try:
            return np.asarray(value.to_value(target, u.zero_point_flux(1 * u.AB)))
        except u.UnitsError:
            raise UnitError(
                f"{where} has unit {value.unit}, which does not convert to {target}",
                f"Give {where} in {target}, or a plain array in that unit.",
            ) from None


def in_unit(observation: Observation, modality: Modality) -> Observation:
    """The observation as plain arrays in the modality's unit.

    Raises:
        UnitError: a quantity's unit does not convert; names field and both units.
        DataError: the observation is of another kind than the modality.
    """
    expected = OBSERVATIONS[modality.kind]
    if not isinstance(observation, expected):
        raise DataError(
            f"{modality.name} takes {expected.__name__}, not "
            f"{type(observation).__name__}",
            f"Build it with aion.{expected.__name__}(...).",
        )
    changes = {}
    for power, names in (
        (1, observation.unit_fields),
        (-2, observation.inverse_square_fields),
    ):
        for name in names:
            value = getattr(observation, name)
            changes[name] = _convert(
                value, modality.unit, power, f"{modality.name}.{name}"
            )
    for name, unit in (("wavelength", "Angstrom"), ("psf_fwhm", "arcsec")):
        if hasattr(observation, name):
            value = getattr(observation, name)
            changes[name] = _convert(value, unit, 1, f"{modality.name}.{name}")
    return replace(observation, **changes)
