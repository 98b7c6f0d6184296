"""The model: projections, the tied space, similarity, the logit scale."""

import json

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.model import Projection


@pytest.fixture(scope="module")
def places():
    return sample_sphere(500, np.random.default_rng(0))


@pytest.fixture
def model(make_encoder):
    torch.manual_seed(0)
    ngrams = et.CharacterNGrams(32)
    return et.EarthTie(make_encoder(skip=2), {"text": 32, "soil": 5}, {"text": ngrams}).eval()


def test_a_model_copies_its_encoder(make_encoder, places):
    encoder = make_encoder()
    before = encoder.embed(places)
    model = et.EarthTie(encoder, {"soil": 5})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    np.testing.assert_array_equal(encoder.embed(places), before)


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_a_projection_standardises_features_in_any_unit_and_normalises(unit):
    head = Projection(3, 4)
    features = (torch.randn(200, 3) * torch.tensor([1.0, 50.0, 0.0]) + 7) * unit
    head.fit_statistics(features)
    standard = head.standardise(features)
    torch.testing.assert_close(standard[:, :2].std(dim=0, correction=0), torch.ones(2))
    assert standard[:, 2].abs().max() < 1e-6  # constant: divided by 1, not by 0
    torch.testing.assert_close(head(features).norm(dim=1), torch.ones(200))


def test_projections_and_encoder_map_to_the_tied_space(model, places):
    assert model.locate(model.encoder.basis(places)).shape == (500, model.encoder.tied_dim)
    assert model.observe("soil", torch.ones(3, 5)).shape == (3, model.encoder.tied_dim)


def test_embed_modality_maps_raw_input_to_unit_vectors(model):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi", "Lima"])
    assert t.shape == (3, model.encoder.tied_dim)
    assert t.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(t, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.embed_modality("text", ["Nairobi"]), t[1:2], atol=1e-6)


def test_embed_modality_accepts_features_without_a_featuriser(model):
    rows = np.random.default_rng(0).normal(size=(4, 5))
    expected = model.observe("soil", torch.tensor(rows, dtype=torch.float32)).detach()
    np.testing.assert_array_equal(model.embed_modality("soil", rows), expected.numpy())


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("smell", ["a"], r"unknown modality 'smell': the model has \['text', 'soil'\]"),
        ("soil", np.ones((2, 4)), r"modality 'soil' has features \(N, 5\), got \(2, 4\)"),
        ("soil", np.ones(5), r"modality 'soil' has features \(N, 5\), got \(5,\)"),
        ("soil", np.full((1, 5), np.nan), "features of modality 'soil' must be finite"),
        ("text", "Nairobi", r"expected a sequence of texts, got one text; write \['Nairobi'\]"),
        ("text", [], "expected at least one text, got none"),
    ],
)
def test_invalid_input_to_a_modality_is_refused(model, name, raw, message):
    with pytest.raises(ValueError, match=message):
        model.embed_modality(name, raw)


def test_similarity_is_the_cosine_in_the_tied_space(model, places):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi"])
    located = model.locate(model.encoder.basis(places)).detach().numpy()
    got = model.similarity(places, t)
    assert got.shape == (500, 2)
    np.testing.assert_allclose(got, located @ t.T, rtol=0, atol=1e-5)


def test_similarity_depends_neither_on_lengths_nor_on_the_skip(model, places):
    t = model.embed_modality("text", ["Nairobi"])
    before = model.similarity(places, t)
    np.testing.assert_allclose(model.similarity(places, 5 * t), before, rtol=0, atol=1e-6)
    model.encoder.rms.mul_(10)  # the skip's relative size changes, the tied space does not
    np.testing.assert_allclose(model.similarity(places, t), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 16)), r"expected vectors \(M, 12\) of the tied space, got \(2, 16\)"),
        (np.zeros((1, 12)), "must be finite and not zero"),
        (np.full((1, 12), np.nan), "must be finite and not zero"),
    ],
)
def test_similarity_with_unusable_vectors_is_refused(model, places, vectors, message):
    with pytest.raises(ValueError, match=message):
        model.similarity(places, vectors)


@pytest.mark.parametrize("name", ["keys", "values", "type"])
def test_a_modality_may_have_the_name_of_a_method(make_encoder, name):
    assert et.EarthTie(make_encoder(), {name: 3}).in_dims == {name: 3}


def test_the_logit_scale_starts_as_in_clip_and_is_clamped_at_100(model):
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.clamp_logit_scale()
    assert model.logit_scale.exp().item() == pytest.approx(100)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["encoder"].update(width=33),
        lambda spec: spec["encoder"].update(depth=3),
        lambda spec: spec["encoder"]["encoding"].update(n_degrees=5),
        lambda spec: spec["in_dims"].update(soil=4),
        lambda spec: spec["in_dims"].pop("soil"),
        lambda spec: spec["in_dims"].update(extra=4),
        lambda spec: spec.pop("in_dims"),
        lambda spec: spec.update(encoder=None),
        lambda spec: spec["featurisers"]["text"].update(colour=1),
    ],
)
def test_weights_that_do_not_fit_the_spec_are_refused(model, change):
    spec = json.loads(json.dumps(model.spec))
    assert et.EarthTie.from_parts(spec, model.tensors()).spec == model.spec
    change(spec)
    with pytest.raises(ValueError, match="the weights do not fit the model"):
        et.EarthTie.from_parts(spec, model.tensors())


def test_a_model_with_scales_of_version_0_1_is_refused(model):
    with pytest.raises(ValueError, match=r"scales='own'.* use earthtie-lite 0\.1"):
        et.EarthTie.from_parts(model.spec | {"scales": "own"}, model.tensors())
