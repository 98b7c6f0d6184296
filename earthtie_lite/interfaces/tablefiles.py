"""Table files, CSV and Parquet, read and written in chunks."""

import contextlib
import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..coords import Array
from ..features import Features
from ..places import Faults, coordinate_columns, from_columns, from_points

if TYPE_CHECKING:
    import pyarrow as pa

Write = Callable[["pa.RecordBatch", Array, Features], None]
CSV_BLOCK = 2**24  # bytes of a CSV file read at a time
LATIN = "if it is in Latin-1, iconv -f LATIN1 -t UTF-8 converts it"


@dataclass(frozen=True)
class Rows:
    """The rows of an open file.

    Attributes
    ----------
    schema : pyarrow.Schema
        In a CSV file every column is text, with null for an empty cell.
    total : int or None
        Number of rows; None for a CSV file, whose length is not known in advance.
    batches : iterator of pyarrow.RecordBatch
        Each with at most the requested number of rows.
    """

    schema: "pa.Schema"
    total: int | None
    batches: "Iterator[pa.RecordBatch]"


def kind(path: Path) -> str:
    """Return the format of a file by its name: ".csv" or ".parquet"."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        return ".csv"
    if path.suffix.lower() == ".parquet":
        return ".parquet"
    raise ValueError(
        f"expected a name that ends in .csv, .csv.gz or .parquet, got {path.name!r}; pandas and "
        "GeoPandas read other formats and write these"
    )


def open_rows(path: Path, rows: int) -> Rows:
    """Open a table file for reading in batches of at most ``rows`` rows.

    Raises
    ------
    ValueError
        If the file is missing or cannot be read, now or while iterating.
    """
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if kind(path) == ".csv":
        _check_separator(path)
    with _readable(path):
        if kind(path) == ".parquet":
            file = pq.ParquetFile(path, pre_buffer=False)
            batches = file.iter_batches(batch_size=rows)
            return Rows(file.schema_arrow, file.metadata.num_rows, _parts(path, batches, rows))
        reading = pc.ReadOptions(use_threads=False, block_size=CSV_BLOCK)  # errors name the row
        parsing = pc.ParseOptions(newlines_in_values=True)
        with pc.open_csv(path, reading, parsing) as first:
            text = dict.fromkeys(first.schema.names, "string")
        cells = pc.ConvertOptions(column_types=text, null_values=[""], strings_can_be_null=True)
        reader = pc.open_csv(path, reading, parsing, cells)
        return Rows(reader.schema, None, _closed(path, _parts(path, reader, rows)))


def _check_separator(path: Path) -> None:
    """Raise a ValueError if the header of a CSV file is not separated by commas."""
    with contextlib.suppress(OSError, EOFError, csv.Error), _text(path) as file:
        names = next(csv.reader(file), [])
        for mark in ";\t|":
            if len(names) == 1 and mark in names[0]:
                raise ValueError(
                    f"the columns of {path} are separated by {mark!r}, expected commas: pandas "
                    f"reads it with sep={mark!r}"
                )


def _text(path: Path) -> Any:
    """Open a CSV file as text, compressed or not."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, "rt", encoding="utf-8", errors="replace", newline="")


def _closed(path: Path, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Yield the batches of a CSV file; raise a ValueError if its last quote is never closed.

    The cell after such a quote swallows all lines that follow.
    """
    rows, cell = 0, None
    for batch in batches:
        rows, cell = rows + batch.num_rows, batch.column(batch.num_columns - 1)[-1].as_py()
        yield batch
    if cell and "\n" in cell:
        with _text(path) as file:
            end = ""
            while part := file.read(CSV_BLOCK):
                end = (end + part)[-CSV_BLOCK:].rstrip() or end
        if not end.endswith('"'):
            raise ValueError(f"a quote that opens in {row_of(path, rows - 1)} is never closed")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn an error of the reader into a ValueError that names the file and its format."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        expected = "Parquet" if kind(path) == ".parquet" else "CSV with commas, in UTF-8"
        hint = f"; {LATIN}" if "UTF8" in str(error) or isinstance(error, UnicodeError) else ""
        # Arrow counts the header as the first row.
        said = re.sub(r"Row #(\d+)", lambda row: row_of(path, int(row[1]) - 2), str(error))
        raise ValueError(f"{path} cannot be read as {expected}: {said}{hint}") from error


def _parts(path: Path, batches: Any, rows: int) -> "Iterator[pa.RecordBatch]":
    """Yield non-empty batches of at most ``rows`` rows."""
    batches = iter(batches)
    while True:
        with _readable(path):
            batch = next(batches, None)
        if batch is None:
            return
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def row_of(path: Path, row: int) -> str:
    """Name a row of a file, counted from 0; in a CSV file by its line, as editors count lines."""
    if kind(path) == ".parquet":
        return f"row {row} of {path.name}, counted from 0"
    with _text(path) as file:
        lines, begins, passed = csv.reader(file), 1, -1  # the header is not a row
        try:
            for cells in lines:
                if cells and passed == row:
                    break
                passed += bool(cells)  # neither is an empty line
                begins = lines.line_num + 1
        except csv.Error:  # a cell that is too long for the standard library
            return f"row {row} of {path.name}, counted from 0"
    return f"line {begins} of {path.name}"


def locator(
    schema: "pa.Schema", lon: str | None = None, lat: str | None = None
) -> tuple[tuple[str, ...], "Callable[[pa.RecordBatch, Faults], Array]"]:
    """Return the columns that hold the places of a file, and a function that reads a batch.

    The points of GeoParquet take precedence over columns, as in a GeoDataFrame.
    """
    described = json.loads((schema.metadata or {}).get(b"geo", "{}"))
    if described and lon is None and lat is None:
        name = described["primary_column"]
        return (name,), _reader_of_points(name, described["columns"][name])
    lon, lat = coordinate_columns(schema.names, lon, lat)

    def read(batch: "pa.RecordBatch", faults: Faults) -> Array:
        return from_columns(batch.column(lon).to_pandas(), batch.column(lat).to_pandas(), faults)

    return (lon, lat), read


def _reader_of_points(
    name: str, column: dict[str, Any]
) -> "Callable[[pa.RecordBatch, Faults], Array]":
    """Return a function that reads the points of a GeoParquet batch."""
    if column.get("encoding") != "WKB":
        raise ValueError(
            f"the geometry {name!r} is stored as {column.get('encoding')}, expected WKB: write the "
            "file with GeoPandas' to_parquet, or name columns with lon= and lat="
        )
    crs = column.get("crs", "OGC:CRS84")  # the format's default; null means unknown

    def read(batch: "pa.RecordBatch", faults: Faults) -> Array:
        import geopandas as gpd

        shapes = batch.column(name).to_pandas()
        known = json.dumps(crs) if isinstance(crs, dict) else crs
        return from_points(gpd.GeoSeries.from_wkb(shapes, crs=known), faults)

    return read


@contextlib.contextmanager
def parquet_writer(
    part: Path, schema: "pa.Schema", names: Sequence[str], degrees: Sequence[str]
) -> Iterator[Write]:
    """Yield a function that writes batches and embeddings to Parquet, with numeric ``degrees``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = [schema.get_field_index(name) for name in degrees]
    for index in where:
        schema = schema.set(index, pa.field(schema.names[index], pa.float64()))
    for name in names:
        schema = schema.append(pa.field(name, pa.float32()))
    with pq.ParquetWriter(part, schema) as file:

        def write(batch: "pa.RecordBatch", places: Array, z: Features) -> None:
            columns = batch.columns
            for axis, index in enumerate(where):
                columns[index] = pa.array(places[:, axis], from_pandas=True)  # NaN is null
            columns += [pa.array(column, from_pandas=True) for column in z.T]
            file.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

        yield write


@contextlib.contextmanager
def csv_writer(
    part: Path, schema: "pa.Schema", names: Sequence[str], compression: str | None
) -> Iterator[Write]:
    """Yield a function that writes batches and embeddings to CSV, quoted where necessary."""
    import pyarrow as pa
    import pyarrow.csv as pc

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
            pc.write_csv(table, numbers, pc.WriteOptions(include_header=False))
            rows.writerows(zip(*(column.to_pylist() for column in batch.columns)))
            embedded = numbers.getvalue().to_pybytes().decode().splitlines()
            file.write("".join(f"{a[:-2]},{b}\n" for a, b in zip(lines, embedded)).encode())
            lines.clear()

        yield write
