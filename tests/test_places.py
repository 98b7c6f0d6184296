"""Coordinates in tables of pandas and GeoPandas."""

import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from earthtie_lite.places import coordinate_columns, lonlat_of

LONLAT = np.array([[13.4, 52.5], [-60.0, -3.1], [151.2, -33.9]])
NAMES = ["Berlin", "Manaus", "Sydney"]


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
def test_usual_names_are_found_whatever_their_order(lon, lat):
    np.testing.assert_array_equal(lonlat_of(table(lon, lat)), LONLAT)


def test_population_is_no_latitude():
    assert coordinate_columns(["population", "longevity", "platform", "lon", "lat"]) == (
        "lon",
        "lat",
    )


def test_columns_can_be_named():
    frame = table("east", "north").assign(lon=0.0, lat=0.0)
    np.testing.assert_array_equal(lonlat_of(frame, "east", "north"), LONLAT)
    assert (lonlat_of(frame) == 0).all()


def test_one_column_is_not_both():
    with pytest.raises(ValueError, match="cannot be the same column, 'lon'"):
        lonlat_of(table(), "lon", "lon")


def test_labels_need_not_be_text():
    frame = pd.DataFrame(LONLAT[:, ::-1])
    np.testing.assert_array_equal(lonlat_of(frame, 1, 0), LONLAT)


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
def test_what_is_ambiguous_is_refused_with_the_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        coordinate_columns(columns)


def test_degrees_count_before_the_plane():
    assert coordinate_columns(["x", "y", "lat", "lon"]) == ("lon", "lat")
    assert coordinate_columns(["x", "y", "name"]) == ("x", "y")
    assert coordinate_columns(["east", "y"], "east") == ("east", "y")


def test_a_named_column_that_is_missing_or_there_twice_is_refused():
    with pytest.raises(ValueError, match=r"longitude 'east' is not one of the columns.*'name'"):
        lonlat_of(table(), "east", "lat")
    twice = pd.DataFrame(np.zeros((2, 3)), columns=["e", "e", "n"])
    with pytest.raises(ValueError, match="longitude 'e' is not one of"):
        lonlat_of(twice, "e", "n")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "latitude is missing (NaN or empty) in ROW; correct or remove such rows first"),
        (np.nan, "latitude is missing (NaN or empty) in ROW"),
        (" ", "latitude is missing (NaN or empty) in ROW"),
        (np.inf, "latitude must be a number of degrees, got inf in ROW; correct or remove"),
        ("n/a", "got 'n/a' in ROW; correct"),
        ("52,5", "got '52,5' in ROW; decimal commas are not read: write points"),
    ],
)
def test_what_is_no_number_is_refused_with_its_row_and_label(bad, message):
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


def test_numbers_written_as_text_are_numbers():
    np.testing.assert_array_equal(lonlat_of(table().astype(str)), LONLAT)


@pytest.mark.parametrize("dtype", ["Float64", "float32", "double[pyarrow]"])
def test_numbers_of_every_kind_are_taken(dtype):
    frame = table().astype({"lon": dtype, "lat": dtype})
    np.testing.assert_allclose(lonlat_of(frame), LONLAT, rtol=1e-6)
    frame.loc[2, "lon"] = None
    with pytest.raises(ValueError, match=r"longitude is missing \(NaN or empty\) in row 2"):
        lonlat_of(frame)


def test_what_is_out_of_range_is_refused_with_its_row_and_a_hint():
    swapped = table("lat", "lon").set_index(pd.Index([10, 20, 30]))
    with pytest.raises(ValueError, match=r"got 151.2 in row 2 \(index 30\); is the order \(lon"):
        lonlat_of(swapped)
    with pytest.raises(ValueError, match=r"longitude must lie .*, got 200 in row 1; wrap it"):
        lonlat_of(table().assign(lon=[0, 200, 0]))


def test_metres_are_recognised():
    frame = pd.DataFrame({"x": [3.9e5], "y": [5.8e6]})
    with pytest.raises(ValueError, match=r"got 5.8e\+06 in row 0.*metres need a geometry"):
        lonlat_of(frame)


def test_faults_are_counted():
    frame = pd.DataFrame({"lon": [0, None, 5.0, "x"], "lat": [0, 1, 95.0, 2]})
    with pytest.raises(
        ValueError,
        match=r"3 of 4 rows are wrong, the first: longitude is missing",
    ):
        lonlat_of(frame)
    with pytest.raises(ValueError, match=r"2 of 4 rows are wrong, .* got 95 in row 2; is the"):
        lonlat_of(frame, missing="keep")


def test_half_a_place_is_missing_whatever_the_other_half():
    places = lonlat_of(pd.DataFrame({"lon": [200.0, 1.0], "lat": [np.nan, 2.0]}), missing="keep")
    assert places[1].tolist() == [1.0, 2.0]


def test_missing_places_are_kept_as_none():
    frame = pd.DataFrame({"lon": [0, None, np.nan], "lat": [1, 1, 1]})
    places = lonlat_of(frame, missing="keep")
    np.testing.assert_array_equal(places[0], [0, 1])
    assert np.isnan(places[1:, 0]).all()
    with pytest.raises(ValueError, match="none of the 2 rows of the table has a place"):
        lonlat_of(frame[1:], missing="keep")
    with pytest.raises(ValueError, match="missing must be 'error'"):
        lonlat_of(frame, missing="no")


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        lonlat_of(table().iloc[:0])


def test_arrays_are_taken_and_checked():
    np.testing.assert_array_equal(lonlat_of(LONLAT.tolist()), LONLAT)
    with pytest.raises(ValueError, match=r"got 151\.2 in row 2; is the order"):
        lonlat_of(LONLAT[:, ::-1])


def test_other_tables_are_refused_with_a_hint():
    import pyarrow as pa

    with pytest.raises(ValueError, match=r"pass table.to_pandas\(\)"):
        lonlat_of(pa.table({"lon": [0.0], "lat": [0.0]}))
    with pytest.raises(ValueError, match="got a single column"):
        lonlat_of(table()["lon"])


def points(crs=4326, **columns):
    """Return a GeoDataFrame of the three places in a CRS."""
    geometry = gpd.points_from_xy(*LONLAT.T, crs=4326).to_crs(crs)
    return gpd.GeoDataFrame({"name": NAMES, **columns}, geometry=geometry)


@pytest.mark.parametrize("crs", [4326, "OGC:CRS84", 3857, 8857, "ESRI:54009"])
def test_points_in_any_crs_become_degrees(crs):
    np.testing.assert_allclose(lonlat_of(points(crs)), LONLAT, atol=1e-7)
    np.testing.assert_allclose(lonlat_of(points(crs).geometry), LONLAT, atol=1e-7)


def test_the_active_geometry_counts_before_columns_but_not_before_named_ones():
    frame = points(lon=0.0, lat=1.0).rename_geometry("where")
    np.testing.assert_array_equal(lonlat_of(frame), LONLAT)
    assert lonlat_of(frame, "lon", "lat").tolist() == [[0.0, 1.0]] * 3


def test_a_geodataframe_without_a_geometry_is_a_table():
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
