# SPDX-License-Identifier: MIT
"""How much light of a PSF is in its wings: Moffat's beta, which nobody tells.

Surveys give the width of a PSF and seldom its wings. So beta is one more latent of an
image. It descends with the others, is pulled to that of most cameras, and is kept
beside the image's scale in its first token.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

BETA = 3.5
"""Of most cameras (DECam: Dey et al. 2019; Hyper Suprime-Cam: Aihara et al. 2018), and
of a latent of 0."""

_UNIT = 0.75  # of ln(beta): a latent's prior of 0.22 is then a sixth of beta
_SPAN = np.log(2)  # of ln(beta), from the first code to the last


def beta_of(latent: Float[Array, " b"]) -> Float[Array, " b"]:
    """Moffat's beta, 2.5 to 4.9."""
    half = np.float32(_SPAN / 2)
    return BETA * jnp.exp(jnp.clip(_UNIT * latent, -half, half))


def wing_codes(latent: Float[Array, " b"], count: int) -> Int[Array, " b"]:
    """Codes 0..count-1, equal steps in the logarithm of beta; ends are clipped."""
    place = jnp.round(latent / _step(count)) + count // 2
    return jnp.clip(place, 0, count - 1).astype(jnp.int32)


def wing_latents(codes: Int[Array, " b"], count: int) -> Float[Array, " b"]:
    """What codes stand for; that in the middle, `count // 2`, for `BETA`."""
    return (codes - count // 2).astype(np.float32) * _step(count)


def _step(count: int) -> np.float32:
    return np.float32(_SPAN / _UNIT / count)


def packed(
    latent: Float[Array, "b yt xt q"], wings: Float[Array, " b"] | None = None
) -> Float[Array, "b n"]:
    """All latents of an image in one row, those of wings (0 by default) first."""
    flat = latent.reshape(len(latent), -1)
    first = jnp.zeros(len(flat), flat.dtype) if wings is None else wings
    return jnp.concatenate([first[:, None], flat], axis=1)


def unpacked(
    row: Float[Array, "b n"], shape: tuple[int, ...]
) -> tuple[Float[Array, "b yt xt q"], Float[Array, " b"]]:
    """The inverse of `packed`: latents of a shape [b, yt, xt, q], and of wings."""
    return row[:, 1:].reshape(shape), row[:, 0]
