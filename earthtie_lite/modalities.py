"""Modalities: places with frozen features of what was observed there, each with its own places."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import own
from . import sample as embedded
from .coords import Array, as_lonlat, block_ids, great_circle_km, hold_out, unit_vectors
from .features import CharacterNGrams, Features, Featuriser, RandomConvolutions, encode
from .streams import stream

if TYPE_CHECKING:
    import pandas as pd

Exclude = Callable[[Array], NDArray[np.bool_]]
NAMES = ("satellite", "lights", "text")
PATCH_PIXELS = {"satellite": 15, "lights": 12}  # PATCH_KM at each raster's own resolution
NAME_SPACING_KM = 10.0  # place names are thinned to one an equal-area cell of this size


@dataclass(frozen=True, eq=False)
class Modality:
    """N places and the frozen features of what was observed there.

    Parameters
    ----------
    name : str
        A word; it names the modality's head in the model.
    lonlat : array, shape (N, 2)
        Degrees, longitude first.
    features : array, shape (N, D)
        Finite; kept as float32.
    featuriser : Featuriser, optional
        What made the features, to encode new input.
    source : str
        Where the data came from.
    """

    name: str
    lonlat: Array
    features: Features
    featuriser: Featuriser | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"the name of a modality must be a word, got {self.name!r}")
        if self.name == "loss":
            raise ValueError("a modality cannot be named 'loss': the history has such a column")
        places = as_lonlat(self.lonlat)
        try:
            features = np.asarray(self.features, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"features of modality {self.name!r} must be numbers") from error
        if features.ndim != 2 or len(features) != len(places) or features.shape[1] == 0:
            raise ValueError(
                f"features of modality {self.name!r} must have shape ({len(places)}, D), one row "
                f"a place, got {features.shape}"
            )
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"features of modality {self.name!r} must be finite, not in row {row}")
        if len(features) > 1 and np.ptp(features, axis=0).max() == 0:
            raise ValueError(f"features of modality {self.name!r} are constant: nothing to learn")
        object.__setattr__(self, "lonlat", places)
        object.__setattr__(self, "features", features)

    def __len__(self) -> int:
        return len(self.lonlat)

    def __repr__(self) -> str:
        return f"Modality({self.name!r}, {len(self):,} places, {self.features.shape[1]} features)"

    @classmethod
    def from_frame(
        cls,
        frame: "pd.DataFrame",
        name: str,
        lon: Any = None,
        lat: Any = None,
        features: Sequence[str] | None = None,
        text: str | None = None,
        *,
        categories: Sequence[str] | None = None,
        images: str | None = None,
        folder: str | Path = ".",
        size: int = 32,
        featuriser: Featuriser | None = None,
        missing: str = "error",
        duplicates: str = "warn",
    ) -> "Modality":
        """Make a modality from a table: numbers and categories, or a text, or an image a row.

        Rows are counted from 0, as in ``frame.iloc``. What else may be wrong with places:
        :func:`~earthtie_lite.checks.check_places`.

        Parameters
        ----------
        frame : DataFrame
        name : str
        lon, lat : label, optional
            Columns of longitude and latitude, degrees. By default the geometry of a GeoDataFrame,
            or the columns with usual names: :func:`~earthtie_lite.places.lonlat_of`.
        features : sequence of str, optional
            Columns of numbers to take as they are.
        text : str, optional
            Column of text, encoded by :class:`~earthtie_lite.features.CharacterNGrams`.
        categories : sequence of str, optional
            Columns of categories, alone or beside ``features``, one feature a class:
            :class:`~earthtie_lite.own.MixedColumns`. New input may not have other classes.
        images : str, optional
            Column of paths of images, read by :func:`~earthtie_lite.own.read_images` and encoded by
            :class:`~earthtie_lite.features.RandomConvolutions`. Filters are cut from images outside
            the blocks that may be held out for validation, up to half of all.
        folder : str or Path
            What relative paths of images start from.
        size : int
            Pixels on a side to which images are resized.
        featuriser : Featuriser, optional
            What encodes the texts or images instead, for example one of
            :mod:`~earthtie_lite.paper.towers`.
        missing : {"error", "drop"}
            Whether rows without a place or a value (or with a blank text) are refused, or left
            out with a warning that counts them. What is there but no number is always refused.
        duplicates : {"warn", "keep", "first", "mean"}
            What becomes of rows with exactly the same place, each a false negative of the others
            in a batch: all are kept, with a warning or without; or only the first; or the mean of
            their features.

        Raises
        ------
        ValueError
            If columns, values or images cannot be used; with the row.

        Warns
        -----
        UserWarning
            With the number of rows that were left out, that repeat a place, that lie at (0, 0) or
            whose longitude and latitude seem to be swapped.

        Examples
        --------
        >>> import pandas as pd
        >>> soil = pd.DataFrame({"lon": [13.4, 2.3], "lat": [52.5, 48.9], "ph": [5.1, 7.2]})
        >>> Modality.from_frame(soil, name="soil", features=["ph"])
        Modality('soil', 2 places, 1 features)
        >>> soil["kind"] = ["sand", "clay"]
        >>> Modality.from_frame(soil, name="soil", features=["ph"], categories=["kind"])
        Modality('soil', 2 places, 3 features)
        """
        asked = own.columns_asked(features, categories, text, images, featuriser)
        own.check_option("duplicates", duplicates, ("warn", "keep", "first", "mean"))
        table, places = own.filled_rows(frame, lon, lat, asked, missing)
        left_out = len(frame) - len(table)
        for note in own.doubts(table, places, len(frame), duplicates):
            warnings.warn(note, stacklevel=2)
        if duplicates == "first":
            once = ~own.repeats(places)
            table, places = table[once], places[once]
        raw: Any = table
        if text is not None:
            raw = own.texts_of(table, text)
            featuriser = CharacterNGrams() if featuriser is None else featuriser
        elif images is not None:
            raw = own.read_images(table[images], folder, size)
            featuriser = fit_filters(places, raw, seed=0) if featuriser is None else featuriser
        else:
            featuriser, raw = own.columns_of(table, features or (), categories or ())
        values = encode(featuriser, raw)
        if duplicates == "mean":
            places, values = own.mean_by_place(places, values)
        source = "own table" + (f"; {left_out:,} rows left out" if left_out else "")
        return cls(name, places, values, featuriser, source)


def load_sample(
    n: int = 20_000,
    seed: int = 0,
    modalities: Iterable[str] = NAMES,
    exclude: Exclude | None = None,
) -> dict[str, Modality]:
    """Load the embedded sample: n places for each modality, none shared, offline.

    Images lie anywhere on land, uniformly by area; names are thinned to one (the most populous)
    an equal-area cell, then drawn at random. Filters for images are drawn outside the blocks that
    :func:`~earthtie_lite.coords.hold_out` keeps for validation, up to half of all. Features are
    cached.

    Parameters
    ----------
    n : int
        Places a modality, up to 100,000.
    seed : int
        Seed of the places; each modality has a stream of its own.
    modalities : iterable of {"satellite", "lights", "text"}
    exclude : callable, optional
        Takes places (N, 2) and tells which to leave out, (N,) bool: no place, image or fitted
        filter comes from there.

    Returns
    -------
    dict of str to Modality
    """
    wanted = list(modalities)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        raise ValueError(f"unknown modality {unknown}: the sample has {list(NAMES)}")
    if not isinstance(n, (int, np.integer)) or not 2 <= n <= 100_000:
        raise ValueError(f"n must be an integer in [2, 100000], got {n!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    if exclude is not None and not callable(exclude):
        raise ValueError(f"exclude must be a function of places (N, 2), got {exclude!r}")
    return {
        name: _text(n, seed, exclude) if name == "text" else _images(name, n, seed, exclude)
        for name in wanted
    }


def _images(name: str, n: int, seed: int, exclude: Exclude | None) -> Modality:
    """Sample places over land, cut patches and encode them."""
    places = _draw(n, stream(f"places of {name}", seed), exclude)
    return images_at(name, places, seed, f"embedded sample: {name}.tif")


def images_at(name: str, places: Array, seed: int, source: str) -> Modality:
    """Cut and encode the sample's patches of a modality at places (N, 2)."""
    patches = embedded.raster(name).patches(places, PATCH_PIXELS[name])
    filters = fit_filters(places, patches, seed)
    return Modality(name, places, encode(filters, patches), filters, source)


def fit_filters(places: Array, patches: NDArray[np.uint8], seed: int) -> RandomConvolutions:
    """Cut filters from patches outside the blocks that may be held out for validation."""
    # Fractions are nested: whatever part up to a half is held out gave no filter.
    training = hold_out(places, 0.5, buffer_km=embedded.PATCH_KM)[1]
    if not training.any():
        raise ValueError(
            "every image lies in a block that may be held out for validation, so none can give "
            "filters: bring more places, or pass featuriser=, fitted on other images"
        )
    return RandomConvolutions.fit(patches[training], seed=seed)


def _draw(n: int, rng: np.random.Generator, exclude: Exclude | None) -> Array:
    """Draw n places on land, none of them excluded."""
    found = np.empty((0, 2))
    while len(found) < n:
        drawn = embedded.sample_land(n, rng)
        kept = drawn if exclude is None else drawn[~exclude(drawn)]
        if not len(kept):
            raise ValueError("exclude leaves out every place")
        found = np.concatenate([found, kept])
    return found[:n]


def thinned_names(spacing_km: float = NAME_SPACING_KM) -> "pd.DataFrame":
    """Return the gazetteer with one place, the most populous, an equal-area cell."""
    frame, first = _first_of_cells(spacing_km)
    return frame[first].reset_index(drop=True)


def nearest_name(lonlat: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the row of :func:`thinned_names` nearest to each place (N,), and how far, km (N,)."""
    from scipy.spatial import cKDTree

    names = thinned_names()[["lon", "lat"]].to_numpy()
    _, row = cKDTree(unit_vectors(names)).query(unit_vectors(lonlat))
    return row, great_circle_km(lonlat, names[row])


def other_names(spacing_km: float = NAME_SPACING_KM) -> "pd.DataFrame":
    """Return the places that :func:`thinned_names` leaves out: no training ever sees them."""
    frame, first = _first_of_cells(spacing_km)
    return frame[~first].reset_index(drop=True)


def _first_of_cells(spacing_km: float) -> "tuple[pd.DataFrame, NDArray[np.bool_]]":
    """Return the gazetteer, and which rows are the most populous of their cell."""
    frame = embedded.places()  # sorted by population
    frame = frame[frame["lat"] > embedded.SOUTHERN_LIMIT]
    cell = block_ids(frame[["lon", "lat"]].to_numpy(), spacing_km)
    first = np.zeros(len(frame), dtype=bool)
    first[np.unique(cell, return_index=True)[1]] = True
    return frame, first


def _text(n: int, seed: int, exclude: Exclude | None) -> Modality:
    """Draw names from the thinned gazetteer and encode them."""
    frame = thinned_names()
    if exclude is not None:
        frame = frame[~exclude(frame[["lon", "lat"]].to_numpy(dtype=np.float64))]
    if n > len(frame):
        raise ValueError(f"the sample has {len(frame):,} thinned place names, {n:,} were asked for")
    order = stream("places of text", seed).permutation(len(frame))[:n]
    return names_as_text(frame.iloc[order], "embedded sample: places.parquet")


def names_as_text(frame: "pd.DataFrame", source: str) -> Modality:
    """Encode the names of a part of the gazetteer."""
    ngrams, places = CharacterNGrams(), frame[["lon", "lat"]].to_numpy(dtype=np.float64)
    return Modality("text", places, encode(ngrams, frame["name"].tolist()), ngrams, source)


def as_modalities(sample: Modality | Iterable[Modality] | Mapping[str, Modality]) -> list[Modality]:
    """Return the modalities of a mapping, a sequence or a single one, names checked."""
    if isinstance(sample, Modality):
        return [sample]
    if not isinstance(sample, Iterable):
        raise ValueError(f"expected modalities, got {type(sample).__name__}")
    values = list(sample.values()) if isinstance(sample, Mapping) else list(sample)
    if not values:
        raise ValueError("at least one modality is needed")
    for value in values:
        if not isinstance(value, Modality):
            raise ValueError(f"expected a Modality, got {type(value).__name__}")
    names = [value.name for value in values]
    if len(set(names)) < len(names):
        raise ValueError(f"names of modalities must differ, got {names}")
    if isinstance(sample, Mapping) and list(sample) != names:
        raise ValueError(f"keys {list(sample)} differ from the modalities' names {names}")
    return values
