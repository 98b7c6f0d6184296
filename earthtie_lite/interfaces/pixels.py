"""Regular grids of pixels in any coordinate reference system, and the places of their centres."""

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

    def lonlat(self, window: "Window | None" = None) -> Array:
        """Return the centres (H W, 2) of all pixels or a window's; NaN where there is no place."""
        import pyproj
        from rasterio.windows import Window

        part = Window(0, 0, self.shape[1], self.shape[0]) if window is None else window
        x = self.left + (part.col_off + np.arange(part.width) + 0.5) * self.step[0]
        y = self.top - (part.row_off + np.arange(part.height) + 0.5) * self.step[1]
        if self.crs.is_geographic:
            x = np.where(np.abs(x) > 180, (x + 180) % 360 - 180, x)  # across the date line
        mesh = np.stack([axis.ravel() for axis in np.meshgrid(x, y)])
        places = mesh.T.copy()
        if self.crs.to_epsg() != 4326:
            change = pyproj.Transformer.from_crs(self.crs.to_wkt(), 4326, always_xy=True)
            places = np.stack(change.transform(*mesh), axis=1)
            if not self.crs.is_geographic:
                # In the corners of a world map is no place, yet some projections name one.
                back = np.stack(change.transform(places[:, 0], places[:, 1], direction="INVERSE"))
                with np.errstate(invalid="ignore"):
                    near = np.abs(back - mesh) < np.array(self.step)[:, np.newaxis] / 10
                places[~near.all(axis=0)] = np.nan
        places[~(np.abs(places) <= (180.0, 90.0)).all(axis=1)] = np.nan
        return places


def tiles(shape: tuple[int, int], side: int) -> "Iterator[Window]":
    """Yield the tiles of a raster of so many rows and columns, row by row."""
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
        As :func:`~earthtie_lite.interfaces.grid.embed_grid` takes them.

    Raises
    ------
    ValueError
        If one of these is not understood.
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
    step, edges = np.asarray(resolution), np.asarray(bounds)
    if step.shape not in ((), (2,)) or not _finite(step) or not (step > 0).all():
        raise ValueError(
            "resolution must be positive, one number or (width, height) in units of the CRS, got "
            f"{resolution!r}"
        )
    if edges.shape != (4,) or not _finite(edges):
        raise ValueError(f"bounds must be (left, bottom, right, top), got {bounds!r}")
    left, bottom, right, top = edges.astype(float).tolist()
    if left >= right or bottom >= top:
        hint = ""
        if known.is_geographic and bottom < top:
            hint = f"; across the date line it is right={right + 360:g}"
        raise ValueError(
            f"bounds must be (left, bottom, right, top) with left < right and bottom < top, got "
            f"{tuple(edges.tolist())}{hint}"
        )
    if known.is_geographic and (right - left > 360 or bottom < -90 or top > 90):
        raise ValueError(
            f"bounds in degrees must span at most 360 and stay within the poles, got "
            f"{tuple(edges.tolist())}; for metres name their crs="
        )
    across, down = np.broadcast_to(step, (2,)).astype(float).tolist()
    shape = math.ceil((top - bottom) / down - 1e-6), math.ceil((right - left) / across - 1e-6)
    return PixelGrid(left, top, (across, down), shape, known)


def _finite(numbers: NDArray[Any]) -> bool:
    """Tell whether an array holds finite numbers only."""
    return numbers.dtype.kind in "iuf" and bool(np.isfinite(numbers).all())


def grid_lonlat(
    bounds: Sequence[float] = WORLD,
    resolution: float | Sequence[float] = 1.0,
    crs: Any = "EPSG:4326",
) -> tuple[Array, tuple[int, int]]:
    """Return the pixel centres of a grid.

    Parameters
    ----------
    bounds, resolution, crs
        As :func:`make_grid` takes them.

    Returns
    -------
    lonlat, shape : array (H W, 2), degrees, and (H, W)
        Row by row from the top; NaN where a pixel is no place, as in the corners of a world map.

    Examples
    --------
    >>> lonlat, shape = grid_lonlat((10, 45, 12, 46))
    >>> lonlat.tolist(), shape
    ([[10.5, 45.5], [11.5, 45.5]], (1, 2))
    """
    grid = make_grid(bounds, resolution, crs)
    return grid.lonlat(), grid.shape
