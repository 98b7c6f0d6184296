"""The embedded sample: intact, registered, oriented and right at known places.

The files are read with rasterio, geopandas and pandas, not with the module under test elsewhere.
"""

import functools
import hashlib
import importlib.util
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLE = DATA / "sample"
FILES = json.loads((SAMPLE / "manifest.json").read_text("utf-8"))["files"]
SHAPES = {  # bands, height, width, dtype, nodata
    "satellite": (3, 2700, 5400, "uint8", None),
    "lights": (1, 2048, 4096, "uint8", None),
    "elevation": (1, 2160, 4320, "int16", -32768),
    "climate": (1, 2160, 4320, "uint8", 0),
}
MID_ATLANTIC, PACIFIC = (-30.0, 0.0), (-140.0, -30.0)


@functools.cache
def raster(name):
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        return file.read()


def value(name, lon, lat):
    """Return the bands at a place, through the georeference of the file."""
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        return next(file.sample([(lon, lat)])).astype(int)


def window(name, west, south, east, north):
    """Return the pixels of a box in degrees, shape (bands, rows, columns)."""
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        return file.read(
            window=rasterio.windows.from_bounds(west, south, east, north, file.transform)
        )


def climate(lon, lat):
    with rasterio.open(SAMPLE / "climate.tif") as file:
        names = file.tags()["CLASSES"].split(",")
    code = value("climate", lon, lat)[0]
    return names[code - 1] if code else "ocean"


@functools.cache
def countries():
    return gpd.read_file(SAMPLE / "countries.fgb")


@functools.cache
def land():
    return gpd.read_file(SAMPLE / "land.fgb")


@functools.cache
def places():
    return pd.read_parquet(SAMPLE / "places.parquet")


def country_at(lon, lat):
    frame = countries()
    return frame.loc[frame.contains(shapely.Point(lon, lat)), "name"].tolist()


@functools.cache
def country_mask(height):
    """Return a raster of the countries: 1 where the centre of a pixel is land."""
    size = (height, 2 * height)
    transform = rasterio.Affine(180 / height, 0, -180, 0, -180 / height, 90)
    return rasterize(
        [(shape, 1) for shape in countries().geometry], out_shape=size, transform=transform
    )


def area_fraction(mask):
    """Return the share of the sphere that a mask in degrees covers."""
    height = mask.shape[0]
    weight = np.cos(np.radians(90 - (np.arange(height) + 0.5) * 180 / height))
    return float((mask.mean(axis=1) * weight).sum() / weight.sum())


def best_shift(picture, truth, rows=slice(None)):
    """Return the (row, column) shift of the truth, up to 2 pixels, that fits the picture best."""
    picture = picture[rows] - picture[rows].mean()
    shifts = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    return max(shifts, key=lambda s: (picture * np.roll(truth[rows], s, axis=(0, 1))).sum())


@functools.cache
def build_script():
    spec = importlib.util.spec_from_file_location("build_sample", DATA / "build_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manifest_lists_exactly_the_files():
    assert {p.name for p in SAMPLE.iterdir()} == {*FILES, "manifest.json"}


def test_sample_stays_under_12_megabytes():
    assert sum(p.stat().st_size for p in SAMPLE.iterdir()) < 12e6


@pytest.mark.parametrize("name", FILES)
def test_hash_and_size_match_the_manifest(name):
    data = (SAMPLE / name).read_bytes()
    assert len(data) == FILES[name]["bytes"]
    assert hashlib.sha256(data).hexdigest() == FILES[name]["sha256"]


def test_sources_are_the_pinned_packages():
    script = build_script()
    pins = (DATA / "requirements.txt").read_text("utf-8")
    pins += "".join(f"{package.replace('@', '==')} \n" for package in script.TARBALLS)
    for entry in FILES.values():
        for source in entry["source"].split("; "):
            assert source.split(": ")[0] + " " in pins


@pytest.mark.parametrize("name", SHAPES)
def test_raster_is_global_north_up_in_degrees(name):
    bands, height, width, dtype, nodata = SHAPES[name]
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        assert (file.count, file.height, file.width) == (bands, height, width)
        assert set(file.dtypes) == {dtype}
        assert file.nodata == nodata
        assert file.crs.to_epsg() == 4326
        assert file.bounds == (-180, -90, 180, 90)
        assert file.transform.e < 0 < file.transform.a
        assert file.tags()["AREA_OR_POINT"] == "Area"


def test_satellite_lies_on_the_coasts():
    red, _, blue = raster("satellite").astype(np.int16)
    dry = ~(blue > 1.3 * red + 10)  # the sea is painted blue
    assert best_shift(dry, country_mask(2700), slice(300, 2100)) == (0, 0)


@pytest.mark.parametrize("name", ["elevation", "climate"])
def test_land_of_the_raster_lies_on_the_coasts(name):
    known = raster(name)[0] != SHAPES[name][-1]
    assert best_shift(known, country_mask(2160), slice(200, 1750)) == (0, 0)


def test_lights_lie_on_the_cities():
    lights = raster("lights")[0].astype(np.float32)
    towns = places()[places().population > 15_000]
    row = ((90 - towns.lat) / 180 * 2048).astype(int)
    column = ((towns.lon + 180) / 360 * 4096).astype(int) % 4096
    people = np.zeros_like(lights)
    np.add.at(people, (row, column), np.sqrt(towns.population))
    assert best_shift(lights, people) == (0, 0)


@pytest.mark.parametrize("name", ["elevation", "climate"])
def test_sea_is_nodata(name):
    for place in (MID_ATLANTIC, PACIFIC):
        assert value(name, *place)[0] == SHAPES[name][-1]


@pytest.mark.parametrize("name", ["elevation", "climate"])
def test_land_fraction_of_the_raster(name):
    assert 0.28 < area_fraction(raster(name)[0] != SHAPES[name][-1]) < 0.30


@pytest.mark.parametrize(
    ("place", "low", "high"),
    [
        ((-104.99, 39.74), 1560, 1680),  # Denver, 1,609 m
        ((35.46, 31.45), -460, -400),  # the Dead Sea, about -430 m
        ((86.925, 27.988), 5000, 8849),  # the Everest region
        ((-99.13, 19.43), 2180, 2300),  # Mexico City, 2,240 m
        ((51.4, 35.7), 1100, 1300),  # Tehran, about 1,200 m
        ((106.9, 47.92), 1300, 1420),  # Ulaanbaatar, 1,350 m
        ((4.9, 52.37), -30, 60),  # Amsterdam, sea level
    ],
)
def test_elevation_at_known_places(place, low, high):
    assert low < value("elevation", *place)[0] < high


def test_elevation_has_steps_of_28_metres_from_minus_450():
    metres = raster("elevation")[raster("elevation") != SHAPES["elevation"][-1]].astype(int)
    assert metres.min() == -450
    assert not ((metres + 450) % 28).any()


def test_elevation_of_greenland_is_the_rock_under_the_ice():
    assert value("elevation", -38.5, 72.58)[0] < 1000  # the ice stands at 3,216 m


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ((31.24, 30.04), "BWh"),  # Cairo
        ((37.62, 55.75), "Dfb"),  # Moscow
        ((103.82, 1.35), "Af"),  # Singapore
        ((-0.12, 51.5), "Cfb"),  # London
        ((-122.447662, 37.769436), "Csb"),  # San Francisco
        ((-119.735982, 39.159233), "Csa"),  # Carson City
        ((-80.391233, 25.531145), "Am"),  # south of Miami
        ((-40.0, 74.0), "EF"),  # the ice of Greenland
        (MID_ATLANTIC, "ocean"),
    ],
)
def test_climate_at_known_places(place, zone):
    assert climate(*place) == zone


def test_every_climate_class_is_named_and_present():
    with rasterio.open(SAMPLE / "climate.tif") as file:
        names = file.tags()["CLASSES"].split(",")
    assert len(set(names)) == 31
    assert set(np.unique(raster("climate"))) == set(range(32))


def test_great_cities_are_bright_at_night():
    for west, south in [(-74.3, 40.5), (139.4, 35.4), (30.9, 29.8), (37.3, 55.5), (150.7, -34.1)]:
        assert window("lights", west, south, west + 0.7, south + 0.7).max() > 60


def test_empty_land_is_dark_at_night():
    for box in [(0, 19, 25, 27), (-48, 66, -30, 80), (-70, -8, -58, 0), (122, -28, 140, -20)]:
        assert window("lights", *box).mean() < 0.5


def test_north_korea_is_darker_than_the_south():
    north, south = (125.5, 39, 127.5, 41), (126.5, 35.5, 128.5, 37.6)
    assert 20 * window("lights", *north).mean() < window("lights", *south).mean()


def test_sahara_is_bright_and_reddish():
    red, green, blue = window("satellite", 5, 20, 20, 26).reshape(3, -1).mean(axis=1)
    assert red > 150
    assert red > green > blue


def test_amazon_is_dark_green():
    red, green, blue = window("satellite", -70, -7, -60, -2).reshape(3, -1).mean(axis=1)
    assert green < 80
    assert green > red > blue


def test_greenland_is_white():
    assert window("satellite", -45, 70, -35, 78).min(axis=0).mean() > 230


def test_countries_are_valid_and_inside_the_map():
    frame = countries()
    assert frame.crs.to_epsg() == 4326
    assert frame.is_valid.all()
    assert set(frame.geom_type) == {"MultiPolygon"}
    west, south, east, north = frame.total_bounds
    assert (west, south, east) == (-180, -90, 180)
    assert north < 84


def test_only_antarctica_spans_the_map():
    parts = countries().explode(ignore_index=True)
    width = parts.bounds.maxx - parts.bounds.minx
    assert parts.name[width > 180].tolist() == ["Antarctica"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((179.0, 68.0), "Russia"),
        ((-179.0, 68.0), "Russia"),
        ((-172.0, 66.5), "Russia"),
        ((178.0, -17.8), "Fiji"),
        ((-179.9, -16.8), "Fiji"),
        ((0.0, -85.0), "Antarctica"),
        ((0.0, -89.9995), "Antarctica"),
        ((179.999, -85.0), "Antarctica"),
        ((28.2, -29.6), "Lesotho"),  # the hole in South Africa
        ((17.0, -22.0), "Namibia"),
        ((-105.0, 39.7), "United States"),
    ],
)
def test_country_at_known_places(place, name):
    assert country_at(*place) == [name]


@pytest.mark.parametrize("place", [(0.0, -17.0), (0.0, 68.0), (-30.0, 60.0), (51.0, 41.0)])
def test_no_band_across_the_map(place):
    assert not {"Fiji", "Russia", "Antarctica"} & set(country_at(*place))


@pytest.mark.parametrize(
    ("name", "area_km2"),
    [  # total areas as national statistics give them
        ("Brazil", 8_515_770),
        ("Russia", 17_098_242),
        ("Canada", 9_984_670),
        ("Australia", 7_741_220),
        ("Argentina", 2_780_400),
        ("Mongolia", 1_564_116),
        ("Greenland", 2_166_086),
        ("Fiji", 18_274),
    ],
)
def test_area_of_a_country(name, area_km2):
    frame = countries()
    area = frame[frame.name == name].to_crs("EPSG:6933").area.sum() / 1e6
    assert area == pytest.approx(area_km2, rel=0.02)


def test_country_codes_are_strings_and_unique():
    frame = countries()
    assert len(frame) == 240
    coded = frame[frame.iso_n3 != ""]
    assert coded.iso_n3.str.fullmatch(r"\d{3}").all()
    assert coded.iso_n3.is_unique
    assert frame.name.is_unique
    assert frame.loc[frame.name == "Namibia", ["iso_n3", "iso_a2"]].values.tolist() == [
        ["516", "NA"]
    ]
    uncoded = frame[frame.iso_n3 == ""].set_index("name").iso_a2.to_dict()
    assert uncoded.pop("Kosovo") == "XK"
    assert set(uncoded) == {
        "Indian Ocean Territories",
        "Northern Cyprus",
        "Siachen Glacier",
        "Somaliland",
    }
    assert set(uncoded.values()) == {""}


def test_every_country_has_a_continent():
    continents = countries().continent.value_counts()
    assert set(continents.index) == {
        *("Africa", "Antarctica", "Asia", "Europe"),
        *("North America", "Oceania", "South America"),
    }
    assert continents["Africa"] == 57


def test_countries_do_not_overlap():
    frame = countries().to_crs("EPSG:6933")
    assert frame.area.sum() == pytest.approx(
        shapely.union_all(frame.geometry.values).area, rel=1e-6
    )


@pytest.mark.parametrize("frame", [countries, land])
def test_land_fraction_of_the_polygons(frame):
    sphere_m2 = 510.07e12
    assert 0.28 < frame().to_crs("EPSG:6933").area.sum() / sphere_m2 < 0.30


def test_land_is_one_valid_feature_of_127_polygons():
    [shape] = land().geometry
    assert shape.is_valid
    assert len(shape.geoms) == 127


@pytest.mark.parametrize(
    ("place", "dry"),
    [
        ((0.0, -85.0), True),
        ((179.0, 68.0), True),
        ((-175.0, 66.5), True),
        ((178.0, -17.8), True),
        ((0.0, -17.0), False),
        ((51.0, 41.0), False),  # the Caspian Sea is a hole
        ((0.0, 0.0), False),
    ],
)
def test_land_at_known_places(place, dry):
    assert land().geometry[0].contains(shapely.Point(place)) == dry


def test_places_have_the_documented_columns():
    assert {c: str(t) for c, t in places().dtypes.items() if t.kind in "if"} == {
        "population": "int32",
        "lon": "float32",
        "lat": "float32",
    }
    assert list(places().columns) == ["name", "country", "population", "lon", "lat"]
    assert len(places()) > 200_000


def test_places_have_no_gap_and_no_duplicate():
    frame = places()
    assert not frame.isna().any().any()
    assert (frame.name.str.strip() != "").all()
    assert not frame.duplicated(["name", "country", "lon", "lat"]).any()


def test_places_lie_on_the_earth():
    frame = places()
    assert frame.lon.between(-180, 180).all()
    assert frame.lat.between(-90, 90).all()
    assert frame.lon.abs().max() > 90 + frame.lat.abs().max() / 2  # not swapped
    assert (frame.population >= 0).all()


def test_namibia_keeps_its_code():
    frame = places()
    windhoek = frame[frame.name == "Windhoek"]
    assert windhoek.country.tolist() == ["NA"]
    assert windhoek[["lon", "lat"]].values[0] == pytest.approx([17.08, -22.56], abs=0.05)
    assert frame.country.str.fullmatch("[A-Z]{2}").all()


def test_tokyo_is_where_it_is():
    tokyo = places()[(places().name == "Tokyo") & (places().country == "JP")]
    assert tokyo[["lon", "lat"]].values[0] == pytest.approx([139.69, 35.69], abs=0.05)
    assert tokyo.population.iloc[0] > 8_000_000


def test_places_lie_in_their_countries():
    towns = places().sample(2000, random_state=0)
    points = gpd.GeoDataFrame(
        towns, geometry=gpd.points_from_xy(towns.lon, towns.lat), crs="EPSG:4326"
    )
    joined = points.sjoin(countries()[["iso_a2", "geometry"]])
    assert len(joined) > 1900  # small islands and coasts fall outside the 1:50 million outlines
    assert (joined.country == joined.iso_a2).mean() > 0.98


def test_a_hundred_thousand_places_remain_one_a_10_km_cell():
    frame, side_km, km_a_degree = places(), 10.0, 111.195
    row = np.floor((frame.lat.astype(float) + 90) * km_a_degree / side_km)
    middle = np.radians((row + 0.5) * side_km / km_a_degree - 90)
    columns = np.maximum(1, np.round(360 * km_a_degree * np.cos(middle) / side_km))
    column = np.floor((frame.lon.astype(float) + 180) / 360 * columns)
    assert len(pd.DataFrame({"row": row, "column": column}).drop_duplicates()) > 100_000


def test_ring_across_the_date_line_is_cut_in_two():
    ring = np.array([[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]], dtype=float)
    shape = build_script().ring_to_map(ring)
    assert shape.area == pytest.approx(200)
    assert sorted(part.bounds for part in shape.geoms) == [(-180, 0, -170, 10), (170, 0, 180, 10)]


@pytest.mark.parametrize(
    ("lat", "bounds"), [(-80, (-180, -90, 180, -80)), (80, (-180, 80, 180, 90))]
)
@pytest.mark.parametrize("start", [-180, 0, 37])
def test_ring_round_a_pole_holds_the_pole(lat, bounds, start):
    lon = (np.arange(start, start + 361, 10) + 180) % 360 - 180
    ring = np.column_stack([lon, lat + 0.001 * np.cos(np.radians(lon))])
    shape = build_script().ring_to_map(ring)
    assert shape.is_valid
    assert shape.bounds == pytest.approx(bounds, abs=0.01)
    assert shape.area == pytest.approx(3600, rel=1e-3)


def test_hole_is_cut_out_and_the_seam_along_the_pole_is_dropped():
    square = [[0, 0], [10, 0], [0, 10], [-10, 0], [0, -10]]  # delta-coded
    hole = [[2, 2], [0, 2], [2, 0], [0, -2], [-2, 0]]
    seam = [[180, -90], [-360, 0], [360, 0], [0, 0]]
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": [square, hole, seam],
        "objects": {"land": {"type": "MultiPolygon", "arcs": [[[0], [1]], [[2]]]}},
    }
    [(number, name, shape)] = build_script().read_topology(topology, "land")
    assert (number, name) == ("", "")
    assert shape.area == pytest.approx(96)
    assert not shape.contains(shapely.Point(3, 3))


def test_check_names_each_file_that_differs(tmp_path):
    built, committed = tmp_path / "built", tmp_path / "committed"
    for folder in (built, committed):
        folder.mkdir()
        for name in ("same", "other"):
            (folder / name).write_text(name)
    (committed / "other").write_text("OTHER")
    (built / "new").touch()
    assert build_script().differing(built, committed) == ["new", "other"]
