# SPDX-License-Identifier: MIT
"""Quantizers against independent numpy, PyTorch's numbers, and their properties.

Everything is jitted: one program compiles faster than its operations one by one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aion.errors import ConfigError
from aion_tokenizers.codebook import VQ, Codebook, VectorQuantizer
from aion_tokenizers.quantizers import FSQ, LFQ, count_codes, perplexity, usage

# A few shapes only: each one is compiled.
LEVELS = st.sampled_from([(2,), (5, 2, 9, 6)])
SETS = ["7_5_5_5_5", "8_5_5_5", "8_8_8_5_5_5", "3_4", "2_9"]


def normal(*shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return jnp.asarray(values, jnp.float32)


def cut(value):
    """The array cut over eight devices along its first axis."""
    mesh = Mesh(np.array(jax.devices()), ("b",), axis_types=(AxisType.Auto,))
    return jax.device_put(value, NamedSharding(mesh, PartitionSpec("b")))


class TestFSQ:
    @pytest.mark.parametrize("name", SETS)
    def test_codes_and_values_are_pytorchs(self, known, name):
        parts = known("quantizers")[f"fsq_{name}"]
        quantizer = FSQ(tuple(int(n) for n in name.split("_")))
        latent = jnp.asarray(np.moveaxis(parts["latent"], 1, -1))
        np.testing.assert_array_equal(jax.jit(quantizer.encode)(latent), parts["codes"])
        values = np.moveaxis(parts["values"], 1, -1)
        np.testing.assert_allclose(jax.jit(quantizer)(latent).values, values, atol=1e-6)
        decoded = jax.jit(quantizer.decode)(jnp.asarray(parts["some"]))
        expected = np.moveaxis(parts["decoded"], 1, -1)
        np.testing.assert_allclose(decoded, expected, atol=1e-7)

    @given(LEVELS)
    @settings(max_examples=8)
    def test_codes_and_digits_are_a_bijection(self, levels):
        quantizer = FSQ(tuple(levels))
        codes = jnp.arange(quantizer.num_codes)
        digits = np.asarray(jax.jit(quantizer.digits_of_codes)(codes))
        assert len(np.unique(digits, axis=0)) == quantizer.num_codes
        assert np.all(digits >= 0) and np.all(digits < levels)
        assert np.all(np.diff(digits[: levels[0], 0]) == 1)  # the first runs fastest
        again = jax.jit(quantizer.codes_of_digits)(jnp.asarray(digits))
        np.testing.assert_array_equal(again, codes)
        np.testing.assert_allclose(
            quantizer.features(), jax.jit(quantizer.decode)(codes), atol=1e-7
        )

    @given(LEVELS, st.integers(0, 999))
    @settings(max_examples=8)
    def test_decoding_again_changes_nothing(self, levels, seed):
        """Digits come back from any latent inside their cell: encode(inverse)."""
        quantizer = FSQ(tuple(levels))
        rng = np.random.default_rng(seed)
        codes = jnp.asarray(rng.integers(0, quantizer.num_codes, 50))
        levels = np.array(levels)
        reach = (levels - 1) * 1.001 / 2
        offset = np.where(levels % 2, 0, 0.5)
        digit = np.asarray(jax.jit(quantizer.digits_of_codes)(codes)) - levels // 2
        inside = np.arctanh((digit + offset) / reach) - np.arctanh(offset / reach)
        latent = jnp.asarray(inside, jnp.float32)
        np.testing.assert_array_equal(jax.jit(quantizer.encode)(latent), codes)
        once = jax.jit(quantizer)(latent).values
        np.testing.assert_allclose(once, jax.jit(quantizer.decode)(codes), atol=1e-6)

    def test_gradients_pass_the_rounding(self):
        quantizer = FSQ((7, 4))
        latent = normal(5, 2)
        slope = jax.jit(jax.grad(lambda x: quantizer(x).values.sum()))(latent)
        half = jnp.asarray([3.0, 2.0])
        smooth = jax.jit(jax.grad(lambda x: (quantizer.bound(x) / half).sum()))(latent)
        np.testing.assert_allclose(slope, smooth, rtol=1e-6)

    @pytest.mark.parametrize("levels", [(), (1, 5), (2,) * 31])
    def test_levels_that_cannot_be(self, levels):
        with pytest.raises(ConfigError, match="levels"):
            FSQ(levels)


class TestLFQ:
    def test_codes_values_and_loss_are_pytorchs(self, known):
        parts = known("quantizers")["lfq"]
        latent = jnp.asarray(np.moveaxis(parts["latent"], 1, -1))
        quantizer = LFQ(10)
        np.testing.assert_array_equal(jax.jit(quantizer.encode)(latent), parts["codes"])
        decoded = jax.jit(quantizer.decode)(jnp.asarray(parts["codes"]))
        np.testing.assert_array_equal(decoded, np.moveaxis(parts["decoded"], 1, -1))
        found = jax.jit(quantizer)(latent)
        np.testing.assert_allclose(found.loss, parts["loss"], rtol=2e-3)
        np.testing.assert_allclose(
            found.values, np.moveaxis(parts["values"], 1, -1), atol=1e-6
        )

    @given(st.sampled_from([1, 6]), st.sampled_from([0.1, 2.5]), st.integers(0, 999))
    @settings(max_examples=8)
    def test_entropies_are_those_of_the_softmax_over_all_codes(self, bits, beta, seed):
        latent = np.asarray(normal(30, bits, seed=seed), np.float64)
        codes = 2.0 * (np.arange(2**bits)[:, None] >> np.arange(bits)[::-1] & 1) - 1
        logits = 2 * beta * latent @ codes.T
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)

        def entropy(p):
            return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)

        quantizer = LFQ(bits, inverse_temperature=beta)
        certainty, spread = jax.jit(quantizer.entropies)(
            jnp.asarray(latent, jnp.float32)
        )
        np.testing.assert_allclose(certainty, entropy(share).mean(), atol=2e-4)
        np.testing.assert_allclose(spread, entropy(share.mean(0)), atol=2e-4)
        best = np.argmax(latent @ codes.T, axis=1)
        np.testing.assert_array_equal(
            jax.jit(quantizer.encode)(jnp.asarray(latent, jnp.float32)), best
        )

    def test_groups_of_bits_bound_the_entropy(self):
        latent = normal(200, 6)
        joint = jax.jit(LFQ(6, 1.0).entropies)(latent)[1]
        grouped = jax.jit(LFQ(6, 1.0, group=2).entropies)(latent)[1]
        assert joint <= grouped <= 6 * np.log(2) + 1e-5

    def test_the_entropy_terms_undo_a_collapse(self):
        """Latents that all start in one corner end with most codes in use."""
        quantizer = LFQ(4, inverse_temperature=2.0, commitment=0.05, entropy=1.0)
        latent = 0.3 + normal(256, 4, scale=0.1)

        def step(x, _):
            slope = jax.grad(lambda x: quantizer(x).loss * len(x) / 100)(x)
            return x - 5.0 * slope, None

        before = jax.jit(quantizer)(latent).counts
        latent, _ = jax.jit(lambda x: jax.lax.scan(step, x, length=400))(latent)
        after = jax.jit(quantizer)(latent).counts
        assert usage(before) < 0.2 and perplexity(before) < 1.2
        assert usage(after) > 0.8 and perplexity(after) > 5

    def test_gradients_pass_the_sign_and_values_are_signs(self):
        latent = normal(7, 3)
        slope = jax.jit(jax.grad(lambda x: (LFQ(3)(x).values * latent).sum()))(latent)
        np.testing.assert_allclose(slope, latent, rtol=1e-6)
        codes = jnp.arange(8)
        values = jax.jit(LFQ(3).decode)(codes)
        np.testing.assert_array_equal(jax.jit(LFQ(3).encode)(values), codes)
        np.testing.assert_array_equal(values, LFQ(3).features())
        assert jax.jit(LFQ(3).encode)(jnp.zeros(3)) == 0


def numpy_update(config, book, latent, valid):
    """One batch of moving averages, latent by latent; nothing is replaced."""
    vectors, sizes, sums = (np.asarray(a, np.float64) for a in book)
    counts, totals = np.zeros_like(sizes), np.zeros_like(sums)
    for row, keep in zip(np.asarray(latent, np.float64), valid, strict=True):
        if config.cosine:
            row = row / np.linalg.norm(row)
        distance = ((row - vectors) ** 2).sum(1)
        if keep:
            counts[distance.argmin()] += 1
            totals[distance.argmin()] += row
    sizes = config.decay * sizes + (1 - config.decay) * counts
    sums = config.decay * sums + (1 - config.decay) * totals
    moved = sums / sizes[:, None]
    if config.cosine:
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return moved, sizes, sums


class TestVQ:
    @pytest.mark.parametrize("cosine", [True, False])
    def test_averages_are_those_of_a_loop(self, cosine):
        config = VQ(6, 3, cosine, decay=0.8, dead_below=0.0)
        book = config.start(jax.random.key(0))
        expected = (book.vectors, book.sizes, book.sums)
        update = jax.jit(config.update)
        for turn in range(4):
            latent = normal(40, 3, seed=turn)
            valid = np.random.default_rng(turn).random(40) < 0.7
            expected = numpy_update(config, expected, latent, valid)
            book = update(book, latent, jax.random.key(1), jnp.asarray(valid))
        for ours, theirs in zip(
            (book.vectors, book.sizes, book.sums), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("cosine", [True, False])
    def test_codes_are_the_nearest(self, cosine):
        config = VQ(9, 4, cosine)
        book, latent = config.start(jax.random.key(2)), normal(2, 30, 4)
        rows = np.asarray(latent).reshape(-1, 4)
        if cosine:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        distance = ((rows[:, None] - np.asarray(book.vectors)) ** 2).sum(-1)
        codes = jax.jit(config.encode)(book, latent)
        np.testing.assert_array_equal(codes.reshape(-1), distance.argmin(1))
        again = jax.jit(config.encode)(book, jax.jit(config.decode)(book, codes))
        np.testing.assert_array_equal(again, codes)
        loss = jax.jit(config.quantize)(book, latent).loss
        np.testing.assert_allclose(loss, 0.25 * distance.min(1).mean() / 4, rtol=1e-5)

    def test_gradients_pass_and_the_codebook_has_none(self):
        config = VQ(5, 2, cosine=False, commitment=0.0)
        book, latent = config.start(jax.random.key(0)), normal(6, 2)
        ones = jax.grad(lambda x: config.quantize(book, x).values.sum())
        np.testing.assert_allclose(jax.jit(ones)(latent), 1.0)

        def by_book(vectors):
            moved = Codebook(vectors, book.sizes, book.sums)
            return jax.jit(config.quantize)(moved, latent).values.sum()

        assert not np.any(jax.jit(jax.grad(by_book))(book.vectors))

    @pytest.mark.parametrize("cosine", [True, False])
    def test_dead_codes_come_back_to_life(self, cosine):
        config = VQ(16, 2, cosine, decay=0.5, dead_below=0.1)
        far = Codebook(jnp.full((16, 2), -9.0), jnp.ones(16), jnp.full((16, 2), -9.0))
        book = Codebook(far.vectors.at[0].set(1.0), far.sizes, far.sums)
        rng = np.random.default_rng(0)
        angle = rng.uniform(0, 1.5, 64)
        latent = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], 1), jnp.float32)
        valid = jnp.arange(64) < 48
        update = jax.jit(config.update)
        for turn in range(12):
            book = update(book, latent, jax.random.key(turn), valid)
        counts = jax.jit(config.quantize)(book, latent, valid).counts
        assert usage(counts) > 0.6 and counts.sum() == 48
        assert np.isfinite(book.vectors).all()

    def test_without_valid_latents_nothing_moves_but_averages(self):
        config = VQ(4, 2, dead_below=5.0)
        book = config.start(jax.random.key(0))
        after = jax.jit(config.update)(
            book, normal(8, 2), jax.random.key(0), jnp.zeros(8, bool)
        )
        np.testing.assert_allclose(after.vectors, book.vectors, atol=1e-6)
        np.testing.assert_allclose(after.sizes, 0.99 * book.sizes, rtol=1e-6)

    def test_eight_devices_are_one(self):
        config = VQ(12, 3, decay=0.7, dead_below=0.5)
        latent, valid = normal(64, 5, 3), jnp.asarray(np.arange(320) % 7 > 0)
        valid = valid.reshape(64, 5)
        book, key = config.start(jax.random.key(3)), jax.random.key(4)
        update = jax.jit(config.update)
        one = update(book, latent, key, valid)
        eight = update(book, cut(latent), key, cut(valid))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        assert eight.vectors.sharding.is_fully_replicated

    def test_as_part_of_a_module(self):
        module = VectorQuantizer(VQ(8, 3), nnx.Rngs(0))
        latent = normal(20, 3)
        before = module.book
        found = nnx.jit(lambda m, x: m(x))(module, latent)
        np.testing.assert_array_equal(module.encode(latent), found.codes)
        np.testing.assert_array_equal(module.decode(found.codes).shape, (20, 3))
        nnx.jit(lambda m, x: m.follow(x, jax.random.key(0)))(module, latent)
        expected = VQ(8, 3).update(before, latent, jax.random.key(0))
        np.testing.assert_allclose(module.vectors[...], expected.vectors, rtol=1e-6)
        assert module.features().shape == (8, 3)

    @pytest.mark.parametrize("change", [{"decay": 1.0}, {"num_codes": 0}])
    def test_wrong_configurations(self, change):
        with pytest.raises(ConfigError, match="VQ"):
            VQ(**({"num_codes": 4, "dimension": 2} | change))


@pytest.mark.parametrize("quantizer", [FSQ((5, 4, 3)), LFQ(3, group=2)])
def test_sharded_batches_give_the_same(quantizer):
    latent, valid = normal(16, 9, 3), jnp.asarray(np.arange(144) % 5 > 0)
    valid = valid.reshape(16, 9)
    run = jax.jit(quantizer)
    one, eight = run(latent, valid), run(cut(latent), cut(valid))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert int(one.counts.sum()) == int(valid.sum())


def test_usage_and_perplexity():
    codes = jnp.asarray([0, 0, 1, 1, 5])
    counts = count_codes(codes, 8, jnp.asarray([True] * 4 + [False]))
    np.testing.assert_array_equal(counts, [2, 2, 0, 0, 0, 0, 0, 0])
    assert usage(counts) == 0.25
    np.testing.assert_allclose(perplexity(counts), 2.0, rtol=1e-6)
    np.testing.assert_allclose(perplexity(jnp.zeros(8)), 1.0)
    np.testing.assert_allclose(perplexity(jnp.ones(8)), 8.0, rtol=1e-6)
