"""The runner of the tables: what a row holds, resuming, and what is declared."""

import pandas as pd
import pytest

from earthtie_lite import experiments
from earthtie_lite.evaluate import Evaluation, labelled
from earthtie_lite.experiments import collect, evaluations, run, table
from earthtie_lite.inference import Bootstrap, scores
from earthtie_lite.rows import Embedding, Recipe

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


def mean(sums, **where):
    for column, value in where.items():
        sums = sums[sums[column] == value]
    return scores(sums.assign(x=0), ["x"])["score"].item()


def test_a_finished_row_is_read_and_a_killed_one_repeated(tasks, tmp_path, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    write = experiments.write_atomic
    monkeypatch.setattr(experiments, "write_atomic", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(row, tasks, "report", tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(experiments, "write_atomic", write)
    first = run(row, tasks, "report", tmp_path, "")
    monkeypatch.setattr(experiments, "embed", lambda *a: pytest.fail("made twice"))
    pd.testing.assert_frame_equal(run(row, tasks, "report", tmp_path, ""), first)


def test_a_row_has_another_file_for_other_settings_labels_and_stages(tasks):
    row = Embedding("untrained", TINY, 1)
    fewer = {"country": tasks["country"]}
    keys = {
        experiments.key(row, tasks, "report"),
        experiments.key(row, tasks, "development"),
        experiments.key(row, fewer, "report"),
        experiments.key(Embedding("untrained", TINY, 2), tasks, "report"),
    }
    assert len(keys) == 4


def test_rows_say_how_they_were_made(tasks, tmp_path):
    done = run(Embedding("harmonics", TINY, 1), tasks, "report", tmp_path, "")
    about = {"schema", "stage", "embedding", "method", "modalities", "setting", "recipe", "seed"}
    about |= {"settings", "seconds", "width", "date", "hardware", "python", "torch", "threads"}
    assert about <= set(done)
    assert (done["schema"] == experiments.SCHEMA).all()


def test_the_collected_tables_hold_every_number(tasks, tmp_path):
    rows = [Embedding(kind, TINY, s) for kind in ("harmonics", "coordinates") for s in (0, 1)]
    done = [run(row, tasks, "report", tmp_path, "") for row in rows]
    collect(done, tmp_path / "out")
    runs = pd.read_csv(tmp_path / "out" / "runs.csv", keep_default_na=False)
    sums = pd.read_parquet(tmp_path / "out" / "sums.parquet")
    assert len(runs) == 4
    assert len(sums) == sum(map(len, done))
    got = sums.merge(runs, on="run")
    where = {"task": "country", "split": "block", "n_labels": 243, "probe": "ridge"}
    where |= {"grid": "1000 km"}
    for table_ in done:
        about = {"embedding": table_["embedding"].iloc[0], "seed": table_["seed"].iloc[0]}
        assert mean(got, **where, **about) == pytest.approx(mean(table_, **where), abs=1e-6)
    some = got.query(
        "task == 'country' and split == 'block' and n_labels == 243 and probe == 'ridge'"
    )
    assert Bootstrap(some, 100).names == ["harmonics", "coordinates"]


def test_the_table_has_every_row_and_seed():
    rows = table()
    names = {row.name for row in rows if row.setting == "transductive"}
    assert {"coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained"} <= names
    assert {"satellite", "lights", "text", "ensemble"} <= names
    assert {f"{m} satellite+lights+text" for m in ("MELT", "SALT")} <= names
    assert len(names) == 6 + 3 + 4 + 4 + 1
    assert len(rows) == len(set(rows)) == 5 * (len(names) + 3)


def test_the_command_runs_resumes_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    few = [Embedding("harmonics", TINY, 0), Embedding("untrained", TINY, 0)]
    monkeypatch.setattr(experiments, "table", lambda recipe, seeds: few)
    places = ["--places", "3000", "--jobs", "1"]
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        experiments.main(["development", *places, *folders])
        assert len(pd.read_csv(tmp_path / "out" / "development" / "runs.csv")) == 2
    assert len(list((tmp_path / "work").rglob("*.parquet"))) == 2


def test_recipes_are_never_tried_on_the_report_half(capsys):
    with pytest.raises(SystemExit):
        experiments.main(["report", "--recipe", "search", "--places", "3000"])
    assert "development half alone" in capsys.readouterr().err


def test_the_search_changes_one_thing_at_a_time_and_repeats_nothing():
    rows = experiments.search()
    assert len(rows) == len(set(rows))
    assert {row.seed for row in rows} == {0}
    assert all(row.recipe in experiments.SEARCH for row in rows)


def test_choices_need_few_budgets_and_the_report_has_every_check():
    few = evaluations(Embedding("untrained", TINY), "development")
    assert [(e.split, e.budgets, e.probe) for e in few] == [("block", (729, 6561), "ridge")]
    many = evaluations(Embedding("untrained", TINY), "report")
    assert {e.probe for e in many} == {"ridge", "neighbours", "MLP"}
    assert {e.split for e in many} == {"block", "random"}
    assert len({e.grid for e in many}) == 4
    bent = evaluations(Embedding("coordinates", TINY), "report")
    assert Evaluation(probe="trees") in bent
    assert len(set(bent)) == len(bent)
