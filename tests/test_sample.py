"""The embedded sample: hashes, pixels, patches, land."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from earthtie_lite import sample as embedded
from earthtie_lite.coords import great_circle_km, hold_out
from earthtie_lite.sample import PATCH_KM, RASTERS, Raster, is_land, sample_land

READERS = {f"{name}.tif": embedded.raster for name in RASTERS}
READERS |= {"places.parquet": embedded.places, "countries.fgb": embedded.countries}
READERS |= {"land.fgb": embedded.land}


def test_every_file_is_compared_with_the_manifest_before_it_is_read(tmp_path, monkeypatch, damage):
    copy = shutil.copytree(embedded.folder(), tmp_path / "sample")
    monkeypatch.setattr(embedded, "folder", lambda: copy)
    for name, reader in READERS.items():
        damage(copy / name, "flipped")
        with pytest.raises(ValueError, match=rf"{name} is missing, truncated or altered"):
            reader.__wrapped__(Path(name).stem) if ".tif" in name else reader.__wrapped__()


def test_the_value_of_a_place_is_that_of_its_pixel():
    raster = Raster(np.mgrid[0:18, 0:36], None, {})  # pixels of 10 degrees, by row and column
    places = [[-180, 90], [-179, 89], [179, -89], [180, -90], [5, 45], [-74, 40.7]]
    pixels = [[0, 0], [0, 0], [17, 35], [17, 0], [4, 18], [4, 10]]  # it starts at the date line
    assert raster.at(places).tolist() == pixels


@pytest.fixture(scope="module")
def coordinates():
    """Return a fine raster whose values are the latitude and longitude of its pixels."""
    lat = 90 - (np.arange(1800) + 0.5) / 10
    lon = -180 + (np.arange(3600) + 0.5) / 10
    return Raster(np.stack(np.meshgrid(lat, lon, indexing="ij")), None, {})


def test_a_patch_has_north_up_and_east_right_and_is_centred_on_its_place(coordinates):
    patches = coordinates.patches([[20.05, 10.05]] * 2, 9)
    assert patches.shape == (2, 2, 9, 9)  # places, bands, rows, columns
    lat, lon = patches[0]
    assert (np.diff(lat, axis=0) < 0).all()
    assert (np.diff(lat, axis=1) == 0).all()
    assert (np.diff(lon, axis=1) > 0).all()
    assert (np.diff(lon, axis=0) == 0).all()
    assert (lat[4, 4], lon[4, 4]) == pytest.approx((10.05, 20.05), abs=0.06)


@pytest.mark.parametrize("latitude", [0.0, 45.0, -60.0, 75.0])
def test_a_patch_covers_the_same_ground_at_every_latitude(coordinates, latitude):
    lat, lon = coordinates.patches([[20.0, latitude]], 15)[0]
    ends = ([[lon[7, i], latitude]] for i in (0, -1)), ([[20.0, lat[i, 7]]] for i in (0, -1))
    for one, other in ends:
        # From the centre of the first pixel to that of the last.
        assert great_circle_km(one, other)[0] == pytest.approx(PATCH_KM * 14 / 15, abs=12)


def test_a_patch_wraps_at_the_date_line(coordinates):
    one, other = coordinates.patches([[180.0, 10.0], [-180.0, 10.0]], 9)
    np.testing.assert_array_equal(one, other)
    assert (one[1, :, 0] > 179).all()
    assert (one[1, :, -1] < -179).all()


def test_rows_beyond_a_pole_repeat_the_last_one(coordinates):
    north, south = coordinates.patches([[20.0, 90.0], [20.0, -90.0]], 9)[:, 0]
    assert (north[:5] == coordinates.values[0, 0, 0]).all()
    assert (south[4:] == coordinates.values[0, -1, 0]).all()
    assert len(np.unique(north)) == len(np.unique(south)) > 1


def test_land_is_distinguished_from_sea_and_antarctica_is_left_out():
    assert is_land([[13.4, 50.5], [-100, 40], [134, -25], [25, 0]]).all()
    sea = [[-30, 0], [-150, 30], [80, -30], [0, -40]]
    assert not is_land([*sea, [0.0, -80.0], [90.0, -75.0]]).any()


def test_places_are_drawn_on_land_by_area_and_the_first_do_not_depend_on_their_number():
    few, many = (sample_land(n, np.random.default_rng(3)) for n in (50, 20_000))
    np.testing.assert_array_equal(few, many[:50])
    assert is_land(many).all()
    # Africa has 30.2, Australia 7.7 of 135 million square kilometres without Antarctica.
    lon, lat = many.T
    australia = (lon > 112) & (lon < 154.5) & (lat > -44) & (lat < -10.5)
    assert australia.mean() == pytest.approx(7.7 / 135, abs=0.012)


def test_unknown_rasters_and_no_places_are_refused():
    with pytest.raises(ValueError, match=r"unknown raster 'rain': expected one of \('satellite'"):
        embedded.raster("rain")
    for n in (0, 2.5):
        with pytest.raises(ValueError, match="must be an integer of at least 1, got"):
            sample_land(n, np.random.default_rng(0))


def test_the_default_held_out_blocks_reach_every_continent():
    land = sample_land(20_000, np.random.default_rng(1))
    lon, lat = land.T
    continents = {
        "Europe": (lon > -10) & (lon < 40) & (lat > 37),
        "Africa": (lon > -18) & (lon < 35) & (lat < 30),
        "Asia": (lon > 60) & (lat > 10),
        "North America": (lon < -55) & (lat > 15),
        "South America": (lon < -34) & (lat < 10),
        "Australia": (lon > 112) & (lat < -10),
    }
    held_out, _ = hold_out(land)
    for name, inside in continents.items():
        assert 0.05 < held_out[inside].mean() < 0.3, name
