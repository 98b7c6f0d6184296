"""A file brought over HTTP: resumed where it was cut, tried again, whole or not at all."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import check_space

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE_S = 1.0  # before the second attempt; doubled each time
TIMEOUT_S = 60.0  # without a byte
CHUNK = 1 << 20  # bytes
BUSY = (429, 500, 502, 503, 504)  # HTTP statuses that pass


def transfer(url: str, output: str, _pooch: object, *, part: Path, sign_in: str) -> None:
    """Bring a file over, again and again where the connection breaks, and hand it to pooch whole.

    pooch's own downloader has no second attempt that goes on, and loses what has come.
    """
    import requests
    import urllib3

    failures, most = 0, size_of(part)
    while True:
        try:
            _receive(url, part, sign_in)
            break
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures = 1 if size_of(part) > most else failures + 1
            most = max(most, size_of(part))
            if failures == ATTEMPTS:
                raise OSError(
                    f"{url} broke off or did not answer, {ATTEMPTS} times in a row ({error}); "
                    f"{size_of(part):,} bytes are kept in {part}: fetch again to go on"
                ) from error
            time.sleep(PAUSE_S * 2 ** (failures - 1))
    os.replace(part, output)
    beside(part, "version").unlink(missing_ok=True)


def _receive(url: str, part: Path, sign_in: str) -> None:
    """Ask for the bytes that are missing and add them to the .part file."""
    import requests
    from tqdm import tqdm

    start, version = size_of(part), beside(part, "version")
    begun = version.read_text("utf-8") if version.exists() else ""
    headers = {"Accept-Encoding": "identity"}  # a range counts bytes of the file as it is stored
    if start and begun:
        # If-Range: a file that is no longer the one begun comes whole, with status 200.
        headers |= {"Range": f"bytes={start}-", "If-Range": begun}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        given = response.headers
        if response.status_code == 416 and given.get("Content-Range") == f"bytes */{start}":
            return  # everything had come before
        _check_answer(response, start, part, sign_in)
        if response.status_code == 200:
            start = 0
            part.unlink(missing_ok=True)  # first: old bytes never lie beside a new version
            version.write_text(_version_of(given), "utf-8")
        length = int(given["Content-Length"]) if "Content-Length" in given else None
        total = None if length is None else start + length
        check_space(part.parent, length or 0, part.stem)
        with (
            _full_disk_named(part, total),
            open(part, "ab") as file,
            tqdm(
                desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if total is not None and size_of(part) != total:
            raise requests.ConnectionError(f"{size_of(part):,} of {total:,} bytes came")


def _version_of(headers: Mapping[str, str]) -> str:
    """Return what names the version of a file, byte for byte: a strong ETag, or the date."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _check_answer(response: "requests.Response", start: int, part: Path, sign_in: str) -> None:
    """Raise what can be tried again as an error of requests, all else as an OSError."""
    import requests

    status, given, url = response.status_code, response.headers, response.url
    if status in BUSY:
        raise requests.HTTPError(f"{status} {response.reason}")
    elsewhere = status == 206 and not given.get("Content-Range", "").startswith(f"bytes {start}-")
    if status == 416 or elsewhere:
        part.unlink(missing_ok=True)  # it is no beginning of this file
        raise requests.HTTPError(f"the bytes from {start} on were not sent")
    hint = f"sign-in: {sign_in}" if sign_in else "it may have moved"
    if status not in (200, 206):
        raise OSError(f"{status} {response.reason}: {url}; {hint}; see the homepage")
    if "text/html" in given.get("Content-Type", ""):
        raise OSError(f"{url} is a web page and no file; {hint}; see the homepage")
    if "Content-Length" not in given and given.get("Transfer-Encoding") != "chunked":
        raise OSError(f"{url} comes without its length: a file that is cut short could not be told")


@contextlib.contextmanager
def _full_disk_named(part: Path, total: int | None) -> Iterator[None]:
    """Say how much room is needed where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        missing = "" if total is None else f": {total - size_of(part):,} of {total:,} bytes to come"
        raise OSError(
            error.errno,
            f"the disk is full{missing}; make room and fetch again to go on from {part}",
        ) from error


def beside(path: Path, suffix: str) -> Path:
    """Return the name of a file that goes with another."""
    return path.with_name(f"{path.name}.{suffix}")


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
