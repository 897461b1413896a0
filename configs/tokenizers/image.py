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
the pixels of a square that is trained on; `quantizer=vq` (or lfq, with as many codes);
`levels=8-8-8-8` those of FSQ (their product is the number of codes of any quantizer);
`fit=N` trains the decoder of the codec in `start` and nothing else, on refined latents
of the squares in N batches (`aion_tokenizers.image_fit`), and with `axes=1` gives its
codes an axis more; `encoder=N` trains its encoder and nothing else
(`aion_tokenizers.image_encoder`), of whose blocks N are new; `seed=N` other objects;
`bands=without`: no image has HSC's y; `bands=with`: one in five is by the camera number
7, which nobody has built (tests/benchmarks/unseen_bands.py compares the two).

The codec of the nano bundle went on from its first 8,500 steps for 4,500 more
(`image.py:nano,start=runs/image/best,steps=4500`, 54 minutes). Then it got the layer of
`aion_tokenizers.starlets`, with shares fitted to 120 bright squares while their latents
were free, and 3,400 steps; from the mean of the weights before and after those it went
on for 5,000 at a rate of 2e-3 with `aion_tokenizers.point_spread` (48 minutes). At last
its decoder alone was trained on refined latents: on 280, 800 and 600 squares by the
script that `fit` was at first (32 minutes), then with `fit=60,seed=1` and 220 visits
(the step 6,600 of 13,200 was the best; 36 minutes), and from there with
`fit=80,seed=2,steps=2400` (12 minutes). Until then its encoder had two blocks; with
`encoder=4` it got four more and was trained alone (the step 2,000 of 2,500 was the
best; 31 minutes). When `aion_tokenizers.point_spread` laid Moffats instead of Gaussians
over a scene that is drawn without any PSF, the decoder was fitted anew: `fit=80,seed=5`
at a rate of 4e-4 (30 visits), `fit=120,seed=6` at 3e-4 and `fit=120,seed=8` at 2.5e-4
(40 visits; 63 minutes in all, other work beside; what describes bands was fitted too in
the first two), with `encoder=0` before and after the last (1,300 and 1,300 steps, then
1,000; 43 minutes). Then came the wings of PSFs and a fifth axis of codes: its decoder
once more, validated without refined codes, `fit=120,axes=1,seed=11` at 4e-4 and
`fit=140,seed=12` at 3e-4 (4,800 and 5,600 steps; 24 minutes), then its encoder
(`encoder=0`, 1,200 and 1,000 steps; 16 minutes), and, when images went on beyond their
edges, the decoder again (`fit=100,seed=14` at 3e-4, 4,000 steps; 9 minutes). Then it
got the matrices by what a band covers (`aion_tokenizers.mixing`): `fit=90,seed=17` at
1.2e-4 (3,600 steps; 23 minutes, with smaller steps of latents, which since then are in
this file). With one sharpening for all bands, which began at shares of 1.6, .25, .01
and .008, and a margin that is drawn, came `fit=110,seed=22` at 1e-4 (3,300
steps; then, with `codec.visits=80`, to 4,700 of 8,500 and from there to the end of
6,000, with the rates of as many steps; 45 minutes on a slow machine) and `encoder=0`
(800 steps). Then came `fit=110,seed=31` at 8e-5 with 60 visits and one move of latents
at each (46 minutes), and from there `fit=80,seed=32` with two moves (41 minutes). In
these two three squares of four were of fictional cameras. The last were
`fit=44,seed=34` and `fit=32,seed=35` at 8e-5 with 26 visits (1,144 and 832 steps; 14
and 11 minutes), of which only the latter had zero points that are off. A run from
nothing has these layers and blocks from its first step; the longest one so far was of
3,600 steps and a fit, with two blocks and the former layer.
"""

from aion.config import parse_arg

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
    config["data"] |= {"batch": 96, "validation": 32}
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
    chosen = SIZES[args["size"]]
    bands = "real" if args["size"] == "official" else args["bands"]
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
            "steps": args["steps"] or (0 if args["fit"] else chosen["steps"]),
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
