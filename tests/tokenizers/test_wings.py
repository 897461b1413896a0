# SPDX-License-Identifier: MIT
"""Wings of PSFs: their codes, and that refinement finds them where they show."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np

from aion_tokenizers.wings import (
    BETA,
    beta_of,
    packed,
    unpacked,
    wing_codes,
    wing_latents,
)


@hypothesis.given(st.integers(1, 40))
def test_codes_and_what_they_stand_for_are_inverses(count):
    codes = jnp.arange(count)
    latents = wing_latents(codes, count)
    np.testing.assert_array_equal(wing_codes(latents, count), codes)
    np.testing.assert_allclose(beta_of(latents[count // 2 :][:1]), BETA, rtol=1e-6)
    steps = np.diff(np.log(beta_of(latents)))
    np.testing.assert_allclose(steps, np.log(2) / count, rtol=1e-4)


def test_wings_beyond_the_codes_are_those_of_the_last():
    far = jnp.asarray([-9.0, 9.0])
    np.testing.assert_array_equal(wing_codes(far, 16), [0, 15])
    np.testing.assert_allclose(beta_of(far), [BETA / 2**0.5, BETA * 2**0.5], rtol=1e-6)


def test_all_latents_of_an_image_in_one_row_and_back():
    latent = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 4)), "float32")
    wings = jnp.asarray([0.1, -0.2])
    for given, expected in ((wings, wings), (None, np.zeros(2))):
        found, first = unpacked(packed(latent, given), latent.shape)
        np.testing.assert_array_equal(found, latent)
        np.testing.assert_array_equal(first, expected)
