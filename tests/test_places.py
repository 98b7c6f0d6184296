"""Coordinates in tables of pandas and GeoPandas, and checks of doubtful places."""

import re
from decimal import Decimal
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import torch
import xarray as xr
from fakes import Waves

import earthtie_lite as et
from earthtie_lite import Task, sample as embedded
from earthtie_lite.coords import as_lonlat, block_ids
from earthtie_lite.frames import coordinate_columns
from earthtie_lite.places import (
    ADVICE,
    check_places,
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
        (["decimalLatitude", "decimalLongitude"], ("decimalLongitude", "decimalLatitude")),
        (["INTPTLAT", "INTPTLONG", "NAME"], ("INTPTLONG", "INTPTLAT")),
        (["Latitude (°N)", "Longitude (°E)"], ("Longitude (°E)", "Latitude (°N)")),
        (["lat_deg", "lon_deg", "lat_error"], ("lon_deg", "lat_deg")),
        (["private_latitude", "private_longitude", "lat", "lng"], ("lng", "lat")),
        (
            ["verbatimLatitude", "verbatimLongitude", "decimalLongitude", "decimalLatitude"],
            ("decimalLongitude", "decimalLatitude"),
        ),
        ([("c", "lat"), ("c", "lon"), ("d", "n")], (("c", "lon"), ("c", "lat"))),
        ([0, 1], (0, 1)),  # a data frame without names
    ],
)
def test_columns_with_usual_names_are_found_in_any_order(columns, found):
    assert coordinate_columns(columns) == found


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        (["name", "pop"], (), r"longitude .*found \[\]: name it \(lon: NAME.*\['name', 'pop'\]"),
        (["lon", "name"], (), r"latitude .*found \[\]: name it \(lat: NAME.*\['lon', 'name'\]"),
        (["lat", "long_name"], (), r"longitude .*found \[\]: name it"),
        (["start_lat", "start_lng", "end_lat", "end_lng"], (), r"\['start_lng', 'end_lng'\]: name"),
        (["breite", "länge"], (), r"longitude .*found \[\]: name it"),
        ([1, 0], (), r"longitude .*found \[\]: name it"),
        (["lon", "Longitude", "lat"], (), r"found \['lon', 'Longitude'\]: name it"),
        (["lon", "lon", "lat"], (), r"found \['lon', 'lon'\]: rename one"),
        (["x", "lat"], (), r"longitude .*found \[\]"),  # no mixture of degrees and a plane
        (["x", "y", "X"], (), r"found \['x', 'X'\]"),
        (["lon", "lat"], ("east", "lat"), r"longitude 'east' is not one of .*\['lon', 'lat'\]"),
        (["e", "e", "n"], ("e", "n"), "longitude 'e' is not one of"),
        (["lon", "lat"], ("lat", "lon"), "column 'lat' is no longitude: rename it if it is one"),
        (["east", "north"], ("east", "east"), "cannot be the same column, 'east'"),
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
        (
            [0, 1],
            [0, None],
            "error",
            r"latitude is missing .*, got nan in row 1 \(index 20\); leave",
        ),
        (
            [0, 1],
            [0, " "],
            "error",
            r"latitude is missing .*, got ' ' in row 1 .*\(missing: drop\)",
        ),
        (
            [0, 1],
            [0, "NA"],
            None,
            r"latitude is missing .*, got 'NA' in row 1 .*leave out such rows$",
        ),
        ([0, 1], [0, np.inf], "keep", "latitude must be a number of degrees, got inf in row 1"),
        ([0, 1], [0, "north"], "keep", r"must be a number of degrees, got 'north' in row 1"),
        ([0, 1], [1j, 1j], "keep", r"must be a number of degrees, got 1j in row 0"),
        ([0, 1], [True, False], "keep", "must be a number of degrees, got True in row 0"),
        ([0, 1], [0, "52,5"], "keep", "got '52,5' in row 1 .*; decimal commas are not supported"),
        ([0, 1], [0, 151.2], "error", r"got 151.2 in row 1 \(index 20\); is the order \(lon"),
        ([0, 200], [0, 0], "error", r"longitude must lie .*, got 200 in row 1 .*; wrap it"),
        ([3.9e5], [5.8e6], "error", r"got 5.8e\+06 in row 0.*metres need a geometry"),
        (
            [0, None, 5, "x"],
            [0, 1, 95.0, 2],
            "error",
            r"3 of 4 rows are wrong.*missing .*row 1",
        ),
        ([0, None, 5, "x"], [0, 1, 95.0, 2], "keep", "2 of 4 rows are wrong.* got 95 in row 2"),
        ([None, 9], [1, None], "keep", "none of the 2 rows has a place"),
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
        (check_places, [10.0, 20.0], r"longitude first, got \(2,\)"),
        (check_places, np.empty((0, 2)), "no rows: at least one"),
        (check_places, [["13,4", "52,5"]], "lonlat must be numbers"),
        (lonlat_of, LONLAT[:, ::-1], r"got 151\.2 in row 2; is the order"),
        (lonlat_of, pa.table({"lon": [0.0]}), r"latitude .*columns are \['lon'\]"),
        (lonlat_of, "places.csv", "expected places, got 'places.csv': embed_file reads files"),
        (lonlat_of, points().set_crs("EPSG:4978", allow_override=True), "need three coordinates"),
        (
            lonlat_of,
            points().set_crs("IAU_2015:49900", allow_override=True),
            "Mars .* cannot be turned into degrees",
        ),
        (lonlat_of, pd.DataFrame({"g": ["POINT (1 2)", "POINT (3"]}), r"got 'POINT \(3' in row 1"),
        (
            lonlat_of,
            pd.DataFrame({c: ["POINT (1 2)"] for c in "vw"}),
            "all hold geometry",
        ),
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


def task_at(places, n=12):
    """Return a task at n places."""
    return Task("t", places, np.arange(n), "regression", "")


def frames():
    """Return the three places in everything that holds places, by name where it has names."""
    frame, gdf = table(), points()
    wkt, hexes = gdf.geometry.to_wkt(), gdf.geometry.to_wkb(hex=True)
    labels = {"axis": ["lat", "lon"]}
    return {
        "polars": pl.DataFrame(frame),
        "polars, lazy": pl.LazyFrame(frame),
        "arrow table": pa.Table.from_pandas(frame),
        "arrow batch": pa.RecordBatch.from_pandas(frame),
        "arrow with geometry": pa.table(gdf.to_arrow()),
        "dask": dd.from_pandas(frame, npartitions=2),
        "dask array": da.from_array(LONLAT, chunks=2),
        "dataset": xr.Dataset({"lat": ("n", LONLAT[:, 1]), "lon": ("n", LONLAT[:, 0])}),
        "labelled array": xr.DataArray(LONLAT[:, ::-1], labels, ("n", "axis")),
        "tensor": torch.tensor(LONLAT, requires_grad=True),
        "records": frame[["lat", "lon"]].to_records(index=False),
        "masked": np.ma.masked_array(LONLAT),
        "list": LONLAT.tolist(),
        "mappings": frame.to_dict("records"),
        "mapping": frame.to_dict("list"),
        "points": list(gdf.geometry),
        "WKT": pd.DataFrame({"n": NAMES, "the_geom": wkt}),
        "EWKT": pl.DataFrame({"shape": [f"SRID=4326;{text}" for text in wkt]}),
        "EWKT in metres": pd.DataFrame(
            {"w": [f"SRID=3857;{text}" for text in points(3857).geometry.to_wkt()]}
        ),
        "hexadecimal WKB": pd.DataFrame({"wkb": hexes}),
        "WKB": pa.table({"geom": gdf.geometry.to_wkb().tolist()}),
        "WKT and x": pd.DataFrame({"x": 0.0, "y": 0.0, "g": wkt}),
        "objects": frame.astype(object),
        "decimals": frame.astype({"lat": str, "lon": str}).map(
            lambda cell: Decimal(cell) if cell[-1].isdigit() else cell
        ),
        "categories": frame.astype({"lat": "category"}),
        "repeated names": pd.concat([frame, frame[["name"]]], axis=1),
        "names of two levels": frame.set_axis(
            pd.MultiIndex.from_tuples([("a", "n"), ("c", "lat"), ("c", "lon")]), axis=1
        ),
    }


@pytest.mark.parametrize("kind", frames())
def test_every_kind_of_table_is_read_by_name(kind):
    source = frames()[kind]
    for read in (lonlat_of, as_lonlat, lambda x: task_at(x, 3).lonlat):
        np.testing.assert_allclose(read(source), LONLAT, atol=1e-9)
    np.testing.assert_array_equal(block_ids(source), block_ids(LONLAT))


def test_one_place_may_be_a_mapping_a_row_or_a_point():
    named = {"lat": 2.0, "lon": 1.0}
    for place in (named, pd.Series(named), shapely.Point(1, 2)):
        assert lonlat_of(place).tolist() == [[1.0, 2.0]]


def test_heights_do_not_matter_unless_the_crs_is_geocentric():
    flat = points(32633).geometry
    flat.iloc[1] = shapely.Point(flat.iloc[1].x, flat.iloc[1].y, np.nan)
    np.testing.assert_allclose(lonlat_of(flat), LONLAT, atol=1e-6)
    solid = gpd.GeoSeries(gpd.points_from_xy(*LONLAT.T, [0.0] * 3), crs=4979).to_crs(4978)
    np.testing.assert_allclose(lonlat_of(solid), LONLAT, atol=1e-9)


def test_rounding_beyond_the_limits_is_no_fault():
    beyond = [[180.00000000000006, 90.0000000000001], [-180.0000001, -90.0]]
    for read in (lonlat_of, as_lonlat):
        assert read(np.array(beyond)).tolist() == [[180, 90], [-180, -90]]


MARKS = ["NA", "NaN", "null", "\\N", "#N/A", "<NA>", "None", " ", "-9999", -999, 9999.0, -3.4e38]


@pytest.mark.parametrize("mark", MARKS)
def test_marks_of_missing_values_count_as_missing(mark):
    frame = table().astype(object)
    frame.loc[1, "lon"] = mark
    with pytest.raises(ValueError, match=r"longitude is missing .*, got .* in row 1"):
        lonlat_of(frame)
    with pytest.warns(UserWarning, match="1 of 3 rows are left out"):
        assert np.isnan(lonlat_of(frame, missing="drop")).any(axis=1).tolist() == [0, 1, 0]


def doors():
    """Return the functions that take places."""
    model = Waves()
    return {
        "lonlat_of": lonlat_of,
        "block_ids": block_ids,
        "Task": task_at,
        "EarthTie.embed": et.load_pretrained("melt").embed,
        "JoinedEncoders.embed": et.load_pretrained("melt3").embed,
        "Embedder": et.Embedder(model).fit,
        "embed_table": lambda x: et.embed_table(x, model),
        "nearest": lambda x: et.nearest(model, (9, 9), x),
        "from_frame": lambda x: et.Modality.from_frame(x, "n", features=["n"]),
    }


BRAZIL = {"lat": np.linspace(-60, -45, 12), "lon": np.linspace(-15, -5, 12), "n": range(12)}
DOUBTS = {
    r"1 of 12 places are at \(0, 0\)": BRAZIL | {"lon": [0.0] + [20.0] * 11, "lat": [0.0] * 12},
    "of 12 places are probably swapped": BRAZIL,
    "columns 'x' and 'y' are taken as degrees": {
        {"lat": "y", "lon": "x"}.get(key, key): column for key, column in BRAZIL.items()
    },
    "within 180 by 90 units of EPSG:3857": gpd.GeoDataFrame(
        {"n": range(12)}, geometry=gpd.points_from_xy(BRAZIL["lon"], BRAZIL["lat"]), crs=3857
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("door", doors())
def test_doubts_are_warned_of_once_at_every_door_in_the_same_words(door, doubt):
    source = DOUBTS[doubt]
    source = source if hasattr(source, "columns") else pd.DataFrame(source)
    with pytest.warns(UserWarning, match=doubt) as said:
        doors()[door](source)
    assert sum(bool(re.search(doubt, str(note.message))) for note in said) == 1
    assert Path(said[0].filename).name == "test_places.py"


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
    with pytest.raises(ValueError, match=r"longitude is missing .* in row 2 \(name 'Sydney'\)"):
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
        ([[0, 0], [0, 6.5], [21.5, 0]], {"whole degrees": (1, 5), "at sea": (1, 5)}),  # a grid
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
