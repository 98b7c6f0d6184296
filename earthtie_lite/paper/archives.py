"""Archives from elsewhere, unpacked without trusting the names inside them."""

import errno
import filecmp
import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

CHUNK = 1 << 20  # bytes
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # zipfile's for what is encrypted or packed by an unknown method
)


def check_name(name: str) -> None:
    """Refuse a name of a file that would lead out of its folder, on any system.

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


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip, tar, tar.gz or gz file, whole or not at all.

    Everything is unpacked into a temporary folder on the same disk first. A new ``folder`` then
    appears in one step; files are added to one that exists, so that the parts of a data set may be
    unpacked into the same place, and those that are there with the same content are kept.

    Parameters
    ----------
    archive : str or Path
        What it is is told from its content.
    folder : str or Path
        Where the files go; the file of a gz archive is named as the archive without its ending.

    Returns
    -------
    list of Path
        The archive's files, sorted.

    Raises
    ------
    ValueError
        If it is no such archive or damaged, or holds a link, a device, a name that is absolute,
        leads out of the folder or comes twice, or a file that is there with other content.
    OSError
        If what is inside needs more room than the disk has.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/tiles.zip", "w") as archive:
    ...         archive.writestr("images/patch_0.tif", b"II*")
    ...     [path.name for path in unpack(f"{folder}/tiles.zip", f"{folder}/s2")]
    ['patch_0.tif']
    """
    archive, folder = Path(archive).expanduser(), Path(folder).expanduser().resolve()
    if not archive.is_file():
        raise ValueError(f"expected an archive, but there is no file {archive}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder to unpack into, but {folder} is a file")
    folder.parent.mkdir(parents=True, exist_ok=True)
    near = folder if folder.exists() else folder.parent  # on the same disk
    with tempfile.TemporaryDirectory(dir=near, prefix=".unpacking.") as beside:
        stage = Path(beside) / "whole"
        stage.mkdir()
        try:
            _unpack(archive, stage)
        except DAMAGED as error:
            raise ValueError(
                f"{archive} is damaged, cut short or locked: {error}; download it again"
            ) from error
        names = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
        if folder.exists():
            _add(stage, folder, names)
        else:
            os.rename(stage, folder)
    return [folder / name for name in names]


# pooch's Unzip and Untar are not used: they unpack in place, so that a failure leaves half an
# archive, overwrite what is there, take links along and set no limit.
def _unpack(archive: Path, stage: Path) -> None:
    """Unpack into an empty folder, entry by entry, each one looked at before."""
    room = shutil.disk_usage(stage).free
    if _is_tar(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                plain = member.isfile() or member.isdir()
                room = _admit(archive, stage, member.name, plain, room - member.size)
                tar.extract(member, stage, filter="data")
            # tarfile takes a cut between two files for the end, which is a block of zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("its end is missing")
            while tar.fileobj.read(CHUNK):
                pass  # to the end, where gzip has its checksum
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where a system has no kinds
                plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                room = _admit(archive, stage, entry.filename, plain, room - entry.file_size)
                zipped.extract(entry, stage)
    elif _is_gzip(archive):
        with gzip.open(archive) as packed, open(stage / archive.stem, "wb") as file:
            while chunk := packed.read(CHUNK):
                room = _check_room(archive, room - len(chunk))
                file.write(chunk)
    else:
        raise ValueError(
            f"expected a zip, tar, tar.gz or gz file, {archive} is none or is cut short"
        )


def _is_tar(archive: Path) -> bool:
    """Tell a tar file, packed or not, by its first entry: zeros alone would be an empty one."""
    try:
        with tarfile.open(archive) as tar:
            return tar.next() is not None
    except tarfile.ReadError:
        return False


def _is_gzip(archive: Path) -> bool:
    """Tell a gz file by its first bytes."""
    with open(archive, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _admit(archive: Path, stage: Path, name: str, plain: bool, room: int) -> int:
    """Refuse an entry that is no plain file or folder, leads out, comes twice or does not fit."""
    check_name(name)
    if not plain:
        raise ValueError(f"{archive} holds {name!r}, a link or a device; it is not unpacked")
    if (stage / name).is_file():
        raise ValueError(f"{archive} holds {name!r} twice; it is not unpacked")
    return _check_room(archive, room)


def _check_room(archive: Path, room: int) -> int:
    """Refuse what would not leave room on the disk."""
    if room < 0:
        message = f"the disk is too full to unpack {archive}: {-room:,} more bytes are needed"
        raise OSError(errno.ENOSPC, message)
    return room


def _add(stage: Path, folder: Path, names: list[Path]) -> None:
    """Move files into a folder that exists, all or none."""
    for name in names:
        target = folder / name
        if not target.parent.resolve().is_relative_to(folder):
            raise ValueError(f"{target.parent} leads out of {folder}; unpack into a new folder")
        same = target.is_file() and filecmp.cmp(stage / name, target, shallow=False)
        if os.path.lexists(target) and not same:
            raise ValueError(f"{target} is there with other content; unpack into a new folder")
    added: list[Path] = []
    try:
        for name in names:
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.rename(stage / name, folder / name)
                added.append(folder / name)
    except BaseException:
        for path in added:
            path.unlink()
        raise
