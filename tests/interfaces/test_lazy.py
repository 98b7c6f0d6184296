"""Dask arrays, xarray grids and partitions: lazy in, lazy out, the same numbers."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.distributed import Client

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.interfaces.pixels import make_grid

LAT, LON = np.arange(50.0, 30.0, -2.0), np.arange(350.0, 370.0, 4.0)  # across Greenwich


@pytest.fixture(scope="module")
def model():
    return et.load_pretrained("melt")


def globe(chunks=None, **names):
    grid = xr.DataArray(np.zeros((10, 5)), {"lat": LAT, "lon": LON}, ("lat", "lon"))
    return (grid if chunks is None else grid.chunk(chunks)).rename(names)


def plain(model):
    """Return the embedding (256, 10, 5) of that grid, place by place."""
    lon, lat = np.meshgrid((LON + 180) % 360 - 180, LAT)
    z = model.embed(np.column_stack([lon.ravel(), lat.ravel()]))
    return z.T.reshape(-1, 10, 5)


def test_a_dask_array_stays_lazy_and_keeps_its_chunks(model):
    places = sample_sphere(100, np.random.default_rng(0))
    z = model.embed(da.from_array(places, chunks=(30, 1)))
    assert z.chunks == ((30, 30, 30, 10), (256,))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.compute(), model.embed(places), atol=1e-5)


@pytest.mark.parametrize(
    "grid",
    [
        globe(),
        globe({"lat": 4, "lon": 3}),
        globe({"lat": 4}, lat="latitude", lon="longitude"),
        globe({"lat": 4}).to_dataset(name="rain"),
        globe({"lat": 4}).expand_dims(time=3),
        xr.Dataset(coords={"lat": LAT, "lon": LON}),
    ],
    ids=["in memory", "chunked", "long names", "dataset", "time", "coordinates alone"],
)
def test_a_grid_of_degrees_gives_bands_over_its_places(model, grid):
    z = model.embed(grid)
    assert z.sizes[z.dims[0]] == 256
    assert z.shape == (256, 10, 5)
    assert z.name == "embedding"
    assert z.band.values[[0, -1]].tolist() == ["e000", "e255"]
    assert {k: v for k, v in z.chunksizes.items() if k != "band"} == {
        k: v for k, v in grid.chunksizes.items() if k != "time"
    }
    np.testing.assert_allclose(z.values, plain(model), atol=1e-5)


def test_points_of_a_dataset_have_one_dimension(model):
    places = sample_sphere(7, np.random.default_rng(0))
    stations = xr.Dataset({"lon": ("station", places[:, 0]), "lat": ("station", places[:, 1])})
    z = model.embed(stations)
    assert z.dims == ("band", "station")
    np.testing.assert_allclose(z.values.T, model.embed(places), atol=1e-5)
    labelled = xr.DataArray(places, dims=("station", "axis"))
    np.testing.assert_array_equal(model.embed(labelled), model.embed(places))


def test_a_raster_in_another_projection_is_reprojected(model):
    pixels = make_grid((-1.8e7, -9e6, 1.8e7, 9e6), 2e6, "EPSG:8857")
    height, width = pixels.shape
    x = pixels.left + (np.arange(width) + 0.5) * 2e6
    y = pixels.top - (np.arange(height) + 0.5) * 2e6
    raster = xr.DataArray(np.zeros(pixels.shape), {"y": y, "x": x}, ("y", "x"))
    with pytest.raises(ValueError, match=r"have no CRS.*rio\.write_crs"):
        model.embed(raster)
    places = pixels.lonlat()
    known = np.isfinite(places).all(axis=1).reshape(pixels.shape)
    z = model.embed(raster.rio.write_crs(8857).chunk(4)).values
    assert 0 < known.mean() < 1
    np.testing.assert_array_equal(np.isfinite(z).all(axis=0), known)
    expected = model.embed(places[known.ravel()])
    np.testing.assert_allclose(z[:, known].T, expected, atol=1e-5)


def test_coordinates_without_a_usual_name_are_refused(model):
    with pytest.raises(ValueError, match="usual name of a longitude"):
        model.embed(xr.Dataset(coords={"a": [1.0], "b": [2.0]}))


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (0.0, 541.0), (-90.5, 0.0)])
def test_degrees_out_of_range_are_refused(model, lat, lon):
    with pytest.raises(ValueError, match="latitudes must lie within 90 and"):
        model.embed(xr.Dataset(coords={"lat": [10.0, lat], "lon": [10.0, lon]}))


def test_joined_encoders_take_lazy_arrays_too():
    joined = et.load_pretrained("melt3")
    z = joined.embed(globe({"lat": 4}))
    np.testing.assert_allclose(z.values, plain(joined), atol=1e-5)


def test_partitions_are_embedded_on_a_cluster(model):
    places = sample_sphere(50, np.random.default_rng(0))
    frame = pd.DataFrame({"name": range(50), "lon": places[:, 0], "lat": places[:, 1]})
    lazy = et.embed_table(dd.from_pandas(frame, npartitions=3), "melt")
    assert lazy.npartitions == 3
    assert lazy.columns[[0, 3, -1]].tolist() == ["name", "e000", "e255"]
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None):
        found = lazy.compute()
        z = model.embed(globe({"lat": 4})).compute()
    pd.testing.assert_frame_equal(found, et.embed_table(frame, model), atol=1e-5)
    np.testing.assert_allclose(z, plain(model), atol=1e-5)
