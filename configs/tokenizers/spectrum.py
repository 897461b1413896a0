# SPDX-License-Identifier: MIT
"""Our spectrum codec, trained on mock spectra of DESI, SDSS and fictional instruments.

Command:

    aion train --config=configs/tokenizers/spectrum.py:nano --workdir=runs/spectrum

`nano` is sized for one CPU core and an hour. `aion1` has the batch and the length
that AION-1's codec was trained with, for accelerators; nobody has run it yet.
`official` is AION-1's own network at the release's sizes, which
`aion_tokenizers.official.export_official` writes for the PyTorch package.

Measured for `nano` on validation spectra, of the encoder's own codes: a score of .39
after 3,200 steps, and .31 after the 2,100 more that the nano bundle went on for
(`spectrum.py:nano,start=FOLDER,steps=2100,evenness=0.7`, 55 minutes). The score is the
mean over classes of S/N per pixel (below 2, 2-5, 5-10, 10-20, above 20) of the error to
the truth over .10, .10, .15, .30, .80. Test scores are in tokenizers/README.md.

Arguments: `nano`, `aion1` or `official`; `steps=N` the length; `start=FOLDER` a codec
to go on from, or a bundle, such as `start=nano`; `quantizer=fsq`, `lfq` or `vq`, with
4,096 codes each; `evenness=E`: 1 lets faint spectra count as much as bright ones.
"""

from aion.config import option, parse_arg

SIZES = {
    "nano": {
        "network": {"width": 128, "encoder_blocks": 4, "decoder_blocks": 6},
        "batch": 16,
        "steps": 3200,
        "learning_rate": 1e-2,
    },
    "aion1": {
        "network": {
            "width": 512,
            "fine": 128,
            "encoder_blocks": 8,
            "decoder_blocks": 16,
            "fine_blocks": 3,
        },
        "batch": 128,
        "steps": 215_000,
        "learning_rate": 5e-4,
    },
    "official": {"batch": 128, "steps": 215_000, "learning_rate": 2e-4},
}
OFFICIAL = {
    "lambda_min": 3500.0,
    "resolution": 0.8,
    "num_pixels": 8704,
    "encoder_depths": (3, 3, 27, 3),
    "encoder_dims": (64, 128, 256, 512),
    "decoder_depths": (3, 9, 3, 3),
    "decoder_dims": (256, 128, 64, 2),
    "latent_channels": 512,
}


def sources():
    """Faint objects of DESI, brighter ones of SDSS, and spectrographs of any kind."""
    return tuple(
        {
            "kind": "mock_spectra",
            "modality": modality,
            "weight": weight,
            "settings": {"instrument": instrument, "sample": sample},
        }
        for modality, instrument, sample, weight in (
            ("desi_spectrum", "desi", "desi", 3.0),
            ("sdss_spectrum", "sdss", "sky", 3.0),
            ("fictional_spectrum", "fiction", "sky", 2.0),
        )
    )


def codec(chosen, args):
    """The codec's part: its word and its network."""
    if args["size"] == "official":
        return {
            "word": "official_spectrum",
            "network": OFFICIAL,
            "start": args["start"],
        }
    network = {
        "quantizer": args["quantizer"],
        "levels": (8, 8, 8, 8),
        "refine": 20,
        "search": int(args["quantizer"] == "fsq"),
    }
    return {
        "word": "spectrum",
        "network": network | chosen["network"],
        "start": args["start"],
        "evenness": args["evenness"],
    }


def get_config(arg=None):
    """The configuration; `arg` is "nano,steps=6000,quantizer=fsq"."""
    from ml_collections import ConfigDict

    args = parse_arg(arg, size="nano", steps=0, quantizer="fsq", start="", evenness=1.0)
    chosen = option(SIZES, "size", args["size"])
    return ConfigDict(
        {
            "codec": codec(chosen, args),
            "data": {
                "sources": sources(),
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
                "evaluate_every": 500,
                "checkpoint_every": 500,
            },
            "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
            "guard": {"fraction": 0.25, "armed": 500},
        }
    )
