"""A user's own table: its rows, its columns as features, the images that it names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_places, repeats
from .coords import Array, unit_vectors
from .features import Columns, Features, check_columns
from .places import comma_hint, lonlat_of

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 1000  # of a column: each is one feature
FILL = "fill them in, or leave them out with missing='drop'"
DEEP_MODES = ("I", "F")  # how Pillow's names of modes with more than 8 bits begin: I, I;16, F


@dataclass(frozen=True)
class MixedColumns(Columns):
    """Columns of a table: numbers as they are, then categories, one feature a class (one-hot).

    A category is known by its text; 1 and 1.0 are one class. New input may not have others.

    Parameters
    ----------
    names : tuple of str
        Columns of numbers; may be empty.
    classes : tuple of (str, tuple of str)
        Columns of categories, each with its classes.

    Raises
    ------
    ValueError
        If there are no classes; when called, if a column is missing or has an unknown category.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = MixedColumns(("ph",), (("soil", ("clay", "sand")),))
    >>> columns(pd.DataFrame({"ph": [5.5, 7.0], "soil": ["sand", "clay"]})).tolist()
    [[5.5, 0.0, 1.0], [7.0, 1.0, 0.0]]
    """

    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        # JSON, from which a saved run rebuilds this, has lists.
        classes = tuple((column, tuple(known)) for column, known in self.classes)
        if not classes or not all(known for _, known in classes):
            raise ValueError(f"expected columns of categories with their classes, got {classes}")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "classes", classes)

    @classmethod
    def fit(
        cls, frame: "pd.DataFrame", names: Iterable[str], categories: Iterable[str]
    ) -> "MixedColumns":
        """Take the classes that occur in columns of a table, in alphabetical order.

        Raises
        ------
        ValueError
            If a column has more than ``MAX_CLASSES`` classes.
        """
        found = []
        for column in categories:
            known = sorted({_class_name(value) for value in frame[column]})
            if len(known) > MAX_CLASSES:
                raise ValueError(
                    f"column {column!r} has {len(known):,} categories, at most {MAX_CLASSES:,} are "
                    "encoded: join the rare ones to one, leave the column out, or take it as text="
                )
            found.append((column, tuple(known)))
        return cls(tuple(names), tuple(found))

    @property
    def out_dim(self) -> int:
        """Number of columns of numbers and of classes."""
        return len(self.names) + sum(len(known) for _, known in self.classes)

    def __call__(self, raw: Any) -> Features:
        """Take a data frame that has the columns."""
        import pandas as pd

        check_columns(raw, [*self.names, *(column for column, _ in self.classes)])
        parts = [np.asarray(raw[list(self.names)], dtype=np.float32)]
        for column, known in self.classes:
            values = [_class_name(value) for value in raw[column]]
            codes = pd.Index(known).get_indexer(pd.Index(values))  # -1 where there is none
            if (codes < 0).any():
                row = int(np.argmax(codes < 0))
                raise ValueError(
                    f"unknown category {values[row]!r} of column {column!r} in row {row}: "
                    f"there are {_some(known)}"
                )
            parts.append(np.eye(len(known), dtype=np.float32)[codes])
        return np.concatenate(parts, axis=1)


def _class_name(value: Any) -> str:
    """Return the text of a category; whole numbers have no decimals, whatever their type."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _some(names: Sequence[str], most: int = 5) -> str:
    """List names, or the first of many and how many there are."""
    listed = ", ".join(map(repr, names[:most]))
    return listed if len(names) <= most else f"{listed}, ... ({len(names):,})"


def check_option(name: str, value: str, options: tuple[str, ...]) -> None:
    """Refuse what is not one of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}")


def columns_asked(
    features: Sequence[str] | None,
    categories: Sequence[str] | None,
    text: str | None,
    images: str | None,
    featuriser: Any,
) -> list[str]:
    """Return the columns that hold observations, of one kind."""
    columns = features is not None or categories is not None
    if columns + (text is not None) + (images is not None) != 1:
        raise ValueError(
            "give either features (numeric columns), categories or both; or text (one column); or "
            "images (one column)"
        )
    if columns and featuriser is not None:
        raise ValueError("a featuriser encodes text or images, not features and categories")
    for name, value in (("features", features), ("categories", categories)):
        if isinstance(value, str):
            raise ValueError(f"{name} must be a list of columns; write [{value!r}]")
    for name, column in (("text", text), ("images", images)):
        if isinstance(column, (list, tuple)):
            raise ValueError(f"{name} must be one column, got {column!r}")
    asked = [*(features or ()), *(categories or ())]
    return asked + [column for column in (text, images) if column is not None]


def filled_rows(
    frame: "pd.DataFrame", lon: Any, lat: Any, asked: Sequence[str], missing: str
) -> "tuple[pd.DataFrame, Array]":
    """Return the rows of a table with a place and a value in each column asked for; their places.

    Their numbers in the table become their index, and errors count by it. A blank text is no value.

    Raises
    ------
    ValueError
        If there is no such table or column, if a row lacks a value and ``missing`` is "error", or
        if every row does; if a place is no number or out of range.
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
        raise ValueError(f"columns must have names of their own, got {list(table.columns)}")
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


def doubts(table: "pd.DataFrame", places: Array, n_rows: int, duplicates: str) -> list[str]:
    """Say what was left out of n_rows and is doubtful of the places (N, 2), a sentence each."""
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


def mean_by_place(places: Array, features: Features) -> tuple[Array, Features]:
    """Average the features (N, D) of each distinct place, in the order in which places come."""
    import pandas as pd

    vectors = pd.DataFrame(unit_vectors(places))
    number = vectors.groupby([0, 1, 2], sort=False).ngroup().to_numpy()
    sums = np.zeros((number.max() + 1, features.shape[1]))
    np.add.at(sums, number, features)
    means = (sums / np.bincount(number)[:, None]).astype(np.float32)
    return places[~repeats(places)], means


def columns_of(
    table: "pd.DataFrame", features: Sequence[str], categories: Sequence[str]
) -> "tuple[Columns, pd.DataFrame]":
    """Return the featuriser of columns and the table with its numbers, which may be text."""
    import pandas as pd

    table = table.copy()
    for column in features:
        # As objects: a time is no number.
        numbers = pd.to_numeric(table[column].astype(object), errors="coerce").astype(np.float64)
        with np.errstate(over="ignore"):  # too large for float32 is infinite
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


def texts_of(table: "pd.DataFrame", column: str) -> list[str]:
    """Return a column of text, refusing anything else."""
    for row, value in table[column].items():
        if not isinstance(value, str):
            raise ValueError(f"column {column!r} must be text, got {value!r} in row {row}")
    return table[column].tolist()


def read_images(
    paths: "Sequence[str | Path] | pd.Series[Any]", folder: str | Path = ".", size: int = 32
) -> NDArray[np.uint8]:
    """Read image files as RGB squares of one size.

    An image is turned upright as its EXIF data say, cropped at the centre to a square and resized
    (bicubic); transparency is dropped. All are held in memory, 3 * size ** 2 bytes each.

    Parameters
    ----------
    paths : sequence of str or Path, or Series
        Files that Pillow reads (JPEG, PNG, ...), 8 bits a channel.
    folder : str or Path
        What relative paths start from.
    size : int
        Pixels on a side.

    Returns
    -------
    array, shape (N, 3, size, size), uint8

    Raises
    ------
    ValueError
        If a file is missing or damaged, with its path and its row: the index of a Series.
    """
    import pandas as pd
    from PIL import Image, ImageOps

    if isinstance(paths, (str, Path)):
        raise ValueError(f"expected a sequence of paths, got one; write [{str(paths)!r}]")
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size must be an integer of at least 1, got {size!r}")
    named = pd.Series(paths, dtype=object)
    images = np.empty((len(named), 3, size, size), dtype=np.uint8)
    for image, (row, name) in zip(images, named.items()):
        if not isinstance(name, (str, Path)):
            raise ValueError(f"expected the path of an image, got {name!r} in row {row}")
        path = Path(folder).expanduser() / Path(name).expanduser()
        try:
            with Image.open(path) as file:
                if file.mode.startswith(DEEP_MODES):
                    raise ValueError("more than 8 bits a channel; save it as 8-bit RGB")
                file.draft("RGB", (2 * size, 2 * size))  # large JPEGs are decoded at a lower scale
                upright = ImageOps.exif_transpose(file).convert("RGB")
        # What Pillow raises for a damaged file depends on its format and on the damage.
        except Exception as error:
            raise ValueError(f"the image of row {row}, {path}, cannot be read: {error}") from error
        image[:] = np.moveaxis(np.asarray(ImageOps.fit(upright, (size, size))), 2, 0)
    return images
