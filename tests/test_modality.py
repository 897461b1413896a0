# SPDX-License-Identifier: MIT
"""The forty rows against a table written from the specification of AION-1."""

import dataclasses

import pytest

from aion.modality import MODALITIES, Kind, Modality, modality_from_dict

SPECTRUM = "1e-17 erg / (s cm2 Angstrom)"
# official key, name, kind, shape, unit, survey
TABLE = """
tok_image            legacy_image         image        4,160,160  nmgy          legacy
tok_image_hsc        hsc_image            image        5,160,160  ct            hsc
tok_segmap           legacy_segmentation  field        160,160    -             legacy
catalog              legacy_catalog       catalog      20,5       -             legacy
tok_spectrum_desi    desi_spectrum        spectrum     7781       SPECTRUM      desi
tok_spectrum_sdss    sdss_spectrum        spectrum     None       SPECTRUM      sdss
tok_flux_g           legacy_flux_g        scalar       -          nmgy          legacy
tok_flux_r           legacy_flux_r        scalar       -          nmgy          legacy
tok_flux_i           legacy_flux_i        scalar       -          nmgy          legacy
tok_flux_z           legacy_flux_z        scalar       -          nmgy          legacy
tok_flux_w1          legacy_flux_w1       scalar       -          nmgy          legacy
tok_flux_w2          legacy_flux_w2       scalar       -          nmgy          legacy
tok_flux_w3          legacy_flux_w3       scalar       -          nmgy          legacy
tok_flux_w4          legacy_flux_w4       scalar       -          nmgy          legacy
tok_shape_r          legacy_shape_r       scalar       -          arcsec        legacy
tok_shape_e1         legacy_shape_e1      scalar       -          -             legacy
tok_shape_e2         legacy_shape_e2      scalar       -          -             legacy
tok_ebv              legacy_ebv           scalar       -          mag           legacy
tok_z                redshift             scalar       -          -             any
tok_a_g              hsc_a_g              scalar       -          mag           hsc
tok_a_r              hsc_a_r              scalar       -          mag           hsc
tok_a_i              hsc_a_i              scalar       -          mag           hsc
tok_a_z              hsc_a_z              scalar       -          mag           hsc
tok_a_y              hsc_a_y              scalar       -          mag           hsc
tok_mag_g            hsc_mag_g            scalar       -          mag(AB)       hsc
tok_mag_r            hsc_mag_r            scalar       -          mag(AB)       hsc
tok_mag_i            hsc_mag_i            scalar       -          mag(AB)       hsc
tok_mag_z            hsc_mag_z            scalar       -          mag(AB)       hsc
tok_mag_y            hsc_mag_y            scalar       -          mag(AB)       hsc
tok_shape11          hsc_shape_11         scalar       -          arcsec2       hsc
tok_shape22          hsc_shape_22         scalar       -          arcsec2       hsc
tok_shape12          hsc_shape_12         scalar       -          arcsec2       hsc
tok_flux_g_gaia      gaia_flux_g          scalar       -          electron/s    gaia
tok_flux_bp_gaia     gaia_flux_bp         scalar       -          electron/s    gaia
tok_flux_rp_gaia     gaia_flux_rp         scalar       -          electron/s    gaia
tok_parallax         gaia_parallax        scalar       -          mas           gaia
tok_ra               ra                   scalar       -          deg           any
tok_dec              dec                  scalar       -          deg           any
tok_xp_bp            gaia_xp_bp           coefficients 55         electron/s    gaia
tok_xp_rp            gaia_xp_rp           coefficients 55         electron/s    gaia
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def test_there_are_forty():
    assert len(ROWS) == 40
    assert set(MODALITIES) == {row[1] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_row_is_that_of_the_specification(row):
    key, name, kind, shape, unit, survey = row
    modality = MODALITIES[name]
    sizes = () if shape == "-" else shape.split(",")
    expected = tuple(None if n == "None" else int(n) for n in sizes)
    units = {"-": "", "SPECTRUM": SPECTRUM, "electron/s": "electron / s"}
    assert modality.name == name
    assert modality.official_key == key
    assert modality.kind == Kind(kind)
    assert modality.shape == expected
    assert modality.unit == units.get(unit, unit)
    assert modality.survey == survey
    assert modality.description


def test_units_are_astropy_spelling():
    import astropy.units as u

    with u.add_enabled_units([u.nmgy]):
        for modality in MODALITIES.values():
            u.Unit(modality.unit or u.dimensionless_unscaled)


def test_modalities_cannot_be_changed():
    with pytest.raises(TypeError):
        MODALITIES["redshift"] = None  # pyright: ignore
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODALITIES["redshift"].unit = "m"  # pyright: ignore


@pytest.mark.parametrize("name", MODALITIES)
def test_dict_round_trip(name):
    assert modality_from_dict(MODALITIES[name].to_dict()) == MODALITIES[name]


def test_own_modality_from_a_plain_dict():
    row = {"name": "sdss_mag_u", "survey": "sdss", "kind": "scalar", "unit": "mag(AB)"}
    expected = Modality("sdss_mag_u", "sdss", Kind.SCALAR, (), "mag(AB)")
    assert modality_from_dict(row) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "mag"}, "unknown modality keys"),
        ({"kind": "number"}, "kind must be one of"),
        ({"name": "Mag u"}, "lower-case"),
    ],
)
def test_wrong_rows_say_what_is_wrong(change, message):
    row = {"name": "mag_u", "survey": "sdss", "kind": "scalar"}
    with pytest.raises(ValueError, match=message):
        modality_from_dict(row | change)
