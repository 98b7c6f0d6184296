"""The paper's labels, read from files that a user has downloaded: people per km2, and biomes.

Where each file comes from, its licence and its faults: the data cards in the book.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coords import Array, as_lonlat

if TYPE_CHECKING:
    import geopandas as gpd

BIOMES = (  # BIOME_NUM 1 to 14 of RESOLVE 2017, spelt as in the file
    "Tropical & Subtropical Moist Broadleaf Forests",
    "Tropical & Subtropical Dry Broadleaf Forests",
    "Tropical & Subtropical Coniferous Forests",
    "Temperate Broadleaf & Mixed Forests",
    "Temperate Conifer Forests",
    "Boreal Forests/Taiga",
    "Tropical & Subtropical Grasslands, Savannas & Shrublands",
    "Temperate Grasslands, Savannas & Shrublands",
    "Flooded Grasslands & Savannas",
    "Montane Grasslands & Shrublands",
    "Tundra",
    "Mediterranean Forests, Woodlands & Scrub",
    "Deserts & Xeric Shrublands",
    "Mangroves",
)
LAKE, ROCK_AND_ICE = 98, 99  # BIOME of Olson et al. (2001)
DATE_LINE_GAP_DEG = 1e-4  # RESOLVE's polygons end 1.1e-5 degrees before the date line
CACHE_BYTES = 64 * 2**20  # of GDAL; its own choice is 5 % of the memory, and no block is read twice
EDGE = 1e-6  # of a pixel: the edges of GPW are 90 degrees but for rounding


def population_density(path: str | Path, lonlat: ArrayLike) -> Array:
    """Read people per km2 at places from a GeoTIFF of GPWv4.11.

    Only the blocks of the file that hold a place are read, one at a time, so the global raster of
    30 arc seconds (3.7 GB when unpacked) needs little memory.

    Parameters
    ----------
    path : str or Path
        Population *density*, of any resolution: one band, geographic coordinates, north up.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    array, shape (N,), float64
        NaN where the file has no data (sea, negative or non-finite values) or does not reach.

    Raises
    ------
    ValueError
        If the file is missing, damaged or not such a raster.

    References
    ----------
    CIESIN (2018), https://doi.org/10.7927/H45Q4T5F
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    places = as_lonlat(lonlat)
    path = _existing(path, "a GeoTIFF of population density, GPWv4.11")
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path) as file:
            _check_raster(file, path)
            return _values(file, places)
    except RasterioIOError as error:
        raise ValueError(
            f"expected a GeoTIFF of population density, but {path} is no raster or is damaged: "
            f"{error}; download it again"
        ) from error


def _existing(path: str | Path, what: str) -> Path:
    """Check that a file is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"expected {what}, but there is no {path}; download it first")
    return path


def _check_raster(file: Any, path: Path) -> None:
    """Refuse rasters that are not one band of degrees, north up."""
    if file.count != 1:
        raise ValueError(
            f"expected one band of people per km2, {path} has {file.count}; "
            "take the GeoTIFF of a single year"
        )
    if file.crs is None or not file.crs.is_geographic:
        raise ValueError(
            f"expected geographic coordinates (EPSG:4326), {path} has "
            f"{file.crs.to_string() if file.crs else 'no coordinate system'}; "
            "reproject it, for example with gdalwarp -t_srs EPSG:4326"
        )
    to = file.transform
    if to.b or to.d or to.a <= 0 or to.e >= 0:
        raise ValueError(
            f"expected rows from north to south and columns from west to east, {path} is rotated "
            f"or flipped (transform {tuple(to)[:6]}); warp it to a north-up grid"
        )


def _values(file: Any, places: Array) -> Array:
    """Read the pixels (N,) that hold the places, block by block of the file."""
    from rasterio.windows import Window

    to = file.transform
    down = (to.f - places[:, 1]) / -to.e
    right = (places[:, 0] - to.c) % 360.0 / to.a  # +180 and -180 are one meridian
    inside = (down >= -EDGE) & (down <= file.height + EDGE) & (right < file.width + EDGE)
    row = np.clip(np.floor(down), 0, file.height - 1).astype(np.int64)
    column = np.clip(np.floor(right), 0, file.width - 1).astype(np.int64)
    height, width = file.block_shapes[0]
    block = row // height * (file.width // width + 1) + column // width

    found = np.full(len(places), np.nan)
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(block[rows], kind="stable")]
    for part in np.split(rows, np.flatnonzero(np.diff(block[rows])) + 1):
        if len(part) == 0:  # no place lies inside
            continue
        top, left = row[part[0]] // height * height, column[part[0]] // width * width
        size = min(width, file.width - left), min(height, file.height - top)
        pixels = file.read(1, window=Window(left, top, *size))
        found[part] = pixels[row[part] - top, column[part] - left]
    missing = ~np.isfinite(found) | (found < 0)
    if file.nodata is not None:
        missing |= found == file.nodata
    found[missing] = np.nan
    return found


def biome(path: str | Path, lonlat: ArrayLike) -> NDArray[np.int64]:
    """Read the biome of places from the polygons of RESOLVE's Ecoregions 2017.

    Parameters
    ----------
    path : str or Path
        Anything that geopandas reads, or the zip file as published. The column is BIOME_NUM with
        BIOME_NAME; the BIOME of Olson et al. (2001), RESOLVE's ancestor, is read too.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    array, shape (N,), int64
        1 to 14, the places of ``BIOMES`` counted from one; -1 where no polygon holds the
        place (sea) and on rock, ice and (Olson) lakes. On a shared border the first polygon of the
        file counts.

    Raises
    ------
    ValueError
        If the file is missing or damaged, lacks a column or a coordinate system, or holds other
        numbers.

    References
    ----------
    Dinerstein et al. (2017), https://doi.org/10.1093/biosci/bix014
    Olson et al. (2001), https://doi.org/10.1641/0006-3568(2001)051[0933:TEOTWA]2.0.CO;2
    """
    import shapely

    places = as_lonlat(lonlat)
    path = _existing(path, "polygons of ecoregions (RESOLVE 2017)")
    frame = _read_polygons(path)
    number = _biome_numbers(frame, path)
    polygons = frame.geometry.to_numpy()
    invalid = ~shapely.is_valid(polygons)
    polygons[invalid] = shapely.make_valid(polygons[invalid])

    limit = 180.0 - DATE_LINE_GAP_DEG
    points = shapely.points(np.clip(places[:, 0], -limit, limit), places[:, 1])
    # The tree holds the places, not the polygons: what asks is prepared once, and RESOLVE's largest
    # polygons have a million corners.
    polygon, point = shapely.STRtree(points).query(polygons, predicate="intersects")
    found = np.full(len(places), -1, dtype=np.int64)
    found[point[::-1]] = number[polygon[::-1]]
    return found


def _read_polygons(path: Path) -> "gpd.GeoDataFrame":
    """Read the polygons and the columns of the biome, in degrees."""
    import geopandas as gpd

    source = _inside_zip(path) if path.suffix.lower() == ".zip" else str(path)
    try:
        columns = list(gpd.read_file(source, rows=1).columns)
        if not {"BIOME_NUM", "BIOME_NAME"} <= set(columns) and "BIOME" not in columns:
            raise ValueError(
                f"expected the columns BIOME_NUM and BIOME_NAME (RESOLVE 2017) or BIOME (Olson "
                f"2001), {path} has {columns}; take the file of the ecoregions"
            )
        frame = gpd.read_file(source, columns=["BIOME_NUM", "BIOME_NAME", "BIOME"])
    except RuntimeError as error:  # pyogrio's errors
        raise ValueError(
            f"expected polygons of ecoregions, but {path} cannot be read: {error}; keep the .shp, "
            ".shx, .dbf and .prj of a shapefile together, or download it again"
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or not set(frame.geom_type.dropna()) <= {
        "Polygon",
        "MultiPolygon",
    }:
        raise ValueError(f"expected polygons, {path} has other geometries; take the ecoregions")
    if frame.crs is None:
        raise ValueError(f"{path} names no coordinate system; put the .prj file next to it")
    return frame if frame.crs.to_epsg() == 4326 else frame.to_crs(4326)


def _inside_zip(path: Path) -> str:
    """Return how GDAL names the one shapefile in a zip file, whatever folder it is in."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".shp")]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip file or is cut short; download it again") from error
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise ValueError(f"expected one shapefile in {path}, found {names}; unpack and choose one")
    return f"/vsizip/{{{path.resolve()}}}/{names[0]}"


def _biome_numbers(frame: "gpd.GeoDataFrame", path: Path) -> NDArray[np.int64]:
    """Return the biome (M,) of each polygon, -1 for rock, ice and lakes."""
    import pandas as pd

    resolve = "BIOME_NUM" in frame and "BIOME_NAME" in frame
    column = "BIOME_NUM" if resolve else "BIOME"
    number = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    if resolve:
        # RESOLVE files "Rock and Ice" under tundra, 11, but names its biome "N/A".
        none = (frame["BIOME_NAME"].isna() | (frame["BIOME_NAME"] == "N/A")).to_numpy(dtype=bool)
    else:
        none = np.isin(number, (LAKE, ROCK_AND_ICE))
    wrong = ~none & ~np.isin(number, np.arange(1, len(BIOMES) + 1))
    if wrong.any():
        raise ValueError(
            f"expected whole numbers from 1 to {len(BIOMES)} in the column {column} of {path}, got "
            f"{frame[column].to_numpy()[wrong][:3].tolist()}; take the file as published"
        )
    return np.where(none, -1, number).astype(np.int64)
