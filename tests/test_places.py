"""Coordinates in tables of pandas and GeoPandas, and checks of doubtful places."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from earthtie_lite import sample as embedded
from earthtie_lite.places import (
    ADVICE,
    check_places,
    coordinate_columns,
    has_elevation,
    lonlat_of,
    repeats,
)

LONLAT = np.array([[13.4, 52.5], [-60.0, -3.1], [151.2, -33.9]])
NAMES = ["Berlin", "Manaus", "Sydney"]
CITIES = np.array(
    [[13.41, 52.52], [2.35, 48.86], [36.82, -1.29], [-60.02, -3.12], [151.21, -33.87]]
)
SEA = [-30.5, 30.5]


def table(lon="lon", lat="lat", **columns):
    """Return a table of three places, latitude first."""
    return pd.DataFrame({"name": NAMES, lat: LONLAT[:, 1], **columns, lon: LONLAT[:, 0]})


def points(crs=4326, **columns):
    """Return a GeoDataFrame of the three places in a CRS."""
    geometry = gpd.points_from_xy(*LONLAT.T, crs=4326).to_crs(crs)
    return gpd.GeoDataFrame({"name": NAMES, **columns}, geometry=geometry)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["lat", "name", "lon"], ("lon", "lat")),
        (["Longitude", "Latitude"], ("Longitude", "Latitude")),
        (["LNG", "LAT"], ("LNG", "LAT")),
        ([" long ", "latitude"], (" long ", "latitude")),
        (["Y", "X"], ("X", "Y")),
        (["x", "y", "lat", "lon"], ("lon", "lat")),  # degrees take precedence
        (["population", "longevity", "platform", "lon", "lat"], ("lon", "lat")),
    ],
)
def test_columns_with_usual_names_are_found_in_any_order(columns, found):
    assert coordinate_columns(columns) == found


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        (["name", "pop"], (), r"longitude .*found \[\]: name it with lon=.*\['name', 'pop'\]"),
        (["lon", "name"], (), r"latitude .*found \[\]: name it with lat=.*\['lon', 'name'\]"),
        (["lon", "Longitude", "lat"], (), r"found \['lon', 'Longitude'\]: name it"),
        (["lon", "lon", "lat"], (), r"found \['lon', 'lon'\]: rename one"),
        (["x", "lat"], (), r"longitude .*found \[\]"),  # no mixture of degrees and a plane
        (["x", "y", "X"], (), r"found \['x', 'X'\]"),
        (["lon", "lat"], ("east", "lat"), r"longitude 'east' is not one of .*\['lon', 'lat'\]"),
        (["e", "e", "n"], ("e", "n"), "longitude 'e' is not one of"),
        (["lon", "lat"], ("lon", "lon"), "cannot be the same column, 'lon'"),
    ],
)
def test_missing_or_ambiguous_columns_are_refused_with_the_columns(columns, named, message):
    with pytest.raises(ValueError, match=message):
        coordinate_columns(columns, *named)


def test_named_columns_take_precedence_and_arrays_need_no_names():
    frame = table("east", "north").assign(lon=0.0, lat=0.0)
    np.testing.assert_array_equal(lonlat_of(frame, "east", "north"), LONLAT)
    assert (lonlat_of(frame) == 0).all()
    assert coordinate_columns(["east", "y"], "east") == ("east", "y")
    np.testing.assert_array_equal(lonlat_of(pd.DataFrame(LONLAT), 0, 1), LONLAT)
    np.testing.assert_array_equal(lonlat_of(LONLAT.tolist()), LONLAT)


@pytest.mark.parametrize("dtype", ["Float64", "float32", "double[pyarrow]", "str", "object"])
def test_numbers_of_every_type_are_read(dtype):
    frame = table().astype({"lon": dtype, "lat": dtype})
    np.testing.assert_allclose(lonlat_of(frame), LONLAT, rtol=1e-6)
    frame.loc[2, "lon"] = None
    np.testing.assert_array_equal(np.isnan(lonlat_of(frame, missing="keep"))[:, 0], [0, 0, 1])


@pytest.mark.parametrize(
    ("lon", "lat", "missing", "message"),
    [
        ([0, 1], [0, None], "error", r"latitude is missing \(NaN or empty\) in row 1 \(index 20\)"),
        ([0, 1], [0, " "], "error", r"latitude is missing .* in row 1 .*; correct or remove such"),
        ([0, 1], [0, np.inf], "keep", "latitude must be a number of degrees, got inf in row 1"),
        ([0, 1], [0, "n/a"], "keep", r"latitude must be a number of degrees, got 'n/a' in row 1"),
        ([0, 1], [0, "52,5"], "keep", "got '52,5' in row 1 .*; decimal commas are not supported"),
        ([0, 1], [0, 151.2], "error", r"got 151.2 in row 1 \(index 20\); is the order \(lon"),
        ([0, 200], [0, 0], "error", r"longitude must lie .*, got 200 in row 1 .*; wrap it"),
        ([3.9e5], [5.8e6], "error", r"got 5.8e\+06 in row 0.*metres need a geometry"),
        ([0, None, 5, "x"], [0, 1, 95.0, 2], "error", r"3 of 4 rows are wrong.*is missing .*row 1"),
        ([0, None, 5, "x"], [0, 1, 95.0, 2], "keep", "2 of 4 rows are wrong.* got 95 in row 2"),
        ([None, 9], [1, None], "keep", "none of the 2 rows of the table has a place"),
        ([0], [0], "no", "unknown missing 'no'"),
        ([], [], "error", "the table has no rows"),
    ],
)
def test_unusable_coordinates_are_counted_and_the_first_described(lon, lat, missing, message):
    frame = pd.DataFrame({"lon": lon, "lat": lat}, index=10 * np.arange(1, len(lon) + 1))
    with pytest.raises(ValueError, match=message):
        lonlat_of(frame, missing=missing)


@pytest.mark.parametrize(
    ("read", "source", "message"),
    [
        (check_places, [10.0, 20.0], r"N at least 1, longitude first, got \(2,\)"),
        (check_places, np.empty((0, 2)), r"N at least 1, longitude first, got \(0, 2\)"),
        (check_places, [["13,4", "52,5"]], "lonlat must be numbers"),
        (lonlat_of, LONLAT[:, ::-1], r"got 151\.2 in row 2; is the order"),
        (lonlat_of, pa.table({"lon": [0.0]}), r"pass table.to_pandas\(\)"),
        (lonlat_of, table()["lon"], "got a single column"),
        (lonlat_of, points().set_crs(None, allow_override=True), r"no CRS.*set_crs\(4326\)"),
        (
            lonlat_of,
            gpd.GeoSeries([shapely.Point(0, 0), shapely.Point(1e9, 1e9)], crs="ESRI:54009"),
            r"longitude must be a number .*got <POINT \(1.* in row 1",
        ),
        (
            lonlat_of,
            points(3857).set_geometry(points(3857).buffer(100)),
            r"expected points, got a Polygon in row 0.*table\.representative_point\(\)",
        ),
    ],
)
def test_other_sources_of_places_are_refused_with_a_hint(read, source, message):
    with pytest.raises(ValueError, match=message):
        read(source)


@pytest.mark.parametrize("crs", [4326, "OGC:CRS84", 3857, 8857, "ESRI:54009"])
def test_points_in_any_crs_become_degrees(crs):
    np.testing.assert_allclose(lonlat_of(points(crs)), LONLAT, atol=1e-7)
    np.testing.assert_allclose(lonlat_of(points(crs).geometry), LONLAT, atol=1e-7)


def test_the_active_geometry_takes_precedence_over_columns_unless_they_are_named():
    frame = points(lon=0.0, lat=1.0).rename_geometry("where")
    np.testing.assert_array_equal(lonlat_of(frame), LONLAT)
    assert lonlat_of(frame, "lon", "lat").tolist() == [[0.0, 1.0]] * 3
    np.testing.assert_array_equal(lonlat_of(gpd.GeoDataFrame(table())), LONLAT)  # none is active


@pytest.mark.parametrize("missing", [None, shapely.Point(), shapely.Polygon()])
def test_a_missing_point_is_refused_with_its_row_or_kept(missing):
    frame = points().set_index("name")
    frame.loc["Sydney", "geometry"] = missing
    with pytest.raises(ValueError, match=r"longitude is missing .* in row 2 \(index 'Sydney'\)"):
        lonlat_of(frame)
    kept = lonlat_of(frame, missing="keep")
    np.testing.assert_allclose(kept, [*LONLAT[:2], [np.nan, np.nan]])


def faults(lonlat):
    """Return the checks that count at least one place: how many, and the first row."""
    report = check_places(lonlat)
    found = report[report["places"] > 0]
    return dict(zip(found.index, zip(found["places"], found["first_row"])))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[np.nan, 1.5]], {"not finite": (1, 5)}),
        ([[1.5, np.inf]], {"not finite": (1, 5)}),
        ([[52.5, 113.4], [181.5, 0.5], SEA], {"out of range": (2, 5), "at sea": (1, 7)}),
        ([[13.41, 52.52], [13.41, 52.52], [2.35, 48.86]], {"duplicated": (3, 5)}),
        ([[0.0, 0.0]], {"at (0, 0)": (1, 5), "whole degrees": (1, 5), "at sea": (1, 5)}),
        ([[20.0, 0.5], [0.0, 51.48]], {}),
        ([[20.0, 10.0]], {"whole degrees": (1, 5)}),
        ([SEA, SEA], {"at sea": (2, 5), "duplicated": (1, 6)}),
    ],
)
def test_each_check_counts_its_places_and_names_the_first_row(rows, expected):
    assert faults(np.concatenate([CITIES, rows])) == expected


def test_shares_are_of_all_places_and_only_failed_checks_have_advice_and_a_row():
    report = check_places([[13.41, 52.52], SEA, SEA, [np.nan, 0.0]])
    shares = dict.fromkeys(ADVICE, 0.0) | {"not finite": 0.25, "duplicated": 0.25, "at sea": 0.5}
    assert report["share"].to_dict() == shares
    failed = report["places"] > 0
    assert ((report["advice"] != "") == failed).all()
    assert ((report["first_row"] >= 0) == failed).all()
    assert faults([[10.0, 100.0], [20.0, 100.0]]) == {"out of range": (2, 0)}  # none in range


def test_repetitions_are_found_across_the_date_line_and_at_a_pole():
    places = np.array([[180.0, 5.0], [-180.0, 5.0], [0.0, 5.0], [-0.0, 5.0], [3.0, 90], [4.0, 90]])
    assert repeats(places).tolist() == [False, True, False, True, False, True]
    assert not repeats(np.array([[10.0, 5.0], [10.0000001, 5.0], [10.0, 5.0000001]])).any()


def of_country(code):
    """Return the places of a country in the gazetteer."""
    frame = embedded.places()
    return frame.loc[frame["country"] == code, ["lon", "lat"]].to_numpy()


def test_swapped_columns_are_recognised_and_no_country_is_mistaken_for_them():
    codes = embedded.places()["country"].value_counts()
    for code in codes.index[codes >= 10]:
        assert "probably swapped" not in faults(of_country(code)), code
    for code in ("KE", "BR", "DE", "AR"):
        turned = of_country(code)[:, ::-1]
        wrong = ~has_elevation(turned) & has_elevation(turned[:, ::-1])
        assert faults(turned)["probably swapped"] == (wrong.sum(), wrong.argmax())


def test_columns_are_called_swapped_only_on_good_grounds():
    turned, stays, moves = of_country("KE")[:, ::-1], [-30.5, -20.5], SEA
    assert has_elevation(np.array([stays, moves])[:, ::-1]).tolist() == [False, True]
    for places, swapped in [
        (turned[:10], True),
        (turned[:9], False),  # too few
        ([stays] * 4 + [moves] * 16, True),
        ([stays] * 10 + [moves] * 10, False),  # swapping leaves many at sea
        (np.concatenate([turned, [[100.5, 15.5]]]), False),  # a longitude that is no latitude
    ]:
        assert ("probably swapped" in faults(places)) is swapped


def test_small_islands_are_land():
    assert has_elevation(np.array([[-23.52, 14.92], [14.51, 35.90], SEA])).tolist() == [1, 1, 0]
