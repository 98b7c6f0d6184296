"""Coordinates of a user's table: find the columns, validate them, report suspicious places."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import sample as embedded
from .config import check_option
from .coords import Array, as_lonlat, unit_vectors

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]

USUAL = (("lon", "longitude", "lng", "long"), ("lat", "latitude"))
PLANE = (("x",), ("y",))  # used if no usual name is present
FIX = "correct or remove such rows first"
RowName = Callable[[int], str]  # returns the name of a row in messages
ADVICE = {
    "not finite": "drop these rows or find their coordinates",
    "out of range": "swap the columns, wrap longitudes to [-180, 180], or turn metres into degrees",
    "duplicated": "in a batch they are false negatives of each other: choose duplicates='keep', "
    "duplicates='first' or duplicates='mean'",
    "at (0, 0)": "in the sea off Africa, often the result of a failed look-up: drop these rows",
    "whole degrees": "rounded to steps of up to 111 km: use coordinates with more digits",
    "at sea": "the embedded sample covers land only: drop these rows or expect poor embeddings",
    "probably swapped": "far more places lie on land with the columns swapped: swap lon and lat",
}
# "probably swapped" is reported for at least FEWEST places, if swapping puts at least SHARE of all
# on land, and at least GAIN more than before.
FEWEST, SHARE, GAIN = 10, 0.8, 0.2


def comma_hint(raw: Any, other: str) -> str:
    """Return a hint about decimal commas if the cell has one, otherwise the other hint."""
    comma = isinstance(raw, str) and re.fullmatch(r"\s*[-+]?\d+,\d+\s*", raw)
    return "decimal commas are not supported: use decimal points" if comma else other


class Faults:
    """Counts invalid rows over all chunks of a table and remembers the first.

    Parameters
    ----------
    name : callable
        Takes a row number, counted from 0, and returns the name of the row in messages.
    missing : {"error", "drop", "keep"}
        Whether a missing place is an error; a place that is out of range or not numeric always is.
    hint : str
        What to do about missing places.
    """

    def __init__(self, name: RowName, missing: str = "error", hint: str = FIX) -> None:
        check_option("missing", missing, ("error", "drop", "keep"))
        self.name, self.missing, self.hint = name, missing, hint
        self.rows, self.lacking, self.wrong, self.first = 0, 0, 0, ""

    def see(self, places: Array, lon: "pd.Series", lat: "pd.Series") -> None:
        """Count the faults of places (n, 2), NaN where missing, read from two columns."""
        lacking = np.isnan(places).any(axis=1)
        beyond = (np.abs(places) > (180.0, 90.0)).any(axis=1) & ~lacking  # infinite: not numeric
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
        """Return what is wrong with a place (2,) and with which of its coordinates."""
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
        """Raise a ValueError if there was a fault, or no row has a place."""
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
    """Find and validate the places of a table.

    Parameters
    ----------
    table : DataFrame, GeoDataFrame, GeoSeries or array, shape (N, 2)
        A geometry takes precedence over columns; points in any CRS are reprojected to EPSG:4326.
    lon, lat : label, optional
        Columns of longitude and latitude, degrees. By default the columns with a usual name, in
        upper or lower case: lon, longitude, lng or long, and lat or latitude; x and y if there are
        none of these.
    missing : {"error", "drop", "keep"}
        "error" raises if a row has no place; the others return NaN for it.
    hint : str
        What the error about a missing place suggests.

    Returns
    -------
    array, shape (N, 2), float64, degrees, longitude first

    Raises
    ------
    ValueError
        If no column or several columns have a usual name, if a geometry has no CRS or is not a
        point, or if a coordinate is missing, infinite or out of range (with the first row and the
        number of such rows).

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
                raise ValueError("expected a pandas or GeoPandas table: pass table.to_pandas()")
            return as_lonlat(table)
        if not hasattr(table, "columns"):
            raise ValueError("expected a table or points, got a single column")
        lon, lat = coordinate_columns(list(table.columns), lon, lat)
    faults = Faults(_row_namer(table.index), missing, hint)
    places = (
        from_columns(table[lon], table[lat], faults)
        if points is None
        else from_points(points, faults)
    )
    faults.refuse()
    return places


def _active_geometry(table: Any) -> Any:
    """Return the geometry of a GeoDataFrame, or None if no column is set as its geometry."""
    return None if table.active_geometry_name is None else table.geometry


def coordinate_columns(columns: Sequence[Any], lon: Any = None, lat: Any = None) -> tuple[Any, Any]:
    """Return the columns of longitude and latitude: those given, or those with usual names."""
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


def _row_namer(index: Any) -> RowName:
    """Return a function that names a row by its number, and by its label if that differs."""

    def name(row: int) -> str:
        (label,) = index[[row]].tolist()
        return f"row {row}" if label == row else f"row {row} (index {label!r})"

    return name


def from_points(points: Any, faults: Faults) -> Array:
    """Return the places (N, 2) of a GeoSeries, NaN where missing, and count their faults."""
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
            f"{faults.name(faults.rows + row)}; use one point for each, for example "
            "table.set_geometry(table.representative_point())"
        )
    degrees = points.mask(missing).to_crs(4326)
    places = np.stack([degrees.x, degrees.y], axis=1)
    faults.see(places, points, points)
    return places


def from_columns(lon: "pd.Series", lat: "pd.Series", faults: Faults) -> Array:
    """Return the places (N, 2) of two columns, NaN where missing, and count their faults."""
    places = _parse_degrees(lon, lat)
    faults.see(places, lon, lat)
    return places


def _parse_degrees(lon: "pd.Series", lat: "pd.Series") -> Array:
    """Return two columns as numbers (N, 2): NaN if missing, infinite if not numeric."""
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


# ----------------------------------------------------------------------- suspicious places


def check_places(lonlat: ArrayLike) -> "pd.DataFrame":
    """Report suspicious places without rejecting any.

    Parameters
    ----------
    lonlat : array, shape (N, 2)
        Degrees, longitude first; values may be out of range, infinite or NaN.

    Returns
    -------
    DataFrame
        One row per check: the number of ``places`` that fail it, their ``share``, the ``first_row``
        (counted from 0, -1 if none fails) and ``advice``. "duplicated" counts repetitions after the
        first occurrence; a pole is one place at any longitude, and longitudes 180 and -180 are the
        same. "whole degrees" counts places without decimals in both coordinates. "at sea" means no
        elevation in the sample's raster; its pixels are 9 km wide, so a beach may count as sea.
        "probably swapped" counts places at sea that lie on land with the columns swapped. It is
        reported for ten places or more, if swapping puts at least 80 % of all places on land, and
        at least 20 percentage points more than before; ignore it for marine data.

    Raises
    ------
    ValueError
        If the array is not numbers (N, 2), N >= 1.

    Examples
    --------
    >>> check_places([[31.2, 30.0], [0.0, 0.0], [31.2, 30.0]])["places"].to_dict()
    {'not finite': 0, 'out of range': 0, 'duplicated': 1, 'at (0, 0)': 1, 'whole degrees': 1, \
'at sea': 1, 'probably swapped': 0}
    """
    import pandas as pd

    try:
        places = np.asarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lonlat must be numbers in an array of shape (N, 2): {error}") from error
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise ValueError(
            f"lonlat must have shape (N, 2), N at least 1, longitude first, got {places.shape}"
        )
    lon, lat = places.T
    finite = np.isfinite(lon) & np.isfinite(lat)
    sound = finite & (np.abs(lon) <= 180) & (np.abs(lat) <= 90)
    found: dict[str, Mask] = {"not finite": ~finite, "out of range": finite & ~sound}
    for check, mask in _failed_checks(places[sound]).items():
        found[check] = np.zeros(len(places), dtype=np.bool_)
        found[check][sound] = mask
    counts = {check: int(mask.sum()) for check, mask in found.items()}
    columns = {
        "places": counts,
        "share": {check: count / len(places) for check, count in counts.items()},
        "first_row": {
            check: int(np.argmax(found[check])) if counts[check] else -1 for check in found
        },
        "advice": {check: ADVICE[check] if counts[check] else "" for check in found},
    }
    return pd.DataFrame(columns).rename_axis("check")


def _failed_checks(places: Array) -> dict[str, Mask]:
    """Return which places (N, 2), all in range, fail each check."""
    if not len(places):
        return {check: np.zeros(0, dtype=bool) for check in list(ADVICE)[2:]}
    land = has_elevation(places)
    return {
        "duplicated": repeats(places),
        "at (0, 0)": (places == 0).all(axis=1),
        "whole degrees": (places == np.round(places)).all(axis=1),
        "at sea": ~land,
        "probably swapped": _probably_swapped(places, land),
    }


def repeats(places: Array) -> Mask:
    """Return which places (N, 2) repeat an earlier one, exactly and on the sphere: (N,).

    Examples
    --------
    >>> repeats(np.array([[180.0, 10.0], [0.0, 90.0], [-180.0, 10.0], [7.0, 90.0]])).tolist()
    [False, False, True, True]
    """
    import pandas as pd

    return pd.DataFrame(unit_vectors(places)).duplicated().to_numpy()


def has_elevation(places: Array) -> Mask:
    """Return which places (N, 2) have an elevation in the sample (land and small islands)."""
    raster = embedded.raster("elevation")
    return raster.at(places)[:, 0] != raster.nodata


def _probably_swapped(places: Array, land: Mask) -> Mask:
    """Return which places at sea lie on land when swapped; none unless SHARE and GAIN are met."""
    none = np.zeros(len(places), dtype=bool)
    if len(places) < FEWEST or np.abs(places[:, 0]).max() > 90:
        return none
    turned = has_elevation(places[:, ::-1])
    suspicious = turned.mean() >= max(SHARE, land.mean() + GAIN)
    return turned & ~land if suspicious else none
