# SPDX-License-Identifier: MIT
"""The nano bundle: codecs of all forty modalities, and the mock sky in their tokens.

Commands, after the three trainings of this folder:

    aion tokenize --config=configs/tokenizers/nano.py --workdir=runs/nano --codecs-only
    aion tokenize --config=configs/tokenizers/nano.py --workdir=runs/nano --workers=2

The first makes the bundle that is shipped as "nano"; its scores are in
tokenizers/README.md. With --config=configs/tokenizers/nano.py:bundle=nano nothing has
to be trained, and `data.source` may name your own files.

Arguments: `runs=FOLDER` holds the trainings, `objects=N` of the sky that is tokenized,
`bundle=NAME` a bundle that exists, a folder or "nano".
"""

from aion.config import parse_arg

TRAINED = {
    "image": ("legacy_image", "hsc_image"),
    "spectrum": ("desi_spectrum", "sdss_spectrum"),
    "field": ("legacy_segmentation",),
}


def fitted():
    """Rows of all modalities that need no training."""
    from aion import MODALITIES

    special = {
        "redshift": {"word": "coarse_fine"},
        "legacy_catalog": {"word": "objects", "size": 160},
    }
    trained = {name for names in TRAINED.values() for name in names}
    rows = []
    for modality in MODALITIES.values():
        if modality.name in trained:
            continue
        flux = "flux" in modality.name
        asinh = {"word": "empirical", "compression": "asinh", "scale": 0.1}
        codec = special.get(modality.name, asinh if flux else None)
        rows.append({"name": modality.name} | ({"codec": codec} if codec else {}))
    return tuple(rows)


def get_config(arg=None):
    """The configuration; `arg` is "objects=20000,bundle=nano"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, runs="runs", objects=20_000, bundle="")
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
