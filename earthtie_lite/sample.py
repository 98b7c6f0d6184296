"""The embedded sample: real rasters and tables shipped with the package, checked by hash.

The data cards in the book describe the content, source, licence and known errors of each file.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import check_integer, check_option
from .coords import Array, as_lonlat, sample_sphere
from .files import shipped, shipped_folder

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

PATCH_KM = 111.0  # side of an image patch on the ground: one degree of latitude
SOUTHERN_LIMIT = -60.0  # Antarctica is left out: no names, no lights, a single climate
RASTERS = ("satellite", "lights", "elevation", "climate", "landcover", "weather", "turbidity")
KNOWN = ("elevation", "climate")  # land is where these rasters have a value


def folder() -> Path:
    """Return the folder of the sample."""
    return shipped_folder("sample")


@dataclass(frozen=True, eq=False)
class Raster:
    """A global raster in degrees, north up, whose upper left corner is (-180, 90).

    Attributes
    ----------
    values : array, shape (bands, height, width)
    nodata : float or None
        Value of pixels without data.
    tags : dict
        Metadata of the file.
    """

    values: NDArray[Any]
    nodata: float | None
    tags: dict[str, str]

    @property
    def spacing_deg(self) -> float:
        """Side of a pixel in degrees."""
        return 180.0 / self.values.shape[1]

    def at(self, lonlat: ArrayLike) -> NDArray[Any]:
        """Return the values (N, bands) of the pixels that contain the places."""
        row, column = self._pixel(*as_lonlat(lonlat).T)
        return self.values[:, row, column].T

    def _pixel(self, lon: Array, lat: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row of each latitude and the column of each longitude."""
        height, width = self.values.shape[1:]
        row = np.floor((90.0 - lat) / self.spacing_deg).astype(np.int64)
        column = np.floor((lon + 180.0) / self.spacing_deg).astype(np.int64)
        return np.clip(row, 0, height - 1), column % width  # columns wrap at the date line

    def patches(self, lonlat: ArrayLike, size: int) -> NDArray[Any]:
        """Cut square patches of ``PATCH_KM`` on the ground, north up, around the places.

        Rows are equally spaced in latitude, columns in longitude with the spacing widened by
        1 / cos(latitude), so a patch covers the same ground at every latitude. Columns wrap at the
        date line; rows beyond a pole repeat the last one.

        Parameters
        ----------
        lonlat : array, shape (N, 2), degrees
        size : int
            Pixels on a side.

        Returns
        -------
        array, shape (N, bands, size, size)
        """
        places = as_lonlat(lonlat)
        side_deg = PATCH_KM / 111.195  # km in one degree of the mean sphere
        offset = ((np.arange(size) + 0.5) / size - 0.5) * side_deg
        stretch = 1.0 / np.maximum(np.cos(np.radians(places[:, 1])), 0.05)
        row, column = self._pixel(places[:, :1] + offset * stretch[:, None], places[:, 1:] - offset)
        return np.moveaxis(self.values[:, row[:, :, None], column[:, None, :]], 0, 1)


@functools.cache
def raster(name: str) -> Raster:
    """Read a raster of the sample.

    Parameters
    ----------
    name : {"satellite", "lights", "elevation", "climate", "landcover", "weather", "turbidity"}
        The data cards say what the bands and values mean.
    """
    import rasterio

    check_option("raster", name, RASTERS)
    with rasterio.open(shipped(folder(), f"{name}.tif")) as file:
        return Raster(file.read(), file.nodata, file.tags())


@functools.cache
def places() -> "pd.DataFrame":
    """Read the gazetteer: name, country (ISO alpha-2), population, lon, lat; largest first."""
    import pandas as pd

    frame = pd.read_parquet(shipped(folder(), "places.parquet"))
    return frame.sort_values("population", ascending=False, kind="stable", ignore_index=True)


@functools.cache
def points(name: str) -> "pd.DataFrame":
    """Read the languages (name, family, lon, lat) or the airports (iata, lon, lat)."""
    import pandas as pd

    check_option("points", name, ("languages", "airports"))
    return pd.read_parquet(shipped(folder(), f"{name}.parquet"))


@functools.cache
def countries() -> "gpd.GeoDataFrame":
    """Read the countries at 1:50 million: iso_n3, iso_a2, name, continent, geometry."""
    import geopandas as gpd

    return gpd.read_file(shipped(folder(), "countries.fgb"))


@functools.cache
def land() -> "gpd.GeoDataFrame":
    """Read the land at 1:110 million, the background of the maps."""
    import geopandas as gpd

    return gpd.read_file(shipped(folder(), "land.fgb"))


def is_land(lonlat: ArrayLike, known: Sequence[str] = KNOWN) -> NDArray[np.bool_]:
    """Return which places are land, outside Antarctica, where the rasters have a value: (N,)."""
    places = as_lonlat(lonlat)
    on_land = places[:, 1] > SOUTHERN_LIMIT
    for name in known:
        on_land &= raster(name).at(places)[:, 0] != raster(name).nodata
    return on_land


def sample_land(n: int, rng: np.random.Generator, known: Sequence[str] = KNOWN) -> Array:
    """Draw n places on land, uniformly by area, where the rasters ``known`` have a value.

    Returns
    -------
    array, shape (n, 2), degrees
    """
    check_integer("the number of places", n)
    found = np.empty((0, 2))
    while len(found) < n:
        # The number drawn at a time is fixed, so the first places do not depend on n.
        drawn = sample_sphere(50_000, rng)
        found = np.concatenate([found, drawn[is_land(drawn, known)]])
    return found[:n]
