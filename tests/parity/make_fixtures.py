# SPDX-License-Identifier: MIT
# pyright: reportMissingImports=false, reportCallIssue=false
"""Writes fixtures/: AION-1's PyTorch codecs with random weights, and what they do.

Needs an environment with torch, safetensors and polymathic-aion 0.0.2, which must not
be the one of this project: both import as `aion`. Nothing is downloaded.

    python make_fixtures.py                  # rewrites fixtures/ beside this file
    python make_fixtures.py --check FOLDER   # are codecs that we exported the same?
    python make_fixtures.py --release FOLDER # the two large codecs at release sizes

The last writes 400 MB; `AION_RELEASE_CODECS=FOLDER pytest -m slow` compares with them.

A case is a folder in AION-1's layout, `config.json` and `model.safetensors`, with
`cases.npz`: inputs, latents before the quantizer, codes, decoded values; names are
group/name. Inputs are small integers times a step, which compress well.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from random_codecs import (
    FIELDS,
    FIXTURES,
    IMAGES,
    RELEASE_IMAGES,
    RELEASE_SPECTRA,
    SCALARS,
    SPECTRA,
    arrays,
    centre,
    save,
    scramble,
)
from safetensors.torch import load_file

from aion import modalities as M
from aion.codecs.catalog import CatalogCodec
from aion.codecs.image import ImageCodec
from aion.codecs.quantizers import FiniteScalarQuantizer, LucidrainsLFQ
from aion.codecs.scalar_field import ScalarFieldCodec
from aion.codecs.spectrum import SpectrumCodec

LEGACY = ["DES-G", "DES-R", "DES-I", "DES-Z"]
HSC = ["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"]
EVERY = 3  # decoded pixels that are kept; coprime with the patches


def noise(rng, *shape, step=0.05, top=100):
    """Integers about normal and a step: values = integers * step, exact in float32."""
    numbers = np.clip(np.rint(rng.standard_normal(shape) * top / 3), -top, top)
    return numbers.astype(np.int8), np.float32(step)


def images(cases=IMAGES, root=FIXTURES):
    for number, (case, config) in enumerate(cases.items()):
        rng = np.random.default_rng(number)
        codec = scramble(ImageCodec(**config), 11 + number)
        flux = torch.tensor(rng.standard_normal((2, 4, 96, 96)) * 0.3).float()
        with torch.no_grad():
            fit = M.LegacySurveyImage(flux=flux, bands=LEGACY)
            centre(codec.pre_quant_proj, codec._encode(fit))
            codec.subsample_out.weight.mul_(0.2)
            codec.subsample_out.bias.mul_(0.2)
        found = {}
        for name, bands, cls, step, size in (
            ("legacy", LEGACY, M.LegacySurveyImage, 0.0625, (97, 104)),
            ("subset", ["DES-Z", "DES-R"], M.LegacySurveyImage, 0.5, (96, 96)),
            ("hsc", HSC, M.HSCImage, 1.0, (101, 96)),
        ):
            numbers, step = noise(rng, 1, len(bands), *size, step=step)
            flux = torch.tensor(numbers * step)
            with torch.no_grad():
                latent = codec._encode(cls(flux=flux.clone(), bands=bands))
                codes = codec.encode(cls(flux=flux.clone(), bands=bands))
                # HSC first makes the package's decode fail; with DES first the planes
                # of HSC come out in the units of the Legacy Surveys.
                asked = LEGACY[:1] + HSC if name == "hsc" else bands
                decoded = codec.decode(codes, bands=asked).flux
            found[name] = dict(
                numbers=numbers,
                step=step,
                bands=bands,
                latent=latent,
                codes=codes,
                asked=asked,
                decoded=decoded[..., ::EVERY, ::EVERY],
                decoded_rms=decoded.square().mean((0, 2, 3)).sqrt(),
            )
        save(case, codec, config, found, root=root)


def spectrum_inputs(rng, name):
    """Two spectra on a linear, a logarithmic, an uneven grid, or two grids at once."""
    wavelength = {
        "linear": np.tile(3590 + 0.8 * np.arange(900), (2, 1)),
        "logarithmic": np.tile(10 ** (3.57 + 1e-4 * np.arange(700)), (2, 1)),
        "uneven": np.tile(3300 + np.cumsum(rng.uniform(0.2, 3.0, 500)), (2, 1)),
        "two_grids": np.sort(rng.uniform(3450, 4500, (2, 640)), axis=1),
    }[name].astype(np.float32)
    numbers, step = noise(rng, *wavelength.shape, step=0.25)
    base = np.float32([[2.0], [80.0]]) if name == "linear" else np.float32([[0], [9.0]])
    ivar, ivar_step = np.abs(noise(rng, *wavelength.shape)[0]), np.float32(0.03125)
    bad = rng.random(wavelength.shape) < 0.03
    flux = numbers * step + base
    inverse = ivar * ivar_step
    if name == "linear":
        flux[0, 100:110] = np.nan
        inverse[1, 50], inverse[1, 51] = np.inf, -1.0
        flux[1, 60] = 5e5
    return dict(flux=flux, ivar=inverse, mask=bad, wavelength=wavelength)


def spectra(cases=SPECTRA, root=FIXTURES):
    for number, (case, config) in enumerate(cases.items()):
        rng = np.random.default_rng(100 + number)
        codec = scramble(SpectrumCodec(**config), 21 + number)

        def given(x, cls=M.DESISpectrum):
            return cls(**{k: torch.tensor(v) for k, v in x.items()})

        with torch.no_grad():
            fit = given(spectrum_inputs(rng, "linear"))
            centre(codec.quant_conv, codec._encode(fit)[0])
            if config["decoder_dims"][-1] == 2:  # about as many good pixels as bad
                bits = codec.quantizer.decode(codec.encode(fit)[:, 1:])
                raw = codec.decoder(codec.post_quant_conv(bits))
                last = codec.decoder.stages[-1][-1].pwconv2
                last.bias[1] -= raw[:, 1].median()
        found = {"wavelength": codec.latent_grid.wavelength}
        for name in ("linear", "logarithmic", "uneven", "two_grids"):
            x = spectrum_inputs(rng, name)
            with torch.no_grad():
                latent, _ = codec._encode(given(x))
                if hasattr(codec.quantizer._quantizer.project_in, "weight"):
                    projection = codec.quantizer._quantizer.project_in
                    latent = projection(latent.movedim(1, -1)).movedim(-1, 1)
                codes = codec.encode(given(x, M.SDSSSpectrum))
                free = codec.decode(codes)
                observed = codec.decode(codes, wavelength=torch.tensor(x["wavelength"]))
            found[name] = dict(
                input=x,
                latent=latent,
                codes=codes,
                grid=dict(flux=free.flux, mask=free.mask),
                observed=dict(flux=observed.flux, mask=observed.mask),
            )
        config = {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}
        save(case, codec, config, found, root=root)


def exact_spectra(folder):
    """Adds exact.npz: latents and fluxes with the network in float64.

    After some forty blocks PyTorch's own rounding in float32 exceeds the tolerance.
    """
    config = json.loads((folder / "config.json").read_text())
    codec = SpectrumCodec(**config).eval()
    codec.load_state_dict(load_file(folder / "model.safetensors"))
    known, found = np.load(folder / "cases.npz"), {}
    codec.double()
    for name in ("linear", "logarithmic", "uneven", "two_grids"):
        names = ("flux", "ivar", "mask", "wavelength")
        x = {k: torch.tensor(known[f"{name}/input/{k}"]) for k in names}
        x = {k: v if v.dtype == torch.bool else v.double() for k, v in x.items()}
        with torch.no_grad():
            latent, _ = codec._encode(M.DESISpectrum(**x))
            flux = codec.decode(torch.tensor(known[f"{name}/codes"])).flux
        found[name] = dict(latent=latent, flux=flux)
    np.savez_compressed(folder / "exact.npz", **arrays(found))


def fields():
    for number, (case, config) in enumerate(FIELDS.items()):
        rng = np.random.default_rng(200 + number)
        codec = scramble(ScalarFieldCodec(**config), 41 + number)
        numbers, step = noise(rng, 2, 113, 120, step=1 / 64)
        x = M.LegacySurveySegmentationMap(field=torch.tensor(numbers * step + 0.5))
        with torch.no_grad():
            centre(codec.encode_proj, codec._encode(x))
            latent, codes = codec._encode(x), codec.encode(x)
            decoded = codec.decode(codes).field
        found = dict(numbers=numbers, step=step, latent=latent, codes=codes)
        found |= dict(decoded=decoded[..., ::EVERY, ::EVERY])
        save(case, codec, config, found)


def probes(codebook, rng):
    """Edges, middles, values beyond, and values that are no numbers.

    Edges come first: through a logarithm, rounding decides on which side they are.
    """
    middle = (codebook[1:] + codebook[:-1]) / 2
    spread = codebook.mean() + codebook.std() * rng.standard_normal(200)
    ends = [codebook.min() - 1, codebook.max() + 1, np.inf, -np.inf, np.nan]
    parts = [codebook[::7], middle[::5], ends, spread]
    return np.concatenate(parts).astype(np.float32)


def scalars():
    rng = np.random.default_rng(300)
    data = {
        "scalar": rng.standard_normal(2500),
        "scalar_log": np.exp(2 * rng.standard_normal(5000)),
        "scalar_multi": 50 * rng.standard_normal((1000, 7)),
    }
    for case, (cls, config) in SCALARS.items():
        codec = cls(**config).eval()
        torch.manual_seed(32)
        if case in data:
            codec.quantizer(torch.tensor(data[case]).float())
        else:  # the released redshift's buckets reach 6, not the constructor's 1
            codec.quantizer.buckets.copy_(torch.linspace(0, 6, 1024))
        if case == "scalar_multi":
            values = np.sinh(rng.uniform(-6, 6, (200, 7))).astype(np.float32)
            values[0, 0], values[1, 1], values[2, 2] = np.nan, np.inf, -np.inf
        else:
            values = probes(codec.quantizer.codebook.numpy(), rng)
        if case == "scalar_log":
            values = np.exp(values[len(codec.quantizer.codebook[::7]) :])
            values = np.concatenate([values, [0, -5, 1e9, 0.05, np.nan]])
        value = torch.tensor(values).float()
        codes = codec.encode(codec.modality(value=value.clone()))
        found = dict(value=value, codes=codes, decoded=codec.decode(codes).value)
        save(case, codec, config, found)


def catalog():
    codec, rng = CatalogCodec().eval(), np.random.default_rng(400)
    torch.manual_seed(51)
    for number, key in enumerate(("SHAPE_E1", "SHAPE_E2", "SHAPE_R"), start=1):
        values = torch.tensor(rng.standard_normal(100_000) * number * 0.3).float()
        codec.quantizer.quantizers[key](values)
    shape = (4, 20)
    x = dict(X=rng.integers(0, 96, shape), Y=rng.integers(0, 96, shape))
    for key in ("SHAPE_E1", "SHAPE_E2", "SHAPE_R"):
        x[key] = np.abs(rng.standard_normal(shape)).astype(np.float32)
    for row, count in enumerate((20, 7, 1, 0)):
        for values in x.values():
            values[row, count:] = 9999
    codes = codec.encode(
        M.LegacySurveyCatalog(**{k: torch.tensor(v) for k, v in x.items()})
    )
    decoded = codec.decode(codes)
    found = dict(input=x, codes=codes, decoded={k: getattr(decoded, k) for k in x})
    # Fitting alone reads the reservoirs of 100,000 values.
    save("catalog", codec, dict(mask_value=9999), found, drop=["_reservoir"])


def quantizers():
    generator = torch.Generator().manual_seed(61)
    found = {}
    for levels in ([7, 5, 5, 5, 5], [8, 5, 5, 5], [8, 8, 8, 5, 5, 5], [3, 4], [2, 9]):
        quantizer = FiniteScalarQuantizer(levels=levels)
        latent = torch.randn(4, len(levels), 33, generator=generator) * 2
        total = int(np.prod(levels))
        codes = torch.arange(0, total, max(1, total // 200))[None].int()
        found["fsq_" + "_".join(map(str, levels))] = dict(
            latent=latent,
            codes=quantizer.encode(latent),
            values=quantizer.quantize(latent),
            some=codes,
            decoded=quantizer.decode(codes),
        )
    lfq = LucidrainsLFQ(dim=10, codebook_size=1024)
    latent = torch.randn(3, 10, 50, generator=generator) * 0.02
    values, loss, _ = lfq(latent)
    codes = lfq.eval().encode(latent)
    found["lfq"] = dict(latent=latent, codes=codes, decoded=lfq.decode(codes))
    found["lfq"] |= dict(values=values, loss=loss)
    save("quantizers", None, None, found)


def check(folder):
    """Loads what we exported into the PyTorch classes and compares their codes."""
    classes = dict.fromkeys(IMAGES, ImageCodec) | dict.fromkeys(SPECTRA, SpectrumCodec)
    classes |= dict.fromkeys(FIELDS, ScalarFieldCodec)
    classes |= {case: cls for case, (cls, _) in SCALARS.items()}
    for case, cls in classes.items():
        config = json.loads((folder / case / "config.json").read_text())
        codec = cls(**config)
        codec.load_state_dict(load_file(folder / case / "model.safetensors"))
        known = np.load(FIXTURES / case / "cases.npz")
        if cls is ImageCodec:
            flux = torch.tensor(known["legacy/numbers"] * known["legacy/step"])
            x, codes = M.LegacySurveyImage(flux=flux, bands=LEGACY), "legacy/codes"
        elif cls is SpectrumCodec:
            names = ("flux", "ivar", "mask", "wavelength")
            parts = {k: torch.tensor(known[f"linear/input/{k}"]) for k in names}
            x, codes = M.DESISpectrum(**parts), "linear/codes"
        elif cls is ScalarFieldCodec:
            field = torch.tensor(known["numbers"] * known["step"] + np.float32(0.5))
            x, codes = M.LegacySurveySegmentationMap(field=field), "codes"
        else:
            x, codes = codec.modality(value=torch.tensor(known["value"])), "codes"
        with torch.no_grad():
            same = np.array_equal(codec.eval().encode(x).numpy(), known[codes])
        if not same:
            raise SystemExit(f"{case}: the exported codec gives other codes")
    return f"{len(classes)} exported codecs give the same codes"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path)
    parser.add_argument("--release", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.check:
        print(check(given.check))
    elif given.release:
        images(RELEASE_IMAGES, given.release)
        spectra(RELEASE_SPECTRA, given.release)
        exact_spectra(given.release / "spectrum_release")
    else:
        for make in (images, spectra, fields, scalars, catalog, quantizers):
            make()
