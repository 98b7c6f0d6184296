"""The runner of the tables: what a row holds, and resuming."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data.experiments import runner
from data.experiments.rows import Embedding, Recipe
from earthtie_lite.results import retrieval
from earthtie_lite.results.scoring import Evaluation, labelled
from earthtie_lite.results.tables import read_distances, read_histories, read_runs

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)
ROW, HARMONICS = Embedding("untrained", TINY, 1), Embedding("harmonics", TINY)
NAMES = ("satellite", "lights", "text")


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


@pytest.fixture
def _once(monkeypatch):
    """Score every row in one way only."""
    monkeypatch.setattr(runner, "evaluations", lambda row, stage: [Evaluation(budgets=(243,))])


@pytest.fixture
def command(_once, tmp_path, monkeypatch):
    """Return what runs the command for a list of rows."""
    monkeypatch.setattr(runner, "QUERIES", 20)
    monkeypatch.setattr(retrieval, "N_PLACES", 100)

    def run(stage, rows, work="work"):
        monkeypatch.setattr(runner, "rows_of", lambda *_: list(rows))
        folders = ["--work", str(tmp_path / work), "--folder", str(tmp_path / "out")]
        runner.main([stage, "--places", "3000", "--jobs", "1", *folders])
        return tmp_path / "out"

    return run


@pytest.mark.usefixtures("_once")
def test_a_finished_row_is_read_and_a_killed_one_repeated(tasks, tmp_path, monkeypatch):
    write = runner.write_parquet
    monkeypatch.setattr(runner, "write_parquet", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.run(ROW, tasks, "report", tmp_path, "")
    monkeypatch.setattr(runner, "write_parquet", write)
    assert not list(tmp_path.rglob("*.parquet"))
    first = runner.run(ROW, tasks, "report", tmp_path, "")
    monkeypatch.setattr(runner, "embed", lambda *a: pytest.fail("made twice"))
    again = runner.run(ROW, tasks, "report", tmp_path, "")
    pd.testing.assert_frame_equal(again, first)
    about = {"schema", "stage", "embedding", "method", "modalities", "setting", "recipe", "seed"}
    about |= {"settings", "seconds", "key", "date", "hardware", "python", "torch", "threads"}
    assert about <= set(first.attrs)
    assert again.attrs == first.attrs


def test_a_key_depends_on_settings_labels_stage_and_evaluations(tasks, monkeypatch):
    other = replace(ROW, recipe=replace(TINY, training=(("scales", "own"),)))
    ensemble = Embedding("ensemble", TINY, 1, "melt", ("satellite",))
    asked = [(row, "report", tasks) for row in (ROW, replace(ROW, seed=2), other, ensemble)]
    asked += [(ROW, "development", tasks), (ROW, "report", {"country": tasks["country"]})]
    moved = {n: replace(t, lonlat=t.lonlat * 0.9) for n, t in tasks.items()}
    asked.append((ROW, "report", moved))
    before = [runner.key(*some) for some in asked]
    assert len(set(before)) == len(asked)
    monkeypatch.setitem(runner.REVISIONS, "ensemble", 99)
    after = [runner.key(*some) for some in asked]
    assert [a == b for a, b in zip(after, before)] == [row is not ensemble for row, *_ in asked]
    monkeypatch.setattr(runner, "evaluations", lambda row, stage: [Evaluation()])
    assert runner.key(*asked[0]) not in before


def test_a_key_is_the_same_where_the_last_bit_is_rounded_otherwise(tasks):
    elevation = tasks["elevation"]
    near = [np.nextafter(a, 0.0) for a in (elevation.lonlat, elevation.target)]
    other = tasks | {"elevation": replace(elevation, lonlat=near[0], target=near[1])}
    assert runner.key(ROW, "report", other) == runner.key(ROW, "report", tasks)


def test_the_command_repeats_no_row_that_it_or_another_folder_has_finished(command, tmp_path):
    for rows, work, names in (
        ([HARMONICS], "work", ["harmonics"]),
        ([HARMONICS, ROW], "elsewhere", ["harmonics", "untrained, no skip"]),
        ([HARMONICS, ROW], "empty", ["harmonics", "untrained, no skip"]),
    ):
        out = command("report", rows, work)
        assert list(read_runs("report", out)["embedding"]) == names
    assert len(list((tmp_path / "elsewhere").rglob("*.parquet"))) == 1
    assert not (tmp_path / "empty").exists()
    manifest = json.loads((out / "manifest.json").read_bytes())["files"]
    assert list(manifest) == [f"report/{n}" for n in ("places.npy", "runs.csv", "sums.parquet")]


def test_histories_and_distances_are_collected_of_every_run(command):
    rows = [Embedding("trained", TINY, seed, "salt", ("satellite", "lights")) for seed in (0, 1)]
    steps = read_histories("dynamics", command("dynamics", rows))
    assert set(steps["seed"]) == {0, 1}
    assert steps.groupby("seed")["step"].apply(lambda x: x.is_monotonic_increasing).all()
    assert np.isfinite(steps[["loss", "logit_scale", "grad_norm"]]).all(axis=None)
    rows = [Embedding("trained", TINY, 0, "melt", NAMES), Embedding("untrained", TINY, 0)]
    found = read_distances("retrieval", command("retrieval", rows))
    assert set(found["embedding"]) == {row.name for row in rows}
    assert (found.groupby(["embedding", "query", "target", "route"]).size() == 20).all()


def test_an_unknown_table_of_a_stage_is_refused(capsys):
    with pytest.raises(SystemExit):
        runner.main(["report", "--recipe", "search"])
    assert "the stage report has the tables ['chosen'" in capsys.readouterr().err


def test_experiments_are_scored_on_the_report_half(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "score", lambda z, tasks, seed, half, how: pytest.fail(half))
    with pytest.raises(pytest.fail.Exception, match="report"):
        runner.run(ROW, tasks, "bottleneck", tmp_path, "")
