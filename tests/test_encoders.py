"""Location encoders: fixed encodings, the SIREN, the skip, and joined encoders."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

import earthtie_lite as et
from earthtie_lite import encoders
from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.encoders import SirenLayer, SphericalHarmonics, UnitVectors

ELSEWHERE = sample_sphere(50, np.random.default_rng(1))


@pytest.fixture(scope="module")
def places():
    return sample_sphere(500, np.random.default_rng(0))


def scipy_harmonics(lonlat, n_degrees):
    """Return the real harmonics (N, L * L) from SciPy's complex ones, without Condon-Shortley."""
    lon, colatitude = np.radians(lonlat[:, 0]), np.radians(90.0 - lonlat[:, 1])
    expected = np.empty((len(lonlat), n_degrees**2))
    for degree in range(n_degrees):
        for order in range(degree + 1):
            value, zero = sph_harm_y(degree, order, colatitude, lon), degree * degree + degree
            value = value * (np.sqrt(2) * (-1) ** order if order else 1)
            expected[:, zero + order] = value.real
            if order:
                expected[:, zero - order] = value.imag
    return expected


@pytest.mark.parametrize("n_degrees", [1, 2, 10, 60])
def test_harmonics_agree_with_scipy(n_degrees):
    lonlat = sample_sphere(60, np.random.default_rng(0))
    lonlat[:4, 1] = [89.999, -89.999, 0.0, 45.0]
    got = SphericalHarmonics(n_degrees)(lonlat)
    np.testing.assert_allclose(got, scipy_harmonics(lonlat, n_degrees), rtol=0, atol=1e-6)
    assert (got.dtype, got.shape[1]) == (np.float64, SphericalHarmonics(n_degrees).out_dim)


def test_harmonics_are_orthonormal_by_quadrature():
    n_degrees = 60
    # Products have degree 2 L - 2 at most: L Gauss nodes and 2 L - 1 longitudes are exact.
    sines, weights = np.polynomial.legendre.leggauss(n_degrees)
    around = 2 * n_degrees
    lon = -180 + 360 * np.arange(around) / around
    some = np.random.default_rng(0).permutation(n_degrees**2)[:400]
    gram = np.zeros((len(some), len(some)))
    for sine, weight in zip(sines, weights, strict=True):
        ring = np.stack([lon, np.full(around, np.degrees(np.arcsin(sine)))], axis=1)
        harmonics = SphericalHarmonics(n_degrees)(ring)[:, some]
        gram += weight * 2 * np.pi / around * harmonics.T @ harmonics
    np.testing.assert_allclose(gram, np.eye(len(some)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("latitude", [90.0, -90.0])
def test_at_a_pole_orders_vanish_exactly_except_zero_which_is_known(latitude):
    lonlat = np.stack([np.linspace(-180, 180, 9), np.full(9, latitude)], axis=1)
    harmonics, degrees = SphericalHarmonics(60)(lonlat), np.arange(60)
    expected = np.zeros(3600)
    expected[degrees * degrees + degrees] = np.sqrt((2 * degrees + 1) / (4 * np.pi))
    expected[degrees * degrees + degrees] *= np.sign(latitude) ** degrees
    assert (harmonics[:, expected == 0] == 0).all()
    assert (harmonics == harmonics[0]).all()
    np.testing.assert_allclose(harmonics[0], expected, rtol=1e-12)


def test_both_sides_of_the_date_line_agree_bitwise():
    latitudes = np.linspace(-90, 90, 181)
    east, west = (np.stack([np.full(181, side), latitudes], axis=1) for side in (180.0, -180.0))
    assert (SphericalHarmonics(60)(east) == SphericalHarmonics(60)(west)).all()
    near = SphericalHarmonics(60)([[180 - 1e-7, 35.0], [-180 + 1e-7, 35.0]])
    assert np.abs(near[0] - near[1]).max() < 1e-5


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_siren_layers_are_initialised_within_their_bounds(omega, first):
    bound = 1 / 256 if first else math.sqrt(6 / 256) / omega
    weight = SirenLayer(256, 256, omega, first).linear.weight.detach()
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_siren_layer_is_the_sine_of_a_scaled_linear_map():
    layer, x = SirenLayer(3, 4, omega=7.0), torch.randn(5, 3)
    expected = torch.sin(7.0 * (x @ layer.linear.weight.T + layer.linear.bias))
    torch.testing.assert_close(layer(x), expected)


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


@pytest.mark.parametrize("encoding", [UnitVectors(), SphericalHarmonics(np.int64(4))])
def test_an_encoder_is_rebuilt_from_its_spec_in_json(encoding):
    encoder = et.LocationEncoder(encoding, 8, 1, 16, 0.1, skip=2, omega=20.0)
    again = et.LocationEncoder.from_spec(json.loads(json.dumps(encoder.spec)))
    assert (again.spec, again.encoding) == (encoder.spec, encoding)
    assert again.load_state_dict(encoder.state_dict())


@pytest.mark.parametrize(
    ("make", "name", "values", "message"),
    [
        *((et.LocationEncoder, n, (0, 2.5), f"{n} must be a pos") for n in ("width", "out_dim")),
        (et.LocationEncoder, "depth", (0, -1), "depth must be a positive integer"),
        (et.LocationEncoder, "dropout", (1.0, -0.1, math.nan), r"dropout must lie in \[0, 1\)"),
        (et.LocationEncoder, "omega", (0.0, math.nan, math.inf), "omega must be positive"),
        (et.LocationEncoder, "skip", (16, -1, 1.5), r"0 <= skip \*\* 2 < out_dim = 256"),
        (et.LocationEncoder, "encoding", (unit_vectors,), "unknown encoding"),
        (SphericalHarmonics, "n_degrees", (0, 101, 2.5, "10", None), r"integer in \[1, 100\]"),
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
