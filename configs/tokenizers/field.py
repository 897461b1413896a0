# SPDX-License-Identifier: MIT
"""Our field codec, trained on mock segmentation maps of the Legacy Surveys.

Command:

    aion train --config=configs/tokenizers/field.py:nano --workdir=runs/field

`nano` is sized for one CPU core and half an hour. `aion1` has the batch and the length
that AION-1's codec was trained with, for accelerators; nobody has run it yet.

Measured for `nano`: an intersection over union of .958, the mean over test maps.

Arguments: `nano` or `aion1`, `steps=N` the length, `start=FOLDER` a codec
to go on from.
"""

from aion.config import option, parse_arg

SIZES = {
    "nano": {
        "network": {"width": 128, "encoder_blocks": 2, "decoder_blocks": 4},
        "batch": 32,
        "steps": 800,
        "learning_rate": 5e-3,
    },
    "aion1": {
        "network": {"width": 256, "encoder_blocks": 4, "decoder_blocks": 8},
        "batch": 256,
        "steps": 114_000,
        "learning_rate": 1e-3,
    },
}


def get_config(arg=None):
    """The configuration; `arg` is "nano,steps=4000"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, size="nano", steps=0, start="")
    chosen = option(SIZES, "size", args["size"])
    return ConfigDict(
        {
            "codec": {
                "word": "field",
                "network": chosen["network"],
                "start": args["start"],
                "side": 96,
            },
            "data": {
                "sources": (
                    {
                        "kind": "mock",
                        "modality": "legacy_segmentation",
                        "settings": {
                            "surveys": ("legacy",),
                            "modalities": ("legacy_segmentation",),
                        },
                    },
                ),
                "batch": chosen["batch"],
                "stay": 8,
                "validation": 256,
                "seed": 0,
            },
            "optimizer": {
                "kind": "muon",
                "learning_rate": chosen["learning_rate"]
                * (0.2 if args["start"] else 1),
                "warmup": 0.03,
                "beta2": 0.99,
                "weight_decay": 0.01,
            },
            "train": {
                "steps": args["steps"] or chosen["steps"],
                "seed": 0,
                "log_every": 50,
                "evaluate_every": 200,
                "checkpoint_every": 200,
            },
            "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
            "guard": {"fraction": 0.25, "armed": 500},
        }
    )
