"""The location encoder and its skip."""

import math

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import location
from earthtie_lite.coords import sample_sphere
from earthtie_lite.location import SirenLayer


@pytest.fixture(scope="module")
def places():
    return sample_sphere(500, np.random.default_rng(0))


def test_first_siren_layer_starts_within_its_bound():
    weight = SirenLayer(100, 400, omega=30.0, first=True).linear.weight.detach()
    assert 0.99 / 100 < weight.abs().max() <= 1 / 100
    assert weight.std().item() == pytest.approx(1 / 100 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_later_siren_layers_start_within_their_bound(omega):
    bound = math.sqrt(6 / 256) / omega
    weight = SirenLayer(256, 256, omega).linear.weight.detach()
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_siren_layer_is_the_sine_of_a_scaled_linear_map():
    layer = SirenLayer(3, 4, omega=7.0)
    x = torch.randn(5, 3)
    expected = torch.sin(7.0 * (x @ layer.linear.weight.T + layer.linear.bias))
    torch.testing.assert_close(layer(x), expected)


def test_activations_keep_their_spread_through_the_depth():
    # Sitzmann et al.: before the sine standard normal, after it arcsine with deviation 1 / sqrt 2.
    torch.manual_seed(0)
    x = torch.rand(4000, 256) * 2 - 1
    for depth in range(4):
        layer = SirenLayer(256, 256, omega=30.0, first=depth == 0)
        x = layer(x).detach()
        if depth:
            assert x.std().item() == pytest.approx(1 / math.sqrt(2), abs=0.05)


def test_default_encoder_maps_a_place_to_256_columns_in_float32():
    encoder = et.LocationEncoder()
    z = encoder.embed([[13.4, 52.5]])
    assert z.shape == (1, 256)
    assert z.dtype == np.float32
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_hidden_layers_do_not_share_weights(make_encoder):
    names = [name for name, _ in make_encoder().named_parameters()]
    assert len(names) == 6  # weight and bias of two hidden layers and the last one


def test_basis_is_the_encoding_in_float32(make_encoder, places):
    basis = make_encoder().basis(places)
    assert basis.dtype == torch.float32
    expected = et.SphericalHarmonics(4)(places).astype(np.float32)
    np.testing.assert_array_equal(basis.numpy(), expected)


def test_dropout_acts_in_training_alone(make_encoder, places):
    encoder = make_encoder(dropout=0.5)
    basis = encoder.basis(places)
    encoder.train()
    assert not torch.equal(encoder(basis), encoder(basis))
    np.testing.assert_array_equal(encoder.embed(places), encoder.embed(places))


@pytest.mark.parametrize("training", [True, False])
def test_embed_leaves_the_mode_as_it_was(make_encoder, places, training):
    encoder = make_encoder().train(training)
    encoder.embed(places)
    assert encoder.training is training


@pytest.mark.parametrize("skip", [0, 3])
def test_embedding_in_chunks_equals_the_whole(make_encoder, places, monkeypatch, skip):
    encoder = make_encoder(skip=skip)
    whole = encoder.embed(places)
    monkeypatch.setattr(location, "EMBED_BATCH", 7)
    np.testing.assert_allclose(encoder.embed(places), whole, rtol=0, atol=1e-6)


def test_embedding_one_place_equals_its_row(make_encoder, places):
    encoder = make_encoder(skip=2)
    np.testing.assert_allclose(encoder.embed(places[:1]), encoder.embed(places)[:1], atol=1e-6)


def test_embedding_depends_on_the_place_not_on_its_side_of_the_date_line(make_encoder):
    east, west = make_encoder().embed([[180.0, 20.0], [-180.0, 20.0]])
    np.testing.assert_array_equal(east, west)


def test_a_skip_keeps_the_width(make_encoder, places):
    for skip in (0, 2, 3):
        encoder = make_encoder(skip=skip)
        assert encoder.embed(places).shape == (500, 16)
        assert encoder.tied_dim == encoder(encoder.basis(places)).shape[1] == 16 - skip**2


def test_the_skip_is_exactly_the_harmonics_of_low_degree(make_encoder, places):
    z = make_encoder(skip=3).embed(places)
    expected = et.SphericalHarmonics(3)(places) * math.sqrt(4 * math.pi)
    np.testing.assert_array_equal(z[:, 7:], expected.astype(np.float32))


def test_the_skip_has_the_size_of_the_trained_part(make_encoder):
    everywhere = sample_sphere(20_000, np.random.default_rng(5))
    z = make_encoder(skip=3).embed(everywhere)
    trained, skip = (np.sqrt((part**2).mean()) for part in (z[:, :7], z[:, 7:]))
    assert trained == pytest.approx(1, rel=0.05)
    assert skip == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"depth": -1}, "depth must be a positive integer, got -1"),
        ({"out_dim": 2.5}, "out_dim must be a positive integer, got 2.5"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must lie in \[0, 1\), got -0.1"),
        ({"dropout": math.nan}, r"dropout must lie in \[0, 1\), got nan"),
        ({"omega": 0.0}, "omega must be positive, got 0"),
        ({"omega": math.nan}, "omega must be positive, got nan"),
        ({"omega": math.inf}, "omega must be positive, got inf"),
        ({"skip": 4, "out_dim": 16}, r"0 <= skip \*\* 2 < out_dim = 16, got 4"),
        ({"skip": -1}, r"0 <= skip \*\* 2 < out_dim = 256, got -1"),
        ({"skip": 1.5}, r"skip must be an integer"),
    ],
)
def test_a_bad_setting_of_the_encoder_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        et.LocationEncoder(**setting)


def test_an_encoder_is_rebuilt_from_its_description(make_encoder):
    encoder = make_encoder(skip=2, omega=20.0)
    again = et.LocationEncoder.from_spec(encoder.spec)
    assert again.spec == encoder.spec
    assert again.load_state_dict(encoder.state_dict())


def test_a_basis_of_many_places_is_that_of_each_alone():
    places = sample_sphere(location.EMBED_BATCH + 5, np.random.default_rng(0))
    encoder = et.LocationEncoder(et.SphericalHarmonics(3), width=8, out_dim=4)
    basis = encoder.basis(places)
    assert basis.dtype == torch.float32
    for rows in (slice(0, 7), slice(location.EMBED_BATCH - 3, location.EMBED_BATCH + 5)):
        torch.testing.assert_close(basis[rows], encoder.basis(places[rows]))


def test_a_tied_skip_takes_part_in_the_tied_space(make_encoder, places):
    encoder = make_encoder(skip=3, tie_skip=True).eval()
    assert (encoder.tied_dim, encoder.out_dim) == (16, 16)
    tied = encoder(encoder.basis(places)).detach()
    low = et.SphericalHarmonics(3)(places) * math.sqrt(4 * math.pi)
    size = tied[:, :7].square().mean().sqrt()  # both parts start equally large
    np.testing.assert_allclose(tied[:, 7:], low * size.item(), rtol=0.05, atol=1e-3)
    np.testing.assert_allclose(encoder.embed(places), tied, atol=1e-5)
    assert et.LocationEncoder.from_spec(encoder.spec).tie_skip


@pytest.mark.parametrize("skip", [0, 5])
def test_a_tied_skip_must_be_in_the_encoding(skip):
    with pytest.raises(ValueError, match=r"tie_skip needs a skip of at least 1 .* have \(4\), got"):
        et.LocationEncoder(et.SphericalHarmonics(4), out_dim=64, skip=skip, tie_skip=True)
