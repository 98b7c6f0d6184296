"""Errors for files of published data: a missing or damaged file is a ValueError that names it."""

import contextlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

# What libraries raise at a file that is damaged or of another kind; XML parsers raise SyntaxError.
_ERRORS = (OSError, EOFError, KeyError, ValueError, RuntimeError, SyntaxError, zlib.error)
_UNREADABLE = (*_ERRORS, tarfile.TarError, zipfile.BadZipFile)


def existing(path: str | Path, what: str) -> Path:
    """Return the path of a file or folder that is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"expected {what}, but there is no {path}; download it first")
    return path


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
