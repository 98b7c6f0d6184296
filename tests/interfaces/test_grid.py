"""Embeddings on a grid, in a Cloud-Optimised GeoTIFF."""

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest
import rasterio
from fakes import Waves

import earthtie_lite as et
from earthtie_lite.interfaces import grid
from earthtie_lite.interfaces.grid import embed_grid, grid_lonlat, to_xarray

ALPS = (5.0, 43.0, 17.0, 49.0)
WIDE = (0.0, 0.0, 130.0, 60.0)  # 650 x 300 pixels of 0.2 degrees, of which 2 tiles are 512 wide


def read(path, **how):
    """Return the values of a raster, (bands, H, W)."""
    with rasterio.open(path, **how) as raster:
        return raster.read()


def expected(model, shape, lonlat):
    """Return the embedding as a raster."""
    return model.embed(lonlat).T.reshape(-1, *shape)


class Stopped(Exception):
    """What stops a job."""


def stop_after(count):
    """Return a callback that stops the job once so many tiles are done."""

    def progress(done, total):
        if done == count:
            raise Stopped

    return progress


def test_each_pixel_holds_the_embedding_of_its_centre(tmp_path):
    path = embed_grid(Waves(), tmp_path / "new" / "alps.tif", ALPS, 0.5)
    assert path == tmp_path / "new" / "alps.tif"
    lonlat, shape = grid_lonlat(ALPS, 0.5)
    assert shape == (12, 24)
    np.testing.assert_array_equal(read(path), expected(Waves(), shape, lonlat))
    with rasterio.open(path) as raster:
        assert raster.crs == "EPSG:4326"
        assert raster.bounds == ALPS
        assert raster.descriptions == ("e000", "e001", "e002", "e003")
        assert raster.tags()["EARTHTIE_MODEL"] == "Waves"
        assert raster.tags()["EARTHTIE_VERSION"] == et.__version__
        row, column = raster.index(13.4, 47.6)
        values = next(iter(raster.sample([(13.4, 47.6)])))
        centre = raster.xy(row, column)
    np.testing.assert_array_equal(values, Waves().embed([centre])[0])
    assert os.listdir(path.parent) == ["alps.tif"]


def test_it_is_a_cloud_optimised_geotiff(tmp_path):
    path = embed_grid(Waves(2), tmp_path / "a.tif", (0, 0, 120, 60), 0.1)
    with rasterio.open(path) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
        assert raster.block_shapes == [(512, 512)] * 2
        assert raster.profile["tiled"]
        assert [raster.overviews(band) for band in (1, 2)] == [[2, 4]] * 2
        assert np.isnan(raster.nodata)
    data = path.read_bytes()
    assert b"LAYOUT=IFDS_BEFORE_DATA" in data[:1000]


def test_overviews_are_means_of_what_is_known(tmp_path):
    path = embed_grid(Waves(2), tmp_path / "a.tif", (-1.8e7, -9e6, 1.8e7, 9e6), 3e4, "EPSG:8857")
    full, half = read(path), read(path, overview_level=0)
    assert full.shape == (2, 600, 1200)
    four = full.reshape(2, 300, 2, 600, 2)
    known = np.isfinite(four).any(axis=(2, 4))
    np.testing.assert_array_equal(np.isfinite(half), known)
    assert 0 < known.mean() < 1
    mean = np.nansum(four, axis=(2, 4)) / np.maximum(np.isfinite(four).sum(axis=(2, 4)), 1)
    np.testing.assert_allclose(half[known], mean[known], atol=1e-6)


def test_overviews_of_odd_sides_are_complete(tmp_path):
    path = embed_grid(Waves(), tmp_path / "a.tif", (0, 0, 102.7, 51.3), 0.1)  # 1027 x 513
    full = read(path)
    half, quarter = (read(path, overview_level=level) for level in (0, 1))
    assert half.shape == (4, 257, 514)
    assert quarter.shape == (4, 129, 257)
    np.testing.assert_allclose(half[:, -1, -1], full[:, -1, -1])
    np.testing.assert_allclose(half[:, 0, -1], full[:, :2, -1].mean(axis=1), atol=1e-6)
    assert np.isfinite(quarter).all()


def test_gdals_own_overviews_are_the_same(tmp_path, monkeypatch):
    import rasterio.shutil

    monkeypatch.setattr(grid.shutil, "rmtree", lambda folder: None)
    path = embed_grid(Waves(), tmp_path / "a.tif", (0, 0, 120, 60), 0.1)
    plain = tmp_path / "plain.tif"
    os.replace(tmp_path / ".a.tif.part" / "pixels.tif", plain)  # without its overviews
    options = {"BLOCKSIZE": 512, "OVERVIEW_RESAMPLING": "AVERAGE"}
    rasterio.shutil.copy(plain, tmp_path / "gdal.tif", driver="COG", **options)
    for level in (0, 1):
        ours, gdals = (read(p, overview_level=level) for p in (path, tmp_path / "gdal.tif"))
        np.testing.assert_allclose(ours, gdals, atol=1e-6)


def test_some_columns_can_be_chosen(tmp_path):
    path = embed_grid(Waves(9), tmp_path / "a.tif", ALPS, bands=[8, 0])
    lonlat, shape = grid_lonlat(ALPS)
    np.testing.assert_array_equal(read(path), expected(Waves(9), shape, lonlat)[[8, 0]])
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("e008", "e000")


def test_other_projections_and_the_date_line(tmp_path):
    path = embed_grid(Waves(), tmp_path / "a.tif", (-3e6, -3e6, 3e6, 3e6), 2e5, "EPSG:3995")
    lonlat, shape = grid_lonlat((-3e6, -3e6, 3e6, 3e6), 2e5, "EPSG:3995")
    np.testing.assert_array_equal(read(path), expected(Waves(), shape, lonlat))
    path = embed_grid(Waves(), tmp_path / "b.tif", (178, 0, 182, 1))
    np.testing.assert_array_equal(
        read(path)[:, 0].T,
        Waves().embed([[178.5, 0.5], [179.5, 0.5], [-179.5, 0.5], [-178.5, 0.5]]),
    )
    with rasterio.open(path) as raster:
        assert raster.bounds == (178, 0, 182, 1)


def test_pixels_that_are_no_place_are_not_embedded(tmp_path):
    model = Waves()
    bounds = (-1.8e7, -9e6, 1.8e7, 9e6)
    values = read(embed_grid(model, tmp_path / "a.tif", bounds, 1e6, "EPSG:8857"))
    lonlat, shape = grid_lonlat(bounds, 1e6, "EPSG:8857")
    known = np.isfinite(lonlat).all(axis=1)
    assert model.calls == [4, known.sum()]  # four places that tell models apart
    np.testing.assert_array_equal(np.isfinite(values), np.stack([known.reshape(shape)] * 4))


def test_what_was_stopped_goes_on_and_ends_the_same(tmp_path):
    straight = embed_grid(Waves(), tmp_path / "straight.tif", (0, -20, 130, 90), 0.1)
    calls = []
    path = tmp_path / "stopped.tif"
    for count in (2, 3):
        model = Waves()
        with pytest.raises(Stopped):
            embed_grid(model, path, (0, -20, 130, 90), 0.1, progress=stop_after(count))
        calls.append(sum(model.calls[1:]))
        assert not path.exists()
    model, told = Waves(), []
    embed_grid(model, path, (0, -20, 130, 90), 0.1, progress=lambda *at: told.append(at))
    calls.append(sum(model.calls[1:]))
    assert told == [(n, 9) for n in range(4, 10)]
    sizes = [512 * 512, 512 * 512, 276 * 512, 512 * 512, 512 * 512, 276 * 512]
    sizes += [76 * 512, 76 * 512, 76 * 276]
    assert calls == [sum(sizes[:2]), sizes[2], sum(sizes[3:])]
    assert path.read_bytes() == straight.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["stopped.tif", "straight.tif"]


def test_what_was_stopped_while_packing_is_not_embedded_again(tmp_path):
    straight = embed_grid(Waves(), tmp_path / "straight.tif", WIDE, 0.2)
    with pytest.raises(Stopped):
        embed_grid(Waves(), tmp_path / "a.tif", WIDE, 0.2, progress=stop_after(2))
    model = Waves()
    embed_grid(model, tmp_path / "a.tif", WIDE, 0.2)
    assert model.calls == [4]
    assert (tmp_path / "a.tif").read_bytes() == straight.read_bytes()


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from fakes import Waves
from earthtie_lite.interfaces.grid import embed_grid

class Killed(Waves):
    def embed(self, lonlat):
        if sum(self.calls) > 300_000:  # inside of the second tile
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(lonlat)

Killed.__name__ = "Waves"
embed_grid(Killed(), {path!r}, {bounds!r}, 0.1)
"""


def test_a_process_that_was_killed_goes_on(tmp_path):
    path, bounds = tmp_path / "a.tif", (0, 0, 130, 60)
    code = KILLED.format(tests=str(Path(__file__).parents[1]), path=str(path), bounds=bounds)
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(grid.__file__).parents[2])
    assert done.returncode == -9
    assert not path.exists()
    model, told = Waves(), []
    embed_grid(model, path, bounds, 0.1, progress=lambda *at: told.append(at))
    assert told[0] == (2, 6)
    assert sum(model.calls[1:]) == 1300 * 600 - 512 * 512
    straight = embed_grid(Waves(), tmp_path / "straight.tif", bounds, 0.1)
    assert path.read_bytes() == straight.read_bytes()


def stopped(path, **settings):
    """Embed one tile of two, then stop."""
    asked = {"model": Waves(), "bounds": WIDE, "resolution": 0.2, **settings}
    with pytest.raises(Stopped):
        embed_grid(path=path, progress=stop_after(1), **asked)


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
    lonlat, shape = grid_lonlat(WIDE, 0.2)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected(Waves(), shape, lonlat))


def test_a_tile_is_written_in_its_place_and_nothing_else_changes(tmp_path):
    stopped(tmp_path / "a.tif")
    folder = tmp_path / ".a.tif.part"
    before = np.fromfile(folder / "pixels.tif", dtype=np.uint8)
    assert json.loads((folder / "progress.json").read_text())["done"] == 1
    with pytest.raises(Stopped):
        embed_grid(Waves(), tmp_path / "a.tif", WIDE, 0.2, progress=stop_after(2))
    after = np.fromfile(folder / "pixels.tif", dtype=np.uint8)
    changed = np.flatnonzero(before != after)
    assert changed.max() - changed.min() < 512 * 512 * 4 * 4


def test_memory_does_not_grow_with_the_grid(tmp_path):
    most = []
    for degrees in (30, 90):
        model = Waves()
        embed_grid(model, tmp_path / f"{degrees}.tif", (0, 0, degrees, degrees), 0.1)
        assert sum(model.calls) == 4 + (10 * degrees) ** 2
        most.append(max(model.calls))
    assert most[0] == most[1] == grid.PLACES


@pytest.mark.parametrize(("width", "tile"), [(3, 512), (16, 512), (17, 256), (65, 128), (256, 128)])
def test_a_tile_of_many_bands_is_small(tmp_path, width, tile):
    path = embed_grid(Waves(width), tmp_path / "a.tif", (0, 0, 60, 2), 0.1)
    with rasterio.open(path) as raster:
        assert raster.block_shapes[0] == (tile, tile)
        assert tile**2 * width * 4 <= grid.TILE_BYTES


def test_a_real_model_is_named_and_gives_its_embedding(tmp_path):
    path = embed_grid("satellite", tmp_path / "alps.tif", ALPS)
    with rasterio.open(path) as raster:
        assert raster.count == 256
        assert raster.tags()["EARTHTIE_MODEL"] == "satellite"
    lonlat, shape = grid_lonlat(ALPS)
    z = expected(et.load_pretrained("satellite"), shape, lonlat)
    np.testing.assert_allclose(read(path), z, atol=1e-5)


def test_a_file_that_is_there_is_replaced_when_all_is_done(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("old")
    stopped(path, overwrite=True)
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match=r"a\.tif exists: .*overwrite=True"):
        embed_grid(Waves(), path, WIDE, 0.2)
    embed_grid(Waves(), path, WIDE, 0.2, overwrite=True)
    assert read(path).shape == (4, 300, 650)


def test_two_processes_do_not_write_the_same_file(tmp_path):
    (tmp_path / ".a.tif.part").mkdir()
    with (
        filelock.FileLock(tmp_path / ".a.tif.part" / "lock"),
        pytest.raises(OSError, match=r"another process is writing .*a\.tif"),
    ):
        embed_grid(Waves(), tmp_path / "a.tif", ALPS)
    embed_grid(Waves(), tmp_path / "a.tif", ALPS)


def test_a_disk_that_is_too_full_is_refused_first(tmp_path):
    model = Waves(256)
    with pytest.raises(OSError, match="the disk is too full: the grid needs"):
        embed_grid(model, tmp_path / "a.tif", resolution=0.0001)
    assert model.calls == [4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "a.png"}, r"ends in \.tif, got 'a\.png'"),
        ({"bands": [4]}, r"different integers in \[0, 4\).*got \[4\]"),
        ({"bands": [0, 0]}, "different integers"),
        ({"bands": [-1]}, "different integers"),
        ({"bands": []}, "different integers"),
        ({"bands": ["e000"]}, "different integers"),
        ({"bounds": (170, -50, -170, -30)}, "across the date line it is right=190"),
        ({"model": "clip"}, "unknown model 'clip'"),
        ({"model": 3}, "must be a name, a folder or have a method embed"),
    ],
)
def test_what_is_not_understood_is_refused_and_leaves_nothing(
    tmp_path, monkeypatch, settings, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        embed_grid(**{"model": Waves(), "path": "a.tif", **settings})
    assert os.listdir(tmp_path) == []


def test_xarray_gets_bands_by_name(tmp_path):
    pytest.importorskip("rioxarray")
    path = embed_grid(Waves(), tmp_path / "a.tif", ALPS, 0.5, bands=[0, 3])
    array = to_xarray(path)
    assert array.dims == ("band", "y", "x")
    assert array.name == "embedding"
    assert array.band.values.tolist() == ["e000", "e003"]
    assert array.rio.crs == "EPSG:4326"
    at = array.sel(x=13.3, y=47.6, method="nearest")
    place = [[float(at.x), float(at.y)]]
    np.testing.assert_allclose(at.values, Waves().embed(place)[0, [0, 3]])
    array.close()


def test_one_band_has_a_name_too(tmp_path):
    pytest.importorskip("rioxarray")
    array = to_xarray(embed_grid(Waves(), tmp_path / "a.tif", ALPS, bands=[2]))
    assert array.band.values.tolist() == ["e002"]
    array.close()


def test_without_rioxarray_the_way_to_it_is_said(tmp_path, monkeypatch):
    real = builtins.__import__

    def none(name, *rest, **more):
        if name == "rioxarray":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(ImportError, match=r"pip install '\.\[xarray\]'"):
        to_xarray(tmp_path / "a.tif")
