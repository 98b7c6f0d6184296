"""Elevation from terrain tiles in both formats, with known heights."""

import numpy as np
import pytest
import rasterio.warp
from PIL import Image

from earthtie_lite.paper.terrain import MERCATOR_LIMIT_DEG, elevation


def write_png(folder, zoom, x, y, metres, mode="RGB"):
    """Write a terrarium tile, encoding the metres as its documentation says; return the path."""
    path = folder / str(zoom) / str(x) / f"{y}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    value = np.asarray(metres, dtype=np.float64) + 32768
    bands = [
        np.floor(value / 256),
        np.floor(value % 256),
        np.floor((value - np.floor(value)) * 256),
    ]
    bands += [np.full_like(value, 255)] * (len(mode) - 3)
    Image.fromarray(np.stack(bands[: len(mode)], axis=2).squeeze().astype(np.uint8), mode).save(
        path
    )
    return path


def write_tif(folder, zoom, x, y, metres, nodata=-32768, bands=1):
    """Write a geotiff tile of 16-bit integers; return the path."""
    path = folder / str(zoom) / str(x) / f"{y}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    metres = np.asarray(metres)
    side, world = 40075016.685578488 / 2**zoom, 20037508.342789244
    pixel = side / metres.shape[1]
    transform = rasterio.Affine(pixel, 0, x * side - world, 0, -pixel, world - y * side)
    settings = {"count": bands, "height": metres.shape[0], "width": metres.shape[1]}
    settings |= {"dtype": "int16", "crs": "EPSG:3857", "transform": transform, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", **settings) as file:
        for band in range(bands):
            file.write(metres.astype(np.int16), band + 1)
    return path


FORMATS = {"terrarium": (write_png, 256), "geotiff": (write_tif, 512)}


@pytest.fixture(params=FORMATS)
def tiles(request, tmp_path):
    """Write zoom 1, a pixel's value is 4000 * tile - 8000 + row; return folder and tile's side."""
    write, side = FORMATS[request.param]
    rows = np.repeat(np.arange(side)[:, None], side, axis=1)
    for x in range(2):
        for y in range(2):
            write(tmp_path, 1, x, y, (2 * y + x) * 4000 - 8000 + rows)
    return tmp_path, side


def test_each_place_gets_the_pixel_that_holds_it(tiles):
    folder, side = tiles
    lonlat = np.random.default_rng(0).uniform([-180, -85], [180, 85], (2000, 2))
    x = (lonlat[:, 0] + 180) / 360 * 2
    radians = np.radians(lonlat[:, 1])
    y = 1 - np.log(np.tan(radians) + 1 / np.cos(radians)) / np.pi  # the usual formula, zoom 1
    expected = (2 * np.floor(y) + np.floor(x)) * 4000 - 8000 + np.floor(y % 1 * side)
    got = elevation(folder, lonlat)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected)


def test_rasterio_finds_the_same_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(-400, 8000, (512, 512))
    path = write_tif(tmp_path, 3, 4, 3, noise)
    lonlat = np.random.default_rng(1).uniform([0.1, 0.1], [44.9, 40.9], (500, 2))
    with rasterio.open(path) as file:
        xy = rasterio.warp.transform("EPSG:4326", file.crs, *lonlat.T)
        expected = [value[0] for value in file.sample(zip(*xy, strict=True))]
    np.testing.assert_array_equal(elevation(tmp_path, lonlat), expected)


def test_the_date_line_is_one_meridian_and_web_mercator_has_an_end(tiles):
    folder, side = tiles
    east, west = elevation(folder, [[180.0, 10.0], [-180.0, 10.0]])
    assert east == west == elevation(folder, [[-179.99, 10.0]])[0]
    limit = MERCATOR_LIMIT_DEG
    assert limit == pytest.approx(85.0511287798, abs=1e-9)
    edges = elevation(folder, [[-1, limit], [-1, -limit], [7, 85.06], [7, 90], [7, -90]])
    np.testing.assert_array_equal(edges, [-8000, side - 1, np.nan, np.nan, np.nan])


def test_a_known_height_is_decoded_to_its_fraction(tmp_path):
    # The documented example of the format: 8848 m is (162, 144, 0); half a metre is 128 in blue.
    colours = np.full((256, 256, 3), [162, 144, 128], dtype=np.uint8)
    (tmp_path / "0" / "0").mkdir(parents=True)
    Image.fromarray(colours).save(tmp_path / "0" / "0" / "0.png")
    assert elevation(tmp_path, [[86.9, 27.99]]).tolist() == [8848.5]


def test_the_sea_keeps_its_depth(tmp_path):
    write_png(tmp_path, 0, 0, 0, np.full((256, 256), -10911.25))
    assert elevation(tmp_path, [[142.2, 11.35]]).tolist() == [-10911.25]


@pytest.mark.parametrize("write", [write_png, write_tif])
def test_no_data_and_missing_tiles_are_nan(tmp_path, write):
    metres = np.full((256, 256), 12)
    metres[:, 128:] = -32768
    write(tmp_path, 1, 0, 0, metres)
    got = elevation(tmp_path, [[-170, 40], [-10, 40], [10, 40], [-170, -40]])
    np.testing.assert_array_equal(got, [12, np.nan, np.nan, np.nan])


def test_other_no_data_values_count(tmp_path):
    write_tif(tmp_path, 0, 0, 0, np.full((512, 512), -9999), nodata=-9999)
    assert np.isnan(elevation(tmp_path, [[0, 0]])).all()
    write_tif(tmp_path, 0, 0, 0, np.full((512, 512), -32768), nodata=None)
    assert np.isnan(elevation(tmp_path, [[0, 0]])).all()


def test_the_deepest_level_is_read_unless_another_is_asked_for(tmp_path):
    for zoom in (0, 2, 10):
        write_png(tmp_path, zoom, 2**zoom // 2, 2**zoom // 2, np.full((256, 256), zoom))
    (tmp_path / "readme").mkdir()
    place = [[0.01, -0.01]]
    assert elevation(tmp_path, place).tolist() == [10]
    assert elevation(tmp_path, place, zoom=2).tolist() == [2]
    assert elevation(str(tmp_path), place, zoom=0).tolist() == [0]
    with pytest.raises(ValueError, match=r"tiles of zoom 1 in .*, it has the levels \[0, 2, 10\]"):
        elevation(tmp_path, place, zoom=1)


def test_a_folder_without_tiles_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"terrain tiles \{zoom\}/\{x\}/\{y\}\.tif .* levels \[\]"):
        elevation(tmp_path, [[0, 0]])
    with pytest.raises(ValueError, match=r"a folder of terrain tiles, .* but there is no .*gone"):
        elevation(tmp_path / "gone", [[0, 0]])
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"\.tif or \.png in .*file, it has the levels \[\]"):
        elevation(tmp_path / "file", [[0, 0]])


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_colours_may_have_transparency(tmp_path, mode):
    write_png(tmp_path, 0, 0, 0, np.full((256, 256), 77.5), mode)
    assert elevation(tmp_path, [[0, 0]]).tolist() == [77.5]


def test_tiles_of_another_kind_are_refused(tmp_path):
    write_png(tmp_path, 0, 0, 0, np.zeros((256, 256)), "L")
    with pytest.raises(ValueError, match=r"expected a square tile, .*0\.png is none; take Mapzen"):
        elevation(tmp_path, [[0, 0]])
    write_png(tmp_path, 0, 0, 0, np.zeros((256, 128)))
    with pytest.raises(ValueError, match=r"expected a square tile"):
        elevation(tmp_path, [[0, 0]])
    write_tif(tmp_path, 0, 0, 0, np.zeros((512, 512)), bands=3)
    with pytest.raises(ValueError, match=r"expected a square tile, .*0\.tif is none"):
        elevation(tmp_path, [[0, 0]])


@pytest.mark.parametrize("write", [write_png, write_tif])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_damaged_tile_is_refused_by_name(tmp_path, write, kept):
    path = write(tmp_path, 0, 0, 0, np.random.default_rng(0).integers(0, 8000, (256, 256)))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"{path.name} is no tile or is damaged: .*; download it"):
        elevation(tmp_path, np.random.default_rng(0).uniform(-80, 80, (50, 2)))


def test_wrong_places_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got 151.2 in row 0; is the order \(longitude, latitude"):
        elevation(tmp_path, [[-33.9, 151.2]])
