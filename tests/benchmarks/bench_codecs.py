# SPDX-License-Identifier: MIT
# pyright: reportMissingImports=false, reportCallIssue=false
"""AION-1's codecs at their release sizes, ours against PyTorch's, in one run.

    python tests/benchmarks/bench_codecs.py --peer PYTHON [--cases image spectrum]

PYTHON is the interpreter of an environment with torch and polymathic-aion. Both sides
have random weights and run in processes of their own, which take turns call by call, so
that whatever else the machine does slows both. Printed per case: objects per second by
wall clock and per second of CPU, each the median over the rounds, and ours / PyTorch's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

BATCH = 16
LEGACY = ["DES-G", "DES-R", "DES-I", "DES-Z"]
IMAGE = dict(
    quantizer_levels=[7, 5, 5, 5, 5],
    hidden_dims=512,
    multisurvey_projection_dims=54,
    n_compressions=2,
    num_consecutive=4,
    embedding_dim=5,
)
SPECTRUM = dict(
    encoder_depths=[3, 3, 27, 3],
    encoder_dims=[64, 128, 256, 512],
    decoder_depths=[3, 9, 3, 3],
    decoder_dims=[256, 128, 64, 2],
    latent_channels=512,
    embedding_dim=10,
)
FIELD = dict(encoder_output_dim=512, embedding_dim=4)
SCALARS = [f"FLUX_{b}" for b in ("G", "R", "I", "Z", "W1", "W2", "W3", "W4")]
MULTI = dict(
    compression_fns=["arcsinh", "arcsinh"],
    decompression_fns=["sinh", "sinh"],
    codebook_size=1024,
    reservoir_size=2000,
    num_quantizers=55,
)
CASES = ("image", "spectrum", "field", "scalars")


def inputs(case):
    """The same arrays on both sides."""
    rng = np.random.default_rng(0)
    if case == "image":
        return {"flux": rng.standard_normal((BATCH, 4, 96, 96), np.float32)}
    if case == "field":
        return {"field": rng.random((BATCH, 96, 96), np.float32)}
    if case == "spectrum":
        shape = (BATCH, 7781)
        return {
            "flux": rng.standard_normal(shape, np.float32) + 3,
            "ivar": rng.random(shape, np.float32),
            "mask": rng.random(shape) < 0.01,
            "wavelength": np.float32(3600 + 0.8 * np.arange(7781)),
        }
    return {
        "one": np.exp(rng.standard_normal((BATCH, 34))).astype(np.float32),
        "xp": rng.standard_normal((2, BATCH, 55), np.float32),
    }


def theirs(case):
    """PyTorch's encode and decode, without arguments."""
    import torch

    from aion import modalities as M
    from aion.codecs.image import ImageCodec
    from aion.codecs.scalar import LogScalarCodec, MultiScalarCodec
    from aion.codecs.scalar_field import ScalarFieldCodec
    from aion.codecs.spectrum import SpectrumCodec

    torch.set_num_threads(2)
    torch.manual_seed(0)
    torch.inference_mode().__enter__()
    x = {k: torch.tensor(v) for k, v in inputs(case).items()}
    if case == "image":
        codec = ImageCodec(**IMAGE).eval()

        def encode():
            image = M.LegacySurveyImage(flux=x["flux"].clone(), bands=LEGACY)
            return codec.encode(image)

        codes = encode()
        return encode, lambda: codec.decode(codes, bands=LEGACY)
    if case == "field":
        codec = ScalarFieldCodec(**FIELD).eval()

        def encode():
            return codec.encode(M.LegacySurveySegmentationMap(field=x["field"]))

        codes = encode()
        return encode, lambda: codec.decode(codes)
    if case == "spectrum":
        codec = SpectrumCodec(**SPECTRUM).eval()
        wavelength = x["wavelength"].repeat(BATCH, 1)
        rows = {k: x[k] for k in ("flux", "ivar", "mask")}

        def encode():
            return codec.encode(M.DESISpectrum(**rows, wavelength=wavelength))

        codes = encode()
        return encode, lambda: codec.decode(codes, wavelength=wavelength)
    ones = [LogScalarCodec(SCALARS[n % 8], 1024, 2000, -3) for n in range(34)]
    xps = [MultiScalarCodec("bp_coefficients", **MULTI) for _ in range(2)]
    for codec in ones:
        codec.quantizer(torch.exp(torch.randn(2000)))
    for codec in xps:
        codec.quantizer(torch.randn(2000, 55))
    given = [c.modality(value=x["one"][:, n]) for n, c in enumerate(ones)]
    given += [c.modality(value=x["xp"][n]) for n, c in enumerate(xps)]
    both = [*zip([*ones, *xps], given, strict=True)]
    codes = [c.encode(v) for c, v in both]
    every = [*zip([*ones, *xps], codes, strict=True)]
    return (
        lambda: [c.encode(v) for c, v in both],
        lambda: [c.decode(v) for c, v in every],
    )


def ours(case):
    """Our encode and decode, without arguments."""
    from flax import nnx

    from aion.observation import Coefficients, Field, Image, Scalar, Spectrum
    from aion_tokenizers.official_field import FieldConfig, FieldNetwork, OfficialField
    from aion_tokenizers.official_image import ImageConfig, OfficialImage
    from aion_tokenizers.official_scalar import (
        OfficialCoefficients,
        OfficialScalar,
        ScalarSet,
    )
    from aion_tokenizers.official_spectrum import OfficialSpectrum, SpectrumConfig

    x, rngs = inputs(case), nnx.Rngs(0)
    tuples = {k: tuple(v) for k, v in SPECTRUM.items() if isinstance(v, list)}
    if case == "image":
        config = ImageConfig()
        codec = OfficialImage(config, config.network(rngs))
        image = Image.from_bands(x["flux"], LEGACY)
        codes = codec.encode(image)
        return lambda: codec.encode(image), lambda: codec.decode(codes, bands=LEGACY)
    if case == "field":
        config = FieldConfig(**FIELD)
        codec = OfficialField(config, FieldNetwork(config, rngs), {})
        field = Field(x["field"])
        codes = codec.encode(field)
        return lambda: codec.encode(field), lambda: codec.decode(codes)
    if case == "spectrum":
        config = SpectrumConfig(**(SPECTRUM | tuples))
        codec = OfficialSpectrum(config, config.network(rngs), config.constants())
        spectrum = Spectrum(x["flux"], x["ivar"], ~x["mask"], x["wavelength"])
        codes = codec.encode(spectrum)
        return (
            lambda: codec.encode(spectrum),
            lambda: codec.decode(codes, wavelength=x["wavelength"]),
        )
    rng = np.random.default_rng(1)
    codecs, given = {}, {}
    for n in range(34):
        edges = np.sort(rng.standard_normal(1024)).astype(np.float32)
        arrays = {"_quantizer._index_to_val": edges}
        config = {"modality": SCALARS[n % 8], "min_log_value": -3.0}
        codecs[f"s{n}"] = OfficialScalar(config, arrays)
        given[f"s{n}"] = Scalar(x["one"][:, n])
    for n in range(2):
        name = "_quantizer.quantizers.{}._index_to_val"
        books = np.sort(rng.standard_normal((55, 1024))).astype(np.float32)
        arrays = {name.format(k): book for k, book in enumerate(books)}
        codecs[f"xp{n}"] = OfficialCoefficients(MULTI, arrays)
        given[f"xp{n}"] = Coefficients(x["xp"][n])
    together = ScalarSet(codecs)
    codes = together.encode(given)
    return (
        lambda: together.encode(given),
        lambda: [codec.decode(codes[name]) for name, codec in codecs.items()],
    )


def work(side):
    """Answers "case part seconds" with [calls, wall seconds, CPU seconds]."""
    made = {}
    for line in sys.stdin:
        case, part, least = line.split()
        if case not in made:
            made.clear()
            made[case] = {"theirs": theirs, "ours": ours}[side](case)
            for call in made[case]:
                call()
        call, calls = made[case][("encode", "decode").index(part)], 0
        wall, cpu = time.perf_counter(), time.process_time()
        while not calls or time.perf_counter() - wall < float(least):
            call()
            calls += 1
        spent = [time.perf_counter() - wall, time.process_time() - cpu]
        sys.stdout.write(json.dumps([calls, *spent]) + "\n")
        sys.stdout.flush()


def main(peer, cases, rounds):
    """Both sides in turn, and a line per case."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    commands = {"ours": sys.executable, "theirs": peer}
    sides = {
        side: subprocess.Popen([python, __file__, "--worker", side], **pipes)
        for side, python in commands.items()
    }
    sys.stdout.write(
        f"{'batch of ' + str(BATCH):18}{'ours/s':>9}{'torch/s':>9}{'ratio':>7}"
        f"{'ours/cpu s':>12}{'torch/cpu s':>12}{'ratio':>7}\n"
    )
    for case in cases:
        for part in ("encode", "decode"):
            rates = {side: ([], []) for side in sides}
            for _ in range(rounds + 1):  # the first one warms up
                for side, process in sides.items():
                    process.stdin.write(f"{case} {part} 0.3\n")
                    process.stdin.flush()
                    calls, *spent = json.loads(process.stdout.readline())
                    for row, seconds in zip(rates[side], spent, strict=True):
                        row.append(BATCH * calls / seconds)
            text = f"{case + ' ' + part:18}"
            for place, width in ((0, 9), (1, 12)):
                a, b = (
                    statistics.median(rates[s][place][1:]) for s in ("ours", "theirs")
                )
                text += f"{a:>{width}.2f}{b:>{width}.2f}{a / b:7.2f}"
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
    for process in sides.values():
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer")
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=["ours", "theirs"])
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
    else:
        main(given.peer, given.cases, given.rounds)
