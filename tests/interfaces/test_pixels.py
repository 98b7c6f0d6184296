"""Grids of pixels and the places of their centres."""

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.windows import Window

from earthtie_lite.coords import as_lonlat
from earthtie_lite.interfaces.pixels import WORLD, make_grid, tiles

METRE = 180 / (np.pi * 6378137.0)  # of Web Mercator, in degrees at the equator


@pytest.mark.parametrize(
    ("bounds", "resolution", "crs", "centres"),
    [
        ((0, 0, 2, 2), 1.0, 4326, [[0.5, 1.5], [1.5, 1.5], [0.5, 0.5], [1.5, 0.5]]),
        ((178, 0, 182, 1), 1, 4326, [[178.5, 0.5], [179.5, 0.5], [-179.5, 0.5], [-178.5, 0.5]]),
        ((-181, 0, -179, 1), 1, 4326, [[179.5, 0.5], [-179.5, 0.5]]),
        ((179, -41, 181, -40), 1, "EPSG:4167", [[179.5, -40.5], [-179.5, -40.5]]),  # New Zealand
        ((0, -1000, 2000, 1000), 2000, "EPSG:3857", [[1000 * METRE, 0.0]]),
        ((0, -1000, 2000, 1000), 2000, CRS.from_epsg(3857), [[1000 * METRE, 0.0]]),
        ((499_500, 4_999_500, 500_500, 5_000_500), 1000, 32632, [[9.0, 45.1535]]),  # UTM
    ],
)
def test_centres_run_from_the_top_row_by_row(bounds, resolution, crs, centres):
    lonlat = make_grid(bounds, resolution, crs).lonlat()
    np.testing.assert_allclose(lonlat, centres, atol=1e-4)


def test_the_world_is_covered_once():
    grid = make_grid(resolution=0.1)
    lonlat = grid.lonlat()
    assert grid.shape == (1800, 3600)
    assert as_lonlat(lonlat).min(axis=0) == pytest.approx([-179.95, -89.95])
    assert lonlat.max(axis=0) == pytest.approx([179.95, 89.95])
    assert len(np.unique(lonlat[:3600, 0].round(6))) == 3600


@pytest.mark.parametrize(
    ("bounds", "resolution", "shape"),
    [
        ((5.866, 47.27, 15.04, 55.06), 0.5, (16, 19)),  # outwards to whole pixels
        ((0, 0, 0.3, 0.3), 0.1, (3, 3)),  # not 4, by rounding
        ((0, 0, 0.1, 0.1), 1.0, (1, 1)),
        (WORLD, (2.0, 1.0), (180, 180)),
    ],
)
def test_right_and_bottom_move_outwards_to_whole_pixels(bounds, resolution, shape):
    grid = make_grid(bounds, resolution)
    assert grid.shape == shape
    assert (grid.left, grid.top) == (bounds[0], bounds[3])


def test_a_row_beyond_the_pole_is_not_a_place():
    grid = make_grid(WORLD, 0.7)
    rows = grid.lonlat().reshape(*grid.shape, 2)
    assert np.isnan(rows[-1]).all()  # its centre would be at 90.25 S
    as_lonlat(rows[:-1].reshape(-1, 2))


def test_a_window_holds_the_same_centres_as_the_whole():
    grid = make_grid((-2e6, -2e6, 3e6, 1e6), 1e5, "EPSG:3995")
    whole = grid.lonlat().reshape(*grid.shape, 2)
    part = grid.lonlat(Window(col_off=7, row_off=3, width=4, height=2))
    np.testing.assert_array_equal(part, whole[3:5, 7:11].reshape(-1, 2))


@pytest.mark.parametrize(
    ("crs", "half_width", "half_height", "share"),
    [
        # Equal Earth's outline fills this share of its box; an ellipse (Mollweide) pi / 4.
        ("EPSG:8857", 17_243_959.06, 8_392_927.6, 0.881),
        ("ESRI:54009", 18_040_095.7, 9_020_047.85, np.pi / 4),
    ],
)
def test_corners_of_a_world_map_are_not_places(crs, half_width, half_height, share):
    bounds = (-half_width, -half_height, half_width, half_height)
    grid = make_grid(bounds, half_height / 100, crs)
    places = grid.lonlat().reshape(*grid.shape, 2)
    known = np.isfinite(places).all(axis=-1)
    assert known.mean() == pytest.approx(share, abs=0.01)
    assert not known[0, 0]
    assert not known[-1, -1]
    assert known[grid.shape[0] // 2].mean() > 0.98
    assert places[grid.shape[0] // 2, 2, 0] < -170  # not the other side of the date line


def test_tiles_cover_each_pixel_once():
    counts = np.zeros((5, 7), dtype=int)
    for window in tiles((5, 7), 3):
        rows, columns = window.toslices()
        assert counts[rows, columns].shape == (window.height, window.width)
        counts[rows, columns] += 1
    assert (counts == 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": (170, -50, -170, -30)}, "across the date line it is right=190"),
        ({"bounds": (0, 10, 1, 0)}, "left < right and bottom < top"),
        ({"bounds": (0, 0, np.nan, 1)}, "left < right and bottom < top"),
        ({"bounds": (-180, -90, 200, 90)}, "span at most 360"),
        ({"bounds": (0, 0, 10, 95)}, "stay within the poles"),
        ({"bounds": (4e5, 5e6, 5e5, 6e6)}, "for metres name their crs="),
        ({"bounds": (0, 0, 1)}, r"must be \(left, bottom, right, top\).*got \(0, 0, 1\)"),
        ({"resolution": (1, 1, 1)}, r"a number or \(width, height\)"),
        ({"resolution": "fine"}, r"a number or \(width, height\).*'fine'"),
        *(({"resolution": r}, "resolution must be positive") for r in (0, (1, -1), np.inf, np.nan)),
        ({"crs": "EPSG:99"}, "expected a CRS, for example 'EPSG:4326', got 'EPSG:99'"),
        ({"crs": None}, "expected a CRS"),
        ({"crs": "EPSG:32632"}, "not in degrees: give bounds and resolution"),
    ],
)
def test_a_bad_grid_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_grid(**settings)
