"""What the paper observes at places, read on demand: Sentinel-2 patches, photos and texts."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..coords import Array, as_lonlat
from ..features import Features, Featuriser
from ..modalities import Modality
from .files import Images, existing, find_images, read_table, table_places

if TYPE_CHECKING:
    import pandas as pd

# Bands of S2-100K in the order of the file. B10 (cirrus) is missing: level 2A has none.
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
S2_PIXELS = 256


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

    Raises
    ------
    ValueError
        If places, raw observations and names are not equally many.
    """

    name: str
    lonlat: Array
    raw: Sequence[Any]
    names: Sequence[str]
    source: str = ""
    dropped: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lonlat", as_lonlat(self.lonlat))
        if not len(self.lonlat) == len(self.raw) == len(self.names):
            raise ValueError(
                f"expected one observation and one name a place, got {len(self.lonlat)} places, "
                f"{len(self.raw)} observations and {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.lonlat)

    def __repr__(self) -> str:
        left_out = f", {self.dropped:,} rows left out" if self.dropped else ""
        return f"Observations({self.name!r}, {len(self):,} places{left_out})"

    def at(self, rows: NDArray[Any]) -> "Observations":
        """Return some of the observations, by row numbers or a mask; no image is read."""
        chosen = np.arange(len(self))[rows]
        raw = (
            self.raw.at(chosen)
            if isinstance(self.raw, Images)
            else [self.raw[row] for row in chosen]
        )
        names = [self.names[row] for row in chosen]
        return Observations(self.name, self.lonlat[chosen], raw, names, self.source, self.dropped)

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
        Whether rows of the index without an image are refused or left out, and counted in
        ``dropped``.
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
    folder = existing(folder, "a folder with index.csv and images of S2-100K")
    index = folder / "index.csv"
    frame = read_table(index, "the index of S2-100K", ["fn"], ["lon", "lat"])
    places = [folder / "images", folder / "data", folder]
    where = next(place for place in places if place.is_dir() and any(place.iterdir()))
    images = find_images(where, (".tif", ".tiff"), _sentinel_2, stack=True)
    frame["fn"] = [PurePosixPath(fn).name for fn in frame["fn"]]
    return _observations(name, frame, ("fn", "lon", "lat"), images, missing, index, "S2-100K")


def _sentinel_2(data: bytes) -> NDArray[np.uint16]:
    """Decode a patch (12, 256, 256)."""
    from rasterio.io import MemoryFile

    if not data:
        raise ValueError("it is empty")
    expected = (len(S2_BANDS), S2_PIXELS, S2_PIXELS)
    with MemoryFile(data) as memory, memory.open() as file:
        if (file.count, *file.shape) != expected or set(file.dtypes) != {"uint16"}:
            raise ValueError(
                f"expected {len(S2_BANDS)} bands of {S2_PIXELS} x {S2_PIXELS} pixels in uint16, "
                f"got {file.count} of {file.height} x {file.width} in {', '.join(set(file.dtypes))}"
            )
        pixels: NDArray[np.uint16] = file.read()
        return pixels


def read_mp16(
    metadata: str | Path,
    images: str | Path | Sequence[str | Path],
    missing: str = "error",
    name: str = "photos",
    image_id: str = "IMG_ID",
    lon: str = "LON",
    lat: str = "LAT",
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
    images : path or sequence of paths
        A folder of JPEG files; a tar archive, several, or a folder of them; or the parts of
        an archive (mp-16-images00, ...), or their folder. Archives are read where they are: neither
        joined nor unpacked.
    missing : {"error", "drop"}
        Whether rows without a photo, or without coordinates, are refused or left out, and counted
        in ``dropped``.
    name : str
    image_id, lon, lat : str
        Columns of the table.

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
    frame = read_table(metadata, "the metadata of MP-16", [image_id], [lon, lat])
    photos = find_images(images, (".jpg", ".jpeg"), _photo)
    frame[image_id] = [identity.replace("/", "_") for identity in frame[image_id]]
    return _observations(name, frame, (image_id, lon, lat), photos, missing, metadata, "MP-16")


def _photo(data: bytes) -> NDArray[np.uint8]:
    """Decode a photo (H, W, 3)."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _observations(
    name: str,
    frame: "pd.DataFrame",
    columns: tuple[str, str, str],
    images: Images,
    missing: str,
    path: str | Path,
    data_set: str,
) -> Observations:
    """Join rows of a table to images by name."""
    rows = images.rows_of(frame[columns[0]].tolist())
    kept, places = _kept(frame, rows >= 0, columns, missing, path)
    images, dropped = images.at(rows[kept]), int((~kept).sum())
    source = f"{data_set}, {Path(path).name}"
    return Observations(name, places, images, images.names.tolist(), source, dropped)


def _kept(
    frame: "pd.DataFrame",
    observed: NDArray[np.bool_],
    columns: tuple[str, str, str],
    missing: str,
    path: str | Path,
) -> tuple[NDArray[np.bool_], Array]:
    """Tell which rows to keep (M,), and return their places (N, 2)."""
    identity, lon, lat = columns
    if missing not in ("error", "drop"):
        raise ValueError(f"missing must be 'error' or 'drop', got {missing!r}")
    if missing == "error" and not observed.all():
        row = int(np.argmin(observed))
        raise ValueError(
            f"{(~observed).sum():,} of {len(frame):,} rows of {path} have no observation, the "
            f"first in row {row} ({identity} {frame[identity].iloc[row]!r}); download the rest, "
            "or pass missing='drop' to leave them out"
        )
    kept = observed
    if missing == "drop":
        kept = observed & frame[[lon, lat]].notna().all(axis=1).to_numpy()
    if not kept.any():
        raise ValueError(f"no row of {path} has an observation and a place")
    # All rows are checked, so that an error names the row of the file.
    checked = frame.assign(**{name: np.where(kept, frame[name], 0.0) for name in (lon, lat)})
    return kept, table_places(checked, lon, lat, path)[kept]


def read_texts(
    path: str | Path,
    lon: str = "lon",
    lat: str = "lat",
    text: str = "text",
    title: str | None = None,
    missing: str = "error",
    name: str = "text",
) -> Observations:
    """Read texts and their places from a table.

    Parameters
    ----------
    path : str or Path
        CSV, TSV or Parquet, UTF-8.
    lon, lat, text : str
        Columns; the text is taken as it is, "NA" too.
    title : str, optional
        Column with the name of each; by default the text itself.
    missing : {"error", "drop"}
        Whether rows without text, or without coordinates, are refused or left out, and counted in
        ``dropped``.
    name : str

    Returns
    -------
    Observations
        ``raw`` is a list of str.

    Raises
    ------
    ValueError
        If the file is missing or damaged or lacks a column.
    """
    title = text if title is None else title
    frame = read_table(path, "a table of texts", list(dict.fromkeys([text, title])), [lon, lat])
    written = frame[text].str.strip().ne("").to_numpy(dtype=bool)
    kept, places = _kept(frame, written, (title, lon, lat), missing, path)
    frame, dropped = frame[kept], int((~kept).sum())
    texts, titles = frame[text].tolist(), frame[title].tolist()
    return Observations(name, places, texts, titles, Path(path).name, dropped)
