"""One file over HTTP from a server that fails: resumed, tried again, whole or not at all."""

import builtins
import errno
import os
import shutil
from collections import namedtuple

import pytest
import requests
from server import Server

from earthtie_lite.paper import transfer as module
from earthtie_lite.paper.transfer import beside, transfer

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
TOTAL = len(CONTENT)
CUT = 40_000


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "CHUNK", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def bring(server, tmp_path):
    """Return a function that transfers file "a" of the server to ``final``, and the paths."""

    def run(path="a", sign_in=""):
        transfer(f"{server.url}/{path}", str(run.final), None, part=run.part, sign_in=sign_in)
        assert not run.part.exists()
        assert os.listdir(tmp_path) == ["final"]
        return run.final.read_bytes()

    run.final, run.part = tmp_path / "final", tmp_path / "final.part"
    return run


def test_a_file_comes_whole_in_one_request(server, bring):
    server.add("a", CONTENT)
    assert bring() == CONTENT
    assert server.ranges == [None]
    assert server.requests[0][1]["Accept-Encoding"] == "identity"  # a range of the file itself


def test_an_empty_file_comes(server, bring):
    server.add("a", b"")
    assert bring() == b""


def test_after_a_cut_only_the_rest_is_asked_for(server, bring):
    server.add("a", CONTENT, cuts=[CUT])
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_after_two_cuts_only_the_rest_is_asked_for(server, bring):
    server.add("a", CONTENT, cuts=[CUT, 20_000])
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-", f"bytes={CUT + 20_000}-"]


def test_a_file_that_breaks_off_more_often_than_attempts_comes_if_each_brings_something(
    server, bring
):
    server.add("a", CONTENT, cuts=[10_000] * 8)
    assert bring() == CONTENT
    assert len(server.requests) == 9 > module.ATTEMPTS


def test_the_next_run_goes_on_from_the_part_that_was_kept(server, bring):
    file = server.add("a", CONTENT, cuts=[CUT] + [0] * module.ATTEMPTS)
    with pytest.raises(OSError, match=r"5 times in a row .*40,000 bytes are kept in .*part: fetch"):
        bring()
    assert not bring.final.exists()
    assert bring.part.read_bytes() == CONTENT[:CUT]
    file.cuts.clear()
    server.requests.clear()
    assert bring() == CONTENT
    assert server.ranges == [f"bytes={CUT}-"]


def test_a_part_is_kept_when_the_user_interrupts(server, bring, monkeypatch):
    server.add("a", CONTENT, cuts=[CUT])

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bring()
    assert not bring.final.exists()
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_a_file_that_changed_in_between_is_started_anew(server, bring):
    server.add("a", CONTENT, cuts=[CUT] + [0] * module.ATTEMPTS)
    with pytest.raises(OSError, match="fetch again to go on"):
        bring()
    server.requests.clear()
    server.add("a", CONTENT[::-1])
    assert bring() == CONTENT[::-1]
    assert server.ranges == [f"bytes={CUT}-"]  # asked for the rest, and was given the new whole


def test_a_date_tells_the_version_where_there_is_no_etag(server, bring):
    date = "Mon, 03 Feb 2025 10:00:00 GMT"
    server.add("a", CONTENT, etag=False, dated=date, cuts=[CUT])
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]
    assert server.requests[1][1]["If-Range"] == date


def test_without_etag_and_date_the_file_is_started_anew(server, bring):
    server.add("a", CONTENT, etag=False, cuts=[CUT])
    assert bring() == CONTENT
    assert server.ranges == [None, None]


def test_a_weak_etag_is_no_version():
    assert module._version_of({"ETag": 'W/"1"', "Last-Modified": "then"}) == "then"
    assert module._version_of({"ETag": '"1"', "Last-Modified": "then"}) == '"1"'
    assert module._version_of({}) == ""


def test_a_server_without_ranges_sends_everything_again(server, bring):
    server.add("a", CONTENT, ranges=False, cuts=[CUT])
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize("cuts", [[CUT], [CUT, 30_000]], ids=["alike", "in turn"])
def test_a_server_without_ranges_that_always_breaks_off_is_given_up(server, bring, cuts):
    server.add("a", CONTENT, ranges=False, cuts=cuts * 20)
    with pytest.raises(OSError, match="5 times in a row"):
        bring()
    assert len(server.requests) == module.ATTEMPTS  # the first one brought something new
    assert not bring.final.exists()


def test_a_cut_is_seen_where_urllib3_does_not_look(server, bring, monkeypatch):
    get = requests.get

    def lax(*args, **settings):
        response = get(*args, **settings)
        response.raw.enforce_content_length = False  # as before urllib3 2
        return response

    monkeypatch.setattr(requests, "get", lax)
    server.add("a", CONTENT, cuts=[CUT])
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_a_part_that_was_whole_already_is_taken(server, bring):
    server.add("a", CONTENT)
    bring.part.write_bytes(CONTENT)
    beside(bring.part, "version").write_text(etag(server))
    assert bring() == CONTENT
    assert server.ranges == [f"bytes={TOTAL}-"]


def test_a_part_that_is_too_long_is_started_anew(server, bring):
    server.add("a", CONTENT)
    bring.part.write_bytes(CONTENT + b"more")
    beside(bring.part, "version").write_text(etag(server))
    assert bring() == CONTENT
    assert server.ranges == [f"bytes={TOTAL + 4}-", None]


def test_a_range_that_begins_elsewhere_is_not_added(server, bring):
    server.add("a", CONTENT, cuts=[CUT], shift=5)
    assert bring() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-", None]


def etag(server):
    """Return the ETag that the server gives."""
    with requests.get(f"{server.url}/a", timeout=5) as response:
        server.requests.clear()
        return response.headers["ETag"]


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_busy_server_is_asked_again(server, bring, status):
    server.add("a", CONTENT, statuses=[status, status])
    assert bring() == CONTENT
    assert len(server.requests) == 3


def test_pauses_grow_and_a_server_that_stays_busy_is_given_up(server, bring, monkeypatch):
    pauses = []
    monkeypatch.setattr(module, "PAUSE_S", 1.0)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.add("a", CONTENT, statuses=[503] * 99)
    with pytest.raises(OSError, match=r"/a broke off or did not answer, 5 times in a row \(503"):
        bring()
    assert pauses == [1, 2, 4, 8]
    assert not bring.final.exists()


def test_a_server_that_is_not_there_is_named(server, bring):
    server.close()
    with pytest.raises(OSError, match=rf"{server.url}/a broke off or did not answer"):
        bring()


def test_a_file_that_is_not_there_is_named_and_not_asked_for_again(server, bring):
    with pytest.raises(OSError, match=rf"404 Not Found: {server.url}/a; it may have moved"):
        bring()
    assert len(server.requests) == 1
    assert not bring.final.exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_sign_in_is_named(server, bring, status):
    server.add("a", statuses=[status])
    with pytest.raises(OSError, match=rf"{status} .*; sign-in: NASA Earthdata, free; see the"):
        bring(sign_in="NASA Earthdata, free")


def test_a_web_page_is_no_file(server, bring):
    server.add("a", b"<html>Please sign in</html>", kind="text/html; charset=utf-8")
    with pytest.raises(OSError, match="/a is a web page and no file"):
        bring()
    assert not bring.final.exists()
    assert not bring.part.exists()


def test_a_file_of_unknown_length_is_refused(server, bring):
    server.add("a", CONTENT, length=False)
    with pytest.raises(OSError, match="/a comes without its length"):
        bring()
    assert not bring.final.exists()


def test_redirects_are_followed_and_resumed_through(server, bring):
    server.add("a", redirect=f"{server.url}/b")
    server.add("b", redirect="/c")
    server.add("c", CONTENT, cuts=[CUT])
    assert bring() == CONTENT
    assert [path for path, _ in server.requests] == ["a", "b", "c"] * 2
    assert server.ranges[-1] == f"bytes={CUT}-"


class FullDisk:
    """A file on a disk that is full after some bytes; used in place of ``open``."""

    def __init__(self, path, mode, room=30_000):
        self.file, self.room = builtins.open(path, mode), room  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.file.close()

    def write(self, data):
        if self.file.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_disk_that_fills_up_keeps_the_part_and_says_what_is_needed(server, bring, monkeypatch):
    server.add("a", CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(module, "open", FullDisk, raising=False)
        message = r"the disk is full: 72,400 of 102,400 bytes to come; make room .*final\.part"
        with pytest.raises(OSError, match=message) as caught:
            bring()
    assert caught.value.errno == errno.ENOSPC
    assert not bring.final.exists()
    assert bring.part.read_bytes() == CONTENT[:30_000]
    assert len(server.requests) == 1  # it is not tried again
    assert bring() == CONTENT
    assert server.ranges == [None, "bytes=30000-"]


def test_a_disk_that_is_too_full_is_seen_before_a_byte_is_written(server, bring, monkeypatch):
    server.add("a", CONTENT, cuts=[CUT] + [0] * module.ATTEMPTS)
    with pytest.raises(OSError, match="fetch again"):
        bring()
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 50_000, 50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    server.files["a"].cuts.clear()
    with pytest.raises(OSError, match=r"final needs 62,400 more bytes .*50,000 are free in") as got:
        bring()
    assert got.value.errno == errno.ENOSPC
    assert bring.part.read_bytes() == CONTENT[:CUT]
    assert not bring.final.exists()


def test_other_errors_of_the_disk_are_passed_on(server, bring):
    server.add("a", CONTENT)
    bring.part.mkdir()
    with pytest.raises(IsADirectoryError):
        bring()
