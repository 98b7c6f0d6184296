"""Features encoded into a file: once, a chunk at a time, going on after an interruption."""

import fcntl
import io
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import earthtie_lite
from earthtie_lite.features import CharacterNGrams, Columns, Featuriser, encode
from earthtie_lite.paper.bulk import encode_to_disk

N = 23


@dataclass(frozen=True)
class Squares(Featuriser):
    """The square of a number and its root; refuses one number, if told to."""

    refused: float = -1.0

    @property
    def identity(self):
        return {"class": "Squares"}

    def __call__(self, raw):
        numbers = np.asarray(raw, dtype=np.float64).reshape(-1)
        if self.refused in numbers:
            raise RuntimeError("interrupted")
        return np.stack([numbers**2, np.sqrt(numbers)], axis=1).astype(np.float32)


class Read:
    """A sequence of numbers that keeps book of what is read."""

    fingerprint = "0 to 22"

    def __init__(self):
        self.slices = []

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.slices.append((index.start, index.stop))
        return np.arange(N, dtype=np.float64)[index, None]

    def __iter__(self):
        raise AssertionError("everything was read")


EXPECTED = Squares()(np.arange(N))


def names(folder):
    return sorted(path.suffix for path in folder.iterdir())


@pytest.fixture
def interrupted(tmp_path):
    """Return a folder in which two chunks of five are done."""
    with pytest.raises(RuntimeError, match="interrupted"):
        encode_to_disk(Squares(refused=12), Read(), tmp_path, chunk=5)
    assert names(tmp_path) == [".json", ".part"]
    return tmp_path


@pytest.mark.parametrize("chunk", [1, 5, 23, 100])
def test_the_file_holds_what_the_featuriser_gives(tmp_path, chunk):
    z = encode_to_disk(Squares(), Read(), tmp_path, chunk)
    np.testing.assert_array_equal(z, EXPECTED)
    assert z.dtype == np.float32
    buffer = io.BytesIO()
    np.save(buffer, EXPECTED)
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".npy"
    assert path.read_bytes() == buffer.getvalue()


def test_the_features_are_mapped_and_cannot_be_changed(tmp_path):
    z = encode_to_disk(Squares(), Read(), tmp_path)
    assert isinstance(z, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        z[0] = 1


def test_input_is_read_one_chunk_at_a_time_and_once(tmp_path):
    raw = Read()
    encode_to_disk(Squares(), raw, tmp_path, chunk=10)
    assert raw.slices == [(0, 10), (10, 20), (20, 30)]
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, tmp_path, chunk=7), EXPECTED)
    assert len(raw.slices) == 3


def test_progress_is_told_after_each_chunk(tmp_path):
    told = []
    encode_to_disk(Squares(), Read(), tmp_path, 10, lambda done, n: told.append((done, n)))
    assert told == [(10, N), (20, N), (N, N)]


@pytest.mark.parametrize("chunk", [5, 4, 100])
def test_an_interrupted_call_goes_on(interrupted, chunk):
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, interrupted, chunk), EXPECTED)
    assert raw.slices[0] == (10, 10 + chunk)
    assert names(interrupted) == [".npy"]


@pytest.mark.parametrize("torn", [b"\0" * 7, b"\xff" * 40, b"\1" * 4000])
def test_a_torn_chunk_is_encoded_again(interrupted, torn):
    (part,) = interrupted.glob("*.part")
    with part.open("ab") as file:
        file.write(torn)
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, interrupted, 5), EXPECTED)
    assert raw.slices[0] == (10, 15)


def test_features_that_were_lost_after_all_are_encoded_again(interrupted):
    (part,) = interrupted.glob("*.part")
    part.write_bytes(part.read_bytes()[:-1])
    np.testing.assert_array_equal(encode_to_disk(Squares(), Read(), interrupted, 5), EXPECTED)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"rows": null, "bytes": 3}'])
def test_without_a_record_everything_is_encoded_again(interrupted, record):
    (path,) = interrupted.glob("*.json")
    path.write_text(record)
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, interrupted, 5), EXPECTED)
    assert raw.slices[0] == (0, 5)


def test_what_was_complete_but_for_its_name_is_not_encoded_again(tmp_path):
    z = encode_to_disk(Squares(), Read(), tmp_path)
    del z
    (path,) = tmp_path.iterdir()
    size = path.stat().st_size
    path.rename(path.with_suffix(".part"))
    path.with_suffix(".json").write_text(json.dumps({"rows": N, "bytes": size}))
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, tmp_path), EXPECTED)
    assert raw.slices == []
    assert names(tmp_path) == [".npy"]


def test_a_cut_file_is_encoded_again(tmp_path):
    encode_to_disk(Squares(), Read(), tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(encode_to_disk(Squares(), Read(), tmp_path), EXPECTED)


def test_a_killed_process_loses_no_finished_chunk(tmp_path):
    code = """if True:
        import os, signal, sys
        from earthtie_lite.paper.bulk import encode_to_disk
        from earthtie_lite.features import CharacterNGrams

        def kill(done, n):
            if done == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        encode_to_disk(CharacterNGrams(16), [f"place {i}" for i in range(9)], sys.argv[1], 2, kill)
        """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(earthtie_lite.__file__).parents[1]
    )
    assert done.returncode == -signal.SIGKILL
    texts, told = [f"place {i}" for i in range(9)], []
    encoder = CharacterNGrams(16)
    z = encode_to_disk(encoder, texts, tmp_path, 2, lambda done, n: told.append(done))
    assert told == [8, 9]
    np.testing.assert_allclose(z, encoder(texts), rtol=0, atol=1e-6)


def test_two_processes_do_not_write_into_the_same_file(interrupted):
    (part,) = interrupted.glob("*.part")
    before = part.read_bytes()
    with part.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another process is encoding the same into .*\.part"):
            encode_to_disk(Squares(), Read(), interrupted)
    assert part.read_bytes() == before
    np.testing.assert_array_equal(encode_to_disk(Squares(), Read(), interrupted), EXPECTED)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", fail)
    np.testing.assert_array_equal(encode_to_disk(Squares(), Read(), tmp_path), EXPECTED)


def test_the_cache_is_shared_with_encode(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "new" / "cache"))
    numbers = np.arange(N, dtype=np.float32)[:, None]
    z = encode_to_disk(Squares(), numbers, chunk=4)
    np.testing.assert_array_equal(encode(Squares(refused=3), numbers), z)
    texts = ["Nairobi", "Lima"]
    expected = encode(CharacterNGrams(16), texts)
    assert isinstance(encode_to_disk(CharacterNGrams(16), texts), np.memmap)
    np.testing.assert_array_equal(encode_to_disk(CharacterNGrams(16), texts), expected)
    assert len(list((tmp_path / "new" / "cache").iterdir())) == 2


def test_other_content_is_another_file(tmp_path):
    numbers = [np.array([1.0]), np.array([4.0])]
    encode_to_disk(Squares(), numbers, tmp_path)
    np.testing.assert_array_equal(encode_to_disk(Squares(), numbers[::-1], tmp_path)[:, 1], [2, 1])
    assert names(tmp_path) == [".npy", ".npy"]


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected some input, a chunk at a time, got 0 by 256"):
        encode_to_disk(Squares(), [], tmp_path)
    with pytest.raises(ValueError, match="got 23 by 0"):
        encode_to_disk(Squares(), Read(), tmp_path, chunk=0)
    assert names(tmp_path) == []


def test_columns_are_taken_as_they_are(tmp_path):
    frame = pd.DataFrame({"ph": [5.0, 7.0]})
    assert encode_to_disk(Columns(("ph",)), frame, tmp_path)[:, 0].tolist() == [5, 7]
    assert names(tmp_path) == []
