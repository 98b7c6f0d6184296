"""Embeddings for the places of a table, in memory or in a file, and the most similar places."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from ..config import check_integer, check_option
from ..coords import Array, great_circle_km
from ..features import Features
from ..files import whole
from ..places import PlaceReader, as_frame, lonlat_of
from ..runs import load_pretrained
from .tablefiles import about, check_target, open_rows, write_rows

SLICE = 50_000  # places compared at a time: bounds memory, not results


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


def provenance(made: Embeds) -> dict[str, str]:
    """Return what a written file says about its embeddings: the model's name and hash."""
    name = getattr(made, "origin", "") or type(made).__name__
    tags = {"EARTHTIE_MODEL": name, "EARTHTIE_VERSION": __version__}
    if hasattr(made, "fingerprint"):
        tags["EARTHTIE_SHA256"] = made.fingerprint
    return tags


def embed_places(model: Embeds, places: Array) -> Features:
    """Embed checked places (N, 2): (N, D), one vector each, NaN where a place is NaN."""
    known = np.isfinite(places).all(axis=1)
    asked = places[known] if known.any() else np.zeros((1, 2))  # gives the number of columns
    embed = getattr(model, "embed_places", model.embed)
    found = np.asarray(embed(asked), dtype=np.float32)
    if found.ndim != 2 or len(found) != len(asked):
        raise ValueError(
            f"the model must return ({len(asked)}, D) for that many places: {found.shape}"
        )
    if len(places) and known.all():
        return found
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
    model: str | Path | Embeds = "earth",
    lon: Any = None,
    lat: Any = None,
    prefix: str = "e",
    missing: str = "error",
) -> Any:
    """Join embeddings to a table of places.

    Parameters
    ----------
    table : table, points or array, shape (N, 2)
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
    table
        The rows and columns of the table, then the embedding in float32, as a table of the same
        kind: of pandas (with its index), GeoPandas, polars, PyArrow or dask; an xarray dataset gets
        the variable ``embedding``. Whatever is no table becomes one of pandas.

    Raises
    ------
    ValueError
        If a place is invalid, or the name of a new column is taken.

    Warns
    -----
    UserWarning
        As :func:`~earthtie_lite.places.lonlat_of` does.

    Examples
    --------
    >>> import pandas as pd
    >>> cities = pd.DataFrame({"name": ["Berlin", "Manaus"], "lon": [13.4, -60], "lat": [52.5, -3]})
    >>> embed_table(cities).shape
    (2, 259)
    """
    if hasattr(table, "map_partitions"):  # a dask table: each partition is a pandas table
        return table.map_partitions(embed_table, model, lon, lat, prefix, missing)
    if hasattr(table, "data_vars"):  # xarray
        return table.assign(embedding=as_model(model).embed(table))
    places = lonlat_of(table, lon, lat, missing)
    known = np.isfinite(places).all(axis=1)
    rows = np.flatnonzero(known | (missing != "drop"))
    z = embed_places(as_model(model), places[rows])
    return _joined(table, rows, z, column_names(z.shape[1], prefix), "choose another prefix")


def _joined(
    table: Any, rows: NDArray[Any], values: NDArray[Any], names: Sequence[str], hint: str
) -> Any:
    """Return rows of a table with further columns (n, k), as a table of the same kind."""
    import narwhals
    import pandas as pd
    import pyarrow as pa

    batch = isinstance(table, pa.RecordBatch)
    frame: Any = pa.Table.from_batches([table]) if batch else table
    frame = narwhals.from_native(frame, pass_through=True)
    if lazy := isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    if hasattr(table, "iloc") or not isinstance(frame, narwhals.DataFrame):
        frame = as_frame(table)
    if taken := [name for name in names if name in frame.columns]:
        raise ValueError(f"the table has columns {taken[:3]} already: {hint}")
    if isinstance(frame, pd.DataFrame):
        new = pd.DataFrame(values, index=frame.index[rows], columns=list(names))
        return pd.concat([frame.iloc[rows], new], axis=1)
    columns = narwhals.from_numpy(values, names, backend=frame.implementation)
    joined = narwhals.concat([frame[rows], columns], how="horizontal").to_native()
    if hasattr(table, "schema") and hasattr(table.schema, "metadata"):  # PyArrow
        joined = joined.replace_schema_metadata(table.schema.metadata)
    if batch:
        return joined.combine_chunks().to_batches()[0]
    return joined.lazy() if lazy else joined


def nearest(
    model: str | Path | Embeds,
    place: Any,
    places: Any,
    k: int = 10,
    lon: Any = None,
    lat: Any = None,
    missing: str = "error",
) -> Any:
    """Find the places whose embeddings are most similar to that of one place.

    Parameters
    ----------
    model : str, Path or object with a method ``embed``
    place : (longitude, latitude), degrees
        Or a mapping, Series or point.
    places : table, points or array, shape (N, 2)
        As for :func:`embed_table`. If the place itself is among them, it is found too.
    k : int
        Number of rows to return, at most.
    lon, lat : label, optional
        Columns of longitude and latitude.
    missing : {"error", "drop"}
        Whether to leave out rows without a place.

    Returns
    -------
    table
        Rows of ``places`` with their index, the most similar first, and two more columns:
        similarity (cosine, in [-1, 1]) and km (great-circle distance). A table of the same kind as
        ``places``.

    Examples
    --------
    >>> nearest("melt", (13.4, 52.5), [[-60.0, -3.1], [21.0, 52.2]], k=1)[["lon", "lat"]]
        lon   lat
    1  21.0  52.2
    """
    check_integer("k", k)
    check_option("missing", missing, ("error", "drop"))
    made, lonlat = as_model(model), lonlat_of(places, lon, lat, missing)
    here = lonlat_of([place] if isinstance(place, tuple | list | np.ndarray) else place)
    query = _unit(embed_places(made, here))[0]
    rows, cosines = np.empty(0, dtype=np.int64), np.empty(0)
    for start in range(0, len(lonlat), SLICE):
        known = start + np.flatnonzero(np.isfinite(lonlat[start : start + SLICE]).all(axis=1))
        rows = np.concatenate([rows, known])
        cosines = np.concatenate([cosines, _unit(embed_places(made, lonlat[known])) @ query])
        best = np.argsort(-cosines, kind="stable")[:k]
        rows, cosines = rows[best], cosines[best]
    km = great_circle_km(np.repeat(here, len(rows), axis=0), lonlat[rows])
    found = np.column_stack([np.clip(cosines, -1.0, 1.0), km])
    return _joined(places, rows, found, ["similarity", "km"], "rename them first")


def _unit(z: Features) -> Features:
    """Scale vectors (N, D) to unit length."""
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _name(unit: str, numbers: Sequence[int], row: int) -> str:
    """Return the name of a row of a part of a file."""
    return f"{unit} {numbers[row]}"


def embed_file(
    source: str | Path,
    target: str | Path,
    model: str | Path | Embeds = "earth",
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

    The cells of a text file stay text ("NA" is Namibia, "007" keeps its zeros); in a Parquet target
    the coordinates become numbers and empty cells null. Geometry takes precedence over columns, and
    a Parquet target written from it is GeoParquet.

    Parameters
    ----------
    source : str or Path
        Text with any separator (.csv, .tsv, .txt; or compressed, .csv.gz), in UTF-8 or UTF-16; a
        Parquet file or a folder of them; GeoParquet; GeoPackage, GeoJSON, Shapefile, FlatGeobuf,
        KML, GML or GPX; Excel (.xlsx), where openpyxl is installed.
    target : str or Path
        Ends in .csv, .csv.gz or .parquet. The file appears, or is replaced, when it is complete.
    model : str, Path or object with a method ``embed``
        A name or folder, as for :func:`~earthtie_lite.runs.load_pretrained`, or a model.
    lon, lat : str, optional
        Columns of longitude and latitude, found as in :func:`~earthtie_lite.places.lonlat_of`. In a
        text file without names the columns are called c1, c2, ...
    rows : int
        Rows held in memory at a time: bounds memory, not results.
    progress : callable, optional
        Called after each chunk with the number of rows read and the total (None if unknown).
    prefix : str
        Prefix of the new columns, which are numbered: ``e000``, ``e001``, ...
    missing : {"error", "drop", "keep"}
        How to treat rows without a place: raise, leave them out, or leave their embedding empty.
    overwrite : bool
        Whether to replace an existing target.

    Returns
    -------
    int
        Number of rows written. The metadata of a Parquet target name the model, the version of this
        package and, for models of this package, a hash of the model (EARTHTIE_MODEL,
        EARTHTIE_VERSION, EARTHTIE_SHA256).

    Raises
    ------
    ValueError
        If the target exists; if the source cannot be read, has no rows or invalid places (the
        message names the line of the first and counts them); if the name of a new column is taken;
        if the target cannot hold a column.

    Warns
    -----
    UserWarning
        As :func:`~earthtie_lite.places.lonlat_of` does; swapped columns are looked for in each
        chunk.

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
    check_integer("rows", rows)
    check_target(target)
    if target.exists() and target.samefile(source):
        raise ValueError(f"the target is the source, {source}: choose another name")
    if target.exists() and not overwrite:
        raise ValueError(
            f"{target} exists: choose another name or allow overwriting it (overwrite, --force)"
        )
    reader = PlaceReader(lon, lat, missing)
    table, made, done = open_rows(source, int(rows), lon, lat), as_model(model), 0
    names = column_names(embed_places(made, np.zeros((1, 2))).shape[1], prefix)
    if taken := [name for name in names if name in table.schema.names]:
        raise ValueError(f"{source.name} has columns {taken[:3]} already: choose another prefix")
    with whole(target) as part, contextlib.ExitStack() as stack:
        write, writing = None, Future[None]()  # in a thread, while the next rows are embedded
        writing.set_result(None)
        for batch, numbers in table.parts:
            narrow = batch.select(list(reader.columns)) if reader.columns else batch
            with about(source):
                places = reader.read(narrow, functools.partial(_name, table.unit, numbers))
            if write is None:
                text = table.unit == "line" and len(reader.columns) == 2
                degrees = reader.columns if text else ()
                known = (table.schema.metadata or {}).items()
                notes = {k: v for k, v in known if not k.startswith(b"EARTHTIE_")}
                notes |= {k.encode(): v.encode() for k, v in provenance(made).items()}
                schema = table.schema.with_metadata(notes)
                write = stack.enter_context(write_rows(target, part, schema, names, degrees))
                threads = stack.enter_context(ThreadPoolExecutor(1))
            if missing == "drop":
                known = np.isfinite(places).all(axis=1)
                batch, places = batch.filter(pa.array(known)), places[known]
            if not reader.first:  # else the others are only counted
                z = embed_places(made, places)
                writing.result()
                writing = threads.submit(write, batch, places, z)
                done += batch.num_rows
            if progress is not None:
                progress(reader.rows, table.total)
        writing.result()
        with about(source):
            reader.finish()
    return done
