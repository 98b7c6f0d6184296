"""The embedded sample: registered, oriented and right at known places; the script that builds it.

The files are read with rasterio, geopandas and pandas, not with the module under test elsewhere.
"""

import functools
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
SHAPES = {  # bands, height, width, dtype, nodata
    "satellite": (3, 2700, 5400, "uint8", None),
    "lights": (1, 2048, 4096, "uint8", None),
    "elevation": (1, 2160, 4320, "int16", -32768),
    "climate": (1, 2160, 4320, "uint8", 0),
    "landcover": (1, 3600, 7200, "uint8", None),
    "weather": (8, 180, 360, "float32", -9999),
    "turbidity": (3, 720, 1440, "uint8", None),
}
raster = functools.cache(lambda name: rasterio.open(SAMPLE / f"{name}.tif").read())
polygons = functools.cache(lambda name: gpd.read_file(SAMPLE / f"{name}.fgb"))
places = functools.cache(lambda: pd.read_parquet(SAMPLE / "places.parquet"))
spec = importlib.util.spec_from_file_location("build_sample", DATA / "build_sample.py")
build_sample = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build_sample)


def value(name, place):
    """Return the first band at a place, through the georeference of the file."""
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        return int(next(file.sample([place]))[0])


def best_shift(picture, truth):
    """Return the (row, column) shift of the truth, up to a pixel, that fits the picture best."""
    picture = picture - picture.mean()
    shifts = [(i, j) for i in range(-1, 2) for j in range(-1, 2)]
    return max(shifts, key=lambda s: (picture * np.roll(truth, s, axis=(0, 1))).sum())


def test_sources_are_the_pinned_packages_of_less_than_12_megabytes():
    files = json.loads((SAMPLE / "manifest.json").read_text("utf-8"))["files"]
    assert sum(entry["bytes"] for entry in files.values()) < 12e6
    pins = (DATA / "requirements.txt").read_text("utf-8")
    pins += "".join(f"{package.replace('@', '==')} \n" for package in build_sample.TARBALLS)
    for entry in files.values():
        for source in entry["source"].split("; "):
            assert source.split(": ")[0] + " " in pins


@pytest.mark.parametrize("name", SHAPES)
def test_raster_is_global_north_up_in_degrees(name):
    bands, height, width, dtype, nodata = SHAPES[name]
    with rasterio.open(SAMPLE / f"{name}.tif") as file:
        assert (file.count, file.height, file.width) == (bands, height, width)
        assert (set(file.dtypes), file.nodata, file.crs.to_epsg()) == ({dtype}, nodata, 4326)
        assert file.bounds == (-180, -90, 180, 90)
        assert file.transform.e < 0 < file.transform.a
        assert file.tags()["AREA_OR_POINT"] == "Area"


@pytest.mark.parametrize("name", ["satellite", "elevation", "climate", "landcover", "weather"])
def test_land_of_the_raster_lies_on_the_coasts(name):
    picture, height = raster(name), SHAPES[name][1]
    if name == "satellite":
        dry = ~(picture[2] > 1.3 * picture[0] + 10)  # the sea is painted blue
    else:
        dry = picture[0] != (SHAPES[name][-1] or 0)
    transform = rasterio.Affine(180 / height, 0, -180, 0, -180 / height, 90)
    shapes = [(shape, 1) for shape in polygons("countries").geometry]
    truth = rasterize(shapes, out_shape=dry.shape, transform=transform)
    rows = slice(height // 9, height * 7 // 9)
    assert best_shift(dry[rows], truth[rows]) == (0, 0)


def test_lights_lie_on_the_cities():
    lights = raster("lights")[0].astype(np.float32)
    towns = places()[places().population > 15_000]
    row = ((90 - towns.lat) / 180 * 2048).astype(int)
    column = ((towns.lon + 180) / 360 * 4096).astype(int) % 4096
    people = np.zeros_like(lights)
    np.add.at(people, (row, column), np.sqrt(towns.population))
    assert best_shift(lights, people) == (0, 0)


def test_elevation_at_known_places_in_steps_of_28_metres_from_minus_450():
    known = raster("elevation")[raster("elevation") != SHAPES["elevation"][-1]].astype(int)
    assert known.min() == -450
    assert not ((known + 450) % 28).any()
    for place, metres in [
        ((-104.99, 39.74), 1609),  # Denver
        ((35.46, 31.45), -430),  # the Dead Sea
        ((-99.13, 19.43), 2240),  # Mexico City
        ((106.9, 47.92), 1350),  # Ulaanbaatar
        ((4.9, 52.37), 0),  # Amsterdam
    ]:
        assert value("elevation", place) == pytest.approx(metres, abs=70)
    assert value("elevation", (86.925, 27.988)) > 5000  # the Everest region
    assert value("elevation", (-38.5, 72.58)) < 1000  # the rock under 3,216 m of ice


def test_climate_at_known_places_and_every_class_is_named_and_present():
    with rasterio.open(SAMPLE / "climate.tif") as file:
        names = ["ocean", *file.tags()["CLASSES"].split(",")]
    assert len(set(names)) == 32
    assert (np.bincount(raster("climate").ravel()) > 0).tolist() == [True] * 32
    for place, zone in [
        ((31.24, 30.04), "BWh"),  # Cairo
        ((37.62, 55.75), "Dfb"),  # Moscow
        ((103.82, 1.35), "Af"),  # Singapore
        ((-122.447662, 37.769436), "Csb"),  # San Francisco
        ((-119.735982, 39.159233), "Csa"),  # Carson City
        ((-80.391233, 25.531145), "Am"),  # south of Miami
        ((-40.0, 74.0), "EF"),  # the ice of Greenland
        ((-30.0, 0.0), "ocean"),
    ]:
        assert names[value("climate", place)] == zone, place


def test_land_cover_at_known_places_and_every_class_is_named_and_present():
    with rasterio.open(SAMPLE / "landcover.tif") as file:
        names = file.tags()["CLASSES"].split(",")
    assert (np.bincount(raster("landcover").ravel()) > 0).tolist() == [True] * len(set(names))
    for place, cover in [
        ((10.0, 23.0), "barren"),  # the Sahara
        ((-65.0, -5.0), "evergreen broadleaf forest"),  # the Amazon
        ((-40.0, 74.0), "snow and ice"),  # Greenland
        ((-30.0, 0.0), "water"),
        ((139.7, 35.7), "urban"),  # Tokyo
        ((-93.5, 42.0), "cropland"),  # Iowa
        ((104.0, 48.0), "grassland"),  # Mongolia
    ]:
        assert names[value("landcover", place)] == cover, place


def test_weather_at_known_places_by_season():
    with rasterio.open(SAMPLE / "weather.tif") as file:
        seasons = ["DJF", "MAM", "JJA", "SON"]
        pairs = [f"{what} {when}" for what in ("temperature", "pressure") for when in seasons]
        assert list(file.descriptions) == file.tags()["BANDS"].split(",") == pairs
        read = lambda place: next(file.sample([place]))  # noqa: E731
        for place, winter, summer in [
            ((13.4, 52.5), 1, 19),  # Berlin
            ((129.7, 62.0), -37, 17),  # Yakutsk
            ((31.24, 30.04), 14, 28.5),  # Cairo
            ((151.0, -33.7), 22.5, 12),  # Sydney
        ]:
            assert read(place)[[0, 2]] == pytest.approx([winter, summer], abs=2)
        assert read((95.0, 48.0))[4] > 1028  # the Siberian high
        assert read((-30.0, 60.0))[4] < 1003  # the Icelandic low
        assert (read((-30.0, 60.0))[:4] == -9999).all()  # the sea


def test_turbidity_at_known_places_by_season():
    with rasterio.open(SAMPLE / "turbidity.tif") as file:
        assert file.descriptions == ("year", "January", "July")
        read = lambda place: (next(file.sample([place])) / 20).tolist()  # noqa: E731
        where = [(77.2, 28.6), (-60.0, -3.0), (86.9, 27.9), (10.5, 52.3)]
        delhi, manaus, everest, braunschweig = map(read, where)
    assert delhi[2] > delhi[1] + 1.5  # dust before the monsoon
    assert manaus[1] > manaus[2]  # July is dry
    assert everest[0] < braunschweig[0]  # the air is thin
    for year, january, july in (delhi, manaus, braunschweig):
        assert 2 < january < 7  # very clear air has 2, a hazy sky 7
        assert min(january, july) - 0.5 < year < max(january, july) + 0.5


def test_languages_and_airports_have_their_places_and_no_pseudo_family():
    languages = pd.read_parquet(SAMPLE / "languages.parquet").set_index("name")
    airports = pd.read_parquet(SAMPLE / "airports.parquet").set_index("iata")
    assert (len(languages), len(airports)) == (7477, 7884)
    for frame, name, lonlat in [
        (languages, "Basque", (-1.3, 43.3)),
        (languages, "Swahili", (37.6, -8.3)),
        (languages, "Finnish", (25, 64)),
        (airports, "FRA", (8.57, 50.03)),
        (airports, "SYD", (151.18, -33.95)),
    ]:
        assert frame.loc[name, ["lon", "lat"]].tolist() == pytest.approx(lonlat, abs=1.5), name
    assert languages.loc[["Basque", "Swahili", "Finnish"], "family"].tolist() == [
        *("", "Atlantic-Congo", "Uralic")
    ]
    assert not {"Sign Language", "Bookkeeping", "Pidgin"} & set(languages["family"])


def test_countries_are_valid_cover_the_map_once_and_only_antarctica_spans_it():
    frame = polygons("countries")
    assert frame.is_valid.all()
    assert (len(frame), set(frame.geom_type), frame.crs.to_epsg()) == (240, {"MultiPolygon"}, 4326)
    west, south, east, north = frame.total_bounds
    assert (west, south, east) == (-180, -90, 180)
    assert north < 84
    equal = frame.to_crs("EPSG:6933")
    whole = shapely.union_all(equal.geometry.values).area
    assert equal.area.sum() == pytest.approx(whole, rel=1e-6)  # none overlaps another
    land = polygons("land")
    assert (len(land), len(land.geometry[0].geoms)) == (1, 127)
    assert land.is_valid.all()
    for area in (whole, land.to_crs("EPSG:6933").area.sum()):
        assert 0.28 < area / 510.07e12 < 0.30
    parts = frame.explode(ignore_index=True)
    assert parts.name[parts.bounds.maxx - parts.bounds.minx > 180].tolist() == ["Antarctica"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((179.0, 68.0), "Russia"),
        ((-179.0, 68.0), "Russia"),
        ((178.0, -17.8), "Fiji"),
        ((0.0, -89.9995), "Antarctica"),
        ((179.999, -85.0), "Antarctica"),
        ((28.2, -29.6), "Lesotho"),  # the hole in South Africa
        ((-105.0, 39.7), "United States"),
        ((0.0, -17.0), None),  # no band of Fiji across the map
        ((0.0, 68.0), None),  # nor of Russia
        ((51.0, 41.0), None),  # the Caspian Sea is a hole
    ],
)
def test_country_and_land_at_known_places(place, name):
    frame, point = polygons("countries"), shapely.Point(place)
    assert frame.name[frame.contains(point)].tolist() == ([name] if name else [])
    assert polygons("land").geometry[0].contains(point) == (name is not None)


def test_country_codes_are_unique_strings_and_every_country_has_a_continent():
    frame = polygons("countries")
    coded, uncoded = frame[frame.iso_n3 != ""], frame[frame.iso_n3 == ""]
    assert coded.iso_n3.str.fullmatch(r"\d{3}").all()
    assert coded.iso_n3.is_unique
    assert frame.name.is_unique
    assert coded.set_index("name").iso_a2["Namibia"] == "NA"
    assert dict(zip(uncoded.name, uncoded.iso_a2)) == {
        **dict.fromkeys(("Indian Ocean Territories", "Northern Cyprus", "Siachen Glacier"), ""),
        **{"Somaliland": "", "Kosovo": "XK"},
    }
    assert frame.continent.value_counts()["Africa"] == 57
    assert frame.continent.nunique() == 7


def test_places_have_the_documented_columns_without_gaps_or_duplicates():
    frame = places()
    assert list(frame.columns) == ["name", "country", "population", "lon", "lat"]
    types = frame.dtypes[["population", "lon", "lat"]].astype(str).tolist()
    assert types == ["int32", "float32", "float32"]
    assert len(frame) > 200_000
    assert not frame.isna().any().any()
    assert (frame.name.str.strip() != "").all()
    assert frame.country.str.fullmatch("[A-Z]{2}").all()
    assert not frame.duplicated(["name", "country", "lon", "lat"]).any()
    assert (frame.population >= 0).all()


def test_places_lie_in_their_countries():
    towns = places().sample(2000, random_state=0)
    points = gpd.GeoDataFrame(
        towns, geometry=gpd.points_from_xy(towns.lon, towns.lat), crs="EPSG:4326"
    )
    joined = points.sjoin(polygons("countries")[["iso_a2", "geometry"]])
    assert len(joined) > 1900  # small islands and coasts fall outside the 1:50 million outlines
    assert (joined.country == joined.iso_a2).mean() > 0.98


def test_check_names_each_file_that_differs(tmp_path):
    built, committed = tmp_path / "built", tmp_path / "committed"
    for folder in (built, committed):
        folder.mkdir()
        for name in ("same", "other"):
            (folder / name).write_text(name)
    (committed / "other").write_text("OTHER")
    (built / "new").touch()
    assert build_sample.differing(built, committed) == ["new", "other"]
