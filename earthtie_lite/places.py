"""The places of a table: its coordinates, found and checked."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .coords import Array, as_lonlat

if TYPE_CHECKING:
    import pandas as pd

USUAL = (("lon", "longitude", "lng", "long"), ("lat", "latitude"))
PLANE = (("x",), ("y",))  # longitude and latitude where no others are there
FIX = "correct or remove such rows first"
RowName = Callable[[int], str]  # how an error calls a row


def comma_hint(raw: Any, other: str) -> str:
    """Return a hint about decimal commas if that is what is wrong with a cell, else another."""
    comma = isinstance(raw, str) and re.fullmatch(r"\s*[-+]?\d+,\d+\s*", raw)
    return "decimal commas are not read: write points" if comma else other


class Faults:
    """The rows of a table, seen in parts, that have no usable place: the first, and how many.

    Parameters
    ----------
    name : callable
        Takes the number of a row, from 0, and returns what an error calls it.
    missing : {"error", "drop", "keep"}
        Whether a missing place is a fault; one out of range or no number always is.
    hint : str
        What to do about missing places.
    """

    def __init__(self, name: RowName, missing: str = "error", hint: str = FIX) -> None:
        if missing not in ("error", "drop", "keep"):
            raise ValueError(f"missing must be 'error', 'drop' or 'keep', got {missing!r}")
        self.name, self.missing, self.hint = name, missing, hint
        self.rows, self.lacking, self.wrong, self.first = 0, 0, 0, ""

    def see(self, places: Array, lon: "pd.Series", lat: "pd.Series") -> None:
        """Look at places (n, 2), NaN where there is none, and the columns that they come from."""
        lacking = np.isnan(places).any(axis=1)
        beyond = (np.abs(places) > (180.0, 90.0)).any(axis=1) & ~lacking  # infinite: unreadable
        wrong = beyond | lacking if self.missing == "error" else beyond
        if wrong.any() and not self.first:
            row = int(np.argmax(wrong))
            axis = int(np.argmax(~np.isfinite(places[row])))
            (raw,) = (lon, lat)[axis].iloc[[row]].tolist()
            self.first = self._describe(places[row], axis, raw, self.name(self.rows + row))
        self.rows += len(places)
        self.lacking += int(lacking.sum())
        self.wrong += int(wrong.sum())

    def _describe(self, place: Array, axis: int, raw: Any, row: str) -> str:
        """Say what is wrong with a place (2,), and with which of its coordinates."""
        what = ("longitude", "latitude")[axis]
        if np.isnan(place[axis]):
            return f"{what} is missing (NaN or empty) in {row}; {self.hint}"
        if np.isinf(place[axis]):
            return (
                f"{what} must be a number of degrees, got {raw!r} in {row}; {comma_hint(raw, FIX)}"
            )
        try:
            as_lonlat(place[np.newaxis])
        except ValueError as error:
            metres = np.abs(place).max() > 360
            hint = " (metres need a geometry with its CRS)" if metres else ""
            return str(error).replace("row 0", row) + hint
        raise AssertionError

    def refuse(self, where: str = "the table") -> None:
        """Raise a ValueError about the first fault, if there is one, or where there is no place."""
        if self.first:
            many = f"{self.wrong:,} of {self.rows:,} rows are wrong, the first: "
            raise ValueError((many if self.wrong > 1 else "") + self.first)
        if not self.rows:
            raise ValueError(f"{where} has no rows: at least one place is needed")
        if self.lacking == self.rows:
            raise ValueError(f"none of the {self.rows:,} rows of {where} has a place")


def lonlat_of(
    table: Any,
    lon: Any = None,
    lat: Any = None,
    missing: str = "error",
    hint: str = FIX,
) -> Array:
    """Return the places of a table, checked.

    Parameters
    ----------
    table : DataFrame, GeoDataFrame, GeoSeries or array, shape (N, 2)
        A geometry counts before columns; points in any CRS are reprojected to EPSG:4326.
    lon, lat : label, optional
        Columns of longitude and latitude, degrees. By default the only ones with a usual name, in
        any case: lon, longitude, lng or long and lat or latitude; where there are none, x and y.
    missing : {"error", "drop", "keep"}
        Whether a row of a table without a place is refused, or is NaN; none is left out here.
    hint : str
        What an error about a missing place suggests.

    Returns
    -------
    array, shape (N, 2), float64, degrees, longitude first

    Raises
    ------
    ValueError
        If no column or several have a usual name, if a geometry has no CRS or is no point, or, with
        the first row and how many there are, if a coordinate is missing, infinite or out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> cities = pd.DataFrame({"name": ["Cairo"], "Latitude": [30.04], "Longitude": [31.24]})
    >>> lonlat_of(cities)
    array([[31.24, 30.04]])
    """
    points = None
    if hasattr(table, "to_crs") and lon is None and lat is None:
        points = table if not hasattr(table, "columns") else _active_geometry(table)
    if points is None:
        if not hasattr(table, "iloc"):
            if hasattr(table, "to_pandas"):
                raise ValueError("expected a table of pandas or GeoPandas: pass table.to_pandas()")
            return as_lonlat(table)
        if not hasattr(table, "columns"):
            raise ValueError("expected a table or points, got a single column")
        lon, lat = coordinate_columns(list(table.columns), lon, lat)
    faults = Faults(_namer(table.index), missing, hint)
    places = (
        from_columns(table[lon], table[lat], faults)
        if points is None
        else from_points(points, faults)
    )
    faults.refuse()
    return places


def _active_geometry(table: Any) -> Any:
    """Return the geometry of a GeoDataFrame, or None where no column is set as its geometry."""
    return None if table.active_geometry_name is None else table.geometry


def coordinate_columns(columns: Sequence[Any], lon: Any = None, lat: Any = None) -> tuple[Any, Any]:
    """Return the columns of longitude and latitude: those given, else those with a usual name."""
    names = [str(column).strip().lower() for column in columns]
    degrees = any(name in usual for usual in USUAL for name in names)
    found = []
    for axis, (what, given) in enumerate((("longitude", lon), ("latitude", lat))):
        if given is not None:
            if list(columns).count(given) != 1:
                raise ValueError(f"{what} {given!r} is not one of the columns: {list(columns)}")
            found.append(given)
            continue
        usual = USUAL[axis] if degrees else (*USUAL[axis], *PLANE[axis])
        named = [column for column, name in zip(columns, names) if name in usual]
        if len(named) != 1:
            twice = len(set(named)) < len(named)
            raise ValueError(
                f"expected one column with a usual name of a {what} {usual}, found {named}: "
                + ("rename one" if twice else f"name it with {what[:3]}=")
                + f"; the columns are {list(columns)}"
            )
        found.append(named[0])
    if found[0] == found[1]:
        raise ValueError(f"longitude and latitude cannot be the same column, {found[0]!r}")
    return found[0], found[1]


def _namer(index: Any) -> RowName:
    """Return what names a row of a table: its number, and its label where that is another."""

    def name(row: int) -> str:
        (label,) = index[[row]].tolist()
        return f"row {row}" if label == row else f"row {row} (index {label!r})"

    return name


def from_points(points: Any, faults: Faults) -> Array:
    """Return the places (N, 2) of a GeoSeries, NaN where there is none, and note their faults."""
    if points.crs is None:
        raise ValueError(
            "the geometry has no CRS, so its units are unknown; longitude and latitude in degrees "
            "are set_crs(4326)"
        )
    missing = (points.isna() | points.is_empty).to_numpy()
    other = (points.geom_type != "Point").to_numpy() & ~missing
    if other.any():
        row = int(np.argmax(other))
        raise ValueError(
            f"expected points, got a {points.geom_type.iloc[row]} in "
            f"{faults.name(faults.rows + row)}; choose a point in each, for example "
            "table.set_geometry(table.representative_point())"
        )
    degrees = points.mask(missing).to_crs(4326)
    places = np.stack([degrees.x, degrees.y], axis=1)
    faults.see(places, points, points)
    return places


def from_columns(lon: "pd.Series", lat: "pd.Series", faults: Faults) -> Array:
    """Return the places (N, 2) of two columns, NaN where there is none, and note their faults."""
    places = _numbers(lon, lat)
    faults.see(places, lon, lat)
    return places


def _numbers(lon: "pd.Series", lat: "pd.Series") -> Array:
    """Return two columns as numbers (N, 2): NaN what is missing, infinite what is no number."""
    import pandas as pd

    places = np.empty((len(lon), 2))
    for axis, column in enumerate((lon, lat)):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, True, np.nan)
        missing = column.isna().to_numpy(dtype=bool)
        for row in np.flatnonzero(~np.isfinite(numbers) & ~missing):
            blank = not str(column.iloc[row]).strip()
            numbers[row] = np.nan if blank else np.inf
        places[:, axis] = numbers
    return places
