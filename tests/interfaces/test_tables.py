"""Embeddings for tables in memory and in files, and the places most alike."""

import gzip
import os

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fakes import Waves

import earthtie_lite as et
from earthtie_lite.coords import great_circle_km, sample_sphere
from earthtie_lite.interfaces import tables
from earthtie_lite.interfaces.tables import as_model, column_names, embed_file, embed_table, nearest

E4 = ["e000", "e001", "e002", "e003"]


def cities(n=7):
    """Return a table of places with what is easily lost: leading zeros, NA, quotes, empty cells."""
    lonlat = np.round(sample_sphere(n, np.random.default_rng(0)), 3)
    odd = ['say "a, b"', "NA", "", "two\nlines", "nan", "Zürich", "plain"]
    return pd.DataFrame(
        {
            "id": [f"{i:03d}" for i in range(n)],
            "Lat": lonlat[:, 1],
            "note": [odd[i % len(odd)] for i in range(n)],
            "Lon": lonlat[:, 0],
        }
    )


def embedding(frame, width=4):
    """Return what the table's places are embedded as."""
    return Waves(width).embed(frame[["Lon", "Lat"]].to_numpy())


def test_the_embedding_is_joined_and_the_rest_kept():
    frame = cities().set_index(pd.Index([5, 3, 5, 1, 0, 0, 9]))  # labels repeat
    before = frame.copy()
    got = embed_table(frame, Waves())
    assert list(got) == [*frame, *E4]
    pd.testing.assert_frame_equal(got[list(frame)], before)
    pd.testing.assert_frame_equal(frame, before)
    np.testing.assert_array_equal(got[E4].to_numpy(), embedding(frame))
    assert (got[E4].dtypes == np.float32).all()


def test_a_prefix_can_be_chosen_and_a_taken_name_is_refused():
    twice = embed_table(embed_table(cities(), Waves()), Waves(), prefix="z")
    assert list(twice)[-2:] == ["z002", "z003"]
    with pytest.raises(ValueError, match=r"has columns \['e000', 'e001', 'e002'\].*prefix="):
        embed_table(twice, Waves())


def test_a_geodataframe_stays_one():
    points = gpd.points_from_xy([13.4, -60], [52.5, -3.1], crs=4326)
    frame = gpd.GeoDataFrame({"n": [1, 2]}, geometry=points).to_crs(3857).rename_geometry("where")
    got = embed_table(frame, Waves())
    assert isinstance(got, gpd.GeoDataFrame)
    assert got.geometry.name == "where"
    assert got.crs == frame.crs
    np.testing.assert_allclose(got[E4], Waves().embed([[13.4, 52.5], [-60, -3.1]]), atol=1e-6)


def test_points_and_arrays_become_tables():
    points = gpd.GeoSeries(gpd.points_from_xy([13.4], [52.5], crs=4326), index=["Berlin"])
    got = embed_table(points, Waves())
    assert isinstance(got, gpd.GeoDataFrame)
    assert list(got) == ["geometry", *E4]
    assert got.index.tolist() == ["Berlin"]
    assert list(embed_table([[13.4, 52.5]], Waves())) == ["lon", "lat", *E4]


def test_a_model_is_taken_by_name_or_as_it_is():
    places = [[13.4, 52.5], [-60.0, -3.1]]
    by_name = embed_table(places, "satellite").filter(regex=r"^e\d+$")
    assert by_name.shape == (2, 256)
    np.testing.assert_array_equal(by_name, et.load_pretrained("satellite").embed(places))
    np.testing.assert_array_equal(
        embed_table(places, et.load_pretrained("satellite")).iloc[:, 2:], by_name
    )


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="unknown model 'clip'"):
        as_model("clip")
    with pytest.raises(
        ValueError, match="must be a name, a folder or have a method embed, got int"
    ):
        as_model(3)
    run = type("Run", (), {"model": Waves()})()
    with pytest.raises(ValueError, match=r"got Run; pass its \.model"):
        as_model(run)


def test_a_model_that_returns_something_else_is_refused():
    class Flat(Waves):
        def embed(self, lonlat):
            return super().embed(lonlat)[:, 0]

    with pytest.raises(ValueError, match=r"must return \(1, D\) for that many places: \(1,\)"):
        embed_table([[0, 0]], Flat())


def test_more_than_a_thousand_columns_have_names():
    assert column_names(1001)[-2:] == ["e999", "e1000"]


def store(frame, path):
    """Write a table in the format that the name says."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("target", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize("source", ["s.csv", "s.csv.gz", "s.parquet"])
def test_every_format_becomes_every_format(tmp_path, source, target):
    frame = cities()
    calls, model = [], Waves()
    path = tmp_path / "new" / target
    made = store(frame, tmp_path / source)
    assert embed_file(made, path, model, rows=3, progress=lambda *at: calls.append(at)) == 7
    total = 7 if source == "s.parquet" else None
    assert calls == [(3, total), (6, total), (7, total)]
    assert model.calls == [1, 3, 3, 1]  # one for the width
    if target == "t.parquet":
        got = pd.read_parquet(path)
    else:
        got = pd.read_csv(path, dtype={"id": str}, keep_default_na=False)
    assert got["id"].tolist() == frame["id"].tolist()
    note = frame["note"].tolist()
    if target == "t.parquet" and source != "s.parquet":
        note = [cell or None for cell in note]  # an empty cell of CSV is nothing
    assert [cell if isinstance(cell, str) else None for cell in got["note"]] == note
    assert (got[["Lat", "Lon"]].dtypes == np.float64).all()
    np.testing.assert_array_equal(got[["Lat", "Lon"]], frame[["Lat", "Lon"]])
    assert list(got) == [*frame, *E4]
    np.testing.assert_array_equal(got[E4].astype(np.float32), embedding(frame))
    assert sorted(os.listdir(path.parent)) == [target]


def test_text_is_written_back_as_it_was(tmp_path):
    text = 'id,lon,lat,n\n007,13.40,52.50,"a,b"\n008,-60,-3.1,NA\n'
    (tmp_path / "s.csv").write_text(text)
    embed_file(tmp_path / "s.csv", tmp_path / "t.csv.gz", Waves(1))
    lines = gzip.decompress((tmp_path / "t.csv.gz").read_bytes()).decode().splitlines()
    assert lines[0] == "id,lon,lat,n,e000"
    assert [line.rsplit(",", 1)[0] for line in lines[1:]] == text.splitlines()[1:]


def test_the_kinds_of_parquet_columns_are_kept(tmp_path):
    frame = cities()
    frame["when"] = pd.date_range("2020-01-01", periods=7, tz="UTC")
    frame["kind"] = pd.Categorical(list("abcabca"))
    frame["count"] = pd.array([1, None, 3, 4, 5, 6, 7], dtype="Int64")
    frame["list"] = [[i, i] for i in range(7)]
    frame.index = pd.Index(list("tuvwxyz"), name="key")
    frame.to_parquet(tmp_path / "s.parquet")
    embed_file(tmp_path / "s.parquet", tmp_path / "t.parquet", Waves(), rows=2)
    got = pd.read_parquet(tmp_path / "t.parquet")
    read = pd.read_parquet(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(got[list(frame)], read)
    np.testing.assert_array_equal(got[E4], embedding(frame))


def geoparquet(path, crs=3857):
    """Write points, beside columns that only look like their places."""
    frame = cities()
    points = gpd.points_from_xy(frame["Lon"], frame["Lat"], crs=4326).to_crs(crs)
    gpd.GeoDataFrame(frame.assign(Lon=0.0, Lat=0.0), geometry=points).to_parquet(path)
    return frame


@pytest.mark.parametrize("crs", [3857, "OGC:CRS84"])
def test_geoparquet_stays_geoparquet(tmp_path, crs):
    frame = geoparquet(tmp_path / "s.parquet", crs)
    assert embed_file(tmp_path / "s.parquet", tmp_path / "t.parquet", Waves(), rows=3) == 7
    got = gpd.read_parquet(tmp_path / "t.parquet")
    assert got.crs == crs
    assert got.geometry.equals(gpd.read_parquet(tmp_path / "s.parquet").geometry)
    np.testing.assert_allclose(got[E4], embedding(frame), atol=1e-6)


def test_named_columns_count_before_the_geometry_of_geoparquet(tmp_path):
    geoparquet(tmp_path / "s.parquet")
    embed_file(tmp_path / "s.parquet", tmp_path / "t.parquet", Waves(), lon="Lon", lat="Lat")
    got = pd.read_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(got[E4], Waves().embed(np.zeros((7, 2))))


def test_points_without_a_crs_are_refused_in_geoparquet(tmp_path):
    points = gpd.GeoSeries(gpd.points_from_xy([1.0], [2.0]))
    gpd.GeoDataFrame(geometry=points).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(ValueError, match="the geometry has no CRS"):
        embed_file(tmp_path / "s.parquet", tmp_path / "t.parquet", Waves())


def test_csv_holds_no_geometry(tmp_path):
    geoparquet(tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"column 'geometry' of type .*binary.* write Parquet"):
        embed_file(tmp_path / "s.parquet", tmp_path / "t.csv", Waves())
    assert os.listdir(tmp_path) == ["s.parquet"]


@pytest.mark.parametrize(
    ("name", "row"),
    [("s.csv", "line 17 of s.csv"), ("s.parquet", "row 13 of s.parquet, counted from 0")],
)
def test_an_error_names_the_row_of_the_file_and_writes_nothing(tmp_path, name, row):
    frame = cities(20)
    frame.loc[13, "Lat"] = np.nan
    source = store(frame, tmp_path / name)
    (tmp_path / "t.parquet").write_text("old")
    with pytest.raises(ValueError, match=rf"latitude is missing .* in {row}"):
        embed_file(source, tmp_path / "t.parquet", Waves(), rows=5, overwrite=True)
    frame.loc[13, "Lat"] = 93.0
    source = store(frame, tmp_path / name)
    with pytest.raises(ValueError, match=rf"got 93 in {row}; is the order"):
        embed_file(source, tmp_path / "t.parquet", Waves(), rows=5, overwrite=True)
    assert (tmp_path / "t.parquet").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted([name, "t.parquet"])


def test_wrong_files_and_columns_are_refused_before_any_work(tmp_path):
    source = store(embed_table(cities(), Waves()), tmp_path / "s.csv")
    model = Waves()
    with pytest.raises(ValueError, match=r"has columns \['e000'.*choose another prefix="):
        embed_file(source, tmp_path / "t.csv", model)
    with pytest.raises(ValueError, match="the target is the source"):
        embed_file(source, tmp_path / "s.csv", model)
    with pytest.raises(ValueError, match=r"ends in \.csv.*'t\.xlsx'"):
        embed_file(source, tmp_path / "t.xlsx", model)
    with pytest.raises(ValueError, match="rows must be an integer of at least 1, got 0"):
        embed_file(source, tmp_path / "t.csv", model, rows=0)
    store(cities().rename(columns={"Lat": "B", "Lon": "L"}), source)
    with pytest.raises(ValueError, match=r"found \[\]: name it with lon=.*\['id', 'B', 'note'"):
        embed_file(source, tmp_path / "t.csv", model)
    store(cities(), source)
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"t\.csv exists: .*overwrite=True"):
        embed_file(source, tmp_path / "t.csv", model)
    assert (tmp_path / "t.csv").read_text() == "mine"
    store(cities().rename(columns={"Lat": "B", "Lon": "L"}), source)
    assert set(model.calls) <= {1}
    assert embed_file(source, tmp_path / "t.csv", model, lon="L", lat="B", overwrite=True) == 7


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_file_without_rows_is_refused(tmp_path, name):
    source = store(cities().iloc[:0], tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} has no rows"):
        embed_file(source, tmp_path / "t.csv", Waves())
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_faults_are_counted_in_the_whole_file(tmp_path, name):
    frame = cities(20)
    frame.loc[[7, 13, 14], "Lat"] = [np.nan, 93.0, np.nan]
    source = store(frame, tmp_path / name)
    with pytest.raises(
        ValueError, match=r"3 of 20 rows are wrong, the first: .* in (line 10|row 7) of"
    ):
        embed_file(source, tmp_path / "t.csv", Waves(), rows=5)
    with pytest.raises(ValueError, match=r"got 93 in (line 17|row 13) of"):
        embed_file(source, tmp_path / "t.csv", Waves(), rows=5, missing="drop")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("target", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("source", ["s.csv", "s.parquet"])
def test_rows_without_a_place_are_left_out_or_kept_empty(tmp_path, source, target):
    frame = cities(20).assign(row=range(20))
    frame.loc[[0, 7, 13], ["Lat", "Lon"]] = [[np.nan, 1.0], [np.nan, np.nan], [3.0, np.nan]]
    known = ~frame.index.isin([0, 7, 13])
    path, read = tmp_path / target, pd.read_csv if target == "t.csv" else pd.read_parquet
    made = store(frame, tmp_path / source)
    with pytest.warns(UserWarning, match="3 of 20 rows are left out: they have no place"):
        assert embed_file(made, path, Waves(), rows=5, missing="drop") == 17
    assert read(path)["row"].astype(int).tolist() == np.flatnonzero(known).tolist()
    with pytest.warns(UserWarning, match="3 of 20 rows have no place and no embedding"):
        done = embed_file(made, path, Waves(), rows=5, missing="keep", overwrite=True, prefix="z")
    assert done == 20
    got = read(path)
    z = got.filter(regex=r"^z\d+$").to_numpy(dtype=float)
    assert np.isnan(z[~known]).all()
    np.testing.assert_allclose(z[known], embedding(frame[known]), atol=1e-6)
    assert got["Lon"][0] == 1.0


def test_a_part_without_any_place_is_no_fault(tmp_path):
    frame = cities(9)
    frame.loc[[0, 1], "Lat"] = np.nan
    source = store(frame, tmp_path / "s.csv")
    with pytest.warns(UserWarning, match="2 of 9 rows are left out"):
        assert embed_file(source, tmp_path / "t.csv", Waves(), rows=2, missing="drop") == 7


def test_doubts_are_counted_in_all_parts(tmp_path):
    frame = cities(9)
    frame.loc[[0, 5], ["Lon", "Lat"]] = 0.0
    source = store(frame, tmp_path / "s.csv")
    with pytest.warns(UserWarning, match="are at") as said:
        embed_file(source, tmp_path / "t.csv", Waves(), rows=3)
    assert [str(w.message)[:14] for w in said] == ["2 of 9 places "]


def test_polygons_are_named_by_their_row_in_the_file(tmp_path):
    points = gpd.GeoSeries(gpd.points_from_xy(range(9), range(9), crs=4326))
    points[7] = points[7].buffer(1)
    gpd.GeoDataFrame(geometry=points).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"got a Polygon in row 7 of s\.parquet"):
        embed_file(tmp_path / "s.parquet", tmp_path / "t.parquet", Waves(), rows=3)


def test_a_file_without_any_place_is_refused(tmp_path):
    source = store(cities().assign(Lat=np.nan), tmp_path / "s.csv")
    with pytest.raises(ValueError, match=r"none of the 7 rows of .*s\.csv has a place"):
        embed_file(source, tmp_path / "t.csv", Waves(), missing="keep")
    assert os.listdir(tmp_path) == ["s.csv"]


def test_rows_of_a_table_without_a_place():
    frame = cities()
    frame.loc[3, "Lon"] = np.nan
    with pytest.raises(ValueError, match=r"in row 3; .*missing='drop', or empty with missing='k"):
        embed_table(frame, Waves())
    with pytest.warns(UserWarning, match="1 of 7 rows are left out"):
        got = embed_table(frame, Waves(), missing="drop")
    assert got.index.tolist() == [0, 1, 2, 4, 5, 6]
    with pytest.warns(UserWarning, match="1 of 7 rows have no place"):
        got = embed_table(frame, Waves(), missing="keep")
    assert got[E4].isna().all(axis=1).tolist() == [row == 3 for row in range(7)]
    with pytest.warns(UserWarning, match="1 of 2 rows are left out"):
        got = embed_table([[np.nan, 1.0], [3.0, 4.0]], Waves(), missing="drop")
    assert got["lon"].tolist() == [3.0]
    with pytest.raises(ValueError, match=r"expected a table, got 'clean\.csv': read the file"):
        embed_table("clean.csv", Waves())
    with pytest.raises(ValueError, match="unknown missing 'no'"):
        embed_table(frame, Waves(), missing="no")


def test_swapped_columns_and_null_island_are_warned_of(tmp_path):
    lonlat = np.stack([np.linspace(-60, -45, 12), np.linspace(-15, -5, 12)], axis=1)  # Brazil
    frame = pd.DataFrame(lonlat[:, ::-1], columns=["lon", "lat"])
    with pytest.warns(UserWarning, match="of 12 places are probably swapped: .* swap lon and lat"):
        embed_table(frame, Waves())
    frame.to_csv(tmp_path / "s.csv", index=False)
    with pytest.warns(UserWarning, match="probably swapped"):
        embed_file(tmp_path / "s.csv", tmp_path / "t.csv", Waves())
    with pytest.warns(UserWarning, match=r"1 of 2 places are at \(0, 0\)"):
        embed_table([[0, 0], [20, 3]], Waves())


def test_parts_do_not_change_the_result(tmp_path):
    source = store(cities(500), tmp_path / "s.csv")
    for rows in (7, 1000):
        embed_file(source, tmp_path / f"{rows}.csv", Waves(), rows=rows)
    assert (tmp_path / "7.csv").read_bytes() == (tmp_path / "1000.csv").read_bytes()


def test_a_large_csv_is_read_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("earthtie_lite.interfaces.tablefiles.CSV_BLOCK", 2000)
    source = store(cities(500), tmp_path / "s.csv")
    model = Waves()
    assert embed_file(source, tmp_path / "t.parquet", model) == 500
    assert max(model.calls) < 100  # about 40 bytes a row
    assert pq.read_metadata(tmp_path / "t.parquet").num_rows == 500


def test_the_nearest_are_those_with_the_largest_cosine(monkeypatch):
    monkeypatch.setattr(tables, "SLICE", 64)
    lonlat = sample_sphere(1000, np.random.default_rng(1))
    place = (20.0, 10.0)
    model = Waves(12, turns=3.0)
    got = nearest(model, place, lonlat, k=25)
    assert max(model.calls) == 64
    z = Waves(12, turns=3.0).embed(np.concatenate([[place], lonlat])).astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosine = z[1:] @ z[0]
    np.testing.assert_allclose(got["similarity"], np.sort(cosine)[::-1][:25], atol=1e-6)
    np.testing.assert_allclose(cosine[got.index], got["similarity"], atol=1e-6)
    assert got["similarity"].is_monotonic_decreasing
    np.testing.assert_array_equal(got[["lon", "lat"]], lonlat[got.index])
    here = np.repeat([place], 25, axis=0)
    np.testing.assert_allclose(got["km"], great_circle_km(here, lonlat[got.index]))


def test_the_place_itself_is_found_and_ties_keep_their_order():
    frame = pd.DataFrame(
        {"name": ["a", "b", "c", "d"], "lon": [0, 9, 9, 0], "lat": [0, 9, 9, 0.0]},
        index=[4, 3, 2, 1],
    )
    got = nearest(Waves(), (9, 9), frame, k=10)
    assert got["name"].tolist() == ["b", "c", "a", "d"]
    assert got.index.tolist() == [3, 2, 4, 1]
    assert got["similarity"].iloc[0] == pytest.approx(1)
    assert got["similarity"].max() <= 1
    assert got["km"].iloc[0] == 0


def test_columns_and_geometry_of_the_places_are_kept():
    frame = gpd.GeoDataFrame(
        {"n": [1, 2]}, geometry=gpd.points_from_xy([13.4, -60], [52.5, -3.1], crs=4326)
    )
    got = nearest("satellite", (13.5, 52.4), frame, k=1)
    assert isinstance(got, gpd.GeoDataFrame)
    assert list(got) == ["n", "geometry", "similarity", "km"]
    assert got["n"].tolist() == [1]
    assert got["km"].iloc[0] == pytest.approx(13, abs=1)
    named = pd.DataFrame({"east": [1.0], "north": [2.0]})
    assert len(nearest(Waves(), (0, 0), named, lon="east", lat="north")) == 1


def test_doubts_about_the_places_are_warnings():
    with pytest.warns(UserWarning, match=r"1 of 2 places are at \(0, 0\)"):
        nearest(Waves(), (0, 10), [[0, 0], [0, 9]])


def test_wrong_questions_for_the_nearest_are_refused():
    with pytest.raises(ValueError, match="latitude must lie in"):
        nearest(Waves(), (52.5, 113.4), [[0, 0]])
    with pytest.raises(ValueError, match=r"must have shape \(N, 2\)"):
        nearest(Waves(), 13.4, [[0, 0]])
    for k in (0, 1.5, True):
        with pytest.raises(ValueError, match="k must be an integer of at least 1"):
            nearest(Waves(), (0, 0), [[0, 0]], k=k)
    with pytest.raises(ValueError, match=r"has columns \['km'\] already: rename"):
        nearest(Waves(), (0, 0), pd.DataFrame({"lon": [0], "lat": [0], "km": [1]}))
