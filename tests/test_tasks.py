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
from earthtie_lite.paper.sources import BIOMES, biome, country, population_density
from earthtie_lite.paper.terrain import elevation
from earthtie_lite.tasks import NAMES, PAPER_NAMES, Task, country_of, people_within

KNOWN = {
    "Denver": [-104.99, 39.74],
    "Cairo": [31.24, 30.04],
    "Dead Sea": [35.48, 31.5],
    "Sahara": [10.0, 24.0],
    "New York": [-74.0, 40.72],
    "Manaus": [-60.02, -3.1],
    "Moscow": [37.62, 55.75],
}


@pytest.fixture(scope="module")
def tasks():
    return {name: et.load_task(name, n=2000) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_places_targets_and_a_unit(tasks, name):
    task = tasks[name]
    assert (task.name, len(task)) == (name, 2000)
    assert task.lonlat.shape == (2000, 2)
    assert task.target.shape == (2000,)
    assert task.unit
    assert task.source
    kind, dtype = {
        "elevation": ("regression", np.float64),
        "population": ("regression", np.float64),
        "climate": ("classification", np.int64),
        "country": ("classification", np.int64),
    }[name]
    assert (task.kind, task.target.dtype) == (kind, dtype)


def test_all_tasks_have_the_same_places_given_by_the_seed(tasks):
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, tasks["climate"].lonlat)
    assert (et.load_task("climate", n=2000, seed=1).lonlat != tasks["climate"].lonlat).all()


def test_places_are_distinct_and_on_land(tasks):
    lonlat = tasks["elevation"].lonlat
    assert len(np.unique(lonlat, axis=0)) == 2000
    assert embedded.is_land(lonlat).all()


def test_shared_places_are_read_only(tasks):
    with pytest.raises(ValueError, match="read-only"):
        tasks["country"].lonlat[0, 0] = 0.0


@pytest.mark.parametrize("name", ["climate", "country"])
def test_every_class_number_has_a_name(tasks, name):
    task = tasks[name]
    assert 0 <= task.target.min() <= task.target.max() < len(task.classes)
    assert len(set(task.classes)) == len(task.classes)


def test_elevations_and_lights_of_known_places_are_right():
    denver, dead_sea = embedded.raster("elevation").at([KNOWN["Denver"], KNOWN["Dead Sea"]])[:, 0]
    assert denver == pytest.approx(1620, abs=60)
    assert dead_sea < -400
    sahara, york = embedded.raster("lights").at([KNOWN["Sahara"], KNOWN["New York"]])[:, 0]
    assert sahara < 10 < 40 < york


@pytest.mark.parametrize(
    ("place", "expected"), [("Cairo", "BWh"), ("Manaus", "Af"), ("Moscow", "Dfb")]
)
def test_climates_of_known_places_are_right(tasks, place, expected):
    number = embedded.raster("climate").at([KNOWN[place]])[0, 0] - 1
    assert tasks["climate"].classes[number] == expected


def test_targets_are_the_values_of_the_rasters(tasks):
    lonlat = tasks["elevation"].lonlat
    for name, first in (("elevation", 0), ("climate", 1)):
        values = embedded.raster(name).at(lonlat)[:, 0]
        np.testing.assert_array_equal(tasks[name].target + first, values)


@pytest.mark.parametrize(
    ("lonlat", "country"),
    [
        ([31.24, 30.04], "Egypt"),
        ([-104.99, 39.74], "United States"),
        ([100.0, 62.0], "Russia"),
        ([-175.0, 66.0], "Russia"),  # beyond the date line
        ([178.0, -17.8], "Fiji"),
        ([-60.0, -10.0], "Brazil"),
    ],
)
def test_countries_of_known_places_are_right(tasks, lonlat, country):
    (number,) = country_of(np.array([lonlat]))
    assert country in tasks["country"].classes[number]


def test_the_sea_belongs_to_no_country():
    assert country_of(np.array([[-30.0, 0.0], [31.24, 30.04]])).tolist()[0] == -1


def test_the_country_of_a_place_does_not_depend_on_the_others(tasks):
    lonlat = tasks["country"].lonlat[:50]
    np.testing.assert_array_equal(country_of(lonlat), tasks["country"].target[:50])
    assert [country_of(place[None])[0] for place in lonlat] == tasks["country"].target[:50].tolist()


def test_people_within_a_radius_equal_a_count_by_brute_force(tasks):
    frame = embedded.places()
    towns, population = frame[["lon", "lat"]].to_numpy(), frame["population"].to_numpy()
    asked = np.concatenate([tasks["population"].lonlat[:6], [KNOWN["Cairo"], [179.99, -16.8]]])
    for place, got in zip(asked, people_within(asked, 50.0), strict=True):
        near = great_circle_km(np.broadcast_to(place, towns.shape), towns) <= 50.0
        assert got == population[near].sum()
    assert people_within(asked, 50.0)[6] > 5e6


def test_population_is_the_logarithm_of_the_people_within_50_km(tasks):
    people = people_within(tasks["population"].lonlat[:100], 50.0)
    np.testing.assert_allclose(tasks["population"].target[:100], np.log10(1 + people))
    assert "circular" in tasks["population"].caveat


def test_the_repr_of_a_task_is_a_summary(tasks):
    assert repr(tasks["elevation"]) == "Task('elevation', regression, 2,000 places, m)"


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    """Write people per km2 on a grid of 5 degrees, without data from 40 to 60 degrees north."""
    path = tmp_path_factory.mktemp("paper") / "density.tif"
    values = np.random.default_rng(0).uniform(0, 5000, (36, 72)).astype(np.float32)
    values[6:10] = -3.4028230607370965e38
    settings = {"count": 1, "height": 36, "width": 72, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", transform=from_origin(-180, 90, 5, 5), **settings) as file:
        file.write(values, 1)
    return path


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """Write two biomes of 90 degrees of longitude each; the other half of the Earth has none."""
    path = tmp_path_factory.mktemp("paper") / "regions.gpkg"
    columns = {"BIOME_NUM": [7, 13], "BIOME_NAME": [BIOMES[6], BIOMES[12]]}
    shapes = [shapely.box(0, -90, 90, 90), shapely.box(90, -90, 180, 90)]
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    return path


def test_the_papers_population_is_the_logarithm_of_people_per_km2(tasks, density):
    task = et.load_task("population", n=2000, source="paper", path=density)
    lonlat = tasks["elevation"].lonlat
    kept = ~((lonlat[:, 1] > 40) & (lonlat[:, 1] <= 60))
    assert 0 < kept.sum() < 2000
    np.testing.assert_array_equal(task.lonlat, lonlat[kept])  # in order, less those unlabelled
    np.testing.assert_allclose(task.target, np.log10(1 + population_density(density, lonlat[kept])))
    assert (task.kind, task.unit) == ("regression", "log10(1 + people per km2)")
    assert "GPWv4" in task.source
    assert "independent of the gazetteer" in task.caveat


def test_the_papers_biomes_are_numbered_from_zero(tasks, regions):
    task = et.load_task("biome", n=2000, source="paper", path=regions)
    lonlat = tasks["elevation"].lonlat
    kept = lonlat[:, 0] >= 0
    np.testing.assert_array_equal(task.lonlat, lonlat[kept])
    np.testing.assert_array_equal(task.target, np.where(lonlat[kept, 0] < 90, 6, 12))
    assert (task.kind, task.target.dtype) == ("classification", np.int64)
    assert task.classes == BIOMES
    assert task.classes[12] == "Deserts & Xeric Shrublands"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Write terrain tiles of zoom 1 for the eastern half of the Earth: 100.5 m, south 200.5 m."""
    folder = tmp_path_factory.mktemp("paper") / "terrarium"
    (folder / "1" / "1").mkdir(parents=True)
    for y in range(2):
        colours = np.full((256, 256, 3), [128, 100 * (y + 1), 128], dtype=np.uint8)
        Image.fromarray(colours).save(folder / "1" / "1" / f"{y}.png")
    return folder


@pytest.fixture(scope="module")
def borders(tmp_path_factory):
    """Write two countries of 90 degrees of longitude each, as Natural Earth does."""
    path = tmp_path_factory.mktemp("paper") / "ne_50m_admin_0_countries.shp"
    columns = {"ADM0_A3": ["WST", "EST"], "ADMIN": ["Westland", "Eastland"]}
    shapes = [shapely.box(0, -90, 90, 90), shapely.box(90, -90, 180, 90)]
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    return path


def test_the_papers_elevation_is_in_metres(tasks, tiles):
    task = et.load_task("elevation", n=2000, source="paper", path=tiles)
    lonlat = tasks["elevation"].lonlat
    kept = lonlat[:, 0] >= 0
    np.testing.assert_array_equal(task.lonlat, lonlat[kept])
    np.testing.assert_array_equal(task.target, np.where(lonlat[kept, 1] > 0, 100.5, 200.5))
    np.testing.assert_array_equal(task.target, elevation(tiles, task.lonlat))
    assert (task.name, task.kind, task.unit) == ("elevation", "regression", "m")
    assert task.source == "terrain tiles, terrarium"


def test_the_papers_countries_are_numbered_in_alphabetical_order(tasks, borders):
    task = et.load_task("country", n=2000, source="paper", path=borders)
    lonlat = tasks["country"].lonlat
    kept = lonlat[:, 0] >= 0
    np.testing.assert_array_equal(task.lonlat, lonlat[kept])
    np.testing.assert_array_equal(task.target, np.where(lonlat[kept, 0] < 90, 1, 0))
    np.testing.assert_array_equal(task.target, country(borders, task.lonlat)[0])
    assert (task.kind, task.target.dtype) == ("classification", np.int64)
    assert task.classes == ("Eastland", "Westland")
    assert "disputed" in task.caveat


def test_the_samples_countries_are_the_same_read_from_a_file(tasks, tmp_path):
    frame = embedded.countries()[["name", "geometry"]].rename(columns={"name": "ADMIN"})
    frame["ADM0_A3"] = frame["ADMIN"].str[:3]
    frame.to_file(tmp_path / "countries.gpkg")
    task = et.load_task("country", n=2000, source="paper", path=tmp_path / "countries.gpkg")
    np.testing.assert_array_equal(task.lonlat, tasks["country"].lonlat)
    names = np.array(tasks["country"].classes)[tasks["country"].target]
    np.testing.assert_array_equal(np.array(task.classes)[task.target], names)


def test_a_file_that_labels_no_place_is_refused(tmp_path, density):
    path = tmp_path / "empty.tif"
    with rasterio.open(density) as file:
        profile = file.profile
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.full((1, 36, 72), -1, dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"empty\.tif labels 0 of 50 places .*take the global file"
    ):
        et.load_task("population", n=50, source="paper", path=path)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rain", {}, r"unknown task 'rain' of source 'sample': the sample has \('elevation'"),
        ("biome", {}, r"unknown task 'biome' of .* \(source='paper', path=...\)"),
        (
            "climate",
            {"source": "paper", "path": "x.tif"},
            r"'climate' of source 'paper': .*\('population', 'biome'",
        ),
        ("climate", {"source": "web"}, r"unknown source 'web': expected one of \('sample'"),
        ("climate", {"seed": -1}, "seed must be an integer of at least 0, got -1"),
        *(("climate", {"n": n}, "n must be an integer of at least 2") for n in (1, -4, 2.5, "all")),
        *((n, {"source": "paper"}, f"needs path=, a file with .* '{n}'") for n in PAPER_NAMES),
        ("population", {"path": "x.tif"}, r"path needs source='paper', got path='x\.tif'"),
    ],
)
def test_an_invalid_setting_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        et.load_task(name, **settings)


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*gone; download it first"):
        et.load_task(name, n=50, source="paper", path=tmp_path / "gone")


def test_nearly_all_places_have_labels_in_the_papers_files(paper_data):
    path = paper_data / "gpw" / "gpw_v4_population_density_rev11_2020_15_min.tif"
    people = et.load_task("population", n=5000, source="paper", path=path)
    assert 0.99 < len(people) / 5000 <= 1
    towns = et.load_task("population", n=5000)
    rows = np.flatnonzero(~np.isnan(population_density(path, towns.lonlat)))
    # Two sources that share nothing agree on where people are.
    assert np.corrcoef(people.target, towns.target[rows])[0, 1] > 0.5
    path = paper_data / "ecoregions" / "Ecoregions2017.shp"
    biomes = et.load_task("biome", n=5000, source="paper", path=path)
    assert 0.97 < len(biomes) / 5000 < 1
    assert set(biomes.target.tolist()) == set(range(14))
    np.testing.assert_array_equal(biome(path, biomes.lonlat) - 1, biomes.target)


TWO = [[0.0, 10.0], [20.0, 30.0]]


def test_a_task_accepts_lists():
    task = Task("height", TWO, [1.0, 2.0], "regression", "m")
    assert task.lonlat.dtype == np.float64
    assert task.target.tolist() == [1.0, 2.0]
    assert Task("side", TWO, [1, 0], "classification", "side").target.dtype.kind == "i"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lonlat": [[10.0, 151.2], [0, 0]]}, r"latitude must lie in .* got 151.2 in row 0"),
        ({"lonlat": [[0.0, 10.0]]}, r"target of task 'x' must have shape \(1,\), .* got \(2,\)"),
        ({"target": [[1.0], [2.0]]}, r"must have shape \(2,\), one per place, got \(2, 1\)"),
        ({"target": [1.0, np.nan]}, r"must be finite, got nan in row 1; drop places"),
        ({"target": [np.inf, 1.0]}, r"must be finite, got inf in row 0"),
        ({"target": ["a", "b"]}, r"must be numbers for a regression, got <U1"),
        ({"kind": "ranking"}, r"unknown kind 'ranking': expected one of \('regression'"),
        ({"kind": "classification"}, r"must be integers for a classification, got float64"),
        (
            {"kind": "classification", "target": [0, 2], "classes": ("a", "b")},
            r"must number its 2 classes from 0, got 2 in row 1",
        ),
        (
            {"kind": "classification", "target": [-1, 0], "classes": ("a", "b")},
            r"must number its 2 classes from 0, got -1 in row 0",
        ),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(settings, message):
    given = {"name": "x", "lonlat": TWO, "target": [1.0, 2.0], "kind": "regression", "unit": "m"}
    with pytest.raises(ValueError, match=message):
        Task(**{**given, **settings})
