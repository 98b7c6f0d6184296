"""Errors for files of published data: a missing or damaged file is a ValueError that names it."""

import contextlib
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

# What libraries raise at a file that is damaged or of another kind; XML parsers raise SyntaxError.
_ARCHIVES = (zlib.error, tarfile.TarError, zipfile.BadZipFile)
_UNREADABLE = (OSError, EOFError, KeyError, ValueError, RuntimeError, SyntaxError, *_ARCHIVES)


def existing(path: str | Path, what: str) -> Path:
    """Return the path of a file or folder that is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"expected {what}, but there is no {path}; download it first")
    return path


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def readable(subject: str, hint: str = "") -> Iterator[None]:
    """Turn whatever a library raises at a file into one ValueError that names the subject."""
    try:
        yield
    except _UNREADABLE as error:
        raise ValueError(f"{subject} cannot be read: {error}{hint}") from error


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[Path]:
    """Yield the path of an existing file; reading errors inside become a ValueError naming it."""
    path = existing(path, what)
    with readable(f"expected {what}, but {path}"):
        yield path
