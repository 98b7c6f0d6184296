"""Maps of similarity: the grid, the values, and both kinds of file."""

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pytest
import rasterio
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from earthtie_lite.coords import as_lonlat
from earthtie_lite.interfaces import similarity
from earthtie_lite.interfaces.similarity import map_grid, similarity_grid, write_similarity
from earthtie_lite.sample import is_land


class Latitude:
    """Stands for a model: a place is as similar as its latitude is large."""

    def similarity(self, lonlat, tied):
        return as_lonlat(lonlat)[:, 1:] * np.asarray(tied)[0] / 90


def compared(grid, progress=None):
    return similarity_grid(Latitude(), [[1.0]], grid, progress)


@pytest.mark.parametrize(
    ("region", "spacing", "tiles"),
    [
        ((-30.0, -70.0, 200.0, 80.0), 1.0, 4),
        ((-80.0, -90.0, 100.0, -34.0), 0.45, 4),  # its last row lies beyond the pole
        ((0.0, -90.0, 20.0, 38.4), 1.0, 2),  # so does its whole last tile
    ],
)
def test_values_stand_on_land_alone_in_their_pixels(region, spacing, tiles):
    told = []
    grid = map_grid("a.tif", region, spacing)
    values = compared(grid, lambda *done: told.append(done))
    assert told == [(n, tiles) for n in range(1, tiles + 1)]
    known = np.isfinite(grid.lonlat()).all(axis=1)
    land = np.zeros(len(known), dtype=bool)
    land[known] = is_land(grid.lonlat()[known])
    np.testing.assert_array_equal(np.isfinite(values).ravel(), land)
    np.testing.assert_allclose(values.ravel()[land], grid.lonlat()[land, 1] / 90, atol=1e-6)


def test_a_geotiff_has_the_values_and_their_name(tmp_path):
    grid = map_grid("a.tif", (170.0, 50.0, 200.0, 70.0), 1.0)
    write_similarity(tmp_path / "a.tif", compared(grid), grid, "-stan")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert (raster.bounds, raster.crs) == ((170, 50, 200, 70), "EPSG:4326")
        assert np.isnan(raster.nodata)
        assert raster.descriptions == ("-stan",)
        np.testing.assert_array_equal(raster.read(1), compared(grid))


def test_a_map_is_an_image_of_the_kind_asked_for(tmp_path):
    before, grid = plt.get_fignums(), map_grid("a.png", (0.0, 0.0, 20.0, 20.0), 2.0)
    for name, start in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")):
        write_similarity(tmp_path / name, compared(grid), grid, "costs $1 or $2")
        assert (tmp_path / name).read_bytes().startswith(start)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("region", "middle"), [((-180.0, -90.0, 180.0, 90.0), 0), ((170.0, 40.0, 200.0, 70.0), 185)]
)
def test_maps_are_equal_area_and_centred_on_their_region(region, middle):
    grid = map_grid("a.png", region, 2.0)
    figure = similarity.similarity_map(compared(grid), grid, "-stan")
    ax = figure.axes[0]
    assert ax.projection == ccrs.EqualEarth(central_longitude=middle)
    assert ax.get_title() == "-stan"
    ends = np.array(region[::2]) * 0.999999 + middle * 1e-6
    corners = ax.projection.transform_points(ccrs.PlateCarree(), ends, np.array([55.0, 55.0]))
    left, right = ax.get_xlim()
    assert left <= corners[0, 0] < corners[1, 0] <= right
    plt.close(figure)


@pytest.mark.parametrize("region", [(-2.5, -92.5, 357.5, 92.5), (-182.5, 40.0, 182.5, 92.5)])
def test_pixels_centred_on_the_poles_or_the_date_line_are_drawn_within_the_globe(region):
    grid = map_grid("a.png", region, 5.0)
    figure = similarity.similarity_map(compared(grid), grid, "-stan")
    (mesh, *_) = figure.axes[0].collections
    lon, lat = mesh.get_coordinates().T
    assert np.abs(lon).max() == 180
    assert lat.max() == 90
    figure.canvas.draw()
    plt.close(figure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("a.gif",), "one of"),
        (("a.png", (10.0, 0.0, -10.0, 5.0)), "left < right .* right=350"),
        (("a.png", (0.0, 0.0, 10.0, 95.0)), "within the poles"),
        (("a.png", (0.0, 0.0, 10.0)), "left, bottom, right, top"),
        *((("a.png", similarity.WORLD, s), "spacing_deg") for s in (0.0, -1.0, 31, np.nan)),
        (("a.png", similarity.WORLD, 0.01), r"18,000 x 36,000 pixels .*, or write a GeoTIFF"),
        (("a.tif", similarity.WORLD, 0.01), "more than 100,000,000: .* choose a smaller region$"),
        (("a.tif", (-40.0, 20.0, -30.0, 30.0)), "no land"),
    ],
)
def test_bad_maps_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        compared(map_grid(*settings))


def test_a_title_gets_a_font_that_has_its_characters(monkeypatch):
    usual = list(plt.rcParams["font.family"])
    assert similarity.fonts_for("Novosibirsk") == usual
    other = next(f for f in font_manager.fontManager.ttflist if "STIXGeneral" in f.name)
    default = font_manager.findfont(font_manager.FontProperties(family=usual))
    there, usually = (FT2Font(name).get_charmap().keys() for name in (other.fname, default))
    only_there = chr(max(there - usually))
    unread = font_manager.FontEntry(fname=__file__, name="no font")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [unread, other])
    assert similarity.fonts_for(only_there) == [*usual, other.name]


def test_a_title_without_a_font_is_drawn_with_one_warning(tmp_path):
    grid = map_grid("a.png", (0, 0, 20, 20), 10)
    with pytest.warns(UserWarning, match="no installed font has the characters \U0001f9ed") as said:
        write_similarity(tmp_path / "a.png", np.eye(2), grid, "\U0001f9ed")
    assert len(said) == 1
    assert said[0].filename == __file__
