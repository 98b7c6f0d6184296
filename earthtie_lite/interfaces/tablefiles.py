"""Files of tables, CSV and Parquet, read and written a part at a time."""

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
        All text, in a CSV file, null where a cell is empty.
    total : int or None
        Number of rows; None in a CSV file, where nobody knows yet.
    batches : iterator of pyarrow.RecordBatch
        At most as many rows each as were asked for.
    """

    schema: "pa.Schema"
    total: int | None
    batches: "Iterator[pa.RecordBatch]"


def kind(path: Path) -> str:
    """Return which kind of file a name stands for: ".csv" or ".parquet"."""
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
    """Open a file of which at most so many rows are held at a time.

    Raises
    ------
    ValueError
        If it is missing or cannot be read, now or later.
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
    """Refuse CSV whose names are separated by something else than commas."""
    with contextlib.suppress(OSError, EOFError, csv.Error), _text(path) as file:
        names = next(csv.reader(file), [])
        for mark in ";\t|":
            if len(names) == 1 and mark in names[0]:
                raise ValueError(
                    f"the columns of {path} are separated by {mark!r}, expected commas: pandas "
                    f"reads it with sep={mark!r}"
                )


def _text(path: Path) -> Any:
    """Open a CSV file as text, packed or not."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, "rt", encoding="utf-8", errors="replace", newline="")


def _closed(path: Path, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Yield the batches of CSV; refuse a last cell that is quoted and never ends.

    Such a cell holds all lines that should have followed.
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
    """Say of a file that cannot be read which one it is, and what was expected."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        expected = "Parquet" if kind(path) == ".parquet" else "CSV with commas, in UTF-8"
        hint = f"; {LATIN}" if "UTF8" in str(error) or isinstance(error, UnicodeError) else ""
        # The names are the first row of Arrow's.
        said = re.sub(r"Row #(\d+)", lambda row: row_of(path, int(row[1]) - 2), str(error))
        raise ValueError(f"{path} cannot be read as {expected}: {said}{hint}") from error


def _parts(path: Path, batches: Any, rows: int) -> "Iterator[pa.RecordBatch]":
    """Yield batches of at most so many rows, and none that is empty."""
    batches = iter(batches)
    while True:
        with _readable(path):
            batch = next(batches, None)
        if batch is None:
            return
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def row_of(path: Path, row: int) -> str:
    """Name a row of a file, counted from 0: in CSV by its line, as editors count them."""
    if kind(path) == ".parquet":
        return f"row {row} of {path.name}, counted from 0"
    with _text(path) as file:
        lines, begins, passed = csv.reader(file), 1, -1  # the names are no row
        try:
            for cells in lines:
                if cells and passed == row:
                    break
                passed += bool(cells)  # nor is an empty line
                begins = lines.line_num + 1
        except csv.Error:  # a cell that is too long for the standard library
            return f"row {row} of {path.name}, counted from 0"
    return f"line {begins} of {path.name}"


def locator(
    schema: "pa.Schema", lon: str | None = None, lat: str | None = None
) -> tuple[tuple[str, ...], "Callable[[pa.RecordBatch, Faults], Array]"]:
    """Find where the places of a file are: the columns, and what reads the places of a batch.

    The points of GeoParquet count before columns, as those of a GeoDataFrame do.
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
    """Return what reads the points of GeoParquet."""
    if column.get("encoding") != "WKB":
        raise ValueError(
            f"the geometry {name!r} is stored as {column.get('encoding')}, expected WKB: write the "
            "file with GeoPandas' to_parquet, or name columns with lon= and lat="
        )
    crs = column.get("crs", "OGC:CRS84")  # as the format says; null where it is unknown

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
    """Give what writes batches with their embeddings to Parquet; some columns become degrees."""
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
    """Give what writes batches with their embeddings to CSV, quoted where it has to be."""
    import pyarrow as pa
    import pyarrow.csv as pc

    for field in schema:
        if pa.types.is_nested(field.type) or "binary" in str(field.type):
            raise ValueError(
                f"column {field.name!r} of type {field.type} does not fit into CSV: write Parquet"
            )
    lines: list[str] = []
    # Cells are quoted that hold a character of the terminator, which is cut off again.
    rows = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    with pa.output_stream(part, compression=compression) as file:
        rows.writerow([*schema.names, *names])
        file.write((lines.pop()[:-2] + "\n").encode())

        def write(batch: "pa.RecordBatch", places: Array, z: Features) -> None:
            # pyarrow quotes all text but writes numbers fast; the standard library does neither.
            numbers = pa.BufferOutputStream()
            cells = [pa.array(column, from_pandas=True) for column in z.T]  # NaN is an empty cell
            table = pa.table(cells, names=[str(i) for i in range(len(cells))])
            pc.write_csv(table, numbers, pc.WriteOptions(include_header=False))
            rows.writerows(zip(*(column.to_pylist() for column in batch.columns)))
            embedded = numbers.getvalue().to_pybytes().decode().splitlines()
            file.write("".join(f"{a[:-2]},{b}\n" for a, b in zip(lines, embedded)).encode())
            lines.clear()

        yield write
