# SPDX-License-Identifier: MIT
"""The transformer against plain numpy, and what must not change its answers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aion.errors import ConfigError
from aion.model.attention import SelfAttention, attend
from aion.model.config import SIZES, ModelConfig, model_config
from aion.model.embedding import sincos_table
from aion.model.layers import LayerNorm, SwiGLU
from aion.model.transformer import DecoderBlock, EncoderBlock, Transformer
from aion.tokens import TokenBatch

CONFIG = ModelConfig(32, 2, 2, 2, 48)


def build(space, **changes) -> Transformer:
    return Transformer(replace(CONFIG, **changes), space, nnx.Rngs(1))


def column(tokens: TokenBatch, index) -> TokenBatch:
    return jax.tree.map(lambda x: x[:, index], tokens)


def norm(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def test_self_attention_equals_numpy():
    """Scores of normalised queries and keys over sqrt(k), softmax, values, output."""
    attention = SelfAttention(CONFIG, nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 5, 32)).astype(np.float32)
    mask = np.ones((2, 1, 1, 5), bool)
    mask[0, ..., 3:] = False
    q, k, v = np.einsum("bnd,dhik->ibnhk", x, attention.qkv[...])
    scores = np.einsum("bnhk,bshk->bhns", norm(q), norm(k)) / 4.0
    scores = np.where(mask, scores, -np.inf)
    weight = np.exp(scores - scores.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    seen = np.einsum("bhns,bshk->bnhk", weight, v)
    expected = np.einsum("bnhk,hkd->bnd", seen, attention.out.kernel[...])
    found = attention(jnp.asarray(x), jnp.asarray(mask))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_swiglu_and_layer_norm_equal_numpy():
    x = np.random.default_rng(1).normal(3.0, 2.0, size=(2, 4, 32)).astype(np.float32)
    mlp = SwiGLU(32, 48, nnx.Rngs(0))
    gate, up = x @ mlp.gate[...], x @ mlp.up[...]
    expected = (gate / (1 + np.exp(-gate)) * up) @ mlp.down[...]
    np.testing.assert_allclose(mlp(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        LayerNorm(32)(jnp.asarray(x)), norm(x), rtol=1e-5, atol=1e-5
    )


def test_a_row_that_sees_nothing_is_zero():
    q = jnp.ones((1, 2, 1, 4))
    assert not np.asarray(attend(q, q, q, jnp.zeros((1, 1, 1, 2), bool))).any()


def test_sincos_table_has_the_known_values():
    """Row 26 of a 24 x 24 grid is row 1, column 2; one axis keeps the first at 0."""
    table = sincos_table((24, 24), 8)
    angles = np.array([1.0, 1.0 / 10000**0.5])
    row = [np.sin(angles), np.cos(angles), np.sin(2 * angles), np.cos(2 * angles)]
    np.testing.assert_allclose(table[26], np.concatenate(row), atol=1e-6)
    line = sincos_table((55,), 8)
    assert (line[:, :2] == 0).all() and (line[:, 2:4] == 1).all()
    np.testing.assert_allclose(line[7, 4:6], np.sin(7 * angles), atol=1e-5)


def test_an_answer_does_not_depend_on_what_else_is_asked(space, draw):
    model = build(space)
    inputs, asked = draw(4, 5, seed=1), draw(4, 6, seed=2, padding=0.0)
    together = model.hidden(inputs, asked)
    for index in range(6):
        alone = model.hidden(inputs, column(asked, slice(index, index + 1)))
        np.testing.assert_allclose(alone[:, 0], together[:, index], atol=2e-5)
    full = build(space, decoder_attention="full")
    alone = full.hidden(inputs, column(asked, slice(0, 1)))
    assert np.abs(alone[:, 0] - full.hidden(inputs, asked)[:, 0]).max() > 1e-3


def test_within_modality_attention_ignores_other_modalities(space, draw):
    model = build(space, decoder_attention="within_modality")
    inputs = draw(2, 4, seed=5)
    row = space.index("image")
    pixels = np.full((2, 9), row, np.int32)
    place = np.broadcast_to(np.arange(9, dtype=np.int32), (2, 9))
    image = TokenBatch(np.zeros((2, 9), np.int32), pixels, place)
    extra = TokenBatch(*(np.zeros((2, 1), np.int32) for _ in range(3)))
    both = jax.tree.map(lambda a, b: np.concatenate([a, b], 1), image, extra)
    with_other = model.hidden(inputs, both)[:, :9]
    np.testing.assert_allclose(model.hidden(inputs, image), with_other, atol=2e-5)


def test_official_forward_is_the_mean_over_all_queries():
    attention = SelfAttention(CONFIG, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 5, 32))
    v = np.einsum("bmd,dhk->bmhk", x, attention.qkv[...][:, :, 2]).mean(1)
    expected = np.einsum("bhk,hkd->bd", v, attention.out.kernel[...])
    found = attention.queries(x, jnp.ones((2, 1, 5, 5), bool), "official_forward")
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 5, 1), atol=1e-5)


def test_padding_and_the_order_of_inputs_do_not_matter(space, draw):
    model = build(space)
    inputs, asked = draw(3, 6, seed=7), draw(3, 4, seed=8)
    expected = model.hidden(inputs, asked)
    padded = jax.tree.map(lambda x: np.pad(x, ((0, 0), (0, 5))), inputs)
    padding = np.concatenate([inputs.modality, np.full((3, 5), -1, np.int32)], 1)
    padded = TokenBatch(padded.codes, padding, padded.position)
    np.testing.assert_allclose(model.hidden(padded, asked), expected, atol=2e-5)
    shuffled = column(inputs, np.random.default_rng(0).permutation(6))
    np.testing.assert_allclose(model.hidden(shuffled, asked), expected, atol=2e-5)


@pytest.mark.parametrize("register", [True, False])
def test_nothing_given_is_a_prior_and_finite(space, draw, register):
    model = build(space, register=register)
    empty = TokenBatch(*(np.zeros((2, 3), np.int32) for _ in range(3)))
    empty = TokenBatch(empty.codes, np.full((2, 3), -1, np.int32), empty.position)
    one = TokenBatch(*(np.repeat(x[:1], 2, 0) for x in jax.tree.leaves(draw(2, 3))))
    hidden = np.asarray(model.hidden(empty, one))
    assert np.isfinite(hidden).all()
    np.testing.assert_allclose(hidden[0], hidden[1], atol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(space, draw):
    model = build(space, compute_dtype="bfloat16")
    hidden = model.hidden(draw(2, 4), draw(2, 3))
    assert hidden.dtype == jnp.bfloat16
    params = nnx.state(model, nnx.Param)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    exact = build(space).hidden(draw(2, 4), draw(2, 3))
    error = np.abs(np.asarray(hidden, np.float32) - np.asarray(exact))
    assert 0 < error.max() < 0.2


def test_dropout_needs_a_key_and_changes_with_it(space, draw):
    model = build(space, dropout=0.5)
    inputs, asked = draw(2, 4), draw(2, 3)
    calm = model.hidden(inputs, asked)
    np.testing.assert_array_equal(calm, model.hidden(inputs, asked))
    one = model.hidden(inputs, asked, jax.random.key(0))
    other = model.hidden(inputs, asked, jax.random.key(1))
    assert np.abs(one - other).max() > 1e-2


def test_rematerialised_gradients_are_the_same(space, draw):
    inputs, asked = draw(2, 4), draw(2, 3)

    def gradient(**changes):
        graph, params, rest = nnx.split(build(space, **changes), nnx.Param, ...)

        def loss(params):
            model = nnx.merge(graph, params, rest)
            return jnp.sum(model.heads.nll(model.hidden(inputs, asked), asked))

        return jax.grad(loss)(params)

    for one, other in zip(
        jax.tree.leaves(gradient()), jax.tree.leaves(gradient(remat=True)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_published_sizes():
    """AION-1's blocks hold 84,954,624 and 113,286,144 parameters at base."""
    config = model_config("official_base")

    def count(block) -> int:
        made = nnx.eval_shape(lambda: block(config, nnx.Rngs(0)))
        return sum(x.size for x in jax.tree.leaves(nnx.state(made, nnx.Param)))

    # Zero biases of norms are no parameters there either.
    assert 12 * count(EncoderBlock) == 84_954_624
    assert 12 * count(DecoderBlock) == 113_286_144
    assert {"nano", "tiny", "small", "base", "large", "xlarge"} == set(SIZES)


def test_unknown_sizes_and_overrides_are_named():
    with pytest.raises(ConfigError, match=r"unknown model size 'hueg'.*nano"):
        model_config("hueg")
    with pytest.raises(ConfigError, match="widht"):
        model_config("nano", widht=3)
    with pytest.raises(ConfigError, match="multiple of the heads"):
        model_config("nano", heads=3)
