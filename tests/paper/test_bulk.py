"""Features encoded into a file: once, a chunk at a time, going on after an interruption."""

import io
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest

import earthtie_lite
from earthtie_lite.columns import Columns
from earthtie_lite.features import CharacterNGrams, Featuriser, encode
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
    return sorted(path.suffix for path in folder.iterdir() if path.suffix != ".lock")


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
    assert (type(z), z.dtype, z.flags.writeable) == (np.memmap, np.float32, False)
    buffer = io.BytesIO()
    np.save(buffer, EXPECTED)
    (path,) = tmp_path.glob("*.npy")
    assert path.read_bytes() == buffer.getvalue()


def test_input_is_read_one_chunk_at_a_time_and_once(tmp_path):
    raw = Read()
    encode_to_disk(Squares(), raw, tmp_path, chunk=10)
    assert raw.slices == [(0, 10), (10, 20), (20, 30)]
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, tmp_path, chunk=7), EXPECTED)
    assert len(raw.slices) == 3


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


@pytest.mark.parametrize("record", ["{", "[]", '{"rows": null, "bytes": 3}', None])
def test_if_it_is_not_known_what_is_on_disk_everything_is_encoded_again(interrupted, record):
    (path,), (part,) = interrupted.glob("*.json"), interrupted.glob("*.part")
    if record is None:
        part.write_bytes(part.read_bytes()[:-1])
    else:
        path.write_text(record)
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, interrupted, 5), EXPECTED)
    assert raw.slices[0] == (0, 5)


def test_a_cut_file_is_encoded_again(tmp_path):
    encode_to_disk(Squares(), Read(), tmp_path)
    (path,) = tmp_path.glob("*.npy")
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
    with (
        filelock.FileLock(part.with_suffix(".lock")),
        pytest.raises(ValueError, match="another process is encoding the same into"),
    ):
        encode_to_disk(Squares(), Read(), interrupted)
    assert part.read_bytes() == before
    z = encode_to_disk(Squares(), Read(), interrupted)
    with filelock.FileLock(part.with_suffix(".lock")):  # whoever only reads need not wait
        np.testing.assert_array_equal(encode_to_disk(Squares(), Read(), interrupted), z)


def test_what_another_process_has_just_completed_is_not_encoded_again(tmp_path, monkeypatch):
    class Late(filelock.FileLock):
        def __enter__(self):
            np.save(Path(self.lock_file).with_suffix(".npy"), EXPECTED)

    monkeypatch.setattr(filelock, "FileLock", Late)
    raw = Read()
    np.testing.assert_array_equal(encode_to_disk(Squares(), raw, tmp_path), EXPECTED)
    assert raw.slices == []


def test_the_cache_is_shared_with_encode(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "new" / "cache"))
    numbers = np.arange(N, dtype=np.float32)[:, None]
    z = encode_to_disk(Squares(), numbers, chunk=4)
    np.testing.assert_array_equal(encode(Squares(refused=3), numbers), z)
    texts = ["Nairobi", "Lima"]
    expected = encode(CharacterNGrams(16), texts)
    assert isinstance(encode_to_disk(CharacterNGrams(16), texts), np.memmap)
    np.testing.assert_array_equal(encode_to_disk(CharacterNGrams(16), texts), expected)
    assert names(tmp_path / "new" / "cache") == [".npy", ".npy"]


def test_other_content_or_another_featuriser_is_another_file(tmp_path):
    numbers = [np.array([1.0]), np.array([4.0])]
    encode_to_disk(Squares(), numbers, tmp_path)
    np.testing.assert_array_equal(encode_to_disk(Squares(), numbers[::-1], tmp_path)[:, 1], [2, 1])
    for width in (8, 16):
        assert encode_to_disk(CharacterNGrams(width), ["Lima"], tmp_path).shape == (1, width)
    assert names(tmp_path) == [".npy"] * 4


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
