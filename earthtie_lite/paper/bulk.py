"""Features of more input than the memory holds, encoded once into a file."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..features import BATCH, Columns, Features, Featuriser, input_key
from ..files import cache_folder, sha256, write_atomic


def encode_to_disk(
    featuriser: Featuriser,
    raw: Sequence[Any],
    folder: str | Path | None = None,
    chunk: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Encode more input than the memory holds, once, into a file; what was interrupted goes on.

    Parameters
    ----------
    featuriser : Featuriser
    raw : sequence, length N
        What the featuriser takes; ``raw[i:j]`` is read one chunk at a time. A text in
        ``raw.fingerprint``, where there is one, stands for the content and has to change with it;
        otherwise all content is read once more, to hash it.
    folder : str or Path, optional
        Where the file is kept, named by the hash of featuriser and input. By default the cache that
        :func:`~earthtie_lite.features.encode` uses: what one has encoded the other finds.
    chunk : int
        Inputs encoded from one write to the next: bounds memory, not results.
    progress : callable, optional
        Is told after each chunk how many inputs are done, and how many there are.

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
    if isinstance(featuriser, Columns):
        return featuriser(raw)
    if chunk < 1 or not len(raw):
        raise ValueError(f"expected some input, a chunk at a time, got {len(raw)} by {chunk}")
    folder = cache_folder() if folder is None else Path(folder)
    path = folder / f"{sha256(input_key(featuriser, raw))}.npy"
    part, record = path.with_suffix(".part"), path.with_suffix(".json")
    stored = _mapped(path)
    if stored is None:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("a+b") as file:
            _lock(file)
            stored = _mapped(path)  # another process may have completed it meanwhile
            if stored is None:
                _encode_rest(featuriser, raw, chunk, progress, file, record)
                os.replace(part, path)
                record.unlink()
                stored = np.load(path, mmap_mode="r", allow_pickle=False)
    return stored


def _mapped(path: Path) -> Features | None:
    """Return the array in a file, or None if there is none or it is cut."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return None


def _lock(file: IO[bytes]) -> None:
    """Keep other processes from a file until it is closed, where the file system can."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"another process is encoding the same into {file.name}: wait for it"
        ) from error
    except OSError:
        pass


def _encode_rest(
    featuriser: Featuriser,
    raw: Sequence[Any],
    chunk: int,
    progress: Callable[[int, int], None] | None,
    file: IO[bytes],
    record: Path,
) -> None:
    """Append what a file of features lacks; the record says what of it is sure to be on disk."""
    try:
        done = json.loads(record.read_text(encoding="utf-8"))
        rows, size = int(done["rows"]), int(done["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        rows, size = 0, 0
    if os.fstat(file.fileno()).st_size < size:
        rows, size = 0, 0
    file.truncate(size)  # a chunk beyond the record may be torn
    for start in range(rows, len(raw), chunk):
        inputs = raw[start : start + chunk]
        features = np.ascontiguousarray(featuriser(inputs), dtype="<f4")
        if start == 0:
            shape = (len(raw), *features.shape[1:])
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(features.tobytes())
        file.flush()
        os.fsync(file.fileno())
        done = {"rows": start + len(inputs), "bytes": os.fstat(file.fileno()).st_size}
        write_atomic(record, json.dumps(done).encode())
        if progress is not None:
            progress(done["rows"], len(raw))
