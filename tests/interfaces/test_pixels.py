"""Grids of pixels and the places of their centres."""

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.windows import Window

from earthtie_lite.coords import as_lonlat
from earthtie_lite.interfaces.pixels import WORLD, grid_lonlat, make_grid, tiles


def test_centres_run_from_the_top_row_by_row():
    lonlat, shape = grid_lonlat((0, 0, 3, 2), 1.0)
    assert shape == (2, 3)
    assert lonlat.tolist() == [
        [0.5, 1.5],
        [1.5, 1.5],
        [2.5, 1.5],
        [0.5, 0.5],
        [1.5, 0.5],
        [2.5, 0.5],
    ]


def test_the_world_is_covered_once():
    lonlat, shape = grid_lonlat(resolution=0.1)
    assert shape == (1800, 3600)
    assert as_lonlat(lonlat).min(axis=0) == pytest.approx([-179.95, -89.95])
    assert lonlat.max(axis=0) == pytest.approx([179.95, 89.95])
    assert len(np.unique(lonlat[:3600, 0].round(6))) == 3600


def test_right_and_bottom_move_outwards_to_whole_pixels():
    grid = make_grid((5.866, 47.27, 15.04, 55.06), 0.5)
    assert grid.shape == (16, 19)
    assert (grid.left, grid.top) == (5.866, 55.06)
    assert make_grid((0, 0, 0.3, 0.3), 0.1).shape == (3, 3)  # not 4, by rounding
    assert make_grid((0, 0, 0.1, 0.1), 1.0).shape == (1, 1)


def test_a_pixel_may_be_wider_than_tall():
    assert make_grid(WORLD, (2.0, 1.0)).shape == (180, 180)


def test_a_row_beyond_the_pole_is_no_place():
    lonlat, shape = grid_lonlat(WORLD, 0.7)
    assert shape == (258, 515)
    rows = lonlat.reshape(*shape, 2)
    assert np.isnan(rows[-1]).all()  # its centre would be at 90.25 S
    as_lonlat(rows[:-1].reshape(-1, 2))


def test_longitudes_go_on_across_the_date_line():
    lonlat, _ = grid_lonlat((178, 0, 182, 1))
    assert lonlat[:, 0].tolist() == [178.5, 179.5, -179.5, -178.5]
    lonlat, _ = grid_lonlat((-182, 0, -178, 1))
    assert lonlat[:, 0].tolist() == [178.5, 179.5, -179.5, -178.5]


def test_a_window_holds_the_same_centres_as_the_whole():
    grid = make_grid((-2e6, -2e6, 3e6, 1e6), 1e5, "EPSG:3995")
    whole = grid.lonlat().reshape(*grid.shape, 2)
    part = grid.lonlat(Window(col_off=7, row_off=3, width=4, height=2))
    np.testing.assert_array_equal(part, whole[3:5, 7:11].reshape(-1, 2))


@pytest.mark.parametrize("crs", ["EPSG:3857", 3857, CRS.from_epsg(3857)])
def test_centres_are_reprojected(crs):
    metre = 180 / (np.pi * 6378137.0)  # of Web Mercator, in degrees at the equator
    lonlat, _ = grid_lonlat((0, -1000, 2000, 1000), 2000, crs)
    np.testing.assert_allclose(lonlat, [[1000 * metre, 0.0]], atol=1e-9)


def test_utm_is_reprojected():
    lonlat, _ = grid_lonlat((499_500, 4_999_500, 500_500, 5_000_500), 1000, "EPSG:32632")
    np.testing.assert_allclose(lonlat, [[9.0, 45.1535]], atol=1e-3)  # the central meridian


@pytest.mark.parametrize(
    ("crs", "half_width", "half_height", "part"),
    [
        # Equal Earth's outline holds this part of its box; an ellipse (Mollweide) pi / 4.
        ("EPSG:8857", 17_243_959.06, 8_392_927.6, 0.881),
        ("ESRI:54009", 18_040_095.7, 9_020_047.85, np.pi / 4),
    ],
)
def test_corners_of_a_world_map_are_no_places(crs, half_width, half_height, part):
    bounds = (-half_width, -half_height, half_width, half_height)
    lonlat, shape = grid_lonlat(bounds, half_height / 100, crs)
    known = np.isfinite(lonlat).all(axis=1)
    assert known.mean() == pytest.approx(part, abs=0.01)
    assert (np.isnan(lonlat[~known])).all()
    rows = known.reshape(shape)
    assert not rows[0, 0]
    assert not rows[-1, -1]
    assert rows[shape[0] // 2].mean() > 0.98
    west = lonlat.reshape(*shape, 2)[shape[0] // 2, 2]
    assert west[0] < -170  # not the other side of the date line


def test_a_geographic_crs_of_another_datum_crosses_the_date_line():
    lonlat, _ = grid_lonlat((179, -41, 181, -40), 1, "EPSG:4167")  # New Zealand
    np.testing.assert_allclose(lonlat, [[179.5, -40.5], [-179.5, -40.5]], atol=1e-4)


def test_tiles_cover_each_pixel_once():
    counts = np.zeros((5, 7), dtype=int)
    for window in tiles((5, 7), 3):
        rows, columns = window.toslices()
        assert counts[rows, columns].shape == (window.height, window.width)
        counts[rows, columns] += 1
    assert (counts == 1).all()
    assert len(list(tiles(make_grid((0, 0, 7, 5)).shape, 3))) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": (170, -50, -170, -30)}, "across the date line it is right=190"),
        ({"bounds": (0, 10, 1, 0)}, "left < right and bottom < top"),
        ({"bounds": (-180, -90, 200, 90)}, "span at most 360"),
        ({"bounds": (0, 0, 10, 95)}, "stay within the poles"),
        ({"bounds": (4e5, 5e6, 5e5, 6e6)}, "for metres name their crs="),
        ({"bounds": (0, 0, 1)}, r"must be \(left, bottom, right, top\), got \(0, 0, 1\)"),
        ({"bounds": (0, 0, np.nan, 1)}, r"must be \(left, bottom, right, top\)"),
        ({"resolution": 0}, "resolution must be positive.*got 0"),
        ({"resolution": (1, -1)}, "resolution must be positive"),
        ({"resolution": np.inf}, "resolution must be positive"),
        ({"resolution": (1, 1, 1)}, "resolution must be positive"),
        ({"resolution": "fine"}, "resolution must be positive.*got 'fine'"),
        ({"bounds": (0, 0, "1", 1)}, r"must be \(left, bottom, right, top\)"),
        ({"crs": "EPSG:99"}, "expected a CRS, for example 'EPSG:4326', got 'EPSG:99'"),
        ({"crs": None}, "expected a CRS"),
    ],
)
def test_a_grid_that_is_not_understood_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_grid(**settings)


def test_a_projection_without_bounds_is_refused():
    with pytest.raises(ValueError, match="not in degrees: give bounds and resolution"):
        make_grid(crs="EPSG:32632")
