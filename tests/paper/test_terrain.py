"""Elevation from terrain tiles in both formats, with known heights."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from earthtie_lite.paper.terrain import elevation


def write_png(folder, zoom, x, y, metres, mode="RGB"):
    """Write a terrarium tile, encoding the metres as its documentation says; return the path."""
    path = folder / str(zoom) / str(x) / f"{y}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    value = np.asarray(metres, dtype=np.float64) + 32768
    bands = [value // 256, value % 256 // 1, value % 1 * 256, np.full_like(value, 255)]
    bands = np.stack(bands[: len(mode)], axis=2).squeeze()
    Image.fromarray(bands.astype(np.uint8), mode).save(path)
    return path


def write_tif(folder, zoom, x, y, metres, nodata=-32768, bands=1):
    """Write a geotiff tile of 16-bit integers; return the path."""
    path = folder / str(zoom) / str(x) / f"{y}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    metres = np.asarray(metres, dtype=np.int16)
    settings = {"count": bands, "height": len(metres), "width": len(metres), "dtype": "int16"}
    settings |= {"crs": "EPSG:3857", "transform": rasterio.Affine.scale(38), "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", **settings) as file:
        file.write(np.stack([metres] * bands))
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
    np.testing.assert_array_equal(elevation(folder, lonlat), expected, strict=True)


def test_the_date_line_is_one_meridian_and_web_mercator_has_an_end(tiles):
    folder, side = tiles
    east, west = elevation(folder, [[180.0, 10.0], [-180.0, 10.0]])
    assert east == west == elevation(folder, [[-179.99, 10.0]])[0]
    edges = elevation(folder, [[-1, 85.05], [-1, -85.05], [7, 85.06], [7, 90], [7, -90]])
    np.testing.assert_array_equal(edges, [-8000, side - 1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
@pytest.mark.parametrize(
    ("metres", "colour"), [(8848.5, (162, 144, 128)), (-10911.25, (85, 96, 192))]
)
def test_known_heights_and_depths_are_decoded_to_their_fraction(tmp_path, mode, metres, colour):
    # The documented example of the format: 8848 m is (162, 144, 0); half a metre is 128 in blue.
    path = write_png(tmp_path, 0, 0, 0, np.full((256, 256), metres), mode)
    assert Image.open(path).getpixel((0, 0))[:3] == colour
    assert elevation(tmp_path, [[86.9, 27.99]]).tolist() == [metres]


@pytest.mark.parametrize(
    ("write", "value", "settings"),
    [
        (write_png, -32768, {}),
        (write_tif, -32768, {}),
        (write_tif, -9999, {"nodata": -9999}),
        (write_tif, -32768, {"nodata": None}),
    ],
)
def test_no_data_and_missing_tiles_are_nan(tmp_path, write, value, settings):
    metres = np.full((256, 256), 12)
    metres[:, 128:] = value
    write(tmp_path, 1, 0, 0, metres, **settings)
    got = elevation(tmp_path, [[-170, 40], [-10, 40], [10, 40], [-170, -40]])
    np.testing.assert_array_equal(got, [12, np.nan, np.nan, np.nan])


def test_the_deepest_level_is_read(tmp_path):
    for zoom in (0, 2, 10):
        write_png(tmp_path, zoom, 2**zoom // 2, 2**zoom // 2, np.full((256, 256), zoom))
    (tmp_path / "readme").mkdir()
    assert elevation(str(tmp_path), [[0.01, -0.01]]).tolist() == [10]


def test_a_folder_without_tiles_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"terrain tiles \{zoom\}/\{x\}/\{y\}\.tif .* in "):
        elevation(tmp_path, [[0, 0]])


@pytest.mark.parametrize(("write", "kind"), [(write_png, {"mode": "L"}), (write_tif, {"bands": 3})])
def test_tiles_of_another_kind_are_refused(tmp_path, write, kind):
    path = write(tmp_path, 0, 0, 0, np.zeros((256, 256)), **kind)
    with pytest.raises(ValueError, match=rf"expected a terrain tile: .*{path.name} cannot be read"):
        elevation(tmp_path, [[0, 0]])


@pytest.mark.parametrize("write", [write_png, write_tif])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_damaged_tile_is_refused_by_name(tmp_path, write, kept):
    path = write(tmp_path, 0, 0, 0, np.random.default_rng(0).integers(0, 8000, (256, 256)))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"expected a terrain tile: .*{path.name} cannot be read"):
        elevation(tmp_path, np.random.default_rng(0).uniform(-80, 80, (50, 2)))
