# SPDX-License-Identifier: MIT
"""AION-1's field codec: PyTorch's tokens and maps."""

import jax.numpy as jnp
import numpy as np
import pytest

from aion.errors import ArtefactError, DataError
from aion.modality import MODALITIES
from aion.observation import Field
from aion_tokenizers.bins import Counts
from aion_tokenizers.official_field import FieldConfig, OfficialField

CASES = ("field", "field_other")


def given(parts):
    return Field(parts["numbers"] * parts["step"] + np.float32(0.5))


@pytest.mark.parametrize("case", CASES)
def test_tokens_and_maps_are_pytorchs(
    official, known, check_codes, check_decoded, case
):
    codec, parts = official(case), known(case)
    latent = np.moveaxis(parts["latent"], 1, -1)
    ours = codec.latents(given(parts))
    np.testing.assert_allclose(ours.reshape(latent.shape), latent, atol=2e-4)
    bounded = np.asarray(codec.quantizer.bound(jnp.asarray(latent)))
    margin = np.abs(bounded - np.floor(bounded) - 0.5).min(-1)
    codes = codec.encode(given(parts))
    assert codes.dtype == np.int32 and len(np.unique(codes)) > 20
    check_codes(codes, parts["codes"], margin)
    maps = codec.decode(parts["codes"]).values
    assert maps.shape == (2, 96, 96)
    check_decoded(maps[..., ::3, ::3], parts["decoded"])


def test_absent_maps_and_holes(official):
    values = np.random.default_rng(0).random((3, 96, 97)).astype(np.float32)
    codec = official("field")
    whole = codec.encode(Field(values))
    holes = values.copy()
    holes[0, 40:50, 40:50], holes[1] = np.nan, np.nan
    mask = np.ones(values.shape, bool)
    mask[2] = False
    codes = codec.encode(Field(holes, mask))
    assert np.all(codes[0] >= 0) and np.all(codes[1:] == -1)
    far = np.zeros((12, 12), bool)
    far[2:9, 2:9] = True  # tokens whose receptive field meets the hole
    assert np.mean((codes[0] == whole[0])[~far.reshape(-1)]) > 0.5
    decoded = codec.decode(codes).values
    assert np.isfinite(decoded[0]).all() and np.isnan(decoded[1:]).all()
    assert codec.count(Field(holes)) == Counts(3 * 96 * 96, 96 * 96 + 100)


def test_spec_and_wrong_maps(official):
    spec = official("field").spec(MODALITIES["legacy_segmentation"], "field")
    assert (spec.grid, spec.num_codes) == ((12, 12), 1000)
    with pytest.raises(DataError, match="95 x 96"):
        official("field").encode(Field(np.zeros((1, 95, 96))))
    with pytest.raises(DataError, match="1000"):
        official("field").decode(np.full((1, 144), 1000))


@pytest.mark.parametrize(
    "change", [{"variational": True}, {"output_activation": "tanh"}, {"levels": (3, 3)}]
)
def test_configurations_that_cannot_work(change):
    with pytest.raises(ArtefactError, match="field codec"):
        FieldConfig(**({"encoder_output_dim": 8, "embedding_dim": 4} | change))


def test_averages_and_training_arguments_are_passed_over(official):
    config, arrays = official("field").state()
    more = {f"ema.module.{k}": v for k, v in arrays.items()}
    given = config["official"] | {"lr": 1e-3, "ema_model_weights": True}
    from aion_tokenizers.official import aliased

    codec = OfficialField.from_state({"official": given}, aliased(arrays | more))
    stored = codec.state()[0]["official"]
    assert stored["lr"] == 1e-3 and stored["ema_model_weights"] is False
