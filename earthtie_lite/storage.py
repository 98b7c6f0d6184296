"""Files: hashes, atomic writes, the cache of computed arrays, what travels with the package."""

import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: into a neighbour first, then renamed over the target."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only the owner reads
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return the mask of a new file's permissions."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
