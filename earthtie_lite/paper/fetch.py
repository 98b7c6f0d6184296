"""Downloads of the paper's data: only when the user asks, resumed, checked by hash."""

import errno
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import filelock
import requests
import urllib3
from tqdm import tqdm

from ..files import cache_folder, check_space, human, to_disk, write_atomic
from .catalogue import SOURCES, Source
from .files import file_hash

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE_S = 1.0  # before the second attempt; doubled each time
TIMEOUT_S = 60.0  # without a byte
CHUNK = 1 << 16  # bytes
BUSY = (429, 500, 502, 503, 504)  # HTTP statuses that pass


def fetch(
    name: str,
    folder: str | Path | None = None,
    *,
    files: str | Sequence[str] | None = None,
    agree: bool = False,
    dry_run: bool = False,
    base_url: str | None = None,
) -> list[Path]:
    """Download a data set of the paper after asking; files that are there and verify are kept.

    An interrupted download resumes from ``<file>.part``; the file appears under its name when it is
    complete and its hash is right. If no hash is published, that of the first download is written
    to ``<file>.sha256`` and holds from then on: a file that no longer has it is downloaded again.

    Parameters
    ----------
    name : str
        Key of :data:`~earthtie_lite.paper.catalogue.SOURCES`.
    folder : str or Path, optional
        Files go to ``folder/name``; by default ``folder`` is ``sources`` in the user's cache.
    files : str or sequence of str, optional
        Names at the source's address instead of all that it lists, for example one tar file of a
        hundred.
    agree : bool
        Download without asking. Without a terminal nobody can be asked.
    dry_run : bool
        Print what would be downloaded, and use no network.
    base_url : str, optional
        Download ``base_url/file``, a copy, instead of the published address.

    Returns
    -------
    list of Path
        One for each of the files, in their order.

    Raises
    ------
    ValueError
        If a name is unknown, nobody agrees, there is no address, or a hash is wrong.
    OSError
        If the server does not deliver or the disk is full. What was received stays in
        ``<file>.part``.

    Examples
    --------
    >>> paths = fetch("air_temperature", "data", dry_run=True)  # doctest: +ELLIPSIS
    air_temperature: Mean air temperature of 3,076 weather stations, CSV
      files        1: stationDataAll.csv
      from         https://springernature.figshare.com/ndownloader/files/12609182
      size         about 375.0 kB
    ...
    >>> [path.as_posix() for path in paths]
    ['data/air_temperature/stationDataAll.csv']
    """
    if name not in SOURCES:
        raise ValueError(f"unknown source {name!r}: there are {sorted(SOURCES)}")
    source = SOURCES[name]
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
    names = [files] if isinstance(files, str) else list(source.files if files is None else files)
    for file in names:
        check_name(file)
    home = (cache_folder() / "sources" if folder is None else Path(folder).expanduser()) / name
    about = describe(source, home, names, base_url)
    if dry_run:
        print(about)
        return [home / file for file in names]
    if not names or not (source.address or base_url):
        raise ValueError(f"nothing is downloaded here by default: see the note\n{about}")
    missing = [file for file in names if not _verifies(home / file, home / file, source, file)]
    if missing:
        if not agree:
            _ask(describe(source, home, missing, base_url))
        _download(source, home, missing, base_url)
    return [home / file for file in names]


def check_name(name: str) -> None:
    """Refuse a file name that would lead out of its folder, on any system.

    Examples
    --------
    >>> check_name("images/patch_0.tif")
    >>> check_name("../patch_0.tif")
    Traceback (most recent call last):
    ...
    ValueError: expected the name of a file inside a folder, got '../patch_0.tif'
    """
    path = PureWindowsPath(name)  # knows both slashes, and drives
    if path.drive or path.root or ".." in path.parts or "\0" in name or not name:
        raise ValueError(f"expected the name of a file inside a folder, got {name!r}")


def describe(source: Source, home: Path, names: Sequence[str], base_url: str | None = None) -> str:
    """Return what would be downloaded: names, address, size, licence, destination, sign-in."""
    size = "not stated"
    if source.size is not None:
        size = ("" if source.exact else "about ") + human(source.size)
        if tuple(names) != source.files:
            size = f"a part of all {len(source.files)} files, {size}"
    some = f"{len(names)}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    lines = {
        "files": some if names else "none by default",
        "others": ", ".join(source.others),
        "from": source.url(names[0], base_url) if names else source.address,
        "size": size,
        "licence": source.licence,
        "cite": source.citation,
        "destination": str(home),
        "sign-in": source.sign_in or "none",
        "note": source.note,
        "homepage": source.homepage,
    }
    rows = (f"\n  {key:<12} {value}" for key, value in lines.items() if value)
    return f"{source.name}: {source.what}" + "".join(rows)


def _ask(description: str) -> None:
    """Ask the user; raise a ValueError unless the answer is yes."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ValueError(f"nobody can be asked here: pass agree=True to download\n{description}")
    print(description)
    if input("Download? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("nothing was downloaded, as the answer was not yes")


def _verifies(found: Path, path: Path, source: Source, file: str) -> bool:
    """Return whether a file has the hash of ``path``: published or, recorded, that of the first."""
    if not found.is_file():
        return False
    record = beside(path, "sha256")
    known = source.sha256 if file in source.files else ""
    if not known and record.exists():
        known = record.read_text("utf-8").partition(" ")[0]
    given = file_hash(found)
    if not known:
        write_atomic(record, f"{given}  {path.name}\n".encode())
    return known in ("", given)


def _download(source: Source, home: Path, names: Sequence[str], base_url: str | None) -> None:
    """Download missing files, one after the other."""
    home.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(home / ".lock", timeout=0):
            if source.size is not None and tuple(names) == source.files:
                begun = sum(_size(beside(home / file, "part")) for file in names)
                check_space(home, source.size - begun, source.name)
            for file in names:
                path, part = home / file, beside(home / file, "part")
                if _verifies(path, path, source, file):
                    continue  # another process was faster
                path.unlink(missing_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                url = source.url(file, base_url)
                _transfer(url, part, source.sign_in)
                verified = _verifies(part, path, source, file)
                beside(part, "version").unlink(missing_ok=True)
                if not verified:
                    part.unlink()
                    raise ValueError(
                        f"what {url} sent was removed, its SHA-256 is not the expected one: try "
                        f"again, or remove {beside(path, 'sha256')} if the source has renewed it"
                    )
                os.replace(part, path)
    except filelock.Timeout as error:
        raise OSError(f"another process is downloading into {home}; wait for it") from error


def _transfer(url: str, part: Path, sign_in: str) -> None:
    """Complete a .part file, in several attempts if the connection breaks."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _receive(url, part, sign_in)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures = 1 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures == ATTEMPTS:
                raise OSError(
                    f"{url} broke off or did not answer, {ATTEMPTS} times in a row ({error}); "
                    f"{_size(part):,} bytes are kept in {part}: fetch again to go on"
                ) from error
            time.sleep(PAUSE_S * 2 ** (failures - 1))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            full = f"the disk is full; make room and fetch again to go on from {part}"
            raise OSError(error.errno, full) from error


def _receive(url: str, part: Path, sign_in: str) -> None:
    """Ask for the bytes that are missing and append them to the .part file."""
    start, version = _size(part), beside(part, "version")
    begun = version.read_text("utf-8") if version.exists() else ""
    headers = {"Accept-Encoding": "identity"}  # a range counts bytes of the file as it is stored
    if start and begun:
        # If-Range: if the file is no longer the one begun, all of it is sent, with status 200.
        headers |= {"Range": f"bytes={start}-", "If-Range": begun}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        given = response.headers
        if response.status_code == 416 and given.get("Content-Range") == f"bytes */{start}":
            return  # everything was received before
        _check_answer(response, start, part, sign_in)
        if response.status_code == 200:
            start = 0
            part.unlink(missing_ok=True)  # first: old bytes never lie beside a new version
            etag = given.get("ETag", "W/")  # a weak one does not stand for the same bytes
            begun = given.get("Last-Modified", "") if etag.startswith("W/") else etag
            version.write_text(begun, "utf-8")
        total = start + int(given["Content-Length"]) if "Content-Length" in given else None
        bar: dict[str, Any] = {"desc": part.stem, "initial": start, "disable": None}
        with open(part, "ab") as plain, tqdm.wrapattr(plain, "write", total, **bar) as file:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
        to_disk(part)
        if total is not None and _size(part) != total:
            raise requests.ConnectionError(f"{_size(part):,} of {total:,} bytes came")


def _check_answer(response: requests.Response, start: int, part: Path, sign_in: str) -> None:
    """Raise what can be tried again as an error of requests, everything else as an OSError."""
    status, given = response.status_code, response.headers
    answer = f"{status} {response.reason} ({given.get('Content-Type', 'no type')})"
    shifted = status == 206 and not given.get("Content-Range", "").startswith(f"bytes {start}-")
    if status == 416 or shifted:
        part.unlink(missing_ok=True)  # it is not the beginning of this file
    if status in (*BUSY, 416) or shifted:
        raise requests.HTTPError(answer)
    sized = "Content-Length" in given or given.get("Transfer-Encoding") == "chunked"
    if status not in (200, 206) or "text/html" in answer or not sized:
        hint = f"sign-in: {sign_in}" if sign_in else "it may have moved"
        raise OSError(f"expected a file of known length, got {answer}: {response.url}; {hint}")


def beside(path: Path, suffix: str) -> Path:
    """Return the name of a file that goes with another."""
    return path.with_name(f"{path.name}.{suffix}")


def _size(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
