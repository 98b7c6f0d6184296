"""Spherical harmonics: poles, date line, orthonormality, SciPy; and the raw coordinates."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from earthtie_lite.coords import sample_sphere
from earthtie_lite.encodings import SphericalHarmonics, UnitVectors, from_spec, to_spec


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
def test_at_a_pole_all_orders_but_zero_vanish_exactly(latitude):
    lonlat = np.stack([np.linspace(-180, 180, 9), np.full(9, latitude)], axis=1)
    harmonics = SphericalHarmonics(60)(lonlat)
    assert (harmonics[:, orders(60) != 0] == 0).all()
    assert (harmonics == harmonics[0]).all()


def test_at_the_north_pole_order_zero_has_its_known_value():
    degrees = np.arange(60)
    got = SphericalHarmonics(60)([[123.0, 90.0]])[0, column(degrees, 0)]
    np.testing.assert_allclose(got, np.sqrt((2 * degrees + 1) / (4 * np.pi)), rtol=1e-12)


def test_both_sides_of_the_date_line_are_the_same_bits():
    latitudes = np.linspace(-90, 90, 181)
    east, west = (np.stack([np.full(181, side), latitudes], axis=1) for side in (180.0, -180.0))
    assert (SphericalHarmonics(60)(east) == SphericalHarmonics(60)(west)).all()


def test_harmonics_are_continuous_across_the_date_line():
    step = 1e-7
    near = SphericalHarmonics(60)([[180 - step, 35.0], [-180 + step, 35.0]])
    assert np.abs(near[0] - near[1]).max() < 1e-5


def test_columns_are_ordered_by_degree_then_order():
    # Degree 1 is y, z, x of the place times sqrt(3 / 4 pi).
    lonlat = np.array([[30.0, 20.0]])
    x, y, z = UnitVectors()(lonlat)[0]
    expected = np.sqrt(3 / (4 * np.pi)) * np.array([y, z, x])
    first, second, third = column(1, -1), column(1, 0), column(1, 1)
    np.testing.assert_allclose(SphericalHarmonics(2)(lonlat)[0, [first, second, third]], expected)


def test_lower_degrees_are_the_first_columns():
    lonlat = sample_sphere(50, np.random.default_rng(1))
    few, many = SphericalHarmonics(5)(lonlat), SphericalHarmonics(30)(lonlat)
    np.testing.assert_allclose(many[:, :25], few, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_degrees", [1, 7, 60])
def test_there_are_l_squared_columns_in_float64(n_degrees):
    encoding = SphericalHarmonics(n_degrees)
    harmonics = encoding([[10.0, 20.0], [30.0, 40.0]])
    assert harmonics.shape == (2, n_degrees**2) == (2, encoding.out_dim)
    assert harmonics.dtype == np.float64


@pytest.mark.parametrize("bad", [0, -3, 101, 2.5, "10", None])
def test_a_bad_number_of_degrees_is_refused(bad):
    with pytest.raises(ValueError, match=r"number of degrees must be an integer in \[1, 100\]"):
        SphericalHarmonics(bad)


def test_bad_places_are_refused():
    with pytest.raises(ValueError, match=r"latitude must lie in \[-90, 90\], got 151.2 in row 0"):
        SphericalHarmonics(3)([[30.0, 151.2]])


def test_raw_coordinates_point_where_they_should():
    places = [[0.0, 0.0], [90.0, 0.0], [0.0, 90.0], [-90.0, 0.0]]
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]]
    np.testing.assert_array_equal(UnitVectors()(places).round(12), expected)


@pytest.mark.parametrize("encoding", [UnitVectors(), SphericalHarmonics(7)])
def test_an_encoding_is_rebuilt_from_its_description(encoding):
    assert from_spec(to_spec(encoding)) == encoding


def test_a_description_is_json_whatever_integer_came():
    import json

    assert json.loads(json.dumps(to_spec(SphericalHarmonics(np.int64(5))))) == {
        "class": "SphericalHarmonics",
        "n_degrees": 5,
    }


def test_an_unknown_encoding_is_refused():
    with pytest.raises(ValueError, match=r"unknown encoding 'Wavelets': expected one of"):
        from_spec({"class": "Wavelets"})
