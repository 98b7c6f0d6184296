"""The catalogue: complete, with addresses as documented."""

import re

import pytest

from earthtie_lite.paper.catalogue import SOURCES, Source
from earthtie_lite.paper.fetch import check_name

WEIGHTS = {"moco", "dino", "bge", "clip", "satclip", "tte", "geoclip"}
BY_HAND = {"wikipedia_abstracts", "population_sedac"}  # and why is in their notes
TILES = {"terrain", "terrarium"}
HUB = "https://huggingface.co/datasets"


def test_every_item_of_the_paper_is_there():
    data = {
        *("s2_100k", "mp16_metadata", "mp16_images"),
        *("wikipedia_geo_tags", "wikipedia_articles", "gadm", "natural_earth"),
        *("population", "ecoregions", "ecoregions_2001", "satclip_labels", "air_temperature"),
    }
    assert set(SOURCES) == data | WEIGHTS | BY_HAND | TILES


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_each_says_what_it_is_whose_and_under_which_licence(source):
    for text in (source.what, source.licence, source.citation):
        assert text.strip()
        assert "\n" not in text
    assert source.homepage.startswith("https://")
    assert source.size is None or source.size > 0
    assert not source.sha256 or len(source.files) == 1
    assert re.fullmatch("[0-9a-f]{64}|", source.sha256)
    for file in source.files + source.others:
        check_name(file)


@pytest.mark.parametrize("name", SOURCES)
def test_what_has_no_address_says_what_to_do(name):
    source = SOURCES[name]
    assert bool(source.address) == (name not in WEIGHTS | BY_HAND)
    assert bool(source.files) == (name not in WEIGHTS | BY_HAND | TILES)
    assert source.note or source.files


@pytest.mark.parametrize(
    "url",
    [
        f"{HUB}/torchgeo/s2-100k/resolve/main/data/shard-00099.tar",
        f"{HUB}/Jia-py/MP16-Pro/resolve/main/mp-16-images18",
        "https://geodata.ucdavis.edu/gadm/gadm4.1/gadm_410-gpkg.zip",
        "https://naciscdn.org/naturalearth/50m/cultural/ne_50m_admin_0_countries.zip",
        "https://geodata.ucdavis.edu/geodata/pop/gpw_v4_population_density_rev11_2020_30s.tif",
        "https://geodata.ucdavis.edu/geodata/pop/gpw_v4_population_density_rev11_2020_10m.tif",
        "https://storage.googleapis.com/teow2016/Ecoregions2017.zip",
        "https://files.worldwildlife.org/wwfcmsprod/files/Publication/file/6kcchn7e3u_official_teow.zip",
        f"{HUB}/taylor-geospatial/coordbench/resolve/main/data/satclip_country/data.parquet",
        "https://springernature.figshare.com/ndownloader/files/12609182",
        "https://dumps.wikimedia.org/enwiki/latest/enwiki-latest-geo_tags.sql.gz",
    ],
)
def test_files_lie_at_the_documented_addresses(url):
    assert url in {s.url(file) for s in SOURCES.values() for file in s.files + s.others}


def test_terrain_tiles_lie_at_the_documented_addresses():
    tiles = "https://s3.amazonaws.com/elevation-tiles-prod"
    assert SOURCES["terrain"].url("8/137/83.tif") == f"{tiles}/geotiff/8/137/83.tif"
    assert SOURCES["terrarium"].url("8/137/83.png") == f"{tiles}/terrarium/8/137/83.png"


def test_ranges_of_files_are_written_out():
    files = SOURCES["s2_100k"].files
    assert files[:2] == ("index.csv", "data/shard-00000.tar")
    assert len(set(files)) == len(files) == 101


def test_a_copy_is_addressed_by_its_base_and_names_are_quoted():
    toy = Source("toy", "toy", "https://a", "none", "none", "https://a/{file}?raw")
    assert toy.url("a b#1/c.tif") == "https://a/a%20b%231/c.tif?raw"
    assert toy.url("c.tif", "http://localhost:1/x/") == "http://localhost:1/x/c.tif"
    assert toy.url("c.tif", "http://localhost:1/x") == "http://localhost:1/x/c.tif"
