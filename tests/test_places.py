"""Coordinates in tables of pandas and GeoPandas, and checks of doubtful places."""

import re

import geopandas as gpd
import numpy as np
import pandas as pd
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


@pytest.mark.parametrize(
    ("lon", "lat"),
    [
        ("lon", "lat"),
        ("Longitude", "Latitude"),
        ("LNG", "LAT"),
        ("long", "latitude"),
        ("X", "Y"),
        (" lon ", "lat"),
    ],
)
def test_columns_with_usual_names_are_found_in_any_order(lon, lat):
    np.testing.assert_array_equal(lonlat_of(table(lon, lat)), LONLAT)


def test_names_that_only_begin_like_a_usual_one_are_not_taken():
    assert coordinate_columns(["population", "longevity", "platform", "lon", "lat"]) == (
        "lon",
        "lat",
    )


def test_named_columns_take_precedence():
    frame = table("east", "north").assign(lon=0.0, lat=0.0)
    np.testing.assert_array_equal(lonlat_of(frame, "east", "north"), LONLAT)
    assert (lonlat_of(frame) == 0).all()
    np.testing.assert_array_equal(lonlat_of(pd.DataFrame(LONLAT), 0, 1), LONLAT)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["name", "population"], r"longitude .*found \[\]: name it with lon=.*'population'\]"),
        (["lon", "name"], r"latitude .*found \[\]: name it with lat=.*\['lon', 'name'\]"),
        (["lon", "Longitude", "lat"], r"found \['lon', 'Longitude'\]"),
        (["lon", "lon", "lat"], r"found \['lon', 'lon'\]"),
        (["x", "lat"], r"longitude .*found \[\].*\['x', 'lat'\]"),
        (["lon", "y"], r"latitude .*found \[\].*\['lon', 'y'\]"),
        (["x", "y", "X"], r"found \['x', 'X'\]"),
    ],
)
def test_missing_or_ambiguous_columns_are_refused_with_the_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        coordinate_columns(columns)


def test_longitude_and_latitude_take_precedence_over_x_and_y():
    assert coordinate_columns(["x", "y", "lat", "lon"]) == ("lon", "lat")
    assert coordinate_columns(["x", "y", "name"]) == ("x", "y")
    assert coordinate_columns(["east", "y"], "east") == ("east", "y")


def test_a_named_column_that_is_missing_or_repeated_is_refused():
    with pytest.raises(ValueError, match=r"longitude 'east' is not one of the columns.*'name'"):
        lonlat_of(table(), "east", "lat")
    twice = pd.DataFrame(np.zeros((2, 3)), columns=["e", "e", "n"])
    with pytest.raises(ValueError, match="longitude 'e' is not one of"):
        lonlat_of(twice, "e", "n")
    with pytest.raises(ValueError, match="cannot be the same column, 'lon'"):
        lonlat_of(table(), "lon", "lon")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "latitude is missing (NaN or empty) in ROW; correct or remove such rows first"),
        (np.nan, "latitude is missing (NaN or empty) in ROW"),
        (" ", "latitude is missing (NaN or empty) in ROW"),
        (np.inf, "latitude must be a number of degrees, got inf in ROW; correct or remove"),
        ("n/a", "got 'n/a' in ROW; correct"),
        ("52,5", "got '52,5' in ROW; decimal commas are not supported: use decimal points"),
    ],
)
def test_a_value_that_is_not_numeric_is_refused_with_its_row_and_label(bad, message):
    frame = table().astype({"lat": object}).set_index("name")
    frame["lat"] = pd.Series([1.0, bad, 2.0], index=frame.index, dtype=object)
    message = re.escape(message.replace("ROW", "row 1 (index 'Manaus')"))
    with pytest.raises(ValueError, match=message):
        lonlat_of(frame)
    if "missing" in message:
        assert np.isnan(lonlat_of(frame, missing="keep")[1, 1])
    else:
        with pytest.raises(ValueError, match=message):
            lonlat_of(frame, missing="keep")


@pytest.mark.parametrize("dtype", ["Float64", "float32", "double[pyarrow]", "str", "object"])
def test_numbers_of_every_type_are_read(dtype):
    frame = table().astype({"lon": dtype, "lat": dtype})
    np.testing.assert_allclose(lonlat_of(frame), LONLAT, rtol=1e-6)
    frame.loc[2, "lon"] = None
    with pytest.raises(ValueError, match=r"longitude is missing \(NaN or empty\) in row 2"):
        lonlat_of(frame)


def test_a_coordinate_out_of_range_is_refused_with_its_row_and_a_hint():
    swapped = table("lat", "lon").set_index(pd.Index([10, 20, 30]))
    with pytest.raises(ValueError, match=r"got 151.2 in row 2 \(index 30\); is the order \(lon"):
        lonlat_of(swapped)
    with pytest.raises(ValueError, match=r"longitude must lie .*, got 200 in row 1; wrap it"):
        lonlat_of(table().assign(lon=[0, 200, 0]))
    with pytest.raises(ValueError, match=r"got 5.8e\+06 in row 0.*metres need a geometry"):
        lonlat_of(pd.DataFrame({"x": [3.9e5], "y": [5.8e6]}))


def test_an_error_counts_all_invalid_rows():
    frame = pd.DataFrame({"lon": [0, None, 5.0, "x"], "lat": [0, 1, 95.0, 2]})
    with pytest.raises(
        ValueError,
        match=r"3 of 4 rows are wrong, the first: longitude is missing",
    ):
        lonlat_of(frame)
    with pytest.raises(ValueError, match=r"2 of 4 rows are wrong, .* got 95 in row 2; is the"):
        lonlat_of(frame, missing="keep")


def test_places_that_lack_a_coordinate_are_kept_as_nan():
    frame = pd.DataFrame({"lon": [0, None, 200], "lat": [1, 1, np.nan]})
    places = lonlat_of(frame, missing="keep")
    np.testing.assert_array_equal(places[0], [0, 1])
    assert np.isnan(places[1:]).any(axis=1).all()
    with pytest.raises(ValueError, match="none of the 2 rows of the table has a place"):
        lonlat_of(frame[1:], missing="keep")
    with pytest.raises(ValueError, match="unknown missing 'no': expected one of"):
        lonlat_of(frame, missing="no")


def test_arrays_are_accepted_and_checked():
    np.testing.assert_array_equal(lonlat_of(LONLAT.tolist()), LONLAT)
    with pytest.raises(ValueError, match=r"got 151\.2 in row 2; is the order"):
        lonlat_of(LONLAT[:, ::-1])


def test_empty_tables_and_those_of_other_libraries_are_refused():
    import pyarrow as pa

    with pytest.raises(ValueError, match=r"pass table.to_pandas\(\)"):
        lonlat_of(pa.table({"lon": [0.0], "lat": [0.0]}))
    with pytest.raises(ValueError, match="got a single column"):
        lonlat_of(table()["lon"])
    with pytest.raises(ValueError, match="the table has no rows"):
        lonlat_of(table().iloc[:0])


def points(crs=4326, **columns):
    """Return a GeoDataFrame of the three places in a CRS."""
    geometry = gpd.points_from_xy(*LONLAT.T, crs=4326).to_crs(crs)
    return gpd.GeoDataFrame({"name": NAMES, **columns}, geometry=geometry)


@pytest.mark.parametrize("crs", [4326, "OGC:CRS84", 3857, 8857, "ESRI:54009"])
def test_points_in_any_crs_become_degrees(crs):
    np.testing.assert_allclose(lonlat_of(points(crs)), LONLAT, atol=1e-7)
    np.testing.assert_allclose(lonlat_of(points(crs).geometry), LONLAT, atol=1e-7)


def test_the_active_geometry_takes_precedence_over_columns_unless_they_are_named():
    frame = points(lon=0.0, lat=1.0).rename_geometry("where")
    np.testing.assert_array_equal(lonlat_of(frame), LONLAT)
    assert lonlat_of(frame, "lon", "lat").tolist() == [[0.0, 1.0]] * 3


def test_a_geodataframe_without_a_geometry_is_read_as_a_table():
    np.testing.assert_array_equal(lonlat_of(gpd.GeoDataFrame(table())), LONLAT)


def test_points_without_a_crs_are_refused():
    with pytest.raises(ValueError, match=r"no CRS.*set_crs\(4326\)"):
        lonlat_of(points().set_crs(None, allow_override=True))


@pytest.mark.parametrize("missing", [None, shapely.Point(), shapely.Polygon()])
def test_a_missing_point_is_refused_with_its_row(missing):
    frame = points().set_index("name")
    frame.loc["Sydney", "geometry"] = missing
    with pytest.raises(
        ValueError,
        match=r"longitude is missing \(NaN or empty\) in row 2 \(index 'Sydney'\)",
    ):
        lonlat_of(frame)
    np.testing.assert_allclose(lonlat_of(frame, missing="keep")[:2], LONLAT[:2])
    assert np.isnan(lonlat_of(frame, missing="keep")[2]).all()


def test_polygons_are_refused_and_the_hint_works():
    frame = points(3857).set_geometry(points(3857).buffer(100))
    with pytest.raises(ValueError, match=r"expected points, got a Polygon in row 0") as error:
        lonlat_of(frame)
    assert "table.set_geometry(table.representative_point())" in str(error.value)
    chosen = lonlat_of(frame.set_geometry(frame.representative_point()))
    np.testing.assert_allclose(chosen, LONLAT, atol=0.01)


def test_a_point_beyond_a_projection_is_refused_with_its_row():
    far = gpd.GeoSeries([shapely.Point(0, 0), shapely.Point(1e9, 1e9)], crs="ESRI:54009")
    with pytest.raises(ValueError, match=r"longitude must be a number .*got <POINT \(1.* in row 1"):
        lonlat_of(far)


def faults(lonlat):
    """Return the checks that count at least one place: how many, and the first row."""
    report = check_places(lonlat)
    found = report[report["places"] > 0]
    return dict(zip(found.index, zip(found["places"], found["first_row"])))


def test_valid_places_pass_every_check():
    report = check_places(CITIES)
    assert list(report.index) == list(ADVICE)
    assert (report["places"] == 0).all()
    assert (report["first_row"] == -1).all()
    assert (report["advice"] == "").all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[np.nan, 1.5]], {"not finite": (1, 5)}),
        ([[1.5, np.inf]], {"not finite": (1, 5)}),
        ([[52.5, 113.4], [181.5, 0.5]], {"out of range": (2, 5)}),
        ([[500000.5, 4649776.5]], {"out of range": (1, 5)}),
        ([[13.41, 52.52], [13.41, 52.52], [2.35, 48.86]], {"duplicated": (3, 5)}),
        ([[0.0, 0.0]], {"at (0, 0)": (1, 5), "whole degrees": (1, 5), "at sea": (1, 5)}),
        ([[20.0, 0.5], [0.0, 51.48]], {}),
        ([[20.0, 10.0]], {"whole degrees": (1, 5)}),
        ([SEA, SEA], {"at sea": (2, 5), "duplicated": (1, 6)}),
    ],
)
def test_each_check_counts_its_places_and_names_the_first_row(rows, expected):
    assert faults(np.concatenate([CITIES, rows])) == expected


def test_row_numbers_count_all_places_valid_or_not():
    places = np.concatenate([[[np.nan, 0.5], [200.5, 0.5]], CITIES, [SEA]])
    assert faults(places) == {"not finite": (1, 0), "out of range": (1, 1), "at sea": (1, 7)}


def test_shares_are_of_all_places_and_failed_checks_have_advice():
    report = check_places([[13.41, 52.52], SEA, SEA, [np.nan, 0.0]])
    assert report["share"].round(2).to_dict() == dict.fromkeys(ADVICE, 0.0) | {
        "not finite": 0.25,
        "duplicated": 0.25,
        "at sea": 0.5,
    }
    assert (report["advice"] != "").tolist() == (report["places"] > 0).tolist()


def test_a_report_needs_no_place_in_range():
    assert faults([[10.0, 100.0], [20.0, 100.0]]) == {"out of range": (2, 0)}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([10.0, 20.0], r"shape \(N, 2\), N at least 1, longitude first, got \(2,\)"),
        (np.empty((0, 2)), r"N at least 1, longitude first, got \(0, 2\)"),
        ([["13,4", "52,5"]], "lonlat must be numbers"),
    ],
)
def test_check_places_refuses_other_arrays(bad, message):
    with pytest.raises(ValueError, match=message):
        check_places(bad)


def test_repetitions_are_found_across_the_date_line_and_at_a_pole():
    places = np.array([[180.0, 5.0], [-180.0, 5.0], [0.0, 5.0], [-0.0, 5.0], [3.0, 90], [4.0, 90]])
    assert repeats(places).tolist() == [False, True, False, True, False, True]
    assert not repeats(np.array([[10.0, 5.0], [10.0000001, 5.0], [10.0, 5.0000001]])).any()


def of_country(code):
    """Return the places of a country in the gazetteer."""
    frame = embedded.places()
    return frame.loc[frame["country"] == code, ["lon", "lat"]].to_numpy()


@pytest.mark.parametrize("code", ["KE", "BR", "DE", "AR"])
def test_swapped_columns_are_recognised(code):
    places = of_country(code)
    assert "probably swapped" not in faults(places)
    count, row = faults(places[:, ::-1])["probably swapped"]
    assert count == (~has_elevation(places[:, ::-1]) & has_elevation(places)).sum() > 0
    assert not has_elevation(places[row : row + 1, ::-1])[0]


def test_no_country_is_mistaken_for_swapped_columns():
    codes = embedded.places()["country"].value_counts()
    for code in codes.index[codes >= 10]:
        assert "probably swapped" not in faults(of_country(code)), code


def test_fewer_than_ten_places_are_not_called_swapped():
    assert "probably swapped" in faults(of_country("KE")[:10, ::-1])
    assert "probably swapped" not in faults(of_country("KE")[:9, ::-1])


def test_swapping_must_put_most_places_on_land():
    stays, moves = [-30.5, -20.5], SEA
    turned = has_elevation(np.array([stays, moves])[:, ::-1])
    assert turned.tolist() == [False, True]
    assert "probably swapped" not in faults([stays] * 10 + [moves] * 10)
    assert "probably swapped" in faults([stays] * 4 + [moves] * 16)


def test_places_whose_longitude_is_no_latitude_are_not_called_swapped():
    places = np.concatenate([of_country("KE")[:, ::-1], [[100.5, 15.5]]])
    assert "probably swapped" not in faults(places)


def test_small_islands_are_land():
    assert has_elevation(np.array([[-23.52, 14.92], [14.51, 35.90], [-30.5, 30.5]])).tolist() == [
        True,
        True,
        False,
    ]
