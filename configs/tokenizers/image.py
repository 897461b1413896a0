# SPDX-License-Identifier: MIT
"""Our image codec, trained on mock images of known and of fictional cameras.

Command:

    aion train --config=configs/tokenizers/image.py:nano --workdir=runs/image

`nano` is sized for one CPU core and an hour. `aion1` has the width and the batch that
AION-1's codec was trained with, for accelerators; nobody has run it yet.

Arguments: `nano` or `aion1`, `steps=N` the length, `crop=N` the pixels of a square that
is trained on.
"""

from aion.config import parse_arg

SIZES = {
    "nano": {
        "network": {"width": 96, "encoder_blocks": 2, "decoder_blocks": 4},
        "batch": 32,
        "steps": 3600,
        "learning_rate": 5e-3,
    },
    "aion1": {
        "network": {"width": 512, "encoder_blocks": 12, "decoder_blocks": 12},
        "batch": 256,
        "steps": 400_000,
        "learning_rate": 5e-4,
    },
}


def sources():
    """Half of the images are of cameras that nobody has built."""
    return tuple(
        {
            "kind": kind,
            "modality": modality,
            "weight": weight,
            "settings": {"sample": "imaging", **settings},
        }
        for kind, modality, weight, settings in (
            ("fiction", "fictional_image", 2.0, {}),
            ("mock_images", "legacy_image", 1.0, {"camera": "legacy"}),
            ("mock_images", "hsc_image", 1.0, {"camera": "hsc"}),
        )
    )


def get_config(arg=None):
    """The configuration; `arg` is "nano,steps=4000,crop=48"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, size="nano", steps=0, crop=48)
    chosen = SIZES[args["size"]]
    return ConfigDict(
        {
            "codec": {
                "word": "image",
                "network": {"patch": 4, "levels": (8, 8, 8, 8), **chosen["network"]},
                "crop": args["crop"],
            },
            "data": {
                "sources": sources(),
                "batch": chosen["batch"],
                "stay": 8,
                "validation": 96,
                "seed": 0,
            },
            "optimizer": {
                "kind": "muon",
                "learning_rate": chosen["learning_rate"],
                "warmup": 0.03,
                "beta2": 0.99,
                "weight_decay": 0.01,
            },
            "train": {
                "steps": args["steps"] or chosen["steps"],
                "seed": 0,
                "log_every": 50,
                "evaluate_every": 500,
                "checkpoint_every": 500,
            },
            "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
            "guard": {"fraction": 0.1, "armed": 500},
        }
    )
