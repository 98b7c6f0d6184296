"""Downloads of the paper's data, only when the user asks, checked by hash."""

import functools
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ..files import cache_folder, check_space, human, write_atomic
from .archives import check_name
from .catalogue import SOURCES, Source
from .transfer import beside, size_of, transfer


def fetch(
    name: str,
    folder: str | Path | None = None,
    *,
    files: str | Sequence[str] | None = None,
    agree: bool = False,
    dry_run: bool = False,
    base_url: str | None = None,
    local: str | Path | None = None,
) -> list[Path]:
    """Download a data set of the paper, after asking; files that are there and verify are kept.

    A download that was cut goes on where it stopped, from ``<file>.part``; the file appears under
    its name when it is whole and its hash is right. Where no hash is published, that of the first
    download is written beside the file, to ``<file>.sha256``, and holds from then on: a file that
    no longer has it is removed and downloaded again.

    Parameters
    ----------
    name : str
        Key of :data:`~earthtie_lite.paper.catalogue.SOURCES`.
    folder : str or Path, optional
        Files go to ``folder/name``; by default ``folder`` is ``sources`` in the user's cache.
    files : str or sequence of str, optional
        Names at the source's address, instead of all that it lists: one tar file of a hundred.
    agree : bool
        Download without asking. Without a terminal nobody can be asked.
    dry_run : bool
        Print what would be downloaded, and use no network.
    base_url : str, optional
        Take ``base_url/file``, a copy, instead of the published address.
    local : str or Path, optional
        A file that you have: it is checked, where a hash is published, and returned.

    Returns
    -------
    list of Path
        One for each of the files, in their order.

    Raises
    ------
    ValueError
        If a name is not understood, nobody agrees, there is no address, or a hash is wrong.
    OSError
        If the server does not deliver or the disk is full. What has come stays in ``<file>.part``.

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
    if local is not None:
        return [_own_file(Path(local).expanduser(), source)]
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
    names = [files] if isinstance(files, str) else list(source.files if files is None else files)
    for file in names:
        check_name(file)
    home = (cache_folder() / "sources" if folder is None else Path(folder).expanduser()) / name
    if dry_run:
        print(describe(source, home, names, base_url))
        return [home / file for file in names]
    if not source.address and base_url is None:
        raise ValueError(
            f"{name} cannot be downloaded here: {source.note}; pass a file that you have as "
            f"local=. Sign-in: {source.sign_in or 'none'}. See {source.homepage}"
        )
    if not names:
        raise ValueError(f"{name} has no files by default; {source.note}")
    missing = [file for file in names if not _verifies(home / file, _hash(source, file))]
    if missing:
        _ask(describe(source, home, missing, base_url), agree)
        _download(source, home, missing, base_url)
    return [home / file for file in names]


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
    rows = [f"  {key:<12} {value}" for key, value in lines.items() if value]
    return "\n".join([f"{source.name}: {source.what}", *rows])


def _ask(description: str, agree: bool) -> None:
    """Go on if the user agrees."""
    if agree:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise ValueError(f"nobody can be asked here: pass agree=True to download\n{description}")
    print(description)
    if input("Download? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("nothing was downloaded, as the answer was not yes")


def _hash(source: Source, file: str) -> str:
    """Return the published hash of a file, empty where there is none."""
    return source.sha256 if file in source.files else ""


def _known(path: Path, published: str) -> str | None:
    """Return the hash that a file must have: the published one, or that of the first download."""
    record = beside(path, "sha256")
    first = record.read_text("utf-8").partition(" ")[0] if record.exists() else ""
    return published or first or None


def _verifies(path: Path, published: str) -> bool:
    """Tell whether the file is there and has its hash; trust and write down a first one."""
    import pooch

    if not path.is_file():
        return False
    known, found = _known(path, published), pooch.file_hash(str(path))
    if known is None:
        write_atomic(beside(path, "sha256"), f"{found}  {path.name}\n".encode())
    return known in (None, found)


def _own_file(path: Path, source: Source) -> Path:
    """Check a file that the user brings."""
    import pooch

    if not path.exists():
        raise ValueError(f"expected {source.what}, but there is no {path}")
    if source.sha256 and pooch.file_hash(str(path)) != source.sha256:
        raise ValueError(f"{path} is cut short or not as published: SHA-256 is not {source.sha256}")
    return path


def _download(source: Source, home: Path, names: Sequence[str], base_url: str | None) -> None:
    """Download files that are missing, one after the other."""
    import filelock
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it tells of each file, and how to use pooch
    home.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(home / ".lock", timeout=0):
            if source.size is not None and tuple(names) == source.files:
                begun = sum(size_of(beside(home / file, "part")) for file in names)
                check_space(home, source.size - begun, source.name)
            for file in names:
                _retrieve(source, home / file, source.url(file, base_url), _hash(source, file))
    except filelock.Timeout as error:
        raise OSError(f"another process is downloading into {home}; wait for it") from error


def _retrieve(source: Source, path: Path, url: str, published: str) -> None:
    """Download one file through pooch, which checks the hash and gives the file its name."""
    import pooch

    if _verifies(path, published):
        return  # another process was faster
    path.unlink(missing_ok=True)
    known = _known(path, published)
    downloader = functools.partial(transfer, part=beside(path, "part"), sign_in=source.sign_in)
    incoming = path.parent / ".incoming"  # pooch's own, so that what a killed process left can go
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        incoming.mkdir(parents=True)
        pooch.retrieve(url, known, path.name, incoming, downloader=downloader)
        os.replace(incoming / path.name, path)
    except ValueError as error:  # pooch has removed the file
        hint = "it may have been damaged on the way: try again"
        if not published:
            hint += f", or remove {beside(path, 'sha256')} if the source has renewed it"
        raise ValueError(f"what {url} sent was removed: SHA-256 is not {known}; {hint}") from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    if known is None:
        _verifies(path, published)
