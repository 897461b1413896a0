# SPDX-License-Identifier: MIT
"""The label sets: PROVABGS galaxy properties and Galaxy10 morphologies."""

from aion.layouts.layout import Column, Layout, floats, placed

PROVABGS = Layout(
    name="desi_provabgs",
    survey="desi",
    folder="datafiles",
    suffix=".h5",
    columns=(
        Column("object_id", "<i8"),
        *placed(),
        Column("TARGETID", "<i8", copy="object_id"),
        Column("PROVABGS_MCMC", "<f8", (100, 13)),
        Column("PROVABGS_THETA_BF", "<f8", (13,)),
        Column("PROVABGS_LOGMSTAR_BF", "<f8", unit="dex(solMass)"),
        Column("Z_MW", "<f8"),
        Column("TAGE_MW", "<f8", unit="Gyr"),
        Column("AVG_SFR", "<f8", unit="solMass / yr"),
        *floats(["Z_HP", "ZERR"], dtype="<f8"),
        *floats(
            ["MAG_G", "MAG_R", "MAG_Z", "MAG_W1", "FIBMAG_R"], "mag(AB)", dtype="<f4"
        ),
        Column("TSNR2_BGS", "<f4", fill=0.0),
        Column("HPIX_64", "<i8", fill=0),
        Column("PROVABGS_Z_MAX", "<f8", fill=0.6),
        Column("SCHLEGEL_COLOR", "<f4", fill=0.0),
        Column("PROVABGS_W_ZFAIL", "<f8", fill=1.0),
        Column("PROVABGS_W_FIBASSIGN", "<f8", fill=1.0),
        Column("IS_BGS_BRIGHT", "|b1", fill=True),
        Column("IS_BGS_FAINT", "|b1", fill=False),
    ),
    signature=("PROVABGS_MCMC",),
    epoch=2021.5,
    hats_name="mmu_desi_provabgs",
)
"""Posteriors of stellar mass, age, metallicity and star formation of DESI galaxies."""

GZ10 = Layout(
    name="gz10",
    survey="legacy",
    folder="datafiles",
    suffix=".h5",
    columns=(
        Column("ans", "|u1"),
        *placed(),
        Column("images", "|u1", (256, 256, 3)),
        Column("pxscale", "<f8", unit="arcsec", fill=0.262),
        Column("redshift", "<f8"),
        Column("object_id", "<i8"),
    ),
    signature=("images", "ans"),
    epoch=2017.5,
    hats_name="mmu_gz10",
)
"""Galaxy10 DECaLS: ten morphological classes. Its ids are row numbers of that set."""
