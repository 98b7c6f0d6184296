"""Files of tables, a part at a time."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earthtie_lite.interfaces.tablefiles import kind, locator, open_rows, row_of

either = pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])


def write(path, text, encoding="utf-8"):
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(path, rows=2):
    opened = open_rows(path, rows)
    return [list(row.values()) for batch in opened.batches for row in batch.to_pylist()]


def test_the_suffix_gives_the_kind():
    names = ("a.csv", "A.CSV.GZ", "b.parquet", "a.b.Parquet")
    assert [kind(Path(name)) for name in names] == [".csv", ".csv", ".parquet", ".parquet"]
    for name in ("a.xlsx", "a", "csv", "a.parquet.gz", "a.csv.zip"):
        with pytest.raises(ValueError, match=r"ends in \.csv, \.csv\.gz or \.parquet, got"):
            kind(Path(name))


@either
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_cells_of_csv_stay_text_as_they_are(tmp_path, name, encoding):
    text = 'id,country,note\r\n007,NA,"a, ""b""\nc"\r\n1e3,,nan\r\n'
    path = write(tmp_path / name, text, encoding)
    assert rows_of(path) == [["007", "NA", 'a, "b"\nc'], ["1e3", None, "nan"]]
    assert open_rows(path, 1).schema.names == ["id", "country", "note"]


NUMBERS = gzip.compress("".join(f"{i * 7919}\n" for i in range(5000)).encode())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv cannot be read as CSV with commas, in UTF-8: Empty CSV"),
        ("a.csv", b"a,b\n1,2\n3\n", r"CSV.*line 3 of a\.csv: Expected 2 columns, got 1"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", r"Expected 2 columns, got 3: 3,4,5"),
        ("a.csv", "a\nZürich\n".encode("latin-1"), r"in UTF-8.*iconv -f LATIN1"),
        ("a.csv", "Länge,lat\n1,2\n".encode("latin-1"), r"in UTF-8: .*iconv -f LATIN1"),
        ("a.csv", b'n,m\n0,"a\nb"\n1,"c\n2,d\n', r"opens in line 4 of a\.csv.* never closed"),
        *(("a.csv", b"lon%blat\n" % m, "expected commas: pandas") for m in (b";", b"\t", b"|")),
        ("a.csv.gz", b"a,b\n1,2\n", r"a.csv.gz cannot be read as CSV"),
        ("a.csv.gz", NUMBERS[:-2000], r"a\.csv\.gz cannot be read as CSV"),
        ("a.parquet", b"a,b\n1,2\n", r"a.parquet cannot be read as Parquet"),
        ("other.csv", b"", r"there is no file .*a\.csv"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path / name.replace("other", "a"))


@either
def test_a_row_is_named_by_its_line(tmp_path, name):
    path = write(tmp_path / name, 'n,note\n0,"a\nb"\n\n1,\n"2","c"\n3,d\n4,"e\n\n"\n\n')
    assert [row[0] for row in rows_of(path)] == list("01234")
    lines = [f"line {line} of {name}" for line in (2, 5, 6, 7, 8)]
    assert [row_of(path, row) for row in range(5)] == lines


def test_a_row_after_a_very_long_cell_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "a.csv", f"n,note\n0,{'x' * 200_000}\n1,b\n")
    assert row_of(path, 1) == "row 1 of a.csv, counted from 0"


def test_geometry_that_is_not_wkb_is_refused():
    described = b'{"primary_column": "geometry", "columns": {"geometry": {"encoding": "point"}}}'
    schema = pa.schema([("geometry", pa.binary())], metadata={b"geo": described})
    with pytest.raises(ValueError, match=r"'geometry' is stored as point, expected WKB"):
        locator(schema)


def test_compressed_columns_and_empty_row_groups_are_read(tmp_path):
    schema = pa.schema([("n", pa.int64())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd") as file:
        for part in ([], [1, 2], [], [3]):
            file.write_table(pa.table({"n": pa.array(part, pa.int64())}))
    assert rows_of(tmp_path / "a.parquet") == [[1], [2], [3]]
