"""Archives are unpacked whole or not at all, and never outside their folder."""

import errno
import gzip
import io
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from collections import namedtuple

import pytest

from earthtie_lite.paper import archives
from earthtie_lite.paper.archives import check_name, unpack

FILES = {"index.csv": b"fn,lon,lat\n", "images/patch_0.tif": b"\x00\x01" * 500, "empty.txt": b""}


def write_tar(path, files, mode="w", **members):
    """Write a tar file of contents by name, then of members of other types."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, (kind, target) in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def write_gz(path, files):
    path.write_bytes(gzip.compress(next(iter(files.values()))))
    return path


WRITERS = {
    "a.zip": write_zip,
    "a.tar": write_tar,
    "a.tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "a.tgz": lambda path, files: write_tar(path, files, "w:gz"),
}


def tree(folder):
    """Return what is in a folder, as contents by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def place(tmp_path):
    """Return a folder for the archive, and a folder "out" that is not there, in one of its own."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    return tmp_path / "here", tmp_path / "there" / "out"


def refused(archive, out, message, error=ValueError):
    """Check that an archive is refused and that nothing is left."""
    with pytest.raises(error, match=message) as caught:
        unpack(archive, out)
    assert os.listdir(out.parent) == []
    return caught.value


@pytest.mark.parametrize("name", WRITERS)
def test_each_kind_is_unpacked(place, name):
    here, out = place
    paths = unpack(WRITERS[name](here / name, FILES), out)
    assert paths == sorted(out / file for file in FILES)
    assert tree(out) == FILES
    assert os.listdir(out.parent) == ["out"]


def test_a_gz_file_of_zeros_is_no_empty_tar_file(place):
    here, out = place
    unpack(write_gz(here / "zeros.gz", {"": bytes(2048)}), out)
    assert tree(out) == {"zeros": bytes(2048)}


def test_a_gz_file_loses_its_ending(place):
    here, out = place
    assert unpack(write_gz(here / "geo_tags.sql.gz", {"": b"INSERT"}), out) == [
        out / "geo_tags.sql"
    ]
    assert tree(out) == {"geo_tags.sql": b"INSERT"}


def test_the_kind_is_told_from_the_content(place):
    here, out = place
    unpack(write_zip(here / "download", FILES), out)
    assert tree(out) == FILES


def test_paths_may_be_text_and_folders_are_made(place):
    here, out = place
    unpack(str(write_tar(here / "a.tar", FILES)), str(out / "deep" / "er"))
    assert tree(out / "deep" / "er") == FILES


def test_folders_in_the_archive_are_made(place):
    here, out = place
    write_tar(here / "a.tar", {}, **{"sub": (tarfile.DIRTYPE, "")})
    assert unpack(here / "a.tar", out) == []
    assert (out / "sub").is_dir()


def test_an_archive_of_a_whole_folder_is_unpacked(place):
    here, out = place
    (here / "data").mkdir()
    (here / "data" / "a.txt").write_bytes(b"a")
    with tarfile.open(here / "a.tar", "w") as tar:
        tar.add(here / "data", arcname=".")  # members "." and "./a.txt"
    assert unpack(here / "a.tar", out) == [out / "a.txt"]
    assert os.access(out, os.W_OK)


OUTSIDE = [
    "../evil",
    "a/../../evil",
    "/tmp/evil",
    "C:/evil",
    "C:evil",
    "..\\evil",
    "\\\\host\\evil",
]


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_is_refused_on_any_system(place, kind, name):
    here, out = place
    archive = WRITERS[kind](here / kind, {**FILES, name: b"evil"})
    refused(archive, out, "expected the name of a file inside a folder, got")
    assert sorted(os.listdir(here.parent)) == ["here", "there"]


@pytest.mark.parametrize("name", ["", "a\0b", "..", "/"])
def test_other_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="expected the name of a file inside a folder"):
        check_name(name)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "index.csv"),
        (tarfile.LNKTYPE, "index.csv"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
    ids=["symbolic", "symbolic inside", "hard inside", "hard", "device", "pipe"],
)
def test_links_and_devices_in_a_tar_file_are_refused(place, kind, target):
    here, out = place
    archive = write_tar(here / "a.tar", FILES, other=(kind, target))
    refused(archive, out, "holds 'other', a link or a device")


def test_a_link_in_a_zip_file_is_refused(place):
    here, out = place
    with zipfile.ZipFile(here / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("other")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    refused(here / "a.zip", out, "holds 'other', a link or a device")


def test_a_name_that_comes_twice_is_refused(place):
    here, out = place
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zipfile, about exactly this
        with zipfile.ZipFile(here / "a.zip", "w") as zipped:
            zipped.writestr("a", "one")
            zipped.writestr("a", "two")
    refused(here / "a.zip", out, "holds 'a' twice")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz", "a.gz"])
def test_what_does_not_fit_on_the_disk_is_refused(place, monkeypatch, kind):
    here, out = place
    archive = {**WRITERS, "a.gz": write_gz}[kind](here / kind, {"zeros": bytes(5_000_000)})
    usage = namedtuple("usage", "total used free")(10**7, 6 * 10**6, 4 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    error = refused(archive, out, r"too full to unpack .* more bytes are needed", OSError)
    assert error.errno == errno.ENOSPC


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz", "a.gz"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_an_archive_that_is_cut_short_is_refused(place, kind, part):
    here, out = place
    noise = {f"file {i}": os.urandom(3000) for i in range(20)}
    archive = {**WRITERS, "a.gz": write_gz}[kind](here / kind, noise)
    if kind == "a.tar":
        part *= 20 * 3584 / archive.stat().st_size  # of what is not the empty end
    archive.write_bytes(archive.read_bytes()[: int(part * archive.stat().st_size)])
    refused(archive, out, "is damaged, cut short|is none or is cut short")


def test_a_tar_file_that_is_cut_between_two_files_is_refused(place):
    here, out = place
    archive = write_tar(here / "a.tar", {"a": bytes(512), "b": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, out, "cut short or locked: its end is missing")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz", "a.gz"])
def test_a_damaged_archive_is_refused(place, kind):
    here, out = place
    archive = {**WRITERS, "a.gz": write_gz}[kind](here / kind, {"noise": os.urandom(9000)})
    data = bytearray(archive.read_bytes())
    data[4000] ^= 255
    archive.write_bytes(data)
    refused(archive, out, "is damaged, cut short or locked")


def test_another_file_is_refused(place):
    here, out = place
    (here / "a.zip").write_text("<html>Please sign in</html>")
    refused(here / "a.zip", out, "expected a zip, tar, tar.gz or gz file, .* is none")


def test_a_missing_archive_is_refused(place):
    here, out = place
    refused(here / "gone.zip", out, r"expected an archive, but there is no file .*gone\.zip")


def test_parts_of_a_data_set_are_unpacked_into_one_folder(place):
    here, out = place
    first = unpack(write_tar(here / "0.tar", {"images/patch_0.tif": b"0"}), out)
    second = unpack(write_tar(here / "1.tar", {"images/patch_1.tif": b"1"}), out)
    assert tree(out) == {"images/patch_0.tif": b"0", "images/patch_1.tif": b"1"}
    assert [*first, *second] == [out / "images" / f"patch_{i}.tif" for i in range(2)]
    assert os.listdir(out) == ["images"]


def test_what_is_there_already_is_kept(place):
    here, out = place
    archive = write_zip(here / "a.zip", FILES)
    first = unpack(archive, out)
    before = first[0].stat().st_mtime_ns, first[0].stat().st_ino
    (out / "images" / "patch_0.tif").unlink()
    assert unpack(archive, out) == first
    assert (first[0].stat().st_mtime_ns, first[0].stat().st_ino) == before
    assert tree(out) == FILES


def test_other_content_is_not_overwritten_and_nothing_is_added(place):
    here, out = place
    out.mkdir()
    (out / "index.csv").write_bytes(b"my own")
    with pytest.raises(ValueError, match=r"index\.csv is there with other content; unpack into"):
        unpack(write_zip(here / "a.zip", FILES), out)
    assert tree(out) == {"index.csv": b"my own"}
    assert os.listdir(out) == ["index.csv"]


def test_a_folder_in_the_way_of_a_file_is_kept(place):
    here, out = place
    (out / "index.csv").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"index\.csv is there with other content"):
        unpack(write_zip(here / "a.zip", FILES), out)
    assert os.listdir(out) == ["index.csv"]


def test_a_link_in_the_folder_does_not_lead_out(place):
    here, out = place
    out.mkdir()
    (out / "images").symlink_to(here)
    with pytest.raises(ValueError, match=r"images leads out of .*out; unpack into a new folder"):
        unpack(write_tar(here / "a.tar", FILES), out)
    assert os.listdir(here) == ["a.tar"]
    assert os.listdir(out) == ["images"]


def test_a_failure_while_adding_takes_back_what_was_added(place, monkeypatch):
    here, out = place
    out.mkdir()
    (out / "mine.txt").write_bytes(b"mine")
    rename, calls = os.rename, []

    def fail(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(archives.os, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        unpack(write_tar(here / "a.tar", FILES), out)
    assert tree(out) == {"mine.txt": b"mine"}


def test_a_file_is_no_folder(place):
    here, out = place
    out.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"expected a folder to unpack into, but .*out is a file"):
        unpack(write_tar(here / "a.tar", FILES), out)
    assert out.read_bytes() == b"mine"
