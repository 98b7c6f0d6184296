"""Atomic writes and the cache of computed arrays."""

import os

import numpy as np
import pytest

from earthtie_lite import storage


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counted:
    """A computation that counts its calls."""

    def __init__(self, array):
        self.array, self.calls = array, 0

    def __call__(self):
        self.calls += 1
        return self.array


def test_a_write_creates_its_folder_and_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "file.bin"
    storage.write_atomic(path, b"first")
    storage.write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file.bin"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    storage.write_atomic(path, b"old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_cached_array_is_computed_once(cache):
    compute = Counted(np.arange(6, dtype=np.float32).reshape(2, 3))
    first, second = storage.cached(b"key", compute), storage.cached(b"key", compute)
    assert compute.calls == 1
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, second)


def test_another_key_is_another_array(cache):
    storage.cached(b"one", Counted(np.zeros(2)))
    np.testing.assert_array_equal(storage.cached(b"two", Counted(np.ones(2))), np.ones(2))


@pytest.mark.parametrize("keep", [0, 5, 100, 200])
def test_a_cut_cache_file_is_computed_anew(cache, keep):
    compute = Counted(np.arange(30.0))
    storage.cached(b"key", compute)
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    np.testing.assert_array_equal(storage.cached(b"key", compute), np.arange(30.0))
    assert compute.calls == 2
    assert len(path.read_bytes()) > 200


def test_a_cache_file_that_is_no_array_is_computed_anew(cache):
    compute = Counted(np.arange(3.0))
    storage.cached(b"key", compute)
    (path,) = cache.iterdir()
    path.write_bytes(b"hello")
    np.testing.assert_array_equal(storage.cached(b"key", compute), np.arange(3.0))


def test_where_nothing_can_be_written_the_array_is_still_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(storage.cached(b"key", Counted(np.ones(2))), np.ones(2))


def test_the_hash_is_sha256():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert storage.sha256(b"") == empty


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "file"
    with storage.whole(target) as part:
        part.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"
    assert os.listdir(target.parent) == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with storage.whole(target) as part:
            part.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
