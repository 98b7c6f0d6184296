"""Regular grids of pixels in any coordinate reference system, and their centres as places."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..coords import Array

if TYPE_CHECKING:
    from rasterio.windows import Window

Bounds = tuple[float, float, float, float]
NEAR = 1.0  # unit of a CRS: a place is mapped back to where it was
WORLD: Bounds = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class PixelGrid:
    """Pixels of a region, rows from the top.

    Attributes
    ----------
    left, top : float
        Corner of the first pixel, in units of the CRS.
    step : (float, float)
        Width and height of a pixel.
    shape : (int, int)
        Rows and columns.
    crs : rasterio.crs.CRS
    """

    left: float
    top: float
    step: tuple[float, float]
    shape: tuple[int, int]
    crs: Any

    def profile(self, count: int, tile: int = 256) -> dict[str, Any]:
        """Return rasterio's settings of a tiled GeoTIFF with ``count`` bands of float32."""
        from rasterio.transform import from_origin

        return {
            "driver": "GTiff",
            "height": self.shape[0],
            "width": self.shape[1],
            "count": count,
            "dtype": "float32",
            "nodata": np.nan,
            "crs": self.crs,
            "transform": from_origin(self.left, self.top, *self.step),
            "tiled": True,
            "blockxsize": tile,
            "blockysize": tile,
            "BIGTIFF": "IF_SAFER",
        }

    def lonlat(self, window: "Window | None" = None) -> Array:
        """Return the centres (H W, 2) of all pixels or a window's; NaN where there is no place."""
        from rasterio.windows import Window

        part = Window(0, 0, self.shape[1], self.shape[0]) if window is None else window
        x = self.left + (part.col_off + np.arange(part.width) + 0.5) * self.step[0]
        y = self.top - (part.row_off + np.arange(part.height) + 0.5) * self.step[1]
        across, down = np.meshgrid(x, y)
        return degrees_of(across.ravel(), down.ravel(), self.crs)


def degrees_of(x: NDArray[Any], y: NDArray[Any], crs: Any) -> Array:
    """Reproject map coordinates (N,) to places (N, 2); NaN where there is no place."""
    import pyproj

    if crs.is_geographic:
        x = np.where(np.abs(x) > 180, (x + 180) % 360 - 180, x)  # across the date line
    change = pyproj.Transformer.from_crs(crs.to_wkt(), 4326, always_xy=True)
    places = np.column_stack(change.transform(x, y))
    if not crs.is_geographic:
        # Some projections return a place even for the empty corners of a world map.
        back = change.transform(places[:, 0], places[:, 1], direction="INVERSE")
        with np.errstate(invalid="ignore"):
            places[~(np.abs(np.subtract(back, (x, y))) < NEAR).all(axis=0)] = np.nan
    places[~(np.abs(places) <= (180.0, 90.0)).all(axis=1)] = np.nan
    return places


def tiles(shape: tuple[int, int], side: int) -> "Iterator[Window]":
    """Yield the square tiles of a raster (rows, columns), row by row."""
    from rasterio.windows import Window

    height, width = shape
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield Window(column, row, min(side, width - column), min(side, height - row))


def make_grid(
    bounds: Sequence[float] = WORLD,
    resolution: float | Sequence[float] = 1.0,
    crs: Any = "EPSG:4326",
) -> PixelGrid:
    """Describe a grid by its bounds, the size of a pixel and a CRS.

    Parameters
    ----------
    bounds, resolution, crs
        As for :func:`~earthtie_lite.interfaces.grid.embed_grid`.

    Raises
    ------
    ValueError
        If one of these is invalid.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        known = CRS.from_user_input(int(crs) if str(crs).isdigit() else crs)
    except CRSError as error:
        raise ValueError(
            f"expected a CRS, for example 'EPSG:4326', got {crs!r}: {error}"
        ) from error
    if not known.is_geographic and tuple(bounds) == WORLD:
        raise ValueError(f"{known} is not in degrees: give bounds and resolution in its own units")
    try:
        left, bottom, right, top = np.asarray(bounds, dtype=np.float64).tolist()
        across, down = np.broadcast_to(np.asarray(resolution, dtype=np.float64), 2).tolist()
    except (TypeError, ValueError) as error:
        raise ValueError(
            "bounds must be (left, bottom, right, top) and resolution a number or (width, height), "
            f"in units of the CRS, got {bounds!r} and {resolution!r}"
        ) from error
    if not (0 < across < np.inf and 0 < down < np.inf):
        raise ValueError(f"resolution must be positive, in units of the CRS, got {resolution!r}")
    if not (-np.inf < left < right < np.inf and -np.inf < bottom < top < np.inf):
        turned = known.is_geographic and left > right
        hint = f"; across the date line it is right={right + 360:g}" if turned else ""
        raise ValueError(
            "bounds must be (left, bottom, right, top) with left < right and bottom < top, got "
            f"{bounds!r}{hint}"
        )
    if known.is_geographic and (right - left > 360 or bottom < -90 or top > 90):
        raise ValueError(
            f"bounds in degrees must span at most 360 and stay within the poles, got {bounds!r}; "
            "for metres name their crs="
        )
    shape = math.ceil((top - bottom) / down - 1e-6), math.ceil((right - left) / across - 1e-6)
    return PixelGrid(left, top, (across, down), shape, known)
