"""What the commands share: bars, hints and the checks before work starts."""

import io
import warnings

import click
import geopandas as gpd
import pandas as pd
import pytest
from click.testing import CliRunner

from earthtie_lite.interfaces import console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def command():
    """Return what makes a command of a function and runs it: exit status, errors."""

    def invoke(act, *options):
        act = console.Command("act", callback=act, params=list(options))
        done = CliRunner().invoke(console.Commands("group", commands=[act]), ["act"])
        return done.exit_code, done.stderr

    return invoke


def test_a_terminal_sees_how_much_is_done(monkeypatch):
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    with console.bar("rows") as tell:
        tell(3, None)
        tell(5, 8)
    assert "5/8" in screen.getvalue()
    assert "rows" in screen.getvalue()


def test_nothing_is_shown_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", page := io.StringIO())
    with console.bar("rows") as tell:
        tell(5, 8)
    assert page.getvalue() == ""


def test_the_number_of_an_error_is_not_said(command):
    def act():
        raise OSError(28, "the disk is full")

    assert command(act) == (1, "Error: the disk is full\n")


@pytest.mark.parametrize("kind", [ValueError, OSError, ImportError])
def test_a_refusal_is_one_line(command, kind):
    def act():
        raise kind("row 3 is wrong")

    assert command(act) == (1, "Error: row 3 is wrong\n")


def test_a_fault_of_the_program_is_not_hidden():
    def act():
        raise KeyError("a fault")

    group = console.Commands("group", commands=[console.Command("act", callback=act)])
    assert isinstance(CliRunner().invoke(group, ["act"]).exception, KeyError)


def test_ctrl_c_comes_with_a_hint(command):
    def act():
        with console.hint("Do it again."):
            raise KeyboardInterrupt

    assert command(act) == (130, "\nInterrupted. Do it again.\n")


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("name them with lon= and lat=; so", "name them with --lon and lat=; so"),
        ("leave them out with missing='drop', or", "leave them out with --missing drop, or"),
        ("set val_fraction=0", "set --val-fraction 0"),
        ("lower val_fraction or more", "lower --val-fraction or more"),
        ("replace it with overwrite=True", "replace it with --force"),
        ("line 3 of rows=2.csv, lon=x/r, val_fraction=0.5.csv", None),
        ("missing='drop', missing='keep'", "--missing drop, --missing keep"),
        ("a longitude of 3 is missing", "a longitude of 3 is missing"),
    ],
)
def test_arguments_of_python_are_said_as_options(command, said, typed):
    options = [click.Option([name]) for name in ("--lon", "--missing", "--val-fraction", "--rows")]
    options.append(click.Option(["--force", "overwrite"], is_flag=True))

    typed = said if typed is None else typed

    def act(**options):
        warnings.warn(said, stacklevel=1)
        raise ValueError(said)

    status, errors = command(act, *options)
    assert (status, errors) == (1, f"Warning: {typed}\nError: {typed}\n")

    def wrong(**options):
        with console.wrong_use():
            raise ValueError(said)

    assert command(wrong, *options)[1].endswith(f"Error: {typed}\n")


def test_rows_of_a_file_are_named_by_their_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('n,note\n0,"a\nb"\n1,\n2,c\n')
    refused = pytest.raises(
        ValueError,
        match=r"^line 4 of a\.csv lacks, and line 5 of a\.csv, not 'row 2' or row 2\.png$",
    )
    with refused, console.in_lines(path):
        raise ValueError("row 1 lacks, and row 2, not 'row 2' or row 2.png")
    warned = pytest.warns(UserWarning, match=r"the first in line 2 of a\.csv")
    with warned, console.in_lines(path):
        warnings.warn("the first in row 0", stacklevel=1)


def test_wrong_use_has_a_status_of_its_own(command):
    def act():
        with console.wrong_use():
            raise ValueError("no such suffix")

    status, errors = command(act)
    assert status == 2
    assert "Error: no such suffix" in errors


def test_csv_is_read_as_text_and_parquet_as_it_is(tmp_path):
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    csv.write_text("country,ph\nNA,5.50\n,6\n")
    table = console.read_table(csv)
    assert table["country"].isna().tolist() == [False, True]
    assert table["country"][0] == "NA"
    assert table["ph"].tolist() == ["5.50", "6"]
    table.astype({"ph": float}).set_index(pd.Index([7, 8])).to_parquet(parquet)
    again = console.read_table(parquet)
    assert again["ph"].tolist() == [5.5, 6.0]
    assert again.index.tolist() == [0, 1]
    parquet.write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        console.read_table(parquet)


def test_geoparquet_keeps_its_points(tmp_path):
    points = gpd.GeoSeries(gpd.points_from_xy([13.4], [52.5], crs=4326)).to_crs(3857)
    gpd.GeoDataFrame({"x": [1]}, geometry=points).to_parquet(tmp_path / "a.parquet")
    assert console.read_table(tmp_path / "a.parquet").crs == 3857
