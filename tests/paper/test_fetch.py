"""Fetching: nothing without a word, nothing half-done, nothing unverified."""

import errno
import hashlib
import os
import shutil
import sys
from collections import namedtuple

import filelock
import pytest
from server import Server

from earthtie_lite.paper import fetch as module, transfer
from earthtie_lite.paper.catalogue import SOURCES, Source
from earthtie_lite.paper.fetch import fetch

CONTENT = bytes(range(256)) * 400
CUT = 40_000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def toy(server, monkeypatch):
    """Return a function that puts a source into the catalogue, by default of one file "a.bin"."""

    def add(files=("a.bin",), **settings):
        settings = {"address": f"{server.url}/{{file}}", "size": 102_400, **settings}
        source = Source(
            "toy",
            "Toys, CSV",
            "https://toys.org",
            "CC BY 4.0",
            "Doe (2020)",
            files=files,
            **settings,
        )
        monkeypatch.setitem(SOURCES, "toy", source)
        server.add("a.bin", CONTENT)
        return server.files["a.bin"]

    return add


def inside(folder):
    """Return the names of the files below a folder, hidden ones left out."""
    paths = folder.rglob("*") if folder.exists() else []
    return sorted(p.name for p in paths if p.is_file() and not p.name.startswith("."))


def test_a_file_is_fetched_into_the_folder_of_its_source(server, toy, tmp_path):
    toy()
    (path,) = fetch("toy", tmp_path, agree=True)
    assert path == tmp_path / "toy" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert inside(tmp_path) == ["a.bin", "a.bin.sha256"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~module_umask()


def module_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_default_folder_is_in_the_cache(server, toy, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path))
    toy()
    assert fetch("toy", agree=True) == [tmp_path / "sources" / "toy" / "a.bin"]


def test_several_files_come_in_their_order(server, toy, tmp_path):
    toy(files=("index.csv", "data/shard-00000.tar"), size=None)
    server.add("index.csv", b"fn,lon,lat\n")
    server.add("data/shard-00000.tar", CONTENT)
    paths = fetch("toy", str(tmp_path), agree=True)
    assert paths == [tmp_path / "toy" / "index.csv", tmp_path / "toy" / "data" / "shard-00000.tar"]
    assert [path.read_bytes() for path in paths] == [b"fn,lon,lat\n", CONTENT]


@pytest.mark.parametrize("files", ["b.bin", ["b.bin"]])
def test_some_files_are_chosen_by_name(server, toy, tmp_path, files):
    toy()
    server.add("b.bin", b"other")
    (path,) = fetch("toy", tmp_path, files=files, agree=True)
    assert path.read_bytes() == b"other"
    assert [path for path, _ in server.requests] == ["b.bin"]


def test_a_copy_elsewhere_is_used(server, toy, tmp_path):
    toy(address="https://toys.invalid/{file}")
    (path,) = fetch("toy", tmp_path, agree=True, base_url=server.url)
    assert path.read_bytes() == CONTENT


def test_a_source_of_the_catalogue_is_fetched_from_a_copy(server, tmp_path):
    server.add("copy/stationDataAll.csv", b"Lat,Lon,meanT\n")
    (path,) = fetch("air_temperature", tmp_path, agree=True, base_url=f"{server.url}/copy/")
    assert path.read_bytes() == b"Lat,Lon,meanT\n"


def test_what_is_there_and_verifies_is_not_fetched_and_nobody_is_asked(server, toy, tmp_path):
    toy()
    first = fetch("toy", tmp_path, agree=True)
    assert fetch("toy", tmp_path) == first
    assert len(server.requests) == 1


def test_the_hash_of_a_first_download_is_kept_as_sha256sum_writes_it(server, toy, tmp_path):
    toy()
    (path,) = fetch("toy", tmp_path, agree=True)
    assert (path.parent / "a.bin.sha256").read_text() == f"{SHA}  a.bin\n"


def test_a_file_that_no_longer_verifies_is_fetched_again(server, toy, tmp_path):
    toy()
    (path,) = fetch("toy", tmp_path, agree=True)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="pass agree=True"):
        fetch("toy", tmp_path)
    fetch("toy", tmp_path, agree=True)
    assert path.read_bytes() == CONTENT


def test_a_file_that_no_longer_verifies_is_gone_if_no_other_comes(server, toy, tmp_path):
    toy()
    (path,) = fetch("toy", tmp_path, agree=True)
    path.write_bytes(CONTENT[:-1])
    del server.files["a.bin"]
    with pytest.raises(OSError, match="404"):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == ["a.bin.sha256"]


def test_a_source_that_was_renewed_is_told_from_the_first_download(server, toy, tmp_path):
    toy()
    (path,) = fetch("toy", tmp_path, agree=True)
    path.unlink()
    server.add("a.bin", CONTENT[::-1])
    with pytest.raises(ValueError, match=rf"SHA-256 is not {SHA}; .*or remove .*a\.bin\.sha256 if"):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == ["a.bin.sha256"]
    (tmp_path / "toy" / "a.bin.sha256").unlink()
    assert fetch("toy", tmp_path, agree=True)[0].read_bytes() == CONTENT[::-1]


def test_a_file_with_the_published_hash_is_taken(server, toy, tmp_path):
    toy(sha256=SHA)
    fetch("toy", tmp_path, agree=True)
    fetch("toy", tmp_path)
    assert inside(tmp_path) == ["a.bin"]
    assert len(server.requests) == 1


def test_a_file_with_a_wrong_hash_is_removed(server, toy, tmp_path):
    toy(sha256="0" * 64)
    with pytest.raises(
        ValueError, match=rf"{server.url}/a.bin sent was removed: SHA-256 is not 000"
    ):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == []


def test_a_wrong_file_that_lies_there_is_not_taken(server, toy, tmp_path):
    toy(sha256=SHA)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin").write_bytes(b"cut short elsewhere")
    (path,) = fetch("toy", tmp_path, agree=True)
    assert path.read_bytes() == CONTENT


def test_the_published_hash_holds_for_the_listed_file_only(server, toy, tmp_path):
    toy(sha256="0" * 64)
    server.add("b.bin", b"other")
    (path,) = fetch("toy", tmp_path, files="b.bin", agree=True)
    assert path.read_bytes() == b"other"


def test_a_cut_download_goes_on_at_the_next_call(server, toy, tmp_path):
    file = toy()
    file.cuts = [CUT, 20_000] + [0] * transfer.ATTEMPTS
    with pytest.raises(
        OSError, match=r"60,000 bytes are kept in .*a.bin.part: fetch again to go on"
    ):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == ["a.bin.part", "a.bin.part.version"]
    file.cuts.clear()
    server.requests.clear()
    (path,) = fetch("toy", tmp_path, agree=True)
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=60000-"]
    assert inside(tmp_path) == ["a.bin", "a.bin.sha256"]


def test_what_a_killed_process_left_is_cleared_away(server, toy, tmp_path):
    toy()
    (tmp_path / "toy" / ".incoming").mkdir(parents=True)
    (tmp_path / "toy" / ".incoming" / "tmp12345").write_bytes(CONTENT)
    fetch("toy", tmp_path, agree=True)
    assert sorted(set(os.listdir(tmp_path / "toy")) - {".lock"}) == ["a.bin", "a.bin.sha256"]


def test_a_file_that_is_not_there_leaves_nothing(server, toy, tmp_path):
    toy(files=("gone.bin",))
    with pytest.raises(OSError, match=rf"404 Not Found: {server.url}/gone.bin"):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == []


def test_files_before_a_failure_are_kept(server, toy, tmp_path):
    toy(files=("a.bin", "gone.bin"))
    with pytest.raises(OSError, match="404"):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == ["a.bin", "a.bin.sha256"]


def test_a_source_that_does_not_fit_is_not_begun(server, toy, tmp_path, monkeypatch):
    toy()
    usage = namedtuple("usage", "total used free")(10**6, 9 * 10**5, 10**5)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        OSError, match=r"too full: toy needs 102,400 more .*100,000 are free"
    ) as got:
        fetch("toy", tmp_path, agree=True)
    assert got.value.errno == errno.ENOSPC
    assert server.requests == []
    assert inside(tmp_path) == []


def test_what_has_come_needs_no_room(server, toy, tmp_path, monkeypatch):
    file = toy()
    file.cuts = [CUT] + [0] * transfer.ATTEMPTS
    with pytest.raises(OSError, match="fetch again"):
        fetch("toy", tmp_path, agree=True)
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 62_400, 62_400)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    file.cuts.clear()
    assert fetch("toy", tmp_path, agree=True)[0].read_bytes() == CONTENT


def test_a_dry_run_prints_everything_and_uses_no_network(server, toy, tmp_path, capsys):
    toy(sign_in="NASA Earthdata, free", note="drop the ocean", others=("b.bin",))
    assert fetch("toy", tmp_path, dry_run=True) == [tmp_path / "toy" / "a.bin"]
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "toy: Toys, CSV",
        "  files        1: a.bin",
        "  others       b.bin",
        f"  from         {server.url}/a.bin",
        "  size         about 102.4 kB",
        "  licence      CC BY 4.0",
        "  cite         Doe (2020)",
        f"  destination  {tmp_path / 'toy'}",
        "  sign-in      NASA Earthdata, free",
        "  note         drop the ocean",
        "  homepage     https://toys.org",
    ]
    assert server.requests == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_of_the_catalogue_has_a_dry_run(name, tmp_path, capsys, monkeypatch):
    def fail(*args, **settings):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", fail)
    paths = fetch(name, tmp_path, dry_run=True)
    printed = capsys.readouterr().out
    assert len(paths) == len(SOURCES[name].files)
    assert f"licence      {SOURCES[name].licence}" in printed
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "files", "size"),
    [
        ("s2_100k", None, "about 78.0 GB"),
        ("s2_100k", ["index.csv"], "a part of all 101 files, about 78.0 GB"),
        ("ecoregions", None, "149.2 MB"),
        ("gadm", None, "not stated"),
        ("terrain", ["8/137/83.tif"], "not stated"),
    ],
)
def test_sizes_are_stated_as_far_as_they_are_known(name, files, size, tmp_path, capsys):
    fetch(name, tmp_path, files=files, dry_run=True)
    assert f"  size         {size}\n" in capsys.readouterr().out


class Terminal:
    """A terminal at which somebody answers."""

    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        return True

    def readline(self):
        return f"{self.answer}\n"


@pytest.mark.parametrize("answer", ["y", "Yes"])
def test_at_a_terminal_the_user_is_asked(server, toy, tmp_path, monkeypatch, capsys, answer):
    toy()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert fetch("toy", tmp_path)[0].read_bytes() == CONTENT
    printed = capsys.readouterr().out
    assert "size         about 102.4 kB" in printed
    assert "licence      CC BY 4.0" in printed
    assert f"destination  {tmp_path / 'toy'}" in printed
    assert printed.endswith("Download? [y/N] ")


@pytest.mark.parametrize("answer", ["n", "", "maybe"])
def test_without_a_yes_nothing_is_downloaded(server, toy, tmp_path, monkeypatch, answer):
    toy()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(ValueError, match="nothing was downloaded"):
        fetch("toy", tmp_path)
    assert server.requests == []
    assert os.listdir(tmp_path) == []


def test_without_a_terminal_and_without_a_word_nothing_is_downloaded(server, toy, tmp_path):
    toy()
    message = r"pass agree=True to download\ntoy: Toys(.*\n)*  size         about 102.4 kB"
    with pytest.raises(ValueError, match=message):
        fetch("toy", tmp_path)
    assert server.requests == []
    assert os.listdir(tmp_path) == []


def test_what_needs_a_sign_in_says_so_and_takes_a_file_of_the_user(tmp_path):
    with pytest.raises(ValueError, match=r"sign in there .*local=\. Sign-in: NASA Earthdata, free"):
        fetch("population_sedac", tmp_path, agree=True)
    (tmp_path / "density.tif").write_bytes(b"II*")
    got = fetch("population_sedac", local=tmp_path / "density.tif")
    assert got == [tmp_path / "density.tif"]


@pytest.mark.parametrize("name", ["clip", "geoclip", "wikipedia_abstracts"])
def test_what_has_no_address_says_how_to_get_it(name, tmp_path):
    with pytest.raises(ValueError, match=rf"{name} cannot be downloaded here: .*local="):
        fetch(name, tmp_path, agree=True)


def test_a_file_of_the_user_is_checked(toy, tmp_path):
    toy(sha256=SHA)
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    assert fetch("toy", local=str(tmp_path / "mine.bin")) == [tmp_path / "mine.bin"]
    (tmp_path / "mine.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=rf"mine\.bin is cut short or not as published: .*{SHA}"):
        fetch("toy", local=tmp_path / "mine.bin")
    assert (tmp_path / "mine.bin").exists()
    with pytest.raises(ValueError, match=r"expected Toys, CSV, but there is no .*gone\.bin"):
        fetch("toy", local=tmp_path / "gone.bin")


def test_tiles_are_named_by_the_user(tmp_path):
    with pytest.raises(ValueError, match=r"terrain has no files by default; name the tiles by"):
        fetch("terrain", tmp_path, agree=True)


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown source 'sentinel': there are \['air_temp"):
        fetch("sentinel", tmp_path)


@pytest.mark.parametrize("file", ["../evil", "/etc/passwd", "C:\\evil", ""])
def test_a_file_outside_the_folder_is_refused(server, toy, tmp_path, file):
    toy()
    with pytest.raises(ValueError, match="expected the name of a file inside a folder"):
        fetch("toy", tmp_path, files=[file], agree=True)
    assert server.requests == []


def test_another_kind_of_address_is_refused(toy, tmp_path):
    toy()
    with pytest.raises(ValueError, match="base_url must begin with http:// or https://, got 'ftp"):
        fetch("toy", tmp_path, agree=True, base_url="ftp://toys.org")


def test_two_processes_do_not_write_the_same_file(server, toy, tmp_path):
    toy()
    (tmp_path / "toy").mkdir()
    with (
        filelock.FileLock(tmp_path / "toy" / ".lock"),
        pytest.raises(OSError, match=r"another process is downloading into .*toy; wait for it"),
    ):
        fetch("toy", tmp_path, agree=True)
    assert inside(tmp_path) == []
    assert fetch("toy", tmp_path, agree=True)[0].read_bytes() == CONTENT


def test_a_file_that_came_meanwhile_is_kept(server, toy, tmp_path, monkeypatch):
    toy()
    check, calls = module._verifies, []

    def late(path, published):
        calls.append(path)
        return False if len(calls) == 1 else check(path, published)

    (path,) = fetch("toy", tmp_path, agree=True)
    monkeypatch.setattr(module, "_verifies", late)
    fetch("toy", tmp_path, agree=True)
    assert len(server.requests) == 1
    assert len(calls) == 2
    assert path.read_bytes() == CONTENT
