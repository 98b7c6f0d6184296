"""The paper's labels at places, from files that a user has: people per km2, biomes, countries.

Where each file comes from, its licence and its faults: the data cards in the book.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
from numpy.typing import ArrayLike, NDArray

from ..coords import Array, as_lonlat
from .files import reading

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
BIOME_COLUMNS = (("BIOME_NUM", "BIOME_NAME"), ("BIOME",))  # RESOLVE, Olson
COUNTRY_COLUMNS = (("COUNTRY", "GID_0"), ("ADMIN", "ADM0_A3"))  # GADM, Natural Earth
NOWHERE = np.iinfo(np.int64).max  # larger than the number of any polygon
PART = 512  # polygons in memory at a time: GADM has 356,508, of 2.6 GB
DATE_LINE_DEG = 180.0 - 1e-4  # RESOLVE's polygons end 1.1e-5 degrees before the date line
POLE_DEG = 90.0 - 1e-9  # the edges of GPW are at 90 degrees up to rounding


def population_density(path: str | Path, lonlat: ArrayLike) -> Array:
    """Read people per km2 at places from a GeoTIFF of GPWv4.11.

    Only the blocks of the file that hold a place are read, so the global raster of 30 arc seconds
    (3.7 GB when unpacked) needs little memory.

    Parameters
    ----------
    path : str or Path
        Population *density*, of any resolution: one band, geographic coordinates.
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
    lon, lat = as_lonlat(lonlat).T
    what = "a GeoTIFF of population density (GPWv4.11), one band in EPSG:4326"
    cache = rasterio.Env(GDAL_CACHEMAX=64)  # MB; its own choice is 5 % of the memory
    with reading(path, what) as path, cache, rasterio.open(path) as file:
        if file.count != 1 or not (file.crs and file.crs.is_geographic):
            raise ValueError(f"it has {file.count} bands in {file.crs}")
        # Longitudes wrap at the west edge of the file: +180 and -180 are one meridian.
        east = (lon - file.bounds.left) % 360.0 + file.bounds.left
        pixels = file.sample(zip(east, np.clip(lat, -POLE_DEG, POLE_DEG)), 1, masked=True)
        found = np.array([pixel.filled(np.nan)[0] for pixel in pixels], dtype=np.float64)
    found[~np.isfinite(found) | (found < 0)] = np.nan
    return found


def biome(path: str | Path, lonlat: ArrayLike) -> NDArray[np.int64]:
    """Read the biome of places from the polygons of RESOLVE's Ecoregions 2017.

    Parameters
    ----------
    path : str or Path
        Any file of polygons that GDAL reads, or the zip file as published. The columns are
        BIOME_NUM and BIOME_NAME, or the BIOME of Olson et al. (2001), RESOLVE's ancestor.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    array, shape (N,), int64
        1 to 14, the positions in ``BIOMES`` counted from one; -1 where no polygon holds the place
        (sea) and on rock, ice and (Olson) lakes. On a shared border the first polygon of the file
        counts.

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
    polygon, table = _polygon_of(path, lonlat, BIOME_COLUMNS, "ecoregions (RESOLVE 2017)")
    number = pd.to_numeric(table.iloc[:, 0], errors="coerce")
    number[number.isin((98, 99))] = -1  # Olson's lakes, rock and ice
    if "BIOME_NAME" in table:
        # RESOLVE files "Rock and Ice" under tundra, 11, but names its biome "N/A".
        number[table["BIOME_NAME"].fillna("N/A") == "N/A"] = -1
    if not number.isin((-1, *range(1, len(BIOMES) + 1))).all():
        raise ValueError(f"expected biomes from 1 to {len(BIOMES)} in {path}, got {set(number)}")
    return number.reindex(polygon, fill_value=-1).to_numpy(np.int64)


def country(path: str | Path, lonlat: ArrayLike) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Read the country of places from the polygons of GADM or of Natural Earth.

    Parameters
    ----------
    path : str or Path
        GADM 4.1 (a GeoPackage: columns COUNTRY and GID_0) or Natural Earth's admin_0_countries (a
        shapefile: ADMIN and ADM0_A3), or the zip file of either as published; a large GeoPackage is
        read faster unpacked.
    lonlat : array, shape (N, 2), degrees

    Returns
    -------
    number : array, shape (N,), int64
        Row of the country in ``names``, -1 where no polygon holds the place (sea). On a shared
        border the first polygon of the file counts.
    names : tuple of str
        Every country of the file, sorted. Polygons of one name are one country, whatever their
        codes: GADM files disputed areas as Z01 to Z09 under the name of who holds them. A polygon
        without a name goes by its code, and without a code is no country.

    Raises
    ------
    ValueError
        If the file is missing or damaged, or lacks a column or a coordinate system.

    References
    ----------
    https://gadm.org and https://www.naturalearthdata.com
    """
    polygon, table = _polygon_of(path, lonlat, COUNTRY_COLUMNS, "countries (GADM, Natural Earth)")
    name, code = (table[column].replace(r"^\s*$", None, regex=True) for column in table)
    number, names = pd.factorize(name.fillna(code).str.strip(), sort=True)
    return pd.Series(number).reindex(polygon, fill_value=-1).to_numpy(np.int64), tuple(names)


def _polygon_of(
    path: str | Path, lonlat: ArrayLike, wanted: Sequence[tuple[str, ...]], what: str
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Return the number of the first polygon that holds each place (N,), and all attributes."""
    lon, lat = as_lonlat(lonlat).T
    # The tree holds the places and polygons query it: GEOS prepares a query geometry once, and the
    # largest polygons of RESOLVE have a million corners.
    tree = gpd.GeoSeries.from_xy(np.clip(lon, -DATE_LINE_DEG, DATE_LINE_DEG), lat).sindex
    found = np.full(len(lon), NOWHERE)
    parts: list[pd.DataFrame] = []
    with reading(path, f"polygons of {what} with a coordinate system (.prj)") as path:
        source = _source(path)
        about = pyogrio.read_info(source, force_feature_count=True)
        columns = next((list(c) for c in wanted if set(c) <= set(about["fields"])), None)
        if columns is None:
            raise ValueError(f"it has the columns {list(about['fields'])}, not {wanted}")
        options = {"columns": columns, "batch_size": PART, "use_pyarrow": True}
        with pyogrio.open_arrow(source, **options) as (_, batches):
            for batch in batches:
                frame = batch.to_pandas()
                corners = frame[about["geometry_name"] or "wkb_geometry"]
                shapes = gpd.GeoSeries.from_wkb(corners, crs=about["crs"]).to_crs(4326)
                invalid = ~shapes.is_valid
                shapes[invalid] = shapes[invalid].make_valid()
                polygon, place = tree.query(shapes, predicate="intersects")
                np.minimum.at(found, place, polygon + sum(map(len, parts)))
                parts.append(frame[columns])
        table = pd.concat(parts, ignore_index=True)
        if len(table) < about["features"]:
            raise ValueError(f"it is cut short: {len(table)} of {about['features']} can be read")
    return found, table


def _source(path: Path) -> str:
    """Return GDAL's name of a file of polygons, or of the only one in a zip archive."""
    if path.suffix.lower() == ".shp":
        # GDAL reads a shapefile that is cut short without an error, and leaves out polygons.
        words = np.fromfile(path, ">u4", 1, offset=24)  # of 16 bits, as its header says
        if path.stat().st_size < 2 * words.sum():
            raise ValueError("it is cut short")
    if path.suffix.lower() != ".zip":
        return str(path)
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".shp", ".gpkg"))]
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise ValueError(f"expected one shapefile or GeoPackage in it, found {names}")
    return f"/vsizip/{{{path.resolve()}}}/{names[0]}"
