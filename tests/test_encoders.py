"""Location encoders: encoding and network, the skip, and joined encoders."""

import json
import math

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import encoders
from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.encodings import SphericalHarmonics, UnitVectors

ELSEWHERE = sample_sphere(50, np.random.default_rng(1))


@pytest.fixture(scope="module")
def places():
    return sample_sphere(500, np.random.default_rng(0))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_in_training_and_never_in_an_embedding(make_encoder, places, training):
    encoder = make_encoder(dropout=0.5).train(training)
    basis = encoder.basis(places)
    assert torch.equal(encoder(basis), encoder(basis)) is not training
    np.testing.assert_array_equal(encoder.embed(places), encoder.embed(places))
    assert encoder.training is training


@pytest.mark.parametrize("skip", [0, 3])
def test_embedding_in_chunks_equals_the_whole(make_encoder, places, monkeypatch, skip):
    encoder = make_encoder(skip=skip)
    basis, whole = encoder.basis(places), encoder.embed(places)
    np.testing.assert_array_equal(basis, encoder.encoding(places).astype(np.float32))
    np.testing.assert_allclose(encoder.embed(places[:1]), whole[:1], rtol=0, atol=1e-6)
    monkeypatch.setattr(encoders, "EMBED_BATCH", 7)
    np.testing.assert_allclose(encoder.embed(places), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoder.basis(places), basis)


def test_the_skip_adds_exact_harmonics_as_large_as_the_trained_columns(make_encoder, places):
    encoder = make_encoder(skip=3)
    z, trained = encoder.embed(places), encoder.eval()(encoder.basis(places)).detach().numpy()
    assert (z.dtype, z.shape, trained.shape) == (np.float32, (500, 16), (500, encoder.tied_dim))
    expected = SphericalHarmonics(3)(places) * math.sqrt(4 * math.pi)
    np.testing.assert_array_equal(z[:, 7:], expected.astype(np.float32))
    np.testing.assert_array_equal(make_encoder(skip=0, out_dim=7).embed(places), trained)
    z = encoder.embed(sample_sphere(20_000, np.random.default_rng(5)))
    assert np.sqrt((z[:, :7] ** 2).mean()) == pytest.approx(1, rel=0.05)
    assert np.sqrt((z[:, 7:] ** 2).mean()) == pytest.approx(1, rel=0.01)


FAMILIES = [
    (UnitVectors(), "siren"),
    (SphericalHarmonics(np.int64(4)), "siren"),
    (SphericalHarmonics(4), "residual"),
    (et.FourierFeatures(8, [1, 2.5], seed=np.int64(3)), "siren"),
    (et.Sphere2Vec(np.int64(3)), "residual"),
    (UnitVectors(), "voronoi"),
]


@pytest.mark.parametrize(("encoding", "network"), FAMILIES)
def test_an_encoder_of_any_family_is_saved_loaded_and_joined(encoding, network, places, tmp_path):
    alike = [et.LocationEncoder(encoding, 8, 1, 16, 0.1, 2, 20.0, network) for _ in range(2)]
    for model in (et.EarthTie(alike[0], {"soil": 5}), et.JoinedEncoders.fit(alike, places)):
        model.eval().save_pretrained(tmp_path)
        again = type(model).from_pretrained(tmp_path)
        np.testing.assert_array_equal(again.embed(places), model.embed(places))
        assert again.spec == model.spec
        assert json.loads(json.dumps(model.spec))["encoder"]["network"] == network
    assert et.LocationEncoder.from_spec(alike[0].spec).encoding == encoding
    assert {name.split(".")[0] for name in alike[0].state_dict()} == {"rms", network}


@pytest.mark.parametrize(("encoding", "network"), FAMILIES)
def test_an_embedding_has_no_seam_and_one_value_at_a_pole(encoding, network):
    z = et.LocationEncoder(encoding, 16, 2, 8, network=network).embed(
        [[-180.0, 35.0], [180.0, 35.0], [-70.0, 90.0], [130.0, 90.0], [-70.0, 89.9999]]
    )
    np.testing.assert_allclose(z[[0, 2, 2]], z[[1, 3, 4]], rtol=0, atol=1e-3)
    assert np.abs(z[0] - z[2]).max() > 1e-2


def test_without_an_encoding_the_recommended_encoder_is_built_and_with_one_that_of_the_paper():
    recommended, paper = et.LocationEncoder(), et.LocationEncoder(SphericalHarmonics(10))
    for encoder, encoding, network, skip in (
        (recommended, et.Sphere2Vec(), "residual", 10),
        (paper, SphericalHarmonics(10), "siren", 0),
        (et.LocationEncoder(skip=0, network="siren"), et.Sphere2Vec(), "siren", 0),
    ):
        assert (encoder.encoding, encoder.network, encoder.skip) == (encoding, network, skip)


def test_a_spec_without_a_network_is_a_siren_and_draws_its_weights_in_the_order_of_before():
    torch.manual_seed(0)
    spec = et.LocationEncoder(SphericalHarmonics(4), 8, 2, 16).spec
    del spec["network"]
    torch.manual_seed(0)
    weights = et.LocationEncoder.from_spec(spec).siren.state_dict()
    torch.manual_seed(0)
    for name, sizes in (("0.linear", (16, 8)), ("2.linear", (8, 8)), ("4", (8, 16))):
        layer, bound = torch.nn.Linear(*sizes), 1 / 16 if name[0] == "0" else math.sqrt(6 / 8) / 10
        torch.nn.init.uniform_(layer.weight, -bound, bound)
        assert torch.equal(weights[f"{name}.weight"], layer.weight)
        assert torch.equal(weights[f"{name}.bias"], layer.bias)


@pytest.mark.parametrize(
    ("make", "name", "values", "message"),
    [
        *((et.LocationEncoder, n, (0, 2.5), f"{n} must be a pos") for n in ("width", "out_dim")),
        (et.LocationEncoder, "depth", (0, -1), "depth must be a positive integer"),
        (et.LocationEncoder, "dropout", (1.0, -0.1, math.nan), r"dropout must lie in \[0, 1\)"),
        (et.LocationEncoder, "omega", (0.0, math.nan, math.inf), "omega must be positive"),
        (et.LocationEncoder, "skip", (16, -1, 1.5), r"0 <= skip \*\* 2 < out_dim = 256"),
        (et.LocationEncoder, "encoding", (unit_vectors,), "unknown encoding"),
        (et.LocationEncoder, "network", ("mlp", ""), "unknown network"),
        (et.LocationEncoder.from_spec, "spec", ({"class": "MLP"},), "encoders.ENCODERS"),
        (et.LocationEncoder.from_spec, "spec", ({"encoding": {"class": "A"}},), "unknown encoding"),
        (et.JoinedEncoders, "encoders", ([],), "must have equal settings"),
    ],
)
def test_an_invalid_setting_is_refused(make, name, values, message):
    for value in values:
        with pytest.raises(ValueError, match=message):
            make(**{name: value})


@pytest.fixture(scope="module")
def alike(make_encoder):
    return [make_encoder(seed, skip=2) for seed in range(3)]


@pytest.fixture(scope="module")
def joined(alike, places):
    return et.JoinedEncoders.fit(alike, places)


def test_joined_columns_are_rotated_principal_components(alike, joined, places):
    width, z = alike[0].tied_dim, joined.embed(ELSEWHERE)
    assert (z.shape, z.dtype) == ((50, 16), np.float32)
    here, there = ([e.embed(where)[:, :width] for e in alike] for where in (places, ELSEWHERE))
    fitted, other = (
        np.concatenate([p / q.std() for p, q in zip(part, here)], axis=1) for part in (here, there)
    )
    _, _, components = np.linalg.svd(fitted - fitted.mean(axis=0), full_matrices=False)
    expected = (other - fitted.mean(axis=0)) @ components[:width].T
    # A rotation keeps inner products.
    np.testing.assert_allclose(
        z[:, :width] @ z[:, :width].T, expected @ expected.T, rtol=1e-3, atol=1e-3
    )
    correlated = np.corrcoef(joined.embed(places)[:, :width].T) - np.eye(width)
    assert np.abs(correlated).max() > 0.1  # as components would not be
    np.testing.assert_array_equal(z[:, width:], alike[0].embed(ELSEWHERE)[:, width:])


def test_joined_encoders_are_of_one_kind_and_have_no_tied_space(joined, make_encoder):
    with pytest.raises(ValueError, match="must have equal settings"):
        et.JoinedEncoders([make_encoder(0), make_encoder(0, skip=2)])
    with pytest.raises(ValueError, match="embed places only"):
        joined.embed_modality("text", ["Paris"])
