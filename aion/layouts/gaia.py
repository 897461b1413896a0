# SPDX-License-Identifier: MIT
"""Gaia DR3 sources with XP spectra: the columns of `gaia_source` in their own dtypes.

The set has `source_id` and no `object_id`. BP and RP coefficients of the internally
calibrated continuous representation (De Angeli et al. 2023) lie in one array: 55 BP,
then 55 RP.
"""

import itertools

from aion.layouts.layout import Column, Layout, filled, floats, optional

XP_SIZE = 55
"""Coefficients of one arm."""

NAN = float("nan")
_AXES = ("ra", "dec", "parallax", "pmra", "pmdec")
_CORRELATIONS = [f"{a}_{b}_corr" for a, b in itertools.combinations(_AXES, 2)]
_CLASSES = [f"classprob_dsc_combmod_{c}" for c in ("quasar", "galaxy", "star")]


def _photometry() -> list[Column]:
    columns = []
    for band in ("g", "bp", "rp"):
        name = f"phot_{band}_mean"
        columns += [
            Column(f"{name}_mag", "<f4", unit="mag"),
            Column(f"{name}_flux", "<f8", unit="electron / s"),
            Column(f"{name}_flux_error", "<f4", unit="electron / s"),
            *optional(Column(f"{name}_flux_over_error", "<f4")),
            *optional(Column(f"phot_{band}_n_obs", "<i2")),
        ]
    return [
        *columns,
        *floats(["phot_bp_rp_excess_factor"], dtype="<f4"),
        *floats(["bp_rp", "bp_g", "g_rp"], "mag", "<f4"),
    ]


def _astrometry() -> list[Column]:
    columns = [
        *floats(["ra", "dec"], "deg", "<f8"),
        *floats(["ra_error", "dec_error"], "mas", "<f4"),
        Column("parallax", "<f8", unit="mas"),
        Column("parallax_error", "<f4", unit="mas"),
        *optional(*floats(["parallax_over_error"], dtype="<f4")),
        *optional(*floats(["pm"], "mas / yr", "<f4")),
        *floats(["pmra", "pmdec"], "mas / yr", "<f8"),
        *floats(["pmra_error", "pmdec_error"], "mas / yr", "<f4"),
        *filled(0.0, *floats(_CORRELATIONS, dtype="<f4")),
        *optional(Column("ref_epoch", "<f8", unit="yr")),
    ]
    return columns


def _parameters() -> list[Column]:
    units = {
        "ag": "mag",
        "azero": "mag",
        "distance": "pc",
        "ebpminrp": "mag",
        "logg": "dex(cm / s2)",
        "mh": "dex",
        "teff": "K",
    }
    return [
        Column(f"{name}_gspphot{bound}", "<f4", unit=unit, fill=NAN)
        for name, unit in units.items()
        for bound in ("", "_lower", "_upper")
    ]


def _flags() -> list[Column]:
    small = ["duplicated_source", "has_xp_continuous", "in_qso_candidates"]
    return [
        Column("ruwe", "<f4", fill=1.0),
        *floats(["ecl_lat", "ecl_lon"], "deg", "<f8"),
        *optional(*floats(["l", "b"], "deg", "<f8")),
        Column("nu_eff_used_in_astrometry", "<f4", unit="1 / um", fill=NAN),
        Column("pseudocolour", "<f4", unit="1 / um", fill=NAN),
        Column("astrometric_params_solved", "|i1", fill=31),
        *optional(Column("astrometric_excess_noise", "<f4", unit="mas")),
        *optional(*floats(small, dtype="<i4")),
        *optional(Column("phot_variable_flag", "|i1")),
        *optional(*floats(_CLASSES, dtype="<f4")),
        *optional(Column("random_index", "<i8")),
        *optional(Column("solution_id", "<i8")),
    ]


GAIA = Layout(
    name="gaia",
    survey="gaia",
    folder="gaia",
    suffix=".hdf5",
    columns=(
        Column("source_id", "<i8"),
        Column("coeff", "<f4", (2 * XP_SIZE,), "electron / s"),
        Column("coeff_error", "<f4", (2 * XP_SIZE,), "electron / s"),
        *_photometry(),
        *_astrometry(),
        *filled(
            NAN,
            Column("radial_velocity", "<f4", unit="km / s"),
            Column("radial_velocity_error", "<f4", unit="km / s"),
            Column("rv_template_fe_h", "<f4", unit="dex"),
            Column("rv_template_logg", "<f4", unit="dex(cm / s2)"),
            Column("rv_template_teff", "<f4", unit="K"),
            Column("grvs_mag", "<f4", unit="mag"),
        ),
        *_parameters(),
        *_flags(),
        Column("healpix", "<i8"),
    ),
    signature=("source_id", "coeff"),
    id_column="source_id",
    epoch=2016.0,
    hats_name="mmu_gaia_gaia",
)
"""Gaia DR3 sources that have mean XP spectra."""
