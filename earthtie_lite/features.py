"""Frozen encoders of observations: texts, images, table columns; none needs downloaded weights.

A featuriser maps raw input to (N, out_dim) float32. Its JSON ``spec`` and its ``state`` of arrays
describe it completely, so that a saved run can encode new input.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .config import check_integer
from .coords import Array, stream
from .files import cached
from .frames import as_frame, marked_missing
from .places import comma_hint, row_namer

if TYPE_CHECKING:
    import pandas as pd

Features = NDArray[np.float32]
BATCH = 256  # inputs encoded at a time: bounds memory, not results
MAX_CLASSES = 1000  # limit for a categorical column: each class is one feature
LARGEST = 1e30  # absolute value of a feature: sums of larger ones may overflow in float32
FEATURISERS: dict[str, "type[Featuriser]"] = {}  # all featuriser classes, by name


class Featuriser:
    """Base class of frozen encoders: a dataclass of settings and, if fitted, of arrays."""

    out_dim: Any  # width of the features

    def __init_subclass__(cls, **settings: Any) -> None:
        """Register the class, so that a saved model finds it."""
        super().__init_subclass__(**settings)
        FEATURISERS[cls.__name__] = cls

    def __call__(self, raw: Any) -> Features:
        """Encode raw input as (N, out_dim)."""
        raise NotImplementedError

    @property
    def spec(self) -> dict[str, Any]:
        """Return class and settings, as JSON."""
        return {"class": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    @property
    def identity(self) -> dict[str, Any]:
        """Return everything that the features depend on except ``state``, as JSON."""
        return self.spec

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Return the fitted arrays."""
        return {}


@dataclass(frozen=True)
class CharacterNGrams(Featuriser):
    """Hashed character n-grams of a text, reduced by a fixed random projection.

    The n-grams of each word (with its edges marked) are counted in 2^15 hashed buckets. The counts
    are scaled to unit length and projected by a Gaussian matrix, which preserves angles
    approximately (Johnson and Lindenstrauss 1984). Nothing is fitted: no vocabulary, no corpus.

    Parameters
    ----------
    out_dim : int
        Width of the features.
    longest : int
        Longest n-gram, in characters.
    seed : int
        Seed of the projection.

    Examples
    --------
    >>> CharacterNGrams(64)(["Novosibirsk", "Novokuznetsk"]).shape
    (2, 64)
    """

    out_dim: int = 256
    longest: int = 4
    seed: int = 0

    def __call__(self, raw: Sequence[str]) -> Features:
        """Encode N texts as (N, out_dim)."""
        from sklearn.feature_extraction.text import HashingVectorizer

        texts = as_texts(raw)
        hashing = HashingVectorizer(
            analyzer="char_wb", ngram_range=(1, self.longest), n_features=2**15, dtype=np.float32
        )
        projection = _projection(2**15, self.out_dim, self.seed)
        return np.asarray(hashing.transform(texts) @ projection, dtype=np.float32)


def as_texts(raw: Sequence[str]) -> list[str]:
    """Return a sequence of texts as a list after checking that none is blank."""
    if isinstance(raw, str):
        raise ValueError(f"expected a sequence of texts, got one text; write [{raw!r}]")
    texts = list(raw)
    if not texts:
        raise ValueError("expected at least one text, got none")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"expected text, got {text!r} in row {row}")
    return texts


@functools.lru_cache(maxsize=2)
def _projection(rows: int, columns: int, seed: int) -> Features:
    """Return a Gaussian matrix that preserves squared lengths in expectation."""
    draw = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    return draw / np.float32(np.sqrt(columns))


@dataclass(frozen=True, eq=False)
class RandomConvolutions(Featuriser):
    """Random convolutional features (MOSAIKS) with filters cut from the training images.

    Small windows are cut at random from the training images, whitened (ZCA) and scaled to unit
    length; each one is a filter. The response of a filter to an image is thresholded on both sides
    and averaged, which gives two features per filter. The method is that of Rolf et al. (2021),
    https://doi.org/10.1038/s41467-021-24638-z; the ZCA whitening and two-sided threshold follow
    Coates and Ng (2012), https://doi.org/10.1007/978-3-642-35289-8_30.

    Attributes
    ----------
    filters : array, shape (K, C, p, p)
        Filters with the whitening folded in, for pixels in [0, 1].
    offsets : array, shape (K,)
        Response of each filter to the mean window.
    threshold : float
        Threshold in standard deviations of a whitened window.
    """

    filters: Features
    offsets: Features
    threshold: float = 1.0

    @classmethod
    def fit(
        cls,
        patches: NDArray[np.uint8],
        n_filters: int = 128,
        size: int = 3,
        seed: int = 0,
        threshold: float = 1.0,
    ) -> "RandomConvolutions":
        """Cut and whiten filters from training images.

        Parameters
        ----------
        patches : array, shape (N, C, H, W), uint8
        n_filters : int
            Number of filters K; there are 2 K features.
        size : int
            Side of a filter in pixels.
        """
        images = _as_images(patches)
        if size < 1 or size > min(images.shape[2:]):
            raise ValueError(f"filters of {size} pixels do not fit in images of {images.shape[2:]}")
        rng = stream("windows of filters", seed)
        draws = 20_000  # windows for the whitening; 27 x 27 second moments need far fewer
        views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(2, 3))
        image, top, left = (rng.integers(views.shape[axis], size=draws) for axis in (0, 2, 3))
        windows = views[image, :, top, left].reshape(draws, -1) / 255.0  # (draws, C p p)
        mean = windows.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(windows.T))
        # A noise floor of 1 % of the mean variance keeps JPEG artefacts from being amplified.
        whiten = (vectors / np.sqrt(values + 0.01 * values.mean() + 1e-8)) @ vectors.T
        white = (windows - mean) @ whiten
        lengths = np.linalg.norm(white, axis=1)
        # Windows with little contrast have an ill-defined direction; black ones are identical.
        candidates = np.flatnonzero(windows.any(axis=1) & (lengths >= np.median(lengths)))
        if not len(candidates) or np.ptp(windows) == 0:
            raise ValueError("all images are uniform: there is nothing to convolve")
        chosen = rng.choice(candidates, size=n_filters, replace=len(candidates) < n_filters)
        filters = (white[chosen] / lengths[chosen, None]) @ whiten
        shape = (n_filters, images.shape[1], size, size)
        return cls(
            filters.reshape(shape).astype(np.float32),
            (filters @ mean).astype(np.float32),
            float(threshold),
        )

    @property
    def out_dim(self) -> int:
        """Width of the features: two per filter."""
        return 2 * len(self.filters)

    @property
    def spec(self) -> dict[str, Any]:
        """Return class and settings, as JSON."""
        return {"class": "RandomConvolutions", "threshold": self.threshold}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Return the fitted arrays."""
        return {"filters": self.filters, "offsets": self.offsets}

    def __call__(self, raw: NDArray[np.uint8]) -> Features:
        """Encode images (N, C, H, W), uint8, as (N, 2 K)."""
        import torch

        images = _as_images(raw)
        if images.shape[1] != self.filters.shape[1]:
            raise ValueError(
                f"expected images of {self.filters.shape[1]} channels, got {images.shape[1]}"
            )
        weight, offset = torch.from_numpy(self.filters), torch.from_numpy(self.offsets)
        batches = []
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images[start : start + BATCH]).float() / 255.0
            response = torch.nn.functional.conv2d(batch, weight, -offset)  # (B, K, h, w)
            up = torch.relu(response - self.threshold).mean(dim=(2, 3))
            down = torch.relu(-response - self.threshold).mean(dim=(2, 3))
            batches.append(torch.cat([up, down], dim=1))
        return torch.cat(batches).numpy()


def _as_images(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images as an array after checking its shape and type."""
    images = np.asarray(raw)
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise ValueError(
            f"expected images (N, C, H, W) in uint8, got {images.shape} in {images.dtype}"
        )
    return images


@dataclass(frozen=True)
class Columns(Featuriser):
    """Numeric columns of a table, unchanged but for an offset where float32 needs one.

    Parameters
    ----------
    names : tuple of str
    offsets : tuple of float, optional
        Subtracted from each column in float64: :func:`fit_offsets`.
    """

    names: tuple[str, ...]
    offsets: tuple[float, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))  # JSON returns lists
        object.__setattr__(self, "offsets", tuple(self.offsets))

    @property
    def spec(self) -> dict[str, Any]:
        """Return class and settings, as JSON; without offsets that of version 0.1."""
        return {key: value for key, value in super().spec.items() if key != "offsets" or value}

    @property
    def out_dim(self) -> int:
        """Number of columns."""
        return len(self.names)

    def __call__(self, raw: Any) -> Features:
        """Return numbers (N, D), or the columns of a table, as float32."""
        if hasattr(raw, "columns"):
            raw = read_numbers(check_columns(raw, self.names), self.names)
        array = np.asarray(raw, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise ValueError(f"expected (N, {len(self.names)}) numbers, got {array.shape}")
        return (array - (self.offsets or 0.0)).astype(np.float32)


def check_columns(raw: Any, asked: Sequence[str]) -> "pd.DataFrame":
    """Return columns of a table of any kind; raise a ValueError unless each is there once."""
    frame = as_frame(raw) if hasattr(raw, "columns") else raw
    present = list(getattr(frame, "columns", []))
    if wrong := [column for column in asked if present.count(column) != 1]:
        raise ValueError(f"columns {wrong} not found, or not once, in a table with {present}")
    return frame[list(dict.fromkeys(asked))]


def read_numbers(frame: "pd.DataFrame", names: Sequence[str], nodata: Any = ()) -> Array:
    """Read columns of a table as numbers, whatever their type; True is 1.

    Parameters
    ----------
    frame : DataFrame
    names : sequence of str
    nodata : float or array, optional
        Numbers that mean a missing value, compared to the precision of float32.

    Returns
    -------
    array, shape (N, D), float64
        NaN where a cell is empty or a mark of a missing value such as NA.

    Raises
    ------
    ValueError
        If another cell is not a finite number, or exceeds 1e30 in size; it names the first row.
    """
    import pandas as pd

    numbers, marks = np.empty((len(frame), len(names))), np.array(nodata, dtype=float, ndmin=1)
    for column, values in zip(names, numbers.T):
        # As objects, because pandas would otherwise convert a time to a number.
        cells = frame[column] if frame[column].dtype.kind in "iuf" else frame[column].astype(object)
        parsed = pd.to_numeric(cells, errors="coerce")
        values[:] = np.nan if parsed.dtype.kind == "c" else parsed.to_numpy(float, na_value=np.nan)
        wrong = ~(np.isfinite(values) | marked_missing(cells))
        alike = np.isclose(values[:, None], marks, rtol=1e-7, atol=0).any(axis=1)
        whole = (np.rint(values) == values) & (np.abs(values) < 1e15)  # 16777217 is not 16777216
        with np.errstate(over="ignore"):
            alike &= ~whole | np.isin(values, [marks, marks.astype(np.float32)])
        values[alike] = np.nan
        wrong |= np.abs(values) > LARGEST
        if wrong.any():
            row = int(np.argmax(wrong))
            (cell,) = cells.iloc[[row]].tolist()
            hint = comma_hint(
                cell, "text goes to text or categories; times become numbers, as of days"
            )
            if np.isfinite(values[row]):
                hint = f"if it marks missing values, say so (nodata: {values[row]:.15g})"
            raise ValueError(
                f"column {column!r} must hold finite numbers of at most 1e30 in size, got {cell!r} "
                f"in {row_namer(frame.index)(row)}; {hint}"
            )
    return numbers


def fit_offsets(numbers: Array, tolerance: float = 1e-3) -> tuple[float, ...]:
    """Return the means of columns (N, D) whose deviation float32 resolves worse than tolerated.

    The offset of other columns is 0; if no column needs one, there are none.
    """
    mean, std = numbers.mean(axis=0), numbers.std(axis=0)
    blurred = np.spacing(np.abs(mean).astype(np.float32)) > tolerance * std
    # Not constant up to rounding; the mean itself is rounded, so the deviation is never 0.
    blurred &= np.ptp(numbers, axis=0) > 100 * np.spacing(np.abs(mean))
    return tuple(np.where(blurred, mean, 0.0).tolist()) if blurred.any() else ()


@dataclass(frozen=True)
class MixedColumns(Columns):
    """Columns of a table: numbers unchanged, then categories one-hot.

    Categories are compared as text; 1 and 1.0 are the same class.

    Parameters
    ----------
    names : tuple of str
        Numeric columns; may be empty.
    classes : tuple of (str, tuple of str)
        Categorical columns, each with its classes.

    Raises
    ------
    ValueError
        If there are no classes; when called, if a column is missing or a category is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = MixedColumns(("ph",), (("soil", ("clay", "sand")),))
    >>> columns(pd.DataFrame({"ph": [5.5, 7.0], "soil": ["sand", "clay"]})).tolist()
    [[5.5, 0.0, 1.0], [7.0, 1.0, 0.0]]
    """

    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        classes = tuple((column, tuple(known)) for column, known in self.classes)
        if not classes or not all(known for _, known in classes):
            raise ValueError(f"expected columns of categories with their classes, got {classes}")
        object.__setattr__(self, "classes", classes)

    @classmethod
    def fit(
        cls, frame: "pd.DataFrame", names: Iterable[str], categories: Iterable[str]
    ) -> "MixedColumns":
        """Collect the classes of the categorical columns of a table, in alphabetical order.

        Raises
        ------
        ValueError
            If a column has more than ``MAX_CLASSES`` classes.
        """
        found, names = [], tuple(names)
        for column in categories:
            known = sorted({_class_name(value) for value in frame[column]})
            if len(known) > MAX_CLASSES:
                raise ValueError(
                    f"column {column!r} has {len(known):,} categories, at most {MAX_CLASSES:,} are "
                    "encoded: merge rare ones, leave the column out, or use it as text"
                )
            found.append((column, tuple(known)))
        return cls(names, tuple(found), offsets=fit_offsets(read_numbers(frame, names)))

    @property
    def out_dim(self) -> int:
        """Number of numeric columns plus number of classes."""
        return len(self.names) + sum(len(known) for _, known in self.classes)

    def __call__(self, raw: Any) -> Features:
        """Encode a table that has the columns as (N, out_dim)."""
        import pandas as pd

        raw = check_columns(raw, [*self.names, *(column for column, _ in self.classes)])
        parts = [super().__call__(raw)]
        for column, known in self.classes:
            values = [_class_name(value) for value in raw[column]]
            codes = pd.Index(known).get_indexer(pd.Index(values))  # -1 for an unknown category
            if (codes < 0).any():
                row = int(np.argmax(codes < 0))
                raise ValueError(
                    f"unknown category {values[row]!r} of column {column!r} in row {row}: "
                    f"expected one of {len(known):,}, such as {', '.join(map(repr, known[:5]))}"
                )
            parts.append(np.eye(len(known), dtype=np.float32)[codes])
        return np.concatenate(parts, axis=1)


def _class_name(value: Any) -> str:
    """Return a category as text; a whole number has no decimals, whatever its type."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def read_images(
    paths: "Sequence[str | Path] | pd.Series[Any]", folder: str | Path = ".", size: int = 32
) -> NDArray[np.uint8]:
    """Read image files as square RGB images of one size.

    Each image is rotated according to its EXIF data, cropped to a central square and resized
    (bicubic); transparency is dropped. All are held in memory, 3 * size ** 2 bytes each.

    Parameters
    ----------
    paths : sequence of str or Path, or Series
        Files that Pillow reads (JPEG, PNG, ...), 8 bits per channel.
    folder : str or Path
        Folder to which relative paths refer.
    size : int
        Pixels on a side.

    Returns
    -------
    array, shape (N, 3, size, size), uint8

    Raises
    ------
    ValueError
        If a file is missing or damaged; the message names its path and row (the index of a Series).
    """
    import pandas as pd
    from PIL import Image, ImageOps

    if isinstance(paths, (str, Path)):
        raise ValueError(f"expected a sequence of paths, got one; write [{str(paths)!r}]")
    check_integer("size", size)
    named = pd.Series(paths, dtype=object)
    images = np.empty((len(named), 3, size, size), dtype=np.uint8)
    for image, (row, name) in zip(images, named.items()):
        if not isinstance(name, (str, Path)):
            raise ValueError(f"expected the path of an image, got {name!r} in row {row}")
        path = Path(folder).expanduser() / Path(name).expanduser()
        try:
            with Image.open(path) as file:
                if file.mode.startswith(("I", "F")):  # Pillow's modes with more than 8 bits
                    raise ValueError("more than 8 bits per channel; save it as 8-bit RGB")
                file.draft("RGB", (2 * size, 2 * size))  # decodes large JPEGs at a lower scale
                upright = ImageOps.exif_transpose(file).convert("RGB")
        # Pillow raises different errors for different formats and kinds of damage.
        except Exception as error:
            raise ValueError(f"the image of row {row}, {path}, cannot be read: {error}") from error
        image[:] = np.moveaxis(np.asarray(ImageOps.fit(upright, (size, size))), 2, 0)
    return images


def encode(featuriser: Featuriser, raw: Any) -> Features:
    """Encode raw input, or read the features from the cache if the same input was encoded before.

    The cache key is a hash of settings, fitted arrays and input. For input that exceeds memory, use
    :func:`~earthtie_lite.paper.bulk.encode_to_disk`.
    """
    if isinstance(featuriser, Columns):
        return featuriser(raw)  # nothing worth caching
    return cached(input_key(featuriser, raw), lambda: featuriser(raw))


def input_key(featuriser: Featuriser, raw: Any) -> bytes:
    """Return the hash of a featuriser and its input, reading the input in pieces."""
    key = hashlib.sha256(json.dumps(featuriser.identity, sort_keys=True).encode())
    for name, array in sorted(featuriser.state.items()):
        key.update(name.encode() + np.ascontiguousarray(array).tobytes())
    if isinstance(fingerprint := getattr(raw, "fingerprint", None), str):
        key.update(f"{len(raw)} inputs, fingerprint {fingerprint}".encode())
    elif isinstance(raw, np.ndarray) and raw.dtype != object:
        key.update(repr((raw.shape, raw.dtype.str)).encode())
        rows = np.atleast_1d(raw)
        for start in range(0, len(rows), BATCH):
            key.update(np.ascontiguousarray(rows[start : start + BATCH]).tobytes())
    elif hasattr(first := next(iter(raw), None), "tobytes") and not isinstance(first, str):
        for image in raw:
            pixels = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
            key.update(repr((pixels.shape, pixels.dtype.str)).encode() + pixels.tobytes())
    else:
        for row, text in enumerate(as_texts(raw)):  # the pieces join to the JSON of the list
            key.update(((", " if row else "[") + json.dumps(text, ensure_ascii=False)).encode())
        key.update(b"]")
    return key.digest()


def from_spec(spec: dict[str, Any], state: dict[str, np.ndarray]) -> Featuriser:
    """Rebuild a featuriser from its settings and arrays.

    Raises
    ------
    ValueError
        If no class of that name is registered; import the module that defines it first.
    """
    settings = dict(spec)
    name = settings.pop("class", None)
    if name not in FEATURISERS:
        from .paper import towers  # noqa: F401  (registers CLIP, MoCo, DINO and BGE)
    if name not in FEATURISERS:
        raise ValueError(f"unknown featuriser {name!r}: expected one of {sorted(FEATURISERS)}")
    return FEATURISERS[name](**settings, **state)
