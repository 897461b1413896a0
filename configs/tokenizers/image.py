# SPDX-License-Identifier: MIT
"""Our image codec, trained on mock images of known and of fictional cameras.

Command:

    aion train --config=configs/tokenizers/image.py:nano --workdir=runs/image

`nano` is sized for one CPU core and 100 minutes. `aion1` has the width and the batch
that AION-1's codec was trained with, for accelerators; nobody has run it yet.
`official` is AION-1's own network at the release's sizes, for real bands, which
`aion_tokenizers.official.export_official` writes for the PyTorch package.

Arguments: `nano`, `aion1` or `official`; `steps=N` the length; `start=FOLDER` a codec
to go on from, or a bundle, such as `start=nano`, with a twelfth of the rate; `crop=N`
the pixels of a square that is trained on; `quantizer=vq` or `lfq`, whose codes are not
settled or searched; `levels=8-8-8-8` those of FSQ, whose product is the number of codes
of any quantizer (20,480 by default of FSQ, 4,096 of the others);
`fit=N` trains the decoder of the codec in `start` and nothing else, on refined latents
of the squares in N batches (`aion_tokenizers.image_fit`), and with `axes=1` gives its
codes an axis more; `encoder=N` trains its encoder and nothing else
(`aion_tokenizers.image_encoder`), with N new blocks; `fit` and `encoder` have rates and
lengths of their own; `seed=N` other objects;
`bands=without`: no image has HSC's y; `bands=with`: one in five is by the camera number
7, which nobody has built (tests/benchmarks/unseen_bands.py compares the two).

The runs that the codec of the nano bundle comes from are listed in
tokenizers/experiments.md. A run from nothing has all of its layers from its first step.
"""

from aion.config import option, parse_arg

SIZES = {
    "nano": {
        "network": {"width": 96, "encoder_blocks": 6, "decoder_blocks": 4},
        "batch": 24,
        "parts": 9,
        "steps": 8500,
        "learning_rate": 5e-3,
    },
    "aion1": {
        "network": {"width": 512, "encoder_blocks": 12, "decoder_blocks": 12},
        "batch": 256,
        "parts": 1,
        "steps": 400_000,
        "learning_rate": 5e-4,
    },
    "official": {
        "network": {
            "quantizer_levels": (7, 5, 5, 5, 5),
            "hidden_dims": 512,
            "multisurvey_projection_dims": 54,
            "n_compressions": 2,
            "num_consecutive": 4,
            "embedding_dim": 5,
        },
        "batch": 256,
        "parts": 1,
        "steps": 400_000,
        "learning_rate": 2e-4,
    },
}


BANDS = ("all", "without", "with")

IN_FITS = {"fictional_image": 1.5, "hsc_image": 2.0}
"""Factors of weights: HSC's images are the deepest, and the hardest to draw; with them
half of the images are still of fictional cameras."""


def sources(bands):
    """Half of the images are of cameras that nobody has built."""
    chosen = [
        ("fiction", "fictional_image", 2.0, {}),
        ("mock_images", "legacy_image", 1.0, {"camera": "legacy"}),
        ("mock_images", "hsc_image", 1.0, {"camera": "hsc"}),
    ]
    if bands == "real":
        chosen = chosen[1:]
    if bands == "without":
        chosen[-1][3]["without"] = ("HSC-Y",)
    if bands == "with":
        chosen.append(("fiction", "fictional_image", 1.0, {"camera": 7}))
    return tuple(
        {
            "kind": kind,
            "modality": modality,
            "weight": weight,
            "settings": {"sample": "imaging", **settings},
        }
        for kind, modality, weight, settings in chosen
    )


def codec(chosen, args):
    """The codec's part: its word, its network and how it is trained."""
    if args["size"] == "official":
        network = chosen["network"]
        return {
            "word": "official_image",
            "network": network,
            "start": args["start"],
            "crop": 96,
        }
    fsq = args["quantizer"] == "fsq"
    levels = args["levels"] or ("8-8-8-8-5" if fsq else "8-8-8-8")
    network = {
        "patch": 4,
        "margin": 2,
        "quantizer": args["quantizer"],
        "levels": tuple(map(int, levels.split("-"))),
        "refine": 240 if fsq else 20,
        "settle": 16 if fsq else 0,
        "search": 1 if fsq else 0,
    }
    return {
        "word": "image",
        "network": network | chosen["network"],
        "start": args["start"],
        "crop": args["crop"],
        "windows": 3,
        "aim": 0.7,
        "drop": 0.4,
        "calibration": 0.03,
        "refined_scores": False,
    }


def fit(config, batches):
    """The configuration for fitting the decoder to refined latents instead."""
    visits = 50  # with 220, validation was best after the first half of them
    config["codec"] |= {
        "pool": batches,
        "kept": 40,
        "visits": visits,
        "moves": 2,
        "step": 0.01,
        "drop": 0.2,
        "refined_scores": True,
    }
    steps = config["train"]["steps"] or batches * visits
    # Codes of these are sought twice each, some seconds a time.
    config["data"] |= {"batch": 96, "validation": 24}
    for source in config["data"]["sources"]:
        source["weight"] *= IN_FITS.get(source["modality"], 1.0)
    config["optimizer"] |= {
        "kind": "adamw",
        "learning_rate": 7e-5,
        "warmup": 0.02,
        "weight_decay": 0.0,
        "clip": 0.0,
    }
    config["train"] |= {
        "steps": steps,
        "accumulate": 5 if config["train"]["accumulate"] > 1 else 1,
        "evaluate_every": steps,
        "checkpoint_every": -(-steps // 8),
    }
    return config


def encoder(config, added):
    """The configuration for training the encoder alone instead."""
    config["codec"]["added"] = added
    # The decoder must not decay.
    config["optimizer"] |= {"learning_rate": 2e-3, "weight_decay": 0.0}
    config["train"]["steps"] = config["train"]["steps"] or 2500
    return config


def get_config(arg=None):
    """The configuration; `arg` is "nano,steps=4000,crop=48"."""
    from ml_collections import ConfigDict

    args = parse_arg(
        arg,
        size="nano",
        steps=0,
        crop=32,
        quantizer="fsq",
        levels="",
        bands="all",
        start="",
        fit=0,
        axes=0,
        encoder=-1,
        seed=0,
    )
    chosen = option(SIZES, "size", args["size"])
    bands = option(BANDS, "bands", args["bands"])
    bands = "real" if args["size"] == "official" else bands
    alone = args["fit"] or args["encoder"] >= 0  # these have lengths of their own
    config = {
        "codec": codec(chosen, args),
        "data": {
            "sources": sources(bands),
            "batch": chosen["batch"],
            "stay": 8,
            "validation": 96,
            "seed": args["seed"],
        },
        "optimizer": {
            "kind": "muon",
            "learning_rate": chosen["learning_rate"] * (0.08 if args["start"] else 1),
            "warmup": 0.03,
            "beta2": 0.99,
            "weight_decay": 0.01,
        },
        "train": {
            "steps": args["steps"] or (0 if alone else chosen["steps"]),
            "seed": 0,
            "accumulate": chosen["parts"],
            "log_every": 50,
            "evaluate_every": 500,
            "checkpoint_every": 500,
        },
        "mesh": {"replica": 1, "fsdp": -1, "tensor": 1},
        "guard": {"fraction": 0.1, "armed": 500},
    }
    if args["axes"]:  # which only a fit knows
        config["codec"]["axes"] = args["axes"]
    if args["fit"]:
        config = fit(config, args["fit"])
    if args["encoder"] >= 0:
        config = encoder(config, args["encoder"])
    return ConfigDict(config)
