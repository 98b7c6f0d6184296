"""Fetching: nothing without consent, nothing half-done, nothing unverified, resumed after a cut."""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
from collections import namedtuple
from types import SimpleNamespace

import filelock
import pytest
from server import Server

from earthtie_lite.paper import fetch as module
from earthtie_lite.paper.catalogue import SOURCES, Source
from earthtie_lite.paper.fetch import fetch

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
TOTAL, CUT = len(CONTENT), 40_000
SHA = hashlib.sha256(CONTENT).hexdigest()
SIGN_IN = "NASA Earthdata, free"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "CHUNK", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        yield running


@pytest.fixture
def toy(server, monkeypatch):
    """Return a function that adds a source to the catalogue and its file to the server."""

    def add(files=("a.bin",), source=(), **how):
        settings = {"address": f"{server.url}/{{file}}", "size": TOTAL, **dict(source)}
        about = ("toy", "Toys, CSV", "https://toys.org", "CC BY 4.0", "Doe (2020)")
        monkeypatch.setitem(SOURCES, "toy", Source(*about, files=files, **settings))
        return server.add("a.bin", CONTENT, **how)

    return add


@pytest.fixture
def bring(tmp_path):
    """Return a function that fetches the toy's file and returns its content."""

    def run(**settings):
        (path,) = fetch("toy", tmp_path, **{"agree": True, **settings})
        return path.read_bytes()

    return run


def inside(folder):
    """Return the names of the files below a folder, without hidden ones."""
    paths = folder.rglob("*") if folder.exists() else []
    return sorted(p.name for p in paths if p.is_file() and not p.name.startswith("."))


# ----------------------------------------------------------------------- what is fetched


def test_a_file_is_fetched_once_and_its_hash_is_kept_as_sha256sum_writes_it(
    server, toy, bring, tmp_path
):
    toy()
    assert bring() == bring(agree=False) == CONTENT  # nobody is asked for what is there
    assert inside(tmp_path) == ["a.bin", "a.bin.sha256"]
    assert (tmp_path / "toy" / "a.bin.sha256").read_text() == f"{SHA}  a.bin\n"
    ((_, headers),) = server.requests
    assert headers["Accept-Encoding"] == "identity"  # ranges count bytes of the file itself


def test_the_default_folder_is_in_the_cache(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path))
    toy()
    assert fetch("toy", agree=True) == [tmp_path / "sources" / "toy" / "a.bin"]


def test_files_come_in_their_order_and_those_before_a_failure_are_kept(server, toy, tmp_path):
    toy(files=("index.csv", "data/shard.tar", "gone.bin"), source={"size": None})
    server.add("index.csv", b"fn,lon,lat\n")
    server.add("data/shard.tar", b"")
    with pytest.raises(OSError, match=r"404 Not Found .*/gone.bin; it may have moved"):
        fetch("toy", tmp_path, agree=True)
    assert {"index.csv", "shard.tar"} <= set(inside(tmp_path))
    server.add("gone.bin", b"here")
    paths = fetch("toy", str(tmp_path), agree=True)
    assert [path.read_bytes() for path in paths] == [b"fn,lon,lat\n", b"", b"here"]
    asked = [path for path, _ in server.requests]
    assert asked == ["index.csv", "data/shard.tar", "gone.bin", "gone.bin"]


@pytest.mark.parametrize("files", ["b.bin", ["b.bin"]])
def test_some_files_are_chosen_by_name_and_the_published_hash_is_not_theirs(
    server, toy, bring, files
):
    toy(source={"sha256": "0" * 64})
    server.add("b.bin", b"other")
    assert bring(files=files) == b"other"
    assert [path for path, _ in server.requests] == ["b.bin"]


def test_a_copy_elsewhere_is_used(server, toy, bring):
    toy(source={"address": "https://toys.invalid/{file}"})
    assert bring(base_url=server.url) == CONTENT


# -------------------------------------------------------------------------------- hashes


@pytest.mark.parametrize("published", ["", SHA])
def test_a_file_that_no_longer_verifies_is_fetched_again(server, toy, bring, tmp_path, published):
    toy(source={"sha256": published})
    bring()
    path = tmp_path / "toy" / "a.bin"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="pass agree=True"):
        bring(agree=False)
    assert bring() == CONTENT
    path.write_bytes(CONTENT[:-1])
    del server.files["a.bin"]
    with pytest.raises(OSError, match="404"):
        bring()
    assert not path.exists()  # a damaged file does not stay under its name


def test_a_renewed_source_is_recognised(server, toy, bring, tmp_path):
    toy()
    bring()
    (tmp_path / "toy" / "a.bin").unlink()
    server.add("a.bin", CONTENT[::-1])
    with pytest.raises(ValueError, match=r"SHA-256 is not .*or remove .*a\.bin\.sha256 if"):
        bring()
    assert inside(tmp_path) == ["a.bin.sha256"]
    (tmp_path / "toy" / "a.bin.sha256").unlink()
    assert bring() == CONTENT[::-1]


def test_what_does_not_have_the_published_hash_is_removed(server, toy, bring, tmp_path):
    toy(source={"sha256": "0" * 64})
    with pytest.raises(ValueError, match=rf"what {server.url}/a.bin sent was removed, its SHA-256"):
        bring()
    assert inside(tmp_path) == []


# ------------------------------------------------------------------------------ resuming


@pytest.mark.parametrize(
    ("how", "ranges"),
    [
        ({"cuts": [CUT, 20_000]}, [None, CUT, CUT + 20_000]),
        ({"cuts": [10_000] * 8}, [None, *range(10_000, 90_000, 10_000)]),  # more than ATTEMPTS
        ({"cuts": [CUT], "etag": False, "dated": "Mon, 03 Feb 2025 10:00:00 GMT"}, [None, CUT]),
        ({"cuts": [CUT], "etag": False}, [None, None]),  # nothing names the version
        ({"cuts": [CUT], "ranges": False}, [None, CUT]),
        ({"cuts": [CUT], "shift": 5}, [None, CUT, None]),  # a range that begins elsewhere
        ({"encoding": "gzip"}, [None]),  # said of a file that is stored so: it is kept as it is
        ({"statuses": [500, 503]}, [None] * 3),
        ({"statuses": [429, 502, 504]}, [None] * 4),
    ],
)
def test_after_a_failure_only_the_rest_is_asked_for(server, toy, bring, how, ranges):
    toy(**how)
    assert bring() == CONTENT
    assert server.ranges == [start and f"bytes={start}-" for start in ranges]


@pytest.mark.parametrize("content", [CONTENT, CONTENT[::-1]], ids=["same", "changed"])
def test_a_cut_download_goes_on_at_the_next_call_unless_the_file_changed(
    server, toy, bring, tmp_path, content
):
    toy(cuts=[CUT] + [0] * module.ATTEMPTS)
    with pytest.raises(OSError, match=r"5 times in a row .*40,000 bytes are kept in .*part: fetch"):
        bring()
    assert inside(tmp_path) == ["a.bin.part", "a.bin.part.version"]
    server.requests.clear()
    server.add("a.bin", content)
    assert bring() == content
    assert server.ranges == [f"bytes={CUT}-"]  # a server sends all of a file that changed
    assert inside(tmp_path) == ["a.bin", "a.bin.sha256"]


@pytest.mark.parametrize(
    ("more", "ranges"), [(b"", [TOTAL]), (b"more", [TOTAL + 4, None])], ids=["complete", "too long"]
)
def test_a_part_that_was_complete_is_not_sent_again(server, toy, bring, tmp_path, more, ranges):
    toy(source={"sha256": SHA})
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin.part").write_bytes(CONTENT + more)
    (tmp_path / "toy" / "a.bin.part.version").write_text(server.etag("a.bin"))
    assert bring() == CONTENT
    assert server.ranges == [start and f"bytes={start}-" for start in ranges]


@pytest.mark.parametrize(
    ("name", "ranges"), [("time.sleep", [CUT]), ("file_hash", [CUT, TOTAL])], ids=["pause", "hash"]
)
def test_what_has_come_is_kept_when_the_user_interrupts(
    server, toy, bring, monkeypatch, name, ranges
):
    def interrupt(*args):
        raise KeyboardInterrupt

    toy(cuts=[CUT])
    with monkeypatch.context() as patch:
        patch.setattr(f"earthtie_lite.paper.fetch.{name}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bring()
    assert bring() == CONTENT
    assert server.ranges == [None, *(f"bytes={start}-" for start in ranges)]


def test_redirects_are_followed_and_resumed_through(server, toy, bring):
    toy(redirect="/c")
    server.add("c", CONTENT, cuts=[CUT])
    assert bring() == CONTENT
    assert [path for path, _ in server.requests] == ["a.bin", "c"] * 2


def test_pauses_grow_until_a_busy_server_is_given_up(server, toy, bring, monkeypatch):
    pauses = []
    monkeypatch.setattr(module, "PAUSE_S", 1.0)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    toy(statuses=[503] * 99)
    with pytest.raises(OSError, match=r"broke off or did not answer, 5 times in a row \(503"):
        bring()
    assert pauses == [1, 2, 4, 8]


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(server, toy, bring):
    toy(ranges=False, cuts=[CUT, 30_000] * 20)
    with pytest.raises(OSError, match="5 times in a row"):
        bring()
    assert len(server.requests) == module.ATTEMPTS  # only the first one brought something new


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"statuses": [401]}, r"got 401 Unauthorized .*/a\.bin; sign-in: NASA Earthdata, free"),
        ({"kind": "text/html; charset=utf-8"}, r"got 200 OK \(text/html; charset=utf-8\)"),
        ({"length": False}, "expected a file of known length, got 200 OK"),
    ],
)
def test_what_is_not_the_file_is_refused_at_once(server, toy, bring, tmp_path, how, message):
    toy(source={"sign_in": SIGN_IN}, **how)
    with pytest.raises(OSError, match=message):
        bring()
    assert len(server.requests) == 1
    assert inside(tmp_path) == []


# ---------------------------------------------------------------------- disk and processes


def test_a_source_that_does_not_fit_is_not_begun_but_what_has_come_counts(
    server, toy, bring, tmp_path, monkeypatch
):
    def leave(free):
        usage = namedtuple("usage", "total used free")(10**6, 10**6 - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    toy()
    leave(TOTAL - 1)
    with pytest.raises(
        OSError, match=r"too full: toy needs 102,400 more .*102,399 are free"
    ) as got:
        bring()
    assert got.value.errno == errno.ENOSPC
    assert server.requests == []
    (tmp_path / "toy" / "a.bin.part").write_bytes(CONTENT[:1])
    assert bring() == CONTENT


def test_a_disk_that_fills_up_keeps_the_part(server, toy, bring, monkeypatch):
    def full(file, *args, **settings):
        def write(data):
            if file.tell() >= 30_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            file.write(data)

        return contextlib.nullcontext(SimpleNamespace(write=write))

    toy()
    with monkeypatch.context() as patch:
        patch.setattr(module.tqdm, "wrapattr", full)
        with pytest.raises(OSError, match=r"the disk is full; make room .*a\.bin\.part") as caught:
            bring()
    assert caught.value.errno == errno.ENOSPC
    assert bring() == CONTENT
    assert server.ranges == [None, "bytes=30000-"]  # it was not tried again on the full disk


def test_two_processes_do_not_write_the_same_file(toy, bring, tmp_path):
    toy()
    (tmp_path / "toy").mkdir()
    with (
        filelock.FileLock(tmp_path / "toy" / ".lock"),
        pytest.raises(OSError, match=r"another process is downloading into .*toy; wait for it"),
    ):
        bring()
    assert inside(tmp_path) == []
    assert bring() == CONTENT


# ------------------------------------------------------------------------------- consent


def test_a_dry_run_prints_everything_and_uses_no_network(server, toy, tmp_path, capsys):
    toy(source={"sign_in": SIGN_IN, "note": "no ocean", "others": ("b.bin",)})
    assert fetch("toy", tmp_path, dry_run=True) == [tmp_path / "toy" / "a.bin"]
    assert capsys.readouterr().out.splitlines() == [
        "toy: Toys, CSV",
        "  files        1: a.bin",
        "  others       b.bin",
        f"  from         {server.url}/a.bin",
        "  size         about 102.4 kB",
        "  licence      CC BY 4.0",
        "  cite         Doe (2020)",
        f"  destination  {tmp_path / 'toy'}",
        "  sign-in      NASA Earthdata, free",
        "  note         no ocean",
        "  homepage     https://toys.org",
    ]
    assert server.requests == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_of_the_catalogue_has_a_dry_run(name, tmp_path, capsys, monkeypatch):
    def fail(*args, **settings):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", fail)
    assert len(fetch(name, tmp_path, dry_run=True)) == len(SOURCES[name].files)
    assert f"licence      {SOURCES[name].licence}" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "files", "size"),
    [
        ("s2_100k", None, "about 78.0 GB"),
        ("s2_100k", ["index.csv"], "a part of all 101 files, about 78.0 GB"),
        ("ecoregions", None, "149.2 MB"),
        ("terrain", ["8/137/83.tif"], "not stated"),
    ],
)
def test_sizes_are_stated_as_far_as_they_are_known(name, files, size, tmp_path, capsys):
    fetch(name, tmp_path, files=files, dry_run=True)
    assert f"  size         {size}\n" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["y", "Yes", "n", "", "maybe"])
def test_at_a_terminal_the_user_is_asked(server, toy, bring, monkeypatch, capsys, answer):
    toy()
    terminal = SimpleNamespace(isatty=lambda: True, readline=lambda: f"{answer}\n")
    monkeypatch.setattr(sys, "stdin", terminal)
    if answer in ("y", "Yes"):
        assert bring(agree=False) == CONTENT
    else:
        with pytest.raises(ValueError, match="nothing was downloaded"):
            bring(agree=False)
        assert server.requests == []
    printed = capsys.readouterr().out
    assert "licence      CC BY 4.0" in printed
    assert printed.endswith("Download? [y/N] ")


def test_without_a_terminal_nothing_is_downloaded_unasked(server, toy, bring, tmp_path):
    toy()
    message = r"pass agree=True to download\ntoy: Toys(.*\n)*  size         about 102.4 kB"
    with pytest.raises(ValueError, match=message):
        bring(agree=False)
    assert server.requests == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sentinel", {}, r"unknown source 'sentinel': there are \['air_temp"),
        ("population_sedac", {}, r"by default: see the note(.*\n)*  note         sign in there"),
        ("terrain", {}, r"by default: see the note(.*\n)*  note         name the tiles by zoom"),
        ("clip", {"files": "model.pt"}, "nothing is downloaded here by default"),
        ("gadm", {"base_url": "ftp://toys.org"}, "must begin with http:// or https://, got 'ftp"),
        *(
            ("gadm", {"files": [name]}, "expected the name of a file inside a folder")
            for name in ("../evil", "/etc/passwd", "C:\\evil", "a/../../b", "a\0b", "")
        ),
    ],
)
def test_a_bad_request_is_refused(tmp_path, name, settings, message):
    with pytest.raises(ValueError, match=message):
        fetch(name, tmp_path, agree=True, **settings)
    assert os.listdir(tmp_path) == []
