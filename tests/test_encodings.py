"""Fixed encodings: values, the date line and the poles, settings."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import sph_harm_y

from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.encodings import (
    ENCODINGS,
    FourierFeatures,
    Sphere2Vec,
    SphericalHarmonics,
    UnitVectors,
)

EACH = [UnitVectors(), SphericalHarmonics(60), FourierFeatures(), Sphere2Vec(8)]


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


@pytest.mark.parametrize("encoding", EACH, ids=repr)
def test_both_sides_of_the_date_line_agree_bitwise(encoding):
    latitudes = np.linspace(-90, 90, 181)
    east, west = (np.stack([np.full(181, side), latitudes], axis=1) for side in (180.0, -180.0))
    assert (encoding(east) == encoding(west)).all()
    near = encoding([[180 - 1e-7, 35.0], [-180 + 1e-7, 35.0]])
    assert np.abs(near[0] - near[1]).max() < 1e-5


@pytest.mark.parametrize("latitude", [90.0, -90.0])
@pytest.mark.parametrize("encoding", EACH, ids=repr)
def test_a_pole_is_one_place_and_continuous(encoding, latitude):
    around = np.stack([np.linspace(-180, 180, 9), np.full(9, latitude)], axis=1)
    pole, near = encoding(around), encoding(around * [1, 1 - 1e-9])
    assert (pole == pole[0]).all()
    np.testing.assert_allclose(near, pole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoding", EACH, ids=repr)
def test_an_encoding_is_float64_tells_places_apart_and_is_its_settings(encoding):
    places = sample_sphere(300, np.random.default_rng(0))
    got = encoding(places)
    assert (got.dtype, got.shape) == (np.float64, (300, encoding.out_dim))
    assert len(np.unique(got, axis=0)) == 300
    again = ENCODINGS[type(encoding).__name__](**json.loads(json.dumps(asdict(encoding))))
    assert (again, hash(again)) == (encoding, hash(encoding))
    np.testing.assert_array_equal(again(places), got)


@pytest.mark.parametrize("scale", [0.5, 4.0, 16.0])
def test_the_inner_product_of_fourier_features_is_a_gaussian_of_the_distance(scale):
    lonlat = sample_sphere(40, np.random.default_rng(0)) * min(1, 1 / scale)
    features = FourierFeatures(10_000, [scale])(lonlat)
    chords = np.linalg.norm(unit_vectors(lonlat)[:, None] - unit_vectors(lonlat), axis=2)
    expected = np.exp(-(scale**2) * chords**2 / 2)
    np.testing.assert_allclose(features @ features.T / 10_000, expected, rtol=0, atol=0.05)


def test_the_waves_of_a_scale_are_the_unit_waves_times_the_scale_and_differ_by_seed():
    lonlat = sample_sphere(20, np.random.default_rng(0))
    few = FourierFeatures(4, [1e-4, 2e-4])
    cosines, sines = np.split(few(lonlat), 2, axis=1)
    np.testing.assert_allclose(cosines**2 + sines**2, 1, rtol=1e-12)
    waves, *_ = np.linalg.lstsq(unit_vectors(lonlat), sines, rcond=None)  # sin x = x, if small
    twice = np.sin(unit_vectors(lonlat) @ waves * 5)
    np.testing.assert_allclose(replace(few, scales=(5e-4, 1e-3))(lonlat)[:, 8:], twice, atol=1e-8)
    assert np.abs(replace(few, seed=1)(lonlat) - few(lonlat)).max() > 1e-5


def test_the_terms_of_sphere2vec_are_those_of_its_definition():
    lonlat = sample_sphere(50, np.random.default_rng(0))
    (lon, lat), k = np.radians(lonlat).T[:, :, None], np.array([1, 2, 4])
    along, across = np.cos(k * lat) * np.cos(lat), np.cos(lat)
    waves = [along * np.cos(lon), across * np.cos(k * lon)]
    waves += [along * np.sin(lon), across * np.sin(k * lon)]
    expected = np.concatenate([np.sin(k * lat), *waves], axis=1)
    np.testing.assert_allclose(Sphere2Vec(3)(lonlat), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "name", "values", "message"),
    [
        (SphericalHarmonics, "n_degrees", (0, 101, 2.5, "10", None), r"integer in \[1, 100\]"),
        (FourierFeatures, "n", (0, 10_001, 2.5, "8"), r"waves must be an integer in \[1, 10000\]"),
        (FourierFeatures, "seed", (-1, 0.5, None), r"seed must be an integer of at least 0"),
        (FourierFeatures, "scales", ([], [0.0], [1, -2], [np.nan]), "one or more positive numbers"),
        (FourierFeatures, "scales", (3.0, "16", ["a"], [[1.0]], None), "one or more positive num"),
        (Sphere2Vec, "n_scales", (0, 21, 1.5, None), r"scales must be an integer in \[1, 20\]"),
    ],
)
def test_an_invalid_setting_is_refused(make, name, values, message):
    for value in values:
        with pytest.raises(ValueError, match=message):
            make(**{name: value})
