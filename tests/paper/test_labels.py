"""Published tables of labels: the ocean left out, classes numbered, nothing lost unsaid."""

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.paper.labels import read_label_set

LON, LAT = [10.0, 180.0, 0.0, -60.0, 31.2], [50.0, -16.5, -90.0, -3.1, 30.0]


def write(path, lon="lon", lat="lat", **columns):
    """Write a table as CoordBench (Parquet) or as the stations of temperature (CSV)."""
    frame = pd.DataFrame({lon: LON, lat: LAT, "split": None} | columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("column", "numbers", "target", "classes"),
    [
        ("country", [7, 0, 12, 7, 3], [1, 2, 1, 0], ("3", "7", "12")),
        ("ecoregion_class_index", [800, -1, 0, 5, 5], [2, 0, 1, 1], ("0", "5", "800")),
    ],
)
def test_classes_are_numbered_without_the_ocean(tmp_path, column, numbers, target, classes):
    task = read_label_set(write(tmp_path / "data.parquet", **{column: numbers}))
    assert (task.name, task.kind) == (column.partition("_")[0], "classification")
    np.testing.assert_array_equal(task.lonlat, np.column_stack([LON, LAT])[[0, 2, 3, 4]])
    assert task.target.tolist() == target
    assert task.classes == classes
    assert task.source == "data.parquet, 1 rows without a label left out"


@pytest.mark.parametrize("column", ["elevation", "log_population"])
def test_numbers_are_taken_as_published(tmp_path, column):
    values = [0.0, -1.0, 3.5, -4000.25, 8.0]  # neither 0 nor -1 is the ocean here
    task = read_label_set(write(tmp_path / "data.parquet", **{column: values}))
    assert task.kind == "regression"
    assert task.target.tolist() == values
    assert task.source == "data.parquet"


def test_stations_without_a_number_are_left_out_and_counted(tmp_path):
    values = [10.5, "", -3.0, "n/a", 25.0]
    task = read_label_set(write(tmp_path / "stations.csv", "Lon", "Lat", meanT=values))
    assert task.target.tolist() == [10.5, -3.0, 25.0]
    assert task.lonlat[1].tolist() == [0.0, -90.0]
    assert task.source == "stations.csv, 2 rows without a label left out"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rain": [1.0] * 5}, "one of the labels.*has the columns"),
        ({"country": [0, 0, 0, 0, 1]}, "1 rows have a label"),
        ({"country": [1, 2, 2.5, 3, 4]}, "not a whole number"),
        ({"lat": [91.0] * 5, "elevation": [1.0] * 5}, "latitude"),
    ],
)
def test_other_tables_are_refused(tmp_path, columns, message):
    pd.DataFrame({"lon": LON, "lat": LAT} | columns).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(ValueError, match=message):
        read_label_set(tmp_path / "data.parquet")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "data.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"data\.parquet cannot be read"):
        read_label_set(tmp_path / "data.parquet")
