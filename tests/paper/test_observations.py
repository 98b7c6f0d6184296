"""Observations of the paper: miniatures in the published formats, then real files."""

import io
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image

from earthtie_lite.features import CharacterNGrams
from earthtie_lite.paper.observations import (
    S2_BANDS,
    Observations,
    read_mp16,
    read_s2_100k,
    read_texts,
)

PLACES = [[31.24, 30.04], [180.0, -16.5], [7.0, 90.0], [-60.0, -3.1]]  # date line, pole


def write_patch(path, number, bands=12, pixels=256, dtype="uint16"):
    """Write a patch in which band b holds 100 * number + b, and a corner its place."""
    image = np.full((bands, pixels, pixels), 100 * number, dtype=dtype)
    image += np.arange(bands, dtype=dtype)[:, None, None]
    image[:, 0, 1] = 9999
    settings = {"count": bands, "height": pixels, "width": pixels, "dtype": dtype}
    settings |= {"crs": "EPSG:32636", "transform": rasterio.Affine(10, 0, 3e5, 0, -10, 3e6)}
    with rasterio.open(path, "w", driver="GTiff", compress="lzw", tiled=True, **settings) as file:
        file.write(image)
    return path


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Write four patches and return their folder."""
    folder = tmp_path_factory.mktemp("patches")
    for number in range(4):
        write_patch(folder / f"patch_{number}.tif", number)
    return folder


@pytest.fixture(params=["images", "shards in data", "shards beside"])
def s2(request, tmp_path, patches):
    """Write S2-100K with four rows, the index not in the order of the patches."""
    order = [2, 0, 3, 1]
    frame = pd.DataFrame(PLACES, columns=["lon", "lat"])
    frame.insert(0, "fn", [f"patch_{number}.tif" for number in order])
    frame.to_csv(tmp_path / "index.csv", index=False)
    if request.param == "images":
        shutil.copytree(patches, tmp_path / "images")
        return tmp_path
    (tmp_path / "images").mkdir()  # made, but empty
    folder = tmp_path / "data" if "data" in request.param else tmp_path
    folder.mkdir(exist_ok=True)
    if "beside" in request.param:
        (tmp_path / "images").rmdir()
    for shard in range(2):
        with tarfile.open(folder / f"shard-{shard:05d}.tar", "w") as archive:
            for number in (2 * shard, 2 * shard + 1):
                archive.add(patches / f"patch_{number}.tif", f"patch_{number}.tif")
    return tmp_path


def test_a_patch_goes_with_the_place_of_its_name(s2):
    seen = read_s2_100k(s2)
    assert len(seen) == 4
    assert repr(seen) == "Observations('satellite', 4 places)"
    np.testing.assert_array_equal(seen.lonlat, PLACES)
    assert seen.names == ["patch_2.tif", "patch_0.tif", "patch_3.tif", "patch_1.tif"]
    for row, number in enumerate([2, 0, 3, 1]):
        image = seen.raw[row]
        assert (image.shape, image.dtype) == ((12, 256, 256), np.uint16)
        np.testing.assert_array_equal(image[:, 5, 5], 100 * number + np.arange(12))
        assert image[0, 0, 1] == 9999 != image[0, 1, 0]  # rows from the north


def test_a_slice_of_patches_is_one_array(s2):
    raw = read_s2_100k(s2).raw
    assert raw[1:3].shape == (2, 12, 256, 256)
    np.testing.assert_array_equal(raw[1:3][1], raw[2])


def test_the_bands_lack_only_the_cirrus_band():
    assert len(S2_BANDS) == 12
    assert "B10" not in S2_BANDS
    assert S2_BANDS.index("B8A") == S2_BANDS.index("B08") + 1


def test_some_observations_are_chosen_without_reading(s2):
    seen = read_s2_100k(s2)
    some = seen.at(np.array([3, 1]))
    np.testing.assert_array_equal(some.lonlat, np.array(PLACES)[[3, 1]])
    assert some.names == ["patch_1.tif", "patch_0.tif"]
    assert some.raw[0][0, 5, 5] == 100
    assert seen.at(np.array([False, True, False, True])).names == ["patch_0.tif", "patch_1.tif"]


def test_rows_without_an_image_are_refused_or_counted(s2):
    with (s2 / "index.csv").open("a") as file:
        file.write("patch_77.tif,1.0,2.0\npatch_78.tif,1.0,2.0\n")
    message = (
        r"2 of 6 rows of .*index\.csv have no observation, .* row 4 \(fn 'patch_77\.tif'\); down"
    )
    with pytest.raises(ValueError, match=message):
        read_s2_100k(s2)
    seen = read_s2_100k(s2, missing="drop")
    assert (len(seen), seen.dropped) == (4, 2)
    assert repr(seen) == "Observations('satellite', 4 places, 2 rows left out)"
    assert seen.modality(np.eye(4)).source == "S2-100K, index.csv; 2 rows left out"
    with pytest.raises(ValueError, match="missing must be 'error' or 'drop', got 'ignore'"):
        read_s2_100k(s2, missing="ignore")


def test_an_index_without_any_image_is_refused(s2):
    (s2 / "index.csv").write_text("fn,lon,lat\npatch_9.tif,1.0,2.0\n")
    with pytest.raises(ValueError, match=r"no row of .*index\.csv has an observation and a place"):
        read_s2_100k(s2, missing="drop")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("patch_1.tif,,30.0", r"index\.csv: lonlat must be finite, got \[nan, 30\.0\] in row 2"),
        ("patch_1.tif,east,30.0", r"index\.csv: lonlat must be finite, got .* in row 2"),
        ("patch_1.tif,20.0,151.2", r"index\.csv: latitude must lie in .* got 151\.2 in row 2"),
    ],
)
def test_a_wrong_place_is_refused_with_its_row(tmp_path, patches, row, message):
    shutil.copytree(patches, tmp_path / "images")
    rows = ["fn,lon,lat", "patch_0.tif,1,2", "patch_9.tif,3,4", row]
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"1 of 3 rows"):
        read_s2_100k(tmp_path)
    if "151" in row:  # rows left out before it do not change its number
        with pytest.raises(ValueError, match=message):
            read_s2_100k(tmp_path, missing="drop")
    (tmp_path / "index.csv").write_text("\n".join([*rows[:2], rows[1], row]) + "\n")
    with pytest.raises(ValueError, match=message):
        read_s2_100k(tmp_path)


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"bands": 13}, "got 13 of 256 x 256 in uint16"),
        ({"bands": 3}, "got 3 of 256 x 256 in uint16"),
        ({"pixels": 64}, "got 12 of 64 x 64 in uint16"),
        ({"dtype": "float32"}, "got 12 of 256 x 256 in float32"),
    ],
)
def test_a_patch_of_another_kind_is_refused(tmp_path, settings, got):
    (tmp_path / "images").mkdir()
    write_patch(tmp_path / "images" / "patch_0.tif", 0, **settings)
    (tmp_path / "index.csv").write_text("fn,lon,lat\npatch_0.tif,1,2\n")
    with pytest.raises(ValueError, match=rf"patch_0\.tif in .*12 bands of 256 x 256 .*{got}"):
        read_s2_100k(tmp_path).raw[0]


@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.98])
def test_a_damaged_patch_is_refused_by_name(tmp_path, kept):
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "patch_0.tif"
    noise = np.random.default_rng(0).integers(0, 9999, (12, 256, 256), dtype=np.uint16)
    settings = {"count": 12, "height": 256, "width": 256, "dtype": "uint16", "compress": "lzw"}
    settings["transform"] = rasterio.Affine(10, 0, 3e5, 0, -10, 3e6)
    with rasterio.open(path, "w", driver="GTiff", **settings) as file:
        file.write(noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    (tmp_path / "index.csv").write_text("fn,lon,lat\npatch_0.tif,1,2\n")
    with pytest.raises(ValueError, match=r"patch_0\.tif in .*cannot be read.*download it again"):
        read_s2_100k(tmp_path).raw[0]


def test_missing_files_of_s2_are_named(tmp_path, patches):
    with pytest.raises(ValueError, match=r"a folder with index\.csv and images of S2-100K, but"):
        read_s2_100k(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"the index of S2-100K, but there is no .*index\.csv"):
        read_s2_100k(patches)
    (tmp_path / "index.csv").write_text("fn,lon,lat\npatch_0.tif,1,2\n")
    with pytest.raises(ValueError, match=r"images that end in \.tif or \.tiff, .*found none"):
        read_s2_100k(tmp_path)


def test_real_patches_are_read(paper_data):
    seen = read_s2_100k(paper_data / "s2")
    assert len(seen) == 3
    assert (seen.raw[:].shape, seen.raw[:].dtype) == ((3, 12, 256, 256), np.uint16)
    for row, name in enumerate(seen.names):
        with rasterio.open(paper_data / "s2" / "images" / name) as file:
            np.testing.assert_array_equal(seen.raw[row], file.read())
            np.testing.assert_allclose(seen.lonlat[row], file.lnglat(), atol=1e-3)


def test_real_patches_are_read_from_an_archive(paper_data, tmp_path):
    shutil.copy(paper_data / "s2" / "index.csv", tmp_path)
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "shard-00000.tar", "w") as archive:
        for path in (paper_data / "s2" / "images").iterdir():
            archive.add(path, path.name)
    folder, packed = read_s2_100k(paper_data / "s2"), read_s2_100k(tmp_path)
    np.testing.assert_array_equal(folder.raw[:], packed.raw[:])
    np.testing.assert_array_equal(folder.lonlat, packed.lonlat)


def jpeg(colour, size=(40, 30), mode="RGB"):
    """Return a photo of one colour as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


COLOURS = {"ab_cd_1.jpg": (250, 10, 10), "ab_ef_2.jpg": (10, 250, 10), "0f_00_3.jpg": (10, 10, 250)}


@pytest.fixture(params=["folder", "archive", "parts"])
def mp16(request, tmp_path):
    """Write MP-16 with three photos of different sizes; return its table and its images."""
    photos = {
        name: jpeg(colour, (40 + 10 * n, 30)) for n, (name, colour) in enumerate(COLOURS.items())
    }
    frame = pd.DataFrame(PLACES[:3], columns=["LON", "LAT"])
    frame["IMG_ID"] = ["ab/ef/2.jpg", "0f/00/3.jpg", "ab/cd/1.jpg"]
    frame["AUTHOR"] = ["12@N00", "A, B", "NA"]
    frame.to_csv(tmp_path / "MP16_Pro_places365.csv", index=False)
    images = tmp_path / "images"
    images.mkdir()
    if request.param == "folder":
        for name, data in photos.items():
            (images / name).write_bytes(data)
        return tmp_path / "MP16_Pro_places365.csv", images
    path = images / "mp-16-images.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in photos.items():
            entry = tarfile.TarInfo(f"./images/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    if request.param == "parts":
        data = path.read_bytes()
        path.unlink()
        for number, start in enumerate(range(0, len(data), 1000)):
            (images / f"mp-16-images{number:02d}").write_bytes(data[start : start + 1000])
        path = images
    return tmp_path / "MP16_Pro_places365.csv", path


def test_a_photo_goes_with_the_place_of_its_id(mp16):
    seen = read_mp16(*mp16)
    assert seen.name == "photos"
    np.testing.assert_array_equal(seen.lonlat, PLACES[:3])
    assert seen.names == ["ab_ef_2.jpg", "0f_00_3.jpg", "ab_cd_1.jpg"]
    for row, name in enumerate(seen.names):
        photo = seen.raw[row]
        assert photo.dtype == np.uint8
        assert photo.shape[2] == 3
        np.testing.assert_allclose(photo.mean(axis=(0, 1)), COLOURS[name], atol=4)
    assert [photo.shape[:2] for photo in seen.raw[:]] == [(30, 50), (30, 60), (30, 40)]


def test_photos_without_a_place_or_a_file_are_counted(mp16):
    table, images = mp16
    with table.open("a") as file:
        file.write(",,ab/ef/2.jpg,x\n1.0,2.0,gone/4.jpg,x\n")
    with pytest.raises(ValueError, match=r"1 of 5 rows .* row 4 \(IMG_ID 'gone_4\.jpg'\)"):
        read_mp16(table, images)
    seen = read_mp16(table, images, missing="drop")
    assert (len(seen), seen.dropped) == (3, 2)


def test_columns_of_another_table_are_named(mp16):
    table, images = mp16
    frame = pd.read_csv(table, keep_default_na=False)
    frame = frame.rename(columns={"IMG_ID": "image", "LON": "lng", "LAT": "lat"})
    frame.to_csv(table, index=False)
    with pytest.raises(ValueError, match=r"the metadata of MP-16, but .* has no \['IMG_ID', 'LON'"):
        read_mp16(table, images)
    seen = read_mp16(table, images, image_id="image", lon="lng", lat="lat", name="flickr")
    np.testing.assert_array_equal(seen.lonlat, PLACES[:3])
    assert seen.name == "flickr"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_photos_in_other_colours_become_rgb(tmp_path, mode):
    (tmp_path / "1.jpg").write_bytes(jpeg(0 if mode == "L" else (0, 0, 0, 255), mode=mode))
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n1.jpg,2,1\n")
    photo = read_mp16(tmp_path / "t.csv", tmp_path).raw[0]
    assert (photo.shape, photo.dtype) == ((30, 40, 3), np.uint8)
    assert photo.max() < 5


@pytest.mark.parametrize("data", [b"", b"<html>", jpeg((9, 9, 9))[:-300], jpeg((9, 9, 9))[:40]])
def test_a_damaged_photo_is_refused_by_name(tmp_path, data):
    (tmp_path / "1.jpg").write_bytes(data)
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n1.jpg,2,1\n")
    with pytest.raises(ValueError, match=r"1\.jpg in .*cannot be read: .*; download it again"):
        read_mp16(tmp_path / "t.csv", tmp_path).raw[0]


TEXTS = pd.DataFrame(
    {
        "name": ["NA", "Taveuni", "North Pole"],
        "lat": [-22.6, -16.8, 90.0],
        "lon": [17.1, -180.0, 0.0],
        "text": ["NA is the code of Namibia, too.", 'An island, "the garden".', "Ice;\nand ice."],
    }
)


@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_texts_are_read_as_they_are(tmp_path, file):
    path = tmp_path / file
    TEXTS.to_parquet(path) if "parquet" in file else TEXTS.to_csv(path, index=False)
    seen = read_texts(path, title="name")
    assert seen.raw == TEXTS["text"].tolist()
    assert seen.names == ["NA", "Taveuni", "North Pole"]
    np.testing.assert_array_equal(seen.lonlat, TEXTS[["lon", "lat"]])
    assert read_texts(path).names == seen.raw
    assert read_texts(path, text="name").raw == seen.names
    assert seen.at(np.array([2])).raw == ["Ice;\nand ice."]


def test_rows_without_text_are_refused_or_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("lon,lat,text\n1,2,one\n3,4,  \n,6,three\n7,8,four\n")
    with pytest.raises(ValueError, match=r"1 of 4 rows of .*t\.csv have no observation, .* row 1"):
        read_texts(path)
    seen = read_texts(path, missing="drop")
    assert seen.raw == ["one", "four"]
    assert seen.dropped == 2


def test_real_texts_are_read(paper_data):
    path = paper_data / "wikivoyage" / "wikivoyage_bylines.csv"
    seen = read_texts(path, text="byline", title="title")
    frame = pd.read_csv(path, keep_default_na=False)
    assert len(seen) == len(frame) == 6000
    assert seen.raw == frame["byline"].tolist()
    np.testing.assert_array_equal(seen.lonlat, frame[["lon", "lat"]])
    aachen = seen.names.index("Aachen")
    assert '"three lands corner"' in seen.raw[aachen]
    np.testing.assert_allclose(seen.lonlat[aachen], [6.0828, 50.7753])


def test_observations_become_a_modality(tmp_path):
    TEXTS.to_csv(tmp_path / "t.csv", index=False)
    seen, encoder = read_texts(tmp_path / "t.csv"), CharacterNGrams(16)
    modality = seen.modality(encoder(seen.raw), encoder)
    assert (modality.name, modality.source) == ("text", "t.csv")
    np.testing.assert_array_equal(modality.lonlat, seen.lonlat)
    assert modality.featuriser is encoder
    with pytest.raises(ValueError, match=r"features of modality 'text' must have shape \(3, D\)"):
        seen.modality(np.eye(2))


def test_observations_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"got 2 places, 1 observations and 2 names"):
        Observations("text", PLACES[:2], ["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"got 2 places, 2 observations and 1 names"):
        Observations("text", PLACES[:2], ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="latitude must lie in"):
        Observations("text", [[1.0, 99.0]], ["a"], ["a"])
