"""The embedded sample: real rasters and tables that travel with the package, checked by hash.

What each file is, its source, licence and known faults: the data cards in the book.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coords import Array, as_lonlat, sample_sphere
from .storage import data_folder, sha256

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

PATCH_KM = 111.0  # side of an image patch on the ground: one degree of latitude
SOUTHERN_LIMIT = -60.0  # Antarctica has no names, no lights and one climate: it is left out


def folder() -> Path:
    """Return the folder of the sample."""
    return data_folder("sample")


@functools.cache
def _manifest(root: Path) -> dict[str, Any]:
    path = root / "manifest.json"
    if not path.is_file():
        raise ValueError(f"the embedded sample is missing: no {path}; reinstall the package")
    try:
        return json.loads(path.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is truncated or altered: {error}") from error


@functools.cache
def _checked(root: Path, name: str) -> Path:
    """Return the path of a file of the sample after comparing its hash with the manifest."""
    manifest, path = _manifest(root), root / name
    if name not in manifest:
        raise ValueError(f"{root / 'manifest.json'} does not list {name}: reinstall the package")
    entry = manifest[name]
    if not path.is_file():
        raise ValueError(f"{path} is missing from the embedded sample; reinstall the package")
    data = path.read_bytes()
    if len(data) != entry["bytes"]:
        raise ValueError(
            f"{path} is truncated or altered: {len(data)} bytes, expected {entry['bytes']}"
        )
    if sha256(data) != entry["sha256"]:
        raise ValueError(f"{path} is altered: its SHA-256 is not the one in manifest.json")
    return path


@dataclass(frozen=True, eq=False)
class Raster:
    """A global raster in degrees, north up, that starts at (-180, 90).

    Attributes
    ----------
    values : array, shape (bands, height, width)
    nodata : int or None
    tags : dict
    """

    values: NDArray[Any]
    nodata: float | None
    tags: dict[str, str]

    @property
    def spacing_deg(self) -> float:
        """Side of a pixel in degrees."""
        return 180.0 / self.values.shape[1]

    def at(self, lonlat: ArrayLike) -> NDArray[Any]:
        """Return the values (N, bands) of the pixels that hold the places."""
        row, column = self._pixel(as_lonlat(lonlat))
        return self.values[:, row, column].T

    def _pixel(self, places: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        height, width = self.values.shape[1:]
        row = np.floor((90.0 - places[..., 1]) / self.spacing_deg).astype(np.int64)
        column = np.floor((places[..., 0] + 180.0) / self.spacing_deg).astype(np.int64)
        return np.clip(row, 0, height - 1), column % width  # the date line wraps

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
        grid = np.empty((len(places), size, size, 2))
        grid[..., 0] = (places[:, 0, None] + offset * stretch[:, None])[:, None, :]
        grid[..., 1] = (places[:, 1, None] - offset)[:, :, None]
        row, column = self._pixel(grid)
        return np.moveaxis(self.values[:, row, column], 0, 1)


@functools.cache
def raster(name: str) -> Raster:
    """Read a raster of the sample: "satellite", "lights", "elevation" or "climate"."""
    import rasterio

    if name not in ("satellite", "lights", "elevation", "climate"):
        raise ValueError(
            f"unknown raster {name!r}: expected 'satellite', 'lights', 'elevation' or 'climate'"
        )
    with rasterio.open(_checked(folder(), f"{name}.tif")) as file:
        return Raster(file.read(), file.nodata, file.tags())


@functools.cache
def places() -> "pd.DataFrame":
    """Read the gazetteer: name, country (ISO alpha-2), population, lon, lat; largest first."""
    import pandas as pd

    frame = pd.read_parquet(_checked(folder(), "places.parquet"))
    return frame.sort_values("population", ascending=False, kind="stable", ignore_index=True)


@functools.cache
def countries() -> "gpd.GeoDataFrame":
    """Read the countries at 1:50 million: iso_n3, iso_a2, name, continent, geometry."""
    import geopandas as gpd

    return gpd.read_file(_checked(folder(), "countries.fgb"))


@functools.cache
def land() -> "gpd.GeoDataFrame":
    """Read the land at 1:110 million, the background of the maps."""
    import geopandas as gpd

    return gpd.read_file(_checked(folder(), "land.fgb"))


def is_land(lonlat: ArrayLike) -> NDArray[np.bool_]:
    """Tell which places are land with a known elevation and climate, Antarctica left out."""
    points = as_lonlat(lonlat)
    on_land = points[:, 1] > SOUTHERN_LIMIT
    for name in ("elevation", "climate"):
        on_land &= raster(name).at(points)[:, 0] != raster(name).nodata
    return on_land


def sample_land(n: int, rng: np.random.Generator) -> Array:
    """Draw n places on land, uniformly by area.

    Returns
    -------
    array, shape (n, 2), degrees
    """
    if n < 1:
        raise ValueError(f"the number of places must be at least 1, got {n}")
    found = np.empty((0, 2))
    while len(found) < n:
        # Blocks of a fixed size: the first places do not depend on how many are asked for.
        drawn = sample_sphere(50_000, rng)
        found = np.concatenate([found, drawn[is_land(drawn)]])
    return found[:n]
