"""Miniatures of the paper's data sets, read by the readers of the originals."""

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite.paper.miniatures import paper_encoders, paper_files, write_miniatures
from earthtie_lite.paper.observations import read_mp16, read_s2_100k
from earthtie_lite.paper.wikipedia import read_geo_tags, read_wikipedia


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_miniatures(tmp_path_factory.mktemp("miniatures"), n=5)


def test_the_readers_of_the_originals_take_them(files):
    patches = read_s2_100k(files["s2_100k"])
    assert patches.raw[0].shape == (12, 256, 256)
    assert 100 < patches.raw[1].mean() < 3100
    place = patches.lonlat[:1]
    (seen,) = et.sample.raster("satellite").patches(place, 256)
    np.testing.assert_array_equal(patches.raw[0][[3, 2, 1]], 12 * seen.astype(np.uint16))
    photos = read_mp16(files["mp16_metadata"], files["mp16_images"])
    assert photos.raw[0].shape == (96, 96, 3)
    texts = read_wikipedia(read_geo_tags(files["wikipedia_geo_tags"]), files["wikipedia_articles"])
    assert all(name in text for name, text in zip(texts.names, texts.raw))
    assert all("History" not in text for text in texts.raw)
    for seen in (patches, photos, texts):
        assert len(seen) == 5
    assert not set(map(tuple, patches.lonlat)) & set(map(tuple, photos.lonlat))


def test_the_labels_are_at_their_places(files):
    population = et.load_task("population", 500, source="paper", path=files["population"])
    assert 0 <= population.target.min() < 1 < population.target.max() < 6
    biome = et.load_task("biome", 500, source="paper", path=files["ecoregions"])
    assert len(np.unique(biome.target)) > 5


def test_they_are_alike_each_time(files, tmp_path):
    for name, path in write_miniatures(tmp_path, n=5).items():
        if path.is_file():
            assert path.read_bytes() == files[name].read_bytes(), name


def test_the_originals_are_fetched_only_on_the_users_word(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="agree=True"):
        paper_files(originals=True)


def test_the_stand_ins_are_the_encoders_of_the_originals_with_random_weights():
    encoders, published = paper_encoders(originals=False), paper_encoders(originals=True)
    assert list(encoders) == list(published) == ["satellite", "photos", "text"]
    assert encoders["text"].out_dim == 384
    for name in ("satellite", "photos"):
        assert published[name].spec["weights"] is None
        assert encoders[name].spec == published[name].spec | {"weights": "random"}
