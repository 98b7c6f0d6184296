"""The embedded sample: hashes, pixels, patches, land."""

import shutil

import numpy as np
import pytest

from earthtie_lite import sample as embedded
from earthtie_lite.coords import destination, great_circle_km
from earthtie_lite.sample import PATCH_KM, Raster

CACHES = ("raster", "places", "countries", "land")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Read from a copy of the sample that a test may damage."""
    root = tmp_path / "sample"
    shutil.copytree(embedded.folder(), root)
    monkeypatch.setattr(embedded, "folder", lambda: root)
    for name in CACHES:
        getattr(embedded, name).cache_clear()
    yield root
    for name in CACHES:
        getattr(embedded, name).cache_clear()


READERS = {
    "satellite.tif": lambda: embedded.raster("satellite"),
    "lights.tif": lambda: embedded.raster("lights"),
    "elevation.tif": lambda: embedded.raster("elevation"),
    "climate.tif": lambda: embedded.raster("climate"),
    "places.parquet": embedded.places,
    "countries.fgb": embedded.countries,
    "land.fgb": embedded.land,
}


def test_every_file_is_compared_with_the_manifest_before_it_is_read(copy):
    for name in READERS:
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name} is missing, truncated or altered"):
            READERS[name]()


def test_an_unknown_raster_is_refused():
    with pytest.raises(ValueError, match=r"unknown raster 'rain': expected one of \('satellite'"):
        embedded.raster("rain")


@pytest.fixture(scope="module")
def numbered():
    """Return a raster with pixels of 10 degrees whose values are row and column."""
    rows, columns = np.mgrid[0:18, 0:36]
    return Raster(np.stack([rows, columns]), None, {})


@pytest.mark.parametrize(
    ("lonlat", "pixel"),
    [
        ((-179.0, 89.0), (0, 0)),
        ((-180.0, 90.0), (0, 0)),
        ((179.0, -89.0), (17, 35)),
        ((180.0, -90.0), (17, 0)),  # the date line is where the raster starts
        ((5.0, 45.0), (4, 18)),
        ((-74.0, 40.7), (4, 10)),
    ],
)
def test_the_value_of_a_place_is_that_of_its_pixel(numbered, lonlat, pixel):
    assert tuple(numbered.at([lonlat])[0]) == pixel


@pytest.fixture(scope="module")
def coordinates():
    """Return a fine raster whose values are the latitude and longitude of its pixels."""
    lat = 90 - (np.arange(1800) + 0.5) / 10
    lon = -180 + (np.arange(3600) + 0.5) / 10
    return Raster(np.stack(np.meshgrid(lat, lon, indexing="ij")), None, {})


def test_a_patch_has_north_up_and_east_right(coordinates):
    lat, lon = coordinates.patches([[20.0, 10.0]], 9)[0]
    assert (np.diff(lat, axis=0) < 0).all()
    assert (np.diff(lat, axis=1) == 0).all()
    assert (np.diff(lon, axis=1) > 0).all()
    assert (np.diff(lon, axis=0) == 0).all()


def test_a_patch_is_centred_on_its_place(coordinates):
    lat, lon = coordinates.patches([[20.05, 10.05]], 9)[0]
    assert lat[4, 4] == pytest.approx(10.05, abs=0.06)
    assert lon[4, 4] == pytest.approx(20.05, abs=0.06)


@pytest.mark.parametrize("latitude", [0.0, 45.0, -60.0, 75.0])
def test_a_patch_covers_the_same_ground_at_every_latitude(coordinates, latitude):
    lat, lon = coordinates.patches([[20.0, latitude]], 15)[0]
    west, east = [[lon[7, 0], latitude]], [[lon[7, -1], latitude]]
    north, south = [[20.0, lat[0, 7]]], [[20.0, lat[-1, 7]]]
    expected = PATCH_KM * 14 / 15  # from the centre of the first pixel to that of the last
    assert great_circle_km(west, east)[0] == pytest.approx(expected, abs=12)
    assert great_circle_km(north, south)[0] == pytest.approx(expected, abs=12)


def test_a_patch_wraps_at_the_date_line(coordinates):
    one, other = coordinates.patches([[180.0, 10.0], [-180.0, 10.0]], 9)
    np.testing.assert_array_equal(one, other)
    assert (one[1, :, 0] > 179).all()
    assert (one[1, :, -1] < -179).all()


@pytest.mark.parametrize(("latitude", "row"), [(90.0, 0), (-90.0, -1)])
def test_rows_beyond_a_pole_repeat_the_last_one(coordinates, latitude, row):
    lat = coordinates.patches([[20.0, latitude]], 9)[0, 0]
    last = coordinates.values[0, row, 0]
    beyond = lat[:5] if latitude > 0 else lat[4:]
    assert (beyond == last).all()
    assert (lat != last).any()


def test_patches_are_ordered_as_places_bands_rows_columns():
    patches = embedded.raster("satellite").patches([[0, 0], [10, 10]], 15)
    assert patches.shape == (2, 3, 15, 15)
    assert patches.dtype == np.uint8


def test_land_is_distinguished_from_sea_and_antarctica_is_left_out():
    land = [[13.4, 50.5], [-100, 40], [134, -25], [25, 0]]
    sea = [[-30, 0], [-150, 30], [80, -30], [0, -40]]
    assert embedded.is_land(land).all()
    assert not embedded.is_land([*sea, [0.0, -80.0], [90.0, -75.0]]).any()


def test_sampled_places_are_on_land_and_the_first_do_not_depend_on_their_number():
    few, many = (embedded.sample_land(n, np.random.default_rng(3)) for n in (50, 30_000))
    assert embedded.is_land(many).all()
    np.testing.assert_array_equal(few, many[:50])


def test_land_is_sampled_by_area():
    # Africa has 30.2, Australia 7.7 of 135 million square kilometres without Antarctica.
    drawn = embedded.sample_land(20_000, np.random.default_rng(0))
    lon, lat = drawn.T
    australia = (lon > 112) & (lon < 154.5) & (lat > -44) & (lat < -10.5)
    assert australia.mean() == pytest.approx(7.7 / 135, abs=0.012)


@pytest.mark.parametrize("bad", [0, -3, 2.5])
def test_drawing_no_places_is_refused(bad):
    with pytest.raises(ValueError, match="must be an integer of at least 1, got"):
        embedded.sample_land(bad, np.random.default_rng(0))


def test_the_side_of_a_patch_is_one_degree_of_latitude():
    north = destination([[0.0, 0.0]], 0, PATCH_KM)
    assert north[0, 1] == pytest.approx(1.0, abs=0.01)
