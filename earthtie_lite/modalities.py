"""Modalities: places with frozen features of observations, from the sample or from a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import sample as embedded
from .columns import LARGEST, Columns, MixedColumns, check_columns, fit_offsets, read_numbers
from .config import check_integer, check_option, warn
from .coords import Array, as_lonlat, block_ids, hold_out, stream, unit_vectors
from .features import (
    CharacterNGrams,
    Features,
    Featuriser,
    Fractions,
    RandomConvolutions,
    Statistics,
    encode,
    read_images,
)
from .frames import Mask, as_frame, marked_missing
from .places import ADVICE, RowName, lonlat_of, repeats, row_namer

if TYPE_CHECKING:
    import pandas as pd

Exclude = Callable[[Array], NDArray[np.bool_]]
NAMES = ("satellite", "lights", "text")  # what load_sample loads by default
PATCH_PIXELS = {"satellite": 15, "lights": 12}  # PATCH_KM at each raster's own resolution
HEIGHTS = Statistics(
    ("mean", "std", "slope", "missing"), (0.0, 0.1, 0.25, 0.75, 0.9, 1.0), nodata=-32768.0
)
MAPS: dict[str, tuple[int, Featuriser]] = {  # pixels on a side of a patch, and its features
    "elevation": (13, HEIGHTS),
    "climate": (13, Fractions(32)),  # the sea and 31 zones
    "landcover": (15, Fractions(17, (1, 3))),
    "weather": (9, Statistics(bands=8, nodata=-9999.0)),
}
ALL = (*NAMES, *MAPS)
NAME_SPACING_KM = 10.0  # place names are thinned to one per equal-area cell of this size
# Usual marks of missing values: of text formats, of integers' limits, of models (CMIP: 1e20).
MARKS = [-99, -99.9, -999, -999.9, -9999, -9999.9, -99999, -999999, -(2.0**15), -(2.0**31)]
MARKS += [99.99, 999, 999.9, 9999, 9999.9, 99999, 999999, 2.0**15 - 1, 2.0**16 - 1, 2.0**31]
MARKS += [255, -1e20, 1e20]


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
        Finite, at most 1e30 in size; stored as float32. Columns whose differences float32 loses
        are refused: subtract their means first. Without a featuriser, probable marks of missing
        values, such as -9999, are warned of.
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
        places, what = as_lonlat(self.lonlat), f"features of modality {self.name!r}"
        try:
            raw = np.asarray(self.features)
            if raw.dtype.kind in "cmM":
                raise TypeError(f"not {raw.dtype}")
            with np.errstate(over="ignore"):
                features = np.asarray(raw, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what} must be numbers") from error
        if features.ndim != 2 or len(features) != len(places) or features.shape[1] == 0:
            shape = f"({len(places)}, D), one row per place"
            raise ValueError(f"{what} must have shape {shape}, got {features.shape}")
        bad = ~((features.max(axis=1) <= LARGEST) & (features.min(axis=1) >= -LARGEST))
        if bad.any():
            where = f"not in row {int(np.argmax(bad))}: leave out rows that lack a value"
            raise ValueError(f"{what} must be finite and at most 1e30 in size, {where}")
        if raw.dtype != np.float32 and fit_offsets(raw.astype(np.float64), tolerance=0.2):
            raise ValueError(f"{what} lose their differences in float32: subtract the means first")
        if len(features) > 1 and np.ptp(features, axis=0).max() == 0:
            raise ValueError(f"{what} are constant: nothing to learn")
        if self.featuriser is None:
            _warn_of_marks(features, range(features.shape[1]), "row {}".format)
        object.__setattr__(self, "lonlat", places)
        object.__setattr__(self, "features", features)

    def __len__(self) -> int:
        return len(self.lonlat)

    def __repr__(self) -> str:
        return f"Modality({self.name!r}, {len(self):,} places, {self.features.shape[1]} features)"

    @classmethod
    def from_frame(
        cls,
        frame: Any,
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
        nodata: ArrayLike = (),
        duplicates: str = "warn",
    ) -> "Modality":
        """Make a modality from a table of numbers and categories, of texts or of images.

        Messages count rows from 0, as ``frame.iloc`` does, and add the label if it differs.
        :func:`~earthtie_lite.places.check_places` checks places more thoroughly.

        Parameters
        ----------
        frame : table
            Of pandas, GeoPandas, polars, PyArrow or dask, or a mapping or list of mappings.
        name : str
        lon, lat : label, optional
            Columns of longitude and latitude, degrees. By default the geometry of a GeoDataFrame,
            or the columns with usual names: :func:`~earthtie_lite.places.lonlat_of`.
        features : sequence of str, optional
            Numeric columns, used unchanged; True is 1, times are refused. Where float32 would blur
            a column, as of milliseconds since 1970, its mean is subtracted first; new input is
            treated alike. Values over 1e30 in size are refused. Values far from all others, among
            them usual marks of missing values such as -9999, are warned of, once per column, and
            kept unless they are named in ``nodata``.
        text : str, optional
            Column of text, encoded by :class:`~earthtie_lite.features.CharacterNGrams`.
        categories : sequence of str, optional
            Categorical columns, with or without ``features``, encoded one-hot by
            :class:`~earthtie_lite.columns.MixedColumns`. New input may have no other classes.
            NA is a class if all others are codes of two capital letters, as of countries.
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
            "drop" leaves out rows without a place or a value and warns how many. An empty cell is
            missing, in features and categories also a mark such as NA, in texts a blank. A value
            that is present but not numeric is always an error.
        nodata : float or sequence of float
            Numbers that mean a missing value in ``features``, such as -9999.
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
            If rows were left out or repeat a place, or a value such as -9999 lies far out of the
            rest of its column; and as :func:`~earthtie_lite.places.lonlat_of` does.

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
        kinds = _observation_columns(features, categories, text, images, featuriser)
        check_option("duplicates", duplicates, ("warn", "keep", "first", "mean"))
        check_option("missing", missing, ("error", "drop"))
        frame = as_frame(frame)
        places, name_row = lonlat_of(frame, lon, lat, missing), row_namer(frame.index)
        table = _complete_rows(frame, places, kinds, nodata, missing)
        left_out, places, rows = len(frame) - len(table), places[table.index], table.index
        _warn_of_marks(table[kinds[0]].to_numpy(), kinds[0], lambda row: name_row(rows[row]))
        again = repeats(places)
        if duplicates == "warn" and again.any():
            what = f"{again.sum():,} of {len(again):,} places are duplicated, the first in "
            warn(f"{what}{name_row(rows[int(np.argmax(again))])}: {ADVICE['duplicated']}")
        if duplicates == "first":
            table, places = table[~again], places[~again]
        raw: Any = table
        if text is not None:
            raw = table[text].tolist()
            for row in (row for row, cell in enumerate(raw) if not isinstance(cell, str)):
                got = f"got {raw[row]!r} in {name_row(table.index[row])}"
                raise ValueError(f"column {text!r} must be text, {got}")
            featuriser = CharacterNGrams() if featuriser is None else featuriser
        elif images is not None:
            labels = [name_row(row).removeprefix("row ") for row in table.index]
            raw = read_images(table[images].set_axis(labels), folder, size)
            featuriser = fit_filters(places, raw, seed=0) if featuriser is None else featuriser
        else:
            featuriser = _fit_columns(table, *kinds[:2])
        values = encode(featuriser, raw)
        if duplicates == "mean":
            places, values = _mean_by_place(places, values)
        source = "own table" + (f"; {left_out:,} rows left out" if left_out else "")
        return cls(name, places, values, featuriser, source)


def _observation_columns(
    features: Any, categories: Any, text: Any, images: Any, featuriser: Any
) -> list[list[str]]:
    """Return the columns of numbers, of categories, and of text or images: of one kind."""
    columns = bool(features or categories)
    if columns + (text is not None) + (images is not None) != 1:
        raise ValueError(
            "give either features (numeric columns), categories or both; or text (one column); or "
            "images (one column)"
        )
    if columns and featuriser is not None:
        raise ValueError("a featuriser encodes text or images, not features and categories")
    if isinstance(features, str) or isinstance(categories, str):
        raise ValueError("features and categories must be lists of columns; write [column]")
    others = [column for column in (text, images) if column is not None]
    return [list(features or ()), list(categories or ()), others]


def _complete_rows(
    frame: "pd.DataFrame", places: Array, kinds: list[list[str]], nodata: ArrayLike, missing: str
) -> "pd.DataFrame":
    """Return the columns, numbers parsed, in complete rows; the index holds their numbers."""
    features, categories, others = kinds
    table = check_columns(frame, [*features, *categories, *others]).reset_index(drop=True)
    table[features] = read_numbers(frame, features, nodata)
    lacking = table.isna()
    for column in others:
        lacking[column] |= np.array([isinstance(c, str) and not c.strip() for c in table[column]])
    for column in categories:
        marked, classes = marked_missing(table[column]), table[column].astype(str)
        codes = set(classes[~marked].str.fullmatch("[A-Z]{2}")) == {True}
        lacking[column] = marked & ~(classes == "NA") if codes else marked  # Namibia is NA
    cells = lacking.to_numpy(dtype=bool)
    empty, placed = cells.any(axis=1), ~np.isnan(places).any(axis=1)
    if not (placed & ~empty).any():
        raise ValueError(f"none of the {len(table):,} rows has a place and a value")
    if empty.any() and missing == "error":
        row = int(np.argmax(empty))
        raise ValueError(
            f"{empty.sum():,} of {len(table):,} rows lack a value, the first is "
            f"{row_namer(frame.index)(row)}, in column {table.columns[cells[row]][0]!r}; "
            "fill them in, or leave them out (missing: drop)"
        )
    if lost := int((placed & empty).sum()):
        warn(f"left out {lost:,} of {len(table):,} rows, which lack a value")
    return table.iloc[np.flatnonzero(placed & ~empty)]


def _warn_of_marks(numbers: NDArray[Any], columns: Iterable[Any], name_row: RowName) -> None:
    """Warn of each column of numbers (N, D) that holds probable marks of missing values."""
    for column, values in zip(columns, numbers.T):
        far = far_out(values.astype(np.float64))
        for row in np.flatnonzero(far)[:1].tolist():
            warn(
                f"{far.sum():,} of {len(far):,} values of column {column!r} lie far from the rest, "
                f"the first in {name_row(row)}: if they mark missing values, say so (nodata: "
                f"{values[row]:.15g}) or leave out such rows"
            )


def far_out(values: Array) -> Mask:
    """Return which numbers (N,) are usual marks outside the rest, or far beyond all others.

    A mark is outside if it lies further from the other values than they spread, or is negative and
    no other is. Other values are far out beyond a jump in the upper tenth of the distances to the
    median that neither their number nor a heavy tail, such as that of populations, explains.
    """
    marks = np.isin(values.astype(np.float32), np.array(MARKS, dtype=np.float32))
    rest = values if marks.all() else values[~marks]
    low, high, middle = rest.min(), rest.max(), np.median(rest)
    outside = (np.maximum(low - values, values - high) > high - low) & (high > low)
    far = marks & (outside | ((values < 0) & (low >= 0)))
    away = np.abs(values - middle)
    known = np.sort(away[~far & (away > 1e-12 * abs(middle))])
    tail = known[int(0.9 * (len(known) - 1)) :]
    jumps = tail[1:] > tail[:-1] * (10 * (tail[:-1] / tail[:1]) ** 2 + 1e4 / max(1, len(known)))
    if jumps.any() and len(known) > 3:
        far |= away > tail[np.argmax(jumps)]
    return far


def _mean_by_place(places: Array, features: Features) -> tuple[Array, Features]:
    """Average the features (N, D) of each distinct place, in order of first occurrence."""
    import pandas as pd

    keys = list(unit_vectors(places).T)  # the same for a pole at any longitude
    means = pd.DataFrame(features.astype(np.float64)).groupby(keys, sort=False).mean()
    return places[~repeats(places)], means.to_numpy(np.float32)


def _fit_columns(table: "pd.DataFrame", features: list[str], categories: list[str]) -> Columns:
    """Return the featuriser of columns, none of which may be constant."""
    offsets = fit_offsets(table[features].to_numpy(np.float64))
    columns = Columns(tuple(features), offsets=offsets)
    flat = [name for name, column in zip(features, columns(table).T) if np.ptp(column) == 0]
    flat += [name for name in categories if table[name].nunique() == 1]
    if flat and len(table) > 1:
        raise ValueError(f"columns {flat} are constant: leave them out")
    return MixedColumns.fit(table, features, categories) if categories else columns


def load_sample(
    n: int = 20_000,
    seed: int = 0,
    modalities: Iterable[str] = NAMES,
    exclude: Exclude | None = None,
    featurisers: Mapping[str, Featuriser] | None = None,
) -> dict[str, Modality]:
    """Load the embedded sample, offline: n places per modality, different for each.

    Images and patches of maps are uniform by area over land. Names are thinned to the most populous
    place of each equal-area cell, then drawn at random. Filters for images are cut outside the
    blocks that :func:`~earthtie_lite.coords.hold_out` keeps for validation, up to half of all
    blocks. Features are cached.

    Parameters
    ----------
    n : int
        Places per modality, at most 100,000.
    seed : int
        Seed of the places; each modality has its own random generator.
    modalities : "all" or iterable of str
        Any of "satellite", "lights", "text" (the default) and "elevation", "climate", "landcover",
        "weather", whose features (``MAPS``) are statistics or fractions of classes in a patch of
        111 km. Elevation and climate zones are also the labels of tasks.
    exclude : callable, optional
        Takes places (N, 2) and returns a mask (N,) of those to leave out; no place, image or filter
        comes from them. Patches reach 56 km beyond their places, 78 km at the corners.
    featurisers : mapping of str to Featuriser, optional
        Other frozen encoders of modalities, such as ``{"text": CharacterNGrams(direct=True)}``.

    Returns
    -------
    dict of str to Modality
    """
    wanted = list(ALL if modalities == "all" else modalities)
    unknown = [name for name in wanted if name not in ALL]
    if unknown or not wanted:
        raise ValueError(f"unknown modality {unknown}: the sample has {list(ALL)}")
    check_integer("n", n, 2)
    if n > 100_000:
        raise ValueError(f"n must be at most 100,000, got {n:,}")
    check_integer("seed", seed, 0)
    if exclude is not None and not callable(exclude):
        raise ValueError(f"exclude must be a function of places (N, 2), got {exclude!r}")
    given, found = dict(featurisers or {}), {}
    if unknown := [name for name in given if name not in wanted]:
        raise ValueError(f"featurisers of {unknown}, which are not loaded: {wanted}")
    for name in wanted:
        if name == "text":
            found[name] = _text(n, seed, exclude, given.get(name))
            continue
        places = _draw_land(n, stream(f"places of {name}", seed), exclude, name)
        source = f"embedded sample: {name}.tif"
        found[name] = images_at(name, places, seed, source, given.get(name))
    return found


def images_at(
    name: str, places: Array, seed: int, source: str, featuriser: Featuriser | None = None
) -> Modality:
    """Cut and encode the sample's patches of a modality at places (N, 2)."""
    size, usual = MAPS.get(name) or (PATCH_PIXELS[name], None)
    patches = embedded.raster(name).patches(places, size)
    featuriser = featuriser or usual or fit_filters(places, patches, seed)
    return Modality(name, places, encode(featuriser, patches), featuriser, source)


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


def _draw_land(n: int, rng: np.random.Generator, exclude: Exclude | None, name: str) -> Array:
    """Draw n places on land that have a value of the modality, none of them excluded."""
    found = np.empty((0, 2))
    while len(found) < n:
        drawn = embedded.sample_land(n, rng, (*embedded.KNOWN, name))
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


def _text(n: int, seed: int, exclude: Exclude | None, featuriser: Featuriser | None) -> Modality:
    """Draw names from the thinned gazetteer and encode them."""
    frame = thinned_names()
    if exclude is not None:
        frame = frame[~exclude(frame[["lon", "lat"]].to_numpy(dtype=np.float64))]
    if n > len(frame):
        raise ValueError(f"the sample has {len(frame):,} thinned place names, {n:,} were asked for")
    order = stream("places of text", seed).permutation(len(frame))[:n]
    return names_as_text(frame.iloc[order], "embedded sample: places.parquet", featuriser)


def names_as_text(
    frame: "pd.DataFrame", source: str, featuriser: Featuriser | None = None
) -> Modality:
    """Encode the names in some rows of the gazetteer."""
    ngrams, places = featuriser or CharacterNGrams(), frame[["lon", "lat"]].to_numpy(np.float64)
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
