# SPDX-License-Identifier: MIT
"""The nano bundle: codecs of all forty modalities, and the mock sky in their tokens.

Commands, after the three trainings of this folder:

    aion tokenize --config=configs/tokenizers/nano.py --workdir=runs/nano --codecs-only
    aion tokenize --config=configs/tokenizers/nano.py --workdir=runs/nano --workers=2

The first makes the bundle that is shipped as "nano"; its scores are in
tokenizers/README.md. With --config=configs/tokenizers/nano.py:bundle=nano nothing has
to be trained, and `data.source` may name your own files.

Arguments: `runs=FOLDER` holds the trainings, `objects=N` of the sky that is tokenized,
`bundle=NAME` a bundle that exists, a folder or "nano"; `effort=quick` or `least` seeks
codes of images and spectra for a shorter while than `full`, which is as codecs are
saved. All of them decode; tokenizers/README.md has errors and costs. With `quick` other
numbers may be given, --config.data.refinement.image="(120,8)".
"""

from aion.config import option, parse_arg

TRAINED = {
    "image": ("legacy_image", "hsc_image"),
    "spectrum": ("desi_spectrum", "sdss_spectrum"),
    "field": ("legacy_segmentation",),
}


FLUXES = (
    *(f"legacy_flux_{band}" for band in ("g", "r", "i", "z", "w1", "w2", "w3", "w4")),
    *(f"gaia_flux_{band}" for band in ("g", "bp", "rp")),
)
NUMBERS = (
    "legacy_shape_r",
    "legacy_shape_e1",
    "legacy_shape_e2",
    "legacy_ebv",
    *(f"hsc_a_{band}" for band in "grizy"),
    *(f"hsc_mag_{band}" for band in "grizy"),
    "hsc_shape_11",
    "hsc_shape_22",
    "hsc_shape_12",
    "gaia_parallax",
    "ra",
    "dec",
    "gaia_xp_bp",
    "gaia_xp_rp",
)


def fitted():
    """Rows of all modalities that need no training."""
    asinh = {"word": "empirical", "compression": "asinh", "scale": 0.1}
    return (
        {"name": "legacy_catalog", "codec": {"word": "objects", "size": 160}},
        {"name": "redshift", "codec": {"word": "coarse_fine"}},
        *({"name": name, "codec": asinh} for name in FLUXES),
        *({"name": name} for name in NUMBERS),
    )


EFFORTS = {
    "full": {},
    "quick": {"image": (60, 4), "spectrum": (10,)},
    "least": {"image": (0,), "spectrum": (0,)},
}
"""Steps of descent; of images also turns in which codes are settled after them, of
either at last passes of a search, see `with_refinement` of the codecs."""


def get_config(arg=None):
    """The configuration; `arg` is "objects=20000,bundle=nano"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, runs="runs", objects=20_000, bundle="", effort="full")
    return ConfigDict(
        {
            "data": {
                "source": {
                    "kind": "mock",
                    "settings": {
                        "objects": args["objects"],
                        "size": 160,
                        "everywhere": True,
                    },
                },
                "bundle": args["bundle"],
                "refinement": option(EFFORTS, "effort", args["effort"]),
                "trained": tuple(
                    {
                        "name": word,
                        "folder": f"{args['runs']}/{word}/best",
                        "modalities": names,
                    }
                    for word, names in TRAINED.items()
                ),
                "fitted": fitted(),
                "objects": 20_000,
            }
        }
    )
