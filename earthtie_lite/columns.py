"""Frozen encoders of table columns: numbers unchanged, categories one-hot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .coords import Array
from .features import Features, Featuriser
from .frames import as_frame, marked_missing
from .places import comma_hint, row_namer

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 1000  # limit for a categorical column: each class is one feature
LARGEST = 1e30  # absolute value of a feature: sums of larger ones may overflow in float32


@dataclass(frozen=True)
class Columns(Featuriser):
    """Numeric columns of a table, unchanged but for an offset where float32 needs one.

    Parameters
    ----------
    names : tuple of str
    offsets : tuple of float, optional
        Subtracted from each column in float64: :func:`fit_offsets`.
    """

    slow: ClassVar[bool] = False
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
            hint = "text goes to text or categories; times become numbers, as of days"
            hint = comma_hint(cell, hint)
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
