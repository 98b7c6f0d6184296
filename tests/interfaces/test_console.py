"""What the commands share: bars, errors in one line, tables."""

import io
import warnings

import geopandas as gpd
import pandas as pd
import pytest
from click.testing import CliRunner
from fakes import Terminal

from earthtie_lite.interfaces import console


def invoke(act, *options):
    """Run a function as a command."""
    act = console.Command("act", callback=act, params=list(options))
    return CliRunner().invoke(console.Commands("group", commands=[act]), ["act"])


@pytest.mark.parametrize(("stream", "seen"), [(Terminal, True), (io.StringIO, False)])
def test_progress_is_shown_on_a_terminal_only(monkeypatch, stream, seen):
    monkeypatch.setattr("sys.stderr", screen := stream())
    with console.bar("rows") as report:
        report(3, None)
        report(5, 8)
    assert ("5/8" in screen.getvalue()) == seen == bool(screen.getvalue())


@pytest.mark.parametrize(
    "error", [ValueError("row 3"), ImportError("row 3"), OSError(28, "row 3"), OSError("row 3")]
)
def test_an_error_is_one_line_without_its_number(error):
    def act():
        raise error

    done = invoke(act)
    assert (done.exit_code, done.stderr) == (1, "Error: row 3\n")


def test_a_bug_is_not_hidden():
    assert isinstance(invoke(lambda: {}["a fault"]).exception, KeyError)


def test_a_warning_is_one_line():
    done = invoke(lambda: warnings.warn("two of nine", stacklevel=1))
    assert (done.exit_code, done.stderr) == (0, "Warning: two of nine\n")


def test_csv_is_read_as_text_and_parquet_as_it_is(tmp_path):
    csv, parquet, points = (tmp_path / name for name in ("a.csv", "a.parquet", "points.parquet"))
    csv.write_text("country,ph\nNA,5.50\n,6\n")
    table = console.read_table(csv)
    assert table["country"].fillna("none").tolist() == ["NA", "none"]
    assert table["ph"].tolist() == ["5.50", "6"]
    table.astype({"ph": float}).set_index(pd.Index([7, 8])).to_parquet(parquet)
    again = console.read_table(parquet)
    assert (again["ph"].tolist(), again.index.tolist()) == ([5.5, 6.0], [0, 1])
    geometry = gpd.points_from_xy([13.4], [52.5], crs=4326).to_crs(3857)
    gpd.GeoDataFrame({"x": [1]}, geometry=geometry).to_parquet(points)
    assert console.read_table(points).crs == 3857
