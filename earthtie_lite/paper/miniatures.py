"""Small stand-ins for the paper's data sets, in their formats, made from the embedded sample.

They let the whole path run offline. Their bands, photos and articles are made up: nothing can be
learned from their scores.
"""

import bz2
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image

from .. import sample as embedded
from ..coords import Array, stream
from ..features import CharacterNGrams, Featuriser
from ..files import cache_folder, write_atomic
from .fetch import fetch
from .observations import S2_PIXELS
from .sources import BIOMES
from .towers import BgeTexts, DinoImages, MocoSentinel2
from .wikipedia import COLUMNS

FILES = {  # by the names of the catalogue
    "s2_100k": "s2_100k",
    "mp16_metadata": "mp16/MP16_Pro_filtered.csv",
    "mp16_images": "mp16/images",
    "wikipedia_geo_tags": "wikipedia/enwiki-latest-geo_tags.sql.gz",
    "wikipedia_articles": "wikipedia/enwiki-latest-pages-articles.xml.bz2",
    "population": "labels/gpw_v4_population_density_rev11_2020_1_deg.tif",
    "ecoregions": "labels/Ecoregions2017.shp",
}
GEO_TAGS = "CREATE TABLE `geo_tags` (\n{0}\n);\nINSERT INTO `geo_tags` VALUES {1};\n"
PAGE = "<page><title>{0}</title><ns>0</ns><id>{1}</id><revision><text>{2}</text></revision></page>"
# Blue, green and red where they belong (B02, B03, B04), mixtures for all other bands.
MIXED = [[2], [2], [1], [0], [0, 1], [0, 1], [0, 2], [0], [1], [1, 2], [0, 1, 2], [2]]


def paper_files(originals: bool, agree: bool = False) -> dict[str, Path]:
    """Return the files of the paper's data sets: fetched, or miniatures in the user's cache.

    Parameters
    ----------
    originals : bool
        Fetch what is missing of about 475 GB, or write miniatures of 6 MB.
    agree : bool
        Fetch without asking.

    Returns
    -------
    dict of str to Path
        As of :func:`write_miniatures`.
    """
    if not originals:
        return write_miniatures(cache_folder() / "miniatures")
    got = {name: fetch(name, agree=agree)[0] for name in FILES}
    return got | {name: got[name].parent for name in ("s2_100k", "mp16_images")}


def paper_encoders(originals: bool) -> dict[str, Featuriser]:
    """Return the paper's frozen encoders, or stand-ins of the same widths that need no download.

    The stand-ins of the images have the same architecture and random weights.
    """
    weights = None if originals else "random"
    return {
        "satellite": MocoSentinel2(weights=weights),
        "photos": DinoImages(weights=weights),
        "text": BgeTexts() if originals else CharacterNGrams(384),
    }


def write_miniatures(folder: str | Path, n: int = 60, seed: int = 0) -> dict[str, Path]:
    """Write miniatures of S2-100K, MP-16, Wikipedia, GPWv4 and RESOLVE's ecoregions.

    Parameters
    ----------
    folder : str or Path
        Files that are there are replaced.
    n : int
        Places a modality, each its own.
    seed : int

    Returns
    -------
    dict of str to Path
        What the readers take, by the keys of ``FILES``.
    """
    files = {name: Path(folder) / path for name, path in FILES.items()}
    rng = stream("miniatures", seed)
    patches, photos = (embedded.sample_land(n, rng) for _ in range(2))
    _write_patches(files["s2_100k"], patches)
    _write_photos(files["mp16_metadata"], files["mp16_images"], photos)
    places = embedded.places()
    articles = places.iloc[rng.permutation(len(places))[:n]]
    _write_articles(files["wikipedia_geo_tags"], files["wikipedia_articles"], articles)
    _write_labels(files["population"], files["ecoregions"], places)
    return files


def _write_patches(folder: Path, lonlat: Array) -> None:
    """Write index.csv and a tar archive of patches whose 12 bands are mixtures of three colours."""
    names, archive = [f"patch_{number}.tif" for number in range(len(lonlat))], io.BytesIO()
    colours = embedded.raster("satellite").patches(lonlat, S2_PIXELS)  # (N, 3, 256, 256)
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, place, colour in zip(names, lonlat, colours):
            bands = np.array([12.0 * colour[some].mean(axis=0) for some in MIXED], dtype=np.uint16)
            corner = rasterio.transform.from_origin(*place, 1e-4, 1e-4)
            data = _geotiff(bands, transform=corner, compress="deflate", zlevel=1)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    write_atomic(folder / "data" / "shard-00000.tar", archive.getvalue())
    _write_table(folder / "index.csv", {"fn": names, "lon": lonlat[:, 0], "lat": lonlat[:, 1]})


def _geotiff(bands: NDArray[Any], **settings: Any) -> bytes:
    """Return bands (C, H, W) as the bytes of a GeoTIFF file in degrees."""
    count, height, width = bands.shape
    settings |= {"driver": "GTiff", "crs": "EPSG:4326", "dtype": bands.dtype}
    with rasterio.MemoryFile() as memory:
        with memory.open(count=count, height=height, width=width, **settings) as file:
            file.write(bands)
        return memory.read()


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    """Write a table of places to a millionth of a degree."""
    table = pd.DataFrame(columns).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_atomic(path, table.encode())


def _write_photos(table: Path, folder: Path, lonlat: Array) -> None:
    """Write JPEG files, which are pieces of the satellite picture, and their table."""
    names = [f"00/{number:02d}/{number}.jpg" for number in range(len(lonlat))]
    for name, colour in zip(names, embedded.raster("satellite").patches(lonlat, 96)):
        data = io.BytesIO()
        Image.fromarray(np.moveaxis(colour, 0, -1)).save(data, "JPEG")
        write_atomic(folder / name.replace("/", "_"), data.getvalue())
    _write_table(table, {"IMG_ID": names, "LAT": lonlat[:, 1], "LON": lonlat[:, 0]})


def _write_articles(sql: Path, xml: Path, places: pd.DataFrame) -> None:
    """Write the places and articles of some names of the gazetteer."""
    tags, pages = [], []
    for number, row in enumerate(places.itertuples(), start=1):
        tags.append(f"({number},{number},'earth',1,{row.lat:.8f},{row.lon:.8f})")
        text = f"'''{row.name}''' is a place of {row.population:,} people.\n\n== History ==\nLong."
        pages.append(PAGE.format(escape(str(row.name)), number, escape(text)))
    dump = GEO_TAGS.format(",\n".join(f"  `{column}` text" for column in COLUMNS), ",".join(tags))
    write_atomic(sql, gzip.compress(dump.encode(), mtime=0))
    write_atomic(xml, bz2.compress(f"<mediawiki>{''.join(pages)}</mediawiki>".encode()))


def _write_labels(density: Path, biomes: Path, places: pd.DataFrame) -> None:
    """Write people per km2 in cells of one degree, and climates as biomes in boxes of five."""
    edges = np.arange(-90, 91), np.arange(-180, 181)
    people, _, _ = np.histogram2d(places["lat"], places["lon"], edges, weights=places["population"])
    area = 111.195**2 * np.cos(np.radians(edges[0][:-1] + 0.5))
    per_km2 = (people / area[:, None])[None, ::-1].astype(np.float32)
    corner = rasterio.transform.from_origin(-180, 90, 1, 1)
    write_atomic(density, _geotiff(per_km2, transform=corner, nodata=-3.4e38))
    west, south = (a.ravel() for a in np.meshgrid(np.arange(-180, 180, 5), np.arange(-60, 90, 5)))
    climate = embedded.raster("climate").at(np.column_stack([west + 2.5, south + 2.5]))[:, 0]
    number = climate.astype(int) % len(BIOMES) + 1
    table = {"BIOME_NUM": number.astype(float), "BIOME_NAME": [BIOMES[i - 1] for i in number]}
    boxes = shapely.box(west, south, west + 5, south + 5)
    gpd.GeoDataFrame(table, geometry=boxes, crs="EPSG:4326").to_file(biomes)
