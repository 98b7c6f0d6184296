"""Local files of published data: tables, and images in folders and tar archives read in place."""

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..coords import Array, as_lonlat

if TYPE_CHECKING:
    import pandas as pd

WHOLE_FILE = -1  # size of an image that is a file of its own
Decode = Callable[[bytes], NDArray[Any]]


def existing(path: str | Path, what: str) -> Path:
    """Return the path of a file or folder that is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"expected {what}, but there is no {path}; download it first")
    return path


def read_table(
    path: str | Path, what: str, text: Sequence[str] = (), numbers: Sequence[str] = ()
) -> "pd.DataFrame":
    """Read columns of a CSV, TSV or Parquet file: text as it is ("NA" too), numbers as float64.

    Parameters
    ----------
    path : str or Path
        Ending in .csv or .tsv (compressed, too) or .parquet.
    what : str
        What is expected, for the errors.
    text : sequence of str
        Columns of text; an empty cell becomes "".
    numbers : sequence of str
        Columns of numbers; a cell that is none becomes NaN.

    Returns
    -------
    DataFrame
        With the columns asked for, rows as in the file.

    Raises
    ------
    ValueError
        If the file is missing, cannot be read or lacks a column.
    """
    import pandas as pd

    wanted = [*text, *numbers]
    columns = table_columns(path, what)
    if missing := [name for name in wanted if name not in columns]:
        raise ValueError(f"expected {what}, but {path} has no {missing}; it has {columns}")
    with _readable(path, what) as path:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path, columns=wanted)
        else:
            with _open_csv(path, wanted) as reader:
                frame = reader.read_all().to_pandas()
    for name in text:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
    for name in numbers:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(np.float64)
    return frame[wanted]


def table_columns(path: str | Path, what: str) -> list[str]:
    """Return the names of a table's columns; formats and errors as in :func:`read_table`."""
    with _readable(path, what) as path:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            return list(pyarrow.parquet.read_schema(path).names)
        with _open_csv(path) as reader:
            return list(reader.schema.names)


@contextlib.contextmanager
def _readable(path: str | Path, what: str) -> Iterator[Path]:
    """Refuse a file that is missing or damaged, whichever library says so."""
    path = existing(path, what)
    try:
        yield path
    except (OSError, EOFError, ValueError) as error:  # pandas' and pyarrow's are among them
        raise ValueError(
            f"expected {what}, but {path} cannot be read: {error}; download it again"
        ) from error


def _open_csv(path: Path, columns: Sequence[str] = ()) -> Any:
    """Open a text file of columns, by default all of them, as text."""
    import pyarrow
    import pyarrow.csv

    separators = {".csv": ",", ".tsv": "\t"}
    found = [separators[part.lower()] for part in path.suffixes if part.lower() in separators]
    if not found:
        raise ValueError(f"its name does not end in .csv, .tsv or .parquet but in {path.suffix!r}")
    # Unlike pandas', this reader refuses a row that is too long when it takes some columns only.
    return pyarrow.csv.open_csv(
        str(path),
        parse_options=pyarrow.csv.ParseOptions(delimiter=found[0], newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pyarrow.string())
        ),
    )


def table_places(frame: "pd.DataFrame", lon: str, lat: str, path: str | Path) -> Array:
    """Return the places (N, 2) of a table, checked; an error names the file and the row."""
    try:
        return as_lonlat(frame[[lon, lat]].to_numpy())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False)
class Images(Sequence[Any]):
    """Images on disk, decoded when they are asked for.

    Parameters
    ----------
    names : array of str, shape (N,)
    files : tuple of tuple of Path
        Folders and archives; an archive of several parts is given by all of them, in order.
    file : array of int, shape (N,)
        Which of ``files`` holds each image.
    offset, size : arrays of int, shape (N,)
        Where it lies in an archive, bytes; the size of a file in a folder is ``WHOLE_FILE``.
    decode : callable
        Makes an array of the bytes.
    stack : bool
        Whether images have one shape, so that a slice is one array, (B, ...); else it is a list.

    Raises
    ------
    ValueError
        From ``images[row]``, naming the file, if it is damaged.
    """

    names: NDArray[np.object_]
    files: tuple[tuple[Path, ...], ...]
    file: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    decode: Decode
    stack: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            images = [self[row] for row in range(*index.indices(len(self)))]
            return np.stack(images) if self.stack and images else images
        name, parts = self.names[index], self.files[self.file[index]]
        try:
            if self.size[index] == WHOLE_FILE:
                return self.decode((parts[0] / name).read_bytes())
            with _opened(parts) as archive:
                archive.seek(self.offset[index])
                return self.decode(archive.read(self.size[index]))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{name} in {parts[0]} cannot be read: {error}; download it again"
            ) from error

    @property
    def fingerprint(self) -> str:
        """A hash that changes with the images: of names, sizes and times of change, no content."""
        key = hashlib.sha256(f"{self.decode.__module__}.{self.decode.__qualname__}".encode())
        for column in (self.file, self.offset, self.size):
            key.update(column.tobytes())
        for row in np.flatnonzero(self.size == WHOLE_FILE):
            key.update(_state(self.files[self.file[row]][0] / self.names[row]))
        for path in (path for parts in self.files for path in parts if path.is_file()):
            key.update(_state(path))
        return key.hexdigest()

    def at(self, rows: NDArray[Any]) -> Self:
        """Return some of the images, by row numbers or a mask; nothing is read."""
        columns = ("names", "file", "offset", "size")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def rows_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each name, -1 where there is none; the last of several counts."""
        rows = {name: row for row, name in enumerate(self.names)}
        return np.array([rows.get(name, -1) for name in names], dtype=np.int64)


def _state(path: Path) -> bytes:
    """Return name, size and time of change of a file."""
    state = path.stat()
    return f"{path.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode()


def find_images(
    where: str | Path | Sequence[str | Path],
    suffixes: tuple[str, ...],
    decode: Decode,
    stack: bool = False,
) -> Images:
    """List the images of a folder or of tar archives; archives are not unpacked.

    Parameters
    ----------
    where : path or sequence of paths
        A folder of images, else of archives (.tar), else of the parts of one archive (names that
        end in a digit, taken in their order); or an archive; or several of them; or the parts.
    suffixes : tuple of str
        How the names of images end, in lower case.
    decode, stack
        As in :class:`Images`.

    Returns
    -------
    Images
        Named by their file names, without folders.

    Raises
    ------
    ValueError
        If there are none, or an archive is compressed or cut short.
    """
    given = [where] if isinstance(where, str | Path) else list(where)
    paths = [existing(path, "a folder of images or a tar archive") for path in given]
    if not paths:
        raise ValueError("expected a folder of images or tar archives, got an empty list")
    if len(paths) > 1 and any(path.is_dir() for path in paths):
        raise ValueError(f"expected one folder or several archives, got {list(map(str, given))}")
    if paths[0].is_dir():
        inside = sorted(paths[0].iterdir())
        loose = [path.name for path in inside if path.name.lower().endswith(suffixes)]
        if loose:
            first = np.zeros(len(loose), dtype=np.int64)
            size = np.full(len(loose), WHOLE_FILE)
            names = np.array(loose, dtype=object)
            return Images(names, ((paths[0],),), first, first, size, decode, stack)
        whole = [path for path in inside if path.suffix.lower() == ".tar"]
        parts = [path for path in inside if path.is_file() and path.name[-1].isdecimal()]
        paths = whole or [path for path in parts if path.suffix != ".sha256"]  # of a download
    if len(paths) > 1 and not all(path.suffix.lower() == ".tar" for path in paths):
        archives: tuple[tuple[Path, ...], ...] = (tuple(paths),)
    else:
        archives = tuple((path,) for path in paths)
    found = [
        (name, file, offset, size)
        for file, parts in enumerate(archives)
        for name, offset, size in _members(parts)
        if name.lower().endswith(suffixes)
    ]
    if not found:
        raise ValueError(
            f"expected images that end in {' or '.join(suffixes)}, as files or in tar archives, "
            f"found none in {', '.join(map(str, given))}"
        )
    names = np.array([name for name, *_ in found], dtype=object)
    file, offset, size = np.array([numbers for _, *numbers in found], dtype=np.int64).T
    return Images(names, archives, file, offset, size, decode, stack)


def _members(parts: tuple[Path, ...]) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of the files in a tar archive, reading only their headers."""
    with _opened(parts) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # there may be millions
                    if member.isfile():
                        name = PurePosixPath(member.name).name
                        yield name, member.offset_data, member.size
                file.seek(archive.offset)  # tarfile takes a damaged header for the end
        except tarfile.TarError as error:
            raise ValueError(
                f"{parts[0]} is no tar archive, is compressed or is cut short: {error}; "
                "decompress it or download it again"
            ) from error
        if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise ValueError(f"{parts[-1]} is cut short or damaged; download it again")


def _opened(parts: tuple[Path, ...]) -> IO[bytes]:
    """Open a file, or the parts of one."""
    return parts[0].open("rb") if len(parts) == 1 else io.BufferedReader(_Joined(parts))


class _Joined(io.RawIOBase):
    """The parts of a file, read as one."""

    def __init__(self, parts: tuple[Path, ...]) -> None:
        self.parts = [path.open("rb") for path in parts]
        self.ends = np.cumsum([path.stat().st_size for path in parts])
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: int(self.ends[-1])}
        self.position = start[whence] + int(offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        part = int(np.searchsorted(self.ends, self.position, side="right"))
        if part == len(self.parts):
            return 0
        file = self.parts[part]
        file.seek(self.position - int(self.ends[part - 1] if part else 0))
        count = file.readinto(buffer)  # not beyond the end of the part
        self.position += count
        return count

    def close(self) -> None:
        for file in self.parts:
            file.close()
        super().close()
