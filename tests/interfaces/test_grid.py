"""Embeddings on a grid, in a Cloud-Optimised GeoTIFF."""

import os
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest
import rasterio
import xarray as xr
from fakes import Waves

import earthtie_lite as et
from earthtie_lite.interfaces import grid
from earthtie_lite.interfaces.grid import embed_grid, to_xarray
from earthtie_lite.interfaces.pixels import make_grid

ALPS = (5.0, 43.0, 17.0, 49.0)
WIDE = (0.0, 0.0, 130.0, 60.0)  # 650 x 300 pixels of 0.2 degrees: 2 tiles


def read(path, **how):
    with rasterio.open(path, **how) as raster:
        return raster.read()


def expected(model, *settings):
    """Return the embedding of a grid's pixels, (bands, H, W)."""
    pixels = make_grid(*settings)
    return model.embed(pixels.lonlat()).T.reshape(-1, *pixels.shape)


class Stopped(Exception):
    pass


def stop_after(count):
    """Return a progress callback that stops the job after so many tiles."""

    def progress(done, total):
        if done == count:
            raise Stopped

    return progress


def stopped(path, count=1, **settings):
    """Run a job until so many tiles are done."""
    asked = {"model": Waves(), "bounds": WIDE, "resolution": 0.2, **settings}
    with pytest.raises(Stopped):
        embed_grid(path=path, progress=stop_after(count), **asked)


def test_each_pixel_holds_the_embedding_of_its_centre(tmp_path):
    path = embed_grid(Waves(9), tmp_path / "new" / "alps.tif", ALPS, 0.5, bands=[8, 0])
    np.testing.assert_array_equal(read(path), expected(Waves(9), ALPS, 0.5)[[8, 0]])
    with rasterio.open(path) as raster:
        assert raster.crs == "EPSG:4326"
        assert raster.bounds == ALPS
        assert raster.descriptions == ("e008", "e000")
        assert raster.tags()["EARTHTIE_MODEL"] == "Waves"
        assert raster.tags()["EARTHTIE_VERSION"] == et.__version__
        assert "EARTHTIE_SHA256" not in raster.tags()
        values = next(iter(raster.sample([(13.4, 47.6)])))
        centre = raster.xy(*raster.index(13.4, 47.6))
    np.testing.assert_array_equal(values, Waves(9).embed([centre])[0, [8, 0]])
    assert os.listdir(path.parent) == ["alps.tif"]


def test_a_grid_centred_on_the_poles_is_written_whole(tmp_path):
    model, bounds = Waves(2), (-2.5, -92.5, 357.5, 92.5)
    path = embed_grid(model, tmp_path / "a.tif", bounds, (5, -5))
    with rasterio.open(path) as raster:
        assert raster.bounds == bounds
        values = raster.read()
    lon, lat = np.meshgrid((np.arange(0, 360, 5) + 180) % 360 - 180, np.arange(90, -91, -5))
    places = np.stack([lon.ravel(), lat.ravel()], axis=1)
    np.testing.assert_allclose(values, model.embed(places).T.reshape(2, 37, 72), atol=1e-6)


def test_it_is_a_cloud_optimised_geotiff_with_overviews_down_to_one_tile(tmp_path):
    path = embed_grid(Waves(2), tmp_path / "a.tif", (0, 0, 120, 60), 0.1)
    with rasterio.open(path) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
        assert raster.interleaving.value == "PIXEL"
        assert raster.block_shapes == [(512, 512)] * 2
        assert [raster.overviews(band) for band in (1, 2)] == [[2, 4]] * 2
        assert np.isnan(raster.nodata)
    assert b"LAYOUT=IFDS_BEFORE_DATA" in path.read_bytes()[:1000]


def test_overviews_are_means_of_what_is_known(tmp_path):
    path = embed_grid(Waves(2), tmp_path / "a.tif", (-1.8e7, -9e6, 1.8e7, 9e6), 3e4, "EPSG:8857")
    full, half = read(path), read(path, overview_level=0)
    four = full.reshape(2, 300, 2, 600, 2)
    known = np.isfinite(four).any(axis=(2, 4))
    np.testing.assert_array_equal(np.isfinite(half), known)
    assert 0 < known.mean() < 1
    mean = np.nansum(four, axis=(2, 4)) / np.maximum(np.isfinite(four).sum(axis=(2, 4)), 1)
    np.testing.assert_allclose(half[known], mean[known], atol=1e-6)


def test_pixels_without_a_place_are_not_embedded(tmp_path):
    model, settings = Waves(), ((-1.8e7, -9e6, 1.8e7, 9e6), 1e6, "EPSG:8857")
    values = read(embed_grid(model, tmp_path / "a.tif", *settings))
    pixels = make_grid(*settings)
    known = np.isfinite(pixels.lonlat()).all(axis=1)
    assert model.calls == [4, known.sum()]  # four places that tell models apart
    np.testing.assert_array_equal(np.isfinite(values), [known.reshape(pixels.shape)] * 4)


def test_a_stopped_job_goes_on_and_ends_the_same(tmp_path):
    settings = {"bounds": (0, -20, 130, 90), "resolution": 0.1}  # 9 tiles
    straight = embed_grid(Waves(), tmp_path / "straight.tif", **settings)
    path, calls = tmp_path / "stopped.tif", []
    for count in (2, 3):
        model = Waves()
        stopped(path, count, model=model, **settings)
        calls.append(sum(model.calls[1:]))
        assert not path.exists()
    model, told = Waves(), []
    embed_grid(model, path, **settings, progress=lambda *at: told.append(at))
    assert told == [(n, 9) for n in range(4, 10)]
    assert calls == [2 * 512 * 512, 276 * 512]
    assert sum(calls) + sum(model.calls[1:]) == 1300 * 1100
    assert path.read_bytes() == straight.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["stopped.tif", "straight.tif"]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from fakes import Waves
from earthtie_lite.interfaces import grid

class Killed(Waves):
    def embed(self, lonlat):
        if {when!r} == "embedding" and sum(self.calls) > 300_000:  # inside the second tile
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(lonlat)

def packed(path):
    if path.name == "whole.tif":
        os.kill(os.getpid(), signal.SIGKILL)

Killed.__name__ = "Waves"
if {when!r} == "packing":
    grid.to_disk = packed
grid.embed_grid(Killed(), {path!r}, {bounds!r}, 0.1)
"""


@pytest.mark.parametrize(("when", "left"), [("embedding", 5), ("packing", 0)])
def test_a_killed_process_goes_on(tmp_path, when, left):
    path, bounds = tmp_path / "a.tif", (0, 0, 130, 60)
    tests = str(Path(__file__).parents[1])
    code = KILLED.format(tests=tests, path=str(path), bounds=bounds, when=when)
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(grid.__file__).parents[2])
    assert done.returncode == -9
    assert not path.exists()
    told = []
    embed_grid(Waves(), path, bounds, 0.1, progress=lambda *at: told.append(at))
    assert len(told) == left
    straight = embed_grid(Waves(), tmp_path / "straight.tif", bounds, 0.1)
    assert path.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": Waves(turns=2.0)},
        {"bounds": (1, 0, 131, 60)},
        {"bands": [1, 0]},
        {"crs": "EPSG:4258"},
    ],
)
def test_another_job_starts_anew(tmp_path, changed):
    stopped(tmp_path / "a.tif")
    asked = {"model": Waves(), "bounds": WIDE, "resolution": 0.2, **changed}
    got = embed_grid(path=tmp_path / "a.tif", **asked)
    straight = embed_grid(path=tmp_path / "b.tif", **asked)
    assert got.read_bytes() == straight.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "b.tif"]


@pytest.mark.parametrize("damage", ["record", "pixels", "no pixels"])
def test_a_damaged_job_starts_anew(tmp_path, damage):
    stopped(tmp_path / "a.tif")
    folder = tmp_path / ".a.tif.part"
    if damage == "record":
        (folder / "progress.json").write_text("{")
    elif damage == "pixels":
        (folder / "pixels.tif").write_bytes((folder / "pixels.tif").read_bytes()[:9999])
    else:
        (folder / "pixels.tif").unlink()
    model = Waves()
    embed_grid(model, tmp_path / "a.tif", WIDE, 0.2)
    assert sum(model.calls) == 4 + 650 * 300
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected(Waves(), WIDE, 0.2))


def test_memory_does_not_grow_with_the_grid(tmp_path):
    model = Waves()
    embed_grid(model, tmp_path / "a.tif", (0, 0, 90, 90), 0.1)
    assert sum(model.calls) == 4 + 900**2
    assert max(model.calls) == grid.PLACES


@pytest.mark.parametrize(("width", "tile"), [(16, 512), (17, 256), (65, 128), (256, 128)])
def test_a_tile_of_many_bands_is_small(tmp_path, width, tile):
    path = embed_grid(Waves(width), tmp_path / "a.tif", (0, 0, 60, 2), 0.1)
    with rasterio.open(path) as raster:
        assert raster.block_shapes[0] == (tile, tile)


def test_a_real_model_is_named_and_gives_its_embedding(tmp_path):
    path = embed_grid("satellite", tmp_path / "alps.tif", ALPS)
    with rasterio.open(path) as raster:
        assert raster.tags()["EARTHTIE_MODEL"] == "satellite"
    z = expected(et.load_pretrained("satellite"), ALPS)
    np.testing.assert_allclose(read(path), z, atol=1e-5)


def test_an_existing_file_is_replaced_only_when_asked_and_when_all_is_done(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"a\.tif exists: .*\(overwrite, --force\)"):
        embed_grid(Waves(), path, WIDE, 0.2)
    stopped(path, overwrite=True)
    assert path.read_text() == "old"
    embed_grid(Waves(), path, WIDE, 0.2, overwrite=True)
    assert read(path).shape == (4, 300, 650)


def test_two_processes_do_not_write_the_same_file(tmp_path):
    (tmp_path / ".a.tif.part").mkdir()
    with (
        filelock.FileLock(tmp_path / ".a.tif.part" / "lock"),
        pytest.raises(OSError, match=r"another process is writing .*a\.tif"),
    ):
        embed_grid(Waves(), tmp_path / "a.tif", ALPS)


def test_a_disk_that_is_too_full_is_refused_first(tmp_path):
    model = Waves(256)
    with pytest.raises(OSError, match="the disk is too full: the grid needs"):
        embed_grid(model, tmp_path / "a.tif", resolution=0.0001)
    assert model.calls == [4]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "a.png"}, r"ends in \.tif, got 'a\.png'"),
        *(({"bands": bands}, "different integers") for bands in ([4], [0, 0], [-1], [], ["e000"])),
        ({"bands": [0.5]}, "different integers"),
        ({"bounds": (170, -50, -170, -30)}, "across the date line it is right=190"),
        ({"crs": "EPSG:4978", "bounds": (0, 0, 9e6, 9e6)}, "Geocentric CRS"),
        (
            {"bounds": (3e7, 0, 3.1e7, 1e6), "resolution": 1e5, "crs": "EPSG:8857"},
            "no pixel is a place: .* in EPSG:8857",
        ),
        ({"model": "clip"}, "unknown model 'clip'"),
        ({"model": 3}, "must be a name, a folder or have a method embed"),
    ],
)
def test_bad_settings_are_refused_and_leave_nothing(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        embed_grid(**{"model": Waves(), "path": "a.tif", **settings})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("bands", [[0, 3], [2]])
def test_xarray_gets_bands_by_name(tmp_path, bands):
    with to_xarray(embed_grid(Waves(), tmp_path / "a.tif", ALPS, 0.5, bands=bands)) as array:
        assert array.dims == ("band", "y", "x")
        assert array.name == "embedding"
        assert array.band.values.tolist() == [f"e00{band}" for band in bands]
        assert array.rio.crs == "EPSG:4326"
        at = array.sel(x=13.3, y=47.6, method="nearest")
        place = [[float(at.x), float(at.y)]]
        np.testing.assert_allclose(at.values, Waves().embed(place)[0, bands])


@pytest.mark.parametrize(
    ("changed", "names", "bands"),
    [
        ({}, (), [1, 2, 3]),
        ({"count": 1}, (), [1]),
        ({"count": 1}, ("depth",), ["depth"]),
        ({}, ("a", None, "b"), ["a", "2", "b"]),
        ({}, ("a", "a", "b"), ["a", "a", "b"]),
        ({}, ("a", "a", "a"), ["a", "a", "a"]),
        ({"dtype": "int16", "nodata": 1}, (), [1, 2, 3]),
        ({"dtype": "uint8", "nodata": None}, (), [1, 2, 3]),
        ({"crs": None}, (), [1, 2, 3]),
        ({"left": 0.0, "top": 90.5}, (), [1, 2, 3]),  # 0 to 360, centred on the pole
    ],
)
def test_rasters_of_others_open(tmp_path, changed, names, bands):
    asked = {"count": 3, "dtype": "float32", "left": -180.0, "top": 90.0, **changed}
    profile = make_grid((0, 0, 4, 3)).profile(1)
    left, top = asked.pop("left"), asked.pop("top")
    profile |= {**asked, "transform": rasterio.Affine(90, 0, left, 0, -60, top)}
    values = np.arange(12 * asked["count"]).reshape(-1, 3, 4)
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as raster:
        raster.write(values.astype(asked["dtype"]))
        raster.descriptions = names or (None,) * asked["count"]
    with to_xarray(str(tmp_path / "a.tif")) as array:
        assert array.dims == ("band", "y", "x")
        assert array.band.values.tolist() == bands
        known = values if asked.get("nodata") is None else np.where(values == 1, np.nan, values)
        np.testing.assert_array_equal(array.values, known)
        assert array.x.values.tolist() == [left + 45 + 90 * n for n in range(4)]


def test_netcdf_keeps_its_first_dimension(tmp_path):
    times = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), np.zeros((2, 3, 4)))},
        {"time": [6, 9], "lat": [1.0, 0.0, -1.0], "lon": [0.0, 1.0, 2.0, 3.0]},
    )
    times.to_netcdf(tmp_path / "one.nc")
    with to_xarray(tmp_path / "one.nc") as array:
        assert array.sizes == {"time": 2, "y": 3, "x": 4}
        assert array.time.values.tolist() == [6, 9]
    times.assign(d2m=times.t2m).to_netcdf(tmp_path / "two.nc")
    with pytest.raises(ValueError, match=r"two\.nc holds several rasters"):
        to_xarray(tmp_path / "two.nc")


@pytest.mark.parametrize("name", ["missing.tif", "text.tif", "empty.tif", "half.tif", "."])
def test_a_file_that_is_no_raster_is_refused_with_its_path(tmp_path, name):
    (tmp_path / "text.tif").write_text("lon,lat\n1,2\n")
    (tmp_path / "empty.tif").touch()
    whole = embed_grid(Waves(), tmp_path / "a.tif", ALPS).read_bytes()
    (tmp_path / "half.tif").write_bytes(whole[:100])
    with pytest.raises(ValueError) as caught:
        to_xarray(tmp_path / name)
    assert str(caught.value).startswith(f"cannot open {tmp_path / name} as a raster: ")


def test_without_rioxarray_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[xarray\]'"):
        to_xarray(tmp_path / "a.tif")
