"""Files: hashes, atomic writes, the cache of computed arrays, what travels with the package."""

import contextlib
import errno
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the path of a neighbour to write to, which is renamed if all goes well, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield part
        to_disk(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until what was written to a file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(Path(path)) as part:
        part.write_bytes(data)


def cache_folder() -> Path:
    """Return where computed arrays are kept: ``EARTHTIE_CACHE`` or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("EARTHTIE_CACHE") or platformdirs.user_cache_dir("earthtie_lite"))


def cached(key: bytes, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array kept under the hash of ``key``, computing and keeping it the first time.

    A file that was cut or is not an array is computed anew; where nothing can be written (a full
    or read-only disk) the array is computed and not kept.
    """
    path = cache_folder() / f"{sha256(key)}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        array = compute()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with contextlib.suppress(OSError):
        write_atomic(path, buffer.getvalue())
    return array


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse what cannot fit on the disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the disk is too full: {what} needs {needed:,} more bytes ({human(needed)}), and "
            f"{free:,} are free in {folder}; make room or choose another folder",
        )


def human(size: int) -> str:
    """Return a number of bytes in kB, MB or GB.

    Examples
    --------
    >>> human(999), human(42_000_000)
    ('1.0 kB', '42.0 MB')
    """
    scale, unit = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / scale:,.1f} {unit}"


def data_folder(name: str) -> Path:
    """Return a folder of the data: inside the installed package, or in a source checkout."""
    here = Path(__file__).resolve().parent
    inside = here / "data" / name
    return inside if inside.is_dir() else here.parent / "data" / name
