"""The places of a table: its coordinates, found and checked."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coords import Array, as_lonlat

if TYPE_CHECKING:
    import pandas as pd

LONGITUDE, LATITUDE = ("lon", "longitude", "lng", "long", "x"), ("lat", "latitude", "y")
RowName = Callable[[int], str]  # how an error calls a row


def lonlat_of(table: Any, lon: Any = None, lat: Any = None) -> Array:
    """Return the places of a table, checked.

    Parameters
    ----------
    table : DataFrame, GeoDataFrame, GeoSeries or array, shape (N, 2)
        A geometry counts before columns; points in any CRS are reprojected to EPSG:4326.
    lon, lat : label, optional
        Columns of longitude and latitude, degrees. By default the only ones with a usual name, in
        any case: lon, longitude, lng or long with lat or latitude, or x with y.

    Returns
    -------
    array, shape (N, 2), float64, degrees, longitude first

    Raises
    ------
    ValueError
        If no column or several have a usual name, if a geometry has no CRS or is no point, or, with
        the row, if a coordinate is missing, infinite or out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> cities = pd.DataFrame({"name": ["Cairo"], "Latitude": [30.04], "Longitude": [31.24]})
    >>> lonlat_of(cities)
    array([[31.24, 30.04]])
    """
    if hasattr(table, "to_crs") and lon is None and lat is None:
        points = table if not hasattr(table, "columns") else _active_geometry(table)
        if points is not None:
            return from_points(points, _namer(points.index))
    if not hasattr(table, "iloc"):
        if hasattr(table, "to_pandas"):
            raise ValueError("expected a table of pandas or GeoPandas: pass table.to_pandas()")
        return as_lonlat(table)
    if not hasattr(table, "columns"):
        raise ValueError("expected a table or points, got a single column")
    lon, lat = coordinate_columns(list(table.columns), lon, lat)
    return from_columns(table[lon], table[lat], _namer(table.index))


def _active_geometry(table: Any) -> Any:
    """Return the geometry of a GeoDataFrame, or None where no column is set as its geometry."""
    return None if table.active_geometry_name is None else table.geometry


def coordinate_columns(columns: Sequence[Any], lon: Any = None, lat: Any = None) -> tuple[Any, Any]:
    """Return the columns of longitude and latitude: those given, else those with a usual name."""
    found = []
    for what, name, usual in (("longitude", lon, LONGITUDE), ("latitude", lat, LATITUDE)):
        named = [c for c in columns if str(c).strip().lower() in usual] if name is None else [name]
        if name is not None and columns.count(name) != 1:
            raise ValueError(f"{what} {name!r} is not one of the columns: {list(columns)}")
        if len(named) != 1:
            raise ValueError(
                f"expected one column with a usual name of a {what} {usual}, found {named}: name "
                f"it with {what[:3]}=; the columns are {list(columns)}"
            )
        found.append(named[0])
    plane = [str(name).strip().lower() in ("x", "y") for name in found]
    if lon is None and lat is None and plane[0] != plane[1]:
        raise ValueError(
            f"columns {found} are no pair: name longitude and latitude with lon= and lat=; the "
            f"columns are {list(columns)}"
        )
    return found[0], found[1]


def _namer(index: Any) -> RowName:
    """Return what names a row of a table: its number, and its label where that is another."""

    def name(row: int) -> str:
        (label,) = index[[row]].tolist()
        return f"row {row}" if label == row else f"row {row} (index {label!r})"

    return name


def from_points(points: Any, name: RowName) -> Array:
    """Return the places of a GeoSeries."""
    if points.crs is None:
        raise ValueError(
            "the geometry has no CRS, so its units are unknown; longitude and latitude in degrees "
            "are set_crs(4326)"
        )
    missing = (points.isna() | points.is_empty).to_numpy()
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(f"the geometry is missing or empty in {name(row)}; remove such rows first")
    other = (points.geom_type != "Point").to_numpy()
    if other.any():
        row = int(np.argmax(other))
        raise ValueError(
            f"expected points, got a {points.geom_type.iloc[row]} in {name(row)}; choose a point "
            "in each, for example table.set_geometry(table.representative_point())"
        )
    degrees = points.to_crs(4326)
    return from_columns(degrees.x, degrees.y, name)


def from_columns(lon: "pd.Series", lat: "pd.Series", name: RowName) -> Array:
    """Return the places of two columns; an error names the row."""
    import pandas as pd

    columns = (lon, lat)
    numbers = [
        pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        for column in columns
    ]
    places = np.stack(numbers, axis=1)
    if len(places) == 0:
        raise ValueError("the table has no rows: at least one place is needed")
    bad = ~np.isfinite(places)
    if bad.any():
        row, axis = (int(i) for i in np.argwhere(bad)[0])
        (value,) = columns[axis].iloc[[row]].tolist()
        raise ValueError(
            f"{('longitude', 'latitude')[axis]} must be a number of degrees, got {value!r} in "
            f"{name(row)}: missing, infinite or no number; correct or remove such rows first"
        )
    beyond = (np.abs(places) > (180.0, 90.0)).any(axis=1)
    if beyond.any():
        row = int(np.argmax(beyond))
        try:
            as_lonlat(places[[row]])
        except ValueError as error:
            metres = np.abs(places[row]).max() > 360
            hint = "; metres need a GeoDataFrame with their CRS" if metres else ""
            raise ValueError(str(error).replace("row 0", name(row)) + hint) from None
    return places
