"""Published tables of labels: the ocean left out, classes numbered, nothing lost unsaid."""

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.paper.labels import LABEL_SETS, read_air_temperature, read_label_set

# As in CoordBench: its own columns up front, then those of the source.
SCHEMA = {
    "lon": [10.0, 180.0, 0.0, -60.0, 31.2],  # date line, pole
    "lat": [50.0, -16.5, -90.0, -3.1, 30.0],
    "timestamp": pd.array([None] * 5, dtype="Int64"),
    "timestamp_end": pd.array([None] * 5, dtype="Int64"),
    "split": [None] * 5,
    "id": [None] * 5,
}


def write(path, **columns):
    """Write a table with CoordBench's columns and these; return the path."""
    frame = pd.DataFrame(SCHEMA | columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def test_countries_are_numbered_without_the_ocean(tmp_path):
    task = read_label_set(write(tmp_path / "data.parquet", country=[7, 0, 12, 7, 3]))
    assert (task.name, task.kind, task.unit) == ("country", "classification", "country")
    np.testing.assert_array_equal(task.lonlat, [[10, 50], [0, -90], [-60, -3.1], [31.2, 30]])
    assert task.target.tolist() == [1, 2, 1, 0]
    assert task.classes == ("3", "7", "12")
    assert task.source == "data.parquet, 1 of 5 rows without a label left out"


ECOREGIONS = {
    "ecoregion_class_index": [800, -1, 0, 5, 5],
    "biome_class_index": [3, -1, -1, 0, 0],
    "realmbiome_class_index": [33, -1, 2, 2, 9],
}


@pytest.mark.parametrize(
    ("column", "name", "targets", "classes"),
    [
        (None, "ecoregion", [2, 0, 1, 1], ("0", "5", "800")),
        ("ecoregion_class_index", "ecoregion", [2, 0, 1, 1], ("0", "5", "800")),
        ("biome_class_index", "biome", [1, 0, 0], ("0", "3")),
        ("realmbiome_class_index", "realm and biome", [2, 0, 0, 1], ("2", "9", "33")),
    ],
)
def test_ecoregions_have_a_class_0_and_an_ocean_of_minus_1(
    tmp_path, column, name, targets, classes
):
    task = read_label_set(write(tmp_path / "data.parquet", **ECOREGIONS), column)
    assert task.name == name
    assert task.target.tolist() == targets
    assert task.target.dtype.kind == "i"
    assert task.classes == classes


@pytest.mark.parametrize(("column", "unit"), [("elevation", "m"), ("log_population", "log popul")])
def test_regressions_are_taken_as_published(tmp_path, column, unit):
    values = [0.0, -1.0, 3.5, -4000.25, 8.0]  # 0 and -1 are no ocean here
    task = read_label_set(write(tmp_path / "data.parquet", **{column: values}))
    assert task.kind == "regression"
    assert task.target.tolist() == values
    assert task.target.dtype == np.float64
    assert task.classes == ()
    assert unit in task.unit
    assert task.source == "data.parquet"


def test_rows_without_a_number_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "data.parquet", log_population=[1.0, -np.inf, np.nan, 2.0, 3.0])
    task = read_label_set(path)
    assert task.target.tolist() == [1.0, 2.0, 3.0]
    assert task.lonlat[1].tolist() == [-60.0, -3.1]
    assert "2 of 5 rows without a label left out" in task.source


def test_satclips_own_tables_are_read(tmp_path):
    frame = pd.DataFrame({"Lon": [1.0, 2.0], "Lat": [3.0, 4.0], "elevation": [5.0, 6.0]})
    frame.to_csv(tmp_path / "labels_elevation.csv")
    task = read_label_set(tmp_path / "labels_elevation.csv", lon="Lon", lat="Lat")
    assert task.lonlat.tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_every_known_label_makes_a_task(tmp_path):
    for column, known in LABEL_SETS.items():
        path = write(tmp_path / "data.parquet", **{column: [1, 2, 3, 4, 5]})
        task = read_label_set(path)
        assert (task.name, task.kind, len(task)) == (known.task, known.kind, 5)


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        (
            {"country": [1, 2, 3, 4, 5]},
            "state",
            r"unknown label 'state': expected one of \['country",
        ),
        ({"state": [1, 2, 3, 4, 5]}, None, r"one of the labels \['country.* has \['lon', 'lat'"),
        ({"country": [1, 2, 3, 4, 5]}, "elevation", r"has no \['elevation'\]; it has \['lon'"),
        ({"country": [1, 2, 2.5, 4, 5]}, None, r"country must number classes, got 2.5 in row 2"),
        ({"country": [0, 0, 0, 4, 0]}, None, r"labels 1 of 5 places, at least 2 are needed"),
        ({"country": [1] * 5, "lat": [0, 0, 99, 0, 0]}, None, r"latitude must .* got 99 in row 2"),
        ({"country": [1] * 5, "lon": [None, 0, 9, 0, 0]}, None, r"must be finite, .* in row 0"),
    ],
)
def test_other_tables_are_refused(tmp_path, columns, asked, message):
    with pytest.raises(ValueError, match=message):
        read_label_set(write(tmp_path / "data.parquet", **columns), asked)


def test_a_damaged_table_is_refused(tmp_path):
    path = write(tmp_path / "data.parquet", country=[1, 2, 3, 4, 5])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"a label set of SatCLIP, but .* cannot be read"):
        read_label_set(path)
    with pytest.raises(ValueError, match=r"a label set of SatCLIP, but there is no .*gone"):
        read_label_set(tmp_path / "gone.parquet")


STATIONS = "Lon,Lat,Country,Elev,meanT,meanP\n"
STATIONS += '13.3,52.5,"DE, Berlin",48,9.9,571\n-180,71.2,RU,5,-10.25,150\n0,-90,AQ,2835,-49.5,\n'


def test_air_temperatures_are_read(tmp_path):
    path = tmp_path / "stationDataAll.csv"
    path.write_text(STATIONS)
    task = read_air_temperature(path)
    assert (task.name, task.kind) == ("air temperature", "regression")
    assert task.lonlat.tolist() == [[13.3, 52.5], [-180.0, 71.2], [0.0, -90.0]]
    assert task.target.tolist() == [9.9, -10.25, -49.5]
    assert "degrees Celsius" in task.unit
    assert task.source == "stationDataAll.csv"
    rain = read_air_temperature(path, column="meanP")
    assert rain.target.tolist() == [571.0, 150.0]
    assert rain.source == "stationDataAll.csv, 1 of 3 rows without a label left out"


def test_other_columns_of_stations_are_named(tmp_path):
    path = tmp_path / "stations.csv"
    path.write_text(STATIONS.replace("Lon,Lat", "longitude,latitude"))
    with pytest.raises(ValueError, match=r"\(air temperature\), but .* has no \['Lon', 'Lat'\]"):
        read_air_temperature(path)
    assert len(read_air_temperature(path, lon="longitude", lat="latitude")) == 3
