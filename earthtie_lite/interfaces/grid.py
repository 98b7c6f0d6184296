"""Embeddings on a regular grid, as a Cloud-Optimised GeoTIFF."""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..features import Features
from ..files import check_space, sha256, to_disk, write_atomic
from .pixels import WORLD, PixelGrid, make_grid, tiles
from .tables import Embeds, as_model, column_names, embed_places, provenance

if TYPE_CHECKING:
    import xarray
    from rasterio.windows import Window

PLACES = 2**14  # places embedded at a time: bounds memory, not results
TILES, TILE_BYTES = (512, 256, 128), 2**24  # pixels on a side; the first that is small enough
CACHE_BYTES = 2**26  # of GDAL
PROBES = np.array([[13.4, 52.5], [-60.0, -3.1], [151.2, -33.9], [0.0, 90.0]])  # identify a model


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
    """Embed the pixel centres of a grid into a Cloud-Optimised GeoTIFF; resumes after a kill.

    Tiles are embedded one after the other into an uncompressed GeoTIFF in a hidden folder beside
    ``path``. After an interruption the same call continues after the last finished tile; a call
    with another model or grid starts again. A tile has 512, 256 or 128 pixels on a side, chosen so
    that all its bands take at most 16 MB. The bands of a pixel are stored together, because a place
    is read more often than a whole band.

    Parameters
    ----------
    model : str, Path or object with a method ``embed``
        As :func:`~earthtie_lite.runs.load_pretrained` takes it, or a model.
    path : str or Path
        Ends in .tif. The file appears, or is replaced, when it is complete.
    bounds : (left, bottom, right, top)
        In units of the CRS. Right and bottom are moved outwards to whole pixels. A region across
        the date line has a right edge above 180: (170, -50, 190, -30). Pixels may be centred on the
        poles and reach half a pixel beyond.
    resolution : float or (float, float)
        Width and height of a pixel, in units of the CRS; the sign is ignored.
    crs : str, int or object
        Anything that rasterio accepts as a CRS, geographic or projected, of the Earth.
    bands : sequence of int, optional
        Columns of the embedding to write; by default all.
    progress : callable, optional
        Called after each tile with the number of finished tiles and the total.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Path
        The file has bands e000, e001, ... and the tags EARTHTIE_MODEL, EARTHTIE_VERSION and, for
        models of this package, EARTHTIE_SHA256, a hash of the model. Pixels that are not a place,
        as in the corners of a world map, are NaN.

    Raises
    ------
    ValueError
        If the grid, the bands or the file name are invalid, the file exists, or no pixel is a
        place.
    OSError
        If the disk is too full or another process is writing the same file.

    Warns
    -----
    UserWarning
        If the bounds in a projected CRS look like degrees.

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
    import rasterio

    path, grid, made = Path(path).expanduser(), make_grid(bounds, resolution, crs), as_model(model)
    check_name(path)
    if path.exists() and not overwrite:
        raise ValueError(
            f"{path} exists: choose another name or allow overwriting it (overwrite, --force)"
        )
    probes = embed_places(made, PROBES)
    columns = _columns(bands, probes.shape[1])
    tile = next((t for t in TILES if t * t * len(columns) * 4 <= TILE_BYTES), TILES[-1])
    if not any(np.isfinite(grid.lonlat(window)).any() for window in tiles(grid.shape, tile)):
        raise ValueError(f"no pixel is a place: bounds {bounds}, resolution {resolution} in {crs}")
    tags = provenance(made)
    job = sha256(repr((grid, grid.crs.to_wkt(), columns, tags, probes.tobytes())).encode())
    folder = part_of(path)
    pixels, record = folder / "pixels.tif", folder / "progress.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The uncompressed and the compressed file, each with overviews.
    size = 3 * 4 * len(columns) * math.prod(grid.shape)
    check_space(path.parent, size - (pixels.stat().st_size if pixels.exists() else 0), "the grid")
    folder.mkdir(exist_ok=True)
    try:
        with filelock.FileLock(folder / "lock", timeout=0):
            windows, done = list(tiles(grid.shape, tile)), _done(record, pixels, job)
            if not done:  # a file of NaN; without compression every tile is written in place
                profile = {**grid.profile(len(columns), tile), "interleave": "band"}
                pixels.unlink(missing_ok=True)
                with rasterio.open(pixels, "w", **profile) as raster:
                    raster.descriptions = np.array(column_names(probes.shape[1]))[columns]
                    raster.update_tags(**tags)
            for number, window in enumerate(windows[done:], done + 1):
                values = _embed_window(made, grid, window, columns)
                with rasterio.open(pixels, "r+") as raster:
                    raster.write(values, window=window)
                to_disk(pixels)
                state = {"job": job, "bytes": pixels.stat().st_size, "done": number}
                write_atomic(record, json.dumps(state).encode())
                if progress is not None:
                    progress(number, len(windows))
            _optimise(pixels, folder / "whole.tif", tile)
            os.replace(folder / "whole.tif", path)
            shutil.rmtree(folder)
    except filelock.Timeout as error:
        raise OSError(f"another process is writing {path}: wait for it") from error
    return path


def check_name(path: Path) -> None:
    """Refuse the name of a file that is not a GeoTIFF's."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"expected a name that ends in .tif, got {path.name!r}")


def part_of(path: Path) -> Path:
    """Return the hidden folder in which a file is prepared."""
    return path.with_name(f".{path.name}.part")


def _columns(bands: Sequence[int] | None, width: int) -> list[int]:
    """Check the columns to write of an embedding of that width."""
    columns = list(range(width) if bands is None else np.atleast_1d(bands))
    if not columns or len(set(columns) & set(range(width))) < len(columns):
        raise ValueError(
            f"bands must be different integers in [0, {width}), columns of the embedding, got "
            f"{bands!r}"
        )
    return [int(c) for c in columns]


def _done(record: Path, pixels: Path, job: str) -> int:
    """Return how many tiles of the same job an earlier call has finished."""
    try:
        state = json.loads(record.read_text(encoding="utf-8"))
        same = state["job"] == job and state["bytes"] == pixels.stat().st_size
        return int(state["done"]) if same else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _embed_window(model: Embeds, grid: PixelGrid, window: "Window", columns: list[int]) -> Features:
    """Embed the places of a window, a few at a time: (bands, H, W), NaN where there is none."""
    places = grid.lonlat(window)
    parts = np.split(places, range(PLACES, len(places), PLACES))
    values = np.concatenate([embed_places(model, part)[:, columns] for part in parts])
    return values.T.reshape(-1, window.height, window.width)


def _optimise(pixels: Path, target: Path, tile: int) -> None:
    """Copy a GeoTIFF into a Cloud-Optimised one, with overviews down to a single tile."""
    import rasterio
    import rasterio.shutil
    from rasterio.enums import Resampling

    pixels.with_name(f"{pixels.name}.ovr").unlink(missing_ok=True)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, TIFF_USE_OVR=True, GDAL_TIFF_OVR_BLOCKSIZE=tile):
        with rasterio.open(pixels, "r+") as raster:
            levels = math.ceil(math.log2(max(*raster.shape, tile) / tile))
            raster.build_overviews([2**level for level in range(1, levels + 1)], Resampling.average)
        options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BIGTIFF": "IF_SAFER"}
        rasterio.shutil.copy(pixels, target, driver="COG", BLOCKSIZE=tile, **options)
    to_disk(target)


def to_xarray(path: str | Path) -> "xarray.DataArray":
    """Open a raster lazily, with dimensions (band, y, x); bands have their names, or numbers.

    Needs rioxarray, which the extra "xarray" of this package brings. Pixels without data are NaN. A
    NetCDF file keeps the name and values of its first dimension.

    Raises
    ------
    ValueError
        If the file cannot be opened or holds several rasters.
    """
    try:
        import rioxarray
    except ImportError as error:
        raise ImportError(
            'to_xarray needs rioxarray: install the extra "xarray" of earthtie-lite, in a clone '
            "with pip install '.[xarray]'"
        ) from error
    try:
        array: Any = rioxarray.open_rasterio(path, masked=True)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"cannot open {path} as a raster: {error}") from error
    if not hasattr(array, "dtype"):
        raise ValueError(f"{path} holds several rasters: open one with rioxarray.open_rasterio")
    if "band" in array.dims:
        names = np.broadcast_to(array.attrs.pop("long_name", None), len(array)).tolist()
        array["band"] = [name or number for name, number in zip(names, array.band.values)]
    return array.rename("embedding")
