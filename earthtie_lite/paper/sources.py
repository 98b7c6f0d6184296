"""The paper's labels at places, from files that a user has: people per km2, biomes, countries.

Where each file comes from, its licence and its faults: the data cards in the book.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..coords import Array, as_lonlat
from .files import existing

if TYPE_CHECKING:
    import pandas as pd

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
# Columns with name and code of a country: GADM 4.1, GADM 3, Natural Earth.
COUNTRY_COLUMNS = (("COUNTRY", "GID_0"), ("NAME_0", "GID_0"), ("ADMIN", "ADM0_A3"))
COUNTRY_LAYER = "ADM_0"  # of GADM's file of all levels
PART = 512  # polygons in memory at a time: GADM has 356,508, of 2.6 GB
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
    path = existing(path, "a GeoTIFF of population density, GPWv4.11")
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path) as file:
            _check_raster(file, path)
            return _values(file, places)
    except RasterioIOError as error:
        raise ValueError(
            f"expected a GeoTIFF of population density, but {path} is no raster or is damaged: "
            f"{error}; download it again"
        ) from error


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
    places = as_lonlat(lonlat)
    path = existing(path, "polygons of ecoregions (RESOLVE 2017)")
    wanted = [("BIOME_NUM", "BIOME_NAME"), ("BIOME",)]
    polygon, frame = _polygon_of(path, places, wanted, "ecoregions")
    number = _biome_numbers(frame, path)
    return np.where(polygon >= 0, number[polygon], -1)


def _biome_numbers(frame: "pd.DataFrame", path: Path) -> NDArray[np.int64]:
    """Return the biome (M,) of each polygon, -1 for rock, ice and lakes."""
    import pandas as pd

    resolve = "BIOME_NUM" in frame
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


def country(path: str | Path, lonlat: ArrayLike) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Read the country of places from the polygons of GADM or of Natural Earth.

    Parameters
    ----------
    path : str or Path
        GADM 4.1 (a GeoPackage: columns COUNTRY and GID_0; of the file of all levels the layer
        ADM_0 is read) or Natural Earth's admin_0_countries (a shapefile: ADMIN and ADM0_A3), or
        the zip file of either as published; a large GeoPackage is read faster unpacked.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    number : array, shape (N,), int64
        Row of the country in ``names``, -1 where no polygon holds the place (sea). On a shared
        border the first polygon of the file counts.
    names : tuple of str
        Every country of the file, sorted. Polygons of one name are one country, whatever their
        codes: GADM files disputed areas as Z01 to Z09 under the name of who holds them. A polygon
        without a name goes by its code.

    Raises
    ------
    ValueError
        If the file is missing or damaged, lacks a column or a coordinate system, or a polygon
        has neither name nor code.

    References
    ----------
    https://gadm.org and https://www.naturalearthdata.com
    """
    places = as_lonlat(lonlat)
    path = existing(path, "polygons of countries (GADM 4.1 or Natural Earth)")
    polygon, frame = _polygon_of(path, places, COUNTRY_COLUMNS, "countries")
    name, code = (frame[column].fillna("").str.strip() for column in frame.columns)
    named = name.where(name != "", code).to_numpy(dtype=object)
    if (named == "").any():
        row = int(np.argmax(named == ""))
        raise ValueError(f"polygon {row} of {path} has no {name.name} and no {code.name}")
    names, number = np.unique(named, return_inverse=True)
    return np.where(polygon >= 0, number[polygon], -1), tuple(names.tolist())


def _polygon_of(
    path: Path, places: Array, wanted: Sequence[tuple[str, ...]], what: str
) -> tuple[NDArray[np.int64], "pd.DataFrame"]:
    """Return the first polygon that holds each place (N,), -1 for none, and all their columns."""
    import pandas as pd
    import shapely

    limit = 180.0 - DATE_LINE_GAP_DEG
    points = shapely.points(np.clip(places[:, 0], -limit, limit), places[:, 1])
    # The tree holds the places, not the polygons: what asks is prepared once, and RESOLVE's largest
    # polygons have a million corners.
    tree = shapely.STRtree(points)
    found = np.full(len(places), -1, dtype=np.int64)
    parts: list[pd.DataFrame] = []
    for frame, polygons in _polygons(path, wanted, what):
        invalid = ~shapely.is_valid(polygons)
        polygons[invalid] = shapely.make_valid(polygons[invalid])
        polygon, point = tree.query(polygons, predicate="intersects")
        first = np.full(len(places), -1, dtype=np.int64)
        first[point[::-1]] = polygon[::-1] + sum(map(len, parts))
        found = np.where(found < 0, first, found)
        parts.append(frame)
    return found, pd.concat(parts, ignore_index=True)


def _polygons(
    path: Path, wanted: Sequence[tuple[str, ...]], what: str
) -> Iterator[tuple["pd.DataFrame", NDArray[np.object_]]]:
    """Yield columns and polygons, in degrees, of some hundred polygons at a time."""
    import geopandas as gpd
    import pyogrio

    source = _inside_zip(path) if path.suffix.lower() == ".zip" else str(path)
    try:
        _check_whole(path)
        layers = pyogrio.list_layers(source)[:, 0].tolist()
        layer = COUNTRY_LAYER if COUNTRY_LAYER in layers else layers[0]
        info = pyogrio.read_info(source, layer=layer)
        columns = next((c for c in wanted if set(c) <= set(info["fields"])), None)
        if columns is None:
            raise ValueError(
                f"expected the columns {' or '.join(map(' and '.join, wanted))}, {path} has "
                f"{list(info['fields'])}; take the file of the {what}"
            )
        shapeless = ValueError(f"expected polygons, {path} has other geometries; take the {what}")
        if info["geometry_type"] is None:  # a table
            raise shapeless
        if info["crs"] is None:
            raise ValueError(f"{path} names no coordinate system; put the .prj file next to it")
        options = {"layer": layer, "columns": columns, "batch_size": PART}
        with pyogrio.open_arrow(source, use_pyarrow=True, **options) as (meta, reader):
            for batch in reader:
                frame = batch.to_pandas()
                shapes = gpd.GeoSeries.from_wkb(
                    frame[meta["geometry_name"] or "wkb_geometry"], crs=info["crs"]
                )
                if not set(shapes.geom_type.dropna()) <= {"Polygon", "MultiPolygon"}:
                    raise shapeless
                yield frame[list(columns)], shapes.to_crs(4326).to_numpy()
    except (RuntimeError, OSError) as error:  # pyogrio's and pyarrow's errors
        raise ValueError(
            f"expected polygons of {what}, but {path} cannot be read: {error}; keep the .shp, "
            ".shx, .dbf and .prj of a shapefile together, or download it again"
        ) from error


def _check_whole(path: Path) -> None:
    """Refuse a shapefile that is cut short: GDAL reads on, without the polygons that it lacks."""
    if path.suffix.lower() != ".shp":
        return
    for suffix in (".shp", ".dbf"):
        part = path.with_suffix(suffix)
        if not part.is_file():
            continue  # GDAL says so, or does without
        with part.open("rb") as file:
            head = file.read(32).ljust(32, b"\0")
        if suffix == ".shp":
            size = 2 * int.from_bytes(head[24:28], "big")  # counted in words of 16 bits
        else:
            rows, start, width = struct.unpack("<IHH", head[4:12])
            size = start + rows * width
        if part.stat().st_size < max(size, len(head)):
            raise OSError(f"{part.name} is cut short")


def _inside_zip(path: Path) -> str:
    """Return how GDAL names the one file of polygons in a zip file, whatever folder it is in."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith((".shp", ".gpkg"))]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip file or is cut short; download it again") from error
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise ValueError(
            f"expected one shapefile or GeoPackage in {path}, found {names}; unpack and choose one"
        )
    return f"/vsizip/{{{path.resolve()}}}/{names[0]}"
