"""Regular grids of pixels in any coordinate reference system, and their centres as places."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..config import warn
from ..coords import LIMITS, Array, snapped

if TYPE_CHECKING:
    import pyproj
    from rasterio.windows import Window

Bounds = tuple[float, float, float, float]
NEAR = 1.0  # unit of a CRS: a place is mapped back to where it was
ROUNDING = 1e-6  # of pixels and of degrees
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

        height, width = self.shape
        kind = {"driver": "GTiff", "dtype": "float32", "nodata": np.nan, "BIGTIFF": "IF_SAFER"}
        layout = {"tiled": True, "blockxsize": tile, "blockysize": tile}
        place = {"crs": self.crs, "transform": from_origin(self.left, self.top, *self.step)}
        return {"height": height, "width": width, "count": count, **kind, **layout, **place}

    def lonlat(self, window: "Window | None" = None) -> Array:
        """Return the centres (H W, 2) of all pixels or a window's; NaN where there is no place."""
        from rasterio.windows import Window

        part = Window(0, 0, self.shape[1], self.shape[0]) if window is None else window
        x = self.left + (part.col_off + np.arange(part.width) + 0.5) * self.step[0]
        y = self.top - (part.row_off + np.arange(part.height) + 0.5) * self.step[1]
        across, down = np.meshgrid(x, y)
        return degrees_of(across.ravel(), down.ravel(), self.crs)


def degrees_of(x: NDArray[Any], y: NDArray[Any], crs: Any) -> Array:
    """Reproject map coordinates (N,) to places (N, 2); NaN where there is no place.

    Raises
    ------
    ValueError
        As for :func:`change_of`.
    """
    change, turn = change_of(crs)
    if turn:
        x = np.where(np.abs(x) > turn / 2, (x + turn / 2) % turn - turn / 2, x)
        # PROJ knows no place a hair beyond a pole.
        y = np.where(np.abs(np.abs(y) - turn / 4) < ROUNDING, np.copysign(turn / 4, y), y)
    places = snapped(np.column_stack(change.transform(x, y)))
    if not turn:
        # Some projections return a place even for the empty corners of a world map.
        back = change.transform(places[:, 0], places[:, 1], direction="INVERSE")
        with np.errstate(invalid="ignore"):
            places[~(np.abs(np.subtract(back, (x, y))) < NEAR).all(axis=0)] = np.nan
    places[~(np.abs(places) <= LIMITS).all(axis=1)] = np.nan
    return places


def change_of(crs: Any) -> "tuple[pyproj.Transformer, float]":
    """Return the change of a CRS to longitude and latitude, and a full circle in its units.

    Parameters
    ----------
    crs : rasterio.crs.CRS

    Returns
    -------
    (pyproj.Transformer, float)
        The circle is 360 for degrees, 400 for grads, 0 for a projected CRS.

    Raises
    ------
    ValueError
        If the CRS is neither geographic nor projected, of another body than the Earth, or unknown
        to PROJ.
    """
    import pyproj

    known = pyproj.CRS.from_wkt(crs.to_wkt())
    if known.is_geographic or known.is_projected:
        with contextlib.suppress(pyproj.exceptions.ProjError):  # as of another body
            turn = round(2 * np.pi / crs.units_factor[1], 6) if known.is_geographic else 0.0
            return pyproj.Transformer.from_crs(known, 4326, always_xy=True), turn
    code = ":".join(crs.to_authority() or ("no code",))
    raise ValueError(
        f"{known.name} ({code}, {known.type_name}) cannot be turned into longitude and latitude: "
        "expected a geographic or projected CRS of the Earth, for example EPSG:4326"
    )


def tiles(shape: tuple[int, int], side: int) -> "Iterator[Window]":
    """Yield the square tiles of a raster (rows, columns), row by row."""
    from rasterio.windows import Window

    for row, column in itertools.product(*(range(0, size, side) for size in shape)):
        yield Window(column, row, min(side, shape[1] - column), min(side, shape[0] - row))


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
        If one of these is invalid, or the CRS is not a map of the Earth.

    Warns
    -----
    UserWarning
        If the bounds in a projected CRS look like degrees.
    """
    from rasterio.crs import CRS

    try:
        known = CRS.from_user_input(int(crs) if str(crs).isdigit() else crs or "")
    except ValueError as error:
        raise ValueError(
            f"expected a CRS, for example 'EPSG:4326', got {crs!r}: {error}"
        ) from error
    _, turn = change_of(known)
    try:
        corners = np.asarray(bounds, dtype=np.float64).reshape(2, 2)
        step = np.broadcast_to(np.abs(np.asarray(resolution, dtype=np.float64)), 2)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "bounds must be (left, bottom, right, top) and resolution a number or (width, height), "
            f"in units of the CRS, got {bounds!r} and {resolution!r}"
        ) from error
    (left, bottom), (right, top) = corners.tolist()
    if turn != 360 and (left, bottom, right, top) == WORLD:
        raise ValueError(f"{known} is not in degrees: give bounds and resolution in its own units")
    if not (-np.inf < left < right < np.inf and -np.inf < bottom < top < np.inf):
        hint = f"; across the date line it is right={right + turn:g}" * (turn > 0 and right < left)
        raise ValueError(
            "bounds must be (left, bottom, right, top) with left < right and bottom < top, got "
            f"{bounds!r}{hint}"
        )
    size, furthest = corners[1] - corners[0], np.abs(corners).max(axis=0)
    if not ((step > size / 2**31) & (step < np.inf)).all():
        raise ValueError(f"resolution must be positive (under 2**31 columns), got {resolution!r}")
    limits = np.array([1.5, 0.25]) * turn + step / 2 + ROUNDING
    if turn and (size[0] > turn + step[0] + ROUNDING or (furthest > limits).any()):
        raise ValueError(
            f"bounds of a geographic CRS must span at most {turn:g}, from {-1.5 * turn:g} to "
            f"{1.5 * turn:g}, and stay within the poles, half a pixel aside, got {bounds!r}; "
            "for metres name their CRS (crs)"
        )
    if not turn and (furthest <= LIMITS).all():
        warn(
            f"the bounds lie within 180 by 90 units of {known}, whose unit is "
            f"{known.units_factor[0]}: if these are degrees, name a CRS in degrees (crs: EPSG:4326)"
        )
    width, height = np.ceil(size / step - ROUNDING).clip(1).astype(int).tolist()
    return PixelGrid(left, top, (float(step[0]), float(step[1])), (height, width), known)
