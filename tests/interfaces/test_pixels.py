"""Grids of pixels and the places of their centres."""

import warnings

import numpy as np
import pyproj
import pytest
from rasterio.crs import CRS
from rasterio.windows import Window

from earthtie_lite.coords import as_lonlat
from earthtie_lite.interfaces.pixels import WORLD, make_grid, tiles

ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229"
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
        ((7, 51, 7.0000001, 51.0000001), 1.0, (1, 1)),  # not 0, by rounding
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
        ({"bounds": (0, -90.6, 10, 0)}, "stay within the poles"),  # centres at 90.1 S
        ({"bounds": (-181, -90, 181, 90)}, "span at most 360"),
        ({"bounds": (900, 50, 930, 70)}, "from -540 to 540"),
        ({"bounds": (0, 0, 10, 102), "crs": 4807}, "span at most 400, .* within the poles"),
        ({"bounds": (350, 0, -350, 9), "crs": 4807}, "across the date line it is right=50"),
        ({"bounds": (4e5, 5e6, 5e5, 6e6)}, r"for metres name their CRS \(crs\)$"),
        ({"bounds": (0, 0, 1)}, r"must be \(left, bottom, right, top\).*got \(0, 0, 1\)"),
        ({"bounds": 7}, r"must be \(left, bottom, right, top\).*got 7"),
        ({"resolution": (1, 1, 1)}, r"a number or \(width, height\)"),
        ({"resolution": "fine"}, r"a number or \(width, height\).*'fine'"),
        *(({"resolution": r}, "must be positive") for r in (0, 1e-99, (1, 0), np.inf, np.nan)),
        ({"crs": "EPSG:99"}, "expected a CRS, for example 'EPSG:4326', got 'EPSG:99'"),
        *(({"crs": crs}, "expected a CRS") for crs in (None, "", {}, CRS(), 3.5)),
        ({"crs": "EPSG:32632"}, "not in degrees: give bounds and resolution"),
        ({"crs": "EPSG:4807"}, "not in degrees: give bounds and resolution"),
    ],
)
def test_a_bad_grid_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_grid(**settings)


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        ("EPSG:4978", r"WGS 84 \(EPSG:4978, Geocentric CRS\)"),
        ("EPSG:7684", r"Kyrg-06 \(EPSG:7684, Geocentric CRS\)"),
        ("EPSG:5773", "EGM96 height .*Vertical CRS"),
        ("EPSG:5817", "Tombak LNG plant .*Engineering CRS"),
        ('LOCAL_CS["site plan",UNIT["metre",1]]', "site plan .*Engineering CRS"),
        ("IAU_2015:49900", r"Mars .*IAU_2015:49900, Geographic 2D CRS"),
        ("ESRI:103878", "Moon_2000_South_Pole_Stereographic .*Projected CRS"),
        ("+proj=longlat +R=6051800", "unknown .*Geographic 2D CRS"),  # Venus
        ("EPSG:2303", "Greenland zone 4 west .*Projected CRS"),  # which PROJ does not know to turn
    ],
)
def test_a_crs_that_is_no_map_of_the_earth_is_refused_by_name(crs, name):
    says = f"{name}.* cannot be turned .*: expected a geographic or projected CRS of the Earth"
    with pytest.raises(ValueError, match=says):
        make_grid((0, 0, 1000, 1000), 100, crs)


@pytest.mark.parametrize(
    ("bounds", "resolution", "ends"),
    [
        ((-0.125, -90.125, 359.875, 90.125), 0.25, [[0, 90], [-0.25, -90]]),  # ERA5
        ((-0.125, -90.125, 359.875, 90.125), (0.25, -0.25), [[0, 90], [-0.25, -90]]),
        ((-0.05, -90.05, 359.95, 90.05), (-0.1, 0.1), [[0, 90], [-0.1, -90]]),
        ((-0.9375, -90.625, 359.0625, 90.625), (1.875, 1.25), [[0, 90], [-1.875, -90]]),  # UKESM
        ((-180.5, -90.5, 180.5, 90.5), 1, [[-180, 90], [180, -90]]),  # both edges, as GMT has them
        ((0, -90, 360, 90), 0.5, [[0.25, 89.75], [-0.25, -89.75]]),
        (
            (-180.00000000000003, -90.00000000000001, 180.00000000000006, 90),
            1,
            [[-179.5, 89.5], [179.5, -89.5]],
        ),
        (
            (179.00000000000006, 88.5, 180.50000000000006, 90.50000000000003),
            1,
            [[179.5, 90], [-179.5, 89]],
        ),
    ],
)
def test_pixels_may_be_centred_on_the_poles_and_the_date_line(bounds, resolution, ends):
    lonlat = as_lonlat(make_grid(bounds, resolution).lonlat())
    np.testing.assert_allclose(lonlat[[0, -1]], ends, atol=1e-9)


@pytest.mark.parametrize("crs", [4267, 4807, 4821, 4901, 4979, 9705, ROTATED])
def test_other_units_and_meridians_are_turned_into_degrees(crs):
    grid = make_grid((-150, 20, 190, 80), (85, 30), crs)
    change = pyproj.Transformer.from_crs(grid.crs.to_wkt(), 4326, always_xy=True)
    expected = [change.transform(x, y) for y in (65, 35) for x in (-107.5, -22.5, 62.5, 147.5)]
    np.testing.assert_allclose(grid.lonlat(), expected, atol=1e-9)


@pytest.mark.parametrize("crs", [4326, 4275, 4258, 4979, ROTATED, "+proj=longlat +pm=paris"])
@pytest.mark.parametrize("beyond", [1e-13, 1e-9, 4e-7])
def test_centres_that_rounding_put_beyond_a_pole_are_places(crs, beyond):
    for bottom, top in ((89.25, 90.25 + beyond), (-90.25, -89.25 - beyond)):
        grid = make_grid((0, bottom, 360, top), (90, 0.5), crs)
        assert len(as_lonlat(grid.lonlat())) == 8


@pytest.mark.parametrize("crs", [3857, 32660, 32701, 3031])
def test_a_centre_on_the_date_line_of_a_projection_is_a_place(crs):
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(180, -66)
    place = as_lonlat(make_grid((x - 500, y - 500, x + 500, y + 500), 1000, crs).lonlat())
    np.testing.assert_allclose(np.abs(place), [[180, 66]], atol=1e-9)


def test_a_grid_in_grads_reaches_the_poles_and_crosses_the_date_line():
    lonlat = make_grid((190, -101, 210, 101), (10, 2), "EPSG:4807").lonlat()
    paris = 2.5969213 * 0.9  # its meridian, in degrees; two datums differ by less than 0.02
    np.testing.assert_allclose(lonlat[-2:, 1], -90, atol=0.01)
    middle = lonlat[100:102]
    np.testing.assert_allclose(middle, [[175.5 + paris, 0], [184.5 + paris - 360, 0]], atol=0.02)


@pytest.mark.parametrize(
    ("crs", "bounds", "doubtful"),
    [
        (3857, (5.9, 47.3, 15.0, 55.1), True),
        (32632, (-180, -90, 180, 89), True),
        (3857, (5.9, 47.3, 1500.0, 55.1), False),
        (4326, (5.9, 47.3, 15.0, 55.1), False),
    ],
)
def test_degrees_that_are_named_metres_are_doubted(crs, bounds, doubtful):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        make_grid(bounds, 1, crs)
    unit = f"EPSG:{crs}, whose unit is metre: if these are degrees"
    assert [unit in str(w.message) and w.filename == __file__ for w in said] == [True] * doubtful
