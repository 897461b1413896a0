# SPDX-License-Identifier: MIT
"""The model that users hold: tokens in any order, draws, posteriors, clear errors."""

import astropy.units as u
import jax
import numpy as np
import pytest
from flax import nnx

import aion
from aion.codec import CodecBundle, codec_class
from aion.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    TokenSpaceError,
    UnitError,
)
from aion.generation import AION
from aion.modality import MODALITIES, Kind, Modality
from aion.model.config import ModelConfig
from aion.model.transformer import Transformer
from aion.observation import Category, Coefficients, Scalar
from aion.tokens import TokenBatch

CLASS = Modality("object_class", "own", Kind.CATEGORY)
OBJECTS = 60


def fitted(word: str, observation, **config):
    fitter = codec_class(word).fitter(**config)  # pyright: ignore
    fitter.update(observation)
    return fitter.finish()


@pytest.fixture(scope="module")
def observations():
    rng = np.random.default_rng(0)
    return {
        "legacy_flux_g": Scalar(rng.normal(20, 5, OBJECTS)),
        "redshift": Scalar(rng.uniform(0, 2, OBJECTS)),
        "object_class": Category(rng.choice(["STAR", "GALAXY", "QSO"], OBJECTS)),
        "gaia_xp_bp": Coefficients(rng.normal(size=(OBJECTS, 55))),
    }


@pytest.fixture(scope="module")
def bundle(observations):
    words = {
        "legacy_flux_g": ("empirical", dict(bins=12)),
        "redshift": ("coarse_fine", dict(coarse=8, fine=4)),
        "object_class": ("categories", {}),
        "gaia_xp_bp": ("channels", {}),
    }
    codecs = {n: fitted(w, observations[n], **c) for n, (w, c) in words.items()}
    known = MODALITIES | {"object_class": CLASS}
    return CodecBundle(codecs, {known[n]: n for n in words})


@pytest.fixture(scope="module")
def model(bundle):
    network = Transformer(ModelConfig(16, 1, 1, 2, 32), bundle.space, nnx.Rngs(1))
    for table in (network.heads.rows, network.embedding.codes):
        table[...] = table[...] * 30.0
    return AION(network, bundle, {"step": 7})


@pytest.fixture(scope="module")
def given(observations):
    names = ("legacy_flux_g", "object_class")
    return {n: observations[n].take(slice(0, 6)) for n in names}


def test_tokens_name_place_and_code(model, bundle, given):
    tokens = model.tokenize(given)
    assert tokens.shape == (6, 2) and tokens.valid.all()
    np.testing.assert_array_equal(tokens.modality[0], [0, 2])
    np.testing.assert_array_equal(
        tokens.codes[:, 1], bundle.encode("object_class", given["object_class"])[:, 0]
    )


def test_order_of_what_is_given_does_not_matter(model, given):
    backwards = dict(reversed(given.items()))
    first = model.posterior(model.tokenize(given), "redshift")
    second = model.posterior(model.tokenize(backwards), "redshift")
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-6)


def test_a_missing_value_is_as_if_it_was_not_given(model, given):
    flux = given["legacy_flux_g"].values.copy()
    flux[0] = np.nan
    tokens = model.tokenize(given | {"legacy_flux_g": Scalar(flux)})
    assert tokens.valid[0].tolist() == [False, True] and tokens.valid[1:].all()
    without = model.tokenize({"object_class": given["object_class"]})
    both = [model.logits(t, ["redshift"])["redshift"][0] for t in (tokens, without)]
    np.testing.assert_allclose(*both, atol=1e-5)


def test_quantities_are_converted(model, given):
    plain = model.tokenize(given)
    flux = given["legacy_flux_g"].values * 1e-9 * u.mgy
    with_unit = model.tokenize(given | {"legacy_flux_g": Scalar(flux)})
    np.testing.assert_array_equal(plain.codes, with_unit.codes)
    with pytest.raises(UnitError, match="legacy_flux_g"):
        model.tokenize({"legacy_flux_g": Scalar(np.ones(2) * u.s)})


def test_posterior_of_redshift_is_a_density_over_the_codecs_bins(model, bundle, given):
    found = model.posterior(model.tokenize(given), "redshift", covered=1.0)
    codec = bundle.codec("redshift")
    np.testing.assert_array_equal(found.values, codec.bin_centres())
    np.testing.assert_array_equal(found.edges, codec.bin_edges())
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
    logits = model.logits(model.tokenize(given), ["redshift"])["redshift"][:, 0]
    coarse = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    by_coarse = found.probabilities.reshape(6, 8, 4).sum(-1)
    np.testing.assert_allclose(by_coarse, coarse[:, :8], atol=1e-5)


def test_posterior_and_one_shot_draws_agree(model, given):
    tokens = model.tokenize({k: v.take(slice(0, 1)) for k, v in given.items()})
    posterior = model.posterior(tokens, "redshift", covered=1.0)
    draws = model.sample(tokens, ["redshift"], num_samples=2000, seed=1)
    values = model.detokenize(draws)["redshift"].values
    assert values.shape == (2000, 1)
    shares = [(values == v).mean() for v in posterior.values]
    np.testing.assert_allclose(shares, posterior.probabilities[0], atol=0.04)


def test_posterior_of_a_category_has_labels(model, given):
    tokens = model.tokenize({"legacy_flux_g": given["legacy_flux_g"]})
    found = model.posterior(tokens, "object_class")
    assert found.values.tolist() == ["GALAXY", "QSO", "STAR"] and found.is_category
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)


def test_draws_of_several_modalities(model, given):
    tokens = model.tokenize({"legacy_flux_g": given["legacy_flux_g"]})
    run = dict(num_samples=3, scheme=aion.Chained(), seed=5)
    draws = model.sample(tokens, ["object_class", "gaia_xp_bp", "redshift"], **run)
    again = model.sample(tokens, ["object_class", "gaia_xp_bp", "redshift"], **run)
    found = model.detokenize(draws)
    assert found["object_class"].labels.shape == (3, 6)
    assert found["gaia_xp_bp"].values.shape == (3, 6, 55)
    assert np.isfinite(found["redshift"].values).all()
    for name, codes in draws.codes.items():
        np.testing.assert_array_equal(codes, again.codes[name])


def test_what_else_is_asked_does_not_change_a_logit(model, given):
    tokens = model.tokenize({"legacy_flux_g": given["legacy_flux_g"]})
    alone = model.logits(tokens, ["redshift"])["redshift"]
    among = model.logits(tokens, ["gaia_xp_bp", "redshift", "object_class"])
    np.testing.assert_allclose(alone, among["redshift"], atol=1e-5)


def test_nothing_given_asks_the_prior(model):
    found = model.posterior(model.pack({}, rows=2), "object_class")
    assert len(found) == 2
    np.testing.assert_allclose(*found.probabilities, atol=1e-6)


def test_pack_masks_tokens_and_objects(model):
    codes = np.zeros((2, 55), np.int32)
    keep = np.ones((2, 55), bool)
    keep[0, 3] = False
    tokens = model.pack({"gaia_xp_bp": codes}, valid={"gaia_xp_bp": keep})
    assert tokens.valid.sum() == 109 and not tokens.valid[0, 3]
    one = model.pack({"gaia_xp_bp": codes}, valid={"gaia_xp_bp": [True, False]})
    assert one.valid.sum() == 55


def test_features_pool_over_valid_tokens_only(model, given):
    tokens = model.tokenize(given)
    wide = jax.tree.map(lambda a: np.pad(a, ((0, 0), (0, 3))), tokens)
    wide = TokenBatch(
        wide.codes,
        np.where(np.arange(5) < 2, wide.modality, -1),
        wide.position,
    )
    assert model.context(tokens).shape == (6, 2, 16)
    np.testing.assert_allclose(
        model.embed(tokens), model.context(tokens).mean(1), atol=1e-6
    )
    np.testing.assert_allclose(model.embed(wide), model.embed(tokens), atol=1e-5)
    assert np.isfinite(model.embed(model.pack({}, rows=3))).all()


def test_rows_are_batched_without_a_trace(model, observations, monkeypatch):
    tokens = model.tokenize({"legacy_flux_g": observations["legacy_flux_g"]})
    whole = model.posterior(tokens, "redshift")
    features = model.embed(tokens)
    monkeypatch.setattr("aion.sampling.forward.TOKENS_PER_PASS", 64)
    parts = model.posterior(tokens, "redshift")
    np.testing.assert_allclose(whole.probabilities, parts.probabilities, atol=1e-6)
    np.testing.assert_allclose(features, model.embed(tokens), atol=1e-5)


def test_errors_name_the_modality_and_the_fix(model, given):
    tokens = model.tokenize(given)
    with pytest.raises(DataError, match="object_class is asked and also given"):
        model.sample(tokens, ["object_class"])
    with pytest.raises(DataError, match="object_class is asked and also given"):
        model.posterior(tokens, "object_class")
    with pytest.raises(TokenSpaceError, match=r"no modality 'redshifft'.*redshift"):
        model.posterior(tokens, "redshifft")
    with pytest.raises(TokenSpaceError, match="no modality 'hsc_mag_g'"):
        model.tokenize({"hsc_mag_g": Scalar(np.ones(2))})
    with pytest.raises(DataError, match="asked twice"):
        model.sample(tokens, ["redshift", "redshift"])
    with pytest.raises(DataError, match="Give a list"):
        model.sample(tokens, "redshift")
    with pytest.raises(DataError, match="at least one"):
        model.sample(tokens, ["redshift"], num_samples=0)
    with pytest.raises(ConfigError, match="temperature"):
        model.sample(tokens, ["redshift"], temperature=0.0)
    with pytest.raises(DataError, match="numbers of objects differ"):
        model.tokenize(given | {"redshift": Scalar(np.ones(2))})
    with pytest.raises(TokenSpaceError, match="gaia_xp_bp: its codec Channels"):
        model.posterior(tokens, "gaia_xp_bp")


def test_tokens_of_another_space_are_refused(model, given):
    tokens = model.tokenize(given)
    for change in (
        dict(modality=np.full_like(tokens.modality, 9)),
        dict(position=np.full_like(tokens.position, 2)),
        dict(codes=np.full_like(tokens.codes, 700)),
    ):
        fields = dict(vars(tokens)) | change
        with pytest.raises(TokenSpaceError, match="not in this model's token space"):
            model.logits(TokenBatch(**fields), ["redshift"])


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        (np.zeros((2, 3), np.int32), "Give integers"),
        (np.zeros((2, 2)), "Give integers"),
        (np.array([[0, 0]]), "slot 1, which admits 8..11"),
    ],
)
def test_codes_that_do_not_fit_are_refused(model, codes, error):
    with pytest.raises(aion.AionError, match=error):
        model.pack({"redshift": codes})


def test_model_and_bundle_must_belong_together(model, bundle, observations):
    less = CodecBundle(bundle.codecs, dict(list(bundle.serves.items())[:-1]))
    network = Transformer(ModelConfig(16, 1, 1, 2, 32), bundle.space, nnx.Rngs(1))
    with pytest.raises(TokenSpaceError, match="the bundle has no row 3"):
        AION(network, less)
    with pytest.raises(ArtefactError, match="no codec bundle"):
        AION(network).tokenize({"redshift": observations["redshift"]})


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(ArtefactError, match="not a folder"):
        aion.load(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="checkpoint"):
        aion.load(tmp_path)


def test_a_model_is_read_back_from_its_folder(model, bundle, given, tmp_path):
    import orbax.checkpoint as ocp

    from aion.model.store import CHECKPOINTS, describe

    network = Transformer(ModelConfig(16, 1, 1, 2, 32), bundle.space, nnx.Rngs(3))
    meta = describe(network.config, network.space)
    items = ocp.args.Composite(
        model=ocp.args.StandardSave(nnx.state(network)), meta=ocp.args.JsonSave(meta)
    )
    with ocp.CheckpointManager((tmp_path / CHECKPOINTS).resolve()) as manager:
        manager.save(5, args=items)
    bundle.save(tmp_path / "bundle")
    loaded, ours = aion.load(tmp_path), AION(network, bundle)
    assert loaded.metadata["step"] == 5 and loaded.space == bundle.space
    tokens = loaded.tokenize(given)
    np.testing.assert_array_equal(
        loaded.logits(tokens, ["redshift"])["redshift"],
        ours.logits(tokens, ["redshift"])["redshift"],
    )
