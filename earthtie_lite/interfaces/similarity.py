"""Maps and GeoTIFFs of the similarity between each place on land and an observation."""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import maps, sample as embedded
from ..config import warn
from ..features import Features
from ..files import write_atomic
from ..model import EarthTie
from .pixels import WORLD, Bounds, PixelGrid, make_grid, tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RASTERS, IMAGES = (".tif", ".tiff"), (".png", ".pdf", ".svg")
BOXES = ("Last Resort High-Efficiency",)  # a font that draws a box for every character
TILE = 128  # pixels on a side that are compared at a time: bounds memory, not results
SOUTH_POLE = (0.0, -90.0)  # not compared, like a pixel without a place
# Pixels: more than a figure can show; 400 MB.
MOST = dict.fromkeys(IMAGES, 2_000_000) | dict.fromkeys(RASTERS, 100_000_000)


def map_grid(path: str | Path, region: Bounds = WORLD, spacing_deg: float = 1.0) -> PixelGrid:
    """Return the grid of a map after checking that a file of this name can hold it.

    Parameters
    ----------
    path : str or Path
        Ends in .png, .pdf, .svg or .tif.
    region : (west, south, east, north)
        In degrees. A region across the date line has an east edge above 180: (170, -50, 190, -30).
    spacing_deg : float
        Side of a pixel. For the whole globe it is rounded so that it divides 180 degrees.

    Raises
    ------
    ValueError
        If the name, the region or the spacing is invalid, or there are too many pixels.

    Examples
    --------
    >>> map_grid("world.png", spacing_deg=0.7).shape
    (257, 514)
    """
    suffix = Path(path).suffix.lower()
    if suffix not in MOST:
        raise ValueError(
            f"expected a name that ends in one of {', '.join(MOST)}, got {Path(path).name!r}"
        )
    if not 0 < spacing_deg <= 30:
        raise ValueError(f"spacing_deg must lie in (0, 30], got {spacing_deg}")
    if np.ptp(region[::2]) == 360:
        spacing_deg = 180 / round(180 / spacing_deg)
    grid = make_grid(region, spacing_deg)
    height, width = grid.shape
    if height * width > MOST[suffix]:
        raise ValueError(
            f"a grid of {spacing_deg:g} degrees has {height:,} x {width:,} pixels there, more than "
            f"{MOST[suffix]:,}: raise the spacing or choose a smaller region"
            + ", or write a GeoTIFF (.tif)"
            * (suffix in IMAGES)
        )
    return grid


def similarity_grid(
    model: EarthTie,
    tied: ArrayLike,
    grid: PixelGrid,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compare the places of a grid with an embedded observation.

    Parameters
    ----------
    model : EarthTie
    tied : array, shape (1, tied_dim)
        From :meth:`~earthtie_lite.model.EarthTie.embed_modality`.
    grid : PixelGrid
    progress : callable, optional
        Called after each tile with the number of finished tiles and the total.

    Returns
    -------
    array, shape (H, W), float32
        Cosine in the tied space; NaN at sea and in Antarctica, which training never saw.

    Raises
    ------
    ValueError
        If no pixel centre is on land.
    """
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    windows = list(tiles(grid.shape, TILE))
    for done, window in enumerate(windows, 1):
        places = grid.lonlat(window)
        land = embedded.is_land(np.where(np.isnan(places), SOUTH_POLE, places))
        if land.any():
            part = values[window.toslices()]  # a view
            part[land.reshape(part.shape)] = model.similarity(places[land], tied)[:, 0]
        if progress is not None:
            progress(done, len(windows))
    if not np.isfinite(values).any():
        raise ValueError("the region has no land at this spacing: choose another one or a finer")
    return values


def write_similarity(path: str | Path, values: Features, grid: PixelGrid, title: str) -> None:
    """Write similarities (H, W) as a map or a GeoTIFF, depending on the suffix of the path."""
    path = Path(path)
    if path.suffix.lower() in RASTERS:
        write_atomic(path, _geotiff(values, grid, title))
        return
    image = io.BytesIO()
    with maps.plt.rc_context({"font.family": fonts_for(title)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # said once, by fonts_for
        figure = similarity_map(values, grid, title)
        figure.savefig(image, format=path.suffix[1:].lower(), dpi=200, bbox_inches="tight")
    maps.plt.close(figure)
    write_atomic(path, image.getvalue())


def fonts_for(text: str) -> list[str]:
    """Return matplotlib's default fonts and, if the text needs it, one with all its characters.

    Warns if no installed font has them.
    """
    from matplotlib.font_manager import FontProperties, findfont, fontManager
    from matplotlib.ft2font import FT2Font

    usual = list(maps.plt.rcParams["font.family"])
    needed = {ord(character) for character in text if not character.isspace()}
    lacking = needed - FT2Font(findfont(FontProperties())).get_charmap().keys()
    for font in fontManager.ttflist if lacking else ():
        with contextlib.suppress(OSError, RuntimeError):  # a font that cannot be read
            if font.name not in BOXES and lacking <= FT2Font(font.fname).get_charmap().keys():
                return [*usual, font.name]
    if lacking:
        warn(
            f"no installed font has the characters {''.join(map(chr, sorted(lacking)))}, which "
            "become boxes: install one, such as Noto Sans CJK"
        )
    return usual


def _geotiff(values: Features, grid: PixelGrid, title: str) -> bytes:
    """Return a GeoTIFF with one band, described by the title."""
    from rasterio.io import MemoryFile

    profile = {**grid.profile(1), "compress": "deflate", "predictor": 3}
    with MemoryFile() as file:
        with file.open(**profile) as raster:
            raster.write(values, 1)
            raster.set_band_description(1, title)
        return bytes(file.getbuffer())


def similarity_map(values: Features, grid: PixelGrid, title: str) -> "Figure":
    """Draw similarities (H, W) in the Equal Earth projection, the world or a region of it."""
    style: dict[str, Any] = {"cmap": "cividis"}
    label, title = "cosine in the tied space", title.replace("$", r"\$")
    height, width = values.shape
    if grid.left == -180 and width == 2 * height and np.isclose(width * grid.step[0], 360):
        return maps.prediction_map({title: values.astype(np.float64)}, label, **style)
    x = grid.left + np.arange(width + 1) * grid.step[0]
    middle = (x[0] + x[-1]) / 2
    x = np.clip(x - middle, -180, 180)
    y = np.clip(grid.top - np.arange(height + 1) * grid.step[1], -90, 90)
    plate = maps.ccrs.PlateCarree(central_longitude=middle)
    figure = maps.plt.figure(figsize=(8.0, 6.0), layout="constrained")
    ax: Any = figure.add_subplot(projection=maps.ccrs.EqualEarth(central_longitude=middle))
    style |= dict(zip(("vmin", "vmax"), np.nanpercentile(values, [1, 99])))
    shown = np.ma.masked_invalid(values)
    drawn = ax.pcolormesh(x, y, shown, transform=plate, rasterized=True, **style)
    outlines, lines = embedded.land().geometry, {"edgecolor": maps.LINE, "lw": 0.5, "zorder": 3}
    ax.add_geometries(outlines, maps.ccrs.PlateCarree(), facecolor="none", **lines)
    ax.set_extent((x[0], x[-1], y[-1], y[0]), crs=plate)
    ax.set_facecolor(maps.MISSING)
    ax.set_title(title, fontsize=10)
    figure.colorbar(
        drawn, ax=ax, orientation="horizontal", shrink=0.5, aspect=40, label=label, extend="both"
    )
    return figure
