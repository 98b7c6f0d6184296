"""Features of more input than fits in memory, encoded once into a file."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from ..features import BATCH, Features, Featuriser, input_key
from ..files import cache_folder, sha256, write_atomic


def encode_to_disk(
    featuriser: Featuriser,
    raw: Sequence[Any],
    folder: str | Path | None = None,
    chunk: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Encode more input than fits in memory, once, into a file; resumes after an interruption.

    Parameters
    ----------
    featuriser : Featuriser
    raw : sequence, length N
        What the featuriser takes; ``raw[i:j]`` is read one chunk at a time. If ``raw`` has a text
        ``fingerprint``, it stands for the content and must change with it; otherwise all content is
        read once more to hash it.
    folder : str or Path, optional
        Where the file is kept, named by the hash of featuriser and input. By default the cache,
        which :func:`~earthtie_lite.features.encode` uses as well.
    chunk : int
        Inputs encoded from one write to the next: bounds memory, not results.
    progress : callable, optional
        Called after each chunk with the number of encoded inputs and the total.

    Returns
    -------
    array, shape (N, D), float32
        Mapped from the file, to be read only.

    Raises
    ------
    ValueError
        If there is no input, or another process is at work on the same.
    OSError
        If nothing can be written.

    Examples
    --------
    >>> import tempfile
    >>> from earthtie_lite.features import CharacterNGrams
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     encode_to_disk(CharacterNGrams(64), ["Lima", "Cairo"], folder).shape
    (2, 64)
    """
    if not featuriser.slow:
        return featuriser(raw)
    if chunk < 1 or not len(raw):
        raise ValueError(f"expected some input, a chunk at a time, got {len(raw)} by {chunk}")
    folder = cache_folder() if folder is None else Path(folder)
    path = folder / f"{sha256(input_key(featuriser, raw))}.npy"
    if (stored := _mapped(path)) is not None:
        return stored
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(path.with_suffix(".lock"), timeout=0):
            if _mapped(path) is None:  # else another process was faster
                for done in _encode_rest(featuriser, raw, chunk, path):
                    if progress is not None:
                        progress(done, len(raw))
    except filelock.Timeout as error:
        raise ValueError(f"another process is encoding the same into {path}: wait") from error
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _mapped(path: Path) -> Features | None:
    """Return the array in a file, or None if the file is missing or truncated."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return None


def _encode_rest(
    featuriser: Featuriser, raw: Sequence[Any], chunk: int, path: Path
) -> Iterator[int]:
    """Complete a file of features; after each chunk yield the number of encoded inputs."""
    part, record = path.with_suffix(".part"), path.with_suffix(".json")
    rows, size = 0, 0
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        done = json.loads(record.read_text(encoding="utf-8"))  # what is surely on disk
        if part.stat().st_size >= done["bytes"]:
            rows, size = int(done["rows"]), int(done["bytes"])
    with part.open("ab") as file:
        file.truncate(size)  # a chunk beyond the record may be torn
        for start in range(rows, len(raw), chunk):
            inputs = raw[start : start + chunk]
            features = np.ascontiguousarray(featuriser(inputs), dtype="<f4")
            if start == 0:
                shape = (len(raw), features.shape[1])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(features.tobytes())
            file.flush()
            os.fsync(file.fileno())
            done = {"rows": start + len(inputs), "bytes": part.stat().st_size}
            write_atomic(record, json.dumps(done).encode())
            yield done["rows"]
    os.replace(part, path)
    record.unlink()
