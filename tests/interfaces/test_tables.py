"""Embeddings for tables in memory and in files, and the places most alike."""

import gzip
import os

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch
import xarray as xr
from fakes import Waves

import earthtie_lite as et
from earthtie_lite.coords import great_circle_km, sample_sphere
from earthtie_lite.interfaces import tables
from earthtie_lite.interfaces.tables import embed_file, embed_table, nearest
from earthtie_lite.runs import load_pretrained

E4 = ["e000", "e001", "e002", "e003"]
TWO = [[13.4, 52.5], [-60.0, -3.1]]
ODD = ['say "a, b"', "NA", "", "two\nlines", "nan", "Zürich", "plain"]


def cities(n=7):
    """Return a table of places with what is easily lost: leading zeros, NA, quotes, empty cells."""
    lon, lat = np.round(sample_sphere(n, np.random.default_rng(0)), 3).T
    notes = [ODD[i % len(ODD)] for i in range(n)]
    return pd.DataFrame(
        {"id": [f"{i:03d}" for i in range(n)], "Lat": lat, "note": notes, "Lon": lon}
    )


def embedding(frame):
    """Return what the table's places are embedded as."""
    return Waves().embed(frame[["Lon", "Lat"]].to_numpy())


def points(lonlat=TWO, crs=3857, **columns):
    """Return a table of points in a CRS."""
    geometry = gpd.GeoSeries(gpd.points_from_xy(*np.transpose(lonlat), crs=4326)).to_crs(crs)
    return gpd.GeoDataFrame(columns, geometry=geometry)


def store(frame, path):
    """Write a table in the format that the name says."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def test_the_embedding_is_joined_and_the_rest_kept():
    frame = cities().set_index(pd.Index([5, 3, 5, 1, 0, 0, 9]))  # labels repeat
    before = frame.copy()
    got = embed_table(frame, Waves())
    assert list(got) == [*frame, *E4]
    pd.testing.assert_frame_equal(got[list(frame)], before)
    pd.testing.assert_frame_equal(frame, before)
    np.testing.assert_array_equal(got[E4].to_numpy(), embedding(frame))
    assert (got[E4].dtypes == np.float32).all()
    assert list(embed_table(got, Waves(), prefix="z"))[-2:] == ["z002", "z003"]


def test_points_and_arrays_become_tables_and_a_geodataframe_stays_one():
    frame = points(n=[1, 2]).rename_geometry("where")
    got = embed_table(frame, Waves())
    assert isinstance(got, gpd.GeoDataFrame)
    assert (got.geometry.name, got.crs) == ("where", frame.crs)
    np.testing.assert_allclose(got[E4], Waves().embed(TWO), atol=1e-6)
    series = embed_table(points().geometry.set_axis(["Berlin", "Manaus"]), Waves())
    assert isinstance(series, gpd.GeoDataFrame)
    assert (list(series), series.index[0]) == (["geometry", *E4], "Berlin")
    np.testing.assert_allclose(series[E4], got[E4], atol=1e-6)
    assert list(embed_table(TWO, Waves())) == ["lon", "lat", *E4]


class Flat(Waves):
    def embed(self, lonlat):
        return super().embed(lonlat)[:, 0]


@pytest.mark.parametrize(
    ("table", "model", "message"),
    [
        (TWO, "clip", "unknown model 'clip'"),
        (TWO, 3, "must be a name, a folder or have a method embed, got int"),
        (TWO, type("Run", (), {"model": Waves()})(), r"got Run; pass its \.model"),
        (TWO, Flat(), r"must return \(2, D\) for that many places: \(2,\)"),
        ("clean.csv", Waves(), r"expected places, got 'clean\.csv': embed_file reads files"),
        (cities().assign(e001=0), Waves(), r"has columns \['e001'\].*another prefix"),
    ],
)
def test_bad_tables_and_models_are_refused(table, model, message):
    with pytest.raises(ValueError, match=message):
        embed_table(table, model)


@pytest.mark.parametrize("target", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize("source", ["s.csv", "s.csv.gz", "s.parquet"])
def test_every_format_becomes_every_format(tmp_path, source, target):
    frame, path = cities(), tmp_path / "new" / target
    calls, model = [], Waves()
    made = store(frame, tmp_path / source)
    assert embed_file(made, path, model, rows=3, progress=lambda *at: calls.append(at)) == 7
    total = 7 if source == "s.parquet" else None
    assert calls[-1] == (7, total)
    assert model.calls[0] == 1  # for the width
    assert sum(model.calls) == 8
    assert max(model.calls) <= 3
    assert os.listdir(path.parent) == [target]
    if target == "t.parquet":
        got, empty = pd.read_parquet(path), "" if source == "s.parquet" else None
    else:
        got, empty = pd.read_csv(path, dtype={"id": str}, keep_default_na=False), ""
    assert list(got) == [*frame, *E4]
    assert got["id"].tolist() == frame["id"].tolist()
    notes = [cell if isinstance(cell, str) else None for cell in got["note"]]
    assert notes == [cell or empty for cell in frame["note"]]  # an empty cell of CSV is nothing
    assert (got[["Lat", "Lon"]].dtypes == np.float64).all()
    np.testing.assert_array_equal(got[["Lat", "Lon"]], frame[["Lat", "Lon"]])
    np.testing.assert_array_equal(got[E4].astype(np.float32), embedding(frame))


def test_text_is_written_back_as_it_was(tmp_path):
    text = 'id,lon,lat,n\n007,13.40,52.50,"a,b"\n008,-60,-3.1,NA\n'
    (tmp_path / "s.csv").write_text(text)
    embed_file(tmp_path / "s.csv", tmp_path / "t.csv.gz", Waves(1))
    lines = gzip.decompress((tmp_path / "t.csv.gz").read_bytes()).decode().splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines] == text.splitlines()


def test_the_kinds_of_parquet_columns_are_kept(tmp_path):
    frame = cities()
    frame["when"] = pd.date_range("2020-01-01", periods=7, tz="UTC")
    frame["kind"] = pd.Categorical(list("abcabca"))
    frame["count"] = pd.array([1, None, 3, 4, 5, 6, 7], dtype="Int64")
    frame["list"] = [[i, i] for i in range(7)]
    source = store(frame.set_index(pd.Index(list("tuvwxyz"), name="key")), tmp_path / "s.parquet")
    embed_file(source, tmp_path / "t.parquet", Waves(), rows=2)
    got = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(got[list(frame)], pd.read_parquet(source))
    np.testing.assert_array_equal(got[E4], embedding(frame))


@pytest.mark.parametrize("crs", [3857, "OGC:CRS84"])
def test_geoparquet_stays_geoparquet_whose_points_count_unless_columns_are_named(tmp_path, crs):
    lonlat = cities()[["Lon", "Lat"]].to_numpy()
    frame = points(lonlat, crs, Lon=[0.0] * 7, Lat=[0.0] * 7)  # columns that only look like places
    source, target = store(frame, tmp_path / "s.parquet"), tmp_path / "t.parquet"
    assert embed_file(source, target, Waves(), rows=3) == 7
    got = gpd.read_parquet(target)
    assert got.crs == crs
    assert got.geometry.equals(gpd.read_parquet(source).geometry)
    np.testing.assert_allclose(got[E4], Waves().embed(lonlat), atol=1e-6)
    embed_file(source, target, Waves(), lon="Lon", lat="Lat", overwrite=True)
    np.testing.assert_array_equal(pd.read_parquet(target)[E4], Waves().embed(np.zeros((7, 2))))


CSV, PARQUET, NINE = "s.csv", "s.parquet", points([[i, i] for i in range(9)])
POLYGON = NINE.set_geometry(NINE.buffer(1).where(NINE.index == 7, NINE.geometry))
REFUSED = [  # table, name, settings, words
    (embed_table(cities(), Waves()), CSV, {}, r"has columns \['e000'.*another prefix"),
    (cities(), CSV, {"target": "s.csv", "overwrite": True}, "the target is the source"),
    (cities(), CSV, {"target": "t.xlsx"}, r"ends in \.csv.*'t\.xlsx'"),
    (cities(), CSV, {"rows": 0}, "rows must be an integer of at least 1, got 0"),
    (cities(), CSV, {"target": "old.csv"}, r"old\.csv exists: .*allow overwriting it"),
    (cities(), CSV, {"missing": "no"}, "unknown missing 'no'"),
    (cities().rename(columns={"Lon": "L"}), CSV, {}, r"found \[\]: name it \(lon: NAME"),
    (
        cities().assign(Lat=np.nan),
        CSV,
        {"missing": "keep"},
        r"s\.csv: none of the 7 rows has a place",
    ),
    (cities(0), CSV, {}, r"s\.csv: the table has no rows"),
    (cities(0), PARQUET, {}, r"s\.parquet: the table has no rows"),
    (NINE.set_crs(None, allow_override=True), PARQUET, {"target": "t.parquet"}, "has no CRS"),
    (NINE, PARQUET, {"target": "t.csv"}, "column 'geometry' .* write Parquet"),
    (POLYGON, PARQUET, {"target": "t.parquet", "rows": 3}, r"s\.parquet: .* Polygon in row 7;"),
]


@pytest.mark.parametrize(("frame", "name", "settings", "message"), REFUSED)
def test_bad_files_and_settings_are_refused_and_nothing_is_written(
    tmp_path, frame, name, settings, message
):
    source = store(frame, tmp_path / name)
    (tmp_path / "old.csv").write_text("mine")
    before, content = sorted(os.listdir(tmp_path)), source.read_bytes()
    target = tmp_path / settings.get("target", "t.csv")
    with pytest.raises(ValueError, match=message):
        embed_file(source, model=Waves(), **settings | {"target": target})
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "old.csv").read_text() == "mine"
    assert source.read_bytes() == content


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_faults_are_counted_in_the_whole_file_and_named_by_its_rows(tmp_path, name):
    frame, target = cities(20), tmp_path / "t.parquet"
    frame.loc[[7, 13, 14], "Lat"] = [np.nan, 93.0, np.nan]
    source = store(frame, tmp_path / name)
    target.write_text("old")
    first = r"3 of 20 rows are wrong, the first: latitude is missing .* in (line 10|row 7);"
    for missing, message in (("error", first), ("drop", "got 93 in (line 17|row 13);")):
        with pytest.raises(ValueError, match=message):
            embed_file(source, target, Waves(), rows=5, missing=missing, overwrite=True)
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == [name, "t.parquet"]


@pytest.mark.parametrize("target", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("source", ["s.csv", "s.parquet"])
def test_rows_without_a_place_are_left_out_or_kept_empty(tmp_path, source, target):
    frame = cities(20).assign(row=range(20))
    frame.loc[[0, 1, 13], ["Lat", "Lon"]] = [[np.nan, 1.0], [np.nan, np.nan], [3.0, np.nan]]
    known = ~frame.index.isin([0, 1, 13])  # the first part has no place at all
    path, read = tmp_path / target, pd.read_csv if target == "t.csv" else pd.read_parquet
    made = store(frame, tmp_path / source)
    with pytest.warns(UserWarning, match="3 of 20 rows are left out: they have no place"):
        assert embed_file(made, path, Waves(), rows=2, missing="drop") == 17
    assert read(path)["row"].astype(int).tolist() == np.flatnonzero(known).tolist()
    how = {"missing": "keep", "overwrite": True, "prefix": "z"}
    with pytest.warns(UserWarning, match="3 of 20 rows are kept but have no place"):
        assert embed_file(made, path, Waves(), rows=2, **how) == 20
    got = read(path)
    z = got.filter(regex=r"^z\d+$").to_numpy(dtype=float)
    assert np.isnan(z[~known]).all()
    np.testing.assert_allclose(z[known], embedding(frame[known]), atol=1e-6)
    assert got["Lon"][0] == 1.0


def test_rows_of_a_table_without_a_place_are_left_out_or_kept_empty():
    frame = cities()
    frame.loc[3, "Lon"] = np.nan
    with pytest.raises(ValueError, match=r"in row 3; leave out such rows \(missing: drop\)"):
        embed_table(frame, Waves())
    for missing, empty in (("drop", []), ("keep", [3])):
        with pytest.warns(UserWarning, match="1 of 7 rows"):
            got = embed_table(frame, Waves(), missing=missing)
        assert got.index[got["e000"].isna()].tolist() == empty
        assert len(got) == 6 + len(empty)


def test_swapped_columns_and_null_island_give_one_warning(tmp_path):
    lat, lon = np.linspace(-15, -5, 12), np.linspace(-60, -45, 12)  # Brazil
    frame = pd.DataFrame({"lon": lat, "lat": lon})
    with pytest.warns(UserWarning, match="of 12 places are probably swapped: .* swap lon and lat"):
        embed_table(frame, Waves())
    frame = cities(9)
    frame.loc[[0, 5], ["Lon", "Lat"]] = 0.0
    with pytest.warns(UserWarning, match=r"^2 of 9 places are at \(0, 0\)") as said:
        embed_file(store(frame, tmp_path / "s.csv"), tmp_path / "u.csv", Waves(), rows=3)
    assert len(said) == 1
    with pytest.warns(UserWarning, match=r"2 of 9 places are at \(0, 0\)"):
        nearest(Waves(), (0, 10), frame)


@pytest.mark.parametrize("source", ["cities.csv", "cities.parquet"])
def test_a_parquet_file_names_the_model_and_its_hash(tmp_path, source):
    model, path, target = load_pretrained("satellite"), tmp_path / source, tmp_path / "out.parquet"
    cities().to_csv(path, index=False) if source.endswith("csv") else cities().to_parquet(path)
    for given, name in (("satellite", "satellite"), (model, "satellite"), (Waves(), "Waves")):
        embed_file(path, target, given, overwrite=True)
        notes = {k.decode(): v.decode() for k, v in pq.read_schema(target).metadata.items()}
        assert (notes["EARTHTIE_MODEL"], notes["EARTHTIE_VERSION"]) == (name, et.__version__)
        assert notes.get("EARTHTIE_SHA256") == (None if name == "Waves" else model.fingerprint)
        assert len(pd.read_parquet(target)) == 7
    again, other = load_pretrained("satellite"), load_pretrained("melt")
    embed_file(target, tmp_path / "twice.parquet", other, prefix="f")
    twice = pq.read_schema(tmp_path / "twice.parquet").metadata
    assert twice[b"EARTHTIE_SHA256"].decode() == other.fingerprint
    assert model.fingerprint == again.fingerprint != other.fingerprint


def test_parts_do_not_change_the_result(tmp_path):
    source = store(cities(500), tmp_path / "s.csv")
    embed_file(source, tmp_path / "whole.csv", Waves())
    for rows in (1, 7, 499):
        embed_file(source, tmp_path / "parts.csv", Waves(), rows=rows, overwrite=True)
        assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


KINDS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "a lazy frame of polars": pl.LazyFrame,
    "a table of Arrow": pa.Table.from_pandas,
    "a batch of Arrow": pa.RecordBatch.from_pandas,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_table_that_comes_in_goes_out(kind):
    frame = cities()
    frame.loc[3, "Lon"] = np.nan
    frame["Lon"] = frame["Lon"].astype("Float64")
    table = KINDS[kind](frame)
    with pytest.warns(UserWarning, match="1 of 7 rows are left out"):
        got = embed_table(table, Waves(), missing="drop")
    assert type(got) is type(table)
    with pytest.warns(UserWarning, match="1 of 7 rows are left out"):
        near = nearest(Waves(), (9, 9), table, k=2, missing="drop")
    assert type(near) is type(table)
    for made, names in ((got, E4), (near, ["similarity", "km"])):
        made = made.collect() if kind.startswith("a lazy") else made
        read = made if kind == "pandas" else made.to_pandas()
        assert list(read) == [*frame, *names]
    known = frame.drop(3).astype({"Lon": float})
    got = got.collect() if kind.startswith("a lazy") else got
    read = got if kind == "pandas" else got.to_pandas()
    np.testing.assert_array_equal(read[E4], embedding(known))
    assert read["id"].tolist() == known["id"].tolist()


def test_a_dataset_gets_a_variable_and_other_things_become_tables():
    lon, lat = np.transpose(TWO)
    model = load_pretrained("satellite")
    made = embed_table(xr.Dataset({"lat": ("n", lat), "lon": ("n", lon)}), model)
    np.testing.assert_array_equal(made["embedding"].transpose("n", "band"), model.embed(TWO))
    for source in ({"lat": lat, "lon": lon}, torch.tensor(TWO), [shapely.Point(*p) for p in TWO]):
        np.testing.assert_allclose(embed_table(source, Waves())[E4], Waves().embed(TWO), atol=1e-6)


def test_a_killed_process_leaves_no_half_file(tmp_path):
    source, target = store(cities(2000), tmp_path / "s.csv"), tmp_path / "t.parquet"
    for when in (1, 7):
        with pytest.raises(KeyboardInterrupt):
            embed_file(source, target, Waves(), rows=100, progress=stop_after(when))
        assert os.listdir(tmp_path) == ["s.csv"]


def stop_after(calls):
    """Return a progress callback that interrupts after some calls."""
    left = iter(range(calls))

    def stop(*at):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return stop


def test_the_nearest_are_those_with_the_largest_cosine(monkeypatch):
    monkeypatch.setattr(tables, "SLICE", 64)
    lonlat, place = sample_sphere(1000, np.random.default_rng(1)), (20.0, 10.0)
    model = Waves(12, turns=3.0)
    got = nearest(model, place, lonlat, k=25)
    assert max(model.calls) == 64
    z = model.embed(np.concatenate([[place], lonlat])).astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosine = z[1:] @ z[0]
    np.testing.assert_allclose(got["similarity"], np.sort(cosine)[::-1][:25], atol=1e-6)
    np.testing.assert_allclose(cosine[got.index], got["similarity"], atol=1e-6)
    np.testing.assert_array_equal(got[["lon", "lat"]], lonlat[got.index])
    here = np.repeat([place], 25, axis=0)
    np.testing.assert_allclose(got["km"], great_circle_km(here, lonlat[got.index]))


def test_the_place_itself_is_found_and_ties_keep_their_order():
    columns = {"name": list("abcd"), "east": [0, 9, 9, 0], "north": [0.0, 9, 9, 0]}
    frame = pd.DataFrame(columns, index=[4, 3, 2, 1])
    with pytest.warns(UserWarning, match=r"at \(0, 0\)"):
        got = nearest(Waves(), (9, 9), frame, lon="east", lat="north")
    assert got["name"].tolist() == ["b", "c", "a", "d"]
    assert got.index.tolist() == [3, 2, 4, 1]
    assert got["similarity"].iloc[0] == pytest.approx(1)
    assert got["similarity"].max() <= 1
    assert got["km"].iloc[0] == 0


def test_columns_and_geometry_of_the_places_are_kept():
    got = nearest("satellite", (13.5, 52.4), points(n=[1, 2]), k=1)
    assert isinstance(got, gpd.GeoDataFrame)
    assert list(got) == ["n", "geometry", "similarity", "km"]
    assert got[["n", "km"]].to_numpy() == pytest.approx(np.array([[1, 13]]), abs=1)


BAD = [((52.5, 113.4), 1, "latitude must lie in"), (13.4, 1, r"must have shape \(N, 2\)")]
BAD += [((0, 0), k, "k must be an integer of at least 1") for k in (0, 1.5, True)]


@pytest.mark.parametrize(("place", "k", "message"), BAD)
def test_bad_questions_for_the_nearest_are_refused(place, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(Waves(), place, TWO, k=k)
    with pytest.raises(ValueError, match=r"has columns \['km'\]"):
        nearest(Waves(), (0, 0), points(km=[1, 2]))
