"""Files of tables, a part at a time."""

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earthtie_lite.interfaces.tablefiles import kind, locator, open_rows, row_of


def write(path, text, encoding="utf-8"):
    """Write text, packed where the name says so."""
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(path, rows=2):
    """Return the rows of a file as lists."""
    opened = open_rows(path, rows)
    return [list(row.values()) for batch in opened.batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", ".csv"),
        ("A.CSV.GZ", ".csv"),
        ("b.parquet", ".parquet"),
        ("a.b.Parquet", ".parquet"),
    ],
)
def test_a_kind_is_told_by_the_name(name, expected):
    assert kind(Path(name)) == expected


@pytest.mark.parametrize("name", ["a.xlsx", "a", "csv", "a.parquet.gz", "a.csv.zip"])
def test_other_kinds_are_refused(name):
    with pytest.raises(ValueError, match=r"ends in \.csv, \.csv\.gz or \.parquet, got"):
        kind(Path(name))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_cells_of_csv_stay_text_as_they_are(tmp_path, name):
    text = 'id,country,note\r\n007,NA,"a, ""b""\nc"\r\n1e3,,nan\r\n'
    path = write(tmp_path / name, text)
    assert rows_of(path) == [["007", "NA", 'a, "b"\nc'], ["1e3", None, "nan"]]
    assert open_rows(path, 1).total is None


def test_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path):
    path = write(tmp_path / "a.csv", "lon,lat\n1,2\n", "utf-8-sig")
    assert open_rows(path, 1).schema.names == ["lon", "lat"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_no_batch_is_larger_than_asked_for(tmp_path, name):
    frame = pd.DataFrame({"n": [str(i) for i in range(25)]})
    if name == "a.csv":
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)
    batches = list(open_rows(tmp_path / name, 10).batches)
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    assert pa.Table.from_batches(batches)["n"].to_pylist() == frame["n"].tolist()


def test_the_rows_of_parquet_are_known(tmp_path):
    pd.DataFrame({"n": range(25)}).to_parquet(tmp_path / "a.parquet")
    assert open_rows(tmp_path / "a.parquet", 10).total == 25


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv cannot be read as CSV with commas, in UTF-8: Empty CSV"),
        (
            "a.csv",
            b"a,b\n1,2\n3\n",
            r"cannot be read as CSV.*line 3 of a\.csv: Expected 2 columns, got 1",
        ),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", r"Expected 2 columns, got 3: 3,4,5"),
        (
            "a.csv",
            "a\nZürich\n".encode("latin-1"),
            r"as CSV with commas, in UTF-8.*iconv -f LATIN1",
        ),
        ("a.csv.gz", b"a,b\n1,2\n", r"a.csv.gz cannot be read as CSV"),
        ("a.parquet", b"a,b\n1,2\n", r"a.parquet cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_row_is_named_by_its_line(tmp_path, name):
    path = write(tmp_path / name, 'n,note\n0,"a\nb"\n\n1,\n"2","c"\n3,d')
    assert [row[0] for row in rows_of(path)] == ["0", "1", "2", "3"]
    assert [row_of(path, row) for row in range(4)] == [
        f"line {line} of {name}" for line in (2, 5, 6, 7)
    ]


def test_a_row_after_a_very_long_cell_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "a.csv", f"n,note\n0,{'x' * 200_000}\n1,b\n")
    assert row_of(path, 1) == "row 1 of a.csv, counted from 0"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_quote_that_never_ends_is_refused(tmp_path, name):
    path = write(tmp_path / name, 'n,note\n0,"a\nb"\n1,"c\n2,d\n3,e\n')
    with pytest.raises(ValueError, match=r"a quote that opens in line 4 of a\.csv.* never closed"):
        rows_of(path)
    write(path, 'n,note\n0,a\n1,"b\n\n"\n\n')
    assert rows_of(path)[-1] == ["1", "b\n\n"]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_named(tmp_path, mark):
    path = write(tmp_path / "a.csv", f"lon{mark}lat\n13,4{mark}52,5\n")
    with pytest.raises(ValueError, match="expected commas: pandas reads it with sep="):
        open_rows(path, 1)


def test_a_header_in_another_encoding_says_so(tmp_path):
    (tmp_path / "a.csv").write_bytes("L\u00e4nge,lat\n1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"in UTF-8: .*iconv -f LATIN1"):
        open_rows(tmp_path / "a.csv", 1)


def test_a_file_cut_short_says_so(tmp_path):
    path = write(tmp_path / "a.csv.gz", "a\n" + "".join(f"{i * 7919}\n" for i in range(5000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"a\.csv\.gz cannot be read as CSV"):
        rows_of(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*gone\.csv"):
        open_rows(tmp_path / "gone.csv", 10)


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
