"""The paper's data sets and weights: what they are, where they lie, and under which licence."""

from dataclasses import dataclass
from urllib.parse import quote

HUB = "https://huggingface.co"
DUMPS = "https://dumps.wikimedia.org/enwiki/latest"
TILES = "https://s3.amazonaws.com/elevation-tiles-prod"
TILE_CREDITS = (
    "Mapzen, Terrain Tiles: 3DEP, GMTED2010 and SRTM courtesy of the U.S. Geological Survey, "
    "ETOPO1 of NOAA, and others: https://github.com/tilezen/joerd/blob/master/docs/attribution.md"
)
SATCLIP = "Klemmer et al. (2025), https://doi.org/10.1609/aaai.v39i4.32457"
MP16 = (
    "Larson et al. (2017), https://doi.org/10.1109/MMUL.2017.9; "
    "Jia et al. (2024), https://arxiv.org/abs/2405.14702"
)
WIKIPEDIA = "Wikipedia contributors; name and link the articles that you show"
GPW = "gpw_v4_population_density_rev11_2020_{}.tif"
FIRST_USE = "downloaded by {} when they are first used"  # weights have no address here
MP16_SIGN_IN = "perhaps: the hub may ask you to sign in and to accept the terms first"


@dataclass(frozen=True)
class Source:
    """One data set or one set of weights, as published.

    Parameters
    ----------
    name : str
        Key in :data:`~earthtie_lite.paper.catalogue.SOURCES`.
    what : str
        What it is and in which format.
    homepage : str
        Where it is described.
    licence, citation : str
        Terms of use, as far as they are documented, and whom to name.
    address : str
        Where a file is downloaded; ``{file}`` stands for its name. Empty where there is nothing to
        download by address; then ``note`` says what to do.
    files, others : tuple of str
        What is downloaded by default, and what else lies at the address.
    size, exact : int or None, bool
        Bytes of ``files`` together, rounded unless exact; None where nobody states it.
    sha256 : str
        Of the only file, in hexadecimal, where it is published.
    sign_in : str
        What the provider wants to see first; empty where anybody may download.
    note : str
        What else one has to know.

    Examples
    --------
    >>> SOURCES["population"].url("gpw_v4_population_density_rev11_2020_10m.tif")
    'https://geodata.ucdavis.edu/geodata/pop/gpw_v4_population_density_rev11_2020_10m.tif'
    """

    name: str
    what: str
    homepage: str
    licence: str
    citation: str
    address: str = ""
    files: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    size: int | None = None
    exact: bool = False
    sha256: str = ""
    sign_in: str = ""
    note: str = ""

    def url(self, file: str, base_url: str | None = None) -> str:
        """Return the address of a file, or of its copy under ``base_url``."""
        template = self.address if base_url is None else base_url.rstrip("/") + "/{file}"
        return template.replace("{file}", quote(file))


# Names of files inside a repository of the hub come from its card or from published code that reads
# it; on the hub they may have moved since.
_DATA = (
    Source(
        "s2_100k",
        "S2-100K: 100,000 patches of Sentinel-2 (12 bands, uint16, 256 x 256), index.csv (fn, lon, "
        "lat) and 100 tar files of 1,000 GeoTIFF patches each",
        f"{HUB}/datasets/torchgeo/s2-100k",
        "tagged MIT; an older card says for research only",
        SATCLIP,
        f"{HUB}/datasets/torchgeo/s2-100k/resolve/main/{{file}}",
        ("index.csv", *(f"data/shard-{number:05d}.tar" for number in range(100))),
        size=78_000_000_000,
        note="the tar files are read as they are; the copy davanstrien/satclip lacks patches",
    ),
    Source(
        "mp16_metadata",
        "MP-16: places and scene labels of 4.1 million photos, CSV",
        f"{HUB}/datasets/Jia-py/MP16-Pro",
        "academic use",
        MP16,
        f"{HUB}/datasets/Jia-py/MP16-Pro/resolve/main/{{file}}",
        ("metadata/MP16_Pro_filtered.csv",),
        ("metadata/MP16_Pro_places365.csv", "metadata/mp16_urls.csv"),
        sign_in=MP16_SIGN_IN,
    ),
    Source(
        "mp16_images",
        "MP-16: the photos, one tar file cut into 19 pieces",
        f"{HUB}/datasets/Jia-py/MP16-Pro",
        "academic use; each photo under its own licence",
        MP16,
        f"{HUB}/datasets/Jia-py/MP16-Pro/resolve/main/{{file}}",
        tuple(f"mp-16-images{number:02d}" for number in range(19)),
        size=370_000_000_000,
        sign_in=MP16_SIGN_IN,
        note="the pieces are read as they are, in their order, and need not be joined",
    ),
    Source(
        "wikipedia_geo_tags",
        "English Wikipedia: coordinates by page number, a dump of an SQL table",
        "https://dumps.wikimedia.org",
        "CC BY-SA 4.0",
        WIKIPEDIA,
        f"{DUMPS}/{{file}}",
        ("enwiki-latest-geo_tags.sql.gz",),
        ("enwiki-latest-page.sql.gz",),
        size=50_000_000,
        note="renewed twice a month: take the articles of the same days",
    ),
    Source(
        "wikipedia_articles",
        "English Wikipedia: all articles, XML",
        "https://dumps.wikimedia.org",
        "CC BY-SA 4.0",
        WIKIPEDIA,
        f"{DUMPS}/{{file}}",
        ("enwiki-latest-pages-articles.xml.bz2",),
        size=27_000_000_000,
        note="bzip2 is read as it is, page by page: no need to unpack it",
    ),
    Source(
        "wikipedia_abstracts",
        "English Wikipedia: abstracts, XML",
        "https://phabricator.wikimedia.org/T382069",
        "CC BY-SA 4.0",
        WIKIPEDIA,
        note="no longer made since February 2025: take the first paragraphs of wikipedia_articles, "
        "or a copy of enwiki-latest-abstract.xml.gz that somebody kept",
    ),
    Source(
        "gadm",
        "GADM 4.1: administrative areas of the world, GeoPackage in a zip file",
        "https://gadm.org",
        "not for commercial use, not to be redistributed",
        "GADM, version 4.1, https://gadm.org",
        "https://geodata.ucdavis.edu/gadm/gadm4.1/{file}",
        ("gadm_410-gpkg.zip",),
    ),
    Source(
        "natural_earth",
        "Natural Earth: countries, 1:50 million, shapefile in a zip file",
        "https://www.naturalearthdata.com",
        "public domain",
        "Made with Natural Earth",
        "https://naciscdn.org/naturalearth/50m/cultural/{file}",
        ("ne_50m_admin_0_countries.zip",),
    ),
    Source(
        "population",
        "GPWv4.11: people per km2 in 2020, GeoTIFF of 30 arc seconds, from a mirror of SEDAC",
        "https://doi.org/10.7927/H45Q4T5F",
        "CC BY 4.0",
        "CIESIN (2018), https://doi.org/10.7927/H45Q4T5F",
        "https://geodata.ucdavis.edu/geodata/pop/{file}",
        (GPW.format("30s"),),
        (GPW.format("2.5m"), GPW.format("5m"), GPW.format("10m")),
        note="the others are of 2.5, 5 and 10 arc minutes",
    ),
    Source(
        "population_sedac",
        "GPWv4.11: people per km2, GeoTIFF, from SEDAC itself (also of 15 arc minutes)",
        "https://doi.org/10.7927/H45Q4T5F",
        "CC BY 4.0",
        "CIESIN (2018), https://doi.org/10.7927/H45Q4T5F",
        sign_in="NASA Earthdata, free",
        note="sign in there and download it in a browser, or take the mirror: population",
    ),
    Source(
        "terrain",
        "Terrain tiles: elevation in metres, Web Mercator, GeoTIFF of 512 x 512",
        "https://registry.opendata.aws/terrain-tiles",
        "open, attribution required",
        TILE_CREDITS,
        f"{TILES}/geotiff/{{file}}",
        note="name the tiles by zoom, column and row: files=['8/137/83.tif']",
    ),
    Source(
        "terrarium",
        "Terrain tiles: elevation in metres, Web Mercator, PNG: R * 256 + G + B / 256 - 32768",
        "https://registry.opendata.aws/terrain-tiles",
        "open, attribution required",
        TILE_CREDITS,
        f"{TILES}/terrarium/{{file}}",
        note="name the tiles by zoom, column and row: files=['8/137/83.png']",
    ),
    Source(
        "ecoregions",
        "RESOLVE Ecoregions 2017: biomes and ecoregions, shapefile in a zip file",
        "https://ecoregions.appspot.com",
        "CC BY 4.0",
        "Dinerstein et al. (2017), https://doi.org/10.1093/biosci/bix014",
        "https://storage.googleapis.com/teow2016/{file}",
        ("Ecoregions2017.zip",),
        size=149_248_653,
        exact=True,
        sha256="be36d6209e443038d02e309f0447c6e7f2a62f5fe60c605ffe90d064952f2a60",
    ),
    Source(
        "ecoregions_2001",
        "WWF's Terrestrial Ecoregions of the World: biomes, shapefile in a zip file",
        "https://www.worldwildlife.org/publications/terrestrial-ecoregions-of-the-world",
        "terms of WWF",
        "Olson et al. (2001), https://doi.org/10.1641/0006-3568(2001)051[0933:TEOTWA]2.0.CO;2",
        "https://files.worldwildlife.org/wwfcmsprod/files/Publication/file/{file}",
        ("6kcchn7e3u_official_teow.zip",),
    ),
    Source(
        "satclip_labels",
        "SatCLIP's labels as in CoordBench: countries, ecoregions, population, elevation; Parquet",
        f"{HUB}/datasets/taylor-geospatial/coordbench",
        "mixed, one for each table",
        SATCLIP,
        f"{HUB}/datasets/taylor-geospatial/coordbench/resolve/main/{{file}}",
        tuple(
            f"data/satclip_{label}/data.parquet"
            for label in ("country", "ecoregion", "population", "elevation")
        ),
        note="country 0 and ecoregion -1 are the ocean: drop them",
    ),
    Source(
        "air_temperature",
        "Mean air temperature of 3,076 weather stations, CSV",
        "https://doi.org/10.1038/sdata.2018.246",
        "open",
        "Hooker, Duveiller and Cescatti (2018), https://doi.org/10.1038/sdata.2018.246",
        "https://springernature.figshare.com/ndownloader/files/12609182",
        ("stationDataAll.csv",),
        size=375_000,
    ),
)

_WEIGHTS = (
    Source(
        "moco",
        "MoCo, ViT-S/16 on 13 bands of Sentinel-2",
        f"{HUB}/torchgeo/vit_small_patch16_224_sentinel2_all_moco",
        "CC BY 4.0",
        "Wang et al. (2023), SSL4EO-S12, https://doi.org/10.1109/MGRS.2023.3281651",
        size=91_000_000,
        note=FIRST_USE.format("huggingface_hub"),
    ),
    Source(
        "dino",
        "DINO, ViT-S/16 on RGB, timm's vit_small_patch16_224.dino",
        f"{HUB}/timm/vit_small_patch16_224.dino",
        "Apache-2.0",
        "Caron et al. (2021), https://arxiv.org/abs/2104.14294",
        size=87_000_000,
        note=FIRST_USE.format("timm"),
    ),
    Source(
        "bge",
        "BGE small, English: 384 features of a text",
        f"{HUB}/BAAI/bge-small-en-v1.5",
        "MIT",
        "Xiao et al. (2023), https://arxiv.org/abs/2309.07597",
        size=134_000_000,
        note=FIRST_USE.format("transformers"),
    ),
    Source(
        "clip",
        "CLIP, ViT-B-32 trained on LAION-2B (laion2b_s34b_b79k), both towers",
        f"{HUB}/laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "MIT",
        "Cherti et al. (2023), https://arxiv.org/abs/2212.07143",
        size=605_000_000,
        note=FIRST_USE.format("open_clip"),
    ),
    Source(
        "satclip",
        "SatCLIP, ViT16-L40: a location encoder, at most 100 MB",
        f"{HUB}/microsoft/SatCLIP-ViT16-L40",
        "MIT",
        SATCLIP,
        note=FIRST_USE.format("huggingface_hub"),
    ),
    Source(
        "tte",
        "TTE: a location encoder of learned cells on the sphere, at most 100 MB",
        f"{HUB}/MVRL/TTE",
        "MIT",
        "Cher et al. (2026), https://arxiv.org/abs/2606.27514",
        note=FIRST_USE.format("huggingface_hub"),
    ),
    Source(
        "geoclip",
        "GeoCLIP: a location encoder",
        "https://github.com/VicenteVivan/geo-clip",
        "MIT",
        "Vivanco Cepeda, Nayak and Shah (2023), https://arxiv.org/abs/2309.16020",
        size=40_000_000,
        note="in the package: pip install --no-deps geoclip==1.3.0",
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in (*_DATA, *_WEIGHTS)}
