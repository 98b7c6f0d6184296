"""Embeddings for the places of a table, in memory or in a file, and the most similar places."""

import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..coords import Array, as_lonlat, great_circle_km
from ..features import Features
from ..files import whole
from ..places import ADVICE, Faults, check_places, lonlat_of
from ..runs import load_pretrained
from .tablefiles import csv_writer, kind, locator, open_rows, parquet_writer, row_of

if TYPE_CHECKING:
    import pandas as pd

SLICE = 50_000  # places compared at a time: bounds memory, not results
NO_PLACE = "correct such rows, or leave them out with missing='drop', or empty with missing='keep'"


class Embeds(Protocol):
    """Anything that embeds places: a model of this package, or an object with this method."""

    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, D) of places (N, 2)."""


def as_model(model: str | Path | Embeds) -> Embeds:
    """Return a model; load it if a name or a folder is given."""
    if isinstance(model, (str, Path)):
        return load_pretrained(model)
    if not callable(getattr(model, "embed", None)):
        hint = "; pass its .model" if hasattr(model, "model") else ""
        raise ValueError(
            f"model must be a name, a folder or have a method embed, got {type(model).__name__}"
            f"{hint}"
        )
    return model


def embed_places(model: Embeds, places: Array) -> Features:
    """Embed checked places (N, 2): (N, D), one vector each, NaN where a place is NaN."""
    known = np.isfinite(places).all(axis=1)
    asked = places[known] if known.any() else np.zeros((1, 2))  # gives the number of columns
    found = np.asarray(model.embed(asked), dtype=np.float32)
    if found.ndim != 2 or len(found) != len(asked):
        raise ValueError(
            f"the model must return ({len(asked)}, D) for that many places: {found.shape}"
        )
    z = np.full((len(places), found.shape[1]), np.nan, dtype=np.float32)
    z[known] = found[: known.sum()]
    return z


def column_names(width: int, prefix: str = "e") -> list[str]:
    """Return the column names of an embedding, the same in tables, pipelines and rasters.

    Examples
    --------
    >>> column_names(3)
    ['e000', 'e001', 'e002']
    """
    return [f"{prefix}{column:03d}" for column in range(width)]


def embed_table(
    table: Any,
    model: str | Path | Embeds = "melt",
    lon: Any = None,
    lat: Any = None,
    prefix: str = "e",
    missing: str = "error",
) -> "pd.DataFrame":
    """Join embeddings to a table of places.

    Parameters
    ----------
    table : DataFrame, GeoDataFrame, GeoSeries or array, shape (N, 2)
        Places, as for :func:`~earthtie_lite.places.lonlat_of`. The table is not modified. A dask
        table stays lazy; each partition is embedded where it is stored.
    model : str, Path or object with a method ``embed``
        A name or folder, as for :func:`~earthtie_lite.runs.load_pretrained`, or a model.
    lon, lat : label, optional
        Columns of longitude and latitude.
    prefix : str
        Prefix of the new columns, which are numbered: ``e000``, ``e001``, ...
    missing : {"error", "drop", "keep"}
        How to treat rows without a place: raise, leave them out, or return NaN for them.

    Returns
    -------
    DataFrame
        The rows, index and columns of the table, then the embedding in float32. A GeoDataFrame
        stays a GeoDataFrame.

    Raises
    ------
    ValueError
        If a place is invalid, or the name of a new column is taken.

    Warns
    -----
    UserWarning
        With the number of rows that have no place, lie at (0, 0), or seem to have longitude and
        latitude swapped.

    Examples
    --------
    >>> import pandas as pd
    >>> cities = pd.DataFrame({"name": ["Berlin", "Manaus"], "lon": [13.4, -60], "lat": [52.5, -3]})
    >>> embed_table(cities).shape
    (2, 259)
    """
    import pandas as pd

    if hasattr(table, "map_partitions"):  # a dask table: each partition is a pandas table
        return table.map_partitions(embed_table, model, lon, lat, prefix, missing)
    table = _as_frame(table)
    places = lonlat_of(table, lon, lat, missing, NO_PLACE)
    known = np.isfinite(places).all(axis=1)
    notes = _without_place(len(table), int((~known).sum()), missing)
    for note in [*notes, *_doubts(_doubtful(places), int(known.sum()))]:
        warnings.warn(note, stacklevel=2)
    if missing == "drop":
        table, places = table[known], places[known]
    z = embed_places(as_model(model), places)
    names = column_names(z.shape[1], prefix)
    _refuse_taken(table.columns, names, "choose another prefix=")
    return pd.concat([table, pd.DataFrame(z, index=table.index, columns=names)], axis=1)


def _without_place(rows: int, lacking: int, missing: str) -> list[str]:
    """Return a note on the number of rows without a place and how they were treated."""
    fate = {"drop": "are left out: they have no place", "keep": "have no place and no embedding"}
    return [f"{lacking:,} of {rows:,} rows {fate[missing]}"] if lacking else []


def _doubtful(places: Array) -> "pd.Series":
    """Count the suspicious places (N, 2), by check."""
    known = places[np.isfinite(places).all(axis=1)]
    counts = check_places(known if len(known) else np.full((1, 2), np.nan))["places"]
    return counts[["at (0, 0)", "probably swapped"]]


def _doubts(counts: "pd.Series", rows: int) -> list[str]:
    """Return one sentence for each check that found suspicious places."""
    found = counts[counts > 0].to_dict()
    return [
        f"{n:,} of {rows:,} places are {what}: {ADVICE[str(what)]}" for what, n in found.items()
    ]


def _as_frame(places: Any) -> Any:
    """Return places as a table."""
    import pandas as pd

    if isinstance(places, (str, Path)):
        raise ValueError(
            f"expected a table, got {places!r}: read the file first, or use embed_file"
        )
    if hasattr(places, "columns"):
        return places
    if hasattr(places, "to_frame"):
        return places.to_frame(places.name or "geometry")
    array = np.asarray(places)
    if array.ndim != 2 or array.shape[1] != 2:
        as_lonlat(places)  # says what is wrong
    return pd.DataFrame(array, columns=["lon", "lat"])


def _refuse_taken(columns: Any, names: Sequence[str], hint: str) -> None:
    """Raise a ValueError if the table already has a column of a new name."""
    if taken := [name for name in names if name in columns]:
        raise ValueError(f"the table has columns {taken[:3]} already: {hint}")


def nearest(
    model: str | Path | Embeds,
    place: ArrayLike,
    places: Any,
    k: int = 10,
    lon: Any = None,
    lat: Any = None,
) -> "pd.DataFrame":
    """Find the places whose embeddings are most similar to that of one place.

    Parameters
    ----------
    model : str, Path or object with a method ``embed``
    place : (longitude, latitude), degrees
    places : DataFrame, GeoDataFrame, GeoSeries or array, shape (N, 2)
        If the place itself is among them, it is found too.
    k : int
        Number of rows to return, at most.
    lon, lat : label, optional
        Columns of longitude and latitude.

    Returns
    -------
    DataFrame
        Rows of ``places`` with their index, the most similar first, and two more columns:
        similarity (cosine, in [-1, 1]) and km (great-circle distance).

    Examples
    --------
    >>> nearest("melt", (13.4, 52.5), [[-60.0, -3.1], [21.0, 52.2]], k=1)[["lon", "lat"]]
        lon   lat
    1  21.0  52.2
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")
    made, table = as_model(model), _as_frame(places)
    _refuse_taken(table.columns, ["similarity", "km"], "rename them first")
    here, lonlat = as_lonlat(np.asarray(place)[np.newaxis]), lonlat_of(table, lon, lat)
    for note in _doubts(_doubtful(lonlat), len(lonlat)):
        warnings.warn(note, stacklevel=2)
    query = _unit(embed_places(made, here))[0]
    rows, cosines = np.empty(0, dtype=np.int64), np.empty(0)
    for start in range(0, len(lonlat), SLICE):
        found = _unit(embed_places(made, lonlat[start : start + SLICE])) @ query
        rows = np.concatenate([rows, np.arange(start, start + len(found))])
        cosines = np.concatenate([cosines, found])
        best = np.argsort(-cosines, kind="stable")[:k]
        rows, cosines = rows[best], cosines[best]
    km = great_circle_km(np.repeat(here, len(rows), axis=0), lonlat[rows])
    return table.iloc[rows].assign(similarity=np.clip(cosines, -1.0, 1.0), km=km)


def _unit(z: Features) -> Features:
    """Scale vectors (N, D) to unit length."""
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def embed_file(
    source: str | Path,
    target: str | Path,
    model: str | Path | Embeds = "melt",
    lon: str | None = None,
    lat: str | None = None,
    rows: int = 50_000,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    prefix: str = "e",
    missing: str = "error",
    overwrite: bool = False,
) -> int:
    """Join embeddings to a file of places, in chunks; the file may be larger than memory.

    The cells of a CSV file stay text ("NA" is Namibia, "007" keeps its zeros); in a Parquet target
    the coordinates become numbers and empty cells null. The points of a GeoParquet file take
    precedence over columns, and a Parquet target written from it is GeoParquet again.

    Parameters
    ----------
    source : str or Path
        Ends in .csv, .csv.gz or .parquet. CSV is separated by commas, has a header and is UTF-8.
    target : str or Path
        Ends likewise. The file appears, or is replaced, when it is complete.
    model : str, Path or object with a method ``embed``
        A name or folder, as for :func:`~earthtie_lite.runs.load_pretrained`, or a model.
    lon, lat : str, optional
        Columns of longitude and latitude, found as in
        :func:`~earthtie_lite.places.lonlat_of`.
    rows : int
        Rows held in memory at a time: bounds memory, not results.
    progress : callable, optional
        Called after each chunk with the number of rows read and the total (None for CSV).
    prefix : str
        Prefix of the new columns, which are numbered: ``e000``, ``e001``, ...
    missing : {"error", "drop", "keep"}
        How to treat rows without a place: raise, leave them out, or leave their embedding empty.
    overwrite : bool
        Whether to replace an existing target.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    ValueError
        If the target exists; if the source cannot be read, has no rows or invalid places (the
        message names the line of the first and counts them); if the name of a new column is taken;
        if CSV cannot hold a column.

    Warns
    -----
    UserWarning
        As in :func:`embed_table`; swapped columns are looked for in each chunk.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cities = pd.DataFrame({"name": ["Windhoek"], "lon": [17.1], "lat": [-22.6]})
    ...     cities.to_csv(f"{folder}/cities.csv", index=False)
    ...     embed_file(f"{folder}/cities.csv", f"{folder}/embedded.parquet")
    1
    """
    import pyarrow as pa

    source, target = Path(source).expanduser(), Path(target).expanduser()
    if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
        raise ValueError(f"rows must be an integer of at least 1, got {rows!r}")
    text, csv = kind(source) == ".csv", kind(target) == ".csv"
    table = open_rows(source, int(rows))
    if target.exists() and target.samefile(source):
        raise ValueError(f"the target is the source, {source}: choose another name")
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists: choose another name, or replace it with overwrite=True")
    made, done, doubtful = as_model(model), 0, _doubtful(np.full((1, 2), np.nan))
    names = column_names(embed_places(made, np.zeros((1, 2))).shape[1], prefix)
    _refuse_taken(table.schema.names, names, "choose another prefix=")
    columns, locate = locator(table.schema, lon, lat)
    faults = Faults(functools.partial(row_of, source), missing, NO_PLACE)
    with whole(target) as part:
        if csv:
            compression = "gzip" if target.suffix.lower() == ".gz" else None
            writer = csv_writer(part, table.schema, names, compression)
        else:
            writer = parquet_writer(part, table.schema, names, columns if text else ())
        with writer as write:
            for batch in table.batches:
                places = locate(batch, faults)
                doubtful = doubtful + _doubtful(places)
                if missing == "drop":
                    known = np.isfinite(places).all(axis=1)
                    batch, places = batch.filter(pa.array(known)), places[known]
                if not faults.first:  # else the others are only counted
                    write(batch, places, embed_places(made, places))
                    done += batch.num_rows
                if progress is not None:
                    progress(faults.rows, table.total)
        faults.refuse(str(source))
    notes = _without_place(faults.rows, faults.lacking, missing)
    for note in [*notes, *_doubts(doubtful, faults.rows - faults.lacking)]:
        warnings.warn(note, stacklevel=2)
    return done
