"""Embeddings on a regular grid, as a Cloud-Optimised GeoTIFF."""

import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..features import Features
from ..files import check_space, sha256, to_disk, write_atomic
from .pixels import (
    WORLD,
    PixelGrid,
    grid_lonlat as grid_lonlat,  # belongs to what this file offers
    make_grid,
    tiles,
)
from .tables import Embeds, as_model, column_names, embed_places

if TYPE_CHECKING:
    import xarray
    from rasterio.windows import Window

PLACES = 2**14  # places embedded at a time: bounds memory, not results
TILES, TILE_BYTES = (512, 256, 128), 2**24  # pixels on a side; the first that is small enough
CACHE_BYTES = 2**26  # of GDAL
LOCK = "lock"
PROBES = np.array([[13.4, 52.5], [-60.0, -3.1], [151.2, -33.9], [0.0, 90.0]])  # tell models apart


def embed_grid(
    model: str | Path | Embeds,
    path: str | Path,
    bounds: Sequence[float] = WORLD,
    resolution: float | Sequence[float] = 1.0,
    crs: Any = "EPSG:4326",
    bands: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Embed the pixel centres of a grid into a Cloud-Optimised GeoTIFF; what was killed goes on.

    Tiles are embedded one after the other into a plain GeoTIFF in a hidden folder beside ``path``,
    which is as large as all pixels; the same call continues after the last finished tile, another
    model or grid starts anew. A tile has 512, 256 or 128 pixels on a side, so that all its bands
    take 16 MB: they lie together, as a place is read more often than a whole band.

    Parameters
    ----------
    model : str, Path or object with a method ``embed``
        As :func:`~earthtie_lite.runs.load_pretrained` takes it, or a model.
    path : str or Path
        Ending in .tif. The file appears, or is replaced, when it is whole.
    bounds : (left, bottom, right, top)
        In units of the CRS. Right and bottom move outwards to whole pixels. Across the date line
        right is larger than 180: (170, -50, 190, -30).
    resolution : float or (float, float)
        Width and height of a pixel, in units of the CRS.
    crs : str, int or object
        Anything that rasterio takes as a CRS.
    bands : sequence of int, optional
        Columns of the embedding to write, by default all.
    progress : callable, optional
        Is told after each tile how many are done, and how many there are.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of a file with bands e000, e001 and so on, and tags EARTHTIE_MODEL and EARTHTIE_VERSION.
        Pixels that are no place, as in the corners of a world map, are NaN.

    Raises
    ------
    ValueError
        If the grid, the bands or the name of the file are not understood, or the file exists.
    OSError
        If the disk is too full or another process is writing the same file.

    Examples
    --------
    >>> import tempfile
    >>> import rasterio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = embed_grid("melt", f"{folder}/alps.tif", (5, 43, 17, 49), bands=range(3))
    ...     with rasterio.open(path) as raster:
    ...         raster.shape, raster.descriptions
    ((6, 12), ('e000', 'e001', 'e002'))
    """
    import filelock

    path, grid, made = Path(path).expanduser(), make_grid(bounds, resolution, crs), as_model(model)
    check_name(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another name, or replace it with overwrite=True")
    probes = embed_places(made, PROBES)
    columns = _columns(bands, probes.shape[1])
    tile = next((t for t in TILES if t * t * len(columns) * 4 <= TILE_BYTES), TILES[-1])
    tags = {
        "EARTHTIE_MODEL": type(made).__name__ if model is made else Path(str(model)).name,
        "EARTHTIE_VERSION": __version__,
    }
    folder = part_of(path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            work = _Work(folder, grid, columns, tile, tags, sha256(probes.tobytes()))
            try:
                work.embed(made, progress)
            except OSError:
                if not work.record.exists():
                    shutil.rmtree(folder)  # a disk that is too full was found before any tile
                raise
            _optimise(work.pixels, folder / "whole.tif", tile)
            os.replace(folder / "whole.tif", path)
            shutil.rmtree(folder)
    except filelock.Timeout as error:
        raise OSError(f"another process is writing {path}: wait for it") from error
    return path


def check_name(path: Path) -> None:
    """Refuse the name of a file that is no GeoTIFF's."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"expected a name that ends in .tif, got {path.name!r}")


def part_of(path: Path) -> Path:
    """Return the hidden folder in which a file is made."""
    return path.with_name(f".{path.name}.part")


def _columns(bands: Sequence[int] | None, width: int) -> list[int]:
    """Check the columns to write, of so many."""
    columns = list(range(width) if bands is None else np.atleast_1d(bands))
    integers = all(isinstance(c, (int, np.integer)) and 0 <= c < width for c in columns)
    if not columns or not integers or len(set(columns)) < len(columns):
        raise ValueError(
            f"bands must be different integers in [0, {width}), columns of the embedding, got "
            f"{bands!r}"
        )
    return [int(c) for c in columns]


@dataclass(frozen=True)
class _Work:
    """A grid that is being embedded, in a folder: its pixels, and a record of what is done."""

    folder: Path
    grid: PixelGrid
    columns: list[int]
    tile: int
    tags: dict[str, str]
    identity: str  # of the model

    @property
    def pixels(self) -> Path:
        """Return the plain GeoTIFF."""
        return self.folder / "pixels.tif"

    @property
    def record(self) -> Path:
        """Return the file that says how many tiles are done."""
        return self.folder / "progress.json"

    def embed(self, model: Embeds, progress: Callable[[int, int], None] | None) -> None:
        """Embed the tiles that are missing."""
        import rasterio

        height, width = (math.ceil(side / self.tile) for side in self.grid.shape)
        done = self._done()
        if done == 0:
            self._lay_out()
        missing = itertools.islice(tiles(self.grid.shape, self.tile), done, None)
        for number, window in enumerate(missing, done + 1):
            values = _embed_window(model, self.grid, window, self.columns)
            with rasterio.open(self.pixels, "r+") as raster:
                raster.write(values, window=window)
            to_disk(self.pixels)
            record = {**self._description(), "done": number}
            write_atomic(self.record, json.dumps(record).encode())
            if progress is not None:
                progress(number, height * width)

    def _description(self) -> dict[str, Any]:
        """Return what the pixels depend on, and the size of their file, as JSON."""
        grid = [self.grid.left, self.grid.top, *self.grid.step, *self.grid.shape]
        return {
            "grid": [*grid, self.grid.crs.to_wkt()],
            "columns": self.columns,
            "tile": self.tile,
            "tags": self.tags,
            "model": self.identity,
            "bytes": self.pixels.stat().st_size if self.pixels.exists() else 0,
        }

    def _done(self) -> int:
        """Return how many tiles an earlier call has finished."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            done = int(record.pop("done"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0
        return done if record == self._description() else 0

    def _lay_out(self) -> None:
        """Write a file of NaN; tiles are not compressed, so each is later written in its place."""
        import rasterio
        from rasterio.transform import from_origin

        for file in self.folder.iterdir():
            if file.name != LOCK:
                file.unlink()
        height, width = self.grid.shape
        size = len(self.columns) * height * width * 4
        check_space(self.folder, 3 * size, "the grid")  # plain and packed, each with overviews
        profile = {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": len(self.columns),
            "dtype": "float32",
            "nodata": np.nan,
            "crs": self.grid.crs,
            "transform": from_origin(self.grid.left, self.grid.top, *self.grid.step),
            "tiled": True,
            "blockxsize": self.tile,
            "blockysize": self.tile,
            "interleave": "pixel",
            "BIGTIFF": "IF_SAFER",
        }
        with rasterio.open(self.pixels, "w", **profile) as raster:
            names = column_names(max(self.columns) + 1)
            raster.descriptions = [names[column] for column in self.columns]
            raster.update_tags(**self.tags)


def _embed_window(model: Embeds, grid: PixelGrid, window: "Window", columns: list[int]) -> Features:
    """Embed the places of a window, a few at a time: (bands, H, W), NaN where there is none."""
    lonlat = grid.lonlat(window)
    values = np.full((len(columns), len(lonlat)), np.nan, dtype=np.float32)
    pixels = np.flatnonzero(np.isfinite(lonlat[:, 0]))
    for start in range(0, len(pixels), PLACES):
        part = pixels[start : start + PLACES]
        values[:, part] = embed_places(model, lonlat[part])[:, columns].T
    return values.reshape(len(columns), window.height, window.width)


def _optimise(pixels: Path, target: Path, tile: int) -> None:
    """Copy a GeoTIFF into a Cloud-Optimised one, with overviews down to a single tile."""
    import rasterio.shutil

    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        level = pixels
        while (halved := _halve(level, tile)) is not None:
            level = halved
        rasterio.shutil.copy(
            pixels,
            target,
            driver="COG",
            BLOCKSIZE=tile,
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            OVERVIEWS="FORCE_USE_EXISTING",
            BIGTIFF="IF_SAFER",
        )
    to_disk(target)


def _halve(path: Path, tile: int) -> Path | None:
    """Write the overview of a raster of more than one tile beside it, where GDAL looks for it.

    GDAL's own overviews of 256 bands take time that grows faster than the number of pixels.
    """
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as raster:
        if max(raster.shape) <= tile:
            return None
        height, width = (-(-side // 2) for side in raster.shape)
        profile = {**raster.profile, "height": height, "width": width, "BIGTIFF": "IF_SAFER"}
        scale = raster.transform.scale(raster.width / width, raster.height / height)
        profile["transform"] = raster.transform @ scale
        overview = path.with_name(f"{path.name}.ovr")
        with rasterio.open(overview, "w", **profile) as smaller:
            for window in tiles(raster.shape, tile):
                values = _mean_of_four(raster.read(window=window))
                top, left = window.row_off // 2, window.col_off // 2
                smaller.write(values, window=Window(left, top, *values.shape[:0:-1]))
    return overview


def _mean_of_four(values: Features) -> Features:
    """Average rasters (bands, H, W) over 2 x 2 pixels, of those that are known."""
    edge = ((0, 0), (0, values.shape[1] % 2), (0, values.shape[2] % 2))
    padded = np.pad(values, edge, constant_values=np.nan)
    four = [padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    mean = (four[0] + four[1] + four[2] + four[3]) / 4
    if np.isnan(mean).any():
        with np.errstate(invalid="ignore"):  # NaN where none is known
            mean = np.nansum(four, axis=0) / np.isfinite(four).sum(axis=0, dtype=np.float32)
    return np.asarray(mean, dtype=np.float32)


def to_xarray(path: str | Path) -> "xarray.DataArray":
    """Open a raster of embeddings lazily, with dimensions (band, y, x) and bands by name.

    Needs rioxarray, which the extra "xarray" of this package brings.
    """
    try:
        import rioxarray
    except ImportError as error:
        raise ImportError(
            'to_xarray needs rioxarray: install the extra "xarray" of earthtie-lite, in a clone '
            "with pip install '.[xarray]'"
        ) from error
    array: Any = rioxarray.open_rasterio(path, masked=True)
    names = np.atleast_1d(array.attrs.pop("long_name"))  # of one band: a str
    return array.assign_coords(band=names).rename("embedding")
