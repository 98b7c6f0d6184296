"""The paper's label sources: small files in the published formats, then real ones."""

import shutil
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine, from_origin

from earthtie_lite.coords import sample_sphere
from earthtie_lite.paper import sources
from earthtie_lite.paper.sources import BIOMES, biome, country, population_density

NODATA = -3.4028230607370965e38  # as in GPWv4.11, not the smallest float32
GPW = "gpw/gpw_v4_population_density_rev11_2020_15_min.tif"
ECOREGIONS = "ecoregions/Ecoregions2017.shp"
SEA = [-30.0, 0.0]


def write_raster(path, values, transform=None, crs="EPSG:4326", nodata=NODATA, **layout):
    """Write bands (H, W) or (bands, H, W), by default as a global grid; return the path."""
    bands = np.reshape(values, (-1, *np.shape(values)[-2:]))
    count, height, width = bands.shape
    if transform is None:
        transform = from_origin(-180, 90, 360 / width, 180 / height)
    settings = {"count": count, "height": height, "width": width, "dtype": "float32"}
    settings |= {"crs": crs, "transform": transform, "nodata": nodata, **layout}
    with rasterio.open(path, "w", driver="GTiff", **settings) as file:
        file.write(bands.astype(np.float32))
    return path


def numbered(height):
    """Return a grid (H, 2 H) in which each pixel holds its own number."""
    return np.arange(2 * height * height, dtype=np.float64).reshape(height, 2 * height)


TILES = {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "lzw"}


@pytest.mark.parametrize("layout", [{}, TILES, {"blockysize": 50, "compress": "deflate"}])
@pytest.mark.parametrize("height", [180, 216])
def test_each_place_gets_the_pixel_that_holds_it(tmp_path, layout, height):
    path = write_raster(tmp_path / "density.tif", numbered(height), **layout)
    row, column = np.random.default_rng(0).integers(0, [height, 2 * height], size=(500, 2)).T
    lonlat = np.column_stack([column + 0.5, height - row - 0.5]) * 180 / height - [180, 90]
    got = population_density(str(path), lonlat)
    np.testing.assert_array_equal(got, row * 2.0 * height + column, strict=True)


@pytest.mark.parametrize("north", [90, 89.99999999999991])  # the published files are rounded
def test_edges_the_date_line_and_the_poles_belong_to_a_pixel(tmp_path, north):
    path = write_raster(tmp_path / "density.tif", numbered(180), from_origin(-180, north, 1, 1))
    assert population_density(path, [[7, 90], [7, -90]]).tolist() == [187, 179 * 360 + 187]
    east, west = population_density(path, [[180, 10.5], [-180, 10.5]])
    assert east == west == 79 * 360
    if north == 90:  # the pixel in the south-east
        got = population_density(path, [[-180, 90], [0, 0], [-0.001, 0.001]])
        assert got.tolist() == [0, 90 * 360 + 180, 89 * 360 + 179]


@pytest.mark.parametrize("value", [NODATA, -9999.0, -1e-3, np.nan, np.inf, 255.0])
@pytest.mark.parametrize("nodata", [NODATA, 255.0, None])
def test_no_data_is_nan_and_nobody_is_not(tmp_path, value, nodata):
    values = np.zeros((18, 36))
    values[3, 4] = value
    path = write_raster(tmp_path / "density.tif", values, nodata=nodata)
    got = population_density(path, [[-135, 55], [-125, 55]])
    expected = value if value == 255 != nodata else np.nan
    np.testing.assert_array_equal(got, [expected, 0.0])


def test_regional_rasters_and_those_from_0_to_360_degrees_or_south_up_are_read(tmp_path):
    transform = from_origin(10, 50, 1, 1)  # 10 to 14 E, 47 to 50 N
    path = write_raster(tmp_path / "density.tif", np.arange(12.0).reshape(3, 4), transform)
    inside, beyond = [[10.5, 49.5], [13.5, 47.5]], [[9, 48], [15, 48], [11, 51], [11, 46], SEA]
    np.testing.assert_array_equal(population_density(path, inside + beyond)[:2], [0, 11])
    assert np.isnan(population_density(path, beyond)).all()
    path = write_raster(tmp_path / "density.tif", numbered(180), from_origin(0, 90, 1, 1))
    assert population_density(path, [[-0.5, 89.5], [0.5, 89.5]]).tolist() == [359, 0]
    path = write_raster(tmp_path / "south.tif", numbered(180), Affine(1, 0, -180, 0, 1, -90))
    assert population_density(path, [[-179.5, -89.5], [-179.5, -88.5]]).tolist() == [0, 360]


def test_a_raster_that_is_cut_short_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(size=(360, 720))
    path = write_raster(tmp_path / "density.tif", noise, compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"a GeoTIFF of .*density\.tif cannot be read: "):
        population_density(path, sample_sphere(1000, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("bands", "crs", "got"),
    [(5, "EPSG:4326", "5 bands"), (1, "EPSG:3857", "1 bands in EPSG:3857"), (1, None, "in None")],
)
def test_rasters_of_something_else_are_refused(tmp_path, bands, crs, got):
    path = write_raster(tmp_path / "density.tif", np.ones((bands, 18, 36)), crs=crs)
    with pytest.raises(ValueError, match=rf"one band in EPSG:4326, but .*density.*it has .*{got}"):
        population_density(path, [[0, 0]])


def boxes(**columns):
    """Return two polygons, the second of two parts and a hole, with the columns given."""
    hole = shapely.box(10, 0, 20, 10) - shapely.box(14, 4, 16, 6)
    shapes = [shapely.box(0, 0, 10, 10), shapely.MultiPolygon([hole, shapely.box(30, 0, 40, 10)])]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)


def frame_of(shapes, numbers):
    """Return polygons with the columns of Olson et al. (2001)."""
    return gpd.GeoDataFrame({"BIOME": numbers}, geometry=shapes, crs=4326)


RESOLVE = {"BIOME_NUM": [4.0, 13.0], "BIOME_NAME": [BIOMES[3], BIOMES[12]]}
INSIDE = [[5, 5], [11, 5], [35, 5], [15, 5], [25, 5], SEA]
EXPECTED = [4, 13, 13, -1, -1, -1]  # the hole, the gap and the sea have none


@pytest.mark.parametrize("crs", [4326, 8857])  # Equal Earth
@pytest.mark.parametrize("name", ["regions.gpkg", "regions.shp", "regions.fgb"])
def test_each_place_gets_the_biome_of_its_polygon(tmp_path, name, crs):
    boxes(**RESOLVE).to_crs(crs).to_file(tmp_path / name)
    np.testing.assert_array_equal(biome(tmp_path / name, INSIDE), np.array(EXPECTED), strict=True)


@pytest.mark.parametrize("name", ["a folder/regions.gpkg", "regions.shp"])
def test_a_zip_file_is_read_as_published(tmp_path, name):
    (tmp_path / "parts" / "a folder").mkdir(parents=True)
    boxes(**RESOLVE).to_file(tmp_path / "parts" / name)
    path = shutil.make_archive(tmp_path / "Eco regions", "zip", tmp_path / "parts")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/._regions.shp", b"")
    assert biome(path, INSIDE).tolist() == EXPECTED
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("second.shp", b"")
    with pytest.raises(ValueError, match=r"expected one shapefile or GeoPackage in it, found"):
        biome(path, [[0, 0]])
    Path(path).write_bytes(Path(path).read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"Eco regions\.zip cannot be read: File is not a zip"):
        biome(path, [[0, 0]])


ICE = {"BIOME_NUM": [11.0, 7.0], "BIOME_NAME": ["N/A", BIOMES[6]]}


@pytest.mark.parametrize("columns", [ICE, {"BIOME": [98, 7]}, {"BIOME": [99, 7]}])
def test_rock_ice_and_lakes_are_no_biome(tmp_path, columns):
    boxes(**columns).to_file(tmp_path / "regions.shp")
    assert biome(tmp_path / "regions.shp", INSIDE[:3]).tolist() == [-1, 7, 7]


def test_an_invalid_polygon_is_made_valid_and_one_without_a_shape_passed_over(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    frame_of([None, bow_tie], [2, 1]).to_file(tmp_path / "teow.gpkg")
    places = [[1, 5], [9, 5], [5, 1], [5, 9]]
    assert biome(tmp_path / "teow.gpkg", places).tolist() == [1, 1, -1, -1]


@pytest.mark.parametrize("part", [1, 7, 512])
def test_the_first_polygon_counts_in_whatever_part_it_is_read(tmp_path, monkeypatch, part):
    starts = np.random.default_rng(0).integers(0, 50, (40, 2)).astype(float)
    shapes = [shapely.box(x, y, x + 15, y + 15) for x, y in starts]
    frame_of(shapes, [n % 14 + 1 for n in range(40)]).to_file(tmp_path / "teow.shp")
    lonlat = np.random.default_rng(1).integers(0, 65, (500, 2)).astype(float)  # many on borders
    holds = (lonlat[:, None] >= starts).all(axis=2) & (lonlat[:, None] <= starts + 15).all(axis=2)
    expected = np.where(holds.any(axis=1), holds.argmax(axis=1) % 14 + 1, -1)
    assert len(set(expected.tolist())) > 10
    monkeypatch.setattr(sources, "PART", part)
    np.testing.assert_array_equal(biome(tmp_path / "teow.shp", lonlat), expected)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"BIOME": [15, 3]}, r"biomes from 1 to 14 in .*regions\.shp, got .*15"),
        ({"BIOME": ["forest", "desert"]}, "got .*nan"),
        ({"ECO": ["a", "b"], "BIOME_NUM": [1, 2]}, r"it has the columns \['ECO', 'BIOME_NUM'\]"),
    ],
)
def test_other_attributes_are_refused(tmp_path, columns, message):
    boxes(**columns).to_file(tmp_path / "regions.shp")
    with pytest.raises(ValueError, match=message):
        biome(tmp_path / "regions.shp", [[0, 0]])


def test_files_that_are_no_polygons_in_degrees_are_refused(tmp_path):
    (tmp_path / "page.gpkg").write_text("<html>Sign in</html>", encoding="utf-8")
    boxes(**RESOLVE).to_file(tmp_path / "regions.shp")
    (tmp_path / "regions.prj").unlink()
    (tmp_path / "alone.dbf").write_bytes((tmp_path / "regions.dbf").read_bytes())
    for name in ("page.gpkg", "regions.shp", "alone.dbf"):
        with pytest.raises(ValueError, match=rf"a coordinate system .*, but .*{name} cannot be re"):
            biome(tmp_path / name, [[0, 0]])


# Columns as in gadm_410.gpkg and Natural Earth.
GADM = {"GID_0": ["EGY", "BRA"], "NAME_0": ["old", "old"], "COUNTRY": ["Egypt", "Brazil"]}
NATURAL_EARTH = {"ADM0_A3": ["EGY", "BRA"], "ADMIN": ["Egypt", "Brazil"], "POP_EST": [1, 2]}
COUNTRIES = {"gadm_410.gpkg": GADM, "ne_50m.shp": NATURAL_EARTH}


@pytest.mark.parametrize("name", COUNTRIES)
def test_each_place_gets_its_country(tmp_path, name):
    boxes(**COUNTRIES[name]).to_file(tmp_path / name)
    number, names = country(tmp_path / name, INSIDE)
    assert (names, number.dtype) == (("Brazil", "Egypt"), np.int64)  # sorted
    assert number.tolist() == [1, 0, 0, -1, -1, -1]


def test_polygons_of_one_name_are_one_country(tmp_path):
    shapes = [shapely.box(10 * n, 0, 10 * n + 10, 10) for n in range(5)]
    columns = {"GID_0": ["IND", "Z01", "CHN", "XXX", None]}
    columns["COUNTRY"] = ["India", "India", "China", None, ""]
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(tmp_path / "gadm.gpkg")
    number, names = country(tmp_path / "gadm.gpkg", [[5 + 10 * n, 5] for n in range(5)])
    assert names == ("China", "India", "XXX")  # without a name, by its code
    assert number.tolist() == [1, 1, 0, 2, -1]


@pytest.mark.parametrize("end", [180, 179.9999886])  # RESOLVE ends just before the date line
def test_polygons_reach_the_date_line_and_the_pole(tmp_path, end):
    east, west = shapely.box(170, 60, end, 70), shapely.box(-end, 60, -170, 70)
    shapes = [shapely.MultiPolygon([east, west]), shapely.box(-end, -90, end, -70)]
    frame_of(shapes, [4, 13]).to_file(tmp_path / "teow.shp")
    places = [[180, 65], [-180, 65], [7, -90], [180, -90], [-180, -90], [7, 90], [180, 0]]
    assert biome(tmp_path / "teow.shp", places).tolist() == [4, 4, 13, 13, 13, -1, -1]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.shp", "a.dbf", "a.shx"])
def test_polygons_that_are_cut_short_are_refused(tmp_path, name, kept):
    # GDAL reads a shapefile that is cut short without an error.
    circle = shapely.Point(0, 0).buffer(1, 500)
    shapes = [shapely.affinity.translate(circle, 3 * n) for n in range(20)]
    columns = {"GID_0": list(map(str, range(20))), "COUNTRY": list(map(str, range(20)))}
    path = tmp_path / (name if name[2:] in ("gpkg", "fgb") else "a.shp")
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    assert country(path, [[9, 0]])[0].tolist() == [13]  # "0", "1", "10" to "19", "2", "3"
    cut = tmp_path / name
    cut.write_bytes(cut.read_bytes()[: int(kept * cut.stat().st_size)])
    with pytest.raises(ValueError, match=r"expected polygons of countries .* cannot be read"):
        country(path, [[9, 0]])


def test_biomes_are_named_as_in_the_published_file(paper_data):
    frame = gpd.read_file(paper_data / ECOREGIONS, ignore_geometry=True)
    named = frame[frame["BIOME_NAME"] != "N/A"]
    pairs = named[["BIOME_NUM", "BIOME_NAME"]].drop_duplicates().to_numpy().tolist()
    assert sorted(pairs) == [[number, name] for number, name in enumerate(BIOMES, start=1)]


def test_real_biomes_at_known_places(paper_data):
    # Cairo in the Nile delta, the Sahara, Manaus, Taimyr, Chukotka on the date line, Greenland
    lonlat = [[31.24, 30.04], [10, 24], [-60.02, -3.3], [100, 72], [180, 67.5], [-180, 67.5]]
    got = biome(paper_data / ECOREGIONS, [*lonlat, [-40, 74], SEA])
    assert got.tolist() == [9, 13, 1, 11, 11, 11, -1, -1]


def test_real_population_is_the_pixel_of_the_whole_raster(paper_data):
    lonlat = np.vstack([[[-104.99, 39.74], SEA], sample_sphere(3000, np.random.default_rng(0))])
    with rasterio.open(paper_data / GPW) as file:
        grid = file.read(1, masked=True).astype(np.float64).filled(np.nan)
    row = np.floor((90 - lonlat[:, 1]) * 4).astype(int)
    column = np.floor((lonlat[:, 0] + 180) * 4).astype(int)
    got = population_density(paper_data / GPW, lonlat)
    np.testing.assert_array_equal(got, grid[row, column])
    np.testing.assert_allclose(got[:2], [1850, np.nan], atol=20)  # Denver, the sea
    assert 0.1 < np.isfinite(got).mean() < 0.4
