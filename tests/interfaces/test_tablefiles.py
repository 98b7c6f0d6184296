"""Files of tables, a part at a time: text as people write it, Parquet, vector formats, Excel."""

import gzip
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import Waves

from earthtie_lite.interfaces.tablefiles import kind, open_rows
from earthtie_lite.interfaces.tables import embed_file

either = pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
LONLAT = np.array([[13.4, 52.5], [-60.0, -3.1], [151.2, -33.9]])


def write(path, text, encoding="utf-8"):
    data = text if isinstance(text, bytes) else text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(path, rows=2, **columns):
    """Return the cells of a file, row by row."""
    opened = open_rows(path, rows, **columns)
    return [list(row.values()) for batch, _ in opened.parts for row in batch.to_pylist()]


def test_the_name_gives_the_kind(tmp_path):
    kinds = {"text": ("a.csv", "A.CSV.GZ", "b.tsv", "occurrence.txt"), "Excel": ("a.xlsx",)}
    kinds |= {"Parquet": ("a.b.Parquet",), "a vector format": ("a.gpkg", "a.geojson", "a.shp")}
    for found, names in kinds.items():
        assert [kind(Path(name)) for name in names] == [found] * len(names)
    assert kind(tmp_path) == "Parquet"
    for name in ("a.docx", "a", "csv", "a.parquet.gz", "a.csv.zip"):
        with pytest.raises(ValueError, match=r"ends in one of \.csv, .*\.parquet.*, got"):
            kind(Path(name))


@either
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_cells_of_text_stay_text_as_they_are(tmp_path, name, encoding):
    text = 'id,country,lon,lat,note\r\n007,NA,1,2,"a ""b""\nc"\r\n1e3,,3,4,nan\r\n ü ,x,5,6, y\r\n'
    path = write(tmp_path / name, text, encoding)
    expected = [["007", "NA", "1", "2", 'a "b"\nc'], ["1e3", None, "3", "4", "nan"]]
    assert rows_of(path) == [*expected, [" ü ", "x", "5", "6", " y"]]
    assert open_rows(path, 1).schema.names == ["id", "country", "lon", "lat", "note"]


SEPARATED = {  # text, rows
    "commas": ("lon,lat,n\n1,2,a;b\n", ["1", "2", "a;b"]),
    "semicolons": ("lon;lat;n\n1;2;a,b\n", ["1", "2", "a,b"]),
    "tabs": ("lon\tlat\tn\n1\t2\ta, b\n", ["1", "2", "a, b"]),
    "bars": ("lon|lat|n\n1|2|a,b;c\n", ["1", "2", "a,b;c"]),
    "a comma in the names": ("name, full;lon;lat\na, b;1;2\n", ["a, b", "1", "2"]),
    "a comma in the names, tabs": ("name, full\tlon\tlat\na, b\t1\t2\n", ["a, b", "1", "2"]),
    "a line that says so": ("sep=;\nlon;lat\n1;2\n", ["1", "2"]),
    "one column": ("wkt\nPOINT (1 2)\n", ["POINT (1 2)"]),
    "quotes between tabs": ('n\tlon\tlat\n5" pipe\t1\t2\n', ['5" pipe', "1", "2"]),
    "quoted tabs": ('n\tlon\tlat\n"a\tb ""c"""\t1\t2\n', ['a\tb "c"', "1", "2"]),
    "old line ends": ("lon,lat\r1,2\r", ["1", "2"]),
    "no last line end": ("lon,lat\n1,2", ["1", "2"]),
}


@pytest.mark.parametrize("case", SEPARATED)
def test_every_separator_is_recognised(tmp_path, case):
    text, expected = SEPARATED[case]
    assert rows_of(write(tmp_path / "a.csv", text)) == [expected]


def test_a_file_without_names_has_numbered_columns(tmp_path):
    path = write(tmp_path / "a.txt", "Berlin\t13.4\t52.5\nCairo\t31.2\t30\n")
    with pytest.warns(UserWarning, match="no names: the columns are called c1 to c3"):
        assert embed_file(path, tmp_path / "t.csv", Waves(1), lon="c2", lat="c3") == 2
    assert pd.read_csv(tmp_path / "t.csv")["c1"].tolist() == ["Berlin", "Cairo"]
    for named in ({}, {"lon": "13.4", "lat": "52.5"}):  # else the first place is lost
        with (
            pytest.raises(ValueError, match=r"columns.* \['c1', 'c2', 'c3'\]"),
            pytest.warns(UserWarning, match="no names"),
        ):
            embed_file(path, tmp_path / "u.csv", Waves(1), **named)


SWALLOWING = {  # rows of which a reader that trusts quotes makes fewer, or other cells
    "two stray quotes": 'name,lon,lat\n"Ile de l Union,-61.4,12.6\nBerlin,1,2\n"Caiza D,3,4\n',
    "a quote that never closes": 'name,lon,lat\nA,1,2\n"B,3,4\nC,5,6\n',
    "a quote in a bare cell": 'name,lon,lat\nA,1,2\n5" x 3" pipe,3,4\n',
    "backslashes": 'name,lon,lat\nA,1,2\n"say \\"hi\\" ok",3,4\n',
    "text after a quote": 'name,lon,lat\nA,1,2\n"B" C,3,4\n',
    "a blank before a quote": 'name,lon,lat\nA,1,2\n "B, C",3,4\n',
    "a short row": "name,lon,lat\nA,1,2\nB,3\n",
    "a long row": "name,lon,lat\nA,1,2\nB,3,4,5\n",
    "a short row, quoted": 'name,lon,lat\nA,1,2\n"B",3\n',
}


@pytest.mark.parametrize("case", SWALLOWING)
def test_rows_are_never_swallowed_without_a_word(tmp_path, case):
    line = 2 if case == "two stray quotes" else 3
    with pytest.raises(ValueError, match=rf"^a\.csv: .*line {line}\b"):
        rows_of(write(tmp_path / "a.csv", SWALLOWING[case]))


def test_a_cell_that_may_hold_rows_is_reported(tmp_path):
    path = write(tmp_path / "a.csv", 'name,lon,lat\nZ,0,9\n"A,1,2\nB,3,4\nC",5,6\n"x\ny",7,8\n')
    with pytest.warns(UserWarning, match="1 cells hold line breaks and separators.* line 3"):
        assert len(rows_of(path)) == 3


UNREADABLE = [
    ("a.csv", b"", "^a.csv: it is empty"),
    ("a.csv", b"\n\n", "^a.csv: it is empty"),
    ("a.csv", "lon,lat\nZürich,2\n".encode("latin-1"), r"as text: 'utf-8'.*iconv -f LATIN1"),
    ("a.csv", "Länge,lat\n1,2\n".encode("latin-1"), r"as text: 'utf-8'.*iconv -f LATIN1"),
    ("a.csv", b"PK\3\4", "a.csv: it is a zip archive"),
    ("a.csv", b'lon,lat,n\n1,2,"' + b"x\n" * 2**17 + b'"\n', "line 2 is never closed"),
    ("a.csv.gz", None, r"a\.csv\.gz cannot be read as text: Compressed file ended"),
    ("a.parquet", b"a,b\n1,2\n", r"a\.parquet cannot be read as Parquet"),
    ("a.xlsx", b"a,b\n1,2\n", r"^a\.xlsx"),
    ("a.gpkg", b"a,b\n1,2\n", r"a\.gpkg cannot be read as a vector format"),
    ("a.geojson", b'{"type": "Feat', r"a\.geojson cannot be read as a vector format"),
    ("other.csv", b"", r"there is no file .*a\.csv"),
]


@pytest.mark.parametrize(("name", "content", "message"), UNREADABLE)
def test_unreadable_files_are_refused(tmp_path, name, content, message):
    if content is None:
        numbers = "".join(f"{i * 7919},2\n" for i in range(9000))
        content = gzip.compress(f"lon,lat\n{numbers}".encode())[:-2000]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path / name.replace("other", "a"))


@either
def test_a_row_is_named_by_its_line(tmp_path, name):
    text = 'n,lon\n0,"a\nb"\n\n1,\n"2","c"\n3,d\n4,"e\n\n"\n\n'
    opened = open_rows(write(tmp_path / name, text), 2)
    assert [line for _, lines in opened.parts for line in lines] == [2, 5, 6, 7, 8]
    assert [row[0] for row in rows_of(tmp_path / name)] == list("01234")
    plain = "lon,lat\n" + "".join(f"{i},{i}\n" for i in range(50)) + "bad,0\n"
    with pytest.raises(ValueError, match="got 'bad' in line 52"):
        embed_file(write(tmp_path / name, plain), tmp_path / "t.csv", Waves(), rows=7)


def test_damaged_geometry_is_refused(tmp_path):
    described = b'{"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}'
    schema = pa.schema([("geometry", pa.binary())], metadata={b"geo": described})
    pq.write_table(pa.table({"geometry": [b"x"]}, schema), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"^a.parquet: the geometry cannot be read"):
        embed_file(tmp_path / "a.parquet", tmp_path / "t.parquet", Waves())


def test_points_in_the_encoding_of_geoarrow_are_read(tmp_path):
    points(3857).to_parquet(tmp_path / "a.parquet", geometry_encoding="geoarrow")
    assert embed_file(tmp_path / "a.parquet", tmp_path / "t.parquet", Waves()) == 3
    np.testing.assert_allclose(
        pd.read_parquet(tmp_path / "t.parquet").filter(regex="^e0"),
        Waves().embed(LONLAT),
        atol=1e-6,
    )


def test_compressed_columns_and_empty_row_groups_are_read(tmp_path):
    schema = pa.schema([("n", pa.int64())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd") as file:
        for part in ([], [1, 2], [], [3]):
            file.write_table(pa.table({"n": pa.array(part, pa.int64())}))
    assert rows_of(tmp_path / "a.parquet") == [[1], [2], [3]]


def points(crs=4326):
    geometry = gpd.points_from_xy(*LONLAT.T, crs=4326).to_crs(crs)
    return gpd.GeoDataFrame({"id": ["007", "NA", ""], "n": [1, 2, 3]}, geometry=geometry)


VECTOR = {"a.gpkg": 3857, "a.geojson": 4326, "a.shp": 32633, "a.fgb": 3857, "a.kml": 4326}


@pytest.mark.parametrize("name", VECTOR)
def test_vector_files_are_read_in_parts_and_become_geoparquet(tmp_path, name):
    crs = VECTOR[name]
    driver = {"driver": "KML"} if name == "a.kml" else {}
    points(crs).to_file(tmp_path / name, **driver)
    calls = []
    embed_file(
        tmp_path / name,
        tmp_path / "t.parquet",
        Waves(),
        rows=2,
        progress=lambda *at: calls.append(at),
    )
    assert calls == [(2, 3), (3, 3)]
    got = gpd.read_parquet(tmp_path / "t.parquet")
    got = got.iloc[got.geometry.x.argsort()[[1, 0, 2]]]  # FlatGeobuf has an order of its own
    assert got.crs == crs
    np.testing.assert_allclose(got.to_crs(4326).get_coordinates(), LONLAT, atol=1e-6)
    np.testing.assert_allclose(got.filter(regex="^e0"), Waves().embed(LONLAT), atol=1e-6)


def test_of_several_layers_the_one_of_points_is_read(tmp_path):
    path = tmp_path / "a.gpkg"
    frame = points(3857)
    frame.set_geometry(frame.buffer(9)).to_file(path, layer="areas")
    with pytest.raises(ValueError, match="expected points, got a Polygon in row 0"):
        embed_file(path, tmp_path / "t.parquet", Waves())
    frame.to_file(path, layer="points")
    assert embed_file(path, tmp_path / "t.parquet", Waves()) == 3
    frame.to_file(path, layer="more")
    with pytest.raises(
        ValueError, match=r"a\.gpkg: expected one layer, found \['points', 'more'\]"
    ):
        embed_file(path, tmp_path / "t.parquet", Waves(), overwrite=True)


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    for year in (2020, 2021):
        (tmp_path / f"parts/year={year}").mkdir(parents=True)
        points().to_parquet(tmp_path / f"parts/year={year}/a.parquet")
    assert embed_file(tmp_path / "parts", tmp_path / "t.parquet", Waves(), rows=2) == 6
    got = gpd.read_parquet(tmp_path / "t.parquet")
    assert got["year"].tolist() == [2020] * 3 + [2021] * 3
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none: the folder has no Parquet files"):
        embed_file(tmp_path / "none", tmp_path / "u.parquet", Waves())


def test_a_workbook_is_read_as_text_with_its_rows(tmp_path):
    frame = pd.DataFrame({"id": ["007", "NA", None], "lon": [1, 2.5, 3], "lat": [4, 5, "x"]})
    with pd.ExcelWriter(tmp_path / "a.xlsx") as book:
        frame.to_excel(book, index=False)
        frame.to_excel(book, sheet_name="more", index=False)
    with (
        pytest.warns(UserWarning, match=r"only the first of the sheets \['Sheet1', 'more'\]"),
        pytest.raises(ValueError, match="got 'x' in line 4"),
    ):
        embed_file(tmp_path / "a.xlsx", tmp_path / "t.parquet", Waves())
    frame.iloc[:2].to_excel(tmp_path / "a.xlsx", index=False)
    embed_file(tmp_path / "a.xlsx", tmp_path / "t.parquet", Waves(1))
    got = pd.read_parquet(tmp_path / "t.parquet").drop(columns="e000").to_numpy().tolist()
    assert got == [["007", 1.0, 4.0], ["NA", 2.5, 5.0]]


# ---------------------------------------------------------------------------------- round trips


TARGETS = ("t.parquet", "t.csv")


def odd():
    """Return tables whose columns are hard to write, by what is odd about them."""
    frame = pd.DataFrame({"lon": LONLAT[:, 0], "lat": LONLAT[:, 1], "v": [1.5, np.nan, 3.0]})
    return {
        "plain": frame,
        "an index": frame.set_index(pd.Index(["x", "y", "z"], name="key")),
        "an index of two levels": frame.set_index(pd.MultiIndex.from_product([["a"], [1, 2, 3]])),
        "integer names": frame.rename(columns={"v": 7}).rename(columns=str),
        "categorical names": frame.set_axis(pd.CategoricalIndex(["lon", "lat", "v"]), axis=1),
        "names of two levels": frame.set_axis(
            pd.MultiIndex.from_tuples([("c", "lon"), ("c", "lat"), ("d", "v")]), axis=1
        ),
        "a name for the columns": frame.rename_axis(columns="what"),
        "text": frame.assign(t=["NA", 'a "b", c', "two\nlines"], e=["", None, " x "]),
        "types": frame.assign(
            when=pd.date_range("2020", periods=3, tz="UTC"),
            kind=pd.Categorical(list("aba")),
            count=pd.array([1, None, 3], "Int64"),
            flag=[True, False, True],
        ),
        "geometry": points().assign(v=[1.5, np.nan, 3.0]),
        "an empty name": frame.assign(**{"": 1, "a,b": 2, 'q"': 3}),
    }


WAYS = [(case, s, t) for case in odd() for s in ("s.parquet", "s.csv") for t in TARGETS]
WAYS.remove(("geometry", "s.parquet", "t.csv"))  # refused: test_tables


@pytest.mark.parametrize(("case", "source", "target"), WAYS)
def test_what_is_written_is_read_back(tmp_path, case, source, target):
    frame, path, made = odd()[case], tmp_path / source, tmp_path / target
    if source == "s.parquet":
        frame.to_parquet(path)
    else:
        text = frame.set_axis(list(map(str, frame.columns)), axis=1)
        text.to_csv(path, index_label=["i", "j"][: frame.index.nlevels])
    assert embed_file(path, made, Waves(2)) == 3
    got = pd.read_parquet(made) if target == "t.parquet" else pd.read_csv(made, dtype=str)
    assert len(got) == 3
    expected = Waves(2).embed(LONLAT)
    np.testing.assert_allclose(got[["e000", "e001"]].astype(float), expected, atol=1e-6)
    other = pl.read_parquet(made) if target == "t.parquet" else pl.read_csv(made.read_bytes())
    assert other.height == 3
    if case == "geometry" and source == "s.parquet":
        assert gpd.read_parquet(made).geometry.equals(frame.geometry)
    again = tmp_path / "again.parquet"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # polars and we name an empty name differently
        assert embed_file(made, again, Waves(2), prefix="z") == 3
    np.testing.assert_allclose(pd.read_parquet(again)[["z000", "z001"]], expected, atol=1e-6)
