"""Tables of every kind as tables of pandas, and which of their columns hold places."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .config import is_mark
from .coords import as_array

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

Mask = NDArray[np.bool_]

AXES = ("longitude", "latitude")
WORDS = ("longitude|long|lon|lng", "latitude|lat")
PLANE = ("x", "y")
FIRST = ("", "decimal")  # what else stands in both names of the pair that takes precedence
WKT = re.compile(r"\s*(?:SRID=(\d+);)?\s*(?:MULTI)?(?:POINT|LINESTRING|POLYGON|GEOMETRYC)", re.I)
WKB = re.compile(r"0[01][0-9a-f]{40,}", re.I)  # at least a point, as hexadecimal text


def as_frame(source: Any) -> "pd.DataFrame":
    """Return what a user brings as a table of pandas or GeoPandas; an array has columns lon, lat.

    Raises
    ------
    ValueError
        If it is no table, points or array (N, 2).
    """
    import narwhals
    import pandas as pd

    if isinstance(source, (str, bytes, Path)):
        raise ValueError(f"expected places, got {source!r}: embed_file reads files")
    if hasattr(source, "detach"):  # a tensor
        source = source.detach().cpu().numpy()
    elif hasattr(source, "coords"):  # xarray; shapely's points have coords, too
        source = _of_xarray(source) if hasattr(source, "dims") else [source]
    elif hasattr(source, "dask"):
        source = source.compute()
    if hasattr(source, "to_pylist") and hasattr(source, "column_names"):
        return _of_arrow(source)
    if isinstance(source, pd.DataFrame):
        return source
    native = narwhals.from_native(source, pass_through=True, allow_series=True)
    native = native.collect() if isinstance(native, narwhals.LazyFrame) else native
    if isinstance(native, narwhals.DataFrame):
        return native.to_pandas()
    source = native.to_pandas() if isinstance(native, narwhals.Series) else source
    if isinstance(source, pd.Series):
        if hasattr(source, "to_crs") or _holds_shapes(source):
            return source.to_frame(source.name or "geometry")
        if not any(isinstance(label, str) for label in source.index):
            raise ValueError("expected a table or points, got a single column")
        source = dict(source)  # one row of a table
    if isinstance(source, Mapping) and all(map(np.isscalar, source.values())):
        source = [source]
    first = source[0] if isinstance(source, Sequence) and len(source) else None
    if hasattr(first, "geom_type"):
        return pd.DataFrame({"geometry": source})
    named = getattr(getattr(source, "dtype", None), "names", None) is not None
    if named or isinstance(source, Mapping | np.ma.MaskedArray) or isinstance(first, Mapping):
        return pd.DataFrame(source)
    return pd.DataFrame(as_array(source), columns=["lon", "lat"])


def _of_xarray(cube: Any) -> "pd.DataFrame":
    """Return the coordinates of an xarray object, or a labelled array (N, 2), as a table."""
    variables = cube if hasattr(cube, "data_vars") else cube.coords.to_dataset()
    try:
        names = coordinate_columns(list(variables.variables))
    except ValueError:
        if getattr(cube, "ndim", 0) != 2:
            raise
        return cube.to_pandas()
    return variables[list(names)].to_dataframe().reset_index()


def _of_arrow(source: Any) -> "pd.DataFrame":
    """Return a table or batch of PyArrow as a table; the WKB of GeoParquet becomes geometry."""
    import geopandas as gpd
    import pyarrow as pa

    table = source if isinstance(source, pa.Table) else pa.Table.from_batches([source])
    notes = [field.metadata or {} for field in table.schema]
    try:
        if any(note.get(b"ARROW:extension:name", b"")[:8] == b"geoarrow" for note in notes):
            return gpd.GeoDataFrame.from_arrow(table)
        frame = table.to_pandas(ignore_metadata=True)
        known = json.loads((table.schema.metadata or {}).get(b"geo", "{}"))
        if (name := known.get("primary_column")) in frame:
            about = known["columns"][name]
            crs = about.get("crs", "OGC:CRS84")  # the format's default; null means unknown
            crs = json.dumps(crs) if isinstance(crs, dict) else crs
            frame[name] = gpd.GeoSeries.from_wkb(frame[name], crs=crs)
            frame = gpd.GeoDataFrame(frame, geometry=name)
    except Exception as error:  # of four libraries
        raise ValueError(f"the geometry cannot be read: {error}") from error
    return frame


def place_columns(frame: "pd.DataFrame", lon: Any, lat: Any) -> Sequence[Any]:
    """Return the column of points of a table, or its columns of longitude and latitude."""
    named, failed, found = lon is not None or lat is not None, None, list[Any]()
    if not named and (active := getattr(frame, "active_geometry_name", None)) is not None:
        return [active]
    try:
        found += coordinate_columns(list(frame.columns), lon, lat)
    except ValueError as error:
        failed = error
    if not named and (failed or tidy(found[0]) == "x"):
        shapes = [c for at, c in enumerate(frame.columns) if _holds_shapes(frame.iloc[:, at])]
        if sum(list(frame.columns).count(column) for column in shapes) > 1:
            raise ValueError(f"columns {shapes} all hold geometry or share a name: leave one")
        found = shapes or found
    if failed and not found:
        raise failed
    return found


def coordinate_columns(columns: Sequence[Any], lon: Any = None, lat: Any = None) -> tuple[Any, Any]:
    """Return the columns of longitude and latitude: those given, or those with usual names."""
    if lon is lat is None and [*columns] == [0, 1]:  # a data frame without names
        return 0, 1
    x, y = ([column for column in columns if tidy(column) == axis] for axis in PLANE)
    given, plane = (lon, lat), (x, y)
    pairs: dict[str, tuple[list[Any], list[Any]]] = {}  # by what else stands in the names
    for column in columns:
        for axis, words in enumerate(WORDS):
            if match := re.fullmatch(f"(.*?)(?:{words})|(?:{words})(.*)", tidy(column)):
                rest = re.sub("[ewnsxy]$", "", match[1] or match[2] or "")
                pairs.setdefault(rest, ([], []))[axis].append(column)
    asked = [axis for axis in (0, 1) if given[axis] is None]
    whole = [rest for rest, pair in pairs.items() if all(pair[axis] for axis in asked)]
    best = [rest for rest in FIRST if rest in whole][:1] or whole
    usable = [pairs[rest] for rest in best] or [pairs.get("", plane)]
    chosen = []
    for axis, what in enumerate(AXES):
        named = [column for pair in usable for column in pair[axis]]
        if given[axis] is not None:
            named = [column for column in columns if column == given[axis]]
            if len(named) != 1:
                raise ValueError(f"{what} {given[axis]!r} is not one of the columns: {[*columns]}")
            if any(given[axis] in pair[1 - axis] for pair in pairs.values()):
                raise ValueError(f"column {given[axis]!r} is no {what}: rename it if it is one")
        if len(named) != 1:
            twice = len(set(named)) < len(named)
            raise ValueError(
                f"expected one column with a usual name of a {what} ({WORDS[axis]}), found {named}"
                f": {'rename one' if twice else f'name it ({what[:3]}: NAME)'}; the columns are "
                f"{[*columns]}"
            )
        chosen += named
    if chosen[0] == chosen[1]:
        raise ValueError(f"longitude and latitude cannot be the same column, {chosen[0]!r}")
    return chosen[0], chosen[1]


def tidy(column: Any) -> str:
    """Return a name in lower case, without blanks and signs."""
    return re.sub(r"[\W_]", "", str(column).lower())


def _holds_shapes(column: "pd.Series[Any]") -> bool:
    """Return whether the first value of a column is geometry, WKT or WKB."""
    first = next(iter(column.dropna().head(1)), None)
    if isinstance(first, str):
        return bool(WKT.match(first) or WKB.fullmatch(first))
    return hasattr(first, "geom_type") or (isinstance(first, bytes) and first[:1] in (b"\0", b"\1"))


def parse_shapes(column: "pd.Series[Any]") -> "gpd.GeoSeries":
    """Return geometry, WKT or WKB as geometry, in degrees unless it says otherwise."""
    import geopandas as gpd
    import shapely

    known, srids = ~marked_missing(column), set()
    cells = column[known]
    first = next(iter(cells), None)
    if hasattr(first, "geom_type"):
        shapes = cells.to_numpy(dtype=object)
    elif isinstance(first, str) and WKT.match(first):
        parts = cells.str.extract(r"^\s*(?:SRID=(\d+);)?(.*)", flags=re.S | re.I)
        srids = set(parts[0].dropna())
        shapes = shapely.from_wkt(parts[1].to_numpy(dtype=object), on_invalid="ignore")
    else:
        shapes = shapely.from_wkb(cells.to_numpy(dtype=object), on_invalid="ignore")
        srids = set(shapely.get_srid(shapes).tolist()) - {0, -1}
    if len(srids) > 1:
        raise ValueError(f"column {column.name!r} has several CRSs: {sorted(srids)}")
    points = np.full(len(column), None, dtype=object)
    points[known] = shapes
    return gpd.GeoSeries(points, crs=next(iter(srids), 4326))


def marked_missing(column: "pd.Series[Any]") -> Mask:
    """Return which cells are empty or hold a mark of a missing value such as NA."""
    marked = [isinstance(cell, str) and is_mark(cell) for cell in column]
    return np.array(marked, dtype=bool) | column.isna().to_numpy(dtype=bool)
