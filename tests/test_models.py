"""The model that ties modalities to it."""

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.models import Projection


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


def test_a_projection_standardises_then_normalises():
    head = Projection(3, 4)
    features = torch.randn(200, 3) * torch.tensor([1.0, 50.0, 0.0]) + 7
    head.fit_statistics(features)
    standard = (features - head.mean) / head.std
    torch.testing.assert_close(standard[:, :2].std(dim=0, correction=0), torch.ones(2))
    assert (standard[:, 2] == 0).all()  # constant: divided by 1, not by 0
    torch.testing.assert_close(head(features).norm(dim=1), torch.ones(200))


def test_projections_and_encoder_meet_in_the_tied_space(model, places):
    assert model.locate(model.encoder.basis(places)).shape == (500, model.encoder.tied_dim)
    assert model.observe("soil", torch.ones(3, 5)).shape == (3, model.encoder.tied_dim)


def test_embed_modality_takes_raw_input_and_returns_unit_vectors(model):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi", "Lima"])
    assert t.shape == (3, model.encoder.tied_dim)
    assert t.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(t, axis=1), 1, atol=1e-6)


def test_embed_modality_takes_features_where_nothing_makes_them(model):
    rows = np.random.default_rng(0).normal(size=(4, 5))
    expected = model.observe("soil", torch.tensor(rows, dtype=torch.float32)).detach()
    np.testing.assert_array_equal(model.embed_modality("soil", rows), expected.numpy())


def test_embed_modality_of_one_text_equals_its_row(model):
    both = model.embed_modality("text", ["Novosibirsk", "Nairobi"])
    np.testing.assert_allclose(model.embed_modality("text", ["Nairobi"]), both[1:], atol=1e-6)


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
def test_bad_input_to_a_modality_is_refused(model, name, raw, message):
    with pytest.raises(ValueError, match=message):
        model.embed_modality(name, raw)


def test_similarity_is_the_cosine_in_the_tied_space(model, places):
    t = model.embed_modality("text", ["Novosibirsk", "Nairobi"])
    located = model.locate(model.encoder.basis(places)).detach().numpy()
    got = model.similarity(places, t)
    assert got.shape == (500, 2)
    np.testing.assert_allclose(got, located @ t.T, rtol=0, atol=1e-5)


def test_similarity_does_not_see_the_length_of_what_is_compared(model, places):
    t = model.embed_modality("text", ["Nairobi"])
    np.testing.assert_allclose(
        model.similarity(places, 5 * t), model.similarity(places, t), atol=1e-6
    )


def test_similarity_ignores_the_skip(model, places):
    t = model.embed_modality("text", ["Nairobi"])
    before = model.similarity(places, t)
    model.encoder.rms.mul_(10)  # the skip's relative size changes, the tied space does not
    np.testing.assert_allclose(model.similarity(places, t), before, rtol=0, atol=1e-6)


def test_similarity_of_vectors_of_another_space_is_refused(model, places):
    with pytest.raises(ValueError, match=r"expected vectors \(M, 12\) of the tied space"):
        model.similarity(places, np.ones((2, 16)))


@pytest.mark.parametrize("name", ["keys", "values", "type"])
def test_a_modality_may_have_any_word_as_name(make_encoder, name):
    assert et.EarthTie(make_encoder(), {name: 3}).in_dims == {name: 3}


def test_the_scale_starts_as_clips_and_is_clamped_at_100(model):
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.clamp_logit_scale()
    assert model.logit_scale.exp().item() == pytest.approx(100)


def test_features_in_small_units_are_standardised_too():
    features = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 1e-9
    features[:, 1] = 3e-9  # constant
    head = Projection(2, 4)
    head.fit_statistics(features)
    standard = (features - head.mean) / head.std
    torch.testing.assert_close(standard[:, 0].std(correction=0).item(), 1.0)
    assert head.std[1] == 1


def test_scales_of_their_own_start_alike_and_are_clamped_at_100(make_encoder):
    model = et.EarthTie(make_encoder(), {"text": 4, "soil": 5}, scales="own")
    assert model.scale_of("text").exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.scale_of("soil").fill_(9.0)
    model.clamp_logit_scale()
    assert model.scale_of("soil").exp().item() == pytest.approx(100)
    assert model.scale_of("text").exp().item() == pytest.approx(1 / 0.07)


def test_unknown_scales_are_refused(make_encoder):
    with pytest.raises(ValueError, match=r"unknown scales 'onw': expected one of \('shared'"):
        et.EarthTie(make_encoder(), {"text": 4}, scales="onw")
