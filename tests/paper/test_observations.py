"""Images in folders and archives; S2-100K and MP-16 in the published formats, then real files."""

import gzip
import io
import itertools
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import rasterio
from PIL import Image

from earthtie_lite.features import CharacterNGrams
from earthtie_lite.paper.observations import Images, Observations, read_mp16, read_s2_100k


def as_numbers(data):
    """Decode bytes as the numbers they are; refuse those that begin with 255."""
    if data.startswith(b"\xff"):
        raise ValueError("it begins with 255")
    return np.frombuffer(data, dtype=np.uint8)


def write_tar(path, members, format=tarfile.GNU_FORMAT):
    """Write a tar archive of named bytes, folders before them; return the path."""
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 0.5  # PAX keeps fractions in a header of their own
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(data))
    return path


def cut(path, pieces):
    """Cut a file into pieces beside it, as MP-16 is published, and remove it."""
    data = path.read_bytes()
    edges = np.linspace(0, len(data), pieces + 1).astype(int)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        path.with_name(f"mp-16-images{number:02d}").write_bytes(data[start:end])
    path.unlink()


CONTENT = {f"image_{n}.bin": bytes(range(n + 1)) * 300 for n in range(9)}


@pytest.fixture(params=["folder", "archive", "shards", "parts"])
def where(request, tmp_path):
    """Write the content in one of the layouts; return what Images takes."""
    if request.param == "folder":
        for name, data in CONTENT.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "notes.txt").write_text("not an image")
    elif request.param == "shards":
        first, second = list(CONTENT.items())[:4], list(CONTENT.items())[4:]
        write_tar(tmp_path / "shard-00000.tar", {f"../../{n}": data for n, data in first})
        inside = {"deep/": b""} | {f"deep/er/{n}": data for n, data in second}
        write_tar(tmp_path / "shard-00001.tar", inside, tarfile.PAX_FORMAT)
    else:
        path = write_tar(tmp_path / "all.tar", {"./readme": b"x"} | CONTENT)
        if request.param == "archive":
            return str(path)
        cut(path, 5)
        (tmp_path / "mp-16-images00.sha256").write_text("what a download leaves beside it")
    return tmp_path


def test_images_of_every_layout_are_read_by_index_and_by_slice(where):
    images = pickle.loads(pickle.dumps(Images(where, (".bin",), as_numbers)))
    assert {name: images[n].tobytes() for n, name in enumerate(images.table["name"])} == CONTENT
    assert images[-1].tolist() == images[8].tolist()
    assert [len(i) for i in images[2:5]] == [len(images[row]) for row in (2, 3, 4)]
    assert images[9:] == []
    assert len(list(images)) == len(images) == 9
    chosen = images.at(np.array([7, 0]))
    assert [i.tolist() for i in chosen] == [images[7].tolist(), images[0].tolist()]
    assert images.at(np.arange(9) == 3)[0].tolist() == images[3].tolist()


def test_the_fingerprint_changes_with_the_images(where):
    images = Images(where, (".bin",), as_numbers)
    print_ = images.fingerprint
    assert Images(where, (".bin",), as_numbers).fingerprint == print_
    assert Images(where, (".bin",), bytes).fingerprint != print_
    assert images.at(np.arange(8)).fingerprint != print_
    assert images.at(np.arange(9)[::-1]).fingerprint != print_
    os.utime(images.files[0][0][0], ns=(1, 1))
    assert Images(where, (".bin",), as_numbers).fingerprint != print_


def test_a_damaged_image_is_named_with_its_archive(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"good.bin": b"ab", "bad.bin": b"\xff"})
    images = Images(path, (".bin",), as_numbers)
    assert images[0].tobytes() == b"ab"
    with pytest.raises(ValueError, match=r"bad\.bin in .*a\.tar cannot be read: it begins with"):
        images[1]


@pytest.mark.parametrize("kept", [700, 1100, 1536, 2048, 2560, 3072])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, kept):
    # 512 bytes of header and 512 of content a file: inside content, inside a header, between two.
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes([n]) * 500 for n in range(3)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"archive a\.tar cannot be read: .*download it again"):
        Images(path, (".bin",), as_numbers)


def test_archives_that_are_damaged_compressed_or_lack_a_part_are_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes([n]) * 500 for n in range(3)})
    data = bytearray(path.read_bytes())
    data[1024 + 150] ^= 1  # the checksum of the second header
    for damaged in (bytes(data), gzip.compress(data)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.tar cannot be read: .*; decompress it, or"):
            Images(path, (".bin",), as_numbers)
    cut(write_tar(path, CONTENT), 5)
    (tmp_path / "mp-16-images02").unlink()
    with pytest.raises(ValueError, match=r"mp-16-images00, .*, mp-16-images04 cannot be read"):
        Images(tmp_path, (".bin",), as_numbers)


def test_an_archive_without_images_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.bin": b"x"})
    with pytest.raises(ValueError, match=r"images that end in .*\.jpeg.*, found none in"):
        Images(tmp_path, (".jpg", ".jpeg"), as_numbers)


PLACES = [[10.5, 50.25], [-60.0, -3.1], [180.0, 67.5]]
NAMES = ["patch_2.tif", "patch_0.tif", "patch_1.tif"]


def write_patch(path, number=0, bands=12, pixels=256, dtype="uint16"):
    """Write a patch of noise, in which pixel (5, 5) of band b is 100 * number + b."""
    noise = np.random.default_rng(number).integers(0, 9999, (bands, pixels, pixels))
    noise[:, 5, 5] = 100 * number + np.arange(bands)
    settings = {"count": bands, "height": pixels, "width": pixels, "dtype": dtype}
    settings["transform"] = rasterio.Affine(10, 0, 3e5, 0, -10, 3e6)
    with rasterio.open(path, "w", driver="GTiff", compress="lzw", **settings) as file:
        file.write(noise.astype(dtype))


def write_index(folder, *rows):
    (folder / "index.csv").write_text("\n".join(["fn,lon,lat", *rows]) + "\n")


@pytest.fixture
def s2(tmp_path):
    """Write S2-100K with three patches, the index in another order."""
    write_index(tmp_path, *(f"{name},{lon},{lat}" for name, (lon, lat) in zip(NAMES, PLACES)))
    (tmp_path / "images").mkdir()
    for number in range(3):
        write_patch(tmp_path / "images" / f"patch_{number}.tif", number)
    return tmp_path


@pytest.mark.parametrize("folder", ["images", "data", "."])
def test_a_patch_goes_with_the_place_of_its_name(s2, folder):
    if folder != "images":  # that may be made, but empty
        members = {path.name: path.read_bytes() for path in (s2 / "images").iterdir()}
        shutil.rmtree(s2 / "images")
        (s2 / "images").mkdir()
        (s2 / folder).mkdir(exist_ok=True)
        write_tar(s2 / folder / "shard-00000.tar", members)
    seen = read_s2_100k(s2)
    assert repr(seen) == "Observations('satellite', 3 places)"
    np.testing.assert_array_equal(seen.lonlat, PLACES)
    assert seen.names == NAMES
    for row, number in enumerate([2, 0, 1]):
        assert (seen.raw[row].shape, seen.raw[row].dtype) == ((12, 256, 256), np.uint16)
        np.testing.assert_array_equal(seen.raw[row][:, 5, 5], 100 * number + np.arange(12))
    np.testing.assert_array_equal(seen.raw[1:3], np.stack([seen.raw[1], seen.raw[2]]))
    assert len(seen.raw[3:]) == 0
    some = seen.at(np.array([2, 1]))
    np.testing.assert_array_equal(some.lonlat, np.array(PLACES)[[2, 1]])
    assert some.names == NAMES[:0:-1]
    assert some.raw[0][0, 5, 5] == 100


def test_rows_without_an_image_or_a_place_are_refused_or_counted(s2):
    with (s2 / "index.csv").open("a") as file:
        file.write("patch_77.tif,1.0,2.0\npatch_1.tif,,2.0\n")
    with pytest.raises(ValueError, match=r"2 of 5 rows of .*index\.csv .* row 3 \('patch_77\.tif"):
        read_s2_100k(s2)
    seen = read_s2_100k(s2, missing="drop")
    assert repr(seen) == "Observations('satellite', 3 places, 2 rows left out)"
    assert seen.modality(np.eye(3)).source == "S2-100K, index.csv; 2 rows left out"
    with pytest.raises(ValueError, match="unknown missing 'ignore'"):
        read_s2_100k(s2, missing="ignore")


def test_an_index_of_other_images_or_wrong_places_is_refused(s2):
    write_index(s2, "patch_9.tif,1.0,2.0")
    with pytest.raises(ValueError, match=r"1 of 1 rows of .*index\.csv lack an image"):
        read_s2_100k(s2, missing="drop")
    write_index(s2, "patch_0.tif,1,2", "patch_9.tif,3,4", "patch_1.tif,20.0,151.2")
    with pytest.raises(ValueError, match=r"index\.csv cannot be read: latitude .* 151\.2 in row 2"):
        read_s2_100k(s2, missing="drop")  # rows left out before it do not change its number


@pytest.mark.parametrize("settings", [{"bands": 13}, {"pixels": 64}, {"dtype": "float32"}])
def test_a_patch_of_another_kind_is_refused(s2, settings):
    write_patch(s2 / "images" / "patch_2.tif", **settings)
    message = r"patch_2\.tif in .*images cannot be read: expected \(12, 256, 256\) in uint16, got"
    with pytest.raises(ValueError, match=message):
        read_s2_100k(s2).raw[0]


@pytest.mark.parametrize("kept", [0, 5e-6, 0.5, 0.98])
def test_a_damaged_patch_is_refused_by_name(s2, kept):
    path = s2 / "images" / "patch_2.tif"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"patch_2\.tif in .*cannot be read.*download it again"):
        read_s2_100k(s2).raw[0]


def test_real_patches_are_read(paper_data):
    seen = read_s2_100k(paper_data / "s2")
    assert (seen.raw[:].shape, seen.raw[:].dtype) == ((3, 12, 256, 256), np.uint16)
    for row, name in enumerate(seen.names):
        with rasterio.open(paper_data / "s2" / "images" / name) as file:
            np.testing.assert_array_equal(seen.raw[row], file.read())
            np.testing.assert_allclose(seen.lonlat[row], file.lnglat(), atol=1e-3)


def jpeg(colour, size=(40, 30), mode="RGB"):
    """Return a photo of one colour as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


COLOURS = {"ab_cd_1.jpg": (250, 10, 10), "ab_ef_2.jpg": (10, 250, 10), "0f_00_3.jpg": (10, 10, 250)}
MP16 = """IMG_ID,AUTHOR,LAT,LON
ab/ef/2.jpg,"A, B
C",-16.5,-179.99999999999997
0f/00/3.jpg,NA,1e-7,0.1
ab/cd/1.jpg,,90,180
"""


def test_a_photo_goes_with_the_place_of_its_id(tmp_path):
    (tmp_path / "MP16_Pro.csv.gz").write_bytes(gzip.compress(MP16.encode()))
    sizes = zip(COLOURS.items(), (40, 50, 60))
    photos = {f"./images/{name}": jpeg(colour, (width, 30)) for (name, colour), width in sizes}
    cut(write_tar(tmp_path / "all.tar", photos), 7)
    seen = read_mp16(tmp_path / "MP16_Pro.csv.gz", tmp_path)
    assert (seen.name, seen.source) == ("photos", "MP-16, MP16_Pro.csv.gz")
    assert seen.lonlat.tolist() == [[-179.99999999999997, -16.5], [0.1, 1e-7], [180, 90]]
    assert seen.names == ["ab_ef_2.jpg", "0f_00_3.jpg", "ab_cd_1.jpg"]
    for row, name in enumerate(seen.names):
        assert seen.raw[row].dtype == np.uint8
        np.testing.assert_allclose(seen.raw[row].mean(axis=(0, 1)), COLOURS[name], atol=4)
    assert [photo.shape for photo in seen.raw[:]] == [(30, 50, 3), (30, 60, 3), (30, 40, 3)]


def test_names_are_text_as_it_is_and_the_last_of_several_copies_counts(tmp_path):
    for shard, value in (("a.tar", 9), ("b.tar", 200)):
        write_tar(tmp_path / shard, {name: jpeg((value,) * 3) for name in ("NA.jpg", "007.jpg")})
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n007.jpg,2,1\nNA.jpg,2,1\n")
    seen = read_mp16(tmp_path / "t.csv", tmp_path)
    assert seen.names == ["007.jpg", "NA.jpg"]
    assert seen.raw[0].min() > 180


@pytest.fixture
def photo(tmp_path):
    """Write the table of MP-16 for one photo; return it, and where the photo belongs."""
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n1.jpg,2,1\n")
    (tmp_path / "1.jpg").write_bytes(jpeg((9, 9, 9)))
    return tmp_path / "t.csv", tmp_path / "1.jpg"


@pytest.mark.parametrize(("mode", "black"), [("L", 0), ("CMYK", (0, 0, 0, 255))])
def test_photos_in_other_colours_become_rgb(photo, mode, black):
    photo[1].write_bytes(jpeg(black, mode=mode))
    image = read_mp16(photo[0], photo[1].parent).raw[0]
    assert (image.shape, image.dtype) == ((30, 40, 3), np.uint8)
    assert image.max() < 5


@pytest.mark.parametrize("data", [b"", b"<html>", jpeg((9, 9, 9))[:-300], jpeg((9, 9, 9))[:40]])
def test_a_damaged_photo_is_refused_by_name(photo, data):
    photo[1].write_bytes(data)
    with pytest.raises(ValueError, match=r"1\.jpg in .*cannot be read: .*; download it again"):
        read_mp16(photo[0], photo[1].parent).raw[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"IMG_ID,lat,lon\n1.jpg,2,1\n", b"IMG_ID,LAT,LON\n\xff,2,1\n", b'IMG_ID,LAT,LON\n"1,2,1'],
    ids=["empty", "other columns", "other encoding", "open quote"],
)
def test_a_damaged_table_is_refused(photo, content):
    photo[0].write_bytes(content)
    with pytest.raises(ValueError, match=r"the table of MP-16 .*t\.csv cannot be read: "):
        read_mp16(photo[0], photo[1].parent)


def test_observations_of_a_users_own_texts_become_a_modality():
    texts, encoder = ["Ice; and ice.", "NA"], CharacterNGrams(16)
    seen = Observations("text", np.array(PLACES[:2]), texts, ["North", "South"], "mine.csv")
    modality = seen.at(np.array([1])).modality(encoder(["NA"]), encoder)
    assert (modality.name, modality.source, modality.featuriser) == ("text", "mine.csv", encoder)
    np.testing.assert_array_equal(modality.lonlat, [PLACES[1]])
    with pytest.raises(ValueError, match=r"features of modality 'text' must have shape \(2, D\)"):
        seen.modality(np.eye(3))
