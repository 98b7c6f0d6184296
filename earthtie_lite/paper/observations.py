"""What the paper observes at places, read on demand: Sentinel-2 patches, photos and texts."""

import copy
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from PIL import Image

from ..config import check_option
from ..coords import Array, as_lonlat
from ..features import Features, Featuriser
from ..files import sha256
from ..modalities import Modality
from .files import existing, readable, reading

# Bands of S2-100K in the order of the file. B10 (cirrus) is missing: level 2A has none.
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
S2_PIXELS = 256
Decode = Callable[[bytes], NDArray[Any]]
Parts = list[tuple[Path, int]]  # files and their sizes in bytes


class Images(Sequence[Any]):
    """Images in a folder or in tar archives, decoded on demand; archives are not unpacked.

    ``images[i]`` is one image; ``images[i:j]`` is a list of images, or one array if ``stack``.

    Parameters
    ----------
    where : str or Path
        A folder of images, else of tar archives (.tar), else of the parts of one archive (names
        that end in a digit, taken in their order); or an archive.
    suffixes : tuple of str
        How the names of images end, in lower case.
    decode : callable
        Makes an array of the bytes of a file.
    stack : bool
        Whether all images have the same shape.

    Attributes
    ----------
    table : DataFrame, N rows
        ``name`` of the image without folders; ``file``, the number of the file in ``files`` that
        holds it; ``offset`` and ``size`` in that file, bytes.
    files : list of list of (Path, int)
        Archives or images: the parts of each file, and their sizes in bytes.

    Raises
    ------
    ValueError
        If there are no images, or an archive is compressed or cut short; from ``images[i]``, naming
        the file, if it is damaged.
    """

    def __init__(
        self, where: str | Path, suffixes: tuple[str, ...], decode: Decode, stack: bool = False
    ) -> None:
        self.decode, self.stack = decode, stack
        where = existing(where, "a folder of images or a tar archive")
        inside = sorted(where.iterdir()) if where.is_dir() else [where]
        loose = [path for path in inside if path.name.lower().endswith(suffixes)]
        tars = [path for path in inside if path.suffix.lower() == ".tar"]
        parts = [p for p in inside if p.name[-1].isdecimal() and p.suffix != ".sha256"]
        files = [[path] for path in loose or tars] or [parts]
        self.files = [[(path, path.stat().st_size) for path in parts] for parts in files if parts]
        found: list[Any] = [(p.name, n, 0, p.stat().st_size) for n, p in enumerate(loose)]
        for n, archive in enumerate([] if loose else self.files):
            found += [(name, n, offset, size) for name, offset, size in _members(archive)]
        table = pd.DataFrame(found, columns=["name", "file", "offset", "size"])
        self.table = table[table["name"].str.lower().str.endswith(suffixes)]
        if self.table.empty:
            raise ValueError(f"expected images that end in {suffixes}, found none in {where}")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            images = [self[row] for row in range(*index.indices(len(self)))]
            return np.stack(images) if self.stack and images else images
        name, number, offset, size = self.table.iloc[index]
        path, _ = self.files[number][0]
        place = path.parent if path.name == name else path
        with readable(f"{name} in {place}", "; download it again"):
            return self.decode(_read(self.files[number], offset, size))

    @property
    def fingerprint(self) -> str:
        """A hash of offsets, sizes and times of change, which stands for the content."""
        files = [(p.name, size, p.stat().st_mtime_ns) for parts in self.files for p, size in parts]
        return sha256(repr((self.decode.__qualname__, self.table.to_csv(), files)).encode())

    def at(self, rows: NDArray[Any]) -> Self:
        """Return some of the images, by row numbers or a mask; nothing is read."""
        some = copy.copy(self)
        some.table = self.table.iloc[rows]
        return some


def _members(parts: Parts) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of the files in a tar archive; only headers are read."""
    names, offset = ", ".join(path.name for path, _ in parts), 0
    with readable(f"the tar archive {names}", "; decompress it, or download it again"):
        while (header := _read(parts, offset, tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
            entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            if entry.isreg():
                yield PurePosixPath(entry.name).name, offset + len(header), entry.size
            offset += len(header) + -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _read(parts: Parts, offset: int, size: int) -> bytes:
    """Read bytes of a file that may continue in its next part."""
    data = b""
    for path, length in parts:
        if offset < length and len(data) < size:
            with path.open("rb") as file:
                file.seek(offset)
                data += file.read(size - len(data))
        offset = max(offset - length, 0)
    return data


@dataclass(frozen=True, eq=False)
class Observations:
    """N places and what was observed there, not yet encoded.

    Parameters
    ----------
    name : str
        A word, the name of the modality.
    lonlat : array, shape (N, 2)
        Degrees, longitude first.
    raw : sequence
        N images or texts. ``raw[i]`` and ``raw[i:j]`` read what they are asked for, no more.
    names : sequence of str
        What the source calls each: the name of a file, the title of an article.
    source : str
        Where the data came from.
    dropped : int
        How many rows of the source were left out.
    """

    name: str
    lonlat: Array
    raw: Sequence[Any]
    names: Sequence[str]
    source: str = ""
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.lonlat)

    def __repr__(self) -> str:
        left_out = f", {self.dropped:,} rows left out" if self.dropped else ""
        return f"Observations({self.name!r}, {len(self):,} places{left_out})"

    def at(self, rows: NDArray[Any]) -> "Observations":
        """Return some of the observations, by row numbers or a mask; no image is read."""
        rows = np.arange(len(self))[rows]
        names = [self.names[row] for row in rows]
        raw = self.raw.at(rows) if isinstance(self.raw, Images) else [self.raw[row] for row in rows]
        return replace(self, lonlat=self.lonlat[rows], raw=raw, names=names)

    def modality(self, features: Features, featuriser: Featuriser | None = None) -> Modality:
        """Return the modality of features (N, D) that a frozen encoder made of ``raw``.

        Images need more memory than there is: let
        :func:`~earthtie_lite.paper.bulk.encode_to_disk` encode them.

        Examples
        --------
        >>> from earthtie_lite.features import CharacterNGrams
        >>> seen = Observations("text", [[31.2, 30.0], [2.3, 48.9]], ["Cairo", "Paris"], ["a", "b"])
        >>> encoder = CharacterNGrams(64)
        >>> seen.modality(encoder(seen.raw), encoder)
        Modality('text', 2 places, 64 features)
        """
        left_out = f"; {self.dropped:,} rows left out" if self.dropped else ""
        return Modality(self.name, self.lonlat, features, featuriser, self.source + left_out)


def read_s2_100k(
    folder: str | Path, missing: str = "error", name: str = "satellite"
) -> Observations:
    """Read S2-100K: Sentinel-2 patches of 100,000 places on land.

    Parameters
    ----------
    folder : str or Path
        Holds ``index.csv`` (columns fn, lon, lat) and the images: patch_N.tif in ``images``, else
        tar archives in ``data`` or in the folder itself, which are read without unpacking them.
    missing : {"error", "drop"}
        Whether rows of the index without an image, or without coordinates, are refused or left
        out, and counted in ``dropped``.
    name : str

    Returns
    -------
    Observations
        ``raw[i]`` is (12, 256, 256), uint16, in the order of ``S2_BANDS``; ``raw[i:j]`` is
        (j - i, 12, 256, 256).

    Raises
    ------
    ValueError
        If a file is missing or damaged; from ``raw`` if an image has other bands or pixels.

    References
    ----------
    Klemmer et al. (2025), https://doi.org/10.1609/aaai.v39i4.32457
    """
    index = existing(Path(folder) / "index.csv", "the index of S2-100K")
    folders = [index.parent / "images", index.parent / "data", index.parent]
    where = next(folder for folder in folders if folder.is_dir() and any(folder.iterdir()))
    images = Images(where, (".tif", ".tiff"), _sentinel_2, stack=True)
    return _join(name, images, index, ["fn", "lon", "lat"], missing, "S2-100K")


def _sentinel_2(data: bytes) -> NDArray[np.uint16]:
    """Decode a patch (12, 256, 256)."""
    with rasterio.open(io.BytesIO(data)) as file:
        pixels: NDArray[np.uint16] = file.read()
    expected = (len(S2_BANDS), S2_PIXELS, S2_PIXELS)
    if pixels.shape != expected or pixels.dtype != np.uint16:
        raise ValueError(f"expected {expected} in uint16, got {pixels.shape} in {pixels.dtype}")
    return pixels


def read_mp16(
    metadata: str | Path, images: str | Path, missing: str = "error", name: str = "photos"
) -> Observations:
    """Read MP-16: photos from Flickr with the place where each was taken.

    Documented by the authors of MP16-Pro: the tables MP16_Pro_places365.csv (4.65 million rows) and
    MP16_Pro_filtered.csv (4.12 million, those whose photo could be had), columns IMG_ID, LAT and
    LON among others; names of files that are IMG_ID with ``_`` for each ``/``; photos in one tar
    archive that comes cut in parts. Assumed: that the parts' names sort in their order.

    Parameters
    ----------
    metadata : str or Path
        The table.
    images : str or Path
        A folder of JPEG files, of tar archives, or of the parts of one archive (mp-16-images00,
        ...); or an archive. Archives are read where they are: neither joined nor unpacked.
    missing : {"error", "drop"}
        Whether rows without a photo, or without coordinates, are refused or left out, and counted
        in ``dropped``.
    name : str

    Returns
    -------
    Observations
        ``raw[i]`` is (H, W, 3), uint8, red first, of the photo's own size; ``raw[i:j]`` is a list.

    Raises
    ------
    ValueError
        If a file is missing or damaged; from ``raw`` if a photo is damaged.

    References
    ----------
    Larson et al. (2017), https://doi.org/10.1109/MMUL.2017.9
    Jia et al. (2024), MP16-Pro, https://arxiv.org/abs/2405.14702
    """
    photos = Images(images, (".jpg", ".jpeg"), _photo)
    return _join(name, photos, metadata, ["IMG_ID", "LON", "LAT"], missing, "MP-16")


def _photo(data: bytes) -> NDArray[np.uint8]:
    """Decode a photo (H, W, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _join(
    name: str, images: Images, table: str | Path, columns: list[str], missing: str, data_set: str
) -> Observations:
    """Join images to places by the columns of a CSV table: name, longitude and latitude."""
    check_option("missing", missing, ("error", "drop"))
    with reading(table, f"the table of {data_set} with the columns {columns}") as path:
        frame = pd.read_csv(path, usecols=columns, dtype=str, na_filter=False)[columns]
    names = frame.pop(columns[0]).str.replace("/", "_")  # as MP-16's files are called
    places = frame.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    rows = names.map({name: row for row, name in enumerate(images.table["name"])})
    kept = rows.notna().to_numpy() & np.isfinite(places).all(axis=1)
    if not kept.any() or (missing == "error" and not kept.all()):
        row = int(np.argmin(kept))
        raise ValueError(
            f"{sum(~kept):,} of {len(kept):,} rows of {path} lack an image or a place, the first: "
            f"row {row} ({names[row]!r}); download the rest, or leave such rows out (missing: drop)"
        )
    with readable(str(path)):  # all rows are checked, so that an error names the row of the file
        lonlat = as_lonlat(np.where(kept[:, None], places, 0.0))[kept]
    images, source = images.at(rows[kept].to_numpy(np.int64)), f"{data_set}, {path.name}"
    return Observations(name, lonlat, images, names[kept].tolist(), source, int((~kept).sum()))
