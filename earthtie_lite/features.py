"""Frozen encoders of texts, images, patches of maps, table columns; none downloads weights.

A featuriser maps raw input to (N, out_dim) float32. Its JSON ``spec`` and its ``state`` of arrays
describe it completely, so that a saved run can encode new input.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .config import check_integer, check_option
from .coords import stream
from .files import cached

if TYPE_CHECKING:
    import pandas as pd

Features = NDArray[np.float32]
BATCH = 256  # inputs encoded at a time: bounds memory, not results
FEATURISERS: dict[str, "type[Featuriser]"] = {}  # all featuriser classes, by name


class Featuriser:
    """Base class of frozen encoders: a dataclass of settings and, if fitted, of arrays."""

    out_dim: Any  # width of the features
    slow: ClassVar[bool] = True  # whether features are worth caching

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
    With ``direct`` the n-grams are hashed to the columns themselves, each with a sign of its hash
    (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206), which needs no matrix of 33 MB.

    Parameters
    ----------
    out_dim : int
        Width of the features.
    longest : int
        Longest n-gram, in characters.
    seed : int
        Seed of the projection.
    direct : bool
        Hash n-grams to the columns, without a projection.

    Examples
    --------
    >>> CharacterNGrams(64)(["Novosibirsk", "Novokuznetsk"]).shape
    (2, 64)
    """

    out_dim: int = 256
    longest: int = 4
    seed: int = 0
    direct: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """Return class and settings, as JSON; those of version 0.1 if the projection is used."""
        return {k: v for k, v in super().spec.items() if k != "direct" or v}

    def __call__(self, raw: Sequence[str]) -> Features:
        """Encode N texts as (N, out_dim)."""
        from sklearn.feature_extraction.text import HashingVectorizer

        texts = as_texts(raw)
        size = self.out_dim if self.direct else 2**15
        pieces = {"analyzer": "char_wb", "ngram_range": (1, self.longest)}
        hashing = HashingVectorizer(n_features=size, dtype=np.float32, **pieces)
        if self.direct:
            return hashing.transform(texts).toarray()
        projection = _projection(size, self.out_dim, self.seed)
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

        images = _as_images(raw, self.filters.shape[1])
        weight, offset = torch.from_numpy(self.filters), torch.from_numpy(self.offsets)
        batches = []
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images[start : start + BATCH]).float() / 255.0
            response = torch.nn.functional.conv2d(batch, weight, -offset)  # (B, K, h, w)
            up = torch.relu(response - self.threshold).mean(dim=(2, 3))
            down = torch.relu(-response - self.threshold).mean(dim=(2, 3))
            batches.append(torch.cat([up, down], dim=1))
        return torch.cat(batches).numpy()


def _as_images(raw: Any, bands: int | None = None, kind: str = "uint8") -> NDArray[Any]:
    """Return images, or patches of numbers, as an array after checking its shape and type."""
    images = np.asarray(raw)
    typed = images.dtype == np.uint8 or (kind == "numbers" and images.dtype.kind in "iuf")
    if images.ndim != 4 or 0 in images.shape or not typed or bands not in (None, images.shape[1]):
        shape = f"(N, {bands or 'C'}, H, W)"
        raise ValueError(f"expected images {shape} in {kind}, got {images.shape} in {images.dtype}")
    return images


STATISTICS: dict[str, Callable[[Any], Any]] = {  # of patches (N, C, H, W) with NaN for no data
    "mean": lambda x: np.nanmean(x, axis=(2, 3)),
    "std": lambda x: np.nanstd(x, axis=(2, 3)),
    "slope": lambda x: np.nan_to_num(np.hypot(*np.gradient(x, axis=(2, 3)))).mean(axis=(2, 3)),
    "missing": lambda x: np.isnan(x).mean(axis=(2, 3)),
}


@dataclass(frozen=True)
class Statistics(Featuriser):
    """Statistics of the values in a patch of a map, such as heights, where it has data.

    Parameters
    ----------
    names : tuple of {"mean", "std", "slope", "missing"}
        "slope" is the mean length of the gradient per pixel; pixels without data, and those beside
        them, count as flat. "missing" is the share of pixels without data: of heights, of sea.
    quantiles : tuple of float
        In [0, 1]; 0 is the least value, 1 the greatest.
    bands : int
        Bands of a patch.
    nodata : float, optional
        Value of pixels without data; NaN always is one.

    Raises
    ------
    ValueError
        If a name is unknown; when called, if a patch has other bands or a band without any data.

    Examples
    --------
    >>> Statistics(("mean", "missing"), (0.0, 1.0), nodata=-1)([[[[1, 3], [8, -1]]]]).tolist()
    [[4.0, 0.25, 1.0, 8.0]]
    """

    names: tuple[str, ...] = ("mean",)
    quantiles: tuple[float, ...] = ()
    bands: int = 1
    nodata: float | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            check_option("statistic", name, STATISTICS)
        if not (self.names or self.quantiles) or not all(0 <= q <= 1 for q in self.quantiles):
            raise ValueError(f"expected a statistic or quantiles in [0, 1], got {self.quantiles}")

    @property
    def out_dim(self) -> int:
        """Number of statistics times number of bands."""
        return (len(self.names) + len(self.quantiles)) * self.bands

    def __call__(self, raw: Any) -> Features:
        """Encode patches (N, bands, H, W) as (N, out_dim), statistic by statistic."""
        patches = _as_images(raw, self.bands, "numbers")
        found = []
        for start in range(0, len(patches), BATCH):
            batch = patches[start : start + BATCH].astype(np.float64)
            batch[batch == self.nodata] = np.nan
            if (empty := (STATISTICS["missing"](batch) == 1).any(axis=1)).any():
                raise ValueError(f"no data in a band of the patch in row {start + empty.argmax()}")
            parts = [STATISTICS[name](batch) for name in self.names]
            parts += list(np.nanquantile(batch, self.quantiles, axis=(2, 3)))
            found.append(np.concatenate(parts, axis=1))
        return np.concatenate(found).astype(np.float32)


@dataclass(frozen=True)
class Fractions(Featuriser):
    """Fraction of the pixels of a patch in each class of a map, such as land cover.

    Parameters
    ----------
    classes : int
        Number of classes; pixels hold their codes, from 0 on.
    parts : tuple of int
        1 stands for the whole patch, 3 for its central third (of its height and of its width).

    Raises
    ------
    ValueError
        When called, if a code is not one of the classes.

    Examples
    --------
    >>> Fractions(3)([[[[0, 2], [2, 2]]]]).tolist()
    [[0.25, 0.0, 0.75]]
    """

    classes: int
    parts: tuple[int, ...] = (1,)

    @property
    def out_dim(self) -> int:
        """Number of classes times number of parts."""
        return self.classes * len(self.parts)

    def __call__(self, raw: Any) -> Features:
        """Encode patches (N, 1, H, W) as (N, out_dim), part by part."""
        patches = _as_images(raw, 1, "numbers")
        if not np.isin(patches, np.arange(self.classes)).all():
            raise ValueError(
                f"the codes of classes must be integers in [0, {self.classes}), "
                f"got {patches.min():g} to {patches.max():g}"
            )
        found = []
        for part in self.parts:
            height, width = (max(1, side // part) for side in patches.shape[2:])
            top, left = (patches.shape[2] - height) // 2, (patches.shape[3] - width) // 2
            window = patches[:, 0, top : top + height, left : left + width]
            found += [(window == code).mean(axis=(1, 2)) for code in range(self.classes)]
        return np.stack(found, axis=1).astype(np.float32)


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
    if not featuriser.slow:
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
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return FEATURISERS[name](**settings, **state)
