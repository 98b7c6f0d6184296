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


def column(degree, order):
    return degree * degree + degree + order


def orders(n_degrees):
    """Return the order m of each column."""
    return np.concatenate([np.arange(-degree, degree + 1) for degree in range(n_degrees)])


def scipy_harmonics(lonlat, n_degrees):
    """Return the real harmonics (N, L * L) from SciPy's complex ones, without Condon-Shortley."""
    lon, colatitude = np.radians(lonlat[:, 0]), np.radians(90.0 - lonlat[:, 1])
    expected = np.empty((len(lonlat), n_degrees**2))
    for degree in range(n_degrees):
        for order in range(degree + 1):
            value = sph_harm_y(degree, order, colatitude, lon)
            if order == 0:
                expected[:, column(degree, 0)] = value.real
            else:
                value = value * np.sqrt(2) * (-1) ** order
                expected[:, column(degree, order)] = value.real
                expected[:, column(degree, -order)] = value.imag
    return expected


@pytest.mark.parametrize("n_degrees", [1, 2, 10, 20, 40, 60])
def test_harmonics_agree_with_scipy(n_degrees):
    lonlat = sample_sphere(60, np.random.default_rng(0))
    lonlat[:4, 1] = [89.999, -89.999, 0.0, 45.0]
    got = SphericalHarmonics(n_degrees)(lonlat)
    np.testing.assert_allclose(got, scipy_harmonics(lonlat, n_degrees), rtol=0, atol=1e-6)
    assert (got.dtype, got.shape[1]) == (np.float64, SphericalHarmonics(n_degrees).out_dim)


@pytest.mark.parametrize("n_degrees", [10, 40, 60])
def test_harmonics_are_orthonormal_by_quadrature(n_degrees):
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
    harmonics = SphericalHarmonics(60)(lonlat)
    assert (harmonics[:, orders(60) != 0] == 0).all()
    assert (harmonics == harmonics[0]).all()
    degrees = np.arange(60)
    expected = np.sqrt((2 * degrees + 1) / (4 * np.pi)) * np.sign(latitude) ** degrees
    np.testing.assert_allclose(harmonics[0, column(degrees, 0)], expected, rtol=1e-12)


def test_both_sides_of_the_date_line_agree_bitwise():
    latitudes = np.linspace(-90, 90, 181)
    east, west = (np.stack([np.full(181, side), latitudes], axis=1) for side in (180.0, -180.0))
    assert (SphericalHarmonics(60)(east) == SphericalHarmonics(60)(west)).all()
    near = SphericalHarmonics(60)([[180 - 1e-7, 35.0], [-180 + 1e-7, 35.0]])
    assert np.abs(near[0] - near[1]).max() < 1e-5


def test_columns_are_sorted_by_degree_and_order():
    # Degree 1 is y, z, x of the place times sqrt(3 / 4 pi).
    lonlat = np.array([[30.0, 20.0]])
    x, y, z = UnitVectors()(lonlat)[0]
    expected = np.sqrt(3 / (4 * np.pi)) * np.array([y, z, x])
    first, second, third = column(1, -1), column(1, 0), column(1, 1)
    np.testing.assert_allclose(SphericalHarmonics(2)(lonlat)[0, [first, second, third]], expected)


@pytest.mark.parametrize("bad", [0, -3, 101, 2.5, "10", None])
def test_an_invalid_number_of_degrees_is_refused(bad):
    with pytest.raises(ValueError, match=r"number of degrees must be an integer in \[1, 100\]"):
        SphericalHarmonics(bad)


def test_raw_coordinates_are_the_unit_vectors_of_the_places():
    places = [[0.0, 0.0], [90.0, 0.0], [0.0, 90.0], [-90.0, 0.0]]
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]]
    np.testing.assert_array_equal(UnitVectors()(places).round(12), expected)


def test_the_first_siren_layer_is_initialised_within_its_bound():
    weight = SirenLayer(100, 400, omega=30.0, first=True).linear.weight.detach()
    assert 0.99 / 100 < weight.abs().max() <= 1 / 100
    assert weight.std().item() == pytest.approx(1 / 100 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_later_siren_layers_are_initialised_within_their_bound(omega):
    bound = math.sqrt(6 / 256) / omega
    weight = SirenLayer(256, 256, omega).linear.weight.detach()
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_siren_layer_is_the_sine_of_a_scaled_linear_map():
    layer = SirenLayer(3, 4, omega=7.0)
    x = torch.randn(5, 3)
    expected = torch.sin(7.0 * (x @ layer.linear.weight.T + layer.linear.bias))
    torch.testing.assert_close(layer(x), expected)


def test_activations_keep_their_standard_deviation_through_the_layers():
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


def test_dropout_acts_in_training_only(make_encoder, places):
    encoder = make_encoder(dropout=0.5)
    basis = encoder.basis(places)
    encoder.train()
    assert not torch.equal(encoder(basis), encoder(basis))
    np.testing.assert_array_equal(encoder.embed(places), encoder.embed(places))


def test_embedding_keeps_the_training_mode(make_encoder, places):
    for training in (True, False):
        encoder = make_encoder().train(training)
        encoder.embed(places)
        assert encoder.training is training


@pytest.mark.parametrize("skip", [0, 3])
def test_embedding_in_chunks_or_one_by_one_equals_the_whole(
    make_encoder, places, monkeypatch, skip
):
    encoder = make_encoder(skip=skip)
    basis, whole = encoder.basis(places), encoder.embed(places)
    np.testing.assert_array_equal(basis, encoder.encoding(places).astype(np.float32))
    np.testing.assert_allclose(encoder.embed(places[:1]), whole[:1], rtol=0, atol=1e-6)
    monkeypatch.setattr(encoders, "EMBED_BATCH", 7)
    np.testing.assert_allclose(encoder.embed(places), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoder.basis(places), basis)


def test_a_skip_does_not_change_the_width(make_encoder, places):
    for skip in (0, 2, 3):
        encoder = make_encoder(skip=skip)
        assert encoder.embed(places).shape == (500, 16)
        assert encoder.tied_dim == encoder(encoder.basis(places)).shape[1] == 16 - skip**2


def test_the_skip_holds_the_harmonics_of_low_degree_exactly(make_encoder, places):
    z = make_encoder(skip=3).embed(places)
    expected = et.SphericalHarmonics(3)(places) * math.sqrt(4 * math.pi)
    np.testing.assert_array_equal(z[:, 7:], expected.astype(np.float32))


def test_the_skip_is_as_large_as_the_trained_columns(make_encoder):
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
def test_an_invalid_setting_of_the_encoder_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        et.LocationEncoder(**setting)


@pytest.mark.parametrize("encoding", [UnitVectors(), SphericalHarmonics(np.int64(4))])
def test_an_encoder_is_rebuilt_from_its_spec_in_json(encoding):
    encoder = et.LocationEncoder(encoding, 8, 1, 16, 0.1, skip=2, omega=20.0)
    again = et.LocationEncoder.from_spec(json.loads(json.dumps(encoder.spec)))
    assert (again.spec, again.encoding) == (encoder.spec, encoding)
    assert again.load_state_dict(encoder.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": {"class": "Wavelets"}}, "unknown encoding 'Wavelets': expected one of"),
        ({"class": "Transformer"}, "unknown encoder 'Transformer': .*encoders.ENCODERS"),
    ],
)
def test_an_unknown_class_in_a_spec_is_refused(make_encoder, change, message):
    with pytest.raises(ValueError, match=message):
        et.LocationEncoder.from_spec(make_encoder().spec | change)


def test_an_encoding_must_be_a_known_one():
    with pytest.raises(ValueError, match="unknown encoding"):
        et.LocationEncoder(unit_vectors)


@pytest.fixture(scope="module")
def alike(make_encoder):
    return [make_encoder(seed, skip=2) for seed in range(3)]


def test_joined_columns_are_rotated_principal_components(alike, places):
    width = alike[0].tied_dim
    model = et.JoinedEncoders.fit(alike, places)
    z = model.embed(ELSEWHERE)
    assert z.shape == (50, 16)
    assert z.dtype == np.float32
    here, there = (
        [encoder.embed(where)[:, :width] for encoder in alike] for where in (places, ELSEWHERE)
    )
    joined, other = (
        np.concatenate([p / q.std() for p, q in zip(part, here)], axis=1) for part in (here, there)
    )
    _, _, components = np.linalg.svd(joined - joined.mean(axis=0), full_matrices=False)
    expected = (other - joined.mean(axis=0)) @ components[:width].T
    # A rotation keeps inner products.
    np.testing.assert_allclose(
        z[:, :width] @ z[:, :width].T, expected @ expected.T, rtol=1e-3, atol=1e-3
    )
    assert np.abs(z[:, :width] - expected).max() > 0.1
    np.testing.assert_array_equal(z[:, width:], alike[0].embed(ELSEWHERE)[:, width:])


def test_joined_encoders_are_saved_and_loaded(alike, places, tmp_path):
    model = et.JoinedEncoders.fit(alike, places)
    model.save_pretrained(tmp_path)
    again = et.JoinedEncoders.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.embed(ELSEWHERE), model.embed(ELSEWHERE))


def test_encoders_that_differ_are_refused(alike, make_encoder):
    with pytest.raises(ValueError, match="must have equal settings"):
        et.JoinedEncoders([alike[0], make_encoder(0)])
    with pytest.raises(ValueError, match="must have equal settings"):
        et.JoinedEncoders([])


def test_joined_encoders_have_no_tied_space(alike, places):
    with pytest.raises(ValueError, match="embed places only"):
        et.JoinedEncoders.fit(alike, places).embed_modality("text", ["Paris"])
