"""The one door: places of whatever a user brings, found by name, checked, with their doubts."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import sample as embedded
from .config import check_option, warn
from .coords import Array, as_lonlat, beyond, snapped, unit_vectors
from .frames import AXES, Mask, as_frame, marked_missing, parse_shapes, place_columns, tidy

if TYPE_CHECKING:
    import pandas as pd

RowName = Callable[[int], str]  # returns the name of a row of a part in messages

NODATA = (999, 9999, 99999, 999999, 32768)  # of either sign: numbers that mark a missing value
FIX = "correct or remove such rows first"
ADVICE = {
    "not finite": "drop these rows or find their coordinates",
    "out of range": "swap the columns, wrap longitudes to [-180, 180], or turn metres into degrees",
    "duplicated": "in a batch they are false negatives of each other: keep them, the first or the "
    "mean of each place (duplicates: keep, first or mean)",
    "at (0, 0)": "in the sea off Africa, often the result of a failed look-up: drop these rows",
    "whole degrees": "rounded to steps of up to 111 km: use coordinates with more digits",
    "at sea": "the embedded sample covers land only: drop these rows or expect poor embeddings",
    "probably swapped": "far more places lie on land with the columns swapped: swap lon and lat",
}
# "probably swapped" is reported for at least FEWEST places, if swapping puts at least SHARE of all
# on land, and at least GAIN more than before.
FEWEST, SHARE, GAIN = 10, 0.8, 0.2


def lonlat_of(source: Any, lon: Any = None, lat: Any = None, missing: str | None = None) -> Array:
    """Find and check the places of a table, of points or of an array.

    Where there are names, they decide, not the order of the columns.

    Parameters
    ----------
    source : table, points, array or mapping
        A table of pandas, GeoPandas, polars, PyArrow, dask or xarray; geometry takes precedence
        over columns, and points in any CRS are reprojected to EPSG:4326. An array, tensor or list,
        shape (N, 2), longitude first; a list of points or of mappings; a mapping or Series with
        both coordinates, by name, is one place.
    lon, lat : label, optional
        Columns of longitude and latitude, degrees. By default those with a usual name: lon, long,
        lng or longitude, and lat or latitude, alone or with the same addition in both names
        (``decimalLongitude``, ``lon_deg``); then a column of WKT or WKB; then x and y, with a
        warning.
    missing : {"error", "drop", "keep"}, optional
        "drop" and "keep" return NaN for a row without a place; otherwise it is an error. Numbers
        such as -9999 and words such as NA count as missing.

    Returns
    -------
    array, shape (N, 2), float64, degrees, longitude first

    Raises
    ------
    ValueError
        If no column or several have a usual name, if a geometry has no CRS or is not a point, or if
        a coordinate is missing, not a number or out of range (with the first row and the count).

    Warns
    -----
    UserWarning
        With the number of rows that have no place, lie at (0, 0) or have longitude and latitude
        probably swapped; if x and y are taken as degrees; if the units of a CRS are doubtful.

    Examples
    --------
    >>> import pandas as pd
    >>> cities = pd.DataFrame({"name": ["Cairo"], "Latitude": [30.04], "Longitude": [31.24]})
    >>> lonlat_of(cities)
    array([[31.24, 30.04]])
    """
    reader = PlaceReader(lon, lat, missing)
    if type(source) is np.ndarray and source.dtype.kind in "fiu" and missing is None:
        places = as_lonlat(source)  # not copied
        reader.count(places)
    else:
        places = reader.read(source)
    reader.finish()
    return places


class PlaceReader:
    """Reads the places of a table in parts, counts faults and doubts and remembers the first fault.

    Parameters
    ----------
    lon, lat, missing
        As for :func:`lonlat_of`.
    """

    def __init__(self, lon: Any = None, lat: Any = None, missing: str | None = None) -> None:
        check_option("missing", missing, (None, "error", "drop", "keep"))
        self.lon, self.lat = lon, lat
        self.missing, self.option = missing or "error", " (missing: drop)" if missing else ""
        self.columns: Sequence[Any] = ()  # of the places: one of points, or two
        self.rows, self.lacking, self.wrong, self.first = 0, 0, 0, ""
        self.doubts = dict.fromkeys(("at (0, 0)", "probably swapped"), 0)
        self.projected, self.small = "", True  # a CRS; whether its coordinates look like degrees

    def read(self, part: Any, name: RowName | None = None) -> Array:
        """Return the places (n, 2) of a part, NaN where one is missing or wrong."""
        frame = as_frame(part)
        name = name or row_namer(frame.index)
        places, cells = self.numbers(frame, name)
        lacking = np.isnan(places).any(axis=1)
        wrong = (np.abs(places) > (180.0, 90.0)).any(axis=1) & ~lacking  # infinite: not numeric
        faulty = wrong | lacking if self.missing == "error" else wrong
        if faulty.any() and not self.first:
            row = int(np.argmax(faulty))
            axis = int(np.argmax(~np.isfinite(places[row])))
            (cell,) = cells[axis].iloc[[row]].tolist()
            self.first = _describe(places[row], axis, cell, name(row), self.option)
        self.lacking += int(lacking.sum())
        self.wrong += int(faulty.sum())
        self.count(places[~lacking & ~wrong])
        places[wrong] = np.nan
        self.rows += len(places) - int((~lacking & ~wrong).sum())
        return places

    def count(self, places: Array) -> None:
        """Count places (n, 2), all in range, and those in doubt."""
        self.rows += len(places)
        for check, found in _doubtful(places).items():
            self.doubts[check] += int(found.sum())

    def numbers(self, frame: "pd.DataFrame", name: RowName) -> "tuple[Array, list[pd.Series[Any]]]":
        """Return the unchecked places (n, 2): NaN if missing, infinite if no number; the cells."""
        self.columns = self.columns or place_columns(frame, self.lon, self.lat)
        cells = [frame[column] for column in self.columns]
        if len(cells) == 1:
            return snapped(self._points(cells[0], name)), cells * 2
        return snapped(np.stack([_numbers(column) for column in cells], axis=1)), cells

    def finish(self) -> None:
        """Raise a ValueError if there was a fault, or no row has a place; else warn of doubts."""
        if self.first:
            many = f"{self.wrong:,} of {self.rows:,} rows are wrong, the first: "
            raise ValueError((many if self.wrong > 1 else "") + self.first)
        if not self.rows:
            raise ValueError("the table has no rows: at least one place is needed")
        if self.lacking == self.rows:
            raise ValueError(f"none of the {self.rows:,} rows has a place")
        if self.lacking:
            fate = "are left out: they" if self.missing == "drop" else "are kept but"
            warn(f"{self.lacking:,} of {self.rows:,} rows {fate} have no place")
        if self.columns and self.lon is self.lat is None and tidy(self.columns[0]) == "x":
            x, y = self.columns
            warn(f"columns {x!r} and {y!r} are taken as degrees: name them (lon, lat) if they are")
        if self.projected and self.small:
            warn(
                f"all points lie within 180 by 90 units of {self.projected}, a projected CRS: if "
                "these are degrees, label them so (EPSG:4326)"
            )
        for check, count in self.doubts.items():
            if count:
                known = self.rows - self.lacking
                warn(f"{count:,} of {known:,} places are {check}: {ADVICE[check]}")

    def _points(self, column: Any, name: RowName) -> Array:
        """Reproject a column of geometry to places (n, 2), NaN where missing, inf where unread."""
        import pyproj
        import shapely

        points = column if hasattr(column, "to_crs") else parse_shapes(column)
        crs, known = points.crs, (~(points.isna() | points.is_empty)).to_numpy()
        if crs is None:
            raise ValueError(
                "the geometry has no CRS, so its units are unknown; longitude and latitude in "
                "degrees are set_crs(4326)"
            )
        other = known & (points.geom_type != "Point").to_numpy()
        if other.any():
            row = int(np.argmax(other))
            raise ValueError(
                f"expected points, got a {points.geom_type.iloc[row]} in {name(row)}; use one "
                "point for each, for example table.set_geometry(table.representative_point())"
            )
        shapes = points.to_numpy()[known]
        if crs.is_geocentric and not shapely.has_z(shapes).all():
            raise ValueError(f"points in {crs.name}, a geocentric CRS, need three coordinates")
        xyz = shapely.get_coordinates(shapes, include_z=crs.is_geocentric)  # else heights are idle
        if crs.is_projected:
            self.projected = crs.to_string()
            self.small &= bool((np.abs(xyz) <= (180.0, 90.0)).all())
        places = np.full((len(points), 2), np.nan)
        if points is not column:  # text that is no geometry
            places[points.isna().to_numpy() & ~marked_missing(column)] = np.inf
        try:
            change = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
            places[known] = np.stack(change.transform(*xyz.T)[:2], axis=1)
        except pyproj.exceptions.ProjError as error:
            raise ValueError(f"{crs.name} cannot be turned into degrees: {error}") from error
        return places


def row_namer(index: Any) -> RowName:
    """Return a function that names a row by its number, and by its label if that differs."""

    def name(row: int) -> str:
        (label,) = index[[row]].tolist()
        return f"row {row}" if label == row else f"row {row} ({index.name or 'index'} {label!r})"

    return name


def _numbers(column: "pd.Series[Any]") -> Array:
    """Return a column as numbers (n,): NaN if missing, infinite if not numeric."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, True, np.nan)
    unread = ~np.isfinite(numbers) | (column.dtype.kind in "bmMc")
    numbers[unread] = np.where(marked_missing(column[unread]), np.nan, np.inf)
    marks = np.isin(np.abs(numbers), NODATA) | (np.isfinite(numbers) & (np.abs(numbers) > 1e20))
    return np.where(marks, np.nan, numbers)


def _describe(place: Array, axis: int, cell: Any, row: str, option: str) -> str:
    """Return what is wrong with a place (2,), or with the cell of one of its coordinates."""
    if np.isfinite(place).all():
        metres = " (metres need a geometry with its CRS)" if np.abs(place).max() > 360 else ""
        return beyond(place, row) + metres
    if np.isnan(place[axis]):
        what = f"{AXES[axis]} is missing (NaN, empty or a mark), got {cell!r}"
        return f"{what} in {row}; leave out such rows{option}"
    hint = comma_hint(cell, FIX)
    return f"{AXES[axis]} must be a number of degrees, got {cell!r} in {row}; {hint}"


def comma_hint(cell: Any, other: str) -> str:
    """Return a hint about decimal commas if the cell has one, otherwise the other hint."""
    comma = isinstance(cell, str) and re.fullmatch(r"\s*[-+]?\d+,\d+\s*", cell)
    return "decimal commas are not supported: use decimal points" if comma else other


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

    places, _ = PlaceReader().numbers(as_frame(lonlat), str)
    if not len(places):
        raise ValueError("the table has no rows: at least one place is needed")
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
    doubtful = _doubtful(places)
    return {
        "duplicated": repeats(places) if len(places) else np.zeros(0, dtype=bool),
        "at (0, 0)": doubtful["at (0, 0)"],
        "whole degrees": (places == np.round(places)).all(axis=1),
        "at sea": ~has_elevation(places) if len(places) else np.zeros(0, dtype=bool),
        "probably swapped": doubtful["probably swapped"],
    }


def _doubtful(places: Array) -> dict[str, Mask]:
    """Return which places (N, 2), all in range, are probably not where the data were taken."""
    on_equator, on_meridian = places[:, 1] == 0, places[:, 0] == 0
    zero = on_equator & on_meridian
    if (on_equator & ~zero).any() and (on_meridian & ~zero).any():
        zero = np.zeros(len(places), dtype=bool)  # a grid that passes through (0, 0)
    swapped = np.zeros(len(places), dtype=bool)
    if len(places) >= FEWEST and np.abs(places[:, 0]).max() <= 90:
        land, turned = has_elevation(places), has_elevation(places[:, ::-1])
        if turned.mean() >= max(SHARE, land.mean() + GAIN):
            swapped = turned & ~land
    return {"at (0, 0)": zero, "probably swapped": swapped}


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
