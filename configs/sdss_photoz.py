# SPDX-License-Identifier: MIT
"""Photometric redshifts, classes and u magnitudes of SDSS objects, with posteriors.

Command, on a catalogue of your own:

    aion quickstart --config=configs/sdss_photoz.py --catalog=FILE --workdir=runs/sdss

The file (CSV, Parquet, FITS, VOTable) has the columns ra, dec, u, g, r, i, z, redshift,
class, plate, mjd, fiberid. SkyServer (CasJobs, DR17) gives it with

    SELECT TOP 7000 p.objid, p.ra, p.dec,
      p.modelMag_u AS u, p.modelMag_g AS g, p.modelMag_r AS r,
      p.modelMag_i AS i, p.modelMag_z AS z,
      s.class, s.z AS redshift, s.plate, s.mjd, s.fiberid
    FROM PhotoObj AS p JOIN SpecObj AS s ON s.bestobjid = p.objid
    WHERE s.zWarning = 0 AND p.u BETWEEN 0 AND 19.6

Without --catalog the same job runs on a built-in synthetic catalogue.

Arguments: `fold=K,folds=N` choose the test cells, `steps=N` the length.
"""

from aion.config import parse_arg

BANDS = ("u", "g", "r", "i", "z")
PAIRS = ("ug", "gr", "ri", "iz")
MAGNITUDES = tuple(f"sdss_mag_{band}" for band in BANDS)
COLOURS = tuple(f"sdss_color_{pair}" for pair in PAIRS)
GRIZ = (*MAGNITUDES[1:], *COLOURS[1:])


def modalities():
    """Rows of the modality table that this job adds or uses, as plain dicts."""
    magnitudes = [
        {
            "name": f"sdss_mag_{band}",
            "survey": "sdss",
            "kind": "scalar",
            "unit": "mag(AB)",
            "column": band,
            "codec": {"word": "empirical", "bins": 256},
            "jitter": 0.02,
        }
        for band in BANDS
    ]
    colours = [
        {
            "name": f"sdss_color_{a}{b}",
            "survey": "sdss",
            "difference": (f"sdss_mag_{a}", f"sdss_mag_{b}"),
            "codec": {"word": "empirical", "bins": 256},
        }
        for a, b in PAIRS
    ]
    return (
        *magnitudes,
        *colours,
        {"name": "redshift", "column": "redshift"},
        {
            "name": "object_class",
            "survey": "sdss",
            "kind": "category",
            "column": "class",
            "codec": {"word": "categories", "labels": ("STAR", "GALAXY", "QSO")},
        },
        {"name": "ra", "column": "ra"},
        {"name": "dec", "column": "dec"},
    )


def requests():
    """What is trained directly, and how often; named in the report of a run."""
    photometry = (*MAGNITUDES, *COLOURS)
    return (
        {
            "name": "photometry -> redshift, class",
            "given": photometry,
            "asked": ("redshift", "object_class"),
            "weight": 4,
        },
        {
            "name": "photometry of a known class -> redshift",
            "given": (*photometry, "object_class"),
            "asked": ("redshift",),
            "weight": 4,
        },
        {"name": "griz -> u", "given": GRIZ, "asked": ("sdss_mag_u",)},
    )


def questions():
    """What is asked of held-out objects, without ra and dec: plates lie in stripes."""
    photometry = (*MAGNITUDES, *COLOURS)
    galaxies = {"object_class": "GALAXY"}
    return (
        {
            "name": "redshift",
            "given": photometry,
            "asked": "redshift",
            "where": galaxies,
        },
        {
            "name": "redshift, class known",
            "given": (*photometry, "object_class"),
            "asked": "redshift",
            "where": galaxies,
        },
        {"name": "class", "given": photometry, "asked": "object_class"},
        {"name": "u", "given": GRIZ, "asked": "sdss_mag_u"},
    )


def get_config(arg=None):
    """The configuration; `arg` is "fold=0,folds=5,steps=2400"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, fold=0, folds=5, steps=2400)
    return ConfigDict(
        {
            "data": {
                "modalities": modalities(),
                "object_id": ("plate", "mjd", "fiberid"),
                "ra": "ra",
                "dec": "dec",
                "copies": 16,
                "seed": 0,
                "split": {
                    "nside": 16,
                    "folds": args["folds"],
                    "fold": args["fold"],
                    "validation": 0.05,
                },
            },
            "model": {"size": "nano", "dropout": 0.1},
            "mask": {"policy": "whole", "named": 0.9},
            "requests": requests(),
            "budgets": ({"inputs": 14, "targets": 4, "batch": 128},),
            "weight_exponent": 1.0,
            "optimizer": {"learning_rate": 4e-3, "warmup": 0.05, "free_rows": 0.1},
            "train": {
                "steps": args["steps"],
                "seed": 0,
                "evaluate_every": 400,
                "checkpoint_every": 400,
            },
            "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
            "evaluate": {"requests": questions()},
        }
    )
