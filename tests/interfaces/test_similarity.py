"""Maps of similarity: the grid, the values, and both kinds of file."""

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pytest
import rasterio

import earthtie_lite as et
from earthtie_lite.interfaces import similarity


class Latitude:
    """Stands for a model: a place is as similar as its latitude is large."""

    def similarity(self, lonlat, tied):
        return np.asarray(lonlat)[:, 1:] * np.asarray(tied)[0] / 90


def compared(grid, factor=1.0):
    return similarity.similarity_grid(Latitude(), [[factor]], grid)


def test_the_grid_of_the_world_is_the_one_of_the_maps():
    for spacing in (0.7, 1.0, 7.0):
        lonlat, shape = et.maps.grid(spacing)
        grid = similarity.map_grid("a.png", spacing_deg=spacing)
        assert grid.shape == shape
        np.testing.assert_allclose(grid.lonlat(), lonlat, atol=1e-9)


def test_values_stand_on_land_alone_in_their_pixels():
    grid = similarity.map_grid("a.tif", (-30.0, -70.0, 200.0, 80.0), 1.0)  # of several tiles
    values = compared(grid)
    lonlat = grid.lonlat()
    land = et.sample.is_land(lonlat).reshape(grid.shape)
    np.testing.assert_array_equal(np.isfinite(values), land)
    np.testing.assert_allclose(values[land], lonlat[land.ravel(), 1] / 90, atol=1e-6)


def test_progress_ends_with_the_last_tile():
    told = []
    grid = similarity.map_grid("a.tif", (0.0, 0.0, 60.0, 10.0), 0.25)
    similarity.similarity_grid(Latitude(), [[1.0]], grid, lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]


def test_a_geotiff_has_the_values_and_their_name(tmp_path):
    grid = similarity.map_grid("a.tif", (170.0, 50.0, 200.0, 70.0), 1.0)
    values = compared(grid)
    similarity.write_similarity(tmp_path / "a.tif", values, grid, "-stan")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.bounds == (170, 50, 200, 70)
        assert raster.crs.to_epsg() == 4326
        assert np.isnan(raster.nodata)
        assert raster.descriptions == ("-stan",)
        np.testing.assert_array_equal(raster.read(1), values)


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_map_is_an_image_of_the_kind_asked_for(tmp_path, suffix, start):
    path = tmp_path / f"a.{suffix}"
    grid = similarity.map_grid(path, (0.0, 0.0, 20.0, 20.0), 2.0)
    before = plt.get_fignums()
    similarity.write_similarity(path, compared(grid), grid, "costs $1 or $2")
    assert path.read_bytes().startswith(start)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("region", "middle"), [((-180.0, -90.0, 180.0, 90.0), 0), ((170.0, 40.0, 200.0, 70.0), 185)]
)
def test_maps_are_equal_area_and_centred_on_their_region(region, middle):
    grid = similarity.map_grid("a.png", region, 2.0)
    figure = similarity.similarity_map(compared(grid), grid, "-stan")
    ax = figure.axes[0]
    assert ax.projection == ccrs.EqualEarth(central_longitude=middle)
    assert ax.get_title() == "-stan"
    corners = ax.projection.transform_points(
        ccrs.PlateCarree(), np.array(region[::2]) * 0.999999 + middle * 1e-6, np.array([55.0, 55.0])
    )
    left, right = ax.get_xlim()
    assert left <= corners[0, 0] < corners[1, 0] <= right
    plt.close(figure)


def test_what_a_map_cannot_be_is_refused():
    refused = {
        "one of": {"path": "a.gif"},
        "spacing_deg": {"spacing_deg": 0.0},
        "west < east": {"region": (10.0, 0.0, -10.0, 5.0)},
        r"18,000 x 36,000 pixels .*, or write a GeoTIFF": {"spacing_deg": 0.01},
        r"18,000 x 36,000 pixels there, more than 100,000,000: raise the spacing or choose a "
        "smaller region$": {"path": "a.tif", "spacing_deg": 0.01},
    }
    for message, settings in refused.items():
        with pytest.raises(ValueError, match=message):
            similarity.map_grid(**({"path": "a.png"} | settings))
    with pytest.raises(ValueError, match="no land"):
        compared(similarity.map_grid("a.tif", (-40.0, 20.0, -30.0, 30.0)))


def test_a_title_gets_a_font_that_has_its_characters(monkeypatch):
    from matplotlib import font_manager

    usual = similarity.fonts_for("Novosibirsk")
    assert usual == list(similarity.maps.plt.rcParams["font.family"])
    with pytest.warns(UserWarning, match="no installed font has the characters \U0001f9ed"):
        assert similarity.fonts_for("a \U0001f9ed") == usual
    other = next(f for f in font_manager.fontManager.ttflist if "STIXGeneral" in f.name)
    default = font_manager.findfont(font_manager.FontProperties(family=usual))
    only_there = chr(max(similarity._characters(other.fname) - similarity._characters(default)))
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [other])
    assert similarity.fonts_for(only_there) == [*usual, other.name]


def test_a_title_without_a_font_is_drawn_and_said_once(tmp_path):
    grid = similarity.map_grid("a.png", (0, 0, 20, 20), 10)
    with pytest.warns(UserWarning, match="no installed font") as said:
        similarity.write_similarity(tmp_path / "a.png", np.eye(2), grid, "\U0001f9ed")
    assert len(said) == 1
    assert (tmp_path / "a.png").stat().st_size > 1000
