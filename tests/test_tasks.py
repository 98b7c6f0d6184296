"""Downstream tasks: known values, shared places, people counted by brute force."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin

import earthtie_lite as et
from earthtie_lite import sample as embedded
from earthtie_lite.coords import great_circle_km
from earthtie_lite.paper.sources import BIOMES, population_density
from earthtie_lite.tasks import (
    MORE_NAMES,
    NAMES,
    PAPER_NAMES,
    RADIUS_KM,
    SMALLEST_FAMILY,
    Task,
    country_of,
    people_within,
)


@pytest.fixture(scope="module")
def tasks():
    return {name: et.load_task(name, n=2000) for name in (*NAMES, *MORE_NAMES)}


@pytest.mark.parametrize("name", [*NAMES, *MORE_NAMES])
def test_a_task_has_distinct_places_on_land_that_the_seed_gives_and_all_tasks_share(tasks, name):
    task = tasks[name]
    assert (task.name, len(task), task.target.shape) == (name, 2000, (2000,))
    np.testing.assert_array_equal(task.lonlat, tasks["climate"].lonlat)
    assert (et.load_task(name, n=20, seed=1).lonlat != task.lonlat[:20]).all()
    assert len(np.unique(task.lonlat, axis=0)) == 2000
    assert embedded.is_land(task.lonlat).all()
    with pytest.raises(ValueError, match="read-only"):
        task.lonlat[0, 0] = 0.0


def test_targets_are_the_values_of_the_rasters(tasks):
    for name, first in (("elevation", 0), ("climate", 1)):
        values = embedded.raster(name).at(tasks[name].lonlat)[:, 0]
        np.testing.assert_array_equal(tasks[name].target + first, values)


def test_every_class_number_has_a_name_and_greenland_is_left_out(tasks):
    for task in (tasks["climate"], tasks["family"], tasks["country"]):
        assert (task.kind, task.target.dtype) == ("classification", np.int64)
        assert 0 <= task.target.min() <= task.target.max() < len(task.classes)
        assert len(set(task.classes)) == len(task.classes)
    assert task.classes.index("Greenland") not in task.target


def test_the_country_of_a_place_is_right_and_does_not_depend_on_the_others(tasks):
    known = {"Egypt": [31.24, 30.04], "Russia": [-175.0, 66.0], "Fiji": [178.0, -17.8]}
    lonlat = np.concatenate([tasks["country"].lonlat[:50], list(known.values()), [[-30.0, 0.0]]])
    together = country_of(lonlat).tolist()
    assert together[:50] == tasks["country"].target[:50].tolist()
    assert [tasks["country"].classes[number] for number in together[50:-1]] == list(known)
    assert together[-1] == -1  # the sea
    assert together == [country_of(place[None])[0] for place in lonlat]


def test_people_within_a_radius_equal_a_count_by_brute_force(tasks):
    frame, task = embedded.places(), tasks["population"]
    towns, population = frame[["lon", "lat"]].to_numpy(), frame["population"].to_numpy()
    asked = np.concatenate([task.lonlat[:3], [[31.24, 30.04], [179.99, -16.8]]])
    counted = people_within(asked, 50.0)
    for place, got in zip(asked, counted, strict=True):
        near = great_circle_km(np.broadcast_to(place, towns.shape), towns) <= 50.0
        assert got == population[near].sum()
    assert counted[3] > 5e6
    np.testing.assert_allclose(task.target[:3], np.log10(1 + counted[:3]))


@pytest.mark.parametrize("name", RADIUS_KM)
def test_counts_within_a_radius_equal_brute_force(tasks, name):
    points, task = embedded.points(name)[["lon", "lat"]].to_numpy(), tasks[name]
    for place, target in zip(task.lonlat[:20], task.target):
        distance = great_circle_km(np.broadcast_to(place, points.shape), points)
        assert target == pytest.approx(np.log10(1 + (distance <= RADIUS_KM[name]).sum()))
    assert np.ptp(task.target[:20]) > 0.3


def test_the_family_is_that_of_the_nearest_language_unless_it_is_small(tasks):
    frame, task = embedded.points("languages"), tasks["family"]
    size = frame["family"].value_counts()
    for place, target in zip(task.lonlat[:50], task.target):
        points = frame[["lon", "lat"]].to_numpy()
        distance = great_circle_km(np.broadcast_to(place, points.shape), points)
        family = frame["family"].iloc[distance.argmin()]
        small = family == "" or size[family] < SMALLEST_FAMILY
        assert task.classes[target] == ("other" if small else family)
    assert {"other", "Indo-European"} <= {task.classes[i] for i in task.target[:50]}


def test_turbidity_of_the_season_is_the_ratio_of_two_months(tasks):
    year, january, july = embedded.raster("turbidity").at(tasks["turbidity"].lonlat).T / 20
    np.testing.assert_allclose(tasks["turbidity"].target, year)
    np.testing.assert_allclose(2 ** tasks["turbidity season"].target, july / january)


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Write the paper's sources in miniature: a raster, polygons of two kinds, terrain tiles.

    The raster has no data from 40 to 60 degrees north; the others only cover the eastern half.
    """
    root = tmp_path_factory.mktemp("paper")
    files = {
        "population": root / "density.tif",
        "biome": root / "regions.gpkg",
        "country": root / "ne_50m_admin_0_countries.shp",
        "elevation": root / "terrarium",
    }
    values = np.random.default_rng(0).uniform(0, 5000, (36, 72)).astype(np.float32)
    values[6:10] = -3.4028230607370965e38
    settings = {"count": 1, "height": 36, "width": 72, "dtype": "float32", "crs": "EPSG:4326"}
    settings["transform"] = from_origin(-180, 90, 5, 5)
    with rasterio.open(files["population"], "w", **settings) as file:
        file.write(values, 1)
    with rasterio.open(root / "empty.tif", "w", **settings) as file:
        file.write(np.full_like(values, -1), 1)
    for name, columns in (
        ("biome", {"BIOME_NUM": [7, 13], "BIOME_NAME": [BIOMES[6], BIOMES[12]]}),
        ("country", {"ADM0_A3": ["WST", "EST"], "ADMIN": ["Westland", "Eastland"]}),
    ):
        shapes = [shapely.box(0, -90, 90, 90), shapely.box(90, -90, 180, 90)]
        gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(files[name])
    (files["elevation"] / "1" / "1").mkdir(parents=True)
    for y in range(2):  # 100.5 m in the north, 200.5 m in the south
        colours = np.full((256, 256, 3), [128, 100 * (y + 1), 128], dtype=np.uint8)
        Image.fromarray(colours).save(files["elevation"] / "1" / "1" / f"{y}.png")
    return files


PAPER = {  # which of the places (lon, lat) have a label, what it is, and its unit
    "population": (lambda lon, lat: (lat <= 40) | (lat > 60), None, "log10(1 + people per km2)"),
    "biome": (lambda lon, lat: lon >= 0, lambda lon, lat: np.where(lon < 90, 6, 12), "biome"),
    "country": (lambda lon, lat: lon >= 0, lambda lon, lat: np.where(lon < 90, 1, 0), "country"),
    "elevation": (lambda lon, lat: lon >= 0, lambda lon, lat: np.where(lat > 0, 100.5, 200.5), "m"),
}


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_the_papers_tasks_have_the_places_with_a_label_in_order(tasks, paper, name):
    task = et.load_task(name, n=2000, source="paper", path=paper[name])
    has_label, label, unit = PAPER[name]
    lonlat = tasks["elevation"].lonlat[has_label(*tasks["elevation"].lonlat.T)]
    assert 0 < len(lonlat) < 2000
    np.testing.assert_array_equal(task.lonlat, lonlat)
    expected = label(*lonlat.T) if label else np.log10(1 + population_density(paper[name], lonlat))
    np.testing.assert_allclose(task.target, expected)
    integer = task.kind == "classification"
    assert (task.name, task.unit, task.target.dtype.kind) == (name, unit, "i" if integer else "f")
    classes = {"biome": BIOMES, "country": ("Eastland", "Westland")}
    assert task.classes == classes.get(name, ())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rain", {}, r"unknown task 'rain' of source 'sample': the sample has \('elevation'"),
        ("biome", {}, r"unknown task 'biome' of .* \(source='paper', path=...\)"),
        ("climate", {"source": "paper", "path": "x.tif"}, "unknown task 'climate' of source 'p"),
        ("climate", {"source": "web"}, "unknown source 'web'"),
        ("climate", {"seed": -1}, "seed must be an integer of at least 0"),
        *(("climate", {"n": n}, "n must be an integer of at least 2") for n in (1, 2.5, "all")),
        *((n, {"source": "paper"}, f"needs path=, a file with .* '{n}'") for n in PAPER_NAMES),
        *((n, {"source": "paper", "path": "gone"}, "there is no .*gone") for n in PAPER_NAMES),
        ("population", {"source": "paper", "path": "empty.tif"}, r"empty\.tif labels 0 of 50 pl"),
        ("population", {"path": "x.tif"}, r"path needs source='paper', got path=.*x\.tif'"),
    ],
)
def test_an_invalid_setting_or_file_is_refused(paper, name, settings, message):
    if "path" in settings:
        settings = settings | {"path": paper["biome"].with_name(settings["path"])}
    with pytest.raises(ValueError, match=message):
        et.load_task(name, **{"n": 50, **settings})


TASK = {"name": "x", "lonlat": [[0.0, 10.0], [20.0, 30.0]], "unit": "m"}
VALUES = {"kind": "regression", "target": [1.0, 2.0]}
CLASSES = {"kind": "classification", "classes": ("a", "b")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lonlat": [[10.0, 151.2], [0, 0]]}, r"latitude must lie in .* got 151.2 in row 0"),
        ({"lonlat": [[0.0, 10.0]]}, r"target of task 'x' must have shape \(1,\), .* got \(2,\)"),
        ({"target": [[1.0], [2.0]]}, r"must have shape \(2,\), one per place, got \(2, 1\)"),
        ({"target": [1.0, np.nan]}, r"must be finite, got nan in row 1; drop places"),
        ({"target": ["a", "b"]}, r"must be numbers for a regression, got <U1"),
        ({"kind": "ranking"}, "unknown kind 'ranking'"),
        ({"kind": "classification"}, r"must be integers for a classification, got float64"),
        (CLASSES | {"target": [0, 2]}, r"must number its 2 classes from 0, got 2 in row 1"),
        (CLASSES | {"target": [-1, 0]}, r"must number its 2 classes from 0, got -1 in row 0"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Task(**TASK | VALUES | changes)
