"""The runner of the tables: what a row holds, and resuming."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from data.experiments import runner
from data.experiments.rows import Embedding, Recipe, filled
from data.experiments.runner import run
from earthtie_lite.results import retrieval
from earthtie_lite.results.scoring import Evaluation, labelled
from earthtie_lite.results.tables import read_distances, read_histories, read_runs

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


def test_a_finished_row_is_read_and_a_killed_one_repeated(tasks, tmp_path, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    write = runner.write_parquet
    monkeypatch.setattr(runner, "write_parquet", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(row, tasks, "report", tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(runner, "write_parquet", write)
    first = run(row, tasks, "report", tmp_path, "")
    monkeypatch.setattr(runner, "embed", lambda *a: pytest.fail("made twice"))
    pd.testing.assert_frame_equal(run(row, tasks, "report", tmp_path, ""), first)


def test_a_row_has_another_file_for_other_settings_labels_and_stages(tasks, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    fewer = {"country": tasks["country"]}
    keys = {
        runner.key(row, "report", tasks),
        runner.key(row, "development", tasks),
        runner.key(row, "report", fewer),
        runner.key(Embedding("untrained", TINY, 2), "report", tasks),
    }
    assert len(keys) == 4
    monkeypatch.setattr(runner, "evaluations", lambda row, stage: [Evaluation()])
    assert runner.key(row, "report", tasks) not in keys


def test_a_row_has_the_same_file_where_the_last_bit_is_rounded_otherwise(tasks):
    row = Embedding("untrained", TINY, 1)
    other = {
        name: dataclasses.replace(
            task,
            lonlat=np.nextafter(task.lonlat, 0.0),
            target=np.nextafter(task.target, 0.0) if task.kind == "regression" else task.target,
        )
        for name, task in tasks.items()
    }
    assert runner.key(row, "report", other) == runner.key(row, "report", tasks)
    other = {name: dataclasses.replace(t, lonlat=t.lonlat * 0.9) for name, t in tasks.items()}
    assert runner.key(row, "report", other) != runner.key(row, "report", tasks)


def test_rows_say_how_they_were_made_and_say_the_same_when_they_are_read(tasks, tmp_path):
    row = Embedding("harmonics", TINY, 1)
    first, again = (run(row, tasks, "report", tmp_path, "") for _ in range(2))
    about = {"schema", "stage", "embedding", "method", "modalities", "setting", "recipe", "seed"}
    about |= {"settings", "seconds", "key", "date", "hardware", "python", "torch", "threads"}
    assert about <= set(first.attrs)
    assert again.attrs == first.attrs


def test_the_command_runs_resumes_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    few = [Embedding("harmonics", TINY, 0), Embedding("untrained", TINY, 0)]
    monkeypatch.setattr(runner, "rows_of", lambda *_: few)
    places = ["--places", "3000", "--jobs", "1"]
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        runner.main(["report", *places, *folders])
        assert len(read_runs("report", tmp_path / "out")) == 2
    assert len(list((tmp_path / "work").rglob("*.parquet"))) == 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["files"]
    assert list(manifest) == [f"report/{n}" for n in ("places.npy", "runs.csv", "sums.parquet")]


def test_the_command_repeats_no_row_of_the_tables_it_finds(tmp_path, monkeypatch):
    rows = [Embedding("harmonics", TINY, 0)]
    monkeypatch.setattr(runner, "rows_of", lambda *_: rows)
    places = ["--places", "3000", "--jobs", "1", "--folder", str(tmp_path / "out")]
    runner.main(["report", *places, "--work", str(tmp_path / "here")])
    rows.append(Embedding("untrained", TINY, 0))
    runner.main(["report", *places, "--work", str(tmp_path / "elsewhere")])
    assert len(list((tmp_path / "elsewhere").rglob("*.parquet"))) == 1
    assert list(read_runs("report", tmp_path / "out")["embedding"]) == [
        "harmonics",
        "untrained, no skip",
    ]


def test_histories_are_collected_of_every_run(tmp_path, monkeypatch):
    rows = [Embedding("trained", TINY, seed, "salt", ("satellite", "lights")) for seed in (0, 1)]
    monkeypatch.setattr(runner, "rows_of", lambda *_: rows)
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        runner.main(["dynamics", "--jobs", "1", *folders])
    steps = read_histories("dynamics", tmp_path / "out")
    assert set(steps["seed"]) == {0, 1}
    assert steps.groupby("seed")["step"].apply(lambda x: x.is_monotonic_increasing).all()
    assert np.isfinite(steps[["loss", "logit_scale", "grad_norm"]]).all(axis=None)


def test_distances_of_retrieval_are_collected_of_every_run(tmp_path, monkeypatch):
    everything = ("satellite", "lights", "text")
    rows = [Embedding("trained", TINY, 0, "melt", everything), Embedding("untrained", TINY, 0)]
    monkeypatch.setattr(runner, "rows_of", lambda *_: rows)
    monkeypatch.setattr(runner, "QUERIES", 20)
    monkeypatch.setattr(retrieval, "N_PLACES", 100)
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    runner.main(["retrieval", "--jobs", "1", *folders])
    found = read_distances("retrieval", tmp_path / "out")
    assert set(found["embedding"]) == {"MELT satellite+lights+text, no skip", "untrained, no skip"}
    assert (found.groupby(["embedding", "query", "target", "route"]).size() == 20).all()


@pytest.mark.parametrize(("stage", "recipe"), [("report", "search"), ("retrieval", "paper")])
def test_what_a_stage_does_not_have_is_refused(stage, recipe, capsys):
    with pytest.raises(SystemExit):
        runner.main([stage, "--recipe", recipe, "--places", "3000"])
    assert f"the stage {stage} has the tables ['chosen'" in capsys.readouterr().err


def test_a_setting_that_is_left_empty_changes_no_key(tasks):
    row = Embedding("untrained", TINY, 1)
    assert "training" in dataclasses.asdict(TINY)
    assert "training" not in filled(dataclasses.asdict(TINY))
    other = dataclasses.replace(TINY, training=(("scales", "own"),))
    changed = dataclasses.replace(row, recipe=other)
    assert runner.key(changed, "report", tasks) != runner.key(row, "report", tasks)


def test_experiments_are_scored_on_the_report_half(tasks, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(runner, "score", lambda *settings: asked.append(settings) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(Embedding("untrained", TINY, 1), tasks, "bottleneck", tmp_path, "")
    assert asked[0][3] == "report"


def test_a_row_that_is_made_in_another_way_has_another_key(tasks, monkeypatch):
    rows = [Embedding("ensemble", TINY, 1, "melt", ("satellite",)), Embedding("harmonics", TINY)]
    before = [runner.key(row, "report", tasks) for row in rows]
    monkeypatch.setitem(runner.REVISIONS, "ensemble", 99)
    after = [runner.key(row, "report", tasks) for row in rows]
    assert before[0] != after[0]
    assert before[1] == after[1]
