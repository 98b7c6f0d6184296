"""The paper's label sources: small files in the published formats, then real ones."""

import shutil
import zipfile

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
    bands = np.atleast_3d(values) if np.ndim(values) == 3 else np.asarray(values)[None]
    height, width = bands.shape[1:]
    if transform is None:
        transform = from_origin(-180, 90, 360 / width, 180 / height)
    settings = {"count": len(bands), "height": height, "width": width, "dtype": "float32"}
    settings |= {"crs": crs, "transform": transform, "nodata": nodata, **layout}
    with rasterio.open(path, "w", driver="GTiff", **settings) as file:
        file.write(bands.astype(np.float32))
    return path


def numbered(height):
    """Return a grid (H, 2 H) in which each pixel holds its own number."""
    return np.arange(2 * height * height, dtype=np.float64).reshape(height, 2 * height)


def centre(row, column, height):
    """Return the place in the middle of a pixel of a global grid of so many rows."""
    step = 180 / height
    return [-180 + (column + 0.5) * step, 90 - (row + 0.5) * step]


LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "lzw"},
    "tall strips": {"blockysize": 50, "compress": "deflate"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("height", [180, 216, 360])
def test_each_place_gets_the_pixel_that_holds_it(tmp_path, layout, height):
    path = write_raster(tmp_path / "density.tif", numbered(height), **LAYOUTS[layout])
    pixel = np.random.default_rng(0).integers(0, [height, 2 * height], size=(500, 2))
    lonlat = [centre(row, column, height) for row, column in pixel]
    got = population_density(path, lonlat)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, pixel[:, 0] * 2 * height + pixel[:, 1])


def test_edges_belong_to_the_pixel_in_the_south_east(tmp_path):
    path = write_raster(tmp_path / "density.tif", numbered(180))
    assert population_density(path, [[-180, 90], [0, 0], [-0.001, 0.001]]).tolist() == [
        0,
        90 * 360 + 180,
        89 * 360 + 179,
    ]


def test_the_date_line_is_one_meridian_and_poles_lie_in_the_outer_rows(tmp_path):
    path = write_raster(tmp_path / "density.tif", numbered(180))
    east, west, north, south = population_density(path, [[180, 10], [-180, 10], [7, 90], [7, -90]])
    assert east == west == 80 * 360
    assert (north, south) == (187, 179 * 360 + 187)


def test_an_origin_that_is_rounded_loses_no_pole(tmp_path):
    # As in the published files: 89.99999999999991 degrees north.
    transform = from_origin(-180, 89.99999999999991, 1, 1)
    path = write_raster(tmp_path / "density.tif", numbered(180), transform)
    assert population_density(path, [[7, 90], [7, -90]]).tolist() == [187, 179 * 360 + 187]


@pytest.mark.parametrize("value", [NODATA, -9999.0, -1e-3, np.nan, np.inf])
@pytest.mark.parametrize("nodata", [NODATA, None])
def test_no_data_is_nan(tmp_path, value, nodata):
    values = np.full((18, 36), 5.0)
    values[3, 4] = value
    path = write_raster(tmp_path / "density.tif", values, nodata=nodata)
    got = population_density(path, [centre(3, 4, 18), centre(3, 5, 18)])
    np.testing.assert_array_equal(got, [np.nan, 5.0])


def test_a_no_data_value_that_is_positive_counts(tmp_path):
    path = write_raster(tmp_path / "density.tif", np.full((18, 36), 255.0), nodata=255.0)
    assert np.isnan(population_density(path, [[0, 0]])).all()


def test_nobody_is_not_no_data(tmp_path):
    path = write_raster(tmp_path / "density.tif", np.zeros((18, 36)))
    assert population_density(path, [[0, 0]]).tolist() == [0.0]


def test_places_beyond_a_regional_raster_are_nan(tmp_path):
    transform = from_origin(10, 50, 1, 1)  # 10 to 14 E, 47 to 50 N
    path = write_raster(tmp_path / "density.tif", np.arange(12.0).reshape(3, 4), transform)
    got = population_density(
        path, [[10.5, 49.5], [13.5, 47.5], [9, 48], [15, 48], [11, 51], [11, 46]]
    )
    np.testing.assert_array_equal(got, [0, 11, np.nan, np.nan, np.nan, np.nan])
    assert np.isnan(population_density(path, [SEA])).all()


def test_a_raster_from_0_to_360_degrees_is_read(tmp_path):
    path = write_raster(tmp_path / "density.tif", numbered(180), from_origin(0, 90, 1, 1))
    assert population_density(path, [[-0.5, 89.5], [0.5, 89.5]]).tolist() == [359, 0]


def test_the_path_may_be_text(tmp_path):
    path = write_raster(tmp_path / "density.tif", np.ones((18, 36)))
    assert population_density(str(path), [[0, 0]]).tolist() == [1.0]


def test_a_missing_raster_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a GeoTIFF .*there is no .*gone\.tif; download"):
        population_density(tmp_path / "gone.tif", [[0, 0]])


def test_a_file_that_is_no_raster_is_refused(tmp_path):
    (tmp_path / "page.tif").write_text("<html>Sign in</html>", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"page\.tif is no raster or is damaged.*download it again"
    ):
        population_density(tmp_path / "page.tif", [[0, 0]])


def test_a_raster_that_is_cut_short_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(size=(360, 720))
    path = write_raster(tmp_path / "density.tif", noise, compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is no raster or is damaged"):
        population_density(path, sample_sphere(1000, np.random.default_rng(0)))


def test_several_bands_are_refused(tmp_path):
    path = write_raster(tmp_path / "years.tif", np.ones((5, 18, 36)))
    with pytest.raises(ValueError, match=r"one band of people per km2, .* has 5; take the GeoTIFF"):
        population_density(path, [[0, 0]])


@pytest.mark.parametrize(("crs", "named"), [("EPSG:3857", "EPSG:3857"), (None, "no coordinate")])
def test_other_coordinates_are_refused(tmp_path, crs, named):
    path = write_raster(tmp_path / "density.tif", np.ones((18, 36)), crs=crs)
    with pytest.raises(ValueError, match=rf"expected geographic .* has {named}.*gdalwarp"):
        population_density(path, [[0, 0]])


@pytest.mark.parametrize(
    "transform",
    [
        from_origin(-180, 90, 10, 10) @ Affine.rotation(10),
        Affine(10, 0, -180, 0, 10, -90),
        Affine(-10, 0, 180, 0, -10, 90),
    ],
    ids=["rotated", "south up", "west to the right"],
)
def test_a_raster_that_is_not_north_up_is_refused(tmp_path, transform):
    path = write_raster(tmp_path / "density.tif", np.ones((18, 36)), transform)
    with pytest.raises(ValueError, match=r"is rotated or flipped.*warp it to a north-up grid"):
        population_density(path, [[0, 0]])


@pytest.mark.parametrize("read", [population_density, biome, country])
def test_wrong_places_are_refused(tmp_path, read):
    with pytest.raises(ValueError, match=r"got 151.2 in row 0; is the order \(longitude, latitude"):
        read(tmp_path / "any.tif", [[-33.9, 151.2]])


def boxes(**columns):
    """Return two polygons, the second of two parts and a hole, with the columns given."""
    hole = shapely.box(10, 0, 20, 10) - shapely.box(14, 4, 16, 6)
    shapes = [shapely.box(0, 0, 10, 10), shapely.MultiPolygon([hole, shapely.box(30, 0, 40, 10)])]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)


RESOLVE = {"BIOME_NUM": [4.0, 13.0], "BIOME_NAME": [BIOMES[3], BIOMES[12]]}
INSIDE = [[5, 5], [11, 5], [35, 5], [15, 5], [25, 5], [-30, 0]]
EXPECTED = [4, 13, 13, -1, -1, -1]  # the hole, the gap and the sea have none


@pytest.mark.parametrize("name", ["regions.gpkg", "regions.shp", "regions.fgb", "regions.geojson"])
def test_each_place_gets_the_biome_of_its_polygon(tmp_path, name):
    boxes(**RESOLVE).to_file(tmp_path / name)
    got = biome(tmp_path / name, INSIDE)
    assert got.dtype == np.int64
    assert got.tolist() == EXPECTED


def zipped(tmp_path, folder, frame, archive="Eco regions.zip"):
    """Write a shapefile into a folder of a zip file; return the zip file's path."""
    (tmp_path / "parts").mkdir()
    frame.to_file(tmp_path / "parts" / "regions.shp")
    with zipfile.ZipFile(tmp_path / archive, "w") as file:
        for part in sorted((tmp_path / "parts").iterdir()):
            file.write(part, f"{folder}{part.name}")
        file.writestr("__MACOSX/._regions.shp", b"")
    return tmp_path / archive


@pytest.mark.parametrize("folder", ["", "official/", "a folder/of two/"])
def test_a_zip_file_is_read_as_published(tmp_path, folder):
    assert biome(zipped(tmp_path, folder, boxes(**RESOLVE)), INSIDE).tolist() == EXPECTED


def test_rock_and_ice_is_no_biome(tmp_path):
    columns = {"BIOME_NUM": [11.0, 11.0], "BIOME_NAME": ["N/A", BIOMES[10]]}
    boxes(**columns).to_file(tmp_path / "regions.gpkg")
    assert biome(tmp_path / "regions.gpkg", INSIDE[:2]).tolist() == [-1, 11]


@pytest.mark.parametrize("none", [98, 99])
def test_the_ancestor_of_2001_is_read(tmp_path, none):
    boxes(BIOME=[none, 7]).to_file(tmp_path / "teow.shp")
    assert biome(tmp_path / "teow.shp", INSIDE[:3]).tolist() == [-1, 7, 7]


def test_other_coordinates_are_reprojected(tmp_path):
    boxes(**RESOLVE).to_crs(8857).to_file(tmp_path / "regions.gpkg")  # Equal Earth
    assert biome(tmp_path / "regions.gpkg", INSIDE).tolist() == EXPECTED


def test_an_invalid_polygon_is_made_valid(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    frame = gpd.GeoDataFrame(
        {"BIOME_NUM": [1], "BIOME_NAME": [BIOMES[0]]}, geometry=[bow_tie], crs=4326
    )
    frame.to_file(tmp_path / "regions.gpkg")
    assert biome(tmp_path / "regions.gpkg", [[1, 5], [9, 5], [5, 1], [5, 9]]).tolist() == [
        1,
        1,
        -1,
        -1,
    ]


def test_on_a_shared_border_the_first_polygon_counts(tmp_path):
    boxes(**RESOLVE).to_file(tmp_path / "regions.gpkg")
    assert biome(tmp_path / "regions.gpkg", [[10, 5]]).tolist() == [4]
    boxes(**RESOLVE).iloc[::-1].to_file(tmp_path / "turned.gpkg")
    assert biome(tmp_path / "turned.gpkg", [[10, 5]]).tolist() == [13]


def test_a_polygon_without_a_shape_is_passed_over(tmp_path):
    frame = boxes(**RESOLVE)
    frame.loc[0, "geometry"] = None
    frame.to_file(tmp_path / "regions.gpkg")
    assert biome(tmp_path / "regions.gpkg", INSIDE[:2]).tolist() == [-1, 13]


def test_polygons_that_end_just_before_the_date_line_hold_it(tmp_path):
    end = 179.9999886  # as in the published file
    shapes = [shapely.box(170, 60, end, 70), shapely.box(-end, 60, -170, 70)]
    frame = gpd.GeoDataFrame(RESOLVE, geometry=shapes, crs=4326)
    frame.to_file(tmp_path / "regions.gpkg")
    assert biome(tmp_path / "regions.gpkg", [[180, 65], [-180, 65]]).tolist() == [4, 13]


def test_missing_polygons_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected polygons of ecoregions .*no .*gone\.shp; down"):
        biome(tmp_path / "gone.shp", [[0, 0]])


def test_missing_columns_are_named(tmp_path):
    boxes(ECO_NAME=["a", "b"], BIOME_NUM=[1, 2]).to_file(tmp_path / "regions.gpkg")
    message = (
        r"expected the columns BIOME_NUM and BIOME_NAME .*or BIOME.*has \['ECO_NAME', 'BIOME_NUM'"
    )
    with pytest.raises(ValueError, match=message):
        biome(tmp_path / "regions.gpkg", [[0, 0]])


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"BIOME": [15, 3]}, r"BIOME of .*got \[15\]"),
        ({"BIOME": [0.5, 98.0]}, r"BIOME of .*got \[0.5\]"),
        ({"BIOME": ["forest", "desert"]}, r"BIOME of .*got \['forest', 'desert'\]"),
        ({"BIOME_NUM": [99, 3], "BIOME_NAME": ["Ice", "b"]}, r"BIOME_NUM of .*got \[99\]"),
    ],
)
def test_other_numbers_are_refused(tmp_path, columns, named):
    boxes(**columns).to_file(tmp_path / "regions.gpkg")
    with pytest.raises(ValueError, match=rf"whole numbers from 1 to 14 in the column {named}"):
        biome(tmp_path / "regions.gpkg", [[0, 0]])


def test_a_file_that_holds_no_polygons_is_refused(tmp_path):
    points = gpd.GeoDataFrame({"BIOME": [1]}, geometry=[shapely.Point(0, 0)], crs=4326)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(ValueError, match=r"expected polygons, .*points\.gpkg has other geometries"):
        biome(tmp_path / "points.gpkg", [[0, 0]])


def test_a_table_is_refused(tmp_path):
    boxes(**RESOLVE).to_file(tmp_path / "regions.shp")
    shutil.copy(tmp_path / "regions.dbf", tmp_path / "alone.dbf")
    with pytest.raises(ValueError, match=r"expected polygons, .*alone\.dbf has other geometries"):
        biome(tmp_path / "alone.dbf", [[0, 0]])


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "page.gpkg").write_text("<html>Sign in</html>", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.gpkg cannot be read: .*download it again"):
        biome(tmp_path / "page.gpkg", [[0, 0]])


def test_polygons_without_a_coordinate_system_are_refused(tmp_path):
    boxes(**RESOLVE).to_file(tmp_path / "regions.shp")
    (tmp_path / "regions.prj").unlink()
    with pytest.raises(ValueError, match=r"names no coordinate system; put the \.prj file"):
        biome(tmp_path / "regions.shp", [[0, 0]])


def test_a_damaged_zip_file_is_refused(tmp_path):
    path = zipped(tmp_path, "", boxes(**RESOLVE))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"is no zip file or is cut short; download it again"):
        biome(path, [[0, 0]])


def test_a_zip_file_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "nothing")
    with pytest.raises(ValueError, match=r"expected one shapefile or GeoPackage in .*zip, found"):
        biome(tmp_path / "other.zip", [[0, 0]])


def test_polygons_are_read_in_parts(tmp_path, monkeypatch):
    # Boxes that overlap: in whatever part, the first one that holds a place counts.
    starts = np.random.default_rng(0).uniform(0, 50, (40, 2))
    shapes = [shapely.box(x, y, x + 15, y + 15) for x, y in starts]
    frame = gpd.GeoDataFrame({"BIOME": [n % 14 + 1 for n in range(40)]}, geometry=shapes, crs=4326)
    frame.to_file(tmp_path / "teow.shp")
    lonlat = np.random.default_rng(1).uniform(0, 65, (500, 2))
    holds = (lonlat[:, None] >= starts).all(axis=2) & (lonlat[:, None] <= starts + 15).all(axis=2)
    expected = np.where(holds.any(axis=1), holds.argmax(axis=1) % 14 + 1, -1)
    assert len(set(expected.tolist())) > 10
    for part in (1, 7, 40, 512):
        monkeypatch.setattr(sources, "PART", part)
        np.testing.assert_array_equal(biome(tmp_path / "teow.shp", lonlat), expected)


# Columns as in gadm_410.gpkg (the finest level), its file of all levels, and Natural Earth.
GADM = {"GID_0": ["EGY", "BRA"], "NAME_0": ["old", "old"], "COUNTRY": ["Egypt", "Brazil"]}
GADM |= {"GID_1": ["EGY.1_1", "BRA.4_1"]}
LEVELS = {"GID_0": ["EGY", "BRA"], "COUNTRY": ["Egypt", "Brazil"]}
NATURAL_EARTH = {"ADM0_A3": ["EGY", "BRA"], "ADMIN": ["Egypt", "Brazil"], "POP_EST": [1, 2]}
COUNTRIES = {"gadm_410.gpkg": GADM, "levels.gpkg": LEVELS, "ne_50m.shp": NATURAL_EARTH}


@pytest.mark.parametrize("name", COUNTRIES)
def test_each_place_gets_its_country(tmp_path, name):
    boxes(**COUNTRIES[name]).to_file(tmp_path / name)
    number, names = country(tmp_path / name, INSIDE)
    assert names == ("Brazil", "Egypt")  # sorted
    assert number.dtype == np.int64
    assert number.tolist() == [1, 0, 0, -1, -1, -1]


@pytest.mark.parametrize("name", COUNTRIES)
def test_countries_are_read_from_a_zip_file_as_published(tmp_path, name):
    (tmp_path / "parts").mkdir()
    boxes(**COUNTRIES[name]).to_file(tmp_path / "parts" / name)
    with zipfile.ZipFile(tmp_path / "countries.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for part in sorted((tmp_path / "parts").iterdir()):
            file.write(part, part.name)
        file.writestr("ne_50m.README.html", "")
    assert country(tmp_path / "countries.zip", INSIDE)[0].tolist() == [1, 0, 0, -1, -1, -1]


def test_of_all_levels_the_countries_are_read(tmp_path):
    path = tmp_path / "gadm_410-levels.gpkg"
    states = boxes(**LEVELS, GID_1=["EGY.1_1", "BRA.1_1"])
    states.geometry = states.geometry.translate(60)
    states.to_file(path, layer="ADM_1")
    boxes(**LEVELS).to_file(path, layer="ADM_0")
    assert country(path, INSIDE)[0].tolist() == [1, 0, 0, -1, -1, -1]


def test_polygons_of_one_name_are_one_country(tmp_path):
    shapes = [shapely.box(10 * n, 0, 10 * n + 10, 10) for n in range(4)]
    columns = {"GID_0": ["IND", "Z01", "CHN", "XXX"], "COUNTRY": ["India", "India", "China", None]}
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(tmp_path / "gadm.gpkg")
    number, names = country(tmp_path / "gadm.gpkg", [[5, 5], [15, 5], [25, 5], [35, 5]])
    assert names == ("China", "India", "XXX")  # without a name, by its code
    assert number.tolist() == [1, 1, 0, 2]


def test_a_polygon_that_nobody_names_is_refused(tmp_path):
    boxes(GID_0=["EGY", ""], COUNTRY=["Egypt", None]).to_file(tmp_path / "gadm.gpkg")
    with pytest.raises(ValueError, match=r"polygon 1 of .*gadm\.gpkg has no COUNTRY and no GID_0"):
        country(tmp_path / "gadm.gpkg", INSIDE)


def test_countries_reach_the_date_line_and_the_pole(tmp_path):
    shapes = [
        shapely.MultiPolygon([shapely.box(170, 60, 180, 70), shapely.box(-180, 60, -170, 70)]),
        shapely.box(-180, -90, 180, -70),
    ]
    columns = {"ADM0_A3": ["RUS", "ATA"], "ADMIN": ["Russia", "Antarctica"]}
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(tmp_path / "ne.shp")
    places = [[180, 65], [-180, 65], [7, -90], [180, -90], [-180, -90], [7, 90], [180, 0]]
    number, names = country(tmp_path / "ne.shp", places)
    assert [names[n] if n >= 0 else None for n in number] == [
        *["Russia"] * 2,
        *["Antarctica"] * 3,
        None,
        None,
    ]


def test_polygons_of_something_else_are_refused(tmp_path):
    boxes(**RESOLVE).to_file(tmp_path / "regions.gpkg")
    message = (
        r"COUNTRY and GID_0 or NAME_0 and GID_0 or ADMIN and ADM0_A3, .*take the file of the cou"
    )
    with pytest.raises(ValueError, match=message):
        country(tmp_path / "regions.gpkg", INSIDE)
    with pytest.raises(ValueError, match=r"expected polygons of countries \(GADM 4\.1 or Natural"):
        country(tmp_path / "gone.gpkg", INSIDE)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.shp", "a.dbf", "a.shx"])
def test_polygons_that_are_cut_short_are_refused(tmp_path, name, kept):
    # GDAL reads a shapefile that is cut short, without a word and without the rest.
    circle = shapely.Point(0, 0).buffer(1, 500)
    shapes = [shapely.affinity.translate(circle, 3 * n) for n in range(20)]
    columns = {"GID_0": list(map(str, range(20))), "COUNTRY": list(map(str, range(20)))}
    path = tmp_path / (name if name[2:] in ("gpkg", "fgb") else "a.shp")
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    assert country(path, [[9, 0]])[0].tolist() == [13]  # "0", "1", "10" to "19", "2", "3"
    cut = tmp_path / name
    cut.write_bytes(cut.read_bytes()[: int(kept * cut.stat().st_size)])
    with pytest.raises(ValueError, match=r"expected polygons of countries, but .* cannot be read"):
        country(path, [[9, 0]])


def test_biomes_are_named_as_in_the_published_file(paper_data):
    frame = gpd.read_file(paper_data / ECOREGIONS, ignore_geometry=True)
    named = frame[frame["BIOME_NAME"] != "N/A"]
    pairs = named[["BIOME_NUM", "BIOME_NAME"]].drop_duplicates().to_numpy().tolist()
    assert sorted(pairs) == [[number, name] for number, name in enumerate(BIOMES, start=1)]


@pytest.mark.parametrize(
    ("lonlat", "name"),
    [
        ([31.24, 30.04], "Flooded Grasslands & Savannas"),  # Cairo: Nile Delta flooded savanna
        ([10.0, 24.0], "Deserts & Xeric Shrublands"),  # Sahara
        ([-60.02, -3.3], "Tropical & Subtropical Moist Broadleaf Forests"),  # Manaus
        ([100.0, 72.0], "Tundra"),  # Taimyr
    ],
)
def test_real_biomes_at_known_places(paper_data, lonlat, name):
    (number,) = biome(paper_data / ECOREGIONS, [lonlat])
    assert BIOMES[number - 1] == name


def test_the_sea_and_the_ice_of_greenland_have_no_real_biome(paper_data):
    assert biome(paper_data / ECOREGIONS, [SEA, [-40.0, 74.0]]).tolist() == [-1, -1]


def test_chukotka_has_a_real_biome_on_the_date_line(paper_data):
    assert biome(paper_data / ECOREGIONS, [[180.0, 67.5], [-180.0, 67.5]]).tolist() == [11, 11]


def test_real_population_at_known_places(paper_data):
    denver, cairo, sahara, sea = population_density(
        paper_data / GPW, [[-104.99, 39.74], [31.24, 30.04], [10.0, 24.0], SEA]
    )
    assert denver == pytest.approx(1850, abs=20)
    assert cairo > 5000
    assert 0 <= sahara < 1
    assert np.isnan(sea)


def test_real_population_is_the_pixel_of_the_whole_raster(paper_data):
    lonlat = sample_sphere(3000, np.random.default_rng(0))
    with rasterio.open(paper_data / GPW) as file:
        grid = file.read(1, masked=True).astype(np.float64).filled(np.nan)
    row = np.floor((90 - lonlat[:, 1]) * 4).astype(int)
    column = np.floor((lonlat[:, 0] + 180) * 4).astype(int)
    got = population_density(paper_data / GPW, lonlat)
    np.testing.assert_array_equal(got, grid[row, column])
    assert 0.1 < np.isfinite(got).mean() < 0.4
