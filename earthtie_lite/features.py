"""Frozen encoders of what is observed at a place; none of these needs downloaded weights.

A featuriser maps raw input to (N, out_dim) float32 and is described by its JSON ``spec`` and its
``state`` of arrays, so that a saved run can encode new input.
"""

import functools
import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .storage import cached
from .streams import stream

Features = NDArray[np.float32]
BATCH = 256  # inputs encoded at a time: bounds memory, not results


class Featuriser:
    """A frozen encoder: a dataclass of settings, and arrays where something was fitted."""

    out_dim: Any  # width of the features

    def __call__(self, raw: Any) -> Features:
        """Encode raw input as (N, out_dim)."""
        raise NotImplementedError

    @property
    def spec(self) -> dict[str, Any]:
        """Class and settings, as JSON."""
        return {"class": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    @property
    def identity(self) -> dict[str, Any]:
        """What the features depend on beside ``state``, as JSON."""
        return self.spec

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Fitted arrays."""
        return {}


@dataclass(frozen=True)
class CharacterNGrams(Featuriser):
    """Hashed character n-grams of a text, through a fixed random projection.

    The n-grams of each word (its edges marked) are counted in 2^15 hashed buckets, the counts are
    scaled to unit length and projected by a Gaussian matrix, which keeps angles approximately
    (Johnson and Lindenstrauss 1984). Nothing is fitted: no vocabulary, no statistic of a corpus.

    Parameters
    ----------
    out_dim : int
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
    """Check a sequence of texts."""
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
    """Return a Gaussian matrix that keeps squared lengths on average."""
    draw = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
    return draw / np.float32(np.sqrt(columns))


@dataclass(frozen=True, eq=False)
class RandomConvolutions(Featuriser):
    """MOSAIKS: random convolutional features, whose filters are patches of the images themselves.

    Small windows are cut at random from images of the training part, whitened (ZCA) and scaled to
    unit length; each is a filter. Its response over an image is thresholded on both sides and
    averaged, which gives two features a filter. After Rolf et al. (2021),
    https://doi.org/10.1038/s41467-021-24638-z; the ZCA whitening and two-sided threshold follow
    Coates and Ng (2012), https://doi.org/10.1007/978-3-642-35289-8_30.

    Attributes
    ----------
    filters : array, shape (K, C, p, p)
        With the whitening folded in, for pixels in [0, 1].
    offsets : array, shape (K,)
        The response of each filter to the mean window.
    threshold : float
        In standard deviations of a whitened window.
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
        """Draw and whiten filters from images of the training part.

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
        draws = 20_000  # windows for the whitening: 27 x 27 second moments need far fewer
        views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(2, 3))
        image, top, left = (rng.integers(views.shape[axis], size=draws) for axis in (0, 2, 3))
        windows = views[image, :, top, left].reshape(draws, -1) / 255.0  # (draws, C p p)
        mean = windows.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(windows.T))
        # The noise floor is 1 % of the mean variance: JPEG artefacts are not amplified beyond it.
        whiten = (vectors / np.sqrt(values + 0.01 * values.mean() + 1e-8)) @ vectors.T
        white = (windows - mean) @ whiten
        lengths = np.linalg.norm(white, axis=1)
        # Dull windows have hardly a direction. Black ones (most of the night) are all the same one.
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
        """Width of the features: two a filter."""
        return 2 * len(self.filters)

    @property
    def spec(self) -> dict[str, Any]:
        """Class and settings, as JSON."""
        return {"class": "RandomConvolutions", "threshold": self.threshold}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Fitted arrays."""
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
        parts = []
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images[start : start + BATCH]).float() / 255.0
            response = torch.nn.functional.conv2d(batch, weight, -offset)  # (B, K, h, w)
            up = torch.relu(response - self.threshold).mean(dim=(2, 3))
            down = torch.relu(-response - self.threshold).mean(dim=(2, 3))
            parts.append(torch.cat([up, down], dim=1))
        return torch.cat(parts).numpy()


def _as_images(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Check an array of images."""
    images = np.asarray(raw)
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise ValueError(
            f"expected images (N, C, H, W) in uint8, got {images.shape} in {images.dtype}"
        )
    return images


@dataclass(frozen=True)
class Columns(Featuriser):
    """Columns of a table, taken as they are.

    Parameters
    ----------
    names : tuple of str
    """

    names: tuple[str, ...]

    @property
    def out_dim(self) -> int:
        """Number of columns."""
        return len(self.names)

    def __call__(self, raw: Any) -> Features:
        """Take numbers (N, D), or a data frame that has the columns."""
        if hasattr(raw, "columns"):
            check_columns(raw, self.names)
            raw = raw[list(self.names)]
        array = np.asarray(raw, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise ValueError(f"expected (N, {len(self.names)}) numbers, got {array.shape}")
        return array


def check_columns(raw: Any, asked: Sequence[str]) -> None:
    """Refuse what is no data frame with the columns."""
    there = list(getattr(raw, "columns", []))
    if missing := [column for column in asked if column not in there]:
        raise ValueError(f"expected a data frame with columns {list(asked)}, it lacks {missing}")


def encode(featuriser: Featuriser, raw: Any) -> Features:
    """Encode raw input, or read it from the cache where the same was encoded before.

    The key is the hash of what the features depend on: settings, fitted arrays and the input. For
    more input than the memory holds: :func:`~earthtie_lite.paper.bulk.encode_to_disk`.
    """
    if isinstance(featuriser, Columns):
        return featuriser(raw)  # nothing is computed
    return cached(input_key(featuriser, raw), lambda: featuriser(raw))


def input_key(featuriser: Featuriser, raw: Any) -> bytes:
    """Return the hash of a featuriser and its input, of which a part is held at a time."""
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
        for row, text in enumerate(as_texts(raw)):  # together the JSON of the list
            key.update(((", " if row else "[") + json.dumps(text, ensure_ascii=False)).encode())
        key.update(b"]")
    return key.digest()


def from_spec(spec: dict[str, Any], state: dict[str, np.ndarray]) -> Featuriser:
    """Rebuild a featuriser from its settings and arrays."""
    settings = dict(spec)
    name = settings.pop("class", None)
    if name == "CharacterNGrams":
        return CharacterNGrams(**settings)
    if name == "RandomConvolutions":
        return RandomConvolutions(state["filters"], state["offsets"], **settings)
    if name == "Columns":
        return Columns(tuple(settings["names"]))
    # Those that stand above this file are imported at first use.
    if name == "MixedColumns":
        return importlib.import_module(".own", __package__).MixedColumns(**settings)
    towers = importlib.import_module(".paper.towers", __package__).TOWERS
    if name in towers:
        return towers[name](**settings)
    raise ValueError(f"unknown featuriser {name!r}")
