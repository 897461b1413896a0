# SPDX-License-Identifier: MIT
# pyright: reportMissingImports=false, reportCallIssue=false
"""AION-1's PyTorch codecs of the fixtures: sizes, random weights, files.

Imported by `make_fixtures.py`, and needs the same environment.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from aion.codecs.scalar import (
    GridScalarCodec,
    LogScalarCodec,
    MultiScalarCodec,
    ScalarCodec,
)

FIXTURES = Path(__file__).resolve().parent / "fixtures"

IMAGES = {
    "image": dict(
        quantizer_levels=[7, 5, 5, 5, 5],
        hidden_dims=16,
        multisurvey_projection_dims=10,
        n_compressions=2,
        num_consecutive=1,
        embedding_dim=5,
    ),
    "image_other": dict(
        quantizer_levels=[8, 6, 4],
        hidden_dims=12,
        multisurvey_projection_dims=7,
        n_compressions=1,
        num_consecutive=2,
        embedding_dim=3,
        range_compression_factor=0.05,
        mult_factor=4.0,
    ),
}
_SPECTRUM = dict(
    num_pixels=1024, encoder_depths=(1, 1, 2, 1), decoder_depths=(1, 2, 1, 1)
)
SPECTRA = {
    "spectrum": dict(
        encoder_dims=(8, 12, 16, 24),
        decoder_dims=(16, 12, 8, 2),
        latent_channels=24,
        embedding_dim=10,
        **_SPECTRUM,
    ),
    "spectrum_flux_only": dict(
        encoder_dims=(8, 8, 12, 16),
        decoder_dims=(12, 8, 6, 1),
        latent_channels=16,
        embedding_dim=10,
        clip_flux=20.0,
        clip_ivar=2.0,
        input_scaling=0.5,
        **_SPECTRUM,
    ),
    "spectrum_projected": dict(
        encoder_depths=(1, 2, 1),
        encoder_dims=(8, 12, 16),
        decoder_depths=(1, 1, 1),
        decoder_dims=(12, 8, 2),
        latent_channels=16,
        embedding_dim=6,
        dim=6,
        codebook_size=256,
        lambda_min=3700.5,
        resolution=1.7,
        num_pixels=496,
        normalization_range=(-0.5, 3),
    ),
}
FIELDS = {
    "field": dict(encoder_output_dim=16, embedding_dim=4, res_hidden_dims=8),
    "field_other": dict(
        encoder_output_dim=12,
        decoder_input_dim=20,
        embedding_dim=2,
        res_hidden_dims=6,
        num_res_layers=1,
        num_downsamples=2,
        output_activation_extension=0.1,
        levels=[7, 6],
    ),
}
_SIZES = dict(codebook_size=1024, reservoir_size=3000)
SCALARS = {
    "scalar": (ScalarCodec, dict(modality="SHAPE_E1", **_SIZES)),
    "scalar_log": (
        LogScalarCodec,
        dict(modality="FLUX_G", **_SIZES, min_log_value=-3.0),
    ),
    "scalar_multi": (
        MultiScalarCodec,
        dict(
            modality="bp_coefficients",
            compression_fns=["arcsinh", "arcsinh"],
            decompression_fns=["sinh", "sinh"],
            codebook_size=250,
            reservoir_size=600,
            num_quantizers=7,
        ),
    ),
    "scalar_grid": (GridScalarCodec, dict(modality="Z", codebook_size=1024)),
}


RELEASE_IMAGES = {
    "image_release": dict(
        quantizer_levels=[7, 5, 5, 5, 5],
        hidden_dims=512,
        multisurvey_projection_dims=54,
        n_compressions=2,
        num_consecutive=4,
        embedding_dim=5,
    )
}
RELEASE_SPECTRA = {
    "spectrum_release": dict(
        encoder_depths=(3, 3, 27, 3),
        encoder_dims=(64, 128, 256, 512),
        decoder_depths=(3, 9, 3, 3),
        decoder_dims=(256, 128, 64, 2),
        latent_channels=512,
        embedding_dim=10,
    )
}


def arrays(tree, prefix=""):
    """Nested dictionaries of tensors as one of arrays with names like a/b."""
    found = {}
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        if isinstance(value, dict):
            found |= arrays(value, path)
        else:
            tensor = isinstance(value, torch.Tensor)
            found[path] = value.detach().numpy() if tensor else np.asarray(value)
    return found


def save(case, codec, config, outputs, drop=(), root=FIXTURES):
    folder = root / case
    folder.mkdir(parents=True, exist_ok=True)
    if codec is not None:
        state = {
            k: v.detach().clone().contiguous()
            for k, v in codec.state_dict().items()
            if not k.endswith(tuple(drop) or ("\0",))
        }
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config, indent=1, sort_keys=True)
        (folder / "config.json").write_text(text + "\n")
    np.savez_compressed(folder / "cases.npz", **arrays(outputs))


def scramble(module, seed):
    """Gives every parameter and statistic a random value of a sensible size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point() or "latent_grid" in name:
                continue
            leaf, noise = (
                name.rsplit(".", 1)[-1],
                torch.randn(value.shape, generator=generator),
            )
            if leaf == "buckets":
                continue
            if leaf in ("gamma", "beta"):
                value.copy_(0.3 * noise)
            elif leaf == "running_var" or (value.ndim == 1 and leaf == "weight"):
                value.copy_(1 + 0.2 * noise.clamp(-3, 3))
            elif value.ndim < 2:
                value.copy_(0.2 * noise)
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return module.eval()


def centre(convolution, latent):
    """Makes the channels of a latent about standard normal: many codes occur."""
    with torch.no_grad():
        mean, std = latent.mean((0, 2)), latent.std((0, 2)).clamp_min(1e-3)
        convolution.bias.copy_((convolution.bias - mean) / std)
        shape = (-1, *[1] * (convolution.weight.ndim - 1))
        convolution.weight.div_(std.reshape(shape))
