"""The model: projections, the tied space, similarity, the logit scale."""

import json

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.model import Projection

PLACES = sample_sphere(500, np.random.default_rng(0))


@pytest.fixture
def model(make_encoder):
    torch.manual_seed(0)
    ngrams = et.CharacterNGrams(32)
    return et.EarthTie(make_encoder(skip=2), {"text": 32, "soil": 5}, {"text": ngrams}).eval()


def test_a_model_copies_its_encoder(make_encoder):
    encoder = make_encoder()
    before = encoder.embed(PLACES)
    for parameter in et.EarthTie(encoder, {"soil": 5}).parameters():
        parameter.data.add_(1.0)
    np.testing.assert_array_equal(encoder.embed(PLACES), before)


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_a_projection_standardises_features_in_any_unit_and_normalises(unit):
    head = Projection(3, 4)
    features = (torch.randn(200, 3) * torch.tensor([1.0, 50.0, 0.0]) + 7) * unit
    head.fit_statistics(features)
    standard = head.standardise(features)
    torch.testing.assert_close(standard[:, :2].std(dim=0, correction=0), torch.ones(2))
    assert standard[:, 2].abs().max() < 1e-6  # constant: divided by 1, not by 0
    torch.testing.assert_close(head(features).norm(dim=1), torch.ones(200))


def test_embed_modality_maps_raw_input_or_features_to_unit_vectors(model):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi", "Lima"])
    assert (t.shape, t.dtype) == ((3, model.encoder.tied_dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(t, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.embed_modality("text", ["Nairobi"]), t[1:2], atol=1e-6)
    rows = np.random.default_rng(0).normal(size=(4, 5))
    expected = model.observe("soil", torch.tensor(rows, dtype=torch.float32)).detach()
    np.testing.assert_array_equal(model.embed_modality("soil", rows), expected)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("smell", ["a"], r"unknown modality 'smell': the model has \['text', 'soil'\]"),
        ("soil", np.ones((2, 4)), r"modality 'soil' has features \(N, 5\), got \(2, 4\)"),
        ("soil", np.ones(5), r"modality 'soil' has features \(N, 5\), got \(5,\)"),
        ("soil", np.full((1, 5), np.nan), "features of modality 'soil' must be finite"),
    ],
)
def test_invalid_input_to_a_modality_is_refused(model, name, raw, message):
    with pytest.raises(ValueError, match=message):
        model.embed_modality(name, raw)


def test_similarity_is_the_cosine_in_the_tied_space_without_the_skip(model):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi"])
    expected = model.locate(model.encoder.basis(PLACES)).detach().numpy() @ t.T
    np.testing.assert_allclose(model.similarity(PLACES, 5 * t), expected, rtol=0, atol=1e-5)
    model.encoder.rms.mul_(10)  # the skip's relative size changes, the tied space does not
    np.testing.assert_allclose(model.similarity(PLACES, t), expected, rtol=0, atol=1e-5)


def test_similarity_with_unusable_vectors_is_refused(model):
    tied = r"expected vectors \(M, 12\) of the tied space, got \(2, 16\)"
    bad = [(np.zeros((1, 12)), "finite and not zero"), (np.full((1, 12), np.nan), "finite and not")]
    for vectors, message in [(np.ones((2, 16)), tied), *bad]:
        with pytest.raises(ValueError, match=message):
            model.similarity(PLACES, vectors)


def test_a_modality_may_have_the_name_of_a_method(make_encoder):
    dims = {"keys": 3, "values": 3, "type": 3}
    assert et.EarthTie(make_encoder(), dims).in_dims == dims


def test_the_logit_scale_starts_as_in_clip_and_is_clamped_at_100(model):
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    model.logit_scale.data.fill_(9.0)
    model.clamp_logit_scale()
    assert model.logit_scale.exp().item() == pytest.approx(100)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["encoder"].update(width=33),
        lambda spec: spec["encoder"]["encoding"].update(n_degrees=5),
        lambda spec: spec["in_dims"].update(soil=4),
        lambda spec: spec["in_dims"].pop("soil"),
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
