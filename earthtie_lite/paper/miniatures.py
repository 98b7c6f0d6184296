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

import numpy as np
from numpy.typing import NDArray

from .. import sample as embedded
from ..coords import Array, stream
from ..features import CharacterNGrams, Featuriser
from ..files import cache_folder, write_atomic
from .fetch import fetch
from .observations import S2_BANDS, S2_PIXELS
from .towers import BgeTexts, DinoImages, MocoSentinel2

GEO_TAGS = """CREATE TABLE `geo_tags` (
  `gt_id` int unsigned NOT NULL AUTO_INCREMENT,
  `gt_page_id` int unsigned NOT NULL,
  `gt_globe` varbinary(32) NOT NULL,
  `gt_primary` tinyint(1) NOT NULL,
  `gt_lat` decimal(11,8) DEFAULT NULL,
  `gt_lon` decimal(11,8) DEFAULT NULL,
  `gt_name` varbinary(255) DEFAULT NULL,
  PRIMARY KEY (`gt_id`)
) ENGINE=InnoDB;
INSERT INTO `geo_tags` VALUES {rows};
"""
PAGE = "<page><title>{0}</title><ns>0</ns><id>{1}</id><revision><text>{2}</text></revision></page>"


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
    got = {
        name: fetch(name, agree=agree)[0]
        for name in (
            "s2_100k",
            "mp16_metadata",
            "mp16_images",
            "wikipedia_geo_tags",
            "wikipedia_articles",
            "population",
            "ecoregions",
        )
    }
    return got | {name: got[name].parent for name in ("s2_100k", "mp16_images")}


def paper_encoders(originals: bool) -> dict[str, Featuriser]:
    """Return the paper's frozen encoders, or stand-ins of the same widths that need no download.

    The stand-ins of the images have the same architecture and random weights.
    """
    if originals:
        return {"satellite": MocoSentinel2(), "photos": DinoImages(), "text": BgeTexts()}
    return {
        "satellite": MocoSentinel2(weights="random"),
        "photos": DinoImages(weights="random"),
        "text": CharacterNGrams(384),
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
        What the readers take: "s2_100k", "mp16_metadata", "mp16_images", "wikipedia_geo_tags",
        "wikipedia_articles", "population", "ecoregions".
    """
    folder, rng = Path(folder), stream("miniatures", seed)
    patches, photos = (embedded.sample_land(n, rng) for _ in range(2))
    written = _sentinel_2(folder / "s2_100k", patches)
    written |= _photos(folder / "mp16", photos)
    written |= _articles(folder / "wikipedia", n, rng)
    return written | _labels(folder / "labels")


def _sentinel_2(folder: Path, lonlat: Array) -> dict[str, Path]:
    """Write index.csv and a tar archive of patches whose 12 bands are mixtures of three colours."""
    from rasterio.io import MemoryFile
    from rasterio.transform import from_origin

    colours = _colours(lonlat, S2_PIXELS)  # (N, 3, 256, 256)
    # Blue, green and red where they belong (B02, B03, B04), mixtures for all others.
    mixed = [[2], [2], [1], [0], [0, 1], [0, 1], [0, 2], [0], [1], [1, 2], [0, 1, 2], [2]]
    rows, archive = ["fn,lon,lat"], io.BytesIO()
    size = {"height": S2_PIXELS, "width": S2_PIXELS, "count": len(S2_BANDS), "dtype": "uint16"}
    size |= {"driver": "GTiff", "crs": "EPSG:4326", "compress": "deflate", "zlevel": 1}
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number, (place, colour) in enumerate(zip(lonlat, colours)):
            bands = [12.0 * colour[some].mean(axis=0) for some in mixed]
            with MemoryFile() as memory:
                corner = from_origin(*place, 1e-4, 1e-4)
                with memory.open(transform=corner, **size) as file:
                    file.write(np.array(bands).astype(np.uint16))
                data = memory.read()
            entry = tarfile.TarInfo(f"patch_{number}.tif")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            rows.append(f"patch_{number}.tif,{place[0]:.6f},{place[1]:.6f}")
    write_atomic(folder / "data" / "shard-00000.tar", archive.getvalue())
    write_atomic(folder / "index.csv", ("\n".join(rows) + "\n").encode())
    return {"s2_100k": folder}


def _photos(folder: Path, lonlat: Array) -> dict[str, Path]:
    """Write JPEG files, which are pieces of the satellite picture, and their table."""
    from PIL import Image

    rows = ["IMG_ID,LAT,LON"]
    for number, (place, colour) in enumerate(zip(lonlat, _colours(lonlat, 96))):
        data = io.BytesIO()
        Image.fromarray(np.moveaxis(colour, 0, -1)).save(data, "JPEG")
        write_atomic(folder / "images" / f"00_{number:02d}_{number}.jpg", data.getvalue())
        rows.append(f"00/{number:02d}/{number}.jpg,{place[1]:.6f},{place[0]:.6f}")
    write_atomic(folder / "MP16_Pro_filtered.csv", ("\n".join(rows) + "\n").encode())
    return {
        "mp16_metadata": folder / "MP16_Pro_filtered.csv",
        "mp16_images": folder / "images",
    }


def _colours(lonlat: Array, size: int) -> NDArray[np.uint8]:
    """Return pieces (N, 3, size, size) of the satellite picture."""
    patches: NDArray[Any] = embedded.raster("satellite").patches(lonlat, size)
    return patches.astype(np.uint8)


def _articles(folder: Path, n: int, rng: np.random.Generator) -> dict[str, Path]:
    """Write the places and articles of some names of the gazetteer."""
    frame = embedded.places()
    frame = frame.iloc[rng.permutation(len(frame))[:n]]
    tags, pages = [], []
    for number, row in enumerate(frame.itertuples(), start=1):
        tags.append(f"({number},{number},'earth',1,{row.lat:.8f},{row.lon:.8f},NULL)")
        text = f"'''{row.name}''' is a place of {row.population:,} people.\n\n== History ==\nLong."
        pages.append(PAGE.format(escape(str(row.name)), number, escape(text)))
    names = {
        "wikipedia_geo_tags": folder / "enwiki-latest-geo_tags.sql.gz",
        "wikipedia_articles": folder / "enwiki-latest-pages-articles.xml.bz2",
    }
    sql = GEO_TAGS.format(rows=",".join(tags))
    write_atomic(names["wikipedia_geo_tags"], gzip.compress(sql.encode(), mtime=0))
    xml = f"<mediawiki>{''.join(pages)}</mediawiki>"
    write_atomic(names["wikipedia_articles"], bz2.compress(xml.encode()))
    return names


def _labels(folder: Path) -> dict[str, Path]:
    """Write people per km2 in cells of one degree, and biomes in boxes of five degrees."""
    import geopandas as gpd
    import rasterio
    import shapely

    from .sources import BIOMES

    folder.mkdir(parents=True, exist_ok=True)
    frame = embedded.places()
    edges = np.arange(-90, 91), np.arange(-180, 181)
    people, _, _ = np.histogram2d(
        frame["lat"], frame["lon"], bins=edges, weights=frame["population"]
    )
    area = 111.195**2 * np.cos(np.radians(edges[0][:-1] + 0.5))
    path = folder / "gpw_v4_population_density_rev11_2020_1_deg.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=180,
        width=360,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=rasterio.transform.from_origin(-180, 90, 1, 1),
        nodata=-3.4e38,
    ) as file:
        file.write((people / area[:, None])[::-1].astype(np.float32), 1)
    west, south = (a.ravel() for a in np.meshgrid(np.arange(-180, 180, 5), np.arange(-60, 90, 5)))
    climate = embedded.raster("climate").at(np.column_stack([west + 2.5, south + 2.5]))[:, 0]
    number = climate.astype(int) % len(BIOMES) + 1
    boxes = shapely.box(west, south, west + 5, south + 5)
    table = {"BIOME_NUM": number.astype(float), "BIOME_NAME": [BIOMES[i - 1] for i in number]}
    shapes = folder / "Ecoregions2017.shp"
    gpd.GeoDataFrame(table, geometry=boxes, crs="EPSG:4326").to_file(shapes)
    return {"population": path, "ecoregions": shapes}
