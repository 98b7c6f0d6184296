"""Elevation at places, from the terrain tiles that the paper uses, in a folder of the user."""

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import ArrayLike
from PIL import Image

from ..coords import Array, as_lonlat
from .files import existing, reading

NO_DATA_M = -32768.0  # in both formats; black in a PNG


def elevation(folder: str | Path, lonlat: ArrayLike) -> Array:
    """Read the elevation of places from terrain tiles in Web Mercator.

    Each place has the value of the pixel that holds it. The tiles cover the sea too: there the
    value is the sea floor's, below zero, and it is kept.

    Parameters
    ----------
    folder : str or Path
        Holds ``{zoom}/{x}/{y}.tif`` (Mapzen's geotiff tiles: one band of metres) or
        ``{zoom}/{x}/{y}.png`` (terrarium: red * 256 + green + blue / 256 - 32768 metres). The
        deepest zoom is read. A pixel of a terrarium tile measures 156,543 m / 2^zoom at the
        equator, one of a geotiff tile half of that.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    array, shape (N,), float64
        Metres; NaN where there is no tile, where a tile has no data, and beyond 85.0511 degrees
        north or south, where Web Mercator ends.

    Raises
    ------
    ValueError
        If the folder has no tiles, or a tile is damaged or of another format.

    References
    ----------
    https://github.com/tilezen/joerd/blob/master/docs/formats.md
    """
    lon, lat = as_lonlat(lonlat).T
    folder = existing(folder, "a folder of terrain tiles, {zoom}/{x}/{y}.tif or .png")
    zoom = max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=-1)
    if zoom < 0:
        raise ValueError(f"expected terrain tiles {{zoom}}/{{x}}/{{y}}.tif or .png in {folder}")
    # From the north-west corner, in tiles; +180 and -180 degrees are one meridian.
    east = (lon + 180.0) / 360.0 % 1.0 * 2.0**zoom
    south = (1.0 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2.0 * 2.0**zoom
    found = np.full(len(lon), np.nan)
    tiles = [f"{x:.0f}/{y:.0f}" for x, y in zip(east // 1, south // 1)]
    for tile, rows in pd.Series(tiles).groupby(tiles).indices.items():
        for suffix in (".png", ".tif"):
            path = folder / f"{zoom}/{tile}{suffix}"
            if path.is_file():
                metres = _tile(path)
                row = (south[rows] % 1.0 * metres.shape[0]).astype(np.int64)
                column = (east[rows] % 1.0 * metres.shape[1]).astype(np.int64)
                found[rows] = metres[row, column]
    return found


def _tile(path: Path) -> Array:
    """Read a tile as metres (H, W), NaN without data."""
    what = "a terrain tile: one band of metres (.tif), or red, green and blue (.png)"
    with reading(path, what):
        if path.suffix == ".png":  # GDAL does not notice when a PNG is cut short
            with Image.open(path) as image:
                red, green, blue = (np.asarray(image.getchannel(c), dtype=float) for c in "RGB")
            metres, nodata = red * 256.0 + green + blue / 256.0 + NO_DATA_M, None
        else:
            with rasterio.open(path) as file:
                (metres,), nodata = file.read().astype(float), file.nodata
    metres[(metres == nodata) | ~np.isfinite(metres) | (metres <= NO_DATA_M)] = np.nan
    return metres
