"""Local files: tables in three formats, images in folders, tar archives and parts of one."""

import io
import os
import pickle
import tarfile

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.paper.files import (
    existing,
    find_images,
    read_table,
    table_columns,
    table_places,
)


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
            entry.size = len(data)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(data))
    return path


def cut(path, pieces):
    """Cut a file into pieces beside it, as MP-16 is published; return their paths."""
    data = path.read_bytes()
    edges = np.linspace(0, len(data), pieces + 1).astype(int)
    parts = [path.with_name(f"mp-16-images{number:02d}") for number in range(pieces)]
    for part, start, end in zip(parts, edges[:-1], edges[1:], strict=True):
        part.write_bytes(data[start:end])
    return parts


CONTENT = {f"image_{n}.bin": bytes(range(n + 1)) * 300 for n in range(9)}


def agrees(images):
    """Tell whether images hold the content, whatever their order."""
    got = {name: images[row].tobytes() for row, name in enumerate(images.names)}
    return got == CONTENT


@pytest.fixture(params=["folder", "archive", "shards", "list of shards", "parts", "list of parts"])
def where(request, tmp_path):
    """Write the content in one of the layouts; return what find_images takes."""
    if request.param == "folder":
        for name, data in CONTENT.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / "notes.txt").write_text("not an image")
        return tmp_path
    if "shards" in request.param:
        first = {f"./{n}": data for n, data in list(CONTENT.items())[:4]}
        second = {"deep/": b""} | {f"deep/er/{n}": data for n, data in list(CONTENT.items())[4:]}
        shards = [
            write_tar(tmp_path / "shard-00000.tar", first),
            write_tar(tmp_path / "shard-00001.tar", second, tarfile.PAX_FORMAT),
        ]
        return shards if "list" in request.param else tmp_path
    path = write_tar(tmp_path / "all.tar", {"./readme": b"x"} | CONTENT)
    if request.param == "archive":
        return str(path)
    parts = cut(path, 5)
    (tmp_path / "mp-16-images00.sha256").write_text("what a download leaves beside it")
    path.unlink()
    return parts if "list" in request.param else tmp_path


def test_images_are_found_in_every_layout(where):
    images = find_images(where, (".bin",), as_numbers)
    assert len(images) == 9
    assert agrees(images)


def test_images_are_read_by_index_and_by_slice(where):
    images = find_images(where, (".bin",), as_numbers)
    assert images[-1].tolist() == images[8].tolist()
    assert [len(i) for i in images[2:5]] == [len(images[row]) for row in (2, 3, 4)]
    assert images[9:] == []
    with pytest.raises(IndexError):
        images[9]
    assert len(list(images)) == 9


def test_some_images_are_chosen_by_rows_or_a_mask(where):
    images = find_images(where, (".bin",), as_numbers)
    chosen = images.at(np.array([7, 0]))
    assert chosen.names.tolist() == [images.names[7], images.names[0]]
    assert chosen[0].tolist() == images[7].tolist()
    mask = np.arange(9) == 3
    assert images.at(mask)[0].tolist() == images[3].tolist()


def test_images_travel_to_other_processes(where):
    assert agrees(pickle.loads(pickle.dumps(find_images(where, (".bin",), as_numbers))))


def test_the_fingerprint_changes_with_the_images(where):
    images = find_images(where, (".bin",), as_numbers)
    print_ = images.fingerprint
    assert find_images(where, (".bin",), as_numbers).fingerprint == print_
    assert find_images(where, (".bin",), bytes).fingerprint != print_
    assert images.at(np.arange(8)).fingerprint != print_
    assert images.at(np.arange(9)[::-1]).fingerprint != print_
    path = images.files[0][0] if images.size[0] >= 0 else images.files[0][0] / images.names[0]
    os.utime(path, ns=(1, 1))
    assert find_images(where, (".bin",), as_numbers).fingerprint != print_


def test_images_of_one_shape_are_stacked(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.bin": b"ab", "2.bin": b"cd", "3.bin": b"ef"})
    images = find_images(tmp_path, (".bin",), as_numbers, stack=True)
    assert images[0:2].tolist() == [[97, 98], [99, 100]]
    assert len(images[3:]) == 0


def test_rows_are_found_by_name_and_the_last_copy_counts(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.bin": b"old", "2.bin": b"two"})
    write_tar(tmp_path / "b.tar", {"1.bin": b"new"})
    images = find_images(tmp_path, (".bin",), as_numbers)
    rows = images.rows_of(["1.bin", "3.bin", "2.bin"])
    assert rows.tolist() == [2, -1, 1]
    assert images[2].tobytes() == b"new"


def test_names_of_any_length_are_read(tmp_path):
    name = "x" * 180 + ".bin"
    for layout in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = write_tar(tmp_path / "a.tar", {"folder/" + name: b"long", "b.bin": b"b"}, layout)
        images = find_images(path, (".bin",), as_numbers)
        assert images.names.tolist() == [name, "b.bin"]
        assert images[0].tobytes() == b"long"


def test_a_damaged_image_is_named_with_its_archive(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"good.bin": b"ab", "bad.bin": b"\xff"})
    images = find_images(path, (".bin",), as_numbers)
    assert images[0].tobytes() == b"ab"
    with pytest.raises(ValueError, match=r"bad\.bin in .*a\.tar cannot be read: it begins with"):
        images[1]
    path.unlink()
    with pytest.raises(ValueError, match=r"good\.bin in .*cannot be read: .*No such file"):
        images[0]


@pytest.mark.parametrize("kept", [700, 1100, 1536, 2048, 2560])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, kept):
    # 512 bytes of header and 512 of content a file: inside content, inside a header, between two.
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes([n]) * 500 for n in range(3)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"a\.tar is .*cut short.*download it again"):
        find_images(path, (".bin",), as_numbers)


def test_an_archive_with_a_damaged_header_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes([n]) * 500 for n in range(3)})
    data = bytearray(path.read_bytes())
    data[1024 + 150] ^= 1  # the checksum of the second header
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.tar is cut short or damaged"):
        find_images(path, (".bin",), as_numbers)


def test_parts_that_lack_one_are_refused(tmp_path):
    parts = cut(write_tar(tmp_path / "all.tar", CONTENT), 5)
    (tmp_path / "all.tar").unlink()
    parts[-1].unlink()  # zeros
    parts[-2].unlink()
    with pytest.raises(ValueError, match="cut short"):
        find_images(tmp_path, (".bin",), as_numbers)


def test_a_compressed_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("1.bin"))
    with pytest.raises(ValueError, match=r"is no tar archive, is compressed .*decompress it"):
        find_images(tmp_path / "a.tar", (".bin",), as_numbers)


def test_an_archive_is_not_unpacked_and_its_names_lead_nowhere(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"../../evil.bin": b"x", "/etc/other.bin": b"y"})
    images = find_images(path, (".bin",), as_numbers)
    assert images.names.tolist() == ["evil.bin", "other.bin"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_where_no_image_is_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"images that end in \.jpg or \.jpeg, .*found none in"):
        find_images(tmp_path, (".jpg", ".jpeg"), as_numbers)
    with pytest.raises(ValueError, match=r"got an empty list"):
        find_images([], (".jpg",), as_numbers)
    with pytest.raises(ValueError, match=r"expected one folder or several archives, got"):
        find_images([tmp_path, tmp_path], (".jpg",), as_numbers)
    with pytest.raises(ValueError, match=r"there is no .*gone; download it first"):
        find_images(tmp_path / "gone", (".jpg",), as_numbers)


FRAME = pd.DataFrame(
    {
        "id": ["007", "NA", "null", ""],
        "other": [1, 2, 3, 4],
        "lon": [0.1, -179.99999999999997, 3, 4],
    }
)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "T.CSV", "t.parquet"])
def test_a_table_keeps_text_as_it_is_and_numbers_exactly(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        FRAME.to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    assert table_columns(path, "a table") == ["id", "other", "lon"]
    got = read_table(path, "a table", ["id"], ["lon"])
    assert list(got.columns) == ["id", "lon"]
    assert got["id"].tolist() == ["007", "NA", "null", ""]
    assert got["lon"].tolist() == FRAME["lon"].tolist()
    assert got["lon"].dtype == np.float64


def test_missing_cells_are_empty_text_and_no_numbers(tmp_path):
    (tmp_path / "t.csv").write_text('name,x\n"a, b",1\n,\n"c\nd",many\n', encoding="utf-8")
    pd.DataFrame({"name": ["a, b", None, "c\nd"], "x": ["1", None, "many"]}).to_parquet(
        tmp_path / "t.parquet"
    )
    for file in ("t.csv", "t.parquet"):
        got = read_table(tmp_path / file, "a table", ["name"], ["x"])
        assert got["name"].tolist() == ["a, b", "", "c\nd"]
        np.testing.assert_array_equal(got["x"], [1.0, np.nan, np.nan])


def test_text_of_many_lines_is_read_wherever_a_block_of_the_file_ends(tmp_path):
    path, text = tmp_path / "t.csv", "\n".join(["a line"] * 50)
    pd.DataFrame({"text": [text] * 9000, "x": range(9000)}).to_csv(path, index=False)
    assert path.stat().st_size > 3 * 2**20  # blocks have 1 MiB
    got = read_table(path, "a table", ["text"], ["x"])
    assert set(got["text"]) == {text}
    assert got["x"].tolist() == list(range(9000))


def test_numbers_that_are_text_elsewhere_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("id\n0010\n12\n")
    assert read_table(tmp_path / "t.csv", "a table", ["id"])["id"].tolist() == ["0010", "12"]


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("lat,long\n1,2\n")
    with pytest.raises(
        ValueError, match=r"expected an index, but .*t\.csv has no \['lon'\]; it has"
    ):
        read_table(tmp_path / "t.csv", "an index", [], ["lon", "lat"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"a,b\n1,2\n1,2,3,4\n"),
        ("t.csv", b"a,b\n1,2\n1\n"),
        ("t.csv", b"a,c,b\n1,2,3\n1,an unquoted, comma,3\n"),
        ("t.csv", b"a,b\n\xff\xfe,2\n"),
        ("t.csv.gz", b"a,b\n1,2\n"),
        ("t.parquet", b"PAR1 and then nothing"),
        ("t.parquet", b""),
        ("t.xlsx", b"a,b\n1,2\n"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"expected a table, but .*{name} cannot be read: .*"):
        read_table(tmp_path / name, "a table", ["a"], ["b"])


@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz"])
def test_a_table_that_is_cut_short_is_refused(tmp_path, name):
    path, frame = tmp_path / name, pd.DataFrame({"a": list("abcdefgh") * 999, "b": range(7992)})
    frame.to_parquet(path) if "parquet" in name else frame.to_csv(path, index=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot be read: .*; download it again"):
        read_table(path, "a table", ["a"], ["b"])


def test_places_of_a_table_are_checked_with_file_and_row():
    frame = pd.DataFrame({"x": [0.0, 151.2], "y": [10.0, np.nan]})
    with pytest.raises(ValueError, match=r"t\.csv: lonlat must be finite, got .* in row 1"):
        table_places(frame, "x", "y", "t.csv")
    assert table_places(frame[:1], "x", "y", "t.csv").tolist() == [[0.0, 10.0]]


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").write_text("")
    assert existing("~/a", "a file") == tmp_path / "a"
    with pytest.raises(ValueError, match=r"expected a file, but there is no .*/b; download it"):
        existing("~/b", "a file")
