"""Elevation at places, from the terrain tiles that the paper uses, in a folder of the user."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..coords import Array, as_lonlat
from .files import existing

MERCATOR_LIMIT_DEG = float(np.degrees(np.arctan(np.sinh(np.pi))))  # 85.0511: the map is a square
NO_DATA_M = -32768.0  # in both formats; black in a PNG


def elevation(folder: str | Path, lonlat: ArrayLike, zoom: int | None = None) -> Array:
    """Read the elevation of places from terrain tiles in Web Mercator.

    Each place has the value of the pixel that holds it. The tiles cover the sea too: there the
    value is the sea floor's, below zero, and it is kept.

    Parameters
    ----------
    folder : str or Path
        Holds ``{zoom}/{x}/{y}.tif`` (Mapzen's geotiff tiles: one band of metres) or
        ``{zoom}/{x}/{y}.png`` (terrarium: red * 256 + green + blue / 256 - 32768 metres).
    lonlat : array, shape (N, 2), degrees
    zoom : int, optional
        Level of the tiles; the deepest in the folder if not given. A pixel of a terrarium
        tile measures 156,543 m / 2^zoom at the equator, one of a geotiff tile half of that.

    Returns
    -------
    array, shape (N,), float64
        Metres; NaN where there is no tile, where a tile has no data, and beyond 85.0511 degrees
        north or south, where Web Mercator ends.

    Raises
    ------
    ValueError
        If the folder has no such level, or a tile is damaged or of another format.

    References
    ----------
    https://github.com/tilezen/joerd/blob/master/docs/formats.md
    """
    places = as_lonlat(lonlat)
    folder = existing(folder, "a folder of terrain tiles, {zoom}/{x}/{y}.tif or .png")
    zoom = _level(folder, zoom)
    lon, lat = places.T
    inside = np.abs(lat) <= MERCATOR_LIMIT_DEG
    mercator = np.arcsinh(np.tan(np.radians(np.where(inside, lat, 0.0)))) / np.pi  # in [-1, 1]
    # From the north-west corner, in tiles; +180 and -180 degrees are one meridian.
    place = np.stack([(lon + 180.0) / 360.0 % 1.0, (1.0 - mercator) / 2.0], axis=1) * 2.0**zoom
    tile = np.clip(np.floor(place), 0, 2**zoom - 1).astype(np.int64)

    found = np.full(len(places), np.nan)
    used, which = np.unique(tile, axis=0, return_inverse=True)
    for number, (x, y) in enumerate(used):
        rows = np.flatnonzero((which.ravel() == number) & inside)
        metres = _tile(folder / str(zoom) / str(x), str(y)) if len(rows) else None
        if metres is not None:
            within = np.clip((place[rows] - tile[rows]) * len(metres), 0, len(metres) - 1)
            column, row = within.astype(np.int64).T
            found[rows] = metres[row, column]
    return found


def _level(folder: Path, zoom: int | None) -> int:
    """Return the level to read: the one asked for, or the deepest."""
    levels = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
    if not levels or (zoom is not None and zoom not in levels):
        asked = "{zoom}/{x}/{y}.tif or .png" if zoom is None else f"of zoom {zoom!r}"
        raise ValueError(f"expected terrain tiles {asked} in {folder}, it has the levels {levels}")
    return levels[-1] if zoom is None else int(zoom)


def _tile(column: Path, y: str) -> Array | None:
    """Read a tile as metres (S, S), NaN without data; None where there is no tile."""
    for suffix, read in ((".tif", _geotiff), (".png", _terrarium)):
        path = column / (y + suffix)
        if path.is_file():
            try:
                metres = read(path)
            except OSError as error:
                raise ValueError(
                    f"{path} is no tile or is damaged: {error}; download it again"
                ) from error
            if metres is None or metres.shape[0] != metres.shape[1]:
                raise ValueError(
                    f"expected a square tile, of one band (.tif) or of red, green and blue (.png): "
                    f"{path} is none; take Mapzen's geotiff or terrarium tiles"
                )
            metres[~np.isfinite(metres) | (metres <= NO_DATA_M)] = np.nan
            return metres
    return None


def _geotiff(path: Path) -> Array | None:
    """Read the one band of a tile, None if there are more."""
    import rasterio

    with rasterio.open(path) as file:
        if file.count != 1:
            return None
        metres: Array = file.read(1).astype(np.float64)
        metres[metres == file.nodata] = np.nan
        return metres


def _terrarium(path: Path) -> Array | None:
    """Decode the colours of a tile, None if there are none."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode not in ("RGB", "RGBA"):
            return None
        red, green, blue, *_ = np.moveaxis(np.asarray(image, dtype=np.float64), 2, 0)
        return red * 256.0 + green + blue / 256.0 + NO_DATA_M
