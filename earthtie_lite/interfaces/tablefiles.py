"""Table files, read and written a part at a time: text, Parquet, vector formats, Excel."""

import contextlib
import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coords import Array
from ..features import Features
from .textfiles import rows_of_text, sheet_rows, text_rows

if TYPE_CHECKING:
    import pyarrow as pa

Write = Callable[["pa.RecordBatch", Array, Features], None]
KINDS = {  # how the name of a file ends
    "text": (".csv", ".tsv", ".tab", ".txt", ".csv.gz", ".tsv.gz", ".tab.gz", ".txt.gz"),
    "Parquet": (".parquet", ".geoparquet", ".pq"),
    "a vector format": (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".kml", ".gml", ".gpx"),
    "Excel": (".xlsx", ".xls", ".ods"),
}


@dataclass(frozen=True)
class Rows:
    """The rows of an open file.

    Attributes
    ----------
    schema : pyarrow.Schema
        Columns of text, with null for an empty cell, if the file is text or Excel. Geometry is WKB,
        described as in GeoParquet.
    total : int or None
        Number of rows; None if it is not known in advance.
    unit : {"line", "row"}
        What the numbers of rows count: lines from 1, as editors do, or rows from 0.
    parts : iterator of (pyarrow.RecordBatch, sequence of int)
        Each with at most the requested number of rows, and their numbers.
    """

    schema: "pa.Schema"
    total: int | None
    unit: str
    parts: "Iterator[tuple[pa.RecordBatch, Sequence[int]]]"


def kind(path: Path) -> str:
    """Return the format of a file by its name, a key of ``KINDS``; a folder holds Parquet."""
    for found, suffixes in KINDS.items():
        if path.name.lower().endswith(suffixes) or (path.is_dir() and found == "Parquet"):
            return found
    known = ", ".join(itertools.chain(*KINDS.values()))
    raise ValueError(f"expected a name that ends in one of {known}, got {path.name!r}")


def open_rows(path: Path, rows: int, lon: str | None = None, lat: str | None = None) -> Rows:
    """Open a table file, or a folder of Parquet files, to read at most ``rows`` rows at a time.

    Parameters
    ----------
    path : Path
    rows : int
    lon, lat : str, optional
        Columns of longitude and latitude. The columns of a text file whose first line has no names
        are called c1, c2, ...

    Raises
    ------
    ValueError
        If the file is missing or cannot be read, now or while iterating.
    """
    found = kind(path)
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    with about(path, found):
        if found == "Parquet":
            schema, total, parts = _parquet(path, rows)
        elif found == "a vector format":
            schema, total, parts = _vector(path, rows)
        else:
            read = sheet_rows(path) if found == "Excel" else text_rows(path, rows, lon, lat)
            schema, parts = rows_of_text(read, lon, lat)
            return Rows(schema, None, "line", _guarded(path, found, parts))
    return Rows(schema, total, "row", _guarded(path, found, _numbered(parts, rows)))


@contextlib.contextmanager
def about(path: Path, found: str = "") -> Iterator[None]:
    """Let an error name the file; that of a library that reads it becomes a ValueError."""
    try:
        yield
    except Exception as error:  # each library has errors of its own
        if type(error) is ValueError:
            raise ValueError(f"{path.name}: {error}") from error
        if not found:
            raise
        utf = "; if it is in Latin-1, iconv -f LATIN1 -t UTF-8 converts it"
        hint = utf if isinstance(error, UnicodeError) else ""
        said = " ".join(str(error).split())  # in one line
        raise ValueError(f"{path.name} cannot be read as {found}: {said}{hint}") from error


def _guarded(path: Path, found: str, parts: Iterator[Any]) -> Iterator[Any]:
    """Yield parts; errors of reading them name the file."""
    while True:
        with about(path, found):
            part = next(parts, None)
        if part is None:
            return
        yield part


def _numbered(
    batches: "Iterable[pa.RecordBatch]", rows: int
) -> "Iterator[tuple[pa.RecordBatch, Sequence[int]]]":
    """Yield batches of at most ``rows`` rows, numbered over the whole file."""
    done = 0
    for batch in batches:
        batch.validate(full=True)
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            yield part, range(done, done := done + part.num_rows)


# ------------------------------------------------------------------------ Parquet, vector formats


def _parquet(path: Path, rows: int) -> "tuple[pa.Schema, int, Iterator[pa.RecordBatch]]":
    """Open a Parquet file, or a folder of parts; names of folders may hold columns (key=value)."""
    import pyarrow.dataset as ds

    data = ds.dataset(path, format="parquet", partitioning="hive" if path.is_dir() else None)
    if not data.files:
        raise ValueError("the folder has no Parquet files")
    batches = data.to_batches(
        batch_size=rows, use_threads=False, batch_readahead=1, fragment_readahead=1
    )
    return data.schema, data.count_rows(), batches


def _vector(path: Path, rows: int) -> "tuple[pa.Schema, int, Iterator[pa.RecordBatch]]":
    """Open the only layer of a vector file, or its only layer of points."""
    import pyarrow as pa
    import pyogrio
    import pyproj

    layers = pyogrio.list_layers(path).tolist()
    layers = [layer for layer in layers if "Point" in str(layer[1])] or layers
    if len(layers) != 1:
        raise ValueError(f"expected one layer, found {[name for name, _ in layers]}: keep one")
    layer = layers[0][0]
    opened = pyogrio.open_arrow(path, layer=layer, batch_size=rows, use_pyarrow=True)
    stack = contextlib.ExitStack()
    known, reader = stack.enter_context(opened)
    fields = [field.remove_metadata() for field in reader.schema]
    if not known["geometry_name"] and fields[-1].name == "wkb_geometry":
        fields[-1] = fields[-1].with_name("geometry")
    schema = pa.schema(fields)
    if (name := known["geometry_name"] or "geometry") in schema.names:
        crs = pyproj.CRS.from_user_input(known["crs"]).to_json_dict() if known["crs"] else None
        column: Any = {"encoding": "WKB", "geometry_types": [], "crs": crs}
        geo = {"version": "1.1.0", "primary_column": name, "columns": {name: column}}
        schema = schema.with_metadata({"geo": json.dumps(geo)})

    def batches() -> "Iterator[pa.RecordBatch]":
        with stack:
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    return schema, pyogrio.read_info(path, layer=layer)["features"], batches()


# --------------------------------------------------------------------------------------- writing


def check_target(path: Path) -> None:
    """Raise a ValueError unless a table can be written to a file of this name."""
    if not path.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise ValueError(
            f"expected a target that ends in .csv, .csv.gz or .parquet, got {path.name!r}"
        )


def write_rows(
    path: Path, part: Path, schema: "pa.Schema", names: Sequence[str], degrees: Sequence[str]
) -> contextlib.AbstractContextManager[Write]:
    """Open ``part``, which becomes ``path``: a function that writes batches and embeddings."""
    if path.suffix.lower() == ".parquet":
        return _parquet_writer(part, schema, names, degrees)
    return _csv_writer(part, schema, names, "gzip" if path.suffix.lower() == ".gz" else None)


@contextlib.contextmanager
def _parquet_writer(
    part: Path, schema: "pa.Schema", names: Sequence[str], degrees: Sequence[str]
) -> Iterator[Write]:
    """Yield a function that writes batches and embeddings to Parquet, with numeric ``degrees``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise ValueError(f"columns {twice} appear twice, which Parquet cannot hold: rename them")
    where = [schema.get_field_index(name) for name in degrees]
    text = [field.name for field in schema]
    for index in where:
        schema = schema.set(index, pa.field(schema.names[index], pa.float64()))
    for name in names:
        schema = schema.append(pa.field(name, pa.float32()))
    try:
        schema.empty_table().to_pandas()
    except Exception:  # what pandas noted of the columns does not fit the new ones
        known = {key: note for key, note in schema.metadata.items() if key != b"pandas"}
        schema = schema.with_metadata(known)
    settings: dict[str, Any] = {"use_dictionary": text, "write_statistics": text}
    settings["compression"] = dict.fromkeys(names, "none") | dict.fromkeys(text, "snappy")
    with pq.ParquetWriter(part, schema, **settings) as file:

        def write(batch: "pa.RecordBatch", places: Array, z: Features) -> None:
            columns, empty = batch.columns, bool(np.isnan(z[:, :1]).any())
            for axis, index in enumerate(where):
                columns[index] = pa.array(places[:, axis], from_pandas=True)  # NaN is null
            columns += [pa.array(column, from_pandas=empty) for column in z.T]
            file.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

        yield write


@contextlib.contextmanager
def _csv_writer(
    part: Path, schema: "pa.Schema", names: Sequence[str], compression: str | None
) -> Iterator[Write]:
    """Yield a function that writes batches and embeddings to CSV, quoted where necessary."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    for field in schema:
        if pa.types.is_nested(field.type) or "binary" in str(field.type):
            raise ValueError(
                f"column {field.name!r} of type {field.type} does not fit into CSV: write Parquet"
            )
    lines: list[str] = []
    # Cells that contain a character of the line terminator are quoted; it is cut off again below.
    rows = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    with pa.output_stream(part, compression=compression) as file:
        rows.writerow([*schema.names, *names])
        file.write((lines.pop()[:-2] + "\n").encode())

        def write(batch: "pa.RecordBatch", places: Array, z: Features) -> None:
            # pyarrow writes numbers fast but quotes all text; the standard library does neither.
            numbers = pa.BufferOutputStream()
            cells = [pa.array(column, from_pandas=True) for column in z.T]  # NaN is an empty cell
            table = pa.table(cells, names=[str(i) for i in range(len(cells))])
            pa.csv.write_csv(table, numbers, pa.csv.WriteOptions(include_header=False))
            columns = [
                pc.if_else(pc.is_nan(c), None, c) if pa.types.is_floating(c.type) else c
                for c in batch.columns
            ]
            rows.writerows(zip(*(column.to_pylist() for column in columns)))
            embedded = numbers.getvalue().to_pybytes().decode().splitlines()
            file.write("".join(f"{a[:-2]},{b}\n" for a, b in zip(lines, embedded)).encode())
            lines.clear()

        yield write
