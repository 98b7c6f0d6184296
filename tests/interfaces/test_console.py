"""What the commands share: bars, errors in one line, tables."""

import io
import warnings

import click
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


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("name them with lon= and lat=; so", "name them with --lon and lat=; so"),
        ("leave them out with missing='drop', or", "leave them out with --missing drop, or"),
        ("set val_fraction=0 or lower it", "set --val-fraction 0 or lower it"),
        ("replace it with overwrite=True", "replace it with --force"),
        *((same, same) for same in ("line 3 of rows=2.csv, lon=x/r", "a longitude is missing")),
    ],
)
def test_arguments_of_python_are_shown_as_options(said, typed):
    options = [click.Option([name]) for name in ("--lon", "--missing", "--val-fraction", "--rows")]
    options.append(click.Option(["--force", "overwrite"], is_flag=True))

    def act(**options):
        warnings.warn(said, stacklevel=1)
        raise ValueError(said)

    assert invoke(act, *options).stderr == f"Warning: {typed}\nError: {typed}\n"


def test_rows_of_a_file_are_named_by_their_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('n,note\n0,"a\nb"\n1,\n2,c\n')
    named = r"^line 4 of a\.csv lacks, and line 5 of a\.csv, not 'row 2' or row 2\.png$"
    with pytest.raises(ValueError, match=named), console.in_lines(path):
        raise ValueError("row 1 lacks, and row 2, not 'row 2' or row 2.png")
    with pytest.warns(UserWarning, match=r"first in line 2 of a\.csv"), console.in_lines(path):
        warnings.warn("the first in row 0", stacklevel=1)


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
