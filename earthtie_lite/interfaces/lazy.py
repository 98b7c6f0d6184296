"""Embeddings of arrays larger than memory, chunk by chunk: dask arrays, xarray grids and points."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..features import Features
from ..frames import PLANE, coordinate_columns
from .pixels import change_of, degrees_of
from .tables import Embeds, column_names, embed_places

if TYPE_CHECKING:
    import xarray


def embed_lazy(model: Embeds, places: Any) -> Any:
    """Embed the places of a dask or xarray object; what is lazy stays lazy.

    Parameters
    ----------
    model : object with a method ``embed``
    places : dask array, shape (N, 2), or xarray DataArray or Dataset
        Of an xarray object the coordinates are used: longitude and latitude under a usual name, in
        degrees (0 to 360 is accepted), or x and y of a raster with a CRS (``object.rio.crs``).
        Its dimensions may be points or a grid, its values do not matter.

    Returns
    -------
    dask array, shape (N, D), or DataArray with the dimension ``band`` first
        float32, in the chunks of ``places``. Pixels that are not a place, as in the corners of a
        world map, are NaN.

    Raises
    ------
    ValueError
        If no coordinates are found, x and y have no CRS, or a coordinate in degrees is out of range
        (for a lazy object when it is computed).

    Examples
    --------
    >>> import earthtie_lite as et
    >>> import xarray as xr
    >>> europe = xr.Dataset(coords={"lat": [50.0, 40.0], "lon": [0.0, 10.0, 20.0]})
    >>> et.load_pretrained("melt").embed(europe).sizes
    Frozen({'band': 256, 'lat': 2, 'lon': 3})
    """
    width = embed_places(model, np.zeros((1, 2))).shape[1]
    if not hasattr(places, "coords"):
        rows = places.rechunk({1: -1})
        chunks = (rows.chunks[0], (width,))
        embed = getattr(model, "embed_places", model.embed)
        return rows.map_blocks(embed, chunks=chunks, dtype=np.float32)
    try:
        names = coordinate_columns([*places.coords, *getattr(places, "data_vars", ())])
    except ValueError:
        if getattr(places, "shape", ())[1:] != (2,):
            raise
        labels = list(places.indexes.get(places.dims[1], (0, 1)))  # an array (N, 2) with labels
        return model.embed(places[:, [labels.index(c) for c in coordinate_columns(labels)]].data)
    return _embed_coordinates(model, places, names, width)


def _embed_coordinates(
    model: Embeds, places: Any, names: tuple[Any, Any], width: int
) -> "xarray.DataArray":
    """Embed the places whose longitude and latitude are the named variables."""
    import rioxarray  # noqa: F401  (registers .rio)
    import xarray
    from rasterio.crs import CRS

    plane = str(names[0]).lower() in PLANE[0]
    crs = places.rio.crs if plane else CRS.from_epsg(4326)
    if crs is None:
        raise ValueError(f"{names} have no CRS, so their units are unknown: rio.write_crs sets it")
    x, y = xarray.broadcast(*(places[name].reset_coords(drop=True) for name in names))
    order = [dim for dim in places.sizes if dim in x.dims]
    x, y = x.transpose(*order), y.transpose(*order)
    if chunks := {dim: sizes for dim, sizes in places.chunksizes.items() if dim in order}:
        x, y = x.chunk(chunks), y.chunk(chunks)
    z = xarray.apply_ufunc(
        functools.partial(_embed_chunk, model, crs),
        x,
        y,
        output_core_dims=[["band"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"band": width}},
    )
    return z.transpose("band", ...).assign_coords(band=column_names(width)).rename("embedding")


def _embed_chunk(model: Embeds, crs: Any, x: NDArray[Any], y: NDArray[Any]) -> Features:
    """Embed the places of coordinates of any shape (...): (..., D), NaN where there is none."""
    _, turn = change_of(crs)  # a full circle in the units of the CRS, 0 if it is projected
    if turn and ((np.abs(y) > turn / 4 + 1e-6) | (np.abs(x) > 1.5 * turn)).any():
        raise ValueError(
            f"latitudes must lie within {turn / 4:g} and longitudes within {1.5 * turn:g} units"
        )
    z = embed_places(model, degrees_of(x.ravel(), y.ravel(), crs))
    return z.reshape(*x.shape, z.shape[1])
