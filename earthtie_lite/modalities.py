"""Modalities: places with frozen features of observations, from the sample or from a table."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .config import check_integer, check_option
from .coords import Array, as_lonlat, block_ids, hold_out, stream, unit_vectors
from .features import (
    CharacterNGrams,
    Columns,
    Features,
    Featuriser,
    MixedColumns,
    RandomConvolutions,
    encode,
    read_images,
)
from .places import check_places, comma_hint, lonlat_of, repeats

if TYPE_CHECKING:
    import pandas as pd

Exclude = Callable[[Array], NDArray[np.bool_]]
NAMES = ("satellite", "lights", "text")
PATCH_PIXELS = {"satellite": 15, "lights": 12}  # PATCH_KM at each raster's own resolution
NAME_SPACING_KM = 10.0  # place names are thinned to one per equal-area cell of this size
FILL = "fill them in, or leave them out with missing='drop'"


@dataclass(frozen=True, eq=False)
class Modality:
    """N places and the frozen features of the observations made there.

    Parameters
    ----------
    name : str
        A word (a Python identifier), which also names the model's head of this modality.
    lonlat : array, shape (N, 2)
        Degrees, longitude first.
    features : array, shape (N, D)
        Finite; stored as float32.
    featuriser : Featuriser, optional
        The frozen encoder that made the features; it encodes new input.
    source : str
        Origin of the data.
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
                f"per place, got {features.shape}"
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
        """Make a modality from a table of numbers and categories, of texts or of images.

        Messages count rows from 0, as ``frame.iloc`` does.
        :func:`~earthtie_lite.places.check_places` checks places more thoroughly.

        Parameters
        ----------
        frame : DataFrame
        name : str
        lon, lat : label, optional
            Columns of longitude and latitude, degrees. By default the geometry of a GeoDataFrame,
            or the columns with usual names: :func:`~earthtie_lite.places.lonlat_of`.
        features : sequence of str, optional
            Numeric columns, used unchanged.
        text : str, optional
            Column of text, encoded by :class:`~earthtie_lite.features.CharacterNGrams`.
        categories : sequence of str, optional
            Categorical columns, with or without ``features``, encoded one-hot by
            :class:`~earthtie_lite.features.MixedColumns`. New input may have no other classes.
        images : str, optional
            Column of image paths, read by :func:`~earthtie_lite.features.read_images` and encoded
            by :class:`~earthtie_lite.features.RandomConvolutions`. Filters are cut from images
            outside the blocks that may be held out for validation, up to half of all blocks.
        folder : str or Path
            Folder to which relative image paths refer.
        size : int
            Side, in pixels, to which images are resized.
        featuriser : Featuriser, optional
            Another encoder for the texts or images, for example one of
            :mod:`~earthtie_lite.paper.towers`.
        missing : {"error", "drop"}
            "drop" leaves out rows without a place or a value (or with a blank text) and warns how
            many. A value that is present but not numeric is always an error.
        duplicates : {"warn", "keep", "first", "mean"}
            How to treat rows with exactly the same place, which are false negatives of each other
            in a batch: keep all, with or without a warning; keep the first; or average their
            features.

        Raises
        ------
        ValueError
            If columns, values or images cannot be used; the message names the row.

        Warns
        -----
        UserWarning
            If rows were left out, repeat a place, lie at (0, 0) or seem to have longitude and
            latitude swapped; the message gives their number.

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
        asked = _observation_columns(features, categories, text, images, featuriser)
        check_option("duplicates", duplicates, ("warn", "keep", "first", "mean"))
        table, places = _complete_rows(frame, lon, lat, asked, missing)
        left_out = len(frame) - len(table)
        for note in _list_warnings(table, places, len(frame), duplicates):
            warnings.warn(note, stacklevel=2)
        if duplicates == "first":
            first = ~repeats(places)
            table, places = table[first], places[first]
        raw: Any = table
        if text is not None:
            raw = _text_column(table, text)
            featuriser = CharacterNGrams() if featuriser is None else featuriser
        elif images is not None:
            raw = read_images(table[images], folder, size)
            featuriser = fit_filters(places, raw, seed=0) if featuriser is None else featuriser
        else:
            featuriser, raw = _fit_columns(table, features or (), categories or ())
        values = encode(featuriser, raw)
        if duplicates == "mean":
            places, values = _mean_by_place(places, values)
        source = "own table" + (f"; {left_out:,} rows left out" if left_out else "")
        return cls(name, places, values, featuriser, source)


def _observation_columns(
    features: Sequence[str] | None,
    categories: Sequence[str] | None,
    text: str | None,
    images: str | None,
    featuriser: Any,
) -> list[str]:
    """Return the columns of the observations after checking that they are of one kind."""
    columns = features is not None or categories is not None
    if columns + (text is not None) + (images is not None) != 1:
        raise ValueError(
            "give either features (numeric columns), categories or both; or text (one column); or "
            "images (one column)"
        )
    if columns and featuriser is not None:
        raise ValueError("a featuriser encodes text or images, not features and categories")
    if isinstance(features, str) or isinstance(categories, str):
        raise ValueError("features and categories must be lists of columns; write [column]")
    if isinstance(text, (list, tuple)) or isinstance(images, (list, tuple)):
        raise ValueError(f"text and images must be one column, got {text or images!r}")
    asked = [*(features or ()), *(categories or ())]
    return asked + [column for column in (text, images) if column is not None]


def _complete_rows(
    frame: "pd.DataFrame", lon: Any, lat: Any, asked: Sequence[str], missing: str
) -> "tuple[pd.DataFrame, Array]":
    """Return the rows with a place and a value in each column, and their places.

    The index of the result holds row numbers of the table, which messages use. A blank text counts
    as missing.
    """
    import pandas as pd

    check_option("missing", missing, ("error", "drop"))
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"expected a data frame, got {type(frame).__name__}; read the file first")
    absent = [column for column in asked if column not in frame.columns]
    if absent or not asked:
        raise ValueError(f"columns {absent} not found: there are {list(frame.columns)}")
    table = frame[list(dict.fromkeys(asked))].reset_index(drop=True)
    if not table.columns.is_unique:
        raise ValueError(f"the names of columns must differ, got {list(table.columns)}")
    places = lonlat_of(frame.reset_index(drop=True), lon, lat, missing, FILL)
    lacking = table.isna()
    for column in table.select_dtypes(exclude="number"):
        blank = [isinstance(value, str) and not value.strip() for value in table[column]]
        lacking[column] |= np.array(blank)
    empty = np.asarray(lacking.any(axis=1), dtype=bool)
    bad = empty | np.isnan(places).any(axis=1)
    if bad.all():
        raise ValueError(f"none of the {len(table):,} rows has a place and a value")
    if empty.any() and missing == "error":
        row = int(np.argmax(empty))
        column = table.columns[int(np.argmax(lacking.loc[row]))]
        raise ValueError(
            f"{empty.sum():,} of {len(table):,} rows lack a value, the first is row {row}, in "
            f"column {column!r}; {FILL}"
        )
    return table[~bad], places[~bad]


def _list_warnings(table: "pd.DataFrame", places: Array, n_rows: int, duplicates: str) -> list[str]:
    """Return the warnings to give: rows left out of n_rows, suspicious places (N, 2)."""
    left_out, notes = n_rows - len(table), []
    if left_out:
        notes.append(f"left out {left_out:,} of {n_rows:,} rows, which lack a value")
    asked = ["at (0, 0)", "probably swapped"] + ["duplicated"] * (duplicates == "warn")
    for check, row in check_places(places).loc[asked].iterrows():
        if row["places"]:
            notes.append(
                f"{row['places']:,} of {len(places):,} places are {check}, the first in row "
                f"{table.index[row['first_row']]}: {row['advice']}"
            )
    return notes


def _mean_by_place(places: Array, features: Features) -> tuple[Array, Features]:
    """Average the features (N, D) of each distinct place, in order of first occurrence."""
    import pandas as pd

    keys = list(unit_vectors(places).T)  # the same for a pole at any longitude
    means = pd.DataFrame(features.astype(np.float64)).groupby(keys, sort=False).mean()
    return places[~repeats(places)], means.to_numpy(np.float32)


def _fit_columns(
    table: "pd.DataFrame", features: Sequence[str], categories: Sequence[str]
) -> "tuple[Columns, pd.DataFrame]":
    """Return the featuriser of columns, and the table with numbers parsed from text."""
    import pandas as pd

    table = table.copy()
    for column in features:
        # As objects, because pandas would otherwise convert a time to a number.
        numbers = pd.to_numeric(table[column].astype(object), errors="coerce").astype(np.float64)
        with np.errstate(over="ignore"):  # values beyond float32 become infinite
            wrong = ~np.isfinite(numbers.to_numpy().astype(np.float32))
        if wrong.any():
            row = int(np.argmax(wrong))
            (value,) = table[column].iloc[[row]].tolist()
            raise ValueError(
                f"column {column!r} must hold finite numbers, got {value!r} in row "
                f"{table.index[row]}; {comma_hint(value, 'for text, use text= or categories=')}"
            )
        table[column] = numbers
    asked = [*features, *categories]
    if constant := [c for c in asked if len(table) > 1 and table[c].nunique() == 1]:
        raise ValueError(f"columns {constant} are constant: leave them out")
    if categories:
        return MixedColumns.fit(table, features, categories), table
    return Columns(tuple(features)), table


def _text_column(table: "pd.DataFrame", column: str) -> list[str]:
    """Return a text column as a list; raise a ValueError if a value is not text."""
    if bad := [(row, x) for row, x in table[column].items() if not isinstance(x, str)]:
        raise ValueError(f"column {column!r} must be text, got {bad[0][1]!r} in row {bad[0][0]}")
    return table[column].tolist()


def load_sample(
    n: int = 20_000,
    seed: int = 0,
    modalities: Iterable[str] = NAMES,
    exclude: Exclude | None = None,
) -> dict[str, Modality]:
    """Load the embedded sample, offline: n places per modality, different for each.

    Images are uniform by area over land. Names are thinned to the most populous place of each
    equal-area cell, then drawn at random. Filters for images are cut outside the blocks that
    :func:`~earthtie_lite.coords.hold_out` keeps for validation, up to half of all blocks. Features
    are cached.

    Parameters
    ----------
    n : int
        Places per modality, at most 100,000.
    seed : int
        Seed of the places; each modality has its own random generator.
    modalities : iterable of {"satellite", "lights", "text"}
    exclude : callable, optional
        Takes places (N, 2) and returns a mask (N,) of those to leave out; no place, image or filter
        comes from them.

    Returns
    -------
    dict of str to Modality
    """
    wanted = list(modalities)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        raise ValueError(f"unknown modality {unknown}: the sample has {list(NAMES)}")
    check_integer("n", n, 2)
    if n > 100_000:
        raise ValueError(f"n must be at most 100,000, got {n:,}")
    check_integer("seed", seed, 0)
    if exclude is not None and not callable(exclude):
        raise ValueError(f"exclude must be a function of places (N, 2), got {exclude!r}")
    return {
        name: _text(n, seed, exclude) if name == "text" else _images(name, n, seed, exclude)
        for name in wanted
    }


def _images(name: str, n: int, seed: int, exclude: Exclude | None) -> Modality:
    """Sample places over land, cut patches and encode them."""
    places = _draw_land(n, stream(f"places of {name}", seed), exclude)
    return images_at(name, places, seed, f"embedded sample: {name}.tif")


def images_at(name: str, places: Array, seed: int, source: str) -> Modality:
    """Cut and encode the sample's patches of a modality at places (N, 2)."""
    patches = embedded.raster(name).patches(places, PATCH_PIXELS[name])
    filters = fit_filters(places, patches, seed)
    return Modality(name, places, encode(filters, patches), filters, source)


def fit_filters(places: Array, patches: NDArray[np.uint8], seed: int) -> RandomConvolutions:
    """Cut filters from patches outside the blocks that may be held out for validation."""
    # Held-out sets are nested: a block that a fraction up to 0.5 holds out gives no filter.
    training = hold_out(places, 0.5, buffer_km=embedded.PATCH_KM)[1]
    if not training.any():
        raise ValueError(
            "every image lies in a block that may be held out for validation, so no filter can be "
            "cut: add more places, or pass featuriser=, fitted on other images"
        )
    return RandomConvolutions.fit(patches[training], seed=seed)


def _draw_land(n: int, rng: np.random.Generator, exclude: Exclude | None) -> Array:
    """Draw n places on land, none of them excluded."""
    found = np.empty((0, 2))
    while len(found) < n:
        drawn = embedded.sample_land(n, rng)
        kept = drawn if exclude is None else drawn[~exclude(drawn)]
        if not len(kept):
            raise ValueError("exclude leaves out every place")
        found = np.concatenate([found, kept])
    return found[:n]


def thinned_names() -> "pd.DataFrame":
    """Return the gazetteer with one place, the most populous, per equal-area cell."""
    frame, first = first_of_cells()
    return frame[first].reset_index(drop=True)


def first_of_cells(spacing_km: float = NAME_SPACING_KM) -> "tuple[pd.DataFrame, NDArray[np.bool_]]":
    """Return the gazetteer and a mask (N,) of the most populous place of each cell."""
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
    """Encode the names in some rows of the gazetteer."""
    ngrams, places = CharacterNGrams(), frame[["lon", "lat"]].to_numpy(dtype=np.float64)
    return Modality("text", places, encode(ngrams, frame["name"].tolist()), ngrams, source)


def as_modalities(sample: Modality | Iterable[Modality] | Mapping[str, Modality]) -> list[Modality]:
    """Return a mapping, a sequence or a single modality as a list, after checking the names."""
    if isinstance(sample, Modality):
        return [sample]
    if not isinstance(sample, Iterable):
        raise ValueError(f"expected modalities, got {sample!r}")
    values = list(sample.values() if isinstance(sample, Mapping) else sample)
    if not values or not all(isinstance(value, Modality) for value in values):
        raise ValueError(f"expected at least one Modality, got {values!r}")
    names = [value.name for value in values]
    if len(set(names)) < len(names):
        raise ValueError(f"names of modalities must differ, got {names}")
    if isinstance(sample, Mapping) and list(sample) != names:
        raise ValueError(f"keys {list(sample)} differ from the modalities' names {names}")
    return values
